//! A message: to be sent, and as it came from a queue.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use lapin::BasicProperties;
use lapin::protocol::basic::parse_properties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::error::BrokerError;
use super::headers::{
    ATTEMPT, FIRST_SEEN, PROPERTIES, REASON, ROUTING_KEY, TRACE, UNREADABLE, count, counts_deliveries,
    encoded, find, given_up_by_broker, given_up_from, instant, is_ours_or_the_brokers, last_death, long,
    one_line, sent_on, text,
};
use crate::telemetry::traces;

const PERSISTENT: u8 = 2;
/// AMQP's limit. A longer value in our header is ignored.
const MAX_ROUTING_KEY_BYTES: usize = 255;

/// A message to send; always persistent.
#[derive(Debug, Clone)]
pub struct Message {
    pub(super) body: Vec<u8>,
    pub(super) properties: BasicProperties,
}

impl Message {
    /// A JSON message.
    pub fn json(body: Vec<u8>) -> Self {
        Self::with_properties(body, BasicProperties::default().with_content_type("application/json".into()))
    }

    /// Adds a text header.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, BrokerError> {
        let mut headers: FieldTable = self.properties.headers().clone().unwrap_or_default();
        headers.insert(short(name)?, AMQPValue::LongString(value.into()));
        self.properties = self.properties.with_headers(headers);
        Ok(self)
    }

    /// Sets the content type.
    pub fn with_content_type(mut self, content_type: &str) -> Result<Self, BrokerError> {
        self.properties = self.properties.with_content_type(short(content_type)?);
        Ok(self)
    }

    /// The sender's id of the message, if it has one.
    pub(super) fn id(&self) -> Option<&str> {
        self.properties.message_id().as_ref().map(ShortString::as_str)
    }

    /// The properties as they are sent: a new message says in which trace that happens, unless its sender has said so.
    /// What is sent on keeps its sender's headers.
    pub(super) fn traced(&self) -> BasicProperties {
        let Some(parent) = traces::traceparent() else { return self.properties.clone() };
        let mut headers: FieldTable = self.properties.headers().clone().unwrap_or_default();
        if [traces::TRACEPARENT, ATTEMPT].iter().all(|name| find(&headers, name).is_none()) {
            headers.insert(traces::TRACEPARENT.into(), long(&parent));
        }
        self.properties.clone().with_headers(headers)
    }

    fn with_properties(body: Vec<u8>, properties: BasicProperties) -> Self {
        Self { body, properties: properties.with_delivery_mode(PERSISTENT) }
    }
}

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
            reason: reason.or_else(|| unreadable.clone()).map(|reason| one_line(&reason)),
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

    /// The sender's id of the message, if it has one.
    pub fn message_id(&self) -> Option<&str> {
        self.properties.message_id().as_ref().map(ShortString::as_str)
    }

    /// The first bytes of properties that cannot be read. None if they can.
    pub(crate) fn unreadable_properties(&self) -> Option<&[u8]> {
        match find(self.properties.headers().as_ref()?, PROPERTIES)? {
            AMQPValue::ByteArray(bytes) => Some(bytes.as_slice()),
            _ => None,
        }
    }

    /// The properties in AMQP's encoding, without the broker's counts of deliveries.
    pub fn properties(&self) -> Vec<u8> {
        self.encoded(|header| !counts_deliveries(header))
    }

    /// The sender's properties in AMQP's encoding: the same each time that a message is delivered or sent on.
    pub(crate) fn senders_properties(&self) -> Vec<u8> {
        self.encoded(|header| !is_ours_or_the_brokers(header))
    }

    fn encoded(&self, is_kept: impl Fn(&str) -> bool) -> Vec<u8> {
        let mut properties = self.properties.clone();
        if let Some(all) = properties.headers() {
            let kept = all.into_iter().filter(|(name, _)| is_kept(name.as_str()));
            let kept: BTreeMap<_, _> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
            properties = properties.with_headers(kept.into());
        }
        encoded(&properties)
    }

    /// The message to be sent again as if it had never been tried.
    pub fn again(&self) -> Message {
        self.sent_on(0, None)
    }

    /// The message to be sent in its place, with the sender's headers and body.
    pub(super) fn sent_on(&self, attempt: u32, reason: Option<&str>) -> Message {
        let ours = [
            (FIRST_SEEN, Some(self.first_seen.to_rfc3339_opts(SecondsFormat::AutoSi, true))),
            (ROUTING_KEY, Some(self.routing_key.clone())),
            (REASON, reason.map(one_line)),
            (TRACE, traces::traceparent().or_else(|| self.header(TRACE))),
        ];
        Message::with_properties(self.body.clone(), sent_on(&self.properties, attempt, ours))
    }
}

/// A name in AMQP's encoding. lapin panics on one that is too long.
pub(super) fn short(name: &str) -> Result<ShortString, BrokerError> {
    ShortString::try_new(name).map_err(|_| BrokerError::Missing {
        what: format!("a queue, exchange or key with a name of {} bytes", name.len()),
        fix: "AMQP allows names of at most 255 bytes; choose a shorter one".to_owned(),
    })
}
