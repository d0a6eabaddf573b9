//! Spans, from `tracing` to OTLP, and trace context as text (W3C `traceparent` and `tracestate`), the form in which it
//! crosses queues.
//!
//! Only our own spans are exported, whatever `log.level` says: so neither the exporter's HTTP nor the internals of a
//! library are in a trace, and quiet logs do not mean no traces. Across a queue a span is *linked* to, not continued: one
//! look-up may answer many messages.
//!
//! A span ends when it was last exited, and not when its last child ended: so a parent is exited after its children.

use std::collections::HashMap;
use std::fmt::Display;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, Status, TraceContextExt, TracerProvider};
use opentelemetry::{InstrumentationScope, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::{Filtered, Targets};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::failures::TelemetryError;
use super::otlp;
use crate::model::course_key::CourseKey;

/// The courses that the span of a batch names.
const MAX_COURSES: usize = 20;
/// What our spans' targets begin with.
const OURS: &str = env!("CARGO_CRATE_NAME");

/// Sends spans to `endpoint`, in batches, from a thread of its own. `OTEL_TRACES_SAMPLER` and `OTEL_BSP_*` hold.
/// What does not fit the queue of 2,048 spans is dropped: a collector that is gone costs no memory.
pub fn provider(endpoint: &str, resource: Resource) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = otlp::span_exporter(endpoint)?;
    Ok(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
}

/// A layer of `tracing-opentelemetry`, for our own spans.
pub type TraceLayer<S> = Filtered<tracing_opentelemetry::OpenTelemetryLayer<S, SdkTracer>, Targets, S>;

/// Makes spans of `provider` out of `tracing`'s.
pub fn layer<S>(provider: &SdkTracerProvider) -> TraceLayer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer_with_scope(scope()))
        // Source lines, threads and busy times are for profilers; they would make up most of a span's bytes.
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target(OURS, LevelFilter::INFO))
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(otlp::CONVENTIONS)
        .build()
}

/// The header's name, in messages and in HTTP requests.
pub const TRACEPARENT: &str = "traceparent";
pub(crate) const TRACESTATE: &str = "tracestate";
/// `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`.
const TRACEPARENT_BYTES: usize = 55;
/// What W3C asks everybody to carry; longer ones are dropped, as the trace is whole without them.
const TRACESTATE_MAX_BYTES: usize = 512;

/// What a message's `traceparent` and `tracestate` headers say; none if there is no valid `traceparent`. A wrong
/// `tracestate` costs only itself. Never fails: a message with a wrong header is not lost for it.
pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<SpanContext> {
    if !is_well_formed(traceparent) {
        return None;
    }
    let mut carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    if let Some(state) = tracestate.filter(|state| state.len() <= TRACESTATE_MAX_BYTES) {
        carrier.insert(TRACESTATE.to_owned(), state.to_owned());
    }
    // From an empty context and not from the current one, which would shine through where the text is wrong.
    let context =
        TraceContextPropagator::new().extract_with_context(&opentelemetry::Context::new(), &carrier);
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

/// The id of the current trace, 32 hex digits. None outside a trace, and in one that is not exported: it leads nowhere.
pub fn trace_id() -> Option<String> {
    exported().map(|span| span.trace_id().to_string())
}

/// The current span, if it is exported.
pub(super) fn exported() -> Option<SpanContext> {
    opentelemetry::Context::map_current(|context| {
        let span = context.span();
        Some(span.span_context()).filter(|span| span.is_valid() && span.is_sampled()).cloned()
    })
}

/// `traceparent` for what the current span sends; none outside a span, or where nothing is traced.
pub fn traceparent() -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// Links a span to the one that sent a message.
pub fn link(span: &Span, sender: SpanContext) {
    span.add_link(sender);
}

/// Whether a trace runs. What is part of many things, such as a statement, has a span only then, and never one of its own.
pub(crate) fn is_running() -> bool {
    !Span::current().is_disabled()
}

/// Marks a span as failed. `kind` is one of few words.
pub(crate) fn fail(span: &Span, kind: &str, why: &dyn Display) {
    if !span.is_disabled() {
        span.set_attribute("error.type", kind.to_owned());
        span.set_status(Status::error(why.to_string()));
    }
}

/// Says which courses a span is about: the first of them.
pub(crate) fn about<'a>(span: &Span, courses: impl Iterator<Item = &'a CourseKey>) {
    if span.is_disabled() {
        return;
    }
    let courses: Vec<StringValue> =
        courses.take(MAX_COURSES).map(|course| course.as_str().to_owned().into()).collect();
    span.set_attribute("course_sharing.course_ids", Value::Array(courses.into()));
}

/// A count as an attribute: other numbers than `i64` are exported as text.
pub(crate) fn count(n: impl TryInto<i64>) -> i64 {
    n.try_into().unwrap_or(i64::MAX)
}

/// The propagator takes short ids too; W3C does not. Versions above 00 may have more behind the flags.
fn is_well_formed(text: &str) -> bool {
    let Some(head) = text.as_bytes().get(..TRACEPARENT_BYTES) else { return false };
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let in_place = head.iter().enumerate().all(|(at, byte)| match at {
        2 | 35 | 52 => *byte == b'-',
        _ => is_hex(byte),
    });
    let tail = &text.as_bytes()[TRACEPARENT_BYTES..];
    let tail_fits = tail.is_empty() || (!text.starts_with("00") && tail[0] == b'-');
    in_place && tail_fits && text.len() <= TRACESTATE_MAX_BYTES && text.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_context_is_read() {
        let span = parse(GOOD, Some("vendor=x")).unwrap();
        assert_eq!(span.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span.span_id().to_string(), "00f067aa0ba902b7");
        assert!(span.is_sampled() && span.is_remote());
        assert_eq!(span.trace_state().get("vendor"), Some("x"));
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = format!("01{}-more", &GOOD[2..]);
        assert!(parse(&later, None).is_some());
        assert!(parse(&format!("{GOOD}-more"), None).is_none());
    }

    #[test]
    fn a_wrong_one_is_ignored() {
        for wrong in [
            "",
            "x",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f35-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b-01",
        ] {
            assert!(parse(wrong, None).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_state_costs_only_itself() {
        for state in ["no pair", &format!("a={}", "x".repeat(600))] {
            assert_eq!(parse(GOOD, Some(state)).unwrap().trace_state().header(), "");
        }
    }

    #[test]
    fn nothing_is_traced_outside_a_span() {
        assert_eq!((traceparent(), trace_id()), (None, None));
    }

    proptest! {
        #[test]
        fn parsing_is_total(text in "\\PC{0,70}|0[01]-[0-9a-f]{31,33}-[0-9a-f]{15,17}-[0-9a-f]{1,3}(-\\PC{0,9})?",
                            state in proptest::option::of("\\PC{0,40}")) {
            if let Some(span) = parse(&text, state.as_deref()) {
                prop_assert!(span.is_valid());
            }
        }
    }
}
