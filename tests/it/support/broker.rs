//! The real broker, with exchange and queues of random names that are deleted again.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use course_sharing::broker::{
    Attachment, Broker, BrokerError, Connection, Consumer, DeadLetters, Delivery, Message, Publisher,
    Received, Role, Stopped, Topology,
};
use course_sharing::config::Amqp;
use futures_util::FutureExt;
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use secrecy::ExposeSecret;
use test_support::raw;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::wait_until;

/// Long enough for anything that a loaded machine does at once.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The broker of `COURSE_SHARING_AMQP__URL`, or the one on this machine; with unique names.
pub(crate) fn amqp() -> Amqp {
    let mut config = Amqp::default();
    if let Ok(url) = std::env::var("COURSE_SHARING_AMQP__URL") {
        config.url = url.into();
    }
    let name = format!("it-{:016x}", rand::random::<u64>());
    config.exchange = format!("{name}.exchange");
    config.queue = format!("{name}.events");
    config
}

/// All that a test of the broker needs. The topology is not declared yet.
#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) config: Amqp,
    pub(crate) broker: Broker,
    pub(crate) topology: Topology,
    pub(crate) publisher: Publisher,
}

/// Runs a test on a topology of its own, and deletes the topology whatever becomes of the test.
///
/// Its delays are of one and two seconds.
pub(crate) async fn with_rig<F: Future<Output = ()>>(test: impl FnOnce(Rig) -> F) {
    let config = amqp();
    let broker = Broker::new(&config).unwrap();
    let topology = Topology { steps: vec![1, 2], delivery_limit: 20, ..Topology::new(&config) };
    let publisher = Publisher::new(broker.clone());
    let rig = Rig { config, broker, topology, publisher };
    drop(rig.connection().await);
    let outcome = AssertUnwindSafe(test(rig.clone())).catch_unwind().await;
    rig.delete().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

impl Rig {
    /// A connection of the operator's, or a failure that says how to get a broker.
    pub(crate) async fn connection(&self) -> Connection {
        match self.broker.open(Role::Operator).await {
            Ok(connection) => connection,
            Err(error) => panic!(
                "{error}\nThis test needs RabbitMQ 3.10 or later: start one with\n  \
                 docker run -d -p 5672:5672 rabbitmq:4\nor set COURSE_SHARING_AMQP__URL."
            ),
        }
    }

    pub(crate) async fn declare(&self) {
        self.topology.ensure(&self.connection().await).await.unwrap();
    }

    pub(crate) async fn publish(&self, body: &str) {
        let message = Message::json(body.as_bytes().to_vec());
        self.publisher.publish(&self.config.exchange, "course-publish", &message).await.unwrap();
    }

    /// Publishes what no client library would send.
    pub(crate) async fn publish_raw(&self, exchange: &str, key: &str, properties: &[u8], body: &[u8]) {
        let url = self.config.url.expose_secret();
        raw::publish(url, exchange, key, properties, body).await.unwrap();
    }

    /// The number of messages that are ready in the events queue, all delay queues together, and the dead letters.
    pub(crate) async fn ready(&self) -> (u32, u32, u32) {
        let connection = self.connection().await;
        let counts = self.topology.counts(&connection).await.unwrap();
        connection.close().await;
        (counts.events, counts.delayed.iter().map(|(_, count)| count).sum(), counts.dead)
    }

    pub(crate) async fn wait_for_ready(&self, events: u32, delayed: u32, dead: u32) {
        let what = format!("{events} in events, {delayed} delayed, {dead} dead");
        wait_until(SOON, &what, || async { self.ready().await == (events, delayed, dead) }).await;
    }

    /// Moves a delivery to a delay queue.
    pub(crate) async fn delay(
        &self,
        delivery: &Delivery,
        step: u32,
        attempt: u32,
        reason: &str,
    ) -> Result<(), BrokerError> {
        delivery.move_to(&self.topology.delay(step), attempt, reason, &self.publisher).await
    }

    /// Moves a delivery to the dead letters.
    pub(crate) async fn dead(&self, delivery: &Delivery, reason: &str) -> Result<(), BrokerError> {
        delivery.move_to(&self.topology.dead, delivery.attempt, reason, &self.publisher).await
    }

    /// A running consumer, not necessarily attached yet.
    pub(crate) fn consume(&self, prefetch: u16) -> Running {
        Running::new(self.broker.clone(), self.topology.clone(), prefetch)
    }

    /// Deletes queues and exchange.
    pub(crate) async fn delete(&self) {
        self.publisher.close().await;
        let connection = self.connection().await;
        let channel = connection.channel().await.unwrap();
        let steps = self.topology.steps.iter().map(|step| self.topology.delay(*step));
        for queue in steps.chain([self.topology.events.clone(), self.topology.dead.clone()]) {
            let _ = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await;
        }
        let name = self.config.exchange.as_str().into();
        let _ = channel.exchange_delete(name, ExchangeDeleteOptions::default()).await;
        connection.close().await;
    }
}

/// A consumer at work.
pub(crate) struct Running {
    pub(crate) deliveries: mpsc::Receiver<Delivery>,
    pub(crate) attachment: watch::Receiver<Attachment>,
    stop: CancellationToken,
    task: JoinHandle<Stopped>,
}

impl Running {
    pub(crate) fn new(broker: Broker, topology: Topology, prefetch: u16) -> Self {
        let (consumer, deliveries) = Consumer::new(broker, topology, prefetch);
        let (attachment, stop) = (consumer.attachment(), CancellationToken::new());
        let task = tokio::spawn(consumer.run(stop.clone()));
        Self { deliveries, attachment, stop, task }
    }

    /// The next delivery; fails if none comes soon.
    pub(crate) async fn next(&mut self) -> Delivery {
        let next = tokio::time::timeout(SOON, self.deliveries.recv()).await;
        next.expect("a delivery soon").expect("a consumer that runs")
    }

    /// Waits for the consumer to be attached, or not to be.
    pub(crate) async fn wait_for(&mut self, attached: bool, limit: Duration) {
        let is = |now: &Attachment| matches!(now, Attachment::Attached { .. }) == attached;
        let changed = tokio::time::timeout(limit, self.attachment.wait_for(is)).await;
        let Ok(Ok(_)) = changed else { panic!("not attached == {attached} within {limit:?}") };
    }

    /// Stops taking deliveries; the connection stays open for those that are not acknowledged.
    pub(crate) async fn stop(self) -> Stopped {
        self.stop.cancel();
        tokio::time::timeout(SOON, self.task).await.expect("a consumer that stops").unwrap()
    }
}

/// The next dead letter of a rig; it goes back into its queue.
pub(crate) async fn dead_letter(rig: &Rig) -> Received {
    let mut feed = DeadLetters::new(rig.broker.clone(), rig.topology.clone()).consume().await.unwrap();
    let letters = tokio::time::timeout(SOON, feed.next()).await.expect("a letter soon").unwrap();
    Received::clone(&letters[0])
}
