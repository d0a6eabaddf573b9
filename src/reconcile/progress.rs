//! What a pass says while it runs: where it stands, and each change it would make. A bar on a terminal, a line on
//! standard output, or nothing: the caller decides, and nothing is collected.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::also::AlsoChange;

/// Receives what a pass says while it runs; called from one task, in order, and not to be blocked for long.
pub trait Progress: Send + Sync {
    /// After every page and every batch of look-ups.
    fn at(&self, status: &Status) {
        let _ = status;
    }

    /// In a dry run: an overview that a real pass would change.
    fn change(&self, change: &Change) {
        let _ = change;
    }
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}

/// What the pass is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Reading the Catalog's list.
    Crawl,
    /// Asking by key for what the list did not show.
    Keys,
    /// The statements at the end.
    Finish,
}

/// Where a pass stands.
#[derive(Debug, Clone)]
pub struct Status {
    /// What it is at.
    pub phase: Phase,
    /// Runs of the list behind it.
    pub position: u64,
    /// Runs on the list, as the Catalog last said.
    pub count: u64,
    /// Pages read.
    pub pages: u64,
    /// Overviews asked for by key.
    pub asked_by_key: u64,
    /// Overviews written, or in a dry run: that would be.
    pub changes: u64,
    /// Overviews not settled so far.
    pub unsettled: u64,
    /// Runs a page, now.
    pub page_size: u32,
    /// Since this process began or took up the pass.
    pub elapsed: Duration,
    /// Of the crawl, as the pages so far were; none before the second page.
    pub time_left: Option<Duration>,
}

/// One change of one overview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The overview's key.
    pub key: String,
    /// The link it has now.
    pub from: Option<String>,
    /// The link it would have.
    pub to: Option<String>,
    /// Why.
    pub why: Why,
    /// Its columns of `sync.also` that differ, with what they would be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<AlsoChange>,
}

/// Why an overview changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It had none.
    Linked,
    /// The Catalog has another URL of the same host.
    Changed,
    /// The Catalog has a URL of another host; under the brake.
    Rehosted,
    /// The LMS had lost or overwritten what the ledger has.
    Restored,
    /// The Catalog said twice that there is no page; under the brake.
    Cleared,
    /// The Catalog no longer lists the run, and `reconcile.absent` is `clear`; under the brake.
    Absent,
    /// The link stays, and a column of `sync.also` differs.
    Also,
}

impl Why {
    /// The word in lists and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::Changed => "changed",
            Self::Rehosted => "rehosted",
            Self::Restored => "restored",
            Self::Cleared => "cleared",
            Self::Absent => "absent",
            Self::Also => "also",
        }
    }
}
