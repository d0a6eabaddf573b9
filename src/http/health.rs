//! Whether the process still does its work, as far as a restart would help: the worker's loops turn, and the consumer
//! is attached or not for longer gone than it takes to reconnect.
//!
//! "Connected" means nothing here: a consumer can be gone from a connection that stands.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// The back-off's cap of 30 s, and as long again to connect and declare.
const RECONNECT_LIMIT: Duration = Duration::from_secs(60);
/// A loop that has not turned for this long hangs.
const BEAT_LIMIT: Duration = Duration::from_secs(60);

/// What the worker tells, and `/healthz` shows. Shared; each call holds a lock for a moment and never waits.
#[derive(Debug)]
pub struct Health(Mutex<Seen>);

#[derive(Debug, Clone)]
struct Seen {
    /// None while the consumer is attached.
    detached_since: Option<Instant>,
    /// When each loop last turned.
    beats: BTreeMap<&'static str, Instant>,
}

impl Health {
    /// A process that started at `now`, whose consumer is not attached yet.
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Seen { detached_since: Some(now), beats: BTreeMap::new() }))
    }

    /// The consumer is attached to its queue.
    pub fn consumer_attached(&self) {
        self.seen().detached_since = None;
    }

    /// The consumer is gone, since `now` if it was there until now.
    pub fn consumer_detached(&self, now: Instant) {
        self.seen().detached_since.get_or_insert(now);
    }

    /// The loop `name` turned. It must do so every few seconds, also while it waits for something that takes longer;
    /// from the first beat on it is watched.
    pub fn beat(&self, name: &'static str, now: Instant) {
        self.seen().beats.insert(name, now);
    }

    /// The loop `name` ended as it should; it is watched no longer.
    pub fn ended(&self, name: &'static str) {
        self.seen().beats.remove(name);
    }

    /// How things stand at `now`.
    pub fn verdict(&self, now: Instant) -> Verdict {
        judge(&self.seen().clone(), now)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Each change is one assignment, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `/healthz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// `ok` or `failing`.
    status: &'static str,
    /// `attached` or `detached`.
    consumer: &'static str,
    /// Whole seconds since the consumer went; none while it is attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    detached_seconds: Option<u64>,
    /// Whole seconds since each loop last turned.
    loops: BTreeMap<&'static str, u64>,
    /// What is wrong; empty if nothing is.
    reasons: Vec<String>,
}

impl Verdict {
    /// What is wrong; nothing if nothing is.
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// False: a restart is called for.
    pub fn is_alive(&self) -> bool {
        self.reasons.is_empty()
    }
}

fn judge(seen: &Seen, now: Instant) -> Verdict {
    let age = |since: Instant| now.saturating_duration_since(since);
    let detached = seen.detached_since.map(age);
    let gone = detached.filter(|gone| *gone > RECONNECT_LIMIT);
    let mut reasons = Vec::new();
    if let Some(gone) = gone {
        reasons.push(format!("the consumer has been gone for {} s", gone.as_secs()));
    }
    for (name, beat) in &seen.beats {
        if age(*beat) > BEAT_LIMIT {
            reasons.push(format!("the {name} loop has not turned for {} s", age(*beat).as_secs()));
        }
    }
    Verdict {
        status: if reasons.is_empty() { "ok" } else { "failing" },
        consumer: if detached.is_none() { "attached" } else { "detached" },
        detached_seconds: detached.map(|gone| gone.as_secs()),
        loops: seen.beats.iter().map(|(name, beat)| (*name, age(*beat).as_secs())).collect(),
        reasons,
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
    fn failing_to_reconnect_does_not_start_the_time_anew() {
        let start = Instant::now();
        let health = Health::new(start);
        health.consumer_attached();
        for second in [0, 30, 60] {
            health.consumer_detached(after(start, second));
        }
        assert!(!health.verdict(after(start, 61)).is_alive());
    }

    #[test]
    fn a_loop_that_hangs_is_named() {
        let start = Instant::now();
        let health = Health::new(start);
        health.consumer_attached();
        health.beat("heal", start);
        health.beat("intake", after(start, 50));
        let verdict = health.verdict(after(start, 61));
        assert_eq!(verdict.reasons, ["the heal loop has not turned for 61 s"]);
        health.ended("heal");
        assert!(health.verdict(after(start, 61)).is_alive());
    }

    #[test]
    fn a_clock_before_the_beat_is_no_fault() {
        let start = Instant::now();
        let health = Health::new(after(start, 5));
        health.beat("heal", after(start, 5));
        assert!(health.verdict(start).is_alive());
    }
}
