//! The clock of this host: for schedules, for log lines, and for what people read. `clippy.toml` forbids the other ways
//! to it.
//!
//! The clocks of two hosts differ. What one worker writes and another compares, such as a lease, goes by the database's
//! clock, which `store::clock` reads. Lengths of time are measured by `Instant`, as this clock may be set
//! while they run.

use chrono::{DateTime, Utc};

/// The time, as this host has it.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A time as metrics have it: seconds since 1970. The milliseconds fit the 53 bits of a float for 285,000 years.
pub fn timestamp(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}
