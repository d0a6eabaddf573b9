//! `publish`: sends events as Studio does, each confirmed by the broker.

use anyhow::Context as _;
use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;
use tracing::Span;

use super::context::{Context, Courses, Output};
use super::exit::Exit;
use super::output;
use crate::broker::{Broker, Message, Publisher};
use crate::clock;
use crate::event::{Event, EventKind};
use crate::model::text::counted;
use crate::telemetry::traces;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What has happened: course-publish or overview-recreated
    #[arg(value_name = "EVENT", value_parser = event_kind)]
    kind: EventKind,
    #[command(flatten)]
    courses: Courses,
}

fn event_kind(text: &str) -> Result<EventKind, String> {
    text.parse().map_err(|_| "expected course-publish or overview-recreated".to_owned())
}

/// Of so many courses or fewer, each has a line of its own.
const A_LINE_EACH: usize = 10;

pub(super) async fn run(context: &Context, args: &Arguments) -> anyhow::Result<Exit> {
    let (kind, courses) = (args.kind, &args.courses.courses);
    traces::about(&Span::current(), courses.iter());
    let has_lines = context.output == Output::Human && courses.len() <= A_LINE_EACH;
    let publisher = Publisher::new(Broker::new(&context.config.amqp)?);
    let bar = if has_lines { ProgressBar::hidden() } else { output::bar("{bar:30} {pos}/{len} events") };
    bar.set_length(courses.len() as u64);
    let mut published = Vec::new();
    for course in courses {
        let id = format!("{:032x}", rand::random::<u128>());
        let event = Event { kind, course: course.clone(), time: Some(clock::now()), id: Some(id.clone()) };
        let message = Message::json(event.to_json());
        let sent = publisher.publish(&context.config.amqp.exchange, kind.as_str(), &message).await;
        sent.with_context(|| format!("{course} was not published; {} before it were", published.len()))?;
        bar.inc(1);
        published.push(json!({ "course_id": course.as_str(), "id": id }));
        if has_lines {
            output::print(&format!("published {kind} {course}\n"))?;
        }
    }
    bar.finish_and_clear();
    publisher.close().await;
    match context.output {
        Output::Human if has_lines => {}
        Output::Human => {
            let events = counted(published.len() as u64, &format!("{kind} event"));
            output::print(&format!("published {events}\n"))?;
        }
        Output::Json => output::json(&json!({ "type": kind.as_str(), "published": published }))?,
    }
    Ok(Exit::Done)
}
