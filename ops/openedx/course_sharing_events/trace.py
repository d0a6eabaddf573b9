"""The trace that the event belongs to, as headers for the message."""

from __future__ import annotations

try:
    # Its own propagator and not the global one: that may add baggage, which has no business in the queue.
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:  # OpenTelemetry is the site's choice
    _PROPAGATOR = None
else:
    _PROPAGATOR = TraceContextTextMapPropagator()


def trace_headers() -> dict[str, str]:
    """Give ``traceparent``, and ``tracestate`` where there is one; nothing outside a trace."""
    headers: dict[str, str] = {}
    if _PROPAGATOR is not None:
        _PROPAGATOR.inject(headers)
    return headers
