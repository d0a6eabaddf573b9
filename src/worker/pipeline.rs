//! From delivery to settlement: decode, restore, batch, look up, write, settle. Each step overlaps with the others, and
//! nothing piles up beyond what the broker lets out at once (`amqp.prefetch`).
//!
//! Restoring comes first and waits for no look-up: a wiped link is back before the Catalog is asked. A look-up holds its
//! place at the Catalog while it asks and no longer: what it learnt is written with whatever else has been learnt.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::batcher::{Batch, Batcher, Limits};
use super::copies::Copies;
use super::lane::Lane;
use super::settlement::{COALESCED, Settlement, park, settle};
use super::settler::{Incoming, Job, Settled, Settler};
use super::trace::{self, Source};
use crate::broker::Delivery;
use crate::catalog::{self, Purpose};
use crate::config;
use crate::course_key::CourseKey;
use crate::store::{MAX_ROWS, StoreError};
use crate::sync::{Answered, Engine, Outcome};
use crate::telemetry::{metrics, report};

/// Restores, and likewise writes, at once: one may wait for a lock while the next goes by.
const STATEMENTS: usize = 2;
/// Whole batches that wait for a place at the Catalog beyond the requests allowed at once, so that none stays free.
const AHEAD: usize = 2;
/// How often the loop shows that it turns while nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(5);

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

    fn restore(&mut self, now: Instant) {
        while !self.arrived.is_empty() && self.restoring.has_room(self.arrived.len() >= self.max_batch, now) {
            let jobs: Vec<Job> = self.arrived.drain(..self.arrived.len().min(MAX_ROWS)).collect();
            let engine = self.engine.clone();
            let span = self.source.process(jobs.iter());
            let in_span = tracing::info_span!(parent: &span, "restore");
            let step = async move {
                let restored = engine.restore(&courses(jobs.iter())).await;
                (span, jobs, restored)
            };
            self.restoring.begin(step.instrument(in_span));
        }
    }

    /// Under load nothing but whole batches is asked for: a part of one waits for what is about to join it.
    fn ask(&mut self, now: Instant) {
        loop {
            let whole = self.batcher.is_full(now);
            let waits = !self.batcher.has_due() || !self.asking.has_room(whole, now);
            if waits || (!whole && self.more_is_coming(now)) {
                return;
            }
            let Some(batch) = self.batcher.next(now) else { return };
            let engine = self.engine.clone();
            let span = self.source.process(batch.iter().flat_map(|(_, jobs)| jobs));
            let in_span = span.clone();
            let step = async move {
                let courses = courses(batch.iter().flat_map(|(_, jobs)| jobs));
                let answered = engine.ask(courses, Purpose::Event).await;
                (span, batch, answered)
            };
            self.asking.begin(step.instrument(in_span));
        }
    }

    /// Whether more events are about to wait for a look-up: those being restored, those that the broker sends as soon
    /// as a full hand has room, and a crowd on its way back.
    fn more_is_coming(&mut self, now: Instant) -> bool {
        let full = self.in_hand >= self.prefetch;
        self.restoring.flows(now)
            || (full && (self.writing.flows(now) || self.settling.flows(now)))
            || self.copies.next_back(now).is_some()
    }

    /// Writes all the answers that wait, up to `max_batch` events in one go.
    fn write(&mut self, now: Instant) {
        loop {
            let mut events = 0;
            let fits = self.answered.iter().take_while(|(asked, _)| {
                let before = events;
                events += asked.batch.iter().map(|(_, jobs)| jobs.len()).sum::<usize>();
                before == 0 || events <= self.max_batch
            });
            let count = fits.count();
            if count == 0 || !self.writing.has_room(events >= self.max_batch, now) {
                return;
            }
            let (asked, answered): (Vec<Asked>, Vec<Answered>) = self.answered.drain(..count).unzip();
            let engine = self.engine.clone();
            let span = trace::joint(
                asked.iter().map(|asked| &asked.span),
                |first| tracing::info_span!(parent: first, "write", batches = count),
            );
            let step = async move { (asked, engine.settle(answered).await) };
            self.writing.begin(step.instrument(span));
        }
    }

    /// A hand full of events whose runs were asked for moments ago would keep all others out: those wait in the
    /// broker's shortest delay queue instead, one for each course.
    fn make_room(&mut self) {
        if self.batcher.early() > self.prefetch / 2 {
            let jobs = self.batcher.take_early();
            let span = self.source.process(jobs.iter());
            let reason = "its run was looked up moments ago";
            let parked = jobs.into_iter().map(|job| (job, park(Duration::ZERO, reason.to_owned())));
            self.settle(&span, parked.collect());
        }
    }

    fn restored(&mut self, (span, jobs, restored): RestoreDone) {
        match restored {
            Ok(restored) => {
                self.settler.database_answered();
                if !restored.is_empty() {
                    metrics::healed("restore", restored.len() as u64);
                }
                for course in restored {
                    tracing::info!(event = "overview.restored", %course, "what the overview had lost is back");
                }
                let now = Instant::now();
                let spared: Vec<Job> = jobs.into_iter().filter_map(|job| self.look_up(job, now)).collect();
                if !spared.is_empty() {
                    let spared = spared.into_iter().map(|job| (job, Settlement::Ack(COALESCED))).collect();
                    self.settle(&span, spared);
                }
            }
            Err(error) => self.database_failed(&span, jobs, &error),
        }
    }

    /// Lets an event wait for a look-up. Gives one back that is done: another event, here or in a delay queue, makes
    /// its course be looked up later than now.
    fn look_up(&mut self, job: Job, now: Instant) -> Option<Job> {
        if self.copies.cover(&job.event.course, job.delivery.attempt, now) {
            return Some(job);
        }
        let run = job.event.course.run_key();
        let key_bytes = catalog::key_cost(&run);
        self.batcher.push(run, key_bytes, job)
    }

    fn asked(&mut self, (span, batch, answered): AskDone) {
        match answered {
            Ok(answered) => self.answered.push_back((Asked { span, batch }, answered)),
            Err(error) => {
                self.batcher.done(batch.iter().map(|(run, _)| run));
                let jobs = batch.into_iter().flat_map(|(_, jobs)| jobs).collect();
                self.database_failed(&span, jobs, &error);
            }
        }
    }

    fn written(&mut self, (asked, written): WriteDone) {
        let span = asked.first().map_or_else(Span::none, |asked| asked.span.clone());
        self.batcher.done(asked.iter().flat_map(|asked| asked.batch.iter().map(|(run, _)| run)));
        let jobs = asked.into_iter().flat_map(|asked| asked.batch).flat_map(|(_, jobs)| jobs);
        match written {
            Ok(outcomes) => {
                self.settler.database_answered();
                let now = Instant::now();
                let settled = jobs.filter_map(|job| {
                    let outcome = outcomes.get(&job.event.course)?;
                    if matches!(outcome, Outcome::Updated | Outcome::Cleared) {
                        metrics::event_to_write(job.age());
                    }
                    let settlement = settle(outcome, job.delivery.attempt, now);
                    Some((job, settlement))
                });
                let settled = settled.collect();
                self.settle(&span, settled);
            }
            Err(error) => self.database_failed(&span, jobs.collect(), &error),
        }
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

/// The courses of these jobs, each once.
fn courses<'a>(jobs: impl Iterator<Item = &'a Job>) -> Vec<CourseKey> {
    let mut courses: Vec<CourseKey> = jobs.map(|job| job.event.course.clone()).collect();
    courses.sort_unstable();
    courses.dedup();
    courses
}
