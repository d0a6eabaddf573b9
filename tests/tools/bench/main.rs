//! The benches: the release binary as a process, a real broker and database, and a Catalog stand-in in this process,
//! whose work therefore takes part of the same cores.
//!
//! What is true is read from the database, never from the worker's own counters; a bench whose rows are wrong at the
//! end exits 1, however fast it was. Floors are measured in the same run. `ops/bench` builds it and starts it.

#![allow(clippy::disallowed_methods, reason = "it has no part in the program's time")]

mod database;
mod day;
mod floors;
mod freshness;
mod idle;
mod links;
mod machine;
mod process;
mod queue;
mod reconcile;
mod repeats;
mod report;
mod rest;
mod restore;
mod results;
mod stage;
mod storm;
mod throttled;
mod tracing;
mod trigger;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use database::Kind;
use report::Report;
use results::Results;

/// Measures course-sharing against floors of the same minute.
#[derive(Debug, Parser)]
#[command(name = "ops/bench")]
struct Cli {
    /// Where the overviews are
    #[arg(long, global = true, value_enum, default_value = "postgres")]
    database: Kind,
    /// Runs it so often, and keeps the best; what takes minutes runs once
    #[arg(long, global = true, default_value_t = 1)]
    runs: u32,
    /// Writes the figures into this file, as Markdown, in place of those of the last time
    #[arg(long, global = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "tests/tools/bench/RESULTS.md")]
    results: Option<PathBuf>,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Clone, Subcommand)]
enum Bench {
    /// N events about N runs, waiting in the queue
    Storm(storm::Args),
    /// N events about few runs, waiting in the queue
    Hot(repeats::Args),
    /// One event at a time, from publish to the committed row
    Idle(idle::Args),
    /// Wiped rows while the Catalog is away, one at a time and all at once
    Restore(restore::Args),
    /// From a change to its row by event, hint, light pass and heal
    Freshness(freshness::Args),
    /// Light passes and questions of a day without a change
    Day(day::Args),
    /// Share links over HTTP
    Links(links::Args),
    /// A storm against a Catalog that gives so many requests an hour
    Throttled(throttled::Args),
    /// Passes over the whole Catalog: all new, nothing changed, all changed
    Reconcile(reconcile::Args),
    /// A worker that has nothing to do
    Rest(rest::Args),
    /// What spans and their export cost a storm
    Tracing(tracing::Args),
    /// The restore trigger: what the LMS's writes cost with it, and whether a reader ever sees a row without its link
    Trigger(trigger::Args),
    /// All of them at their sizes of record, but for a pass over a million runs
    All,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // For the harness's own requests; the program does so by itself.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Dropping a bench half way ends the worker that it started.
    let measured = tokio::select! {
        measured = measure(&cli) => measured,
        () = stopped() => Err(anyhow::anyhow!(
            "stopped; the database cs_bench_… and the queues course-sharing-bench-… of this run are left"
        )),
    };
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ops/bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for SIGINT or SIGTERM.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// True if every row was right.
async fn measure(cli: &Cli) -> anyhow::Result<bool> {
    let benches = match &cli.bench {
        Bench::All => of_record(),
        one => vec![one.clone()],
    };
    let results = match &cli.results {
        Some(path) => Some(Results::begin(path, &machine::description(&broker()).await)?),
        None => None,
    };
    let mut all_right = true;
    for bench in benches {
        let report = best(&bench, cli).await?;
        all_right &= report.is_right();
        if let Some(results) = &results {
            results.add(&report.markdown())?;
        }
    }
    Ok(all_right)
}

/// The best of all runs that were right, or one that was wrong.
async fn best(bench: &Bench, cli: &Cli) -> anyhow::Result<Report> {
    let mut best: Option<Report> = None;
    let runs = if takes_minutes(bench) { 1 } else { cli.runs.max(1) };
    for _ in 0..runs {
        let report = run(bench, cli.database).await?;
        print!("{}", report.text());
        if !report.is_right() {
            return Ok(report);
        }
        if best.as_ref().is_none_or(|best| report.score() < best.score()) {
            best = Some(report);
        }
    }
    best.ok_or_else(|| anyhow::anyhow!("nothing was run"))
}

/// Whether once is enough for a result: what counts of these is requests, or hardly differs.
fn takes_minutes(bench: &Bench) -> bool {
    matches!(
        bench,
        Bench::Throttled(_) | Bench::Reconcile(_) | Bench::Trigger(_) | Bench::Freshness(_) | Bench::Day(_)
    )
}

async fn run(bench: &Bench, kind: Kind) -> anyhow::Result<Report> {
    match bench {
        Bench::Storm(args) => storm::run(kind, args).await,
        Bench::Hot(args) => repeats::run(kind, args).await,
        Bench::Idle(args) => idle::run(kind, args).await,
        Bench::Restore(args) => restore::run(kind, args).await,
        Bench::Freshness(args) => freshness::run(kind, args).await,
        Bench::Day(args) => day::run(kind, args).await,
        Bench::Links(args) => links::run(kind, args).await,
        Bench::Throttled(args) => throttled::run(kind, args).await,
        Bench::Reconcile(args) => reconcile::run(kind, args).await,
        Bench::Rest(args) => rest::run(kind, args).await,
        Bench::Tracing(args) => tracing::run(kind, args).await,
        Bench::Trigger(args) => trigger::run(kind, args).await,
        Bench::All => anyhow::bail!("all is not one bench"),
    }
}

/// What the results file holds.
fn of_record() -> Vec<Bench> {
    let lines = [
        "storm --catalog-ms 50 --concurrency 2",
        "storm --catalog-ms 50 --concurrency 8",
        "storm --catalog-ms 0 --concurrency 8",
        "hot",
        "idle",
        "restore",
        "freshness",
        "day",
        "links",
        "throttled",
        "throttled --rhythms",
        "rest",
        "tracing",
        "trigger",
        "reconcile --count 3300",
        "reconcile --count 100000",
        "reconcile --count 3300 --ms-per-run 5",
    ];
    let parse = |line: &&str| Cli::try_parse_from(std::iter::once("bench").chain(line.split(' ')));
    lines.iter().filter_map(|line| Some(parse(line).ok()?.bench)).collect()
}

fn broker() -> String {
    let url = std::env::var("COURSE_SHARING_AMQP__URL").unwrap_or_default();
    if url.is_empty() || url.contains("127.0.0.1") {
        "RabbitMQ on this machine"
    } else {
        "RabbitMQ elsewhere"
    }
    .to_owned()
}
