//! The second half of a pass: it asks by key for every overview that the list did not show, so that neither a list that
//! moves nor a broken run on it hides an overview. It also asks for runs that an event was answered about while the list
//! was read, as the list may have shown something newer.

use chrono::TimeDelta;

use super::PassError;
use super::list::Listing;
use super::progress::Phase;
use super::report::push;
use super::running::Running;
use crate::catalog::Purpose;
use crate::engine::{Outcome, Settled};
use crate::model::course_key::CourseKey;
use crate::store::{Coverage, MAX_ROWS, SeenSince};

/// Batches without a single answer until asking is given up.
const SILENT_BATCHES: u32 = 3;

impl Running<'_> {
    /// Asks for them. Returns whether the Catalog answered until the end.
    pub(super) async fn ask_by_key(&mut self, listing: Listing) -> Result<bool, PassError> {
        // What a killed pass counted here is met again, as only what was settled is marked.
        (self.report.unsettled, self.report.no_runs) = (0, 0);
        self.report.unsettled_keys.clear();
        let since = SeenSince { began: self.report.started_at, listed: self.store().now().await? };
        if self.is_light() {
            let asked_all = listing != Listing::Nothing && self.ask_for_remembered().await?;
            self.report.unsettled += self.to_ask_beyond;
            return Ok(asked_all);
        }
        let is_real = !self.options.dry_run;
        let unseen = if is_real { self.count_listed(since).await? } else { self.report.overviews };
        if matches!(listing, Listing::Gone | Listing::Nothing) || self.is_suddenly_empty() {
            self.leave_the_rest(unseen);
            return Ok(false);
        }
        if unseen == 0 && self.to_ask.is_empty() {
            return Ok(true);
        }
        let asked_all = self.ask_for_unseen(since).await? && self.ask_for_remembered().await?;
        self.report.unsettled += self.to_ask_beyond;
        let unseen = if is_real { self.count_asked(since).await? } else { unseen };
        if !asked_all {
            self.leave_the_rest(unseen);
        }
        Ok(asked_all)
    }

    /// Asks once for each, whatever an event writes meanwhile: that is newer than the list. Returns whether the Catalog
    /// answered until the end.
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
            match self.batch(courses).await? {
                Catalog::Answers => silent = 0,
                Catalog::Silent => silent += 1,
                Catalog::Gone => silent = SILENT_BATCHES,
            }
            if silent >= SILENT_BATCHES {
                return Ok(false);
            }
            self.tick(Phase::Keys).await?;
        }
    }

    /// Asks for what the list showed and the ledger refused, or has otherwise. Returns whether the Catalog answered until the end.
    async fn ask_for_remembered(&mut self) -> Result<bool, PassError> {
        for courses in std::mem::take(&mut self.to_ask).chunks(MAX_ROWS) {
            let mut courses = courses.to_vec();
            if self.is_light() {
                // What only the ledger would know is for a full pass.
                let snapshots = self.store().snapshots(&courses).await?.into_iter();
                courses =
                    snapshots.filter(|found| found.overview.is_some()).map(|found| found.course).collect();
            }
            if matches!(self.batch(courses).await?, Catalog::Gone) {
                return Ok(false);
            }
            self.tick(Phase::Keys).await?;
        }
        Ok(true)
    }

    /// An empty list is not believed where there were links: a Catalog that does not know the host of the request shows
    /// another site, without saying so.
    pub(super) fn is_suddenly_empty(&self) -> bool {
        self.report.count_after == 0 && self.report.listed == 0 && self.report.linked > 0
    }

    fn runs_among<'i>(&mut self, ids: impl Iterator<Item = &'i str>) -> Vec<CourseKey> {
        let mut courses = Vec::new();
        for id in ids {
            match CourseKey::parse(id) {
                Ok(key) if key.as_str() == id => {
                    if self.is_held(&key) {
                        let ccx = key.is_ccx();
                        *(if ccx { &mut self.waiting.ccx } else { &mut self.waiting.listed }) += 1;
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

    /// Asks for these. Returns what that says of the Catalog.
    async fn batch(&mut self, courses: Vec<CourseKey>) -> Result<Catalog, PassError> {
        if courses.is_empty() {
            return Ok(Catalog::Answers);
        }
        let policy = self.policy();
        let observed = self.engine.refresh(courses, Purpose::Pass, policy, &self.halt).await?;
        let settled = self.count(observed, policy);
        let catalog = catalog(&settled);
        for settled in settled {
            self.count_asked_run(settled);
        }
        self.go_on()?;
        Ok(catalog)
    }

    fn count_asked_run(&mut self, settled: Settled) {
        let Settled { course, outcome, has_overview, .. } = settled;
        if has_overview && self.is_held(&course) {
            let ccx = course.is_ccx();
            *(if ccx { &mut self.waiting.ccx } else { &mut self.waiting.asked }) += 1;
        }
        let report = &mut self.report;
        let unsettled = match outcome {
            Outcome::Unknown(why) => why.to_string(),
            Outcome::Rejected(why) => why,
            Outcome::Superseded => "the ledger has an answer to a later question".to_owned(),
            Outcome::NotListed => return report.not_listed += 1,
            // In a real pass these are counted at the end: what is counted here says meanwhile how far it is.
            _ if course.is_ccx() => return report.ccx_by_parent += u64::from(report.dry_run),
            Outcome::Refused(refused) => {
                report.settled_by_key += 1;
                return report.refused(&course, &refused);
            }
            _ => return report.settled_by_key += 1,
        };
        report.unsettled += 1;
        push(&mut report.unsettled_keys, format!("{course}: {unsettled}"));
    }

    /// Whether the run of this course waits for the end of the pass. A dry run goes through all.
    fn is_held(&self, course: &CourseKey) -> bool {
        !self.options.dry_run && self.waiting.contains(course)
    }

    /// Counts what the crawl has settled, by the database: whatever of it a killed pass had not counted is in it.
    /// Returns how many overviews are to be asked for by key.
    async fn count_listed(&mut self, since: SeenSince) -> Result<u64, PassError> {
        let (coverage, found) =
            tokio::try_join!(self.store().coverage(since), self.store().count_listed(since))?;
        let settled = coverage.settled;
        self.report.settled_by_crawl = settled.saturating_sub(self.report.settled_by_key);
        self.report.without_overview = found.saturating_sub(settled);
        Ok(self.count_others(coverage))
    }

    /// The same for what was asked for by key: a parent settles its custom courses and itself, whichever of them it
    /// was asked for. Returns how many overviews are not settled.
    async fn count_asked(&mut self, since: SeenSince) -> Result<u64, PassError> {
        let coverage = self.store().coverage(since).await?;
        let by_key = coverage.settled.saturating_sub(self.report.settled_by_crawl);
        // What waits is settled, and the database does not know.
        self.report.settled_by_key = by_key + self.waiting.asked;
        self.report.settled_by_crawl += self.waiting.listed;
        let unseen = self.count_others(coverage);
        self.report.ccx_by_parent += self.waiting.ccx;
        Ok(unseen.saturating_sub(self.waiting.overviews()))
    }

    fn count_others(&mut self, coverage: Coverage) -> u64 {
        self.report.ccx_by_parent = coverage.ccx_settled;
        self.report.not_listed = coverage.not_listed;
        self.report.unlisted_links = coverage.unlisted_links;
        self.report.refused = coverage.refused;
        coverage.unseen
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
enum Catalog {
    /// It answered.
    Answers,
    /// It gave no sound answer about any run.
    Silent,
    /// It cannot be reached, or refuses.
    Gone,
}

fn catalog(settled: &[Settled]) -> Catalog {
    let mut gone = false;
    for settled in settled {
        match &settled.outcome {
            Outcome::Unknown(why) => match why.error() {
                Some(error) => gone |= !error.may_succeed_smaller(),
                // It answered; the row is what is wrong.
                None => return Catalog::Answers,
            },
            _ => return Catalog::Answers,
        }
    }
    if gone { Catalog::Gone } else { Catalog::Silent }
}
