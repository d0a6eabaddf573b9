//! The certificate: kills, freezes, cuts and starves the program on throw-away servers, and has a checker of its own
//! say from the history whether an event was lost or a link wrong. Started by `ops/chaos`.
//!
//! `schedule` (pure) what will happen · `load` plays it · `scenarios` do the harm · `soak` all of it at random ·
//! `history` what was seen · `checker` (pure) judges it · `servers`, `lms`, `publisher`, `queues`, `worker` the world around

#![allow(clippy::disallowed_methods, reason = "it has no part in the program's time")]

mod checker;
mod history;
mod lms;
mod load;
mod publisher;
mod queues;
mod report;
mod scenarios;
mod schedule;
mod servers;
mod soak;
mod stage;
mod worker;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use futures_util::stream::{self, StreamExt};
use test_support::SmallDisk;
use test_support::servers::{DatabaseServer, Rabbitmq, programs};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::RwLock;

use crate::report::Played;
use crate::scenarios::{SCENARIOS, Scenario, Size};
use crate::servers::Database;
use crate::soak::Soak;
use crate::stage::{Place, Servers, Which};

/// Small scenarios under way at once; they wait more than they work.
const AT_ONCE: usize = 4;
/// Kilobytes of SQLite's disk.
const DISK: u32 = 48 * 1024;

/// Shows that no event is lost and no link wrong, whatever fails. Exits with 0 only if that is so.
#[derive(Parser)]
#[command(name = "ops/chaos")]
struct Options {
    /// Events of each scenario, instead of its own number.
    #[arg(long)]
    events: Option<usize>,
    /// What everything left to chance comes from; the same seed gives the same schedule.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these scenarios.
    #[arg(long, num_args = 1..)]
    scenario: Vec<String>,
    /// Each scenario in a small size; all together under five minutes.
    #[arg(long)]
    small: bool,
    /// All faults at random, on two workers, for so many minutes, instead of the scenarios.
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=soak::MAX_MINUTES),
          conflicts_with_all = ["events", "scenario", "small", "list"])]
    soak: Option<u64>,
    /// The database of a soak.
    #[arg(long, value_enum, default_value = "postgres", requires = "soak")]
    database: Which,
    /// Lists the scenarios and ends.
    #[arg(long)]
    list: bool,
    /// Keeps the servers' and workers' logs also if all is well.
    #[arg(long)]
    keep: bool,
    /// A folder with a whole system, as `ops/servers` makes them: the servers are started from it, in it.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// The program to be tested.
    #[arg(long, default_value = "target/debug/course-sharing")]
    binary: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    if options.list {
        for scenario in &SCENARIOS {
            println!("{:<22} {}", scenario.name, scenario.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = chosen(&options.scenario)?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // Everything that was started is ended by being dropped: with the future, if a signal comes first.
    tokio::select! {
        passed = run(&options, &chosen) => Ok(if passed? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        _ = interrupt.recv() => Ok(ExitCode::from(130)),
        _ = terminate.recv() => Ok(ExitCode::from(143)),
    }
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    // `db-lock` stands for `db-lock-postgres` and `db-lock-mariadb`.
    let mut chosen = Vec::new();
    for name in names {
        let before = chosen.len();
        let meant = |s: &&Scenario| {
            s.name == name || s.name.strip_prefix(name.as_str()).is_some_and(|r| r.starts_with('-'))
        };
        chosen.extend(SCENARIOS.iter().filter(meant));
        if chosen.len() == before {
            bail!("there is no scenario {name}; --list names them");
        }
    }
    Ok(chosen)
}

async fn run(options: &Options, chosen: &[&'static Scenario]) -> anyhow::Result<bool> {
    let seed = options.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let binary = options.binary.canonicalize();
    let binary = binary.with_context(|| format!("{} is not built", options.binary.display()))?;
    if let Some(folder) = &options.programs {
        programs::take_from(folder)?;
    }
    let mut directory =
        tempfile::Builder::new().prefix("course-sharing-chaos-").tempdir_in(programs::temporary())?;
    // The servers' own users have to pass through it; what is in it is theirs alone.
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711))?;
    println!("seed {seed}; servers, logs and histories in {}", directory.path().display());

    let place = Place { binary, root: directory.path().to_owned() };
    let played = match options.soak {
        Some(minutes) => {
            let soak = Soak { length: Duration::from_secs(minutes * 60), which: options.database, seed };
            let played = soak.play(&place).await?;
            played.print();
            vec![played]
        }
        None => play(options, chosen, seed, &place).await?,
    };
    let failed: Vec<&str> = played.iter().filter(|one| !one.passed()).map(|one| one.name).collect();
    if options.keep || !failed.is_empty() {
        directory.disable_cleanup(true);
    }
    match failed.as_slice() {
        [] => println!("seed {seed}: nothing lost, nothing wrong, every demand held"),
        failed => println!("seed {seed}: FAILED: {}; see {}", failed.join(", "), place.root.display()),
    }
    Ok(failed.is_empty())
}

/// Plays the scenarios, and prints what came of them.
async fn play(
    options: &Options,
    chosen: &[&'static Scenario],
    seed: u64,
    place: &Place,
) -> anyhow::Result<Vec<Played>> {
    let servers = start(&place.root).await?;
    // Small, what does not harm a server that others use is played beside them; in full, one after the other.
    let at_once = if options.small { AT_ONCE } else { 1 };
    let playing = chosen.iter().map(|scenario| {
        let size = Size::new(scenario, options.events, options.small);
        Played::play(scenario, size, seed, &servers, place)
    });
    let mut playing = stream::iter(playing).buffer_unordered(at_once);
    let mut played = Vec::new();
    while let Some(one) = playing.next().await {
        one.print();
        played.push(one);
    }
    drop(playing);
    drop(servers);
    println!("\n{}", report::heading());
    played.sort_by_key(|one| SCENARIOS.iter().position(|scenario| scenario.name == one.name));
    for one in &played {
        println!("{}", one.line());
    }
    Ok(played)
}

async fn start(root: &Path) -> anyhow::Result<Servers> {
    let since = Instant::now();
    let (rabbitmq, postgres, mariadb) = tokio::try_join!(
        Rabbitmq::start(root, None),
        DatabaseServer::postgres(root, None),
        DatabaseServer::mariadb(root, None, &[])
    )?;
    println!("RabbitMQ, PostgreSQL and MariaDB are up after {:.0?}", since.elapsed());
    Ok(Servers {
        rabbitmq: RwLock::new(rabbitmq),
        postgres: RwLock::new(Database::Server(postgres)),
        mariadb: RwLock::new(Database::Server(mariadb)),
        sqlite: RwLock::new(Database::Sqlite(SmallDisk::mount(root.join("sqlite"), DISK)?)),
    })
}
