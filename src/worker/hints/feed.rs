//! From an answer of the Catalog to the hints that are to be sent, and to where the next question begins. Pure.
//!
//! A change shows with a stamp that the Catalog's clock set up to two minutes before, and that clock may be off. So each
//! question goes back behind the largest stamp seen, and what comes again is known by course and stamp.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::catalog::{Changed, Changes};
use crate::store::HintPosition;

/// How far a question goes back. Two minutes from stamp to commit, four between two clocks, and as much again.
pub(super) const OVERLAP: TimeDelta = TimeDelta::minutes(10);
/// A stamp may be so much later than the database's clock. A later one is a mistake, and moves no position.
const AHEAD: TimeDelta = TimeDelta::minutes(2);
/// A filter may compare stamps by the second.
const PRECISION: TimeDelta = TimeDelta::seconds(1);
/// After a longer outage a pass costs less than all hints.
pub(super) const OUTAGE: TimeDelta = TimeDelta::days(1);
/// More runs than this at once are left to a pass, which costs fewer requests.
const MOST_RUNS: usize = 2_000;

/// The stamps of the last answer by course, so that what comes again is known.
pub(super) type Memory = HashMap<String, DateTime<Utc>>;

/// A question that was answered, by the database's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) at: DateTime<Utc>,
    pub(super) took: TimeDelta,
}

/// What follows from an answer.
#[derive(Debug)]
pub(super) struct Step {
    /// Courses of whose runs hints are to be sent.
    pub(super) publish: Vec<Changed>,
    /// Where to go on once these are sent and confirmed.
    pub(super) next: HintPosition,
    /// What is to be remembered then. No more courses than one answer has.
    pub(super) seen: Memory,
    /// There is too much for hints: a pass has to take their place.
    pub(super) pass: bool,
}

/// Where to begin without a position: at the present. What was before is left to the passes.
pub(super) fn present(now: DateTime<Utc>, pass_due_since: Option<DateTime<Utc>>) -> HintPosition {
    HintPosition { id: 0, position: now - OVERLAP, asked_at: now, pass_due_since }
}

/// Whether a position is of use `now`. Not after a long outage, nor where the database's clock was set back.
pub(super) fn is_recent(last: HintPosition, now: DateTime<Utc>) -> bool {
    (-AHEAD..=OUTAGE).contains(&(now - last.asked_at))
}

/// The position after a question. The largest stamp says what time the Catalog's clock had reached, and since then it has
/// gone on as the database's: so the position moves on too while nothing changes.
fn after(last: HintPosition, asked: Asked, changes: &Changes) -> HintPosition {
    let credible = asked.at + asked.took + AHEAD;
    let stamps = changes.courses.iter().map(|course| course.stamp).filter(|stamp| *stamp <= credible);
    // The stamp may have been set during the answer, and the next question is about what shows after its beginning.
    let seen = stamps.max().map(|largest| largest - asked.took - OVERLAP);
    let gone = last.position + (asked.at - last.asked_at).max(TimeDelta::zero());
    HintPosition { position: seen.map_or(gone, |seen| seen.max(gone)), asked_at: asked.at, ..last }
}

/// Decides.
///
/// # Errors
/// Why these are no answers to the question: hints are of no use with this Catalog.
pub(super) fn step(
    last: HintPosition,
    asked: Asked,
    changes: Changes,
    memory: &Memory,
) -> Result<Step, &'static str> {
    if changes.courses.is_empty() && changes.unstamped > 0 {
        return Err("its courses have no data_modified_timestamp");
    }
    if changes.courses.iter().any(|course| course.stamp < last.position - PRECISION) {
        return Err("it ignores the filter and lists what has not changed");
    }
    let next = match changes.complete {
        true => after(last, asked, &changes),
        false => present(asked.at, last.pass_due_since),
    };
    let seen = changes.courses.iter().map(|course| (course.course.clone(), course.stamp)).collect();
    let is_new = |course: &Changed| memory.get(&course.course) != Some(&course.stamp);
    let mut publish: Vec<Changed> = changes.courses.into_iter().filter(is_new).collect();
    let runs: usize = publish.iter().map(|course| course.runs.len()).sum();
    let pass = !changes.complete || runs > MOST_RUNS;
    if pass {
        publish.clear();
    }
    Ok(Step { publish, next, seen, pass })
}

#[cfg(test)]
mod tests;
