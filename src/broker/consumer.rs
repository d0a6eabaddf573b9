//! Consumes the events queue, and reconnects after any failure.
//!
//! The classic failure of a consumer is to be connected and to consume nothing. So the end of its stream counts as a
//! failure, and "attached" means that the broker has confirmed the consumer of the current session.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lapin::options::BasicCancelOptions;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::connection::{Broker, Role, answer};
use super::error::BrokerError;
use super::session::{Delivery, Session};
use super::topology::Topology;
use crate::clock;
use crate::telemetry::{metrics, report};

/// The pause before reconnecting.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const GROWTH: f64 = 1.3;
/// RabbitMQ 4 cancels the consumers of a queue that is deleted, and has the queue a little longer.
const GONE_AFTER: Duration = Duration::from_millis(300);

/// Whether the broker has a consumer of ours on the events queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachment {
    /// It has one, and delivers to it.
    Attached {
        /// Since when.
        since: DateTime<Utc>,
    },
    /// It has none.
    Detached {
        /// Since when.
        since: DateTime<Utc>,
        /// What ended the last session, or why the next one could not begin.
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

/// The last session of a consumer that has stopped. Deliveries can be acknowledged until it is closed.
pub struct Stopped(Option<Arc<Session>>);

impl Consumer {
    /// A consumer and its deliveries, of which `prefetch` at most are unacknowledged at once.
    ///
    /// The receiver ends after [`Consumer::run`] has returned.
    pub fn new(broker: Broker, topology: Topology, prefetch: u16) -> (Self, mpsc::Receiver<Delivery>) {
        let (deliveries, receiver) = mpsc::channel(usize::from(prefetch.max(1)));
        let why = "not started yet".to_owned();
        let attachment = watch::Sender::new(Attachment::Detached { since: clock::now(), why });
        (Self { broker, topology, prefetch: prefetch.max(1), deliveries, attachment }, receiver)
    }

    /// Whether it is attached, with changes.
    pub fn attachment(&self) -> watch::Receiver<Attachment> {
        self.attachment.subscribe()
    }

    /// Consumes until `stop`, in any number of sessions.
    ///
    /// Then the broker sends no more. Deliveries can still be acknowledged until the returned [`Stopped`] is closed; the
    /// others are delivered again to the next consumer.
    pub async fn run(self, stop: CancellationToken) -> Stopped {
        let mut failures = 0;
        loop {
            let why = match self.consume(&stop).await {
                Ok(stopped) => return stopped,
                Err(why) => why,
            };
            // A session that consumed, however short, shows that the broker works: the next pause is the shortest.
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
                    "not consuming events; reconnecting"
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

    /// One session, to `stop` or to its end. The error says what ended it, or why it could not begin.
    async fn consume(&self, stop: &CancellationToken) -> Result<Stopped, String> {
        let Self { broker, topology, prefetch, .. } = self;
        let started = tokio::select! {
            () = stop.cancelled() => return Ok(Stopped(None)),
            started = Session::start(broker, Role::Consumer, topology, &topology.events, *prefetch) => started,
        };
        let (session, mut consumer) = started.map_err(|error| report(&error))?;
        self.attached();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            why = self.pump(&session, &mut consumer) => {
                // An acknowledgement that still uses this session must fail at once.
                session.connection.hang_up();
                return Err(why);
            }
        }
        let cancelled = session.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
        if let Err(error) = answer("cancelling the consumer", cancelled).await {
            tracing::debug!(error = report(&error), "the consumer could not be cancelled");
        }
        self.detached("stopped".to_owned());
        Ok(Stopped(Some(session)))
    }

    /// Passes deliveries on until there are no more; returns why.
    async fn pump(&self, session: &Arc<Session>, consumer: &mut lapin::Consumer) -> String {
        loop {
            let delivery = match session.next(consumer).await {
                Ok(Some(delivery)) => delivery,
                Err(BrokerError::Lost { source, .. }) => return explain_end(&source.to_string()),
                Ok(None) => return self.why_cancelled(session).await,
                Err(_) => return "the connection is gone".to_owned(),
            };
            if self.deliveries.send(delivery).await.is_err() {
                return "the worker takes no more deliveries".to_owned();
            }
        }
    }

    /// Why RabbitMQ cancelled the consumer. It does not say whether the queue was deleted.
    async fn why_cancelled(&self, session: &Session) -> String {
        let queue = &self.topology.events;
        let mut looked = self.topology.count(&session.connection, queue).await;
        if looked.is_ok() {
            tokio::time::sleep(GONE_AFTER).await;
            looked = self.topology.count(&session.connection, queue).await;
        }
        match looked {
            Ok(_) => format!(
                "RabbitMQ cancelled the consumer, and the queue {queue} exists: a message was unacknowledged for longer than its \
                 consumer_timeout, or the queue was recreated or moved to another node"
            ),
            Err(BrokerError::Missing { .. }) => {
                format!("RabbitMQ cancelled the consumer: the queue {queue} was deleted")
            }
            Err(_) => "RabbitMQ cancelled the consumer; was the queue deleted?".to_owned(),
        }
    }

    fn attached(&self) {
        metrics::get().consumer_up.set(1);
        let (queue, broker) = (&self.topology.events, self.broker.address());
        tracing::info!(event = "consumer.attached", queue, broker, "consuming events");
        self.attachment.send_replace(Attachment::Attached { since: clock::now() });
    }

    fn detached(&self, why: String) {
        metrics::get().consumer_up.set(0);
        self.attachment.send_modify(|attachment| {
            let since = match attachment {
                Attachment::Detached { since, .. } => *since,
                Attachment::Attached { .. } => clock::now(),
            };
            *attachment = Attachment::Detached { since, why };
        });
    }
}

/// Why the channel ended, with more than RabbitMQ says where the cause is known.
fn explain_end(said: &str) -> String {
    if said.contains("PRECONDITION_FAILED") && said.contains("timed out") {
        return format!(
            "a message was unacknowledged for longer than RabbitMQ's consumer_timeout, and is delivered again with all \
             others; what held it up? ({said})"
        );
    }
    said.to_owned()
}

impl Stopped {
    /// Closes the connection. Deliveries that are not acknowledged go back to their queue.
    pub async fn close(self) {
        if let Some(session) = self.0 {
            session.connection.close().await;
        }
    }
}

/// The pause before reconnecting after so many failures in a row. It grows up to a limit, and is cut by up to half at
/// `random` (0 to 1), so that many workers do not reconnect at once. It grows slowly, so that no pause is longer than a
/// third of the outage: after half a minute without a broker, its return is noticed within ten seconds.
fn pause(failures: u32, random: f64) -> Duration {
    let grown = SHORTEST_PAUSE.mul_f64(GROWTH.powf(f64::from(failures.saturating_sub(1).min(50))));
    grown.min(LONGEST_PAUSE).mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0).max(SHORTEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_consumer_timeout_is_named() {
        let said = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 60000 ms";
        assert!(explain_end(said).contains("consumer_timeout, and"), "{}", explain_end(said));
        assert_eq!(explain_end("CONNECTION_FORCED"), "CONNECTION_FORCED");
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
