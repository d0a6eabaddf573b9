//! The clock of this host: for schedules, for log lines, and for what people read. `clippy.toml` forbids the other ways
//! to it.
//!
//! The clocks of two hosts differ. What one worker writes and another compares, such as a lease, goes by the database's
//! clock, which `store::clock` reads. Lengths of time are measured by `Instant`, as this clock may be set
//! while they run.

use std::time::Instant;

use chrono::{DateTime, Utc};

/// The time, as this host has it.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// What this clock shows at a moment, which may be past or still to come.
pub fn time_of(moment: Instant) -> DateTime<Utc> {
    let now = Instant::now();
    self::now() + moment.saturating_duration_since(now) - now.saturating_duration_since(moment)
}

/// A time as metrics have it: seconds since 1970. The milliseconds fit the 53 bits of a float for 285,000 years.
pub fn timestamp(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_has_its_time_whether_it_is_past_or_still_to_come() {
        let (moment, time) = (Instant::now(), now());
        let minutes = Duration::from_secs(600);
        let moments = [moment.checked_sub(minutes).unwrap(), moment, moment + minutes];
        for (moment, expected) in moments.into_iter().zip([time - minutes, time, time + minutes]) {
            let error = (time_of(moment) - expected).abs();
            assert!(error.num_seconds() < 60, "{error}");
        }
    }
}
