//! Which runs the next request asks for. Pure, without a timer.
//!
//! When idle, an event is a batch at once. Under load the next batch is what has piled up during the last requests: as
//! many runs as fit into one URL, with all their events. Of two events about one course only one waits: the other is
//! returned, to be acknowledged, as one look-up serves both.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::course_key::RunKey;

/// What a batch may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Events, at most. Those of one run stay together even if they are more.
    pub events: usize,
    /// Bytes of keys in a URL.
    pub key_bytes: usize,
    /// A run is looked up at most once in this time.
    pub min_interval: Duration,
}

/// A job that may make another one unnecessary.
pub trait Supersedes {
    /// True if the look-up for this job also serves `other`.
    fn supersedes(&self, other: &Self) -> bool;
}

/// Runs for one request, each with its jobs.
pub type Batch<J> = Vec<(RunKey, Vec<J>)>;

/// Holds jobs until their run may be looked up. The broker's prefetch bounds their number.
pub struct Batcher<J> {
    limits: Limits,
    waiting: HashMap<RunKey, Waiting<J>>,
    due: Due,
    /// Runs that wait for the end of `min_interval`, by that time, and the number of their jobs.
    later: BTreeSet<(Instant, RunKey)>,
    later_jobs: usize,
    in_flight: HashSet<RunKey>,
    /// When runs were last looked up, by run and by time; older than `min_interval` is forgotten.
    asked: HashMap<RunKey, Instant>,
    asked_order: VecDeque<(Instant, RunKey)>,
}

struct Waiting<J> {
    key_bytes: usize,
    jobs: Vec<J>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Due,
    Later(Instant),
    /// Until the current look-up has ended.
    Answer,
}

/// Runs that may be looked up now, oldest first, and their totals.
#[derive(Default)]
struct Due {
    order: VecDeque<RunKey>,
    jobs: usize,
    key_bytes: usize,
}

impl<J: Supersedes> Batcher<J> {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: HashMap::new(),
            due: Due::default(),
            later: BTreeSet::new(),
            later_jobs: 0,
            in_flight: HashSet::new(),
            asked: HashMap::new(),
            asked_order: VecDeque::new(),
        }
    }

    /// Adds a job that needs a look-up of `run`, whose key takes `key_bytes` of a URL. Returns a job that another one
    /// supersedes: this one, or the one that this one replaces.
    ///
    /// A job that comes while its run is being looked up waits for the next look-up: its event may be newer than the
    /// answer.
    pub fn push(&mut self, run: RunKey, key_bytes: usize, job: J) -> Option<J> {
        if let Some(waiting) = self.waiting.get_mut(&run) {
            if waiting.jobs.iter().any(|other| other.supersedes(&job)) {
                return Some(job);
            }
            if let Some(other) = waiting.jobs.iter_mut().find(|other| job.supersedes(other)) {
                return Some(std::mem::replace(other, job));
            }
            waiting.jobs.push(job);
            match waiting.place {
                Place::Due => self.due.jobs += 1,
                Place::Later(_) => self.later_jobs += 1,
                Place::Answer => {}
            }
            return None;
        }
        self.waiting.insert(run.clone(), Waiting { key_bytes, jobs: vec![job], place: Place::Answer });
        if !self.in_flight.contains(&run) {
            self.place(&run);
        }
        None
    }

    /// The next batch of runs that are due, oldest first.
    pub fn next(&mut self, now: Instant) -> Option<Batch<J>> {
        self.advance(now);
        let (mut jobs, mut key_bytes) = (0, 0);
        let mut batch = Vec::new();
        while let Some(run) = self.due.order.pop_front() {
            let Some(waiting) = self.waiting.remove(&run) else { continue };
            jobs += waiting.jobs.len();
            key_bytes += waiting.key_bytes;
            let fits = jobs <= self.limits.events && key_bytes <= self.limits.key_bytes;
            if !fits && !batch.is_empty() {
                self.waiting.insert(run.clone(), waiting);
                self.due.order.push_front(run);
                break;
            }
            self.due.jobs -= waiting.jobs.len();
            self.due.key_bytes -= waiting.key_bytes;
            self.in_flight.insert(run.clone());
            self.asked.insert(run.clone(), now);
            self.asked_order.push_back((now, run.clone()));
            batch.push((run, waiting.jobs));
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// True if the runs that are due fill a batch: one more would not fit.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.advance(now);
        let runs = self.due.order.len();
        let one_more = self.due.key_bytes.checked_div(runs).map_or(0, |mean| self.due.key_bytes + mean);
        self.due.jobs >= self.limits.events || one_more > self.limits.key_bytes
    }

    /// True if any run is due.
    pub fn has_due(&self) -> bool {
        !self.due.order.is_empty()
    }

    /// Ends the look-up of these runs.
    pub fn done<'a>(&mut self, runs: impl IntoIterator<Item = &'a RunKey>) {
        for run in runs {
            self.in_flight.remove(run);
            if self.waiting.contains_key(run) {
                self.place(run);
            }
        }
    }

    /// When the next run becomes due. None if no run waits for a time.
    pub fn wake_at(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// The number of jobs that wait for the end of `min_interval`.
    pub fn early(&self) -> usize {
        self.later_jobs
    }

    /// Removes those, to be parked in the broker.
    pub fn take_early(&mut self) -> Vec<J> {
        self.later_jobs = 0;
        let runs = std::mem::take(&mut self.later);
        let taken = runs.into_iter().filter_map(|(_, run)| self.waiting.remove(&run));
        taken.flat_map(|waiting| waiting.jobs).collect()
    }

    /// True if no job waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Removes all jobs, as the process stops.
    pub fn drain(&mut self) -> Vec<J> {
        self.due = Due::default();
        self.later.clear();
        self.later_jobs = 0;
        self.waiting.drain().flat_map(|(_, waiting)| waiting.jobs).collect()
    }

    /// Makes a run that is not being looked up due, now or later.
    fn place(&mut self, run: &RunKey) {
        let Some(waiting) = self.waiting.get_mut(run) else { return };
        if let Some(asked) = self.asked.get(run) {
            let at = *asked + self.limits.min_interval;
            waiting.place = Place::Later(at);
            self.later_jobs += waiting.jobs.len();
            self.later.insert((at, run.clone()));
        } else {
            waiting.place = Place::Due;
            self.due.add(run.clone(), waiting);
        }
    }

    /// Makes runs due whose time has come.
    fn advance(&mut self, now: Instant) {
        while let Some((asked, run)) = self.asked_order.front() {
            if now.saturating_duration_since(*asked) < self.limits.min_interval {
                break;
            }
            if self.asked.get(run) == Some(asked) {
                self.asked.remove(run);
            }
            self.asked_order.pop_front();
        }
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, run)) = self.later.pop_first() else { break };
            let Some(waiting) = self.waiting.get_mut(&run) else { continue };
            waiting.place = Place::Due;
            self.later_jobs -= waiting.jobs.len();
            self.due.add(run, waiting);
        }
    }
}

impl Due {
    fn add<J>(&mut self, run: RunKey, waiting: &Waiting<J>) {
        self.order.push_back(run);
        self.jobs += waiting.jobs.len();
        self.key_bytes += waiting.key_bytes;
    }
}

#[cfg(test)]
mod tests;
