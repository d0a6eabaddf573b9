//! What can be counted, as plain functions: the rooms need not know OpenTelemetry.
//!
//! [`Instruments`] declares each instrument once. `/metrics` is [`render`]; where an OTLP endpoint is set, the same
//! instruments are sent there too. Without any set-up, as in a unit test, everything is counted locally.

mod empty;
mod instruments;
mod labels;

pub use self::instruments::Instruments;

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::blank::Reason;
use opentelemetry::KeyValue;
use strum::VariantArray;

static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();

fn instruments() -> &'static Instruments {
    INSTRUMENTS.get_or_init(Instruments::local)
}

/// Makes `ours` the process's instruments; false if something was counted or set up before.
pub(super) fn install(ours: Instruments) -> bool {
    INSTRUMENTS.set(ours).is_ok()
}

/// Sends what is left to the collector and ends counting. True if all went well. Blocks.
pub(super) fn shutdown() -> bool {
    let provider = instruments().provider();
    let flushed = provider.force_flush();
    let ended = provider.shutdown();
    flushed.is_ok() && ended.is_ok()
}

/// Counts one event that is settled. `kind` is `course-publish`, `overview-recreated`, `hint` or `unknown`; `outcome`
/// is `applied`, `unchanged`, `no_page`, `refused`, `not_listed`, `no_overview`, `superseded`, `changed_since`, `ignored`,
/// `parked` or `dead_lettered`.
pub fn event(kind: &'static str, outcome: &'static str) {
    instruments().events.add(1, &[KeyValue::new("type", kind), KeyValue::new("outcome", outcome)]);
}

/// Counts `n` dead letters that were dropped because their course was found right; outcome `dropped`.
pub fn dead_letters_dropped(n: u64) {
    instruments().events.add(n, &[KeyValue::new("type", "unknown"), KeyValue::new("outcome", "dropped")]);
}

/// Counts `n` dead letters that were discarded because they were the oldest; outcome `expired`.
pub fn dead_letters_expired(n: u64) {
    instruments().events.add(n, &[KeyValue::new("type", "unknown"), KeyValue::new("outcome", "expired")]);
}

/// Notes how long it took from a change to the commit: from an `event`'s `time` header, or else its arrival; from the
/// time at which the Catalog says that the course of a `hint` changed.
pub fn event_to_write(source: &'static str, elapsed: Duration) {
    instruments().event_to_write.record(elapsed.as_secs_f64(), &[KeyValue::new("source", source)]);
}

/// The same for `n` links that a `light` or `full` pass or `heal` wrote together, whose changes are at most so old: nothing
/// says when they were made, only that all was as known at the pass or heal before.
pub fn links_to_write(source: &'static str, at_most: Duration, n: u64) {
    (0..n).for_each(|_| event_to_write(source, at_most));
}

/// Counts one finished request to the Catalog; `outcome` is one of a few fixed words.
pub fn catalog_request(outcome: &'static str, elapsed: Duration) {
    instruments().catalog_requests.add(1, &[KeyValue::new("outcome", outcome)]);
    instruments().catalog_request.record(elapsed.as_secs_f64(), &[]);
}

/// Counts one request that was never sent, and so has no duration: `shut`, by the circuit breaker in front of the Catalog, or
/// `unauthorized`, where no token is given for it.
pub fn catalog_request_unsent(outcome: &'static str) {
    instruments().catalog_requests.add(1, &[KeyValue::new("outcome", outcome)]);
}

/// Says how many overviews have a URL and how many have none.
pub fn overviews(linked: u64, blank: u64) {
    instruments().overviews.record(linked, &[KeyValue::new("state", labels::LINKED)]);
    instruments().overviews.record(blank, &[KeyValue::new("state", labels::BLANK)]);
}

/// Says how many overviews are blank by each reason, and for how long the longest-standing of them has been: the words
/// of `store::Reason`, where there are any; no other reason has one.
pub fn blanks<'a>(counts: impl Iterator<Item = (&'a str, u64, Duration)>) {
    let counts: HashMap<&str, (u64, Duration)> = counts.map(|(reason, n, age)| (reason, (n, age))).collect();
    for reason in Reason::VARIANTS.iter().map(|reason| reason.as_str()) {
        let (n, age) = counts.get(reason).copied().unwrap_or_default();
        instruments().blank.record(n, &[KeyValue::new("reason", reason)]);
        instruments().blank_age.record(age.as_secs_f64(), &[KeyValue::new("reason", reason)]);
    }
}

/// Says for how long the longest-standing blank that should not be one has been blank; none is shown as 0.
pub fn blank_oldest(age: Option<Duration>) {
    instruments().blank_oldest.record(age.unwrap_or_default().as_secs_f64(), &[]);
}

/// Says how many courses have a URL in the Catalog that is refused.
pub fn refused_urls(n: u64) {
    instruments().refused_urls.record(n, &[]);
}

/// Says how many links the last full pass changed that `hints` or `light` passes should have changed before.
pub fn missed(by: &'static str, n: u64) {
    instruments().missed.record(n, &[KeyValue::new("by", by)]);
}

/// Says how long ago the Catalog was last asked with success what has changed; 0 where this worker does not ask.
pub fn hints_lag(lag: Duration) {
    instruments().hints_lag.record(lag.as_secs_f64(), &[]);
}

/// Counts `n` overviews that got their last-known URL back; `cause` is `restore` (an event) or `heal` (the timer).
pub fn healed(cause: &'static str, n: u64) {
    instruments().healed.add(n, &[KeyValue::new("cause", cause)]);
}

/// Counts `n` answers that the ledger refused, as it had one to a later question.
pub fn ledger_refused(n: u64) {
    instruments().ledger_refused.add(n, &[]);
}

/// Counts `n` deleted rows of old runs (`ledger`) or old passes (`reconcile`).
pub fn pruned(table: &'static str, n: u64) {
    instruments().pruned.add(n, &[KeyValue::new("table", table)]);
}

/// Says how many dead letters there are, in the table and in the queue.
pub fn dead_letters(n: u64) {
    instruments().dead_letters.record(n, &[]);
}

/// Says whether the consumer is attached to the events queue.
pub fn consumer_up(up: bool) {
    instruments().consumer_up.record(up.into(), &[]);
}

/// Says what state the breaker in front of the Catalog is in: `closed`, `open` or `half_open`.
pub fn catalog_breaker(state: &'static str) {
    for known in labels::BREAKER_STATES {
        instruments().catalog_breaker.record((known == state).into(), &[KeyValue::new("state", known)]);
    }
}

/// Says when a pass last ended complete.
pub fn reconcile_success(at: DateTime<Utc>) {
    instruments().reconcile_success.record(seconds(at), &[]);
}

/// Says how long the last full pass took.
pub fn reconcile_duration(took: Duration) {
    instruments().reconcile_duration.record(took.as_secs_f64(), &[]);
}

/// Says when the next pass of a kind, `full` or `light`, is due in this worker.
pub fn reconcile_next(kind: &'static str, at: DateTime<Utc>) {
    instruments().reconcile_next.record(seconds(at), &[KeyValue::new("kind", kind)]);
}

/// Says when this worker last healed.
pub fn heal_success(at: DateTime<Utc>) {
    instruments().heal_success.record(seconds(at), &[]);
}

/// Says how many messages wait in a queue: `events`, `delay` (all of them together) or `dead`.
pub fn queue_messages(queue: &'static str, n: u64) {
    instruments().queue_messages.record(n, &[KeyValue::new("queue", queue)]);
}

/// Says what part of `catalog.requests_per_hour` was used in the last hour.
pub fn catalog_budget_used(part: f64) {
    instruments().catalog_budget.record(part, &[]);
}

/// Since 1970. The milliseconds fit the 53 bits of a float for 285,000 years.
fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}

/// Says how the last pass that has ended did so: `complete`, `incomplete`, `refused` or `failed`.
pub fn reconcile_verdict(verdict: &str) {
    for known in labels::verdicts() {
        instruments().reconcile_verdict.record((known == verdict).into(), &[KeyValue::new("verdict", known)]);
    }
}

/// Says whether the database answers.
pub fn database_up(up: bool) {
    instruments().database_up.record(up.into(), &[]);
}

/// Says whether the database writes what the worker needs.
pub fn database_writable(writable: bool) {
    instruments().database_writable.record(writable.into(), &[]);
}

/// Says what the last pass did to how many runs; `kind` is `updated`, `cleared`, `kept`, `held_back`,
/// `not_listed` or `pending`.
pub fn reconcile_change(kind: &'static str, n: u64) {
    instruments().reconcile_changes.record(n, &[KeyValue::new("kind", kind)]);
}

/// All metrics as Prometheus text (`text/plain; version=0.0.4`).
pub fn render() -> String {
    instruments().render()
}

#[cfg(test)]
mod tests;
