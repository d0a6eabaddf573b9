//! What leaves the process: log lines, and spans and metrics as a collector gets them.
//!
//! With providers and subscribers of each test's own, as the process's are global.
#![expect(clippy::unwrap_used, reason = "a failed step of a test fails the test")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use course_sharing::config::LogFormat;
use course_sharing::telemetry::{self, logs, metrics, otlp, traces};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use tracing_subscriber::layer::SubscriberExt;

use crate::support::collector::{Collector, attribute, hex};

const SENDER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A writer that keeps what is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
    fn json(&self) -> Vec<serde_json::Map<String, serde_json::Value>> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `work` with log lines of `format` and, if wanted, spans; gives the lines.
fn logged(
    format: LogFormat,
    level: &str,
    provider: Option<&opentelemetry_sdk::trace::SdkTracerProvider>,
    work: impl FnOnce(),
) -> Lines {
    let lines = Lines::default();
    let writer = lines.clone();
    let (registry, filter) = (tracing_subscriber::registry(), logs::filter(level).unwrap());
    let writer = move || writer.clone();
    // As telemetry::init has it.
    match provider {
        Some(provider) => {
            let traced = registry.with(traces::layer(provider));
            let subscriber = traced.with(logs::layer(format, filter, false, writer));
            tracing::subscriber::with_default(subscriber, work);
        }
        None => {
            let subscriber = registry.with(logs::layer(format, filter, false, writer));
            tracing::subscriber::with_default(subscriber, work);
        }
    }
    lines
}

/// The batch that answers a message, as the worker makes it.
fn process_one() {
    let span = tracing::info_span!(target: "course_sharing::worker", "process", otel.name = "process course-events",
        otel.kind = "consumer", messaging.system = "rabbitmq", messaging.batch.message_count = 1);
    let _entered = span.enter();
    traces::link(&span, traces::parse(SENDER, None).unwrap());
    assert!(traces::traceparent().unwrap().starts_with("00-"));
    let trace_id = telemetry::trace_id();
    tracing::info!(target: "course_sharing::worker", event = "batch.settled", trace_id, "a batch is settled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_reaches_the_collector_whole() {
    let (collector, address) = Collector::start().await;
    let lines = tokio::task::spawn_blocking(move || {
        let endpoint = format!("http://{address}/v1/traces");
        let provider = traces::provider(&endpoint, otlp::resource()).unwrap();
        let lines = logged(LogFormat::Json, "info", Some(&provider), || {
            process_one();
            // What a library traces stays out, the exporter's own HTTP with it.
            tracing::info_span!(target: "hyper::client", "connect").in_scope(|| ());
        });
        provider.shutdown().unwrap();
        lines
    })
    .await
    .unwrap();

    let spans = collector.spans();
    let [span] = &spans[..] else { panic!("one span expected: {spans:?}") };
    assert_eq!(span.name, "process course-events");
    assert_eq!(span.kind(), SpanKind::Consumer);
    assert_eq!(span.links.len(), 1);
    assert_eq!(hex(&span.links[0].trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_ne!(span.links[0].trace_id, span.trace_id, "linked, not continued");
    assert_eq!(attribute(&span.attributes, "messaging.system"), &Value::StringValue("rabbitmq".into()));
    assert_eq!(attribute(&span.attributes, "messaging.batch.message_count"), &Value::IntValue(1));

    let requests: Vec<ExportTraceServiceRequest> = collector.bodies("/v1/traces");
    let resource = &requests[0].resource_spans[0].resource.as_ref().unwrap().attributes;
    assert_eq!(attribute(resource, "service.name"), &Value::StringValue("course-sharing".into()));
    assert_eq!(attribute(resource, "service.version"), &Value::StringValue(env!("CARGO_PKG_VERSION").into()));

    // The log line of the span leads to it.
    let line = &lines.json()[0];
    assert_eq!(line["trace_id"], hex(&span.trace_id));
    assert_eq!(line["field.trace_id"], hex(&span.trace_id), "as the program says it");
    assert_eq!(line["span_id"], hex(&span.span_id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_loses_nothing() {
    let (collector, address) = Collector::start().await;
    const SPANS: usize = 1_000;
    tokio::task::spawn_blocking(move || {
        let endpoint = format!("http://{address}/v1/traces");
        let provider = traces::provider(&endpoint, otlp::resource()).unwrap();
        logged(LogFormat::Json, "off", Some(&provider), || (0..SPANS).for_each(|_| process_one()));
        provider.force_flush().unwrap();
        provider.shutdown().unwrap();
    })
    .await
    .unwrap();
    assert_eq!(collector.spans().len(), SPANS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_reach_the_collector_too() {
    let (collector, address) = Collector::start().await;
    tokio::task::spawn_blocking(move || {
        let reader = otlp::metric_reader(&format!("http://{address}/v1/metrics")).unwrap();
        let builder = SdkMeterProvider::builder().with_resource(otlp::resource()).with_reader(reader);
        let instruments = metrics::Instruments::new(builder);
        assert!(instruments.shutdown());
    })
    .await
    .unwrap();
    let requests: Vec<ExportMetricsServiceRequest> = collector.bodies("/v1/metrics");
    let scopes = requests.into_iter().flat_map(|r| r.resource_metrics).flat_map(|r| r.scope_metrics);
    let names: Vec<String> = scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name).collect();
    assert!(names.contains(&"course_sharing.events".to_owned()), "{names:?}");
}

#[test]
fn a_collector_that_is_gone_costs_one_warning() {
    // Bound and let go: nobody listens there, so connections are refused.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let exporter = otlp::span_exporter(&format!("http://user:hunter2@{address}/v1/traces")).unwrap();
    let lines = logged(LogFormat::Json, "info", None, || {
        for _ in 0..3 {
            let failed = export(&exporter);
            assert!(failed.is_err());
        }
    });
    let warnings = lines.json();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0]["event"], "telemetry.export_failed");
    assert_eq!(warnings[0]["signal"], "traces");
    assert!(!lines.text().contains("hunter2"), "{}", lines.text());
    assert_eq!(warnings[0]["collector"], address.to_string());
}

fn export<E: opentelemetry_sdk::trace::SpanExporter>(
    exporter: &E,
) -> opentelemetry_sdk::error::OTelSdkResult {
    // As the batch thread does it: no async runtime around.
    futures_util::FutureExt::now_or_never(exporter.export(Vec::new()))
        .expect("the exporter blocks, it never waits")
}

/// Telemetry is set up once a process, so this test starts itself a second time for it.
#[test]
fn a_collector_that_hangs_does_not_hold_the_process() {
    const CHILD: &str = "COURSE_SHARING_TEST_TELEMETRY_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let guard = course_sharing::telemetry::init(&course_sharing::config::Log::default()).unwrap();
        process_one();
        metrics::get().event("course-publish", metrics::EventOutcome::Applied, 1);
        return guard.shutdown();
    }
    // Takes connections, as the kernel does that by itself, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "telemetry::a_collector_that_hangs_does_not_hold_the_process", "--nocapture"])
        .env(CHILD, "1")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", silent.local_addr().unwrap()))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("shutdown hangs while the collector does");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains(r#""event":"batch.settled""#) && said.contains(r#""trace_id":"#), "{said}");
    assert!(said.contains(r#""event":"telemetry.lost""#), "{said}");
}

#[test]
fn a_line_is_one_flat_object() {
    let lines = logged(LogFormat::Json, "info", None, || {
        let span = tracing::info_span!("pass", pass = 7);
        assert!(span.is_disabled(), "nothing exports it, so it costs nothing");
        let _entered = span.enter();
        tracing::warn!(event = "reconcile.held_back", count = 3, share = 0.5, level = "x",
            text = "a\"b\nc\u{1b}[0m", error = %io::Error::other("gone"), "3 URLs are held back");
        tracing::info!(target: "lapin::channel", "a library's chatter");
        tracing::debug!("too low");
    });
    let lines = lines.json();
    let [line] = &lines[..] else { panic!("one line expected: {lines:?}") };
    let timestamp = line["timestamp"].as_str().unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(timestamp).is_ok() && timestamp.len() == 24, "{timestamp}");
    assert!(timestamp.ends_with('Z'));
    let expected = serde_json::json!({
        "level": "WARN", "event": "reconcile.held_back", "message": "3 URLs are held back", "count": 3, "share": 0.5,
        "field.level": "x", "text": "a\"b\nc\u{1b}[0m", "error": "gone",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&line[name], value, "{name}");
    }
    assert!(!line.contains_key("trace_id") && !line.contains_key("pass"), "nothing is traced here");
}

#[test]
fn a_line_for_people_stays_one_line() {
    let lines = logged(LogFormat::Pretty, "info", None, || {
        tracing::info!(event = "event.parked", reason = "a\nb\u{1b}[31m", attempt = 2, "parked\r\nfor 10 s");
    });
    let text = lines.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains(r"INFO event.parked: parked\r\nfor 10 s attempt=2 reason=a\nb\u{1b}[31m"),
        "{text}"
    );
}
