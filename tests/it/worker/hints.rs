//! What the Catalog says has changed: looked up at once and again later, without any event.

use chrono::{DateTime, TimeDelta, Utc};
use course_sharing::store::{HintPosition, PassKind};
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicPublishOptions};

use super::PAGE;
use crate::support::databases::{KINDS, Kind, TestDatabase};
use crate::support::stage::{SOON, Stage, with_stage};
use crate::support::wait_until;
use stand_in::{Draft, Fault};

const KEY: &str = "course-v1:Acme+Hint+1";
const NEW: &str = "https://www.campus.example/new";
const ASKING: (&str, &str) = ("reconcile.delta_interval", "1s");
const SLUGS: u32 = 200;

fn slug(number: u32) -> String {
    format!("course-v1:Acme+Slug{number}+1")
}

/// Courses with the Catalog's link, which a pass has seen.
async fn linked(stage: &Stage, keys: &[String]) {
    for key in keys {
        stage.course(key, Some(PAGE), Some(PAGE)).await;
    }
    stage.run(&["reconcile"]).await.expect(0);
}

async fn position(stage: &Stage) -> HintPosition {
    let row = async || stage.database.store.hint_position().await.unwrap();
    wait_until(SOON, "the Catalog was asked", || async { row().await.is_some() }).await;
    row().await.unwrap()
}

/// Waits until the Catalog was asked once more, with all that follows.
async fn asked_again(stage: &Stage) {
    // The question that is under way may have been asked before.
    for _ in 0..2 {
        let before = position(stage).await.asked_at;
        wait_until(SOON, "asked again", || async { position(stage).await.asked_at > before }).await;
    }
}

fn series(outcome: &str) -> String {
    format!(r#"course_sharing_events_total{{outcome="{outcome}",type="hint"}}"#)
}

/// As if the delay of this queue were over: its messages go where the broker would send them.
pub(super) async fn time_is_up(stage: &Stage, seconds: u32) -> u32 {
    let connection = stage.rig.connection().await;
    let channel = connection.channel().await.unwrap();
    let (queue, events) = (stage.rig.topology.delay(seconds), &stage.rig.topology.events);
    let mut moved = 0;
    while let Some(got) = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await.unwrap()
    {
        let (options, delivery) = (BasicPublishOptions::default(), got.delivery);
        let (to, properties) = (events.as_str().into(), delivery.properties);
        channel.basic_publish("".into(), to, options, &delivery.data, properties).await.unwrap();
        delivery.acker.ack(BasicAckOptions::default()).await.unwrap();
        moved += 1;
    }
    connection.close().await;
    moved
}

/// How many messages wait in this delay queue.
async fn waiting(stage: &Stage, seconds: u32) -> u32 {
    let connection = stage.rig.connection().await;
    let counts = stage.rig.topology.counts(&connection).await.unwrap();
    connection.close().await;
    counts.delayed.iter().find(|(step, _)| *step == seconds).map_or(0, |(_, count)| *count)
}

async fn have_link(stage: &Stage, link: &str) -> usize {
    let mut count = 0;
    for number in 0..SLUGS {
        count += usize::from(stage.database.link(&slug(number)).await == Some(Some(link.to_owned())));
    }
    count
}

#[tokio::test]
async fn slugs_that_change_by_way_of_drafts_are_right_without_an_event() {
    with_stage(Kind::Postgres, async |stage| {
        linked(stage, &(0..SLUGS).map(slug).collect::<Vec<_>>()).await;
        let worker = stage.worker(&[ASKING]).await;
        // Half of the official runs change before the Catalog is asked, the others a minute later.
        for number in 0..SLUGS / 2 {
            stage.catalog.put(&slug(number), Some(NEW));
        }
        for number in 0..SLUGS {
            stage.catalog.save_draft(Draft::new(&slug(number), Some(NEW)));
        }
        worker.until_metric(&series("applied"), f64::from(SLUGS / 2)).await;
        worker.until_metric(&series("unchanged"), f64::from(SLUGS / 2)).await;
        assert_eq!(have_link(stage, NEW).await, 100);
        stage.catalog.publish_drafts();
        assert_eq!(time_is_up(stage, 900).await, SLUGS);
        worker.until_metric(&series("applied"), f64::from(SLUGS)).await;
        worker.until_metric(&series("changed_since"), f64::from(SLUGS / 2)).await;
        assert_eq!(have_link(stage, NEW).await, 200);
        let keys_asked = stage.catalog.stats().keys_asked;
        assert_eq!([time_is_up(stage, 3600).await, time_is_up(stage, 14_400).await], [SLUGS, SLUGS]);
        worker.until_metric(&series("changed_since"), f64::from(SLUGS / 2 * 5)).await;
        assert_eq!(
            stage.catalog.stats().keys_asked,
            keys_asked,
            "those whose link has changed are not asked for"
        );
        asked_again(stage).await;
        stage.wait_for_ready(0, 0, 0).await;
        let written = r#"course_sharing_event_to_write_seconds_count{source="hint"}"#;
        worker.until_metric(written, f64::from(SLUGS)).await;
        let status = worker.until_status("/api/v1/status", 200, SOON).await;
        assert!(status.contains(r#""pass_due_since":null"#), "{status}");
        worker.until_page(SOON, &["Hints", "for changes since"]).await;
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn what_changes_behind_the_drafts_back_is_left_to_the_pass() {
    with_stage(Kind::Sqlite, async |stage| {
        linked(stage, &[KEY.to_owned()]).await;
        let worker = stage.worker(&[ASKING]).await;
        stage.catalog.put(KEY, Some(NEW));
        asked_again(stage).await;
        stage.wait_for_ready(0, 0, 0).await;
        stage.run(&["reconcile"]).await.expect(0);
        stage.until_link(KEY, Some(NEW)).await;
        worker.stop().await.expect(0);
    })
    .await;
}

/// The row can be read, and no longer changed.
async fn stop_the_position(database: &TestDatabase, stops: bool) {
    let create: &[&str] = match (database.kind, stops) {
        (Kind::Sqlite, true) => &[
            "CREATE TRIGGER stays BEFORE UPDATE ON course_sharing_hint BEGIN SELECT RAISE(ABORT, 'as a test'); END",
        ],
        (Kind::Mysql, true) => {
            &["CREATE TRIGGER stays BEFORE UPDATE ON course_sharing_hint FOR EACH ROW SIGNAL \
                                  SQLSTATE '45000' SET MESSAGE_TEXT = 'as a test'"]
        }
        (Kind::Postgres, true) => &[
            "CREATE FUNCTION stays() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'as a test'; END $$",
            "CREATE TRIGGER stays BEFORE UPDATE ON course_sharing_hint FOR EACH ROW EXECUTE FUNCTION stays()",
        ],
        (Kind::Postgres, false) => &["DROP TRIGGER stays ON course_sharing_hint"],
        (_, false) => &["DROP TRIGGER stays"],
    };
    for sql in create {
        database.execute(sql).await;
    }
}

#[tokio::test]
async fn a_worker_that_is_killed_before_it_moves_the_position_loses_no_hint() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            linked(stage, &[KEY.to_owned()]).await;
            let mut worker = stage.worker(&[ASKING]).await;
            let before = position(stage).await;
            stop_the_position(&stage.database, true).await;
            stage.catalog.save_draft(Draft::new(KEY, Some(NEW)));
            wait_until(SOON, "hints are sent", || async { waiting(stage, 14_400).await > 0 }).await;
            worker.until_logged("hints.failed").await;
            worker.kill().await;
            let sent = waiting(stage, 14_400).await;
            stop_the_position(&stage.database, false).await;
            let worker = stage.worker(&[ASKING]).await;
            let again = async || waiting(stage, 14_400).await > sent;
            wait_until(SOON, "they are sent again", again).await;
            wait_until(SOON, "then it moves", || async { position(stage).await.asked_at > before.asked_at })
                .await;
            let sent = waiting(stage, 14_400).await;
            asked_again(stage).await;
            assert_eq!(waiting(stage, 14_400).await, sent, "{kind:?}: and no more");
            worker.stop().await.expect(0);
        })
        .await;
    }
}

#[tokio::test]
async fn a_worker_goes_on_where_the_last_one_stopped() {
    with_stage(Kind::Mysql, async |stage| {
        linked(stage, &[KEY.to_owned()]).await;
        let worker = stage.worker(&[ASKING]).await;
        position(stage).await;
        worker.stop().await.expect(0);
        let before = position(stage).await.position;
        let asked = stage.catalog.stats().targets.len();
        stage.catalog.save_draft(Draft::new(KEY, Some(NEW)));
        stage.catalog.publish_drafts();
        let workers = [stage.worker(&[ASKING]).await, stage.worker(&[ASKING]).await];
        stage.until_link(KEY, Some(NEW)).await;
        let targets = stage.catalog.stats().targets;
        let first = targets.iter().skip(asked).find(|target| target.contains("/courses/")).unwrap();
        let since = before.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        assert!(first.ends_with(&format!("timestamp={since}")), "{first} and {since}");
        asked_again(stage).await;
        let sent = waiting(stage, 3600).await;
        let failed = workers.iter().map(|worker| worker.logged("hints.failed").len()).sum::<usize>();
        assert!(sent == 1 || failed > 0, "one worker of two asks: {sent}");
        for worker in workers {
            worker.stop().await.expect(0);
        }
    })
    .await;
}

#[tokio::test]
async fn after_an_outage_of_more_than_a_day_a_pass_takes_the_place_of_hints() {
    with_stage(Kind::Postgres, async |stage| {
        stage.course(KEY, None, Some(PAGE)).await;
        let store = &stage.database.store;
        let long_ago = store.now().await.unwrap() - TimeDelta::days(2);
        let row = HintPosition { id: 1, position: long_ago, asked_at: long_ago, pass_due_since: None };
        store.set_hint_position(row).await.unwrap();
        let worker = stage.worker(&[ASKING, ("reconcile.schedule", "0 0 0 1 1 *")]).await;
        // No other pass is due until the new year, and no change shows that a hint could be about.
        stage.until_link(KEY, Some(PAGE)).await;
        asked_again(stage).await;
        let row = position(stage).await;
        assert!(row.position > long_ago + TimeDelta::days(1) && row.pass_due_since.is_none(), "{row:?}");
        assert_eq!(worker.logged("hints.pass_due").len(), 1);
        worker.stop().await.expect(0);

        // What is left to a pass after that one has begun waits for another, which may not come so soon.
        let due = Some(store.now().await.unwrap());
        store.set_hint_position(HintPosition { pass_due_since: due, ..position(stage).await }).await.unwrap();
        let worker = stage.worker(&[ASKING, ("reconcile.schedule", "0 0 0 1 1 *")]).await;
        asked_again(stage).await;
        assert!(position(stage).await.pass_due_since.is_some());
        assert_eq!(stage.database.count("course_sharing_reconcile").await, 1);
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn no_other_pass_is_asked_for_while_a_long_one_gets_on() {
    with_stage(Kind::Sqlite, async |stage| {
        let store = &stage.database.store;
        let now = store.now().await.unwrap();
        let row = HintPosition { id: 1, position: now, asked_at: now, pass_due_since: None };
        let due = Some(now - TimeDelta::hours(3));
        store.set_hint_position(HintPosition { pass_due_since: due, ..row }).await.unwrap();
        let mut running = store.begin_pass(PassKind::Full, 100).await.unwrap();
        running.started_at -= TimeDelta::hours(2);
        store.save_pass(&mut running).await.unwrap();
        let worker = stage.worker(&[ASKING, ("reconcile.schedule", "0 0 0 1 1 *")]).await;
        asked_again(stage).await;
        assert!(position(stage).await.pass_due_since.is_some());
        assert_eq!(stage.database.count("course_sharing_reconcile").await, 1);
        worker.stop().await.expect(0);
    })
    .await;
}

/// Runs a worker until it has logged so many refusals and then through some passes, one a second. Returns how many it
/// has logged then.
async fn refusals(stage: &Stage, settings: &[(&str, &str)], expected: usize) -> usize {
    let settings = [settings, &[("reconcile.schedule", "* * * * * *")]].concat();
    let worker = stage.worker(&settings).await;
    wait_until(SOON, "refused", || async { worker.logged("hints.refused").len() >= expected }).await;
    let begun = stage.database.count("course_sharing_reconcile").await;
    let passes = async || stage.database.count("course_sharing_reconcile").await >= begun + 4;
    wait_until(SOON, "four passes", passes).await;
    let refused = worker.logged("hints.refused").len();
    worker.stop().await.expect(0);
    refused
}

#[tokio::test]
async fn a_catalog_that_does_not_say_what_has_changed_is_asked_three_times_and_one_warning_says_so() {
    let stamped = |stamp: &str| {
        let runs = format!(r#"[{{"key": "{KEY}"}}]"#);
        let course =
            format!(r#"{{"key": "Acme+Hint", "data_modified_timestamp": {stamp}, "course_runs": {runs}}}"#);
        Fault::Body(format!(r#"{{"count": 1, "next": null, "results": [{course}]}}"#))
    };
    let refused =
        [Fault::Status(400), Fault::Status(404), stamped("null"), stamped("\"2020-01-01T00:00:00Z\"")];
    for fault in refused {
        with_stage(Kind::Sqlite, async |stage| {
            stage.catalog.state().courses_fault = Some(fault.clone());
            assert_eq!(refusals(stage, &[ASKING], 1).await, 1, "{fault:?}");
            assert_eq!(stage.catalog.stats().courses, 3, "{fault:?}: one may be of something on the way");
        })
        .await;
    }
}

#[tokio::test]
async fn nothing_is_asked_where_hints_are_off() {
    with_stage(Kind::Sqlite, async |stage| {
        assert_eq!(refusals(stage, &[("reconcile.delta_interval", "off")], 0).await, 0);
        assert_eq!(stage.catalog.stats().courses, 0);
    })
    .await;
}

#[tokio::test]
async fn a_stamp_of_the_future_sends_a_hint_and_moves_no_position() {
    with_stage(Kind::Sqlite, async |stage| {
        linked(stage, &[KEY.to_owned()]).await;
        let stamp: Option<DateTime<Utc>> = "2999-01-01T00:00:00Z".parse().ok();
        stage.catalog.save_draft(Draft { stamp, ..Draft::new(KEY, Some(NEW)) });
        stage.catalog.publish_drafts();
        let worker = stage.worker(&[ASKING]).await;
        stage.until_link(KEY, Some(NEW)).await;
        let row = position(stage).await;
        assert!(row.position < row.asked_at, "{row:?}");
        asked_again(stage).await;
        // More than once where the broker has confirmed too late.
        let sent = waiting(stage, 900).await;
        asked_again(stage).await;
        assert_eq!(waiting(stage, 900).await, sent, "it shows each time, and is not sent again");
        worker.stop().await.expect(0);
    })
    .await;
}
