//! How long a message waits in which delay queue before it is tried again. Pure.

use std::time::Duration;

/// How long a message waits before it is tried again, in seconds; each step has a queue of its own. With one queue for
/// all, a message would wait behind others with longer delays. A new course appears in the Catalog after a minute to
/// some hours; the sum of the steps is longer.
pub const STEPS: [u32; 6] = [10, 60, 180, 900, 3600, 14_400];

/// The step after `attempt` delays, in seconds. None after the last.
pub(crate) fn next_step(attempt: u32) -> Option<u32> {
    STEPS.get(usize::try_from(attempt).ok()?).copied()
}

/// The shortest step that lasts at least as long as `wait`, in seconds; else the longest.
pub(crate) fn step_for(wait: Duration) -> u32 {
    let [shorter @ .., longest] = STEPS;
    shorter.into_iter().find(|step| Duration::from_secs(u64::from(*step)) >= wait).unwrap_or(longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
