//! The consumer reconnects after any failure, and reports its state correctly.

use std::collections::BTreeSet;
use std::time::Duration;

use course_sharing::broker::{Attachment, BrokerError, ack_many};
use lapin::options::QueueDeleteOptions;
use test_support::raw;

use super::publishing::by_proxy;
use crate::support::broker::{Running, SOON, with_rig};
use crate::support::wait_until;

/// What operators are promised for a wire that has gone dead.
const FROZEN_SEEN_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_consumed_and_gone_when_acknowledged() {
    with_rig(|rig| async move {
        let mut consumer = rig.consume(10);
        consumer.wait_for(true, SOON).await;
        rig.publish("{\"a\": 1}").await;
        let delivery = consumer.next().await;
        assert_eq!(delivery.body, b"{\"a\": 1}");
        assert_eq!(delivery.routing_key, "course-publish");
        assert_eq!(delivery.content_type.as_deref(), Some("application/json"));
        assert_eq!((delivery.attempt, &delivery.reason), (0, &None));
        delivery.ack().await.unwrap();
        delivery.ack().await.expect("a second time does nothing");
        consumer.stop().await.close().await;
        rig.wait_for_ready(0, 0, 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_the_prefetch_is_unacknowledged() {
    with_rig(|rig| async move {
        rig.declare().await;
        for n in 0..7 {
            rig.publish(&n.to_string()).await;
        }
        let mut consumer = rig.consume(3);
        let mut in_hand = Vec::new();
        for _ in 0..3 {
            in_hand.push(consumer.next().await);
        }
        rig.wait_for_ready(4, 0, 0).await;
        assert!(consumer.deliveries.try_recv().is_err());
        // Out of order: the last one does not acknowledge those before it.
        ack_many(vec![in_hand.pop().unwrap()]).await.unwrap();
        in_hand.push(consumer.next().await);
        rig.wait_for_ready(3, 0, 0).await;
        ack_many(in_hand).await.unwrap();
        let rest = [consumer.next().await, consumer.next().await, consumer.next().await];
        consumer.stop().await.close().await;
        assert!(!rest[0].is_live());
        rig.wait_for_ready(3, 0, 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_stop_deliveries_can_still_be_acknowledged() {
    with_rig(|rig| async move {
        let mut consumer = rig.consume(10);
        consumer.wait_for(true, SOON).await;
        rig.publish("1").await;
        let delivery = consumer.next().await;
        let stopped = consumer.stop().await;
        rig.publish("2").await;
        assert!(delivery.is_live());
        ack_many(vec![delivery]).await.unwrap();
        stopped.close().await;
        rig.wait_for_ready(1, 0, 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_declared_again_and_consumed() {
    with_rig(|rig| async move {
        let mut consumer = rig.consume(10);
        consumer.wait_for(true, SOON).await;
        let connection = rig.connection().await;
        let channel = connection.channel().await.unwrap();
        let queue = rig.topology.events.as_str().into();
        channel.queue_delete(queue, QueueDeleteOptions::default()).await.unwrap();
        consumer.wait_for(false, SOON).await;
        let seen = consumer.attachment.borrow().clone();
        assert!(matches!(&seen, Attachment::Detached { why, .. } if why.contains("was deleted")), "{seen:?}");
        consumer.wait_for(true, SOON).await;
        rig.publish("after").await;
        let delivery = consumer.next().await;
        assert_eq!(delivery.body, b"after");
        ack_many(vec![delivery]).await.unwrap();
        consumer.stop().await.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_wire_loses_nothing() {
    with_rig(|rig| async move {
        let (proxy, broker) = by_proxy(&rig).await;
        let mut consumer = Running::new(broker, rig.topology.clone(), 10);
        consumer.wait_for(true, SOON).await;
        for n in 0..30 {
            rig.publish(&n.to_string()).await;
        }
        let stale = consumer.next().await;
        let mut settled = BTreeSet::new();
        let first = consumer.next().await;
        settled.insert(first.body.clone());
        ack_many(vec![first]).await.unwrap();
        proxy.cut();
        consumer.wait_for(false, SOON).await;
        assert!(!stale.is_live());
        let error = stale.ack().await.unwrap_err();
        assert!(matches!(&error, BrokerError::Stale(_)), "{error:?}");
        assert!(error.to_string().contains("deliver it again"), "{error}");
        let error = rig.dead(&stale, "x").await.unwrap_err();
        assert!(matches!(error, BrokerError::Stale(_)), "{error:?}");
        while settled.len() < 30 {
            let delivery = consumer.next().await;
            let body = delivery.body.clone();
            // Those of the life before are still in the line, and come once more.
            if ack_many(vec![delivery]).await.is_ok() {
                settled.insert(body);
            }
        }
        consumer.stop().await.close().await;
        rig.wait_for_ready(0, 0, 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_wire_is_seen_and_overcome() {
    with_rig(|rig| async move {
        let (proxy, broker) = by_proxy(&rig).await;
        let mut consumer = Running::new(broker, rig.topology.clone(), 10);
        consumer.wait_for(true, SOON).await;
        proxy.freeze();
        consumer.wait_for(false, FROZEN_SEEN_WITHIN).await;
        proxy.resume();
        consumer.wait_for(true, Duration::from_secs(60)).await;
        rig.publish("after").await;
        assert_eq!(consumer.next().await.body, b"after");
        consumer.stop().await.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_read_is_delivered_with_the_reason_and_the_others_with_it() {
    with_rig(|rig| async move {
        rig.declare().await;
        rig.publish("before").await;
        for properties in [raw::no_utf_8(), raw::nested(1_500), raw::nested(raw::DEEPEST)] {
            let exchange = &rig.config.exchange;
            rig.publish_raw(exchange, "course-publish", &properties, b"odd").await;
        }
        rig.publish("after").await;
        let mut consumer = rig.consume(10);
        assert_eq!(consumer.next().await.body, b"before");
        for reason in ["not UTF-8", "nested more than", "nested more than"] {
            let delivery = consumer.next().await;
            assert_eq!((delivery.body.as_slice(), &*delivery.routing_key), (&b"odd"[..], "course-publish"));
            let unreadable = delivery.unreadable.clone().unwrap();
            assert!(unreadable.contains(reason), "{unreadable}");
            rig.dead(&delivery, &unreadable).await.unwrap();
        }
        let after = consumer.next().await;
        assert_eq!((after.body.as_slice(), &after.unreadable), (&b"after"[..], &None));
        assert!(after.is_live(), "on the one connection");
        consumer.stop().await.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_while_there_is_no_broker() {
    with_rig(|rig| async move {
        let (proxy, broker) = by_proxy(&rig).await;
        drop(proxy);
        let consumer = Running::new(broker, rig.topology.clone(), 10);
        let attachment = consumer.attachment.clone();
        wait_until(SOON, "it says why it is not attached", || async {
            matches!(&*attachment.borrow(), Attachment::Detached { why, .. } if why.contains("cannot be reached"))
        })
        .await;
        consumer.stop().await.close().await;
    })
    .await;
}
