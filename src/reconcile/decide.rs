//! What the answers about some runs change: ledger rows to write, links to copy, changes for the brake. Pure; one
//! path for what the crawl showed and for what was asked by key.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::brake::{Risk, risk};
use super::progress::{Change, Why};
use crate::catalog::Observation;
use crate::course_key::{CourseKey, RunKey};
use crate::store::{Entry, ObservedBy, Snapshot};
use crate::sync::{self, Plan, Question};

/// What a decision depends on besides the answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// The question that was answered.
    pub(super) question: Question,
    /// What this pass has observed since then it has seen already.
    pub(super) started_at: DateTime<Utc>,
    /// Whether risky changes are put aside and not made.
    pub(super) brake: bool,
    /// Whether the runs were asked for by key, so that a custom course settles its parent too.
    pub(super) by_key: bool,
    /// Whether a run that is no longer listed loses its link at the end.
    pub(super) clear_absent: bool,
}

/// How one course came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Settled {
    /// This pass had seen its run before.
    Before,
    /// The Catalog has it, with a URL or without.
    Known,
    /// The Catalog has it, with a URL that must not be shared; which, and why.
    Refused(String),
    /// The Catalog does not list it.
    NotListed,
    /// The ledger has an answer to a later question: the Catalog is to be asked again.
    Superseded,
    /// Nobody knows, and why.
    Unknown(String),
    /// The database rejects its row, and why.
    Rejected(String),
}

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// Ledger rows that change.
    pub(super) entries: Vec<Entry>,
    /// Those that only have been seen again, each with the time at which it was seen before.
    pub(super) same: Vec<(DateTime<Utc>, Entry)>,
    /// Courses whose overview differs from what it should be.
    pub(super) courses: Vec<CourseKey>,
    /// For each course: whether the LMS has an overview of it, and how it came out.
    pub(super) settled: Vec<(CourseKey, bool, Settled)>,
    /// Changes of overviews, those held back among them.
    pub(super) changes: Vec<Change>,
    /// Of `courses`, those that lose their link.
    pub(super) cleared: u64,
    /// Links that stay for now, as a null was seen for the first time.
    pub(super) pending: u64,
    /// Changes of runs that the brake is for, whether it holds them back or not.
    pub(super) risky: Vec<(RunKey, Change)>,
    /// Runs that are no longer listed and lose their link for that, if the pass is complete; the brake is for them too.
    pub(super) absent: u64,
    /// Overviews with a link whose run is not listed.
    pub(super) unlisted_links: u64,
}

/// Decides about `snapshots`, whose runs were `answered` so.
pub(super) fn decide(
    snapshots: &[Snapshot],
    answered: &HashMap<RunKey, Observation>,
    rules: Rules,
) -> Decided {
    let mut decided = Decided::default();
    let mut plans: HashMap<RunKey, (Plan, Option<Risk>)> = HashMap::with_capacity(answered.len());
    let mut shown: HashMap<RunKey, &str> = HashMap::new();
    for snapshot in snapshots {
        if let Some(link) = link(snapshot) {
            let run =
                snapshot.followed().map_or_else(|| snapshot.course.run_key(), |entry| entry.run.clone());
            shown.entry(run).or_insert(link);
        }
    }
    for snapshot in snapshots {
        for (run, known) in runs(snapshot, rules) {
            let (Some(observation), false) = (answered.get(&run), plans.contains_key(&run)) else { continue };
            let Some(plan) = sync::plan(&run, known, observation, rules.question) else { continue };
            // What a custom course has beside its parent is a risk only where learners see it.
            let in_force = known.and_then(Entry::in_force).filter(|_| !run.is_ccx());
            let from = shown.get(&run).copied().or(in_force);
            let risk = risk(from, &plan.entry, plan.change);
            if let Some(risk) = risk {
                let (key, to) = (run.as_str().to_owned(), own(plan.entry.in_force()));
                let change = Change { key, from: own(from), to, why: risk.into(), also: Vec::new() };
                decided.risky.push((run.clone(), change));
            }
            if risk.is_none() || !rules.brake {
                decided.write(known, plan.entry.clone());
            }
            plans.insert(run, (plan, risk));
        }
    }
    let mut absent = HashSet::new();
    for snapshot in snapshots {
        let (mut run, mut planned) = (snapshot.course.run_key(), plans.get(&snapshot.course.run_key()));
        if let Some(own) = followed_own(snapshot, &plans) {
            (run, planned) = (snapshot.course.own_key(), own);
        }
        if let Some((plan, risk)) = planned {
            let is_unlisted = matches!(answered.get(&run), Some(Observation::NotListed));
            decided.unlisted_links += u64::from(is_unlisted && link(snapshot).is_some());
            let goes = rules.clear_absent && is_unlisted;
            if goes && link(snapshot).is_some() {
                decided.absent += u64::from(absent.insert(run.clone()));
            }
            decided.link(snapshot, plan, *risk, goes, rules);
        }
        let outcome = outcome(snapshot, answer(snapshot, answered), rules);
        decided.settled.push((snapshot.course.clone(), snapshot.overview.is_some(), outcome));
    }
    decided
}

/// The runs that a snapshot is decided by, each with what is known of it: of a custom course on the list only its own,
/// as its parent has a place there too.
fn runs(snapshot: &Snapshot, rules: Rules) -> impl Iterator<Item = (RunKey, Option<&Entry>)> {
    let is_ccx = snapshot.course.is_ccx();
    let run = (rules.by_key || !is_ccx).then(|| (snapshot.course.run_key(), snapshot.entry.as_ref()));
    let own = is_ccx.then(|| (snapshot.course.own_key(), snapshot.own.as_ref()));
    run.into_iter().chain(own)
}

/// For a custom course that follows a row of its own, by what is planned or known: what is planned for that, if
/// anything. None: it follows its parent's, as every other course does its run's.
fn followed_own<'p>(
    snapshot: &Snapshot,
    plans: &'p HashMap<RunKey, (Plan, Option<Risk>)>,
) -> Option<Option<&'p (Plan, Option<Risk>)>> {
    if !snapshot.course.is_ccx() {
        return None;
    }
    let (of_run, own) = (plans.get(&snapshot.course.run_key()), plans.get(&snapshot.course.own_key()));
    let entry = |planned: Option<&'p (Plan, Option<Risk>)>| planned.map(|(plan, _)| &plan.entry);
    let parent = entry(of_run).or(snapshot.entry.as_ref());
    let chosen = Entry::choose(parent, entry(own).or(snapshot.own.as_ref()))?;
    chosen.run.is_ccx().then_some(own)
}

/// The answer that settles a course: of a custom course that of its own listing, where its parent's brings no URL.
fn answer<'a>(snapshot: &Snapshot, answered: &'a HashMap<RunKey, Observation>) -> Option<&'a Observation> {
    let of_run = answered.get(&snapshot.course.run_key());
    let own = answered.get(&snapshot.course.own_key()).filter(|_| snapshot.course.is_ccx());
    match (of_run, own) {
        (Some(Observation::NotListed), Some(own)) => Some(own),
        (Some(Observation::NoUrl(_) | Observation::Refused(_)), Some(own))
            if !matches!(own, Observation::NotListed) =>
        {
            Some(own)
        }
        (of_run, _) => of_run,
    }
}

fn link(snapshot: &Snapshot) -> Option<&str> {
    snapshot.overview.as_ref().and_then(|overview| overview.marketing_url.as_deref())
}

fn outcome(snapshot: &Snapshot, answer: Option<&Observation>, rules: Rules) -> Settled {
    let before = snapshot.entry.as_ref().is_some_and(|known| seen_by_this_pass(known, rules));
    match answer {
        // Whatever was seen before: its run is asked for again, as its link came back after a clear.
        Some(Observation::Unknown(why)) => Settled::Unknown(why.to_string()),
        None => Settled::Unknown("the Catalog gave no answer about it".to_owned()),
        Some(_) if before => Settled::Before,
        Some(Observation::Refused(refused)) => Settled::Refused(format!("{}: {}", refused.url, refused.why)),
        Some(Observation::Url(..) | Observation::NoUrl(_)) => Settled::Known,
        Some(Observation::NotListed) => Settled::NotListed,
    }
}

fn seen_by_this_pass(known: &Entry, rules: Rules) -> bool {
    known.observed_at >= rules.started_at && known.observed_by == ObservedBy::Pass.as_str()
}

impl Decided {
    /// The ledger row: as planned, or as it is.
    fn write(&mut self, known: Option<&Entry>, planned: Entry) {
        let is_confirmed = |known: &&Entry| {
            known.says_the_same(&planned)
                && known.observed_by == planned.observed_by
                && known.observed_at <= planned.observed_at
        };
        match known.filter(is_confirmed) {
            Some(known) => self.same.push((known.observed_at, planned)),
            None => self.entries.push(planned),
        }
    }

    /// What becomes of the overview.
    fn link(&mut self, snapshot: &Snapshot, plan: &Plan, risk: Option<Risk>, absent: bool, rules: Rules) {
        let Some(overview) = &snapshot.overview else { return };
        let entry = &plan.entry;
        let from = overview.marketing_url.as_deref();
        let to = entry.in_force();
        if entry.pending_clear_since.is_some() && entry.cleared_at.is_none() && from.is_some() {
            self.pending += 1;
        }
        let also = overview.also_changes(&entry.also_after(snapshot.entry.as_ref()));
        let change = |to: Option<&str>, why, also| Change {
            key: key(snapshot),
            from: own(from),
            to: own(to),
            why,
            also,
        };
        if absent {
            // Made at the end, if the pass is complete; nothing is restored that would go again.
            if from.is_some() {
                self.changes.push(change(None, Why::Absent, Vec::new()));
            }
            return;
        }
        let clears = entry.cleared_at.is_some() && entry.refused.is_none();
        let stays = from == to || (to.is_none() && !clears);
        if stays && also.is_empty() {
            return;
        }
        let to = if stays { from } else { to };
        let known = snapshot.followed().and_then(Entry::in_force);
        let why = match (risk, from) {
            _ if stays => Why::Also,
            (Some(Risk::Rehost), _) => Why::Rehosted,
            _ if to.is_none() => Why::Cleared,
            _ if to == known => Why::Restored,
            (_, None) => Why::Linked,
            (_, Some(_)) => Why::Changed,
        };
        self.changes.push(change(to, why, also));
        if risk.is_some() && rules.brake {
            return;
        }
        self.cleared += u64::from(!stays && to.is_none());
        self.courses.push(snapshot.course.clone());
    }
}

fn key(snapshot: &Snapshot) -> String {
    snapshot.course.as_str().to_owned()
}

fn own(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

#[cfg(test)]
mod tests;
