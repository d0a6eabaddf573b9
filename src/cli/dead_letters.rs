//! `dead-letters`: list or show messages that could not be processed, send them through the events queue again, or remove
//! them. They are rows of a table, so looking changes nothing and needs no broker. Those still in the queue are counted.

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::context::{Context, Exit};
use super::output;
use crate::broker::{self, Broker, Publisher, Received, Topology};
use crate::model::course_key::CourseKey;
use crate::model::text::escape;
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
    /// Remove them
    Discard(Selection),
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
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) async fn run(context: &Context, action: &Action) -> anyhow::Result<Exit> {
    if let Action::Replay(selection) | Action::Discard(selection) = action
        && selection.is_empty()
    {
        eprintln!(
            "course-sharing: dead-letters {}: choose with --all, --id <n>, --course <id> or --reason <text>",
            if matches!(action, Action::Replay(_)) { "replay" } else { "discard" }
        );
        return Ok(Exit::Usage);
    }
    let store = context.store().await?;
    let all = store.count_letters(&LetterFilter::default()).await?;
    match action {
        Action::List(selection) => {
            let mut shown = 0;
            let filter = selection.filter();
            let mut after = 0;
            while let Some(last) = list(&store, &filter, after, &mut shown).await? {
                after = last;
            }
            eprintln!("{shown} of {all} dead letters");
        }
        Action::Show(selection) => {
            let ids = ids(&store, &selection.filter()).await?;
            for id in &ids {
                if let Some(letter) = store.letter(*id).await? {
                    output::print(&whole(&letter))?;
                }
            }
            eprintln!("{} of {all} dead letters", ids.len());
        }
        Action::Replay(selection) => {
            let replayed = replay(context, &store, &selection.filter()).await?;
            output::print(&format!("replayed {replayed} of {all} dead letters\n"))?;
        }
        Action::Discard(selection) => {
            let discarded = store.discard_letters(&selection.filter()).await?;
            output::print(&format!("discarded {discarded} of {all} dead letters\n"))?;
        }
    }
    count_waiting(context).await;
    Ok(Exit::Done)
}

/// Prints a page of a list, and returns the id of its last letter.
async fn list(
    store: &Store,
    filter: &LetterFilter,
    after: i64,
    shown: &mut usize,
) -> anyhow::Result<Option<i64>> {
    let page = store.letters(filter, after, PAGE).await?;
    for letter in &page {
        output::print(&line(letter))?;
    }
    *shown += page.len();
    Ok(page.last().map(|letter| letter.id))
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
async fn replay(context: &Context, store: &Store, filter: &LetterFilter) -> anyhow::Result<u64> {
    let amqp = &context.config.amqp;
    let publisher = Publisher::new(Broker::new(amqp)?);
    let events = Topology::new(amqp).events;
    let mut replayed = 0;
    for id in ids(store, filter).await? {
        let Some(letter) = store.letter(id).await? else { continue };
        if is_cut(&letter) {
            eprintln!("dead letter {id} stays: only the beginning of its body was kept");
            continue;
        }
        let message = received(letter).again();
        let sent = publisher.publish("", &events, &message).await;
        sent.with_context(|| format!("dead letter {id} stays; {replayed} were replayed before it"))?;
        store.discard_letters(&LetterFilter { ids: vec![id], ..LetterFilter::default() }).await?;
        replayed += 1;
    }
    publisher.close().await;
    Ok(replayed)
}

/// Says how many are still in the queue.
async fn count_waiting(context: &Context) {
    let amqp = &context.config.amqp;
    let waiting = async { broker::DeadLetters::new(Broker::new(amqp)?, Topology::new(amqp)).waiting().await };
    match waiting.await {
        Ok(0) => {}
        Ok(waiting) => eprintln!("{waiting} more wait in the queue for a worker to take them over"),
        Err(error) => eprintln!("the number in the queue is not known: {}", report(&error)),
    }
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

fn whole(letter: &Letter) -> String {
    let head = LetterHead {
        id: letter.id,
        body_bytes: letter.body_bytes,
        routing_key: letter.routing_key.clone(),
        reason: letter.reason.clone(),
        course_id: letter.course_id.clone(),
        first_seen: letter.first_seen,
    };
    let mut text = line(&head);
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
