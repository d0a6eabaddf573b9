//! A consumer's connection, and the deliveries that came by it. Only the same connection can acknowledge them.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use parking_lot::Mutex;

use super::connection::{Broker, Connection, Role, answer};
use super::error::BrokerError;
use super::message::{Received, short};
use super::publisher::Publisher;
use super::topology::Topology;
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
    /// Its number on its channel.
    pub fn tag(&self) -> u64 {
        self.tag
    }

    /// False once its connection is gone: then the broker delivers the message again, and this one can be dropped.
    pub fn is_live(&self) -> bool {
        self.session.is_live()
    }

    /// Acknowledges it. A second time does nothing. For many at once see [`ack_many`].
    ///
    /// # Errors
    /// [`BrokerError::Stale`] if the broker delivers it again.
    pub async fn ack(&self) -> Result<(), BrokerError> {
        self.session.ack([self.tag]).await
    }

    /// Moves it to a delay queue, or to the dead letters. `attempt` is one more than its own if the delay counts as one.
    ///
    /// A copy is sent and confirmed first, and the delivery acknowledged after that. A stop in between makes a duplicate,
    /// which changes nothing; the other order would lose the message.
    ///
    /// # Errors
    /// After [`BrokerError::Stale`], drop the delivery: it is delivered again. After any other error it is unchanged: keep
    /// it and try again after a pause. It is not put back into its queue, as it would be delivered again at once.
    pub async fn move_to(
        &self,
        queue: &str,
        attempt: u32,
        reason: &str,
        publisher: &Publisher,
    ) -> Result<(), BrokerError> {
        if !self.is_live() {
            return Err(BrokerError::Stale("nothing was sent".to_owned()));
        }
        let copy = self.received.sent_on(attempt, Some(reason));
        let sent = publisher.publish("", queue, &copy).await;
        if matches!(sent, Err(BrokerError::Missing { .. })) {
            // When the consumer reconnects it declares the topology again, or says what is missing.
            self.session.connection.hang_up();
        }
        sent?;
        self.ack().await
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

    /// The next delivery. None once the broker has cancelled the consumer; an error once the connection is gone, even if
    /// lapin does not say so.
    pub(super) async fn next(
        self: &Arc<Self>,
        consumer: &mut lapin::Consumer,
    ) -> Result<Option<Delivery>, BrokerError> {
        loop {
            match tokio::time::timeout(CHECK_EVERY, consumer.next()).await {
                Ok(Some(Ok(message))) => return Ok(Some(self.take(message))),
                Ok(Some(Err(source))) => return Err(BrokerError::Lost { doing: "consuming", source }),
                Ok(None) => return Ok(None),
                Err(_) if self.is_live() => {}
                Err(_) => return Err(BrokerError::Stale("no heartbeat".to_owned())),
            }
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.connection.is_open() && self.channel.status().connected()
    }

    /// Takes a delivery of this session; to be called in the order of delivery.
    fn take(self: &Arc<Self>, message: lapin::message::Delivery) -> Delivery {
        let tag = message.delivery_tag;
        self.window.lock().delivered(tag);
        Delivery { tag, received: Received::new(message, clock::now()), session: self.clone() }
    }

    async fn ack(&self, tags: impl IntoIterator<Item = u64>) -> Result<(), BrokerError> {
        let _guard = self.one_at_a_time.lock().await;
        let acks = self.window.lock().settle(tags);
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

fn stale(error: &BrokerError) -> BrokerError {
    match error {
        BrokerError::Lost { source, .. } => BrokerError::Stale(source.to_string()),
        other => BrokerError::Stale(other.to_string()),
    }
}

/// The tags that are delivered and not acknowledged: it decides which acknowledgements to send, so that many deliveries
/// need few frames. Pure.
///
/// "All up to this one" may be sent only where all up to this one are settled. Tags rise in the order of delivery on one
/// channel, and each channel starts again; so a window belongs to one channel.
#[derive(Debug, Default)]
struct AckWindow {
    outstanding: BTreeSet<u64>,
}

/// One acknowledgement to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ack {
    tag: u64,
    /// All up to the tag, and not only it.
    multiple: bool,
}

impl AckWindow {
    /// Adds a delivery. To be called in the order of delivery, before it is settled.
    fn delivered(&mut self, tag: u64) {
        self.outstanding.insert(tag);
    }

    /// Settles these, and returns what to send: one acknowledgement for all before the first unsettled one, and one each
    /// for the rest. Tags that are not outstanding are ignored, as the broker closes the channel on a tag that it gets
    /// twice.
    fn settle(&mut self, tags: impl IntoIterator<Item = u64>) -> Vec<Ack> {
        let settled: BTreeSet<u64> = tags.into_iter().filter(|tag| self.outstanding.remove(tag)).collect();
        let first_unsettled = self.outstanding.first().copied().unwrap_or(u64::MAX);
        let before = settled.range(..first_unsettled);
        let count = before.clone().count();
        let together = before.last().map(|&tag| Ack { tag, multiple: count > 1 });
        let singly = settled.range(first_unsettled..).map(|&tag| Ack { tag, multiple: false });
        together.into_iter().chain(singly).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(tags: impl IntoIterator<Item = u64>) -> AckWindow {
        let mut window = AckWindow::default();
        tags.into_iter().for_each(|tag| window.delivered(tag));
        window
    }

    #[test]
    fn in_order_one_frame_is_enough() {
        let mut window = window(1..=5);
        assert_eq!(window.settle(1..=3), [Ack { tag: 3, multiple: true }]);
        assert_eq!(window.settle([4]), [Ack { tag: 4, multiple: false }]);
        assert_eq!(window.settle([4, 3, 99]), []);
    }

    #[test]
    fn a_gap_splits() {
        let mut window = window(1..=6);
        assert_eq!(
            window.settle([1, 2, 4, 6]),
            [
                Ack { tag: 2, multiple: true },
                Ack { tag: 4, multiple: false },
                Ack { tag: 6, multiple: false }
            ]
        );
        assert_eq!(window.settle([3, 5]), [Ack { tag: 5, multiple: true }]);
    }

    proptest! {
        /// After each step exactly the settled tags are acknowledged, and none twice.
        #[test]
        fn exactly_what_is_settled_is_acknowledged(
            steps in prop::collection::vec((0u64..8, prop::collection::vec(any::<prop::sample::Index>(), 0..8)), 0..30),
        ) {
            let mut window = AckWindow::default();
            let (mut last, mut at_broker, mut settled) = (0, BTreeSet::new(), BTreeSet::new());
            for (delivered, picks) in steps {
                for _ in 0..delivered {
                    last += 1;
                    window.delivered(last);
                    at_broker.insert(last);
                }
                let tags: Vec<u64> =
                    picks.iter().filter(|_| last > 0).map(|pick| pick.index(last as usize) as u64 + 1).collect();
                settled.extend(&tags);
                for ack in window.settle(tags) {
                    if ack.multiple {
                        prop_assert!(at_broker.range(..=ack.tag).next().is_some());
                        at_broker = at_broker.split_off(&(ack.tag + 1));
                    } else {
                        prop_assert!(at_broker.remove(&ack.tag), "{} is unknown to the broker", ack.tag);
                    }
                    // Never one that is unsettled.
                    prop_assert!((1..=last).all(|tag| at_broker.contains(&tag) || settled.contains(&tag)));
                }
                prop_assert!(at_broker.is_disjoint(&settled));
            }
        }
    }
}
