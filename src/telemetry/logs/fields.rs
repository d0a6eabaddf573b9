//! The fields of one event, and of the spans around it, as one flat map.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_serde::fields::AsMap;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

use crate::model::text;

/// Longer texts are cut: a line is one event, and collectors cut lines at 10,000 bytes or so.
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
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            let extensions = span.extensions();
            let recorded = extensions.get::<FormattedFields<JsonFields>>();
            let recorded = recorded.and_then(|fields| serde_json::from_str::<Map<_, _>>(fields).ok());
            // `otel.…` fields speak to the tracing layer alone.
            let shown = recorded.into_iter().flatten().filter(|(name, _)| !name.starts_with("otel."));
            fields.rest.extend(shown.map(|(name, value)| (name, cut(value))));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        assert_eq!(cut("é".repeat(2_000).into()), Value::from("é".repeat(2_000)));
        assert_eq!(cut("é".repeat(2_001).into()), Value::from(format!("{}…", "é".repeat(2_000))));
    }
}
