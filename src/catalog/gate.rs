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

    /// Requests in the last hour, if there is a budget, and the budget.
    pub(super) fn spent(&mut self, now: Instant) -> (Option<u64>, u32) {
        self.budget.spent(now)
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
mod tests;
