//! The first half of a pass: what the Catalog's list shows. The crawl hands its pages on in their order, and works ahead of
//! the pass by as many requests as are allowed at once; so memory stays the same for any length.

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span};

use super::PassError;
use super::page_size::{AtOnce, PageSize};
use super::progress::Phase;
use super::ranges::{Range, Ranges};
use super::report::{Broken, LISTED};
use super::running::Running;
use crate::catalog::{CatalogError, Client, Defect, ListedRun, Page, Purpose};
use crate::model::text::cut;
use crate::store::{Store, StoreError};
use crate::telemetry::traces;

/// How the listing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    /// To the end.
    Whole,
    /// It ended early, with the Catalog still there to be asked by key.
    Partly,
    /// It ended early, and the Catalog is gone.
    Gone,
    /// Nothing could be read at all.
    Nothing,
}

impl Running<'_> {
    /// Reads the list from where the pass stands, and settles every run on it.
    pub(super) async fn list(&mut self) -> Result<Listing, PassError> {
        // The list that a light pass reads may come from the Catalog's cache.
        let engine = if self.is_light() { &self.parts.engine } else { &self.engine };
        let (store, catalog) = (engine.store().clone(), engine.catalog().clone());
        let mut crawl =
            Crawl::new(store, catalog, self.settled_to, self.page_size.clone(), self.parts.at_once);
        let mut last = None;
        loop {
            let crawled = self.halt.run_until_cancelled(crawl.next()).await;
            self.go_on()?;
            self.page_size = crawl.size.clone();
            match crawled {
                Some(Ok(crawled)) => self.crawled(crawled, &mut last).await?,
                Some(Err(end)) => return self.ended(end),
                None => {}
            }
        }
    }

    /// Takes what the crawl hands on. `last`: where the page before ended, and with which run.
    async fn crawled(&mut self, crawled: Crawled, last: &mut Option<(u64, String)>) -> Result<(), PassError> {
        let Crawled { range, asked_at, answer } = crawled;
        match answer {
            Ok((read_to, page)) => {
                if let (Some(first), Some(end)) = (page.rows.first(), page.rows.last()) {
                    let broken = self.report.broken.last_mut();
                    if let Some(broken) = broken.filter(|broken| broken.position + 1 == range.start) {
                        broken.before = Some(named(first));
                    }
                    *last = Some((range.start + page.rows.len() as u64, named(end)));
                }
                if self.report.pages == 0 {
                    self.report.count_before = page.count;
                }
                self.report.count_after = page.count;
                self.report.pages += 1;
                self.report.bytes += page.bytes as u64;
                self.settle_page(range.start, read_to, asked_at, page.rows).await
            }
            Err(error) if range.len > 1 => {
                self.report.failed_pages += 1;
                let (offset, limit) = (range.start, range.len);
                tracing::debug!(event = "reconcile.page_split", offset, limit, error = %error);
                Ok(())
            }
            Err(error) => {
                let after = last.take().filter(|(end, _)| *end == range.start);
                self.broken(range.start, &error, after.map(|(_, run)| run));
                self.settled_to = range.end();
                self.tick(Phase::Crawl).await
            }
        }
    }

    fn broken(&mut self, position: u64, error: &CatalogError, after: Option<String>) {
        self.report.failed_pages += 1;
        self.report.broken_runs += 1;
        let error = cut(&error.to_string(), 300);
        tracing::warn!(
            event = "reconcile.run_broken",
            position,
            error,
            "a run on the Catalog's list makes every page with it fail"
        );
        if self.report.broken.len() < LISTED {
            self.report.broken.push(Broken { position, after, error, ..Broken::default() });
        }
    }

    fn ended(&mut self, end: End) -> Result<Listing, PassError> {
        let read = self.report.pages > 0;
        let (position, count) = (self.settled_to, self.report.count_after);
        let (listing, why) = match end {
            End::Clock(error) => return Err(error.into()),
            End::Whole if read => return Ok(Listing::Whole),
            End::Whole => (Listing::Nothing, "not one page of the Catalog's list could be read".to_owned()),
            End::Gone(error) if !read => (Listing::Nothing, format!("nothing could be read: {error}")),
            End::Failing(error) if !read => {
                (Listing::Nothing, format!("nothing could be read, whatever the page size: {error}"))
            }
            End::Gone(error) => {
                (Listing::Gone, format!("the Catalog was gone at run {position} of {count}: {error}"))
            }
            End::Failing(error) => {
                let why = format!("page after page failed from run {position} of {count} on: {error}");
                (Listing::Partly, why)
            }
            End::Endless => {
                (Listing::Partly, format!("the Catalog's list has no end: given up at run {position}"))
            }
        };
        self.report.reason(why);
        Ok(listing)
    }
}

fn named(run: &ListedRun) -> String {
    match &run.key {
        Ok(key) => key.as_str().to_owned(),
        Err(error) => cut(&error.to_string(), 200),
    }
}

/// Pages that fail one after another, with no good one in between, until the Catalog as a whole is held to be
/// broken. A lone broken run in the largest page makes eleven.
const FAILURES_IN_A_ROW: u32 = 24;

/// What the crawl hands on.
struct Crawled {
    /// What was asked for.
    range: Range,
    /// On the database's clock, before the request went out.
    asked_at: DateTime<Utc>,
    /// How far the list is read by the page, and the page. A page that failed is asked for again in two halves; a run that
    /// failed alone cannot be shown by the Catalog.
    answer: Result<(u64, Page), CatalogError>,
}

/// How a crawl ended.
enum End {
    /// To the end of the list.
    Whole,
    /// No page size would have helped; the Catalog is not there for us.
    Gone(CatalogError),
    /// Nothing but failures, page after page.
    Failing(CatalogError),
    /// The list grew faster than it could be read.
    Endless,
    /// The database's clock could not be read.
    Clock(StoreError),
}

/// A running crawl; dropping it stops it.
struct Crawl {
    store: Store,
    catalog: Client,
    ranges: Ranges,
    /// Runs a page, as the next one will be.
    size: PageSize,
    at_once: AtOnce,
    /// The requests that are out, and answers that have not been taken.
    out: FuturesOrdered<BoxFuture<'static, Fetched>>,
    failures: u32,
}

type Fetched = (Range, DateTime<Utc>, usize, Result<Page, CatalogError>);

impl Crawl {
    /// Begins at offset `start`, with at most `at_once` requests out.
    fn new(store: Store, catalog: Client, start: u64, size: PageSize, at_once: usize) -> Self {
        let (ranges, at_once) = (Ranges::new(start), AtOnce::new(at_once));
        Self { store, catalog, ranges, size, at_once, out: FuturesOrdered::new(), failures: 0 }
    }

    /// What comes next in the order of the list. Other requests go out before it is returned.
    ///
    /// # Errors
    /// How the crawl has ended.
    async fn next(&mut self) -> Result<Crawled, End> {
        if self.out.is_empty() {
            self.ask().await?;
        }
        let Some((range, asked_at, together, answer)) = self.out.next().await else {
            return Err(if self.ranges.is_endless() { End::Endless } else { End::Whole });
        };
        let answer = match answer {
            Ok(page) => Ok((self.read(range, together, &page), page)),
            Err(error) => Err(self.failed(range, error)?),
        };
        self.ask().await?;
        Ok(Crawled { range, asked_at, answer })
    }

    /// Sends as many requests as may be out.
    async fn ask(&mut self) -> Result<(), End> {
        let size = if self.ranges.is_unread() { self.size.first() } else { self.size.now() };
        if let Some(range) = self.ranges.take_before(size) {
            let request = self.request(range).await?;
            self.out.push_front(request);
        }
        while self.out.len() < self.at_once.now() {
            let Some(range) = self.ranges.take(size, self.out.len()) else { break };
            let request = self.request(range).await?;
            self.out.push_back(request);
        }
        Ok(())
    }

    /// A request that is out, and its answer.
    async fn request(&mut self, range: Range) -> Result<BoxFuture<'static, Fetched>, End> {
        let asked_at = self.store.now().await.map_err(End::Clock)?;
        let catalog = self.catalog.clone();
        let together = self.out.len() + 1;
        let offset = i64::try_from(range.start).unwrap_or(i64::MAX);
        let span = tracing::info_span!(
            "page",
            course_sharing.offset = offset,
            course_sharing.limit = i64::from(range.len),
        );
        let request = async move {
            let answer = catalog.page(range.start, range.len, Purpose::Pass).await;
            if let Err(error) = &answer {
                traces::fail(&Span::current(), error.outcome().into(), error);
            }
            answer
        };
        let request = AbortOnDropHandle::new(tokio::spawn(request.instrument(span)));
        let fetched = async move {
            let died = |error: tokio::task::JoinError| Err(Defect::Odd(error.to_string()).into());
            (range, asked_at, together, request.await.unwrap_or_else(died))
        };
        Ok(fetched.boxed())
    }

    /// Returns how far the list is read by this page.
    fn read(&mut self, range: Range, together: usize, page: &Page) -> u64 {
        self.failures = 0;
        let rows = page.rows.len();
        let read_to = self.ranges.read(range, rows as u64, page.count);
        if rows as u64 >= u64::from(range.len) {
            self.size.took(range.len, page.elapsed);
        }
        if self.at_once.took(rows, page.elapsed, together.max(self.out.len() + 1)) {
            tracing::info!(
                event = "reconcile.one_at_a_time",
                "several requests at once only slow each other: one at a time from now on"
            );
        }
        read_to
    }

    /// Returns the error, unless it ends the crawl.
    fn failed(&mut self, range: Range, error: CatalogError) -> Result<CatalogError, End> {
        if !error.may_succeed_smaller() {
            return Err(End::Gone(error));
        }
        self.failures += 1;
        if self.failures > FAILURES_IN_A_ROW {
            return Err(End::Failing(error));
        }
        self.size.failed(range.len);
        self.ranges.failed(range);
        Ok(error)
    }
}
