//! Rows that lost their link while the Catalog is away: back from the ledger, one at a time and all at once.

use std::time::{Duration, Instant};

use course_sharing::event::EventKind;

use super::database::Kind;
use super::floors;
use super::idle::to_row;
use super::report::{Report, Times, ms};
use super::stage::{Stage, runs};
use super::storm::check;
use stand_in::Setup;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Wiped rows
    #[arg(long, default_value_t = 1_000)]
    count: u32,
}

pub(crate) async fn run(kind: Kind, args: &Args) -> anyhow::Result<Report> {
    let catalog = Setup { runs: runs(args.count, ""), ..Setup::default() };
    let mut stage = Stage::set(kind, catalog, &[]).await?;
    stage.catalog.unplug().await;
    let report = measure(&stage, args).await;
    stage.clear().await?;
    report
}

async fn measure(stage: &Stage, args: &Args) -> anyhow::Result<Report> {
    let rows = u64::from(args.count);
    let kind = stage.database.kind.name();
    let mut report = Report::new(format!("restore: {rows} wiped rows, Catalog away, {kind}"));
    stage.database.fill(args.count, None).await?;
    stage.database.fill_ledger(args.count, "").await?;

    let mut worker = stage.worker().await?;
    let began = Instant::now();
    let mut times = Vec::new();
    for number in 0..args.count {
        let time = to_row(stage, EventKind::OverviewRecreated, number).await;
        times.push(time.map_err(|error| error.context(worker.log_end()))?);
    }
    worker.usage();
    let cost = worker.stop(stage, began.elapsed()).await?;
    check(stage, rows, &mut report).await?;
    let times = Times::new(times);
    let met = times.median() <= Duration::from_millis(5) && times.at(99.0) <= Duration::from_millis(30);
    report.judge("one at a time, publish to the URL being back", times.line(), "median 5 ms, p99 30 ms", met);
    cost.tell(&mut report, rows);

    let (last, peak) = all_at_once(stage, args, &mut report).await?;
    report.judge("all at once: the last is back after", ms(last), "1 s", last <= Duration::from_secs(1));
    report.judge("peak memory then", super::report::mib(peak), "64 MiB", peak <= 64 * 1024 * 1024);
    stage.queues.purge().await?;
    let delivery = Times::new(stage.queues.deliveries(200).await?);
    let row = Times::new(floors::committed_rows(&stage.database, 200).await?);
    report.tell("floor: publish to delivery", delivery.line());
    report.tell("floor: one committed row", row.line());
    let floor = delivery.median() + row.median();
    let ratio = times.median().as_secs_f64() / floor.as_secs_f64().max(1e-9);
    report.tell("the two medians together", format!("{}; ours is {ratio:.2} of it", ms(floor)));
    Ok(report.scored(times.median().as_secs_f64()))
}

/// Wipes all rows again; from before the first event is published to the last row's being right.
async fn all_at_once(stage: &Stage, args: &Args, report: &mut Report) -> anyhow::Result<(Duration, u64)> {
    let rows = u64::from(args.count);
    stage.queues.purge().await?;
    let mut worker = stage.worker().await?;
    stage.database.execute("UPDATE course_overviews_courseoverview SET marketing_url = NULL").await?;
    let began = Instant::now();
    let published = stage.publish_all(EventKind::OverviewRecreated, args.count, |n| n);
    let back = stage.until(rows, Duration::from_secs(60), || stage.database.linked());
    let (published, back) = tokio::join!(published, back);
    report.tell("all at once: publishing alone takes", ms(published?));
    let back = back.map_err(|error| error.context(worker.log_end()))?;
    worker.usage();
    let cost = worker.stop(stage, back - began).await?;
    check(stage, rows, report).await?;
    Ok((back - began, cost.peak))
}
