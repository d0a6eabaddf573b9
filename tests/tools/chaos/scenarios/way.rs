//! Harm on the way to the database.

use std::time::Duration;

use test_support::{Proxy, until};

use super::{Result, Size, no_dead_letters};
use crate::report::Demand;
use crate::schedule::Mix;
use crate::servers::Database;
use crate::stage::{HEAL, Stage};

const SLOW: Duration = Duration::from_secs(3);
/// Longer than the interval of heal, so that one of its statements waits for the lock.
const LOCKED: Duration = Duration::from_secs(8);
const WIPED: usize = 10;
/// A statement's own limit, and an interval, generously: before, it never came to it.
const HEALED: Duration = Duration::from_secs(120);

/// Two workers, for one of which each connection takes 3 s to open: it may not take itself to be ahead in time.
pub(super) async fn slow(stage: &mut Stage, server: &Database, size: Size) -> Result {
    let proxy = Proxy::start(("127.0.0.1", server.port())).await?;
    proxy.delay(SLOW);
    stage.begin().await?;
    stage.program.set("database.url", stage.load.lms.worker_url_at(proxy.port())?);
    stage.start_worker().await?;
    // Each run anew again and again, so that both workers have answers for it that are seconds apart.
    let mix = Mix { edits: 1.0, wipes: 0.0, ..Mix::default() };
    let steps = stage.chance.steps(size.events, stage.load.runs, mix);
    stage.load.play(&steps, size.pace() / 2).await?;
    stage.settle(size.settling()).await?;
    let verdict = stage.judge().await?;
    let demands = vec![no_dead_letters(&verdict)];
    Ok((verdict, demands))
}

/// Connections become black holes, one of them while heal waits for an answer on it. Healing goes on.
pub(super) async fn silent(stage: &mut Stage, server: &Database, size: Size) -> Result {
    let proxy = Proxy::start(("127.0.0.1", server.port())).await?;
    stage.program.set("database.url", stage.load.lms.worker_url_at(proxy.port())?);
    stage.begin().await?;
    let steps = stage.chance.steps(size.events, stage.load.runs, Mix::default());
    let moments = stage.chance.moments(size.times, size.events);
    let load = &stage.load;
    let silences = async {
        for moment in moments {
            load.played(moment).await;
            proxy.silence();
        }
        anyhow::Ok(())
    };
    tokio::try_join!(load.play(&steps, size.pace()), silences)?;
    stage.settle(size.settling()).await?;

    let load = &stage.load;
    let during_heal = async {
        tokio::time::sleep(LOCKED - Duration::from_secs(1)).await;
        proxy.silence();
        anyhow::Ok(())
    };
    tokio::try_join!(load.lms.lock(LOCKED), during_heal)?;
    let healed = wipe_and_wait(stage, HEALED).await?;
    stage.settle(size.settling()).await?;
    let verdict = stage.judge().await?;
    let demands = vec![healed, no_dead_letters(&verdict)];
    Ok((verdict, demands))
}

/// The LMS wipes links without a word of it: only heal can bring them back.
async fn wipe_and_wait(stage: &Stage, limit: Duration) -> anyhow::Result<Demand> {
    let load = &stage.load;
    for run in 0..WIPED {
        load.lms.save(run, None).await?;
    }
    let since = std::time::Instant::now();
    let healed = until("wiped links are healed", limit, async || load.is_right().await);
    let what = "links that no event tells of are healed";
    Ok(match healed.await {
        Ok(took) => Demand::within(what, took, limit + HEAL),
        Err(_) => Demand::new(what, format!("not within {:.0?}", since.elapsed()), false),
    })
}
