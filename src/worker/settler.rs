//! The one place that settles: what is decided is told to the broker, and tried again until the broker has it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::batcher::Waits;
use super::copies::Copy;
use super::jobs::sleeps;
use super::reading;
use super::settlement::Settlement;
use super::tally::{First, Tally};
use crate::broker::{self, BrokerError, Delivery};
use crate::event::{Decoded, Event};
use crate::telemetry::{metrics, report};

/// Between two tries to move a message on; while they last the message is ours, and the broker has it too.
const PAUSE: Duration = Duration::from_secs(1);

/// An event with the delivery it came by.
pub(super) struct Job {
    pub(super) event: Event,
    pub(super) delivery: Delivery,
}

/// What a delivery turns out to be.
pub(super) enum Incoming {
    /// An event.
    Job(Job),
    /// Sound, and about something that has no share link; why.
    Ignored(Delivery, String),
    /// Nobody can understand it; why.
    Dead(Delivery, String),
}

impl Incoming {
    /// Reads what came.
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
    /// How long ago the event was sent, as its sender says, or else arrived here first.
    pub(super) fn age(&self) -> Duration {
        let since = self.event.time.or(self.delivery.published).unwrap_or(self.delivery.first_seen);
        (Utc::now() - since).to_std().unwrap_or_default()
    }
}

impl Waits for Job {
    /// While this one is not acknowledged the broker has it too; so even if the process dies its course is looked up,
    /// later than now. One whose connection is gone is delivered again, and stands for nobody meanwhile.
    fn stands_for(&self, other: &Self) -> bool {
        self.event.course == other.event.course
            && self.delivery.attempt <= other.delivery.attempt
            && self.delivery.is_live()
    }
}

/// What settling came to.
#[derive(Default)]
pub(super) struct Settled {
    /// Deliveries that are in hand no more.
    pub(super) deliveries: usize,
    /// Those that a delay queue has taken.
    pub(super) copies: Vec<Copy>,
}

/// Settles jobs by what was decided about them.
pub(super) struct Settler {
    settler: broker::Settler,
    stop: CancellationToken,
    database_is_out: AtomicBool,
    dead: Tally,
}

impl Settler {
    /// A settler that gives up trying again when `stop` is cancelled.
    pub(super) fn new(settler: broker::Settler, stop: CancellationToken) -> Self {
        Self { settler, stop, database_is_out: AtomicBool::new(false), dead: Tally::default() }
    }

    /// Tells the broker about all of them: acknowledgements in as few frames as may be, moves side by side.
    pub(super) async fn settle(&self, settled: Vec<(Job, Settlement)>) -> Settled {
        let deliveries = settled.len();
        let mut acks = Vec::new();
        let mut moves = Vec::new();
        for (Job { event, delivery }, settlement) in settled {
            let kind = event.kind.as_str();
            match settlement {
                Settlement::Ack(outcome) => {
                    metrics::event(kind, outcome);
                    acks.push(delivery);
                }
                Settlement::Delay { seconds, climbs, reason } => {
                    metrics::event(kind, "parked");
                    let course = event.course;
                    tracing::debug!(event = "event.delayed", %course, seconds, reason, "tried again later");
                    let attempt = delivery.attempt.saturating_add(u32::from(climbs));
                    let place = Place::Delay { seconds, attempt };
                    let moving = async move {
                        let since = self.move_on(delivery, place, reason).await;
                        since.map(|since| Copy { course, attempt, seconds, since })
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
                forgotten(broker::ack_many(acks).await);
            }
        };
        let ((), copies) = tokio::join!(acks, join_all(moves));
        Settled { deliveries, copies: copies.into_iter().flatten().collect() }
    }

    /// Acknowledges what asks for nothing.
    pub(super) async fn ignore(&self, delivery: Delivery, why: String) -> Settled {
        metrics::event("unknown", "ignored");
        tracing::debug!(event = "event.ignored", why, "no course run");
        forgotten(broker::ack_many(vec![delivery]).await);
        Settled { deliveries: 1, ..Settled::default() }
    }

    /// Sends what cannot be understood to the dead letters.
    pub(super) async fn bury(&self, delivery: Delivery, reason: String) -> Settled {
        metrics::event("unknown", "dead_lettered");
        self.dead.add(|| First { reason: reason.clone(), course: None });
        self.move_on(delivery, Place::Dead, reason).await;
        Settled { deliveries: 1, ..Settled::default() }
    }

    /// One line for the dead letters that are not in the log yet, if it is time for one or this is the `last` chance.
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

    /// One line when the database goes, whatever the number of events that wait for it.
    pub(super) fn database_failed(&self, reason: &str) {
        if !self.database_is_out.swap(true, Ordering::Relaxed) {
            tracing::error!(event = "database.failed", reason, "the database is out; events are parked");
        }
    }

    /// One line when it is back.
    pub(super) fn database_answered(&self) {
        if self.database_is_out.swap(false, Ordering::Relaxed) {
            tracing::info!(event = "database.recovered", "the database answers again");
        }
    }

    /// Moves a message on: tries until the broker has it, the delivery's connection is gone (it comes again), or the
    /// process stops (likewise). When what the broker has was sent; none if it comes again.
    async fn move_on(&self, delivery: Delivery, to: Place, reason: String) -> Option<Instant> {
        let mut told = false;
        loop {
            let since = Instant::now();
            let moved = match to {
                Place::Delay { seconds, attempt } => {
                    self.settler.delay(&delivery, seconds, attempt, &reason).await
                }
                Place::Dead => self.settler.dead(&delivery, &reason).await,
            };
            let Err(error) = moved else { return Some(since) };
            if !delivery.is_live() {
                return None;
            }
            if !told {
                told = true;
                tracing::warn!(
                    event = "event.held",
                    error = report(&error),
                    "a message cannot be moved on yet"
                );
            }
            if !sleeps(PAUSE, &self.stop).await {
                return None;
            }
        }
    }
}

/// Where a message goes that is not done.
#[derive(Clone, Copy)]
enum Place {
    Delay { seconds: u32, attempt: u32 },
    Dead,
}

/// A delivery that cannot be acknowledged comes again, and doing it twice changes nothing.
fn forgotten(acknowledged: Result<(), BrokerError>) {
    if let Err(error) = acknowledged {
        tracing::debug!(event = "event.unacknowledged", error = report(&error), "it will be delivered again");
    }
}
