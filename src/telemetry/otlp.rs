//! Where traces and metrics go: the standard `OTEL_*` variables, read in one place, and an exporter that says once
//! that the collector is gone, and once that it is back, instead of once a batch.
//!
//! OTLP goes as http/protobuf through reqwest's blocking client: the SDK's batch threads have no async runtime.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, Temporality};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::failures::{Latch, TelemetryError};
use crate::config::WebUrl;

/// Which signals are exported, and where to; each is the whole URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where spans go; none: nowhere.
    pub traces: Option<String>,
    /// Where metrics go, beside `/metrics`; none: nowhere.
    pub metrics: Option<String>,
    /// A protocol that was asked for and is not built in.
    pub other_protocol: Option<String>,
}

impl Settings {
    /// Reads `OTEL_SDK_DISABLED`, `OTEL_{TRACES,METRICS}_EXPORTER` (`none`), `OTEL_EXPORTER_OTLP_ENDPOINT`,
    /// `OTEL_EXPORTER_OTLP_{TRACES,METRICS}_ENDPOINT` and `OTEL_EXPORTER_OTLP_PROTOCOL`. As the specification
    /// says, an empty value is as good as none, and the path of the signal is appended to the general endpoint only.
    /// The exporters read the rest (headers, time limit, sampler, intervals) themselves.
    ///
    /// # Errors
    /// A general endpoint with a parameter: the path of the signal would end up in its value.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, TelemetryError> {
        let set = |name: &str| variable(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        if set("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
            return Ok(Self::default());
        }
        let base = set("OTEL_EXPORTER_OTLP_ENDPOINT");
        if let Some(base) = &base {
            without_parameters(base)?;
        }
        let endpoint = |signal: &str| {
            if set(&format!("OTEL_{signal}_EXPORTER")).is_some_and(|v| v.eq_ignore_ascii_case("none")) {
                return None;
            }
            let below =
                |base: &String| format!("{}/v1/{}", base.trim_end_matches('/'), signal.to_ascii_lowercase());
            set(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")).or_else(|| base.as_ref().map(below))
        };
        let (traces, metrics) = (endpoint("TRACES"), endpoint("METRICS"));
        let exported = traces.is_some() || metrics.is_some();
        let other_protocol = set("OTEL_EXPORTER_OTLP_PROTOCOL")
            .filter(|v| exported && !v.eq_ignore_ascii_case("http/protobuf"));
        Ok(Self { traces, metrics, other_protocol })
    }
}

/// The conventions that the names of spans and attributes follow.
pub const CONVENTIONS: &str = "https://opentelemetry.io/schemas/1.44.0";

/// This process, unlike any other, also after a restart: in traces and, of a worker, in leases.
pub fn instance() -> &'static str {
    static INSTANCE: OnceLock<String> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "localhost".to_owned());
        let host: String = host.chars().take(64).collect();
        format!("{host}:{}:{:08x}", std::process::id(), rand::random::<u32>())
    })
}

/// Who speaks: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, else `course-sharing`; our version; and the instance,
/// unless those say it.
pub fn resource() -> Resource {
    let from_env = Resource::builder().build();
    let said = |name| from_env.get(&Key::from_static_str(name)).map(|value| value.to_string());
    let name = said("service.name");
    let id = said("service.instance.id").unwrap_or_else(|| instance().to_owned());
    let builder = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", id));
    match name {
        // What the SDK says where nobody said anything.
        Some(name) if !name.starts_with("unknown_service") => builder.build(),
        _ => builder.with_service_name(env!("CARGO_PKG_NAME")).build(),
    }
}

/// Sends metrics to `endpoint` from a thread of its own, each `OTEL_METRIC_EXPORT_INTERVAL` (60 s).
pub fn metric_reader(
    endpoint: &str,
) -> Result<PeriodicReader<Reporting<opentelemetry_otlp::MetricExporter>>, TelemetryError> {
    readable("metrics", endpoint)?;
    install_tls();
    let exporter = opentelemetry_otlp::MetricExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .build()
        .map_err(|source| TelemetryError::Exporter { signal: "metrics", source })?;
    Ok(PeriodicReader::builder(Reporting::new("metrics", endpoint, exporter)).build())
}

/// Sends spans to `endpoint`; to be driven by a thread without an async runtime.
pub fn span_exporter(endpoint: &str) -> Result<Reporting<opentelemetry_otlp::SpanExporter>, TelemetryError> {
    readable("traces", endpoint)?;
    install_tls();
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .build()
        .map_err(|source| TelemetryError::Exporter { signal: "traces", source })?;
    Ok(Reporting::new("traces", endpoint, exporter))
}

/// Only the endpoint of one signal may have parameters; it is sent as it stands.
fn without_parameters(base: &str) -> Result<(), TelemetryError> {
    let Some((_, parameters)) = base.split_once('?') else { return Ok(()) };
    let name: String =
        parameters.split(['=', '&', '/']).next().unwrap_or_default().chars().take(40).collect();
    let why = format!("nothing reads its parameter {name:?}; set the endpoint of each signal instead");
    Err(TelemetryError::Endpoint { signal: "traces and metrics", why })
}

/// The exporter would quote an endpoint that it cannot read, and take part of a password for the host of another.
fn readable(signal: &'static str, endpoint: &str) -> Result<(), TelemetryError> {
    endpoint.parse::<WebUrl>().map(drop).map_err(|why| TelemetryError::Endpoint { signal, why })
}

/// reqwest is built without a provider of TLS of its own, and panics where the process has none.
fn install_tls() {
    // An error says that there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An exporter that logs a failure once, and the recovery once.
#[derive(Debug)]
pub struct Reporting<E> {
    exporter: E,
    signal: &'static str,
    collector: String,
    latch: Latch,
}

impl<E> Reporting<E> {
    /// Reports on `exporter`; `signal` is the word for what it exports to `endpoint`.
    pub fn new(signal: &'static str, endpoint: &str, exporter: E) -> Self {
        Self { exporter, signal, collector: host_and_port(endpoint), latch: Latch::default() }
    }

    fn report(&self, result: OTelSdkResult) -> OTelSdkResult {
        let Self { signal, collector, .. } = self;
        match &result {
            Err(error) if self.latch.fails() => {
                tracing::warn!(event = "telemetry.export_failed", signal, collector, %error,
                    "the OTLP collector cannot be reached; this is said once until it can");
            }
            Ok(()) if self.latch.recovers() => {
                tracing::info!(
                    event = "telemetry.export_recovered",
                    signal,
                    collector,
                    "the OTLP collector is back"
                );
            }
            _ => {}
        }
        result
    }
}

/// The part of a URL that is fit for a log line: what is before it or behind it may be a password or a token.
fn host_and_port(endpoint: &str) -> String {
    let url = url::Url::parse(endpoint).ok();
    let host = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    host.map_or_else(String::new, |(host, port)| format!("{host}:{port}"))
}

impl<E: SpanExporter> SpanExporter for Reporting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.report(self.exporter.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Reporting<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.report(self.exporter.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        read(variables).unwrap()
    }

    fn read(variables: &[(&str, &str)]) -> Result<Settings, TelemetryError> {
        Settings::from_env(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn without_an_endpoint_nothing_is_exported() {
        for variables in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), ("OTEL_SDK_DISABLED", "TRUE")],
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
        ] {
            assert_eq!(settings(variables), Settings::default(), "{variables:?}");
        }
    }

    #[test]
    fn the_path_is_appended_to_the_general_endpoint_only() {
        for base in ["http://c:4318", "http://c:4318/"] {
            let both = settings(&[("OTEL_EXPORTER_OTLP_ENDPOINT", base)]);
            assert_eq!(both.traces.as_deref(), Some("http://c:4318/v1/traces"));
            assert_eq!(both.metrics.as_deref(), Some("http://c:4318/v1/metrics"));
        }
        let one = settings(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/t")]);
        assert_eq!((one.traces.as_deref(), one.metrics), (Some("http://c/t"), None));
    }

    #[test]
    fn one_signal_may_be_off() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        let traces = settings(&[endpoint, ("OTEL_METRICS_EXPORTER", "none")]);
        assert!(traces.traces.is_some() && traces.metrics.is_none());
    }

    #[test]
    fn another_protocol_is_noticed() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
        let protocol = |name| settings(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", name)]).other_protocol;
        assert_eq!(protocol("grpc").as_deref(), Some("grpc"));
        assert_eq!(protocol("http/protobuf"), None);
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_an_error() {
        assert!(matches!(span_exporter("no url"), Err(TelemetryError::Endpoint { signal: "traces", .. })));
        assert!(metric_reader("http://[").is_err());
    }

    #[test]
    fn an_endpoint_with_another_scheme_is_refused_by_the_name_of_its_variable() {
        for endpoint in
            ["htp://c:4318", "grpc://user:hunter2@c:4317", "c:4318", "unix:///run/otlp", "https:/c"]
        {
            for error in [span_exporter(endpoint).err(), metric_reader(endpoint).err()] {
                let said = error.unwrap().to_string();
                assert!(said.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && said.contains("https:"), "{said}");
                assert!(!said.contains("hunter2"), "{said}");
            }
        }
    }

    #[test]
    fn parameters_that_nothing_reads_are_refused_by_name() {
        for (endpoint, name) in [
            ("http://c:4318?api-key=hunter2", "\"api-key\""),
            ("http://c:4318/?key", "\"key\""),
            ("http://c:4318/otlp?", "\"\""),
        ] {
            let said = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).unwrap_err().to_string();
            assert!(said.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && said.contains(name), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        // The collector reads those of an endpoint that is used as it stands.
        let own = "http://c:4318/v1/traces?api-key=k";
        let settings = settings(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", own)]);
        assert_eq!(settings.traces.as_deref(), Some(own));
    }
}
