//! Settles events: passes each decision to the broker, again and again until the broker has it.

use std::time::{Duration, Instant};

use chrono::Utc;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::batcher::Supersedes;
use super::delayed_events::DelayedEvent;
use super::jobs::sleeps;
use super::reading;
use super::settlement::Settlement;
use super::tally::{First, Tally};
use crate::broker::{self, Acker, BrokerError, Delivery};
use crate::event::{Decoded, Event};
use crate::telemetry::{Latch, metrics, report};

/// Between two tries to move a message. Meanwhile the broker still has it, unacknowledged.
const PAUSE: Duration = Duration::from_secs(1);

/// An event with the delivery it came by.
pub(super) struct Job {
    pub(super) event: Event,
    pub(super) delivery: Delivery,
}

/// What a delivery contains.
pub(super) enum Incoming {
    /// An event.
    Job(Job),
    /// A valid message about something without a share link, and about what.
    Ignored(Delivery, String),
    /// It cannot be decoded, and why.
    Dead(Delivery, String),
}

impl Incoming {
    /// Decodes a delivery.
    pub(super) fn read(delivery: Delivery) -> Self {
        if let Some(why) = delivery.unreadable.clone() {
            return Self::Dead(delivery, why);
        }
        match reading::read(&delivery) {
            Ok(Decoded::Event(event)) => Self::Job(Job { event, delivery }),
            Ok(Decoded::Ignored(ignored)) => Self::Ignored(delivery, ignored.why),
            Err(error) => Self::Dead(delivery, error.to_string()),
        }
    }
}

impl Job {
    /// The time since the event was sent, or since it first arrived here if its sender does not say.
    pub(super) fn age(&self) -> Duration {
        let since = self.event.time.or(self.delivery.published).unwrap_or(self.delivery.first_seen);
        (Utc::now() - since).to_std().unwrap_or_default()
    }
}

impl Supersedes for Job {
    /// While this event is not acknowledged the broker has it too, so its course is looked up later than now even if the
    /// process dies. If its connection is gone, it is delivered again, and others must not rely on it.
    fn supersedes(&self, other: &Self) -> bool {
        self.event.course == other.event.course
            && self.delivery.attempt <= other.delivery.attempt
            && self.delivery.is_live()
    }
}

/// Settles jobs.
pub(super) struct Settler {
    acker: Acker,
    stop: CancellationToken,
    database: Latch,
    dead: Tally,
}

impl Settler {
    /// Stops trying again when `stop` is cancelled.
    pub(super) fn new(acker: Acker, stop: CancellationToken) -> Self {
        Self { acker, stop, database: Latch::default(), dead: Tally::default() }
    }

    /// Settles all of them, moves side by side. Returns the events that delay queues have taken.
    pub(super) async fn settle(&self, settled: Vec<(Job, Settlement)>) -> Vec<DelayedEvent> {
        let mut acks = Vec::new();
        let mut moves = Vec::new();
        for (Job { event, delivery }, settlement) in settled {
            let kind = event.kind.as_str();
            match settlement {
                Settlement::Ack(outcome) => {
                    metrics::event(kind, outcome);
                    acks.push(delivery);
                }
                Settlement::Delay { seconds, counts, reason } => {
                    metrics::event(kind, "parked");
                    let course = event.course;
                    tracing::debug!(event = "event.delayed", %course, seconds, reason, "tried again later");
                    let attempt = delivery.attempt.saturating_add(u32::from(counts));
                    let place = Place::Delay { seconds, attempt };
                    let moving = async move {
                        let since = self.move_on(delivery, place, reason).await;
                        since.map(|since| DelayedEvent { course, attempt, seconds, since })
                    };
                    moves.push(moving.boxed());
                }
                Settlement::Dead(reason) => {
                    metrics::event(kind, "dead_lettered");
                    let course = event.course;
                    self.dead.add(|| First { reason: reason.clone(), course: Some(course.to_string()) });
                    let moving = async move {
                        self.move_on(delivery, Place::Dead, reason).await;
                        None
                    };
                    moves.push(moving.boxed());
                }
            }
        }
        let acks = async {
            if !acks.is_empty() {
                log_unacknowledged(broker::ack_many(acks).await);
            }
        };
        let ((), delayed) = tokio::join!(acks, join_all(moves));
        delayed.into_iter().flatten().collect()
    }

    /// Acknowledges a message that asks for nothing.
    pub(super) async fn ignore(&self, delivery: Delivery, why: String) {
        metrics::event("unknown", "ignored");
        tracing::debug!(event = "event.ignored", why, "the message is not about a course run");
        log_unacknowledged(broker::ack_many(vec![delivery]).await);
    }

    /// Sends a message that cannot be decoded to the dead letters.
    pub(super) async fn bury(&self, delivery: Delivery, reason: String) {
        metrics::event("unknown", "dead_lettered");
        self.dead.add(|| First { reason: reason.clone(), course: None });
        self.move_on(delivery, Place::Dead, reason).await;
    }

    /// Logs the new dead letters in one line, if it is time for one or this is the `last` chance.
    pub(super) fn log_dead_letters(&self, last: bool) {
        if let Some((letters, First { reason, course })) = self.dead.due(Instant::now(), last) {
            tracing::warn!(
                event = "event.dead_lettered",
                letters,
                reason,
                course,
                "messages became dead letters"
            );
        }
    }

    /// Logs once that the database is down, however many events wait for it.
    pub(super) fn database_failed(&self, reason: &str) {
        if self.database.fails() {
            tracing::error!(event = "database.failed", reason, "the database is down; events are parked");
        }
    }

    /// Logs once that it is back.
    pub(super) fn database_answered(&self) {
        if self.database.recovers() {
            tracing::info!(event = "database.recovered", "the database answers again");
        }
    }

    /// Moves a message, again and again until the broker has it. Returns when it was sent. None if it is delivered again,
    /// as its connection is gone or the process stops.
    async fn move_on(&self, delivery: Delivery, to: Place, reason: String) -> Option<Instant> {
        let held = Latch::default();
        loop {
            let since = Instant::now();
            let moved = match to {
                Place::Delay { seconds, attempt } => {
                    self.acker.delay(&delivery, seconds, attempt, &reason).await
                }
                Place::Dead => self.acker.dead(&delivery, &reason).await,
            };
            let Err(error) = moved else { return Some(since) };
            if !delivery.is_live() {
                return None;
            }
            if held.fails() {
                tracing::warn!(event = "event.held", error = report(&error), "a message cannot be moved yet");
            }
            if !sleeps(PAUSE, &self.stop).await {
                return None;
            }
        }
    }
}

/// Where a message goes instead of being acknowledged.
#[derive(Clone, Copy)]
enum Place {
    Delay { seconds: u32, attempt: u32 },
    Dead,
}

/// A delivery that cannot be acknowledged is delivered again, which changes nothing.
fn log_unacknowledged(acknowledged: Result<(), BrokerError>) {
    if let Err(error) = acknowledged {
        tracing::debug!(event = "event.unacknowledged", error = report(&error), "it will be delivered again");
    }
}
