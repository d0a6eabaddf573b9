//! A consumer's connection, and the deliveries that came by it. Only the same connection can acknowledge them.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;

use super::ack_window::{Ack, AckWindow};
use super::connection::{Broker, Connection, Role, answer};
use super::error::BrokerError;
use super::received::Received;
use super::topology::{Topology, short};

use crate::clock;

/// How often a silent channel is checked.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// A connection and a channel with a consumer. After any failure a new session replaces it as a whole.
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) channel: Channel,
    window: Mutex<AckWindow>,
    /// Held from the decision which acknowledgements to send until they are sent. An "all up to" that overtakes an earlier
    /// acknowledgement covers its tag, and the broker closes the channel on a tag that it gets twice.
    one_at_a_time: tokio::sync::Mutex<()>,
}

/// A message that the broker waits to be acknowledged.
///
/// Dropped without that, it is delivered again when the connection ends.
pub struct Delivery {
    received: Received,
    tag: u64,
    session: Arc<Session>,
}

impl Deref for Delivery {
    type Target = Received;
    fn deref(&self) -> &Received {
        &self.received
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("tag", &self.tag).field("received", &self.received).finish()
    }
}

impl Delivery {
    /// False once its connection is gone: then the broker delivers the message again, and this one can be dropped.
    pub fn is_live(&self) -> bool {
        self.session.is_live()
    }

    /// Ends its connection: the broker delivers it again, and all others of the connection.
    pub(super) fn hang_up(&self) {
        self.session.connection.hang_up();
    }
}

impl Session {
    /// Connects, makes sure of the topology and consumes `queue`, with `prefetch` unacknowledged deliveries at most.
    pub(super) async fn start(
        broker: &Broker,
        role: Role,
        topology: &Topology,
        queue: &str,
        prefetch: u16,
    ) -> Result<(Arc<Self>, lapin::Consumer), BrokerError> {
        let connection = broker.open(role).await?;
        topology.ensure(&connection).await?;
        let channel = connection.channel().await?;
        // Before consuming, or the whole queue is delivered at once. Not global, which RabbitMQ 4.3 refuses.
        let limit = channel.basic_qos(prefetch, BasicQosOptions { global: false });
        answer("setting the prefetch", limit).await?;
        let options = BasicConsumeOptions::default();
        let consuming = channel.basic_consume(short(queue)?, "".into(), options, FieldTable::default());
        let consumer = answer("starting to consume", consuming).await?;
        let (window, one_at_a_time) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok((Arc::new(Self { connection, channel, window, one_at_a_time }), consumer))
    }

    /// The next item of the consumer; an error once the connection is gone, even if lapin does not say so.
    pub(super) async fn next(
        &self,
        consumer: &mut lapin::Consumer,
    ) -> Result<Option<lapin::Result<lapin::message::Delivery>>, BrokerError> {
        loop {
            match tokio::time::timeout(CHECK_EVERY, consumer.next()).await {
                Ok(next) => return Ok(next),
                Err(_) if self.is_live() => {}
                Err(_) => return Err(BrokerError::Stale("no heartbeat".to_owned())),
            }
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.connection.is_open() && self.channel.status().connected()
    }

    /// Takes a delivery of this session; to be called in the order of delivery.
    pub(super) fn take(self: &Arc<Self>, message: lapin::message::Delivery) -> Delivery {
        let tag = message.delivery_tag;
        self.window.lock().unwrap_or_else(PoisonError::into_inner).delivered(tag);
        Delivery { tag, received: Received::new(message, clock::now()), session: self.clone() }
    }

    async fn ack(&self, tags: impl IntoIterator<Item = u64>) -> Result<(), BrokerError> {
        let _guard = self.one_at_a_time.lock().await;
        let acks = self.window.lock().unwrap_or_else(PoisonError::into_inner).settle(tags);
        for Ack { tag, multiple } in acks {
            // Not by lapin's acker, which answers Ok(false) if nothing was sent.
            let sent = self.channel.basic_ack(tag, BasicAckOptions { multiple });
            if let Err(error) = answer("acknowledging", sent).await {
                // Some may be acknowledged and some not: the consumer starts a new session.
                self.connection.hang_up();
                return Err(stale(&error));
            }
        }
        Ok(())
    }
}

/// Acknowledges deliveries of any sessions, in as few frames as their order allows.
///
/// # Errors
/// [`BrokerError::Stale`] if some could not be acknowledged; the broker delivers those again. All others are acknowledged.
pub async fn ack_many(deliveries: Vec<Delivery>) -> Result<(), BrokerError> {
    let mut by_session: Vec<(Arc<Session>, Vec<u64>)> = Vec::new();
    for delivery in deliveries {
        let same = by_session.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &delivery.session));
        match same {
            Some((_, tags)) => tags.push(delivery.tag),
            None => by_session.push((delivery.session, vec![delivery.tag])),
        }
    }
    let mut result = Ok(());
    for (session, tags) in by_session {
        if let Err(error) = session.ack(tags).await {
            result = Err(error);
        }
    }
    result
}

/// Acknowledges one delivery. A second time it does nothing.
///
/// # Errors
/// [`BrokerError::Stale`].
pub(super) async fn ack(delivery: &Delivery) -> Result<(), BrokerError> {
    delivery.session.ack([delivery.tag]).await
}

fn stale(error: &BrokerError) -> BrokerError {
    match error {
        BrokerError::Lost { source, .. } => BrokerError::Stale(source.to_string()),
        other => BrokerError::Stale(other.to_string()),
    }
}
