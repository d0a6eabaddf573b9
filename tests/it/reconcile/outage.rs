//! An outage is no empty catalogue.

use course_sharing::config::Absent;
use course_sharing::store::Verdict;

use super::rig::Rig;
use crate::stand_in::{Fault, RetryAfter, Runs};
use crate::support::databases::{KINDS, Kind};

/// A full LMS that would clear what is gone.
async fn full(kind: Kind) -> Rig {
    let mut rig = Rig::generated(kind, 60).await;
    rig.run().await;
    rig.reconcile.absent = Absent::Clear;
    rig.at_once = 1;
    rig
}

#[tokio::test]
async fn an_empty_list_where_there_were_links_clears_nothing() {
    for kind in KINDS {
        let rig = full(kind).await;
        let before = rig.links().await;
        rig.catalog.state().setup.runs = Runs::default();
        let report = rig.run().await;
        assert_eq!((report.verdict, report.exit_code()), (Verdict::Incomplete, 3), "{kind:?}");
        assert!(report.reasons[0].contains("lists no run at all"), "{:?}", report.reasons);
        assert_eq!(rig.links().await, before, "{kind:?}");
        rig.drop().await;
    }
}

#[tokio::test]
async fn an_empty_list_of_an_empty_site_is_complete() {
    let rig = Rig::generated(Kind::Sqlite, 0).await;
    assert_eq!(rig.run().await.verdict, Verdict::Complete);
    rig.drop().await;
}

#[tokio::test]
async fn a_wrong_address_at_the_start_fails_and_in_the_middle_leaves_the_pass_incomplete() {
    for kind in KINDS {
        let rig = full(kind).await;
        let before = rig.links().await;
        rig.catalog.script([Fault::Status(404)]);
        let failed = rig.run().await;
        assert_eq!((failed.verdict, failed.exit_code()), (Verdict::Failed, 1), "{kind:?}");
        assert_eq!((failed.unsettled, failed.listed), (60, 0), "{kind:?}");

        rig.catalog.script([Fault::Ok, Fault::Ok, Fault::Status(403)]);
        let requests = rig.catalog.stats().requests;
        let broken_off = rig.run().await;
        assert_eq!((broken_off.verdict, broken_off.exit_code()), (Verdict::Incomplete, 3), "{kind:?}");
        assert_eq!((broken_off.settled_by_crawl, broken_off.unsettled), (32, 28), "{kind:?}");
        assert!(broken_off.reasons[0].contains("at run 32 of 60"), "{:?}", broken_off.reasons);
        assert_eq!(
            rig.catalog.stats().requests - requests,
            3,
            "{kind:?}: a Catalog that is gone is left alone"
        );
        assert_eq!(rig.links().await, before, "{kind:?}");
        assert_eq!(rig.run().await.verdict, Verdict::Complete, "{kind:?}");
        rig.drop().await;
    }
}

#[tokio::test]
async fn a_catalog_that_is_down_or_shows_a_login_page_is_an_outage() {
    let down = async {
        let mut rig = full(Kind::Sqlite).await;
        rig.catalog.unplug().await;
        rig
    };
    let html = async {
        let rig = full(Kind::Sqlite).await;
        rig.catalog.script(std::iter::repeat_n(Fault::Html200, 1000));
        rig
    };
    let (down, html) = tokio::join!(down, html);
    let run = |rig: Rig| async move {
        let before = rig.links().await;
        let report = rig.run().await;
        assert_eq!((report.verdict, report.exit_code()), (Verdict::Failed, 1), "{:?}", report.reasons);
        assert_eq!(rig.links().await, before);
        rig.drop().await;
    };
    tokio::join!(run(down), run(html));
}

#[tokio::test]
async fn a_throttled_pass_waits_and_ends_well() {
    let rig = full(Kind::Sqlite).await;
    rig.catalog.script([Fault::Ok, Fault::Throttled(RetryAfter::Seconds(2))]);
    let report = rig.run().await;
    assert_eq!((report.verdict, report.settled_by_crawl), (Verdict::Complete, 60), "{:?}", report.reasons);
    assert!(report.seconds > 1.0, "it asked on while it was told not to");
    rig.drop().await;
}
