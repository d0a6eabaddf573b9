//! Rows that the database rejects: a pass settles all others, and names them.

use course_sharing::store::Verdict;

use super::rig::Rig;
use crate::support::databases::KINDS;

#[tokio::test]
async fn a_pass_settles_the_rest_and_names_the_rejected_row() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 100).await;
        let bad = rig.listed().keys().nth(41).unwrap().clone();
        rig.database.reject_link(&bad).await;
        let report = rig.run().await;
        assert_eq!(
            (report.verdict, report.unsettled),
            (Verdict::Incomplete, 1),
            "{kind:?} {:?}",
            report.reasons
        );
        let said = report.unsettled_keys.join("\n");
        assert!(said.contains(&bad) && said.contains("no_link"), "{kind:?}: {said}");
        assert!(report.reasons[0].contains(&bad), "{kind:?}: {:?}", report.reasons);
        let settled = report.settled_by_crawl + report.settled_by_key;
        assert_eq!((settled, report.overviews), (99, 100), "{kind:?}");
        let (links, listed) = (rig.links().await, rig.listed());
        for (key, link) in links {
            let wanted = if key == bad { &None } else { &listed[&key] };
            assert_eq!(link, *wanted, "{kind:?} {key}");
        }
        rig.drop().await;
    }
}

/// What the ledger has already, and the list does not bring: only the heal at the pass's end writes it.
#[tokio::test]
async fn the_heal_at_the_end_of_a_pass_writes_the_rest_too() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 600).await;
        assert_eq!(rig.run().await.verdict, Verdict::Complete, "{kind:?}");
        let bad = rig.listed().iter().filter(|(_, url)| url.is_some()).nth(300).unwrap().0.clone();
        rig.database.execute("UPDATE course_overviews_courseoverview SET marketing_url = NULL").await;
        rig.database.reject_link(&bad).await;
        let report = rig.run().await;
        assert_eq!(report.verdict, Verdict::Incomplete, "{kind:?} {:?}", report.reasons);
        assert!(report.reasons.iter().any(|why| why.contains(&bad) && why.contains("no_link")), "{kind:?}");
        let (links, listed) = (rig.links().await, rig.listed());
        for (key, link) in links {
            let wanted = if key == bad { &None } else { &listed[&key] };
            assert_eq!(link, *wanted, "{kind:?} {key}");
        }
        rig.drop().await;
    }
}
