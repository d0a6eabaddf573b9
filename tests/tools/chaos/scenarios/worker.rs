//! Harm to the worker's process.

use std::time::Duration;

use super::{Result, Size};
use crate::report::Demand;
use crate::schedule::Mix;
use crate::stage::Stage;
use crate::worker::STOPPING;

/// SIGKILL at random moments, and a new one at once.
pub(super) async fn kill9(stage: &mut Stage, size: Size) -> Result {
    stage.begin().await?;
    let steps = stage.chance.steps(size.events, stage.load.runs, Mix::default());
    let moments = stage.chance.moments(size.times, size.events);
    let pauses: Vec<u64> = moments.iter().map(|_| stage.chance.between(0, 300)).collect();
    let (load, worker) = (&stage.load, &mut stage.workers[0]);
    let kills = async {
        for (moment, pause) in moments.into_iter().zip(pauses) {
            load.played(moment).await;
            tokio::time::sleep(Duration::from_millis(pause)).await;
            worker.kill().await?;
            worker.start_again()?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(load.play(&steps, size.pace()), kills)?;
    stage.settle(size.settling()).await?;
    Ok((stage.judge().await?, vec![Demand::new("workers killed", size.times.to_string(), true)]))
}

/// SIGTERM under load, and a new one when it has ended.
pub(super) async fn sigterm(stage: &mut Stage, size: Size) -> Result {
    stage.begin().await?;
    let steps = stage.chance.steps(size.events, stage.load.runs, Mix::default());
    let moments = stage.chance.moments(size.times, size.events);
    let lives: Vec<u64> = moments.iter().map(|_| stage.chance.between(100, 1_000)).collect();
    let (load, queues, worker) = (&stage.load, &stage.queues, &mut stage.workers[0]);
    let mut slowest = Duration::ZERO;
    let terminations = async {
        for (moment, life) in moments.into_iter().zip(lives) {
            load.played(moment).await;
            // Also one that is behind its schedule shall have something in hand.
            tokio::time::sleep(Duration::from_millis(life)).await;
            slowest = slowest.max(worker.terminate().await?);
            worker.start_again()?;
            // A process that has not come to listening for signals yet dies of them, as any other does.
            queues.consumers(1).await?;
        }
        anyhow::Ok(())
    };
    // Slower, as a stop takes some seconds, and the last shall be under load too.
    tokio::try_join!(load.play(&steps, size.pace() / 3), terminations)?;
    stage.settle(size.settling()).await?;
    let verdict = stage.judge().await?;
    Ok((verdict, vec![Demand::within("exit 0 after each SIGTERM; the slowest", slowest, STOPPING)]))
}

/// Two workers with one schedule of passes.
pub(super) async fn two(stage: &mut Stage, size: Size) -> Result {
    let every: i64 = if size.small { 5 } else { 10 };
    stage.program.set("reconcile.schedule", format!("*/{every} * * * * *"));
    stage.start_worker().await?;
    stage.begin().await?;
    let steps = stage.chance.steps(size.events, stage.load.runs, Mix::default());
    stage.load.play(&steps, size.pace()).await?;
    stage.settle(size.settling()).await?;
    let verdict = stage.judge().await?;

    let passes = stage.load.lms.passes().await?;
    let slots: Vec<i64> = passes.iter().map(|(start, _)| start / (every * 1_000_000)).collect();
    let twice = slots.windows(2).filter(|pair| pair[0] == pair[1]).count();
    let overlap = |pair: &&[(i64, Option<i64>)]| pair[0].1.is_none_or(|end| end > pair[1].0);
    let overlapping = passes.windows(2).filter(overlap).count();
    let measured = format!("{} passes, {twice} times two for one, {overlapping} overlapping", passes.len());
    let held = !passes.is_empty() && twice == 0 && overlapping == 0;
    Ok((verdict, vec![Demand::new("one pass for each time in the schedule", measured, held)]))
}
