//! Dead letters are consumed like events: what is not acknowledged waits in the queue again, as it was.

use course_sharing::broker::{BrokerError, DeadLetters, ack_many};

use crate::support::broker::{Rig, SOON, with_rig};

fn letters(rig: &Rig) -> DeadLetters {
    DeadLetters::new(rig.broker.clone(), rig.topology.clone())
}

/// Dead letters with the bodies 0, 1, 2 and so on, all of them tried before.
async fn bury(rig: &Rig, count: u32) {
    let (mut consumer, settler) = (rig.consume(10), rig.clone());
    consumer.wait_for(true, SOON).await;
    for n in 0..count {
        rig.publish(&n.to_string()).await;
        let delivery = consumer.next().await;
        settler.delay(&delivery, 1, 3, "later").await.unwrap();
        settler.dead(&consumer.next().await, &format!("reason {n}")).await.unwrap();
    }
    consumer.stop().await.close().await;
    rig.wait_for_ready(0, 0, count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn they_come_in_their_order_and_alike_each_time_until_they_are_acknowledged() {
    with_rig(|rig| async move {
        bury(&rig, 2).await;
        let mut before = Vec::new();
        for _ in 0..3 {
            let mut feed = letters(&rig).consume().await.unwrap();
            let mut taken = feed.next().await.unwrap();
            while taken.len() < 2 {
                taken.extend(feed.next().await.unwrap());
            }
            let bodies: Vec<&[u8]> = taken.iter().map(|letter| letter.body.as_slice()).collect();
            assert_eq!(bodies, [b"0", b"1"]);
            assert_eq!(taken[0].reason.as_deref(), Some("reason 0"));
            // What the broker counts is no part of the message.
            let properties: Vec<Vec<u8>> = taken.iter().map(|letter| letter.properties()).collect();
            assert!(before.is_empty() || before == properties);
            before = properties;
            drop((taken, feed));
            rig.wait_for_ready(0, 0, 2).await;
            assert_eq!(letters(&rig).waiting().await.unwrap(), 2);
        }
        let mut feed = letters(&rig).consume().await.unwrap();
        let mut taken = feed.next().await.unwrap();
        let again = taken[0].again();
        ack_many(vec![taken.remove(0)]).await.unwrap();
        drop((taken, feed));
        rig.wait_for_ready(0, 0, 1).await;

        rig.publisher.publish("", &rig.topology.events, &again).await.unwrap();
        let mut consumer = rig.consume(10);
        let delivery = consumer.next().await;
        assert_eq!((delivery.attempt, &delivery.reason), (0, &None), "as if it had never been tried");
        assert_eq!((&*delivery.body, &*delivery.routing_key), (&b"0"[..], "course-publish"));
        consumer.stop().await.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_queue_there_is_an_error_that_says_so() {
    with_rig(|rig| async move {
        let error = letters(&rig).waiting().await.unwrap_err();
        assert!(matches!(&error, BrokerError::Missing { what, .. } if what.contains(".dead")), "{error:?}");
    })
    .await;
}
