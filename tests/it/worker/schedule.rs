//! Scheduled work: the pass and heal, in one worker of several.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use course_sharing::broker::Message;
use course_sharing::store::PassKind;
use entity::{lease, pass};
use futures_util::future::join_all;
use sea_orm::{EntityTrait, QueryOrder};

use super::PAGE;
use crate::support::databases::{KINDS, Kind};
use crate::support::stage::{SOON, Stage, with_catalog, with_stage};
use crate::support::wait_until;
use stand_in::{Runs, Setup};

const KEY: &str = "course-v1:Acme+Timer+1";
const WIPE: &str = "UPDATE course_overviews_courseoverview SET marketing_url = NULL";

async fn passes(stage: &Stage) -> Vec<pass::Model> {
    let query = pass::Entity::find().order_by_asc(pass::Column::Id);
    query.all(&stage.database.store.connection()).await.unwrap()
}

async fn until_passes(stage: &Stage, count: usize) {
    let what = format!("{count} passes");
    wait_until(SOON, &what, || async {
        passes(stage).await.iter().filter(|pass| pass.finished_at.is_some()).count() >= count
    })
    .await;
}

#[tokio::test]
async fn a_pass_runs_on_its_schedule_and_the_metrics_tell_of_it() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, None, Some(PAGE)).await;
        let worker = stage.worker(&[("reconcile.schedule", "* * * * * *")]).await;
        stage.until_link(KEY, Some(PAGE)).await;
        until_passes(stage, 2).await;
        let series = "course_sharing_reconcile_last_success_timestamp_seconds";
        wait_until(SOON, series, || async { worker.metric(series).await > Some(1.7e9) }).await;
        worker.stop().await.expect(0);
        // The next worker need not run a pass to know of the last.
        let worker = stage.worker(&[]).await;
        wait_until(SOON, series, || async { worker.metric(series).await > Some(1.7e9) }).await;
        worker.stop().await.expect(0);
        let passes = passes(stage).await;
        assert!(passes.iter().take(2).all(|pass| pass.verdict == pass::Verdict::Complete), "{passes:?}");
    })
    .await;
}

#[tokio::test]
async fn light_passes_run_on_a_schedule_of_their_own_once_a_full_one_has_run_in_place_of_the_first() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, None, Some(PAGE)).await;
        let worker = stage.worker(&[("reconcile.light_schedule", "* * * * * *")]).await;
        stage.until_link(KEY, Some(PAGE)).await;
        until_passes(stage, 3).await;
        worker.stop().await.expect(0);
        let kinds: Vec<PassKind> = passes(stage).await.iter().map(|pass| pass.kind).take(3).collect();
        assert_eq!(kinds, [PassKind::Full, PassKind::Light, PassKind::Light]);
    })
    .await;
}

#[tokio::test]
async fn a_full_pass_that_is_due_while_another_pass_runs_begins_when_that_has_ended() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, None, Some(PAGE)).await;
        let store = &stage.database.store;
        let (holder, ttl) = ("a light pass", Duration::from_secs(60));
        assert!(store.acquire("reconcile", holder, ttl).await.unwrap());
        // The date after the next comes in a day.
        let due = (Utc::now() + TimeDelta::seconds(2)).format("%S %M %H * * *").to_string();
        let worker = stage.worker(&[("reconcile.schedule", &due)]).await;
        let waiting = worker.until_logged("reconcile.waiting");
        let renewing = async {
            loop {
                assert!(store.acquire("reconcile", holder, ttl).await.unwrap());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            _ = waiting => {}
            () = renewing => {}
        }
        store.release("reconcile", holder).await.unwrap();
        stage.until_link(KEY, Some(PAGE)).await;
        until_passes(stage, 1).await;
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn the_metrics_tell_what_the_last_pass_did_whoever_ran_it() {
    let setup = Setup { runs: Runs::generated(5), ..Setup::default() };
    with_catalog(Kind::Sqlite, setup, async |stage| {
        for number in 0..5 {
            stage.database.insert_overview(&format!("course-v1:OrgX+C000000{number}+2026_T1"), None).await;
        }
        stage.database.insert_overview(KEY, None).await;
        stage.run(&["reconcile"]).await.expect(0);
        let worker = stage.worker(&[]).await;
        worker.until_metric(r#"course_sharing_reconcile_changes{kind="not_listed"}"#, 1.0).await;
        worker.until_metric(r#"course_sharing_reconcile_changes{kind="updated"}"#, 5.0).await;
        worker.stop().await.expect(0);
    })
    .await;
}

/// Passes that may be over before the other worker looks.
async fn one_pass_each_time(kind: Kind) {
    let setup = Setup { runs: Runs::generated(50), ..Setup::default() };
    with_catalog(kind, setup, async |stage| {
        stage.database.insert_overview("course-v1:OrgX+C0000000+2026_T1", None).await;
        let settings = [("reconcile.schedule", "*/5 * * * * *")];
        let workers = [stage.worker(&settings).await, stage.worker(&settings).await];
        until_passes(stage, 3).await;
        for worker in workers {
            worker.stop().await.expect(0);
        }
        let mut times = HashSet::new();
        let mut last: Option<DateTime<Utc>> = None;
        for pass in passes(stage).await.into_iter().filter(|pass| pass.finished_at.is_some()) {
            assert!(last <= Some(pass.started_at), "{kind:?}: two at once: {last:?} {pass:?}");
            // The date that it is nearest to: the database's clock may be read as a little earlier than it is.
            let time = (pass.started_at.timestamp_millis() + 2_500) / 5_000;
            assert!(times.insert(time), "{kind:?}: twice at {}", pass.started_at);
            last = pass.finished_at;
        }
    })
    .await;
}

#[tokio::test]
async fn two_workers_on_one_schedule_run_one_pass_each_time() {
    join_all(KINDS.map(one_pass_each_time)).await;
}

#[tokio::test]
async fn heal_brings_back_in_a_second_what_no_event_told_of() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            stage.course(KEY, None, Some(PAGE)).await;
            stage.run(&["sync", KEY]).await.expect(0);
            stage.catalog.off(true);
            let workers = [
                stage.worker(&[("heal.interval", "1s")]).await,
                stage.worker(&[("heal.interval", "1s")]).await,
            ];
            for _ in 0..2 {
                stage.database.execute(WIPE).await;
                stage.until_link(KEY, Some(PAGE)).await;
            }
            let series = r#"course_sharing_healed_total{cause="heal"}"#;
            let healed = || async {
                let [one, other] = [&workers[0], &workers[1]];
                one.metric(series).await.unwrap() + other.metric(series).await.unwrap()
            };
            wait_until(SOON, "two healed", || async { (healed().await - 2.0).abs() < 0.5 }).await;
            for worker in workers {
                worker.stop().await.expect(0);
            }
        })
        .await;
    }
}

/// Of the histogram from change to commit.
fn brought_by(source: &str) -> String {
    format!("course_sharing_event_to_write_seconds_count{{source=\"{source}\"}}")
}

#[tokio::test]
async fn what_passes_and_heal_bring_is_measured_from_the_one_before() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, None, Some(PAGE)).await;
        let worker = stage.worker(&[("reconcile.schedule", "* * * * * *")]).await;
        stage.until_link(KEY, Some(PAGE)).await;
        until_passes(stage, 2).await;
        assert_eq!(worker.metric(&brought_by("full")).await, Some(0.0), "nothing was seen before the first");
        stage.catalog.put(KEY, Some("https://www.campus.example/second"));
        worker.until_metric(&brought_by("full"), 1.0).await;
        worker.stop().await.expect(0);

        let worker = stage.worker(&[("reconcile.light_schedule", "* * * * * *")]).await;
        assert_eq!(worker.metric(&brought_by("light")).await, Some(0.0));
        stage.catalog.put(KEY, Some("https://www.campus.example/third"));
        worker.until_metric(&brought_by("light"), 1.0).await;
        worker.stop().await.expect(0);

        let worker = stage.worker(&[("heal.interval", "1s")]).await;
        let healed = "course_sharing_heal_last_success_timestamp_seconds";
        wait_until(SOON, healed, || async { worker.metric(healed).await > Some(1.7e9) }).await;
        assert_eq!(worker.metric(&brought_by("heal")).await, Some(0.0));
        stage.database.execute(WIPE).await;
        worker.until_metric(&brought_by("heal"), 1.0).await;
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_is_dropped_when_a_pass_has_found_its_course_right_and_no_other_is() {
    with_stage(Kind::Sqlite, async |stage| {
        let other = "course-v1:Acme+Timer+2";
        stage.course(KEY, None, Some(PAGE)).await;
        stage.database.insert_overview(other, None).await;
        stage.rig.declare().await;
        for key in [KEY, other] {
            let body = format!(r#"{{"type": "course-publish", "course_id": "{key}"}}"#);
            let letter = Message::json(body.into_bytes());
            let letter = letter.with_header("x-course-sharing-first-seen", "2026-01-01T00:00:00Z").unwrap();
            stage.rig.publisher.publish("", &stage.rig.topology.dead, &letter).await.unwrap();
        }
        let worker = stage.worker(&[]).await;
        stage.until_letters(2).await;
        worker.stop().await.expect(0);
        let worker = stage.worker(&[("reconcile.schedule", "* * * * * *")]).await;
        stage.until_link(KEY, Some(PAGE)).await;
        assert_eq!(worker.until_logged("dead_letter.dropped").await["dropped"], 1);
        worker.stop().await.expect(0);
        let letters = stage.dead_letters().await;
        assert_eq!(letters.len(), 1);
        assert!(String::from_utf8_lossy(&letters[0].body).contains(other));
    })
    .await;
}

#[tokio::test]
async fn heal_that_is_off_does_not_run() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, None, Some(PAGE)).await;
        let settings = [("heal.interval", "off"), ("reconcile.schedule", "* * * * * *")];
        let worker = stage.worker(&settings).await;
        until_passes(stage, 3).await;
        let leases = lease::Entity::find().all(&stage.database.store.connection()).await.unwrap();
        assert!(leases.iter().all(|lease| lease.job != "heal"), "{leases:?}");
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn one_worker_deletes_old_rows_and_says_so_once() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            stage.course(KEY, None, Some(PAGE)).await;
            stage.run(&["reconcile"]).await.expect(0);
            let old = if kind == Kind::Mysql { "2020-01-01" } else { "2020-01-01 00:00:00+00:00" };
            let insert = "INSERT INTO course_sharing_ledger (run_key, listed, observed_at, observed_by)";
            stage
                .database
                .execute(&format!("{insert} VALUES ('course-v1:Acme+Old+1', TRUE, '{old}', 'pass')"))
                .await;
            let workers = [stage.worker(&[]).await, stage.worker(&[]).await];
            let counted = || async {
                let counts =
                    workers.each_ref().map(|w| w.metric(r#"course_sharing_pruned_total{table="ledger"}"#));
                join_all(counts).await.into_iter().flatten().sum::<f64>()
            };
            wait_until(SOON, "one has counted one row", || async { counted().await == 1.0 }).await;
            assert_eq!(stage.database.count("course_sharing_ledger").await, 1, "{kind:?}: the other stays");
            for worker in workers {
                worker.stop().await.expect(0);
            }
        })
        .await;
    }
}
