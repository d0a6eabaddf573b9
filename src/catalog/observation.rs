//! What the Catalog says about one run. Not knowing is a result of its own: a run counts as `NotListed` only where the
//! answer was complete. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::error::{CatalogError, Defect};
use super::wire::{List, Listed, Row};
use crate::model::course_key::{CourseKey, CourseKeyError, RunKey};
use crate::model::extra_columns::Also;
use crate::model::marketing_url::{MarketingUrl, RefusedUrl, UrlPolicy};

/// How the look-up of one run ended.
#[derive(Debug, Clone)]
pub enum Observation {
    /// Listed, with a URL that may be shared, and with the columns of `sync.also`.
    Url(MarketingUrl, Also),
    /// Listed, with null or an empty string, which mean the same to the Catalog; and with the columns of `sync.also`.
    NoUrl(Also),
    /// Listed, with a URL that must not be shared. It changes no link.
    Refused(RefusedUrl),
    /// A complete and valid answer came without it.
    NotListed,
    /// Anything else. It changes nothing.
    Unknown(Unknown),
}

impl Observation {
    /// Whether it is known that the run has no URL that may be shared.
    pub(crate) fn gives_no_url(&self) -> bool {
        matches!(self, Self::NoUrl(_) | Self::Refused(_) | Self::NotListed)
    }
}

/// Why nothing is known about a run. `Display` says it in one line.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unknown {
    /// The row of this run cannot be used, and why.
    #[error("what the Catalog lists of it cannot be used: {0}")]
    Row(&'static str),
    /// A request for this run alone failed, while others succeed.
    #[error("asked for alone, {0}")]
    Broken(Arc<CatalogError>),
    /// Requests fail.
    #[error("{0}")]
    Failed(Arc<CatalogError>),
}

impl Unknown {
    /// True if the reason seems to be the run itself, and not an outage whose end can be waited for.
    pub fn is_of_the_run_alone(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }

    /// When requests may be sent again, if none was sent for this run.
    pub fn reopens_at(&self) -> Option<Instant> {
        self.error().and_then(CatalogError::reopens_at)
    }

    /// The failed request, if that is why.
    pub fn error(&self) -> Option<&CatalogError> {
        match self {
            Self::Row(_) => None,
            Self::Broken(error) | Self::Failed(error) => Some(error),
        }
    }
}

impl From<CatalogError> for Unknown {
    fn from(error: CatalogError) -> Self {
        Self::Failed(Arc::new(error))
    }
}

/// One observation for each of `keys`. The Catalog ignores case and accents; here only the exact text matches. A run with
/// two rows of different URLs is unknown.
pub(super) fn observe(list: &List, keys: &[RunKey], policy: &UrlPolicy) -> HashMap<RunKey, Observation> {
    let mut listed: HashMap<&str, (Option<&Listed>, &Also)> = HashMap::with_capacity(list.rows.len());
    for row in &list.rows {
        let Some(key) = row.key.as_deref() else { continue };
        listed
            .entry(key)
            .and_modify(|(url, also)| {
                *url = url.filter(|url| **url == row.url);
                if **also != row.also {
                    *also = &Also::NOTHING;
                }
            })
            .or_insert((Some(&row.url), &row.also));
    }
    let observe = |key: &RunKey| match listed.get(key.as_str()) {
        Some((Some(url), also)) => observation(url, also, policy),
        Some((None, _)) => odd("it is listed twice, with different URLs"),
        None if is_complete(list) => Observation::NotListed,
        None => {
            let why = "it is incomplete, and this run is not in the part that came";
            Observation::Unknown(CatalogError::Unreadable(Defect::Odd(why.to_owned())).into())
        }
    };
    keys.iter().map(|key| (key.clone(), observe(key))).collect()
}

/// True if every matching run is among the rows. Only then a run without a row is not listed.
fn is_complete(list: &List) -> bool {
    !list.has_next && list.count == list.rows.len() as u64 && list.rows.iter().all(|row| row.key.is_some())
}

/// What one row says. A URL that the policy refuses is not the same as no URL.
pub(super) fn observation(url: &Listed, also: &Also, policy: &UrlPolicy) -> Observation {
    match url {
        Listed::Null => Observation::NoUrl(also.clone()),
        Listed::Odd => odd("its marketing_url is missing, or neither a string nor null"),
        Listed::Text(text) => match policy.accept(text) {
            Ok(url) => Observation::Url(url, also.clone()),
            Err(why) => Observation::Refused(RefusedUrl::new(text, &why)),
        },
    }
}

/// The key of a row, or what is wrong with it. The key of a version of a course is refused: it parses as the key of the
/// course.
pub(super) fn listed_key(row: &Row) -> Result<CourseKey, CourseKeyError> {
    let malformed =
        |text: &str, why| CourseKeyError::Malformed { text: text.chars().take(80).collect(), why };
    let Some(text) = &row.key else { return Err(malformed("", "the Catalog's row has no key")) };
    let key = CourseKey::parse(text)?;
    if key.as_str() == text { Ok(key) } else { Err(malformed(text, "it names a version of a course")) }
}

fn odd(why: &'static str) -> Observation {
    Observation::Unknown(Unknown::Row(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: UrlPolicy = UrlPolicy { allowed_hosts: Vec::new(), allow_http: false };

    fn key(text: &str) -> RunKey {
        CourseKey::parse(text).unwrap().run_key()
    }

    fn row(key: &str, url: &str) -> Row {
        Row { key: Some(key.to_owned()), url: Listed::Text(url.to_owned()), ..Row::default() }
    }

    fn look(list: &List, text: &str) -> Observation {
        observe(list, &[key(text)], &ANY).remove(&key(text)).unwrap()
    }

    #[test]
    fn only_the_exact_key_counts() {
        let rows = vec![row("a/b/c", "https://x.example/lower"), row("É/b/c", "https://x.example/accent")];
        let answer = List { count: 2, has_next: false, rows };
        assert!(matches!(look(&answer, "a/b/c"), Observation::Url(..)));
        assert!(matches!(look(&answer, "A/b/c"), Observation::NotListed));
        assert!(matches!(look(&answer, "E/b/c"), Observation::NotListed));
    }

    #[test]
    fn only_a_complete_answer_says_not_listed() {
        let one = || vec![row("a/b/c", "https://x.example/")];
        let nameless = Row { url: Listed::Null, ..Row::default() };
        for list in [
            List { count: 2, has_next: false, rows: one() },
            List { count: 1, has_next: true, rows: one() },
            List { count: 0, has_next: false, rows: one() },
            List { count: 1, has_next: false, rows: vec![nameless] },
        ] {
            assert!(matches!(look(&list, "x/y/z"), Observation::Unknown(_)));
        }
        let complete = List { count: 0, has_next: false, rows: vec![] };
        assert!(matches!(look(&complete, "x/y/z"), Observation::NotListed));
    }

    #[test]
    fn a_run_with_two_different_urls_is_unknown() {
        let twice = |b: &str| {
            let rows = vec![row("a/b/c", "https://x.example/1"), row("a/b/c", b)];
            List { count: 2, has_next: false, rows }
        };
        assert!(matches!(look(&twice("https://x.example/2"), "a/b/c"), Observation::Unknown(_)));
        assert!(matches!(look(&twice("https://x.example/1"), "a/b/c"), Observation::Url(..)));
    }

    #[test]
    fn a_run_with_two_languages_has_none_and_keeps_its_url() {
        let in_language = |language: &str| Row {
            also: Also { language: Some(language.to_owned()), ..Also::NOTHING },
            ..row("a/b/c", "https://x.example/1")
        };
        let twice = |b: &str| {
            let rows = vec![in_language("en"), in_language(b)];
            match look(&List { count: 2, has_next: false, rows }, "a/b/c") {
                Observation::Url(_, also) => also.language,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((twice("en"), twice("fr")), (Some("en".to_owned()), None));
    }

    #[test]
    fn a_refused_url_is_an_answer_and_says_why() {
        let answer = observation(&Listed::Text("course/relative".into()), &Also::NOTHING, &ANY);
        let Observation::Refused(refused) = answer else { panic!("{answer:?}") };
        assert_eq!(refused.url, "course/relative");
        assert!(refused.why.contains("relative"), "{refused:?}");
    }

    #[test]
    fn a_version_of_a_course_is_not_a_run() {
        assert!(listed_key(&row("course-v1:a+b+c", "u")).is_ok());
        assert!(listed_key(&row("course-v1:a+b+c+branch@draft", "u")).is_err());
        assert!(listed_key(&Row::default()).is_err());
    }
}
