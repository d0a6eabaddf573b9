//! Which blocks of the list the ledger vouches for, and which have been seen and are still to be noted.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::store::{Block, Store, StoreError};

/// More than these are not kept back.
const NOTED_AT_ONCE: usize = 2_000;

/// Blocks that the ledger had whole when the pass began or was taken up, and blocks seen since.
#[derive(Debug, Default)]
pub(super) struct Vouched {
    /// Whether the list has shown it. A row written since then has been written after an answer of its own, which
    /// this pass need not overrule.
    whole: HashMap<i64, bool>,
    seen: Vec<Block>,
    /// When the first of `seen` was asked for.
    since: Option<DateTime<Utc>>,
}

/// What is known of a block on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voucher {
    /// Nothing: its runs have to be looked at.
    None,
    /// The ledger has it as it is.
    Whole,
    /// The same, and the list has shown it before.
    Again,
}

impl Vouched {
    /// Reads what the ledger vouches for.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn read(store: &Store) -> Result<Self, StoreError> {
        let whole = store.whole_blocks().await?.into_iter().map(|digest| (digest, false)).collect();
        Ok(Self { whole, ..Self::default() })
    }

    /// Looks a block up that the list shows.
    pub(super) fn look_up(&mut self, digest: i64) -> Voucher {
        match self.whole.get_mut(&digest) {
            None => Voucher::None,
            Some(shown) if !*shown => {
                *shown = true;
                Voucher::Whole
            }
            Some(_) => Voucher::Again,
        }
    }

    /// A block was on the list, by an answer to a question asked at `asked_at`, and is in the ledger as far as it
    /// can be.
    pub(super) fn saw(&mut self, block: Block, asked_at: DateTime<Utc>) {
        self.since = Some(self.since.map_or(asked_at, |since| since.min(asked_at)));
        self.seen.push(block);
    }

    /// Whether it is time to note what has been seen.
    pub(super) fn is_full(&self) -> bool {
        self.seen.len() >= NOTED_AT_ONCE
    }

    /// Notes what has been seen, as of the oldest of their questions.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn note(&mut self, store: &Store) -> Result<(), StoreError> {
        let Some(since) = self.since else { return Ok(()) };
        store.note_blocks(&self.seen, since).await?;
        self.seen.clear();
        self.since = None;
        Ok(())
    }
}
