//! Log lines, on stderr: JSON for machines, or a line for people.
//!
//! Every line of ours has a stable dotted name, given as `event = "reconcile.started"`, a message that reads alone,
//! and fields. Spans are for traces alone: without a collector nothing listens to them, and none is made.

mod lines;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Filter, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::config::LogFormat;
use crate::telemetry::failures::TelemetryError;

/// Libraries whose `info` helps only their authors. A prefix: `hyper` is `hyper_util` too.
const NOISY: [&str; 6] = ["hyper", "sqlx", "sea_orm", "reqwest", "rustls", "opentelemetry"];

/// Reports as an error what it also returns as one, such as a queue that was only asked for; we log where we handle.
const ECHO: &str = "lapin=off";

/// What `level` lets through: a level (`info`), `target=level`, or several with commas between. The noisy libraries
/// are at `warn`, and lapin is silent, unless `level` names them.
pub fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    let wrong = |why: String| TelemetryError::Level { level: level.to_owned(), why };
    let directives: Vec<&str> = level.split(',').map(str::trim).filter(|d| !d.is_empty()).collect();
    if directives.is_empty() {
        return Err(wrong("expected a level like info, or target=level".to_owned()));
    }
    let general = directives.iter().rev().find_map(|d| d.parse::<LevelFilter>().ok());
    for directive in &directives {
        // The language takes any word for a target, so `inof` would silence everything without a word.
        let is_plain_word = directive.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if is_plain_word && directive.parse::<LevelFilter>().is_err() {
            return Err(wrong(format!(
                "{directive:?} is no level; expected off, error, warn, info, debug or trace, or target=level"
            )));
        }
    }
    // Later ones win, so what the operator says comes last. Where `level` is quieter, it holds for them as well.
    let noisy = general.filter(|general| *general > LevelFilter::WARN).map(|_| NOISY).into_iter().flatten();
    let quiet: Vec<String> = noisy.map(|target| format!("{target}=warn")).collect();
    let all: Vec<&str> = quiet.iter().map(String::as_str).chain([ECHO]).chain(directives).collect();
    EnvFilter::builder().with_regex(false).parse(all.join(",")).map_err(|error| wrong(error.to_string()))
}

/// Writes what `filter` lets through to `writer`, one line an event. `colours` counts for the pretty form only. `Auto`
/// is JSON here.
pub fn layer<S, W>(
    format: LogFormat,
    filter: impl Filter<S> + Send + Sync + 'static,
    colours: bool,
    writer: W,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let no_spans = filter_fn(|metadata| metadata.is_event()).with_max_level_hint(LevelFilter::TRACE);
    let filter = filter.and(no_spans);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(colours && format == LogFormat::Pretty)
        .with_writer(writer);
    match format {
        LogFormat::Json | LogFormat::Auto => lines.event_format(lines::Json).with_filter(filter).boxed(),
        LogFormat::Pretty => lines.event_format(lines::Pretty).with_filter(filter).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quiet_unless_named() {
        let text = filter("info").unwrap().to_string();
        assert!(text.contains("sqlx=warn") && text.contains("lapin=off") && text.contains("info"), "{text}");
        let text = filter("debug,lapin=trace").unwrap().to_string();
        assert!(text.contains("lapin=trace") && !text.contains("lapin=off"), "{text}");
        let text = filter("error").unwrap().to_string();
        assert!(!text.contains("warn"), "{text}");
    }

    #[test]
    fn the_language_is_that_of_rust_log() {
        for good in
            ["info", "INFO", "off", "warn,course_sharing=debug", "course_sharing::sync=trace", " info , "]
        {
            assert!(filter(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_wrong_level_is_named() {
        for (wrong, part) in
            [("", "level"), ("inof", "inof"), ("info,loud", "loud"), ("a=b=c", "a=b=c"), ("x=loud", "x=loud")]
        {
            let error = filter(wrong).unwrap_err().to_string();
            assert!(error.contains("log.level") && error.contains(part), "{wrong}: {error}");
        }
    }
}
