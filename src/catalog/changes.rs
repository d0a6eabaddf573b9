//! Asks which courses changed since a time. The courses come in a list of their own, each with its runs.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeSeed;
use serde_json::value::RawValue;

use super::Purpose;
use super::client::Client;
use super::error::CatalogError;
use super::retry_policy::Kind;
use super::wire::{Rows, text};
use crate::model::course_key::CourseKey;

/// Courses in one request: more than are expected, as a list that changes between two pages may skip one.
const LIMIT: usize = 1_000;
/// Requests for one answer. More courses than that are left to a pass.
const MOST_PAGES: usize = 5;
/// Bytes of a course's key. A run's key, of 255 characters, is longer.
const MOST_BYTES: usize = 1_000;
/// Runs that a course may have. One with more is not usable.
const MOST_RUNS: usize = 1_000;

/// What changed since a time.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The courses, each row as it came.
    pub courses: Vec<Changed>,
    /// The number of rows without a stamp that can be read.
    pub unstamped: usize,
    /// The number of other rows that cannot be used.
    pub odd: usize,
    /// False if there are more courses than were asked for, or fewer than the Catalog says.
    pub complete: bool,
}

/// A course that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Its key, `ORG+COURSE`.
    pub course: String,
    /// When, by the Catalog's clock; any time at all, if the Catalog says so.
    pub stamp: DateTime<Utc>,
    /// Those of its runs whose key can be read.
    pub runs: Vec<CourseKey>,
}

impl Client {
    /// The courses that changed at `since` or later, by the Catalog's clock. What changes meanwhile may be missing, with a
    /// stamp not before the request. Asked page by page, past the cache, which may keep an answer from before a change was
    /// committed. The list only grows behind the reader, so that offsets skip nothing unless a course is deleted.
    pub async fn changed_since(&self, since: DateTime<Utc>) -> Result<Changes, CatalogError> {
        let fresh = self.past_cache();
        let (mut changes, mut rows) = (Changes::default(), 0);
        for _ in 0..MOST_PAGES {
            let target = fresh.urls.changed_since(since, rows, LIMIT);
            let page = fresh.requests.ask_for(&target, Kind::Page, Purpose::Hint, &course).await?;
            let is_last = page.rows.is_empty() || !page.has_next;
            rows += page.rows.len();
            for course in page.rows {
                match course {
                    Course::Changed(changed) => changes.courses.push(changed),
                    Course::Unstamped => changes.unstamped += 1,
                    Course::Odd => changes.odd += 1,
                }
            }
            if is_last {
                changes.complete = page.count <= rows as u64;
                break;
            }
        }
        Ok(changes)
    }
}

/// One course of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Course {
    Changed(Changed),
    /// It has no stamp that can be read.
    Unstamped,
    /// It cannot be used for another reason.
    Odd,
}

#[derive(Deserialize, Default)]
struct Fields<'a> {
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data_modified_timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    course_runs: Option<&'a RawValue>,
}

/// Reads one course.
fn course(raw: &RawValue) -> Course {
    let fields: Fields<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
    let stamp = fields.data_modified_timestamp.and_then(text);
    let stamp = stamp.and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
    let Some(stamp) = stamp else { return Course::Unstamped };
    match (fields.key.and_then(text), fields.course_runs.and_then(runs)) {
        (Some(course), Some(runs)) if course.len() <= MOST_BYTES => {
            Course::Changed(Changed { course, stamp: stamp.with_timezone(&Utc), runs })
        }
        _ => Course::Odd,
    }
}

fn runs(raw: &RawValue) -> Option<Vec<CourseKey>> {
    let rows = Rows { most: MOST_RUNS, row: &run };
    let runs = rows.deserialize(&mut serde_json::Deserializer::from_str(raw.get())).ok()?;
    Some(runs.into_iter().flatten().collect())
}

fn run(raw: &RawValue) -> Option<CourseKey> {
    let fields: Fields<'_> = serde_json::from_str(raw.get()).ok()?;
    CourseKey::parse(&text(fields.key?)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalog::wire::{Page, read};

    fn courses(body: &[u8]) -> Page<Course> {
        read(body, 1000, None, &course).unwrap()
    }

    fn course_rows(results: &str) -> Vec<Course> {
        courses(format!(r#"{{"count": 9, "next": null, "results": [{results}]}}"#).as_bytes()).rows
    }

    fn changed(course: Course) -> Changed {
        match course {
            Course::Changed(changed) => changed,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_recorded_courses_are_read_with_few_fields_and_with_all() {
        let body = include_bytes!("../../tests/fixtures/catalog/courses-timestamp-five-fields.json");
        let mut list = courses(body);
        assert_eq!((list.count, list.rows.len(), list.has_next), (5, 5, false));
        let first = changed(list.rows.remove(0));
        assert_eq!(first.course, "AcmeX+BIO110");
        assert_eq!(Some(first.stamp), "2026-11-24T16:45:54.303022Z".parse().ok());
        assert_eq!(first.runs.len(), 7);
        let body = include_bytes!("../../tests/fixtures/catalog/courses-timestamp-one-full.json");
        assert_eq!(changed(courses(body).rows.remove(0)).runs, first.runs);
    }

    #[test]
    fn what_is_malformed_of_a_course_affects_only_itself() {
        let run = r#"{"key": "course-v1:A+B+C"}"#;
        let stamp = r#""data_modified_timestamp": "2026-11-24T16:45:54+02:00""#;
        let mut rows = course_rows(&format!(
            r#"7, {{"key": 3, "data_modified_timestamp": null, "course_runs": {{}}}},
               {{"key": "A+B", "data_modified_timestamp": "yesterday", "course_runs": []}},
               {{"key": 3, {stamp}, "course_runs": []}}, {{"key": "A+B", {stamp}, "course_runs": {{}}}},
               {{"key": "A+B", {stamp}, "course_runs": [1, {{}}, {{"key": "x"}}, {run}]}}"#
        ));
        let last = changed(rows.pop().unwrap());
        assert_eq!(Some(last.stamp), "2026-11-24T14:45:54Z".parse().ok());
        assert_eq!(last.runs.len(), 1);
        let unstamped = || Course::Unstamped;
        assert_eq!(rows, [unstamped(), unstamped(), unstamped(), Course::Odd, Course::Odd]);
    }

    #[test]
    fn a_course_with_too_many_runs_is_not_usable() {
        let runs = |count| vec![r#"{"key": "course-v1:A+B+C"}"#; count].join(",");
        let of = |count| {
            let stamp = r#""data_modified_timestamp": "2026-11-24T16:45:54Z""#;
            course_rows(&format!(r#"{{"key": "A+B", {stamp}, "course_runs": [{}]}}"#, runs(count))).remove(0)
        };
        assert_eq!(changed(of(MOST_RUNS)).runs.len(), MOST_RUNS);
        assert_eq!(of(MOST_RUNS + 1), Course::Odd);
    }

    proptest! {
        #[test]
        fn no_bytes_of_courses_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&body, 1000, None, &course);
        }

        #[test]
        fn no_json_of_courses_panics(
            stamp in "\"[0-9TZ:.+-]{0,30}\"|null|-?[0-9]{1,20}", runs in "(\\[|\\{|\"key\":|\"a/b/c\"|,|\\]|\\}|1){0,12}",
        ) {
            let row = format!(r#"{{"key": "k", "data_modified_timestamp": {stamp}, "course_runs": {runs}}}"#);
            let _ = read(format!(r#"{{"count": 1, "results": [{row}]}}"#).as_bytes(), 1000, None, &course);
        }
    }
}
