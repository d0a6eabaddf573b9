//! Spans, from `tracing` to OTLP.
//!
//! Only our own spans are exported, whatever `log.level` says: so neither the exporter's HTTP nor the internals of a
//! library show up in a trace, and quiet logs do not mean no traces.

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{Filtered, Targets};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::{TelemetryError, otlp};

/// What our spans' targets begin with.
const OURS: &str = env!("CARGO_CRATE_NAME");

/// Sends spans to `endpoint`, in batches, from a thread of its own. `OTEL_TRACES_SAMPLER` and `OTEL_BSP_*` hold.
/// What does not fit the queue of 2,048 spans is dropped: a collector that is gone costs no memory.
///
/// # Errors
/// An endpoint, or an `OTEL_*` variable, that cannot be used.
pub fn provider(endpoint: &str, resource: Resource) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = otlp::span_exporter(endpoint)?;
    Ok(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
}

/// A layer of `tracing-opentelemetry`, for our own spans.
pub type TraceLayer<S> = Filtered<tracing_opentelemetry::OpenTelemetryLayer<S, SdkTracer>, Targets, S>;

/// Makes spans of `provider` out of `tracing`'s.
pub fn layer<S>(provider: &SdkTracerProvider) -> TraceLayer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(env!("CARGO_PKG_NAME")))
        // Source lines, threads and busy times are for profilers; they would make up most of a span's bytes.
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target(OURS, LevelFilter::INFO))
}
