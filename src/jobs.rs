//! Which jobs this process has, and whether each still turns: what `/healthz` answers by.
//!
//! A job says how often it does its work, and notes when a run begins, when it gets on, and when it ends. A run that
//! fails has ended too: only a job that hangs, or has died, is overdue, and not one whose database is out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

/// The job that heals, and its lease.
pub(crate) const HEAL: &str = "heal";
/// A job is overdue after so many of its intervals.
const INTERVALS: u32 = 3;
/// A shorter interval counts as this: a run may wait so long for a single statement.
const SHORTEST: Duration = Duration::from_secs(30);

/// The jobs of a process; cheap to clone. No call waits for longer than another one takes.
#[derive(Debug, Clone, Default)]
pub struct Jobs(Arc<Mutex<BTreeMap<&'static str, State>>>);

/// One job, to be kept by the task that does it. Dropping it says that there will be no further run, as the process
/// stops or there is nothing to do. If the task panics, the job stays known, and is overdue in the end.
#[derive(Debug)]
pub struct Job {
    jobs: Jobs,
    name: &'static str,
}

/// How one job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Whether a run is under way; else the job waits for its next.
    pub running: bool,
    /// Whole seconds since the run began or last got on, or since the last run ended.
    pub seconds: u64,
    /// More seconds than this and the job is overdue.
    pub limit_seconds: u64,
}

#[derive(Debug, Clone, Copy)]
struct State {
    limit: Duration,
    running: bool,
    last: Instant,
}

impl Jobs {
    /// Adds the job `name`, each run of which begins within `interval` after the last one's end, and ends, or at least
    /// gets on, within `interval`. Another job of this name is forgotten.
    #[must_use]
    pub fn add(&self, name: &'static str, interval: Duration) -> Job {
        self.add_at(name, interval, Instant::now())
    }

    fn add_at(&self, name: &'static str, interval: Duration, now: Instant) -> Job {
        let limit = interval.max(SHORTEST).saturating_mul(INTERVALS);
        self.0.lock().insert(name, State { limit, running: false, last: now });
        Job { jobs: self.clone(), name }
    }

    /// Every job, as it stands at `now`.
    pub fn standing(&self, now: Instant) -> BTreeMap<&'static str, Standing> {
        let states = self.0.lock();
        let standing = |state: &State| Standing {
            running: state.running,
            seconds: now.saturating_duration_since(state.last).as_secs(),
            limit_seconds: state.limit.as_secs(),
        };
        states.iter().map(|(name, state)| (*name, standing(state))).collect()
    }
}

impl Standing {
    /// What is wrong with the job `name`, if it is overdue.
    pub fn overdue(&self, name: &str) -> Option<String> {
        let seconds = self.seconds;
        let what = if self.running { "hangs: no progress" } else { "has not begun a run" };
        (seconds > self.limit_seconds).then(|| format!("the job {name} {what} for {seconds} s"))
    }
}

impl Job {
    /// A run begins.
    pub fn begin(&self) {
        self.begin_at(Instant::now());
    }

    /// A run began at `then`.
    pub fn begin_at(&self, then: Instant) {
        self.note(Some(true), then);
    }

    /// The run gets on, or the job still waits for its next run as it should.
    pub fn progress(&self) {
        self.note(None, Instant::now());
    }

    /// The run has ended, well or not.
    pub fn end(&self) {
        self.note(Some(false), Instant::now());
    }

    fn note(&self, running: Option<bool>, now: Instant) {
        if let Some(state) = self.jobs.0.lock().get_mut(self.name) {
            state.running = running.unwrap_or(state.running);
            state.last = now;
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.jobs.0.lock().remove(self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn overdue(jobs: &Jobs, now: Instant) -> Vec<String> {
        jobs.standing(now).iter().filter_map(|(name, standing)| standing.overdue(name)).collect()
    }

    #[test]
    fn a_run_that_has_not_ended_for_three_intervals_is_overdue_until_it_ends() {
        let (jobs, start) = (Jobs::default(), Instant::now());
        let heal = jobs.add_at("heal", MINUTE, start);
        heal.note(Some(true), start + MINUTE);
        assert!(overdue(&jobs, start + MINUTE * 4).is_empty());
        let late = start + MINUTE * 4 + Duration::from_secs(1);
        assert_eq!(overdue(&jobs, late), ["the job heal hangs: no progress for 181 s"]);
        // It failed, say, and that is an end.
        heal.note(Some(false), late);
        assert!(overdue(&jobs, late + MINUTE * 3).is_empty());
    }

    #[test]
    fn a_run_that_has_not_begun_for_three_intervals_is_overdue_from_the_start() {
        let (jobs, start) = (Jobs::default(), Instant::now());
        let heal = jobs.add_at("heal", MINUTE, start);
        let late = start + MINUTE * 3 + Duration::from_secs(1);
        assert_eq!(overdue(&jobs, late), ["the job heal has not begun a run for 181 s"]);
        heal.note(Some(true), late);
        heal.note(Some(false), late);
        assert_eq!(overdue(&jobs, late + MINUTE * 4), ["the job heal has not begun a run for 240 s"]);
    }

    #[test]
    fn a_long_run_is_judged_by_its_progress() {
        let (jobs, start) = (Jobs::default(), Instant::now());
        let pass = jobs.add_at("pass", MINUTE, start);
        pass.note(Some(true), start);
        let page = |n: u32| start + MINUTE * 2 * n;
        (0..100).for_each(|n| pass.note(None, page(n)));
        assert!(overdue(&jobs, page(100)).is_empty());
        assert!(jobs.standing(page(100))["pass"].running);
        assert_eq!(overdue(&jobs, page(102)), ["the job pass hangs: no progress for 360 s"]);
    }

    #[test]
    fn a_job_whose_task_panicked_is_overdue_and_one_that_ended_is_not() {
        let (jobs, start) = (Jobs::default(), Instant::now());
        let day = Duration::from_secs(24 * 3600);
        let dead = jobs.add_at("dead", MINUTE, start);
        let died = std::thread::spawn(move || {
            let _dead = dead;
            panic!("as a test");
        });
        assert!(died.join().is_err());
        drop(jobs.add_at("ended", MINUTE, start));
        assert_eq!(overdue(&jobs, start + day), ["the job dead has not begun a run for 86400 s"]);
    }

    #[test]
    fn short_intervals_have_time_for_a_slow_statement_and_endless_ones_do_not_overflow() {
        let (jobs, start) = (Jobs::default(), Instant::now());
        let _short = jobs.add_at("short", Duration::from_millis(1), start);
        let _long = jobs.add_at("long", Duration::MAX, start);
        assert!(overdue(&jobs, start + Duration::from_secs(90)).is_empty());
        assert_eq!(overdue(&jobs, start + Duration::from_secs(91)).len(), 1);
    }

    #[test]
    fn a_clock_before_the_last_note_is_no_fault() {
        let (jobs, start) = (Jobs::default(), Instant::now());
        let _heal = jobs.add_at("heal", MINUTE, start + MINUTE);
        assert!(overdue(&jobs, start).is_empty());
    }
}
