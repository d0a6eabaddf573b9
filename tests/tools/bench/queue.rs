//! The broker's side of a bench: filling a queue fast, counting what is left, and the floors of consuming.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use course_sharing::broker::{Broker, Connection, Message, Publisher, Role, Topology};
use course_sharing::config::Amqp;
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};

/// Messages sent before their confirmations are waited for.
const WINDOW: usize = 1_000;
/// No floor takes longer, on a broker that is alive.
const LIMIT: Duration = Duration::from_secs(120);

/// An exchange and the queues of a worker, under names of their own; deleted at the end.
pub(crate) struct Queues {
    pub(crate) amqp: Amqp,
    pub(crate) topology: Topology,
    connection: Connection,
    /// To look at the queue by, again and again.
    looking: Channel,
    publisher: Publisher,
}

impl Queues {
    /// Declares them as the worker would.
    pub(crate) async fn new() -> anyhow::Result<Self> {
        let name = format!("course-sharing-bench-{:08x}", rand::random::<u32>());
        let mut amqp = Amqp { exchange: name.clone(), queue: format!("{name}.events"), ..Amqp::default() };
        if let Ok(url) = std::env::var("COURSE_SHARING_AMQP__URL") {
            amqp.url = url.into();
        }
        let broker = Broker::new(&amqp)?;
        let connection = broker.open(Role::Operator).await.context("ops/services gets a RabbitMQ")?;
        let topology = Topology::new(&amqp);
        topology.ensure(&connection).await?;
        let looking = connection.channel().await?;
        Ok(Self { publisher: Publisher::new(broker), amqp, topology, connection, looking })
    }

    /// Publishes all bodies with this routing key, confirmed; returns how long it took.
    pub(crate) async fn publish_all(
        &self,
        key: &str,
        bodies: impl Iterator<Item = Vec<u8>>,
    ) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let channel = self.connection.channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let properties =
            BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
        let options = BasicPublishOptions::default();
        let mut sent = 0;
        for body in bodies {
            let exchange = self.topology.exchange.as_str().into();
            drop(channel.basic_publish(exchange, key.into(), options, &body, properties.clone()).await?);
            sent += 1;
            if sent % WINDOW == 0 {
                channel.wait_for_confirms().await?;
            }
        }
        channel.wait_for_confirms().await?;
        Ok(began.elapsed())
    }

    /// Publishes one, as Studio would.
    pub(crate) async fn publish(&self, key: &str, body: Vec<u8>) -> anyhow::Result<()> {
        Ok(self.publisher.publish(&self.topology.exchange, key, &Message::json(body)).await?)
    }

    /// Messages that are ready in the events queue; those in a worker's hand are not among them.
    pub(crate) async fn ready(&self) -> anyhow::Result<u64> {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue = self.topology.events.as_str().into();
        Ok(self.looking.queue_declare(queue, options, FieldTable::default()).await?.message_count().into())
    }

    /// Messages that are left in any queue, a delay queue or the dead letters among them.
    pub(crate) async fn left(&self) -> anyhow::Result<(u64, u64, u64)> {
        let counts = self.topology.counts(&self.connection).await?;
        let delayed = counts.delayed.iter().map(|(_, messages)| u64::from(*messages)).sum();
        Ok((counts.events.into(), delayed, counts.dead.into()))
    }

    /// Events that wait: in their queue, or in a delay queue of less than so many seconds.
    pub(crate) async fn waiting(&self, less_than: u32) -> anyhow::Result<u64> {
        let counts = self.topology.counts(&self.connection).await?;
        let delayed = counts.delayed.iter().filter(|(seconds, _)| *seconds < less_than);
        Ok(u64::from(counts.events) + delayed.map(|(_, messages)| u64::from(*messages)).sum::<u64>())
    }

    /// Empties every queue.
    pub(crate) async fn purge(&self) -> anyhow::Result<()> {
        for queue in self.names() {
            self.connection.channel().await?.queue_purge(queue.into(), Default::default()).await?;
        }
        Ok(())
    }

    /// The floor of any worker: takes `count` messages off the events queue and only acknowledges them, each or by
    /// the hundred.
    pub(crate) async fn consume_and_ack(&self, count: u64, every: u64) -> anyhow::Result<Duration> {
        let (_channel, mut consumer) = self.consumer().await?;
        let began = Instant::now();
        let taken = async {
            for n in 1..=count {
                let delivery = consumer.next().await.context("the consumer ended")??;
                if n % every == 0 || n == count {
                    delivery.acker.ack(BasicAckOptions { multiple: every > 1 }).await?;
                }
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(LIMIT, taken).await.context("the floor takes too long")??;
        Ok(began.elapsed())
    }

    /// From publishing to delivery, one at a time, with nothing else going on in the queue.
    pub(crate) async fn deliveries(&self, count: u32) -> anyhow::Result<Vec<Duration>> {
        let (_channel, mut consumer) = self.consumer().await?;
        let mut times = Vec::new();
        for _ in 0..count {
            let began = Instant::now();
            let (published, delivery) =
                tokio::join!(self.publish("course-publish", b"{}".to_vec()), consumer.next());
            published?;
            let delivery = delivery.context("the consumer ended")??;
            times.push(began.elapsed());
            delivery.acker.ack(BasicAckOptions::default()).await?;
        }
        Ok(times)
    }

    async fn consumer(&self) -> anyhow::Result<(Channel, lapin::Consumer)> {
        let channel = self.connection.channel().await?;
        channel.basic_qos(self.amqp.prefetch, BasicQosOptions::default()).await?;
        let queue = self.topology.events.as_str().into();
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = channel.basic_consume(queue, "".into(), options, arguments).await?;
        Ok((channel, consumer))
    }

    fn names(&self) -> Vec<String> {
        let delays = self.topology.steps.iter().map(|step| self.topology.delay(*step));
        delays.chain([self.topology.events.clone(), self.topology.dead.clone()]).collect()
    }

    /// Deletes everything.
    pub(crate) async fn delete(self) -> anyhow::Result<()> {
        self.publisher.close().await;
        for queue in self.names() {
            self.connection.channel().await?.queue_delete(queue.into(), Default::default()).await?;
        }
        let exchange = self.topology.exchange.as_str().into();
        self.connection.channel().await?.exchange_delete(exchange, Default::default()).await?;
        self.connection.close().await;
        Ok(())
    }
}
