//! A message: to be sent, as it came from a queue, and which headers it keeps when it is sent on.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use lapin::BasicProperties;
use lapin::protocol::basic::{gen_properties, parse_properties};
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::error::BrokerError;
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
        let encoded = gen_properties(&properties)(Vec::new().into());
        encoded.map(|written| written.write).unwrap_or_default()
    }

    /// The message to be sent again as if it had never been tried.
    pub fn again(&self) -> Message {
        self.sent_on(0, None)
    }

    /// The message to be sent in its place, with the sender's headers and body.
    pub(super) fn sent_on(&self, attempt: u32, reason: Option<&str>) -> Message {
        let trace = traces::traceparent().or_else(|| self.header(TRACE));
        let (first_seen, routing_key) = (self.first_seen, self.routing_key.as_str());
        let ours = Ours { attempt, reason, first_seen, routing_key, trace: trace.as_deref() };
        Message::with_properties(self.body.clone(), sent_on(&self.properties, &ours))
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

/// The number of delays that counted as attempts; an integer.
const ATTEMPT: &str = "x-course-sharing-attempt";
/// Why it was delayed or is dead; one line of at most 255 bytes.
const REASON: &str = "x-course-sharing-reason";
/// When this program first saw it; RFC 3339.
pub(crate) const FIRST_SEEN: &str = "x-course-sharing-first-seen";
/// The routing key it was first published with: a delay queue replaces the key by the name of the queue.
pub(crate) const ROUTING_KEY: &str = "x-course-sharing-routing-key";
/// The trace in which it was last handled here, as a `traceparent`; the sender's own header stays.
pub(crate) const TRACE: &str = "x-course-sharing-traceparent";
/// That a message is a hint, and when its course changed, by the Catalog's clock; RFC 3339.
pub(crate) const HINT: &str = "x-course-sharing-hint";
/// Why the properties cannot be read. Such a message is a dead letter.
pub(super) const UNREADABLE: &str = "x-course-sharing-unreadable";
/// The bytes of properties that cannot be read.
pub(super) const PROPERTIES: &str = "x-course-sharing-properties";

const MAX_REASON_BYTES: usize = 255;

/// All headers of a message are in one frame (128 KiB), and a larger frame ends the connection. Other headers beyond this
/// many bytes are dropped, so that ours always fit.
const MAX_FOREIGN_BYTES: usize = 64 * 1024;

/// The header of that name, ignoring case.
fn find<'a>(headers: &'a FieldTable, name: &str) -> Option<&'a AMQPValue> {
    let exact = headers.inner().get(name);
    exact.or_else(|| {
        let mut all = headers.into_iter();
        all.find_map(|(key, value)| key.as_str().eq_ignore_ascii_case(name).then_some(value))
    })
}

/// A header as text. Some clients send text as bytes, above all trace context.
fn text(value: &AMQPValue) -> Option<String> {
    let bytes = match value {
        AMQPValue::LongString(text) => text.as_bytes(),
        AMQPValue::ByteArray(bytes) => bytes.as_slice(),
        AMQPValue::ShortString(text) => text.as_str().as_bytes(),
        _ => return None,
    };
    String::from_utf8(bytes.to_vec()).ok()
}

/// A header as a count, from any integer type or from digits.
fn count(value: &AMQPValue) -> Option<u32> {
    let number = match value {
        AMQPValue::ShortShortInt(n) => i64::from(*n),
        AMQPValue::ShortShortUInt(n) => i64::from(*n),
        AMQPValue::ShortInt(n) => i64::from(*n),
        AMQPValue::ShortUInt(n) => i64::from(*n),
        AMQPValue::LongInt(n) => i64::from(*n),
        AMQPValue::LongUInt(n) => i64::from(*n),
        AMQPValue::LongLongInt(n) => *n,
        other => text(other)?.trim().parse().ok()?,
    };
    u32::try_from(number).ok()
}

/// A header as a time.
fn instant(value: &AMQPValue) -> Option<DateTime<Utc>> {
    match value {
        AMQPValue::Timestamp(seconds) => DateTime::from_timestamp(i64::try_from(*seconds).ok()?, 0),
        other => Some(DateTime::parse_from_rfc3339(&text(other)?).ok()?.with_timezone(&Utc)),
    }
}

/// The text as a reason: one line, cut to the length of the header.
fn one_line(reason: &str) -> String {
    let line: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line[..line.floor_char_boundary(MAX_REASON_BYTES)].trim().to_owned()
}

/// Our headers of a message that is sent on.
struct Ours<'a> {
    attempt: u32,
    reason: Option<&'a str>,
    first_seen: DateTime<Utc>,
    routing_key: &'a str,
    trace: Option<&'a str>,
}

/// The properties of a message that is sent on: its own, with our headers replaced.
///
/// Some are dropped. `expiration` would end it in a delay queue too early; the broker refuses the `user_id` of another
/// user; priority and mode are set by this program.
fn sent_on(properties: &BasicProperties, ours: &Ours) -> BasicProperties {
    let mut headers = properties.headers().as_ref().map(foreign).unwrap_or_default();
    headers.insert(ATTEMPT.into(), AMQPValue::LongLongInt(i64::from(ours.attempt)));
    headers.insert(FIRST_SEEN.into(), long(&ours.first_seen.to_rfc3339_opts(SecondsFormat::AutoSi, true)));
    headers.insert(ROUTING_KEY.into(), long(ours.routing_key));
    if let Some(reason) = ours.reason {
        headers.insert(REASON.into(), long(&one_line(reason)));
    }
    if let Some(trace) = ours.trace {
        headers.insert(TRACE.into(), long(trace));
    }
    let mut sent = BasicProperties::default().with_headers(headers);
    macro_rules! keep {
        ($($get:ident $set:ident),+ $(,)?) => {
            $(if let Some(value) = properties.$get() { sent = sent.$set(value.clone()); })+
        };
    }
    keep!(
        content_type with_content_type,
        content_encoding with_content_encoding,
        correlation_id with_correlation_id,
        reply_to with_reply_to,
        message_id with_message_id,
        timestamp with_timestamp,
        kind with_type,
        app_id with_app_id,
    );
    sent
}

/// The headers of the sender, such as trace context and CloudEvents attributes.
fn foreign(headers: &FieldTable) -> FieldTable {
    let mut kept = FieldTable::default();
    let mut bytes = 0;
    for (key, value) in headers {
        bytes += key.as_str().len() + size(value) + 2;
        if !is_ours_or_the_brokers(key.as_str()) && bytes <= MAX_FOREIGN_BYTES {
            kept.insert(key.clone(), value.clone());
        }
    }
    kept
}

/// Headers that the broker adds when it delivers a message again.
fn counts_deliveries(name: &str) -> bool {
    matches!(name, "x-delivery-count" | "x-acquired-count")
}

/// By `x-death` the broker detects loops, and drops such messages. It counts deliveries for each queue. `CC` and `BCC`
/// would deliver the copy to queues that already have the first message.
fn is_ours_or_the_brokers(name: &str) -> bool {
    let broker = ["x-death", "x-first-death-", "x-last-death-"];
    broker.iter().any(|prefix| name.starts_with(prefix))
        || counts_deliveries(name)
        || [ATTEMPT, REASON, FIRST_SEEN, ROUTING_KEY, TRACE, UNREADABLE]
            .iter()
            .any(|ours| name.eq_ignore_ascii_case(ours))
        || matches!(name, "CC" | "BCC")
}

fn size(value: &AMQPValue) -> usize {
    5 + match value {
        AMQPValue::ShortString(text) => text.as_str().len(),
        AMQPValue::LongString(text) => text.len(),
        AMQPValue::ByteArray(bytes) => bytes.len(),
        AMQPValue::FieldArray(list) => list.as_slice().iter().map(size).sum(),
        AMQPValue::FieldTable(table) => {
            table.into_iter().map(|(key, value)| key.as_str().len() + 1 + size(value)).sum()
        }
        _ => 8,
    }
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// A name in AMQP's encoding. lapin panics on one that is too long.
pub(super) fn short(name: &str) -> Result<ShortString, BrokerError> {
    ShortString::try_new(name).map_err(|_| BrokerError::Missing {
        what: format!("a queue, exchange or key with a name of {} bytes", name.len()),
        fix: "AMQP allows names of at most 255 bytes; choose a shorter one".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (key, value) in entries {
            table.insert((*key).into(), value.clone());
        }
        table
    }

    fn send_on(properties: &BasicProperties, reason: Option<&str>) -> BasicProperties {
        let first_seen = DateTime::from_timestamp(1_000_000_000, 0).unwrap();
        let ours = Ours { attempt: 3, reason, first_seen, routing_key: "course-publish", trace: None };
        sent_on(properties, &ours)
    }

    #[test]
    fn counts_are_read_from_whatever_a_client_sends() {
        for value in
            [AMQPValue::LongInt(7), AMQPValue::ShortShortUInt(7), long("7"), AMQPValue::LongLongInt(7)]
        {
            assert_eq!(count(&value), Some(7));
        }
        for value in [AMQPValue::LongInt(-1), long("x"), AMQPValue::Void, AMQPValue::LongLongInt(i64::MAX)] {
            assert_eq!(count(&value), None);
        }
    }

    #[test]
    fn text_may_come_as_bytes() {
        assert_eq!(text(&AMQPValue::ByteArray(b"00-a".to_vec().into())).as_deref(), Some("00-a"));
        assert_eq!(text(&AMQPValue::ByteArray(vec![0xff].into())), None);
        let headers = table(&[("TraceParent", long("00-b"))]);
        assert_eq!(find(&headers, "traceparent").and_then(text).as_deref(), Some("00-b"));
    }

    #[test]
    fn a_message_sent_on_keeps_what_is_its_senders_and_no_more() {
        let headers = table(&[
            ("traceparent", long("00-a")),
            ("cloudEvents:type", long("course-publish")),
            ("x-death", AMQPValue::FieldArray(vec![].into())),
            ("x-first-death-queue", long("q")),
            ("x-delivery-count", AMQPValue::LongLongInt(4)),
            ("CC", AMQPValue::FieldArray(vec![long("elsewhere")].into())),
            (REASON, long("old")),
            (ATTEMPT, AMQPValue::LongLongInt(2)),
        ]);
        let properties = BasicProperties::default()
            .with_headers(headers)
            .with_content_type("application/json".into())
            .with_message_id("m".into())
            .with_expiration("1".into())
            .with_user_id("somebody".into());
        let sent = send_on(&properties, None);
        let names: Vec<&str> =
            sent.headers().as_ref().unwrap().inner().keys().map(|key| key.as_str()).collect();
        assert_eq!(names, ["cloudEvents:type", "traceparent", ATTEMPT, FIRST_SEEN, ROUTING_KEY]);
        assert_eq!(sent.content_type(), properties.content_type());
        assert_eq!(sent.message_id(), properties.message_id());
        assert_eq!((sent.expiration(), sent.user_id()), (&None, &None));
        let headers = sent.headers().as_ref().unwrap();
        assert_eq!(find(headers, ATTEMPT).and_then(count), Some(3));
        assert_eq!(find(headers, FIRST_SEEN), Some(&long("2001-09-09T01:46:40Z")));
    }

    #[test]
    fn headers_never_outgrow_a_frame() {
        let huge: Vec<(String, AMQPValue)> =
            (0..100).map(|n| (format!("h{n:03}"), long(&"x".repeat(1000)))).collect();
        let huge: Vec<(&str, AMQPValue)> = huge.iter().map(|(key, value)| (&**key, value.clone())).collect();
        let properties = BasicProperties::default().with_headers(table(&huge));
        let sent = send_on(&properties, Some(&"r".repeat(10_000)));
        let total: usize = sent.headers().as_ref().unwrap().into_iter().map(|(_, value)| size(value)).sum();
        assert!(total < MAX_FOREIGN_BYTES + 1000, "{total}");
    }

    proptest! {
        #[test]
        fn a_reason_fits_and_is_one_line(text in ".{0,400}") {
            let line = one_line(&text);
            prop_assert!(line.len() <= MAX_REASON_BYTES && !line.contains(char::is_control));
        }
    }
}
