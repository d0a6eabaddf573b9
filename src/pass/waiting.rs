//! Changes under the brake, which wait for the end of the pass. They are not in the ledger, so that a resumed pass meets
//! them again.

use std::collections::HashSet;

use super::report::Report;
use crate::engine::{Answered, Risky};
use crate::model::course_key::{CourseKey, RunKey};

/// What waits.
#[derive(Default)]
pub(super) struct Waiting {
    /// Runs whose change waits or is held back for good: they are not asked for again.
    runs: HashSet<RunKey>,
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

    /// Has these changes wait, each once, and counts them as held back; `unlimited` is without the brake.
    pub(super) fn hold(&mut self, risky: Vec<Risky>, report: &mut Report, unlimited: bool) {
        for Risky { run, change, question, observation } in risky {
            if !self.runs.insert(run.clone()) {
                continue;
            }
            report.hold(1, [change]);
            if unlimited || !report.is_over_allowance() {
                self.answers.about(CourseKey::parse(run.as_str()).ok());
                self.answers.add(run, question, observation);
            }
        }
        if !unlimited && report.is_over_allowance() {
            self.answers = Answered::default();
        }
    }

    /// The answers that wait, which are then not made, and not counted as held back.
    pub(super) fn release(&mut self, report: &mut Report) -> Answered {
        report.held_back = 0;
        report.held.clear();
        std::mem::take(&mut self.answers)
    }
}
