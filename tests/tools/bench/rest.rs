//! A worker with nothing to do: what it keeps of the machine.

use std::time::Duration;

use super::database::Kind;
use super::report::{Report, mib};
use super::stage::{Stage, runs};
use stand_in::Setup;
use test_support::free_port;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// How long to look
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Overviews in the database
    #[arg(long, default_value_t = 14_000)]
    overviews: u32,
}

pub(crate) async fn run(kind: Kind, args: &Args) -> anyhow::Result<Report> {
    // As it comes: port, heal and schedule on.
    let port = free_port();
    let settings = [
        ("HTTP__LISTEN", format!("127.0.0.1:{port}")),
        ("HEAL__INTERVAL", "5s".to_owned()),
        ("RECONCILE__SCHEDULE", "0 30 3 1 1 *".to_owned()),
        ("RECONCILE__LIGHT_SCHEDULE", "0 15 3 1 1 *".to_owned()),
    ];
    let catalog = Setup { runs: runs(args.overviews, ""), ..Setup::default() };
    let stage = Stage::set(kind, catalog, &settings).await?;
    let report = measure(&stage, args).await;
    stage.clear().await?;
    report
}

async fn measure(stage: &Stage, args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new(format!(
        "rest: a worker idle for {} s over {} overviews, healing every 5 s, {}",
        args.seconds,
        args.overviews,
        stage.database.kind.name()
    ));
    stage.database.fill(args.overviews, Some("")).await?;
    stage.database.fill_ledger(args.overviews, "").await?;
    let worker = stage.worker().await?;
    let time = Duration::from_secs(args.seconds);
    tokio::time::sleep(time).await;
    let cost = worker.stop(stage, time).await?;
    let met = cost.resident <= 40 * 1024 * 1024;
    report.judge("resident memory at rest", mib(cost.resident), "40 MiB", met);
    cost.tell(&mut report, 1);
    let score = cost.resident as f64;
    Ok(report.scored(score))
}
