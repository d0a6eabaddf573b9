//! Heals on a timer, in one worker of several.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use tracing::field::Empty;

use crate::clock;
use crate::jobs::{HEAL, Jobs};
use crate::store::{Healed, Rejected, Store, StoreError};
use crate::telemetry::{Latch, metrics, report, traces};
use crate::worker::shutdown::sleeps;

/// Heals every `every` until told to stop, if the lease is ours.
pub(in crate::worker) async fn heal(
    store: Store,
    every: Option<Duration>,
    holder: String,
    jobs: Jobs,
    stop: CancellationToken,
) {
    let Some(period) = every else { return };
    let job = jobs.add(HEAL, period);
    let mut state = State::default();
    // Without a first heal the alert would have nothing to count from.
    metrics::get().heal_success.set(clock::timestamp(clock::now()));
    // At once, too: a worker that is started more often than it heals would otherwise never heal.
    loop {
        job.begin();
        let began = Instant::now();
        let healed = heal_once(&store, period, &holder).await;
        job.end();
        state.note(began, healed);
        if !sleeps(period, &stop).await {
            break;
        }
    }
    // So that the next worker need not wait for the lease to run out; if that fails, it runs out.
    let _ = store.release(HEAL, &holder).await;
}

/// None if another worker heals.
async fn heal_once(store: &Store, period: Duration, holder: &str) -> Result<Option<Healed>, StoreError> {
    // As long as the period: one heal in each, by the first worker that asks after the last one's time.
    if !store.acquire(HEAL, holder, period).await? {
        return Ok(None);
    }
    let span = tracing::info_span!(parent: None, "heal", course_sharing.rows_written = Empty);
    let healed = store.heal().instrument(span.clone()).await;
    let healed = healed.inspect_err(|error| traces::fail(&span, error.into(), &report(error)))?;
    span.record("course_sharing.rows_written", traces::count(healed.overviews));
    metrics::get().heal_success.set(clock::timestamp(clock::now()));
    Ok(Some(healed))
}

/// What this worker remembers from one heal to the next.
#[derive(Default)]
struct State {
    failing: Latch,
    /// When it last healed: a link that is lost now was there then.
    last: Option<Instant>,
    rejected: Vec<Rejected>,
}

impl State {
    /// One line when the database goes away and one when it is back; rows that it rejects once, until others are.
    fn note(&mut self, began: Instant, healed: Result<Option<Healed>, StoreError>) {
        let healed = match healed {
            Ok(healed) => healed,
            Err(error) => {
                if self.failing.fails() {
                    tracing::error!(event = "heal.failed", error = report(&error), "cannot heal");
                }
                return;
            }
        };
        if self.failing.recovers() {
            tracing::info!(event = "heal.recovered", "healing again");
        }
        let Some(Healed { overviews, rejected }) = healed else { return };
        let last = self.last.replace(began);
        if overviews > 0 {
            metrics::get().healed.add_of("heal", overviews);
            if let Some(last) = last {
                metrics::get().links_to_write("heal", last.elapsed(), overviews);
            }
            tracing::info!(event = "overview.healed", overviews, "links healed from the ledger");
        }
        if !rejected.is_empty() && rejected != self.rejected {
            log_rejected(&rejected);
        }
        self.rejected = rejected;
    }
}

fn log_rejected(rejected: &[Rejected]) {
    let (overviews, first) = (rejected.len(), rejected.first());
    let course = first.map(|row| row.course.to_string());
    let error = first.map(|row| row.why.as_str());
    tracing::warn!(
        event = "heal.rejected",
        overviews,
        course,
        error,
        "the database rejects rows that heal would write"
    );
}
