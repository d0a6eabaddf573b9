//! How long to pause before asking again, and when to stop. The only file that knows the `backoff` crate, which
//! has no maintainer any more: `backon`'s `ExponentialBuilder` with `with_jitter` can take its place here within
//! the hour, as nothing but [`Retries`] would change.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

/// Requests and pauses of one question, all in all. Whoever asked has better things to do after that: a message
/// waits better in a delay queue.
const IN_ALL: Duration = Duration::from_secs(30);
/// An attempt with less time than this left would only fail.
const LEAST: Duration = Duration::from_secs(1);

/// The pauses between the attempts at one question.
#[derive(Debug)]
pub(super) struct Retries {
    pauses: ExponentialBackoff,
    spent: Duration,
}

impl Retries {
    /// Half a second, doubling up to eight, with full jitter: each pause is drawn from [0, 2 ×] of that, which is
    /// what a randomization factor of 1 means to `backoff`.
    pub(super) fn new() -> Self {
        let mut pauses = ExponentialBackoff {
            initial_interval: Duration::from_millis(500),
            multiplier: 2.0,
            randomization_factor: 1.0,
            max_interval: Duration::from_secs(8),
            // Counted here instead, so that waiting at the gate is not.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        pauses.reset();
        Self { pauses, spent: Duration::ZERO }
    }

    /// Takes note of time spent asking.
    pub(super) fn spend(&mut self, time: Duration) {
        self.spent += time;
    }

    /// The pause before the next attempt, at least as long as the Catalog asked for; none if that would leave too
    /// little of the thirty seconds.
    pub(super) fn pause(&mut self, at_least: Option<Duration>) -> Option<Duration> {
        let pause = self.pauses.next_backoff()?.max(at_least.unwrap_or_default());
        self.take(pause)
    }

    /// This very pause, if it fits.
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
            let mut retries = Retries::new();
            let mut total = Duration::ZERO;
            let mut times = 0;
            while let Some(pause) = retries.pause(None) {
                let took = Duration::from_millis(10);
                retries.spend(took);
                total += pause + took;
                times += 1;
            }
            assert!(total <= IN_ALL && times < 1000, "{total:?} {times}");
        }
    }

    #[test]
    fn what_the_catalog_asks_for_is_honoured_or_refused() {
        let mut retries = Retries::new();
        assert!(retries.pause(Some(Duration::from_secs(20))).unwrap() >= Duration::from_secs(20));
        assert_eq!(retries.pause(Some(Duration::from_secs(20))), None);
        assert_eq!(Retries::new().take(Duration::MAX), None);
    }

    #[test]
    fn a_later_attempt_gets_only_what_is_left() {
        let mut retries = Retries::new();
        let timeout = Duration::from_secs(20);
        assert_eq!(retries.limit(Duration::from_secs(60)), Duration::from_secs(60));
        retries.spend(timeout);
        assert_eq!(retries.limit(timeout), Duration::from_secs(10));
        retries.spend(timeout);
        assert_eq!(retries.limit(timeout), LEAST);
    }
}
