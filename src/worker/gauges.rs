//! What only database and broker can tell, kept up to date: which overviews are blank and why, in our own table, by
//! one worker of several; and the gauges, by each.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::jobs::sleeps;
use super::port::Port;
use crate::broker::retry_schedule;
use crate::jobs::Jobs;
use crate::reconcile::Report;
use crate::store::{BlankCount, Lease, PassRow, Store, StoreError, Verdict};
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
    failing: bool,
}

impl Gauges {
    /// For the worker known to leases as `holder`.
    pub(super) fn new(port: Port, holder: String) -> Self {
        Self { port, holder, due: Instant::now(), failing: false }
    }

    /// Keeps both up to date until told to stop.
    pub(super) async fn run(mut self, jobs: Jobs, stop: CancellationToken) {
        let job = jobs.add("gauges", EVERY);
        loop {
            job.begin();
            // What cannot be told keeps its last value; that the broker is out is told elsewhere.
            if let Ok(counts) = self.port.counts().await
                && let Ok(dead) = self.port.dead_letters(&counts).await
            {
                metrics::dead_letters(dead);
            }
            job.progress();
            let kept = self.keep().await;
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

    /// Notes what is blank, if that is ours to do and due.
    async fn keep(&mut self) -> Result<(), StoreError> {
        if self.store().acquire(JOB, &self.holder, EVERY).await?.is_none() {
            return Ok(());
        }
        if Instant::now() < self.due {
            return Ok(());
        }
        let begun = Instant::now();
        let waiting = Duration::from_secs(retry_schedule::STEPS.iter().map(|step| u64::from(*step)).sum());
        self.store().note_blanks(waiting).await?;
        self.due = Instant::now() + begun.elapsed() * NOTING;
        Ok(())
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
