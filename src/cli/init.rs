//! `init`: asks for what every site has to say, tests each part as `check` does, and writes a commented configuration
//! that its owner alone can read. What a flag or a variable says already is not asked.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::check::{self, Found};
use super::context::{Context, Output, Source};
use super::exit::Exit;
use super::output::{self, say};
use crate::config::{DEFAULT_FILE, Settings, named_file};
use crate::telemetry::report;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Replace the file if it is there already
    #[arg(long)]
    force: bool,
}

/// A key that a site has to think of.
struct Question {
    key: &'static str,
    about: &'static str,
    example: &'static str,
    /// Whether it may stay at its default.
    optional: bool,
    /// What can be tested after it.
    part: Option<Part>,
}

/// What is asked, in this order.
#[rustfmt::skip]
const QUESTIONS: [Question; 8] = [
    Question { key: "database.url", optional: false, part: Some(Part::Database),
        about: "The LMS's database, where this program's tables are too", example: "mysql://course_sharing:password@mysql.example.org/edxapp" },
    Question { key: "amqp.url", optional: false, part: Some(Part::Broker),
        about: "RabbitMQ, where Studio and the LMS publish events", example: "amqp://course_sharing:password@rabbitmq.example.org:5672/%2f" },
    Question { key: "catalog.url", optional: false, part: None,
        about: "course-discovery, by its public host name", example: "https://discovery.example.org" },
    Question { key: "catalog.token_url", optional: true, part: None,
        about: "The LMS's endpoint for OAuth2 tokens; empty: course-discovery asks for none", example: "https://lms.example.org/oauth2/access_token" },
    Question { key: "catalog.client_id", optional: true, part: None, about: "The OAuth2 client's id", example: "course-sharing" },
    Question { key: "catalog.client_secret", optional: true, part: Some(Part::Catalog),
        about: "The OAuth2 client's secret; it is not shown", example: "" },
    Question { key: "lms.root_url", optional: false, part: None,
        about: "LMS_ROOT_URL, for the About page of a course without another link", example: "https://lms.example.org" },
    Question { key: "marketing_url.allowed_hosts", optional: true, part: None,
        about: "Hosts of the marketing site, with commas between; empty: any host", example: "www.example.org, *.example.org" },
];

#[derive(Clone, Copy)]
enum Part {
    Database,
    Broker,
    Catalog,
}

/// Where `init` writes.
pub(super) fn target(flag: Option<PathBuf>) -> PathBuf {
    named_file(flag).unwrap_or_else(|| DEFAULT_FILE.into())
}

/// `settings` is what flags and variables say.
pub(super) async fn run(
    args: &Arguments,
    file: &Path,
    mut settings: Settings,
    output: Output,
) -> anyhow::Result<Exit> {
    let asks = output::asks();
    if let Some(why) = refused(args, file, &settings, asks) {
        say!("course-sharing: {why}");
        return Ok(Exit::Usage);
    }
    let mut checks = Vec::new();
    for question in &QUESTIONS {
        if asks && !settings.is_set(question.key) && applies(question.key, &settings) {
            ask(question, &mut settings)?;
        }
        if let Some(part) = question.part {
            checks.extend(test(part, question, &mut settings, asks, output).await?);
        }
    }
    settings.config()?;
    write(file, &settings.written()).with_context(|| format!("cannot write {}", file.display()))?;
    let failed = checks.iter().any(|(_, found)| matches!(found, Found::Wrong(_)));
    match output {
        Output::Human => output::print(&next(file))?,
        Output::Json => output::json(&json!({ "file": file, "checks": check::document(&checks) }))?,
    }
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// Why it cannot begin, and what to do about it.
fn refused(args: &Arguments, file: &Path, settings: &Settings, asks: bool) -> Option<String> {
    if file.exists() && !args.force {
        return Some(format!(
            "{} is there already: change it with an editor and run course-sharing check, or replace it with --force",
            file.display()
        ));
    }
    let missing: Vec<_> = QUESTIONS
        .iter()
        .filter(|question| !question.optional && !settings.is_set(question.key))
        .map(|question| format!("--set {}={}", question.key, question.example))
        .collect();
    if !asks && !missing.is_empty() {
        return Some(format!(
            "this is no terminal to ask on; give what is missing, or the variables of these keys:\n  {}",
            missing.join("\n  ")
        ));
    }
    let read = if asks { complete(settings).config() } else { settings.config() };
    read.err().map(|error| report(&error))
}

/// Whether there is anything to ask: a client belongs to a token endpoint.
fn applies(key: &str, settings: &Settings) -> bool {
    !key.starts_with("catalog.client_") || settings.is_set("catalog.token_url")
}

/// Asks until the answer can be a value of the key.
fn ask(question: &Question, settings: &mut Settings) -> anyhow::Result<()> {
    let Question { key, about, example, optional, .. } = question;
    say!("\n{about}");
    if !example.is_empty() {
        say!("  like {example}");
    }
    loop {
        let answer = if *key == "catalog.client_secret" {
            output::prompt(&format!("{key}:"));
            console::Term::stderr().read_secure_line().context("cannot read the answer")?
        } else {
            output::ask(&format!("{key}:"))?
        };
        let answer = answer.trim();
        if answer.is_empty() && *optional && !key.starts_with("catalog.client_") {
            return Ok(());
        }
        if answer.is_empty() {
            continue;
        }
        let mut with_it = settings.clone();
        match with_it.set(key, answer).and_then(|()| complete(&with_it).config()) {
            Err(error) => say!("  {}", error.why()),
            Ok(_) => {
                *settings = with_it;
                return Ok(());
            }
        }
    }
}

/// The settings with a client, where they have a token endpoint and no client yet: one is not valid without the other,
/// and they are asked for one after the other.
fn complete(settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    for key in ["catalog.client_id", "catalog.client_secret"] {
        if settings.is_set("catalog.token_url") && !settings.is_set(key) {
            // There are such keys.
            let _ = settings.set(key, "-");
        }
    }
    settings
}

/// Tests a part, and asks again for what it was tested with until it works or is to stay as it is.
async fn test(
    part: Part,
    question: &Question,
    settings: &mut Settings,
    asks: bool,
    output: Output,
) -> anyhow::Result<Vec<(&'static str, Found)>> {
    loop {
        let source = Source { file: None, flags: Vec::new() };
        let (config, settings_now) = (complete(settings).config()?, settings.clone());
        let context = Context { config, settings: settings_now, source, output };
        let found = match part {
            Part::Database => {
                vec![("database", check::database(&context, check::Tables::MayBeMissing).await)]
            }
            Part::Broker => vec![("broker", check::broker(&context).await.into())],
            Part::Catalog => {
                let (token, catalog) = check::catalog(&context).await;
                vec![("token", token), ("catalog", catalog)]
            }
        };
        for (part, found) in found.iter().filter(|_| output == Output::Human) {
            check::line(part, found)?;
        }
        let is_wrong = found.iter().any(|(_, found)| matches!(found, Found::Wrong(_)));
        if !is_wrong || !asks || output::confirm("Keep it as it is?")? {
            return Ok(found);
        }
        let again: &[&str] = match part {
            Part::Catalog => {
                &["catalog.url", "catalog.token_url", "catalog.client_id", "catalog.client_secret"]
            }
            _ => &[question.key],
        };
        again.iter().for_each(|key| settings.unset(key));
        for question in QUESTIONS.iter().filter(|question| again.contains(&question.key)) {
            if applies(question.key, settings) {
                ask(question, settings)?;
            }
        }
    }
}

/// Writes the file in one go, for its owner alone. The owner is the folder's: root may make the file, and the service's
/// user reads it.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new = folder.join(name);
    let write = || {
        let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        opened.write_all(text.as_bytes())?;
        opened.sync_all()?;
        let (owner, ours) = (fs::metadata(folder)?, opened.metadata()?);
        if ours.uid() == 0 && owner.uid() != 0 {
            fchown(&opened, Some(owner.uid()), Some(owner.gid()))?;
        }
        fs::rename(&new, file)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}

/// What to do now.
fn next(file: &Path) -> String {
    let named = match file {
        file if file == Path::new(DEFAULT_FILE) => String::new(),
        file => format!(" --config {}", file.display()),
    };
    format!(
        "\nWrote {}, which its owner alone can read. Next:\n  \
         course-sharing{named} migrate --dry-run     the SQL, for review; then without --dry-run\n  \
         course-sharing{named} check                 all parts once more\n  \
         course-sharing{named} reconcile --dry-run   what a first pass would change; then without --dry-run\n  \
         course-sharing{named} worker                or: systemctl enable --now course-sharing\n",
        file.display()
    )
}
