//! What is known of the events that were sent to wait in a delay queue: pure.
//!
//! While a course has an event in the shortest delay queue, another event about it needs no copy of its own: when that
//! one comes back its course is looked up, later than now, and so for both. Only the shortest delay counts, or a look-up
//! could wait for hours behind another.
//!
//! And a crowd that was sent away together comes back together, a few at a time: whoever asks the Catalog in between
//! would ask for a few runs at a time.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::broker::ladder;
use crate::course_key::CourseKey;

/// How long a copy is surely away: less than the shortest delay, as the broker's clock may be ahead of ours.
const AWAY: Duration = Duration::from_secs(ladder::STEPS[0] as u64 - 1);
/// Copies, and likewise times, remembered at once; what is forgotten costs a look-up more.
const MOST: usize = 20_000;
/// A crowd's members are no further apart than this when they come back, and are no later.
const APART: Duration = Duration::from_millis(100);
/// Times that are so near to one another count as one.
const SAME: Duration = Duration::from_millis(10);

/// An event's copy that a delay queue has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) course: CourseKey,
    /// Of the copy: an event that has climbed less is not covered, as it has more tries before it.
    pub(super) attempt: u32,
    /// The delay.
    pub(super) seconds: u32,
    /// When it was sent, or before.
    pub(super) since: Instant,
}

/// The copies that the broker has confirmed.
#[derive(Debug, Default)]
pub(super) struct Copies {
    by_course: HashMap<CourseKey, (Instant, u32)>,
    order: VecDeque<(Instant, CourseKey)>,
    crowds: BTreeSet<Instant>,
}

impl Copies {
    /// Takes note of copies that were sent away together.
    pub(super) fn note(&mut self, copies: Vec<Copy>) {
        let is_crowd = copies.len() > 1;
        for Copy { course, attempt, seconds, since } in copies {
            if is_crowd {
                self.expect(since + Duration::from_secs(seconds.into()));
            }
            self.forget(since);
            if seconds == ladder::STEPS[0] && self.order.len() < MOST {
                self.order.push_back((since, course.clone()));
                self.by_course.insert(course, (since, attempt));
            }
        }
    }

    /// Whether a copy does for an event about `course` that has climbed `attempt` steps.
    pub(super) fn cover(&mut self, course: &CourseKey, attempt: u32, now: Instant) -> bool {
        self.forget(now);
        // Looked at here too: copies are noted once the broker has confirmed all that were sent with them, and so not
        // in the order in which they were sent.
        let is_away = |since: &Instant| now.saturating_duration_since(*since) < AWAY;
        self.by_course.get(course).is_some_and(|(since, climbed)| is_away(since) && *climbed <= attempt)
    }

    /// If part of a crowd is about to come back: when to ask again. None, too, if it has not come in time, as another
    /// worker may have got it.
    pub(super) fn next_back(&mut self, now: Instant) -> Option<Instant> {
        while self.crowds.first().is_some_and(|back| *back + APART <= now) {
            self.crowds.pop_first();
        }
        self.crowds.first().filter(|back| **back <= now + APART).map(|back| *back + APART)
    }

    fn expect(&mut self, back: Instant) {
        let near = self.crowds.range(..=back).next_back();
        if self.crowds.len() < MOST && near.is_none_or(|near| back.duration_since(*near) > SAME) {
            self.crowds.insert(back);
        }
    }

    fn forget(&mut self, now: Instant) {
        while let Some((since, course)) = self.order.front() {
            if now.saturating_duration_since(*since) < AWAY {
                break;
            }
            if self.by_course.get(course).is_some_and(|(last, _)| last == since) {
                self.by_course.remove(course);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(n: usize, attempt: u32, since: Instant) -> Copy {
        Copy { course: course(n), attempt, seconds: 10, since }
    }

    fn course(n: usize) -> CourseKey {
        CourseKey::parse(&format!("course-v1:a+b+{n}")).unwrap()
    }

    #[test]
    fn a_copy_covers_its_course_until_it_may_come_back() {
        let (mut copies, now) = (Copies::default(), Instant::now());
        copies.note(vec![copy(1, 1, now)]);
        let soon = now + Duration::from_secs(8);
        assert!(copies.cover(&course(1), 1, soon) && copies.cover(&course(1), 2, soon));
        assert!(!copies.cover(&course(1), 0, soon), "it has more tries before it");
        assert!(!copies.cover(&course(2), 1, soon));
        copies.note(vec![copy(1, 0, soon)]);
        assert!(copies.cover(&course(1), 0, now + Duration::from_secs(16)), "the second copy is still away");
        assert!(!copies.cover(&course(1), 0, now + Duration::from_secs(17)));
        assert!(copies.by_course.is_empty() && copies.order.is_empty());
    }

    #[test]
    fn a_copy_that_was_noted_late_covers_no_longer_than_others() {
        let (mut copies, now) = (Copies::default(), Instant::now());
        copies.note(vec![copy(1, 0, now + Duration::from_secs(5))]);
        copies.note(vec![copy(2, 0, now)]);
        assert!(copies.cover(&course(2), 0, now + Duration::from_secs(8)));
        assert!(!copies.cover(&course(2), 0, now + Duration::from_secs(9)), "it may be back");
        assert!(copies.cover(&course(1), 0, now + Duration::from_secs(9)));
    }

    #[test]
    fn a_copy_that_is_away_for_long_covers_nobody() {
        let (mut copies, now) = (Copies::default(), Instant::now());
        copies.note(vec![Copy { seconds: 60, ..copy(1, 0, now) }]);
        assert!(!copies.cover(&course(1), 0, now));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut copies, now) = (Copies::default(), Instant::now());
        copies.note((0..MOST + 10).map(|n| copy(n, 0, now)).collect());
        assert_eq!((copies.order.len(), copies.by_course.len(), copies.crowds.len()), (MOST, MOST, 1));
        assert!(!copies.cover(&course(MOST + 1), 0, now), "it is looked up once more");
    }

    #[test]
    fn a_crowd_is_expected_until_its_last_is_back_or_late_and_a_single_event_never() {
        let (mut copies, now) = (Copies::default(), Instant::now());
        let after = |millis| now + Duration::from_millis(millis);
        copies.note(vec![copy(0, 0, now)]);
        assert_eq!(copies.next_back(after(10_000)), None, "nobody waits for one");
        copies.note((0..30).map(|n| copy(n, 0, after(n as u64 * 20))).collect());
        assert_eq!(copies.next_back(after(9_800)), None, "not yet");
        assert_eq!(copies.next_back(after(9_950)), Some(after(10_100)));
        assert_eq!(copies.next_back(after(10_100)), Some(after(10_120)), "the first is late: the next, then");
        assert_eq!(copies.next_back(after(10_670)), Some(after(10_680)));
        assert_eq!(copies.next_back(after(10_680)), None);
        assert!(copies.crowds.is_empty());
    }
}
