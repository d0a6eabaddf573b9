//! The judge: looks at the history alone, never at what the worker says of itself. Pure.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::history::{Cell, Event, Hand, History, Micros, Write};

/// Findings told in words; the rest is only counted.
const TOLD: usize = 12;

/// What it comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Confirmed messages, poison included.
    pub(crate) published: usize,
    /// Good events after whose sending the column held the Catalog's URL of then, or a later one.
    pub(crate) applied: usize,
    /// Good events that wait in the events queue or a delay queue.
    pub(crate) parked: usize,
    /// Messages in the dead-letter queue.
    pub(crate) dead: usize,
    /// Good events that are in no queue, and that the column does not show; and poison that is nowhere.
    pub(crate) lost: usize,
    /// Writes that should not have been, runs that do not have the Catalog's last URL, and dead letters that
    /// should not be, or are twice, or have no reason.
    pub(crate) wrong: usize,
    /// Writes that changed nothing.
    pub(crate) duplicated: usize,
    /// The longest time that a run which had a URL was without.
    pub(crate) longest_blank: Duration,
    /// The first of what is lost and wrong, in words.
    pub(crate) findings: Vec<String>,
    /// From sending to a right column, for events that found the row wiped.
    pub(crate) restored: Vec<Duration>,
    /// How long rows stayed without the newest URL that they had had, each time that the LMS took it away.
    pub(crate) healed: Vec<Duration>,
    /// From sending to a right column, for events that found it otherwise.
    pub(crate) refreshed: Vec<Duration>,
}

impl Verdict {
    fn wrong(&mut self, finding: String) {
        self.wrong += 1;
        self.tell(finding);
    }

    fn lost(&mut self, finding: String) {
        self.lost += 1;
        self.tell(finding);
    }

    fn tell(&mut self, finding: String) {
        if self.findings.len() < TOLD {
            self.findings.push(finding);
        }
    }
}

/// Judges a history.
pub(crate) fn judge(history: &History) -> Verdict {
    let mut verdict =
        Verdict { published: history.events.len() + history.poison.len(), ..Verdict::default() };
    let mut rows: HashMap<usize, Vec<&Write>> = HashMap::new();
    for write in &history.writes {
        rows.entry(write.run).or_default().push(write);
    }
    for (&run, writes) in &rows {
        judge_writes(run, writes, history, &mut verdict);
        let blank = longest_blank(writes, history.ended_at);
        verdict.longest_blank = verdict.longest_blank.max(blank);
        verdict.healed.extend(healed(writes, history.ended_at));
    }
    judge_columns(history, &mut verdict);
    let waiting: HashSet<u64> = history.waiting.iter().filter_map(|found| found.id).collect();
    for event in &history.events {
        let writes = rows.get(&event.run).map_or(&[][..], Vec::as_slice);
        judge_event(event, writes, waiting.contains(&event.id), &history.columns, &mut verdict);
    }
    judge_dead(history, &mut verdict);
    verdict
}

/// Each write of the worker's must be of a URL that the Catalog had, and never of one older than it wrote before.
fn judge_writes(run: usize, writes: &[&Write], history: &History, verdict: &mut Verdict) {
    let mut newest = 0;
    for write in writes.iter().filter(|write| write.by == Hand::Worker) {
        if write.old == write.new {
            verdict.duplicated += 1;
        }
        match write.new {
            Cell::Version(version) if version < newest => {
                verdict.wrong(format!("run {run}: v{version} was written after v{newest} had been"));
            }
            Cell::Version(version) if version > history.catalog[run] => {
                verdict.wrong(format!("run {run}: v{version} was written, which the Catalog never had"));
            }
            Cell::Version(version) => newest = version,
            ref other => verdict.wrong(format!("run {run}: {other:?} was written over {:?}", write.old)),
        }
    }
}

/// In the end every run has the Catalog's last URL.
fn judge_columns(history: &History, verdict: &mut Verdict) {
    for (run, (cell, &last)) in history.columns.iter().zip(&history.catalog).enumerate() {
        if *cell != Cell::Version(last) {
            verdict.wrong(format!("run {run}: ends with {cell:?}, the Catalog's last is v{last}"));
        }
    }
}

/// An event is lost if nothing waits for it and the column does not show what it told of.
fn judge_event(event: &Event, writes: &[&Write], waits: bool, columns: &[Cell], verdict: &mut Verdict) {
    let reflects = |cell: &Cell| cell.version() >= Some(event.version);
    let before = writes.iter().rev().find(|write| write.at <= event.sent_at);
    let at_once = before.is_some_and(|write| reflects(&write.new));
    let later = writes.iter().find(|write| write.at > event.sent_at && reflects(&write.new));
    if at_once || later.is_some() {
        verdict.applied += 1;
    }
    if let Some(write) = later.filter(|_| !at_once) {
        let took = Duration::from_micros(write.at - event.sent_at);
        if event.wiped && before.is_some_and(|write| write.new.version().is_none()) {
            // The URL that is put back at once may be the one before the Catalog's last.
            let first = writes.iter().find(|w| w.at > event.sent_at && w.new.version().is_some());
            let took = first.map_or(took, |write| Duration::from_micros(write.at - event.sent_at));
            verdict.restored.push(took);
        }
        verdict.refreshed.push(took);
    }
    if waits {
        verdict.parked += 1;
    } else if !columns.get(event.run).is_some_and(reflects) {
        verdict.lost(format!(
            "event {} of run {} told of v{}; it is in no queue, and the column has {:?}",
            event.id,
            event.run,
            event.version,
            columns.get(event.run)
        ));
    }
}

/// What is dead must be poison, once each, with a reason; and all poison must be dead.
fn judge_dead(history: &History, verdict: &mut Verdict) {
    let poison: HashMap<u64, &str> = history.poison.iter().map(|poison| (poison.id, poison.kind)).collect();
    let waiting: HashSet<u64> = history.waiting.iter().filter_map(|found| found.id).collect();
    let mut seen = HashSet::new();
    verdict.dead = history.dead.len();
    for found in &history.dead {
        let kind = found.id.and_then(|id| poison.get(&id));
        let reason = found.reason.as_deref().unwrap_or_default();
        match (found.id, kind) {
            (None, _) => verdict.wrong(format!("a dead letter is not ours; its reason: {reason:?}")),
            (Some(id), None) => verdict.wrong(format!("good event {id} is a dead letter: {reason:?}")),
            (Some(id), Some(kind)) => {
                if !seen.insert(id) {
                    verdict.wrong(format!("poison {id} ({kind}) is a dead letter twice"));
                }
                if reason.is_empty() {
                    verdict.wrong(format!("poison {id} ({kind}) is dead without a reason"));
                }
            }
        }
    }
    for poison in history.poison.iter().filter(|poison| !seen.contains(&poison.id)) {
        if waiting.contains(&poison.id) {
            verdict.wrong(format!("poison {} ({}) waits instead of being dead", poison.id, poison.kind));
        } else {
            verdict.lost(format!("poison {} ({}) is nowhere", poison.id, poison.kind));
        }
    }
}

/// The longest time in one row's life, after its first URL, without one.
fn longest_blank(writes: &[&Write], ended_at: Micros) -> Duration {
    let mut longest = 0;
    let mut blank_since: Option<Micros> = None;
    let mut had_one = false;
    for write in writes {
        if write.new.version().is_some() {
            had_one = true;
            longest = longest.max(blank_since.take().map_or(0, |since| write.at.saturating_sub(since)));
        } else if had_one {
            blank_since.get_or_insert(write.at);
        }
    }
    Duration::from_micros(longest.max(blank_since.map_or(0, |since| ended_at.saturating_sub(since))))
}

/// How long each harm by the LMS lasted: from its write that took the newest URL away to the one that brought it, or
/// a newer one, back.
fn healed(writes: &[&Write], ended_at: Micros) -> Vec<Duration> {
    let mut lasted = Vec::new();
    let mut newest = None;
    let mut harmed_at: Option<Micros> = None;
    for write in writes {
        let version = write.new.version();
        if version.is_some() && version >= newest {
            newest = version;
            lasted.extend(harmed_at.take().map(|at| write.at.saturating_sub(at)));
        } else if write.by == Hand::Lms && newest.is_some() {
            harmed_at.get_or_insert(write.at);
        }
    }
    lasted.extend(harmed_at.map(|at| ended_at.saturating_sub(at)));
    lasted.into_iter().map(Duration::from_micros).collect()
}

/// The time that `percent` of all stayed within; zero if there were none.
pub(crate) fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;
