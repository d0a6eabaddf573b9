//! What becomes of the runs that the list shows: the ledger vouches for them, or they are looked at.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::blocks::Block;
use super::decide::Settled;
use super::log;
use super::pass::PassError;
use super::progress::Phase;
use super::report::push;
use super::running::{Running, SUPERSEDED};
use super::vouched::Voucher;
use crate::catalog::{ListedRun, Observation};
use crate::course_key::{CourseKey, RunKey};
use crate::store;

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
    /// Settles the runs of these blocks, but for those that the ledger vouches for.
    pub(super) async fn blocks(&mut self, blocks: Vec<Block>) -> Result<(), PassError> {
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
                // Whether a custom course is settled depends on its parent, too.
                if course.is_ccx() {
                    continue;
                }
                match settled {
                    Settled::Before => self.report.seen_twice += 1,
                    // Asked again by key, like a run that was not shown.
                    Settled::Unknown(_) | Settled::Rejected(_) | Settled::NotListed => {}
                    Settled::Superseded if self.superseded.len() < SUPERSEDED => self.superseded.push(course),
                    Settled::Superseded => self.superseded_beyond += 1,
                    Settled::Refused(why) if has_overview => {
                        self.report.settled_by_crawl += 1;
                        self.report.refused(&course, &why);
                    }
                    Settled::Known if has_overview => self.report.settled_by_crawl += 1,
                    Settled::Known | Settled::Refused(_) => {
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

    /// Counts the rows of a block that the ledger has whole, in which none is of no use. Returns how many they are.
    fn take_note(&mut self, block: &Block) -> u32 {
        let is_ccx = |listed: &&ListedRun| listed.key.as_ref().is_ok_and(CourseKey::is_ccx);
        let ccx = block.runs.iter().filter(is_ccx).count();
        self.report.listed += block.runs.len() as u64;
        self.report.ccx_listed += ccx as u64;
        u32::try_from(block.runs.len()).unwrap_or(u32::MAX)
    }

    /// Sorts out the rows of a block: what is no key of a run, what is among the `others` already. Returns what is left, and how many runs the ledger has if it has the block whole.
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
                Ok(key) => key,
                Err(error) => {
                    of_no_use += 1;
                    report.odd_rows += 1;
                    push(&mut report.odd, format!("position {position}: {error}"));
                    continue;
                }
            };
            report.ccx_listed += u64::from(key.is_ccx());
            if key.is_ccx() && self.options.dry_run {
                // It is asked for by key, with its parent, as nothing is noted of either.
                continue;
            }
            if let Observation::Unknown(why) = &listed.observation {
                report.odd_rows += 1;
                push(&mut report.odd, format!("{key}: {why}"));
            } else if let Some(column) = listed.odd.first() {
                of_no_use += 1;
                report.odd_rows += 1;
                push(&mut report.odd, format!("{key}: its {} can be none, and is left out", column.field()));
            }
            let run = key.own_key();
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
}
