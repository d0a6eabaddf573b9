//! What `/healthz` answers: whether a restart would help. Every job makes progress, and the consumer is attached, or has
//! been detached for no longer than reconnecting takes. The connection is not looked at: it may be open, and its consumer
//! gone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

use crate::jobs::{Jobs, Standing};

/// The back-off's cap of 30 s, and as long again to connect and declare.
const RECONNECT_LIMIT: Duration = Duration::from_secs(60);

/// The worker's record of its consumer and jobs. Shared; no call waits.
#[derive(Debug)]
pub struct Health {
    /// None while the consumer is attached.
    detached_since: Mutex<Option<Instant>>,
    jobs: Jobs,
}

impl Health {
    /// For a process that started at `now`; its consumer is not attached yet.
    pub fn new(now: Instant) -> Self {
        Self { detached_since: Mutex::new(Some(now)), jobs: Jobs::default() }
    }

    /// The consumer is attached to its queue.
    pub fn consumer_attached(&self) {
        *self.detached_since.lock() = None;
    }

    /// The consumer is detached, since `now` if it was attached until now.
    pub fn consumer_detached(&self, now: Instant) {
        self.detached_since.lock().get_or_insert(now);
    }

    /// Where each job of the process registers.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// The state at `now`.
    pub fn verdict(&self, now: Instant) -> Verdict {
        let detached = self.detached_since.lock().map(|since| now.saturating_duration_since(since));
        let jobs = self.jobs.standing(now);
        let overdue: Vec<String> = jobs.iter().filter_map(|(name, job)| job.overdue(name)).collect();
        let gone = detached.filter(|gone| *gone > RECONNECT_LIMIT);
        let gone = gone.map(|gone| format!("the consumer has been gone for {} s", gone.as_secs()));
        let reasons: Vec<String> = gone.into_iter().chain(overdue.iter().cloned()).collect();
        Verdict {
            status: if reasons.is_empty() { "ok" } else { "failing" },
            consumer: if detached.is_none() { "attached" } else { "detached" },
            detached_seconds: detached.map(|gone| gone.as_secs()),
            jobs,
            reasons,
            overdue,
        }
    }
}

/// What `/healthz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// `ok` or `failing`.
    status: &'static str,
    /// `attached` or `detached`.
    consumer: &'static str,
    /// Whole seconds since the consumer was detached; left out while it is attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    detached_seconds: Option<u64>,
    /// Each job of the process.
    jobs: BTreeMap<&'static str, Standing>,
    /// What is wrong.
    reasons: Vec<String>,
    /// The reasons that are about jobs.
    #[serde(skip)]
    overdue: Vec<String>,
}

impl Verdict {
    /// The jobs that are overdue, each as a sentence.
    pub fn overdue(&self) -> &[String] {
        &self.overdue
    }

    /// For the status line of a service manager.
    pub fn in_a_line(&self) -> String {
        match self.detached_seconds {
            _ if !self.overdue.is_empty() => self.overdue.join("; "),
            None => "consuming events".to_owned(),
            Some(seconds) => format!("no connection to the broker for {seconds} s"),
        }
    }

    /// False: restart the process.
    pub fn is_alive(&self) -> bool {
        self.reasons.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_consumer_may_be_gone_for_as_long_as_reconnecting_takes() {
        let start = Instant::now();
        let health = Health::new(start);
        assert!(health.verdict(after(start, 60)).is_alive());
        let verdict = health.verdict(after(start, 61));
        assert!(!verdict.is_alive());
        assert_eq!(verdict.reasons, ["the consumer has been gone for 61 s"]);

        health.consumer_attached();
        assert!(health.verdict(after(start, 9_999)).is_alive());
        health.consumer_detached(after(start, 10_000));
        assert!(health.verdict(after(start, 10_060)).is_alive());
    }

    #[test]
    fn failing_to_reconnect_does_not_start_the_time_again() {
        let start = Instant::now();
        let health = Health::new(start);
        health.consumer_attached();
        for second in [0, 30, 60] {
            health.consumer_detached(after(start, second));
        }
        assert!(!health.verdict(after(start, 61)).is_alive());
    }

    #[test]
    fn a_job_that_hangs_is_named() {
        let health = Health::new(Instant::now());
        health.consumer_attached();
        let job = health.jobs().add("heal", Duration::from_secs(60));
        job.begin();
        let verdict = health.verdict(after(Instant::now(), 200));
        assert!(!verdict.is_alive());
        assert!(verdict.reasons[0].contains("the job heal"), "{verdict:?}");
        assert_eq!(verdict.reasons, verdict.overdue);
        drop(job);
        assert!(health.verdict(after(Instant::now(), 200)).is_alive());
    }
}
