//! The second half of a pass: whatever the list did not show is asked for by key, so that no drift of the list, and
//! no broken run on it, hides an overview. So is what an event was told while the list was read, as the list may have
//! shown something newer.

use std::collections::HashMap;

use chrono::TimeDelta;
use tracing::Instrument;

use super::decide::Settled;
use super::listing::Listing;
use super::pass::PassError;
use super::progress::Phase;
use super::report::push;
use super::running::Running;
use super::trouble::is_of_the_page;
use crate::catalog::{Observation, Purpose};
use crate::course_key::{CourseKey, RunKey};
use crate::store::{MAX_ROWS, SeenSince, Standing};
use crate::sync::{ASKED_AGAIN, BEFORE_ASKING_AGAIN};

/// Batches without a single answer until asking is given up.
const SILENT_BATCHES: u32 = 3;

impl Running<'_> {
    /// Asks for every overview that the list did not show. Returns whether the Catalog was there to the end.
    pub(super) async fn ask_by_key(&mut self, listing: Listing) -> Result<bool, PassError> {
        // What a killed pass counted here is met again, as only what was settled is marked.
        (self.report.unsettled, self.report.no_runs) = (0, 0);
        self.report.unsettled_keys.clear();
        let since = SeenSince { began: self.report.started_at, listed: self.store().now().await? };
        let is_real = !self.options.dry_run;
        let unseen = if is_real { self.count_listed(since).await? } else { self.report.overviews };
        if matches!(listing, Listing::Gone | Listing::Nothing) || self.is_suddenly_empty() {
            self.leave_the_rest(unseen);
            return Ok(false);
        }
        if unseen == 0 && self.superseded.is_empty() {
            return Ok(true);
        }
        let asked_all = self.ask_for_unseen(since).await? && self.ask_for_superseded().await?;
        self.report.unsettled += self.superseded_beyond;
        let unseen = if is_real { self.count_asked(since).await? } else { unseen };
        if !asked_all {
            self.leave_the_rest(unseen);
        }
        Ok(asked_all)
    }

    /// Once for each, whatever an event writes meanwhile: that is newer than the list. Returns whether the Catalog was
    /// there to the end.
    async fn ask_for_unseen(&mut self, since: SeenSince) -> Result<bool, PassError> {
        // A dry run notes nothing: it goes through all overviews, and leaves out what it knows to have seen.
        let never = since.began + TimeDelta::days(36_500);
        let since = if self.options.dry_run { SeenSince { began: never, listed: never } } else { since };
        let (mut after, mut silent) = (None::<String>, 0);
        loop {
            let rows = self.store().unseen(since, after.as_deref(), MAX_ROWS as u64).await?;
            let Some((last, _)) = rows.last() else { return Ok(true) };
            after = Some(last.clone());
            let courses = self.runs_among(rows.iter().map(|(id, _)| id.as_str()));
            match self.batch(&courses).await? {
                Answer::Some => silent = 0,
                Answer::None => silent += 1,
                Answer::Gone => silent = SILENT_BATCHES,
            }
            if silent >= SILENT_BATCHES {
                return Ok(false);
            }
            self.tick(Phase::Keys).await?;
        }
    }

    /// What the list showed and the ledger refused. Returns whether the Catalog was there to the end.
    async fn ask_for_superseded(&mut self) -> Result<bool, PassError> {
        for courses in std::mem::take(&mut self.superseded).chunks(MAX_ROWS) {
            if matches!(self.batch(courses).await?, Answer::Gone) {
                return Ok(false);
            }
            self.tick(Phase::Keys).await?;
        }
        Ok(true)
    }

    /// An empty list where there were links is no answer to believe: a Catalog asked by a host that it does not know
    /// shows another site, and says so to nobody.
    pub(super) fn is_suddenly_empty(&self) -> bool {
        self.report.count_after == 0 && self.report.listed == 0 && self.report.linked > 0
    }

    fn runs_among<'i>(&mut self, ids: impl Iterator<Item = &'i str>) -> Vec<CourseKey> {
        let mut courses = Vec::new();
        for id in ids {
            match CourseKey::parse(id) {
                Ok(key) if key.as_str() == id => {
                    if self.waiting.contains(&key) {
                        let counter =
                            if key.is_ccx() { &mut self.waiting.ccx } else { &mut self.waiting.listed };
                        *counter += 1;
                        continue;
                    }
                    // A custom course's link follows from its parent's new one, which a dry run has not written.
                    if !self.options.dry_run || key.is_ccx() || !self.seen.contains(&key.run_key()) {
                        courses.push(key);
                    }
                }
                _ => self.report.no_runs += 1,
            }
        }
        courses
    }

    /// Asks for these, and again for those of which the ledger has later answers.
    async fn batch(&mut self, courses: &[CourseKey]) -> Result<Answer, PassError> {
        if courses.is_empty() {
            return Ok(Answer::Some);
        }
        let (answer, mut superseded) = self.ask_once(courses).await?;
        for _ in 0..ASKED_AGAIN {
            if superseded.is_empty() {
                break;
            }
            tokio::time::sleep(BEFORE_ASKING_AGAIN).await;
            self.go_on()?;
            superseded = self.ask_once(&superseded).await?.1;
        }
        self.report.unsettled += superseded.len() as u64;
        for course in superseded {
            let why = "the ledger has an answer to a later question";
            push(&mut self.report.unsettled_keys, format!("{course}: {why}"));
        }
        Ok(answer)
    }

    /// Asks for these. Returns what that says of the Catalog, and of which the ledger has later answers.
    async fn ask_once(&mut self, courses: &[CourseKey]) -> Result<(Answer, Vec<CourseKey>), PassError> {
        let asked_at = self.store().now().await?;
        let look_up = self.pass.engine.look_up(courses, Purpose::Pass);
        let answers = tokio::select! {
            biased;
            () = self.lost.cancelled() => return Err(PassError::LeaseLost),
            () = self.stop.cancelled() => return Err(PassError::Stopped),
            answers = look_up.instrument(tracing::info_span!("look_up", courses = courses.len())) => answers,
        };
        let mut superseded = Vec::new();
        for (course, has_overview, settled) in self.settle(courses, &answers, true, asked_at).await? {
            if has_overview && self.waiting.contains(&course) {
                let counter = if course.is_ccx() { &mut self.waiting.ccx } else { &mut self.waiting.asked };
                *counter += 1;
            }
            match settled {
                Settled::Superseded => superseded.push(course),
                // A custom course that is settled is counted at the end, as all are in a real pass: what is counted
                // here says meanwhile how far it is.
                Settled::Known if course.is_ccx() && !self.options.dry_run => {}
                Settled::Known if course.is_ccx() => self.report.ccx_by_parent += 1,
                Settled::Refused(why) if !course.is_ccx() => {
                    self.report.settled_by_key += 1;
                    self.report.refused(&course, &why);
                }
                Settled::Known | Settled::Before | Settled::Refused(_) => self.report.settled_by_key += 1,
                Settled::NotListed => self.report.not_listed += 1,
                Settled::Unknown(why) | Settled::Rejected(why) => {
                    self.report.unsettled += 1;
                    push(&mut self.report.unsettled_keys, format!("{course}: {why}"));
                }
            }
        }
        Ok((answer(&answers), superseded))
    }

    /// Counts what the crawl has settled, by the database: whatever of it a killed pass had not counted is in it.
    /// Returns how many overviews are to be asked for by key.
    async fn count_listed(&mut self, since: SeenSince) -> Result<u64, PassError> {
        let (standing, found) = tokio::try_join!(self.store().standing(since), self.store().found(since))?;
        let settled = standing.settled.unsigned_abs();
        self.report.settled_by_crawl = settled.saturating_sub(self.report.settled_by_key);
        self.report.without_overview = found.saturating_sub(settled);
        Ok(self.count_others(standing))
    }

    /// The same for what was asked for by key: a parent settles its custom courses and itself, whichever of them it
    /// was asked for. Returns how many overviews are not settled.
    async fn count_asked(&mut self, since: SeenSince) -> Result<u64, PassError> {
        let standing = self.store().standing(since).await?;
        let by_key = standing.settled.unsigned_abs().saturating_sub(self.report.settled_by_crawl);
        // What waits is settled, and the database does not know.
        self.report.settled_by_key = by_key + self.waiting.asked;
        self.report.settled_by_crawl += self.waiting.listed;
        let unseen = self.count_others(standing);
        self.report.ccx_by_parent += self.waiting.ccx;
        Ok(unseen.saturating_sub(self.waiting.overviews()))
    }

    fn count_others(&mut self, standing: Standing) -> u64 {
        self.has_wiped |= standing.wiped > 0;
        self.report.ccx_by_parent = standing.ccx_settled.unsigned_abs();
        self.report.not_listed = standing.not_listed.unsigned_abs();
        self.report.unlisted_links = standing.unlisted_links.unsigned_abs();
        self.report.refused = standing.refused.unsigned_abs();
        standing.unseen.unsigned_abs()
    }

    /// Counts what nobody will be asked for any more, of so many that have not been seen.
    fn leave_the_rest(&mut self, unseen: u64) {
        let report = &mut self.report;
        let mut rest = unseen.saturating_sub(report.no_runs);
        if report.dry_run {
            let settled = report.settled_by_crawl + report.settled_by_key + report.not_listed;
            rest = rest.saturating_sub(settled + report.ccx_by_parent);
        }
        report.unsettled = rest;
    }
}

/// What a batch says about the Catalog.
enum Answer {
    /// It is there.
    Some,
    /// It gave no sound answer about anything.
    None,
    /// It is gone.
    Gone,
}

fn answer(answers: &HashMap<RunKey, Observation>) -> Answer {
    let mut gone = false;
    for answer in answers.values() {
        match answer {
            Observation::Unknown(why) => match why.error() {
                Some(error) => gone |= !is_of_the_page(error),
                // It answered; the URL is what is wrong.
                None => return Answer::Some,
            },
            _ => return Answer::Some,
        }
    }
    if gone { Answer::Gone } else { Answer::None }
}
