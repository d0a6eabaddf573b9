//! The steps of the pipeline: what each takes, does and passes on.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::{AskDone, GATHERING, Pipeline, RestoreDone, Restored, WriteDone};
use crate::catalog::{self, Purpose};
use crate::engine::{Answered, Engine, Observed, Outcome, Policy};
use crate::model::course_key::{CourseKey, RunKey};
use crate::store::{ChangedBy, MAX_ROWS, StoreError};
use crate::telemetry::metrics::{self, EventOutcome};
use crate::telemetry::traces::count;
use crate::worker::batcher::Batch;
use crate::worker::settlement::{Settlement, park, settle, settle_hint};
use crate::worker::settler::Job;
use crate::worker::step_pool::PATIENCE;
use crate::worker::trace;

impl Pipeline {
    /// Restores the courses of new events.
    pub(super) fn restore(&mut self, now: Instant) {
        while !self.arrived.is_empty() && self.restoring.has_room(self.arrived.len() >= self.max_batch, now) {
            let jobs: Vec<Job> = self.arrived.drain(..self.arrived.len().min(MAX_ROWS)).collect();
            let engine = self.engine_for(jobs.iter().all(|job| job.is_hint));
            let span = trace::step(
                jobs.iter().map(Job::traced),
                |event| tracing::info_span!(parent: event, "restore", course_sharing.rows_written = Empty),
            );
            let step = async move {
                let restored = restore(&engine, &jobs).instrument(span).await;
                (jobs, restored)
            };
            self.restoring.start(step);
        }
    }

    /// Handles the end of a restore.
    pub(super) fn restored(&mut self, (jobs, restored): RestoreDone) {
        match restored {
            Ok(Restored { courses, hinted }) => {
                self.settler.database_answered();
                let restored: HashSet<CourseKey> = courses.into_iter().collect();
                if !restored.is_empty() {
                    metrics::get().healed.add_of("restore", restored.len() as u64);
                }
                for job in jobs.iter().filter(|job| !job.is_hint && restored.contains(&job.event.course)) {
                    job.wrote();
                }
                let now = Instant::now();
                let (outdated, jobs): (Vec<Job>, Vec<Job>) =
                    jobs.into_iter().partition(|job| job.is_outdated(&hinted));
                let outdated =
                    outdated.into_iter().map(|job| (job, Settlement::Ack(EventOutcome::ChangedSince)));
                let done = jobs.into_iter().filter_map(|job| self.look_up(job, now));
                let done = done.map(|job| (job, Settlement::Ack(EventOutcome::Coalesced)));
                let done: Vec<_> = outdated.chain(done).collect();
                if !done.is_empty() {
                    self.settle(done);
                }
            }
            Err(error) => self.database_failed(jobs, &error),
        }
    }

    /// Lets an event wait for a look-up. Returns an event that needs none: another one, here or in a delay queue, causes a
    /// later look-up of its course.
    fn look_up(&mut self, job: Job, now: Instant) -> Option<Job> {
        if self.delayed.is_superseded(&job.event.course, job.delivery.attempt, now) {
            return Some(job);
        }
        let run = job.event.course.run_key();
        let key_bytes = catalog::key_cost(&run);
        self.batcher.push(run, key_bytes, job)
    }

    /// Parks events whose runs were looked up moments ago, when they take half of the prefetch: others could not be
    /// delivered.
    pub(super) fn make_room(&mut self) {
        if self.batcher.early() > self.prefetch / 2 {
            let jobs = self.batcher.take_early();
            let reason = "its run was looked up moments ago";
            let parked = jobs.into_iter().map(|job| (job, park(Duration::ZERO, reason.to_owned())));
            self.settle(parked.collect());
        }
    }

    /// For a step about hints alone, or about events too.
    fn engine_for(&self, is_of_hints: bool) -> Engine {
        self.engine.writing_as(if is_of_hints { ChangedBy::Hint } else { ChangedBy::Event })
    }

    /// Looks runs up. Under load only whole batches start beside others; see [`super::super::step_pool`].
    pub(super) fn ask(&mut self, now: Instant) {
        loop {
            let whole = self.batcher.is_full(now);
            if !self.batcher.has_due() {
                self.part_since = None;
                return;
            }
            if (!whole && self.waits_for_others(now)) || !self.asking.has_room(whole, now) {
                return;
            }
            self.part_since = None;
            let Some(batch) = self.batcher.next(now) else { return };
            let engine = self.engine.clone();
            let jobs = batch.iter().flat_map(|(_, jobs)| jobs);
            let span = trace::step(
                jobs.clone().map(Job::traced),
                |event| tracing::info_span!(parent: event, "batch", course_sharing.events = count(jobs.clone().count())),
            );
            trace::link_back(jobs.map(Job::traced), &span);
            let purpose = if is_of_hints(&batch) { Purpose::Hint } else { Purpose::Event };
            let step = async move {
                let courses = courses(batch.iter().flat_map(|(_, jobs)| jobs));
                let answered = engine.ask(courses, purpose).instrument(span.clone()).await;
                (span, batch, answered)
            };
            self.asking.start(step);
        }
    }

    /// Whether a part of a batch waits a moment for others: for the events of a running restore, unless it is slow; and
    /// where all of them have waited in a delay queue before, for those that were parked with them.
    fn waits_for_others(&mut self, now: Instant) -> bool {
        let since = *self.part_since.get_or_insert(now);
        let is_restoring = self.restoring.wake_at(now).is_some() && now < since + PATIENCE;
        if is_restoring {
            return true;
        }
        let has_new = || self.batcher.any_due(|job| !job.delivery.sent_on_before);
        now < since + GATHERING && !has_new()
    }

    /// Handles the end of a look-up.
    pub(super) fn asked(&mut self, (span, batch, answered): AskDone) {
        match answered {
            Ok(answered) => self.answered.push_back((span, (batch, answered))),
            Err(error) => {
                self.batcher.done(batch.iter().map(|(run, _)| run));
                let jobs = batch.into_iter().flat_map(|(_, jobs)| jobs).collect();
                self.database_failed(jobs, &error);
            }
        }
    }

    /// Writes the answers that wait, up to `max_batch` events at once.
    pub(super) fn write(&mut self, now: Instant) {
        loop {
            let mut events = 0;
            let of_hints = self.answered.front().is_some_and(|(_, (batch, _))| is_of_hints(batch));
            let fits = self.answered.iter().take_while(|(_, (batch, _))| {
                if is_of_hints(batch) != of_hints {
                    return false;
                }
                let before = events;
                events += batch.iter().map(|(_, jobs)| jobs.len()).sum::<usize>();
                before == 0 || events <= self.max_batch
            });
            let count = fits.count();
            if count == 0 || !self.writing.has_room(events >= self.max_batch, now) {
                return;
            }
            let (spans, asked): (Vec<Span>, Vec<_>) = self.answered.drain(..count).unzip();
            let (batches, answered): (Vec<Batch<Job>>, Vec<Answered>) = asked.into_iter().unzip();
            let batch: Batch<Job> = batches.into_iter().flatten().collect();
            let engine = self.engine_for(of_hints);
            let jobs = batch.iter().flat_map(|(_, jobs)| jobs);
            let span = trace::step(
                jobs.map(Job::traced),
                |event| tracing::info_span!(parent: event, "write", course_sharing.rows_written = Empty),
            );
            // Into the traces of the others there is a way from their look-ups.
            spans.iter().skip(1).for_each(|asked| _ = asked.follows_from(&span));
            let step = async move {
                let observed = write(&engine, answered).instrument(span).await;
                (batch, observed.map(Observed::into_outcomes))
            };
            self.writing.start(step);
        }
    }

    /// Handles the end of a write.
    pub(super) fn written(&mut self, (batch, written): WriteDone) {
        self.batcher.done(batch.iter().map(|(run, _)| run));
        let jobs = batch.into_iter().flat_map(|(_, jobs)| jobs);
        match written {
            Ok(outcomes) => {
                self.settler.database_answered();
                let now = Instant::now();
                let settled = jobs.map(|job| {
                    let Some(outcome) = outcomes.get(&job.event.course) else {
                        return (
                            job,
                            park(Duration::ZERO, "nothing was decided about its course".to_owned()),
                        );
                    };
                    match outcome {
                        Outcome::Updated | Outcome::Cleared => job.wrote(),
                        Outcome::Rejected(why) => job.span.in_scope(|| rejected(&job.event.course, why)),
                        _ => {}
                    }
                    let settle = if job.is_hint { settle_hint } else { settle };
                    let settlement = settle(outcome, job.delivery.attempt, now);
                    (job, settlement)
                });
                let settled = settled.collect();
                self.settle(settled);
            }
            Err(error) => self.database_failed(jobs.collect(), &error),
        }
    }
}

/// Whether no event is among them.
fn is_of_hints(batch: &[(RunKey, Vec<Job>)]) -> bool {
    batch.iter().flat_map(|(_, jobs)| jobs).all(|job| job.is_hint)
}

/// Restores the links of these courses, and reads what is known of those that hints are about.
async fn restore(engine: &Engine, jobs: &[Job]) -> Result<Restored, StoreError> {
    let mut courses = engine.store().restore(&courses(jobs.iter())).await?;
    courses.sort_unstable();
    courses.dedup();
    Span::current().record("course_sharing.rows_written", count(courses.len()));
    for course in &courses {
        tracing::info!(event = "overview.restored", %course, "a lost link was restored from the ledger");
    }
    let runs: HashSet<RunKey> =
        jobs.iter().filter(|job| job.is_hint).map(|job| job.event.course.run_key()).collect();
    let runs: Vec<RunKey> = runs.into_iter().collect();
    Ok(Restored { courses, hinted: engine.store().entries(&runs).await? })
}

/// Writes what was answered.
async fn write(engine: &Engine, answered: Vec<Answered>) -> Result<Observed, StoreError> {
    let observed = engine.observe(answered, Policy::default()).await?;
    Span::current().record("course_sharing.rows_written", count(observed.updated + observed.cleared));
    Ok(observed)
}

/// Logs each try: seven in five hours.
fn rejected(course: &CourseKey, why: &str) {
    tracing::warn!(event = "overview.rejected", %course, error = why, "the database rejects the row of a course");
}

/// The courses of these jobs, each once.
fn courses<'a>(jobs: impl Iterator<Item = &'a Job>) -> Vec<CourseKey> {
    let mut courses: Vec<CourseKey> = jobs.map(|job| job.event.course.clone()).collect();
    courses.sort_unstable();
    courses.dedup();
    courses
}
