//! A delivery and the way to acknowledge it, which travel together to the one place that settles.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use lapin::Channel;
use lapin::options::BasicAckOptions;

use super::ack_window::{Ack, AckWindow};
use super::connection::{Connection, answer};
use super::error::BrokerError;
use super::received::Received;

/// One life of the consumer: a connection and a channel. What was delivered by it can be acknowledged only by it.
pub(super) struct Generation {
    pub(super) connection: Connection,
    pub(super) channel: Channel,
    window: Mutex<AckWindow>,
    /// Held from deciding what to send until it is sent: an "all up to" of a later decision that overtakes an earlier
    /// one covers its tags, and the broker closes the channel on a tag that it hears twice.
    acking: tokio::sync::Mutex<()>,
}

/// A message that the broker waits for an answer to.
///
/// Dropped without one it stays with us until the connection ends, and is then delivered again.
pub struct Delivery {
    received: Received,
    tag: u64,
    generation: Arc<Generation>,
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
    /// False once its connection is gone: the broker delivers the message again, and this copy can be forgotten.
    pub fn is_live(&self) -> bool {
        self.generation.is_live()
    }

    /// Ends the connection that it came by: the broker delivers it again, and all others that came by it.
    pub(super) fn give_back_all(&self) {
        self.generation.connection.hang_up();
    }
}

impl Generation {
    pub(super) fn new(connection: Connection, channel: Channel) -> Arc<Self> {
        Arc::new(Self {
            connection,
            channel,
            window: Mutex::default(),
            acking: tokio::sync::Mutex::default(),
        })
    }

    pub(super) fn is_live(&self) -> bool {
        self.connection.is_open() && self.channel.status().connected()
    }

    /// Takes a delivery of this generation's channel in; to be called in the order of delivery.
    pub(super) fn take(self: &Arc<Self>, message: lapin::message::Delivery) -> Delivery {
        let tag = message.delivery_tag;
        self.window.lock().unwrap_or_else(PoisonError::into_inner).delivered(tag);
        Delivery { tag, received: Received::new(message, chrono::Utc::now()), generation: self.clone() }
    }

    async fn ack(&self, tags: impl IntoIterator<Item = u64>) -> Result<(), BrokerError> {
        let _in_order = self.acking.lock().await;
        let acks = self.window.lock().unwrap_or_else(PoisonError::into_inner).settle(tags);
        for Ack { tag, multiple } in acks {
            // By the channel, whose answer is an error if nothing was sent: lapin's ackers say Ok(false) then.
            let sent = self.channel.basic_ack(tag, BasicAckOptions { multiple });
            if let Err(error) = answer("acknowledging", sent).await {
                // Half-acknowledged is no state to go on from: the consumer sees the end and builds anew.
                self.connection.hang_up();
                return Err(stale(&error));
            }
        }
        Ok(())
    }
}

/// Acknowledges deliveries, of any number of generations, in as few frames as their order allows.
///
/// # Errors
/// [`BrokerError::Stale`] if any of them could not be acknowledged. The broker will deliver those again; all the
/// same, everything that could be acknowledged is.
pub async fn ack_many(deliveries: Vec<Delivery>) -> Result<(), BrokerError> {
    let mut by_generation: Vec<(Arc<Generation>, Vec<u64>)> = Vec::new();
    for delivery in deliveries {
        let same = by_generation.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &delivery.generation));
        match same {
            Some((_, tags)) => tags.push(delivery.tag),
            None => by_generation.push((delivery.generation, vec![delivery.tag])),
        }
    }
    let mut result = Ok(());
    for (generation, tags) in by_generation {
        if let Err(error) = generation.ack(tags).await {
            result = Err(error);
        }
    }
    result
}

/// Acknowledges one delivery; doing it twice does nothing the second time.
///
/// # Errors
/// [`BrokerError::Stale`].
pub(super) async fn ack(delivery: &Delivery) -> Result<(), BrokerError> {
    delivery.generation.ack([delivery.tag]).await
}

fn stale(error: &BrokerError) -> BrokerError {
    match error {
        BrokerError::Lost { source, .. } => BrokerError::Stale(source.to_string()),
        other => BrokerError::Stale(other.to_string()),
    }
}
