//! The same metrics as OpenMetrics text, with the trace of the last measurement of each bucket. OpenTelemetry's SDK for
//! Rust keeps no exemplars, and the library that writes Prometheus text knows only that form.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::empty::Known;
use crate::clock;
use crate::telemetry::traces;

/// The last measurement of each bucket that was made in a trace, as OpenMetrics writes it, by the bucket as Prometheus
/// text names it.
#[derive(Debug, Default)]
pub(super) struct Exemplars(Mutex<HashMap<String, String>>);

impl Exemplars {
    /// Keeps a measurement, if it is made in a trace that is exported. `word` is the value of the one label, if there is one.
    pub(super) fn note(&self, known: &Known, word: &'static str, value: f64) {
        let Some(trace_id) = traces::trace_id() else { return };
        let label = known.label.map_or(String::new(), |(label, _)| format!("{label}=\"{word}\","));
        let bound = known.bounds.iter().find(|bound| value <= **bound);
        let bound = bound.map_or("+Inf".to_owned(), f64::to_string);
        let bucket = format!("{}_bucket{{{label}le=\"{bound}\"}}", known.name);
        let at = clock::timestamp(clock::now());
        self.0.lock().insert(bucket, format!(" # {{trace_id=\"{trace_id}\"}} {value} {at}"));
    }
}

/// Prometheus text as OpenMetrics text, in which a counter is described without `_total`, and bounds are floats.
pub(super) fn text(prometheus: &str, exemplars: &Exemplars) -> String {
    let exemplars = exemplars.0.lock();
    let mut text = String::new();
    for line in prometheus.lines() {
        match whole_bound(line) {
            _ if line.starts_with('#') => text.push_str(&line.replacen("_total ", " ", 1)),
            Some((bound, count)) => text.push_str(&format!("{bound}.0{count}")),
            None => text.push_str(line),
        }
        let bucket = line.rsplit_once(' ').map(|(series, _)| series);
        text.extend(bucket.and_then(|bucket| exemplars.get(bucket)).map(String::as_str));
        text.push('\n');
    }
    text + "# EOF\n"
}

/// The line of a bucket whose bound is a whole number, up to the end of that bound, and the rest of it.
fn whole_bound(line: &str) -> Option<(&str, &str)> {
    let end = line.rfind("\"} ")?;
    let (bucket, count) = line.split_at(end);
    let (_, bound) = bucket.rsplit_once("le=\"")?;
    bound.bytes().all(|digit| digit.is_ascii_digit()).then_some((bucket, count))
}
