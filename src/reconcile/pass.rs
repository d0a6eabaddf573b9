//! A pass from the outside: what it is told, how it can end.

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::begin::resumable;
use super::lease::Held;
use super::page_size::{FIRST, PageSize};
use super::progress::Progress;
use super::report::Report;
use super::running::Running;
use crate::config;
use crate::jobs::Jobs;
use crate::store::{StoreError, Verdict};
use crate::sync::Engine;

/// A pass that breaks off again and again is taken up so often by [`Pass::resume`]; then it waits for a new one.
const RESUMED: u32 = 12;

/// What one pass is told.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Runs a page.
    pub page_size: config::PageSize,
    /// Write nothing; tell [`Progress::change`] of each change that a pass would make.
    pub dry_run: bool,
    /// Let any number of links be cleared or re-hosted, and believe a list that lacks most linked courses.
    pub allow_mass_change: bool,
}

/// Why a pass came to no end of its own. What it had written stays, and is right; the next one goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The database failed.
    #[error("the pass broke off at the database")]
    Store(#[from] StoreError),
    /// It was told to stop.
    #[error("the pass was stopped; the next one goes on where it stood")]
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

/// The pass over the whole Catalog; to be run as often as wanted.
#[derive(Clone)]
pub struct Pass {
    pub(super) engine: Engine,
    pub(super) settings: config::Reconcile,
    pub(super) clear_after: std::time::Duration,
    pub(super) at_once: usize,
    jobs: Jobs,
}

impl Pass {
    /// A pass with this engine, as `[reconcile]`, `sync.clear_after` and `catalog.concurrency` say.
    pub fn new(
        engine: Engine,
        settings: &config::Reconcile,
        sync: &config::Sync,
        catalog: &config::Catalog,
    ) -> Self {
        let (clear_after, at_once) = (sync.clear_after, catalog.concurrency);
        Self { engine, settings: settings.clone(), clear_after, at_once, jobs: Jobs::default() }
    }

    /// The same pass, whose lease keeping is one of these jobs while it runs.
    #[must_use]
    pub fn watched_by(self, jobs: Jobs) -> Self {
        Self { jobs, ..self }
    }

    /// Runs one pass, or takes up one that was killed no longer than `reconcile.resume_within` ago. Stopping it by
    /// `stop` ends it after what is in hand; so does dropping the future, less tidily.
    ///
    /// # Errors
    /// [`PassError`]. A Catalog that fails is none: it is in the report.
    pub async fn run(
        &self,
        options: Options,
        progress: &dyn Progress,
        stop: CancellationToken,
    ) -> Result<Report, PassError> {
        let span = tracing::info_span!("reconcile", dry_run = options.dry_run);
        self.run_in_span(options, progress, stop).instrument(span).await
    }

    /// Takes up the newest pass, if it was killed, or broke off, no longer than `reconcile.resume_within` ago. None:
    /// there is none to be taken up, or it has been often enough.
    ///
    /// # Errors
    /// As of [`Self::run`]; [`PassError::Taken`] where the pass is alive.
    pub async fn resume(
        &self,
        options: Options,
        progress: &dyn Progress,
        stop: CancellationToken,
    ) -> Result<Option<Report>, PassError> {
        if !self.is_left().await? {
            return Ok(None);
        }
        let span = tracing::info_span!("reconcile", dry_run = false);
        let page_size = self.page_size(options.page_size).await?;
        let held = Held::take(self.engine.store(), &self.jobs, &stop).await?;
        // Another may have taken it up meanwhile, and have ended it.
        match self.is_left().await {
            Ok(true) => {
                self.run_held(held, options, page_size, progress, stop).instrument(span).await.map(Some)
            }
            other => {
                held.release().await;
                other.map(|_| None)
            }
        }
    }

    async fn is_left(&self) -> Result<bool, PassError> {
        Ok(resumable(self).await?.is_some_and(|(_, report)| report.resumed <= RESUMED))
    }

    async fn run_in_span(
        &self,
        options: Options,
        progress: &dyn Progress,
        stop: CancellationToken,
    ) -> Result<Report, PassError> {
        let page_size = self.page_size(options.page_size).await?;
        if options.dry_run {
            // It writes nothing, so it needs no lease either, which would be a write.
            let never = CancellationToken::new();
            let running = Running::begin(self, options, page_size, progress, stop, never).await?;
            return running.complete().await;
        }
        let held = Held::take(self.engine.store(), &self.jobs, &stop).await?;
        self.run_held(held, options, page_size, progress, stop).await
    }

    async fn run_held(
        &self,
        held: Held,
        options: Options,
        page_size: PageSize,
        progress: &dyn Progress,
        stop: CancellationToken,
    ) -> Result<Report, PassError> {
        let ended = match Running::begin(self, options, page_size, progress, stop, held.lost.clone()).await {
            Ok(running) => running.complete().await,
            Err(error) => Err(error),
        };
        if !matches!(ended, Err(PassError::LeaseLost)) {
            held.release().await;
        }
        ended
    }

    /// Where the page size begins, and whether it may change.
    async fn page_size(&self, wanted: config::PageSize) -> Result<PageSize, PassError> {
        let store = self.engine.store();
        Ok(match wanted {
            config::PageSize::Fixed(size) => PageSize::fixed(size),
            config::PageSize::Auto => {
                let passes = store.last_passes(10).await?;
                let settled = passes
                    .iter()
                    .find(|pass| pass.finished_at.is_some() && pass.verdict != Verdict::Failed.as_str());
                PageSize::auto(settled.and_then(|pass| u32::try_from(pass.page_size).ok()))
            }
            config::PageSize::Lms => {
                let size = store.lms_page_size().await.map_err(PassError::LmsPageSize)?;
                // The LMS's own default where nobody has set anything.
                let size = size.and_then(|size| u32::try_from(size).ok()).unwrap_or(FIRST);
                PageSize::fixed(size.clamp(1, 10_000))
            }
        })
    }
}
