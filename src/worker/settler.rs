//! Settles events: passes each decision to the broker, again and again until the broker has it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::batcher::Supersedes;
use super::decode;
use super::delayed_events::DelayedEvent;
use super::settlement::Settlement;
use super::shutdown::sleeps;
use super::tally::Tally;
use super::trace::{self, EventSpan, Traced, age};
use super::unsettled::UnsettledEvent;
use crate::broker::{self, Delivery, HINT, Publisher, Topology};
use crate::event::{Decoded, Event};
use crate::model::course_key::{CourseKey, RunKey};
use crate::store::Entry;
use crate::telemetry::metrics::{self, EventOutcome};
use crate::telemetry::{Latch, report};

/// Between two tries to move a message. Meanwhile the broker still has it, unacknowledged.
const PAUSE: Duration = Duration::from_secs(1);

/// An event with the delivery it came by.
pub(super) struct Job {
    pub(super) event: Event,
    pub(super) delivery: Delivery,
    /// It is a hint of this program: the Catalog has changed something about the course.
    pub(super) is_hint: bool,
    /// Ends with the event.
    pub(super) span: EventSpan,
    /// Ends with the event, too.
    unsettled: UnsettledEvent,
}

/// Decodes a delivery. A message that is not an event is settled at once, as the error says.
pub(super) fn read(delivery: &Delivery) -> Result<Event, Settlement> {
    if let Some(why) = &delivery.unreadable {
        return Err(Settlement::Dead(why.clone()));
    }
    match decode::read(delivery) {
        Ok(Decoded::Event(event)) => Ok(event),
        Ok(Decoded::Ignored(why)) => {
            tracing::debug!(event = "event.ignored", why, "the message is not about a course run");
            Err(Settlement::Ack(EventOutcome::Ignored))
        }
        Err(error) => Err(Settlement::Dead(error.to_string())),
    }
}

impl Job {
    /// An event, or a hint.
    pub(super) fn new(event: Event, delivery: Delivery, span: EventSpan, unsettled: UnsettledEvent) -> Self {
        let is_hint = delivery.header(HINT).is_some();
        Self { event, delivery, is_hint, span, unsettled }
    }

    /// For the spans of its steps.
    pub(super) fn traced(&self) -> Traced<'_> {
        (&self.span, &self.event.course)
    }

    /// For metrics: what sent it.
    pub(super) fn source(&self) -> &'static str {
        if self.is_hint { "hint" } else { "event" }
    }

    /// For metrics.
    pub(super) fn kind(&self) -> &'static str {
        if self.is_hint { "hint" } else { self.event.kind.as_str() }
    }

    /// True for a hint after which an answer has brought another URL; these are the runs of the ledger. It need not be
    /// looked up any more.
    pub(super) fn is_outdated(&self, entries: &HashMap<RunKey, Entry>) -> bool {
        let changed_at = || entries.get(&self.event.course.run_key())?.changed_at;
        self.is_hint && changed_at().is_some_and(|changed| changed > self.delivery.first_seen)
    }

    /// For metrics: a change of this event's course was committed. Within its trace, to which the measurement then leads.
    pub(super) fn wrote(&self) {
        let (source, age) = (self.source(), age(&self.delivery, Some(&self.event)));
        self.span.in_scope(|| metrics::get().event_to_write(source, age));
    }
}

impl Supersedes for Job {
    /// While this event is not acknowledged the broker has it too, so its course is looked up later than now even if the
    /// process dies. If its connection is gone, it is delivered again, and others must not rely on it.
    fn supersedes(&self, other: &Self) -> bool {
        self.event.course == other.event.course
            // A hint is not tried as often as an event.
            && (other.is_hint || !self.is_hint)
            && self.delivery.attempt <= other.delivery.attempt
            && self.delivery.is_live()
    }

    fn goes_first(&self) -> bool {
        !self.is_hint
    }
}

/// Settles jobs.
pub(super) struct Settler {
    publisher: Publisher,
    pub(super) topology: Topology,
    stop: CancellationToken,
    database: Latch,
    dead: Tally,
}

impl Settler {
    /// For messages of this topology. Stops trying again when `stop` is cancelled.
    pub(super) fn new(publisher: Publisher, topology: Topology, stop: CancellationToken) -> Self {
        Self { publisher, topology, stop, database: Latch::default(), dead: Tally::default() }
    }

    /// Settles all of them, moves side by side. Returns the events that delay queues have taken.
    pub(super) async fn settle(&self, settled: Vec<(Job, Settlement)>) -> Vec<DelayedEvent> {
        let (mut acks, mut moves) = (Vec::new(), Vec::new());
        for (job, settlement) in settled {
            metrics::get().event(job.kind(), settlement.outcome(), 1);
            job.span.settled(&settlement);
            match settlement {
                Settlement::Ack(_) => acks.push(job),
                to => moves.push(self.move_job(job, to)),
            }
        }
        let ((), delayed) = tokio::join!(self.ack_jobs(acks), join_all(moves));
        delayed.into_iter().flatten().collect()
    }

    async fn ack_jobs(&self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let span =
            trace::step(jobs.iter().map(Job::traced), |event| trace::ack(&self.topology, event, jobs.len()));
        // What ends with the events ends when all is done.
        let (deliveries, _until_then): (Vec<_>, Vec<_>) =
            jobs.into_iter().map(|job| (job.delivery, (job.span, job.unsettled))).unzip();
        ack(deliveries).instrument(span).await;
    }

    async fn move_job(&self, job: Job, to: Settlement) -> Option<DelayedEvent> {
        let Job { event, delivery, is_hint, span, unsettled: _until_then } = job;
        // No event relies on a hint.
        let course = (!is_hint).then_some(event.course);
        self.move_on(delivery, course, to).instrument(span.clone()).await
    }

    /// Settles a message that is not an event.
    pub(super) async fn settle_other(&self, delivery: Delivery, settlement: Settlement) {
        metrics::get().event("unknown", settlement.outcome(), 1);
        let span = EventSpan::new(&self.topology, &delivery, None);
        span.settled(&settlement);
        let settling = async {
            match settlement {
                Settlement::Ack(_) => ack(vec![delivery]).await,
                to => drop(self.move_on(delivery, None, to).await),
            }
        };
        settling.instrument(span.clone()).await;
    }

    /// Logs the new dead letters in one line, if it is time for one or this is the `last` chance.
    pub(super) fn log_dead_letters(&self, last: bool) {
        if let Some((letters, (reason, course))) = self.dead.due(Instant::now(), last) {
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
            tracing::error!(event = "database.failed", reason, "the database failed; events are parked");
        }
    }

    /// Logs once that it is back.
    pub(super) fn database_answered(&self) {
        if self.database.recovers() {
            tracing::info!(event = "database.recovered", "the database answers again");
        }
    }

    /// Moves a message, again and again until the broker has it, and returns what a delay queue has taken. None if the
    /// message is delivered again, as its connection is gone or the process stops.
    async fn move_on(
        &self,
        delivery: Delivery,
        course: Option<CourseKey>,
        to: Settlement,
    ) -> Option<DelayedEvent> {
        let (queue, attempt, delay, reason) = match &to {
            Settlement::Ack(_) => return None,
            Settlement::Dead(reason) => {
                let course = course.as_ref().map(ToString::to_string);
                self.dead.add(|| (reason.clone(), course));
                (self.topology.dead.clone(), delivery.attempt, None, reason)
            }
            Settlement::Delay { seconds, counts, reason } => {
                let attempt = delivery.attempt.saturating_add(u32::from(*counts));
                (self.topology.delay(*seconds), attempt, Some(*seconds), reason)
            }
        };
        let held = Latch::default();
        loop {
            let since = Instant::now();
            let Err(error) = delivery.move_to(&queue, attempt, reason, &self.publisher).await else {
                let (course, seconds) = (course?, delay?);
                tracing::debug!(event = "event.delayed", %course, seconds, reason, "tried again later");
                return Some(DelayedEvent { course, attempt, seconds, since });
            };
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

/// Acknowledges. A delivery that cannot be acknowledged is delivered again, which changes nothing.
async fn ack(deliveries: Vec<Delivery>) {
    if let Err(error) = broker::ack_many(deliveries).await {
        tracing::debug!(event = "event.unacknowledged", error = report(&error), "it will be delivered again");
    }
}
