//! What became of answers: for each course how it ended, and for all of them together what changed.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Question;
use crate::catalog::{Observation, Unknown};
use crate::model::course_key::{CourseKey, RunKey};
use crate::model::extra_columns::AlsoChange;
use crate::model::marketing_url::RefusedUrl;

/// How it ended for one course: what events are settled by, and what `sync` prints.
#[derive(Debug, Clone, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// The overview has got its URL, or a column of `sync.also`: it had none, or another.
    Updated,
    /// The overview had the right URL already.
    Unchanged,
    /// The URL was taken away, as the Catalog has said twice that there is none.
    Cleared,
    /// The Catalog says that there is no page; a URL, if there was one, stays until it says so again.
    NoPage,
    /// The Catalog lists a URL that must not be shared; a URL known before stays.
    Refused(RefusedUrl),
    /// The Catalog does not list the run (yet).
    NotListed,
    /// The LMS has no overview of the course (yet); the URL is kept in the ledger for it.
    NoOverview,
    /// The database rejects the row, which no waiting helps; what it says.
    Rejected(String),
    /// Nothing was written, as the ledger has an answer to a later question, or a better one than one from the Catalog's
    /// cache: the Catalog is to be asked again.
    Superseded,
    /// The Catalog could not say.
    Unknown(Unknown),
}

impl Outcome {
    /// The word for logs, metrics and output.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }
}

/// One course.
#[derive(Debug, Clone)]
pub struct Settled {
    /// Which.
    pub course: CourseKey,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the LMS has an overview of it, as far as it was looked for.
    pub has_overview: bool,
    /// When the same asker had an answer about its run before.
    pub seen_before: Option<DateTime<Utc>>,
}

/// One change of one overview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The overview's key.
    pub key: String,
    /// The link it has now.
    pub from: Option<String>,
    /// The link it would have.
    pub to: Option<String>,
    /// Why.
    pub why: Why,
    /// Its columns of `sync.also` that differ, with what they would be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<AlsoChange>,
}

/// Why an overview changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Why {
    /// It had none.
    Linked,
    /// The Catalog has another URL of the same host.
    Changed,
    /// The Catalog has a URL of another host; under the brake.
    Rehosted,
    /// The LMS had lost or overwritten what the ledger has.
    Restored,
    /// The Catalog said twice that there is no page; under the brake.
    Cleared,
    /// The Catalog no longer lists the run, and `reconcile.absent` is `clear`; under the brake.
    Absent,
    /// The link stays, and a column of `sync.also` differs.
    Also,
}

impl Why {
    /// The word in lists and logs.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A change of a run's URL that the brake is for.
#[derive(Debug, Clone)]
pub struct Risky {
    /// The run.
    pub run: RunKey,
    /// The change of its link, under the key of the run.
    pub change: Change,
    /// What was asked,
    pub question: Question,
    /// and answered.
    pub observation: Observation,
}

/// What became of answers about some courses.
#[derive(Debug, Default)]
pub struct Observed {
    /// Each course that was asked for, once.
    pub settled: Vec<Settled>,
    /// Changes of overviews; those that the brake is for are among them, made or not.
    pub changes: Vec<Change>,
    /// Changes that the brake is for, made or not.
    pub risky: Vec<Risky>,
    /// Overviews that got a link, another one, or a column of `sync.also`; in a dry run: that would.
    pub updated: u64,
    /// Overviews that lost their link; in a dry run: that would.
    pub cleared: u64,
    /// Links that stay for now, as a null was seen for the first time.
    pub pending: u64,
    /// Runs that are no longer listed and are to lose their link for that.
    pub absent: u64,
    /// Overviews with a link whose run is not listed.
    pub unlisted_links: u64,
    /// Whether the ledger has clears now that overviews of custom courses may have to follow.
    pub has_clears: bool,
}

impl Observed {
    pub(super) fn of(course: CourseKey, outcome: Outcome) -> Self {
        let settled = Settled { course, outcome, has_overview: true, seen_before: None };
        Self { settled: vec![settled], ..Self::default() }
    }

    /// Adds what became of others.
    pub(super) fn add(&mut self, other: Self) {
        self.settled.extend(other.settled);
        self.changes.extend(other.changes);
        self.risky.extend(other.risky);
        self.updated += other.updated;
        self.cleared += other.cleared;
        self.pending += other.pending;
        self.absent += other.absent;
        self.unlisted_links += other.unlisted_links;
        self.has_clears |= other.has_clears;
    }

    /// Takes out the courses of which the ledger has later answers.
    pub(super) fn take_superseded(&mut self) -> Vec<CourseKey> {
        let is_superseded = |settled: &mut Settled| matches!(settled.outcome, Outcome::Superseded);
        self.settled.extract_if(.., is_superseded).map(|settled| settled.course).collect()
    }

    /// How each course ended.
    pub fn into_outcomes(self) -> HashMap<CourseKey, Outcome> {
        self.settled.into_iter().map(|settled| (settled.course, settled.outcome)).collect()
    }
}
