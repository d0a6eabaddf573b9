//! `publish`: events as Studio would send them, each confirmed by the broker.

use chrono::Utc;

use super::{Context, Exit, output};
use crate::broker::{Broker, Message, Publisher};
use crate::course_key::CourseKey;
use crate::event::{Event, EventKind};

pub(super) async fn run(context: &Context, kind: EventKind, courses: &[CourseKey]) -> anyhow::Result<Exit> {
    let publisher = Publisher::new(Broker::new(&context.config.amqp)?);
    for course in courses {
        let id = format!("{:032x}", rand::random::<u128>());
        let event = Event { kind, course: course.clone(), time: Some(Utc::now()), id: Some(id) };
        let message = Message::json(event.to_json());
        publisher.publish(&context.config.amqp.exchange, kind.as_str(), &message).await?;
        output::print(&format!("published {kind} {course}\n"))?;
    }
    publisher.close().await;
    Ok(Exit::Done)
}
