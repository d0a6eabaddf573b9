//! What is known of one course, gathered for `explain` and for the page's search alike.

use crate::course_key::CourseKey;
use crate::explain::Explanation;
use crate::store::{Entry, LetterFilter, Store, StoreError};

/// Dead letters of one course that are shown.
const SHOWN: u64 = 20;

/// Everything known of `course`.
///
/// # Errors
/// Those of the database.
pub async fn explain(store: &Store, course: &CourseKey) -> Result<Explanation, StoreError> {
    let (courses, runs) = (std::slice::from_ref(course), [course.run_key(), course.own_key()]);
    let about = LetterFilter { course: Some(course.clone()), ..LetterFilter::default() };
    let (mut links, entries, failure, blank, dead_letters) = tokio::try_join!(
        store.links(courses),
        store.entries(&runs),
        store.failure(&runs[0]),
        store.blank(course.as_str()),
        store.letters(&about, 0, SHOWN),
    )?;
    let overview = links.pop();
    // What was noted some seconds ago may have come right since.
    let blank = blank.filter(|_| overview.as_ref().is_some_and(|row| row.marketing_url.is_none()));
    Ok(Explanation {
        course: course.clone(),
        overview,
        entry: Entry::choose(entries.get(&runs[0]), entries.get(&runs[1])).cloned(),
        failure,
        blank,
        dead_letters,
    })
}
