//! The one thing in front of every request of a process: breaker, throttle, hourly budget and places, in one pure
//! state machine with the clock in hand. [`super::door`] makes people wait at it.

use std::time::{Duration, Instant};

use super::Purpose;
use super::breaker::{Breaker, Phase};
use super::budget::Budget;

/// The longest that a 429 is believed: the Catalog's own throttle never says more than an hour, and a
/// `Retry-After` of years must not end the service.
const LONGEST_THROTTLE: Duration = Duration::from_secs(3600);
/// A 429 that does not say how long: this, doubled each time, up to five minutes.
const UNSAID_THROTTLE: Duration = Duration::from_secs(1);

/// What the gate is doing, for status pages and decisions elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateState {
    /// Requests go through.
    Closed,
    /// Failures in a row: none goes through until then.
    Open {
        /// When a probe may go.
        until: Instant,
    },
    /// A probe is out.
    HalfOpen,
    /// A 429, or the hourly budget: none goes through until then.
    Throttled {
        /// When the next may go.
        until: Instant,
    },
}

/// Breaker, throttle, budget and places.
#[derive(Debug)]
pub(super) struct Gate {
    breaker: Breaker,
    throttled: Option<Instant>,
    unsaid: u32,
    budget: Budget,
    free: usize,
    urgent: usize,
    why: String,
}

/// The right to send one request; to be handed back with [`Gate::report`].
#[derive(Debug)]
pub(super) struct Ticket {
    probe: bool,
}

/// What the gate says to someone with a request.
#[derive(Debug)]
pub(super) enum Admission {
    /// Send it.
    Go(Ticket),
    /// All places are taken, or someone more urgent waits for one.
    Busy,
    /// Throttled, until then.
    Throttled(Instant),
    /// The breaker is open.
    Shut {
        /// When to ask again.
        until: Instant,
        /// Since when.
        since: Instant,
        /// The failure that opened it or kept it open.
        why: String,
    },
}

/// What a request has shown about the Catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It works.
    Good,
    /// It does not, and how.
    Bad(String),
    /// Nothing: the failure may lie in the question, or nobody waited for the answer.
    Nothing,
    /// Nothing, as the request never left.
    Unsent,
    /// It works, and wants to be left alone, for this long if it said so.
    Throttled(Option<Duration>),
}

impl Gate {
    /// An open road with `places` requests at once and `per_hour` in any hour (0: no limit).
    pub(super) fn new(places: usize, per_hour: u32) -> Self {
        Self {
            breaker: Breaker::new(),
            throttled: None,
            unsaid: 0,
            budget: Budget::new(per_hour),
            free: places.max(1),
            urgent: 0,
            why: String::new(),
        }
    }

    /// Asks for the right to send a request now.
    pub(super) fn admit(&mut self, now: Instant, purpose: Purpose) -> Admission {
        if let Some(until) = self.throttled.filter(|until| now < *until) {
            return Admission::Throttled(until);
        }
        if let Some(until) = self.breaker.refuses(now) {
            let since = self.breaker.open_since().unwrap_or(now);
            return Admission::Shut { until, since, why: self.why.clone() };
        }
        if let Some(until) = self.budget.refuses(now, purpose) {
            return Admission::Throttled(until);
        }
        if self.free == 0 || (purpose == Purpose::Pass && self.urgent > 0) {
            return Admission::Busy;
        }
        self.throttled = None;
        self.free -= 1;
        self.budget.spend(now);
        Admission::Go(Ticket { probe: self.breaker.enter() })
    }

    /// Hands the right back, with what was learnt. `chance` in 0..1 is the jitter.
    pub(super) fn report(&mut self, ticket: Ticket, now: Instant, verdict: Verdict, chance: f64) {
        self.free += 1;
        match verdict {
            Verdict::Good => {
                self.unsaid = 0;
                self.breaker.success();
            }
            Verdict::Bad(why) => {
                self.why = why;
                self.breaker.failure(ticket.probe, now, chance);
            }
            Verdict::Nothing => self.breaker.nothing_learnt(ticket.probe, now, chance),
            Verdict::Unsent => {
                self.budget.refund();
                self.breaker.nothing_learnt(ticket.probe, now, chance);
            }
            Verdict::Throttled(said) => {
                self.breaker.success();
                self.throttle(now, said);
            }
        }
    }

    /// Someone urgent starts (`true`) or ends waiting for a place; the pass stands back meanwhile.
    pub(super) fn urgent(&mut self, waits: bool) {
        self.urgent = if waits { self.urgent + 1 } else { self.urgent.saturating_sub(1) };
    }

    /// What an event would meet now.
    pub(super) fn state(&mut self, now: Instant) -> GateState {
        let throttled = self.throttled.filter(|until| now < *until);
        match (throttled, self.breaker.phase()) {
            (Some(until), _) => GateState::Throttled { until },
            (None, Phase::Open { until }) => GateState::Open { until },
            (None, Phase::HalfOpen) => GateState::HalfOpen,
            (None, Phase::Closed) => match self.budget.refuses(now, Purpose::Event) {
                Some(until) => GateState::Throttled { until },
                None => GateState::Closed,
            },
        }
    }

    /// Closed, open, half open: for the metric, and to see a change.
    pub(super) fn phase(&self) -> Phase {
        self.breaker.phase()
    }

    /// Since a 429: until when. It stays after that time, until a request goes through.
    pub(super) fn throttled(&self) -> Option<Instant> {
        self.throttled
    }

    fn throttle(&mut self, now: Instant, said: Option<Duration>) {
        let pause = said.unwrap_or_else(|| {
            self.unsaid = (self.unsaid + 1).min(9);
            (UNSAID_THROTTLE * (1 << (self.unsaid - 1))).min(Duration::from_secs(300))
        });
        // "0" would make a busy loop of whoever waits.
        let until = now + pause.clamp(Duration::from_secs(1), LONGEST_THROTTLE);
        self.throttled = Some(self.throttled.map_or(until, |before| before.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn go(gate: &mut Gate, now: Instant, purpose: Purpose) -> Ticket {
        match gate.admit(now, purpose) {
            Admission::Go(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_429_shuts_it_for_everybody_for_as_long_as_it_says() {
        let now = Instant::now();
        let mut gate = Gate::new(2, 0);
        let ticket = go(&mut gate, now, Purpose::Event);
        gate.report(ticket, now, Verdict::Throttled(Some(Duration::from_secs(60))), 0.0);
        let until = now + Duration::from_secs(60);
        for purpose in [Purpose::Event, Purpose::Pass, Purpose::Command] {
            assert!(matches!(gate.admit(now, purpose), Admission::Throttled(then) if then == until));
        }
        assert_eq!(gate.state(now), GateState::Throttled { until });
        go(&mut gate, until, Purpose::Event);
        assert_eq!(gate.state(until), GateState::Closed);
    }

    #[test]
    fn absurd_and_missing_retry_after_are_bounded() {
        let now = Instant::now();
        for (said, expected) in [(Some(u64::MAX), 3600), (Some(0), 1), (None, 1)] {
            let mut gate = Gate::new(1, 0);
            let ticket = go(&mut gate, now, Purpose::Event);
            gate.report(ticket, now, Verdict::Throttled(said.map(Duration::from_secs)), 0.0);
            assert_eq!(gate.throttled(), Some(now + Duration::from_secs(expected)), "{said:?}");
        }
        let (mut gate, mut now) = (Gate::new(1, 0), now);
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 256] {
            let ticket = go(&mut gate, now, Purpose::Pass);
            gate.report(ticket, now, Verdict::Throttled(None), 0.0);
            let until = gate.throttled().unwrap();
            assert_eq!(until - now, Duration::from_secs(expected));
            now = until;
        }
    }

    #[test]
    fn an_event_goes_before_the_pass() {
        let now = Instant::now();
        let mut gate = Gate::new(1, 0);
        let ticket = go(&mut gate, now, Purpose::Pass);
        assert!(matches!(gate.admit(now, Purpose::Event), Admission::Busy));
        gate.urgent(true);
        gate.report(ticket, now, Verdict::Good, 0.0);
        assert!(matches!(gate.admit(now, Purpose::Pass), Admission::Busy));
        let ticket = go(&mut gate, now, Purpose::Event);
        gate.urgent(false);
        gate.report(ticket, now, Verdict::Good, 0.0);
        go(&mut gate, now, Purpose::Pass);
    }

    #[test]
    fn what_lies_in_the_question_neither_opens_nor_closes() {
        let now = Instant::now();
        let mut gate = Gate::new(1, 0);
        for round in 0..4 {
            let ticket = go(&mut gate, now, Purpose::Pass);
            gate.report(ticket, now, Verdict::Bad("x".into()), 1.0);
            for _ in 0..9 {
                let ticket = go(&mut gate, now, Purpose::Pass);
                gate.report(ticket, now, Verdict::Nothing, 1.0);
            }
            assert_eq!(gate.phase(), Phase::Closed, "{round}");
        }
        let ticket = go(&mut gate, now, Purpose::Pass);
        gate.report(ticket, now, Verdict::Bad("the fifth".into()), 1.0);
        assert!(matches!(gate.admit(now, Purpose::Event), Admission::Shut { why, .. } if why == "the fifth"));
    }

    #[test]
    fn a_request_that_never_left_costs_nothing() {
        let now = Instant::now();
        let mut gate = Gate::new(1, 1);
        let ticket = go(&mut gate, now, Purpose::Event);
        gate.report(ticket, now, Verdict::Unsent, 0.0);
        let ticket = go(&mut gate, now, Purpose::Event);
        gate.report(ticket, now, Verdict::Good, 0.0);
        assert!(matches!(gate.state(now), GateState::Throttled { .. }));
    }

    fn any_verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![
            Just(Verdict::Good),
            Just(Verdict::Bad("bad".into())),
            Just(Verdict::Nothing),
            Just(Verdict::Unsent),
            proptest::option::of(0u64..9999).prop_map(|s| Verdict::Throttled(s.map(Duration::from_secs))),
        ]
    }

    proptest! {
        /// Places are never exceeded nor lost, and whoever is told to wait may go at the time named, at most an
        /// hour on, unless something else has happened since.
        #[test]
        fn it_never_locks_up(
            places in 1usize..4, per_hour in 0u32..12,
            steps in proptest::collection::vec((any::<bool>(), 0u64..600, 0.0f64..1.0, any_verdict(), any::<bool>()), 0..150),
        ) {
            let (mut now, mut gate, mut out) = (Instant::now(), Gate::new(places, per_hour), Vec::new());
            for (send, seconds, chance, verdict, pass) in steps {
                now += Duration::from_secs(seconds);
                if !send {
                    if let Some(ticket) = out.pop() { gate.report(ticket, now, verdict, chance); }
                    continue;
                }
                match gate.admit(now, if pass { Purpose::Pass } else { Purpose::Event }) {
                    Admission::Go(ticket) => out.push(ticket),
                    Admission::Busy => prop_assert_eq!(out.len(), places),
                    Admission::Throttled(until) | Admission::Shut { until, .. } => {
                        prop_assert!(until > now && until <= now + Duration::from_secs(3600));
                    }
                }
                prop_assert!(out.len() <= places);
            }
            for ticket in out.drain(..) { gate.report(ticket, now, Verdict::Good, 0.0); }
            now += Duration::from_secs(7200);
            prop_assert!(matches!(gate.admit(now, Purpose::Pass), Admission::Go(_)));
        }
    }
}
