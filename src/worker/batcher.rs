//! Which runs the next request asks for. Pure, without a timer.
//!
//! When idle, an event is a batch at once. Under load the next batch is what has piled up during the last requests: as
//! many runs as fit into one URL, with all their events. Of two events about one course only one waits: the other is
//! returned, to be acknowledged, as one look-up serves both.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::model::course_key::RunKey;

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

    /// True if runs without such a job wait for its run.
    fn goes_first(&self) -> bool {
        true
    }
}

/// Runs for one request, each with its jobs.
pub type Batch<J> = Vec<(RunKey, Vec<J>)>;

/// Holds jobs until their run may be looked up. The broker's prefetch bounds their number.
pub struct Batcher<J> {
    limits: Limits,
    /// Runs with jobs, runs that are being looked up, and runs that were within `min_interval`.
    runs: HashMap<RunKey, Run<J>>,
    /// Runs that may be looked up now, oldest first: those with a job that goes first, and all others.
    due: [VecDeque<RunKey>; 2],
    /// Since when runs that do not go first have been due and have had no turn; as of the last batch.
    last_since: Option<Instant>,
    /// Totals of those that are due.
    due_jobs: usize,
    due_bytes: usize,
    /// Runs that were looked up within `min_interval`, by its end, and the number of their jobs.
    recent: BTreeSet<(Instant, RunKey)>,
    recent_jobs: usize,
}

struct Run<J> {
    key_bytes: usize,
    jobs: Vec<J>,
    state: State,
}

impl<J: Supersedes> Run<J> {
    fn goes_first(&self) -> bool {
        self.jobs.iter().any(Supersedes::goes_first)
    }
}

/// While others keep coming, so often a batch begins with the runs that do not go first.
const TURN_OF_LAST: Duration = Duration::from_secs(60);
const FIRST: usize = 0;
const LAST: usize = 1;

#[derive(Clone, Copy)]
enum State {
    Due,
    /// Since then.
    InFlight(Instant),
    Recent,
}

impl<J: Supersedes> Batcher<J> {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            runs: HashMap::new(),
            due: Default::default(),
            last_since: None,
            due_jobs: 0,
            due_bytes: 0,
            recent: BTreeSet::new(),
            recent_jobs: 0,
        }
    }

    /// Adds a job that needs a look-up of a run, whose key takes `key_bytes` of a URL. Returns a job that another one
    /// supersedes: this one, or the one that this one replaces.
    ///
    /// A job that comes while its run is being looked up waits for the next look-up: its event may be newer than the
    /// answer.
    pub fn push(&mut self, key: RunKey, key_bytes: usize, job: J) -> Option<J> {
        if let Some(run) = self.runs.get_mut(&key) {
            if run.jobs.iter().any(|other| other.supersedes(&job)) {
                return Some(job);
            }
            let went_first = run.goes_first();
            let superseded = run.jobs.iter_mut().find(|other| job.supersedes(other));
            if let Some(other) = superseded {
                let other = std::mem::replace(other, job);
                self.move_up(&key, went_first);
                return Some(other);
            }
            run.jobs.push(job);
            match run.state {
                State::Due => self.due_jobs += 1,
                State::Recent => self.recent_jobs += 1,
                State::InFlight(_) => {}
            }
            self.move_up(&key, went_first);
        } else {
            self.runs.insert(key.clone(), Run { key_bytes, jobs: vec![job], state: State::Recent });
            self.make_due(key);
        }
        None
    }

    /// The next batch of runs that are due, oldest first.
    pub fn next(&mut self, now: Instant) -> Option<Batch<J>> {
        self.advance(now);
        let order = if self.is_turn_of_last(now) { [LAST, FIRST] } else { [FIRST, LAST] };
        let (mut jobs, mut key_bytes, mut batch) = (0, 0, Vec::new());
        while let Some((key, queue)) = self.pop_due(order) {
            let Some(run) = self.runs.get_mut(&key) else { continue };
            jobs += run.jobs.len();
            key_bytes += run.key_bytes;
            let fits = jobs <= self.limits.events && key_bytes <= self.limits.key_bytes;
            if !fits && !batch.is_empty() {
                self.due[queue].push_front(key);
                break;
            }
            run.state = State::InFlight(now);
            let taken = std::mem::take(&mut run.jobs);
            self.due_jobs -= taken.len();
            self.due_bytes -= run.key_bytes;
            batch.push((key, taken));
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// True if the runs that are due fill a batch: one more would not fit.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.advance(now);
        let due_runs = self.due[FIRST].len() + self.due[LAST].len();
        let one_more = self.due_bytes.checked_div(due_runs).map_or(0, |mean| self.due_bytes + mean);
        self.due_jobs >= self.limits.events || one_more > self.limits.key_bytes
    }

    /// True if any run is due.
    pub fn has_due(&self) -> bool {
        self.due.iter().any(|runs| !runs.is_empty())
    }

    /// True if a job that is due is like this.
    pub fn any_due(&self, like: impl Fn(&J) -> bool) -> bool {
        let due = self.due.iter().flatten().filter_map(|key| self.runs.get(key));
        due.flat_map(|run| &run.jobs).any(like)
    }

    /// Ends the look-up of these runs.
    pub fn done<'a>(&mut self, runs: impl IntoIterator<Item = &'a RunKey>) {
        for key in runs {
            if let Some(run) = self.runs.get_mut(key)
                && let State::InFlight(since) = run.state
            {
                run.state = State::Recent;
                self.recent_jobs += run.jobs.len();
                self.recent.insert((since + self.limits.min_interval, key.clone()));
            }
        }
    }

    /// When the next run may become due. None if no job waits for a time.
    pub fn wake_at(&self) -> Option<Instant> {
        self.recent.first().filter(|_| self.recent_jobs > 0).map(|(at, _)| *at)
    }

    /// The number of jobs that wait for the end of `min_interval`.
    pub fn early(&self) -> usize {
        self.recent_jobs
    }

    /// Removes those, to be parked in the broker.
    pub fn take_early(&mut self) -> Vec<J> {
        let mut taken = Vec::with_capacity(self.recent_jobs);
        for (_, key) in &self.recent {
            if let Some(run) = self.runs.get_mut(key) {
                taken.append(&mut run.jobs);
            }
        }
        self.recent_jobs = 0;
        taken
    }

    /// True if no job waits.
    pub fn is_empty(&self) -> bool {
        self.runs.values().all(|run| run.jobs.is_empty())
    }

    /// Removes all jobs, as the process stops.
    pub fn drain(&mut self) -> Vec<J> {
        let emptied = std::mem::replace(self, Self::new(self.limits));
        emptied.runs.into_values().flat_map(|run| run.jobs).collect()
    }

    fn pop_due(&mut self, order: [usize; 2]) -> Option<(RunKey, usize)> {
        order.into_iter().find_map(|queue| Some((self.due[queue].pop_front()?, queue)))
    }

    /// Whether a batch begins with the runs that do not go first. Behind an endless stream of others they would wait for
    /// longer than the broker waits for an acknowledgement.
    fn is_turn_of_last(&mut self, now: Instant) -> bool {
        if self.due[LAST].is_empty() {
            self.last_since = None;
            return false;
        }
        let since = *self.last_since.get_or_insert(now);
        let is_turn = now.saturating_duration_since(since) >= TURN_OF_LAST;
        if is_turn {
            self.last_since = Some(now);
        }
        is_turn
    }

    /// Moves a run that is due to those that go first, if it has got such a job now.
    fn move_up(&mut self, key: &RunKey, went_first: bool) {
        let goes_first = |run: &Run<J>| matches!(run.state, State::Due) && run.goes_first();
        if !went_first && self.runs.get(key).is_some_and(goes_first) {
            self.due[LAST].retain(|other| other != key);
            self.due[FIRST].push_back(key.clone());
        }
    }

    /// Makes a run due that is known.
    fn make_due(&mut self, key: RunKey) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        run.state = State::Due;
        self.due_jobs += run.jobs.len();
        self.due_bytes += run.key_bytes;
        let queue = if run.goes_first() { FIRST } else { LAST };
        self.due[queue].push_back(key);
    }

    /// Makes runs due whose time has come.
    fn advance(&mut self, now: Instant) {
        while self.recent.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.recent.pop_first() else { break };
            match self.runs.get_mut(&key) {
                Some(run) if !run.jobs.is_empty() => {
                    self.recent_jobs -= run.jobs.len();
                    self.make_due(key);
                }
                _ => drop(self.runs.remove(&key)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
