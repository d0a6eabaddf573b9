//! Looking at dead letters changes nothing; replaying and discarding touch the wanted ones alone.

use course_sharing::broker::{BrokerError, DeadLetters, Received, Walk};

use crate::support::broker::{Rig, SOON, dead_letters, with_rig};

/// Five dead letters with the bodies 0 to 4, all of them tried before.
async fn bury_five(rig: &Rig) {
    let (mut consumer, settler) = (rig.consume(10), rig.settler());
    consumer.wait_for(true, SOON).await;
    for n in 0..5 {
        rig.publish(&n.to_string()).await;
        let delivery = consumer.next().await;
        settler.delay(&delivery, 1, 3, "later").await.unwrap();
        settler.dead(&consumer.next().await, &format!("reason {n}")).await.unwrap();
    }
    consumer.stop().await.close().await;
    rig.wait_for_ready(0, 0, 5).await;
}

async fn bodies(dead: &DeadLetters, limit: u32) -> Vec<String> {
    let mut bodies = Vec::new();
    dead.list(limit, |_| true, |letter| bodies.push(body(letter))).await.unwrap();
    bodies
}

fn body(letter: &Received) -> String {
    String::from_utf8(letter.body.clone()).unwrap()
}

fn even(letter: &Received) -> bool {
    matches!(letter.body[..], [b'0' | b'2' | b'4'])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_can_look_replay_and_discard() {
    with_rig(|rig| async move {
        bury_five(&rig).await;
        let dead = dead_letters(&rig);
        // More often than RabbitMQ 4 would deliver a message by default.
        for _ in 0..25 {
            // What was looked at is back when the look is over, and nobody who comes next misses it.
            assert_eq!(bodies(&dead, 100).await, ["0", "1", "2", "3", "4"], "oldest first, and none is lost");
        }
        assert_eq!(bodies(&dead, 2).await, ["0", "1"]);
        let mut shown = Vec::new();
        let walk = dead.list(9, even, |letter| shown.extend(letter.reason.clone())).await.unwrap();
        assert_eq!(walk, Walk { seen: 5, matched: 3 });
        assert_eq!(shown, ["reason 0", "reason 2", "reason 4"]);

        assert_eq!(dead.replay(even).await.unwrap(), Walk { seen: 5, matched: 3 });
        rig.wait_for_ready(3, 0, 2).await;
        let mut consumer = rig.consume(10);
        for expected in ["0", "2", "4"] {
            let delivery = consumer.next().await;
            assert_eq!(body(&delivery), expected);
            assert_eq!((delivery.attempt, &delivery.reason), (0, &None), "as if it had never been tried");
            assert_eq!(delivery.routing_key, "course-publish");
            rig.settler().ack(&delivery).await.unwrap();
        }
        consumer.stop().await.close().await;

        rig.wait_for_ready(0, 0, 2).await;
        let third = |letter: &Received| letter.body == b"3";
        assert_eq!(dead.discard(third).await.unwrap(), Walk { seen: 2, matched: 1 });
        assert_eq!(bodies(&dead, 100).await, ["1"]);
        rig.wait_for_ready(0, 0, 1).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_queue_there_is_an_error_that_says_so() {
    with_rig(|rig| async move {
        let error = dead_letters(&rig).discard(|_| true).await.unwrap_err();
        assert!(matches!(&error, BrokerError::Missing { what, .. } if what.contains(".dead")), "{error:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_cannot_be_sent_keeps_its_letters() {
    with_rig(|rig| async move {
        bury_five(&rig).await;
        let mut elsewhere = rig.clone();
        elsewhere.topology.events = format!("{}.gone", rig.topology.events);
        let error = dead_letters(&elsewhere).replay(|_| true).await.unwrap_err();
        assert!(matches!(error, BrokerError::Missing { .. }), "{error:?}");
        rig.wait_for_ready(0, 0, 5).await;
        assert_eq!(bodies(&dead_letters(&rig), 100).await.len(), 5);
    })
    .await;
}
