//! From delivery to settlement: decode, restore, batch, look up, write, settle. The steps overlap, and no more events
//! wait than the broker delivers at once (`amqp.prefetch`).
//!
//! Restoring comes first: a lost link is back before the Catalog is asked. A look-up holds its place at the Catalog only
//! while it asks; several answers are written together.

mod steps;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::batcher::{Batch, Batcher, Limits};
use super::delayed_events::{DelayedEvent, DelayedEvents};
use super::settlement::{Settlement, park};
use super::settler::{self, Job, Settler};
use super::step_pool::StepPool;
use super::trace::{EventSpan, waiting_since};
use super::unsettled::Unsettled;
use crate::broker::Delivery;
use crate::clock;
use crate::config;
use crate::engine::{Answered, Engine, Outcome};
use crate::jobs;
use crate::model::course_key::{CourseKey, RunKey};
use crate::store::{Entry, StoreError};
use crate::telemetry::{metrics, report};

/// Restores at once, and writes at once: while one waits for a lock, the next goes on.
const STATEMENTS: usize = 2;
/// Whole batches that wait for a place at the Catalog, so that no place stays free.
const AHEAD: usize = 2;
/// Events that were parked together come back within this time, a few at a time.
const GATHERING: Duration = Duration::from_millis(250);
/// How often the loop turns while nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(5);

type RestoreDone = (Vec<Job>, Result<Restored, StoreError>);
type AskDone = (Span, Batch<Job>, Result<Answered, StoreError>);
type WriteDone = (Batch<Job>, Result<HashMap<CourseKey, Outcome>, StoreError>);

/// What a restore has found.
struct Restored {
    /// Courses that got their link back.
    courses: Vec<CourseKey>,
    /// What is known of the runs of hints.
    hinted: HashMap<RunKey, Entry>,
}

/// Handles deliveries; a process has one.
pub(super) struct Pipeline {
    engine: Engine,
    settler: Arc<Settler>,
    prefetch: usize,
    max_batch: usize,
    unsettled: Unsettled,
    arrived: Vec<Job>,
    restoring: StepPool<RestoreDone>,
    batcher: Batcher<Job>,
    delayed: DelayedEvents,
    asking: StepPool<AskDone>,
    /// Since when a part of a batch waits to be looked up.
    part_since: Option<Instant>,
    /// The look-ups that have ended, each with its span and the events that it was for.
    answered: VecDeque<(Span, (Batch<Job>, Answered))>,
    writing: StepPool<WriteDone>,
    settling: StepPool<Vec<DelayedEvent>>,
    /// Makes progress as long as the loop turns.
    turns: jobs::Job,
}

impl Pipeline {
    /// A pipeline on this engine; a job of the process.
    pub(super) fn new(engine: Engine, settler: Settler, config: &config::Config, jobs: &jobs::Jobs) -> Self {
        let limits = Limits {
            events: config.sync.max_batch,
            key_bytes: engine.catalog().key_budget(),
            min_interval: config.sync.min_interval,
        };
        Self {
            engine,
            settler: Arc::new(settler),
            prefetch: config.amqp.prefetch.into(),
            max_batch: config.sync.max_batch,
            unsettled: Unsettled::default(),
            arrived: Vec::new(),
            restoring: StepPool::new(STATEMENTS),
            batcher: Batcher::new(limits),
            delayed: DelayedEvents::default(),
            asking: StepPool::new(config.catalog.concurrency + AHEAD),
            part_since: None,
            answered: VecDeque::new(),
            writing: StepPool::new(STATEMENTS),
            settling: StepPool::new(usize::MAX),
            turns: jobs.add("events", HEARTBEAT),
        }
    }

    /// Runs until `deliveries` has ended and all events are settled. When `stop` is cancelled, events whose look-up has not
    /// begun are left to the broker, which delivers them again.
    ///
    /// # Errors
    /// If a task panicked; then the process should end.
    pub(super) async fn run(
        mut self,
        mut deliveries: mpsc::Receiver<Delivery>,
        stop: CancellationToken,
    ) -> Result<(), JoinError> {
        let mut open = true;
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        while open || self.is_busy() {
            self.turns.progress();
            self.settler.log_dead_letters(false);
            let now = Instant::now();
            self.start(now, &stop);
            // By the same time, so that nothing becomes due unseen between the two.
            let wake = self.wake_at(now);
            tokio::select! {
                delivery = deliveries.recv(), if open => match delivery {
                    Some(delivery) => self.take(delivery, &mut deliveries),
                    None => open = false,
                },
                Some(done) = self.restoring.ended() => self.restored(done?),
                Some(done) = self.asking.ended() => self.asked(done?),
                Some(done) = self.writing.ended() => self.written(done?),
                Some(done) = self.settling.ended() => self.delayed.add(done?),
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now).into()), if wake.is_some() => {}
                _ = heartbeat.tick() => self.measure(),
            }
        }
        self.settler.log_dead_letters(true);
        Ok(())
    }

    fn measure(&self) {
        metrics::get().queue_oldest.set(self.unsettled.oldest(clock::now()).as_secs_f64());
    }

    fn is_busy(&self) -> bool {
        let waiting = [self.arrived.is_empty(), self.batcher.is_empty(), self.answered.is_empty()];
        let running = [self.restoring.is_empty(), self.asking.is_empty(), self.writing.is_empty()];
        !self.settling.is_empty() || waiting.contains(&false) || running.contains(&false)
    }

    /// When a step may start although none has ended: a run is due, or a running step is slow.
    fn wake_at(&self, now: Instant) -> Option<Instant> {
        let waits = self.batcher.has_due() || !self.arrived.is_empty() || !self.answered.is_empty();
        let changes = [self.restoring.wake_at(now), self.asking.wake_at(now), self.writing.wake_at(now)];
        let gathered = self.part_since.map(|since| since + GATHERING).filter(|until| *until > now);
        changes.into_iter().filter(|_| waits).chain([self.batcher.wake_at(), gathered]).flatten().min()
    }

    /// Takes a delivery and all that came with it.
    fn take(&mut self, first: Delivery, more: &mut mpsc::Receiver<Delivery>) {
        let mut next = Some(first);
        while let Some(delivery) = next {
            match settler::read(&delivery) {
                Ok(event) => {
                    let span = EventSpan::new(&self.settler.topology, &delivery, Some(&event));
                    let unsettled = self.unsettled.add(waiting_since(&delivery, &event));
                    self.arrived.push(Job::new(event, delivery, span, unsettled));
                }
                Err(settlement) => {
                    let settler = self.settler.clone();
                    self.settling.start(async move {
                        settler.settle_other(delivery, settlement).await;
                        Vec::new()
                    });
                }
            }
            next = more.try_recv().ok();
        }
    }

    /// Starts all steps that may start now.
    fn start(&mut self, now: Instant, stop: &CancellationToken) {
        self.restore(now);
        self.write(now);
        if stop.is_cancelled() {
            // Not settled, so the broker delivers them again, to another worker or to the next one.
            self.batcher.drain();
            return;
        }
        self.make_room();
        self.ask(now);
    }

    /// Parks events while the database is down; none is lost.
    fn database_failed(&mut self, jobs: Vec<Job>, error: &StoreError) {
        let reason = report(error);
        self.settler.database_failed(&reason);
        self.settle(jobs.into_iter().map(|job| (job, park(Duration::ZERO, reason.clone()))).collect());
    }

    fn settle(&mut self, settled: Vec<(Job, Settlement)>) {
        let settler = self.settler.clone();
        self.settling.start(async move { settler.settle(settled).await });
    }
}
