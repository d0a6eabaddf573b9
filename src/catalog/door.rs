//! Where requests wait: the async side of the gate, thin. Also where its changes are logged, once each.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::telemetry::metrics;

use super::Purpose;
use super::breaker::Phase;
use super::error::CatalogError;
use super::gate::{Admission, Gate, GateState, Ticket, Verdict};

/// A pass gives up when the breaker has been open for so long without a break: then it is an outage, and the
/// pass must end as failed rather than hang.
pub(super) const OUTAGE: Duration = Duration::from_secs(300);

/// The gate, shared by every request of the process.
pub(super) struct Door {
    gate: Mutex<Gate>,
    changed: Notify,
}

/// The right to send one request. Dropped without a report (a future that was given up), it counts as nothing
/// learnt.
pub(super) struct Permit<'a> {
    door: &'a Door,
    ticket: Option<Ticket>,
}

impl Door {
    /// See [`Gate::new`].
    pub(super) fn new(places: usize, per_hour: u32) -> Self {
        metrics::catalog_breaker("closed");
        Self { gate: Mutex::new(Gate::new(places, per_hour)), changed: Notify::new() }
    }

    /// What an event would meet now.
    pub(super) fn state(&self) -> GateState {
        self.gate().state(Instant::now())
    }

    /// Requests in the last hour, if there is a budget, and the budget.
    pub(super) fn spent(&self) -> (Option<u64>, u32) {
        self.gate().spent(Instant::now())
    }

    /// Waits for a place; and, on behalf of a pass, for the gate to open.
    ///
    /// # Errors
    /// [`CatalogError::Throttled`] or [`CatalogError::Shut`], at once for events and commands; for a pass only
    /// after an outage of five minutes.
    pub(super) async fn enter(&self, purpose: Purpose) -> Result<Permit<'_>, CatalogError> {
        let mut urgent = None;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Listening before looking: what changes in between is not missed.
            changed.as_mut().enable();
            let now = Instant::now();
            let admission = self.admit(now, purpose);
            let until = match admission {
                Admission::Go(ticket) => return Ok(Permit { door: self, ticket: Some(ticket) }),
                Admission::Busy => {
                    if purpose != Purpose::Pass && urgent.is_none() {
                        urgent = Some(Urgent::new(self));
                    }
                    changed.await;
                    continue;
                }
                Admission::Throttled(until) if purpose == Purpose::Pass => until,
                Admission::Shut { until, since, .. }
                    if purpose == Purpose::Pass && now.saturating_duration_since(since) < OUTAGE =>
                {
                    until.min(since + OUTAGE)
                }
                Admission::Throttled(until) => return Err(CatalogError::Throttled { until }),
                Admission::Shut { until, why, .. } => return Err(CatalogError::Shut { until, why }),
            };
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => {}
                () = changed => {}
            }
        }
    }

    fn admit(&self, now: Instant, purpose: Purpose) -> Admission {
        let mut gate = self.gate();
        let (phase, throttled) = (gate.phase(), gate.throttled());
        let admission = gate.admit(now, purpose);
        if gate.phase() != phase {
            metrics::catalog_breaker("half_open");
        }
        if throttled.is_some() && gate.throttled().is_none() {
            tracing::info!(
                event = "catalog.gate_closed",
                "the Catalog may be asked again, its throttle is over"
            );
        }
        admission
    }

    fn report(&self, ticket: Ticket, verdict: Verdict) {
        let now = Instant::now();
        let mut gate = self.gate();
        let (phase, throttled) = (gate.phase(), gate.throttled());
        let why = if let Verdict::Bad(why) = &verdict { why.clone() } else { String::new() };
        gate.report(ticket, now, verdict, rand::random());
        match (phase, gate.phase()) {
            (Phase::Closed, Phase::Open { .. }) => {
                metrics::catalog_breaker("open");
                tracing::warn!(
                    event = "catalog.gate_opened",
                    error = %why,
                    "the Catalog failed repeatedly and is left alone, but for probes"
                );
            }
            (Phase::HalfOpen, Phase::Open { .. }) => {
                metrics::catalog_breaker("open");
                tracing::debug!(error = %why, "a probe of the Catalog taught nothing good");
            }
            (Phase::Open { .. } | Phase::HalfOpen, Phase::Closed) => {
                metrics::catalog_breaker("closed");
                tracing::info!(event = "catalog.gate_closed", "the Catalog answers again");
            }
            _ => {}
        }
        if let (None, Some(until)) = (throttled, gate.throttled()) {
            tracing::warn!(
                event = "catalog.gate_opened",
                seconds = until.saturating_duration_since(now).as_secs(),
                "the Catalog throttles (429); nothing is asked until that is over"
            );
        }
        drop(gate);
        self.changed.notify_waiters();
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        // Nothing in the gate panics half-way through a change.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// Hands the right back, with what the request has shown.
    pub(super) fn report(mut self, verdict: Verdict) {
        if let Some(ticket) = self.ticket.take() {
            self.door.report(ticket, verdict);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.door.report(ticket, Verdict::Nothing);
        }
    }
}

/// Keeps the pass back while it lives.
struct Urgent<'a>(&'a Door);

impl<'a> Urgent<'a> {
    fn new(door: &'a Door) -> Self {
        door.gate().urgent(true);
        Self(door)
    }
}

impl Drop for Urgent<'_> {
    fn drop(&mut self) {
        self.0.gate().urgent(false);
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_permit_dropped_frees_its_place() {
        let door = Door::new(1, 0);
        drop(door.enter(Purpose::Event).await.unwrap());
        door.enter(Purpose::Event).await.unwrap().report(Verdict::Good);
    }

    #[tokio::test]
    async fn events_fail_at_once_at_a_shut_gate_and_the_pass_waits() {
        let door = Door::new(1, 0);
        let second = Verdict::Throttled(Some(Duration::from_secs(1)));
        door.enter(Purpose::Event).await.unwrap().report(second);
        assert!(matches!(door.enter(Purpose::Event).await, Err(CatalogError::Throttled { .. })));
        door.enter(Purpose::Pass).await.unwrap().report(Verdict::Good);
        for _ in 0..5 {
            door.enter(Purpose::Command).await.unwrap().report(Verdict::Bad("down".into()));
        }
        assert!(matches!(door.enter(Purpose::Command).await, Err(CatalogError::Shut { .. })));
        let probe = door.enter(Purpose::Pass).await.unwrap();
        assert_eq!(door.state(), GateState::HalfOpen);
        probe.report(Verdict::Good);
        assert_eq!(door.state(), GateState::Closed);
    }

    #[tokio::test]
    async fn an_event_overtakes_a_waiting_pass() {
        let door = std::sync::Arc::new(Door::new(1, 0));
        let held = door.enter(Purpose::Event).await.unwrap();
        let order = std::sync::Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for purpose in [Purpose::Pass, Purpose::Event, Purpose::Command] {
            let (door, order) = (door.clone(), order.clone());
            waiting.push(tokio::spawn(async move {
                let permit = door.enter(purpose).await.unwrap();
                order.lock().unwrap().push(purpose);
                permit.report(Verdict::Good);
            }));
            // The runtime of a test has one thread: the task runs until it waits.
            tokio::task::yield_now().await;
        }
        held.report(Verdict::Good);
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(order.lock().unwrap().last(), Some(&Purpose::Pass));
    }
}
