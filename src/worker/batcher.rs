//! Which runs the next request asks for: pure, without a timer of its own.
//!
//! Idle, an event is a batch of one at once. Under load the next batch is whatever has piled up while the last
//! requests were out: as many distinct runs as fit in one URL, with all the events that wait for each.

use std::collections::{HashMap, HashSet, VecDeque};
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

/// Runs to ask for together, each with the jobs that wait for it.
pub type Batch<J> = Vec<(RunKey, Vec<J>)>;

/// Holds jobs until their run may be asked for. What it holds is bounded by who pushes: the broker's prefetch.
pub struct Batcher<J> {
    limits: Limits,
    /// Runs with jobs, in the order in which their first job came.
    order: VecDeque<RunKey>,
    waiting: HashMap<RunKey, Waiting<J>>,
    in_flight: HashSet<RunKey>,
    /// When runs were last asked for, and the same in order of time, to forget what is older than `min_interval`.
    asked: HashMap<RunKey, Instant>,
    asked_order: VecDeque<(Instant, RunKey)>,
}

struct Waiting<J> {
    key_bytes: usize,
    jobs: Vec<J>,
}

impl<J> Batcher<J> {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            order: VecDeque::new(),
            waiting: HashMap::new(),
            in_flight: HashSet::new(),
            asked: HashMap::new(),
            asked_order: VecDeque::new(),
        }
    }

    /// Takes a job that needs `run` asked for; the key takes `key_bytes` of a URL.
    pub fn push(&mut self, run: RunKey, key_bytes: usize, job: J) {
        let waiting = self.waiting.entry(run).or_insert_with_key(|run| {
            self.order.push_back(run.clone());
            Waiting { key_bytes, jobs: Vec::new() }
        });
        waiting.jobs.push(job);
    }

    /// The next batch, if any run is due: oldest first, none that is being asked for just now or was within
    /// `min_interval`. A job that came after its run's request went out waits for the next one: its event may be
    /// about what that request has not seen.
    pub fn next(&mut self, now: Instant) -> Option<Batch<J>> {
        self.forget(now);
        let (mut events, mut key_bytes) = (0, 0);
        let mut batch = Vec::new();
        let mut left = VecDeque::with_capacity(self.order.len());
        while let Some(run) = self.order.pop_front() {
            let due = self.due_at(&run, now).is_some_and(|due| due <= now);
            let fits = |waiting: &Waiting<J>| {
                events == 0
                    || (events + waiting.jobs.len() <= self.limits.events
                        && key_bytes + waiting.key_bytes <= self.limits.key_bytes)
            };
            if !due || !self.waiting.get(&run).is_some_and(fits) {
                left.push_back(run);
                continue;
            }
            if let Some(waiting) = self.waiting.remove(&run) {
                events += waiting.jobs.len();
                key_bytes += waiting.key_bytes;
                self.in_flight.insert(run.clone());
                self.asked.insert(run.clone(), now);
                self.asked_order.push_back((now, run.clone()));
                batch.push((run, waiting.jobs));
            }
        }
        self.order = left;
        (!batch.is_empty()).then_some(batch)
    }

    /// Says that these runs have been answered, one way or another.
    pub fn done<'a>(&mut self, runs: impl IntoIterator<Item = &'a RunKey>) {
        for run in runs {
            self.in_flight.remove(run);
        }
    }

    /// When to call [`Batcher::next`] again, if nothing else happens before: the time at which the first waiting
    /// run is due. None: nothing waits but for an answer.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        self.order.iter().filter_map(|run| self.due_at(run, now)).min()
    }

    /// True if no job waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// All jobs that wait, for whom the process has no time any more.
    pub fn drain(&mut self) -> Vec<J> {
        self.order.clear();
        self.waiting.drain().flat_map(|(_, waiting)| waiting.jobs).collect()
    }

    /// The earliest time to ask for a run; none while it is being asked for.
    fn due_at(&self, run: &RunKey, now: Instant) -> Option<Instant> {
        if self.in_flight.contains(run) {
            return None;
        }
        Some(self.asked.get(run).map_or(now, |asked| *asked + self.limits.min_interval))
    }

    fn forget(&mut self, now: Instant) {
        while let Some((asked, run)) = self.asked_order.front() {
            if now.duration_since(*asked) < self.limits.min_interval {
                break;
            }
            if self.asked.get(run) == Some(asked) {
                self.asked.remove(run);
            }
            self.asked_order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course_key::CourseKey;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_secs(5);
    const LIMITS: Limits = Limits { events: 10, key_bytes: 100, min_interval: INTERVAL };

    fn run(n: u8) -> RunKey {
        CourseKey::parse(&format!("course-v1:a+b+{n}")).unwrap().run_key()
    }

    fn runs<J>(batch: &Batch<J>) -> Vec<RunKey> {
        batch.iter().map(|(run, _)| run.clone()).collect()
    }

    #[test]
    fn idle_an_event_is_a_batch_at_once() {
        let mut batcher = Batcher::new(LIMITS);
        let now = Instant::now();
        assert!(batcher.next(now).is_none() && batcher.wake_at(now).is_none());
        batcher.push(run(1), 30, "a");
        assert_eq!(batcher.next(now).unwrap(), [(run(1), vec!["a"])]);
        assert!(batcher.is_empty());
    }

    #[test]
    fn under_load_a_batch_is_what_has_piled_up_and_fits() {
        let mut batcher = Batcher::new(LIMITS);
        let now = Instant::now();
        for (n, job) in [(1, "a"), (2, "b"), (1, "c"), (3, "d"), (4, "e")] {
            batcher.push(run(n), 30, job);
        }
        let first = batcher.next(now).unwrap();
        assert_eq!(first, [(run(1), vec!["a", "c"]), (run(2), vec!["b"]), (run(3), vec!["d"])]);
        assert_eq!(runs(&batcher.next(now).unwrap()), [run(4)]);
    }

    #[test]
    fn a_key_or_a_crowd_too_large_for_any_batch_goes_alone() {
        let mut batcher = Batcher::new(LIMITS);
        let now = Instant::now();
        batcher.push(run(1), 500, 0);
        (0..20).for_each(|job| batcher.push(run(2), 30, job));
        assert_eq!(runs(&batcher.next(now).unwrap()), [run(1)]);
        assert_eq!(batcher.next(now).unwrap()[0].1.len(), 20);
    }

    #[test]
    fn a_run_asked_for_is_asked_again_when_answered_and_after_the_interval_for_the_last_event() {
        let mut batcher = Batcher::new(LIMITS);
        let now = Instant::now();
        batcher.push(run(1), 30, 1);
        let batch = batcher.next(now).unwrap();
        batcher.push(run(1), 30, 2);
        assert!(batcher.next(now + INTERVAL / 4).is_none(), "it is in flight");
        assert_eq!(batcher.wake_at(now), None);
        batcher.done(&runs(&batch));
        assert!(batcher.next(now + INTERVAL / 2).is_none(), "it was asked for just now");
        assert_eq!(batcher.wake_at(now), Some(now + INTERVAL));
        batcher.push(run(1), 30, 3);
        assert_eq!(batcher.next(now + INTERVAL).unwrap()[0].1, [2, 3], "both share the next look-up");
    }

    proptest! {
        #[test]
        fn no_job_is_lost_or_doubled_and_no_run_is_asked_for_twice_at_once(
            steps in proptest::collection::vec((0..6_u8, 0..3000_u64, any::<bool>()), 1..200)
        ) {
            let mut batcher = Batcher::new(LIMITS);
            let mut now = Instant::now();
            let (mut pushed, mut taken) = (0_usize, Vec::new());
            let mut flying: Vec<Batch<usize>> = Vec::new();
            let mut last: HashMap<RunKey, Instant> = HashMap::new();
            for (n, wait, answer) in steps {
                batcher.push(run(n), 30, pushed);
                pushed += 1;
                now += Duration::from_millis(wait);
                if answer && !flying.is_empty() {
                    let answered = flying.remove(0);
                    batcher.done(&runs(&answered));
                }
                if let Some(batch) = batcher.next(now) {
                    for (run, jobs) in &batch {
                        prop_assert!(flying.iter().flatten().all(|(other, _)| other != run));
                        if let Some(before) = last.insert(run.clone(), now) {
                            prop_assert!(now.duration_since(before) >= INTERVAL);
                        }
                        taken.extend(jobs.iter().copied());
                    }
                    flying.push(batch);
                }
            }
            for batch in flying {
                batcher.done(&runs(&batch));
            }
            while let Some(at) = batcher.wake_at(now) {
                let batch = batcher.next(at).unwrap();
                taken.extend(batch.iter().flat_map(|(_, jobs)| jobs.iter().copied()));
                batcher.done(&runs(&batch));
                now = at;
            }
            taken.sort_unstable();
            prop_assert_eq!(taken, (0..pushed).collect::<Vec<_>>());
        }
    }
}
