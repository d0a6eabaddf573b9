"""What is sent, and when: against the real broker."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from opaque_keys.edx.keys import CourseKey
from openedx.core.djangoapps.content.course_overviews.models import CourseOverview
from xmodule.modulestore.django import SignalHandler

from course_sharing_events import process


def test_a_publish_arrives_whole(events, publish, course):
    key = course()
    publish(key)
    (arrived,) = events.receive()
    assert arrived.routing_key == "course-publish"
    assert arrived.body.keys() == {"type", "course_id", "id", "time"}
    assert arrived.body["type"] == "course-publish"
    assert arrived.body["course_id"] == str(key)
    assert uuid.UUID(arrived.body["id"]).version == 4
    assert arrived.body["time"].endswith("Z")
    sent = datetime.fromisoformat(arrived.body["time"])
    assert timedelta(0) <= datetime.now(UTC) - sent < timedelta(minutes=1)
    assert arrived.properties["content_type"] == "application/json"
    assert arrived.properties["delivery_mode"] == 2
    assert arrived.properties["message_id"] == arrived.body["id"]
    assert arrived.properties["timestamp"] == int(sent.timestamp())
    assert "traceparent" not in arrived.headers


def test_a_new_overview_arrives_and_a_saved_one_does_not(events, publish, course):
    key, last = course(), course()
    overview = CourseOverview.objects.create(id=key)
    events_of_creation = events.receive()
    overview.marketing_url = "https://www.example.org/course/demo"
    overview.save()
    publish(last)
    assert [(a.routing_key, a.course_id) for a in events_of_creation] == [("overview-recreated", str(key))]
    assert [a.course_id for a in events.receive_until(str(last))] == [str(last)]


def test_a_row_that_was_deleted_and_is_created_again_arrives_again(events, course):
    key = course()
    for _ in range(2):
        CourseOverview.objects.create(id=key)
        (arrived,) = events.receive()
        assert (arrived.body["type"], arrived.course_id) == ("overview-recreated", str(key))
        CourseOverview.objects.filter(id=key).delete()


def test_nothing_is_sent_before_the_commit(events, publish, course):
    key = course()
    with transaction.atomic():
        publish(key)
        assert process.sender().waiting == 0
        assert events.get() is None
    assert events.receive()[0].course_id == str(key)


def test_nothing_is_sent_after_a_rollback(events, publish, course):
    lost, inner, last = course(), course(), course()
    with pytest.raises(LookupError), transaction.atomic():
        publish(lost)
        CourseOverview.objects.create(id=lost)
        raise LookupError
    with transaction.atomic():
        with pytest.raises(LookupError), transaction.atomic():
            publish(inner)
            raise LookupError
        publish(last)
    assert [a.course_id for a in events.receive_until(str(last))] == [str(last)]


def test_connected_by_plugin_and_app_alike_it_is_still_one_event(events, publish, course):
    key, last = course(), course()
    publish(key)
    publish(last)
    assert [a.course_id for a in events.receive_until(str(last))] == [str(key), str(last)]


@pytest.mark.parametrize(
    "text",
    ["course-v1:Ünì+Kürs-1.x~y:z+été", "ÉcoleX/Français/2012", "ccx-v1:edX+DemoX+2026+ccx@42"],
)
def test_keys_of_every_form_are_sent_as_they_are(events, publish, text):
    publish(CourseKey.from_string(text))
    assert events.receive()[0].course_id == text


def test_libraries_and_others_are_left_out(events, publish, course):
    last = course()
    for text in (
        "library-v1:edX+lib",
        "lib:edX:lib",
        "block-v1:a+b+c+type@html+block@x",
        "",
        None,
        "x" * 9999,
    ):
        publish(text)
    publish(CourseKey.from_string("library-v1:edX+lib"))
    publish(last)
    assert [a.course_id for a in events.receive_until(str(last))] == [str(last)]


def test_a_branch_is_the_same_run(events, publish, course):
    key = course()
    publish(key.for_branch("draft-branch"))
    assert events.receive()[0].course_id == str(key)


class Unspeakable:
    def __str__(self):
        raise RuntimeError("no text")


def test_a_mistake_stays_here(events, publish, caplog):
    publish(Unspeakable())
    SignalHandler.course_published.send(sender=None, course_key=Unspeakable())
    assert "event lost" in caplog.text


@pytest.mark.parametrize("settings", [{"ENABLED": False}, {"URL": None}, {"URL": ""}])
def test_turned_off_it_does_nothing(events, configure, publish, course, settings):
    configure(**settings)
    publish(course())
    CourseOverview.objects.create(id=course())
    assert process._senders == {}


def test_a_wrong_setting_is_named_and_harms_nobody(events, configure, publish, course, caplog):
    configure(URL="https://user:secret@mq.example")
    publish(course())
    assert "COURSE_SHARING_EVENTS_URL must start with amqp://" in caplog.text
    assert "secret" not in caplog.text


def test_the_trace_goes_along(events, publish, course):
    from opentelemetry import baggage, context, trace
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

    span = SpanContext(
        trace_id=0x4BF92F3577B34DA6A3CE929D0E0E4736,
        span_id=0x00F067AA0BA902B7,
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState([("vendor", "abc")]),
    )
    token = context.attach(
        baggage.set_baggage("user", "ada", trace.set_span_in_context(NonRecordingSpan(span)))
    )
    try:
        with transaction.atomic():
            publish(course())
    finally:
        context.detach(token)
    assert events.receive()[0].headers == {
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "tracestate": "vendor=abc",
    }


def test_where_there_is_a_tracer_an_event_has_a_span_of_its_own(events, publish, course, monkeypatch):
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("course_sharing_events.trace.get_tracer", provider.get_tracer)
    key = course()
    publish(key)
    (arrived,) = events.receive()
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind.name) == ("create course-publish", "PRODUCER")
    assert span.attributes["course_sharing.course_id"] == str(key)
    trace_id, span_id = f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"
    assert arrived.headers.keys() == {"traceparent"}
    assert arrived.headers["traceparent"].startswith(f"00-{trace_id}-{span_id}-")
