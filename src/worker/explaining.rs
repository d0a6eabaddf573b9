//! What is known of one course, gathered for `explain` and for the page's search alike.

use crate::broker::{BrokerError, DeadLetters};
use crate::course_key::CourseKey;
use crate::explain::{DeadLetter, Explanation};
use crate::store::{Store, StoreError};

use super::reading;

/// Dead letters of one course that are shown.
const SHOWN: u32 = 20;

/// Everything known of `course`; `dead_letters` or why they cannot be told, as the rest can be without a broker.
///
/// # Errors
/// Those of the database.
pub async fn explain(
    store: &Store,
    course: &CourseKey,
    dead_letters: impl Future<Output = Result<Vec<DeadLetter>, String>>,
) -> Result<Explanation, StoreError> {
    let (courses, runs) = (std::slice::from_ref(course), [course.run_key()]);
    let (mut links, mut entries, failure, blank, dead_letters) = tokio::try_join!(
        store.links(courses),
        store.entries(&runs),
        store.failure(&runs[0]),
        store.blank(course.as_str()),
        async { Ok(dead_letters.await) }
    )?;
    let overview = links.pop();
    // What was noted some seconds ago may have come right since.
    let blank = blank.filter(|_| overview.as_ref().is_some_and(|row| row.marketing_url.is_none()));
    Ok(Explanation {
        course: course.clone(),
        overview,
        entry: entries.remove(&course.run_key()),
        failure,
        blank,
        dead_letters,
    })
}

/// The dead letters about `course`, the oldest first; looks through all of them.
///
/// # Errors
/// Why they cannot be read.
pub async fn dead_letters(letters: &DeadLetters, course: &CourseKey) -> Result<Vec<DeadLetter>, BrokerError> {
    let mut found = Vec::new();
    letters
        .list(
            SHOWN,
            |letter| reading::named(letter).is_some_and(|about| about == *course),
            |letter| {
                let reason = letter.reason.clone().unwrap_or_default();
                found.push(DeadLetter { first_seen: letter.first_seen, reason });
            },
        )
        .await?;
    Ok(found)
}
