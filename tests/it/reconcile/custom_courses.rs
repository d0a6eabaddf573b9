//! Custom courses that the Catalog lists itself, in a pass.

use course_sharing::store::Verdict;

use super::rig::Rig;
use crate::support::databases::KINDS;

const OWN: &str = "https://www.campus.example/course/of-its-own";

#[tokio::test]
async fn a_listing_of_its_own_serves_where_the_parent_gives_no_url() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 40).await;
        let listed = rig.listed();
        let (parent, url) = listed.iter().find(|(_, url)| url.is_some()).unwrap();
        let ccx = |run: &str| format!("ccx-v1:{}+ccx@7", run.strip_prefix("course-v1:").unwrap());
        let (of_listed, alone, nowhere) = (ccx(parent), ccx("course-v1:Gone+G+1"), ccx("course-v1:Gone+H+1"));
        for id in [&of_listed, &alone, &nowhere] {
            rig.database.insert_overview(id, None).await;
        }
        rig.catalog.put(&of_listed, Some(OWN));
        rig.catalog.put(&alone, Some(OWN));
        let (dry, changes) = rig.dry_run().await;
        assert!(
            changes.iter().any(|change| change.key == alone && change.to.as_deref() == Some(OWN)),
            "{kind:?}"
        );
        let report = rig.run().await;
        assert_eq!(report.verdict, Verdict::Complete, "{kind:?} {:?}", report.reasons);
        assert_eq!((report.ccx_listed, report.ccx_by_parent, report.not_listed), (2, 2, 1), "{kind:?}");
        assert_eq!((dry.ccx_by_parent, dry.not_listed, dry.updated), (2, 1, report.updated), "{kind:?}");
        let links = rig.links().await;
        assert_eq!((&links[&of_listed], &links[&nowhere]), (url, &None), "{kind:?}");
        assert_eq!(links[&alone].as_deref(), Some(OWN), "{kind:?}");
        let again = rig.run().await;
        assert_eq!((again.verdict, again.updated, again.cleared), (Verdict::Complete, 0, 0), "{kind:?}");
        assert_eq!((again.ccx_by_parent, again.without_overview), (2, 0), "{kind:?}");

        // The parent's page goes: after a second null its custom course has the link of its own listing.
        rig.catalog.put(parent, None);
        assert_eq!(rig.run().await.verdict, Verdict::Complete, "{kind:?}");
        assert_eq!(rig.links().await[&of_listed], *url, "{kind:?}: not yet");
        rig.long_ago().await;
        let cleared = rig.run().await;
        assert_eq!(
            (cleared.verdict, cleared.cleared),
            (Verdict::Complete, 1),
            "{kind:?} {:?}",
            cleared.reasons
        );
        let links = rig.links().await;
        assert_eq!((&links[parent], links[&of_listed].as_deref()), (&None, Some(OWN)), "{kind:?}");
        let quiet = rig.run().await;
        assert_eq!((quiet.verdict, quiet.updated, quiet.cleared), (Verdict::Complete, 0, 0), "{kind:?}");

        // And when its own listing goes too, nothing is cleared for that.
        rig.catalog.state().setup.runs.remove(&of_listed);
        assert_eq!(rig.run().await.verdict, Verdict::Complete, "{kind:?}");
        assert_eq!(rig.links().await[&of_listed].as_deref(), Some(OWN), "{kind:?}");
        rig.drop().await;
    }
}
