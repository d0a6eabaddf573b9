//! `reconcile`: one pass, now, with a progress bar on a terminal and a report at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use parking_lot::Mutex;

use super::context::{Context, Output};
use super::exit::Exit;
use super::output::{self, JsonList};
use crate::config::PageSize;
use crate::engine::Change;
use crate::model::extra_columns::AlsoChange;
use crate::model::text::{counted, escape};
use crate::pass::{Options, Pass, Phase, Progress, Report, Status};
use crate::store::PassKind;
use crate::worker::shutdown;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Runs on a page: a number, or auto
    #[arg(long, value_name = "N")]
    page_size: Option<PageSize>,
    /// Print each change that would be made, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Make changes that the brake would hold back, and trust a list that lacks most linked courses
    #[arg(long)]
    allow_mass_change: bool,
}

pub(super) async fn run(context: &Context, args: &Arguments) -> anyhow::Result<Exit> {
    let config = &context.config;
    let stop = shutdown::on_signal()?;
    let pass = Pass::new(context.engine().await?, &config.reconcile, &config.catalog);
    let options = Options {
        kind: PassKind::Full,
        page_size: args.page_size.unwrap_or(config.reconcile.page_size),
        dry_run: args.dry_run,
        allow_mass_change: args.allow_mass_change,
    };
    let screen = Screen::new(args, context.output);
    let report = match pass.run(options, &screen, stop).await {
        Ok(report) => report,
        Err(error) => {
            screen.break_off();
            return Err(error.into());
        }
    };
    screen.finish(&report)?;
    Ok(report.verdict.into())
}

/// What the operator sees while the pass runs. The changes of a dry run are printed as they come, so that they need no
/// memory; as JSON, they are parts of the one document.
struct Screen {
    bar: ProgressBar,
    output: Output,
    dry_run: bool,
    changes: Mutex<JsonList>,
    failed: Mutex<Option<anyhow::Error>>,
}

impl Screen {
    fn new(args: &Arguments, output: Output) -> Self {
        let bar = output::bar("{bar:30} {pos}/{len} runs  {msg}");
        let changes = Mutex::new(JsonList::new("changes"));
        Self { bar, output, dry_run: args.dry_run, changes, failed: Mutex::new(None) }
    }

    fn print(&self, text: anyhow::Result<String>) {
        let printed = text.and_then(|text| self.bar.suspend(|| output::print(&text)));
        if let Err(error) = printed {
            self.failed.lock().get_or_insert(error);
        }
    }

    /// Ends the document of a pass that failed and has no report.
    fn break_off(&self) {
        self.bar.finish_and_clear();
        self.print(Ok(self.changes.lock().broken_off().to_owned()));
    }

    /// Prints the report, as the last thing on stdout.
    fn finish(self, report: &Report) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        if let Some(error) = self.failed.into_inner() {
            return Err(error);
        }
        match self.output {
            Output::Human => output::print(&report.human()),
            Output::Json if !self.dry_run => output::json(report),
            Output::Json => {
                output::print(&self.changes.into_inner().end(&BTreeMap::from([("report", report)]))?)
            }
        }
    }
}

impl Progress for Screen {
    fn at(&self, status: &Status<'_>) {
        let report = status.report;
        self.bar.set_length(report.count_after);
        self.bar.set_position(status.position);
        let what = match status.phase {
            Phase::Crawl => match status.time_left {
                Some(left) => {
                    format!(", {} left", humantime::format_duration(Duration::from_secs(left.as_secs())))
                }
                None => String::new(),
            },
            Phase::Keys => {
                let asked = report.settled_by_key + report.not_listed + report.unsettled;
                format!(", {asked} asked for by key")
            }
            Phase::Finish => ", finishing".to_owned(),
        };
        let pages = counted(report.pages, "page");
        let changes = counted(report.updated + report.cleared, "change");
        self.bar.set_message(format!("{pages}, {changes}{what}"));
    }

    fn change(&self, change: &Change) {
        match self.output {
            Output::Human => {
                let shown = |url: &Option<String>| escape(url.as_deref().unwrap_or("(blank)"));
                let (from, to) = (shown(&change.from), shown(&change.to));
                let (key, why) = (escape(&change.key), change.why.as_str());
                let mut line = format!("{key}  {from}  ->  {to}  ({why})");
                for AlsoChange { column, from, to } in &change.also {
                    line += &format!("  {}: {}  ->  {}", column.name(), shown(from), escape(to));
                }
                self.print(Ok(line + "\n"));
            }
            Output::Json => {
                let mut changes = self.changes.lock();
                self.print(changes.element(change));
            }
        }
    }
}
