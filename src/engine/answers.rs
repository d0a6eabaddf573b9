//! What the Catalog said of some courses, and how it is to be applied.

use std::collections::HashMap;

use super::Question;
use crate::catalog::Observation;
use crate::model::course_key::{CourseKey, RunKey};

/// The answer about each run, and the question.
pub(super) type Answers = HashMap<RunKey, (Question, Observation)>;

/// What the Catalog said of some courses; to be handed to [`super::Engine::observe`].
#[derive(Debug, Default)]
pub struct Answered {
    pub(super) courses: Vec<CourseKey>,
    pub(super) answers: Answers,
}

impl Answered {
    /// One question, and all that it brought about these courses.
    pub(super) fn new(
        courses: Vec<CourseKey>,
        question: Question,
        observed: HashMap<RunKey, Observation>,
    ) -> Self {
        let answers = observed.into_iter().map(|(run, observation)| (run, (question, observation)));
        Self { courses, answers: answers.collect() }
    }

    /// Adds an answer; of two about one run the later counts.
    pub fn add(&mut self, run: RunKey, question: Question, observation: Observation) {
        let earlier = self.answers.get(&run);
        if earlier.is_none_or(|(earlier, _)| earlier.asked_at <= question.asked_at) {
            self.answers.insert(run, (question, observation));
        }
    }

    /// The courses that these answers are about.
    pub fn courses(&self) -> &[CourseKey] {
        &self.courses
    }

    /// Adds courses that these answers are about.
    pub fn about(&mut self, courses: impl IntoIterator<Item = CourseKey>) {
        self.courses.extend(courses);
    }
}

/// How answers are applied. By default as for an event: all at once, custom courses of the runs included.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policy {
    /// Decide, and write nothing.
    pub dry_run: bool,
    /// Do not make the changes that the brake is for.
    pub brake: bool,
    /// There are many, most of them as they were: only what differs is written, and custom courses are left to heal.
    pub bulk: bool,
    /// They are a page of the list, on which the parent of a custom course has a place of its own.
    pub page: bool,
    /// They may come from the Catalog's cache and be old: the ledger stays as it is, overviews follow it but lose no link,
    /// and what differs from it is [`super::Outcome::Superseded`].
    pub cached: bool,
    /// Whether a run that is no longer listed is to lose its link, at the end of the pass.
    pub clear_absent: bool,
}
