//! What passes work with, how one may run, what it says while it runs, and why one breaks off.
//!
//! Progress is a bar on a terminal, a line on standard output, or nothing: the caller decides, and nothing is collected.

use std::time::Duration;

use super::Report;
use crate::config;
use crate::engine::{Change, Engine};
use crate::store::{PassKind, StoreError};

/// What passes work with.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) engine: Engine,
    pub(super) settings: config::Reconcile,
    /// Requests at the same time.
    pub(super) at_once: usize,
}

/// How one pass runs.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Which kind of pass.
    pub kind: PassKind,
    /// Runs a page.
    pub page_size: config::PageSize,
    /// Write nothing; report each change that a pass would make to [`Progress::change`].
    pub dry_run: bool,
    /// Let any number of links be cleared or re-hosted, and believe a list that lacks most linked courses.
    pub allow_mass_change: bool,
}

/// Why a pass did not end by itself. What it had written stays, and is right; the next one goes on from there.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum PassError {
    /// The database failed.
    #[error("the pass broke off at the database")]
    Store(#[from] StoreError),
    /// It was stopped.
    #[error("the pass was stopped; the next one goes on from there")]
    Stopped,
    /// Another pass is running.
    #[error("another pass is running (in {holder}); wait for its end")]
    Taken {
        /// Whose it is: process id and a random part.
        holder: String,
    },
    /// It could not keep its lease: the database did not answer for too long, or another pass took over.
    #[error("the pass lost its lease, so that another may have begun; it stopped")]
    LeaseLost,
    /// `reconcile.page_size` is `lms`, and there is no such table.
    #[error(
        "reconcile.page_size is \"lms\", and page_size cannot be read from the table catalog_catalogintegration: \
         is database.url the LMS's database, and may this user read that table?"
    )]
    LmsPageSize(#[source] StoreError),
}

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
