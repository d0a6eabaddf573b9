//! Where a pass begins: at the start of the list, or where one that was killed stopped.

use chrono::TimeDelta;

use super::{Pass, PassError, Report};
use crate::store::{PassKind, PassRow, Store, Verdict};

/// Adds what the LMS has when the pass begins.
pub(super) async fn with_overviews(store: &Store, report: Report) -> Result<Report, PassError> {
    let counts = store.counts().await?;
    let number = |n: i64| u64::try_from(n).unwrap_or_default();
    let linked = number(counts.linked);
    Ok(Report { linked, overviews: linked + number(counts.blank), ..report })
}

/// The newest full pass, if it was killed, or broke off, not long ago.
pub(super) async fn resumable(pass: &Pass) -> Result<Option<(PassRow, Report)>, PassError> {
    let store = pass.engine.store();
    let Some(row) = store.last_passes(PassKind::Full, 1).await?.pop() else { return Ok(None) };
    let age = store.now().await?.signed_duration_since(row.progress_at);
    let within = TimeDelta::from_std(pass.settings.resume_within).unwrap_or(TimeDelta::MAX);
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
