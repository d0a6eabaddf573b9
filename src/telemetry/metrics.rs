//! Every instrument, once. (being built)

use std::time::Duration;

/// Counts one finished request to the Catalog; `outcome` is one of a few fixed words.
pub fn catalog_request(outcome: &'static str, elapsed: Duration) {
    let _ = (outcome, elapsed);
}

/// Says whether the consumer is attached to the events queue.
pub fn consumer_up(up: bool) {
    let _ = up;
}

/// Says what state the breaker in front of the Catalog is in: `closed`, `open` or `half_open`.
pub fn catalog_breaker(state: &'static str) {
    let _ = state;
}
