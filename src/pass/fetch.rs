//! Reads the Catalog's whole list and hands its pages on in their order. It works ahead of the pass by as many requests as
//! are allowed at once; so memory stays the same for any length.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span};

use super::page_size::{AtOnce, PageSize};
use super::ranges::{Range, Ranges};
use crate::catalog::{CatalogError, Client, Defect, Page, Purpose};
use crate::store::{Store, StoreError};
use crate::telemetry::traces;

/// Pages that fail one after another, with no good one in between, until the Catalog as a whole is held to be
/// broken. A lone broken run in the largest page makes eleven.
const FAILURES_IN_A_ROW: u32 = 24;

/// What the crawl hands on.
#[derive(Debug)]
pub(super) enum Crawled {
    /// A page was read.
    Page {
        /// What was asked for.
        range: Range,
        /// How far the list is read by it.
        read_to: u64,
        /// On the database's clock, before the request went out.
        asked_at: DateTime<Utc>,
        /// The answer.
        page: Page,
    },
    /// A page failed and is asked for again in two halves.
    Split(Range, Arc<CatalogError>),
    /// The run at this position cannot be shown by the Catalog.
    Broken(u64, Arc<CatalogError>),
}

/// How a crawl ended.
#[derive(Debug)]
pub(super) enum End {
    /// To the end of the list.
    Whole,
    /// No page size would have helped; the Catalog is not there for us.
    Gone(Arc<CatalogError>),
    /// Nothing but failures, page after page.
    Failing(Arc<CatalogError>),
    /// The list grew faster than it could be read.
    Endless,
    /// The database's clock could not be read.
    Clock(StoreError),
}

/// A running crawl; dropping it stops it.
pub(super) struct Crawl {
    store: Store,
    catalog: Client,
    ranges: Ranges,
    /// Runs a page, as the next one will be.
    pub(super) size: PageSize,
    at_once: AtOnce,
    /// The requests that are out, and answers that have not been taken.
    out: FuturesOrdered<BoxFuture<'static, Fetched>>,
    failures: u32,
}

type Fetched = (Range, DateTime<Utc>, usize, Result<Page, CatalogError>);

impl Crawl {
    /// Begins at offset `start`, with at most `at_once` requests out.
    pub(super) fn new(store: Store, catalog: Client, start: u64, size: PageSize, at_once: usize) -> Self {
        let (ranges, at_once) = (Ranges::new(start), AtOnce::new(at_once));
        Self { store, catalog, ranges, size, at_once, out: FuturesOrdered::new(), failures: 0 }
    }

    /// What comes next in the order of the list. Other requests go out before it is returned.
    ///
    /// # Errors
    /// How the crawl has ended.
    pub(super) async fn next(&mut self) -> Result<Crawled, End> {
        if self.out.is_empty() {
            self.ask().await?;
        }
        let Some((range, asked_at, together, answer)) = self.out.next().await else {
            return Err(if self.ranges.is_endless() { End::Endless } else { End::Whole });
        };
        let crawled = match answer {
            Ok(page) => self.read(range, asked_at, together, page),
            Err(error) => self.failed(range, error)?,
        };
        self.ask().await?;
        Ok(crawled)
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

    fn read(&mut self, range: Range, asked_at: DateTime<Utc>, together: usize, page: Page) -> Crawled {
        self.failures = 0;
        let rows = page.runs.len();
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
        Crawled::Page { range, read_to, asked_at, page }
    }

    fn failed(&mut self, range: Range, error: CatalogError) -> Result<Crawled, End> {
        let error = Arc::new(error);
        if !error.may_succeed_smaller() {
            return Err(End::Gone(error));
        }
        self.failures += 1;
        if self.failures > FAILURES_IN_A_ROW {
            return Err(End::Failing(error));
        }
        self.size.failed(range.len);
        Ok(if self.ranges.failed(range) {
            Crawled::Split(range, error)
        } else {
            Crawled::Broken(range.start, error)
        })
    }
}
