//! What becomes of an event, by how its look-up ended: pure.

use std::time::{Duration, Instant};

use crate::broker::ladder;
use crate::sync::Outcome;

/// The shortest time that an event waits for a Catalog or database to come back.
const SHORTEST_PARK: Duration = Duration::from_secs(10);

/// What to do with a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Acknowledge it; the word is the outcome in the metrics.
    Ack(&'static str),
    /// Put it into the delay queue of this many seconds.
    Delay {
        /// The queue's fixed time.
        seconds: u32,
        /// True: a step up the ladder, which has an end. False: parked while something is out, however long.
        climbs: bool,
        /// Why, for the header and the eye.
        reason: String,
    },
}

/// Decides, for an event that has climbed `attempt` steps, by the outcome of its course.
pub fn settle(outcome: &Outcome, attempt: u32, now: Instant) -> Settlement {
    match outcome {
        Outcome::Updated | Outcome::Cleared => Settlement::Ack("applied"),
        Outcome::Unchanged => Settlement::Ack("unchanged"),
        Outcome::NoPage => Settlement::Ack("no_page"),
        Outcome::NotListed => {
            climb(attempt, "not_listed", "the Catalog does not list the run yet".to_owned())
        }
        Outcome::NoOverview => {
            climb(attempt, "no_overview", "the LMS has no overview of the course yet".to_owned())
        }
        // The Catalog answered, with something that must not be shown: no outage, so waiting has an end too.
        Outcome::Unknown(why) if why.refused().is_some() => climb(attempt, "unchanged", why.to_string()),
        Outcome::Unknown(why) => {
            let wait = why.reopens_at().map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
            park(wait, why.to_string())
        }
    }
}

/// What to do with an event while something that it needs is out, for about `wait`.
pub fn park(wait: Duration, reason: String) -> Settlement {
    Settlement::Delay { seconds: ladder::for_wait(wait.max(SHORTEST_PARK)), climbs: false, reason }
}

/// What may come true later is tried again step by step; after the last one it is left to the nightly pass.
fn climb(attempt: u32, at_the_end: &'static str, reason: String) -> Settlement {
    match ladder::next(attempt) {
        Some(seconds) => Settlement::Delay { seconds, climbs: true, reason },
        None => Settlement::Ack(at_the_end),
    }
}
