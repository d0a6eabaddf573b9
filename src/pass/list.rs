//! The first half of a pass: what the Catalog's list shows.

use super::fetch::{Crawl, Crawled, End};
use super::parts::Phase;
use super::report::{Broken, LISTED};
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
        match crawled {
            Crawled::Page { range, read_to, asked_at, page } => {
                if let (Some(first), Some(end)) = (page.runs.first(), page.runs.last()) {
                    let broken = self.report.broken.last_mut();
                    if let Some(broken) = broken.filter(|broken| broken.position + 1 == range.start) {
                        broken.before = Some(named(first));
                    }
                    *last = Some((range.start + page.runs.len() as u64, named(end)));
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
                let after = last.take().filter(|(end, _)| *end == position);
                self.broken(position, &error, after.map(|(_, run)| run));
                self.settled_to = position + 1;
                self.tick(Phase::Crawl).await?;
            }
        }
        Ok(())
    }

    fn broken(&mut self, position: u64, error: &CatalogError, after: Option<String>) {
        self.report.failed_pages += 1;
        self.report.broken_runs += 1;
        let error = cut(&error.to_string(), 300);
        log::run_broken(position, &error);
        if self.report.broken.len() < LISTED {
            self.report.broken.push(Broken { position, after, error, ..Broken::default() });
        }
    }

    fn ended(&mut self, end: End) -> Result<Listing, PassError> {
        let read = self.report.pages > 0;
        let report = &mut self.report;
        let (position, count) = (self.settled_to, report.count_after);
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
