//! The queue of dead letters, as the one who takes them over sees it. Nobody else reads it: a message that is read and
//! put back counts as delivered, and an operator's delivery limit would drop it in the end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;

use super::connection::{Broker, Role, answer};
use super::delivery::{Delivery, Generation};
use super::error::BrokerError;
use super::topology::{Topology, short};

/// Letters that are with us at once; each may be as large as the broker allows.
const PREFETCH: u16 = 4;
/// How often a silent channel is looked at, besides waiting for what it says.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where dead letters wait to be taken over.
#[derive(Clone)]
pub struct DeadLetters {
    broker: Broker,
    topology: Topology,
}

/// A consumer of dead letters. Dropped, it hangs up, and what is not acknowledged waits in the queue again.
pub struct Feed {
    generation: Arc<Generation>,
    consumer: lapin::Consumer,
}

impl DeadLetters {
    /// The dead letters of this topology.
    pub fn new(broker: Broker, topology: Topology) -> Self {
        Self { broker, topology }
    }

    /// Begins to consume. Makes the topology stand first, as the worker may have just started.
    pub async fn consume(&self) -> Result<Feed, BrokerError> {
        let connection = self.broker.open(Role::DeadLetters).await?;
        self.topology.ensure(&connection).await?;
        let channel = connection.channel().await?;
        let limit = channel.basic_qos(PREFETCH, BasicQosOptions { global: false });
        answer("setting the prefetch", limit).await?;
        let (queue, options) = (short(&self.topology.dead)?, BasicConsumeOptions::default());
        let consuming = channel.basic_consume(queue, "".into(), options, FieldTable::default());
        let consumer = answer("starting to consume dead letters", consuming).await?;
        Ok(Feed { generation: Generation::new(connection, channel), consumer })
    }

    /// How many wait in the queue, by a question that touches none of them.
    pub async fn waiting(&self) -> Result<u32, BrokerError> {
        let connection = self.broker.open(Role::Operator).await?;
        let waiting = self.topology.count_dead(&connection).await;
        connection.close().await;
        waiting
    }
}

impl Feed {
    /// Those that have come, in their order: at least one, and no more than are with us at once.
    pub async fn next(&mut self) -> Result<Vec<Delivery>, BrokerError> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        let first = loop {
            tokio::select! {
                next = self.consumer.next() => break self.taken(next)?,
                _ = look.tick() => if !self.generation.is_live() {
                    return Err(gone("the connection is gone"));
                },
            }
        };
        let mut letters = vec![first];
        while letters.len() < usize::from(PREFETCH)
            && let Some(next) = self.consumer.next().now_or_never()
        {
            letters.push(self.taken(next)?);
        }
        Ok(letters)
    }

    fn taken(&self, next: Option<lapin::Result<lapin::message::Delivery>>) -> Result<Delivery, BrokerError> {
        match next {
            Some(Ok(message)) => Ok(self.generation.take(message)),
            Some(Err(source)) => Err(BrokerError::Lost { doing: "reading dead letters", source }),
            None => Err(gone("RabbitMQ cancelled the consumer; was the queue deleted?")),
        }
    }
}

fn gone(why: &str) -> BrokerError {
    BrokerError::Stale(why.to_owned())
}
