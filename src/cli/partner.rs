//! For `check`: whether the Catalog's list belongs to this LMS. The Catalog picks the partner by the host of the request;
//! an unknown host gets another partner's list, without an error.

use super::Context;
use crate::catalog::{Client, Purpose};
use crate::model::course_key::CourseKey;
use crate::store::Store;

/// Runs compared.
const PAGE: u32 = 100;
/// With fewer links, nothing can be concluded.
const FEW: u64 = 10;

/// What is strange about the first page of the list. Nothing if database or Catalog do not answer, as `check` has other
/// lines for that.
pub(super) async fn doubt(context: &Context, catalog: &Client) -> Option<String> {
    let store = Store::connect(&context.config.database).await.ok()?;
    let linked = store.counts().await.ok()?.linked.unsigned_abs();
    if linked < FEW {
        return None;
    }
    let page = catalog.page(0, PAGE, Purpose::Command).await.ok()?;
    let keys: Vec<CourseKey> = page.runs.into_iter().filter_map(|run| run.key.ok()).collect();
    let known = store.overviews(&keys).await.ok()?.len();
    is_strange(keys.len(), known, linked).then(|| {
        format!(
            "the LMS has {known} of the first {} runs on the list, and {linked} courses with a link: the host in \
             catalog.url may reach another partner's list. Compare course-sharing reconcile --dry-run, and set \
             catalog.url to the site's public host name",
            keys.len()
        )
    })
}

/// Whether the LMS knows hardly any of the runs, though it has links to compare with.
fn is_strange(shown: usize, known: usize, linked: u64) -> bool {
    linked >= FEW && shown > 0 && known.saturating_mul(10) < shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_with_hardly_any_known_run_is_strange_where_there_are_links() {
        for (shown, known, linked, strange) in [
            (5, 0, 3370, true),
            (100, 9, 3370, true),
            (100, 10, 3370, false),
            (5, 1, 3370, false),
            (0, 0, 3370, false),
            (100, 0, 9, false),
            (100, 0, 0, false),
        ] {
            assert_eq!(is_strange(shown, known, linked), strange, "{shown} {known} {linked}");
        }
    }
}
