//! Harm to the broker, and to the way there.

use std::time::{Duration, Instant};

use test_support::Proxy;
use test_support::servers::{Down, Rabbitmq};

use super::{Result, Size, no_dead_letters};
use crate::report::Demand;
use crate::schedule::Mix;
use crate::stage::Stage;

/// From the broker's being up to the first event applied.
const BACK: Duration = Duration::from_secs(10);
const FREEZE: Duration = Duration::from_secs(20);
const WRITTEN_DOWN: Duration = Duration::from_secs(3);
/// How long we look for the first event, so that a worker that is late is told from one that never comes back.
const LOOKING: Duration = Duration::from_secs(120);

/// Restarted, in order and by a crash.
pub(super) async fn restart(stage: &mut Stage, rabbitmq: &mut Rabbitmq, size: Size) -> Result {
    stage.begin().await?;
    let steps = stage.chance.steps(size.events, stage.load.runs, Mix::default());
    let moments = stage.chance.moments(size.times, size.events);
    let downs = stage.chance.deal(&[Down::Crash, Down::Orderly], size.times);
    // RabbitMQ 3.10 writes down where a new queue is only when none has been made for half a second, and loses a queue
    // for good if it crashes before. That is not what is tried here.
    tokio::time::sleep(WRITTEN_DOWN).await;
    let load = &stage.load;
    let mut slowest = Duration::ZERO;
    let restarts = async {
        for (moment, down) in moments.into_iter().zip(downs) {
            load.played(moment).await;
            rabbitmq.stop(down).await?;
            rabbitmq.start_again().await?;
            let up = Instant::now();
            load.canary(LOOKING).await?;
            slowest = slowest.max(up.elapsed());
        }
        anyhow::Ok(())
    };
    tokio::try_join!(load.play(&steps, size.pace()), restarts)?;
    finish(stage, size, slowest).await
}

/// Frozen: its sockets stay open, and nobody answers.
pub(super) async fn freeze(stage: &mut Stage, rabbitmq: &mut Rabbitmq, size: Size) -> Result {
    stage.begin().await?;
    let steps = stage.chance.steps(size.events, stage.load.runs, Mix::default());
    let moments = stage.chance.moments(size.times, size.events);
    let load = &stage.load;
    let mut slowest = Duration::ZERO;
    let freezes = async {
        for moment in moments {
            load.played(moment).await;
            rabbitmq.freeze()?;
            tokio::time::sleep(size.lasting(FREEZE)).await;
            rabbitmq.thaw()?;
            let up = Instant::now();
            load.canary(LOOKING).await?;
            slowest = slowest.max(up.elapsed());
        }
        anyhow::Ok(())
    };
    tokio::try_join!(load.play(&steps, size.pace()), freezes)?;
    finish(stage, size, slowest).await
}

/// The worker's connections cut every 1 to 5 s, as long as there are events; ours are not.
pub(super) async fn cut(stage: &mut Stage, rabbitmq: &Rabbitmq, size: Size) -> Result {
    let proxy = Proxy::start(("127.0.0.1", rabbitmq.port)).await?;
    stage.program.set("amqp.url", Rabbitmq::url_at(proxy.port()));
    stage.begin().await?;
    let steps = stage.chance.steps(size.events, stage.load.runs, Mix::default());
    let (load, chance) = (&stage.load, &mut stage.chance);
    let mut cuts = 0;
    let cutting = async {
        loop {
            let pause = size.lasting(Duration::from_millis(chance.between(1_000, 5_000)));
            tokio::time::sleep(pause).await;
            cuts += usize::from(proxy.cut());
        }
    };
    tokio::select! {
        played = load.play(&steps, size.pace()) => played?,
        () = cutting => {}
    }
    proxy.cut();
    let up = Instant::now();
    stage.load.canary(LOOKING).await?;
    let (verdict, mut demands) = finish(stage, size, up.elapsed()).await?;
    demands.push(Demand::new("cuts of open connections", cuts.to_string(), cuts >= size.times));
    Ok((verdict, demands))
}

async fn finish(stage: &mut Stage, size: Size, slowest: Duration) -> Result {
    stage.settle(size.settling()).await?;
    let verdict = stage.judge().await?;
    let back = Demand::within("consuming again after the broker is up; the slowest", slowest, BACK);
    let demands = vec![back, no_dead_letters(&verdict)];
    Ok((verdict, demands))
}
