//! Logs, traces and metrics: what the process says about itself.
//!
//! [`init`] is called once, first thing; [`Guard::shutdown`] last. Logs go to stderr always. Traces, and metrics
//! beside `/metrics`, go to an OTLP collector where the standard `OTEL_*` variables name one.

mod failures;
pub mod logs;
pub mod metrics;
pub mod otlp;
pub mod traces;

pub use self::failures::{Latch, TelemetryError, report};
pub use self::traces::trace_id;

use std::io::{self, IsTerminal};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, reload};

use crate::config::{self, LogFormat};

/// How long the last spans and metrics may take to leave; then they are given up, so that the process can end.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(4);

/// Keeps what must be flushed at the end.
#[must_use = "without Guard::shutdown the last spans and metrics are lost"]
pub struct Guard {
    traces: Option<SdkTracerProvider>,
    metrics: bool,
    level: LogLevel,
}

/// What is logged, which may change while the process runs; cheap to clone.
#[derive(Clone)]
pub struct LogLevel(Arc<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

impl LogLevel {
    /// Sets it, in the language of `log.level`.
    ///
    /// # Errors
    /// It cannot be understood; then it stays as it was.
    pub fn set(&self, level: &str) -> Result<(), TelemetryError> {
        let filter = logs::filter(level)?;
        (self.0)(filter)
            .map_err(|error| TelemetryError::Level { level: level.to_owned(), why: error.to_string() })
    }
}

/// Sets up logs as `log` says, and traces and metrics as the `OTEL_*` variables say. Blocks for a moment; may be
/// called inside an async runtime or before it.
pub fn init(log: &config::Log) -> Result<Guard, TelemetryError> {
    let filter = logs::filter(&log.level)?;
    let settings = otlp::Settings::from_env(|name| std::env::var(name).ok())?;
    let resource = otlp::resource();
    let traces = match &settings.traces {
        Some(endpoint) => Some(traces::provider(endpoint, resource.clone())?),
        None => None,
    };
    let reader = match &settings.metrics {
        Some(endpoint) => Some(otlp::metric_reader(endpoint)?),
        None => None,
    };
    let is_terminal = io::stderr().is_terminal();
    let colours = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let format = match log.format {
        LogFormat::Auto if is_terminal => LogFormat::Pretty,
        format => format,
    };
    let registry = tracing_subscriber::registry();
    let level = match &traces {
        Some(traces) => log_lines(registry.with(traces::layer(traces)), format, filter, colours)?,
        // Not a layer of `None`, which would still look at each span and at each line that is not logged.
        None => log_lines(registry, format, filter, colours)?,
    };
    if let Some(protocol) = &settings.other_protocol {
        tracing::warn!(
            event = "telemetry.protocol",
            protocol,
            "OTLP goes as http/protobuf; no other protocol is built in"
        );
    }
    let metrics = reader.is_some();
    if let Some(reader) = reader {
        let builder = opentelemetry_sdk::metrics::SdkMeterProvider::builder();
        if !metrics::install(metrics::Instruments::new(builder.with_resource(resource).with_reader(reader))) {
            tracing::warn!(
                event = "telemetry.late",
                "something was counted before telemetry was set up; no metrics go to the collector"
            );
        }
    }
    Ok(Guard { traces, metrics, level })
}

/// Adds the log lines to what listens already, and has all of it listen.
fn log_lines<S>(
    listening: S,
    format: LogFormat,
    filter: EnvFilter,
    colours: bool,
) -> Result<LogLevel, TelemetryError>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter);
    listening.with(logs::layer(format, filter, colours, io::stderr)).try_init()?;
    Ok(LogLevel(Arc::new(move |filter| handle.reload(filter))))
}

impl Guard {
    /// The level of the logs.
    pub fn level(&self) -> LogLevel {
        self.level.clone()
    }

    /// Sends what is left, and ends the exporters. Blocks for at most four seconds, whatever the collector does; in
    /// async code, call it in `spawn_blocking`. What is logged later still shows; spans and metrics do not.
    pub fn shutdown(self) {
        let (done, both) = mpsc::channel();
        let mut waiting = 0;
        // A thread each, left alone when the time is up: the SDK's own time limits do not hold for every step.
        if let Some(provider) = self.traces {
            let done = done.clone();
            waiting += usize::from(spawn(move || done.send(end_traces(&provider))));
        }
        if self.metrics {
            waiting += usize::from(spawn(move || done.send(metrics::get().shutdown())));
        }
        let deadline = std::time::Instant::now() + SHUTDOWN_LIMIT;
        let all_sent = (0..waiting).all(|_| {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            both.recv_timeout(left).unwrap_or(false)
        });
        if !all_sent {
            tracing::warn!(event = "telemetry.lost", "the last spans or metrics did not reach the collector");
        }
    }
}

fn spawn<T>(work: impl FnOnce() -> T + Send + 'static) -> bool
where
    T: Send + 'static,
{
    std::thread::Builder::new().name("telemetry-shutdown".to_owned()).spawn(work).is_ok()
}

fn end_traces(provider: &SdkTracerProvider) -> bool {
    let flushed = provider.force_flush();
    let ended = provider.shutdown_with_timeout(SHUTDOWN_LIMIT);
    flushed.is_ok() && ended.is_ok()
}
