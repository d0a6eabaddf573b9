//! Dead letters that have lost their point: a later pass has found their course right.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::reading;
use crate::broker::{BrokerError, DeadLetters};
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
    let mut right = HashSet::new();
    for courses in courses.chunks(MAX_ROWS) {
        let snapshots = store.snapshots(courses).await?;
        right.extend(snapshots.into_iter().filter(|s| is_right(s, died.get(&s.course))).map(|s| s.course));
    }
    if right.is_empty() {
        return Ok(0);
    }
    let walk = letters.discard(|letter| reading::course(letter).is_some_and(|c| right.contains(&c))).await?;
    Ok(walk.matched)
}

/// Whether the overview has the URL that the Catalog gave after the letter was first seen.
fn is_right(snapshot: &Snapshot, died: Option<&DateTime<Utc>>) -> bool {
    let (Some(overview), Some(entry), Some(died)) = (&snapshot.overview, &snapshot.entry, died) else {
        return false;
    };
    let link = overview.marketing_url.as_deref();
    entry.listed && entry.observed_at > *died && link.is_some() && link == entry.in_force()
}
