//! Consuming for ever: whatever ends, everything is built anew, and what we say of ourselves is true.
//!
//! The classic failure of a consumer is to be connected and to consume nothing. So the end of its stream counts as
//! a failure like any other, and "attached" means that the broker has confirmed the consumer of this very life.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::connection::{Broker, Role, answer};
use super::delivery::{Delivery, Generation};
use super::error::{BrokerError, Refusal, refusal};
use super::topology::{Topology, short};
use crate::telemetry::metrics;

/// Between two lives.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const GROWTH: f64 = 1.3;
/// How often a silent channel is looked at, besides waiting for what it says.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Whether the broker has a consumer of ours on the events queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachment {
    /// It has, and sends what comes.
    Attached {
        /// Since when.
        since: DateTime<Utc>,
    },
    /// It has not.
    Detached {
        /// Since when.
        since: DateTime<Utc>,
        /// What ended the last life, or kept the next one from beginning.
        why: String,
    },
}

/// Takes deliveries from the events queue.
pub struct Consumer {
    broker: Broker,
    topology: Topology,
    prefetch: u16,
    deliveries: mpsc::Sender<Delivery>,
    attachment: watch::Sender<Attachment>,
}

/// The last life of a consumer that has stopped. What is in hand can still be settled until it is closed.
pub struct Stopped(Option<Arc<Generation>>);

impl Consumer {
    /// A consumer and the deliveries it will take, `prefetch` of them at most unsettled at a time.
    ///
    /// The receiver ends after [`Consumer::run`] has returned.
    pub fn new(broker: Broker, topology: Topology, prefetch: u16) -> (Self, mpsc::Receiver<Delivery>) {
        let (deliveries, receiver) = mpsc::channel(usize::from(prefetch.max(1)));
        let why = "not started yet".to_owned();
        let attachment = watch::Sender::new(Attachment::Detached { since: Utc::now(), why });
        (Self { broker, topology, prefetch: prefetch.max(1), deliveries, attachment }, receiver)
    }

    /// Whether it is attached, now and whenever that changes.
    pub fn attachment(&self) -> watch::Receiver<Attachment> {
        self.attachment.subscribe()
    }

    /// Consumes until `stop`, through any number of lives.
    ///
    /// Then the broker is told to send no more; what has been delivered can still be settled, and is delivered
    /// again to whoever consumes next if it is not, once the returned [`Stopped`] is closed.
    pub async fn run(self, stop: CancellationToken) -> Stopped {
        let mut failures = 0;
        loop {
            let why = match self.live(&stop).await {
                Ok(stopped) => return stopped,
                Err(why) => why,
            };
            // However short, a life that consumed shows that the broker is there: the next pause is the shortest.
            let consumed = matches!(*self.attachment.borrow(), Attachment::Attached { .. });
            failures = if consumed { 1 } else { failures + 1 };
            self.detached(why.clone());
            let pause = pause(failures, rand::random());
            let retry_in = humantime::format_duration(Duration::from_millis(pause.as_millis() as u64));
            if failures == 1 {
                tracing::warn!(
                    event = "consumer.detached",
                    why,
                    %retry_in,
                    "not consuming events; connecting anew"
                );
            } else {
                tracing::debug!(why, %retry_in, "still not consuming events");
            }
            tokio::select! {
                () = stop.cancelled() => return Stopped(None),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One life: from nothing to `stop`, or to whatever ended it, and why.
    async fn live(&self, stop: &CancellationToken) -> Result<Stopped, String> {
        let built = tokio::select! {
            () = stop.cancelled() => return Ok(Stopped(None)),
            built = self.build() => built,
        };
        let (generation, mut consumer) = built.map_err(|error| chain(&error))?;
        self.attached();
        let end = self.pump(&generation, &mut consumer, stop).await;
        if let Some(end) = end {
            // Nothing of this life is kept: an acknowledgement that still tried to use it is to fail at once.
            generation.connection.hang_up();
            return Err(end);
        }
        let tag = consumer.tag();
        let cancelled = generation.channel.basic_cancel(tag, BasicCancelOptions::default());
        if let Err(error) = answer("cancelling the consumer", cancelled).await {
            tracing::debug!(error = chain(&error), "the consumer could not be cancelled");
        }
        self.detached("stopped".to_owned());
        Ok(Stopped(Some(generation)))
    }

    /// Connection, topology, channel, limit and consumer, as one unit.
    async fn build(&self) -> Result<(Arc<Generation>, lapin::Consumer), BrokerError> {
        let connection = self.broker.open(Role::Consumer).await?;
        self.topology.ensure(&connection).await?;
        let channel = connection.channel().await?;
        // Before consuming, or all that is in the queue comes at once; and for the consumer alone, as RabbitMQ 4.3
        // refuses a limit that is shared by a channel.
        let limit = channel.basic_qos(self.prefetch, BasicQosOptions { global: false });
        answer("setting the prefetch", limit).await?;
        let (queue, tag) = (short(&self.topology.events)?, "".into());
        let options = BasicConsumeOptions::default();
        let consuming = channel.basic_consume(queue, tag, options, FieldTable::default());
        let consumer = answer("starting to consume", consuming).await?;
        Ok((Generation::new(connection, channel), consumer))
    }

    /// Hands deliveries on until `stop` (None), or until there will be no more, and why.
    async fn pump(
        &self,
        generation: &Arc<Generation>,
        consumer: &mut lapin::Consumer,
        stop: &CancellationToken,
    ) -> Option<String> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                next = consumer.next() => next,
                _ = look.tick() => {
                    if generation.is_live() {
                        continue;
                    }
                    return lost("the connection is gone");
                }
            };
            let delivery = match next {
                Some(Ok(message)) => generation.take(message),
                Some(Err(error)) => return lost(&ended(&error.to_string())),
                None => return Some(self.why_cancelled(generation).await),
            };
            tokio::select! {
                () = stop.cancelled() => return None,
                sent = self.deliveries.send(delivery) => if sent.is_err() {
                    return lost("nobody takes deliveries any more");
                },
            }
        }
    }

    /// Why RabbitMQ cancelled the consumer, of which it says nothing: the queue is gone, or it stands.
    async fn why_cancelled(&self, generation: &Generation) -> String {
        let looked = async {
            let channel = generation.connection.channel().await?;
            let options = QueueDeclareOptions { passive: true, ..Default::default() };
            let declaring =
                channel.queue_declare(short(&self.topology.events)?, options, FieldTable::default());
            answer("looking for the queue", declaring).await.map(drop)
        };
        let queue = &self.topology.events;
        match looked.await {
            Ok(()) => format!(
                "RabbitMQ cancelled the consumer, and the queue {queue} stands: a message was held for longer than its \
                 consumer_timeout, or the queue was made again or moved to another node"
            ),
            Err(error) if matches!(&error, BrokerError::Lost { source, .. } if is_missing(source)) => {
                format!("RabbitMQ cancelled the consumer: the queue {queue} was deleted")
            }
            Err(_) => "RabbitMQ cancelled the consumer; was the queue deleted?".to_owned(),
        }
    }

    fn attached(&self) {
        metrics::consumer_up(true);
        let (queue, broker) = (&self.topology.events, self.broker.address());
        tracing::info!(event = "consumer.attached", queue, broker, "consuming events");
        self.attachment.send_replace(Attachment::Attached { since: Utc::now() });
    }

    fn detached(&self, why: String) {
        metrics::consumer_up(false);
        self.attachment.send_modify(|attachment| {
            let since = match attachment {
                Attachment::Detached { since, .. } => *since,
                Attachment::Attached { .. } => Utc::now(),
            };
            *attachment = Attachment::Detached { since, why };
        });
    }
}

fn is_missing(error: &lapin::Error) -> bool {
    matches!(refusal(error).0, Refusal::NotFound)
}

/// Why the channel ended, in words that say more than RabbitMQ's where these are known.
fn ended(said: &str) -> String {
    if said.contains("PRECONDITION_FAILED") && said.contains("timed out") {
        return format!(
            "a message was held for longer than RabbitMQ's consumer_timeout, and all that were are delivered again: what \
             kept it? ({said})"
        );
    }
    said.to_owned()
}

fn lost(why: &str) -> Option<String> {
    Some(why.to_owned())
}

impl Stopped {
    /// Closes the connection. What is not settled by now goes back to its queue.
    pub async fn close(self) {
        if let Some(generation) = self.0 {
            generation.connection.close().await;
        }
    }
}

/// How long to wait before the next life, after so many failures on end: growing, with a limit, and cut by up to
/// half at `random` (0 to 1), so that many workers do not come back in one moment. It grows so slowly that the last
/// pause is no more than a third of the outage: a broker that was away for half a minute is found within ten seconds.
fn pause(failures: u32, random: f64) -> Duration {
    let grown = SHORTEST_PAUSE.mul_f64(GROWTH.powf(f64::from(failures.saturating_sub(1).min(50))));
    grown.min(LONGEST_PAUSE).mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0).max(SHORTEST_PAUSE)
}

fn chain(error: &BrokerError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_consumer_timeout_is_named() {
        let said = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 60000 ms";
        assert!(ended(said).contains("consumer_timeout, and"), "{}", ended(said));
        assert_eq!(ended("CONNECTION_FORCED"), "CONNECTION_FORCED");
    }

    #[test]
    fn pauses_grow_with_the_outage_up_to_the_longest() {
        let pauses: Vec<Duration> = (1..=20).map(|failures| pause(failures, 0.0)).collect();
        assert!(
            pauses.is_sorted() && pauses[0] == SHORTEST_PAUSE && pauses[19] == LONGEST_PAUSE,
            "{pauses:?}"
        );
        let mut outage = Duration::ZERO;
        for pause in pauses {
            assert!(pause <= SHORTEST_PAUSE + outage / 3, "{pause:?} after {outage:?}");
            outage += pause;
        }
    }

    proptest! {
        #[test]
        fn a_pause_is_never_too_short_or_too_long(failures: u32, random: f64) {
            let pause = pause(failures, if random.is_nan() { 0.5 } else { random });
            prop_assert!((SHORTEST_PAUSE..=LONGEST_PAUSE).contains(&pause));
        }
    }
}
