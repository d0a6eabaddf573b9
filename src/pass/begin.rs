//! Where a pass begins: what it works with, and whether it goes on with one that was killed.

use std::time::Duration;

use chrono::TimeDelta;

use super::page_size::PageSize;
use super::{PassError, Report};
use crate::config;
use crate::engine::Engine;
use crate::store::{PassKind, PassRow, Store, StoreError, Verdict};

/// How many passes are looked through for one that has seen everything.
const LOOKED_AT: u64 = 10;

/// What passes work with.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) engine: Engine,
    pub(super) settings: config::Reconcile,
    /// Requests at the same time.
    pub(super) at_once: usize,
}

impl Parts {
    /// A new row, or that of a killed pass, and the report as it is at the start. A dry run has no row.
    pub(super) async fn first_row(
        &self,
        Options { kind, dry_run, .. }: Options,
        page_size: &mut PageSize,
    ) -> Result<(Option<PassRow>, Report), PassError> {
        let store = self.engine.store();
        if dry_run {
            let report = Report { dry_run: true, started_at: store.now().await?, ..Report::default() };
            return Ok((None, with_overviews(store, report).await?));
        }
        if kind == PassKind::Full
            && let Some((row, report)) = self.resumable().await?
        {
            page_size.resume_at(u32::try_from(row.page_size).unwrap_or_default());
            return Ok((Some(row), report));
        }
        let size = i32::try_from(page_size.now()).unwrap_or(i32::MAX);
        let row = store.begin_pass(kind, size).await?;
        let report = Report { pass: Some(row.id), kind, started_at: row.started_at, ..Report::default() };
        Ok((Some(row), with_overviews(store, report).await?))
    }

    /// The newest full pass, if it was killed, or broke off, not long ago.
    pub(super) async fn resumable(&self) -> Result<Option<(PassRow, Report)>, StoreError> {
        let store = self.engine.store();
        let Some(row) = store.last_passes(PassKind::Full, 1).await?.pop() else { return Ok(None) };
        let age = store.now().await?.signed_duration_since(row.progress_at);
        let within = TimeDelta::from_std(self.settings.resume_within).unwrap_or(TimeDelta::MAX);
        if row.finished_at.is_some() || row.verdict != Verdict::Running || age > within {
            return Ok(None);
        }
        // A report that cannot be read was written by another version: its pass is not resumed.
        let Ok(report) = serde_json::from_str::<Report>(&row.report) else { return Ok(None) };
        if report.pass != Some(row.id) {
            return Ok(None);
        }
        let report = Report { started_at: row.started_at, resumed: report.resumed + 1, ..report };
        Ok(Some((row, report)))
    }

    /// How long ago the last complete pass, light or full, began: nothing says when the Catalog's row was changed; but that
    /// pass saw it as it was, so that a change is no older. None in a dry run, which has no row, or where there was none.
    pub(super) async fn last_complete(&self, row: Option<&PassRow>) -> Result<Option<Duration>, StoreError> {
        let store = self.engine.store();
        let Some(row) = row else { return Ok(None) };
        let passes = store.last_passes(None, LOOKED_AT).await?;
        let last = passes.iter().find(|pass| pass.id < row.id && pass.verdict == Verdict::Complete);
        let Some(last) = last else { return Ok(None) };
        Ok((store.now().await? - last.started_at).to_std().ok())
    }
}

/// Adds what the LMS has when the pass begins.
async fn with_overviews(store: &Store, report: Report) -> Result<Report, PassError> {
    let counts = store.counts().await?;
    let number = |n: i64| u64::try_from(n).unwrap_or_default();
    let linked = number(counts.linked);
    Ok(Report { linked, overviews: linked + number(counts.blank), ..report })
}

/// How one pass runs.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Which kind of pass.
    pub kind: PassKind,
    /// Runs a page.
    pub page_size: config::PageSize,
    /// Write nothing; report each change that a pass would make to [`super::Progress::change`].
    pub dry_run: bool,
    /// Let any number of links be cleared or re-hosted, and believe a list that lacks most linked courses.
    pub allow_mass_change: bool,
}
