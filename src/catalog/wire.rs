//! Reads the body of an answer into rows. One malformed row affects only itself; a body that is not a list is an error.
//! Pure.

use std::fmt;
use std::time::Duration;

use chrono::TimeDelta;
use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::error::{Defect, quote};
use super::observation::{Observation, Unknown};
use crate::model::course_key::{CourseKey, CourseKeyError};
use crate::model::extra_columns::{Also, AlsoColumn, is_language};
use crate::model::marketing_url::{RefusedUrl, UrlPolicy};

/// Bytes of a string that are kept: twice the longest URL that may be shared, and more than any key.
const MAX_TEXT: usize = 4096;

/// One answer of a list: of runs, or of courses.
#[derive(Debug)]
pub struct Page<T = ListedRun> {
    /// The number of rows in the whole list, as the Catalog says.
    pub count: u64,
    /// Whether the Catalog says that there is more.
    pub has_next: bool,
    /// The rows, in their order: fewer than asked for at the end of the list, none past it.
    pub rows: Vec<T>,
    /// The length of the body.
    pub bytes: usize,
    /// From sending the request to the last byte, without waits and retries.
    pub elapsed: Duration,
    /// By how much the Catalog's clock is ahead of ours, to the second, if it says.
    pub clock_ahead: Option<TimeDelta>,
}

/// One run of an answer.
#[derive(Debug)]
pub struct ListedRun {
    /// Its key, or what is wrong with it.
    pub key: Result<CourseKey, CourseKeyError>,
    /// `Url`, `NoUrl`, `Refused`, or `Unknown` if the row cannot be used.
    pub observation: Observation,
    /// Columns of `sync.also` with a value that cannot be used.
    pub odd: Vec<AlsoColumn>,
}

impl ListedRun {
    /// False if the row has no string as its key.
    pub(super) fn is_named(&self) -> bool {
        !matches!(&self.key, Err(CourseKeyError::Malformed { text, .. }) if text.is_empty())
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
pub(super) fn text(raw: &RawValue) -> Option<String> {
    let mut text: String = serde_json::from_str(raw.get()).ok()?;
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.shrink_to_fit();
    }
    Some(text)
}

/// Reads the body of an answer with status 200 to a request for `most` rows, each by `row`. No error quotes `secret`, the
/// token that was sent. Besides the body this takes as much memory as the strings of the rows.
pub(super) fn read<T>(
    body: &[u8],
    most: usize,
    secret: Option<&str>,
    row: &dyn Fn(&RawValue) -> T,
) -> Result<Page<T>, Defect> {
    match body.trim_ascii_start().first() {
        Some(b'<') => return Err(Defect::Html(quote(body, secret))),
        // Serde would take the elements for the fields.
        Some(b'[') => return Err(Defect::Odd(quote(body, secret))),
        _ => {}
    }
    let read = serde_json::from_slice(body).and_then(|Envelope { count, next, results }| {
        let rows = Rows { most, row }.deserialize(&mut serde_json::Deserializer::from_str(results.get()))?;
        // The address of the next page is not used: it may be another host.
        let has_next = next.is_some_and(|next| next.get() != "\"\"");
        let (bytes, elapsed, clock_ahead) = (body.len(), Duration::ZERO, None);
        Ok(Page { count, has_next, rows, bytes, elapsed, clock_ahead })
    });
    read.map_err(|error| match error.classify() {
        Category::Data if error.to_string().starts_with(TOO_MANY) => {
            Defect::Odd(format!("it has more rows than the {most} that were asked for"))
        }
        Category::Data => Defect::Odd(quote(body, secret)),
        // Without the parser's message, which may quote the body.
        _ => {
            let place = format!("line {}, column {}", error.line(), error.column());
            Defect::NotJson(place, quote(body, secret))
        }
    })
}

/// Reads one run, with these columns of `sync.also`, as a Catalog may ignore `fields=`.
pub(super) fn run(raw: &RawValue, policy: &UrlPolicy, columns: &[AlsoColumn]) -> ListedRun {
    let fields: Fields<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
    let (also, mut odd) = also(fields.eligible_for_financial_aid, fields.content_language);
    odd.retain(|column| columns.contains(column));
    let key = key(&fields.key.and_then(text).unwrap_or_default());
    ListedRun { key, observation: observation(fields.marketing_url, also.only(columns), policy), odd }
}

/// The key of a row, or what is wrong with it. The key of a version of a course is refused: it parses as the key of the
/// course.
fn key(text: &str) -> Result<CourseKey, CourseKeyError> {
    let malformed = |why| CourseKeyError::Malformed { text: text.chars().take(80).collect(), why };
    if text.is_empty() {
        return Err(malformed("the Catalog's row has no key"));
    }
    let key = CourseKey::parse(text)?;
    if key.as_str() == text { Ok(key) } else { Err(malformed("it names a version of a course")) }
}

/// What one row says. A URL that the policy refuses is not the same as no URL.
fn observation(url: Option<&RawValue>, also: Also, policy: &UrlPolicy) -> Observation {
    let url = match url {
        Some(raw) if raw.get() == "null" => Some(String::new()),
        raw => raw.and_then(text),
    };
    match url.map(|url| (policy.accept(&url), url)) {
        Some((_, url)) if url.is_empty() => Observation::NoUrl(also),
        Some((Ok(url), _)) => Observation::Url(url, also),
        Some((Err(why), url)) => Observation::Refused(RefusedUrl::new(&url, &why)),
        None => {
            Observation::Unknown(Unknown::Row("its marketing_url is missing, or neither a string nor null"))
        }
    }
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
pub(super) struct Rows<'r, T> {
    pub(super) most: usize,
    pub(super) row: &'r dyn Fn(&RawValue) -> T,
}

impl<'de, T> DeserializeSeed<'de> for Rows<'_, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T> Visitor<'de> for Rows<'_, T> {
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

    fn list(body: &[u8], most: usize, secret: Option<&str>) -> Result<Page, Defect> {
        read(body, most, secret, &|raw| run(raw, &UrlPolicy::default(), &AlsoColumn::ALL))
    }

    fn rows(results: &str) -> Vec<ListedRun> {
        list(format!(r#"{{"count": 9, "next": null, "results": [{results}]}}"#).as_bytes(), 1000, None)
            .unwrap()
            .rows
    }

    fn also(run: &ListedRun) -> &Also {
        match &run.observation {
            Observation::Url(_, also) | Observation::NoUrl(also) => also,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_recorded_rows_have_the_columns_of_sync_also() {
        // It was recorded without exclude_utm=1.
        let body = include_str!("../../tests/fixtures/catalog/list-page1-size100.json").replace("utm_", "x_");
        let rows = list(body.as_bytes(), 1000, None).unwrap().rows;
        let known = Also { eligible_for_financial_aid: Some(true), language: Some("en-us".to_owned()) };
        assert_eq!(rows.iter().filter(|run| *also(run) == known).count(), 99);
        let without = rows.iter().find(|run| also(run).language.is_none()).unwrap();
        assert_eq!((also(without).eligible_for_financial_aid, without.odd.len()), (Some(true), 0));
        let language = |raw: &RawValue| run(raw, &UrlPolicy::default(), &[AlsoColumn::Language]);
        let rows = read(body.as_bytes(), 1000, None, &language).unwrap().rows;
        assert!(rows.iter().all(|run| also(run).eligible_for_financial_aid.is_none()));
    }

    #[test]
    fn a_value_that_is_not_valid_is_ignored() {
        use AlsoColumn::{EligibleForFinancialAid, Language};
        for (fields, values, odd) in [
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
            let run =
                rows(&format!(r#"{{"key": "a/b/c", "marketing_url": "https://u", {fields}}}"#)).remove(0);
            assert_eq!((also(&run), &run.odd), (&values, &odd), "{fields}");
            assert!(matches!(run.observation, Observation::Url(url, _) if url.as_str() == "https://u"));
        }
    }

    #[test]
    fn the_recorded_list_is_read_whole() {
        let body = include_bytes!("../../tests/fixtures/catalog/list-limit1000-fields.json");
        let list = list(body, 1000, None).unwrap();
        assert_eq!((list.count, list.rows.len(), list.has_next), (241, 241, false));
        let is_null = |run: &&ListedRun| matches!(run.observation, Observation::NoUrl(_));
        assert_eq!(list.rows.iter().filter(is_null).count(), 40);
        let is_sound =
            |run: &ListedRun| run.key.is_ok() && !matches!(run.observation, Observation::Unknown(_));
        assert!(list.rows.iter().all(is_sound));
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
               {"key": "k"}, {"key": "k/l/m", "marketing_url": 3}, {"key": "k/l/m", "marketing_url": ""},
               {"key": "k/l/m", "key": "l/m/n", "marketing_url": "u"},
               {"key": "x/y/z", "marketing_url": "https://v", "more": {}}"#,
        );
        let shown = |run: &ListedRun| {
            let observation = match run.observation {
                Observation::Url(..) => "url",
                Observation::NoUrl(_) => "null",
                Observation::Refused(_) => "refused",
                Observation::Unknown(_) => "odd",
                Observation::NotListed => "not listed",
            };
            (run.key.as_ref().map_or("", CourseKey::as_str).to_owned(), run.is_named(), observation)
        };
        let expected = [
            ("a/b/c", true, "refused"),
            ("", false, "odd"),
            ("", false, "odd"),
            ("", false, "odd"),
            ("", false, "null"),
            ("", true, "odd"),
            ("k/l/m", true, "odd"),
            ("k/l/m", true, "null"),
            ("", false, "odd"),
            ("x/y/z", true, "url"),
        ];
        let expected = expected.map(|(key, is_named, observation)| (key.to_owned(), is_named, observation));
        assert_eq!(rows.iter().map(shown).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_version_of_a_course_is_not_a_run() {
        assert!(key("course-v1:a+b+c").is_ok());
        assert!(key("course-v1:a+b+c+branch@draft").is_err());
        assert!(key("").is_err());
    }

    #[test]
    fn a_refused_url_is_an_answer_and_says_why() {
        let run = rows(r#"{"key": "a/b/c", "marketing_url": "course/relative"}"#).remove(0);
        let Observation::Refused(refused) = run.observation else { panic!("{run:?}") };
        assert_eq!(refused.url, "course/relative");
        assert!(refused.why.contains("relative"), "{refused:?}");
    }

    #[test]
    fn a_body_that_is_not_a_list_is_named() {
        let defect = |body: &str| list(body.as_bytes(), 1000, None).unwrap_err();
        assert!(matches!(defect("\n<!doctype html><html>"), Defect::Html(_)));
        for cut in ["", "{\"count\": 1, \"results\": [{\"ke", "{\"count\": 1, \"results\": []} x"] {
            assert!(matches!(defect(cut), Defect::NotJson(..)), "{cut}");
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
        let raw = serde_json::value::to_raw_value(&long).unwrap();
        assert_eq!(text(&raw).unwrap().len(), MAX_TEXT);
        let run = rows(&format!(r#"{{"key": "{long}", "marketing_url": "{long}"}}"#)).remove(0);
        assert!(run.key.unwrap_err().to_string().chars().count() < 150);
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
