//! What can be counted.
//!
//! Each instrument is declared once, with the words that its label is known to take. Their series are there from the
//! start, at 0, so that a rate over the first event is not lost and an alert can name a series that nothing has touched
//! yet. The names are OpenTelemetry's; the Prometheus exporter makes `course_sharing_…` of them, with `_seconds` for the
//! unit `s` and `_total` for counters. A unit in braces is a remark and adds nothing.
//!
//! Where an OTLP endpoint is set, the same instruments are sent there too. Without any set-up, as in a unit test,
//! everything is counted locally.

mod empty;
mod open_metrics;

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use entity::blank::Reason;
use entity::pass::{PassKind, Verdict};
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, MeterProvider};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::metrics::{MeterProviderBuilder, SdkMeterProvider};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};
use strum::{IntoStaticStr, VariantArray};

use self::empty::Known;
use self::open_metrics::Exemplars;

/// From a restore in milliseconds to what only the nightly pass sees, a day later.
const EVENT_BOUNDS: [f64; 19] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0,
    14_400.0, 86_400.0,
];
/// From a cached page, 15 ms, to the longest time limit that is of use.
const REQUEST_BOUNDS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0];
/// `source` of `course_sharing_event_to_write_seconds`: by what a change got into its row.
const SOURCES: [&str; 5] = ["event", "hint", "light", "full", "heal"];

/// The two histograms, as they are shown before anything was measured.
const HISTOGRAMS: [Known; 2] = [TO_WRITE, REQUEST];
const TO_WRITE: Known = Known {
    name: "course_sharing_event_to_write_seconds",
    help: EVENT_TO_WRITE,
    bounds: &EVENT_BOUNDS,
    label: Some(("source", &SOURCES)),
};
const REQUEST: Known = Known {
    name: "course_sharing_catalog_request_seconds",
    help: CATALOG_REQUEST,
    bounds: &REQUEST_BOUNDS,
    label: None,
};
const EVENT_TO_WRITE: &str =
    "From a change to the commit of its row, by what brought it; of passes and heal at most";
const CATALOG_REQUEST: &str = "One request to the Catalog, from connecting to the last byte";

/// `type` of `course_sharing_events_total`.
const EVENT_TYPES: [&str; 4] = ["course-publish", "overview-recreated", "hint", "unknown"];

/// `outcome` of `course_sharing_events_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum EventOutcome {
    /// A link was written.
    Applied,
    /// The link was right.
    Unchanged,
    /// It shared the look-up of another event.
    Coalesced,
    /// The Catalog lists the run without a page.
    NoPage,
    /// The Catalog lists a URL that must not be shared.
    Refused,
    /// The Catalog does not list the run.
    NotListed,
    /// The LMS has no overview of the course.
    NoOverview,
    /// The ledger has an answer to a later question.
    Superseded,
    /// A hint after which an answer has brought another URL.
    ChangedSince,
    /// It is not about a course run.
    Ignored,
    /// It was put into a delay queue.
    Parked,
    /// It became a dead letter.
    DeadLettered,
    /// A dead letter was dropped, as its course was found right.
    Dropped,
    /// A dead letter was discarded, as it was old.
    Expired,
}

/// `outcome` of `course_sharing_catalog_requests_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum RequestOutcome {
    /// A usable answer.
    Ok,
    /// A status of 400 to 499, or a redirect.
    ClientError,
    /// A status of 500 or more.
    ServerError,
    /// Not sent: the circuit is open, or the Catalog throttles.
    Shut,
    /// A 429.
    Throttled,
    /// No complete answer in time.
    Timeout,
    /// A 401 or 403, or no token.
    Unauthorized,
    /// No connection.
    Unreachable,
    /// An answer that is no list.
    Unreadable,
}

/// A counter with a series for each word of its label, or with one series.
pub struct Count {
    counter: Counter<u64>,
    label: &'static str,
}

/// A value with a series for each word of its label, or with one series.
pub struct Value<T> {
    gauge: Gauge<T>,
    label: &'static str,
    words: Vec<&'static str>,
}

impl Count {
    fn new(counter: Counter<u64>, (label, words): (&'static str, Vec<&'static str>)) -> Self {
        let count = Self { counter, label };
        words.iter().for_each(|word| count.add_of(word, 0));
        if words.is_empty() {
            count.add(0);
        }
        count
    }

    /// Adds to the one series.
    pub fn add(&self, n: u64) {
        self.counter.add(n, &[]);
    }

    /// Adds to the series of this word.
    pub fn add_of(&self, word: &'static str, n: u64) {
        self.counter.add(n, &[KeyValue::new(self.label, word)]);
    }
}

impl<T: Default> Value<T> {
    fn new(gauge: Gauge<T>, (label, words): (&'static str, Vec<&'static str>)) -> Self {
        let value = Self { gauge, label, words };
        value.words.iter().for_each(|word| value.set_of(word, T::default()));
        if value.words.is_empty() {
            value.set(T::default());
        }
        value
    }

    /// Sets the one series.
    pub fn set(&self, value: T) {
        self.gauge.record(value, &[]);
    }

    /// Sets the series of this word.
    pub fn set_of(&self, word: &'static str, value: T) {
        self.gauge.record(value, &[KeyValue::new(self.label, word)]);
    }
}

impl Value<u64> {
    /// Sets the series of this word to 1 and the others to 0.
    pub fn choose(&self, chosen: &str) {
        self.words.iter().for_each(|word| self.set_of(word, (*word == chosen).into()));
    }
}

/// The instruments of this process. What they count stands in their descriptions.
pub struct Instruments {
    registry: Registry,
    provider: SdkMeterProvider,
    events: Counter<u64>,
    event_to_write: Histogram<f64>,
    catalog_request: Histogram<f64>,
    exemplars: Exemplars,
    blank: Value<u64>,
    blank_age: Value<f64>,
    pub catalog_requests: Count,
    pub healed: Count,
    pub ledger_refused: Count,
    pub pruned: Count,
    pub overviews: Value<u64>,
    pub blank_oldest: Value<f64>,
    pub missed: Value<u64>,
    pub refused_urls: Value<u64>,
    pub hints_lag: Value<f64>,
    pub dead_letters: Value<u64>,
    pub consumer_up: Value<u64>,
    pub catalog_breaker: Value<u64>,
    pub reconcile_success: Value<f64>,
    pub reconcile_verdict: Value<u64>,
    pub reconcile_changes: Value<u64>,
    pub database_up: Value<u64>,
    pub database_writable: Value<u64>,
    pub queue_messages: Value<u64>,
    pub queue_oldest: Value<f64>,
    pub reconcile_duration: Value<f64>,
    pub reconcile_next: Value<f64>,
    pub heal_success: Value<f64>,
    pub catalog_budget: Value<f64>,
}

static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();

/// The instruments of this process.
pub fn get() -> &'static Instruments {
    INSTRUMENTS.get_or_init(|| Instruments::new(SdkMeterProvider::builder()))
}

/// Makes `ours` the instruments of this process; false if something was counted or set up before.
pub(super) fn install(ours: Instruments) -> bool {
    INSTRUMENTS.set(ours).is_ok()
}

fn words<T: VariantArray + Copy + Into<&'static str>>() -> Vec<&'static str> {
    T::VARIANTS.iter().map(|word| (*word).into()).collect()
}

impl Instruments {
    /// Instruments on a provider that may have readers of its own beside the one for `/metrics`.
    pub fn new(provider: MeterProviderBuilder) -> Self {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .build();
        // Of this process: CPU, memory, open files, start. A fresh registry refuses nothing.
        let _ = registry.register(Box::new(ProcessCollector::for_self()));
        let provider = match exporter {
            Ok(exporter) => provider.with_reader(exporter).build(),
            // A fresh registry refuses nothing; were it otherwise, an empty page would be better than no worker.
            Err(_) => provider.build(),
        };
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        let instruments = Self::declare(registry, &provider.meter_with_scope(scope), provider.clone());
        for kind in EVENT_TYPES {
            EventOutcome::VARIANTS.iter().for_each(|outcome| instruments.event(kind, *outcome, 0));
        }
        instruments.catalog_breaker.choose("closed");
        instruments
    }

    #[rustfmt::skip]
    fn declare(registry: Registry, meter: &Meter, provider: SdkMeterProvider) -> Self {
        const ONE: (&str, Vec<&str>) = ("", Vec::new());
        let counter = |name, unit, text| meter.u64_counter(name).with_unit(unit).with_description(text).build();
        let count = |name, unit, series, text| Count::new(counter(name, unit, text), series);
        let gauge = |name, unit, series, text| Value::new(meter.u64_gauge(name).with_unit(unit).with_description(text).build(), series);
        let seconds = |name, series, text| Value::new(meter.f64_gauge(name).with_unit("s").with_description(text).build(), series);
        let times = |name, bounds: &[f64], text| meter.f64_histogram(name).with_unit("s")
            .with_boundaries(bounds.to_vec()).with_description(text).build();
        let verdicts = words::<Verdict>().into_iter().filter(|verdict| *verdict != Verdict::Running.as_str()).collect();
        let budget = meter.f64_gauge("course_sharing.catalog_budget_used").with_description("The part of catalog.requests_per_hour that was used in the last hour; 0 without such a limit").build();
        gauge("course_sharing.build_info", "{build}", ("version", vec![env!("CARGO_PKG_VERSION")]), "1, with the version").choose(env!("CARGO_PKG_VERSION"));
        Self {
            registry,
            provider,
            events: counter("course_sharing.events", "{event}", "Events settled, by what became of them"),
            exemplars: Exemplars::default(),
            event_to_write: times("course_sharing.event_to_write", &EVENT_BOUNDS, EVENT_TO_WRITE),
            catalog_request: times("course_sharing.catalog_request", &REQUEST_BOUNDS, CATALOG_REQUEST),
            blank: gauge("course_sharing.blank", "{overview}", ("reason", words::<Reason>()), "Course overviews without a marketing URL, by the reason why"),
            blank_age: seconds("course_sharing.blank_age", ("reason", words::<Reason>()), "How long the longest-standing blank has been blank, by the reason why; 0: none is"),
            catalog_requests: count("course_sharing.catalog_requests", "{request}", ("outcome", words::<RequestOutcome>()), "Requests to the Catalog, by outcome"),
            healed: count("course_sharing.healed", "{overview}", ("cause", vec!["restore", "heal"]), "Overviews that got their last-known URL back, after an event or by the timer"),
            ledger_refused: count("course_sharing.ledger_refused", "{run}", ONE, "Answers that the ledger refused, as it had one to a later question; the Catalog is asked again"),
            pruned: count("course_sharing.pruned", "{row}", ("table", vec!["ledger", "reconcile", "change"]), "Rows of old runs, passes and changes of links that were deleted, by table"),
            overviews: gauge("course_sharing.overviews", "{overview}", ("state", vec!["linked", "blank"]), "Course overviews with a marketing URL, and without one"),
            blank_oldest: seconds("course_sharing.blank_oldest", ONE, "How long the longest-standing blank has been blank, of those that should not be; 0: none is"),
            missed: gauge("course_sharing.missed", "{course}", ("by", vec!["hints", "light"]), "Links that the last full pass changed, and that hints or light passes should have changed before"),
            refused_urls: gauge("course_sharing.refused_urls", "{course}", ONE, "Courses whose URL in the Catalog must not be shared"),
            hints_lag: seconds("course_sharing.hints_lag", ONE, "How long ago the Catalog was last asked with success what has changed; 0: this worker does not ask"),
            dead_letters: gauge("course_sharing.dead_letters", "{message}", ONE, "Dead letters, in the table and in the queue"),
            consumer_up: gauge("course_sharing.consumer_up", "{consumer}", ONE, "1 while the consumer is attached to the events queue"),
            catalog_breaker: gauge("course_sharing.catalog_breaker", "{breaker}", ("state", vec!["closed", "open", "half_open"]), "1 for the state that the breaker in front of the Catalog is in"),
            reconcile_success: seconds("course_sharing.reconcile_last_success_timestamp", ONE, "When a pass last ended complete, in seconds since 1970; 0: not yet"),
            reconcile_verdict: gauge("course_sharing.reconcile_last_verdict", "{pass}", ("verdict", verdicts), "1 for the verdict that the last pass ended with; all 0: none has ended yet"),
            reconcile_changes: gauge("course_sharing.reconcile_changes", "{run}", ("kind", vec!["updated", "cleared", "kept", "held_back", "not_listed", "pending"]), "What the last pass did, in runs"),
            database_up: gauge("course_sharing.database_up", "{database}", ONE, "1 while the database answers"),
            database_writable: gauge("course_sharing.database_writable", "{database}", ONE, "1 while the database writes what the worker needs; 0: it refuses to, or has not been looked at yet"),
            queue_messages: gauge("course_sharing.queue_messages", "{message}", ("queue", vec!["events", "delay", "dead"]), "Messages that wait in a queue: events, all delay queues together, dead"),
            queue_oldest: seconds("course_sharing.queue_oldest", ONE, "How long the oldest event that this worker has not settled has waited; 0: it has none"),
            reconcile_duration: seconds("course_sharing.reconcile_duration", ONE, "How long the last full pass took"),
            reconcile_next: seconds("course_sharing.reconcile_next_timestamp", ("kind", words::<PassKind>()), "When this worker's next pass of a kind is due, in seconds since 1970; 0: none is"),
            heal_success: seconds("course_sharing.heal_last_success_timestamp", ONE, "When this worker last healed, or at first when it began to, in seconds since 1970; 0: heal.interval is off"),
            catalog_budget: Value::new(budget, ONE),
        }
    }

    /// Counts `n` events of one of `EVENT_TYPES` that ended so.
    pub fn event(&self, kind: &'static str, outcome: EventOutcome, n: u64) {
        let outcome = KeyValue::new("outcome", <&str>::from(outcome));
        self.events.add(n, &[KeyValue::new("type", kind), outcome]);
    }

    /// How long it took from a change to the commit: from an `event`'s `time` header, or else its arrival; from the time
    /// at which the Catalog says that the course of a `hint` changed.
    pub fn event_to_write(&self, source: &'static str, elapsed: Duration) {
        self.event_to_write.record(elapsed.as_secs_f64(), &[KeyValue::new("source", source)]);
        self.exemplars.note(&TO_WRITE, source, elapsed.as_secs_f64());
    }

    /// The same for `n` links that a `light` or `full` pass or `heal` wrote together, whose changes are at most so old:
    /// nothing says when they were made, only that all was as known at the pass or heal before.
    pub fn links_to_write(&self, source: &'static str, at_most: Duration, n: u64) {
        (0..n).for_each(|_| self.event_to_write(source, at_most));
    }

    /// Counts one request to the Catalog, and how long it took if it was sent.
    pub fn catalog_request(&self, outcome: RequestOutcome, elapsed: Option<Duration>) {
        self.catalog_requests.add_of(outcome.into(), 1);
        if let Some(elapsed) = elapsed {
            self.catalog_request.record(elapsed.as_secs_f64(), &[]);
            self.exemplars.note(&REQUEST, "", elapsed.as_secs_f64());
        }
    }

    /// How many overviews are blank by each reason, and for how long the longest-standing of them has been. A reason that
    /// is not among `counts` has none.
    pub fn blanks(&self, counts: impl Iterator<Item = (Reason, u64, Duration)>) {
        let counts: HashMap<Reason, (u64, Duration)> =
            counts.map(|(reason, n, age)| (reason, (n, age))).collect();
        for reason in Reason::VARIANTS {
            let (n, age) = counts.get(reason).copied().unwrap_or_default();
            self.blank.set_of(reason.as_str(), n);
            self.blank_age.set_of(reason.as_str(), age.as_secs_f64());
        }
    }

    /// All metrics as Prometheus text (`text/plain; version=0.0.4`).
    pub fn render(&self) -> String {
        // Only a metric without samples is refused, and the registry leaves those out.
        TextEncoder::new().encode_to_string(&self.families()).unwrap_or_default()
    }

    /// The same as OpenMetrics text (`application/openmetrics-text; version=1.0.0`), with the traces of measurements.
    pub fn render_open_metrics(&self) -> String {
        open_metrics::text(&self.render(), &self.exemplars)
    }

    fn families(&self) -> Vec<MetricFamily> {
        let mut families = self.registry.gather();
        HISTOGRAMS.iter().for_each(|known| known.add_to(&mut families));
        families
    }

    /// Sends what is left to the collector and ends counting. True if all went well. Blocks.
    pub fn shutdown(&self) -> bool {
        let flushed = self.provider.force_flush();
        let ended = self.provider.shutdown();
        flushed.is_ok() && ended.is_ok()
    }
}

#[cfg(test)]
mod tests;
