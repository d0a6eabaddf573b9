//! Harm to the Catalog and its answers.

use std::time::Duration;

use test_support::until;

use super::{Result, Size, no_dead_letters};
use crate::checker::percentile;
use crate::load::Load;
use crate::report::Demand;
use crate::schedule::Mix;
use crate::stage::Stage;
use stand_in::{Fault, Ratios};

/// From an event to the URL that was wiped before it, put back from the ledger.
const RESTORED: Duration = Duration::from_millis(100);
/// The same for the small version, which shares its machine with builds and other tests.
const RESTORED_SMALL: Duration = Duration::from_secs(1);
/// For answers that are on their way when the faults end.
const ANSWERED: Duration = Duration::from_secs(3);
const MORE_THAN_EVER_ASKED: usize = 100_000;
/// The seconds in which the worker finds out that the Catalog is away.
const TO_SEE_IT: usize = 2;

/// Away for the whole of the events, then back.
pub(super) async fn away(stage: &mut Stage, size: Size) -> Result {
    stage.begin().await?;
    let mix = Mix { edits: 0.2, ..Mix::default() };
    let steps = stage.chance.steps(size.events, stage.load.runs, mix);
    let load = &stage.load;
    // As behind a proxy whose backend is gone; unlike a closed port, that lets us count who knocks.
    load.catalog.script(std::iter::repeat_n(Fault::Status(503), MORE_THAN_EVER_ASKED));
    // Long enough, also when small, for the worker's pauses to grow.
    let pace = if size.small { 25 } else { 100 };
    let mut knocks = Vec::new();
    tokio::select! {
        played = load.play(&steps, pace) => played?,
        () = count_each_second(load, &mut knocks) => {}
    }
    let restored = until("every wiped overview has a URL again", Duration::from_secs(5), async || {
        let columns = load.lms.columns(load.runs).await?;
        Ok(columns.iter().all(|cell| cell.version().is_some()))
    });
    let restored = restored.await.is_ok();
    load.catalog.state().faults.script.clear();
    stage.settle(size.settling()).await?;

    let verdict = stage.judge().await?;
    let p99 = percentile(&verdict.restored, 99);
    let demands = vec![
        no_dead_letters(&verdict),
        gentle(&knocks),
        Demand::new("every wiped overview restored meanwhile", if restored { "yes" } else { "no" }, restored),
        Demand::within(
            "restored after its event, 99 of 100",
            p99,
            if size.small { RESTORED_SMALL } else { RESTORED },
        ),
    ];
    Ok((verdict, demands))
}

/// Appends the requests of each second, for as long as it is let.
async fn count_each_second(load: &Load, knocks: &mut Vec<u64>) {
    let mut before = load.catalog.stats().requests;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = load.catalog.stats().requests;
        knocks.push(now - before);
        before = now;
    }
}

/// At most one request a second, once it is seen that nobody answers.
fn gentle(knocks: &[u64]) -> Demand {
    let (seeing, seen) = knocks.split_at(TO_SEE_IT.min(knocks.len()));
    let (first, later): (u64, u64) = (seeing.iter().sum(), seen.iter().sum());
    let measured = format!("{first} in the first {TO_SEE_IT} s, then {later} in {} s", seen.len());
    Demand::new("at most 1 request a second while away", measured, later <= seen.len() as u64)
}

/// Half of all answers are bad in one way or another.
pub(super) async fn faults(stage: &mut Stage, size: Size) -> Result {
    stage.begin().await?;
    let steps = stage.chance.steps(size.events, stage.load.runs, Mix::default());
    let load = &stage.load;
    load.catalog.state().faults.ratios = Ratios {
        server_error: 0.20,
        throttled: 0.10,
        html200: 0.10,
        cut: 0.05,
        null: 0.05,
        foreign: 0.025,
        relative: 0.025,
        ..Ratios::default()
    };
    load.play(&steps, size.pace()).await?;
    // What was parked meanwhile shall meet them too.
    tokio::time::sleep(size.lasting(Duration::from_secs(30))).await;
    load.catalog.state().faults.ratios = Ratios::default();
    // A null, or a URL that must not be shared, is an answer, and ends its event. Mended in the Catalog, it is published
    // again, and not only once: a bad answer may be on its way for long.
    let mut mended = 0;
    let mend = async {
        loop {
            tokio::time::sleep(ANSWERED).await;
            match load.publish_mended().await {
                Ok(runs) => mended += runs,
                Err(error) => return error,
            }
        }
    };
    tokio::select! {
        settled = stage.settle(size.settling()) => settled?,
        failed = mend => return Err(failed),
    }
    let verdict = stage.judge().await?;
    let demands = vec![no_dead_letters(&verdict), Demand::new("runs mended", mended.to_string(), true)];
    Ok((verdict, demands))
}
