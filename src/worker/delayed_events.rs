//! The events in the shortest delay queue. Pure: it is given the time.
//!
//! While an event about a course waits there, another one about that course needs no look-up: when the first comes back,
//! its course is looked up later than now, and so for both. Longer delays do not count: a look-up would wait for hours.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::broker::STEPS;
use crate::model::course_key::CourseKey;

/// How long an event surely waits: less than the shortest delay, as the broker's clock may be ahead.
const AWAY: Duration = Duration::from_secs(STEPS[0] as u64 - 1);
/// Events remembered at once. One that is not remembered costs a look-up more.
const MOST: usize = 20_000;

/// An event that a delay queue has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DelayedEvent {
    pub(super) course: CourseKey,
    /// As it comes back. It does not supersede an event with fewer attempts, which has more tries left.
    pub(super) attempt: u32,
    /// The delay.
    pub(super) seconds: u32,
    /// When it was sent, or earlier.
    pub(super) since: Instant,
}

/// The last event of each course that the broker has confirmed: when it was sent, and its attempt.
#[derive(Debug, Default)]
pub(super) struct DelayedEvents(HashMap<CourseKey, (Instant, u32)>);

impl DelayedEvents {
    /// Adds events.
    pub(super) fn add(&mut self, events: Vec<DelayedEvent>) {
        let newest = events.iter().map(|event| event.since).max();
        if let Some(now) = newest.filter(|_| self.0.len() + events.len() > MOST) {
            self.0.retain(|_, (sent, _)| is_away(*sent, now));
        }
        for DelayedEvent { course, attempt, seconds, since } in events {
            if seconds == STEPS[0] && self.0.len() < MOST {
                self.0.insert(course, (since, attempt));
            }
        }
    }

    /// True if an event about `course` with so many attempts needs no look-up of its own.
    pub(super) fn is_superseded(&self, course: &CourseKey, attempt: u32, now: Instant) -> bool {
        self.0.get(course).is_some_and(|(since, tried)| is_away(*since, now) && *tried <= attempt)
    }
}

fn is_away(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) < AWAY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delayed(n: usize, attempt: u32, since: Instant) -> DelayedEvent {
        DelayedEvent { course: course(n), attempt, seconds: 10, since }
    }

    fn course(n: usize) -> CourseKey {
        CourseKey::parse(&format!("course-v1:a+b+{n}")).unwrap()
    }

    #[test]
    fn an_event_supersedes_others_until_it_may_come_back() {
        let (mut events, now) = (DelayedEvents::default(), Instant::now());
        events.add(vec![delayed(1, 1, now)]);
        let soon = now + Duration::from_secs(8);
        assert!(events.is_superseded(&course(1), 1, soon) && events.is_superseded(&course(1), 2, soon));
        assert!(!events.is_superseded(&course(1), 0, soon), "it has more tries left");
        assert!(!events.is_superseded(&course(2), 1, soon));
        events.add(vec![delayed(1, 0, soon)]);
        assert!(
            events.is_superseded(&course(1), 0, now + Duration::from_secs(16)),
            "the second one still waits"
        );
        assert!(!events.is_superseded(&course(1), 0, now + Duration::from_secs(17)));
    }

    #[test]
    fn an_event_that_was_added_late_supersedes_no_longer_than_others() {
        let (mut events, now) = (DelayedEvents::default(), Instant::now());
        events.add(vec![delayed(1, 0, now + Duration::from_secs(5))]);
        events.add(vec![delayed(2, 0, now)]);
        assert!(events.is_superseded(&course(2), 0, now + Duration::from_secs(8)));
        assert!(!events.is_superseded(&course(2), 0, now + Duration::from_secs(9)), "it may be back");
        assert!(events.is_superseded(&course(1), 0, now + Duration::from_secs(9)));
    }

    #[test]
    fn an_event_with_a_long_delay_supersedes_none() {
        let (mut events, now) = (DelayedEvents::default(), Instant::now());
        events.add(vec![DelayedEvent { seconds: 60, ..delayed(1, 0, now) }]);
        assert!(!events.is_superseded(&course(1), 0, now));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut events, now) = (DelayedEvents::default(), Instant::now());
        events.add((0..MOST + 10).map(|n| delayed(n, 0, now)).collect());
        assert_eq!(events.0.len(), MOST);
        assert!(!events.is_superseded(&course(MOST + 1), 0, now), "it is looked up once more");
        let later = now + AWAY;
        events.add(vec![delayed(0, 0, later)]);
        assert_eq!(events.0.len(), 1, "those that may have come back make room");
        assert!(events.is_superseded(&course(0), 0, later));
    }
}
