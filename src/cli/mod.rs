//! The command line: one file a command. This is the only module that knows all others.

mod check;
mod context;
mod dead_letters;
mod migrate;
mod output;
mod publish;
mod reconcile;
mod share_link;
mod sync;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::context::{Context, Courses, Exit};
use self::output::Output;
use crate::config::Config;
use crate::model::course_key::CourseKey;
use crate::telemetry::report;

/// Keeps the share links of Open edX courses true: from the Catalog to the LMS, by events and by a nightly pass.
#[derive(Debug, Parser)]
#[command(name = "course-sharing", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    /// The configuration, a TOML file [default: the file that COURSE_SHARING_CONFIG names]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, as in catalog.timeout=5s; wins over file and environment; may be repeated
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Every key of the configuration can also be set in the environment, as COURSE_SHARING_<SECTION>__<KEY>, or read from the \
file that COURSE_SHARING_<SECTION>__<KEY>_FILE names.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 done but incomplete (part of the Catalog could not be \
read), 4 refused by the mass-change brake.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Consume events, run the scheduled jobs and serve HTTP, until SIGTERM or SIGINT
    Worker,
    /// Compare all links with the Catalog and update them: one pass, now
    Reconcile(reconcile::Arguments),
    /// Look up these runs in the Catalog and update their links, as an event would
    Sync(Courses),
    /// Restore links that were wiped, from the last URLs known; the Catalog is not asked
    Heal,
    /// Show the link that the LMS shares for each course, and where it comes from
    ShareLink(share_link::Arguments),
    /// Show why a course's link is as it is, who changed it when, and everything that is known of the course
    Explain {
        /// A course key, like course-v1:edX+DemoX+2026
        #[arg(value_name = "COURSE-ID")]
        course: CourseKey,
        /// Lines for people, or one JSON document
        #[arg(long, value_enum, default_value_t = Output::Human)]
        output: Output,
    },
    /// Publish events as Studio does, and wait until the broker has confirmed them
    Publish(publish::Arguments),
    /// List, show, replay or discard messages that could not be processed
    DeadLetters {
        #[command(subcommand)]
        action: dead_letters::Action,
    },
    /// Create or change this program's tables, and add the column to the LMS's table
    Migrate(migrate::Arguments),
    /// Check configuration, database, broker, token and Catalog; say how to fix what fails
    Check,
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
    // Two threads: most of the work is waiting, and one must stay free so that the exporters can shut down.
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
        // The only place that prints a command's error, with each of its causes once.
        let error = report(error.as_ref());
        tracing::debug!(event = "command.failed", error);
        eprintln!("course-sharing: {error}");
        Exit::Failed
    });
    telemetry.shutdown();
    exit.into()
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("course-sharing: {}", report(error));
    Exit::Usage.into()
}

async fn run(command: Command, config: Config) -> anyhow::Result<Exit> {
    let context = Context { config };
    match command {
        Command::Worker => worker::run(&context).await,
        Command::Reconcile(args) => reconcile::run(&context, &args).await,
        Command::Sync(args) => sync::run(&context, &args.courses).await,
        Command::Heal => sync::heal(&context).await,
        Command::ShareLink(args) => share_link::run(&context, &args).await,
        Command::Explain { course, output } => share_link::explain(&context, &course, output).await,
        Command::Publish(args) => publish::run(&context, &args).await,
        Command::DeadLetters { action } => dead_letters::run(&context, &action).await,
        Command::Migrate(args) => migrate::run(&context, &args).await,
        Command::Check => check::run(&context).await,
    }
}
