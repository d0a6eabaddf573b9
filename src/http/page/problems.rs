//! What is wrong now, the worst first: the headline of the page. Pure. The limits are those of the alerts in
//! `ops/prometheus/alerts.yml`.

use chrono::{DateTime, TimeDelta, Utc};

use super::Page;
use super::faults::{Fault, Level};
use super::format::{number, plural, span, words};
use crate::status::{Blanks, Catalog, Consumer, Pass, Queues, Refused, Status, read_only};
use crate::store::Reason;

/// Longer than the delay queues wait for the Catalog.
const BLANK_TOO_LONG: TimeDelta = TimeDelta::hours(6);
/// The heal does it within a minute.
const RESTORED_TOO_LATE: TimeDelta = TimeDelta::minutes(10);
/// A nightly pass, and two hours for it.
const PASS_OVERDUE: TimeDelta = TimeDelta::hours(26);
const HINTS_LATE: TimeDelta = TimeDelta::hours(1);
/// The Catalog may fail for a moment.
const CATALOG_FAILS: TimeDelta = TimeDelta::minutes(10);
/// Events in the queue that are worked off in seconds where nothing is in the way.
const BACKLOG: u64 = 1_000;

/// One thing that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) fault: Fault,
    pub(super) level: Level,
    /// In a few words.
    pub(super) what: String,
    /// Since when, as far as it is known.
    pub(super) since: Option<DateTime<Utc>>,
    /// Why, or more of it.
    pub(super) why: String,
}

impl Problem {
    fn new(fault: Fault, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { fault, level: fault.level(), what: what.into(), since: None, why: why.into() }
    }

    fn since(self, since: impl Into<Option<DateTime<Utc>>>) -> Self {
        Self { since: since.into(), ..self }
    }
}

impl Page {
    /// Everything that is wrong: what is out first, then what follows from it.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let status = self.status.as_ref();
        match self.read_only() {
            Some(why) => {
                let since = status.ok().and_then(|status| status.database.refused_since);
                let what = "The database reads, and does not write";
                found.push(Problem::new(Fault::DatabaseReadOnly, what, why).since(since));
            }
            None if self.database != "ok" => {
                let since = status.ok().and_then(|status| status.database.silent_since);
                let what = "The database does not answer";
                found.push(Problem::new(Fault::DatabaseDown, what, &self.database).since(since));
            }
            None => {}
        }
        if self.broker != "ok" {
            let since = status.ok().and_then(|status| detached(&status.consumer)).map(|(since, _)| since);
            found.push(
                Problem::new(Fault::BrokerDown, "The broker does not answer", &self.broker).since(since),
            );
        }
        match status {
            Ok(status) => self.of_status(status, &mut found),
            Err(why) => found.push(Problem::new(Fault::StatusUnknown, "The status is not known", why)),
        }
        for why in &self.overdue {
            found.push(Problem::new(Fault::JobHangs, "A part of the worker hangs", why));
        }
        found.sort_by_key(|problem| (problem.fault, problem.level));
        found
    }

    fn of_status(&self, status: &Status, found: &mut Vec<Problem>) {
        // One outage is one problem.
        let gone = detached(&status.consumer).filter(|_| self.broker == "ok");
        found.extend(gone.map(|(since, why)| {
            Problem::new(Fault::ConsumerGone, "No events are consumed", why).since(since)
        }));
        if let Some(blanks) = status.blank.latest() {
            found.extend(not_restored(blanks, status.at));
            found.extend(blank(blanks, status.at));
        }
        found.extend(status.refused.latest().and_then(refused_urls));
        found.extend(status.passes.latest().and_then(|passes| pass(passes, status.at)));
        found.extend(status.queues.latest().and_then(backlog));
        found.extend(dead_letters(status));
        found.extend(catalog(&status.catalog, status.at));
        found.extend(hints(status));
        let failed =
            [status.overviews.error(), status.blank.error(), status.refused.error(), status.passes.error()];
        if let (Some(why), "ok") = (failed.into_iter().flatten().next(), self.database.as_str()) {
            found.push(Problem::new(Fault::PartUnread, "Part of the database could not be read", why));
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
    problems.iter().map(|problem| problem.level).min().unwrap_or(Level::Fine)
}

/// The first of them, and how many others there are.
pub(super) fn headline(problems: &[Problem]) -> String {
    match problems {
        [] => "All links are right".to_owned(),
        [only] => only.what.clone(),
        [first, rest @ ..] => {
            format!("{}, and {}", first.what, plural(rest.len() as u64, "other thing", "other things"))
        }
    }
}

fn detached(consumer: &Consumer) -> Option<(DateTime<Utc>, &str)> {
    match consumer {
        Consumer::Detached { detached_since, why } => Some((*detached_since, why)),
        Consumer::Attached { .. } => None,
    }
}

/// Links that the heal should have brought back.
fn not_restored(blanks: &Blanks, now: DateTime<Utc>) -> Option<Problem> {
    let count = blanks.reasons.get(Reason::Restorable.as_str())?;
    let since = count.oldest_since.filter(|since| now - since > RESTORED_TOO_LATE)?;
    let what = plural(count.overviews, "known link is not restored", "known links are not restored");
    let why = "the heal restores such a link within a minute, and does not";
    (count.overviews > 0).then(|| Problem::new(Fault::NotRestored, what, why).since(since))
}

fn blank(blanks: &Blanks, now: DateTime<Utc>) -> Option<Problem> {
    let wrong = blanks.reasons.iter().filter(|(_, count)| !count.right && count.overviews > 0);
    let parts: Vec<String> =
        wrong.clone().map(|(word, count)| format!("{} {}", number(count.overviews), words(word))).collect();
    let sum: u64 = wrong.map(|(_, count)| count.overviews).sum();
    let since = blanks.oldest_since?;
    let fault = if now - since > BLANK_TOO_LONG { Fault::BlankTooLong } else { Fault::Blank };
    let what = plural(sum, "link is blank", "links are blank");
    Some(Problem::new(fault, what, parts.join(", ")).since(since))
}

fn refused_urls(refused: &Refused) -> Option<Problem> {
    let n = refused.overviews;
    let what = format!("{} in the Catalog must not be shared", plural(n, "URL", "URLs"));
    let first = refused.oldest.first();
    let why = first.map_or(String::new(), |first| format!("{}: {}", first.course_id, first.why));
    let since = first.map(|first| first.since);
    (n > 0).then(|| Problem::new(Fault::RefusedUrls, what, why).since(since))
}

fn pass(passes: &[Pass], now: DateTime<Utc>) -> Option<Problem> {
    let ended = passes.iter().find(|pass| pass.finished_at.is_some());
    let Some(last) = ended else {
        let why = "the first one runs at reconcile.schedule, or when you start it";
        return Some(Problem::new(Fault::NoPassYet, "No pass over the Catalog has ended yet", why));
    };
    if last.verdict == "refused" {
        let held = plural(last.held_back.unsigned_abs(), "change", "changes");
        let why = "it would have cleared more links, or led more to another host, than one pass may";
        let problem = Problem::new(Fault::BrakeApplied, format!("The last pass held back {held}"), why);
        return Some(problem.since(last.finished_at));
    }
    let complete = passes.iter().filter(|pass| pass.verdict == "complete").find_map(|pass| pass.finished_at);
    if complete.is_none_or(|at| now - at > PASS_OVERDUE) {
        let age = complete.map_or("among those shown".to_owned(), |at| format!("for {}", span(now - at)));
        let why = format!("the last one ended {}{}", last.verdict, because(last));
        let problem = Problem::new(Fault::PassOverdue, format!("No complete pass {age}"), why);
        return Some(problem.since(complete));
    }
    (last.verdict != "complete").then(|| {
        let why = last.reasons.first().map_or("the log says why, in reconcile.finished", String::as_str);
        let what = format!("The last pass ended {}", last.verdict);
        Problem::new(Fault::PassIncomplete, what, why).since(last.finished_at)
    })
}

/// The first reason why it did not end complete.
fn because(pass: &Pass) -> String {
    let reason = pass.reasons.first().filter(|_| pass.verdict != "complete");
    reason.map_or(String::new(), |reason| format!(": {reason}"))
}

fn backlog(queues: &Queues) -> Option<Problem> {
    let n = queues.events;
    let what = format!("{} events wait to be taken", number(n));
    let why = match queues.consumers {
        0 => "no worker consumes from the queue".to_owned(),
        consumers => format!("{} from the queue", plural(consumers, "worker consumes", "workers consume")),
    };
    (n >= BACKLOG).then(|| Problem::new(Fault::Backlog, what, why))
}

fn dead_letters(status: &Status) -> Option<Problem> {
    let n = status.queues.latest()?.dead;
    let first = status.dead_letters.latest().and_then(|letters| letters.first());
    let why = first.map_or("a worker takes them over".to_owned(), |first| format!("first: {}", first.reason));
    let problem = Problem::new(Fault::DeadLetters, plural(n, "dead letter", "dead letters"), why);
    (n > 0).then(|| problem.since(first.map(|first| first.first_seen)))
}

fn catalog(catalog: &Catalog, now: DateTime<Utc>) -> Option<Problem> {
    let until = catalog.until.map_or(String::new(), |until| format!(" for {}", span(until - now)));
    match catalog.state {
        "closed" => None,
        "throttled" => {
            let what = format!("The Catalog is not asked{until}");
            let why = "it has refused requests as too many, or catalog.requests_per_hour is used up";
            Some(Problem::new(Fault::Throttled, what, why))
        }
        _ => {
            let since = catalog.failing_since;
            let long = since.is_some_and(|since| now - since > CATALOG_FAILS);
            let what = "The Catalog fails";
            let why = "requests failed one after the other; only probes are sent until one succeeds";
            let problem = Problem::new(Fault::CatalogFails, what, why).since(since);
            Some(Problem { level: if long { Level::Wrong } else { Level::Watch }, ..problem })
        }
    }
}

fn hints(status: &Status) -> Option<Problem> {
    let due = status.next.hints.filter(|due| status.at - due > HINTS_LATE)?;
    let why = "the Catalog could not be asked what has changed, or what follows could not be sent";
    Some(Problem::new(Fault::HintsLate, "Changes of the Catalog go unnoticed", why).since(due))
}
