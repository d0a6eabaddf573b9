//! What becomes of messages that ask for nothing, cannot be understood, or have to wait.

use course_sharing::broker::{Message, Received};
use lapin::types::AMQPValue;

use super::PAGE;
use crate::support::databases::Kind;
use crate::support::stage::with_stage;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const KEY: &str = "course-v1:Acme+Settle+1";

fn message(body: impl Into<Vec<u8>>) -> Message {
    Message::json(body.into()).with_header("traceparent", TRACE).unwrap()
}

#[tokio::test]
async fn a_message_about_something_else_is_acknowledged_and_counted_as_ignored() {
    with_stage(Kind::Sqlite, async |stage| {
        let worker = stage.worker(&[]).await;
        for key in ["library-v1:Acme+Lib", "lib:Acme:Lib2"] {
            stage.publish("course-publish", &message(format!(r#"{{"course_id": "{key}"}}"#))).await;
        }
        let library = Message::json(b"{}".to_vec())
            .with_header("ce_type", "org.openedx.content_authoring.content_library.created.v1")
            .unwrap();
        stage.publish("course-publish", &library).await;
        worker.until_metric(r#"course_sharing_events_total{outcome="ignored",type="unknown"}"#, 3.0).await;
        worker.stop().await.expect(0);
        assert_eq!(stage.ready().await, (0, 0, 0));
        assert_eq!(stage.catalog.stats().requests, 0);
    })
    .await;
}

#[tokio::test]
async fn what_nobody_understands_is_dead_whole_with_its_reason_and_delays_nobody() {
    let poison: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "empty"),
        (b"{".to_vec(), "not JSON"),
        (b"\xff\xfe\x00".to_vec(), "not UTF-8"),
        (b"[1]".to_vec(), "expected an object"),
        (br#"{"course_id": 7}"#.to_vec(), "course_id"),
        (br#"{"type": "course-vanish", "course_id": "course-v1:a+b+c"}"#.to_vec(), "course-vanish"),
        (br#"{"course_id": "no key"}"#.to_vec(), "no key"),
        (br#"{"course_id": "course-v1:a+b+c", "course_id": "course-v1:a+b+d"}"#.to_vec(), "twice"),
        (vec![b' '; 65 * 1024], "more than the 65536"),
    ];
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, None, Some(PAGE)).await;
        stage.rig.declare().await;
        for (body, _) in &poison {
            stage.publish("overview-recreated", &message(body.clone())).await;
        }
        stage.publish_course(KEY).await;
        let worker = stage.worker(&[]).await;
        stage.until_link(KEY, Some(PAGE)).await;
        let count = u32::try_from(poison.len()).unwrap();
        stage.wait_for_ready(0, 0, count).await;
        stage.until_letters(count.into()).await;
        let dead = r#"course_sharing_events_total{outcome="dead_lettered",type="unknown"}"#;
        worker.until_metric(dead, f64::from(count)).await;
        worker.stop().await.expect(0);
        let letters = stage.dead_letters().await;
        for (body, reason) in &poison {
            let found: Vec<&Received> = letters.iter().filter(|letter| letter.body == *body).collect();
            let [letter] = found[..] else { panic!("{} of {reason:?}", found.len()) };
            let said = letter.reason.as_deref().unwrap();
            assert!(said.contains(reason), "{reason}: {said}");
            assert_eq!(letter.header("traceparent").as_deref(), Some(TRACE));
            assert_eq!(letter.routing_key, "overview-recreated");
            assert_eq!(letter.content_type.as_deref(), Some("application/json"));
        }
    })
    .await;
}

/// Publishes about a course, and looks at the message in the first delay queue.
async fn delayed(overview: bool, listed: bool, words: &str, outcome: &str) {
    with_stage(Kind::Sqlite, async |stage| {
        if overview {
            stage.database.insert_overview(KEY, None).await;
        }
        if listed {
            stage.catalog.put(KEY, Some(PAGE));
        }
        let worker = stage.worker(&[]).await;
        let before = chrono::Utc::now();
        // No type in the body: the routing key is all that tells what it is, also after the delay.
        stage.publish("overview-recreated", &message(format!(r#"{{"course_id": "{KEY}"}}"#))).await;
        stage.wait_for_ready(0, 1, 0).await;
        let waits = stage.delayed(10).await;
        let headers = waits.delivery.properties.headers().clone().unwrap();
        let header = |name: &str| headers.inner()[name].clone();
        let text = |name: &str| match header(name) {
            AMQPValue::LongString(text) => text.to_string(),
            other => panic!("{name} is {other:?}"),
        };
        assert_eq!(header("x-course-sharing-attempt"), AMQPValue::LongLongInt(1));
        assert!(text("x-course-sharing-reason").contains(words), "{}", text("x-course-sharing-reason"));
        let seen = chrono::DateTime::parse_from_rfc3339(&text("x-course-sharing-first-seen")).unwrap();
        assert!((seen.to_utc() - before).num_seconds().abs() < 60, "{seen}");
        assert_eq!(text("x-course-sharing-routing-key"), "overview-recreated");
        assert_eq!(text("traceparent"), TRACE);
        assert_eq!(*waits.delivery.properties.delivery_mode(), Some(2), "persistent");
        // What it waits for comes true; and it comes back by itself.
        if !overview {
            stage.database.insert_overview(KEY, None).await;
        }
        stage.catalog.put(KEY, Some(PAGE));
        stage.until_link(KEY, Some(PAGE)).await;
        // The restore may have written it; then the Catalog is still asked.
        let settled =
            format!(r#"course_sharing_events_total{{outcome="{outcome}",type="overview-recreated"}}"#);
        worker.until_metric(&settled, 1.0).await;
        worker.stop().await.expect(0);
        assert_eq!(stage.ready().await, (0, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_run_that_is_not_listed_yet_waits_and_is_tried_again() {
    delayed(true, false, "does not list", "applied").await;
}

#[tokio::test]
async fn a_course_without_overview_waits_and_is_tried_again() {
    delayed(false, true, "no overview", "unchanged").await;
}

#[tokio::test]
async fn a_catalog_that_is_out_parks_events_without_counting_and_dead_letters_none() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, None, Some(PAGE)).await;
        stage.catalog.off(true);
        let worker = stage.worker(&[]).await;
        stage.publish("course-publish", &message(format!(r#"{{"course_id": "{KEY}"}}"#))).await;
        let parked = r#"course_sharing_events_total{outcome="parked",type="course-publish"}"#;
        // Quick retries come first; after those it goes round the shortest delay until the Catalog is back.
        worker.until_metric(parked, 1.0).await;
        stage.wait_for_ready(0, 1, 0).await;
        let waits = stage.delayed(10).await;
        let headers = waits.delivery.properties.headers().clone().unwrap();
        assert_eq!(headers.inner()["x-course-sharing-attempt"], AMQPValue::LongLongInt(0));
        stage.catalog.off(false);
        worker
            .until_metric(r#"course_sharing_events_total{outcome="applied",type="course-publish"}"#, 1.0)
            .await;
        assert_eq!(stage.database.link(KEY).await.flatten().as_deref(), Some(PAGE));
        worker.stop().await.expect(0);
        assert_eq!(stage.ready().await, (0, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_worker_killed_before_the_commit_has_acknowledged_nothing() {
    with_stage(Kind::Postgres, async |stage| {
        stage.course(KEY, None, Some(PAGE)).await;
        let lock = stage.database.owner.connection();
        let lock = sea_orm::TransactionTrait::begin(&lock).await.unwrap();
        let sql = "SELECT * FROM course_overviews_courseoverview FOR UPDATE";
        sea_orm::ConnectionTrait::execute_unprepared(&lock, sql).await.unwrap();
        let mut worker = stage.worker(&[]).await;
        stage.publish_course(KEY).await;
        // It has asked, and now waits for the row.
        crate::support::wait_until(crate::support::stage::SOON, "a look-up", || async {
            stage.catalog.stats().requests > 0 && stage.ready().await == (0, 0, 0)
        })
        .await;
        worker.kill().await;
        stage.wait_for_ready(1, 0, 0).await;
        lock.rollback().await.unwrap();
        assert_eq!(stage.database.link(KEY).await, Some(None));
        let worker = stage.worker(&[]).await;
        stage.until_link(KEY, Some(PAGE)).await;
        worker.stop().await.expect(0);
        assert_eq!(stage.ready().await, (0, 0, 0));
    })
    .await;
}
