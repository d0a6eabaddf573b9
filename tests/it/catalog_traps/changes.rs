//! What has changed, as the client asks for it.

use chrono::{TimeDelta, Utc};

use super::*;
use stand_in::Draft;

const RUN: &str = "course-v1:A+B+1";

fn made(number: u32) -> String {
    format!("course-v1:OrgX+C{number:07}+2026_T1")
}

#[tokio::test]
async fn changes_come_with_their_stamps_and_runs() {
    let (stand_in, client) = started(few(&[(RUN, None), ("course-v1:A+B+2", None), ("A/C/1", None)])).await;
    let stamp = Utc::now();
    let before = stamp - TimeDelta::microseconds(1);
    assert!(client.changed_since(before).await.unwrap().courses.is_empty());
    stand_in.save_draft(Draft { stamp: Some(stamp), ..Draft::new(RUN, None) });
    stand_in.save_draft(Draft { stamp: Some(before), ..Draft::new("A/C/1", None) });
    let changes = client.changed_since(before).await.unwrap();
    let runs =
        |course: usize| changes.courses[course].runs.iter().map(|run| run.as_str()).collect::<Vec<_>>();
    assert_eq!((runs(0), runs(1)), (vec![RUN, "course-v1:A+B+2"], vec!["A/C/1"]));
    assert_eq!(changes.courses[0].stamp.timestamp_micros(), stamp.timestamp_micros());
    assert!(changes.complete);
    assert_eq!(client.changed_since(stamp).await.unwrap().courses.len(), 1);
}

#[tokio::test]
async fn a_change_that_was_committed_after_an_answer_was_kept_is_not_hidden_by_it() {
    let (stand_in, client) = started(few(&[(RUN, None)])).await;
    let before = Utc::now() - TimeDelta::minutes(1);
    stand_in.save_draft(Draft { committed_after: Duration::MAX, ..Draft::new(RUN, None) });
    assert!(client.changed_since(before).await.unwrap().courses.is_empty());
    stand_in.publish_drafts();
    assert_eq!(client.changed_since(before).await.unwrap().courses.len(), 1);
}

#[tokio::test]
async fn a_thousand_changes_are_a_page_and_more_than_five_pages_are_not_all() {
    let stand_in = StandIn::start(Setup { runs: Runs::generated(5_100), ..Setup::default() }).await;
    let client = client_with(&config::Catalog { timeout: Duration::from_secs(60), ..settings(&stand_in) });
    let before = Utc::now() - TimeDelta::minutes(1);
    (0..1_500).for_each(|number| stand_in.save_draft(Draft::new(&made(number), None)));
    let changes = client.changed_since(before).await.unwrap();
    assert_eq!((changes.courses.len(), changes.complete, stand_in.stats().courses), (1_500, true, 2));
    (1_500..5_100).for_each(|number| stand_in.save_draft(Draft::new(&made(number), None)));
    let changes = client.changed_since(before).await.unwrap();
    assert_eq!((changes.courses.len(), changes.complete, stand_in.stats().courses), (5_000, false, 7));
}

#[tokio::test]
async fn a_refusal_is_told_from_an_outage_and_a_hint_does_not_wait_for_its_end() {
    let (stand_in, client) = started(few(&[])).await;
    for (fault, refuses) in [
        (Fault::Status(400), true),
        (Fault::Status(403), true),
        (Fault::Status(404), true),
        (Fault::Html200, false),
        (Fault::Body("[1]".to_owned()), false),
        (Fault::Status(503), false),
    ] {
        stand_in.state().courses_fault = Some(fault.clone());
        let error = client.changed_since(Utc::now()).await.unwrap_err();
        assert_eq!(error.is_refusal(), refuses, "{fault:?}: {error}");
    }
    let (stand_in, client) = started(few(&[])).await;
    stand_in.state().courses_fault = Some(Fault::Throttled(RetryAfter::Seconds(3600)));
    for _ in 0..2 {
        let error = client.changed_since(Utc::now()).await.unwrap_err();
        assert!(matches!(error, CatalogError::Throttled { .. }), "{error}");
    }
    assert_eq!(stand_in.stats().courses, 1);
}
