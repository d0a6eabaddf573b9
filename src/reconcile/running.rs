//! A pass while it runs: its row, its counters, and the one step that events share in kind: decide and write.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::begin::{resumable, with_overviews};
use super::decide::{Decided, Rules, Settled, decide};
use super::log;
use super::page_size::PageSize;
use super::pass::{Options, Pass, PassError};
use super::progress::{Phase, Progress, Status};
use super::ranges::LowWater;
use super::report::Report;
use super::seen::Seen;
use super::vouched::Vouched;
use crate::catalog::Observation;
use crate::config::Absent;
use crate::course_key::{CourseKey, RunKey};
use crate::store::{MAX_ROWS, ObservedBy, PassRow, Store, StoreError};
use crate::sync::Question;

/// The row is written no more often than this: being killed costs this much work.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Parts of one page that are written at the same time.
const PARTS_AT_ONCE: usize = 2;

/// Refused URLs remembered; runs beyond that are asked for again, in vain.
pub(super) const REFUSED: usize = 10_000;

/// What settling a part of a page came to.
struct Part {
    updated: u64,
    cleared: u64,
    pending: u64,
    held_back: u64,
    absent: u64,
    has_cleared: bool,
    settled: Vec<(CourseKey, bool, Settled)>,
}

/// Everything that a running pass knows.
pub(super) struct Running<'a> {
    pub(super) pass: &'a Pass,
    pub(super) options: Options,
    pub(super) progress: &'a dyn Progress,
    pub(super) stop: CancellationToken,
    pub(super) lost: CancellationToken,
    pub(super) page_size: PageSize,
    /// None in a dry run.
    pub(super) row: Option<PassRow>,
    pub(super) report: Report,
    pub(super) low: LowWater,
    /// In a dry run only.
    pub(super) seen: Seen,
    /// Runs whose URL on the list is not fit to be shared, up to [`REFUSED`]: asked by key it would be the same one.
    pub(super) refused: Seen,
    /// What the ledger vouches for.
    pub(super) vouched: Vouched,
    /// Whether the ledger may hold clears of this pass, which overviews have to follow at the end.
    pub(super) has_cleared: bool,
    /// Whether the ledger may hold changes that a brake put aside.
    pub(super) has_held: bool,
    /// Whether overviews differ from the ledger.
    pub(super) has_wiped: bool,
    /// Runs no longer listed that lose their link for that at the end; counted for a dry run, as a pass sees them in
    /// the ledger.
    pub(super) absent: u64,
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
        pass: &'a Pass,
        options: Options,
        mut page_size: PageSize,
        progress: &'a dyn Progress,
        stop: CancellationToken,
        lost: CancellationToken,
    ) -> Result<Self, PassError> {
        let store = pass.engine.store();
        let (row, report) = if options.dry_run {
            let report = Report { dry_run: true, started_at: store.now().await?, ..Report::default() };
            (None, with_overviews(store, report).await?)
        } else if let Some((row, report)) = resumable(pass).await? {
            page_size.resume_at(u32::try_from(row.page_size).unwrap_or_default());
            (Some(row), report)
        } else {
            let row = store.begin_pass(i32::try_from(page_size.now()).unwrap_or(i32::MAX)).await?;
            let report = Report { pass: Some(row.id), started_at: row.started_at, ..Report::default() };
            (Some(row), with_overviews(store, report).await?)
        };
        let position = row.as_ref().map_or(0, |row| u64::try_from(row.position).unwrap_or_default());
        let now = Instant::now();
        let mut running = Self {
            pass,
            options,
            progress,
            stop,
            lost,
            page_size,
            row,
            low: LowWater::new(position),
            seen: Seen::default(),
            refused: Seen::default(),
            vouched: Vouched::default(),
            has_cleared: report.resumed > 0,
            has_held: false,
            has_wiped: false,
            absent: 0,
            began: now,
            began_at: position,
            seconds_before: report.seconds,
            requests_before: report.requests,
            requests_earlier: pass.engine.catalog().requests(),
            saved: now,
            logged: now,
            report,
        };
        running.save().await?;
        log::started(&running.report, position);
        Ok(running)
    }

    /// All of it. The row of a pass that breaks off stays as it is, to be taken up.
    pub(super) async fn complete(mut self) -> Result<Report, PassError> {
        let ended = self.all().await;
        if let Err(error) = &ended {
            log::broke_off(&self.report, error);
            if matches!(error, PassError::Stopped) {
                self.save().await?;
            }
        }
        ended.map(|()| self.report)
    }

    async fn all(&mut self) -> Result<(), PassError> {
        let whole = self.list().await?;
        let settled = self.ask_by_key(whole).await?;
        self.finish(whole, settled).await
    }

    pub(super) fn store(&self) -> &'a Store {
        self.pass.engine.store()
    }

    /// Fails if the pass is to stop.
    pub(super) fn go_on(&self) -> Result<(), PassError> {
        if self.lost.is_cancelled() {
            return Err(PassError::LeaseLost);
        }
        if self.stop.is_cancelled() { Err(PassError::Stopped) } else { Ok(()) }
    }

    /// Decides and writes what `answers`, to a question asked at `asked_at`, mean for `courses`, each of which is
    /// there once; `blocks` are those of the list that they stand in. Returns how each came out.
    pub(super) async fn settle(
        &mut self,
        courses: &[CourseKey],
        answers: &HashMap<RunKey, Observation>,
        blocks: &HashMap<RunKey, i64>,
        asked_at: DateTime<Utc>,
    ) -> Result<Vec<(CourseKey, bool, Settled)>, PassError> {
        let this = &*self;
        // The parts of a large page have no run in common, so that two of them can be on their way at once.
        let parts: Vec<_> = courses
            .chunks(MAX_ROWS)
            .map(|part| this.settle_part(part, answers, blocks, asked_at).boxed())
            .collect();
        let parts: Vec<Part> =
            stream::iter(parts).buffered(PARTS_AT_ONCE).try_collect().await.map_err(PassError::from)?;
        let mut settled = Vec::with_capacity(courses.len());
        for part in parts {
            self.report.updated += part.updated;
            self.report.cleared += part.cleared;
            self.report.pending += part.pending;
            self.report.held_back += part.held_back;
            self.absent += part.absent;
            self.has_cleared |= part.has_cleared;
            settled.extend(part.settled);
        }
        Ok(settled)
    }

    async fn settle_part(
        &self,
        courses: &[CourseKey],
        answers: &HashMap<RunKey, Observation>,
        blocks: &HashMap<RunKey, i64>,
        asked_at: DateTime<Utc>,
    ) -> Result<Part, StoreError> {
        let snapshots = self.store().snapshots(courses).await?;
        let by = ObservedBy::Pass;
        let question = Question { asked_at, by, clear_after: self.pass.clear_after };
        let brake = self.row.as_ref().map(|row| row.id).filter(|_| !self.options.allow_mass_change);
        let clear_absent = self.pass.settings.absent == Absent::Clear;
        let rules = Rules { question, started_at: self.report.started_at, brake, clear_absent };
        let decided = decide(&snapshots, answers, blocks, rules);
        self.write(decided).instrument(tracing::info_span!("apply", runs = courses.len())).await
    }

    async fn write(&self, decided: Decided) -> Result<Part, StoreError> {
        let Decided { entries, courses, settled, changes, cleared, pending, risky, absent } = decided;
        let (held_back, absent) = if self.options.allow_mass_change { (0, 0) } else { (risky, absent) };
        if self.options.dry_run {
            changes.iter().for_each(|change| self.progress.change(change));
            let cleared = changes.iter().filter(|c| c.from.is_some() && c.to.is_none()).count() as u64;
            let updated = changes.len() as u64 - cleared;
            return Ok(Part { updated, cleared, pending, held_back, absent, has_cleared: false, settled });
        }
        let has_cleared = entries.iter().any(|entry| entry.cleared_at.is_some());
        let applied = self.store().apply(entries, courses).await?;
        let cleared = cleared.min(applied.overviews);
        let updated = applied.overviews - cleared;
        Ok(Part { updated, cleared, pending, held_back, absent, has_cleared, settled })
    }

    /// After each page or batch: row, bar and log line, each no more often than is of use.
    pub(super) async fn tick(&mut self, phase: Phase) -> Result<(), PassError> {
        // Before the row is written: whoever has the lease now may have taken it up.
        self.go_on()?;
        self.progress.at(&self.status(phase));
        if self.logged.elapsed() >= log::EVERY {
            self.logged = Instant::now();
            self.count_up();
            log::progress(&self.report, phase, self.low.position());
        }
        if self.saved.elapsed() >= SAVE_EVERY {
            self.save().await?;
        }
        Ok(())
    }

    /// Brings the counters up to date that are kept elsewhere.
    pub(super) fn count_up(&mut self) {
        let requests = self.pass.engine.catalog().requests();
        self.report.requests = self.requests_before + requests.saturating_sub(self.requests_earlier);
        self.report.seconds = self.seconds_before + self.began.elapsed().as_secs_f64();
        self.report.page_size = self.page_size.now();
    }

    /// Writes the row. Does nothing in a dry run.
    pub(super) async fn save(&mut self) -> Result<(), PassError> {
        self.count_up();
        let store = self.pass.engine.store();
        // Before the position: what is behind it must be known to have been seen.
        self.vouched.note(store).await?;
        let Some(row) = &mut self.row else { return Ok(()) };
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.report.verdict.as_str().clone_into(&mut row.verdict);
        row.finished_at = self.report.finished_at;
        row.position = number(self.low.position());
        row.page_size = i32::try_from(self.report.page_size).unwrap_or(i32::MAX);
        row.listed = number(self.report.listed);
        row.updated = number(self.report.updated);
        row.cleared = number(self.report.cleared);
        row.held_back = number(self.report.held_back);
        row.failures = number(self.report.failures());
        row.report = self.report.for_row();
        store.save_pass(row).await?;
        self.saved = Instant::now();
        Ok(())
    }

    pub(super) fn status(&self, phase: Phase) -> Status {
        let (position, elapsed) = (self.low.position(), self.began.elapsed());
        let done = position.saturating_sub(self.began_at);
        let left = self.report.count_after.saturating_sub(position);
        #[expect(clippy::cast_precision_loss, reason = "for the eye")]
        let time_left = (done > 0).then(|| elapsed.mul_f64((left as f64 / done as f64).min(1e6)));
        let r = &self.report;
        Status {
            phase,
            position: position.min(r.count_after),
            count: r.count_after,
            pages: r.pages,
            asked_by_key: r.settled_by_key + r.not_listed + r.unsettled,
            changes: r.updated + r.cleared,
            unsettled: r.unsettled,
            page_size: self.page_size.now(),
            elapsed,
            time_left,
        }
    }
}
