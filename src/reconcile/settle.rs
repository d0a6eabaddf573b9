//! The one step of a pass that events share in kind: decide what answers mean for some courses, and write it.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tracing::Instrument;

use super::decide::{Decided, Rules, Settled, decide};
use super::pass::PassError;
use super::progress::Change;
use super::running::Running;
use crate::catalog::Observation;
use crate::config::Absent;
use crate::course_key::{CourseKey, RunKey};
use crate::store::{Halving, MAX_ROWS, ObservedBy, StoreError};
use crate::sync::Question;
use crate::telemetry::report;

/// Parts of one page that are written at the same time.
const PARTS_AT_ONCE: usize = 2;

/// What settling a part of a page came to.
#[derive(Default)]
struct Part {
    updated: u64,
    cleared: u64,
    pending: u64,
    risky: Vec<(RunKey, Change)>,
    absent: u64,
    unlisted_links: u64,
    has_cleared: bool,
    settled: Vec<(CourseKey, bool, Settled)>,
}

impl Part {
    /// Nothing is written of this one; the count of it is made where it is asked for by key.
    fn rejected(course: &CourseKey, error: &StoreError) -> Self {
        let settled = Settled::Rejected(report(error));
        Self { settled: vec![(course.clone(), true, settled)], ..Self::default() }
    }
}

impl Running<'_> {
    /// Decides and writes what `answers`, to a question asked at `asked_at`, mean for `courses`, each of which is
    /// there once, and was asked for `by_key` or shown by the list. Returns how each came out.
    pub(super) async fn settle(
        &mut self,
        courses: &[CourseKey],
        answers: &HashMap<RunKey, Observation>,
        by_key: bool,
        asked_at: DateTime<Utc>,
    ) -> Result<Vec<(CourseKey, bool, Settled)>, PassError> {
        let this = &*self;
        // The parts of a large page have no run in common, so that two of them can be on their way at once.
        let parts: Vec<_> = courses
            .chunks(MAX_ROWS)
            .map(|part| this.settle_but_rejected(part, answers, by_key, asked_at).boxed())
            .collect();
        let parts: Vec<Part> =
            stream::iter(parts).buffered(PARTS_AT_ONCE).try_concat().await.map_err(PassError::from)?;
        let mut settled = Vec::with_capacity(courses.len());
        for part in parts {
            self.report.updated += part.updated;
            self.report.cleared += part.cleared;
            self.report.pending += part.pending;
            self.hold(part.risky, answers, asked_at);
            self.absent += part.absent;
            self.report.unlisted_links += part.unlisted_links;
            self.has_cleared |= part.has_cleared;
            settled.extend(part.settled);
        }
        Ok(settled)
    }

    /// Settles a part of a page but for rows that the database rejects: it is cut in halves until those stand alone.
    async fn settle_but_rejected(
        &self,
        courses: &[CourseKey],
        answers: &HashMap<RunKey, Observation>,
        by_key: bool,
        asked_at: DateTime<Utc>,
    ) -> Result<Vec<Part>, StoreError> {
        let (mut parts, mut halving) = (Vec::new(), Halving::new(courses.len()));
        while let Some(part) = halving.next_part() {
            match self.settle_part(&courses[part.clone()], answers, by_key, asked_at).await {
                Ok(settled) => parts.push(settled),
                Err(error) if error.is_of_a_row() => {
                    let course = halving.rejected(part).and_then(|alone| courses.get(alone));
                    parts.extend(course.map(|course| Part::rejected(course, &error)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(parts)
    }

    async fn settle_part(
        &self,
        courses: &[CourseKey],
        answers: &HashMap<RunKey, Observation>,
        by_key: bool,
        asked_at: DateTime<Utc>,
    ) -> Result<Part, StoreError> {
        if !self.options.dry_run {
            let runs = courses.iter().flat_map(|course| [course.run_key(), course.own_key()]);
            let asked = runs.filter_map(|run| answers.get_key_value(&run));
            let asked = asked.map(|(run, answer)| (run, answer, asked_at));
            self.pass.engine.note_failures(asked).await?;
        }
        let snapshots = self.store().snapshots(courses).await?;
        let by = ObservedBy::Pass;
        let question = Question { asked_at, by, clear_after: self.pass.clear_after };
        let brake = !self.options.dry_run && !self.options.allow_mass_change && !self.releasing;
        let clear_absent = self.pass.settings.absent == Absent::Clear;
        let rules = Rules { question, by_key, started_at: self.report.started_at, brake, clear_absent };
        let decided = decide(&snapshots, answers, rules);
        self.write(decided).instrument(tracing::info_span!("apply", runs = courses.len())).await
    }

    async fn write(&self, decided: Decided) -> Result<Part, StoreError> {
        let Decided { mut entries, same, courses, changes, cleared, risky, .. } = decided;
        let (risky, absent) = if self.options.allow_mass_change || self.releasing {
            (Vec::new(), 0)
        } else {
            (risky, decided.absent)
        };
        let part = Part {
            pending: decided.pending,
            risky,
            absent,
            unlisted_links: decided.unlisted_links,
            settled: decided.settled,
            ..Part::default()
        };
        if self.options.dry_run {
            changes.iter().for_each(|change| self.progress.change(change));
            let cleared = changes.iter().filter(|c| c.from.is_some() && c.to.is_none()).count() as u64;
            let updated = changes.len() as u64 - cleared;
            return Ok(Part { updated, cleared, ..part });
        }
        let has_cleared = entries.iter().any(|entry| entry.cleared_at.is_some());
        entries.extend(self.store().confirm(same).await?);
        let applied = self.store().apply(entries, courses).await?;
        let cleared = cleared.min(applied.overviews);
        let updated = applied.overviews - cleared;
        let refused: HashSet<RunKey> = applied.refused.into_iter().collect();
        let mut settled = part.settled;
        let is_superseded =
            |course: &CourseKey| refused.contains(&course.run_key()) || refused.contains(&course.own_key());
        for (_, _, settled) in settled.iter_mut().filter(|(course, ..)| is_superseded(course)) {
            *settled = Settled::Superseded;
        }
        Ok(Part { updated, cleared, has_cleared, settled, ..part })
    }
}
