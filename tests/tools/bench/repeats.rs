//! The same few runs published over and over: events share look-ups, and yet the last one is honoured.
//!
//! Half way the Catalog changes every URL. As each run has events behind that moment, every link has to have the new
//! URL in the end.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use course_sharing::event::EventKind;

use super::database::Kind;
use super::report::{Report, grouped, rate};
use super::stage::{Run, Stage, runs};
use super::storm::consume_floors;
use stand_in::{LineLimit, Setup};
use test_support::until_every;

const LATER: &str = "-later";
/// Longer than `sync.min_interval`: after it nothing is asked for any more.
const QUIET: Duration = Duration::from_secs(7);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Events in all
    #[arg(long, default_value_t = 100_000)]
    count: u32,
    /// Runs that they are about, in turn
    #[arg(long, default_value_t = 1_000)]
    over: u32,
    /// How long the Catalog takes for an answer
    #[arg(long, default_value_t = 0)]
    catalog_ms: u64,
    /// Gives up after so many seconds
    #[arg(long, default_value_t = 120)]
    limit_s: u64,
}

pub(crate) async fn run(kind: Kind, args: &Args) -> anyhow::Result<Report> {
    let latency = Duration::from_millis(args.catalog_ms);
    let catalog =
        Setup { runs: runs(args.over, ""), latency, line_limit: LineLimit::None, ..Setup::default() };
    let stage = Stage::set(kind, catalog, &[]).await?;
    let report = measure(&stage, args).await;
    stage.clear().await?;
    report
}

async fn measure(stage: &Stage, args: &Args) -> anyhow::Result<Report> {
    let events = u64::from(args.count);
    let mut report = Report::new(format!(
        "hot: {} events over {} runs, Catalog {} ms, {}",
        grouped(events as f64),
        grouped(f64::from(args.over)),
        args.catalog_ms,
        stage.database.kind.name()
    ));
    stage.database.fill(args.over, None).await?;
    stage.publish_all(EventKind::CoursePublish, args.count, |n| n % args.over).await?;
    let later = runs(args.over, LATER);

    let worker = stage.worker().await?;
    let limit = Duration::from_secs(args.limit_s);
    let deadline = worker.began + limit;
    let mut changed = Some(later);
    let mut waiting = 0;
    let taken = loop {
        let ready = stage.queues.ready().await?;
        if ready <= events / 2
            && let Some(later) = changed.take()
        {
            stage.catalog.state().setup.runs = later;
        }
        if ready == 0 {
            break Instant::now();
        }
        if Instant::now() > deadline {
            report.wrong(format!("{ready} of {events} events still wait after {} s", args.limit_s));
            waiting = ready;
            break Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let time = taken - worker.began;
    finish(stage, args, worker, (events - waiting, time), report).await
}

async fn finish(
    stage: &Stage,
    args: &Args,
    mut worker: Run,
    (events, time): (u64, Duration),
    mut report: Report,
) -> anyhow::Result<Report> {
    let honoured = if report.is_right() {
        let limit = Duration::from_secs(60);
        let rows = u64::from(args.over);
        let honoured = stage.until(rows, limit, || stage.database.right(LATER)).await;
        let honoured =
            honoured.context("links with the last URL").map_err(|e| e.context(worker.log_end()))?;
        until_quiet(stage).await?;
        Some(honoured - worker.began)
    } else {
        None
    };
    worker.usage();
    let cost = worker.stop(stage, time).await?;
    let left = stage.queues.left().await?;
    if report.is_right() && left != (0, 0, 0) {
        report.wrong(format!("events, delayed and dead that are left: {left:?}"));
    }
    let reached = rate(events, time);
    report.tell("events", format!("{} a second, until the queue was empty", grouped(reached)));
    if let Some(honoured) = honoured {
        report.tell("every link had the last URL after", format!("{:.2} s", honoured.as_secs_f64()));
    }
    let few = cost.requests * 1_000 <= events;
    let each = events as f64 / cost.requests.max(1) as f64;
    report.judge("events a request", grouped(each), "1,000", few);
    cost.tell(&mut report, events);
    let bare = consume_floors(stage, args.count, reached, &mut report).await?;
    let part = reached / bare;
    report.judge("of the bare consumer that acknowledges each", format!("{part:.2}"), "0.50", part >= 0.5);
    Ok(report.scored(time.as_secs_f64()))
}

/// Waits until nothing is asked for, and nothing waits in a delay queue, for longer than a run may be held back.
async fn until_quiet(stage: &Stage) -> anyhow::Result<()> {
    let (mut asked, mut since) = (stage.catalog.stats().requests, Instant::now());
    let is_quiet = async || {
        let now = stage.catalog.stats().requests;
        let (events, delayed, _) = stage.queues.left().await?;
        if now != asked || events + delayed > 0 {
            (asked, since) = (now, Instant::now());
        }
        Ok(since.elapsed() > QUIET)
    };
    let limit = Duration::from_secs(90);
    until_every(Duration::from_millis(250), "the worker comes to rest", limit, is_quiet).await.map(drop)
}
