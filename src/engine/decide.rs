//! What answers about some courses change: ledger rows to write, links to copy, changes for the brake. Pure; one path
//! for events, for what the list shows, and for what is asked by key. The rule for one run, which
//! also clears a URL, is in `plan.rs`.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::answers::{Answers, Policy};
use super::brake::risk;
use super::{Change, Observed, Outcome, Risky, Settled, Why, plan};
use crate::model::course_key::{CourseKey, RunKey};
use crate::store::{Entry, Snapshot};

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// Ledger rows that change.
    pub(super) entries: Vec<Entry>,
    /// Those that only have been seen again, each with the time at which it was seen before.
    pub(super) same: Vec<(DateTime<Utc>, Entry)>,
    /// Courses whose overview differs from what it should be.
    pub(super) courses: Vec<CourseKey>,
    /// Of `courses`, those that lose their link.
    pub(super) cleared: u64,
    /// The rest, as it becomes if all of this is written.
    pub(super) observed: Observed,
}

/// The row that is planned for each run, and why that is a risk.
type Plans = HashMap<RunKey, (Entry, Option<Why>)>;

/// Decides about `snapshots`.
pub(super) fn decide(snapshots: &[Snapshot], answers: &Answers, policy: Policy) -> Decided {
    let mut decided = Decided::default();
    let plans = decided.plan(snapshots, answers, policy);
    let mut absent = HashSet::new();
    for snapshot in snapshots {
        let mut runs = runs(snapshot, policy);
        if policy.cached
            && runs.any(|(run, known)| plans.get(&run).is_some_and(|(entry, _)| differs(known, entry)))
        {
            decided.observed.settled.push(Settled {
                course: snapshot.course.clone(),
                outcome: Outcome::Superseded,
                has_overview: snapshot.overview.is_some(),
                seen_before: None,
            });
            continue;
        }
        let (run, planned) = followed(snapshot, &plans);
        if let Some((entry, risk)) = planned {
            let goes = !entry.listed && link(snapshot).is_some();
            decided.observed.unlisted_links += u64::from(goes);
            if goes && policy.clear_absent {
                decided.observed.absent += u64::from(absent.insert(run));
            }
            decided.link(snapshot, entry, *risk, policy);
        }
        // Of a custom course on the list the parent is not known here: the ledger decides at the end.
        let outcome = planned.map_or(Outcome::Unchanged, |(entry, _)| outcome(snapshot, entry));
        let asked_by = planned.map(|(entry, _)| entry.observed_by);
        let before = snapshot.entry.as_ref().filter(|known| Some(known.observed_by) == asked_by);
        decided.observed.settled.push(Settled {
            course: snapshot.course.clone(),
            outcome,
            has_overview: snapshot.overview.is_some(),
            seen_before: before.map(|known| known.observed_at),
        });
    }
    decided
}

/// Whether something else is planned for a run than what is known of it.
fn differs(known: Option<&Entry>, planned: &Entry) -> bool {
    !known.is_some_and(|known| known.says_the_same(planned))
}

/// The run whose row an overview follows, by what is planned or known, with what is planned for it.
fn followed<'p>(snapshot: &Snapshot, plans: &'p Plans) -> (RunKey, Option<&'p (Entry, Option<Why>)>) {
    let (run, own) = (snapshot.course.run_key(), snapshot.course.own_key());
    let of_run = plans.get(&run);
    if snapshot.course.is_ccx() {
        let entry = |planned: Option<&'p (Entry, Option<Why>)>| planned.map(|(entry, _)| entry);
        let of_own = plans.get(&own);
        let parent = entry(of_run).or(snapshot.entry.as_ref());
        let chosen = Entry::choose(parent, entry(of_own).or(snapshot.own.as_ref()));
        if chosen.is_some_and(|chosen| chosen.run.is_ccx()) {
            return (own, of_own);
        }
    }
    (run, of_run)
}

fn link(snapshot: &Snapshot) -> Option<&str> {
    snapshot.overview.as_ref().and_then(|overview| overview.marketing_url.as_deref())
}

fn outcome(snapshot: &Snapshot, planned: &Entry) -> Outcome {
    // Nothing comes of waiting for an overview: there is no URL for it.
    if let Some(refused) = &planned.refused {
        return Outcome::Refused(refused.what.clone());
    }
    let Some(overview) = &snapshot.overview else { return Outcome::NoOverview };
    let is_as_wanted = overview.marketing_url.as_deref() == planned.in_force()
        && overview.also_changes(&planned.also_after(snapshot.entry.as_ref())).is_empty();
    match planned.pending_clear_since {
        _ if !planned.listed => Outcome::NotListed,
        None if is_as_wanted => Outcome::Unchanged,
        None => Outcome::Updated,
        // A link goes by the second null, and so does one that came back after it.
        Some(_) if overview.marketing_url.is_some() && planned.cleared_at.is_some() => Outcome::Cleared,
        Some(_) => Outcome::NoPage,
    }
}

impl Decided {
    /// Plans each run of these courses that was answered, once.
    fn plan(&mut self, snapshots: &[Snapshot], answers: &Answers, policy: Policy) -> Plans {
        let mut shown: HashMap<RunKey, &str> = HashMap::new();
        for snapshot in snapshots {
            if let Some(link) = link(snapshot) {
                let followed = snapshot.followed();
                let run = followed.map_or_else(|| snapshot.course.run_key(), |entry| entry.run.clone());
                shown.entry(run).or_insert(link);
            }
        }
        let mut plans = Plans::with_capacity(answers.len().min(snapshots.len()));
        for snapshot in snapshots {
            for (run, known) in runs(snapshot, policy) {
                let Some((question, observation)) = answers.get(&run) else { continue };
                if plans.contains_key(&run) {
                    continue;
                }
                let Some(entry) = plan(&run, known, observation, *question) else { continue };
                // It would count as an answer of now; and nothing that it may change is a risk.
                if policy.cached {
                    plans.insert(run, (entry, None));
                    continue;
                }
                // A risk is what learners see: not what a custom course has beside its parent, nor a run without an overview.
                let is_seen = snapshot.overview.is_some() && !run.is_ccx();
                let in_force = known.and_then(Entry::in_force).filter(|_| is_seen);
                let from = shown.get(&run).copied().or(in_force);
                let risk = risk(from, known, &entry);
                if let Some(risk) = risk {
                    let change = change(run.as_str(), from, entry.in_force(), risk);
                    let (question, observation) = (*question, observation.clone());
                    self.observed.risky.push(Risky { run: run.clone(), change, question, observation });
                }
                if risk.is_none() || !policy.brake {
                    self.write(known, entry.clone(), policy);
                }
                plans.insert(run, (entry, risk));
            }
        }
        plans
    }

    /// The ledger row: as planned, or as it is.
    fn write(&mut self, known: Option<&Entry>, planned: Entry, policy: Policy) {
        let is_confirmed = |known: &&Entry| {
            policy.bulk
                && known.says_the_same(&planned)
                && known.observed_by == planned.observed_by
                && known.observed_at <= planned.observed_at
        };
        match known.filter(is_confirmed) {
            Some(known) => self.same.push((known.observed_at, planned)),
            None => self.entries.push(planned),
        }
    }

    /// What becomes of the overview.
    fn link(&mut self, snapshot: &Snapshot, entry: &Entry, risk: Option<Why>, policy: Policy) {
        let Some(overview) = &snapshot.overview else { return };
        let key = snapshot.course.as_str();
        let from = overview.marketing_url.as_deref();
        let to = entry.in_force();
        if entry.pending_clear_since.is_some() && entry.cleared_at.is_none() && from.is_some() {
            self.observed.pending += 1;
        }
        if policy.clear_absent && !entry.listed {
            // Made at the end, if the pass is complete; nothing is restored that would go again.
            if from.is_some() {
                self.observed.changes.push(change(key, from, None, Why::Absent));
            }
            return;
        }
        let also = overview.also_changes(&entry.also_after(snapshot.entry.as_ref()));
        let clears = entry.cleared_at.is_some() && entry.refused.is_none() && !policy.cached;
        let stays = from == to || (to.is_none() && !clears);
        if stays && also.is_empty() {
            return;
        }
        let to = if stays { from } else { to };
        let known = snapshot.followed().and_then(Entry::in_force);
        let why = match (risk, from) {
            _ if stays => Why::Also,
            (Some(Why::Rehosted), _) => Why::Rehosted,
            _ if to.is_none() => Why::Cleared,
            _ if to == known => Why::Restored,
            (_, None) => Why::Linked,
            (_, Some(_)) => Why::Changed,
        };
        self.observed.changes.push(Change { also, ..change(key, from, to, why) });
        if risk.is_some() && policy.brake {
            return;
        }
        self.cleared += u64::from(!stays && to.is_none());
        self.courses.push(snapshot.course.clone());
    }
}

/// The runs that a snapshot is decided by, each with what is known of it.
fn runs(snapshot: &Snapshot, policy: Policy) -> impl Iterator<Item = (RunKey, Option<&Entry>)> {
    let is_ccx = snapshot.course.is_ccx();
    let run = (!policy.page || !is_ccx).then(|| (snapshot.course.run_key(), snapshot.entry.as_ref()));
    let own = is_ccx.then(|| (snapshot.course.own_key(), snapshot.own.as_ref()));
    run.into_iter().chain(own)
}

fn change(key: &str, from: Option<&str>, to: Option<&str>, why: Why) -> Change {
    let own = |text: Option<&str>| text.map(str::to_owned);
    Change { key: key.to_owned(), from: own(from), to: own(to), why, also: Vec::new() }
}

#[cfg(test)]
mod tests;
