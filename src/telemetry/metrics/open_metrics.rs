//! The same metrics as OpenMetrics text, with the trace of the last measurement of each bucket. OpenTelemetry's SDK for Rust
//! keeps no exemplars, and the library that writes Prometheus text knows only that form.

use std::collections::HashMap;
use std::fmt::{self, Write};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use super::empty::Known;
use crate::clock;
use crate::telemetry::traces;

/// One measurement, and the trace in which it was made.
#[derive(Debug, Clone)]
struct Exemplar {
    trace_id: String,
    value: f64,
    at: DateTime<Utc>,
}

/// The last exemplar of each bucket, by the name of the histogram and the value of its one label.
#[derive(Debug, Default)]
pub(super) struct Exemplars(Mutex<HashMap<Series, Vec<Option<Exemplar>>>>);

type Series = (&'static str, &'static str);

impl Exemplars {
    /// Keeps a measurement, if it is made in a trace that is exported.
    pub(super) fn note(&self, known: &Known, label: &'static str, value: f64) {
        let Some(trace_id) = traces::trace_id() else { return };
        let bucket = known.bounds.iter().position(|bound| value <= *bound).unwrap_or(known.bounds.len());
        let mut all = self.0.lock();
        let buckets = all.entry((known.name, label)).or_insert_with(|| vec![None; known.bounds.len() + 1]);
        if let Some(kept) = buckets.get_mut(bucket) {
            *kept = Some(Exemplar { trace_id, value, at: clock::now() });
        }
    }

    fn of(&self, family: &str, metric: &Metric) -> Vec<Option<Exemplar>> {
        let label = metric.get_label().first().map_or("", LabelPair::value);
        let found = self
            .0
            .lock()
            .iter()
            .find(|((name, of), _)| *name == family && *of == label)
            .map(|(_, kept)| kept.clone());
        found.unwrap_or_default()
    }
}

/// All families as text.
pub(super) fn text(families: &[MetricFamily], exemplars: &Exemplars) -> String {
    let mut text = String::new();
    for family in families {
        // Writing to a string does not fail.
        let _ = write_family(&mut text, family, exemplars);
    }
    text + "# EOF\n"
}

fn write_family(text: &mut String, family: &MetricFamily, exemplars: &Exemplars) -> fmt::Result {
    let name = family.name();
    let kind = family.get_field_type();
    // A counter's family is called as its sample is, less the suffix.
    let (described, word) = match kind {
        MetricType::COUNTER => (name.strip_suffix("_total").unwrap_or(name), "counter"),
        MetricType::HISTOGRAM => (name, "histogram"),
        MetricType::GAUGE => (name, "gauge"),
        _ => return Ok(()),
    };
    writeln!(text, "# HELP {described} {}", escape(family.help()))?;
    writeln!(text, "# TYPE {described} {word}")?;
    for metric in family.get_metric() {
        let labels = labels(metric);
        match kind {
            MetricType::COUNTER => {
                writeln!(
                    text,
                    "{described}_total{} {}",
                    braces(&labels),
                    number(metric.get_counter().get_value())
                )?;
            }
            MetricType::GAUGE => {
                writeln!(text, "{name}{} {}", braces(&labels), number(metric.get_gauge().get_value()))?;
            }
            _ => write_histogram(text, name, &labels, metric, &exemplars.of(name, metric))?,
        }
    }
    Ok(())
}

fn write_histogram(
    text: &mut String,
    name: &str,
    labels: &[String],
    metric: &Metric,
    exemplars: &[Option<Exemplar>],
) -> fmt::Result {
    let histogram = metric.get_histogram();
    let counts =
        histogram.get_bucket().iter().map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    let last = (f64::INFINITY, histogram.get_sample_count());
    for (place, (bound, count)) in counts.chain([last]).enumerate() {
        let le = [labels, &[format!("le=\"{}\"", number(bound))]].concat();
        write!(text, "{name}_bucket{} {count}", braces(&le))?;
        if let Some(Exemplar { trace_id, value, at }) = exemplars.get(place).and_then(Option::as_ref) {
            let (value, at) = (number(*value), number(clock::timestamp(*at)));
            write!(text, " # {{trace_id=\"{trace_id}\"}} {value} {at}")?;
        }
        text.push('\n');
    }
    let labels = braces(labels);
    writeln!(text, "{name}_sum{labels} {}", number(histogram.get_sample_sum()))?;
    writeln!(text, "{name}_count{labels} {}", histogram.get_sample_count())
}

fn labels(metric: &Metric) -> Vec<String> {
    let label = |pair: &LabelPair| format!("{}=\"{}\"", pair.name(), escape(pair.value()));
    metric.get_label().iter().map(label).collect()
}

fn braces(labels: &[String]) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}

fn escape(text: &str) -> String {
    text.replace('\\', r"\\").replace('\n', r"\n").replace('"', r#"\""#)
}

/// As OpenMetrics writes floats: `1.0`, and `+Inf`.
fn number(value: f64) -> String {
    if value == f64::INFINITY { "+Inf".to_owned() } else { format!("{value:?}") }
}
