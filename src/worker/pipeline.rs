//! From delivery to settlement: decode, restore, batch, look up, write, settle. Each step overlaps with the others, and
//! nothing piles up beyond what the broker lets out at once (`amqp.prefetch`).
//!
//! Restoring comes first and waits for no look-up: a wiped link is back before the Catalog is asked. A look-up holds its
//! place at the Catalog while it asks and no longer: what it learnt is written with whatever else has been learnt.

mod steps;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::batcher::{Batch, Batcher, Limits};
use super::copies::Copies;
use super::lane::{Hold, Lane};
use super::settlement::{Settlement, park};
use super::settler::{Incoming, Job, Settled, Settler};
use super::trace::Source;
use crate::broker::Delivery;
use crate::config;
use crate::course_key::CourseKey;
use crate::store::StoreError;
use crate::sync::{Answered, Engine, Outcome};
use crate::telemetry::report;

/// Restores, and likewise writes, at once: one may wait for a lock while the next goes by.
const STATEMENTS: usize = 2;
/// Whole batches that wait for a place at the Catalog beyond the requests allowed at once, so that none stays free.
const AHEAD: usize = 2;
/// How often the loop shows that it turns while nothing happens.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);

type RestoreDone = (Span, Vec<Job>, Result<Vec<CourseKey>, StoreError>);
type AskDone = (Span, Batch<Job>, Result<Answered, StoreError>);
type WriteDone = (Vec<Asked>, Result<HashMap<CourseKey, Outcome>, StoreError>);

/// A look-up that has ended, and whom it was for.
struct Asked {
    span: Span,
    batch: Batch<Job>,
}

/// Works deliveries off, one process-wide.
pub(super) struct Pipeline {
    engine: Engine,
    settler: Arc<Settler>,
    prefetch: usize,
    max_batch: usize,
    /// Deliveries that the broker waits for an answer to.
    in_hand: usize,
    arrived: Vec<Job>,
    restoring: Lane<RestoreDone>,
    batcher: Batcher<Job>,
    copies: Copies,
    asking: Lane<AskDone>,
    part_batch: Hold,
    answered: VecDeque<(Asked, Answered)>,
    writing: Lane<WriteDone>,
    settling: Lane<Settled>,
    source: Source,
    beat: Box<dyn Fn() + Send>,
}

impl Pipeline {
    /// A pipeline on this engine; `beat` is called as long as the loop turns.
    pub(super) fn new(
        engine: Engine,
        settler: Settler,
        config: &config::Config,
        beat: Box<dyn Fn() + Send>,
    ) -> Self {
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
            in_hand: 0,
            arrived: Vec::new(),
            restoring: Lane::new(STATEMENTS),
            batcher: Batcher::new(limits),
            copies: Copies::default(),
            asking: Lane::new(config.catalog.concurrency + AHEAD),
            part_batch: Hold::default(),
            answered: VecDeque::new(),
            writing: Lane::new(STATEMENTS),
            settling: Lane::new(usize::MAX),
            source: Source::new(&config.amqp.exchange, &config.amqp.queue),
            beat,
        }
    }

    /// Runs until `deliveries` has ended and what was in hand is settled. When `stop` is cancelled, look-ups that
    /// have not begun are left to the broker, which delivers them again.
    ///
    /// # Errors
    /// If a task of it has died; the process should too.
    pub(super) async fn run(
        mut self,
        mut deliveries: mpsc::Receiver<Delivery>,
        stop: CancellationToken,
    ) -> Result<(), JoinError> {
        let mut open = true;
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        while open || self.is_busy() {
            (self.beat)();
            self.settler.log_dead_letters(false);
            self.start(&stop);
            let wake = self.wake_at();
            tokio::select! {
                delivery = deliveries.recv(), if open => match delivery {
                    Some(delivery) => self.take(delivery, &mut deliveries),
                    None => open = false,
                },
                Some(done) = self.restoring.ended() => self.restored(done?),
                Some(done) = self.asking.ended() => self.asked(done?),
                Some(done) = self.writing.ended() => self.written(done?),
                Some(done) = self.settling.ended() => self.settled(done?),
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now).into()), if wake.is_some() => {}
                _ = heartbeat.tick() => {}
            }
        }
        self.settler.log_dead_letters(true);
        Ok(())
    }

    fn is_busy(&self) -> bool {
        let lanes = [self.restoring.is_empty(), self.asking.is_empty(), self.writing.is_empty()];
        let waits = !self.arrived.is_empty() || !self.batcher.is_empty() || !self.answered.is_empty();
        waits || !self.settling.is_empty() || lanes.contains(&false)
    }

    /// When something may begin though nothing has ended: a run is due, what is under way is slow, or what was
    /// expected has not come.
    fn wake_at(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let waits = self.batcher.has_due() || !self.arrived.is_empty() || !self.answered.is_empty();
        let changes = [
            self.restoring.wake_at(now),
            self.asking.wake_at(now),
            self.writing.wake_at(now),
            self.settling.wake_at(now),
            self.copies.next_back(now),
            self.part_batch.wake_at(now),
        ];
        changes.into_iter().filter(|_| waits).chain([self.batcher.wake_at()]).flatten().min()
    }

    /// Takes a delivery and whatever has come with it.
    fn take(&mut self, first: Delivery, more: &mut mpsc::Receiver<Delivery>) {
        let mut next = Some(first);
        while let Some(delivery) = next {
            self.in_hand += 1;
            let settler = self.settler.clone();
            match Incoming::read(delivery) {
                Incoming::Job(job) => self.arrived.push(job),
                Incoming::Ignored(delivery, why) => {
                    self.settling.begin(async move { settler.ignore(delivery, why).await });
                }
                Incoming::Dead(delivery, why) => {
                    self.settling.begin(async move { settler.bury(delivery, why).await });
                }
            }
            next = more.try_recv().ok();
        }
    }

    /// Starts whatever can be started now.
    fn start(&mut self, stop: &CancellationToken) {
        let now = Instant::now();
        self.restore(now);
        self.write(now);
        if stop.is_cancelled() {
            // Not settled, so that the broker delivers them again, to another worker or to the next one.
            self.in_hand -= self.batcher.drain().len();
            return;
        }
        self.make_room();
        self.ask(now);
    }

    /// A database that is out parks events; it never costs one.
    fn database_failed(&mut self, span: &Span, jobs: Vec<Job>, error: &StoreError) {
        let reason = report(error);
        self.settler.database_failed(&reason);
        let parked = jobs.into_iter().map(|job| (job, park(Duration::ZERO, reason.clone()))).collect();
        self.settle(span, parked);
    }

    fn settle(&mut self, span: &Span, settled: Vec<(Job, Settlement)>) {
        let settler = self.settler.clone();
        let span = tracing::info_span!(parent: span, "settle");
        self.settling.begin(async move { settler.settle(settled).await }.instrument(span));
    }

    fn settled(&mut self, settled: Settled) {
        self.in_hand -= settled.deliveries;
        self.copies.note(settled.copies);
    }
}
