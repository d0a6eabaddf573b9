//! The one result of a pass: every number, the verdict and its reasons. Log, table row, JSON and tests read this.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::engine::Change;
use crate::model::course_key::CourseKey;
use crate::model::marketing_url::RefusedUrl;
use crate::model::text::cut;
use crate::store::{PassKind, Verdict};

/// Lines in any one list of the report; beyond it only the number grows.
pub(super) const LISTED: usize = 20;
/// Held changes shown.
pub(super) const HELD_LISTED: usize = 100;
/// What fits the column on MySQL (65,535 bytes), with room.
const MAX_JSON: usize = 60_000;

/// What a pass saw, did, and is worth.
///
/// `overviews` = `settled_by_crawl` + `settled_by_key` + `not_listed` + `ccx_by_parent` + `unsettled` + `no_runs`,
/// but for overviews that the LMS adds or deletes meanwhile. An event's answer counts as the crawl's if it is newer
/// than the list; otherwise its overview is settled by key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Its row's number; none for a dry run.
    pub pass: Option<i64>,
    /// Which of the two kinds it is. A light pass counts only what the list showed it.
    pub kind: PassKind,
    /// When it began, on the database's clock.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// How often it was killed and resumed.
    pub resumed: u32,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// How far to believe it.
    pub verdict: Verdict,
    /// Why it is not complete, or what else an operator should know.
    pub reasons: Vec<String>,

    /// Runs on the Catalog's list, as its first answer said.
    pub count_before: u64,
    /// The same, as its last answer said.
    pub count_after: u64,
    /// Pages read.
    pub pages: u64,
    /// Runs that those pages showed; those shown twice are in it twice.
    pub listed: u64,
    /// Runs shown again after they had been seen: the list moved, or a killed pass read a page again. Of a full pass, as
    /// a light one notes nowhere what it has seen.
    pub seen_twice: u64,
    /// Listed runs of which the LMS has no overview.
    pub without_overview: u64,
    /// Custom courses on the list; they take its URL only where their parent has none.
    pub ccx_listed: u64,

    /// Overviews when the pass began.
    pub overviews: u64,
    /// Of these, with a link.
    pub linked: u64,
    /// Overviews whose run the crawl showed.
    pub settled_by_crawl: u64,
    /// Overviews that the crawl did not show, and that the Catalog knew by key.
    pub settled_by_key: u64,
    /// Overviews whose run the Catalog does not list; their links stay.
    pub not_listed: u64,
    /// Of these, with a link.
    pub unlisted_links: u64,
    /// Overviews of custom courses that were settled, by their parent or by a listing of their own.
    pub ccx_by_parent: u64,
    /// Overviews, those of custom courses not included, whose run has a URL in the Catalog that must not be shared; they
    /// are settled, and keep their link.
    pub refused: u64,
    /// Overviews that the Catalog could not be asked for, or gave no sound answer for.
    pub unsettled: u64,
    /// Overviews whose id is the key of no course run.
    pub no_runs: u64,

    /// Overviews that got a link, or another one, or a column of `sync.also`.
    pub updated: u64,
    /// Of these, those to which the Catalog had another URL than the ledger, of a full pass.
    pub changed: u64,
    /// `changed`, if there are light passes: those should have brought all but what changed since the last of them.
    pub missed_by_light: u64,
    /// The same where hints are on.
    pub missed_by_hints: u64,
    /// Overviews that lost their link.
    pub cleared: u64,
    /// Overviews left as they were: right already, or not to be changed.
    pub kept: u64,
    /// Overviews whose link is gone in the Catalog, for the first time: it stays until that is seen again.
    pub pending: u64,
    /// Runs whose change waits for the end of the pass, or is held back by the brake then.
    pub held_back: u64,
    /// How many clears and new hosts a pass may make at once.
    pub allowance: u64,

    /// Requests that failed for good: pages that had to be split, and runs that stood alone.
    pub failed_pages: u64,
    /// Runs that make any page with them fail.
    pub broken_runs: u64,
    /// Listed rows that could not be used, or not wholly: an invalid key, a value that is neither URL nor null, an
    /// invalid value of `sync.also`.
    pub odd_rows: u64,
    /// Requests to the Catalog, quick retries and events' own in the meantime included.
    pub requests: u64,
    /// Bytes of all pages.
    pub bytes: u64,
    /// How long it took, without the time between being killed and being resumed.
    pub seconds: f64,
    /// Runs a page at the end; where the next pass begins.
    pub page_size: u32,

    /// Broken runs: where, and between which neighbours.
    pub broken: Vec<Broken>,
    /// The first rows that could not be used, and why.
    pub odd: Vec<String>,
    /// The first overviews whose URL is refused, with that URL and why.
    pub refused_urls: Vec<String>,
    /// The first overviews that could not be settled, and why.
    pub unsettled_keys: Vec<String>,
    /// The first changes that the brake holds back.
    pub held: Vec<Change>,
}

/// A run that the Catalog cannot show. Its neighbours are the one thing by which an operator can find it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Broken {
    /// Its offset on the list.
    pub position: u64,
    /// The run before it, if that was shown.
    pub after: Option<String>,
    /// The run behind it, if that was shown.
    pub before: Option<String>,
    /// What the Catalog answered.
    pub error: String,
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

impl Report {
    /// Logs the whole report. Operators know some of the words from the command that this replaces: found in Catalog, found
    /// in overviews, not found, updated.
    pub(super) fn log(&self) {
        match self.verdict {
            Verdict::Complete => finished!(info, self),
            Verdict::Failed => finished!(error, self),
            Verdict::Running | Verdict::Incomplete | Verdict::Refused => finished!(warn, self),
        }
    }

    /// Requests, pages and rows that failed; for the pass's row.
    pub fn failures(&self) -> u64 {
        self.failed_pages + self.odd_rows
    }

    /// Counts a course whose URL is refused.
    pub(super) fn refused(&mut self, course: &CourseKey, refused: &RefusedUrl) {
        self.refused += 1;
        let line = format!("{course}: {}: {}", refused.url, refused.why);
        // One is met again where a killed pass read its page before.
        if !self.refused_urls.contains(&line) {
            push(&mut self.refused_urls, line);
        }
    }

    /// Counts runs whose change the brake may hold back, and names some.
    pub(super) fn hold(&mut self, runs: u64, named: impl IntoIterator<Item = Change>) {
        self.held_back += runs;
        let room = HELD_LISTED.saturating_sub(self.held.len());
        self.held.extend(named.into_iter().take(room));
    }

    /// Whether more is held back than one pass may change.
    pub(super) fn is_over_allowance(&self) -> bool {
        self.held_back > self.allowance
    }

    /// Adds a reason, unless there are many already.
    pub(super) fn reason(&mut self, why: impl Into<String>) {
        push(&mut self.reasons, why.into());
    }

    /// The report as the row keeps it: its lists are cut until it fits the column.
    pub(super) fn for_row(&self) -> String {
        let mut report = self.clone();
        loop {
            let json = serde_json::to_string(&report).unwrap_or_else(|_| "{}".to_owned());
            if json.len() <= MAX_JSON {
                return json;
            }
            report.held.truncate(report.held.len() / 2);
            report.odd.truncate(report.odd.len() / 2);
            report.unsettled_keys.truncate(report.unsettled_keys.len() / 2);
            report.refused_urls.truncate(report.refused_urls.len() / 2);
            report.broken.truncate(report.broken.len() / 2);
            report.reasons.truncate((report.reasons.len() / 2).max(1));
            if report.held.is_empty() && report.odd.is_empty() && report.broken.is_empty() {
                report.reasons.iter_mut().for_each(|reason| *reason = cut(reason, 500));
            }
        }
    }
}

/// Adds to a list of bounded length.
pub(super) fn push(list: &mut Vec<String>, line: String) {
    if list.len() < LISTED {
        list.push(cut(&line, 1000));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Why;

    fn huge() -> Report {
        let url = format!("https://e/{}", "é".repeat(1000));
        let held = Change {
            key: "k".repeat(255),
            from: Some(url.clone()),
            to: Some(url.clone()),
            why: Why::Rehosted,
            also: Vec::new(),
        };
        let mut report = Report { held: vec![held; 100], ..Report::default() };
        for _ in 0..100 {
            report.reason("é".repeat(5000));
            push(&mut report.odd, url.repeat(5));
            push(&mut report.unsettled_keys, url.clone());
            push(&mut report.refused_urls, url.clone());
        }
        report
    }

    #[test]
    fn no_report_is_too_long_for_its_column() {
        let json = huge().for_row();
        assert!(json.len() <= MAX_JSON, "{}", json.len());
        let back: Report = serde_json::from_str(&json).unwrap();
        assert!(!back.reasons.is_empty());
        assert_eq!(huge().odd.len(), LISTED);
    }

    #[test]
    fn a_report_comes_back_from_its_row_and_an_empty_row_is_a_new_one() {
        let report = Report { verdict: Verdict::Refused, listed: 7, seconds: 1.5, ..Report::default() };
        assert_eq!(serde_json::from_str::<Report>(&report.for_row()).unwrap(), report);
        assert_eq!(serde_json::from_str::<Report>("{}").unwrap(), Report::default());
    }
}
