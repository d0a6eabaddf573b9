//! The fields of one event, and of the spans it happened in, as one flat map.

use std::collections::BTreeMap;
use std::fmt;

use opentelemetry::trace::{SpanContext, TraceContextExt};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// A line is one event: what is longer than this is cut, as collectors cut lines at 10,000 bytes or so.
const MAX_CHARS: usize = 2_000;

/// What an event says.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// Its dotted name, if it has one.
    pub(super) event: Option<String>,
    /// The sentence.
    pub(super) message: String,
    /// The rest, by name. The event's own win over those of its spans, and an inner span's over an outer's.
    pub(super) rest: BTreeMap<String, Value>,
}

impl Fields {
    /// All fields of `event`, and of the spans around it.
    pub(super) fn of<S>(context: &FmtContext<'_, S, JsonFields>, event: &Event<'_>) -> Self
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let mut fields = Self::default();
        for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            let extensions = span.extensions();
            let Some(recorded) = extensions.get::<FormattedFields<JsonFields>>() else { continue };
            if let Ok(recorded) = serde_json::from_str::<BTreeMap<String, Value>>(recorded) {
                // `otel.…` fields speak to the tracing layer alone.
                fields.rest.extend(recorded.into_iter().filter(|(name, _)| !name.starts_with("otel.")));
            }
        }
        event.record(&mut fields);
        fields
    }

    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        match (name.strip_prefix("r#").unwrap_or(name), value) {
            ("message", Value::String(text)) => self.message = text,
            ("event", Value::String(text)) => self.event = Some(text),
            (name, value) => {
                self.rest.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, cut(value).into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, cut(&format!("{value:?}")).into());
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The span that the tracing layer is in, if it is exported.
pub(super) fn sampled_span() -> Option<SpanContext> {
    opentelemetry::Context::map_current(|context| {
        let span = context.span().span_context().clone();
        (span.is_valid() && span.is_sampled()).then_some(span)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        assert_eq!(cut(&"é".repeat(2_000)).chars().count(), 2_000);
        let long = cut(&"é".repeat(2_001));
        assert!(long.ends_with("é…") && long.chars().count() == 2_001);
    }
}
