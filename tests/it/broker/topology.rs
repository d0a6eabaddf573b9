//! Declaring and verifying the topology, and errors that say what is wrong.

use course_sharing::broker::STEPS;
use course_sharing::broker::{BrokerError, Counts, Topology};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;

use crate::support::broker::with_rig;

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_topology_can_be_declared_twice_and_verified() {
    with_rig(|rig| async move {
        let connection = rig.connection().await;
        let declared = Topology::new(&rig.config);
        assert_eq!(declared.steps, STEPS);
        declared.ensure(&connection).await.unwrap();
        declared.ensure(&connection).await.unwrap();
        Topology { declare: false, ..declared.clone() }.ensure(&connection).await.unwrap();
        let counts = declared.counts(&connection).await.unwrap();
        assert_eq!(
            counts,
            Counts { events: 0, consumers: 0, delayed: STEPS.map(|step| (step, 0)).to_vec(), dead: 0 }
        );
        let channel = connection.channel().await.unwrap();
        for step in STEPS {
            let queue = declared.delay(step).as_str().into();
            channel.queue_delete(queue, QueueDeleteOptions::default()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_differs_is_named_with_its_argument_and_a_way_out() {
    with_rig(|rig| async move {
        let connection = rig.connection().await;
        let channel = connection.channel().await.unwrap();
        let (name, durable) = (rig.topology.events.as_str(), QueueDeclareOptions::durable());
        channel.queue_declare(name.into(), durable, FieldTable::default()).await.unwrap();
        let error = rig.topology.ensure(&connection).await.unwrap_err();
        let BrokerError::Conflict { what, argument, .. } = &error else { panic!("{error:?}") };
        assert!(what.contains(name), "{what}");
        assert!(argument.as_deref().is_some_and(|argument| argument.starts_with("x-")), "{argument:?}");
        let said = error.to_string();
        assert!(said.contains("amqp.queue") && said.contains("delete"), "{said}");
        assert!(connection.is_open(), "a refusal costs a channel and no more");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_where_we_may_not_declare() {
    with_rig(|rig| async move {
        let connection = rig.connection().await;
        let verified = Topology { declare: false, ..rig.topology.clone() };
        let error = verified.ensure(&connection).await.unwrap_err();
        let BrokerError::Missing { what, fix } = &error else { panic!("{error:?}") };
        assert!(what.contains(&rig.topology.exchange) && fix.contains("amqp.declare"), "{error}");

        rig.declare().await;
        let channel = connection.channel().await.unwrap();
        let queue = rig.topology.delay(2);
        channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        let error = verified.ensure(&connection).await.unwrap_err();
        assert!(matches!(&error, BrokerError::Missing { what, .. } if what.contains(&queue)), "{error:?}");
    })
    .await;
}
