//! Two things that are kept up to date from database and broker: the table of blank overviews, by one worker of
//! several, and the gauges, by each.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::shutdown::sleeps;
use crate::broker::STEPS;
use crate::clock;
use crate::jobs::Jobs;
use crate::pass::Report;
use crate::status::Sources;
use crate::store::{BlankCount, LetterFilter, PassRow, Store, StoreError, Verdict};
use crate::telemetry::{Latch, metrics, report};

const JOB: &str = "blanks";
/// How old a gauge may be.
const EVERY: Duration = Duration::from_secs(30);
/// Noting the blanks reads the LMS's whole table. After a run that took a second, the next one starts no sooner than
/// this many seconds later.
const NOTING: u32 = 20;

/// The job.
pub(super) struct Gauges {
    sources: Sources,
    holder: String,
    /// When the blanks are to be noted again.
    due: Instant,
    failing: Latch,
}

impl Gauges {
    /// For the worker known to leases as `holder`.
    pub(super) fn new(sources: Sources, holder: String) -> Self {
        Self { sources, holder, due: Instant::now(), failing: Latch::default() }
    }

    /// Runs until `stop`.
    pub(super) async fn run(mut self, jobs: Jobs, stop: CancellationToken) {
        let job = jobs.add("gauges", EVERY);
        loop {
            job.begin();
            // A gauge whose value is not known keeps its last one.
            let counts = self.sources.queue_counts().await;
            if let (Some(used), budget @ 1..) = self.sources.budget() {
                metrics::get().catalog_budget.set(used as f64 / f64::from(budget));
            }
            if let Ok(counts) = counts {
                let delayed = counts.delayed.iter().map(|(_, messages)| u64::from(*messages)).sum();
                let dead = u64::from(counts.dead);
                for (queue, messages) in
                    [("events", counts.events.into()), ("delay", delayed), ("dead", dead)]
                {
                    metrics::get().queue_messages.set_of(queue, messages);
                }
                if let Ok(kept) = self.store().count_letters(&LetterFilter::default()).await {
                    metrics::get().dead_letters.set(kept + dead);
                }
            }
            job.progress();
            let noted = self.note().await;
            self.log(noted);
            job.progress();
            // One of them may fail by itself, such as a count over a very large table.
            let answers = self.set().await.is_ok() || self.store().answers().await;
            self.sources.note_database(answers);
            metrics::get().database_up.set(answers.into());
            job.end();
            if !sleeps(EVERY, &stop).await {
                break;
            }
        }
        // The next worker need not wait for the lease to run out. If this fails, it runs out.
        let _ = self.store().release(JOB, &self.holder).await;
    }

    fn store(&self) -> &Store {
        self.sources.store()
    }

    /// Notes which overviews are blank, if this worker has the lease and it is time.
    async fn note(&mut self) -> Result<(), StoreError> {
        // Longer than a round takes, so that it stays with one worker, which knows when it is due.
        if !self.store().acquire(JOB, &self.holder, 3 * EVERY).await? || Instant::now() < self.due {
            return Ok(());
        }
        let begun = Instant::now();
        let waiting = Duration::from_secs(STEPS.iter().map(|step| u64::from(*step)).sum());
        self.store().note_blanks(waiting).await?;
        self.due = Instant::now() + begun.elapsed() * NOTING;
        Ok(())
    }

    /// Sets the gauges that come from the database.
    async fn set(&self) -> Result<(), StoreError> {
        let (overviews, ended, complete, blanks, refused, now) = tokio::try_join!(
            self.sources.overviews(),
            self.store().last_ended(None),
            self.store().last_ended(Some(Verdict::Complete)),
            self.store().blank_counts(),
            self.store().refusal_count(),
            self.store().now(),
        )?;
        let metrics = metrics::get();
        metrics.overviews.set_of("linked", overviews.linked);
        metrics.overviews.set_of("blank", overviews.blank);
        let age = |count: &BlankCount| (now - count.oldest).to_std().unwrap_or_default();
        metrics.blanks(blanks.iter().map(|count| (count.reason, count.overviews.unsigned_abs(), age(count))));
        let wrong = blanks.iter().filter(|count| !count.reason.is_right());
        metrics.blank_oldest.set(wrong.map(age).max().unwrap_or_default().as_secs_f64());
        metrics.refused_urls.set(refused);
        // From the table: the last pass may have run in another worker, or before a restart.
        if let Some(last) = ended {
            metrics.reconcile_verdict.choose(last.verdict.as_str());
            let took = last.finished_at.and_then(|end| (end - last.started_at).to_std().ok());
            metrics.reconcile_duration.set(took.unwrap_or_default().as_secs_f64());
            set_changes(&last);
        }
        if let Some(at) = complete.and_then(|pass| pass.finished_at) {
            metrics.reconcile_success.set(clock::timestamp(at));
        }
        Ok(())
    }

    /// One line when noting begins to fail, and one when it works again.
    fn log(&self, noted: Result<(), StoreError>) {
        match noted {
            Ok(()) if self.failing.recovers() => {
                tracing::info!(event = "blanks.recovered", "blank overviews are noted again");
            }
            Err(error) if self.failing.fails() => {
                let error = report(&error);
                tracing::error!(event = "blanks.failed", error, "cannot note which overviews are blank");
            }
            _ => {}
        }
    }
}

/// The changes of a pass, from the report in its row; nothing if that cannot be read.
fn set_changes(pass: &PassRow) {
    let Ok(report) = serde_json::from_str::<Report>(&pass.report) else { return };
    for (kind, runs) in [
        ("updated", report.updated),
        ("cleared", report.cleared),
        ("kept", report.kept),
        ("held_back", report.held_back),
        ("not_listed", report.not_listed),
        ("pending", report.pending),
    ] {
        metrics::get().reconcile_changes.set_of(kind, runs);
    }
    metrics::get().missed.set_of("light", report.missed_by_light);
    metrics::get().missed.set_of("hints", report.missed_by_hints);
}
