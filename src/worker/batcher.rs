//! Which runs the next request asks for: pure, without a timer of its own.
//!
//! Idle, an event is a batch of one at once. Under load the next batch is whatever has piled up while the last
//! requests were out: as many distinct runs as fit in one URL, with all the events that wait for each. Of two events
//! about one course one waits: the other is given back, to be acknowledged, as the look-up to come does for both.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::course_key::RunKey;

/// What a batch may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Events, at most; those of one run stay together even so.
    pub events: usize,
    /// Bytes of keys, as they take room in a URL.
    pub key_bytes: usize,
    /// A run is asked for at most once in this time.
    pub min_interval: Duration,
}

/// Something that waits for a look-up.
pub trait Waits {
    /// True if the look-up that this waits for does for `other` too, and `other` need not wait.
    fn stands_for(&self, other: &Self) -> bool;
}

/// Runs to ask for together, each with the jobs that wait for it.
pub type Batch<J> = Vec<(RunKey, Vec<J>)>;

/// Holds jobs until their run may be asked for. What it holds is bounded by who pushes: the broker's prefetch.
pub struct Batcher<J> {
    limits: Limits,
    waiting: HashMap<RunKey, Waiting<J>>,
    due: Due,
    /// Runs that wait for `min_interval` to pass, by the time at which it has, and the number of their jobs.
    later: BTreeSet<(Instant, RunKey)>,
    later_jobs: usize,
    in_flight: HashSet<RunKey>,
    /// When runs were last asked for, and the same in order of time, to forget what is older than `min_interval`.
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
    /// Behind the answer to an earlier question.
    Answer,
}

/// Runs that may be asked for now, in the order in which they came to be, and what they come to.
#[derive(Default)]
struct Due {
    order: VecDeque<RunKey>,
    jobs: usize,
    key_bytes: usize,
}

impl<J: Waits> Batcher<J> {
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

    /// Takes a job that needs `run` asked for; the key takes `key_bytes` of a URL. Gives a job back that need not wait,
    /// as another stands for it: this one, or the one in whose place this one waits now.
    ///
    /// A job that comes after its run's request went out waits for the next one: its event may be about what that
    /// request has not seen.
    pub fn push(&mut self, run: RunKey, key_bytes: usize, job: J) -> Option<J> {
        if let Some(waiting) = self.waiting.get_mut(&run) {
            if waiting.jobs.iter().any(|other| other.stands_for(&job)) {
                return Some(job);
            }
            if let Some(other) = waiting.jobs.iter_mut().find(|other| job.stands_for(other)) {
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

    /// The next batch, if any run is due: oldest first, none that is being asked for just now or was within
    /// `min_interval`.
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

    /// True if what is due fills a batch: one more run like those would not go into it.
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

    /// Says that these runs have been answered, one way or another.
    pub fn done<'a>(&mut self, runs: impl IntoIterator<Item = &'a RunKey>) {
        for run in runs {
            self.in_flight.remove(run);
            if self.waiting.contains_key(run) {
                self.place(run);
            }
        }
    }

    /// When the next run will be due that is not so now. None: nothing waits for a time.
    pub fn wake_at(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// How many jobs wait for `min_interval` to pass.
    pub fn early(&self) -> usize {
        self.later_jobs
    }

    /// Takes those out, to wait elsewhere.
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

    /// All jobs that wait, for whom the process has no time any more.
    pub fn drain(&mut self) -> Vec<J> {
        self.due = Due::default();
        self.later.clear();
        self.later_jobs = 0;
        self.waiting.drain().flat_map(|(_, waiting)| waiting.jobs).collect()
    }

    /// Puts a run with jobs where it belongs that is not being asked for.
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

    /// Makes due what has become so.
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
