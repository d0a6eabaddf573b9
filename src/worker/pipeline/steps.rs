//! What each step of the pipeline takes, does and hands on.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tracing::{Instrument, Span};

use super::{AskDone, Asked, Pipeline, RestoreDone, WriteDone};
use crate::catalog::{self, Purpose};
use crate::course_key::CourseKey;
use crate::store::MAX_ROWS;
use crate::sync::{Answered, Outcome};
use crate::telemetry::metrics;
use crate::worker::settlement::{COALESCED, Settlement, park, settle};
use crate::worker::settler::Job;
use crate::worker::trace;

impl Pipeline {
    /// Begins to restore what has arrived.
    pub(super) fn restore(&mut self, now: Instant) {
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

    /// What follows from a restore.
    pub(super) fn restored(&mut self, (span, jobs, restored): RestoreDone) {
        match restored {
            Ok(restored) => {
                self.settler.database_answered();
                let restored: HashSet<CourseKey> = restored.into_iter().collect();
                if !restored.is_empty() {
                    metrics::healed("restore", restored.len() as u64);
                }
                for job in jobs.iter().filter(|job| restored.contains(&job.event.course)) {
                    metrics::event_to_write(job.age());
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

    /// A hand full of events whose runs were asked for moments ago would keep all others out: those wait in the
    /// broker's shortest delay queue instead, one for each course.
    pub(super) fn make_room(&mut self) {
        if self.batcher.early() > self.prefetch / 2 {
            let jobs = self.batcher.take_early();
            let span = self.source.process(jobs.iter());
            let reason = "its run was looked up moments ago";
            let parked = jobs.into_iter().map(|job| (job, park(Duration::ZERO, reason.to_owned())));
            self.settle(&span, parked.collect());
        }
    }

    /// Under load nothing but whole batches is asked for: a part of one waits for what is about to join it.
    pub(super) fn ask(&mut self, now: Instant) {
        loop {
            let whole = self.batcher.is_full(now);
            if !self.batcher.has_due() {
                return self.part_batch.end();
            }
            let waits = !whole && self.more_is_coming(now) && self.part_batch.holds(now);
            if waits || !self.asking.has_room(whole, now) {
                return;
            }
            self.part_batch.end();
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

    /// What follows from an answer.
    pub(super) fn asked(&mut self, (span, batch, answered): AskDone) {
        match answered {
            Ok(answered) => self.answered.push_back((Asked { span, batch }, answered)),
            Err(error) => {
                self.batcher.done(batch.iter().map(|(run, _)| run));
                let jobs = batch.into_iter().flat_map(|(_, jobs)| jobs).collect();
                self.database_failed(&span, jobs, &error);
            }
        }
    }

    /// Writes all the answers that wait, up to `max_batch` events in one go.
    pub(super) fn write(&mut self, now: Instant) {
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

    /// What follows from a write.
    pub(super) fn written(&mut self, (asked, written): WriteDone) {
        let span = asked.first().map_or_else(Span::none, |asked| asked.span.clone());
        self.batcher.done(asked.iter().flat_map(|asked| asked.batch.iter().map(|(run, _)| run)));
        let jobs = asked.into_iter().flat_map(|asked| asked.batch).flat_map(|(_, jobs)| jobs);
        match written {
            Ok(outcomes) => {
                self.settler.database_answered();
                let now = Instant::now();
                let settled = jobs.filter_map(|job| {
                    let outcome = outcomes.get(&job.event.course)?;
                    match outcome {
                        Outcome::Updated | Outcome::Cleared => metrics::event_to_write(job.age()),
                        Outcome::Rejected(why) => rejected(&job.event.course, why),
                        _ => {}
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
}

/// One line for each time it is tried: seven in five hours.
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
