//! The first half of a pass: what the Catalog's list shows.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::blocks::{Block, Cutter, Stretch};
use super::crawl::{Crawl, Crawled, End};
use super::decide::Settled;
use super::edges::Edges;
use super::log;
use super::pass::PassError;
use super::progress::Phase;
use super::report::{Broken, LISTED, cut, push};
use super::running::{REFUSED, Running};
use super::vouched::{Vouched, Voucher};
use crate::catalog::{CatalogError, ListedRun, Observation};
use crate::course_key::{CourseKey, RunKey};
use crate::store;

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

/// Runs of several blocks that have to be looked at.
#[derive(Default)]
struct LookedAt {
    courses: Vec<CourseKey>,
    answers: HashMap<RunKey, Observation>,
    blocks: HashMap<RunKey, i64>,
    seen: Vec<store::Block>,
    /// When the oldest of them was asked for.
    asked_at: Option<DateTime<Utc>>,
}

impl LookedAt {
    fn add(
        &mut self,
        courses: Vec<CourseKey>,
        answers: HashMap<RunKey, Observation>,
        block: store::Block,
        asked_at: DateTime<Utc>,
    ) {
        self.blocks.extend(answers.keys().map(|run| (run.clone(), block.digest)));
        self.courses.extend(courses);
        self.answers.extend(answers);
        self.seen.push(block);
        self.asked_at = Some(self.asked_at.map_or(asked_at, |oldest| oldest.min(asked_at)));
    }
}

impl Running<'_> {
    /// Reads the list from where the pass stands, and settles every run on it.
    pub(super) async fn list(&mut self) -> Result<Listing, PassError> {
        let engine = &self.pass.engine;
        let (store, catalog) = (engine.store().clone(), engine.catalog().clone());
        let start = self.low.position();
        let mut crawl =
            Crawl::start(store.clone(), catalog, start, self.page_size.clone(), self.pass.at_once);
        let mut edges = Edges::default();
        let mut cutter = Cutter::new(start, self.pass.at_once);
        // A dry run tells of each run that it would change, so it looks at all.
        if !self.options.dry_run {
            self.vouched = Vouched::read(&store).await?;
        }
        loop {
            let crawled = tokio::select! {
                biased;
                () = self.lost.cancelled() => return Err(PassError::LeaseLost),
                () = self.stop.cancelled() => return Err(PassError::Stopped),
                crawled = crawl.pages.recv() => crawled,
            };
            let Some(crawled) = crawled else { break };
            let stretch = self.crawled(crawled, &mut edges);
            let blocks = stretch.map(|stretch| cutter.add(stretch)).unwrap_or_default();
            self.blocks(blocks).await?;
        }
        self.blocks(cutter.rest()).await?;
        self.vouched.note(&store).await?;
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

    /// Takes note of what the crawl hands on. Returns the stretch of the list that is behind it now.
    fn crawled(&mut self, crawled: Crawled, edges: &mut Edges) -> Option<Stretch> {
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
                if self.report.pages == 0 {
                    self.report.count_before = page.count;
                }
                self.report.count_after = page.count;
                self.report.pages += 1;
                self.report.bytes += page.bytes as u64;
                return Some(Stretch { start: range.start, end: read_to, asked_at, runs: page.runs });
            }
            Crawled::Split(range, error) => {
                self.report.failed_pages += 1;
                let (offset, limit) = (range.start, range.len);
                tracing::debug!(event = "reconcile.page_split", offset, limit, error = %error);
            }
            Crawled::Broken(position, asked_at, error) => {
                self.broken(position, &error, edges);
                return Some(Stretch { start: position, end: position + 1, asked_at, runs: Vec::new() });
            }
            Crawled::OneAtATime => {
                tracing::info!(
                    event = "reconcile.one_at_a_time",
                    "several requests at once only slow each other: one at a time from now on"
                );
            }
        }
        None
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
    }

    /// Settles the runs of these blocks, but for those that the ledger vouches for.
    async fn blocks(&mut self, blocks: Vec<Block>) -> Result<(), PassError> {
        if blocks.is_empty() {
            return Ok(());
        }
        let mut looked_at = LookedAt::default();
        let mut done = Vec::with_capacity(blocks.len());
        for block in blocks {
            done.push((block.start, block.end));
            let (digest, asked_at) = (block.digest, block.asked_at);
            match self.vouched.look_up(digest) {
                Voucher::None => {
                    let (courses, answers, runs) = self.take_in(block, &looked_at.answers);
                    if runs > 0 {
                        looked_at.add(courses, answers, store::Block { digest, runs }, asked_at);
                    }
                }
                Voucher::Whole => {
                    let runs = self.take_note(&block);
                    self.vouched.saw(store::Block { digest, runs }, asked_at);
                }
                Voucher::Again => self.report.seen_twice += u64::from(self.take_note(&block)),
            }
        }
        self.look_at(looked_at).await?;
        for (start, end) in done {
            self.low.done(start, end);
        }
        self.tick(Phase::Crawl).await
    }

    async fn look_at(&mut self, looked_at: LookedAt) -> Result<(), PassError> {
        let LookedAt { courses, answers, blocks, seen, asked_at } = looked_at;
        if let Some(asked_at) = asked_at {
            // So that a run of theirs that is shown again is known as such.
            self.vouched.note(self.store()).await?;
            for (course, has_overview, settled) in self.settle(&courses, &answers, &blocks, asked_at).await? {
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
            if !self.options.dry_run {
                seen.into_iter().for_each(|block| self.vouched.saw(block, asked_at));
            }
        }
        if self.vouched.is_full() {
            self.vouched.note(self.store()).await?;
        }
        Ok(())
    }

    /// Counts the rows of a block that the ledger has whole, in which none is of no use. Returns how many are not
    /// custom courses.
    fn take_note(&mut self, block: &Block) -> u32 {
        let is_ccx = |listed: &&ListedRun| listed.key.as_ref().is_ok_and(CourseKey::is_ccx);
        let ccx = block.runs.iter().filter(is_ccx).count();
        self.report.listed += block.runs.len() as u64;
        self.report.ccx_listed += ccx as u64;
        u32::try_from(block.runs.len() - ccx).unwrap_or(u32::MAX)
    }

    /// Sorts out the rows of a block: what is no key of a run, what takes its parent's URL, what is among the
    /// `others` already. Returns what is left, and how many runs the ledger has if it has the block whole.
    fn take_in(
        &mut self,
        block: Block,
        others: &HashMap<RunKey, Observation>,
    ) -> (Vec<CourseKey>, HashMap<RunKey, Observation>, u32) {
        let report = &mut self.report;
        let mut courses = Vec::with_capacity(block.runs.len());
        let mut answers = HashMap::with_capacity(block.runs.len());
        let mut of_no_use = 0;
        for (position, listed) in (block.start..).zip(block.runs) {
            report.listed += 1;
            let key = match listed.key {
                Ok(key) if key.is_ccx() => {
                    report.ccx_listed += 1;
                    continue;
                }
                Ok(key) => key,
                Err(error) => {
                    of_no_use += 1;
                    report.odd_rows += 1;
                    push(&mut report.odd, format!("position {position}: {error}"));
                    continue;
                }
            };
            if let Observation::Unknown(why) = &listed.observation {
                report.odd_rows += 1;
                push(&mut report.odd, format!("{key}: {why}"));
            } else if let Some(column) = listed.odd.first() {
                of_no_use += 1;
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
            let elsewhere = others.contains_key(&run);
            if again || elsewhere || answers.contains_key(&run) {
                // Its row can name one block only: this one will not be whole.
                of_no_use += usize::from(elsewhere);
                report.seen_twice += 1;
                continue;
            }
            answers.insert(run, listed.observation);
            courses.push(key);
        }
        let runs = courses.len() + of_no_use;
        (courses, answers, u32::try_from(runs).unwrap_or(u32::MAX))
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
