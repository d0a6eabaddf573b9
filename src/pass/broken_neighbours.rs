//! The neighbours of broken runs: the one thing by which an operator can find them.

use std::collections::VecDeque;

use super::report::Broken;

/// Where good pages begin and end, so that a broken run can be found by its neighbours.
#[derive(Debug, Default)]
pub(super) struct Neighbours(VecDeque<(u64, u64, String, String)>);

impl Neighbours {
    /// More than the halves that one page falls into.
    const KEPT: usize = 64;

    /// A page with runs `start .. end` was read.
    pub(super) fn add(&mut self, start: u64, end: u64, first: String, last: String) {
        if self.0.len() == Self::KEPT {
            self.0.pop_front();
        }
        self.0.push_back((start, end, first, last));
    }

    /// Names the neighbours of a broken run, as far as they have been shown.
    pub(super) fn name(&self, broken: &mut Broken) {
        for (start, end, first, last) in &self.0 {
            if *end == broken.position {
                broken.after = Some(last.clone());
            }
            if *start == broken.position + 1 {
                broken.before = Some(first.clone());
            }
        }
    }
}
