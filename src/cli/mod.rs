//! The command line: one file a command, and the only place that knows all rooms.

mod check;
mod context;
mod dead_letters;
mod explain;
mod heal;
mod migrate;
mod output;
mod partner;
mod publish;
mod reconcile;
mod share_link;
mod sync;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::context::Context;
use crate::config::{Config, PageSize};
use crate::course_key::CourseKey;
use crate::event::EventKind;

/// How a command ended; the number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Done but incomplete: part of the Catalog could not be read.
    Incomplete = 3,
    /// Refused by the mass-change brake.
    Refused = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Keeps the share links of Open edX courses true: from the Catalog to the LMS, by events and by a nightly pass.
#[derive(Debug, Parser)]
#[command(name = "course-sharing", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    /// A TOML file; else that of COURSE_SHARING_CONFIG
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key over file and environment, as in catalog.timeout=5s; may be repeated
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Every key of the configuration may be given in the environment as COURSE_SHARING_<SECTION>__<KEY>, and secrets as \
COURSE_SHARING_<SECTION>__<KEY>_FILE.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 done but incomplete (part of the Catalog could not be \
read), 4 refused by the mass-change brake.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Consume events, run the scheduled pass and heal, serve the HTTP port, until SIGTERM or SIGINT
    Worker,
    /// One whole pass over the Catalog, now
    Reconcile(ReconcileArgs),
    /// Refresh these runs now, by the same engine as events
    Sync {
        /// Course keys, like course-v1:edX+DemoX+2026
        #[arg(required = true, value_name = "COURSE-ID")]
        courses: Vec<CourseKey>,
    },
    /// Re-apply last-known URLs to overviews that lost them; SQL only, no Catalog
    Heal,
    /// The link to share for each course, and where it comes from
    ShareLink {
        /// Course keys
        #[arg(required = true, value_name = "COURSE-ID")]
        courses: Vec<CourseKey>,
        /// A table for people or one JSON document
        #[arg(long, value_enum, default_value_t = Output::Human)]
        output: Output,
    },
    /// Why a course's link is as it is: overview, ledger, last look at the Catalog, pending clear, dead letters
    Explain {
        /// A course key
        #[arg(value_name = "COURSE-ID")]
        course: CourseKey,
    },
    /// Publish events, with confirms, as Studio would
    Publish {
        /// What has happened
        #[arg(value_name = "EVENT", value_parser = event_kind)]
        kind: EventKind,
        /// Course keys
        #[arg(required = true, value_name = "COURSE-ID")]
        courses: Vec<CourseKey>,
    },
    /// The operator's hand in the dead-letter queue
    DeadLetters {
        #[command(subcommand)]
        action: DeadLetters,
    },
    /// The project's own tables
    Migrate(MigrateArgs),
    /// Look at configuration, database, broker, token and Catalog, and say what to do about each failure
    Check,
}

#[derive(Debug, Args)]
struct ReconcileArgs {
    /// Runs a page: a number, or auto
    #[arg(long, value_name = "N")]
    page_size: Option<PageSize>,
    /// Print each change it would make, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Let changes through that the brake would hold back, and believe a list that lacks most linked courses
    #[arg(long)]
    allow_mass_change: bool,
    /// A table for people or one JSON document
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

#[derive(Debug, Args)]
struct MigrateArgs {
    /// Which way
    #[arg(value_enum, default_value_t = MigrateAction::Up)]
    action: MigrateAction,
    /// Print the SQL for this database, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Create the LMS's table too where it is missing: for development only
    #[arg(long)]
    create_overview_table: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MigrateAction {
    /// To the newest schema
    Up,
    /// Drop the project's own tables; the LMS's table stays as it is
    Down,
    /// What is applied and what is not
    Status,
}

#[derive(Debug, Subcommand)]
enum DeadLetters {
    /// One line each
    List(Selection),
    /// Whole, with headers and body
    Show(Selection),
    /// Send them through the events queue again
    Replay(Selection),
    /// Remove them
    Discard(Selection),
}

/// Which dead letters.
#[derive(Debug, Args)]
struct Selection {
    /// All of them (what list and show take anyway)
    #[arg(long, conflicts_with_all = ["id", "course", "reason"])]
    all: bool,
    /// The one with this number, as listed; may be given several times
    #[arg(long, value_name = "N")]
    id: Vec<i64>,
    /// Those of this course
    #[arg(long, value_name = "ID")]
    course: Option<CourseKey>,
    /// Those whose reason has this text in it
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
}

/// How a result is printed on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Human,
    /// Exactly one JSON document
    Json,
}

fn event_kind(text: &str) -> Result<EventKind, String> {
    EventKind::from_name(text).ok_or_else(|| "expected course-publish or overview-recreated".to_owned())
}

/// Runs the program with the process's own arguments and environment.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let file = Config::file(cli.config);
    let config = match Config::load(file.as_deref(), std::env::vars_os(), &cli.set) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    let telemetry = match crate::telemetry::init(&config.log) {
        Ok(telemetry) => telemetry,
        Err(error) => return refuse(&error),
    };
    // Two threads: the work is waiting, and one of them must always be free for the exporters to shut down.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(run(cli.command, config));
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            ended
        }
        Err(error) => Err(error.into()),
    };
    let exit = ended.unwrap_or_else(|error| {
        // The one place where a command's error is told; `{:#}` prints the whole chain of causes.
        tracing::debug!(event = "command.failed", error = format!("{error:#}"));
        eprintln!("course-sharing: {error:#}");
        Exit::Failed
    });
    telemetry.shutdown();
    exit.into()
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("course-sharing: {}", crate::telemetry::report(error));
    Exit::Usage.into()
}

async fn run(command: Command, config: Config) -> anyhow::Result<Exit> {
    let context = Context::new(config);
    match command {
        Command::Worker => worker::run(&context).await,
        Command::Reconcile(args) => reconcile::run(&context, &args).await,
        Command::Sync { courses } => sync::run(&context, &courses).await,
        Command::Heal => heal::run(&context).await,
        Command::ShareLink { courses, output } => share_link::run(&context, &courses, output).await,
        Command::Explain { course } => explain::run(&context, &course).await,
        Command::Publish { kind, courses } => publish::run(&context, kind, &courses).await,
        Command::DeadLetters { action } => dead_letters::run(&context, &action).await,
        Command::Migrate(args) => migrate::run(&context, &args).await,
        Command::Check => check::run(&context).await,
    }
}
