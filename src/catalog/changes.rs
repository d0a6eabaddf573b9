//! Asks which courses changed since a time.

use chrono::{DateTime, Utc};

use super::Purpose;
use super::client::Client;
use super::error::CatalogError;
use super::wire::CourseRow;
use crate::model::course_key::CourseKey;

/// Courses in one request: more than are expected, as a list that changes between two pages may skip one.
const LIMIT: usize = 1_000;
/// Requests for one answer. More courses than that are left to a pass.
const MOST_PAGES: usize = 5;
/// Bytes of a course's key. A run's key, of 255 characters, is longer.
const MOST_BYTES: usize = 1_000;

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
    /// Its runs.
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
            let list = fresh.requests.ask_for_courses(&target, Purpose::Hint).await?.list;
            let is_last = list.rows.is_empty() || !list.has_next;
            rows += list.rows.len();
            list.rows.into_iter().for_each(|row| changes.add(row));
            if is_last {
                changes.complete = list.count <= rows as u64;
                break;
            }
        }
        Ok(changes)
    }
}

impl Changes {
    fn add(&mut self, row: CourseRow) {
        match row {
            CourseRow { stamp: None, .. } => self.unstamped += 1,
            CourseRow { course: Some(course), stamp: Some(stamp), runs: Some(runs) }
                if course.len() <= MOST_BYTES =>
            {
                self.courses.push(Changed { course, stamp, runs });
            }
            _ => self.odd += 1,
        }
    }
}
