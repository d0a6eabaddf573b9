//! Reads the body of an answer into rows: here of runs, in `courses` of courses. One malformed row affects only itself; a
//! body that is not a list is an error. Pure.

mod courses;

use std::fmt;

use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;

pub(super) use self::courses::{CourseRow, courses};
use super::error::{Defect, quote};
use crate::model::extra_columns::{Also, AlsoColumn, is_language};

/// Bytes of a string that are kept: twice the longest URL that may be shared, and more than any key.
const MAX_TEXT: usize = 4096;

/// One answer of a list: of runs, or of courses.
#[derive(Debug)]
pub(super) struct List<T = Row> {
    /// The number of rows in the whole list, as the Catalog says.
    pub(super) count: u64,
    /// Whether the Catalog says that there is more.
    pub(super) has_next: bool,
    /// The rows, in their order.
    pub(super) rows: Vec<T>,
}

/// One run of an answer.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Row {
    /// None if the row has no string as its key.
    pub(super) key: Option<String>,
    /// Its `marketing_url`.
    pub(super) url: Listed,
    /// The values for `sync.also`; null is none.
    pub(super) also: Also,
    /// Those of them that are not valid, and are ignored.
    pub(super) odd: Vec<AlsoColumn>,
}

/// The `marketing_url` of a row.
#[derive(Debug, PartialEq, Eq, Clone, Default)]
pub(super) enum Listed {
    /// A string that is not empty.
    Text(String),
    /// `null` or `""`.
    Null,
    /// Missing, or of another type.
    #[default]
    Odd,
}

impl List {
    /// Removes the columns that were not asked for, as a Catalog may ignore `fields=`.
    pub(super) fn only(mut self, columns: &[AlsoColumn]) -> Self {
        for row in &mut self.rows {
            row.also = std::mem::take(&mut row.also).only(columns);
            row.odd.retain(|column| columns.contains(column));
        }
        self
    }
}

/// The fields of a row as they stand in the body. A value may be of any type and size, and is read only if it is used.
#[derive(Deserialize, Default)]
struct Fields<'a> {
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    marketing_url: Option<&'a RawValue>,
    #[serde(borrow, default)]
    eligible_for_financial_aid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content_language: Option<&'a RawValue>,
}

/// Keeps null, which is not the same as a missing field.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A JSON string, cut to [`MAX_TEXT`].
fn text(raw: &RawValue) -> Option<String> {
    let mut text: String = serde_json::from_str(raw.get()).ok()?;
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.shrink_to_fit();
    }
    Some(text)
}

fn listed(raw: Option<&RawValue>) -> Listed {
    match raw {
        None => Listed::Odd,
        Some(raw) if raw.get() == "null" => Listed::Null,
        Some(raw) => match text(raw) {
            Some(text) if text.is_empty() => Listed::Null,
            Some(text) => Listed::Text(text),
            None => Listed::Odd,
        },
    }
}

/// Reads the body of an answer with status 200 to a request for `most` rows. No error quotes `secret`, the token that was
/// sent. Besides the body this takes as much memory as the strings of the rows.
pub(super) fn list(body: &[u8], most: usize, secret: Option<&str>) -> Result<List, Defect> {
    read(body, most, secret, row)
}

fn read<T>(
    body: &[u8],
    most: usize,
    secret: Option<&str>,
    row: fn(&RawValue) -> T,
) -> Result<List<T>, Defect> {
    match body.trim_ascii_start().first() {
        Some(b'<') => return Err(Defect::Html(quote(body, secret))),
        // Serde would take the elements for the fields.
        Some(b'[') => return Err(Defect::Odd(quote(body, secret))),
        _ => {}
    }
    let read = serde_json::from_slice(body).and_then(|Envelope { count, next, results }| {
        let rows = Rows { most, row }.deserialize(&mut serde_json::Deserializer::from_str(results.get()))?;
        // The address of the next page is not used: it may be another host.
        Ok(List { count, has_next: next.is_some_and(|next| next.get() != "\"\""), rows })
    });
    read.map_err(|error| match error.classify() {
        Category::Data if error.to_string().starts_with(TOO_MANY) => {
            Defect::Odd(format!("it has more rows than the {most} that were asked for"))
        }
        Category::Data => Defect::Odd(quote(body, secret)),
        // Without the parser's message, which may quote the body.
        _ => Defect::NotJson {
            why: format!("line {}, column {}", error.line(), error.column()),
            said: quote(body, secret),
        },
    })
}

fn row(raw: &RawValue) -> Row {
    let fields: Fields<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
    let (also, odd) = also(fields.eligible_for_financial_aid, fields.content_language);
    Row { key: fields.key.and_then(text), url: listed(fields.marketing_url), also, odd }
}

/// The values of the two fields, and which of them are not valid.
fn also(financial_aid: Option<&RawValue>, language: Option<&RawValue>) -> (Also, Vec<AlsoColumn>) {
    let (mut also, mut odd) = (Also::NOTHING, Vec::new());
    match financial_aid.map(RawValue::get) {
        None => {}
        Some("true") => also.eligible_for_financial_aid = Some(true),
        Some("false") => also.eligible_for_financial_aid = Some(false),
        Some(_) => odd.push(AlsoColumn::EligibleForFinancialAid),
    }
    match language.map(text) {
        None => {}
        Some(Some(text)) if text.is_empty() => {}
        Some(Some(code)) if is_language(&code) => also.language = Some(code),
        Some(_) => odd.push(AlsoColumn::Language),
    }
    (also, odd)
}

/// How the error for more rows than were asked for begins.
const TOO_MANY: &str = "more rows than were asked for";

/// What is around the rows. A value may be of any type and size, and is read only if it is used.
#[derive(Deserialize)]
struct Envelope<'a> {
    count: u64,
    #[serde(borrow, default)]
    next: Option<&'a RawValue>,
    #[serde(borrow)]
    results: &'a RawValue,
}

/// Reads an array of at most `most` elements, each by `row`.
struct Rows<T> {
    most: usize,
    row: fn(&RawValue) -> T,
}

impl<'de, T> DeserializeSeed<'de> for Rows<T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T> Visitor<'de> for Rows<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut rows = Vec::new();
        while let Some(raw) = list.next_element::<&RawValue>()? {
            if rows.len() == self.most {
                return Err(A::Error::custom(TOO_MANY));
            }
            rows.push((self.row)(raw));
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(results: &str) -> Vec<Row> {
        list(format!(r#"{{"count": 9, "next": null, "results": [{results}]}}"#).as_bytes(), 1000, None)
            .unwrap()
            .rows
    }

    #[test]
    fn the_recorded_rows_have_the_columns_of_sync_also() {
        let list =
            list(include_bytes!("../../tests/fixtures/catalog/list-page1-size100.json"), 1000, None).unwrap();
        let known = Also { eligible_for_financial_aid: Some(true), language: Some("en-us".to_owned()) };
        assert_eq!(list.rows.iter().filter(|row| row.also == known).count(), 99);
        let without = list.rows.iter().find(|row| row.also.language.is_none()).unwrap();
        assert_eq!((without.also.eligible_for_financial_aid, without.odd.len()), (Some(true), 0));
        let only = list.only(&[AlsoColumn::Language]);
        assert!(only.rows.iter().all(|row| row.also.eligible_for_financial_aid.is_none()));
    }

    #[test]
    fn a_value_that_is_not_valid_is_ignored() {
        use AlsoColumn::{EligibleForFinancialAid, Language};
        for (fields, also, odd) in [
            (r#""eligible_for_financial_aid": null, "content_language": null"#, Also::NOTHING, vec![]),
            (r#""content_language": """#, Also::NOTHING, vec![]),
            (r#""eligible_for_financial_aid": "true""#, Also::NOTHING, vec![EligibleForFinancialAid]),
            (
                r#""eligible_for_financial_aid": 1, "content_language": ["en"]"#,
                Also::NOTHING,
                vec![EligibleForFinancialAid, Language],
            ),
            (
                r#""eligible_for_financial_aid": false, "content_language": "English, mostly""#,
                Also { eligible_for_financial_aid: Some(false), language: None },
                vec![Language],
            ),
        ] {
            let row = rows(&format!(r#"{{"key": "k", "marketing_url": "u", {fields}}}"#)).remove(0);
            assert_eq!(row, Row { key: Some("k".into()), url: Listed::Text("u".into()), also, odd });
        }
    }

    #[test]
    fn the_recorded_list_is_read_whole() {
        let body = include_bytes!("../../tests/fixtures/catalog/list-limit1000-fields.json");
        let list = list(body, 1000, None).unwrap();
        assert_eq!((list.count, list.rows.len(), list.has_next), (241, 241, false));
        assert_eq!(list.rows.iter().filter(|row| row.url == Listed::Null).count(), 40);
        assert!(list.rows.iter().all(|row| row.key.is_some() && row.url != Listed::Odd));
    }

    #[test]
    fn a_list_with_all_fields_reads_the_same() {
        let body = include_bytes!("../../tests/fixtures/catalog/list-page1-size2.json");
        let list = list(body, 1000, None).unwrap();
        assert_eq!((list.count, list.rows.len(), list.has_next), (241, 2, true));
    }

    #[test]
    fn a_malformed_row_affects_only_itself() {
        let rows = rows(
            r#"{"key": "a/b/c", "marketing_url": "u"}, 7, null, [], {"key": 1, "marketing_url": null},
               {"key": "k"}, {"key": "k", "marketing_url": 3}, {"key": "k", "marketing_url": ""},
               {"key": "k", "key": "l", "marketing_url": "u"}, {"key": "z", "marketing_url": "v", "more": {}}"#,
        );
        let row = |key: Option<&str>, url| Row { key: key.map(str::to_owned), url, ..Row::default() };
        assert_eq!(
            rows,
            [
                row(Some("a/b/c"), Listed::Text("u".into())),
                row(None, Listed::Odd),
                row(None, Listed::Odd),
                row(None, Listed::Odd),
                row(None, Listed::Null),
                row(Some("k"), Listed::Odd),
                row(Some("k"), Listed::Odd),
                row(Some("k"), Listed::Null),
                row(None, Listed::Odd),
                row(Some("z"), Listed::Text("v".into())),
            ]
        );
    }

    #[test]
    fn a_body_that_is_not_a_list_is_named() {
        let defect = |body: &str| list(body.as_bytes(), 1000, None).unwrap_err();
        assert!(matches!(defect("\n<!doctype html><html>"), Defect::Html(_)));
        for cut in ["", "{\"count\": 1, \"results\": [{\"ke", "{\"count\": 1, \"results\": []} x"] {
            assert!(matches!(defect(cut), Defect::NotJson { .. }), "{cut}");
        }
        for odd in [
            "null",
            "[]",
            "{}",
            "\"x\"",
            "{\"detail\": \"Invalid page.\"}",
            "{\"count\": 0}",
            "{\"results\": []}",
            "{\"count\": -1, \"results\": []}",
            "{\"count\": \"3\", \"results\": []}",
            "{\"count\": null, \"results\": []}",
            "{\"count\": 1, \"results\": {}}",
            "{\"count\": 1, \"results\": null}",
        ] {
            assert!(matches!(defect(odd), Defect::Odd(_)), "{odd}");
        }
    }

    #[test]
    fn a_very_long_string_is_cut() {
        let long = "é".repeat(1_000_000);
        let row = rows(&format!(r#"{{"key": "{long}", "marketing_url": "{long}"}}"#)).remove(0);
        let Listed::Text(url) = row.url else { panic!("{:?}", row.url) };
        assert_eq!((row.key.unwrap().len(), url.len()), (MAX_TEXT, MAX_TEXT));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = list(&body, 1000, None);
        }

        #[test]
        fn no_json_panics_and_cut_json_is_never_a_list(
            rows in "(\\{\"key\": ?(\"[a-z\\\\\"]{0,4}\"|3|null)(, ?\"marketing_url\": ?(null|\"[a-z]{0,3}\"|\\[\\]))?\\},?){0,4}",
            cut in 0usize..200,
        ) {
            let body = format!("{{\"count\": 1, \"next\": null, \"results\": [{rows}]}}");
            let _ = list(body.as_bytes(), 1000, None);
            if let Some(part) = body.get(..cut.min(body.len() - 1)) {
                prop_assert!(list(part.as_bytes(), 1000, None).is_err());
            }
        }
    }

    #[test]
    fn more_rows_than_were_asked_for_are_refused() {
        let body = |rows: &str| format!("{{\"count\": 1, \"results\": [{rows}");
        let error = list(body("0,0,0]}").as_bytes(), 2, None).unwrap_err();
        assert_eq!(error, Defect::Odd("it has more rows than the 2 that were asked for".to_owned()));
        assert_eq!(list(body("0,0]}").as_bytes(), 2, None).unwrap().rows.len(), 2);
    }

    #[test]
    fn the_next_page_is_there_or_not() {
        for (next, has_next) in
            [("null", false), ("\"\"", false), ("\"https://x/?page=2\"", true), ("[0]", true)]
        {
            let body = format!("{{\"next\": {next}, \"count\": 1, \"results\": [], \"more\": {{}}}}");
            assert_eq!(list(body.as_bytes(), 1, None).unwrap().has_next, has_next, "{next}");
        }
        assert!(!list(b"{\"count\": 1, \"results\": []}", 1, None).unwrap().has_next);
        assert!(list(b"{\"count\": 1, \"count\": 1, \"results\": []}", 1, None).is_err());
    }
}
