//! What a request has to wait for: the circuit breaker, a 429, the hourly budget, or one of `catalog.concurrency` places.
//! Pure: it is given the time and the jitter.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::catalog::Purpose;
use crate::catalog::circuit_breaker::{Circuit, CircuitBreaker};

/// The longest pause after a 429: the Catalog's own throttle never asks for more than an hour, and a `Retry-After` of
/// years must not stop the service.
pub(super) const LONGEST_THROTTLE: Duration = Duration::from_secs(3600);
/// The pause after a 429 without `Retry-After`. It doubles each time.
const UNSAID_THROTTLE: Duration = Duration::from_secs(1);

/// The limits that all requests share.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) breaker: CircuitBreaker,
    /// After a 429: until when. It stays after that time until a request goes through.
    pub(super) throttled: Option<Instant>,
    /// The failure that opened the circuit or kept it open.
    pub(super) why: String,
    pub(super) budget: Budget,
    unsaid: u32,
    free: usize,
    urgent: usize,
}

/// Whether a request may be sent now.
#[derive(Debug)]
pub(super) enum Admission {
    /// It may; to be ended with [`Limits::report`].
    Go {
        /// Whether it is the circuit breaker's probe.
        probe: bool,
    },
    /// All places are taken, or an event waits for one.
    Busy,
    /// Not until then.
    Throttled(Instant),
    /// The circuit is open.
    Open {
        /// When to ask again.
        until: Instant,
        /// When it opened.
        since: Instant,
    },
}

/// What the end of a request says about the Catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::catalog) enum Feedback {
    /// It works.
    Healthy,
    /// It does not, and why.
    Failing(String),
    /// Nothing: the failure may lie in the request, or nobody waited for the answer.
    Neutral,
    /// It works, and asks for a pause, of this length if it said so.
    Throttled(Option<Duration>),
}

impl Limits {
    /// `places` requests at once, and `per_hour` in any hour (0: no limit).
    pub(super) fn new(places: usize, per_hour: u32) -> Self {
        Self {
            breaker: CircuitBreaker::new(),
            throttled: None,
            why: String::new(),
            unsaid: 0,
            budget: Budget::new(per_hour),
            free: places.max(1),
            urgent: 0,
        }
    }

    /// Asks whether a request may be sent now.
    pub(super) fn admit(&mut self, now: Instant, purpose: Purpose) -> Admission {
        if let Some(until) = self.throttled.filter(|until| now < *until) {
            return Admission::Throttled(until);
        }
        if let Some(until) = self.breaker.refuses(now) {
            return Admission::Open { until, since: self.breaker.open_since().unwrap_or(now) };
        }
        if let Some(until) = self.budget.refuses(now, purpose) {
            return Admission::Throttled(until);
        }
        if self.free == 0 || (purpose.is_last() && self.urgent > 0) {
            return Admission::Busy;
        }
        self.throttled = None;
        self.free -= 1;
        self.budget.spend(now);
        Admission::Go { probe: self.breaker.enter() }
    }

    /// Ends a request. `jitter` is in 0..1.
    pub(super) fn report(&mut self, probe: bool, now: Instant, feedback: Feedback, jitter: f64) {
        self.free += 1;
        match feedback {
            Feedback::Healthy => {
                self.unsaid = 0;
                self.breaker.success();
            }
            Feedback::Failing(why) => {
                self.why = why;
                self.breaker.failure(probe, now, jitter);
            }
            Feedback::Neutral => self.breaker.neutral(probe, now, jitter),
            Feedback::Throttled(said) => {
                self.breaker.success();
                self.throttle(now, said);
            }
        }
    }

    /// Counts the events and commands that ask for a place. A pass gets none meanwhile.
    pub(super) fn urgent(&mut self, waits: bool) {
        self.urgent = if waits { self.urgent + 1 } else { self.urgent.saturating_sub(1) };
    }

    /// What an event would meet now.
    pub(super) fn circuit(&mut self, now: Instant) -> Circuit {
        let throttled = self.throttled.filter(|until| now < *until);
        match (throttled, self.breaker.circuit()) {
            (Some(until), _) => Circuit::Throttled { until },
            (None, Circuit::Closed) => match self.budget.refuses(now, Purpose::Event) {
                Some(until) => Circuit::Throttled { until },
                None => Circuit::Closed,
            },
            (None, circuit) => circuit,
        }
    }

    fn throttle(&mut self, now: Instant, said: Option<Duration>) {
        let pause = said.unwrap_or_else(|| {
            self.unsaid = (self.unsaid + 1).min(9);
            (UNSAID_THROTTLE * (1 << (self.unsaid - 1))).min(Duration::from_secs(300))
        });
        let until = now + bounded_pause(pause);
        self.throttled = Some(self.throttled.map_or(until, |before| before.max(until)));
    }
}

/// A `Retry-After` within limits: with 0 a caller would ask again and again without a pause.
pub(in crate::catalog) fn bounded_pause(pause: Duration) -> Duration {
    pause.clamp(Duration::from_secs(1), LONGEST_THROTTLE)
}

const HOUR: Duration = Duration::from_secs(3600);

/// When the requests of the last hour were sent; at most as many as the budget allows.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    per_hour: usize,
    sent: VecDeque<Instant>,
}

impl Budget {
    /// With 0 there is no limit, and nothing is counted.
    pub(super) fn new(per_hour: u32) -> Self {
        Self { per_hour: per_hour as usize, sent: VecDeque::new() }
    }

    /// When a request may go, if not now.
    pub(super) fn refuses(&mut self, now: Instant, purpose: Purpose) -> Option<Instant> {
        if self.per_hour == 0 {
            return None;
        }
        self.forget(now);
        let share = match purpose {
            Purpose::Pass | Purpose::Hint => self.per_hour - self.per_hour / 4,
            Purpose::Event | Purpose::Command => self.per_hour,
        };
        let over = self.sent.len().checked_sub(share)?;
        self.sent.get(over).map(|leaves| *leaves + HOUR)
    }

    /// Requests in the hour before `now`, if they are counted, and the budget.
    pub(super) fn spent(&mut self, now: Instant) -> (Option<u64>, u32) {
        self.forget(now);
        let spent = (self.per_hour > 0).then_some(self.sent.len() as u64);
        (spent, u32::try_from(self.per_hour).unwrap_or(u32::MAX))
    }

    fn forget(&mut self, now: Instant) {
        while self.sent.front().is_some_and(|sent| now.saturating_duration_since(*sent) >= HOUR) {
            self.sent.pop_front();
        }
    }

    /// Counts a request that goes now.
    pub(super) fn spend(&mut self, now: Instant) {
        if self.per_hour > 0 {
            self.sent.push_back(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_pass_leaves_a_quarter_to_the_others() {
        let now = Instant::now();
        let mut budget = Budget::new(8);
        for second in 0..6 {
            let now = now + Duration::from_secs(second);
            assert_eq!(budget.refuses(now, Purpose::Pass), None);
            budget.spend(now);
        }
        let now_6 = now + Duration::from_secs(6);
        assert_eq!(budget.refuses(now_6, Purpose::Pass), Some(now + HOUR), "the oldest leaves then");
        for _ in 0..2 {
            assert_eq!(budget.refuses(now_6, Purpose::Event), None);
            budget.spend(now_6);
        }
        assert_eq!(budget.refuses(now_6, Purpose::Command), Some(now + HOUR));
        assert_eq!(budget.spent(now_6), (Some(8), 8));
        assert_eq!(budget.refuses(now_6, Purpose::Pass), Some(now + HOUR + Duration::from_secs(2)));
        assert_eq!(budget.refuses(now + HOUR, Purpose::Event), None);
        assert_eq!(budget.spent(now + HOUR), (Some(7), 8));
    }

    #[test]
    fn a_tiny_budget_still_lets_the_pass_through_and_none_is_no_limit() {
        let now = Instant::now();
        assert_eq!(Budget::new(1).refuses(now, Purpose::Pass), None);
        let mut free = Budget::new(0);
        free.spend(now);
        assert_eq!(free.refuses(now, Purpose::Pass), None);
        assert_eq!(free.spent(now), (None, 0));
    }

    proptest! {
        #[test]
        fn no_hour_has_more_than_its_budget(
            per_hour in 1u32..20, steps in proptest::collection::vec((0u64..2000, any::<bool>()), 0..200),
        ) {
            let mut now = Instant::now();
            let (mut budget, mut went) = (Budget::new(per_hour), Vec::new());
            for (seconds, pass) in steps {
                now += Duration::from_secs(seconds);
                let purpose = if pass { Purpose::Pass } else { Purpose::Event };
                match budget.refuses(now, purpose) {
                    None => { budget.spend(now); went.push(now); }
                    Some(until) => {
                        prop_assert!(until > now && until <= now + HOUR);
                        prop_assert_eq!(budget.clone().refuses(until, purpose), None);
                    }
                }
                let lately = went.iter().filter(|at| now.saturating_duration_since(**at) < HOUR).count();
                prop_assert!(lately <= per_hour as usize);
            }
        }
    }
}
