//! A message from a queue, with its headers read.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lapin::BasicProperties;
use lapin::protocol::basic::{gen_properties, parse_properties};
use lapin::types::{AMQPValue, FieldTable};

use super::headers::{
    self, ATTEMPT, FIRST_SEEN, Ours, PROPERTIES, REASON, ROUTING_KEY, UNREADABLE, count, find, instant, text,
};
use super::publisher::Message;

/// AMQP's limit. A longer value in our header is ignored.
const MAX_ROUTING_KEY_BYTES: usize = 255;

/// A message from a queue.
#[derive(Debug, Clone)]
pub struct Received {
    /// The body, of any length.
    pub body: Vec<u8>,
    /// The routing key it was first published with, even after delays.
    pub routing_key: String,
    /// The content type, with parameters.
    pub content_type: Option<String>,
    /// The number of delays that counted as attempts.
    pub attempt: u32,
    /// When this program first saw it; else when the broker gave it up; else now.
    pub first_seen: DateTime<Utc>,
    /// Whether this program has sent it on before: it comes from a delay queue, or was a dead letter.
    pub sent_on_before: bool,
    /// Why it was delayed or is a dead letter, in one line.
    pub reason: Option<String>,
    /// Why its properties cannot be read. Then it has none.
    pub unreadable: Option<String>,
    /// When it was published, by the sender's clock, if the properties say it.
    pub published: Option<DateTime<Utc>>,
    properties: BasicProperties,
}

impl Received {
    /// Reads a message. `now` is when it was first seen, unless its headers say it.
    pub(super) fn new(message: lapin::message::Delivery, now: DateTime<Utc>) -> Self {
        Self::of(message.properties, message.routing_key.as_str(), message.data, now)
    }

    /// A message from the database. `properties` are those of [`Received::properties`].
    pub fn stored(properties: &[u8], routing_key: &str, body: Vec<u8>, first_seen: DateTime<Utc>) -> Self {
        // This program wrote them, so they can be read; if not, body and key are still there.
        let properties = parse_properties(properties).map(|(_, read)| read).unwrap_or_default();
        Self::of(properties, routing_key, body, first_seen)
    }

    fn of(properties: BasicProperties, routing_key: &str, body: Vec<u8>, now: DateTime<Utc>) -> Self {
        let none = FieldTable::default();
        let headers = properties.headers().as_ref().unwrap_or(&none);
        let seconds = properties.timestamp().and_then(|seconds| i64::try_from(seconds).ok());
        let unreadable = find(headers, UNREADABLE).and_then(text);
        let first_seen = find(headers, FIRST_SEEN);
        let reason = given_up_by_broker(headers).or_else(|| find(headers, REASON).and_then(text));
        Self {
            routing_key: find(headers, ROUTING_KEY)
                .and_then(text)
                .or_else(|| given_up_from(headers))
                .filter(|key| key.len() <= MAX_ROUTING_KEY_BYTES)
                .unwrap_or_else(|| routing_key.to_owned()),
            content_type: properties.content_type().as_ref().map(ToString::to_string),
            attempt: find(headers, ATTEMPT).and_then(count).unwrap_or(0),
            sent_on_before: first_seen.is_some(),
            first_seen: first_seen
                .and_then(instant)
                .or_else(|| find(last_death(headers)?, "time").and_then(instant))
                .unwrap_or(now),
            reason: reason.or_else(|| unreadable.clone()).map(|reason| headers::one_line(&reason)),
            unreadable,
            published: seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
            body,
            properties,
        }
    }

    /// The text of a header, sent as text or bytes. The case of the name is ignored. None for other types.
    pub fn header(&self, name: &str) -> Option<String> {
        find(self.properties.headers().as_ref()?, name).and_then(text)
    }

    /// The first bytes of properties that cannot be read. None if they can.
    pub fn unreadable_properties(&self) -> Option<&[u8]> {
        match find(self.properties.headers().as_ref()?, PROPERTIES)? {
            AMQPValue::ByteArray(bytes) => Some(bytes.as_slice()),
            _ => None,
        }
    }

    /// The properties in AMQP's encoding, without the broker's counts of deliveries.
    pub fn properties(&self) -> Vec<u8> {
        self.encoded(|header| !headers::counts_deliveries(header))
    }

    /// The sender's properties in AMQP's encoding: the same each time that a message is delivered or sent on.
    pub fn senders_properties(&self) -> Vec<u8> {
        self.encoded(|header| !headers::is_ours_or_the_brokers(header))
    }

    fn encoded(&self, is_kept: impl Fn(&str) -> bool) -> Vec<u8> {
        let mut properties = self.properties.clone();
        if let Some(all) = properties.headers() {
            let kept = all.into_iter().filter(|(name, _)| is_kept(name.as_str()));
            let kept: BTreeMap<_, _> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
            properties = properties.with_headers(kept.into());
        }
        let encoded = gen_properties(&properties)(Vec::new().into());
        encoded.map(|written| written.write).unwrap_or_default()
    }

    /// The message to be sent again as if it had never been tried.
    pub fn again(&self) -> Message {
        self.sent_on(0, None)
    }

    /// The message to be sent in its place, with the sender's headers and body.
    pub(super) fn sent_on(&self, attempt: u32, reason: Option<&str>) -> Message {
        let ours = Ours { attempt, reason, first_seen: self.first_seen, routing_key: &self.routing_key };
        Message::with_properties(self.body.clone(), headers::sent_on(&self.properties, &ours))
    }
}

/// The broker's record of how the message last left a queue by itself. The latest is the first of a list.
fn last_death(headers: &FieldTable) -> Option<&FieldTable> {
    let AMQPValue::FieldArray(deaths) = find(headers, "x-death")? else { return None };
    let AMQPValue::FieldTable(latest) = deaths.as_slice().first()? else { return None };
    Some(latest)
}

/// The routing key before the broker gave the message up; now it has the one of the dead letters.
fn given_up_from(headers: &FieldTable) -> Option<String> {
    given_up_by_broker(headers)?;
    let AMQPValue::FieldArray(keys) = find(last_death(headers)?, "routing-keys")? else { return None };
    text(keys.as_slice().first()?)
}

/// Why the broker gave the message up, if it did. "expired" only means the end of a delay.
fn given_up_by_broker(headers: &FieldTable) -> Option<String> {
    let reason = find(last_death(headers)?, "reason").and_then(text)?;
    (reason != "expired").then(|| format!("given up by RabbitMQ: {reason}"))
}
