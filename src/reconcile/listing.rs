//! The first half of a pass: what the Catalog's list shows.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};

use super::crawl::{Crawl, Crawled, End};
use super::decide::Settled;
use super::log;
use super::pass::PassError;
use super::progress::Phase;
use super::ranges::Range;
use super::report::{Broken, LISTED, cut, push};
use super::running::{REFUSED, Running};
use crate::catalog::{CatalogError, ListedRun, Observation, Page};
use crate::course_key::{CourseKey, RunKey};

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

/// Where good pages begin and end, so that a broken run can be told by its neighbours.
#[derive(Debug, Default)]
struct Edges(VecDeque<(u64, u64, String, String)>);

impl Edges {
    /// More than the halves that one page falls into.
    const KEPT: usize = 64;

    fn add(&mut self, start: u64, end: u64, first: String, last: String) {
        if self.0.len() == Self::KEPT {
            self.0.pop_front();
        }
        self.0.push_back((start, end, first, last));
    }

    fn name(&self, broken: &mut Broken) {
        for (start, end, first, last) in &self.0 {
            if *end == broken.position {
                broken.after = Some(last.clone());
            }
            if *start == broken.position + 1 {
                broken.before = Some(first.clone());
            }
        }
    }
}

impl Running<'_> {
    /// Reads the list from where the pass stands, and settles every run on it.
    pub(super) async fn list(&mut self) -> Result<Listing, PassError> {
        let engine = &self.pass.engine;
        let (store, catalog) = (engine.store().clone(), engine.catalog().clone());
        let start = self.low.position();
        let mut crawl = Crawl::start(store, catalog, start, self.page_size.clone(), self.pass.at_once);
        let mut edges = Edges::default();
        loop {
            let crawled = tokio::select! {
                biased;
                () = self.lost.cancelled() => return Err(PassError::LeaseLost),
                () = self.stop.cancelled() => return Err(PassError::Stopped),
                crawled = crawl.pages.recv() => crawled,
            };
            let Some(crawled) = crawled else { break };
            self.crawled(crawled, &mut edges).await?;
        }
        for broken in &mut self.report.broken {
            edges.name(broken);
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

    async fn crawled(&mut self, crawled: Crawled, edges: &mut Edges) -> Result<(), PassError> {
        match crawled {
            Crawled::Page { range, read_to, asked_at, page, page_size } => {
                self.page_size.resume_at(page_size);
                if let (Some(first), Some(last)) = (page.runs.first(), page.runs.last()) {
                    let end = range.start + page.runs.len() as u64;
                    edges.add(range.start, end, named(first), named(last));
                }
                for broken in &mut self.report.broken {
                    edges.name(broken);
                }
                self.page(range, asked_at, page).await?;
                self.low.done(range.start, read_to);
                self.tick(Phase::Crawl).await?;
            }
            Crawled::Split(range, error) => {
                self.report.failed_pages += 1;
                let (offset, limit) = (range.start, range.len);
                tracing::debug!(event = "reconcile.page_split", offset, limit, error = %error);
            }
            Crawled::Broken(position, error) => self.broken(position, &error, edges),
            Crawled::OneAtATime => {
                tracing::info!(
                    event = "reconcile.one_at_a_time",
                    "several requests at once only slow each other: one at a time from now on"
                );
            }
        }
        Ok(())
    }

    fn broken(&mut self, position: u64, error: &CatalogError, edges: &Edges) {
        self.report.failed_pages += 1;
        self.report.broken_runs += 1;
        let error = cut(&error.to_string(), 300);
        log::run_broken(position, &error);
        if self.report.broken.len() < LISTED {
            let mut broken = Broken { position, error, ..Broken::default() };
            edges.name(&mut broken);
            self.report.broken.push(broken);
        }
        self.low.done(position, position + 1);
    }

    async fn page(&mut self, range: Range, asked_at: DateTime<Utc>, page: Page) -> Result<(), PassError> {
        if self.report.pages == 0 {
            self.report.count_before = page.count;
        }
        self.report.count_after = page.count;
        self.report.pages += 1;
        self.report.bytes += page.bytes as u64;
        let (courses, answers) = self.take_in(range, page.runs);
        for (course, has_overview, settled) in self.settle(&courses, &answers, asked_at).await? {
            match settled {
                Settled::Before => self.report.seen_twice += 1,
                // Asked again by key, like a run that was not shown.
                Settled::Unknown(_) | Settled::NotListed => {}
                Settled::Known if has_overview => self.report.settled_by_crawl += 1,
                Settled::Known => {
                    self.report.without_overview += 1;
                    log::without_overview(course.as_str());
                }
            }
        }
        Ok(())
    }

    /// Sorts out the rows of a page: what is no key of a run, what takes its parent's URL, what was there before.
    fn take_in(
        &mut self,
        range: Range,
        runs: Vec<ListedRun>,
    ) -> (Vec<CourseKey>, HashMap<RunKey, Observation>) {
        let report = &mut self.report;
        let mut courses = Vec::with_capacity(runs.len());
        let mut answers = HashMap::with_capacity(runs.len());
        for (position, listed) in (range.start..).zip(runs) {
            report.listed += 1;
            let key = match listed.key {
                Ok(key) if key.is_ccx() => {
                    report.ccx_listed += 1;
                    continue;
                }
                Ok(key) => key,
                Err(error) => {
                    report.odd_rows += 1;
                    push(&mut report.odd, format!("position {position}: {error}"));
                    continue;
                }
            };
            if let Observation::Unknown(why) = &listed.observation {
                report.odd_rows += 1;
                push(&mut report.odd, format!("{key}: {why}"));
            } else if let Some(column) = listed.odd.first() {
                report.odd_rows += 1;
                push(&mut report.odd, format!("{key}: its {} can be none, and is left out", column.field()));
            }
            let run = key.run_key();
            if matches!(&listed.observation, Observation::Unknown(why) if why.refused().is_some())
                && self.refused.len() < REFUSED
            {
                self.refused.insert(&run);
            }
            let again = self.options.dry_run && !self.seen.insert(&run);
            if again || answers.contains_key(&run) {
                report.seen_twice += 1;
                continue;
            }
            answers.insert(run, listed.observation);
            courses.push(key);
        }
        (courses, answers)
    }

    fn ended(&mut self, end: End) -> Result<Listing, PassError> {
        let position = self.low.position();
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
