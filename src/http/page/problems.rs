//! What is wrong now, worst first: the headline of the page. Pure. The limits are those of the alerts in
//! `ops/prometheus/alerts.yml`.

use chrono::{DateTime, TimeDelta, Utc};

use super::Page;
use super::format::{number, plural, span, words};
use crate::status::{Blanks, Catalog, Consumer, Pass, Refused, Status, read_only};

/// Longer than the delay queues wait for the Catalog.
const BLANK_TOO_LONG: TimeDelta = TimeDelta::hours(6);
/// A nightly pass, and two hours for it.
const PASS_OVERDUE: TimeDelta = TimeDelta::hours(26);

/// How bad it is. Each level has a colour and a shape, for readers who cannot tell the colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Somebody has to act.
    Wrong,
    /// It may recover, or can wait.
    Watch,
    /// Nothing is wrong.
    Fine,
}

impl Level {
    /// The class in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::Watch => "watch",
            Self::Fine => "fine",
        }
    }

    /// A square, a triangle or a disc, eight units wide, as the path of an SVG.
    pub(super) fn shape(self) -> &'static str {
        match self {
            Self::Wrong => "M0 0H8V8H0Z",
            Self::Watch => "M4 0 8.6 8H-.6Z",
            Self::Fine => "M4 0A4 4 0 1 1 4 8 4 4 0 1 1 4 0Z",
        }
    }

    /// For what should be so, or should be looked at.
    pub(super) fn fine_if(fine: bool) -> Self {
        if fine { Self::Fine } else { Self::Watch }
    }

    /// Of a pass with this verdict.
    pub(super) fn of_verdict(verdict: &str) -> Self {
        match verdict {
            "complete" => Self::Fine,
            "running" | "incomplete" => Self::Watch,
            _ => Self::Wrong,
        }
    }
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

impl Page {
    /// Everything that is wrong, worst first.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        match self.read_only() {
            Some(why) => {
                found.push(Problem::new(Level::Wrong, "The database reads, and does not write", why))
            }
            None if self.database != "ok" => {
                found.push(Problem::new(Level::Wrong, "The database does not answer", &self.database));
            }
            None => {}
        }
        if self.broker != "ok" {
            found.push(Problem::new(Level::Wrong, "The broker does not answer", &self.broker));
        }
        match &self.status {
            Ok(status) => self.of_status(status, &mut found),
            Err(why) => found.push(Problem::new(Level::Wrong, "The status is not known", why)),
        }
        for why in &self.overdue {
            found.push(Problem::new(Level::Wrong, "A part of the worker hangs", why));
        }
        found.sort_by_key(|problem| problem.level);
        found
    }

    fn of_status(&self, status: &Status, found: &mut Vec<Problem>) {
        found.extend(consumer(status, self.broker == "ok"));
        found.extend(status.blank.latest().and_then(|blanks| blank(blanks, status.at)));
        found.extend(status.refused.latest().and_then(refused_urls));
        found.extend(status.passes.latest().and_then(|passes| pass(passes, status.at)));
        found.extend(status.queues.latest().and_then(|queues| dead_letters(queues.dead)));
        found.extend(catalog(&status.catalog, status.at));
        let failed =
            [status.overviews.error(), status.blank.error(), status.refused.error(), status.passes.error()];
        if let (Some(why), "ok") = (failed.into_iter().flatten().next(), self.database.as_str()) {
            found.push(Problem::new(Level::Watch, "Part of the database could not be read", why));
        }
    }

    /// Why the database does not write, where it answers and does not.
    pub(super) fn read_only(&self) -> Option<&str> {
        let why = self.status.as_ref().ok()?.database.why.as_deref()?;
        (self.database == "ok" || self.database == read_only(why)).then_some(why)
    }
}

/// The level of the worst of them.
pub(super) fn worst(problems: &[Problem]) -> Level {
    problems.first().map_or(Level::Fine, |problem| problem.level)
}

/// The worst of them, and how many others there are.
pub(super) fn headline(problems: &[Problem]) -> String {
    match problems {
        [] => "All links are right".to_owned(),
        [only] => only.what.clone(),
        [first, rest @ ..] => {
            format!("{}, and {}", first.what, plural(rest.len() as u64, "other thing", "other things"))
        }
    }
}

fn consumer(status: &Status, broker_answers: bool) -> Option<Problem> {
    let Consumer::Detached { detached_since, why } = &status.consumer else { return None };
    // One outage is one problem.
    let gone = span(status.at - detached_since);
    broker_answers.then(|| Problem::new(Level::Wrong, format!("No events are consumed, for {gone}"), why))
}

fn blank(blanks: &Blanks, now: DateTime<Utc>) -> Option<Problem> {
    let wrong = blanks.reasons.iter().filter(|(_, count)| !count.right && count.overviews > 0);
    let parts: Vec<String> =
        wrong.clone().map(|(word, count)| format!("{} {}", number(count.overviews), words(word))).collect();
    let sum: u64 = wrong.map(|(_, count)| count.overviews).sum();
    let age = now - blanks.oldest_since?;
    let level = if age > BLANK_TOO_LONG { Level::Wrong } else { Level::Watch };
    let what = plural(sum, "link is blank", "links are blank");
    Some(Problem::new(level, what, format!("the oldest for {}; {}", span(age), parts.join(", "))))
}

fn refused_urls(refused: &Refused) -> Option<Problem> {
    let n = refused.overviews;
    let what = format!("{} in the Catalog must not be shared", plural(n, "URL", "URLs"));
    let first = refused.oldest.first();
    let why = first.map_or(String::new(), |first| format!("{}: {}", first.course_id, first.why));
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
        let held = number(last.held_back.unsigned_abs());
        let why = "course-sharing reconcile --dry-run shows them; --allow-mass-change lets them through";
        return Some(Problem::new(Level::Wrong, format!("The last pass held back {held} changes"), why));
    }
    let complete = passes.iter().filter(|pass| pass.verdict == "complete").find_map(|pass| pass.finished_at);
    let age = complete.map(|at| now - at);
    if age.is_none_or(|age| age > PASS_OVERDUE) {
        let since = age.map_or("among those shown".to_owned(), |age| format!("for {}", span(age)));
        let why = format!("the last one ended {}", last.verdict);
        return Some(Problem::new(Level::Wrong, format!("No complete pass {since}"), why));
    }
    (last.verdict != "complete").then(|| {
        let why = "a complete one is less than 26 h old";
        Problem::new(Level::Watch, format!("The last pass ended {}", last.verdict), why)
    })
}

fn dead_letters(n: u64) -> Option<Problem> {
    let what = plural(n, "dead letter", "dead letters");
    (n > 0).then(|| {
        Problem::new(Level::Watch, what, "course-sharing dead-letters list shows them with the reason")
    })
}

fn catalog(catalog: &Catalog, now: DateTime<Utc>) -> Option<Problem> {
    let until = catalog.until.map_or(String::new(), |until| format!(" for {}", span(until - now)));
    let goes_on = "known links are still restored; new ones wait";
    match catalog.state {
        "closed" => None,
        "throttled" => Some(Problem::new(Level::Watch, format!("The Catalog is not asked{until}"), goes_on)),
        _ => Some(Problem::new(Level::Watch, "The Catalog fails, and only probes are sent to it", goes_on)),
    }
}
