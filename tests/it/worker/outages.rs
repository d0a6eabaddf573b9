//! Broker and database away at the start, cut, frozen, and back; and what the port says of it meanwhile.

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use secrecy::ExposeSecret;
use serde_json::Value;
use test_support::Proxy;

use super::PAGE;
use crate::support::databases::Kind;
use crate::support::process::Program;
use crate::support::proxy::{by, free_address, in_front_of};
use crate::support::stage::{SOON, Stage, with_stage};
use crate::support::wait_until;

const KEY: &str = "course-v1:Acme+Outage+1";

/// The two words of `/readyz`, once it has this status.
async fn ready(worker: &Program, status: u16) -> (String, String) {
    let report: Value = serde_json::from_str(&worker.until_status("/readyz", status, SOON).await).unwrap();
    let word = |name: &str| report[name].as_str().unwrap().to_owned();
    (word("database"), word("broker"))
}

async fn event_works(stage: &Stage, page: &str) {
    stage.catalog.put(KEY, Some(page));
    stage.publish_course(KEY).await;
    stage.until_link(KEY, Some(page)).await;
}

#[tokio::test]
async fn a_broker_that_is_away_at_the_start_is_waited_for() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.database.insert_overview(KEY, None).await;
        let address = free_address();
        let (url, target) = by(stage.rig.config.url.expose_secret(), address, 5672);
        let worker = stage.start_worker(&[("amqp.url", &url)]);
        worker.until_logged("consumer.detached").await;
        let (database, broker) = ready(&worker, 503).await;
        assert_eq!(database, "ok");
        assert!(broker.contains(&address.port().to_string()), "{broker}");
        let health = worker.until_status("/healthz", 200, SOON).await;
        assert!(health.contains("detached"), "{health}");
        worker.until_metric("course_sharing_consumer_up", 0.0).await;
        let _proxy = Proxy::start_at(address, target).await.unwrap();
        worker.until_metric("course_sharing_consumer_up", 1.0).await;
        assert_eq!(ready(&worker, 200).await, ("ok".to_owned(), "ok".to_owned()));
        event_works(stage, PAGE).await;
        assert!(!worker.stderr().contains("guest:guest"));
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_away_at_the_start_parks_events_until_it_comes() {
    with_stage(Kind::Postgres, async |stage| {
        stage.course(KEY, None, Some(PAGE)).await;
        let address = free_address();
        let (url, target) = by(&stage.database.url, address, 5432);
        let worker = stage.worker(&[("database.url", &url)]).await;
        let (database, broker) = ready(&worker, 503).await;
        assert_ne!(database, "ok");
        assert_eq!(broker, "ok");
        worker.until_status("/healthz", 200, SOON).await;
        stage.publish_course(KEY).await;
        stage.wait_for_ready(0, 1, 0).await;
        let waits = stage.delayed(10).await;
        let headers = waits.delivery.properties.headers().clone().unwrap();
        assert_eq!(headers.inner()["x-course-sharing-attempt"], lapin::types::AMQPValue::LongLongInt(0));
        let _proxy = Proxy::start_at(address, target).await.unwrap();
        ready(&worker, 200).await;
        stage.until_link(KEY, Some(PAGE)).await;
        let ended = worker.stop().await.expect(0);
        // One line when it is out, and one when it is back.
        let failed = ended.logged("database.failed");
        assert_eq!(failed.len(), 1, "{}", ended.stderr);
        let reason = failed[0]["reason"].as_str().unwrap();
        assert!(reason.matches("refused").count() == 1 && !reason.contains("pool"), "{reason}");
        assert_eq!(ended.logged("database.recovered").len(), 1, "{}", ended.stderr);
        assert_eq!(stage.ready().await, (0, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_database_whose_connections_are_cut_costs_no_event() {
    for (kind, port) in [(Kind::Postgres, 5432), (Kind::Mysql, 3306)] {
        with_stage(kind, async |stage| {
            stage.database.insert_overview(KEY, None).await;
            let (proxy, url) = in_front_of(&stage.database.url, port).await;
            let worker = stage.worker(&[("database.url", &url)]).await;
            for round in 0..3 {
                event_works(stage, &format!("{PAGE}/{round}")).await;
                proxy.cut();
            }
            event_works(stage, PAGE).await;
            worker.stop().await.expect(0);
            assert_eq!(stage.ready().await, (0, 0, 0));
        })
        .await;
    }
}

#[tokio::test]
async fn a_broker_connection_that_is_cut_is_built_anew() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.database.insert_overview(KEY, None).await;
        let (proxy, url) = in_front_of(stage.rig.config.url.expose_secret(), 5672).await;
        let worker = stage.worker(&[("amqp.url", &url)]).await;
        for round in 0..3 {
            event_works(stage, &format!("{PAGE}/{round}")).await;
            proxy.cut();
            let lost = || async { worker.logged("consumer.detached").len() > round };
            wait_until(SOON, "the loss is seen", lost).await;
        }
        event_works(stage, PAGE).await;
        worker.until_metric("course_sharing_consumer_up", 1.0).await;
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_is_frozen_is_seen_and_taken_up_again() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.database.insert_overview(KEY, None).await;
        let (proxy, url) = in_front_of(stage.rig.config.url.expose_secret(), 5672).await;
        let worker = stage.worker(&[("amqp.url", &url)]).await;
        proxy.freeze();
        let (database, broker) = ready(&worker, 503).await;
        assert_eq!(database, "ok");
        assert_ne!(broker, "ok");
        worker.until_metric("course_sharing_consumer_up", 0.0).await;
        proxy.resume();
        worker.until_metric("course_sharing_consumer_up", 1.0).await;
        ready(&worker, 200).await;
        event_works(stage, PAGE).await;
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn a_worker_can_be_stopped_while_broker_and_database_are_away() {
    with_stage(Kind::Sqlite, async |stage| {
        let settings = [
            ("amqp.url", "amqp://guest:guest@127.0.0.1:1/%2f"),
            ("database.url", "postgres://u:p@127.0.0.1:1/x"),
        ];
        let worker = stage.start_worker(&settings);
        let (database, broker) = ready(&worker, 503).await;
        assert!(database != "ok" && broker != "ok", "{database} {broker}");
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn a_queue_that_is_deleted_is_declared_anew() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.database.insert_overview(KEY, None).await;
        let worker = stage.worker(&[]).await;
        let connection = stage.rig.connection().await;
        let channel = connection.channel().await.unwrap();
        let queue = stage.rig.topology.events.as_str();
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
        connection.close().await;
        worker.until_logged("consumer.detached").await;
        worker.until_metric("course_sharing_consumer_up", 1.0).await;
        ready(&worker, 200).await;
        event_works(stage, PAGE).await;
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn a_queue_that_somebody_made_in_another_way_is_named() {
    with_stage(Kind::Sqlite, async |stage| {
        let connection = stage.rig.connection().await;
        let channel = connection.channel().await.unwrap();
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        let queue = stage.rig.topology.events.as_str();
        channel.queue_declare(queue.into(), options, Default::default()).await.unwrap();
        connection.close().await;
        let worker = stage.start_worker(&[]);
        let why = worker.until_logged("consumer.detached").await["why"].to_string();
        assert!(why.contains(queue) && why.contains("differs"), "{why}");
        worker.stop().await.expect(0);
    })
    .await;
}
