//! The span of each event, by OpenTelemetry's conventions for messaging, and those of the steps that it takes.
//!
//! An event's span is the root of its trace, from its arrival to its settlement. It is linked to its sender and, after a
//! delay, to its last trace; neither is its parent, as an event may wait in a delay queue for hours.
//!
//! A step for several events is part of the trace of the first of them, and linked to the others.

use std::ops::Deref;
use std::time::Duration;

use chrono::{DateTime, Utc};
use opentelemetry::trace::SpanContext;
use tracing::Span;
use tracing::field::Empty;

use super::decode;
use super::settlement::Settlement;
use crate::broker::{Delivery, TRACE, Topology};
use crate::clock;
use crate::event::Event;
use crate::model::course_key::CourseKey;
use crate::telemetry::traces::{self, count};

/// The number of links that an exporter keeps.
const MAX_LINKS: usize = 128;

/// The span of one event; it ends when this is dropped.
pub(super) struct EventSpan(Span);

impl EventSpan {
    /// The span of a message; `event` is what it says, if it is an event.
    pub(super) fn new(topology: &Topology, delivery: &Delivery, event: Option<&Event>) -> Self {
        let Topology { exchange, events: queue, .. } = topology;
        // Of a message that is no event the key may be any text, which is no part of a name.
        let key = event.map_or("", |event| event.kind.as_str());
        let destination = || match key {
            "" => format!("{exchange}:{queue}"),
            key => format!("{exchange}:{key}:{queue}"),
        };
        let id = delivery.message_id().or_else(|| event?.id.as_deref());
        let span = tracing::info_span!(
            parent: None,
            "process",
            otel.name = format!("process {}", destination()),
            otel.kind = "consumer",
            messaging.system = "rabbitmq",
            messaging.operation.name = "process",
            messaging.operation.r#type = "process",
            messaging.destination.name = destination(),
            messaging.rabbitmq.destination.routing_key = delivery.routing_key.as_str(),
            messaging.rabbitmq.message.delivery_tag = count(delivery.tag()),
            messaging.message.id = id,
            course_sharing.course_id = event.map(|event| event.course.as_str()),
            course_sharing.attempt = i64::from(delivery.attempt),
            course_sharing.queue_waited = age(delivery, event).as_secs_f64(),
            course_sharing.outcome = Empty,
            course_sharing.reason = Empty,
        );
        if !span.is_disabled() {
            senders(delivery).for_each(|sender| traces::link(&span, sender));
        }
        Self(span)
    }

    /// What became of the event.
    pub(super) fn settled(&self, settlement: &Settlement) {
        if self.is_disabled() {
            return;
        }
        self.record("course_sharing.outcome", <&str>::from(settlement.outcome()));
        let (reason, is_failure) = match settlement {
            Settlement::Ack(_) => return,
            // What is tried again by a schedule is not there yet, which is no failure.
            Settlement::Delay { counts, reason, .. } => (reason, !counts),
            Settlement::Dead(reason) => (reason, true),
        };
        self.record("course_sharing.reason", reason.as_str());
        if is_failure {
            traces::fail(self, settlement.outcome().into(), reason);
        }
    }
}

impl Deref for EventSpan {
    type Target = Span;
    fn deref(&self) -> &Span {
        &self.0
    }
}

impl Drop for EventSpan {
    /// A span ends when it was last exited.
    fn drop(&mut self) {
        self.0.in_scope(|| {});
    }
}

/// An event's span, and the course that it is about.
pub(super) type Traced<'a> = (&'a EventSpan, &'a CourseKey);

/// The span of a step for these events: `child` makes it in the trace of the first.
pub(super) fn step<'a>(
    mut events: impl Iterator<Item = Traced<'a>> + Clone,
    child: impl FnOnce(&Span) -> Span,
) -> Span {
    let all = events.clone();
    let Some((first, _)) = events.next() else { return Span::none() };
    let span = child(first);
    if !span.is_disabled() {
        traces::about(&span, all.map(|(_, course)| course));
        for (other, _) in events.take(MAX_LINKS) {
            span.follows_from(&other.0);
        }
    }
    span
}

/// The span of acknowledging so many messages, the event of this span the first.
pub(super) fn ack(topology: &Topology, event: &Span, messages: usize) -> Span {
    let destination = || format!("{}:{}", topology.exchange, topology.events);
    tracing::info_span!(
        parent: event,
        "ack",
        otel.name = format!("ack {}", destination()),
        otel.kind = "client",
        messaging.system = "rabbitmq",
        messaging.operation.name = "ack",
        messaging.operation.r#type = "settle",
        messaging.destination.name = destination(),
        messaging.batch.message_count = count(messages),
    )
}

/// Links these events to a step, but for the first, in whose trace it is.
pub(super) fn link_back<'a>(events: impl Iterator<Item = Traced<'a>>, step: &Span) {
    if !step.is_disabled() {
        for (event, _) in events.skip(1) {
            event.follows_from(step);
        }
    }
}

/// The span of taking over these dead letters from `queue`; linked to the events that they were.
pub(super) fn taken_over(queue: &str, letters: &[Delivery]) -> Span {
    let span = tracing::info_span!(
        parent: None,
        "process",
        otel.name = format!("process {queue}"),
        otel.kind = "consumer",
        messaging.system = "rabbitmq",
        messaging.operation.name = "process",
        messaging.operation.r#type = "process",
        messaging.destination.name = queue,
        messaging.batch.message_count = count(letters.len()),
    );
    if !span.is_disabled() {
        letters.iter().flat_map(senders).for_each(|sender| traces::link(&span, sender));
        let courses: Vec<CourseKey> = letters.iter().filter_map(|letter| decode::named(letter)).collect();
        traces::about(&span, courses.iter());
    }
    span
}

/// Since when an event waits to be settled: since it was sent, or has come back from a delay queue.
pub(super) fn waiting_since(delivery: &Delivery, event: &Event) -> DateTime<Utc> {
    let said = event.time.or(delivery.published).filter(|_| !delivery.sent_on_before);
    said.unwrap_or_else(clock::now)
}

/// The time since an event was sent, or since it first arrived here if its sender does not say.
pub(super) fn age(delivery: &Delivery, event: Option<&Event>) -> Duration {
    let said = event.and_then(|event| event.time).or(delivery.published);
    (clock::now() - said.unwrap_or(delivery.first_seen)).to_std().unwrap_or_default()
}

/// The sender of a message, and the last trace of it here.
fn senders(delivery: &Delivery) -> impl Iterator<Item = SpanContext> {
    let sender = delivery.header(traces::TRACEPARENT).and_then(|parent| {
        let state = delivery.header(traces::TRACESTATE);
        traces::parse(&parent, state.as_deref())
    });
    let last = delivery.header(TRACE).and_then(|parent| traces::parse(&parent, None));
    sender.into_iter().chain(last)
}
