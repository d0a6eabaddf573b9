//! Checks whether the database accepts the writes of this program: when the worker starts, when a write is refused, and
//! every few seconds until it writes again. Status, readiness and metrics show the result.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::shutdown::sleeps;
use crate::jobs::Jobs;
use crate::store::{Need, ReadOnly, Store};
use crate::telemetry::metrics;

/// Between two checks while the database writes: a refused write starts a check at once.
const WRITES: Duration = Duration::from_secs(300);
/// Between two checks while the database does not write, or does not answer.
const REFUSED: Duration = Duration::from_secs(10);
/// Between a refused write and the check that follows.
const PAUSE: Duration = Duration::from_secs(1);

/// Checks until `stop`. Logs one line when the database stops writing, and one when it writes again.
pub(super) async fn watch(
    store: Store,
    needs: Vec<Need>,
    holder: String,
    jobs: Jobs,
    stop: CancellationToken,
) {
    let job = jobs.add("writes", WRITES);
    let mut changes = store.writes().watch();
    let mut logged: Option<String> = None;
    loop {
        job.begin();
        let checked = store.check_writes(&needs, &holder).await;
        job.end();
        changes.mark_unchanged();
        let refused = store.writes().read_only();
        // If the database does not answer, the last result stands.
        if checked.is_ok() || refused.is_some() {
            metrics::get().database_writable.set(refused.is_none().into());
            log(refused, &mut logged);
        }
        let pause = if matches!(checked, Ok(None)) { WRITES } else { REFUSED };
        tokio::select! {
            going_on = sleeps(pause, &stop) => if !going_on { return },
            _ = changes.changed() => if !sleeps(PAUSE, &stop).await { return },
        }
    }
}

fn log(refused: Option<ReadOnly>, logged: &mut Option<String>) {
    match refused {
        Some(ReadOnly { why, .. }) if logged.as_ref() != Some(&why) => {
            tracing::error!(
                event = "database.read_only",
                error = why,
                "the database reads, and does not write"
            );
            *logged = Some(why);
        }
        None if logged.take().is_some() => {
            tracing::info!(event = "database.writable", "the database writes again");
        }
        _ => {}
    }
}
