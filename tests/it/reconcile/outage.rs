//! An outage is no empty catalogue.

use course_sharing::config::Absent;
use course_sharing::store::Verdict;

use super::rig::Rig;
use crate::support::databases::{KINDS, Kind};
use stand_in::{Fault, RetryAfter, Run, Runs};

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
        assert_eq!(report.verdict, Verdict::Incomplete, "{kind:?}");
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
        assert_eq!(failed.verdict, Verdict::Failed, "{kind:?}");
        assert_eq!((failed.unsettled, failed.listed), (60, 0), "{kind:?}");

        rig.catalog.script([Fault::Ok, Fault::Ok, Fault::Status(403)]);
        let requests = rig.catalog.stats().requests;
        let broken_off = rig.run().await;
        assert_eq!(broken_off.verdict, Verdict::Incomplete, "{kind:?}");
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
        assert_eq!(report.verdict, Verdict::Failed, "{:?}", report.reasons);
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

/// Another partner's list: sound answers, in which no course of this LMS is listed.
#[tokio::test]
async fn another_partners_list_is_suspect_and_clears_nothing() {
    for kind in KINDS {
        let rig = full(kind).await;
        let before = rig.links().await;
        let own = rig.catalog.state().setup.runs.clone();
        let mut theirs = Runs::default();
        for number in 0..5 {
            theirs.put(Run::new(&format!("course-v1:Other+O{number}+1"), Some("https://other.example/o")));
        }
        rig.catalog.state().setup.runs = theirs;
        // The second night too.
        for _ in 0..2 {
            let (dry, changes) = rig.dry_run().await;
            assert_eq!((dry.verdict, dry.unlisted_links), (Verdict::Incomplete, 60), "{kind:?}");
            assert!(changes.iter().all(|change| change.to.is_none()), "{kind:?} {changes:?}");
            let report = rig.run().await;
            assert_eq!(report.verdict, Verdict::Incomplete, "{kind:?}");
            assert_eq!((report.unlisted_links, report.unsettled, report.held_back), (60, 0, 0), "{kind:?}");
            assert!(report.reasons[0].contains("another partner's list"), "{:?}", report.reasons);
            assert_eq!(rig.links().await, before, "{kind:?}");
        }
        let complete = rig.database.store.last_ended(Some(Verdict::Complete)).await.unwrap().unwrap();
        assert_eq!(complete.id, 1, "{kind:?}: nothing of it counts as a success");

        rig.catalog.state().setup.runs = own;
        assert_eq!(rig.run().await.verdict, Verdict::Complete, "{kind:?}");
        rig.drop().await;
    }
}

/// Once an operator has said that it is so, the same courses are no reason any more.
#[tokio::test]
async fn a_catalog_that_really_dropped_most_courses_is_believed_once_that_is_said() {
    for kind in KINDS {
        let mut rig = full(kind).await;
        rig.reconcile.absent = Absent::Keep;
        for key in rig.listed().into_keys().skip(20) {
            rig.catalog.remove(&key);
        }
        let suspect = rig.run().await;
        assert_eq!((suspect.verdict, suspect.unlisted_links), (Verdict::Incomplete, 40), "{kind:?}");
        assert_eq!(rig.run_letting_through().await.verdict, Verdict::Complete, "{kind:?}");
        let after = rig.run().await;
        assert_eq!((after.verdict, after.unlisted_links), (Verdict::Complete, 40), "{:?}", after.reasons);
        assert!(rig.links().await.values().all(Option::is_some), "{kind:?}");
        rig.drop().await;
    }
}

/// An LMS whose overviews have no link yet, and most of whose courses the Catalog does not list.
#[tokio::test]
async fn a_first_pass_over_few_of_many_courses_is_complete() {
    let rig = Rig::generated(Kind::Sqlite, 5).await;
    let others: Vec<String> = (0..100).map(|number| format!("course-v1:Own+N{number}+1")).collect();
    rig.insert_overviews(&others).await;
    let report = rig.run().await;
    assert_eq!((report.verdict, report.not_listed, report.updated), (Verdict::Complete, 100, 5));
    rig.drop().await;
}
