//! Sends hints: for each run of a changed course one message that is handled now, and some that come back later, as a
//! draft shows before the run that it is about.

use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::future::try_join_all;

use crate::broker::{BrokerError, FIRST_SEEN, HINT, Message, Publisher, ROUTING_KEY, Topology};
use crate::catalog::Changed;
use crate::event::{Event, EventKind};
use crate::model::course_key::CourseKey;

/// When a hint comes back, in seconds: steps of the retry schedule.
const LATER: [u32; 3] = [900, 3600, 14_400];

/// Sends the hints about all runs of these courses, past the exchange, which others listen to. `now` is by the database's
/// clock.
///
/// # Errors
/// The first message that no queue has confirmed. Others may have been sent.
pub(super) async fn send(
    publisher: &Publisher,
    topology: &Topology,
    courses: &[Changed],
    now: DateTime<Utc>,
) -> Result<(), BrokerError> {
    let later = LATER.map(|step| topology.delay(step));
    let queues: Vec<&str> = std::iter::once(&topology.events).chain(&later).map(String::as_str).collect();
    let mut sending = Vec::new();
    for course in courses {
        for run in &course.runs {
            let message = message(run, course.stamp, now)?;
            sending.extend(queues.iter().map(|queue| send_one(publisher, queue, message.clone())));
        }
    }
    // The publisher has a limit of its own on how many it sends at once.
    try_join_all(sending).await.map(drop)
}

async fn send_one(publisher: &Publisher, queue: &str, message: Message) -> Result<(), BrokerError> {
    publisher.publish("", queue, &message).await
}

/// As a `course-publish` event that Studio had sent at `stamp`.
fn message(run: &CourseKey, stamp: DateTime<Utc>, now: DateTime<Utc>) -> Result<Message, BrokerError> {
    let kind = EventKind::CoursePublish;
    let event = Event { kind, course: run.clone(), time: Some(stamp), id: None };
    let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
    Message::json(event.to_json())
        .with_header(HINT, &text(stamp))?
        .with_header(FIRST_SEEN, &text(now))?
        .with_header(ROUTING_KEY, kind.as_str())
}
