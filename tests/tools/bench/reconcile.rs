//! Whole passes, by the command: over a blank database, over one that is right, and over one where all has changed;
//! beside a bare crawl that only downloads the same pages, so many at a time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::database::Kind;
use super::floors;
use super::report::{Report, grouped, mib};
use super::stage::{Stage, runs};
use stand_in::Setup;
use test_support::process::Usage;

/// No pass of a bench takes longer.
const LIMIT: Duration = Duration::from_secs(1_800);
/// What every URL ends with after everything has changed.
const LATER: &str = "-later";
/// Rows in one transaction of the floor: as many as in one of the program's statements.
const ROWS: u32 = 500;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Runs in the Catalog, and overviews in the database
    #[arg(long, default_value_t = 3_300)]
    count: u32,
    /// How long the Catalog takes for each run of a page; 5 in a running one
    #[arg(long, default_value_t = 0.0)]
    ms_per_run: f64,
    /// reconcile.page_size
    #[arg(long, default_value = "auto")]
    page_size: String,
}

/// A pass of the program.
struct Pass {
    time: Duration,
    cpu: Duration,
    usage: Usage,
    report: serde_json::Value,
    statements: Option<u64>,
    targets: Vec<String>,
    requests: u64,
    at_once: u64,
}

pub(crate) async fn run(kind: Kind, args: &Args) -> anyhow::Result<Report> {
    let latency_per_run = Duration::from_secs_f64(args.ms_per_run / 1000.0);
    let catalog = Setup { runs: runs(args.count, ""), latency_per_run, ..Setup::default() };
    let settings = [
        ("RECONCILE__PAGE_SIZE", args.page_size.clone()),
        // The brake is about hosts and clears; here nothing is to hold a pass back.
        ("RECONCILE__MAX_CHANGE_RATIO", "1".to_owned()),
    ];
    let stage = Stage::set(kind, catalog, &settings).await?;
    let report = measure(&stage, args).await;
    stage.clear().await?;
    report
}

async fn measure(stage: &Stage, args: &Args) -> anyhow::Result<Report> {
    let count = u64::from(args.count);
    let kind = stage.database.kind.name();
    let mut report = Report::new(format!(
        "reconcile: {} runs, {} ms a run, page size {}, {kind}",
        grouped(count as f64),
        args.ms_per_run,
        args.page_size
    ));
    stage.database.fill(args.count, None).await?;
    let new = pass(stage, &mut report, count, count, "").await?;
    tell(&mut report, "all new", count, &new, None);

    let same = pass(stage, &mut report, count, 0, "").await?;
    let bare = bare_crawl(stage, &same, count).await?;
    let whose = format!("the same {} pages, {} at once", same.requests, same.at_once);
    report.tell(format!("floor: bare crawl of {whose}"), format!("{:.2} s", bare.as_secs_f64()));
    let limit = if args.ms_per_run > 0.0 { 1.1 } else { 1.3 };
    tell(&mut report, "nothing changed", count, &same, Some((bare, limit)));

    stage.catalog.state().setup.runs = runs(args.count, LATER);
    let changed = pass(stage, &mut report, count, count, LATER).await?;
    tell(&mut report, "all changed", count, &changed, Some((bare, 3.0)));
    let floor = floors::write_all(&stage.database, args.count, ROWS, "-floor").await?.as_secs_f64();
    let (seconds, bare) = (changed.time.as_secs_f64(), bare.as_secs_f64());
    report.tell(
        format!("floor: the bare writes, {ROWS} rows a transaction, two at a time"),
        format!("{floor:.2} s, {:.1} times the bare crawl by themselves", floor / bare.max(1e-9)),
    );
    let both = seconds / (floor + bare).max(1e-9);
    report.tell("all changed: to the bare crawl and the bare writes together", format!("{both:.2} times"));
    Ok(report.scored(same.time.as_secs_f64()))
}

/// Runs `course-sharing reconcile`, and checks its report and the rows.
async fn pass(
    stage: &Stage,
    report: &mut Report,
    count: u64,
    updated: u64,
    edition: &str,
) -> anyhow::Result<Pass> {
    let statements = stage.database.asked_of_it().await?;
    {
        let mut state = stage.catalog.state();
        state.stats.targets.clear();
        state.stats.most_at_once = 0;
    }
    let requests = stage.catalog.stats().requests;
    let cpu = children_cpu();
    let began = Instant::now();
    let mut program = stage.program(&["reconcile", "--output", "json"])?;
    let status = program.ended(LIMIT).await?;
    let time = began.elapsed();
    anyhow::ensure!(status.success(), "the pass ended with {status}: {}", program.log_end());
    let usage = program.usage();
    let cpu = children_cpu().saturating_sub(cpu);
    let after = stage.database.asked_of_it().await?;
    let stats = stage.catalog.stats();
    let text = std::fs::read_to_string(stage.dir.path().join("stdout.log"))?;
    let told: serde_json::Value = serde_json::from_str(&text).context("the pass's report")?;
    if told["updated"] != updated {
        report.wrong(format!("the pass tells of {} updated, not of {updated}", told["updated"]));
    }
    let right = stage.database.right(edition).await?;
    if right != count {
        report.wrong(format!("{right} of {count} links are right"));
    }
    Ok(Pass {
        time,
        cpu,
        usage,
        report: told,
        statements: after.zip(statements).map(|(after, before)| after.saturating_sub(before)),
        targets: stats.targets.into(),
        requests: stats.requests - requests,
        at_once: stats.most_at_once,
    })
}

fn tell(report: &mut Report, what: &str, count: u64, pass: &Pass, floor: Option<(Duration, f64)>) {
    let seconds = pass.time.as_secs_f64();
    let each = seconds * 1e6 / count.max(1) as f64;
    let value = format!("{seconds:.2} s, {each:.0} µs a run");
    match floor {
        Some((bare, limit)) => {
            let ratio = seconds / bare.as_secs_f64().max(1e-9);
            let value = format!("{value}, {ratio:.2} times the bare crawl");
            report.judge(what, value, format!("{limit} times"), ratio <= limit);
        }
        None => report.tell(what, value),
    }
    let statements = pass.statements.map_or("n/a".to_owned(), |count| grouped(count as f64));
    report.tell(
        format!("{what}: costs"),
        format!(
            "{} requests, {statements} statements (PostgreSQL: transactions), {:.2} s of CPU, page size {} at the end",
            pass.requests,
            pass.cpu.as_secs_f64(),
            pass.report["page_size"]
        ),
    );
    let peak = pass.usage.peak;
    report.judge(format!("{what}: peak memory"), mib(peak), "64 MiB", peak <= 64 * 1024 * 1024);
}

/// Downloads the pages that the pass has read, past the cache that has them since then, and looks at none of them.
async fn bare_crawl(stage: &Stage, pass: &Pass, count: u64) -> anyhow::Result<Duration> {
    let targets = if pass.requests == pass.targets.len() as u64 {
        pass.targets.clone()
    } else {
        // More than the stand-in remembers: as many pages, all of the size that most of them had.
        let mut sizes: HashMap<u64, u64> = HashMap::new();
        for size in pass.targets.iter().filter_map(|target| number(target, "limit=")) {
            *sizes.entry(size).or_default() += 1;
        }
        let size = sizes.into_iter().max_by_key(|(_, times)| *times).map_or(100, |(size, _)| size);
        let target = |offset| {
            format!(
                "/api/v1/course_runs/?limit={size}&offset={offset}&exclude_utm=1&fields=key,marketing_url"
            )
        };
        (0..count).step_by(size as usize).map(target).collect()
    };
    let targets = targets.into_iter().map(|target| format!("{target}&bare=1")).collect();
    let at_once = usize::try_from(pass.at_once)?.max(1);
    Ok(floors::fetch(&stage.catalog.url(), targets, at_once).await?.0)
}

fn number(target: &str, name: &str) -> Option<u64> {
    let (_, rest) = target.split_once(name)?;
    rest.split('&').next()?.parse().ok()
}

/// Of all processes that we started and that have ended.
fn children_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
