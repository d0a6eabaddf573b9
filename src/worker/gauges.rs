//! What only database and broker can tell, kept up to date: which overviews are blank and why, in our own table, by
//! one worker of several; and the gauges, by each.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::jobs::sleeps;
use super::port::{MAX_LETTERS, Port};
use super::reading;
use crate::broker::ladder;
use crate::course_key::CourseKey;
use crate::jobs::Jobs;
use crate::reconcile::Report;
use crate::store::{BlankCount, Lease, PassRow, Reason, Store, StoreError, Verdict};
use crate::telemetry::{metrics, report};

const JOB: &str = "blanks";
/// How old a gauge may be.
const EVERY: Duration = Duration::from_secs(30);
/// Noting the blanks reads the LMS's whole table: it takes at most this part of the database's time.
const NOTING: u32 = 20;

/// The job.
pub(super) struct Gauges {
    port: Port,
    holder: String,
    /// When the blanks are to be noted again.
    due: Instant,
    /// The courses that dead letters are about, each with its newest, and how many letters there were.
    letters: Option<(u32, HashMap<CourseKey, DateTime<Utc>>)>,
    failing: bool,
}

impl Gauges {
    /// For the worker known to leases as `holder`.
    pub(super) fn new(port: Port, holder: String) -> Self {
        Self { port, holder, due: Instant::now(), letters: None, failing: false }
    }

    /// Keeps both up to date until told to stop.
    pub(super) async fn run(mut self, jobs: Jobs, stop: CancellationToken) {
        let job = jobs.add("gauges", EVERY);
        loop {
            job.begin();
            // What cannot be told keeps its last value; that the broker is out is told elsewhere.
            let dead = self.port.counts().await.ok().map(|counts| counts.dead);
            if let Some(dead) = dead {
                metrics::dead_letters(dead.into());
            }
            job.progress();
            let kept = self.keep(dead).await;
            self.tell(kept);
            job.progress();
            metrics::database_up(self.show().await.is_ok());
            job.end();
            if !sleeps(EVERY, &stop).await {
                break;
            }
        }
        // So that the next worker need not wait for the lease to run out; if that fails, it runs out.
        let lease = Lease { job: JOB.to_owned(), holder: self.holder.clone() };
        let _ = self.store().release(&lease).await;
    }

    fn store(&self) -> &Store {
        self.port.engine.store()
    }

    /// Notes what is blank, if that is ours to do and due; `dead` is the number of dead letters, if known.
    async fn keep(&mut self, dead: Option<u32>) -> Result<(), StoreError> {
        if self.store().acquire(JOB, &self.holder, EVERY).await?.is_none() {
            // Whoever holds it now leaves other notes behind.
            self.letters = None;
            return Ok(());
        }
        if Instant::now() < self.due {
            return Ok(());
        }
        let begun = Instant::now();
        let waiting = Duration::from_secs(ladder::STEPS.iter().map(|step| u64::from(*step)).sum());
        self.store().note_blanks(waiting).await?;
        if self.look_through_letters(dead).await? {
            self.store().note_blanks(waiting).await?;
        }
        self.due = Instant::now() + begun.elapsed() * NOTING;
        Ok(())
    }

    /// Notes which blank overviews dead letters are about; true if that changed anything. They are looked through
    /// only when their number has changed and they could be a reason, as meanwhile nobody else sees them.
    async fn look_through_letters(&mut self, dead: Option<u32>) -> Result<bool, StoreError> {
        let noted_before = self.letters.as_ref().is_none_or(|(_, about)| !about.is_empty());
        let Some(dead) = dead else { return Ok(false) };
        if self.letters.as_ref().is_none_or(|(count, _)| *count != dead) {
            if dead == 0 {
                self.letters = Some((0, HashMap::new()));
            } else if dead <= MAX_LETTERS && self.store().blank_counts().await?.iter().any(may_be_dead) {
                self.letters = self.read_letters().await.map(|about| (dead, about));
            }
        }
        let Some((_, about)) = &self.letters else { return Ok(false) };
        if about.is_empty() && !noted_before {
            return Ok(false);
        }
        Ok(self.store().note_dead(about).await? > 0)
    }

    /// The courses that dead letters are about; none if the broker does not tell.
    async fn read_letters(&self) -> Option<HashMap<CourseKey, DateTime<Utc>>> {
        let mut about: HashMap<CourseKey, DateTime<Utc>> = HashMap::new();
        let walk = self.port.letters.list(
            MAX_LETTERS,
            |_| true,
            |letter| {
                if let Some(course) = reading::named(letter) {
                    let newest = about.entry(course).or_insert(letter.first_seen);
                    *newest = letter.first_seen.max(*newest);
                }
            },
        );
        walk.await.ok()?;
        Some(about)
    }

    /// Sets the gauges that the database knows.
    async fn show(&self) -> Result<(), StoreError> {
        let (overviews, ended, complete, blanks, refused, now) = tokio::try_join!(
            self.port.overviews(),
            self.store().last_ended(None),
            self.store().last_ended(Some(Verdict::Complete)),
            self.store().blank_counts(),
            self.store().refusal_count(),
            self.store().now(),
        )?;
        metrics::overviews(overviews.linked, overviews.blank);
        let age = |count: &BlankCount| (now - count.oldest).to_std().unwrap_or_default();
        metrics::blanks(blanks.iter().map(|count| (count.reason.as_str(), count.overviews, age(count))));
        let wrong = blanks.iter().filter(|count| !count.reason.is_right());
        metrics::blank_oldest(wrong.map(age).max());
        metrics::refused_urls(refused);
        // From the table, as the last pass may have been another worker's, or this one's before a restart.
        if let Some(last) = ended {
            metrics::reconcile_verdict(&last.verdict);
            show_changes(&last);
        }
        if let Some(at) = complete.and_then(|pass| pass.finished_at) {
            metrics::reconcile_success(at);
        }
        Ok(())
    }

    /// One line when the noting begins to fail, and one when it works again.
    fn tell(&mut self, kept: Result<(), StoreError>) {
        match kept {
            Ok(()) if self.failing => {
                tracing::info!(event = "blanks.recovered", "noting blank overviews again");
                self.failing = false;
            }
            Err(error) if !self.failing => {
                let error = report(&error);
                tracing::error!(event = "blanks.failed", error, "cannot note which overviews are blank");
                self.failing = true;
            }
            _ => {}
        }
    }
}

/// What a pass did, by the report in its row; nothing where that cannot be read.
fn show_changes(pass: &PassRow) {
    let Ok(report) = serde_json::from_str::<Report>(&pass.report) else { return };
    for (kind, runs) in [
        ("updated", report.updated),
        ("cleared", report.cleared),
        ("kept", report.kept),
        ("held_back", report.held_back),
        ("not_listed", report.not_listed),
        ("pending", report.pending),
    ] {
        metrics::reconcile_change(kind, runs);
    }
}

/// Whether a dead letter could be why these are blank.
fn may_be_dead(count: &BlankCount) -> bool {
    use Reason as R;
    matches!(count.reason, R::DeadLettered | R::NoAnswer | R::NotListedYet | R::NotInCatalog)
}
