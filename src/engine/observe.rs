//! One function for every answer of the Catalog, to events, commands and passes: read what is known, decide, write.

use std::collections::{HashMap, HashSet};

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::answers::{Answered, Answers, Policy};
use super::decide::{Decided, decide};
use super::{Engine, Observed, Outcome, Settled};
use crate::catalog::{CatalogError, Circuit, Defect, Observation, Unknown};
use crate::model::course_key::{CourseKey, RunKey};
use crate::store::{Failure, Halving, MAX_ROWS, StoreError};
use crate::telemetry::report;
use crate::telemetry::traces::count;

/// Parts of one page that are written at the same time.
const PARTS_AT_ONCE: usize = 2;

impl Engine {
    /// Applies what these answers say to ledger and overviews, in one transaction for each [`MAX_ROWS`] courses.
    ///
    /// # Errors
    /// Those of the database; a row that it rejects is an [`Outcome::Rejected`].
    pub async fn observe(&self, answered: Vec<Answered>, policy: Policy) -> Result<Observed, StoreError> {
        let mut all = Answered::default();
        for Answered { courses, answers } in answered {
            all.about(courses);
            for (run, (question, observation)) in answers {
                all.add(run, question, observation);
            }
        }
        let Answered { mut courses, answers } = all;
        courses.sort_unstable();
        courses.dedup();
        if !policy.dry_run {
            self.note_failures(&answers).await?;
        }
        let mut observed = Observed::default();
        // Of what is not known nothing changes, so the database is not asked either.
        courses.retain(|course| match why_unknown(course, &answers, policy) {
            Some(why) => {
                observed.add(Observed::of(course.clone(), Outcome::Unknown(why)));
                false
            }
            None => true,
        });
        // Boxed: the compiler does not see through a closure that returns a future of borrowed parts.
        let parts: Vec<_> = courses
            .chunks(MAX_ROWS)
            .map(|part| self.observe_but_rejected(part, &answers, policy).boxed())
            .collect();
        let parts: Vec<Observed> = stream::iter(parts).buffered(PARTS_AT_ONCE).try_collect().await?;
        parts.into_iter().for_each(|part| observed.add(part));
        Ok(observed)
    }

    /// All but rows that the database rejects: a part with one is halved until that row stands alone.
    async fn observe_but_rejected(
        &self,
        courses: &[CourseKey],
        answers: &Answers,
        policy: Policy,
    ) -> Result<Observed, StoreError> {
        let (mut observed, mut halving) = (Observed::default(), Halving::new(courses.len()));
        while let Some(part) = halving.next_part() {
            match self.observe_part(&courses[part.clone()], answers, policy).await {
                Ok(part) => observed.add(part),
                Err(error) if error.is_of_a_row() => {
                    if let Some(course) = halving.rejected(part).and_then(|alone| courses.get(alone)) {
                        observed.add(self.observe_rejected(course, answers, policy, error).await?);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(observed)
    }

    /// For a course that was rejected alone: one of its custom courses may be to blame, which is left to heal then.
    async fn observe_rejected(
        &self,
        course: &CourseKey,
        answers: &Answers,
        policy: Policy,
        error: StoreError,
    ) -> Result<Observed, StoreError> {
        let rejected = |error| Observed::of(course.clone(), Outcome::Rejected(report(&error)));
        if policy.bulk {
            return Ok(rejected(error));
        }
        let alone = Policy { bulk: true, ..policy };
        match self.observe_part(std::slice::from_ref(course), answers, alone).await {
            Err(error) if error.is_of_a_row() => Ok(rejected(error)),
            Ok(observed) => {
                let error = report(&error);
                tracing::warn!(event = "overview.ccx_rejected", %course, error, "the database rejects a custom course's row");
                Ok(observed)
            }
            other => other,
        }
    }

    async fn observe_part(
        &self,
        courses: &[CourseKey],
        answers: &Answers,
        policy: Policy,
    ) -> Result<Observed, StoreError> {
        let (snapshots, custom) = match policy.bulk {
            true => (self.store.snapshots(courses).await?, Vec::new()),
            false => self.store.snapshots_with_custom(courses).await?,
        };
        let mut decided = tracing::info_span!("plan").in_scope(|| decide(&snapshots, answers, policy));
        if policy.dry_run {
            let changes = &decided.observed.changes;
            let cleared = changes.iter().filter(|c| c.from.is_some() && c.to.is_none()).count() as u64;
            let updated = changes.len() as u64 - cleared;
            return Ok(Observed { updated, cleared, ..decided.observed });
        }
        if !policy.bulk {
            // Whatever the LMS has written since they were read.
            decided.courses = [courses, &custom].concat();
        }
        let span = tracing::info_span!(
            "apply",
            course_sharing.courses = count(courses.len()),
            course_sharing.rows_written = Empty,
        );
        self.apply(decided).instrument(span).await
    }

    async fn apply(&self, decided: Decided) -> Result<Observed, StoreError> {
        let Decided { mut entries, same, courses, cleared, mut observed } = decided;
        entries.extend(self.store.confirm(same).await?);
        observed.has_clears = entries.iter().any(|entry| entry.cleared_at.is_some());
        let applied = self.store.apply(entries, courses).await?;
        Span::current().record("course_sharing.rows_written", count(applied.overviews));
        observed.cleared = cleared.min(applied.overviews);
        observed.updated = applied.overviews - observed.cleared;
        let superseded: HashSet<RunKey> = applied.superseded.into_iter().collect();
        for Settled { course, outcome, .. } in &mut observed.settled {
            if superseded.contains(&course.run_key()) || superseded.contains(&course.own_key()) {
                *outcome = Outcome::Superseded;
            }
        }
        Ok(observed)
    }

    /// Keeps what the Catalog could not say of one run alone, for `explain`. While requests are held back after failures
    /// in a row it may be an outage: nothing is kept of that.
    async fn note_failures(&self, answers: &Answers) -> Result<(), StoreError> {
        let failures: HashMap<RunKey, Failure> = answers
            .iter()
            .filter_map(|(run, (question, observation))| match observation {
                Observation::Unknown(why) if why.is_of_the_run_alone() => {
                    Some((run.clone(), Failure { at: question.asked_at, why: why.to_string() }))
                }
                _ => None,
            })
            .collect();
        if failures.is_empty() || self.catalog.circuit() != Circuit::Closed {
            return Ok(());
        }
        self.store.note_failures(failures).await
    }
}

/// Why nothing is known of a course, if nothing is: of its run, and for a custom course whose parent gives no URL of
/// its own listing. The client promises an answer about every run; should it ever break that, nothing changes.
fn why_unknown(course: &CourseKey, answers: &Answers, policy: Policy) -> Option<Unknown> {
    let of = |run: RunKey| match answers.get(&run) {
        Some((_, Observation::Unknown(why))) => Err(why.clone()),
        Some((_, observation)) => Ok(observation.gives_no_url()),
        None => Err(CatalogError::from(Defect::Odd("it says nothing of this run".to_owned())).into()),
    };
    if policy.page {
        return of(course.own_key()).err();
    }
    match of(course.run_key()) {
        // Where no listing of its own was asked for, what is known of that counts.
        Ok(true) if course.is_ccx() && answers.contains_key(&course.own_key()) => of(course.own_key()).err(),
        of_run => of_run.err(),
    }
}
