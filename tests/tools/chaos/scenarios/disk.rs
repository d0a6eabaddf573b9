//! A full disk under SQLite.

use std::time::Duration;

use test_support::{SmallDisk, until};

use super::{Result, Size, no_dead_letters};
use crate::schedule::Mix;
use crate::stage::Stage;

const FULL: Duration = Duration::from_secs(5);
/// For what the worker takes from the queue before it is killed.
const TAKEN: Duration = Duration::from_secs(30);

/// The disk fills up under load and is emptied again; when all events are taken the worker is killed. What it has
/// acknowledged must be there for the next one.
pub(super) async fn full(stage: &mut Stage, disk: &SmallDisk, size: Size) -> Result {
    stage.begin().await?;
    // The LMS writes nothing: SQLite knows no users, so every write is taken for the worker's.
    let mix = Mix { edits: 1.0, wipes: 0.0, ..Mix::default() };
    let steps = stage.chance.steps(size.events, stage.load.runs, mix);
    let moments = stage.chance.moments(size.times, size.events * 2 / 3);
    let load = &stage.load;
    let fillings = async {
        for moment in moments {
            load.played(moment).await;
            disk.fill(0)?;
            tokio::time::sleep(size.lasting(FULL)).await;
            disk.free()?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(load.play(&steps, size.pace()), fillings)?;
    let queues = &stage.queues;
    let _ = until("events are taken", TAKEN, async || {
        Ok(queues.depths().await.is_ok_and(|depths| depths.events + depths.delayed == 0))
    })
    .await;
    stage.workers[0].kill().await?;
    stage.workers[0].start_again()?;
    stage.settle(size.settling()).await?;
    let verdict = stage.judge().await?;
    let demands = vec![no_dead_letters(&verdict)];
    Ok((verdict, demands))
}
