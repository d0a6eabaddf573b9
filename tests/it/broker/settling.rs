//! Delays and dead letters: a confirmed copy first, then the acknowledgement.

use course_sharing::broker::{BrokerError, Message, Received};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};

use crate::support::broker::{Rig, SOON, dead_letter, with_rig};
use crate::support::wait_until;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A message as other programs send them: trace context as bytes, a lifetime, and a wish for copies.
async fn publish_foreign(rig: &Rig) {
    let connection = rig.connection().await;
    let channel = connection.channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::ByteArray(TRACE.as_bytes().into()));
    headers.insert("ce_type".into(), AMQPValue::LongString("overview-recreated".into()));
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_content_type("application/json; charset=utf-8".into())
        .with_expiration("600000".into())
        .with_timestamp(1_700_000_000)
        .with_message_id("m-1".into());
    let exchange = rig.config.exchange.as_str().into();
    let (key, options) = ("overview-recreated".into(), BasicPublishOptions::default());
    channel.basic_publish(exchange, key, options, b"{}", properties).await.unwrap().await.unwrap();
    connection.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_message_comes_back_as_it_was() {
    with_rig(|rig| async move {
        let (mut consumer, settler) = (rig.consume(10), rig.clone());
        consumer.wait_for(true, SOON).await;
        publish_foreign(&rig).await;
        let mut before = consumer.next().await;
        for attempt in 1..=2 {
            settler.delay(&before, 1, attempt, "not listed\nyet").await.unwrap();
            let after = consumer.next().await;
            assert_eq!(after.attempt, attempt);
            assert_eq!(after.reason.as_deref(), Some("not listed yet"));
            assert_eq!(after.routing_key, "overview-recreated", "and not the queue's name");
            assert_eq!(after.first_seen.timestamp(), before.first_seen.timestamp());
            assert_eq!(after.published.map(|at| at.timestamp()), Some(1_700_000_000));
            assert_eq!(after.header("TraceParent").as_deref(), Some(TRACE));
            assert_eq!(after.header("ce_type").as_deref(), Some("overview-recreated"));
            assert_eq!((&after.body, &after.content_type), (&before.body, &before.content_type));
            before = after;
        }
        before.ack().await.unwrap();
        consumer.stop().await.close().await;
        rig.wait_for_ready(0, 0, 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_whole_whatever_its_size() {
    with_rig(|rig| async move {
        let mut consumer = rig.consume(10);
        consumer.wait_for(true, SOON).await;
        let body = "x".repeat(300 * 1024);
        let message = Message::json(body.clone().into()).with_header("traceparent", TRACE).unwrap();
        rig.publisher.publish(&rig.config.exchange, "course-publish", &message).await.unwrap();
        let delivery = consumer.next().await;
        assert_eq!(delivery.body.len(), body.len());
        rig.dead(&delivery, &"too long ".repeat(100)).await.unwrap();
        rig.wait_for_ready(0, 0, 1).await;
        consumer.stop().await.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_leads_to_no_queue_gives_the_delivery_back_to_the_broker() {
    with_rig(|rig| async move {
        let (mut consumer, settler) = (rig.consume(10), rig.clone());
        consumer.wait_for(true, SOON).await;
        rig.publish("{}").await;
        let delivery = consumer.next().await;
        let error = settler.delay(&delivery, 77, 1, "x").await.unwrap_err();
        assert!(matches!(error, BrokerError::Missing { .. }), "{error:?}");
        assert!(error.to_string().contains("delay.77"), "{error}");
        let again = consumer.next().await;
        assert!(again.body == delivery.body && !delivery.is_live());
        settler.delay(&again, 1, 1, "x").await.unwrap();
        consumer.next().await.ack().await.unwrap();
        consumer.stop().await.close().await;
        rig.wait_for_ready(0, 0, 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_between_copy_and_acknowledgement_duplicates_and_loses_nothing() {
    with_rig(|rig| async move {
        let mut consumer = rig.consume(10);
        consumer.wait_for(true, SOON).await;
        rig.publish("{}").await;
        let delivery = consumer.next().await;
        // The copy, as `dead` sends it, and then no acknowledgement.
        let copy = Message::json(delivery.body.clone());
        rig.publisher.publish("", &rig.topology.dead, &copy).await.unwrap();
        consumer.stop().await.close().await;
        rig.wait_for_ready(1, 0, 1).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_delay_queue_was_deleted_the_next_session_declares_the_topology_again() {
    with_rig(|rig| async move {
        let (mut consumer, settler) = (rig.consume(10), rig.clone());
        consumer.wait_for(true, SOON).await;
        let connection = rig.connection().await;
        let channel = connection.channel().await.unwrap();
        let queue = rig.topology.delay(1);
        channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        rig.publish("{}").await;
        settler.delay(&consumer.next().await, 1, 1, "x").await.unwrap_err();
        settler.delay(&consumer.next().await, 1, 1, "x").await.unwrap();
        consumer.next().await.ack().await.unwrap();
        consumer.stop().await.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_waited_too_long_is_buried_by_the_broker_with_its_reason() {
    with_rig(|rig| async move {
        rig.declare().await;
        // What message-ttl of a policy does to all.
        let expiration = [1, 0, 1, b'1'];
        rig.publish_raw(&rig.config.exchange, "course-publish", &expiration, b"{}").await;
        let buried = || async { rig.ready().await.2 == 1 };
        wait_until(SOON, "the message is a dead letter", buried).await;
        let letter = dead_letter(&rig).await;
        let reason = letter.reason.as_deref().unwrap_or_default();
        assert!(reason.contains("expired in") && reason.contains("list_policies"), "{reason}");
        assert_eq!(letter.routing_key, "course-publish", "with which it can be replayed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_delivered_too_often_is_buried_by_the_broker_with_its_reason() {
    with_rig(|rig| async move {
        rig.declare().await;
        rig.publish("{}").await;
        let connection = rig.connection().await;
        let mut returned = 0;
        while rig.ready().await.2 == 0 {
            let channel = connection.channel().await.unwrap();
            let get =
                channel.basic_get(rig.topology.events.as_str().into(), Default::default()).await.unwrap();
            drop(get);
            channel.close(200, "OK".into()).await.unwrap();
            returned += 1;
            assert!(returned < 50, "the delivery limit is lower than that");
        }
        assert!(returned >= 20, "not before the limit");
        let letter = dead_letter(&rig).await;
        assert_eq!(letter.reason.as_deref(), Some("given up by RabbitMQ: delivery_limit"));
        assert_eq!(letter.routing_key, "course-publish", "which may be all that says what it is about");
        // Stored and read again, and replayed, it says so itself, whatever becomes of it then.
        let (properties, body) = (letter.properties(), letter.body.clone());
        let stored = Received::stored(&properties, "another", body, letter.first_seen);
        assert_eq!((&stored.reason, &*stored.routing_key), (&letter.reason, "course-publish"));
        rig.publisher.publish("", &rig.topology.events, &stored.again()).await.unwrap();
        let mut consumer = rig.consume(10);
        assert_eq!(consumer.next().await.routing_key, "course-publish");
        consumer.stop().await.close().await;
    })
    .await;
}
