//! The first half of a pass: what the Catalog's list shows.

use super::fetch::{Crawl, Crawled, End};
use super::position::InOrder;
use super::progress::Phase;
use super::report::{Broken, LISTED, Neighbours};
use super::running::Running;
use super::{PassError, log};
use crate::catalog::{CatalogError, ListedRun};
use crate::model::text::cut;

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
        let start = self.settled_to.position();
        let mut crawl = Crawl::start(store, catalog, start, self.page_size.clone(), self.parts.at_once);
        let mut neighbours = Neighbours::default();
        // While one page is read again in parts, others go on.
        let mut in_order = InOrder::new(start, 12 + 2 * self.parts.at_once);
        loop {
            let crawled = self.halt.run_until_cancelled(crawl.pages.recv()).await;
            self.go_on()?;
            let Some(Some(crawled)) = crawled else { break };
            match crawled {
                Crawled::Page { range, read_to, .. } => in_order.add(range.start, read_to, crawled),
                Crawled::Broken(position, _) => in_order.add(position, position + 1, crawled),
                other => self.crawled(other, &mut neighbours).await?,
            }
            while let Some(crawled) = in_order.take() {
                self.crawled(crawled, &mut neighbours).await?;
            }
        }
        in_order.end();
        while let Some(crawled) = in_order.take() {
            self.crawled(crawled, &mut neighbours).await?;
        }
        for broken in &mut self.report.broken {
            neighbours.name(broken);
        }
        // Pages come back in any order.
        self.report.broken.sort_by_key(|broken| broken.position);
        match crawl.end().await {
            Some((end, size)) => {
                self.page_size.resume_at(size);
                self.ended(end)
            }
            None => {
                self.report.reason("the crawl died");
                Ok(Listing::Partly)
            }
        }
    }

    /// Takes what the crawl hands on.
    async fn crawled(&mut self, crawled: Crawled, neighbours: &mut Neighbours) -> Result<(), PassError> {
        match crawled {
            Crawled::Page { range, read_to, asked_at, page, page_size } => {
                self.page_size.resume_at(page_size);
                if let (Some(first), Some(last)) = (page.runs.first(), page.runs.last()) {
                    let end = range.start + page.runs.len() as u64;
                    neighbours.add(range.start, end, named(first), named(last));
                }
                for broken in &mut self.report.broken {
                    neighbours.name(broken);
                }
                if self.report.pages == 0 {
                    self.report.count_before = page.count;
                }
                self.report.count_after = page.count;
                self.report.pages += 1;
                self.report.bytes += page.bytes as u64;
                self.settle_page(range.start, read_to, asked_at, page.runs).await?;
            }
            Crawled::Split(range, error) => {
                self.report.failed_pages += 1;
                let (offset, limit) = (range.start, range.len);
                tracing::debug!(event = "reconcile.page_split", offset, limit, error = %error);
            }
            Crawled::Broken(position, error) => {
                self.broken(position, &error, neighbours);
                self.settled_to.done(position, position + 1);
                self.tick(Phase::Crawl).await?;
            }
            Crawled::OneAtATime => {
                tracing::info!(
                    event = "reconcile.one_at_a_time",
                    "several requests at once only slow each other: one at a time from now on"
                );
            }
        }
        Ok(())
    }

    fn broken(&mut self, position: u64, error: &CatalogError, neighbours: &Neighbours) {
        self.report.failed_pages += 1;
        self.report.broken_runs += 1;
        let error = cut(&error.to_string(), 300);
        log::run_broken(position, &error);
        if self.report.broken.len() < LISTED {
            let mut broken = Broken { position, error, ..Broken::default() };
            neighbours.name(&mut broken);
            self.report.broken.push(broken);
        }
    }

    fn ended(&mut self, end: End) -> Result<Listing, PassError> {
        let position = self.settled_to.position();
        let read = self.report.pages > 0;
        let report = &mut self.report;
        let (position, count) = (position, report.count_after);
        Ok(match end {
            End::Clock(error) => return Err(error.into()),
            End::Whole if read => Listing::Whole,
            End::Whole => {
                report.reason("not one page of the Catalog's list could be read");
                Listing::Nothing
            }
            End::Gone(error) if !read => {
                report.reason(format!("nothing could be read: {error}"));
                Listing::Nothing
            }
            End::Failing(error) if !read => {
                report.reason(format!("nothing could be read, whatever the page size: {error}"));
                Listing::Nothing
            }
            End::Gone(error) => {
                report.reason(format!("the Catalog was gone at run {position} of {count}: {error}"));
                Listing::Gone
            }
            End::Failing(error) => {
                report.reason(format!("page after page failed from run {position} of {count} on: {error}"));
                Listing::Partly
            }
            End::Endless => {
                report.reason(format!("the Catalog's list has no end: given up at run {position}"));
                Listing::Partly
            }
        })
    }
}

fn named(run: &ListedRun) -> String {
    match &run.key {
        Ok(key) => key.as_str().to_owned(),
        Err(error) => cut(&error.to_string(), 200),
    }
}
