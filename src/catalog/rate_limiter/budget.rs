//! `catalog.requests_per_hour`, counted over a sliding hour. Passes and hints may not use the last quarter of it. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::catalog::Purpose;

const HOUR: Duration = Duration::from_secs(3600);

/// When the requests of the last hour were sent; at most as many as the budget allows.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    per_hour: usize,
    sent: VecDeque<Instant>,
}

impl Budget {
    /// With 0 there is no limit, and nothing is counted.
    pub(super) fn new(per_hour: u32) -> Self {
        Self { per_hour: per_hour as usize, sent: VecDeque::new() }
    }

    /// When a request may go, if not now.
    pub(super) fn refuses(&mut self, now: Instant, purpose: Purpose) -> Option<Instant> {
        if self.per_hour == 0 {
            return None;
        }
        self.forget(now);
        let share = match purpose {
            Purpose::Pass | Purpose::Hint => self.per_hour - self.per_hour / 4,
            Purpose::Event | Purpose::Command => self.per_hour,
        };
        let over = self.sent.len().checked_sub(share)?;
        self.sent.get(over).map(|leaves| *leaves + HOUR)
    }

    /// Requests in the hour before `now`, if they are counted, and the budget.
    pub(super) fn spent(&mut self, now: Instant) -> (Option<u64>, u32) {
        self.forget(now);
        let spent = (self.per_hour > 0).then_some(self.sent.len() as u64);
        (spent, u32::try_from(self.per_hour).unwrap_or(u32::MAX))
    }

    fn forget(&mut self, now: Instant) {
        while self.sent.front().is_some_and(|sent| now.saturating_duration_since(*sent) >= HOUR) {
            self.sent.pop_front();
        }
    }

    /// Counts a request that goes now.
    pub(super) fn spend(&mut self, now: Instant) {
        if self.per_hour > 0 {
            self.sent.push_back(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_pass_leaves_a_quarter_to_the_others() {
        let now = Instant::now();
        let mut budget = Budget::new(8);
        for second in 0..6 {
            let now = now + Duration::from_secs(second);
            assert_eq!(budget.refuses(now, Purpose::Pass), None);
            budget.spend(now);
        }
        let now_6 = now + Duration::from_secs(6);
        assert_eq!(budget.refuses(now_6, Purpose::Pass), Some(now + HOUR), "the oldest leaves then");
        for _ in 0..2 {
            assert_eq!(budget.refuses(now_6, Purpose::Event), None);
            budget.spend(now_6);
        }
        assert_eq!(budget.refuses(now_6, Purpose::Command), Some(now + HOUR));
        assert_eq!(budget.spent(now_6), (Some(8), 8));
        assert_eq!(budget.refuses(now_6, Purpose::Pass), Some(now + HOUR + Duration::from_secs(2)));
        assert_eq!(budget.refuses(now + HOUR, Purpose::Event), None);
        assert_eq!(budget.spent(now + HOUR), (Some(7), 8));
    }

    #[test]
    fn a_tiny_budget_still_lets_the_pass_through_and_none_is_no_limit() {
        let now = Instant::now();
        assert_eq!(Budget::new(1).refuses(now, Purpose::Pass), None);
        let mut free = Budget::new(0);
        free.spend(now);
        assert_eq!(free.refuses(now, Purpose::Pass), None);
        assert_eq!(free.spent(now), (None, 0));
    }

    proptest! {
        #[test]
        fn no_hour_has_more_than_its_budget(
            per_hour in 1u32..20, steps in proptest::collection::vec((0u64..2000, any::<bool>()), 0..200),
        ) {
            let mut now = Instant::now();
            let (mut budget, mut went) = (Budget::new(per_hour), Vec::new());
            for (seconds, pass) in steps {
                now += Duration::from_secs(seconds);
                let purpose = if pass { Purpose::Pass } else { Purpose::Event };
                match budget.refuses(now, purpose) {
                    None => { budget.spend(now); went.push(now); }
                    Some(until) => {
                        prop_assert!(until > now && until <= now + HOUR);
                        prop_assert_eq!(budget.clone().refuses(until, purpose), None);
                    }
                }
                let lately = went.iter().filter(|at| now.saturating_duration_since(**at) < HOUR).count();
                prop_assert!(lately <= per_hour as usize);
            }
        }
    }
}
