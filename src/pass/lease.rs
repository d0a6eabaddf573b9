//! One pass at a time, of all workers and commands: the lease `reconcile`, renewed while the pass runs.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{PassError, Progress};
use crate::jobs::{Job, Jobs};
use crate::store::Store;

const JOB: &str = "reconcile";
/// What `/healthz` calls the renewing.
const LEASE_JOB: &str = "pass_lease";
/// How long a killed pass keeps others out.
const TTL: Duration = Duration::from_secs(30);
const RENEW: Duration = Duration::from_secs(10);
/// How often to look whether another pass is alive, and whether it has ended.
const LOOK: Duration = Duration::from_millis(500);
const LOOK_FOR_END: Duration = Duration::from_secs(5);

/// The lease while it is held.
pub(super) struct Lease {
    store: Store,
    /// What the lease calls this pass.
    me: String,
    /// Cancelled when the lease is lost, as another pass may be running, and when the pass is to stop.
    pub(super) halt: CancellationToken,
    _renewal: AbortOnDropHandle<()>,
}

impl Lease {
    /// Takes the lease. Where another has it and does not renew it, as it was killed, waits until it runs out; where that
    /// one is alive, for no longer than `patience`.
    ///
    /// # Errors
    /// [`PassError::Taken`] if the other one is alive after that, or without patience if it ends while this waits to see;
    /// [`PassError::Stopped`].
    pub(super) async fn take(
        store: &Store,
        jobs: &Jobs,
        patience: Duration,
        progress: &dyn Progress,
        stop: &CancellationToken,
    ) -> Result<Self, PassError> {
        let me = format!("{}-{:08x}", std::process::id(), rand::random::<u32>());
        let (began, mut waits) = (Instant::now(), false);
        let mut other: Option<(String, DateTime<Utc>)> = None;
        loop {
            if store.acquire(JOB, &me, TTL).await? {
                // Given back before its time: its pass has just ended, and several commands on one schedule are to make
                // one pass.
                if let Some((holder, until)) = other
                    && patience.is_zero()
                    && store.now().await? < until
                {
                    store.release(JOB, &me).await?;
                    return Err(PassError::Taken { holder });
                }
                let (halt, job) = (stop.child_token(), jobs.add(LEASE_JOB, RENEW));
                let renewal = tokio::spawn(renew(store.clone(), me.clone(), halt.clone(), job));
                let (store, _renewal) = (store.clone(), AbortOnDropHandle::new(renewal));
                return Ok(Self { store, me, halt, _renewal });
            }
            let seen = store.holder(JOB).await?;
            // Renewed or not: that shows when its end has moved.
            match other.filter(|before| seen.as_ref() != Some(before)) {
                Some((holder, _)) if began.elapsed() >= patience => return Err(PassError::Taken { holder }),
                Some(_) if !std::mem::replace(&mut waits, true) => tracing::info!(
                    event = "reconcile.waiting",
                    "another pass runs; this one begins when that has ended"
                ),
                _ => {}
            }
            other = seen;
            progress.waiting();
            tokio::select! {
                () = stop.cancelled() => return Err(PassError::Stopped),
                () = tokio::time::sleep(if waits { LOOK_FOR_END } else { LOOK }) => {}
            }
        }
    }

    /// Gives the lease back. If that fails it runs out by itself.
    pub(super) async fn release(self) {
        let Self { store, me, halt: _, _renewal } = self;
        drop(_renewal);
        if let Err(error) = store.release(JOB, &me).await {
            tracing::warn!(event = "reconcile.lease_not_released", error = %error);
        }
    }
}

async fn renew(store: Store, me: String, halt: CancellationToken, job: Job) {
    let mut held_since = Instant::now();
    loop {
        tokio::time::sleep(RENEW).await;
        let asked = Instant::now();
        job.begin();
        let renewed = store.acquire(JOB, &me, TTL).await;
        job.end();
        match renewed {
            Ok(true) => held_since = asked,
            Ok(false) => return halt.cancel(),
            Err(error) => {
                tracing::warn!(event = "reconcile.lease_not_renewed", error = %error);
                if held_since.elapsed() >= TTL {
                    return halt.cancel();
                }
            }
        }
    }
}
