//! What happens to an event after its look-up. Pure.

use std::time::{Duration, Instant};

use crate::broker::STEPS;
use crate::engine::Outcome;
use crate::telemetry::metrics::EventOutcome;

/// The shortest wait for the Catalog or the database to come back.
const SHORTEST_PARK: Duration = Duration::from_secs(10);
/// Of the retry schedule, the longest.
const LAST_STEP: u32 = STEPS.len() as u32 - 1;
/// An event about a run that the Catalog fails to show takes the last step again and again, until so many delays have
/// counted: for three days. Without an end such events would gather.
const MOST_FOR_A_RUN: u32 = LAST_STEP + 19;

/// What to do with a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Acknowledge it; with its outcome.
    Ack(EventOutcome),
    /// Put it into the delay queue of this many seconds.
    Delay {
        /// The delay of the queue.
        seconds: u32,
        /// True: a step of the retry schedule, which ends. False: parked while something is down, however long.
        counts: bool,
        /// Why, for the header and the log.
        reason: String,
    },
    /// Send it to the dead letters with this reason.
    Dead(String),
}

impl Settlement {
    /// The outcome of the event in the metrics.
    pub fn outcome(&self) -> EventOutcome {
        match self {
            Self::Ack(outcome) => *outcome,
            Self::Delay { .. } => EventOutcome::Parked,
            Self::Dead(_) => EventOutcome::DeadLettered,
        }
    }
}

/// Decides by the outcome of the event's course; `attempt` delays have counted so far.
pub fn settle(outcome: &Outcome, attempt: u32, now: Instant) -> Settlement {
    match outcome {
        Outcome::Updated | Outcome::Cleared => Settlement::Ack(EventOutcome::Applied),
        Outcome::Unchanged => Settlement::Ack(EventOutcome::Unchanged),
        Outcome::NoPage => Settlement::Ack(EventOutcome::NoPage),
        // The ledger has this answer; the next event or pass finds a URL that was corrected.
        Outcome::Refused(_) => Settlement::Ack(EventOutcome::Refused),
        Outcome::NotListed => {
            retry(attempt, EventOutcome::NotListed, "the Catalog does not list the run yet".to_owned())
        }
        Outcome::NoOverview => {
            retry(attempt, EventOutcome::NoOverview, "the LMS has no overview of the course yet".to_owned())
        }
        // What rejects the row may change. If it does not, an operator has to look.
        Outcome::Rejected(why) => match retry(attempt, EventOutcome::DeadLettered, why.clone()) {
            Settlement::Ack(_) => Settlement::Dead(why.clone()),
            delayed => delayed,
        },
        // Again, as the event may be newer than the answer in the ledger.
        Outcome::Superseded => retry(
            attempt,
            EventOutcome::Superseded,
            "the ledger has an answer to a later question".to_owned(),
        ),
        // Not an outage: a run about which the Catalog can say nothing must not be asked for without end.
        Outcome::Unknown(why) if why.is_of_the_run_alone() => {
            // If the Catalog failed, it may still be an outage, and those are waited for.
            let stays = why.error().is_some() && attempt < MOST_FOR_A_RUN;
            let step = if stays { attempt.min(LAST_STEP) } else { attempt };
            retry(step, EventOutcome::Unchanged, why.to_string())
        }
        Outcome::Unknown(why) => {
            let wait = why.reopens_at().map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
            park(wait, why.to_string())
        }
    }
}

/// The same for a hint. It is not tried again where the Catalog or the LMS does not have the course: it comes back by itself,
/// and most courses of a Catalog may be in no LMS.
pub fn settle_hint(outcome: &Outcome, attempt: u32, now: Instant) -> Settlement {
    match outcome {
        Outcome::NotListed => Settlement::Ack(EventOutcome::NotListed),
        Outcome::NoOverview => Settlement::Ack(EventOutcome::NoOverview),
        Outcome::Superseded => Settlement::Ack(EventOutcome::Superseded),
        Outcome::Unknown(why) if why.is_of_the_run_alone() => Settlement::Ack(EventOutcome::Unchanged),
        _ => settle(outcome, attempt, now),
    }
}

/// Parks an event while something that it needs is down, for about `wait`.
pub fn park(wait: Duration, reason: String) -> Settlement {
    Settlement::Delay { seconds: step_for(wait.max(SHORTEST_PARK)), counts: false, reason }
}

/// Tries again what may succeed later, step by step. After the last step it is left to the nightly pass.
fn retry(attempt: u32, at_the_end: EventOutcome, reason: String) -> Settlement {
    match next_step(attempt) {
        Some(seconds) => Settlement::Delay { seconds, counts: true, reason },
        None => Settlement::Ack(at_the_end),
    }
}

/// The step after `attempt` delays, in seconds. None after the last.
fn next_step(attempt: u32) -> Option<u32> {
    STEPS.get(usize::try_from(attempt).ok()?).copied()
}

/// The shortest step that lasts at least as long as `wait`, in seconds; else the longest.
fn step_for(wait: Duration) -> u32 {
    let [shorter @ .., longest] = STEPS;
    shorter.into_iter().find(|step| Duration::from_secs(u64::from(*step)) >= wait).unwrap_or(longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalog::{CatalogError, Unknown};
    use crate::model::marketing_url::RefusedUrl;
    use crate::model::marketing_url::UrlPolicy;

    fn delay(seconds: u32, counts: bool) -> impl Fn(&Settlement) -> bool {
        move |settlement| matches!(settlement, Settlement::Delay { seconds: s, counts: c, .. } if (*s, *c) == (seconds, counts))
    }

    #[test]
    fn what_is_right_is_acknowledged() {
        let now = Instant::now();
        for (outcome, word) in [
            (Outcome::Updated, EventOutcome::Applied),
            (Outcome::Cleared, EventOutcome::Applied),
            (Outcome::Unchanged, EventOutcome::Unchanged),
            (Outcome::NoPage, EventOutcome::NoPage),
        ] {
            assert_eq!(settle(&outcome, 0, now), Settlement::Ack(word));
        }
    }

    #[test]
    fn what_may_succeed_later_takes_each_step_and_is_then_left_to_the_pass() {
        let now = Instant::now();
        for (outcome, word) in [
            (Outcome::NotListed, EventOutcome::NotListed),
            (Outcome::NoOverview, EventOutcome::NoOverview),
            (Outcome::Superseded, EventOutcome::Superseded),
        ] {
            for (attempt, step) in (0..).zip(crate::broker::STEPS) {
                assert!(delay(step, true)(&settle(&outcome, attempt, now)), "{attempt}");
            }
            assert_eq!(settle(&outcome, 6, now), Settlement::Ack(word));
        }
    }

    #[test]
    fn a_url_that_must_not_be_shown_is_an_answer() {
        let refused = UrlPolicy::default().accept("course/x").unwrap_err();
        let outcome = Outcome::Refused(RefusedUrl::new("course/x", &refused));
        for attempt in [0, 6] {
            assert_eq!(settle(&outcome, attempt, Instant::now()), Settlement::Ack(EventOutcome::Refused));
        }
    }

    #[test]
    fn a_run_that_the_catalog_cannot_show_is_asked_for_ever_less_and_at_last_left_to_the_pass() {
        let now = Instant::now();
        let row = Outcome::Unknown(Unknown::Row("it is there twice"));
        let failed = CatalogError::Status { code: 500, said: String::new(), retry_after: None };
        let broken = Outcome::Unknown(Unknown::Broken(failed.into()));
        for (attempt, step) in (0..).zip(crate::broker::STEPS) {
            assert!(delay(step, true)(&settle(&row, attempt, now)), "{attempt}");
            assert!(delay(step, true)(&settle(&broken, attempt, now)), "{attempt}");
        }
        assert_eq!(settle(&row, 6, now), Settlement::Ack(EventOutcome::Unchanged));
        for attempt in 6..24 {
            assert!(delay(14_400, true)(&settle(&broken, attempt, now)), "it may have been an outage");
        }
        assert_eq!(
            settle(&broken, 24, now),
            Settlement::Ack(EventOutcome::Unchanged),
            "such events do not gather"
        );
    }

    #[test]
    fn a_row_that_the_database_rejects_takes_each_step_and_is_then_a_dead_letter() {
        let outcome = Outcome::Rejected("a constraint".to_owned());
        for (attempt, step) in (0..).zip(crate::broker::STEPS) {
            assert!(delay(step, true)(&settle(&outcome, attempt, Instant::now())), "{attempt}");
        }
        let dead = Settlement::Dead("a constraint".to_owned());
        assert_eq!(settle(&outcome, 6, Instant::now()), dead);
    }

    #[test]
    fn a_hint_waits_for_no_course_and_like_an_event_for_the_end_of_an_outage() {
        let now = Instant::now();
        for (outcome, word) in [
            (Outcome::NotListed, EventOutcome::NotListed),
            (Outcome::NoOverview, EventOutcome::NoOverview),
            (Outcome::Superseded, EventOutcome::Superseded),
            (Outcome::Unknown(Unknown::Row("it is there twice")), EventOutcome::Unchanged),
            (Outcome::Updated, EventOutcome::Applied),
        ] {
            assert_eq!(settle_hint(&outcome, 0, now), Settlement::Ack(word));
        }
        let down = Outcome::Unknown(Unknown::from(CatalogError::Timeout(Duration::ZERO)));
        assert!(delay(10, false)(&settle_hint(&down, 0, now)));
    }

    #[test]
    fn an_outage_parks_for_about_as_long_as_it_is_said_to_last_and_never_ends() {
        let now = Instant::now();
        let shut = |seconds| {
            let until = now + Duration::from_secs(seconds);
            Outcome::Unknown(Unknown::from(CatalogError::Throttled { until }))
        };
        for attempt in [0, 6, 1000] {
            assert!(delay(10, false)(&settle(&shut(0), attempt, now)));
            assert!(delay(60, false)(&settle(&shut(59), attempt, now)));
            assert!(delay(3600, false)(&settle(&shut(3597), attempt, now)));
            assert!(delay(14_400, false)(&settle(&shut(1_000_000), attempt, now)));
        }
    }

    #[test]
    fn every_step_is_taken_once_and_then_no_more() {
        let taken: Vec<u32> = (0..).map_while(next_step).collect();
        assert_eq!(taken, STEPS);
        assert_eq!(next_step(u32::MAX), None);
        assert!(STEPS.is_sorted());
    }

    #[test]
    fn a_wait_is_rounded_up() {
        for (wait, step) in [(0, 10), (10, 10), (11, 60), (3599, 3600), (14_400, 14_400), (99_999, 14_400)] {
            assert_eq!(step_for(Duration::from_secs(wait)), step);
        }
        assert_eq!(step_for(Duration::from_millis(10_001)), 60);
    }

    proptest! {
        #[test]
        fn no_wait_is_cut_short_but_by_the_longest(millis: u64) {
            let wait = Duration::from_millis(millis);
            let step = step_for(wait);
            prop_assert!(STEPS.contains(&step));
            prop_assert!(Duration::from_secs(u64::from(step)) >= wait || step == 14_400);
        }
    }
}
