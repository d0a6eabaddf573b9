//! `dead-letters`: list or show messages that could not be processed, send them through the events queue again, or remove
//! them. They are rows of a table, so looking changes nothing and needs no broker. Those still in the queue are counted.

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::context::{Context, Output};
use super::exit::Exit;
use super::output::{self, say};
use crate::broker::{self, Broker, BrokerError, Publisher, Received, Topology};
use crate::model::course_key::CourseKey;
use crate::model::text::{counted, escape};
use crate::store::{Letter, LetterFilter, LetterHead, Store};
use crate::telemetry::report;

/// Letters read at once.
const PAGE: u64 = 500;

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// List them, a line each
    List(Selection),
    /// Show them whole, with headers and body
    Show(Selection),
    /// Send them through the events queue again
    Replay(Selection),
    /// Remove them; with --all it asks first
    Discard {
        #[command(flatten)]
        selection: Selection,
        /// Remove all without asking
        #[arg(long)]
        yes: bool,
    },
}

/// Which dead letters.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// All of them (the default for list and show)
    #[arg(long, conflicts_with_all = ["id", "course", "reason"])]
    all: bool,
    /// The one with this number; may be repeated
    #[arg(long, value_name = "N")]
    id: Vec<i64>,
    /// Those about this course
    #[arg(long, value_name = "ID")]
    course: Option<CourseKey>,
    /// Those whose reason contains this text
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reason: Option<String>,
}

pub(super) async fn run(context: &Context, action: &Action) -> anyhow::Result<Exit> {
    if let Action::Replay(selection) | Action::Discard { selection, .. } = action
        && selection.is_empty()
    {
        say!(
            "course-sharing: dead-letters {}: choose with --all, --id <n>, --course <id> or --reason <text>",
            if matches!(action, Action::Replay(_)) { "replay" } else { "discard" }
        );
        return Ok(Exit::Usage);
    }
    let store = context.store().await?;
    let all = store.count_letters(&LetterFilter::default()).await?;
    let of_all = format!("of {}", counted(all, "dead letter"));
    match action {
        Action::List(selection) => {
            let shown = list(&store, &selection.filter(), context.output).await?;
            finish(context, Some(format!("{shown} {of_all}")), all, json!({})).await
        }
        Action::Show(selection) => {
            let shown = show(&store, &selection.filter(), context.output).await?;
            finish(context, Some(format!("{shown} {of_all}")), all, json!({})).await
        }
        Action::Replay(selection) => {
            let (replayed, kept) = replay(context, &store, &selection.filter()).await?;
            if context.output == Output::Human {
                output::print(&format!("replayed {replayed} {of_all}\n"))?;
            }
            let exit = if kept.is_empty() { Exit::Done } else { Exit::Failed };
            finish(context, None, all, json!({ "replayed": replayed, "kept": kept })).await?;
            Ok(exit)
        }
        Action::Discard { selection, yes } => {
            let what = format!("this removes {}, for ever", counted(all, "dead letter"));
            if selection.all
                && all > 0
                && let Err(exit) = output::allowed(*yes, &what)?
            {
                return Ok(exit);
            }
            let discarded = store.discard_letters(&selection.filter()).await?;
            if context.output == Output::Human {
                output::print(&format!("discarded {discarded} {of_all}\n"))?;
            }
            finish(context, None, all, json!({ "discarded": discarded })).await
        }
    }
}

/// Says how many there are, and how many are still in the queue, on stderr; to programs as the rest of the document.
async fn finish(context: &Context, shown: Option<String>, all: u64, done: Value) -> anyhow::Result<Exit> {
    let waiting = waiting(context).await;
    match context.output {
        Output::Human => {
            if let Some(shown) = shown {
                say!("{shown}");
            }
            match waiting {
                Ok(0) => {}
                Ok(1) => say!("1 more waits in the queue for a worker to take it over"),
                Ok(waiting) => say!("{waiting} more wait in the queue for a worker to take them over"),
                Err(error) => say!("the number in the queue is not known: {}", report(&error)),
            }
        }
        Output::Json => {
            let mut rest = json!({ "total": all, "waiting": waiting.ok() });
            if let (Value::Object(rest), Value::Object(done)) = (&mut rest, done) {
                rest.extend(done);
            }
            // Those that were listed are printed already, as the beginning of this document.
            let text = serde_json::to_string_pretty(&rest)?;
            let text = if shown.is_some() { text.replacen("{\n", "\n", 1) } else { text };
            output::print(&(text + "\n"))?;
        }
    }
    Ok(Exit::Done)
}

/// Letters printed as they are read, as there may be many: in JSON as the first member of a document that goes on.
struct Many {
    output: Output,
    printed: usize,
}

impl Many {
    fn new(output: Output) -> Self {
        Self { output, printed: 0 }
    }

    fn put(
        &mut self,
        human: impl FnOnce() -> String,
        document: impl FnOnce() -> Value,
    ) -> anyhow::Result<()> {
        self.printed += 1;
        match self.output {
            Output::Human => output::print(&human()),
            Output::Json => {
                let begin = if self.printed == 1 { "{\"dead_letters\": [\n" } else { ",\n" };
                output::print(&format!("{begin}{}", document()))
            }
        }
    }

    /// Returns how many they were. What has failed ends the document.
    fn end(self, ended: anyhow::Result<()>) -> anyhow::Result<usize> {
        if self.output == Output::Json {
            output::print(match (&ended, self.printed) {
                (Ok(()), 0) => "{\"dead_letters\": [],",
                (Ok(()), _) => "\n],",
                (Err(_), 0) => "",
                (Err(_), _) => "\n]}\n",
            })?;
        }
        ended.map(|()| self.printed)
    }
}

/// Prints a line for each letter, and returns how many they were.
async fn list(store: &Store, filter: &LetterFilter, output: Output) -> anyhow::Result<usize> {
    let mut letters = Many::new(output);
    let listing = async {
        let mut after = 0;
        loop {
            let page = store.letters(filter, after, PAGE).await?;
            for letter in &page {
                letters.put(|| line(letter), || json!(letter))?;
            }
            match page.last() {
                Some(last) => after = last.id,
                None => return anyhow::Ok(()),
            }
        }
    };
    let ended = listing.await;
    letters.end(ended)
}

/// Prints each letter whole, and returns how many they were.
async fn show(store: &Store, filter: &LetterFilter, output: Output) -> anyhow::Result<usize> {
    let mut letters = Many::new(output);
    let showing = async {
        for id in ids(store, filter).await? {
            if let Some(letter) = store.letter(id).await? {
                letters.put(|| whole(&letter), || document_of(&letter))?;
            }
        }
        anyhow::Ok(())
    };
    let ended = showing.await;
    letters.end(ended)
}

/// All ids now, so that a message that fails again meanwhile is not replayed for ever.
async fn ids(store: &Store, filter: &LetterFilter) -> anyhow::Result<Vec<i64>> {
    let mut ids = Vec::new();
    loop {
        let page = store.letters(filter, ids.last().copied().unwrap_or(0), PAGE).await?;
        if page.is_empty() {
            return Ok(ids);
        }
        ids.extend(page.iter().map(|letter| letter.id));
    }
}

/// Sends these to the events queue, and removes each row once the broker has the message. If the process ends in between,
/// the message is sent twice, which does no harm.
/// Returns how many were sent, and the ids of those that stay.
async fn replay(context: &Context, store: &Store, filter: &LetterFilter) -> anyhow::Result<(u64, Vec<i64>)> {
    let amqp = &context.config.amqp;
    let publisher = Publisher::new(Broker::new(amqp)?);
    let events = Topology::new(amqp).events;
    let (mut replayed, mut kept) = (0, Vec::new());
    for id in ids(store, filter).await? {
        let Some(letter) = store.letter(id).await? else { continue };
        if is_cut(&letter) {
            say!("dead letter {id} stays: only the beginning of its body was kept");
            kept.push(id);
            continue;
        }
        let message = received(letter).again();
        let sent = publisher.publish("", &events, &message).await;
        sent.with_context(|| format!("dead letter {id} stays; {replayed} were replayed before it"))?;
        store.discard_letters(&LetterFilter { ids: vec![id], ..LetterFilter::default() }).await?;
        replayed += 1;
    }
    publisher.close().await;
    Ok((replayed, kept))
}

/// How many are still in the queue.
async fn waiting(context: &Context) -> Result<u32, BrokerError> {
    let amqp = &context.config.amqp;
    broker::DeadLetters::new(Broker::new(amqp)?, Topology::new(amqp)).waiting().await
}

impl Selection {
    fn is_empty(&self) -> bool {
        !self.all && self.filter() == LetterFilter::default()
    }

    fn filter(&self) -> LetterFilter {
        LetterFilter { ids: self.id.clone(), course: self.course.clone(), reason: self.reason.clone() }
    }
}

fn is_cut(letter: &Letter) -> bool {
    u64::try_from(letter.body_bytes).is_ok_and(|bytes| bytes > letter.body.len() as u64)
}

fn received(letter: Letter) -> Received {
    Received::stored(&letter.properties, &letter.routing_key, letter.body, letter.first_seen)
}

fn line(letter: &LetterHead) -> String {
    let first_seen = letter.first_seen.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let course = letter.course_id.as_deref().unwrap_or("-");
    let (key, reason) = (escape(&letter.routing_key), escape(&letter.reason));
    format!("{}  {first_seen}  {key}  {course}  {} bytes  {reason}\n", letter.id, letter.body_bytes)
}

fn head(letter: &Letter) -> LetterHead {
    LetterHead {
        id: letter.id,
        body_bytes: letter.body_bytes,
        routing_key: letter.routing_key.clone(),
        reason: letter.reason.clone(),
        course_id: letter.course_id.clone(),
        first_seen: letter.first_seen,
    }
}

/// All of it, for programs.
fn document_of(letter: &Letter) -> Value {
    let mut all = json!(head(letter));
    let message = received(letter.clone());
    all["attempt"] = letter.attempt.into();
    all["content_type"] = letter.content_type.clone().into();
    for name in ["traceparent", "tracestate"] {
        all[name] = message.header(name).into();
    }
    all["body"] = String::from_utf8_lossy(&letter.body).into();
    all["body_is_cut"] = is_cut(letter).into();
    all["body_sha256"] = letter.body_sha256.clone().into();
    all
}

fn whole(letter: &Letter) -> String {
    let mut text = line(&head(letter));
    text.push_str(&format!("  attempt: {}\n", letter.attempt));
    if let Some(content_type) = &letter.content_type {
        text.push_str(&format!("  content type: {}\n", escape(content_type)));
    }
    let message = received(letter.clone());
    for name in ["traceparent", "tracestate"] {
        if let Some(value) = message.header(name) {
            text.push_str(&format!("  {name}: {}\n", escape(&value)));
        }
    }
    if let Some(properties) = message.unreadable_properties() {
        text.push_str(&format!("  properties: {}\n", properties.escape_ascii()));
    }
    if is_cut(letter) {
        let (kept, sha256) = (letter.body.len(), &letter.body_sha256);
        text.push_str(&format!("  of the body the first {kept} bytes were kept; its SHA-256: {sha256}\n"));
    }
    text.push_str(&format!("  body: {}\n", escape(&String::from_utf8_lossy(&letter.body))));
    text
}
