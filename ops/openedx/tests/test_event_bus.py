"""The event bus's face, by the signals and the settings of openedx-events itself."""

import uuid
from datetime import UTC, datetime
from importlib.metadata import version

import pytest
from django.db import transaction
from opaque_keys.edx.keys import CourseKey, UsageKey
from openedx_events.content_authoring import signals
from openedx_events.content_authoring.data import (
    CourseCatalogData,
    CourseData,
    CourseScheduleData,
    XBlockData,
)
from openedx_events.event_bus import get_producer

from course_sharing_events.event_bus import CloudEventsProducer

PREFIX = "org.openedx.content_authoring.course."
EDITED = datetime(2026, 11, 22, 16, 0, 0, 123456, tzinfo=UTC)


def catalog_info(key):
    schedule = CourseScheduleData(
        start=EDITED, pacing="self", end=None, enrollment_start=None, enrollment_end=None
    )
    return CourseCatalogData(course_key=key, name="Secret plans", schedule_data=schedule)


def test_the_setting_loads_it():
    assert isinstance(get_producer(), CloudEventsProducer)


def test_a_catalog_change_arrives_as_a_cloud_event(events, course):
    key = course()
    signals.COURSE_CATALOG_INFO_CHANGED.send_event(time=EDITED, catalog_info=catalog_info(key))
    (arrived,) = events.receive()
    assert arrived.routing_key == "course-publish"
    assert arrived.properties["content_type"] == "application/cloudevents+json"
    assert arrived.properties["delivery_mode"] == 2
    assert arrived.properties["message_id"] == arrived.body["id"]
    body = arrived.body
    assert uuid.UUID(body.pop("id"))
    assert body.pop("sourcehost")
    assert body.pop("sourcelib").count(".") == 2
    assert body == {
        "specversion": "1.0",
        "type": f"{PREFIX}catalog_info.changed.v1",
        "source": "openedx/SERVICE_NAME_UNSET/web",
        "time": "2026-11-22T16:00:00.123Z",
        "datacontenttype": "application/json",
        "minorversion": 0,
        "data": {"catalog_info": {"course_key": str(key)}},
    }


OTHERS = {
    "COURSE_CREATED": "created.v1",
    "COURSE_IMPORT_COMPLETED": "import.completed.v1",
    "COURSE_RERUN_COMPLETED": "rerun.completed.v1",
}


def test_only_an_old_version_has_fewer_types():
    missing = [name for name in OTHERS if not hasattr(signals, name)]
    assert missing == [] or version("openedx-events").startswith("9.")


@pytest.mark.parametrize(
    ("name", "event_type"),
    [(name, event_type) for name, event_type in OTHERS.items() if hasattr(signals, name)],
)
def test_the_others_have_their_key_in_course(events, course, name, event_type):
    key = course()
    getattr(signals, name).send_event(course=CourseData(course_key=key))
    (arrived,) = events.receive()
    assert arrived.body["type"] == PREFIX + event_type
    assert arrived.body["data"] == {"course": {"course_key": str(key)}}


def test_other_types_and_libraries_are_left_out(events, course):
    usage = UsageKey.from_string("block-v1:edX+DemoX+2026+type@html+block@x")
    signals.XBLOCK_PUBLISHED.send_event(xblock_info=XBlockData(usage_key=usage, block_type="html"))
    library = CourseKey.from_string("library-v1:edX+lib")
    signals.COURSE_CREATED.send_event(course=CourseData(course_key=library))
    key = course()
    signals.COURSE_CREATED.send_event(course=CourseData(course_key=key))
    assert events.receive()[0].body["data"]["course"]["course_key"] == str(key)


def test_it_waits_for_the_commit(events, course):
    key, last = course(), course()
    with transaction.atomic():
        signals.COURSE_CREATED.send_event(course=CourseData(course_key=key))
        transaction.set_rollback(True)
    with transaction.atomic():
        signals.COURSE_CREATED.send_event(course=CourseData(course_key=last))
        assert events.get() is None
    assert events.receive()[0].body["data"]["course"]["course_key"] == str(last)


def test_it_never_raises(events, caplog):
    CloudEventsProducer().send(
        signal=signals.COURSE_CREATED, topic="", event_key_field="", event_data={}, event_metadata=None
    )
    assert "event lost" in caplog.text


def test_turned_off_it_does_nothing(events, configure, course):
    from course_sharing_events import process

    configure(ENABLED=False)
    signals.COURSE_CREATED.send_event(course=CourseData(course_key=course()))
    assert process._senders == {}
