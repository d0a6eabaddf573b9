//! From delivery to settlement: decode, restore, batch, look up, settle. Each step overlaps with the others, and
//! nothing piles up beyond what the broker lets out at once (`amqp.prefetch`).
//!
//! Restoring comes first and waits for no look-up: a wiped link is back before the Catalog is asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::batcher::{Batch, Batcher, Limits};
use super::settlement::{Settlement, park, settle};
use super::settler::{Incoming, Job, Settler};
use super::trace::Source;
use crate::broker::Delivery;
use crate::catalog::{self, Purpose};
use crate::config;
use crate::course_key::CourseKey;
use crate::store::StoreError;
use crate::sync::{Engine, Outcome, Restored};
use crate::telemetry::{metrics, report};

/// Restores at once: one may wait for a lock while the next goes by.
const RESTORING: usize = 2;
/// Look-ups under way beyond the requests allowed at once, so that writing one batch overlaps with asking for the next.
const WRITING: usize = 2;
/// How often the loop shows that it turns while nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(5);

type RestoreDone = (Span, Vec<Job>, Result<Restored, StoreError>);
type AskDone = (Span, Batch<Job>, Result<std::collections::HashMap<CourseKey, Outcome>, StoreError>);

/// Works deliveries off, one process-wide.
pub(super) struct Pipeline {
    engine: Engine,
    settler: Arc<Settler>,
    max_batch: usize,
    asking_limit: usize,
    batcher: Batcher<Job>,
    arrived: Vec<Job>,
    restoring: JoinSet<RestoreDone>,
    asking: JoinSet<AskDone>,
    settling: JoinSet<()>,
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
            max_batch: config.sync.max_batch,
            asking_limit: config.catalog.concurrency + WRITING,
            batcher: Batcher::new(limits),
            arrived: Vec::new(),
            restoring: JoinSet::new(),
            asking: JoinSet::new(),
            settling: JoinSet::new(),
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
                Some(done) = self.restoring.join_next() => self.restored(done?),
                Some(done) = self.asking.join_next() => self.answered(done?),
                Some(done) = self.settling.join_next() => done?,
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now).into()), if wake.is_some() => {}
                _ = heartbeat.tick() => {}
            }
        }
        Ok(())
    }

    fn is_busy(&self) -> bool {
        let tasks = self.restoring.len() + self.asking.len() + self.settling.len();
        tasks > 0 || !self.arrived.is_empty() || !self.batcher.is_empty()
    }

    fn wake_at(&self) -> Option<Instant> {
        if self.asking.len() >= self.asking_limit {
            return None;
        }
        self.batcher.wake_at(Instant::now())
    }

    /// Takes a delivery and whatever has come with it.
    fn take(&mut self, first: Delivery, more: &mut mpsc::Receiver<Delivery>) {
        let mut next = Some(first);
        while let Some(delivery) = next {
            let settler = self.settler.clone();
            match Incoming::read(delivery) {
                Incoming::Job(job) => self.arrived.push(job),
                Incoming::Ignored(delivery, why) => {
                    self.settling.spawn(async move { settler.ignore(delivery, why).await });
                }
                Incoming::Dead(delivery, why) => {
                    self.settling.spawn(async move { settler.bury(delivery, why).await });
                }
            }
            next = more.try_recv().ok();
        }
    }

    /// Starts whatever can be started now.
    fn start(&mut self, stop: &CancellationToken) {
        while !self.arrived.is_empty() && self.restoring.len() < RESTORING {
            let jobs: Vec<Job> = self.arrived.drain(..self.arrived.len().min(self.max_batch)).collect();
            let engine = self.engine.clone();
            let span = self.source.process(jobs.iter());
            let in_span = tracing::info_span!(parent: &span, "restore");
            self.restoring.spawn(
                async move {
                    let courses: Vec<CourseKey> = jobs.iter().map(|job| job.event.course.clone()).collect();
                    let restored = engine.restore(&courses).await;
                    (span, jobs, restored)
                }
                .instrument(in_span),
            );
        }
        if stop.is_cancelled() {
            // Not settled, so that the broker delivers them again, to another worker or to the next one.
            drop(self.batcher.drain());
            return;
        }
        while self.asking.len() < self.asking_limit {
            let Some(batch) = self.batcher.next(Instant::now()) else { break };
            let engine = self.engine.clone();
            let span = self.source.process(batch.iter().flat_map(|(_, jobs)| jobs));
            let in_span = span.clone();
            self.asking.spawn(
                async move {
                    let jobs = batch.iter().flat_map(|(_, jobs)| jobs);
                    let mut courses: Vec<CourseKey> = jobs.map(|job| job.event.course.clone()).collect();
                    courses.sort_unstable();
                    courses.dedup();
                    let answered = engine.refresh(&courses, Purpose::Event).await;
                    (span, batch, answered)
                }
                .instrument(in_span),
            );
        }
    }

    fn restored(&mut self, (span, jobs, restored): RestoreDone) {
        match restored {
            Ok(restored) => {
                self.settler.database_answered();
                if restored.overviews > 0 {
                    metrics::healed("restore", restored.overviews);
                }
                for course in restored.wiped {
                    tracing::info!(event = "overview.restored", %course, "what the overview had lost is back");
                }
                for job in jobs {
                    let run = job.event.course.run_key();
                    let key_bytes = catalog::key_cost(&run);
                    self.batcher.push(run, key_bytes, job);
                }
            }
            Err(error) => self.database_failed(&span, jobs, &error),
        }
    }

    fn answered(&mut self, (span, batch, answered): AskDone) {
        self.batcher.done(batch.iter().map(|(run, _)| run));
        let jobs: Vec<Job> = batch.into_iter().flat_map(|(_, jobs)| jobs).collect();
        match answered {
            Ok(outcomes) => {
                self.settler.database_answered();
                let now = Instant::now();
                let settled = jobs.into_iter().filter_map(|job| {
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
            Err(error) => self.database_failed(&span, jobs, &error),
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
        self.settling.spawn(async move { settler.settle(settled).await }.instrument(span));
    }
}
