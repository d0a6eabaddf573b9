//! The rows of the list of courses, each with its runs and when it was changed.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeSeed;
use serde_json::value::RawValue;

use super::{List, Rows, read, text};
use crate::catalog::error::Defect;
use crate::model::course_key::CourseKey;

/// Runs that a course may have. One with more is not usable.
const MOST_RUNS: usize = 1_000;

/// One course of an answer. A field that is missing or malformed is none.
#[derive(Debug, PartialEq, Eq, Default)]
pub(in crate::catalog) struct CourseRow {
    /// Its key, `ORG+COURSE`.
    pub(in crate::catalog) course: Option<String>,
    /// When it was changed, by the Catalog's clock.
    pub(in crate::catalog) stamp: Option<DateTime<Utc>>,
    /// Those of its runs whose key can be read.
    pub(in crate::catalog) runs: Option<Vec<CourseKey>>,
}

#[derive(Deserialize, Default)]
struct CourseFields<'a> {
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data_modified_timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    course_runs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Nested<'a> {
    #[serde(borrow)]
    key: &'a RawValue,
}

/// Reads the body of an answer to a request for `most` courses; otherwise as [`super::list`].
pub(in crate::catalog) fn courses(
    body: &[u8],
    most: usize,
    secret: Option<&str>,
) -> Result<List<CourseRow>, Defect> {
    read(body, most, secret, course_row)
}

fn course_row(raw: &RawValue) -> CourseRow {
    let fields: CourseFields<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
    CourseRow {
        course: fields.key.and_then(text),
        stamp: fields.data_modified_timestamp.and_then(text).as_deref().and_then(stamp),
        runs: fields.course_runs.and_then(runs),
    }
}

fn stamp(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|stamp| stamp.with_timezone(&Utc))
}

fn runs(raw: &RawValue) -> Option<Vec<CourseKey>> {
    let rows = Rows { most: MOST_RUNS, row: run };
    let runs = rows.deserialize(&mut serde_json::Deserializer::from_str(raw.get())).ok()?;
    Some(runs.into_iter().flatten().collect())
}

fn run(raw: &RawValue) -> Option<CourseKey> {
    let nested: Nested<'_> = serde_json::from_str(raw.get()).ok()?;
    CourseKey::parse(&text(nested.key)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn course_rows(results: &str) -> Vec<CourseRow> {
        let body = format!(r#"{{"count": 9, "next": null, "results": [{results}]}}"#);
        courses(body.as_bytes(), 1000, None).unwrap().rows
    }

    #[test]
    fn the_recorded_courses_are_read_with_few_fields_and_with_all() {
        let body = include_bytes!("../../../tests/fixtures/catalog/courses-timestamp-five-fields.json");
        let list = courses(body, 1000, None).unwrap();
        assert_eq!((list.count, list.rows.len(), list.has_next), (5, 5, false));
        assert_eq!(list.rows[0].course.as_deref(), Some("AcmeX+BIO110"));
        assert_eq!(list.rows[0].stamp, "2026-11-24T16:45:54.303022Z".parse().ok());
        assert_eq!(list.rows[0].runs.as_ref().unwrap().len(), 7);
        let body = include_bytes!("../../../tests/fixtures/catalog/courses-timestamp-one-full.json");
        let full = courses(body, 1000, None).unwrap().rows.remove(0);
        assert_eq!(full.runs, list.rows[0].runs);
        assert!(full.stamp.is_some());
    }

    #[test]
    fn what_is_malformed_of_a_course_affects_only_itself() {
        let run = r#"{"key": "course-v1:A+B+C"}"#;
        let rows = course_rows(&format!(
            r#"7, {{"key": 3, "data_modified_timestamp": null, "course_runs": {{}}}},
               {{"key": "A+B", "data_modified_timestamp": "yesterday", "course_runs": [1, {{}}, {{"key": "x"}}, {run}]}},
               {{"key": "A+B", "data_modified_timestamp": "2026-11-24T16:45:54+02:00", "course_runs": []}}"#
        ));
        assert_eq!((&rows[0], &rows[1]), (&CourseRow::default(), &CourseRow::default()));
        assert_eq!((rows[2].stamp, rows[2].runs.as_ref().map(Vec::len)), (None, Some(1)));
        assert_eq!(rows[3].stamp, "2026-11-24T14:45:54Z".parse().ok());
    }

    #[test]
    fn a_course_with_too_many_runs_has_none() {
        let runs = |count| vec![r#"{"key": "course-v1:A+B+C"}"#; count].join(",");
        let of = |count| {
            course_rows(&format!(r#"{{"key": "A+B", "course_runs": [{}]}}"#, runs(count))).remove(0).runs
        };
        assert_eq!(of(MOST_RUNS).unwrap().len(), MOST_RUNS);
        assert_eq!(of(MOST_RUNS + 1), None);
    }

    proptest! {
        #[test]
        fn no_bytes_of_courses_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = courses(&body, 1000, None);
        }

        #[test]
        fn no_json_of_courses_panics(
            stamp in "\"[0-9TZ:.+-]{0,30}\"|null|-?[0-9]{1,20}", runs in "(\\[|\\{|\"key\":|\"a/b/c\"|,|\\]|\\}|1){0,12}",
        ) {
            let row = format!(r#"{{"key": "k", "data_modified_timestamp": {stamp}, "course_runs": {runs}}}"#);
            let _ = courses(format!(r#"{{"count": 1, "results": [{row}]}}"#).as_bytes(), 1000, None);
        }
    }
}
