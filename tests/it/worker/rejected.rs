//! A row that the database rejects: it harms itself alone, climbs the delay queues, and is at last a dead letter.

use course_sharing::broker::Message;
use lapin::types::AMQPValue;

use super::PAGE;
use crate::support::databases::{KINDS, Kind};
use crate::support::stage::{SOON, Stage, with_stage};
use crate::support::wait_until;

const BAD: &str = "course-v1:Acme+Bad+1";
const GOOD: u32 = 30;

fn good(number: u32) -> String {
    format!("course-v1:Acme+Good{number}+1")
}

async fn all_courses(stage: &Stage) {
    for number in 0..GOOD {
        stage.course(&good(number), None, Some(PAGE)).await;
    }
    stage.course(BAD, None, Some(PAGE)).await;
}

/// Each event waits in the queue before the worker starts, so that they make one batch.
async fn publish_all(stage: &Stage) {
    stage.rig.declare().await;
    for number in 0..GOOD / 2 {
        stage.publish_course(&good(number)).await;
    }
    stage.publish_course(BAD).await;
    for number in GOOD / 2..GOOD {
        stage.publish_course(&good(number)).await;
    }
}

async fn why_it_waits(stage: &Stage) -> String {
    let message = stage.delayed(10).await;
    let headers = message.delivery.properties.headers().clone().unwrap();
    match &headers.inner()["x-course-sharing-reason"] {
        AMQPValue::LongString(reason) => reason.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_rest_of_its_batch_is_written_and_it_waits_alone() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            all_courses(stage).await;
            stage.database.reject_link(BAD).await;
            publish_all(stage).await;
            let worker = stage.worker(&[]).await;
            let applied = r#"course_sharing_events_total{outcome="applied",type="course-publish"}"#;
            worker.until_metric(applied, f64::from(GOOD)).await;
            stage.wait_for_ready(0, 1, 0).await;
            let reason = why_it_waits(stage).await;
            assert!(reason.contains("no_link"), "{kind:?}: {reason}");
            // What it had once is not restored either, and keeps nobody else from it.
            let wiped = "UPDATE course_overviews_courseoverview SET marketing_url = NULL";
            stage.database.execute(wiped).await;
            publish_all(stage).await;
            for number in 0..GOOD {
                stage.until_link(&good(number), Some(PAGE)).await;
            }
            assert_eq!(stage.database.link(BAD).await, Some(None), "{kind:?}");
            worker.stop().await.expect(0);
        })
        .await;
    }
}

#[tokio::test]
async fn at_the_end_of_the_delay_queues_it_is_a_dead_letter_with_the_reason() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            stage.course(BAD, None, Some(PAGE)).await;
            stage.database.reject_link(BAD).await;
            stage.rig.declare().await;
            let body = format!(r#"{{"course_id": "{BAD}"}}"#);
            let last = Message::json(body.into_bytes()).with_header("x-course-sharing-attempt", "6").unwrap();
            stage.publish("course-publish", &last).await;
            let worker = stage.worker(&[]).await;
            let dead = r#"course_sharing_events_total{outcome="dead_lettered",type="course-publish"}"#;
            worker.until_metric(dead, 1.0).await;
            stage.until_letters(1).await;
            worker.stop().await.expect(0);
            let letters = stage.dead_letters().await;
            assert_eq!(letters.len(), 1, "{kind:?}");
            let reason = letters[0].reason.as_deref().unwrap();
            assert!(reason.contains("no_link"), "{kind:?}: {reason}");
        })
        .await;
    }
}

#[tokio::test]
async fn what_rejects_it_gone_it_is_written_with_its_next_try() {
    with_stage(Kind::Postgres, async |stage| {
        stage.course(BAD, None, Some(PAGE)).await;
        stage.database.reject_link(BAD).await;
        let worker = stage.worker(&[]).await;
        stage.publish_course(BAD).await;
        stage.wait_for_ready(0, 1, 0).await;
        stage.database.execute("ALTER TABLE course_overviews_courseoverview DROP CONSTRAINT no_link").await;
        stage.until_link(BAD, Some(PAGE)).await;
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn heal_and_sync_write_the_rest_and_say_what_is_rejected() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            all_courses(stage).await;
            let courses: Vec<String> = (0..GOOD).map(good).chain([BAD.to_owned()]).collect();
            let sync: Vec<&str> = ["sync"].into_iter().chain(courses.iter().map(String::as_str)).collect();
            stage.run(&sync).await.expect(0);
            stage.database.execute("UPDATE course_overviews_courseoverview SET marketing_url = NULL").await;
            stage.database.reject_link(BAD).await;
            let healed = stage.run(&["heal"]).await.expect(1);
            assert!(
                healed.stdout.contains(&format!("healed {GOOD} overviews")),
                "{kind:?}: {}",
                healed.stdout
            );
            assert!(
                healed.stdout.contains(BAD) && healed.stdout.contains("no_link"),
                "{kind:?}: {}",
                healed.stdout
            );
            for number in 0..GOOD {
                assert_eq!(
                    stage.database.link(&good(number)).await.flatten().as_deref(),
                    Some(PAGE),
                    "{kind:?}"
                );
            }
            let synced = stage.run(&sync).await.expect(1);
            let lines: Vec<&str> = synced.stdout.lines().filter(|line| line.contains("rejected")).collect();
            assert!(matches!(lines[..], [line] if line.starts_with(BAD)), "{kind:?}: {}", synced.stdout);
        })
        .await;
    }
}

#[tokio::test]
async fn a_key_that_the_lms_table_cannot_hold_keeps_nobody_from_a_link() {
    with_stage(Kind::Mysql, async |stage| {
        let table = "course_overviews_courseoverview";
        let utf8 = "CONVERT TO CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci";
        stage.database.execute(&format!("ALTER TABLE {table} {utf8}")).await;
        let beyond = "course-v1:𝒳Org+Script+1";
        stage.catalog.put(beyond, Some(PAGE));
        for number in 0..GOOD {
            stage.course(&good(number), None, Some(PAGE)).await;
        }
        stage.rig.declare().await;
        stage.publish_course(beyond).await;
        for number in 0..GOOD {
            stage.publish_course(&good(number)).await;
        }
        let worker = stage.worker(&[]).await;
        for number in 0..GOOD {
            stage.until_link(&good(number), Some(PAGE)).await;
        }
        // It has no overview, and waits for one.
        stage.wait_for_ready(0, 1, 0).await;
        let reason = why_it_waits(stage).await;
        assert!(reason.contains("no overview"), "{reason}");
        let synced = stage.run(&["sync", beyond, &good(0)]).await.expect(0);
        assert!(
            synced.stdout.contains("no_overview") && synced.stdout.contains("unchanged"),
            "{}",
            synced.stdout
        );
        let shared = stage.run(&["share-link", &good(0)]).await.expect(0);
        assert!(shared.stdout.contains(PAGE), "{}", shared.stdout);
        // The LMS converts its table: the worker, which still runs, writes the new row.
        let utf8mb4 = "CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci";
        stage.database.execute(&format!("ALTER TABLE {table} {utf8mb4}")).await;
        stage.database.insert_overview(beyond, None).await;
        stage.until_link(beyond, Some(PAGE)).await;
        wait_until(SOON, "nothing waits", || async { stage.ready().await == (0, 0, 0) }).await;
        worker.stop().await.expect(0);
    })
    .await;
}
