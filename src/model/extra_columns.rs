//! What the LMS's nightly `sync_course_runs` copies beside the URL, for those who retire it: two more columns of the
//! overview, which are ours to write only where `sync.also` names them.

use serde::{Deserialize, Serialize};

/// The longest language code that is taken; the longest that the standard (BCP 47) wants stored is as long.
const LONGEST_LANGUAGE: usize = 35;

/// A column that `sync.also` may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[derive(Deserialize, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AlsoColumn {
    /// Whether learners may apply for financial aid; never NULL.
    EligibleForFinancialAid,
    /// The code of the language that the course is given in.
    Language,
}

impl AlsoColumn {
    /// Every column there is.
    pub const ALL: [Self; 2] = [Self::EligibleForFinancialAid, Self::Language];

    /// Its name, on the overview and in the ledger.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The Catalog's name for it.
    pub fn field(self) -> &'static str {
        match self {
            Self::Language => "content_language",
            Self::EligibleForFinancialAid => self.name(),
        }
    }
}

/// Values of these columns. None is not known, or not asked for, and changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Also {
    /// [`AlsoColumn::EligibleForFinancialAid`].
    pub eligible_for_financial_aid: Option<bool>,
    /// [`AlsoColumn::Language`].
    pub language: Option<String>,
}

/// One column of one overview that differs from what is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlsoChange {
    /// Which one.
    pub column: AlsoColumn,
    /// What stands there.
    pub from: Option<String>,
    /// What belongs there.
    pub to: String,
}

impl Also {
    /// Nothing known.
    pub const NOTHING: Self = Self { eligible_for_financial_aid: None, language: None };

    /// The value of a column, as text.
    pub fn get(&self, column: AlsoColumn) -> Option<String> {
        match column {
            AlsoColumn::EligibleForFinancialAid => self.eligible_for_financial_aid.map(|is| is.to_string()),
            AlsoColumn::Language => self.language.clone(),
        }
    }

    /// The values of these columns only.
    #[must_use]
    pub fn only(self, columns: &[AlsoColumn]) -> Self {
        let has = |column| columns.contains(&column);
        Self {
            eligible_for_financial_aid: self
                .eligible_for_financial_aid
                .filter(|_| has(AlsoColumn::EligibleForFinancialAid)),
            language: self.language.filter(|_| has(AlsoColumn::Language)),
        }
    }

    /// These values, and `known` where there is none: a null in the Catalog is no reason to forget.
    #[must_use]
    pub fn or(&self, known: &Self) -> Self {
        Self {
            eligible_for_financial_aid: self.eligible_for_financial_aid.or(known.eligible_for_financial_aid),
            language: self.language.clone().or_else(|| known.language.clone()),
        }
    }

    /// Where these values, an overview's, differ from what is `known`.
    pub(crate) fn changes_to(&self, known: &Self) -> Vec<AlsoChange> {
        let change = |column| {
            let (from, to) = (self.get(column), known.get(column)?);
            (from.as_ref() != Some(&to)).then_some(AlsoChange { column, from, to })
        };
        AlsoColumn::ALL.into_iter().filter_map(change).collect()
    }
}

/// Whether a text can be a language's code: letters, digits, `-` and `_`, 2 to 35 of them.
pub(crate) fn is_language(text: &str) -> bool {
    (2..=LONGEST_LANGUAGE).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Also> {
        let language = proptest::option::of("[a-z]{2}(-[a-z]{2})?");
        (any::<Option<bool>>(), language)
            .prop_map(|(eligible_for_financial_aid, language)| Also { eligible_for_financial_aid, language })
    }

    #[test]
    fn a_language_is_a_short_plain_code() {
        for code in ["en", "en-us", "zh-Hans", "es_419", "ku-Latn-TR-x-abc"] {
            assert!(is_language(code), "{code}");
        }
        for odd in ["", "e", "en us", "en;us", "日本語", "<script>", "e\0", &"e".repeat(36)] {
            assert!(!is_language(odd), "{odd:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_known_is_forgotten_and_nothing_new_is_missed(new in values(), known in values()) {
            let both = new.or(&known);
            for column in AlsoColumn::ALL {
                prop_assert_eq!(both.get(column), new.get(column).or(known.get(column)));
            }
            prop_assert!(both.changes_to(&new).is_empty());
        }

        #[test]
        fn what_is_changed_is_named_and_set_to_something(overview in values(), known in values()) {
            let changes = overview.changes_to(&known);
            for column in AlsoColumn::ALL {
                let named = changes.iter().find(|change| change.column == column);
                let differs = known.get(column).is_some() && known.get(column) != overview.get(column);
                prop_assert_eq!(named.is_some(), differs);
            }
            prop_assert_eq!(overview.clone().only(&[]), Also::NOTHING);
            prop_assert_eq!(overview.clone().only(&AlsoColumn::ALL), overview);
        }
    }
}
