//! The queue of dead letters. Only the worker that takes them over reads it: a message that is read and put back counts as
//! delivered, and an operator's delivery limit would drop it in the end.

use std::sync::Arc;

use futures_util::FutureExt;

use super::connection::{Broker, Role};
use super::error::BrokerError;
use super::session::{Delivery, Session};
use super::topology::Topology;

/// Letters that are unacknowledged at once; each may be as large as the broker allows.
const PREFETCH: u16 = 4;

/// Where dead letters wait to be taken over.
#[derive(Clone)]
pub struct DeadLetters {
    broker: Broker,
    topology: Topology,
}

/// A consumer of dead letters. When it is dropped, letters that are not acknowledged go back to the queue.
pub struct Feed {
    session: Arc<Session>,
    consumer: lapin::Consumer,
}

impl DeadLetters {
    /// The dead letters of this topology.
    pub fn new(broker: Broker, topology: Topology) -> Self {
        Self { broker, topology }
    }

    /// The name of their queue.
    pub fn queue(&self) -> &str {
        &self.topology.dead
    }

    /// Starts to consume. Declares the topology first.
    pub async fn consume(&self) -> Result<Feed, BrokerError> {
        let Self { broker, topology } = self;
        let started = Session::start(broker, Role::DeadLetters, topology, &topology.dead, PREFETCH).await;
        let (session, consumer) = started?;
        Ok(Feed { session, consumer })
    }

    /// The number of letters in the queue. Touches none of them.
    pub async fn waiting(&self) -> Result<u32, BrokerError> {
        let connection = self.broker.open(Role::Operator).await?;
        let waiting = self.topology.count(&connection, self.queue()).await;
        connection.close().await;
        waiting
    }
}

impl Feed {
    /// The next letters in their order: at least one, and all that have come with it.
    pub async fn next(&mut self) -> Result<Vec<Delivery>, BrokerError> {
        let cancelled =
            || BrokerError::Stale("RabbitMQ cancelled the consumer; was the queue deleted?".to_owned());
        let mut letters = vec![self.session.next(&mut self.consumer).await?.ok_or_else(cancelled)?];
        while letters.len() < usize::from(PREFETCH)
            && let Some(next) = self.session.next(&mut self.consumer).now_or_never()
        {
            letters.push(next?.ok_or_else(cancelled)?);
        }
        Ok(letters)
    }

    /// Closes the connection, once what was acknowledged has been sent.
    pub async fn close(self) {
        self.session.connection.close().await;
    }
}
