//! The headers of a message: ours, the sender's and the broker's; how each is read, and which are kept when a message is
//! sent on.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lapin::BasicProperties;
use lapin::protocol::basic::gen_properties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

/// In the name of each delay queue, between the others' part and the seconds.
pub(super) const DELAY: &str = ".delay.";
/// The number of delays that counted as attempts; an integer.
pub(super) const ATTEMPT: &str = "x-course-sharing-attempt";
/// Why it was delayed or is dead; one line of at most 255 bytes.
pub(super) const REASON: &str = "x-course-sharing-reason";
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
pub(super) fn find<'a>(headers: &'a FieldTable, name: &str) -> Option<&'a AMQPValue> {
    let exact = headers.inner().get(name);
    exact.or_else(|| {
        let mut all = headers.into_iter();
        all.find_map(|(key, value)| key.as_str().eq_ignore_ascii_case(name).then_some(value))
    })
}

/// A header as text. Some clients send text as bytes, above all trace context.
pub(super) fn text(value: &AMQPValue) -> Option<String> {
    let bytes = match value {
        AMQPValue::LongString(text) => text.as_bytes(),
        AMQPValue::ByteArray(bytes) => bytes.as_slice(),
        AMQPValue::ShortString(text) => text.as_str().as_bytes(),
        _ => return None,
    };
    String::from_utf8(bytes.to_vec()).ok()
}

/// A header as a count, from any integer type or from digits.
pub(super) fn count(value: &AMQPValue) -> Option<u32> {
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
pub(super) fn instant(value: &AMQPValue) -> Option<DateTime<Utc>> {
    match value {
        AMQPValue::Timestamp(seconds) => DateTime::from_timestamp(i64::try_from(*seconds).ok()?, 0),
        other => Some(DateTime::parse_from_rfc3339(&text(other)?).ok()?.with_timezone(&Utc)),
    }
}

/// The text as a reason: one line, cut to the length of the header.
pub(super) fn one_line(reason: &str) -> String {
    let line: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line[..line.floor_char_boundary(MAX_REASON_BYTES)].trim().to_owned()
}

/// The properties of a message that is sent on: its own, with the headers of its sender and these.
///
/// Some are dropped. `expiration` would end it in a delay queue too early; the broker refuses the `user_id` of another
/// user; priority and mode are set by this program.
pub(super) fn sent_on(
    properties: &BasicProperties,
    attempt: u32,
    texts: [(&str, Option<String>); 4],
) -> BasicProperties {
    let mut headers = properties.headers().as_ref().map(foreign).unwrap_or_default();
    headers.insert(ATTEMPT.into(), AMQPValue::LongLongInt(i64::from(attempt)));
    for (name, text) in texts {
        if let Some(text) = text {
            headers.insert(name.into(), long(&text));
        }
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
        bytes += size(key, value);
        if !is_ours_or_the_brokers(key.as_str()) && bytes <= MAX_FOREIGN_BYTES {
            kept.insert(key.clone(), value.clone());
        }
    }
    kept
}

/// Headers that the broker adds when it delivers a message again.
pub(super) fn counts_deliveries(name: &str) -> bool {
    matches!(name, "x-delivery-count" | "x-acquired-count")
}

/// By `x-death` the broker detects loops, and drops such messages. It counts deliveries for each queue. `CC` and `BCC`
/// would deliver the copy to queues that already have the first message.
pub(super) fn is_ours_or_the_brokers(name: &str) -> bool {
    let broker = ["x-death", "x-first-death-", "x-last-death-"];
    broker.iter().any(|prefix| name.starts_with(prefix))
        || counts_deliveries(name)
        || [ATTEMPT, REASON, FIRST_SEEN, ROUTING_KEY, TRACE, UNREADABLE]
            .iter()
            .any(|ours| name.eq_ignore_ascii_case(ours))
        || matches!(name, "CC" | "BCC")
}

/// The bytes of a header, and some more.
fn size(name: &ShortString, value: &AMQPValue) -> usize {
    let alone = BTreeMap::from([(name.clone(), value.clone())]);
    encoded(&BasicProperties::default().with_headers(alone.into())).len()
}

/// Properties in AMQP's encoding.
pub(super) fn encoded(properties: &BasicProperties) -> Vec<u8> {
    let encoded = gen_properties(properties)(Vec::new().into());
    encoded.map(|written| written.write).unwrap_or_default()
}

pub(super) fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// The broker's record of how the message last left a queue by itself. The latest is the first of a list.
pub(super) fn last_death(headers: &FieldTable) -> Option<&FieldTable> {
    let AMQPValue::FieldArray(deaths) = find(headers, "x-death")? else { return None };
    let AMQPValue::FieldTable(latest) = deaths.as_slice().first()? else { return None };
    Some(latest)
}

/// The routing key before the broker gave the message up; now it has the one of the dead letters.
pub(super) fn given_up_from(headers: &FieldTable) -> Option<String> {
    given_up_by_broker(headers)?;
    let AMQPValue::FieldArray(keys) = find(last_death(headers)?, "routing-keys")? else { return None };
    text(keys.as_slice().first()?)
}

/// Why the broker gave the message up, if it did. In a delay queue "expired" only means the end of the delay.
pub(super) fn given_up_by_broker(headers: &FieldTable) -> Option<String> {
    let death = last_death(headers)?;
    let reason = find(death, "reason").and_then(text)?;
    let queue = find(death, "queue").and_then(text).unwrap_or_default();
    match reason.as_str() {
        "expired" if queue.contains(DELAY) => None,
        "expired" => Some(format!(
            "given up by RabbitMQ: expired in {queue} (message-ttl of a policy, or the sender's expiration; \
             rabbitmqctl list_policies)"
        )),
        _ => Some(format!("given up by RabbitMQ: {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::message::Received;
    use super::*;

    fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (key, value) in entries {
            table.insert((*key).into(), value.clone());
        }
        table
    }

    fn send_on(properties: &BasicProperties, reason: Option<&str>) -> BasicProperties {
        let (encoded, first_seen) =
            (encoded(properties), DateTime::from_timestamp(1_000_000_000, 0).unwrap());
        Received::stored(&encoded, "course-publish", Vec::new(), first_seen).sent_on(3, reason).properties
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
        let total: usize =
            sent.headers().as_ref().unwrap().into_iter().map(|(name, value)| size(name, value)).sum();
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
