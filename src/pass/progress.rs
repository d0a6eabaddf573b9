//! What a pass says while it runs: a bar on a terminal, a line on standard output, or nothing. The caller decides, and
//! nothing is collected.

use std::time::Duration;

use super::Report;
use crate::engine::Change;

/// Receives what a pass says while it runs; called from one task, in order, and not to be blocked for long.
pub trait Progress: Send + Sync {
    /// Again and again while it waits for the end of another pass.
    fn waiting(&self) {}

    /// After every page and every batch of look-ups.
    fn at(&self, _status: &Status<'_>) {}

    /// In a dry run: an overview that a real pass would change.
    fn change(&self, _change: &Change) {}
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}

/// What the pass is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
pub struct Status<'a> {
    /// What it is at.
    pub phase: Phase,
    /// Runs of the list behind it.
    pub position: u64,
    /// The numbers so far.
    pub report: &'a Report,
    /// Of the crawl, as the pages so far were; none before the second page.
    pub time_left: Option<Duration>,
}
