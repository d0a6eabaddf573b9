//! What can become of a delivery: done, waiting in a delay queue, or dead. Nothing else, and nothing by accident.
//!
//! Waiting and dead are a confirmed copy first and the acknowledgement after it. Stopping in between makes a
//! duplicate, which a worker that looks at the level shrugs off; the other order would lose the message.

use super::delivery::{Delivery, ack};
use super::error::BrokerError;
use super::publisher::Publisher;
use super::topology::Topology;

/// Settles deliveries. Cheap to clone.
///
/// On [`BrokerError::Stale`] forget the delivery: it comes again. On any other error the delivery is as it was;
/// keep it and try again after a pause. It is not put back into its queue, as it would come back at once, and
/// again, as fast as the network allows.
#[derive(Clone)]
pub struct Settler {
    publisher: Publisher,
    topology: Topology,
}

impl Settler {
    /// A settler that sends by this publisher into the queues of this topology.
    pub fn new(publisher: Publisher, topology: Topology) -> Self {
        Self { publisher, topology }
    }

    /// Done: acknowledges it. For many at once there is [`super::ack_many`].
    ///
    /// # Errors
    /// [`BrokerError::Stale`].
    pub async fn ack(&self, delivery: &Delivery) -> Result<(), BrokerError> {
        ack(delivery).await
    }

    /// Comes back after `step` seconds, one of the topology's steps, as attempt number `attempt`: its own number to
    /// wait without counting, one more to count.
    ///
    /// # Errors
    /// As said at [`Settler`].
    pub async fn delay(
        &self,
        delivery: &Delivery,
        step: u32,
        attempt: u32,
        reason: &str,
    ) -> Result<(), BrokerError> {
        self.move_to(&self.topology.delay(step), delivery, attempt, reason).await
    }

    /// Goes to the dead letters, whole, with the reason.
    ///
    /// # Errors
    /// As said at [`Settler`].
    pub async fn dead(&self, delivery: &Delivery, reason: &str) -> Result<(), BrokerError> {
        self.move_to(&self.topology.dead, delivery, delivery.attempt, reason).await
    }

    async fn move_to(
        &self,
        queue: &str,
        delivery: &Delivery,
        attempt: u32,
        reason: &str,
    ) -> Result<(), BrokerError> {
        if !delivery.is_live() {
            return Err(BrokerError::Stale("nothing was sent".to_owned()));
        }
        let copy = delivery.sent_on(attempt, Some(reason));
        let sent = self.publisher.publish("", queue, &copy).await;
        if matches!(sent, Err(BrokerError::Missing { .. })) {
            // The consumer's next life makes the topology stand again, or says what is missing.
            delivery.give_back_all();
        }
        sent?;
        ack(delivery).await
    }
}
