//! Stops requests to a service that keeps failing, and probes whether it works again. Pure: it is given the time and the
//! jitter.

use std::time::{Duration, Instant};

/// Failures in a row that open the circuit.
const FAILURES: u32 = 5;
/// The pause before the first probe. It doubles with each probe that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Whether requests go through to the Catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Circuit {
    /// Requests go through.
    Closed,
    /// After failures in a row, none goes through.
    Open {
        /// When a probe may go.
        until: Instant,
    },
    /// A probe is out.
    HalfOpen,
    /// After a 429, or with the hourly budget used up, none goes through.
    Throttled {
        /// When the next request may go.
        until: Instant,
    },
}

impl Circuit {
    /// The state as metrics and the status page name it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// When a request may go, if it is known to be later than now.
    pub fn until(self) -> Option<Instant> {
        match self {
            Self::Open { until } | Self::Throttled { until } => Some(until),
            Self::Closed | Self::HalfOpen => None,
        }
    }
}

/// Opens after failures in a row, then lets one probe through at a time, and closes after a success.
#[derive(Debug, Clone, Copy)]
pub(super) enum CircuitBreaker {
    Closed { failures: u32 },
    Open { since: Instant, until: Instant, pause: Duration },
    Probing { since: Instant, pause: Duration },
}

impl CircuitBreaker {
    /// A closed one.
    pub(super) fn new() -> Self {
        Self::Closed { failures: 0 }
    }

    /// The state; never [`Circuit::Throttled`].
    pub(super) fn circuit(&self) -> Circuit {
        match *self {
            Self::Closed { .. } => Circuit::Closed,
            Self::Open { until, .. } => Circuit::Open { until },
            Self::Probing { .. } => Circuit::HalfOpen,
        }
    }

    /// Since when it has not been closed.
    pub(super) fn open_since(&self) -> Option<Instant> {
        match *self {
            Self::Closed { .. } => None,
            Self::Open { since, .. } | Self::Probing { since, .. } => Some(since),
        }
    }

    /// When to ask again, if no request may go now. How long a probe takes is not known, so a short time is given.
    pub(super) fn refuses(&self, now: Instant) -> Option<Instant> {
        match *self {
            Self::Closed { .. } => None,
            Self::Open { until, .. } => (now < until).then_some(until),
            Self::Probing { .. } => Some(now + FIRST_PAUSE),
        }
    }

    /// Notes that a request goes which [`Self::refuses`] has just allowed. True if it is a probe.
    pub(super) fn enter(&mut self) -> bool {
        let Self::Open { since, pause, .. } = *self else { return false };
        *self = Self::Probing { since, pause };
        true
    }

    /// A request was answered, so the service works.
    pub(super) fn success(&mut self) {
        *self = Self::Closed { failures: 0 };
    }

    /// A request failed because the service does not work. `jitter` in 0..1 spreads the probes of many processes over
    /// the second half of the pause.
    pub(super) fn failure(&mut self, probe: bool, now: Instant, jitter: f64) {
        match *self {
            Self::Closed { failures } if failures + 1 < FAILURES => {
                *self = Self::Closed { failures: failures + 1 };
            }
            Self::Closed { .. } => self.open(now, now, FIRST_PAUSE, jitter),
            Self::Probing { since, pause } if probe => {
                self.open(since, now, (pause * 2).min(LONGEST_PAUSE), jitter);
            }
            // It was sent before the circuit opened.
            Self::Open { .. } | Self::Probing { .. } => {}
        }
    }

    /// A request ended without a sign of whether the service works, or nobody waited for its end.
    pub(super) fn neutral(&mut self, probe: bool, now: Instant, jitter: f64) {
        if let (Self::Probing { since, pause }, true) = (*self, probe) {
            self.open(since, now, pause, jitter);
        }
    }

    fn open(&mut self, since: Instant, now: Instant, pause: Duration, jitter: f64) {
        let until = now + pause.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
        *self = Self::Open { since, until, pause };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn opened(now: Instant) -> CircuitBreaker {
        let mut breaker = CircuitBreaker::new();
        for _ in 0..FAILURES {
            breaker.failure(false, now, 1.0);
        }
        breaker
    }

    #[test]
    fn it_opens_after_five_failures_in_a_row() {
        let now = Instant::now();
        let mut breaker = CircuitBreaker::new();
        for _ in 0..4 {
            breaker.failure(false, now, 1.0);
        }
        breaker.success();
        for _ in 0..4 {
            breaker.failure(false, now, 1.0);
            assert_eq!(breaker.circuit(), Circuit::Closed);
        }
        breaker.failure(false, now, 1.0);
        assert_eq!(breaker.circuit(), Circuit::Open { until: now + FIRST_PAUSE });
    }

    #[test]
    fn probes_grow_apart_to_five_minutes_and_a_success_closes() {
        let mut now = Instant::now();
        let begun = now;
        let mut breaker = opened(now);
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let until = breaker.refuses(now).unwrap();
            assert_eq!(until, now + Duration::from_secs(expected));
            now = until;
            assert_eq!(breaker.refuses(now), None);
            assert!(breaker.enter());
            assert!(breaker.refuses(now).is_some(), "one probe at a time");
            assert_eq!(breaker.open_since(), Some(begun));
            breaker.failure(true, now, 1.0);
        }
        assert!(breaker.enter());
        breaker.success();
        assert_eq!((breaker.circuit(), breaker.open_since()), (Circuit::Closed, None));
    }

    #[test]
    fn a_probe_given_up_leaves_its_place_to_another() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let then = breaker.refuses(now).unwrap();
        assert!(breaker.enter());
        breaker.neutral(true, then, 1.0);
        assert_eq!(breaker.circuit(), Circuit::Open { until: then + FIRST_PAUSE });
    }

    proptest! {
        /// Whatever happens in whatever order: at most one probe is out, and after some pause one may always go.
        #[test]
        fn it_never_locks_up(steps in proptest::collection::vec((0u8..5, 0u64..400, 0.0f64..1.0), 0..200)) {
            let mut now = Instant::now();
            let (mut breaker, mut probes, mut others) = (CircuitBreaker::new(), 0u32, 0u32);
            for (step, seconds, chance) in steps {
                now += Duration::from_secs(seconds);
                match step {
                    0 | 1 => if breaker.refuses(now).is_none() {
                        if breaker.enter() { probes += 1 } else { others += 1 }
                    },
                    2 => {
                        let probe = probes > 0;
                        if probe { probes -= 1 } else if others > 0 { others -= 1 } else { continue }
                        breaker.failure(probe, now, chance);
                    }
                    3 => {
                        let probe = probes > 0;
                        if probe { probes -= 1 } else if others > 0 { others -= 1 } else { continue }
                        breaker.neutral(probe, now, chance);
                    }
                    _ => {
                        if probes > 0 { probes -= 1 } else if others > 0 { others -= 1 } else { continue }
                        breaker.success();
                    }
                }
                prop_assert!(probes <= 1);
                if let Circuit::Open { until } = breaker.circuit() {
                    prop_assert!(until <= now + LONGEST_PAUSE);
                }
                prop_assert_eq!(breaker.circuit() == Circuit::HalfOpen, probes == 1);
            }
        }
    }
}
