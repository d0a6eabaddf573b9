//! Moves a delivery to a delay queue, or to the dead letters.
//!
//! To move a message, a copy is sent and confirmed first, and the delivery acknowledged after that. A stop in between makes
//! a duplicate, which changes nothing; the other order would lose the message.

use super::error::BrokerError;
use super::publisher::Publisher;
use super::session::Delivery;
use super::topology::Topology;

/// Moves deliveries. Cheap to clone.
///
/// After [`BrokerError::Stale`], drop the delivery: it is delivered again. After any other error it is unchanged: keep it
/// and try again after a pause. It is not put back into its queue, as it would be delivered again at once.
#[derive(Clone)]
pub struct Acker {
    publisher: Publisher,
    topology: Topology,
}

impl Acker {
    /// Sends with this publisher to the queues of this topology.
    pub fn new(publisher: Publisher, topology: Topology) -> Self {
        Self { publisher, topology }
    }

    /// Delivers it again after `step` seconds, one of the topology's steps, as attempt number `attempt`: one more than its
    /// own if the delay counts as an attempt.
    pub async fn delay(
        &self,
        delivery: &Delivery,
        step: u32,
        attempt: u32,
        reason: &str,
    ) -> Result<(), BrokerError> {
        self.move_to(&self.topology.delay(step), delivery, attempt, reason).await
    }

    /// Sends it to the dead letters, unchanged, with the reason.
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
            // When the consumer reconnects it declares the topology again, or says what is missing.
            delivery.hang_up();
        }
        sent?;
        delivery.ack().await
    }
}
