//! Every instrument, once: name, unit, description and buckets.
//!
//! The names are OpenTelemetry's; the Prometheus exporter makes `course_sharing_…` of them, with `_seconds` for
//! the unit `s` and `_total` for counters. A unit in braces is a remark and adds nothing.

use entity::blank::Reason;
use entity::pass::PassKind;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, MeterProvider};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::metrics::{MeterProviderBuilder, SdkMeterProvider};
use prometheus::process_collector::ProcessCollector;
use prometheus::{Registry, TextEncoder};
use strum::VariantArray;

use super::empty::Known;
use super::labels;

/// From a restore in milliseconds to what only the nightly pass sees, a day later.
const EVENT_BOUNDS: [f64; 19] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0,
    14_400.0, 86_400.0,
];

/// From a cached page, 15 ms, to the longest time limit that is of use.
const REQUEST_BOUNDS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0];

/// The two histograms, as they are shown before anything was measured.
const HISTOGRAMS: [Known; 2] = [
    Known {
        name: "course_sharing_event_to_write_seconds",
        help: EVENT_TO_WRITE,
        bounds: &EVENT_BOUNDS,
        label: Some(("source", &labels::SOURCES)),
    },
    Known {
        name: "course_sharing_catalog_request_seconds",
        help: CATALOG_REQUEST,
        bounds: &REQUEST_BOUNDS,
        label: None,
    },
];
const EVENT_TO_WRITE: &str =
    "From a change to the commit of its row, by what brought it; of passes and heal at most";
const CATALOG_REQUEST: &str = "One request to the Catalog, from connecting to the last byte";

/// The instruments, and the registry that `/metrics` is read from.
pub struct Instruments {
    registry: Registry,
    provider: SdkMeterProvider,
    pub(super) events: Counter<u64>,
    pub(super) event_to_write: Histogram<f64>,
    pub(super) catalog_requests: Counter<u64>,
    pub(super) catalog_request: Histogram<f64>,
    pub(super) overviews: Gauge<u64>,
    pub(super) blank: Gauge<u64>,
    pub(super) blank_age: Gauge<f64>,
    pub(super) blank_oldest: Gauge<f64>,
    pub(super) refused_urls: Gauge<u64>,
    pub(super) missed: Gauge<u64>,
    pub(super) hints_lag: Gauge<f64>,
    pub(super) healed: Counter<u64>,
    pub(super) ledger_refused: Counter<u64>,
    pub(super) pruned: Counter<u64>,
    pub(super) dead_letters: Gauge<u64>,
    pub(super) consumer_up: Gauge<u64>,
    pub(super) catalog_breaker: Gauge<u64>,
    pub(super) reconcile_success: Gauge<f64>,
    pub(super) reconcile_verdict: Gauge<u64>,
    pub(super) reconcile_changes: Gauge<u64>,
    pub(super) database_up: Gauge<u64>,
    pub(super) database_writable: Gauge<u64>,
    pub(super) queue_messages: Gauge<u64>,
    pub(super) reconcile_duration: Gauge<f64>,
    pub(super) reconcile_next: Gauge<f64>,
    pub(super) heal_success: Gauge<f64>,
    pub(super) catalog_budget: Gauge<f64>,
    build_info: Gauge<u64>,
}

impl Instruments {
    /// Instruments that `/metrics` alone shows.
    pub fn local() -> Self {
        Self::new(SdkMeterProvider::builder())
    }

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
        instruments.start_at_zero();
        instruments
    }

    #[rustfmt::skip]
    fn declare(registry: Registry, meter: &Meter, provider: SdkMeterProvider) -> Self {
        let counter = |name, unit, text| meter.u64_counter(name).with_unit(unit).with_description(text).build();
        let gauge = |name, unit, text| meter.u64_gauge(name).with_unit(unit).with_description(text).build();
        let seconds = |name, text| meter.f64_gauge(name).with_unit("s").with_description(text).build();
        let times = |name, bounds: &[f64], text| meter.f64_histogram(name).with_unit("s")
            .with_boundaries(bounds.to_vec()).with_description(text).build();
        Self {
            registry,
            provider,
            events: counter("course_sharing.events", "{event}", "Events settled, by what became of them"),
            event_to_write: times("course_sharing.event_to_write", &EVENT_BOUNDS, EVENT_TO_WRITE),
            catalog_requests: counter("course_sharing.catalog_requests", "{request}", "Requests to the Catalog, by outcome"),
            catalog_request: times("course_sharing.catalog_request", &REQUEST_BOUNDS, CATALOG_REQUEST),
            overviews: gauge("course_sharing.overviews", "{overview}", "Course overviews with a marketing URL, and without one"),
            blank: gauge("course_sharing.blank", "{overview}", "Course overviews without a marketing URL, by the reason why"),
            blank_age: seconds("course_sharing.blank_age", "How long the longest-standing blank has been blank, by the reason why; 0: none is"),
            blank_oldest: seconds("course_sharing.blank_oldest", "How long the longest-standing blank has been blank, of those that should not be; 0: none is"),
            missed: gauge("course_sharing.missed", "{course}", "Links that the last full pass changed, and that hints or light passes should have changed before"),
            refused_urls: gauge("course_sharing.refused_urls", "{course}", "Courses whose URL in the Catalog must not be shared"),
            hints_lag: seconds("course_sharing.hints_lag", "How long ago the Catalog was last asked with success what has changed; 0: this worker does not ask"),
            healed: counter("course_sharing.healed", "{overview}", "Overviews that got their last-known URL back, after an event or by the timer"),
            ledger_refused: counter("course_sharing.ledger_refused", "{run}", "Answers that the ledger refused, as it had one to a later question; the Catalog is asked again"),
            pruned: counter("course_sharing.pruned", "{row}", "Rows of old runs and passes that were deleted, by table"),
            dead_letters: gauge("course_sharing.dead_letters", "{message}", "Dead letters, in the table and in the queue"),
            consumer_up: gauge("course_sharing.consumer_up", "{consumer}", "1 while the consumer is attached to the events queue"),
            catalog_breaker: gauge("course_sharing.catalog_breaker", "{breaker}", "1 for the state that the breaker in front of the Catalog is in"),
            reconcile_success: seconds("course_sharing.reconcile_last_success_timestamp", "When a pass last ended complete, in seconds since 1970; 0: not yet"),
            reconcile_verdict: gauge("course_sharing.reconcile_last_verdict", "{pass}", "1 for the verdict that the last pass ended with; all 0: none has ended yet"),
            reconcile_changes: gauge("course_sharing.reconcile_changes", "{run}", "What the last pass did, in runs"),
            database_up: gauge("course_sharing.database_up", "{database}", "1 while the database answers"),
            database_writable: gauge("course_sharing.database_writable", "{database}", "1 while the database writes what the worker needs; 0: it refuses to, or has not been looked at yet"),
            queue_messages: gauge("course_sharing.queue_messages", "{message}", "Messages that wait in a queue: events, all delay queues together, dead"),
            reconcile_duration: seconds("course_sharing.reconcile_duration", "How long the last full pass took"),
            reconcile_next: seconds("course_sharing.reconcile_next_timestamp", "When this worker's next pass of a kind is due, in seconds since 1970; 0: none is"),
            heal_success: seconds("course_sharing.heal_last_success_timestamp", "When this worker last healed, in seconds since 1970; 0: not yet, or another worker does"),
            catalog_budget: meter.f64_gauge("course_sharing.catalog_budget_used").with_description("The part of catalog.requests_per_hour that was used in the last hour; 0 without such a limit").build(),
            build_info: gauge("course_sharing.build_info", "{build}", "1, with the version"),
        }
    }

    #[rustfmt::skip]
    fn start_at_zero(&self) {
        for kind in labels::EVENT_TYPES {
            for outcome in labels::EVENT_OUTCOMES {
                self.events.add(0, &[KeyValue::new("type", kind), KeyValue::new("outcome", outcome)]);
            }
        }
        let counters: [(_, _, &[&'static str]); 3] = [
            (&self.catalog_requests, "outcome", &labels::CATALOG_OUTCOMES),
            (&self.healed, "cause", &labels::HEAL_CAUSES),
            (&self.pruned, "table", &labels::PRUNED_TABLES),
        ];
        for (counter, label, words) in counters {
            words.iter().for_each(|word| counter.add(0, &[KeyValue::new(label, *word)]));
        }
        let gauges: [(_, _, &[&'static str]); 4] = [
            (&self.overviews, "state", &[labels::LINKED, labels::BLANK]),
            (&self.reconcile_changes, "kind", &labels::RECONCILE_KINDS),
            (&self.missed, "by", &labels::MISSED_BY),
            (&self.queue_messages, "queue", &labels::QUEUES),
        ];
        for (gauge, label, words) in gauges {
            words.iter().for_each(|word| gauge.record(0, &[KeyValue::new(label, *word)]));
        }
        for reason in Reason::VARIANTS.iter().map(|reason| reason.as_str()) {
            self.blank.record(0, &[KeyValue::new("reason", reason)]);
            self.blank_age.record(0.0, &[KeyValue::new("reason", reason)]);
        }
        for verdict in labels::verdicts() {
            self.reconcile_verdict.record(0, &[KeyValue::new("verdict", verdict)]);
        }
        for (at, state) in labels::BREAKER_STATES.into_iter().enumerate() {
            self.catalog_breaker.record((at == 0).into(), &[KeyValue::new("state", state)]);
        }
        for kind in PassKind::VARIANTS {
            self.reconcile_next.record(0.0, &[KeyValue::new("kind", kind.as_str())]);
        }
        for gauge in [&self.refused_urls, &self.dead_letters, &self.consumer_up, &self.database_up, &self.database_writable] {
            gauge.record(0, &[]);
        }
        for gauge in [
            &self.blank_oldest, &self.hints_lag, &self.reconcile_success, &self.reconcile_duration, &self.heal_success,
            &self.catalog_budget,
        ] {
            gauge.record(0.0, &[]);
        }
        self.ledger_refused.add(0, &[]);
        self.build_info.record(1, &[KeyValue::new("version", env!("CARGO_PKG_VERSION"))]);
    }

    /// All metrics as Prometheus text.
    pub fn render(&self) -> String {
        let mut families = self.registry.gather();
        HISTOGRAMS.iter().for_each(|known| known.add_to(&mut families));
        // Only a metric without samples is refused, and the registry leaves those out.
        TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }

    /// For flushing and shutting down.
    pub fn provider(&self) -> &SdkMeterProvider {
        &self.provider
    }
}
