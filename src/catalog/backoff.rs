//! Pauses between the attempts at one request, and when they end. The only file that uses the crate `backoff`, which is
//! not maintained any more: `backon` (`ExponentialBuilder` with `with_jitter`) can replace it here.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

/// The time for all attempts and pauses together. A message that needs more waits in a delay queue.
const IN_ALL: Duration = Duration::from_secs(30);
/// With less time than this left, an attempt would only fail.
const LEAST: Duration = Duration::from_secs(1);

/// The pauses between the attempts at one request.
#[derive(Debug)]
pub(super) struct Pauses {
    pauses: ExponentialBackoff,
    spent: Duration,
}

impl Pauses {
    /// Half a second, doubling up to eight, with full jitter: a factor of 1 makes `backoff` draw each pause from 0 to
    /// twice that.
    pub(super) fn new() -> Self {
        let mut pauses = ExponentialBackoff {
            initial_interval: Duration::from_millis(500),
            multiplier: 2.0,
            randomization_factor: 1.0,
            max_interval: Duration::from_secs(8),
            // Counted in `spent` instead, which leaves out waits for the rate limiter.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        pauses.reset();
        Self { pauses, spent: Duration::ZERO }
    }

    /// Counts the time that an attempt took.
    pub(super) fn spend(&mut self, time: Duration) {
        self.spent += time;
    }

    /// The pause before the next attempt, at least as long as the Catalog asked for. None if too little time would be
    /// left after it.
    pub(super) fn pause(&mut self, at_least: Option<Duration>) -> Option<Duration> {
        let pause = self.pauses.next_backoff()?.max(at_least.unwrap_or_default());
        self.take(pause)
    }

    /// This pause, if enough time is left after it.
    pub(super) fn take(&mut self, pause: Duration) -> Option<Duration> {
        let spent = self.spent.checked_add(pause)?;
        if spent > IN_ALL - LEAST {
            return None;
        }
        self.spent = spent;
        Some(pause)
    }

    /// The time limit of the next attempt: `timeout` for the first, later what is left, if that is less.
    pub(super) fn limit(&self, timeout: Duration) -> Duration {
        if self.spent.is_zero() { timeout } else { timeout.min(IN_ALL.saturating_sub(self.spent).max(LEAST)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_within_the_thirty_seconds_and_end() {
        for _ in 0..200 {
            let mut pauses = Pauses::new();
            let mut total = Duration::ZERO;
            let mut times = 0;
            while let Some(pause) = pauses.pause(None) {
                let took = Duration::from_millis(10);
                pauses.spend(took);
                total += pause + took;
                times += 1;
            }
            assert!(total <= IN_ALL && times < 1000, "{total:?} {times}");
        }
    }

    #[test]
    fn what_the_catalog_asks_for_is_honoured_or_refused() {
        let mut pauses = Pauses::new();
        assert!(pauses.pause(Some(Duration::from_secs(20))).unwrap() >= Duration::from_secs(20));
        assert_eq!(pauses.pause(Some(Duration::from_secs(20))), None);
        assert_eq!(Pauses::new().take(Duration::MAX), None);
    }

    #[test]
    fn a_later_attempt_gets_only_what_is_left() {
        let mut pauses = Pauses::new();
        let timeout = Duration::from_secs(20);
        assert_eq!(pauses.limit(Duration::from_secs(60)), Duration::from_secs(60));
        pauses.spend(timeout);
        assert_eq!(pauses.limit(timeout), Duration::from_secs(10));
        pauses.spend(timeout);
        assert_eq!(pauses.limit(timeout), LEAST);
    }
}
