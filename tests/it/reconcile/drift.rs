//! A list that moves while it is read hides no overview.

use course_sharing::store::Verdict;

use super::rig::Rig;
use crate::support::databases::KINDS;
use stand_in::Churn;

#[tokio::test]
async fn an_insert_or_a_delete_at_every_page_hides_no_overview() {
    for kind in KINDS {
        for churn in [Churn::InsertFirst, Churn::DeleteFirst] {
            let rig = Rig::generated(kind, 1000).await;
            let before = rig.listed();
            rig.catalog.state().churn = Some(churn);
            let report = rig.run().await;
            rig.catalog.state().churn = None;
            assert_eq!(report.verdict, Verdict::Complete, "{kind:?} {churn:?}: {:?}", report.reasons);
            let (links, listed) = (rig.links().await, rig.listed());
            for (key, url) in &before {
                // A run that went before it was seen is not listed, and has no link to keep.
                if listed.contains_key(key) {
                    assert_eq!(&links[key], url, "{kind:?} {churn:?} {key}");
                }
            }
            let settled = report.settled_by_crawl + report.settled_by_key + report.not_listed;
            assert_eq!((settled, report.unsettled), (1000, 0), "{kind:?} {churn:?}");
            match churn {
                Churn::InsertFirst => assert!(report.seen_twice > 0),
                Churn::DeleteFirst => assert!(report.settled_by_key > 0),
            }
            assert_eq!(report.requests, rig.catalog.stats().requests);
            rig.drop().await;
        }
    }
}
