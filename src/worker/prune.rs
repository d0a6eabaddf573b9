//! Deletes the rows that the ledger, the table of passes and the history of links need not keep, once an hour, in one
//! worker of several.

use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::shutdown::sleeps;
use crate::jobs::{Job, Jobs};
use crate::store::{Store, StoreError};
use crate::telemetry::{metrics, report};

const JOB: &str = "prune";
const EVERY: Duration = Duration::from_secs(3600);
/// How long changes of links are kept.
const MAX_AGE: TimeDelta = TimeDelta::days(90);
/// How many changes of links are kept, beside those of one moment.
const MAX_CHANGES: u64 = 1_000_000;

/// Rows that are gone.
#[derive(Debug, Default)]
struct Pruned {
    runs: u64,
    passes: u64,
    changes: u64,
}

/// Prunes every hour until `stop` is cancelled, and at once: a worker may be started more often than that.
pub(super) async fn run(store: Store, holder: String, jobs: Jobs, stop: CancellationToken) {
    let job = jobs.add(JOB, EVERY);
    loop {
        job.begin();
        let mut pruned = Pruned::default();
        let ended = prune(&store, &holder, &job, &stop, &mut pruned).await;
        job.end();
        let Pruned { runs, passes, changes } = pruned;
        if runs + passes + changes > 0 {
            metrics::get().pruned.add_of("ledger", runs);
            metrics::get().pruned.add_of("reconcile", passes);
            metrics::get().pruned.add_of("change", changes);
            tracing::info!(event = "ledger.pruned", runs, passes, changes, "old rows are deleted");
        }
        if let Err(error) = ended {
            tracing::warn!(event = "ledger.not_pruned", error = report(&error), "old rows stay for now");
        }
        if !sleeps(EVERY, &stop).await {
            break;
        }
    }
    // So that the next worker need not wait until the lease expires; if that fails, it expires.
    let _ = store.release(JOB, &holder).await;
}

/// One batch after the other, with the lease. Adds what is gone to `pruned`, also where it fails half way.
async fn prune(
    store: &Store,
    holder: &str,
    job: &Job,
    stop: &CancellationToken,
    pruned: &mut Pruned,
) -> Result<(), StoreError> {
    if !store.acquire(JOB, holder, EVERY).await? {
        return Ok(());
    }
    pruned.passes = store.prune_passes().await?;
    pruned.changes = store.prune_changes(MAX_AGE, MAX_CHANGES).await?;
    let mut after = None;
    while !stop.is_cancelled() {
        let batch = store.prune_runs(after.as_deref()).await?;
        pruned.runs += batch.runs;
        job.progress();
        after = batch.next;
        if after.is_none() {
            break;
        }
    }
    Ok(())
}
