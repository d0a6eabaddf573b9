//! A URL that must not be shared is an answer: it is kept and said, and neither link nor verdict suffers from it.

use course_sharing::store::Verdict;

use super::rig::Rig;
use crate::support::databases::KINDS;

const HAD: &str = "course-v1:OrgX+C0000003+2026_T1";
const NEW: &str = "course-v1:OrgX+C0000031+2026_T1";
const BARE: &str = "course-v1:OrgX+C0000040+2026_T1";

#[tokio::test]
async fn a_pass_with_refused_urls_is_complete_night_after_night_and_a_mended_one_is_taken() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 60).await;
        // One that is never seen with a good URL, one without an overview, one that had a good one.
        rig.catalog.put(NEW, Some("https://me:hunter2@www.campus.example/x"));
        rig.catalog.put(BARE, Some("course/bare"));
        rig.database
            .execute(&format!("DELETE FROM course_overviews_courseoverview WHERE id = '{BARE}'"))
            .await;
        assert_eq!(rig.run().await.refused, 1, "{kind:?}");
        let before = rig.links().await;
        rig.catalog.put(HAD, Some("course/relative"));
        for night in 0..2 {
            let (dry, changes) = rig.dry_run().await;
            assert_eq!(
                (dry.verdict, dry.refused, changes.len()),
                (Verdict::Complete, 2, 0),
                "{kind:?} {night}"
            );
            let report = rig.run().await;
            assert_eq!(report.verdict, Verdict::Complete, "{:?}", report.reasons);
            assert_eq!((report.refused, report.unsettled, report.odd_rows), (2, 0, 0), "{kind:?} {night}");
            assert_eq!((report.settled_by_crawl, report.failures()), (59, 0), "{kind:?} {night}");
            let lines = report.refused_urls.join("; ");
            assert!(
                lines.contains(HAD) && lines.contains("course/relative") && lines.contains(NEW),
                "{lines}"
            );
            assert!(!lines.contains("hunter2") && !lines.contains(BARE), "{lines}");
            assert_eq!(rig.links().await, before, "{kind:?} {night}: the good one stays");
            assert_eq!(rig.database.store.refusal_count().await.unwrap(), 2, "{kind:?}");
        }
        let oldest = rig.database.store.refusals(9).await.unwrap();
        assert_eq!(oldest.iter().map(|found| found.course_id.as_str()).collect::<Vec<_>>(), [NEW, HAD]);
        rig.catalog.put(HAD, Some("https://www.campus.example/course/mended"));
        let mended = rig.run().await;
        assert_eq!((mended.verdict, mended.updated, mended.refused), (Verdict::Complete, 1, 1), "{kind:?}");
        assert_eq!(rig.database.store.refusal_count().await.unwrap(), 1, "{kind:?}");
        rig.drop().await;
    }
}

/// After a clear the Catalog lists a refused URL, and the link has come back from elsewhere.
#[tokio::test]
async fn a_refused_url_takes_no_link_away() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 20).await;
        rig.run().await;
        rig.catalog.put(HAD, None);
        rig.run().await;
        rig.long_ago().await;
        assert_eq!(rig.run().await.cleared, 1, "{kind:?}");
        let link = "https://www.campus.example/course/by-hand";
        rig.database
            .execute(&format!(
                "UPDATE course_overviews_courseoverview SET marketing_url = '{link}' WHERE id = '{HAD}'"
            ))
            .await;
        rig.catalog.put(HAD, Some("course/relative"));
        let (dry, changes) = rig.dry_run().await;
        assert_eq!((dry.verdict, changes.len()), (Verdict::Complete, 0), "{kind:?}");
        let report = rig.run().await;
        assert_eq!((report.verdict, report.cleared, report.held_back), (Verdict::Complete, 0, 0), "{kind:?}");
        assert_eq!(rig.database.link(HAD).await.flatten().as_deref(), Some(link), "{kind:?}");
        rig.drop().await;
    }
}
