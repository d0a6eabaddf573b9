//! Asks the Catalog again and again what has changed, and has the runs of what changed looked up like those of an event:
//! at once, and later again. One worker of several does.
//!
//! The position is moved last. A worker that dies before sends the same hints again, which changes nothing.

mod feed;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures_util::future::try_join_all;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use self::feed::{Asked, Memory, OUTAGE, Step};
use super::shutdown::sleeps;
use crate::broker::{BrokerError, FIRST_SEEN, HINT, Message, Publisher, ROUTING_KEY, Topology};
use crate::catalog::{CatalogError, Changed, Client};
use crate::event::{Event, EventKind};
use crate::jobs::{Job, Jobs};
use crate::model::course_key::CourseKey;
use crate::store::{HintPosition, PassKind, PassRow, Store, StoreError, Verdict};
use crate::telemetry::traces::{self, count};
use crate::telemetry::{Latch, metrics, report};

const JOB: &str = "hints";
/// The longest that one answer may take, with its pages and retries, and the wait for events that go first.
const LIMIT: Duration = Duration::from_secs(120);
/// So many refusals in a row are taken for the Catalog's own.
const REFUSALS: u32 = 3;
/// After a Catalog has refused, it is asked again so much later.
const REFUSED_FOR: Duration = Duration::from_secs(24 * 3600);
/// When a hint comes back, in seconds: steps of the retry schedule. A draft shows before the run that it is about.
const LATER: [u32; 3] = [900, 3600, 14_400];
/// Courses whose hints are sent together.
const TOGETHER: usize = 50;
/// How old the gauge may be.
const GAUGE: Duration = Duration::from_secs(10);
/// How long after the last progress of a pass hints ask for another one: a pass may wait so long for the Catalog.
const BETWEEN_PASSES: TimeDelta = TimeDelta::hours(1);

/// The job.
pub(super) struct Hints {
    pub(super) catalog: Client,
    pub(super) store: Store,
    pub(super) publisher: Publisher,
    pub(super) topology: Topology,
    /// For leases.
    pub(super) holder: String,
    /// Has a pass run.
    pub(super) pass: Arc<Notify>,
}

/// What this worker remembers while it has the lease.
#[derive(Default)]
struct State {
    memory: Memory,
    /// When the Catalog was last asked with success.
    asked: Option<Instant>,
    refused: Option<Instant>,
    /// How often in a row it has refused; fewer than [`REFUSALS`] may be something on the way.
    refusals: u32,
    failing: Latch,
}

#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
enum HintError {
    #[error("the database failed")]
    Store(#[from] StoreError),
    #[error("the Catalog failed")]
    Catalog(#[from] CatalogError),
    #[error("the Catalog gave no answer in {} s", LIMIT.as_secs())]
    Late,
    #[error("the broker did not take the hints")]
    Broker(#[from] BrokerError),
    #[error("{0}")]
    Refused(String),
    #[error("the worker stops")]
    Stopped,
}

impl Hints {
    /// Runs until `stop`. At once, too: a worker may be started more often than it asks.
    pub(super) async fn run(self, every: Option<Duration>, jobs: Jobs, stop: CancellationToken) {
        let Some(period) = every else { return };
        let job = jobs.add(JOB, period.max(LIMIT));
        let mut state = State::default();
        while !stop.is_cancelled() {
            if state.refused.is_none_or(|at| at.elapsed() > REFUSED_FOR) {
                job.begin();
                let ended = self.once(period, &mut state, &job, &stop).await;
                job.end();
                state.note(ended);
            }
            if !state.wait(period, &job, &stop).await {
                break;
            }
        }
        // So that the next worker need not wait until the lease expires; if this fails, it expires.
        let _ = self.store.release(JOB, &self.holder).await;
    }

    /// Asks once, if this worker has the lease.
    async fn once(
        &self,
        period: Duration,
        state: &mut State,
        job: &Job,
        stop: &CancellationToken,
    ) -> Result<(), HintError> {
        // A little longer than the period, so that it stays with one worker, which remembers what it has sent.
        let lease = period + period.clamp(GAUGE, Duration::from_secs(60));
        if !self.store.acquire(JOB, &self.holder, lease).await? {
            *state = State::default();
            return Ok(());
        }
        let span = tracing::info_span!(
            parent: None,
            "hints",
            course_sharing.courses = Empty,
            course_sharing.runs = Empty,
        );
        let ended = self.ask(state, job, stop).instrument(span.clone()).await;
        ended.inspect_err(|error| traces::fail(&span, error.into(), &report(error)))
    }

    /// Asks what has changed, and sends the hints that follow.
    async fn ask(&self, state: &mut State, job: &Job, stop: &CancellationToken) -> Result<(), HintError> {
        let now = self.store.now().await?;
        let mut row = self.position(now, state).await?;
        self.see_to_pass(&mut row, now).await?;
        let begun = Instant::now();
        let asking = tokio::time::timeout(LIMIT, self.catalog.changed_since(row.position));
        let answer = stop.run_until_cancelled(asking).await.ok_or(HintError::Stopped)?;
        let changes = match answer.map_err(|_| HintError::Late)? {
            Err(error) if error.is_refusal() => return Err(HintError::Refused(error.to_string())),
            changes => changes?,
        };
        let asked = Asked { at: now, took: TimeDelta::from_std(begun.elapsed()).unwrap_or_default() };
        if changes.odd > 0 {
            tracing::debug!(event = "hints.odd_rows", rows = changes.odd, "rows of courses cannot be used");
        }
        let Step { publish, next, seen, pass } = feed::step(row, asked, changes, &state.memory)
            .map_err(|why| HintError::Refused(why.to_owned()))?;
        self.send(&publish, state, job, stop).await?;
        row = next;
        if pass {
            self.want_pass(&mut row, now, "there are more changes than hints are good for");
        }
        self.store.set_hint_position(row).await?;
        state.memory = seen;
        state.note_asked(TimeDelta::zero());
        self.see_to_pass(&mut row, now).await
    }

    /// Where to begin. After a long outage at the present, and what was missed is left to a pass; the old position stays in
    /// the database until the Catalog answers.
    async fn position(&self, now: DateTime<Utc>, state: &mut State) -> Result<HintPosition, HintError> {
        let known = self.store.hint_position().await?;
        let Some(mut row) = known else {
            let present = feed::present(now, None);
            self.store.set_hint_position(present).await?;
            state.note_asked(TimeDelta::zero());
            return Ok(present);
        };
        state.note_asked(now - row.asked_at);
        if feed::is_recent(row, now) {
            return Ok(row);
        }
        self.want_pass(&mut row, now, &format!("none were asked for in {} hours", OUTAGE.num_hours()));
        self.store.set_hint_position(row).await?;
        Ok(feed::present(now, row.pass_due_since))
    }

    /// Notes in the row that a pass is due that begins from now on.
    fn want_pass(&self, row: &mut HintPosition, now: DateTime<Utc>, why: &str) {
        if row.pass_due_since.replace(now).is_none() {
            tracing::warn!(event = "hints.pass_due", why, "a pass takes the place of hints");
        }
    }

    /// Has a pass run where one is due, but not beside another or soon after it, until one that began since has read
    /// the list.
    async fn see_to_pass(&self, row: &mut HintPosition, now: DateTime<Utc>) -> Result<(), HintError> {
        let Some(since) = row.pass_due_since else { return Ok(()) };
        let last = self.store.last_passes(PassKind::Full, 1).await?;
        let has_seen = |pass: &PassRow| !matches!(pass.verdict, Verdict::Running | Verdict::Failed);
        match last.first() {
            Some(pass) if pass.started_at >= since && has_seen(pass) => row.pass_due_since = None,
            Some(pass) if now - pass.progress_at <= BETWEEN_PASSES => {}
            _ => self.pass.notify_one(),
        }
        Ok(())
    }

    /// Sends hints some courses at a time, and remembers them: after a failure only the others are sent again.
    async fn send(
        &self,
        courses: &[Changed],
        state: &mut State,
        job: &Job,
        stop: &CancellationToken,
    ) -> Result<(), HintError> {
        for together in courses.chunks(TOGETHER) {
            if stop.is_cancelled() {
                return Err(HintError::Stopped);
            }
            self.publish(together).await?;
            state.memory.extend(together.iter().map(|course| (course.course.clone(), course.stamp)));
            job.progress();
        }
        if !courses.is_empty() {
            let runs: usize = courses.iter().map(|course| course.runs.len()).sum();
            let span = Span::current();
            span.record("course_sharing.courses", count(courses.len()));
            span.record("course_sharing.runs", count(runs));
            traces::about(&span, courses.iter().flat_map(|course| &course.runs));
            tracing::info!(event = "hints.sent", courses = courses.len(), runs, "the Catalog has changed");
        }
        Ok(())
    }

    /// Sends the hints about all runs of these courses, past the exchange, which others listen to: of each run one that is
    /// handled now, and some that come back later.
    async fn publish(&self, courses: &[Changed]) -> Result<(), HintError> {
        let now = self.store.now().await?;
        let later = LATER.map(|step| self.topology.delay(step));
        let mut sending = Vec::new();
        for course in courses {
            for run in &course.runs {
                let message = message(run, course.stamp, now)?;
                for queue in [&self.topology.events].into_iter().chain(&later) {
                    let message = message.clone();
                    sending.push(async move { self.publisher.publish("", queue, &message).await });
                }
            }
        }
        // The publisher has a limit of its own on how many it sends at once.
        try_join_all(sending).await?;
        Ok(())
    }
}

/// As a `course-publish` event that Studio had sent at `stamp`. `now` is by the database's clock.
fn message(run: &CourseKey, stamp: DateTime<Utc>, now: DateTime<Utc>) -> Result<Message, BrokerError> {
    let kind = EventKind::CoursePublish;
    let event = Event { kind, course: run.clone(), time: Some(stamp), id: None };
    let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
    Message::json(event.to_json())
        .with_header(HINT, &text(stamp))?
        .with_header(FIRST_SEEN, &text(now))?
        .with_header(ROUTING_KEY, kind.as_str())
}

impl State {
    /// The Catalog was asked with success so long ago.
    fn note_asked(&mut self, ago: TimeDelta) {
        self.asked = Instant::now().checked_sub(ago.to_std().unwrap_or_default());
    }

    /// One line when it begins to fail, and one when it works again.
    fn note(&mut self, ended: Result<(), HintError>) {
        match ended {
            Ok(()) => {
                (self.refused, self.refusals) = (None, 0);
                if self.failing.recovers() {
                    tracing::info!(
                        event = "hints.recovered",
                        "the Catalog is asked again for what has changed"
                    );
                }
            }
            Err(HintError::Stopped) => {}
            Err(HintError::Refused(why)) => {
                self.refusals += 1;
                if self.refusals >= REFUSALS {
                    (self.refused, self.asked) = (Some(Instant::now()), None);
                    tracing::warn!(event = "hints.refused", why, "the Catalog does not say what has changed");
                }
            }
            Err(error) if self.failing.fails() => {
                tracing::warn!(event = "hints.failed", error = report(&error), "changes are not known yet");
            }
            Err(_) => {}
        }
    }

    /// Waits, and keeps the gauge up to date. False at `stop`.
    async fn wait(&self, period: Duration, job: &Job, stop: &CancellationToken) -> bool {
        let until = Instant::now() + period;
        loop {
            metrics::get().hints_lag.set(self.asked.map_or(0.0, |asked| asked.elapsed().as_secs_f64()));
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            if !sleeps(left.min(GAUGE), stop).await {
                return false;
            }
            job.progress();
        }
    }
}
