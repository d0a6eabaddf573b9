//! The same storm while hints, light passes and a full pass take their share of the hour.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::{TimeDelta, Utc};

use super::{Args, LATER, report, restored};
use crate::database::{Kind, TABLE, course, url};
use crate::report::Report;
use crate::stage::{Run, Stage, runs};
use stand_in::{Draft, Setup};

/// Of the URLs that drafts bring while the storm lasts.
const DRAFTED: &str = "-drafted";
/// So many runs.
const DRAFTS: u32 = 200;
/// Hints come again after this time and more; those are not waited for.
const AGAIN: u32 = 900;
/// The full pass is due so long after the worker's start.
const NIGHT: TimeDelta = TimeDelta::seconds(40);
/// Longer than a run is held back after a look-up (`sync.min_interval`), so that nothing waits in the worker either.
const QUIET: Duration = Duration::from_secs(7);

pub(super) async fn run(kind: Kind, catalog: Setup, args: &Args) -> anyhow::Result<Report> {
    let throttle = catalog.throttle;
    let catalog = Setup { runs: runs(args.count, ""), throttle: None, ..catalog };
    let question = format!("{}ms", args.hour_s * 1000 / 12);
    let night = (Utc::now() + NIGHT).format("%S %M %H * * *").to_string();
    let settings = [
        ("RECONCILE__DELTA_INTERVAL", question),
        ("RECONCILE__LIGHT_SCHEDULE", "15 * * * * *".to_owned()),
        ("RECONCILE__SCHEDULE", night),
    ];
    let stage = Stage::set(kind, catalog, &settings).await?;
    let report = async {
        stage.database.fill(args.count, None).await?;
        let ended = stage.program(&["reconcile"])?.ended(Duration::from_secs(120)).await?;
        anyhow::ensure!(ended.success(), "the first pass ended with {ended}");
        {
            let setup = &mut stage.catalog.state().setup;
            (setup.runs, setup.throttle) = (runs(args.count, LATER), throttle);
        }
        stage.database.execute(&format!("UPDATE {TABLE} SET marketing_url = NULL")).await?;
        measure(&stage, args).await
    };
    let report = report.await;
    stage.clear().await?;
    report
}

async fn measure(stage: &Stage, args: &Args) -> anyhow::Result<Report> {
    let events = u64::from(args.count);
    let mut report = report(stage, args, "throttled, all rhythms");
    let mut worker = restored(stage, args, &mut report).await?;
    let limit = Duration::from_secs(args.limit_s);
    for number in 0..DRAFTS {
        let draft = Draft::new(&course(number), Some(&url(number, DRAFTED)));
        stage.catalog.save_draft(Draft { official_after: Duration::ZERO, ..draft });
    }
    let settled = settled(stage, &worker, limit).await.map_err(|error| error.context(worker.log_end()))?;
    let right = stage.until(events, limit, || right(stage)).await;
    let right = right.map_err(|error| error.context(worker.log_end()))? - worker.began;
    worker.usage();
    let passes = worker.told("reconcile.finished");
    let cost = worker.stop(stage, settled.max(right)).await?;

    report.tell("all links right, drafts included, by", format!("{:.1} s", right.as_secs_f64()));
    judge_time(stage, args, settled, cost.requests, &mut report);
    report.judge("passes that ended meanwhile", passes.to_string(), "2", passes >= 2);
    cost.tell(&mut report, events);
    // What the worker had not settled would be back in the queue.
    let (waiting, delayed, dead) = stage.queues.left().await?;
    let lost = waiting + dead;
    report.judge("events, and dead letters, that are left", format!("{waiting}, {dead}"), "0, 0", lost == 0);
    report.tell("hints that come again later", delayed.to_string());
    if lost > 0 {
        report.wrong(format!("{waiting} events and {dead} dead letters are left"));
    }
    Ok(report.scored(settled.as_secs_f64()))
}

/// How many rows have what the Catalog has.
async fn right(stage: &Stage) -> anyhow::Result<u64> {
    let (later, drafted) = (stage.database.right(LATER).await?, stage.database.right(DRAFTED).await?);
    Ok(if drafted == u64::from(DRAFTS) { later + drafted } else { later })
}

/// How long it took until no event waited any more.
async fn settled(stage: &Stage, worker: &Run, limit: Duration) -> anyhow::Result<Duration> {
    let mut since = None;
    loop {
        let waiting = stage.queues.waiting(AGAIN).await?;
        let now = Instant::now();
        if waiting > 0 {
            since = None;
        } else if now - *since.get_or_insert(now) > QUIET {
            return Ok(since.context("it was set")? - worker.began);
        }
        anyhow::ensure!(now - worker.began < limit, "{waiting} events wait after {} s", limit.as_secs());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Against the time at which so many requests can have been sent at the earliest.
fn judge_time(stage: &Stage, args: &Args, settled: Duration, requests: u64, report: &mut Report) {
    let stats = stage.catalog.stats();
    let sent: Vec<&String> =
        stats.targets.iter().rev().take(usize::try_from(requests).unwrap_or(0)).collect();
    let count = |is: fn(&str) -> bool| sent.iter().filter(|target| is(target)).count();
    let (keys, changes) = (count(|t| t.contains("keys=")), count(|t| t.contains("/courses/")));
    let pages = sent.len() - keys - changes;
    let value = format!(
        "{requests}, of them refused: {}; {keys} look-ups, {pages} pages, {changes} questions what has changed",
        stats.throttled
    );
    report.tell("requests until then", value);
    let through = requests - stats.throttled;
    let hours = (through.saturating_sub(1) / args.requests as u64) as f64;
    let alone = hours * args.hour_s as f64;
    let met = settled.as_secs_f64() <= alone * 1.1;
    let value = format!("{:.1} s", settled.as_secs_f64());
    report.judge("all events settled after", value, format!("{alone:.0} s, the budget's, and 10 %"), met);
}
