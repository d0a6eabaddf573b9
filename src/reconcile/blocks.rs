//! Cuts the Catalog's list into blocks of neighbouring runs, by what the runs are and not by where they stand, as
//! rsync cuts files: a run that comes or goes changes its own block, and all others are found again wherever they
//! have moved to. Pure.
//!
//! Pages come back in any order and in any size; blocks go across them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use ring::digest;

use crate::also::{Also, AlsoColumn};
use crate::catalog::{ListedRun, Observation};
use crate::course_key::CourseKey;

/// One run in so many ends a block.
const MEAN: u64 = 64;
/// No block is longer, whatever the runs are.
const LONGEST: usize = 1024;

/// A stretch of the list that was read in one answer, or that nobody can read.
#[derive(Debug)]
pub(super) struct Stretch {
    /// The offset of its first run.
    pub(super) start: u64,
    /// How far the list is read by it; beyond its runs there is a hole.
    pub(super) end: u64,
    /// When it was asked for, on the database's clock.
    pub(super) asked_at: DateTime<Utc>,
    /// What is on it.
    pub(super) runs: Vec<ListedRun>,
}

/// Neighbouring runs, as the list shows them; none where nobody can read it.
#[derive(Debug)]
pub(super) struct Block {
    /// The offset of its first run.
    pub(super) start: u64,
    /// That of the first run behind it.
    pub(super) end: u64,
    /// When the oldest part of it was asked for.
    pub(super) asked_at: DateTime<Utc>,
    /// Its runs, at most [`LONGEST`].
    pub(super) runs: Vec<ListedRun>,
    /// Of everything that the list says of them.
    pub(super) digest: i64,
}

/// The block at hand.
struct Open {
    block: Block,
    hash: digest::Context,
}

impl Open {
    fn new(start: u64, asked_at: DateTime<Utc>) -> Self {
        let block = Block { start, end: start, asked_at, runs: Vec::new(), digest: 0 };
        Self { block, hash: digest::Context::new(&digest::SHA256) }
    }

    /// Returns whether the block ends behind this run.
    fn push(&mut self, run: ListedRun, asked_at: DateTime<Utc>) -> bool {
        let fingerprint = fingerprint(&run);
        self.hash.update(fingerprint.as_ref());
        // As old as its oldest part, so that nothing newer than that is overruled.
        self.block.asked_at = self.block.asked_at.min(asked_at);
        self.block.end += 1;
        self.block.runs.push(run);
        number(&fingerprint).is_multiple_of(MEAN) || self.block.runs.len() == LONGEST
    }

    /// Nothing, up to `end`.
    fn hole(self, end: u64) -> Block {
        Block { end, ..self.block }
    }

    fn close(self) -> Block {
        let digest = number(&self.hash.finish()).cast_signed();
        Block { digest, ..self.block }
    }
}

/// Makes blocks of stretches.
pub(super) struct Cutter {
    /// Stretches that wait for one before them.
    waiting: BTreeMap<u64, Stretch>,
    /// How many may wait; beyond that a gap is taken for a cut.
    at_most: usize,
    /// The block at hand: it ends where the next stretch begins.
    open: Option<Open>,
    /// Up to here the list has been cut, the open block included.
    position: u64,
}

impl Cutter {
    /// For a list that is read from `start` on, with so many requests at once.
    pub(super) fn new(start: u64, at_once: usize) -> Self {
        // A page that is asked for again, while others go on, should hardly ever be a cut.
        Self { waiting: BTreeMap::new(), at_most: 12 + 2 * at_once, open: None, position: start }
    }

    /// Adds a stretch, and returns the blocks that are whole by it, in the order of the list.
    pub(super) fn add(&mut self, stretch: Stretch) -> Vec<Block> {
        let mut blocks = Vec::new();
        self.waiting.insert(stretch.start, stretch);
        while let Some(first) = self.waiting.first_entry() {
            if *first.key() > self.position && self.waiting.len() <= self.at_most {
                break;
            }
            let Some((_, stretch)) = self.waiting.pop_first() else { break };
            self.cut(stretch, &mut blocks);
        }
        blocks
    }

    /// Everything that is left, at the end of the list.
    pub(super) fn rest(&mut self) -> Vec<Block> {
        let mut blocks = Vec::new();
        while let Some((_, stretch)) = self.waiting.pop_first() {
            self.cut(stretch, &mut blocks);
        }
        blocks.extend(self.close());
        blocks
    }

    fn cut(&mut self, stretch: Stretch, blocks: &mut Vec<Block>) {
        let Stretch { start, end, asked_at, runs } = stretch;
        if start != self.position {
            blocks.extend(self.close());
        }
        let mut position = start;
        for run in runs {
            let open = self.open.get_or_insert_with(|| Open::new(position, asked_at));
            position += 1;
            if open.push(run, asked_at) {
                blocks.extend(self.close());
            }
        }
        if end > position {
            blocks.extend(self.close());
            blocks.push(Open::new(position, asked_at).hole(end));
        }
        self.position = end.max(self.position);
    }

    fn close(&mut self) -> Option<Block> {
        self.open.take().map(Open::close)
    }
}

/// What the list says of a run, as 32 bytes; the same in every process, and in every version with the same first byte.
/// What the policy for URLs refuses counts as refused, so that a new policy makes other blocks.
fn fingerprint(run: &ListedRun) -> digest::Digest {
    const VERSION: u8 = 1;
    // Custom courses had no row in the ledger once: their blocks are not whole by what was noted then.
    const OF_CCX: u8 = 2;
    let is_ccx = run.key.as_ref().is_ok_and(CourseKey::is_ccx);
    let mut said = vec![if is_ccx { OF_CCX } else { VERSION }];
    match &run.key {
        Ok(key) => said.extend(key.as_str().as_bytes()),
        Err(_) => said.push(b'?'),
    }
    // Neither keys nor URLs have a NUL.
    said.push(0);
    match &run.observation {
        Observation::Url(url, also) => {
            said.extend(url.as_str().as_bytes());
            add(&mut said, also);
        }
        Observation::NoUrl(also) => {
            said.push(1);
            add(&mut said, also);
        }
        Observation::Refused(_) | Observation::NotListed | Observation::Unknown(_) => said.push(2),
    }
    digest::digest(&digest::SHA256, &said)
}

/// Adds what `sync.also` asks for; nothing where it asks for nothing, or the Catalog says nothing.
fn add(said: &mut Vec<u8>, also: &Also) {
    for column in AlsoColumn::ALL {
        if let Some(value) = also.get(column) {
            said.push(0);
            said.extend(column.name().as_bytes());
            said.push(0);
            said.extend(value.as_bytes());
        }
    }
}

/// The first eight bytes.
fn number(digest: &digest::Digest) -> u64 {
    let first = digest.as_ref().first_chunk::<8>();
    first.map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
