//! Scheduled work beside the events: heal and the passes. One worker of several does each.

mod heal;
mod timetable;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use croner::Cron;
use futures_util::FutureExt;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub(super) use self::heal::heal;
use self::timetable::{Due, Timetable};
use super::dead_letters;
use super::shutdown::sleeps;
use crate::clock;
use crate::config::{PageSize, Schedule};
use crate::jobs::{Job, Jobs};
use crate::pass::{Options, Pass, PassError, Progress, Status, Wanted};
use crate::store::{PassKind, Store, StoreError, Verdict};
use crate::telemetry::metrics::{self, EventOutcome};
use crate::telemetry::report;

/// The longest that a pass may wait for the Catalog's throttle, or for `catalog.requests_per_hour`.
const PASS_INTERVAL: Duration = Duration::from_secs(3600);
/// The longest that the wait for the next pass sleeps in one go.
const STEP: Duration = Duration::from_secs(30);
/// How far the clocks of two workers may be apart for a pass to count as the one that is due.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::seconds(30);

/// The passes of one kind on their schedule, and what follows from them.
pub(super) struct Passes {
    pub(super) kind: PassKind,
    pub(super) pass: Pass,
    pub(super) page_size: PageSize,
    pub(super) store: Store,
    pub(super) jobs: Jobs,
    /// Asks for a pass beside the schedule.
    pub(super) asked_for: Arc<Notify>,
}

/// A pass gets on: each page shows that its job does not hang.
impl Progress for Job {
    fn waiting(&self) {
        self.progress();
    }

    fn at(&self, _: &Status<'_>) {
        self.progress();
    }
}

impl Passes {
    /// Runs a pass whenever the schedule says so, and resumes one that broke off, until `stop`. The schedule may change.
    pub(super) async fn run(self, mut schedule: watch::Receiver<Option<Schedule>>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let current = schedule.borrow_and_update().clone();
            if let Some(Schedule(cron)) = current
                && !self.keep_to(cron, &mut schedule, &stop).await
            {
                return;
            }
            metrics::get().reconcile_next.set_of(self.kind.as_str(), 0.0);
            tokio::select! {
                () = changed(&mut schedule) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Keeps to one schedule. Returns true where that has no further date or there is another one, and false at `stop`.
    async fn keep_to(
        &self,
        cron: Cron,
        schedule: &mut watch::Receiver<Option<Schedule>>,
        stop: &CancellationToken,
    ) -> bool {
        let name = match self.kind {
            PassKind::Full => "pass",
            PassKind::Light => "light_pass",
        };
        let job = self.jobs.add(name, PASS_INTERVAL);
        let mut timetable = Timetable::new(cron, clock::now());
        if self.kind == PassKind::Light {
            // Nothing of a light pass is resumed: the next one comes soon.
            timetable.ended();
        }
        loop {
            let Some(mut due) = timetable.next(clock::now()) else {
                tracing::warn!(
                    event = "reconcile.never",
                    kind = self.kind.as_str(),
                    "the schedule has no further date: no pass of this kind will run"
                );
                return true;
            };
            let (Due::New(mut at) | Due::Rest(mut at)) = due;
            metrics::get().reconcile_next.set_of(self.kind.as_str(), clock::timestamp(at));
            // In steps, as clocks are set and machines sleep: a single long wait would end at the wrong time.
            while clock::now() < at {
                let left = (at - clock::now()).to_std().unwrap_or_default();
                let is_wanted = tokio::select! {
                    slept = sleeps(left.min(STEP), stop) => if slept { false } else { return false },
                    () = self.asked_for.notified() => true,
                    () = changed(schedule) => {
                        schedule.mark_changed();
                        return true;
                    }
                };
                if is_wanted {
                    at = clock::now();
                    due = Due::New(at);
                }
                job.progress();
            }
            job.begin();
            let has_ended = self.once(due, timetable.apart(at), &job, stop).await;
            job.end();
            if stop.is_cancelled() {
                return false;
            }
            if has_ended { timetable.ended() } else { timetable.broke_off(clock::now()) }
        }
    }

    /// A pass, or the rest of one. Returns false if there may be a rest to be resumed later.
    async fn once(&self, due: Due, apart: TimeDelta, job: &Job, stop: &CancellationToken) -> bool {
        let kind = self.kind_due().await;
        let options = Options { kind, page_size: self.page_size, dry_run: false, allow_mass_change: false };
        let ended = async {
            let (wanted, patience) = self.wanted(due, apart).await?;
            self.pass.run_if(wanted, patience, options, job, stop.clone()).await
        };
        let ended = ended.await;
        match ended {
            Ok(None) => {
                if matches!(due, Due::New(_)) {
                    taken();
                }
                return true;
            }
            // The pass has logged its result.
            Ok(Some(report)) => {
                // Hints that asked for a pass meanwhile ask again, unless this one was enough.
                let _ = self.asked_for.notified().now_or_never();
                if report.kind == PassKind::Full {
                    metrics::get().reconcile_verdict.choose(report.verdict.as_str());
                    if report.verdict == Verdict::Complete {
                        metrics::get().reconcile_success.set(clock::timestamp(clock::now()));
                        self.drop_settled_letters().await;
                    }
                }
                return true;
            }
            Err(PassError::Stopped) => {}
            Err(PassError::Taken { .. }) => taken(),
            Err(error) => {
                tracing::error!(event = "reconcile.failed", error = report(&error), "the pass failed")
            }
        }
        // Nothing of a light pass is resumed.
        self.kind == PassKind::Light
    }

    /// What to ask for, and how long to wait for the end of another pass: with a full one that is due until the next is.
    /// `apart`: how long after `due` that is.
    async fn wanted(&self, due: Due, apart: TimeDelta) -> Result<(Wanted, Duration), StoreError> {
        let Due::New(at) = due else { return Ok((Wanted::Rest, Duration::ZERO)) };
        let ago = clock::now() - at;
        let since = self.store.now().await? - ago - CLOCKS_DIFFER.min(apart / 2);
        let left = if self.kind == PassKind::Full { apart.checked_sub(&ago) } else { None };
        Ok((Wanted::NoneSince(since), left.and_then(|left| left.to_std().ok()).unwrap_or_default()))
    }

    /// A light pass compares with what a full one has found: where there was none yet, a full one takes its place.
    async fn kind_due(&self) -> PassKind {
        match self.kind {
            PassKind::Light if matches!(self.store.last_ended(None).await, Ok(None)) => PassKind::Full,
            kind => kind,
        }
    }

    async fn drop_settled_letters(&self) {
        match dead_letters::drop_settled(&self.store).await {
            Ok(0) => {}
            Ok(dropped) => {
                metrics::get().event("unknown", EventOutcome::Dropped, dropped);
                tracing::info!(event = "dead_letter.dropped", dropped, "dead letters of courses found right");
            }
            Err(error) => {
                tracing::warn!(
                    event = "dead_letter.sweep_failed",
                    error = report(&error),
                    "dead letters stay"
                );
            }
        }
    }
}

/// Waits until there is another schedule; for ever, where nobody can set one any more.
async fn changed(schedule: &mut watch::Receiver<Option<Schedule>>) {
    if schedule.changed().await.is_err() {
        std::future::pending().await
    }
}

fn taken() {
    tracing::info!(event = "reconcile.taken", "another worker runs this pass");
}
