//! Dead letters that have lost their point: a later pass has found their course right.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::reading;
use crate::broker::{BrokerError, DeadLetters, Received};
use crate::course_key::CourseKey;
use crate::store::{MAX_ROWS, Snapshot, Store, StoreError};

/// Courses looked at in one go, at most; the rest has its turn after the next pass.
const MAX_COURSES: usize = 10_000;

/// Why dead letters could not be looked through.
#[derive(Debug, thiserror::Error)]
pub(super) enum SweepError {
    #[error("cannot look through the dead letters")]
    Broker(#[from] BrokerError),
    #[error("cannot look whether the courses of dead letters are right")]
    Store(#[from] StoreError),
}

/// Removes the dead letters whose course has since been found in the Catalog and shares the URL found there. Returns
/// how many.
///
/// # Errors
/// Those of broker and database; nothing is removed that is not right.
pub(super) async fn drop_settled(letters: &DeadLetters, store: &Store) -> Result<u32, SweepError> {
    let mut died: HashMap<CourseKey, DateTime<Utc>> = HashMap::new();
    letters
        .list(
            u32::MAX,
            |_| true,
            |letter| {
                let Some(course) = reading::course(letter) else { return };
                if died.len() < MAX_COURSES || died.contains_key(&course) {
                    let last = died.entry(course).or_insert(letter.first_seen);
                    *last = letter.first_seen.max(*last);
                }
            },
        )
        .await?;
    let courses: Vec<CourseKey> = died.keys().cloned().collect();
    let mut right: HashMap<CourseKey, DateTime<Utc>> = HashMap::new();
    for courses in courses.chunks(MAX_ROWS) {
        let snapshots = store.snapshots(courses).await?;
        right.extend(snapshots.into_iter().filter_map(|snapshot| {
            let seen = seen_right(&snapshot)
                .filter(|seen| died.get(&snapshot.course).is_some_and(|died| seen > died));
            Some((snapshot.course, seen?))
        }));
    }
    if right.is_empty() {
        return Ok(0);
    }
    // Another may have died meanwhile, of which nothing is proven.
    let is_settled = |letter: &Received| {
        let seen = reading::course(letter).and_then(|course| right.get(&course));
        seen.is_some_and(|seen| *seen > letter.first_seen)
    };
    Ok(letters.discard(is_settled).await?.matched)
}

/// When the Catalog gave the URL that the overview has; none if it has another, or none.
fn seen_right(snapshot: &Snapshot) -> Option<DateTime<Utc>> {
    let (overview, entry) = (snapshot.overview.as_ref()?, snapshot.entry.as_ref()?);
    let link = overview.marketing_url.as_deref()?;
    (entry.listed && entry.in_force() == Some(link)).then_some(entry.observed_at)
}
