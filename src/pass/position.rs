//! How far a pass is: pages are answered in any order, and a pass that is killed goes on from the first gap. Pure.

use std::collections::BTreeMap;

/// Parts of the list in its order, whatever the order in which they were read; so what has been counted is what lies
/// before a position.
#[derive(Debug)]
pub(super) struct InOrder<T> {
    next: u64,
    at_most: usize,
    waiting: BTreeMap<u64, (u64, T)>,
}

impl<T> InOrder<T> {
    /// From `start` on. Where more than `at_most` parts wait for an earlier one, they wait no longer.
    pub(super) fn new(start: u64, at_most: usize) -> Self {
        Self { next: start, at_most, waiting: BTreeMap::new() }
    }

    /// `start .. end` was read.
    pub(super) fn add(&mut self, start: u64, end: u64, part: T) {
        self.waiting.insert(start, (end, part));
    }

    /// No earlier part will be read any more.
    pub(super) fn end(&mut self) {
        self.at_most = 0;
    }

    /// The next part, if it may be had.
    pub(super) fn take(&mut self) -> Option<T> {
        let first = self.waiting.first_entry()?;
        if *first.key() > self.next && self.waiting.len() <= self.at_most {
            return None;
        }
        let (_, (end, part)) = self.waiting.pop_first()?;
        self.next = self.next.max(end);
        Some(part)
    }
}

/// The offset up to which everything has been dealt with; what a pass that is killed goes on from.
#[derive(Debug)]
pub(super) struct LowWater {
    done: u64,
    /// Parts beyond it that are done: start and end. As many as requests can be out, or be waiting to go again.
    ahead: BTreeMap<u64, u64>,
}

impl LowWater {
    pub(super) fn new(done: u64) -> Self {
        Self { done, ahead: BTreeMap::new() }
    }

    /// `start .. end` is dealt with.
    pub(super) fn done(&mut self, start: u64, end: u64) {
        if end <= self.done {
            return;
        }
        let known = self.ahead.entry(start).or_insert(end);
        *known = end.max(*known);
        while let Some(first) = self.ahead.first_entry() {
            if *first.key() > self.done {
                break;
            }
            self.done = self.done.max(first.remove());
        }
    }

    /// Up to here.
    pub(super) fn position(&self) -> u64 {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_come_in_order_unless_too_many_wait(order in Just((0..12_u64).collect::<Vec<_>>()).prop_shuffle(), at_most in 0..20_usize) {
            let (mut in_order, mut taken) = (InOrder::new(0, at_most), Vec::new());
            for part in &order {
                in_order.add(part * 10, part * 10 + 10, *part);
                taken.extend(std::iter::from_fn(|| in_order.take()));
                prop_assert!(in_order.waiting.len() <= at_most);
            }
            in_order.end();
            taken.extend(std::iter::from_fn(|| in_order.take()));
            prop_assert_eq!(taken.len(), 12);
            prop_assert!(at_most < 12 || taken.is_sorted());
        }

        #[test]
        fn the_mark_is_where_the_first_gap_begins(parts in proptest::collection::vec(1..50_u64, 1..20), seed in any::<u64>()) {
            let mut ranges: Vec<(u64, u64)> = Vec::new();
            for len in parts {
                let start = ranges.last().map_or(0, |r| r.1);
                ranges.push((start, start + len));
            }
            let mut order: Vec<usize> = (0..ranges.len()).collect();
            order.sort_by_key(|i| (*i as u64).wrapping_mul(seed | 1).rotate_left(17));
            let (mut low, mut done) = (LowWater::new(0), vec![false; ranges.len()]);
            for i in order {
                low.done(ranges[i].0, ranges[i].1);
                done[i] = true;
                let gap = done.iter().position(|d| !d).map_or(ranges[ranges.len() - 1].1, |g| ranges[g].0);
                prop_assert_eq!(low.position(), gap);
            }
        }
    }
}
