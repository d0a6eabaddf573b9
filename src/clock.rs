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
