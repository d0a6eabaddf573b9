//! `Ok` means that a queue has the message; everything else is an error.

use course_sharing::broker::{Broker, BrokerError, Message, Publisher};
use course_sharing::config::Amqp;
use futures_util::future::join_all;
use secrecy::ExposeSecret;
use test_support::Proxy;

use crate::support::broker::{Rig, SOON, with_rig};
use crate::support::proxy::in_front_of;
use crate::support::wait_until;

fn message(body: &str) -> Message {
    Message::json(body.into())
}

/// A way to the broker that can be cut.
pub(super) async fn by_proxy(rig: &Rig) -> (Proxy, Broker) {
    let (proxy, url) = in_front_of(rig.config.url.expose_secret(), 5672).await;
    let config = Amqp { url: url.as_str().into(), ..rig.config.clone() };
    (proxy, Broker::new(&config).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_takes_is_a_failure() {
    with_rig(|rig| async move {
        rig.declare().await;
        let error =
            rig.publisher.publish(&rig.config.exchange, "no-such-key", &message("{}")).await.unwrap_err();
        assert!(matches!(&error, BrokerError::NotTaken { why, .. } if why.contains("returned")), "{error:?}");
        let error = rig.publisher.publish("", "no-such-queue", &message("{}")).await.unwrap_err();
        assert!(matches!(&error, BrokerError::Missing { what, .. } if what.contains("no-such-queue")));
        let error = rig.publisher.publish("no-such-exchange", "x", &message("{}")).await.unwrap_err();
        assert!(matches!(&error, BrokerError::Missing { what, .. } if what.contains("no-such-exchange")));
        let error = rig.publisher.publish("", &"x".repeat(256), &message("{}")).await.unwrap_err();
        assert!(error.to_string().contains("256 bytes"), "{error}");
        rig.publish("{}").await;
        rig.wait_for_ready(1, 0, 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_exactly_the_unroutable_fail() {
    with_rig(|rig| async move {
        rig.declare().await;
        let keys = ["course-publish", "nowhere", "overview-recreated"];
        let sends = (0..300).map(|n| {
            let (publisher, exchange) = (rig.publisher.clone(), rig.config.exchange.clone());
            tokio::spawn(
                async move { publisher.publish(&exchange, keys[n % 3], &message(&n.to_string())).await },
            )
        });
        for (n, sent) in join_all(sends).await.into_iter().enumerate() {
            assert_eq!(sent.unwrap().is_ok(), n % 3 != 1, "message {n}");
        }
        rig.wait_for_ready(200, 0, 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_cut_it_reconnects() {
    with_rig(|rig| async move {
        rig.declare().await;
        let (proxy, broker) = by_proxy(&rig).await;
        let publisher = Publisher::new(broker);
        let send = || async { publisher.publish("", &rig.topology.events, &message("{}")).await.is_ok() };
        assert!(send().await);
        proxy.cut();
        wait_until(SOON, "publishing works again", send).await;
        publisher.close().await;
        assert!(send().await, "closing is no end");
        publisher.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_wire_is_a_failure_and_not_a_wait() {
    with_rig(|rig| async move {
        rig.declare().await;
        let (proxy, broker) = by_proxy(&rig).await;
        let publisher = Publisher::new(broker);
        publisher.publish("", &rig.topology.events, &message("1")).await.unwrap();
        proxy.freeze();
        let sent =
            tokio::time::timeout(SOON, publisher.publish("", &rig.topology.events, &message("2"))).await;
        let error = sent.expect("an end of waiting").unwrap_err();
        assert!(matches!(error, BrokerError::Lost { .. }), "{error:?}");
        proxy.resume();
        wait_until(SOON, "publishing works again", || async {
            publisher.publish("", &rig.topology.events, &message("3")).await.is_ok()
        })
        .await;
        publisher.close().await;
    })
    .await;
}
