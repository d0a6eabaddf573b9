//! One flat JSON object a line, as Splunk and its like read it.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::registry::LookupSpan;

use super::fields::{Fields, sampled_span};

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
        let metadata = event.metadata();
        let fields = Fields::of(context, event);
        writeln!(writer, "{}", line(Utc::now(), metadata.level(), metadata.target(), fields))
    }
}

fn line(now: DateTime<Utc>, level: &Level, target: &str, fields: Fields) -> String {
    let mut members: Vec<(String, Value)> = vec![
        ("timestamp".to_owned(), now.to_rfc3339_opts(SecondsFormat::Millis, true).into()),
        ("level".to_owned(), level.as_str().into()),
    ];
    members.extend(fields.event.map(|event| ("event".to_owned(), event.into())));
    members.push(("message".to_owned(), fields.message.into()));
    members.push(("target".to_owned(), target.into()));
    if let Some(span) = sampled_span() {
        members.push(("trace_id".to_owned(), span.trace_id().to_string().into()));
        members.push(("span_id".to_owned(), span.span_id().to_string().into()));
    }
    members.extend(fields.rest.into_iter().map(|(name, value)| {
        if RESERVED.contains(&name.as_str()) { (format!("field.{name}"), value) } else { (name, value) }
    }));
    // By hand, for the order: a map of serde_json's sorts by name, and people read these lines too.
    let members: Vec<String> =
        members.into_iter().map(|(name, value)| format!("{}:{value}", Value::from(name))).collect();
    format!("{{{}}}", members.join(","))
}
