//! `dead-letters`: list or show messages that could not be processed, send them through the events queue again, or remove
//! them. They are rows of a table, so looking changes nothing and needs no broker. Those still in the queue are counted.

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::context::{Context, Output};
use super::exit::Exit;
use super::output::{self, JsonList, say};
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
    match action {
        Action::List(selection) => look(context, &store, selection, false, all).await,
        Action::Show(selection) => look(context, &store, selection, true, all).await,
        Action::Replay(selection) => {
            let (replayed, kept) = replay(context, &store, &selection.filter()).await?;
            let exit = if kept.is_empty() { Exit::Done } else { Exit::Failed };
            finish(context, "replayed", replayed, Some(kept), all).await?;
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
            finish(context, "discarded", discarded, None, all).await?;
            Ok(Exit::Done)
        }
    }
}

/// Lists them, or shows them `whole`.
async fn look(
    context: &Context,
    store: &Store,
    selection: &Selection,
    whole: bool,
    all: u64,
) -> anyhow::Result<Exit> {
    let mut letters = Letters { output: context.output, list: JsonList::new("dead_letters"), printed: 0 };
    if let Err(error) = letters.print(store, &selection.filter(), whole).await {
        output::print(letters.list.broken_off())?;
        return Err(error);
    }
    if context.output == Output::Human {
        say!("{} of {}", letters.printed, counted(all, "dead letter"));
    }
    let rest = rest(context, all).await;
    if context.output == Output::Json {
        output::print(&letters.list.end(&rest)?)?;
    }
    Ok(Exit::Done)
}

/// Letters printed as they are read, as there may be many.
struct Letters {
    output: Output,
    list: JsonList,
    printed: u64,
}

impl Letters {
    async fn print(&mut self, store: &Store, filter: &LetterFilter, whole: bool) -> anyhow::Result<()> {
        let mut after = 0;
        loop {
            let page = store.letters(filter, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            for head in &page {
                if !whole {
                    self.put(|| line(head), || json!(head))?;
                } else if let Some(letter) = store.letter(head.id).await? {
                    self.put(|| text_of(&letter), || document_of(&letter))?;
                }
            }
        }
    }

    fn put(
        &mut self,
        human: impl FnOnce() -> String,
        document: impl FnOnce() -> Value,
    ) -> anyhow::Result<()> {
        self.printed += 1;
        match self.output {
            Output::Human => output::print(&human()),
            Output::Json => output::print(&self.list.element(&document())?),
        }
    }
}

/// Says what was done to how many.
async fn finish(
    context: &Context,
    done: &str,
    count: u64,
    kept: Option<Vec<i64>>,
    all: u64,
) -> anyhow::Result<()> {
    if context.output == Output::Human {
        output::print(&format!("{done} {count} of {}\n", counted(all, "dead letter")))?;
    }
    let mut rest = rest(context, all).await;
    if context.output == Output::Json {
        rest[done] = count.into();
        if let Some(kept) = kept {
            rest["kept"] = kept.into();
        }
        output::json(&rest)?;
    }
    Ok(())
}

/// How many there were, and how many are still in the queue: for programs; people are told of the queue on stderr.
async fn rest(context: &Context, all: u64) -> Value {
    let waiting = waiting(context).await;
    if context.output == Output::Human {
        match &waiting {
            Ok(0) => {}
            Ok(1) => say!("1 more waits in the queue for a worker to take it over"),
            Ok(waiting) => say!("{waiting} more wait in the queue for a worker to take them over"),
            Err(error) => say!("the number in the queue is not known: {}", report(error)),
        }
    }
    json!({ "total": all, "waiting": waiting.ok() })
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

/// All of it, for people.
fn text_of(letter: &Letter) -> String {
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
