//! A message as it came from a queue, with what its headers say read out.

use chrono::{DateTime, Utc};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use super::headers::{
    self, ATTEMPT, FIRST_SEEN, Ours, REASON, ROUTING_KEY, UNREADABLE, count, find, instant, text,
};
use super::publisher::Message;

/// AMQP's limit; a header of ours that holds more is not ours.
const MAX_ROUTING_KEY_BYTES: usize = 255;

/// A message taken from a queue, whole.
#[derive(Debug, Clone)]
pub struct Received {
    /// The body as it came, of any length.
    pub body: Vec<u8>,
    /// The routing key it was first published with, however often it has been delayed since.
    pub routing_key: String,
    /// The content type, with parameters.
    pub content_type: Option<String>,
    /// How many delays have counted as attempts.
    pub attempt: u32,
    /// When this program first saw it; else when the broker gave it up; now, if neither is known.
    pub first_seen: DateTime<Utc>,
    /// Why it was delayed or is dead, in one line.
    pub reason: Option<String>,
    /// Why its properties cannot be read, if they cannot: none of them is there then.
    pub unreadable: Option<String>,
    /// When it was published, by the sender's clock, where the sender says so in the message's properties.
    pub published: Option<DateTime<Utc>>,
    properties: BasicProperties,
}

impl Received {
    /// Reads a message; `now` is what it was first seen at, if its headers do not tell.
    pub(super) fn new(message: lapin::message::Delivery, now: DateTime<Utc>) -> Self {
        let properties = message.properties;
        let none = FieldTable::default();
        let headers = properties.headers().as_ref().unwrap_or(&none);
        let seconds = properties.timestamp().and_then(|seconds| i64::try_from(seconds).ok());
        let unreadable = find(headers, UNREADABLE).and_then(text);
        let reason = given_up_by_broker(headers).or_else(|| find(headers, REASON).and_then(text));
        Self {
            routing_key: find(headers, ROUTING_KEY)
                .and_then(text)
                .or_else(|| given_up_from(headers))
                .filter(|key| key.len() <= MAX_ROUTING_KEY_BYTES)
                .unwrap_or_else(|| message.routing_key.to_string()),
            content_type: properties.content_type().as_ref().map(ToString::to_string),
            attempt: find(headers, ATTEMPT).and_then(count).unwrap_or(0),
            first_seen: find(headers, FIRST_SEEN)
                .and_then(instant)
                .or_else(|| find(last_death(headers)?, "time").and_then(instant))
                .unwrap_or(now),
            reason: reason.or_else(|| unreadable.clone()).map(|reason| headers::one_line(&reason)),
            unreadable,
            published: seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
            body: message.data,
            properties,
        }
    }

    /// A header's text, whatever the case of its name and whether it came as text or bytes; None for other types.
    pub fn header(&self, name: &str) -> Option<String> {
        find(self.properties.headers().as_ref()?, name).and_then(text)
    }

    /// The message to send on in its place, with its sender's headers and body whole.
    pub(super) fn sent_on(&self, attempt: u32, reason: Option<&str>) -> Message {
        let ours = Ours { attempt, reason, first_seen: self.first_seen, routing_key: &self.routing_key };
        Message::with_properties(self.body.clone(), headers::sent_on(&self.properties, &ours))
    }
}

/// The broker's own note on how a message last left a queue by itself. It keeps a list, the latest first.
fn last_death(headers: &FieldTable) -> Option<&FieldTable> {
    let AMQPValue::FieldArray(deaths) = find(headers, "x-death")? else { return None };
    let AMQPValue::FieldTable(latest) = deaths.as_slice().first()? else { return None };
    Some(latest)
}

/// The routing key with which a message came to the queue that gave it up; it now has the one of the dead letters.
fn given_up_from(headers: &FieldTable) -> Option<String> {
    given_up_by_broker(headers)?;
    let AMQPValue::FieldArray(keys) = find(last_death(headers)?, "routing-keys")? else { return None };
    text(keys.as_slice().first()?)
}

/// Why the broker itself declared a message dead, if it did; "expired" is only the way out of a delay queue.
fn given_up_by_broker(headers: &FieldTable) -> Option<String> {
    let reason = find(last_death(headers)?, "reason").and_then(text)?;
    (reason != "expired").then(|| format!("given up by RabbitMQ: {reason}"))
}
