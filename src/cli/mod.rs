//! The command line: one file a command. This is the only module that knows all others.

mod check;
mod context;
mod dead_letters;
mod exit;
mod explain;
mod init;
mod manual;
mod migrate;
mod output;
mod publish;
mod reconcile;
mod settings;
mod share_link;
mod sync;
mod worker;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use strum::IntoStaticStr;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use self::context::{Context, Courses, Output, Source};
use self::exit::Exit;
use self::output::say;
use crate::config::{self, Config, ConfigError, Settings};
use crate::model::course_key::CourseKey;
use crate::telemetry::{LogLevel, report, traces};

/// Keeps the share links of Open edX courses true: from the Catalog to the LMS, by events and by a nightly pass.
#[derive(Debug, Parser)]
#[command(name = "course-sharing", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    /// The configuration, a TOML file [default: the file that COURSE_SHARING_CONFIG names, else
    /// /etc/course-sharing/course-sharing.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, as in catalog.timeout=5s; wins over file and environment; may be repeated
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// What goes to stdout: text for people, or exactly one JSON document
    #[arg(long, global = true, value_enum, default_value_t = Output::Human)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Every key of the configuration can also be set in the environment, as COURSE_SHARING_<SECTION>__<KEY>, or read from the \
file that COURSE_SHARING_<SECTION>__<KEY>_FILE names.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 done but incomplete (part of the Catalog could not be \
read), 4 refused by the mass-change brake.";

#[derive(Debug, Subcommand, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
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
    ShareLink(Courses),
    /// Show why a course's link is as it is, who changed it when, and everything that is known of the course
    Explain {
        /// A course key, like course-v1:edX+DemoX+2026
        #[arg(value_name = "COURSE-ID")]
        course: CourseKey,
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
    /// Ask for what every site has to say, test each part, and write the configuration for its owner alone.
    ///
    /// What --set or a variable says is not asked; secrets are best given by variables that end with _FILE. The file is
    /// the one that --config or COURSE_SHARING_CONFIG names, else /etc/course-sharing/course-sharing.toml.
    Init(init::Arguments),
    /// Show the configuration
    Config {
        #[command(subcommand)]
        action: settings::Action,
    },
    /// Print completions for a shell, to be put where it looks for them
    Completions {
        #[arg(value_parser = manual::shell())]
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder
    #[command(hide = true)]
    Man {
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
}

/// Runs the program with the process's own arguments and environment.
pub fn main() -> ExitCode {
    let Cli { config: file, set, output, command } = Cli::parse();
    let ended = match command {
        Command::Init(args) => begin(file, set, &args, output),
        Command::Completions { shell } => manual::completions(shell, Cli::command()),
        Command::Man { folder } => manual::pages(&folder, Cli::command()),
        command => configured(file, set).and_then(|(mut config, settings, source)| {
            // A line of progress, or what was asked for, would be lost between lines of a log.
            let is_brief = !matches!(command, Command::Worker);
            if io::stderr().is_terminal() && is_brief && !settings.is_set("log.level") {
                config.log.level = "warn".to_owned();
            }
            let log = config.log.clone();
            in_runtime(&log, |level| traced(command, Context { config, settings, source, output }, level))
        }),
    };
    let exit = ended.unwrap_or_else(|refused| {
        say!("course-sharing: {refused}");
        Exit::Usage
    });
    exit.into()
}

/// The configuration; else what is wrong with it, or how to begin. Without any, each command would work on the defaults,
/// which make an empty SQLite file in the folder that one stands in.
fn configured(file: Option<PathBuf>, flags: Vec<String>) -> Result<(Config, Settings, Source), String> {
    let source = Source { file: config::file(file), flags };
    let settings = source.read().map_err(|error| report(&error))?;
    if settings.is_empty() {
        return Err(format!(
            "nothing is configured: there is no {}, and neither --config, COURSE_SHARING_CONFIG, a variable of a key nor \
             --set.\n\
             Begin with \"course-sharing init\", which asks for what is needed, tests it and writes the file. To see the \
             program at work without a site, run ops/demo in its sources.",
            config::DEFAULT_FILE
        ));
    }
    let config = settings.config().map_err(|error| report(&error))?;
    Ok((config, settings, source))
}

/// Runs `init`, for which there is no configuration yet.
fn begin(
    file: Option<PathBuf>,
    flags: Vec<String>,
    args: &init::Arguments,
    output: Output,
) -> Result<Exit, String> {
    let settings = Source { file: None, flags }.read().map_err(|error| report(&error))?;
    // What fails is in the answers.
    let log = config::Log { level: "off".to_owned(), ..config::Log::default() };
    let target = init::target(file);
    in_runtime(&log, |_| init::run(args, &target, settings, output))
}

/// Runs a command to its end. Fails where the logs, or what the `OTEL_*` variables say, cannot be set up.
fn in_runtime<C: Future<Output = anyhow::Result<Exit>>>(
    log: &config::Log,
    command: impl FnOnce(LogLevel) -> C,
) -> Result<Exit, String> {
    let telemetry = crate::telemetry::init(log).map_err(|error| report(&error))?;
    // Two threads: most of the work is waiting, and one must stay free so that the exporters can shut down.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(command(telemetry.level()));
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            ended
        }
        Err(error) => Err(error.into()),
    };
    let exit = ended.unwrap_or_else(|error| {
        // The only place that prints a command's error, with each of its causes once.
        let is_usage = error.is::<ConfigError>();
        let error = report(error.as_ref());
        tracing::debug!(event = "command.failed", error);
        say!("course-sharing: {error}");
        if is_usage { Exit::Usage } else { Exit::Failed }
    });
    telemetry.shutdown();
    Ok(exit)
}

/// A command is one trace; the worker has one for each thing that it does.
async fn traced(command: Command, context: Context, level: LogLevel) -> anyhow::Result<Exit> {
    let name: &str = (&command).into();
    let span = match command {
        Command::Worker => Span::none(),
        _ => tracing::info_span!(
            "command",
            otel.name = format!("{} {name}", env!("CARGO_PKG_NAME")),
            process.executable.name = env!("CARGO_PKG_NAME"),
            process.exit.code = Empty,
            course_sharing.command = name,
        ),
    };
    let ended = run(command, context, level).instrument(span.clone()).await;
    span.record("process.exit.code", ended.as_ref().map_or(Exit::Failed, |exit| *exit) as i64);
    ended.inspect_err(|error| traces::fail(&span, "failed", &report(error.as_ref())))
}

async fn run(command: Command, context: Context, level: LogLevel) -> anyhow::Result<Exit> {
    match command {
        Command::Worker => worker::run(&context, level).await,
        Command::Reconcile(args) => reconcile::run(&context, &args).await,
        Command::Sync(args) => sync::run(&context, &args.courses).await,
        Command::Heal => sync::heal(&context).await,
        Command::ShareLink(args) => share_link::run(&context, &args.courses).await,
        Command::Explain { course } => explain::run(&context, &course).await,
        Command::Publish(args) => publish::run(&context, &args).await,
        Command::DeadLetters { action } => dead_letters::run(&context, &action).await,
        Command::Migrate(args) => migrate::run(&context, &args).await,
        Command::Check => check::run(&context).await,
        Command::Config { action } => settings::run(&context, action),
        // These need no configuration, and have been run.
        Command::Init(_) | Command::Completions { .. } | Command::Man { .. } => Ok(Exit::Usage),
    }
}
