//! The pass over the whole Catalog, which makes every link right in the end, and says how far its result can be trusted.
//!
//! No event says that something was changed in the Catalog: the pass finds it. It reads the Catalog's list page by page
//! and hands each page to the engine. The list has no snapshot and moves while it is read, so every overview that it did
//! not show is asked for by key. At the end it makes the changes that waited for the brake, brings overviews in line
//! with the ledger, and gives its verdict.
//!
//! ```text
//! lease ─▶ parts ──▶ list ────────▶ by_key ─▶ verdict ─▶ report
//!                     │               │          └ held, heal, custom courses
//!                     └▶ settle_page ─┴▶ Engine::observe
//! ```
//!
//! What a pass has seen is in the ledger: on most nights nothing has changed, and one statement for each page notes the
//! time at which its runs were seen again. So a pass that was killed is resumed where it stopped.

mod begin;
mod by_key;
mod error;
mod lease;
mod list;
mod page_size;
mod progress;
mod ranges;
mod report;
mod running;
mod settle_page;
mod table;
mod verdict;
mod waiting;

pub use self::begin::Options;
pub use self::error::PassError;
pub use self::progress::{Phase, Progress, Silent, Status};
pub use self::report::{Broken, Report};
pub(crate) use self::verdict::FEW;

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use self::begin::Parts;
use self::lease::Lease;
use self::page_size::{FIRST, PageSize};
use self::running::Running;
use crate::config;
use crate::engine::Engine;
use crate::jobs::Jobs;
use crate::store::{ChangedBy, PassKind, Store, Verdict};
use crate::telemetry::report as in_one_line;
use crate::telemetry::traces::{self, count};

/// How often [`Wanted::Rest`] resumes one pass; after that a new one is waited for.
const RESUMED: u32 = 12;

/// Which pass [`Pass::run_if`] runs, and on which condition.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {
    /// The newest full pass, if it was killed, or broke off, no longer than `reconcile.resume_within` ago, and has not been
    /// resumed too often.
    Rest,
    /// A pass, unless one of its kind, or a full one, that began after this has ended: of several workers on one schedule
    /// one makes the pass.
    NoneSince(DateTime<Utc>),
}

/// The pass over the whole Catalog; to be run as often as wanted.
#[derive(Clone)]
pub struct Pass {
    parts: Parts,
    jobs: Jobs,
}

impl Pass {
    /// A pass with this engine, as `[reconcile]` and `catalog.concurrency` say.
    pub fn new(engine: Engine, settings: &config::Reconcile, catalog: &config::Catalog) -> Self {
        let parts = Parts { engine, settings: settings.clone(), at_once: catalog.concurrency };
        Self { parts, jobs: Jobs::default() }
    }

    /// The same pass, whose lease keeping is one of these jobs while it runs.
    #[must_use]
    pub fn watched_by(self, jobs: Jobs) -> Self {
        Self { jobs, ..self }
    }

    /// Runs one pass, or resumes one that was killed no longer than `reconcile.resume_within` ago. `stop` ends it after
    /// the page that it is at; so does dropping the future, less tidily.
    ///
    /// # Errors
    /// [`PassError`]. A Catalog that fails is not an error: it is in the report.
    pub async fn run(
        &self,
        options: Options,
        progress: &dyn Progress,
        stop: CancellationToken,
    ) -> Result<Report, PassError> {
        if options.dry_run {
            // It writes nothing, so it needs no lease either, which would be a write.
            let halt = stop.child_token();
            return run(&self.parts, options, progress, stop, halt).await;
        }
        let lease =
            Lease::take(self.parts.engine.store(), &self.jobs, Duration::ZERO, progress, &stop).await?;
        self.run_with(lease, options, progress, stop).await
    }

    /// The same if it is wanted, and else none. Waits up to `patience` for the end of another pass.
    ///
    /// # Errors
    /// As of [`Self::run`]; [`PassError::Taken`] where another pass is still alive.
    pub async fn run_if(
        &self,
        wanted: Wanted,
        patience: Duration,
        options: Options,
        progress: &dyn Progress,
        stop: CancellationToken,
    ) -> Result<Option<Report>, PassError> {
        if !self.is_wanted(wanted, options.kind).await? {
            return Ok(None);
        }
        let lease = Lease::take(self.parts.engine.store(), &self.jobs, patience, progress, &stop).await?;
        // Again, with the lease: another worker may have made the whole pass since.
        match self.is_wanted(wanted, options.kind).await {
            Ok(true) => self.run_with(lease, options, progress, stop).await.map(Some),
            other => {
                lease.release().await;
                other.map(|_| None)
            }
        }
    }

    async fn is_wanted(&self, wanted: Wanted, kind: PassKind) -> Result<bool, PassError> {
        Ok(match wanted {
            Wanted::Rest => {
                self.parts.resumable().await?.is_some_and(|(_, report)| report.resumed <= RESUMED)
            }
            Wanted::NoneSince(since) => {
                let kind = Some(kind).filter(|kind| *kind == PassKind::Full);
                let passes = self.parts.engine.store().last_passes(kind, 1).await?;
                !passes.first().is_some_and(|last| last.finished_at.is_some() && last.started_at > since)
            }
        })
    }

    async fn run_with(
        &self,
        lease: Lease,
        options: Options,
        progress: &dyn Progress,
        stop: CancellationToken,
    ) -> Result<Report, PassError> {
        let by = match options.kind {
            PassKind::Full => ChangedBy::FullPass,
            PassKind::Light => ChangedBy::LightPass,
        };
        let parts = Parts { engine: self.parts.engine.writing_as(by), ..self.parts.clone() };
        let ended = run(&parts, options, progress, stop, lease.halt.clone()).await;
        if !matches!(ended, Err(PassError::LeaseLost)) {
            lease.release().await;
        }
        ended
    }
}

/// One pass, in a span of its own: the root of its trace, but for a command's.
async fn run(
    parts: &Parts,
    options: Options,
    progress: &dyn Progress,
    stop: CancellationToken,
    halt: CancellationToken,
) -> Result<Report, PassError> {
    let span = tracing::info_span!(
        "reconcile",
        course_sharing.kind = options.kind.as_str(),
        course_sharing.dry_run = options.dry_run,
        course_sharing.pass = Empty,
        course_sharing.outcome = Empty,
        course_sharing.reason = Empty,
        course_sharing.rows_written = Empty,
        course_sharing.requests = Empty,
        course_sharing.broken_runs = Empty,
    );
    let pass = async {
        let page_size = page_size(parts.engine.store(), options).await?;
        Running::begin(parts, options, page_size, progress, stop, halt).await?.complete().await
    };
    let ended = pass.instrument(span.clone()).await;
    match &ended {
        _ if span.is_disabled() => {}
        Ok(report) => note_end(&span, report),
        Err(error) => traces::fail(&span, error.into(), &in_one_line(error)),
    }
    ended
}

/// Where the page size begins, and whether it may change.
async fn page_size(store: &Store, Options { kind, page_size, .. }: Options) -> Result<PageSize, PassError> {
    Ok(match page_size {
        config::PageSize::Fixed(size) => PageSize::fixed(size),
        config::PageSize::Auto => {
            let passes = store.last_passes(None, 10).await?;
            let settled =
                passes.iter().find(|pass| pass.finished_at.is_some() && pass.verdict != Verdict::Failed);
            let last = settled.and_then(|pass| u32::try_from(pass.page_size).ok());
            match kind {
                PassKind::Full => PageSize::auto(last),
                PassKind::Light => PageSize::kept(last),
            }
        }
        config::PageSize::Lms => {
            let size = store.lms_page_size().await.map_err(PassError::LmsPageSize)?;
            // The LMS's own default where nobody has set anything.
            let size = size.and_then(|size| u32::try_from(size).ok()).unwrap_or(FIRST);
            PageSize::fixed(size.clamp(1, 10_000))
        }
    })
}

/// What became of a pass.
fn note_end(span: &Span, report: &Report) {
    let reasons = report.reasons.join("; ");
    span.record("course_sharing.pass", report.pass);
    span.record("course_sharing.outcome", report.verdict.as_str());
    span.record("course_sharing.reason", reasons.as_str());
    span.record("course_sharing.rows_written", count(report.updated + report.cleared));
    span.record("course_sharing.requests", count(report.requests));
    span.record("course_sharing.broken_runs", count(report.broken_runs));
    if report.verdict == Verdict::Failed {
        traces::fail(span, "failed", &reasons);
    }
}
