//! What is known of one course, gathered for `explain` and for the page's search alike.

use crate::course_key::CourseKey;
use crate::explain::{Explanation, Held};
use crate::reconcile::Report;
use crate::store::{Entry, LetterFilter, PassRow, Store, StoreError};

/// Dead letters of one course that are shown.
const SHOWN: u64 = 20;

/// Everything known of `course`.
///
/// # Errors
/// Those of the database.
pub async fn explain(store: &Store, course: &CourseKey) -> Result<Explanation, StoreError> {
    let (courses, runs) = (std::slice::from_ref(course), [course.run_key(), course.own_key()]);
    let about = LetterFilter { course: Some(course.clone()), ..LetterFilter::default() };
    let (mut links, entries, failure, blank, last, dead_letters) = tokio::try_join!(
        store.links(courses),
        store.entries(&runs),
        store.failure(&runs[0]),
        store.blank(course.as_str()),
        store.last_ended(None),
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
        held: last.and_then(|pass| held(&pass, course)),
        dead_letters,
    })
}

/// The change of this course that the brake of the pass holds back, if its report names it: it names the first hundred.
fn held(pass: &PassRow, course: &CourseKey) -> Option<Held> {
    let report: Report = serde_json::from_str(&pass.report).ok()?;
    let (run, own) = (course.run_key(), course.own_key());
    let change = report.held.into_iter().find(|held| held.key == run.as_str() || held.key == own.as_str())?;
    Some(Held { pass: pass.id, to: change.to })
}
