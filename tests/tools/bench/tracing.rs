//! What tracing costs: the same storm without any span, with spans that nobody exports, and with a collector.
//!
//! The three take turns, so that a busy minute of the machine meets all of them. The collector is in this process and
//! shares the cores, so what it costs to be one is counted in too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use course_sharing::event::EventKind;

use super::database::Kind;
use super::report::{Report, grouped, rate};
use super::stage::{Stage, runs};
use super::storm::check;
use stand_in::{LineLimit, Setup};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Events, each about a run of its own
    #[arg(long, default_value_t = 10_000)]
    count: u32,
    /// Storms of each kind, of which the best counts
    #[arg(long, default_value_t = 5)]
    turns: u32,
}

/// How a worker is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// No span is made: nothing listens at that level.
    None,
    /// Spans name what is logged, and end there.
    Off,
    /// Spans go to a collector.
    On,
}

const MODES: [Mode; 3] = [Mode::None, Mode::Off, Mode::On];

/// One storm: how long it took, and the worker's time on the cores.
#[derive(Clone, Copy)]
struct Storm {
    time: Duration,
    cpu: Duration,
}

pub(crate) async fn run(kind: Kind, args: &Args) -> anyhow::Result<Report> {
    let (bytes, collector) = collector().await?;
    let mut report = Report::new(format!(
        "tracing: storms of {} events, Catalog 0 ms, concurrency 8, {}",
        grouped(f64::from(args.count)),
        kind.name()
    ));
    let mut best: [Option<Storm>; 3] = [None; 3];
    for _ in 0..args.turns.max(1) {
        for (mode, best) in MODES.into_iter().zip(&mut best) {
            let storm = storm(kind, args, mode, &collector, &mut report).await?;
            let so_far = best.get_or_insert(storm);
            so_far.time = so_far.time.min(storm.time);
            so_far.cpu = so_far.cpu.min(storm.cpu);
        }
    }
    let [Some(none), Some(off), Some(on)] = best else { anyhow::bail!("a mode was not run") };
    for (name, storm) in
        [("without spans", none), ("with spans, no collector", off), ("with a collector", on)]
    {
        let each = storm.cpu.as_secs_f64() * 1e6 / f64::from(args.count);
        let rate = grouped(rate(args.count.into(), storm.time));
        report.tell(name, format!("{rate} a second, {each:.1} µs of CPU each"));
    }
    let slower =
        |with: Storm, without: Storm| (with.time.as_secs_f64() / without.time.as_secs_f64() - 1.0) * 100.0;
    let (off_costs, on_costs) = (slower(off, none), slower(on, none));
    report.judge("off costs", format!("{off_costs:.1} %"), "1 %", off_costs <= 1.0);
    report.judge("on costs", format!("{on_costs:.1} %"), "10 %", on_costs <= 10.0);
    let sent = bytes.load(Ordering::Relaxed);
    report.tell("the collector got", format!("{} bytes", grouped(sent as f64)));
    if sent == 0 {
        report.wrong("the collector got nothing".to_owned());
    }
    Ok(report.scored(on.time.as_secs_f64()))
}

async fn storm(
    kind: Kind,
    args: &Args,
    mode: Mode,
    collector: &str,
    report: &mut Report,
) -> anyhow::Result<Storm> {
    let catalog = Setup { runs: runs(args.count, ""), line_limit: LineLimit::None, ..Setup::default() };
    // No level at which a span is made, but the one line by which this harness knows that the worker consumes.
    let level = if mode == Mode::None { "warn,course_sharing::broker::consumer=info" } else { "info" };
    let settings = [("CATALOG__CONCURRENCY", "8".to_owned()), ("LOG__LEVEL", level.to_owned())];
    let mut stage = Stage::set(kind, catalog, &settings).await?;
    if mode == Mode::On {
        stage.tell("OTEL_EXPORTER_OTLP_ENDPOINT", collector);
        stage.tell("OTEL_METRICS_EXPORTER", "none");
    }
    stage.database.fill(args.count, None).await?;
    stage.publish_all(EventKind::CoursePublish, args.count, |n| n).await?;
    let mut worker = stage.worker().await?;
    let all = stage.until(args.count.into(), Duration::from_secs(120), || stage.database.linked()).await;
    let time = all.map_err(|error| error.context(worker.log_end()))? - worker.began;
    let cpu = worker.usage().cpu;
    worker.stop(&stage, time).await?;
    check(&stage, args.count.into(), report).await?;
    stage.clear().await?;
    Ok(Storm { time, cpu })
}

/// Takes whatever is exported and counts its bytes; and where it listens.
async fn collector() -> anyhow::Result<(Arc<AtomicU64>, String)> {
    let bytes = Arc::new(AtomicU64::new(0));
    let count = |State(bytes): State<Arc<AtomicU64>>, body: Bytes| async move {
        bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
    };
    let app = Router::new().fallback(count).with_state(bytes.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    // Ends with the process.
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok((bytes, endpoint))
}
