//! Which part of the Catalog's list to ask for next, which parts are done, and how the broken run in a part that fails
//! is found.
//!
//! Answers are taken in the order of the list. A part that failed is searched by halves before any answer behind it is
//! taken: the first half is asked for; if it is good the broken run is in the second half, which is not asked for as a
//! whole, and if it fails all behind it waits. So one broken run costs one request for each halving, and one for what is
//! left behind it.
//!
//! Pure. The list has no snapshot and its length changes while it is read, so this never concludes more than "this
//! part was read"; what drifts past is caught afterwards, by key.

/// Runs `start .. start + len` of the Catalog's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    /// The offset of the first.
    pub(super) start: u64,
    /// How many; at least one.
    pub(super) len: u32,
}

impl Range {
    /// Of a part of a page, so that its length is a `u32`.
    fn new(start: u64, end: u64) -> Self {
        Self { start, len: u32::try_from(end - start).unwrap_or(u32::MAX) }
    }

    pub(super) fn end(self) -> u64 {
        self.start + u64::from(self.len)
    }
}

/// A Catalog whose list is longer than this many times what it said at first is making it up.
const GROWTH: u64 = 2;
const GROWTH_BASE: u64 = 10_000;

/// What is still to be asked for.
#[derive(Debug)]
pub(super) struct Ranges {
    first: u64,
    next: u64,
    /// Parts that lie before those that are out, the first one last.
    before: Vec<Range>,
    /// Before them the part with a broken run in it, of which the first half is asked for next.
    search: Option<Range>,
    count: Option<u64>,
    limit: u64,
    /// A page ended short at the end of the list.
    end_seen: bool,
}

impl Ranges {
    /// From `start` on.
    pub(super) fn new(start: u64) -> Self {
        Self {
            first: start,
            next: start,
            before: Vec::new(),
            search: None,
            count: None,
            limit: u64::MAX,
            end_seen: false,
        }
    }

    /// Whether nothing has been read yet.
    pub(super) fn is_unread(&self) -> bool {
        self.count.is_none()
    }

    /// The next part before those that are out, of at most `size` runs; its answer is to be taken next. To be called once
    /// after each answer.
    pub(super) fn take_before(&mut self, size: u32) -> Option<Range> {
        if let Some(part) = self.search {
            return Some(Range { len: (part.len / 2).max(1), ..part });
        }
        let range = self.before.pop()?;
        if range.len > size {
            self.before.push(Range::new(range.start + u64::from(size), range.end()));
        }
        Some(Range { len: range.len.min(size), ..range })
    }

    /// The next part behind those that are out, which are so many, of at most `size` runs. None if there is nothing to ask
    /// for now; if no requests are out, for good.
    pub(super) fn take(&mut self, size: u32, out: usize) -> Option<Range> {
        let go_on = match self.count {
            // One good page says how long the list is; until then they go one by one.
            None => out == 0,
            Some(count) if self.next < count => true,
            // The list's length may be old, from the Catalog's page cache: only a page that ends short is its end.
            Some(_) => !self.end_seen && out == 0,
        };
        if !go_on || self.is_endless() {
            return None;
        }
        // A page begins at a multiple of the size: where another pass, or another size, stopped there is a shorter one.
        let behind = self.next % u64::from(size);
        let range = Range::new(self.next, self.next + u64::from(size) - behind);
        self.next = range.end();
        Some(range)
    }

    /// The Catalog answered `range` with `rows` runs, and said that it has `count`. Returns how far the list is read: where
    /// the server gave fewer than asked for, though it has more, the rest is asked for next.
    pub(super) fn read(&mut self, range: Range, rows: u64, count: u64) -> u64 {
        if self.count.is_none() {
            self.limit = count.saturating_mul(GROWTH).saturating_add(GROWTH_BASE).saturating_add(self.first);
        }
        self.count = Some(count);
        let short = rows < u64::from(range.len);
        let read_to = range.start + rows;
        if short && read_to >= count {
            self.end_seen = true;
        }
        // A hole is not filled by asking again. What may be in it is asked for by key.
        let end = range.end().min(count).max(read_to);
        let read_to = if rows == 0 { end } else { read_to };
        let is_capped = read_to < end;
        match self.search.take() {
            Some(part) => {
                let from = if is_capped { read_to } else { range.end() };
                self.search = (from < part.end()).then(|| Range::new(from, part.end()));
            }
            None if is_capped => self.before.push(Range::new(read_to, end)),
            None => {}
        }
        read_to
    }

    /// `range` failed: the broken run in it is searched. A single run that fails is broken.
    pub(super) fn failed(&mut self, range: Range) {
        let part = self.search.replace(range).unwrap_or(range);
        self.search = self.search.filter(|range| range.len > 1);
        if range.end() < part.end() {
            // In one request with what waits behind it.
            let behind = self.before.pop_if(|behind| behind.start == part.end());
            self.before.push(Range::new(range.end(), behind.map_or(part.end(), Range::end)));
        }
    }

    /// True if the list grows faster than it can be read.
    pub(super) fn is_endless(&self) -> bool {
        self.next > self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// Walks a list of `count` runs of which some are broken; returns how often each was read, and which stood alone.
    fn walk(count: u64, size: u32, cap: u32, broken: &[u64], out: usize) -> (Vec<u32>, Vec<u64>, usize) {
        let (mut ranges, mut position) = (Ranges::new(0), 0);
        let mut read = vec![0; usize::try_from(count).unwrap()];
        let (mut alone, mut requests, mut flying) = (Vec::new(), 0, VecDeque::new());
        loop {
            if let Some(range) = ranges.take_before(size) {
                flying.push_front(range);
            }
            while flying.len() < out {
                let Some(range) = ranges.take(size, flying.len()) else { break };
                flying.push_back(range);
            }
            let Some(range) = flying.pop_front() else { break };
            assert!(range.start <= position || position >= count, "left out: {position}, {range:?}");
            requests += 1;
            assert!(requests < 100_000, "it ends");
            let end = range.end().min(count).max(range.start);
            if broken.iter().any(|b| (range.start..end).contains(b)) {
                ranges.failed(range);
                if range.len == 1 {
                    alone.push(range.start);
                    position = range.end();
                }
                continue;
            }
            let rows = (end - range.start).min(u64::from(cap));
            for position in range.start..range.start + rows {
                read[usize::try_from(position).unwrap()] += 1;
            }
            position = ranges.read(range, rows, count);
        }
        assert!(position >= count, "{position} of {count}");
        (read, alone, requests)
    }

    #[test]
    fn a_broken_run_stands_alone_in_first_middle_and_last_place() {
        for broken in [&[0][..], &[150], &[299], &[149, 150], &[0, 1, 298, 299]] {
            let (read, alone, requests) = walk(300, 100, 1000, broken, 2);
            assert_eq!(alone, broken);
            assert_eq!(read.iter().sum::<u32>(), 300 - u32::try_from(broken.len()).unwrap());
            assert!(requests < 70, "{requests}");
        }
    }

    #[test]
    fn one_broken_run_costs_at_most_fourteen_requests_more_at_300_a_page() {
        let (_, _, without) = walk(300, 300, 1000, &[], 1);
        for broken in 0..300 {
            let (_, alone, requests) = walk(300, 300, 1000, &[broken], 1);
            assert_eq!(alone, [broken]);
            assert!(requests <= without + 14, "{requests} for {broken}, without it {without}");
        }
    }

    #[test]
    fn the_end_is_a_page_that_is_short_not_a_number() {
        let mut ranges = Ranges::new(0);
        let first = ranges.take(100, 0).unwrap();
        assert_eq!(ranges.take(100, 1), None, "the first page goes out alone");
        ranges.read(first, 100, 100);
        let beyond = ranges.take(100, 0).unwrap();
        assert_eq!(beyond.start, 100);
        ranges.read(beyond, 20, 120);
        assert_eq!(ranges.take(100, 0), None);
    }

    #[test]
    fn pages_begin_at_multiples_of_their_size() {
        let mut ranges = Ranges::new(130);
        let mut taken = Vec::new();
        for size in [100, 100, 500, 500] {
            let range = ranges.take(size, 0).unwrap();
            ranges.read(range, u64::from(range.len), 10_000);
            taken.push((range.start, range.len));
        }
        assert_eq!(taken, [(130, 70), (200, 100), (300, 200), (500, 500)]);
    }

    #[test]
    fn a_list_that_never_ends_is_given_up() {
        let mut ranges = Ranges::new(0);
        let mut requests = 0_u64;
        while let Some(range) = ranges.take(1000, 0) {
            requests += 1;
            ranges.read(range, 1000, requests * 1_000_000);
        }
        assert!(ranges.is_endless() && requests < 3000, "{requests}");
    }

    proptest! {
        #[test]
        fn every_run_is_read_once_or_stands_alone(
            count in 0..900_u64, size in 1..400_u32, cap in 1..400_u32, out in 1..4_usize,
            broken in proptest::collection::btree_set(0..900_u64, 0..4),
        ) {
            let broken: Vec<u64> = broken.into_iter().filter(|b| *b < count).collect();
            let (read, alone, _) = walk(count, size, cap, &broken, out);
            prop_assert_eq!(&alone, &broken);
            for (position, times) in (0_u64..).zip(read) {
                prop_assert_eq!(times, u32::from(!broken.contains(&position)));
            }
        }
    }
}
