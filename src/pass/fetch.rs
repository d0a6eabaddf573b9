//! Reads the Catalog's whole list, page by page, and hands the pages on. It works ahead of the pass by as many requests
//! as are allowed at once and one page in the channel; so memory stays the same for any length.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span};

use super::page_size::{AtOnce, PageSize};
use super::ranges::{Range, Ranges, Read};
use crate::catalog::{CatalogError, Client, Page, Purpose};
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
        /// Runs a page, as the next one will be.
        page_size: u32,
    },
    /// A page failed and is asked for again in two halves.
    Split(Range, Arc<CatalogError>),
    /// The run at this position cannot be shown by the Catalog.
    Broken(u64, Arc<CatalogError>),
    /// Several requests at once only slow each other: one at a time from now on.
    OneAtATime,
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
    /// What it reads, as it comes; closed at the end.
    pub(super) pages: mpsc::Receiver<Crawled>,
    end: AbortOnDropHandle<(End, u32)>,
}

impl Crawl {
    /// Begins at offset `start`, with at most `at_once` requests out.
    pub(super) fn start(store: Store, catalog: Client, start: u64, size: PageSize, at_once: usize) -> Self {
        let (sender, pages) = mpsc::channel(1);
        let fetcher = Fetcher {
            store,
            catalog,
            ranges: Ranges::new(start),
            size,
            at_once: AtOnce::new(at_once),
            out: JoinSet::new(),
            failures: 0,
            sender,
        };
        let task = tokio::spawn(fetcher.run().in_current_span());
        Self { pages, end: AbortOnDropHandle::new(task) }
    }

    /// How it ended, and the page size at the end; once [`Self::pages`] is closed.
    pub(super) async fn end(self) -> Option<(End, u32)> {
        self.end.await.ok()
    }
}

type Fetched = (Range, DateTime<Utc>, usize, Result<Page, CatalogError>);

struct Fetcher {
    store: Store,
    catalog: Client,
    ranges: Ranges,
    size: PageSize,
    at_once: AtOnce,
    out: JoinSet<Fetched>,
    failures: u32,
    sender: mpsc::Sender<Crawled>,
}

impl Fetcher {
    async fn run(mut self) -> (End, u32) {
        let end = loop {
            if let Err(error) = self.ask().await {
                break End::Clock(error);
            }
            let Some(done) = self.out.join_next().await else {
                break if self.ranges.is_endless() { End::Endless } else { End::Whole };
            };
            // A request that panicked is none that was answered; its part of the list is asked for by key.
            let Ok((range, asked_at, together, answer)) = done else { continue };
            let sent = match answer {
                Ok(page) => self.read(range, asked_at, together, page).await,
                Err(error) => match self.failed(range, error).await {
                    Ok(sent) => sent,
                    Err(end) => break end,
                },
            };
            if !sent {
                break End::Whole;
            }
        };
        // Requests that nobody waits for any more end with the crawl.
        self.out.shutdown().await;
        (end, self.size.now())
    }

    /// Sends as many requests as may be out.
    async fn ask(&mut self) -> Result<(), StoreError> {
        while self.out.len() < self.at_once.now() {
            let size = if self.ranges.is_unread() { self.size.first() } else { self.size.now() };
            let Some(range) = self.ranges.take(size, self.out.len()) else { break };
            let asked_at = self.store.now().await?;
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
                (range, asked_at, together, answer)
            };
            self.out.spawn(request.instrument(span));
        }
        Ok(())
    }

    /// Returns false if nobody takes the pages any more.
    async fn read(&mut self, range: Range, asked_at: DateTime<Utc>, together: usize, page: Page) -> bool {
        self.failures = 0;
        let rows = page.runs.len();
        let Read { to, capped } = self.ranges.read(range, rows as u64, page.count);
        if capped {
            self.size.capped_at(u32::try_from(rows).unwrap_or(u32::MAX));
        } else if rows as u64 >= u64::from(range.len) {
            self.size.took(range.len, page.elapsed);
        }
        let together = together.max(self.out.len() + 1);
        if self.at_once.took(rows, page.elapsed, together)
            && self.sender.send(Crawled::OneAtATime).await.is_err()
        {
            return false;
        }
        let page_size = self.size.now();
        self.sender.send(Crawled::Page { range, read_to: to, asked_at, page, page_size }).await.is_ok()
    }

    async fn failed(&mut self, range: Range, error: CatalogError) -> Result<bool, End> {
        let error = Arc::new(error);
        if !error.may_succeed_smaller() {
            return Err(End::Gone(error));
        }
        self.failures += 1;
        if self.failures > FAILURES_IN_A_ROW {
            return Err(End::Failing(error));
        }
        self.size.failed(range.len);
        let crawled = if self.ranges.failed(range) {
            Crawled::Split(range, error)
        } else {
            Crawled::Broken(range.start, error)
        };
        Ok(self.sender.send(crawled).await.is_ok())
    }
}
