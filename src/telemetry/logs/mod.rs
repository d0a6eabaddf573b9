//! Log lines, on stderr: JSON for machines, or a line for people.
//!
//! Every line of ours has a stable dotted name, given as `event = "reconcile.started"`, a message that reads alone,
//! and fields.

mod fields;
mod json;
mod level;
mod pretty;

pub use self::level::filter;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::config::LogFormat;

/// Writes what `filter` lets through to `writer`, one line an event. `colours` counts for the pretty form only.
pub fn layer<S, W>(
    format: LogFormat,
    filter: EnvFilter,
    colours: bool,
    writer: W,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // Spans' fields are kept as JSON in both forms, so that both can show them the same way.
    let lines = tracing_subscriber::fmt::layer()
        .fmt_fields(JsonFields::new())
        .with_ansi(colours && format == LogFormat::Pretty)
        .with_writer(writer);
    match format {
        LogFormat::Json => lines.event_format(json::Json).with_filter(filter).boxed(),
        LogFormat::Pretty => lines.event_format(pretty::Pretty).with_filter(filter).boxed(),
    }
}
