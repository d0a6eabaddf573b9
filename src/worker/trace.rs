//! The span of a batch, by OpenTelemetry's conventions for messaging: one `process`, linked to the sender of each event.
//!
//! Senders are links and not the parent: a batch has many senders, and an event may wait in a delay queue for hours.

use tracing::Span;

use super::settler::Job;
use crate::telemetry::traces;

/// The number of links that an exporter keeps.
const MAX_LINKS: usize = 128;

/// Where the messages of this process come from.
#[derive(Debug, Clone)]
pub(super) struct Source {
    exchange: String,
    queue: String,
}

impl Source {
    pub(super) fn new(exchange: &str, queue: &str) -> Self {
        Self { exchange: exchange.to_owned(), queue: queue.to_owned() }
    }

    /// The span of a batch.
    pub(super) fn process<'a>(&self, jobs: impl Iterator<Item = &'a Job> + Clone) -> Span {
        let Self { exchange, queue } = self;
        let key = jobs.clone().next().map_or("", |job| job.event.kind.as_str());
        let span = tracing::info_span!(
            "process",
            otel.name = format!("process {exchange}:{key}:{queue}"),
            otel.kind = "consumer",
            messaging.system = "rabbitmq",
            messaging.operation.r#type = "process",
            messaging.operation.name = "process",
            messaging.destination.name = format!("{exchange}:{key}:{queue}"),
            messaging.batch.message_count = i64::try_from(jobs.clone().count()).unwrap_or(i64::MAX),
        );
        span.in_scope(|| jobs.filter_map(sender).take(MAX_LINKS).for_each(traces::link));
        span
    }
}

/// The span of a step for several batches: a child of the first one's span, linked to the others.
pub(super) fn joint<'a>(
    mut batches: impl Iterator<Item = &'a Span>,
    child: impl FnOnce(&Span) -> Span,
) -> Span {
    let span = batches.next().map_or_else(Span::none, child);
    for other in batches {
        span.follows_from(other);
    }
    span
}

fn sender(job: &Job) -> Option<opentelemetry::trace::SpanContext> {
    let traceparent = job.delivery.header("traceparent")?;
    traces::parse(&traceparent, job.delivery.header("tracestate").as_deref())
}
