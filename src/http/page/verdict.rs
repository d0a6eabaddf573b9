//! What is wrong now, the worst first: what a person should read if they read nothing else. Pure.
//!
//! The limits are those of the alerts in `ops/prometheus/alerts.yml`.

use chrono::{DateTime, TimeDelta, Utc};

use super::View;
use super::html::{Number, Span, plural};
use crate::http::status::{Blanks, Catalog, Consumer, Pass, Refused, Status, reads_only};

/// Longer than the delay queues wait for the Catalog.
const BLANK_TOO_LONG: TimeDelta = TimeDelta::hours(6);
/// A nightly pass, and two hours for it.
const PASS_OVERDUE: TimeDelta = TimeDelta::hours(26);

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Somebody has to do something.
    Wrong,
    /// It may mend itself, or can wait.
    Watch,
    /// Nothing is.
    Fine,
}

/// One thing that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) level: Level,
    /// In a few words.
    pub(super) what: String,
    /// Why, or what follows.
    pub(super) why: String,
}

impl Problem {
    fn new(level: Level, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { level, what: what.into(), why: why.into() }
    }
}

/// All that is wrong, the worst first.
pub(super) fn problems(view: &View) -> Vec<Problem> {
    let mut found = Vec::new();
    match refused(view) {
        Some(why) => found.push(Problem::new(Level::Wrong, "The database reads, and does not write", why)),
        None if view.database != "ok" => {
            found.push(Problem::new(Level::Wrong, "The database does not answer", &view.database));
        }
        None => {}
    }
    if view.broker != "ok" {
        found.push(Problem::new(Level::Wrong, "The broker does not answer", &view.broker));
    }
    match &view.status {
        Ok(status) => {
            found.extend(consumer(status, view.broker == "ok"));
            found.extend(status.blank.latest().and_then(|blanks| blank(blanks, status.at)));
            found.extend(status.refused.latest().and_then(refused_urls));
            found.extend(status.passes.latest().and_then(|passes| pass(passes, status.at)));
            found.extend(status.queues.latest().and_then(|queues| dead_letters(queues.dead)));
            found.extend(catalog(&status.catalog, status.at));
            let (overviews, blank) = (status.overviews.error(), status.blank.error());
            let untold = [overviews, blank, status.refused.error(), status.passes.error()];
            if let (Some(why), "ok") = (untold.into_iter().flatten().next(), view.database.as_str()) {
                found.push(Problem::new(Level::Watch, "The database does not tell everything", why));
            }
        }
        Err(why) => found.push(Problem::new(Level::Wrong, "The status cannot be told", why)),
    }
    for why in &view.health {
        found.push(Problem::new(Level::Wrong, "A part of the worker hangs", why));
    }
    found.sort_by_key(|problem| problem.level);
    found
}

/// Why the database does not write, where it answers and does not.
pub(super) fn refused(view: &View) -> Option<&str> {
    let why = view.status.as_ref().ok()?.database.why.as_deref()?;
    (view.database == "ok" || view.database == reads_only(why)).then_some(why)
}

fn consumer(status: &Status, broker_answers: bool) -> Option<Problem> {
    let Consumer::Detached { detached_since, why } = &status.consumer else { return None };
    // One outage is one problem.
    let gone = Span(status.at - detached_since);
    broker_answers.then(|| Problem::new(Level::Wrong, format!("No events are consumed, for {gone}"), why))
}

fn blank(blanks: &Blanks, now: DateTime<Utc>) -> Option<Problem> {
    let wrong = blanks.reasons.iter().filter(|(_, count)| !count.right && count.overviews > 0);
    let parts: Vec<String> =
        wrong.clone().map(|(word, count)| format!("{} {}", Number(count.overviews), label(word))).collect();
    let sum: u64 = wrong.map(|(_, count)| count.overviews).sum();
    let age = now - blanks.oldest_since?;
    let level = if age > BLANK_TOO_LONG { Level::Wrong } else { Level::Watch };
    let what = format!("{} {} blank", Number(sum), plural(sum, "link is", "links are"));
    Some(Problem::new(level, what, format!("the oldest for {}; {}", Span(age), parts.join(", "))))
}

fn refused_urls(refused: &Refused) -> Option<Problem> {
    let n = refused.overviews;
    let what = format!("{} {} in the Catalog must not be shared", Number(n), plural(n, "URL", "URLs"));
    let first = refused.oldest.first();
    let others = if n > 1 { "; the others are below" } else { "" };
    let why = first.map_or(String::new(), |first| format!("{}: {}{others}", first.course_id, first.why));
    (n > 0).then(|| Problem::new(Level::Watch, what, why))
}

fn pass(passes: &[Pass], now: DateTime<Utc>) -> Option<Problem> {
    let ended = passes.iter().find(|pass| pass.finished_at.is_some());
    let Some(last) = ended else {
        return Some(Problem::new(
            Level::Watch,
            "No pass over the Catalog has ended yet",
            "a course without an event so far has no link",
        ));
    };
    if last.verdict == "refused" {
        let held = Number(last.held_back.unsigned_abs());
        let why = "course-sharing reconcile --dry-run shows them; --allow-mass-change lets them through";
        return Some(Problem::new(Level::Wrong, format!("The last pass held back {held} changes"), why));
    }
    let complete = passes.iter().filter(|pass| pass.verdict == "complete").find_map(|pass| pass.finished_at);
    let age = complete.map(|at| now - at);
    if age.is_none_or(|age| age > PASS_OVERDUE) {
        let since = age.map_or("in all that are shown".to_owned(), |age| format!("for {}", Span(age)));
        let why = format!("the last one ended {}", last.verdict);
        return Some(Problem::new(Level::Wrong, format!("No complete pass {since}"), why));
    }
    (last.verdict != "complete").then(|| {
        let why = "a complete one is less than 26 h old";
        Problem::new(Level::Watch, format!("The last pass ended {}", last.verdict), why)
    })
}

fn dead_letters(n: u64) -> Option<Problem> {
    let what = format!("{} {}", Number(n), plural(n, "dead letter", "dead letters"));
    (n > 0).then(|| Problem::new(Level::Watch, what, "course-sharing dead-letters list says which and why"))
}

fn catalog(catalog: &Catalog, now: DateTime<Utc>) -> Option<Problem> {
    let until = catalog.until.map_or(String::new(), |until| format!(" for {}", Span(until - now)));
    let goes_on = "wiped links still come back; what is new waits";
    match catalog.state {
        "closed" => None,
        "throttled" => Some(Problem::new(Level::Watch, format!("The Catalog is not asked{until}"), goes_on)),
        _ => Some(Problem::new(Level::Watch, "The Catalog fails, and is left alone but for probes", goes_on)),
    }
}

/// A reason's word as people write it.
pub(super) fn label(word: &str) -> String {
    word.replace('_', " ")
}
