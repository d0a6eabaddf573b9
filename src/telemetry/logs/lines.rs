//! The two forms of a log line: one flat JSON object, as Splunk and its like read it, and one line for people.
//! tracing-subscriber's own JSON nests the fields and knows no trace id.

use std::collections::BTreeMap;
use std::fmt;

use chrono::SecondsFormat;
use serde::Serializer;
use serde_json::Value;
use tracing::{Event, Level, Subscriber};
use tracing_serde::fields::AsMap;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock;
use crate::model::text;
use crate::telemetry::traces;

/// Longer texts are cut: a line is one event, and collectors cut lines at 10,000 bytes or so.
const MAX_CHARS: usize = 2_000;

/// What an event says.
#[derive(Debug, Default)]
struct Fields {
    /// Its dotted name, if it has one.
    event: Option<String>,
    /// The sentence.
    message: String,
    /// The rest, by name.
    rest: BTreeMap<String, Value>,
}

impl Fields {
    /// All fields of `event`.
    fn of(event: &Event<'_>) -> Self {
        let mut fields = Self::default();
        let Ok(Value::Object(own)) = serde_json::to_value(event.field_map()) else { return fields };
        for (name, value) in own {
            match (name.as_str(), cut(value)) {
                ("message", Value::String(text)) => fields.message = text,
                ("event", Value::String(text)) => fields.event = Some(text),
                (name, value) => {
                    let name = name.strip_prefix("r#").unwrap_or(name);
                    fields.rest.insert(name.to_owned(), value);
                }
            }
        }
        fields
    }
}

fn cut(value: Value) -> Value {
    match value {
        Value::String(text) => text::cut(&text, MAX_CHARS).into(),
        other => other,
    }
}

pub(super) struct Json;

/// Names that are ours: a field of the same name must not stand in the line a second time.
const RESERVED: [&str; 7] = ["timestamp", "level", "event", "message", "target", "trace_id", "span_id"];

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Fields { event: name, message, rest } = Fields::of(event);
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
        if let Some(span) = traces::exported() {
            put("trace_id", span.trace_id().to_string().into());
            put("span_id", span.span_id().to_string().into());
        }
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

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

pub(super) struct Pretty;

impl<S, N> FormatEvent<S, N> for Pretty
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let fields = Fields::of(event);
        let level = event.metadata().level();
        let colours = writer.has_ansi_escapes();
        let paint = |style: &'static str| if colours { style } else { "" };
        let time = clock::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let (dim, bold, plain) = (paint(DIM), paint(BOLD), paint(PLAIN));
        write!(writer, "{dim}{time}{plain} {}{level:>5}{plain} ", paint(colour(level)))?;
        match &fields.event {
            Some(name) => write!(writer, "{bold}{}{plain}: ", text::escape(name))?,
            None => write!(writer, "{dim}{}{plain}: ", event.metadata().target())?,
        }
        write!(writer, "{}", text::escape(&fields.message))?;
        for (name, value) in &fields.rest {
            write!(writer, " {dim}{name}={plain}")?;
            match value {
                Value::String(text) if is_one_word(text) => write!(writer, "{}", text::escape(text))?,
                other => write!(writer, "{}", text::escape(&other.to_string()))?,
            }
        }
        writeln!(writer)
    }
}

fn colour(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

fn is_one_word(text: &str) -> bool {
    !text.is_empty() && !text.contains([' ', '"', '='])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        assert_eq!(cut("é".repeat(2_000).into()), Value::from("é".repeat(2_000)));
        assert_eq!(cut("é".repeat(2_001).into()), Value::from(format!("{}…", "é".repeat(2_000))));
    }
}
