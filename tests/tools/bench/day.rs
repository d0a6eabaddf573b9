//! A day in which nothing changes: its light passes and its questions what has changed, a second apart. What they cost
//! the Catalog, and that it answers all of them from its page cache.

use std::time::Duration;

use anyhow::Context as _;

use super::database::Kind;
use super::report::{Report, grouped};
use super::stage::{Run, Stage, runs};
use stand_in::{LineLimit, Setup};
use test_support::{free_port, http};

/// How long 24 light passes and as many questions may take.
const LIMIT: Duration = Duration::from_secs(120);
/// What a running Catalog takes for a page from its cache, and for each run of another page.
const CACHED: Duration = Duration::from_millis(15);
const PER_RUN: Duration = Duration::from_millis(5);
/// Light passes, and questions, in a day with the defaults.
const LIGHT: u64 = 24;
const QUESTIONS: u64 = 288;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Runs that the Catalog lists, each with an overview
    #[arg(long, default_value_t = 3_300)]
    runs: u32,
}

pub(crate) async fn run(kind: Kind, args: &Args) -> anyhow::Result<Report> {
    let port = free_port();
    let settings = [
        ("HTTP__LISTEN", format!("127.0.0.1:{port}")),
        ("RECONCILE__LIGHT_SCHEDULE", "* * * * * *".to_owned()),
        ("RECONCILE__DELTA_INTERVAL", "1s".to_owned()),
    ];
    let catalog = Setup {
        runs: runs(args.runs, ""),
        latency: CACHED,
        latency_per_run: PER_RUN,
        line_limit: LineLimit::None,
        ..Setup::default()
    };
    let stage = Stage::set(kind, catalog, &settings).await?;
    let report = measure(&stage, args, port).await;
    stage.clear().await?;
    report
}

async fn measure(stage: &Stage, args: &Args, port: u16) -> anyhow::Result<Report> {
    let mut report = Report::new(format!(
        "day: {LIGHT} light passes without a change, {} runs, Catalog {} ms for a page from its cache and {} ms a run for \
         others, {}",
        grouped(f64::from(args.runs)),
        CACHED.as_millis(),
        PER_RUN.as_millis(),
        stage.database.kind.name()
    ));
    stage.database.fill(args.runs, Some("")).await?;
    let ended = stage.program(&["reconcile"])?.ended(LIMIT).await?;
    anyhow::ensure!(ended.success(), "the first pass ended with {ended}");

    let worker = stage.worker().await?;
    light_passes(stage, &worker, 1).await?;
    let (before, fast) = (stage.catalog.stats(), fast(port).await?);
    light_passes(stage, &worker, LIGHT).await?;
    let after = stage.catalog.stats();
    let (lists, cached) = (after.lists - before.lists, after.cached - before.cached);
    let (courses, requests) = (after.courses - before.courses, after.requests - before.requests);
    let (within, all) = self::fast(port).await.map(|(within, all)| (within - fast.0, all - fast.1))?;
    worker.stop(stage, Duration::ZERO).await?;

    // The questions carry a parameter of no meaning, so that none of them comes from the cache.
    report.judge("pages from the cache", format!("{cached} of {lists}"), "all", cached == lists);
    report.judge(
        "other requests",
        (requests - lists - courses).to_string(),
        "0",
        requests == lists + courses,
    );
    let day = lists.div_ceil(LIGHT - 1) * LIGHT + QUESTIONS;
    report.judge("requests in a day, questions included", day.to_string(), "600", day <= 600);
    report.judge("requests answered within 50 ms", format!("{within} of {all}"), "all", within == all);
    Ok(report.scored(day as f64))
}

/// Waits until so many have ended.
async fn light_passes(stage: &Stage, worker: &Run, count: u64) -> anyhow::Result<()> {
    let ended = async || Ok(worker.told("reconcile.finished") as u64);
    stage.until(count, LIMIT, ended).await.map(drop).map_err(|error| error.context(worker.log_end()))
}

/// Of the requests to the Catalog: those answered within 50 ms, and all, by the worker's own count.
async fn fast(port: u16) -> anyhow::Result<(u64, u64)> {
    let text = http::get(("127.0.0.1", port), "/metrics").await?.body;
    let value = |series: &str| {
        let value = http::metric(&text, series).with_context(|| format!("/metrics has no {series}"));
        value.map(|value| value as u64)
    };
    let name = "course_sharing_catalog_request_seconds";
    Ok((value(&format!("{name}_bucket{{le=\"0.05\"}}"))?, value(&format!("{name}_count"))?))
}
