//! A pass while it runs: its row and its counters.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::begin::Parts;
use super::page_size::PageSize;
use super::progress::{Phase, Progress, Status};
use super::waiting::Waiting;
use super::{Options, PassError, Report};
use crate::config::Absent;
use crate::engine::{Answered, Change, Engine, Observed, Policy, Settled, Why, allowance};
use crate::model::course_key::{CourseKey, RunKey};
use crate::store::{PassKind, PassRow, Store, StoreError};
use crate::telemetry::metrics;

/// The row is written no more often than this: being killed costs this much work.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// A line of progress is written this often.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Courses remembered of which the list may not have shown the present state; those beyond are not settled.
const ASKED_AGAIN: usize = 10_000;
/// The same in a light pass: where much changes at once, it is for a full one.
const ASKED_AGAIN_LIGHT: usize = 1000;

/// Everything that a running pass knows.
pub(super) struct Running<'a> {
    pub(super) parts: &'a Parts,
    /// Asks the Catalog past its cache.
    pub(super) engine: Engine,
    pub(super) options: Options,
    pub(super) progress: &'a dyn Progress,
    stop: CancellationToken,
    /// Cancelled when the pass is to stop, and when its lease is lost.
    pub(super) halt: CancellationToken,
    pub(super) page_size: PageSize,
    /// None in a dry run.
    pub(super) row: Option<PassRow>,
    pub(super) report: Report,
    /// How far the list is settled; where a killed pass is resumed.
    pub(super) settled_to: u64,
    /// What a dry run has seen; a real pass notes it in the ledger. It grows by some 100 MB for a million runs, as do the runs
    /// of [`Waiting`] where all of them have moved to another host.
    pub(super) seen: HashSet<RunKey>,
    /// Courses on the list of whose runs the ledger has later answers, or other ones than a list from the cache, up to
    /// [`ASKED_AGAIN`]: they are asked for by key.
    pub(super) to_ask: Vec<CourseKey>,
    /// How many such there were beyond that; they are not settled.
    pub(super) to_ask_beyond: u64,
    /// Whether the ledger may hold clears of this pass, which overviews have to follow at the end.
    pub(super) has_cleared: bool,
    /// Changes that wait for the end.
    pub(super) waiting: Waiting,
    /// Whether the database rejects overviews that are to follow the ledger at the end.
    pub(super) has_rejected: bool,
    /// Runs no longer listed that lose their link for that at the end; counted for a dry run, as a pass sees them in
    /// the ledger.
    pub(super) absent: u64,
    /// How long before its start the last complete pass began; its changes are at most that much older than the start.
    pub(super) last_complete: Option<Duration>,
    began: Instant,
    began_at: u64,
    seconds_before: f64,
    requests_before: u64,
    requests_earlier: u64,
    saved: Instant,
    logged: Instant,
}

impl<'a> Running<'a> {
    /// A new row, or that of a killed pass; and the state of the overviews at the start.
    pub(super) async fn begin(
        parts: &'a Parts,
        options: Options,
        mut page_size: PageSize,
        progress: &'a dyn Progress,
        stop: CancellationToken,
        halt: CancellationToken,
    ) -> Result<Self, PassError> {
        let engine = parts.engine.past_cache();
        let engine = if options.kind == PassKind::Light { engine.clearing_nothing() } else { engine };
        let (row, report) = parts.first_row(options, &mut page_size).await?;
        let position = row.as_ref().map_or(0, |row| u64::try_from(row.position).unwrap_or_default());
        let last_complete = parts.last_complete(row.as_ref()).await?;
        let now = Instant::now();
        let mut running = Self {
            parts,
            engine,
            options,
            progress,
            stop,
            halt,
            page_size,
            row,
            settled_to: position,
            seen: HashSet::new(),
            to_ask: Vec::new(),
            to_ask_beyond: 0,
            has_cleared: report.resumed > 0,
            waiting: Waiting::default(),
            has_rejected: false,
            absent: 0,
            last_complete,
            began: now,
            began_at: position,
            seconds_before: report.seconds,
            requests_before: report.requests,
            requests_earlier: parts.engine.catalog().requests(),
            saved: now,
            logged: now,
            report,
        };
        running.report.allowance = allowance(running.report.linked, parts.settings.max_change_ratio);
        running.waiting.release(&mut running.report);
        running.save().await?;
        Ok(running)
    }

    /// Runs the pass to its end. The row of one that breaks off stays as it is, to be resumed.
    pub(super) async fn complete(mut self) -> Result<Report, PassError> {
        tracing::info!(
            event = "reconcile.started",
            kind = self.report.kind.as_str(),
            pass = self.report.pass,
            resumed = self.report.resumed,
            position = self.settled_to,
            dry_run = self.report.dry_run,
            overviews = self.report.overviews,
            linked = self.report.linked,
            "pass over the Catalog started"
        );
        let all = async {
            let whole = self.list().await?;
            let settled = self.ask_by_key(whole).await?;
            self.finish(whole, settled).await
        };
        let ended = all.await;
        if let Err(error) = &ended {
            tracing::warn!(
                event = "reconcile.broke_off",
                pass = self.report.pass,
                error = error as &dyn std::error::Error,
                "pass broke off"
            );
            if matches!(error, PassError::Stopped) {
                self.save().await?;
            }
        }
        ended.map(|()| self.report)
    }

    pub(super) fn store(&self) -> &'a Store {
        self.parts.engine.store()
    }

    /// Fails if the pass is to stop.
    pub(super) fn go_on(&self) -> Result<(), PassError> {
        match (self.halt.is_cancelled(), self.stop.is_cancelled()) {
            (false, _) => Ok(()),
            (true, true) => Err(PassError::Stopped),
            (true, false) => Err(PassError::LeaseLost),
        }
    }

    /// Has this course asked for by key, if there are not too many.
    pub(super) fn ask_for(&mut self, course: CourseKey) {
        let most = match self.options.kind {
            PassKind::Full => ASKED_AGAIN,
            PassKind::Light => ASKED_AGAIN_LIGHT,
        };
        if self.to_ask.len() < most { self.to_ask.push(course) } else { self.to_ask_beyond += 1 }
    }

    pub(super) fn is_light(&self) -> bool {
        self.options.kind == PassKind::Light
    }

    /// How the engine is to apply what the Catalog answers by key.
    pub(super) fn policy(&self) -> Policy {
        Policy {
            dry_run: self.options.dry_run,
            brake: !self.options.allow_mass_change,
            bulk: true,
            page: false,
            cached: false,
            clear_absent: self.parts.settings.absent == Absent::Clear && !self.is_light(),
        }
    }

    /// Applies answers and counts what became of them. Returns how each course ended.
    pub(super) async fn observe(
        &mut self,
        answered: Answered,
        policy: Policy,
    ) -> Result<Vec<Settled>, PassError> {
        let observed = self.engine.observe(vec![answered], policy).await?;
        Ok(self.count(observed, policy))
    }

    /// The same for answers that have been applied.
    pub(super) fn count(&mut self, observed: Observed, policy: Policy) -> Vec<Settled> {
        if self.options.dry_run {
            observed.changes.iter().for_each(|change| self.progress.change(change));
        }
        if policy.brake {
            self.waiting.hold(observed.risky, &mut self.report, self.options.allow_mass_change);
            self.absent += observed.absent;
        }
        // A new host waits for the end where the brake is on, and is counted when it is written.
        let is_new = |change: &&Change| match change.why {
            Why::Linked | Why::Changed => true,
            Why::Rehosted => !policy.brake,
            _ => false,
        };
        let new = observed.changes.iter().filter(is_new).count() as u64;
        self.report.changed += new;
        if let Some(before) = self.last_complete {
            let age = before + self.began.elapsed();
            metrics::get().links_to_write(self.options.kind.as_str(), age, new);
        }
        self.report.updated += observed.updated;
        self.report.cleared += observed.cleared;
        self.report.pending += observed.pending;
        self.report.unlisted_links += observed.unlisted_links;
        self.has_cleared |= observed.has_clears;
        observed.settled
    }

    /// After each page or batch: row, bar and log line, each no more often than is of use.
    pub(super) async fn tick(&mut self, phase: Phase) -> Result<(), PassError> {
        // Before the row is written: another pass that has the lease now may have resumed it.
        self.go_on()?;
        self.progress.at(&self.status(phase));
        if self.logged.elapsed() >= LOG_EVERY {
            self.logged = Instant::now();
            self.count_up();
            tracing::info!(
                event = "reconcile.progress",
                pass = self.report.pass,
                phase = ?phase,
                position = self.settled_to,
                count = self.report.count_after,
                pages = self.report.pages,
                listed = self.report.listed,
                updated = self.report.updated,
                by_key = self.report.settled_by_key + self.report.not_listed,
                unsettled = self.report.unsettled,
                requests = self.report.requests,
                seconds = self.report.seconds,
                page_size = self.report.page_size,
                "pass under way"
            );
        }
        if self.saved.elapsed() >= SAVE_EVERY {
            self.save().await?;
        }
        Ok(())
    }

    /// Brings the counters up to date that are kept elsewhere.
    pub(super) fn count_up(&mut self) {
        let requests = self.parts.engine.catalog().requests();
        self.report.requests = self.requests_before + requests.saturating_sub(self.requests_earlier);
        self.report.seconds = self.seconds_before + self.began.elapsed().as_secs_f64();
        self.report.page_size = self.page_size.now();
    }

    /// Writes the row. Does nothing in a dry run.
    pub(super) async fn save(&mut self) -> Result<(), PassError> {
        self.count_up();
        let store = self.parts.engine.store();
        let Some(row) = &mut self.row else { return Ok(()) };
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        row.verdict = self.report.verdict;
        row.finished_at = self.report.finished_at;
        row.position = number(self.settled_to);
        row.page_size = i32::try_from(self.report.page_size).unwrap_or(i32::MAX);
        row.listed = number(self.report.listed);
        row.updated = number(self.report.updated);
        row.cleared = number(self.report.cleared);
        row.held_back = number(self.report.held_back);
        row.failures = number(self.report.failures());
        row.report = self.report.for_row();
        match store.save_pass(row).await {
            Err(StoreError::PassTakenOver { .. }) => {
                self.halt.cancel();
                return Err(PassError::LeaseLost);
            }
            saved => saved?,
        }
        self.saved = Instant::now();
        Ok(())
    }

    pub(super) fn status(&self, phase: Phase) -> Status<'_> {
        let position = self.settled_to;
        let done = position.saturating_sub(self.began_at);
        let left = self.report.count_after.saturating_sub(position);
        #[expect(clippy::cast_precision_loss, reason = "only shown")]
        let part = (left as f64 / done as f64).min(1e6);
        let time_left = (done > 0).then(|| self.began.elapsed().mul_f64(part));
        Status { phase, position: position.min(self.report.count_after), report: &self.report, time_left }
    }
}
