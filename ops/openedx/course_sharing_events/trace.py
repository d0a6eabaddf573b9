"""The span of an event's making, and its trace as headers for the message.

OpenTelemetry is the site's choice: without it, or without a tracer, there is no span, and no header outside
a trace.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

try:
    from opentelemetry.trace import SpanKind, get_tracer

    # Its own propagator and not the global one: that may add baggage, which has no business in the queue.
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:
    _PROPAGATOR = None
else:
    _PROPAGATOR = TraceContextTextMapPropagator()


@contextmanager
def creating(routing_key: str, course_id: str) -> Iterator[dict[str, str]]:
    """Give ``traceparent``, and ``tracestate`` where there is one, of a span for this event alone."""
    if _PROPAGATOR is None:
        yield {}
        return
    attributes = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "create",
        "messaging.operation.type": "create",
        "messaging.destination.name": routing_key,
        "messaging.rabbitmq.destination.routing_key": routing_key,
        "course_sharing.course_id": course_id,
    }
    tracer = get_tracer("course-sharing-events")
    with tracer.start_as_current_span(f"create {routing_key}", kind=SpanKind.PRODUCER, attributes=attributes):
        headers: dict[str, str] = {}
        _PROPAGATOR.inject(headers)
        yield headers
