//! `dead-letters`: look at what could not be understood, send it through again, or remove it.

use super::{Context, DeadLetters as Action, Exit, Selection, output};
use crate::broker::{self, Broker, Publisher, Received, Topology};
use crate::course_key::CourseKey;
use crate::worker::reading;

pub(super) async fn run(context: &Context, action: &Action) -> anyhow::Result<Exit> {
    let amqp = &context.config.amqp;
    let broker = Broker::new(amqp)?;
    let publisher = Publisher::new(broker.clone());
    let letters = broker::DeadLetters::new(broker, Topology::new(amqp), publisher.clone());
    let exit = match action {
        Action::List(selection) => show(&letters, selection, line).await?,
        Action::Show(selection) => show(&letters, selection, whole).await?,
        Action::Replay(selection) if selection.is_empty() => needs_selection("replay"),
        Action::Discard(selection) if selection.is_empty() => needs_selection("discard"),
        Action::Replay(selection) => {
            let walk = letters.replay(|letter| selection.wants(letter)).await?;
            output::print(&format!("replayed {} of {} dead letters\n", walk.matched, walk.seen))?;
            Exit::Done
        }
        Action::Discard(selection) => {
            let walk = letters.discard(|letter| selection.wants(letter)).await?;
            output::print(&format!("discarded {} of {} dead letters\n", walk.matched, walk.seen))?;
            Exit::Done
        }
    };
    publisher.close().await;
    Ok(exit)
}

fn needs_selection(action: &str) -> Exit {
    eprintln!("course-sharing: dead-letters {action}: say which: --all, --course <id> or --reason <text>");
    Exit::Usage
}

async fn show(
    letters: &broker::DeadLetters,
    selection: &Selection,
    shown: fn(&Received) -> String,
) -> anyhow::Result<Exit> {
    // One at a time, so that a queue of any length can be looked at.
    let walk = letters
        .list(
            u32::MAX,
            |letter| selection.wants(letter),
            |letter| {
                // A closed pipe has been seen to by `print`; any other failure shows when the summary is printed.
                let _ = output::print(&shown(letter));
            },
        )
        .await?;
    eprintln!("{} of {} dead letters", walk.matched, walk.seen);
    Ok(Exit::Done)
}

impl Selection {
    fn is_empty(&self) -> bool {
        !self.all && self.course.is_none() && self.reason.is_none()
    }

    fn wants(&self, letter: &Received) -> bool {
        let course = self.course.as_ref().is_none_or(|wanted| is_about(letter, wanted));
        let reason = self.reason.as_deref().is_none_or(|wanted| reason(letter).contains(wanted));
        course && reason
    }
}

/// Whether the message is about this course; if it cannot be read, whether it has the key's text in it.
fn is_about(letter: &Received, wanted: &CourseKey) -> bool {
    match reading::course(letter) {
        Some(course) => course == *wanted,
        None => String::from_utf8_lossy(&letter.body).contains(wanted.as_str()),
    }
}

fn reason(letter: &Received) -> &str {
    letter.reason.as_deref().unwrap_or("(no reason)")
}

fn line(letter: &Received) -> String {
    let first_seen = letter.first_seen.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let course = reading::course(letter).map_or_else(|| "-".to_owned(), |course| course.to_string());
    let (key, bytes, reason) = (&letter.routing_key, letter.body.len(), reason(letter));
    let reason = output::safe(reason);
    format!("{first_seen}  {}  {course}  {bytes} bytes  {reason}\n", output::safe(key))
}

fn whole(letter: &Received) -> String {
    let mut text = line(letter);
    text.push_str(&format!("  attempt: {}\n", letter.attempt));
    if let Some(content_type) = &letter.content_type {
        text.push_str(&format!("  content type: {}\n", output::safe(content_type)));
    }
    for name in ["traceparent", "tracestate"] {
        if let Some(value) = letter.header(name) {
            text.push_str(&format!("  {name}: {}\n", output::safe(&value)));
        }
    }
    text.push_str(&format!("  body: {}\n", output::safe(&String::from_utf8_lossy(&letter.body))));
    text
}
