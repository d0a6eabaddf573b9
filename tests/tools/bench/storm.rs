//! A burst as large as the number of courses: N events about N runs wait in the queue when the worker comes.

use std::time::Duration;

use course_sharing::event::EventKind;

use super::database::Kind;
use super::floors;
use super::report::{Report, grouped, rate};
use super::stage::{Stage, runs};
use stand_in::{LineLimit, Setup};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Events, each about a run of its own
    #[arg(long, default_value_t = 10_000)]
    count: u32,
    /// How long the Catalog takes for an answer
    #[arg(long, default_value_t = 50)]
    catalog_ms: u64,
    /// catalog.concurrency
    #[arg(long, default_value_t = 2)]
    concurrency: usize,
    /// Gives up after so many seconds
    #[arg(long, default_value_t = 120)]
    limit_s: u64,
}

pub(crate) async fn run(kind: Kind, args: &Args) -> anyhow::Result<Report> {
    let latency = Duration::from_millis(args.catalog_ms);
    let catalog =
        Setup { runs: runs(args.count, ""), latency, line_limit: LineLimit::None, ..Setup::default() };
    let stage = Stage::set(kind, catalog, &[("CATALOG__CONCURRENCY", args.concurrency.to_string())]).await?;
    let report = measure(&stage, args).await;
    stage.clear().await?;
    report
}

async fn measure(stage: &Stage, args: &Args) -> anyhow::Result<Report> {
    let events = u64::from(args.count);
    let kind = stage.database.kind.name();
    let mut report = Report::new(format!(
        "storm: {} events about as many runs, Catalog {} ms, concurrency {}, {kind}",
        grouped(events as f64),
        args.catalog_ms,
        args.concurrency
    ));
    stage.database.fill(args.count, None).await?;
    stage.publish_all(EventKind::CoursePublish, args.count, |n| n).await?;

    let mut worker = stage.worker().await?;
    let limit = Duration::from_secs(args.limit_s);
    let half = stage.until(events / 2, limit, || stage.database.linked()).await;
    let whole = match half {
        Ok(half) => stage.until(events, limit, || stage.database.linked()).await.map(|whole| (half, whole)),
        Err(error) => Err(error),
    };
    let (half, whole) = whole.map_err(|error| error.context(worker.log_end()))?;
    let (half, time) = (half - worker.began, whole - worker.began);
    worker.usage();
    let cost = worker.stop(stage, time).await?;

    let reached = rate(events, time);
    let keys = keys_a_request(&stage.catalog.stats().targets);
    judge_rate(&mut report, args, reached, keys);
    report.tell("half of the links were right after", format!("{:.2} s", half.as_secs_f64()));
    report.tell("all of them after", format!("{:.2} s", time.as_secs_f64()));
    let few = cost.requests * 30 <= events;
    report.judge(
        "events a request",
        format!("{:.1}", events as f64 / cost.requests.max(1) as f64),
        "30",
        few,
    );
    cost.tell(&mut report, events);
    tell_floors(stage, args, reached, &mut report).await?;
    check(stage, events, &mut report).await?;
    Ok(report.scored(time.as_secs_f64()))
}

/// 85 % of what keys a URL, latency and concurrency allow; without latency a plain number.
fn judge_rate(report: &mut Report, args: &Args, reached: f64, keys: u64) {
    let rate = format!("{} a second", grouped(reached));
    if args.catalog_ms == 0 {
        return report.judge("events", rate, "8,000 a second", reached >= 8_000.0);
    }
    let rounds = f64::from(args.count) / keys.max(1) as f64 / args.concurrency as f64;
    let ceiling = f64::from(args.count) / (rounds.ceil() * args.catalog_ms as f64 / 1000.0);
    let part = reached / ceiling * 100.0;
    let value = format!("{rate}, {part:.0} % of the ceiling of {} ({keys} keys a URL)", grouped(ceiling));
    report.judge("events", value, "85 %", part >= 85.0);
}

/// The most keys in any one request.
pub(crate) fn keys_a_request<'a>(targets: impl IntoIterator<Item = &'a String>) -> u64 {
    let keys = |target: &String| {
        let (_, rest) = target.split_once("keys=")?;
        Some(rest.split('&').next()?.split(',').count() as u64)
    };
    targets.into_iter().filter_map(keys).max().unwrap_or(0)
}

async fn tell_floors(stage: &Stage, args: &Args, reached: f64, report: &mut Report) -> anyhow::Result<()> {
    let targets: Vec<String> = stage.catalog.stats().targets.into();
    let asked = targets.len() as u64;
    let (time, _) = floors::fetch(&stage.catalog.url(), targets, args.concurrency).await?;
    let bare = rate(u64::from(args.count), time);
    report.tell(
        format!("floor: the same {asked} requests, bare HTTP"),
        format!("{} events a second; ours is {:.2} of it", grouped(bare), reached / bare),
    );
    consume_floors(stage, args.count, reached, report).await?;
    Ok(())
}

/// The same number of messages, only acknowledged: each, and by the hundred. The first rate.
pub(crate) async fn consume_floors(
    stage: &Stage,
    count: u32,
    reached: f64,
    report: &mut Report,
) -> anyhow::Result<f64> {
    let mut rates = Vec::new();
    for (every, how) in [(1, "each acknowledged"), (100, "acknowledged by the hundred")] {
        stage.queues.purge().await?;
        stage.publish_all(EventKind::CoursePublish, count, |n| n).await?;
        let time = stage.queues.consume_and_ack(count.into(), every).await?;
        let bare = rate(count.into(), time);
        report.tell(
            format!("floor: bare consumer, {how}"),
            format!("{} a second; ours is {:.2} of it", grouped(bare), reached / bare),
        );
        rates.push(bare);
    }
    Ok(rates[0])
}

/// Every row right, and nothing left in any queue.
pub(crate) async fn check(stage: &Stage, rows: u64, report: &mut Report) -> anyhow::Result<()> {
    let right = stage.database.right("").await?;
    if right != rows {
        report.wrong(format!("{right} of {rows} links are right"));
    }
    Ok(())
}
