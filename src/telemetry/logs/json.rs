//! One flat JSON object a line, as Splunk and its like read it. tracing-subscriber's own JSON nests the fields of spans
//! and knows no trace id.

use std::fmt;

use chrono::SecondsFormat;
use opentelemetry::trace::TraceContextExt;
use serde::Serializer;
use serde_json::Value;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::registry::LookupSpan;

use super::fields::Fields;

use crate::clock;

pub(super) struct Json;

/// Names that are ours: a field of the same name must not stand in the line a second time.
const RESERVED: [&str; 7] = ["timestamp", "level", "event", "message", "target", "trace_id", "span_id"];

impl<S> FormatEvent<S, JsonFields> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Fields { event: name, message, rest } = Fields::of(context, event);
        let metadata = event.metadata();
        let mut members: Vec<(String, Value)> = Vec::with_capacity(RESERVED.len() + rest.len());
        let mut put = |name: &str, value: Value| members.push((name.to_owned(), value));
        put("timestamp", clock::now().to_rfc3339_opts(SecondsFormat::Millis, true).into());
        put("level", metadata.level().as_str().into());
        if let Some(name) = name {
            put("event", name.into());
        }
        put("message", message.into());
        put("target", metadata.target().into());
        opentelemetry::Context::map_current(|context| {
            let span = context.span();
            // A span that is not exported leads nowhere.
            if let Some(span) = Some(span.span_context()).filter(|span| span.is_valid() && span.is_sampled())
            {
                put("trace_id", span.trace_id().to_string().into());
                put("span_id", span.span_id().to_string().into());
            }
        });
        for (name, value) in rest {
            let name = if RESERVED.contains(&name.as_str()) { format!("field.{name}") } else { name };
            put(&name, value);
        }
        // In this order, as people read these lines too.
        let mut line = Vec::new();
        serde_json::Serializer::new(&mut line).collect_map(members).map_err(|_| fmt::Error)?;
        writeln!(writer, "{}", String::from_utf8_lossy(&line))
    }
}
