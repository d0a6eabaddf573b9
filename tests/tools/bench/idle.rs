//! One event at a time, from publishing to the committed row, and what of it is the Catalog's own time.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use course_sharing::event::EventKind;

use super::database::Kind;
use super::floors;
use super::report::{Report, Times, ms};
use super::stage::{Stage, body, runs};
use super::storm::check;
use stand_in::{LineLimit, Setup};

/// How long one event may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at the row.
const LOOK: Duration = Duration::from_micros(200);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Events
    #[arg(long, default_value_t = 500)]
    count: u32,
    /// How long the Catalog takes for an answer
    #[arg(long, default_value_t = 0)]
    catalog_ms: u64,
}

pub(crate) async fn run(kind: Kind, args: &Args) -> anyhow::Result<Report> {
    let latency = Duration::from_millis(args.catalog_ms);
    let catalog =
        Setup { runs: runs(args.count, ""), latency, line_limit: LineLimit::None, ..Setup::default() };
    let stage = Stage::set(kind, catalog, &[]).await?;
    let report = measure(&stage, args).await;
    stage.clear().await?;
    report
}

async fn measure(stage: &Stage, args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new(format!(
        "idle: {} events, one at a time, Catalog {} ms, {}",
        args.count,
        args.catalog_ms,
        stage.database.kind.name()
    ));
    stage.database.fill(args.count, None).await?;
    let mut worker = stage.worker().await?;
    let began = Instant::now();
    let mut times = Vec::new();
    for number in 0..args.count {
        let time = to_row(stage, EventKind::CoursePublish, number).await;
        times.push(time.map_err(|error| error.context(worker.log_end()))?);
    }
    worker.usage();
    let cost = worker.stop(stage, began.elapsed()).await?;

    let times = Times::new(times);
    let line = times.line();
    if args.catalog_ms == 0 {
        let met = times.median() <= Duration::from_millis(6) && times.at(99.0) <= Duration::from_millis(20);
        report.judge("publish to committed row", line, "median 6 ms, p99 20 ms", met);
    } else {
        report.tell("publish to committed row", line);
    }
    let targets: Vec<String> = stage.catalog.stats().targets.into();
    let bare = Times::new(floors::fetch(&stage.catalog.url(), targets, 1).await?.1);
    let more = times.median().saturating_sub(bare.median());
    let met = more <= Duration::from_millis(15);
    report.judge("more than the Catalog's own answer, median", ms(more), "15 ms", met);
    cost.tell(&mut report, args.count.into());
    tell_floors(stage, &times, &bare, &mut report).await?;
    Ok(report.scored(times.median().as_secs_f64()))
}

/// Publishes an event about a run, and waits until its row is right; from before the one to after the other.
pub(crate) async fn to_row(stage: &Stage, kind: EventKind, number: u32) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let published = stage.queues.publish(kind.as_str(), body(kind, number));
    let seen = async {
        while !stage.database.is_right(number, "").await? {
            anyhow::ensure!(began.elapsed() < LIMIT, "run {number} has no link after {} s", LIMIT.as_secs());
            // Shorter than the runtime's timer can.
            tokio::task::block_in_place(|| std::thread::sleep(LOOK));
        }
        anyhow::Ok(began.elapsed())
    };
    let (published, seen) = tokio::join!(published, seen);
    published.context("publishing")?;
    seen
}

/// What it is made of, each measured alone: the way through the broker, the answer, one committed row.
async fn tell_floors(
    stage: &Stage,
    times: &Times,
    answer: &Times,
    report: &mut Report,
) -> anyhow::Result<()> {
    let rows = stage.catalog.state().setup.runs.count();
    check(stage, rows as u64, report).await?;
    let delivery = Times::new(stage.queues.deliveries(200).await?);
    let row = Times::new(floors::committed_rows(&stage.database, 200).await?);
    report.tell("floor: publish to delivery", delivery.line());
    report.tell("floor: the Catalog's answer, bare HTTP", answer.line());
    report.tell("floor: one committed row", row.line());
    let floor = delivery.median() + answer.median() + row.median();
    let ratio = times.median().as_secs_f64() / floor.as_secs_f64().max(1e-9);
    report.tell("the three medians together", format!("{}; ours is {ratio:.2} of it", ms(floor)));
    Ok(())
}
