//! Leaves a service alone that keeps failing, and finds out gently when it is back. Pure: clock and chance in hand.

use std::time::{Duration, Instant};

/// Failures in a row that open it.
const FAILURES: u32 = 5;
/// The first pause before a probe; it doubles with each probe that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Closed while all is well; then open, with one probe at a time at growing distances; closed by a success.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { since: Instant, until: Instant, pause: Duration },
    Probing { since: Instant, pause: Duration },
}

/// What it is doing, without the details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Lets everything through.
    Closed,
    /// Lets nothing through until then.
    Open {
        /// When a probe may go.
        until: Instant,
    },
    /// One probe is out.
    HalfOpen,
}

impl Breaker {
    /// A closed one.
    pub(super) fn new() -> Self {
        Self { state: State::Closed { failures: 0 } }
    }

    /// What it is doing.
    pub(super) fn phase(&self) -> Phase {
        match self.state {
            State::Closed { .. } => Phase::Closed,
            State::Open { until, .. } => Phase::Open { until },
            State::Probing { .. } => Phase::HalfOpen,
        }
    }

    /// Since when it has not been closed.
    pub(super) fn open_since(&self) -> Option<Instant> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { since, .. } | State::Probing { since, .. } => Some(since),
        }
    }

    /// When to ask again, if a request may not go now. While a probe is out nobody knows; a short time is named.
    pub(super) fn refuses(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until, .. } => (now < until).then_some(until),
            State::Probing { .. } => Some(now + FIRST_PAUSE),
        }
    }

    /// Takes note that a request goes, which [`Self::refuses`] has just allowed. True if it is the probe.
    pub(super) fn enter(&mut self) -> bool {
        let State::Open { since, pause, .. } = self.state else { return false };
        self.state = State::Probing { since, pause };
        true
    }

    /// An answer came, whoever asked: the service works.
    pub(super) fn success(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// The request failed in a way that speaks against the service. `chance` in 0..1 spreads the probes of many
    /// processes over the second half of the pause.
    pub(super) fn failure(&mut self, probe: bool, now: Instant, chance: f64) {
        match self.state {
            State::Closed { failures } if failures + 1 < FAILURES => {
                self.state = State::Closed { failures: failures + 1 };
            }
            State::Closed { .. } => self.open(now, now, FIRST_PAUSE, chance),
            State::Probing { since, pause } if probe => {
                self.open(since, now, (pause * 2).min(LONGEST_PAUSE), chance);
            }
            // Sent before it opened; its end says nothing new.
            State::Open { .. } | State::Probing { .. } => {}
        }
    }

    /// The request ended without saying anything about the service, or was given up.
    pub(super) fn nothing_learnt(&mut self, probe: bool, now: Instant, chance: f64) {
        if let (State::Probing { since, pause }, true) = (self.state, probe) {
            self.open(since, now, pause, chance);
        }
    }

    fn open(&mut self, since: Instant, now: Instant, pause: Duration, chance: f64) {
        let until = now + pause.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0));
        self.state = State::Open { since, until, pause };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new();
        for _ in 0..FAILURES {
            breaker.failure(false, now, 1.0);
        }
        breaker
    }

    #[test]
    fn it_opens_after_five_in_a_row_and_not_before() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        for _ in 0..4 {
            breaker.failure(false, now, 1.0);
        }
        breaker.success();
        for _ in 0..4 {
            breaker.failure(false, now, 1.0);
            assert_eq!(breaker.phase(), Phase::Closed);
        }
        breaker.failure(false, now, 1.0);
        assert_eq!(breaker.phase(), Phase::Open { until: now + FIRST_PAUSE });
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
        assert_eq!((breaker.phase(), breaker.open_since()), (Phase::Closed, None));
    }

    #[test]
    fn a_probe_given_up_leaves_its_place_to_another() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let then = breaker.refuses(now).unwrap();
        assert!(breaker.enter());
        breaker.nothing_learnt(true, then, 1.0);
        assert_eq!(breaker.phase(), Phase::Open { until: then + FIRST_PAUSE });
    }

    proptest! {
        /// Whatever happens in whatever order: at most one probe is out, and after some pause one may always go.
        #[test]
        fn it_never_locks_up(steps in proptest::collection::vec((0u8..5, 0u64..400, 0.0f64..1.0), 0..200)) {
            let mut now = Instant::now();
            let (mut breaker, mut probes, mut others) = (Breaker::new(), 0u32, 0u32);
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
                        breaker.nothing_learnt(probe, now, chance);
                    }
                    _ => {
                        if probes > 0 { probes -= 1 } else if others > 0 { others -= 1 } else { continue }
                        breaker.success();
                    }
                }
                prop_assert!(probes <= 1);
                if let Phase::Open { until } = breaker.phase() {
                    prop_assert!(until <= now + LONGEST_PAUSE);
                }
                prop_assert_eq!(breaker.phase() == Phase::HalfOpen, probes == 1);
            }
        }
    }
}
