//! Makes requests wait for their turn, over the whole process, and logs when requests stop and start again.

mod limits;

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use self::limits::{Admission, Limits};
pub(super) use self::limits::{Feedback, bounded_pause};
use super::Purpose;
use super::circuit_breaker::Circuit;
use super::error::CatalogError;
use crate::telemetry::metrics;

/// A pass fails when the circuit has been open for this long. It must not hang through an outage.
pub(super) const OUTAGE: Duration = Duration::from_secs(300);

/// Lets requests through one by one.
pub(super) struct RateLimiter {
    limits: Mutex<Limits>,
    changed: Notify,
}

/// The right to send one request. Dropped without [`Permit::report`], it counts as [`Feedback::Neutral`].
pub(super) struct Permit<'a> {
    limiter: &'a RateLimiter,
    probe: bool,
    feedback: Feedback,
}

impl RateLimiter {
    /// See [`Limits::new`].
    pub(super) fn new(places: usize, per_hour: u32) -> Self {
        Self { limits: Mutex::new(Limits::new(places, per_hour)), changed: Notify::new() }
    }

    /// What an event would meet now.
    pub(super) fn circuit(&self) -> Circuit {
        self.limits.lock().circuit(Instant::now())
    }

    /// Since when the circuit has not been closed.
    pub(super) fn failing_since(&self) -> Option<Instant> {
        self.limits.lock().breaker.open_since()
    }

    /// Requests in the last hour, if there is a budget, and the budget.
    pub(super) fn spent(&self) -> (Option<u64>, u32) {
        self.limits.lock().budget.spent(Instant::now())
    }

    /// Waits for a place. A pass also waits until it is not throttled and the circuit is closed.
    ///
    /// # Errors
    /// [`CatalogError::Throttled`] or [`CatalogError::CircuitOpen`]: at once for all but a pass, for that only
    /// after an outage of five minutes.
    pub(super) async fn enter(&self, purpose: Purpose) -> Result<Permit<'_>, CatalogError> {
        let is_pass = purpose == Purpose::Pass;
        let _urgent = (!purpose.is_last()).then(|| Urgent::new(self));
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Before looking, so that no change in between is missed.
            changed.as_mut().enable();
            let now = Instant::now();
            let until = match self.admit(now, purpose) {
                Admission::Go { probe } => {
                    return Ok(Permit { limiter: self, probe, feedback: Feedback::Neutral });
                }
                Admission::Busy => {
                    changed.await;
                    continue;
                }
                Admission::Throttled(until) if is_pass => until,
                Admission::Open { until, since } if is_pass && now < since + OUTAGE => {
                    until.min(since + OUTAGE)
                }
                Admission::Throttled(until) => return Err(CatalogError::Throttled { until }),
                Admission::Open { until, .. } => {
                    return Err(CatalogError::CircuitOpen { until, why: self.limits.lock().why.clone() });
                }
            };
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => {}
                () = changed => {}
            }
        }
    }

    fn admit(&self, now: Instant, purpose: Purpose) -> Admission {
        let mut limits = self.limits.lock();
        let before = (limits.breaker.circuit(), limits.throttled);
        let admission = limits.admit(now, purpose);
        log_change(before, &limits, now);
        admission
    }

    fn report(&self, probe: bool, feedback: Feedback) {
        let now = Instant::now();
        let mut limits = self.limits.lock();
        let before = (limits.breaker.circuit(), limits.throttled);
        limits.report(probe, now, feedback, rand::random());
        log_change(before, &limits, now);
        drop(limits);
        self.changed.notify_waiters();
    }
}

fn log_change((before, throttled): (Circuit, Option<Instant>), limits: &Limits, now: Instant) {
    let (circuit, why) = (limits.breaker.circuit(), &limits.why);
    if circuit != before {
        metrics::get().catalog_breaker.choose(circuit.as_str());
    }
    match (before, circuit) {
        (Circuit::Closed, Circuit::Open { .. }) => tracing::warn!(
            event = "catalog.circuit_opened",
            error = %why,
            "the Catalog failed repeatedly; only probes are sent to it"
        ),
        (Circuit::HalfOpen, Circuit::Open { .. }) => tracing::debug!(error = %why, "Catalog probe failed"),
        (Circuit::Open { .. } | Circuit::HalfOpen, Circuit::Closed) => {
            tracing::info!(event = "catalog.circuit_closed", "the Catalog answers again");
        }
        _ => {}
    }
    match (throttled, limits.throttled) {
        (None, Some(until)) => tracing::warn!(
            event = "catalog.circuit_opened",
            seconds = until.saturating_duration_since(now).as_secs(),
            "the Catalog throttles (429); no request is sent for so long"
        ),
        (Some(_), None) => tracing::info!(
            event = "catalog.circuit_closed",
            "the throttle of the Catalog is over; requests are sent again"
        ),
        _ => {}
    }
}

impl Permit<'_> {
    /// Ends the request.
    pub(super) fn report(mut self, feedback: Feedback) {
        self.feedback = feedback;
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.limiter.report(self.probe, std::mem::replace(&mut self.feedback, Feedback::Neutral));
    }
}

/// Holds a pass back while it lives.
struct Urgent<'a>(&'a RateLimiter);

impl<'a> Urgent<'a> {
    fn new(limiter: &'a RateLimiter) -> Self {
        limiter.limits.lock().urgent(true);
        Self(limiter)
    }
}

impl Drop for Urgent<'_> {
    fn drop(&mut self) {
        self.0.limits.lock().urgent(false);
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
