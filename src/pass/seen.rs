//! A set of runs, sixteen bytes each: which runs a dry run has seen.
//!
//! A real pass marks what it has seen in the ledger; a dry run writes nothing, and keeps it in memory instead: the one
//! thing in this room that grows, by some 32 MB for a million runs.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::model::course_key::RunKey;

/// A set of runs, by two independent hashes of 64 bits each: with a million runs, two of them are taken for one with
/// a chance of one in 10^26.
#[derive(Default)]
pub(super) struct Seen {
    hashes: HashSet<u128>,
    hashers: (RandomState, RandomState),
}

impl Seen {
    /// Adds a run. Returns false if it was there already.
    pub(super) fn insert(&mut self, run: &RunKey) -> bool {
        self.hashes.insert(self.hash(run))
    }

    /// Whether the run has been added.
    pub(super) fn contains(&self, run: &RunKey) -> bool {
        self.hashes.contains(&self.hash(run))
    }

    fn hash(&self, run: &RunKey) -> u128 {
        let (a, b) = (self.hashers.0.hash_one(run), self.hashers.1.hash_one(run));
        (u128::from(a) << 64) | u128::from(b)
    }
}
