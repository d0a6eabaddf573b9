"""What is sent ends as a written column: the receiving end is the real worker, on the LMS's own table."""

import json
import os
import subprocess
import sys

import child
import pytest
import rabbit
from django.core.management import call_command
from openedx_events.content_authoring import signals
from openedx_events.content_authoring.data import CourseData
from receiver import PROGRAM, Receiver
from test_event_bus import catalog_info
from waiting import until

ROUNDS = int(os.environ.get("COURSE_SHARING_TEST_ROUNDS", "1000"))


@pytest.fixture(scope="module")
def receiver():
    if not os.access(PROGRAM, os.X_OK):
        pytest.fail(f"no worker at {PROGRAM}: cargo build, or name one in COURSE_SHARING_PROGRAM")
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def overview(receiver, configure, course):
    """An overview without a link, and events that go to the worker."""
    configure(URL=rabbit.URL, EXCHANGE=receiver.exchange)
    key = course()
    receiver.create(key)
    return key


def test_a_publish_ends_as_a_link(receiver, overview, publish):
    publish(overview)
    receiver.until_linked(overview)


@pytest.mark.parametrize(
    "send",
    [
        lambda key: signals.COURSE_CATALOG_INFO_CHANGED.send_event(catalog_info=catalog_info(key)),
        lambda key: signals.COURSE_CREATED.send_event(course=CourseData(course_key=key)),
        lambda key: signals.COURSE_IMPORT_COMPLETED.send_event(course=CourseData(course_key=key)),
        lambda key: signals.COURSE_RERUN_COMPLETED.send_event(course=CourseData(course_key=key)),
    ],
    ids=["catalog_info.changed", "created", "import.completed", "rerun.completed"],
)
def test_each_event_of_the_bus_ends_as_a_link(receiver, overview, send):
    send(overview)
    receiver.until_linked(overview)


def test_the_command_ends_as_a_link(receiver, overview):
    call_command("course_sharing_publish", str(overview), verbosity=0)
    receiver.until_linked(overview)


def test_all_of_it_is_understood(receiver, overview, publish):
    """Nothing dies, and what the worker counts is what was sent."""
    series = 'course_sharing_events_total{outcome="applied",type="course-publish"}'
    before = receiver.metric(series)
    publish(overview)
    until(lambda: receiver.metric(series) > before, "an event counted as applied")
    assert receiver.run("dead-letters", "list") == ""


def test_a_link_comes_back_in_every_one_of_the_rounds(receiver, capsys):
    done = subprocess.run(
        [sys.executable, "rounds.py", str(ROUNDS), receiver.name],
        env=child.environment(
            EVENTS_URL=rabbit.URL, EVENTS_EXCHANGE=receiver.exchange, LMS_DATABASE_URL=receiver.url
        ),
        cwd=child.TESTS,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    with capsys.disabled():
        sys.stdout.write(f"\ndelete, re-create, publish: {done.stdout.strip()}\n")
    assert measured["back"]
    assert measured["rounds"] == ROUNDS
