//! Where a pass begins: at the start of the list, or where one that was killed stopped.

use std::time::Duration;

use chrono::TimeDelta;

use super::page_size::PageSize;
use super::{PassError, Report};
use crate::store::{PassKind, PassRow, Store, Verdict};

/// A new row, or that of a killed pass, and the report as it is at the start. A dry run has no row.
pub(super) async fn first_row(
    store: &Store,
    resume_within: Duration,
    kind: PassKind,
    dry_run: bool,
    page_size: &mut PageSize,
) -> Result<(Option<PassRow>, Report), PassError> {
    if dry_run {
        let report = Report { dry_run: true, started_at: store.now().await?, ..Report::default() };
        return Ok((None, with_overviews(store, report).await?));
    }
    if kind == PassKind::Full
        && let Some((row, report)) = resumable(store, resume_within).await?
    {
        page_size.resume_at(u32::try_from(row.page_size).unwrap_or_default());
        return Ok((Some(row), report));
    }
    let size = i32::try_from(page_size.now()).unwrap_or(i32::MAX);
    let row = store.begin_pass(kind, size).await?;
    let (pass, started_at) = (Some(row.id), row.started_at);
    let report = Report { pass, kind, started_at, ..Report::default() };
    Ok((Some(row), with_overviews(store, report).await?))
}

/// Adds what the LMS has when the pass begins.
async fn with_overviews(store: &Store, report: Report) -> Result<Report, PassError> {
    let counts = store.counts().await?;
    let number = |n: i64| u64::try_from(n).unwrap_or_default();
    let linked = number(counts.linked);
    Ok(Report { linked, overviews: linked + number(counts.blank), ..report })
}

/// The newest full pass, if it was killed, or broke off, not long ago.
pub(super) async fn resumable(
    store: &Store,
    resume_within: Duration,
) -> Result<Option<(PassRow, Report)>, PassError> {
    let Some(row) = store.last_passes(PassKind::Full, 1).await?.pop() else { return Ok(None) };
    let age = store.now().await?.signed_duration_since(row.progress_at);
    let within = TimeDelta::from_std(resume_within).unwrap_or(TimeDelta::MAX);
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
