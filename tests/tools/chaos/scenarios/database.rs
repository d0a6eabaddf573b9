//! Harm to the database. While it is out the LMS writes nothing either; Studio goes on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use test_support::servers::Down;

use super::{Result, Size, no_dead_letters};
use crate::schedule::Mix;
use crate::servers::Database;
use crate::stage::Stage;

const OUT: Duration = Duration::from_secs(10);

/// Restarted, in order and by a crash.
pub(super) async fn restart(stage: &mut Stage, server: &mut Database, size: Size) -> Result {
    let downs = stage.chance.deal(&[Down::Crash, Down::Orderly], size.times);
    let mut downs = downs.into_iter();
    harmed(stage, size, async |_| server.restart(downs.next().unwrap_or(Down::Crash)).await).await
}

/// The LMS's table and the ledger locked.
pub(super) async fn lock(stage: &mut Stage, size: Size) -> Result {
    harmed(stage, size, async |stage| stage.load.lms.lock(size.lasting(OUT)).await).await
}

/// Every write refused.
pub(super) async fn read_only(stage: &mut Stage, size: Size) -> Result {
    harmed(stage, size, async |stage| {
        stage.load.lms.read_only(true).await?;
        tokio::time::sleep(size.lasting(OUT)).await;
        stage.load.lms.read_only(false).await
    })
    .await
}

/// Plays events, and does the harm at random moments of them.
async fn harmed(
    stage: &mut Stage,
    size: Size,
    mut harm: impl AsyncFnMut(&Stage) -> anyhow::Result<()>,
) -> Result {
    stage.begin().await?;
    let steps = stage.chance.steps(size.events, stage.load.runs, Mix::default());
    let moments = stage.chance.moments(size.times, size.events);
    let stage_seen = &*stage;
    let load = &stage_seen.load;
    let harms = async {
        for moment in moments {
            load.played(moment).await;
            load.lms_is_out.store(true, Ordering::Relaxed);
            let done = harm(stage_seen).await;
            load.lms_is_out.store(false, Ordering::Relaxed);
            done?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(load.play(&steps, size.pace()), harms)?;
    stage.settle(size.settling()).await?;
    let verdict = stage.judge().await?;
    let demands = vec![no_dead_letters(&verdict)];
    Ok((verdict, demands))
}
