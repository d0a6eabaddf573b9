//! Which courses have an event in the shortest delay queue just now: pure.
//!
//! When that copy comes back its course is looked up, later than now, and so for every event that comes until then:
//! those need no copy of their own. Only the shortest delay counts, or a look-up could wait for hours behind another.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::broker::ladder;
use crate::course_key::CourseKey;

/// The last part of the delay, in which the copy may be on its way back by the broker's clock.
const MARGIN: Duration = Duration::from_secs(1);
/// Copies remembered at once; what is forgotten costs a look-up more.
const MOST: usize = 20_000;

/// An event's copy that a delay queue has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) course: CourseKey,
    /// Of the copy: an event that has climbed less is not covered, as it has more tries before it.
    pub(super) attempt: u32,
    /// When it was sent, or before.
    pub(super) since: Instant,
}

/// The copies that the broker has confirmed.
#[derive(Debug, Default)]
pub(super) struct Copies {
    by_course: HashMap<CourseKey, (Instant, u32)>,
    order: VecDeque<(Instant, CourseKey)>,
}

impl Copies {
    /// Takes note of a copy in the shortest delay queue.
    pub(super) fn note(&mut self, copy: Copy) {
        self.forget(copy.since);
        if self.order.len() < MOST {
            self.order.push_back((copy.since, copy.course.clone()));
            self.by_course.insert(copy.course, (copy.since, copy.attempt));
        }
    }

    /// Whether a copy does for an event about `course` that has climbed `attempt` steps.
    pub(super) fn cover(&mut self, course: &CourseKey, attempt: u32, now: Instant) -> bool {
        self.forget(now);
        self.by_course.get(course).is_some_and(|(_, climbed)| *climbed <= attempt)
    }

    fn forget(&mut self, now: Instant) {
        let away = Duration::from_secs(ladder::STEPS[0].into()).saturating_sub(MARGIN);
        while let Some((since, course)) = self.order.front() {
            if now.saturating_duration_since(*since) < away {
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

    fn course(n: usize) -> CourseKey {
        CourseKey::parse(&format!("course-v1:a+b+{n}")).unwrap()
    }

    #[test]
    fn a_copy_covers_its_course_until_it_may_come_back() {
        let (mut copies, now) = (Copies::default(), Instant::now());
        copies.note(Copy { course: course(1), attempt: 1, since: now });
        let soon = now + Duration::from_secs(8);
        assert!(copies.cover(&course(1), 1, soon) && copies.cover(&course(1), 2, soon));
        assert!(!copies.cover(&course(1), 0, soon), "it has more tries before it");
        assert!(!copies.cover(&course(2), 1, soon));
        copies.note(Copy { course: course(1), attempt: 0, since: soon });
        assert!(copies.cover(&course(1), 0, now + Duration::from_secs(16)), "the second copy is still away");
        assert!(!copies.cover(&course(1), 0, now + Duration::from_secs(17)));
        assert!(copies.by_course.is_empty() && copies.order.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut copies, now) = (Copies::default(), Instant::now());
        for n in 0..MOST + 10 {
            copies.note(Copy { course: course(n), attempt: 0, since: now });
        }
        assert_eq!((copies.order.len(), copies.by_course.len()), (MOST, MOST));
        assert!(!copies.cover(&course(MOST + 1), 0, now), "it is looked up once more");
    }
}
