//! A batch that the database rejects for one row in it is cut in halves until that row stands alone. Pure.

use std::ops::Range;

/// The parts of a batch that are still to be written, as places in it.
#[derive(Debug)]
pub struct Halving {
    parts: Vec<Range<usize>>,
}

impl Halving {
    /// For a batch of `count` rows, which is tried whole first.
    pub fn new(count: usize) -> Self {
        Self { parts: if count == 0 { Vec::new() } else { std::iter::once(0..count).collect() } }
    }

    /// The part to write next; none once all are done. Parts come in the order of the batch.
    pub fn next_part(&mut self) -> Option<Range<usize>> {
        self.parts.pop()
    }

    /// `part`, which was the next, is rejected. Returns the row that is to blame, if it was tried alone; otherwise
    /// both halves come next.
    pub fn rejected(&mut self, part: Range<usize>) -> Option<usize> {
        if part.len() <= 1 {
            return part.into_iter().next();
        }
        let middle = part.start + part.len() / 2;
        self.parts.push(middle..part.end);
        self.parts.push(part.start..middle);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Plays a database that rejects every part with a bad row in it: rows written, rows to blame, and tries.
    fn play(count: usize, bad: &BTreeSet<usize>) -> (Vec<usize>, Vec<usize>, usize) {
        let (mut halving, mut written, mut alone, mut tries) = (Halving::new(count), vec![], vec![], 0);
        while let Some(part) = halving.next_part() {
            tries += 1;
            if part.clone().any(|row| bad.contains(&row)) {
                alone.extend(halving.rejected(part));
            } else {
                written.extend(part);
            }
        }
        (written, alone, tries)
    }

    #[test]
    fn a_sound_batch_is_written_at_once_and_an_empty_one_not_at_all() {
        assert_eq!(play(200, &BTreeSet::new()).2, 1);
        assert_eq!(play(0, &BTreeSet::new()), (vec![], vec![], 0));
    }

    #[test]
    fn one_bad_row_among_two_hundred_costs_seventeen_tries_at_most() {
        for bad in 0..200 {
            let (written, alone, tries) = play(200, &BTreeSet::from([bad]));
            assert_eq!((written.len(), alone), (199, vec![bad]));
            assert!(tries <= 17, "{tries}");
        }
    }

    proptest! {
        #[test]
        fn every_row_is_written_or_to_blame_once_and_in_order(
            count in 0_usize..300, bad in proptest::collection::btree_set(0_usize..300, 0..40),
        ) {
            let (written, alone, tries) = play(count, &bad);
            let (blamed, sound): (Vec<usize>, Vec<usize>) = (0..count).partition(|row| bad.contains(row));
            prop_assert_eq!(written, sound);
            prop_assert_eq!(&alone, &blamed);
            // Each bad row costs two tries a level at the most, and no batch more than two a row.
            let levels = count.max(1).ilog2() as usize + 1;
            prop_assert!(tries <= 1 + 2 * levels * alone.len() && tries < 2 * count.max(1));
        }
    }
}
