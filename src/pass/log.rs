//! The log lines of a pass. Operators know some of their words from the command that this replaces: found in Catalog,
//! found in overviews, not found, updated.

use std::time::Duration;

use super::PassError;
use super::parts::Phase;
use super::report::Report;
use crate::store::Verdict;

/// A line of progress is written this often.
pub(super) const EVERY: Duration = Duration::from_secs(10);

pub(super) fn started(report: &Report, position: u64) {
    tracing::info!(
        event = "reconcile.started",
        kind = report.kind.as_str(),
        pass = report.pass,
        resumed = report.resumed,
        position,
        dry_run = report.dry_run,
        overviews = report.overviews,
        linked = report.linked,
        "pass over the Catalog started"
    );
}

pub(super) fn without_overview(run: &str) {
    tracing::debug!(event = "reconcile.without_overview", course_id = run, "listed run without overview");
}

pub(super) fn progress(report: &Report, phase: Phase, position: u64) {
    tracing::info!(
        event = "reconcile.progress",
        pass = report.pass,
        phase = ?phase,
        position,
        count = report.count_after,
        pages = report.pages,
        listed = report.listed,
        updated = report.updated,
        by_key = report.settled_by_key + report.not_listed,
        unsettled = report.unsettled,
        requests = report.requests,
        seconds = report.seconds,
        page_size = report.page_size,
        "pass under way"
    );
}

pub(super) fn run_broken(position: u64, error: &str) {
    tracing::warn!(
        event = "reconcile.run_broken",
        position,
        error,
        "a run on the Catalog's list makes every page with it fail"
    );
}

pub(super) fn brake_applied(report: &Report) {
    tracing::error!(
        event = "reconcile.brake_applied",
        pass = report.pass,
        held_back = report.held_back,
        allowance = report.allowance,
        linked = report.linked,
        first = report.held.first().map(|held| held.key.as_str()),
        "too many links would be cleared or led to another host: held back; if that is wanted, run \
         course-sharing reconcile --allow-mass-change"
    );
}

pub(super) fn broke_off(report: &Report, error: &PassError) {
    tracing::warn!(
        event = "reconcile.broke_off",
        pass = report.pass,
        error = error as &dyn std::error::Error,
        "pass broke off"
    );
}

/// Every number of the report, at a level.
macro_rules! finished {
    ($level:ident, $report:expr) => {{
        let r: &Report = $report;
        tracing::$level!(
            event = "reconcile.finished",
            kind = r.kind.as_str(),
            pass = r.pass,
            verdict = r.verdict.as_str(),
            reasons = r.reasons.join("; "),
            resumed = r.resumed,
            dry_run = r.dry_run,
            count_before = r.count_before,
            count_after = r.count_after,
            pages = r.pages,
            found_in_catalog = r.listed,
            seen_twice = r.seen_twice,
            ccx_listed = r.ccx_listed,
            without_overview = r.without_overview,
            overviews = r.overviews,
            linked = r.linked,
            found_in_overviews = r.settled_by_crawl,
            found_by_key = r.settled_by_key,
            not_found = r.not_listed,
            unlisted_links = r.unlisted_links,
            ccx_by_parent = r.ccx_by_parent,
            unsettled = r.unsettled,
            refused = r.refused,
            no_runs = r.no_runs,
            updated = r.updated,
            changed = r.changed,
            missed_by_light = r.missed_by_light,
            missed_by_hints = r.missed_by_hints,
            cleared = r.cleared,
            pending = r.pending,
            held_back = r.held_back,
            allowance = r.allowance,
            failed_pages = r.failed_pages,
            broken_runs = r.broken_runs,
            odd_rows = r.odd_rows,
            requests = r.requests,
            bytes = r.bytes,
            seconds = r.seconds,
            page_size = r.page_size,
            "pass over the Catalog ended"
        )
    }};
}

pub(super) fn finished(r: &Report) {
    match r.verdict {
        Verdict::Complete => finished!(info, r),
        Verdict::Failed => finished!(error, r),
        Verdict::Running | Verdict::Incomplete | Verdict::Refused => finished!(warn, r),
    }
}
