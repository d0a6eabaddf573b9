//! Changes that wait for the end of the pass, as the brake is for them: the ledger does not know of them, so that a pass
//! that is taken up meets them again.

use super::PassError;
use super::report::HELD_LISTED;
use super::running::Running;
use super::seen::Seen;
use crate::engine::{Answered, Change, Policy, Risky, Why, allowance};
use crate::model::course_key::CourseKey;

/// What waits.
#[derive(Default)]
pub(super) struct Waiting {
    /// Runs whose change waits or is held back for good: they are not asked for again.
    runs: Seen,
    /// The answers about them; empty once there are more than the allowance.
    answers: Answered,
    /// Overviews, custom courses not included, that the list showed and that wait.
    pub(super) listed: u64,
    /// The same of those that were asked for by key.
    pub(super) asked: u64,
    /// Overviews of custom courses whose parent waits.
    pub(super) ccx: u64,
}

impl Waiting {
    /// Whether the run of this course waits.
    pub(super) fn contains(&self, course: &CourseKey) -> bool {
        self.runs.contains(&course.run_key())
    }

    /// How many overviews wait.
    pub(super) fn overviews(&self) -> u64 {
        self.listed + self.asked + self.ccx
    }
}

impl Running<'_> {
    /// Has these changes wait, each once.
    pub(super) fn hold(&mut self, risky: Vec<Risky>) {
        for Risky { run, change, question, observation } in risky {
            if !self.waiting.runs.insert(&run) {
                continue;
            }
            self.count_held(1, [change]);
            if !self.over_the_limit() {
                self.waiting.answers.about(CourseKey::parse(run.as_str()).ok());
                self.waiting.answers.add(run, question, observation);
            }
        }
        if self.over_the_limit() {
            self.waiting.answers = Answered::default();
        }
    }

    fn count_held(&mut self, runs: u64, named: impl IntoIterator<Item = Change>) {
        self.report.held_back += runs;
        let room = HELD_LISTED.saturating_sub(self.report.held.len());
        self.report.held.extend(named.into_iter().take(room));
    }

    /// Counts the runs that would lose their link as they are not listed any more.
    pub(super) async fn hold_absent(&mut self) -> Result<(), PassError> {
        let (store, since) = (self.store(), self.report.started_at);
        let absent = store.count_absent(since).await?;
        let named = store.absent(since, HELD_LISTED as u64).await?;
        let change = |(key, from)| Change { key, from, to: None, why: Why::Absent, also: Vec::new() };
        self.count_held(absent, named.into_iter().map(change));
        Ok(())
    }

    /// What waits is not made, and not counted.
    pub(super) fn drop_held(&mut self) {
        self.waiting.answers = Answered::default();
        self.report.held_back = 0;
        self.report.held.clear();
    }

    /// Makes the changes that wait, on custom courses too.
    pub(super) async fn release_held(&mut self) -> Result<(), PassError> {
        let mut answers = std::mem::take(&mut self.waiting.answers);
        let custom = self.store().custom_courses_of(answers.courses()).await?;
        answers.about(custom);
        self.observe(answers, Policy { bulk: true, ..Policy::default() }).await?;
        self.drop_held();
        Ok(())
    }

    pub(super) fn over_the_limit(&self) -> bool {
        !self.options.allow_mass_change && self.report.held_back > self.report.allowance
    }

    /// How many changes this pass may make that the brake is for.
    pub(super) fn allowance(&self) -> u64 {
        allowance(self.report.linked, self.pass.settings.max_change_ratio)
    }
}
