//! A storm against a Catalog that gives so few requests an hour that it takes hours.
//!
//! The hour is a minute here: the stand-in's window is shorter, and its `Retry-After` with it. What the worker waits by
//! itself, its delay queues and its back-off, is not scaled; so the number of requests is what counts, not the time.

mod rhythms;

use std::time::Duration;

use course_sharing::event::EventKind;

use super::database::Kind;
use super::report::{Report, grouped};
use super::stage::{Run, Stage, runs};
use super::storm::keys_a_request;
use stand_in::{LineLimit, Setup, Throttle};

const LATER: &str = "-later";

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Events, each about a run of its own
    #[arg(long, default_value_t = 14_000)]
    count: u32,
    /// Requests an hour
    #[arg(long, default_value_t = 200)]
    requests: usize,
    /// How long an hour lasts here, in seconds
    #[arg(long, default_value_t = 60)]
    hour_s: u64,
    /// Hints twelve times an hour, a light pass a minute and a full pass run beside the events
    #[arg(long)]
    rhythms: bool,
    /// Gives up after so many seconds
    #[arg(long, default_value_t = 480)]
    limit_s: u64,
}

pub(crate) async fn run(kind: Kind, args: &Args) -> anyhow::Result<Report> {
    let window = Duration::from_secs(args.hour_s);
    let catalog = Setup {
        runs: runs(args.count, LATER),
        throttle: Some(Throttle { requests: args.requests, window }),
        line_limit: LineLimit::None,
        ..Setup::default()
    };
    if args.rhythms {
        return rhythms::run(kind, catalog, args).await;
    }
    let stage = Stage::set(kind, catalog, &[]).await?;
    let report = measure(&stage, args).await;
    stage.clear().await?;
    report
}

async fn measure(stage: &Stage, args: &Args) -> anyhow::Result<Report> {
    let events = u64::from(args.count);
    let mut report = report(stage, args, "throttled");
    stage.database.fill(args.count, None).await?;
    stage.database.fill_ledger(args.count, "").await?;
    let mut worker = restored(stage, args, &mut report).await?;
    let limit = Duration::from_secs(args.limit_s);
    let done = stage.until(events, limit, || stage.database.right(LATER)).await;
    let done = match done {
        Ok(done) => Some(done - worker.began),
        Err(error) => {
            report.wrong(format!("not all were looked up: {error}"));
            None
        }
    };
    worker.usage();
    let cost = worker.stop(stage, done.unwrap_or(limit)).await?;

    if let Some(done) = done {
        let hours = done.as_secs_f64() / args.hour_s as f64;
        report.tell(
            "all runs looked up after",
            format!("{:.1} s, {hours:.1} hours of the stand-in's", done.as_secs_f64()),
        );
    }
    let stats = stage.catalog.stats();
    let value = format!("{}, of them refused: {}", cost.requests, stats.throttled);
    report.judge("requests until then", value, "at most 520", done.is_some() && cost.requests <= 520);
    report.tell("keys a request", keys(&stats.targets.into_iter().collect::<Vec<_>>(), args.requests));
    cost.tell(&mut report, events);
    let (events, delayed, dead) = stage.queues.left().await?;
    report.tell("left: events, delayed, dead", format!("{events}, {delayed}, {dead}"));
    Ok(report.scored(cost.requests as f64))
}

/// An empty report that says what is played.
fn report(stage: &Stage, args: &Args, what: &str) -> Report {
    Report::new(format!(
        "{what}: {} events about as many runs, {} requests an hour (of {} s), {}",
        grouped(f64::from(args.count)),
        args.requests,
        args.hour_s,
        stage.database.kind.name()
    ))
}

/// Sends an event about each run and starts a worker, which gives all links back before it has asked for them.
async fn restored(stage: &Stage, args: &Args, report: &mut Report) -> anyhow::Result<Run> {
    stage.publish_all(EventKind::CoursePublish, args.count, |n| n).await?;
    let worker = stage.worker().await?;
    let limit = Duration::from_secs(args.limit_s);
    let restored = stage.until(args.count.into(), limit, || stage.database.linked()).await;
    let restored = restored.map_err(|error| error.context(worker.log_end()))? - worker.began;
    let at_once = restored < Duration::from_secs(10);
    report.judge("all links restored after", format!("{:.2} s", restored.as_secs_f64()), "at once", at_once);
    Ok(worker)
}

/// How full the requests were, in the first hour and after it.
fn keys(targets: &[String], an_hour: usize) -> String {
    let mean = |targets: &[String]| {
        let keys: u64 = targets.iter().map(|target| keys_a_request([target])).sum();
        keys as f64 / targets.len().max(1) as f64
    };
    let (first, later) = targets.split_at(an_hour.min(targets.len()));
    format!("{:.1} in the first hour, {:.1} after it", mean(first), mean(later))
}
