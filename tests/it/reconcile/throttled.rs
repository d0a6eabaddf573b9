//! An account that may ask so many times an hour: the pass keeps to that, and leaves some for events.

use std::time::Duration;

use course_sharing::catalog::{Observation, Purpose};
use course_sharing::config::PageSize;
use course_sharing::model::course_key::CourseKey;
use course_sharing::pass::{PassError, Silent};
use course_sharing::store::Verdict;
use tokio_util::sync::CancellationToken;

use super::rig::Rig;
use crate::support::databases::{KINDS, Kind};
use crate::support::wait_until;
use stand_in::{Fault, RetryAfter, Throttle};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn within_two_hundred_requests_an_hour_a_pass_is_whole_and_never_refused() {
    for kind in KINDS {
        for (count, page_size) in [
            (60, PageSize::Auto),
            (1000, PageSize::Auto),
            (3300, PageSize::Auto),
            (2900, PageSize::Fixed(20)),
        ] {
            let mut rig = Rig::generated(kind, count).await;
            rig.catalog.state().setup.throttle = Some(Throttle { requests: 200, window: HOUR });
            (rig.reconcile.page_size, rig.requests_per_hour) = (page_size, 200);
            let report = rig.run().await;
            assert_eq!(
                (report.verdict, report.settled_by_crawl),
                (Verdict::Complete, u64::from(count)),
                "{kind:?}"
            );
            let stats = rig.catalog.stats();
            assert_eq!((stats.throttled, stats.requests), (0, report.requests), "{kind:?} {count}");
            // A quarter is the events'.
            assert!(report.requests <= 150, "{kind:?} {count}: {}", report.requests);
            rig.drop().await;
        }
    }
}

#[tokio::test]
async fn a_pass_that_needs_more_than_an_hour_gives_goes_on_in_the_next() {
    let mut rig = Rig::generated(Kind::Sqlite, 3300).await;
    // An hour of a second.
    let throttle = Throttle { requests: 60, window: Duration::from_secs(1) };
    rig.catalog.state().setup.throttle = Some(throttle);
    rig.reconcile.page_size = PageSize::Fixed(20);
    let report = rig.run().await;
    assert_eq!((report.verdict, report.settled_by_crawl), (Verdict::Complete, 3300), "{:?}", report.reasons);
    let stats = rig.catalog.stats();
    assert_eq!(stats.requests, report.requests);
    // The last page is full, so that one more finds the end.
    assert_eq!(stats.requests - stats.throttled, 166, "each page was answered once");
    // None at all where a busy machine is slower than the throttle.
    assert!(stats.throttled < 40, "{}: it asks on while it is told not to", stats.throttled);
    rig.drop().await;
}

#[tokio::test]
async fn a_catalog_that_lets_nothing_through_any_more_ends_the_pass() {
    let mut rig = Rig::generated(Kind::Sqlite, 100).await;
    rig.at_once = 1;
    let refusals = std::iter::repeat_n(Fault::Throttled(RetryAfter::Seconds(1)), 1000);
    rig.catalog.script([Fault::Ok].into_iter().chain(refusals));
    let report = rig.run().await;
    assert_eq!(report.verdict, Verdict::Incomplete, "{:?}", report.reasons);
    assert!(report.reasons[0].contains("the Catalog was gone at run"), "{:?}", report.reasons);
    assert_eq!(rig.catalog.stats().requests, 13, "each as long after the other as was said");
    rig.drop().await;
}

#[tokio::test]
async fn events_are_answered_while_the_pass_has_used_up_its_share() {
    let mut rig = Rig::generated(Kind::Sqlite, 300).await;
    rig.requests_per_hour = 8;
    let (engine, stop) = (rig.engine(), CancellationToken::new());
    let pass = rig.pass_of(engine.clone());
    let event = async {
        wait_until(Duration::from_secs(30), "the pass's share is used up", || async {
            rig.catalog.stats().requests == 6
        })
        .await;
        let run = CourseKey::parse("course-v1:OrgX+C0000299+2026_T1").unwrap().run_key();
        let answers = engine.catalog().look_up(std::slice::from_ref(&run), Purpose::Event).await;
        assert!(matches!(answers[&run], Observation::Url(..)), "{answers:?}");
        assert_eq!(rig.catalog.stats().requests, 7, "the pass waits");
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(pass.run(rig.options(), &Silent, stop.clone()), event);
    assert!(matches!(ended, Err(PassError::Stopped)), "{ended:?}");
    rig.drop().await;
}
