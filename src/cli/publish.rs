//! `publish`: sends events as Studio does, each confirmed by the broker.

use clap::Args;

use super::context::{Context, Courses, Exit};
use super::output;
use crate::broker::{Broker, Message, Publisher};
use crate::clock;
use crate::event::{Event, EventKind};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What has happened: course-publish or overview-recreated
    #[arg(value_name = "EVENT", value_parser = event_kind)]
    kind: EventKind,
    #[command(flatten)]
    courses: Courses,
}

fn event_kind(text: &str) -> Result<EventKind, String> {
    EventKind::from_name(text).ok_or_else(|| "expected course-publish or overview-recreated".to_owned())
}

pub(super) async fn run(context: &Context, args: &Arguments) -> anyhow::Result<Exit> {
    let kind = args.kind;
    let publisher = Publisher::new(Broker::new(&context.config.amqp)?);
    for course in &args.courses.courses {
        let id = format!("{:032x}", rand::random::<u128>());
        let event = Event { kind, course: course.clone(), time: Some(clock::now()), id: Some(id) };
        let message = Message::json(event.to_json());
        publisher.publish(&context.config.amqp.exchange, kind.as_str(), &message).await?;
        output::print(&format!("published {kind} {course}\n"))?;
    }
    publisher.close().await;
    Ok(Exit::Done)
}
