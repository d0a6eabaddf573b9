"""``manage.py course_sharing_publish``."""

import io

import pytest
import rabbit
from django.core.management import CommandError, call_command
from openedx.core.djangoapps.content.course_overviews.models import CourseOverview
from proxy import unused_port

from course_sharing_events import process


def run(*args, **options):
    """Run the command; give what it wrote, and the CommandError if it ended with one."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("course_sharing_publish", *args, stdout=out, stderr=err, **options)
    except CommandError as error:
        return out.getvalue(), err.getvalue(), error
    return out.getvalue(), err.getvalue(), None


@pytest.fixture
def overviews(course, configure):
    """Overviews as they stand before the event goes anywhere: made with the plugin turned off."""
    CourseOverview.objects.all().delete()
    keys = [course() for _ in range(600)]
    CourseOverview.objects.bulk_create(CourseOverview(id=key) for key in keys)
    yield sorted(map(str, keys))
    CourseOverview.objects.all().delete()


def test_given_runs_are_confirmed(events, course):
    keys = [str(course()), "ccx-v1:edX+DemoX+2026+ccx@42", "edX/DemoX/2012"]
    out, _, error = run(*keys)
    assert error is None
    assert out == "3 of 3 confirmed\n"
    arrived = events.receive(3)
    assert [a.course_id for a in arrived] == keys
    assert {a.routing_key for a in arrived} == {"course-publish"}
    assert process._senders == {}, "nothing goes through the queue"


def test_all_runs_are_confirmed(events, overviews):
    out, err, error = run("--all", verbosity=2)
    assert error is None
    assert out == "600 of 600 confirmed\n"
    assert "512 of 600" not in err
    assert "512 of 512 confirmed so far" in err
    assert [a.course_id for a in events.receive(600)] == overviews


def test_an_overview_that_is_no_run_is_named_and_left_out(events, overviews):
    CourseOverview.objects.create(id="library-v1:edX+lib")
    out, err, error = run("--all")
    assert error is None
    assert out == "600 of 600 confirmed\n"
    assert "left out, no course run: library-v1:edX+lib" in err


def test_wrong_keys_are_named_and_nothing_is_sent(events, course):
    _, _, error = run(str(course()), "course-v1:a+b", "library-v1:edX+lib", "x")
    assert error.returncode == 2
    assert str(error) == "not the key of a course run: 'course-v1:a+b', 'library-v1:edX+lib', 'x'"
    assert events.get() is None


@pytest.mark.parametrize("args", [[], ["--all", "course-v1:a+b+c"]])
def test_either_all_or_some(events, args):
    _, _, error = run(*args)
    assert error.returncode == 2


def test_unconfirmed_ones_fail_it(events, configure, overviews, monkeypatch):
    monkeypatch.setattr("course_sharing_events.bulk.PAUSES", (0.01,))
    configure(URL=rabbit.url_at(unused_port()))
    out, _, error = run("--all")
    assert error.returncode == 1
    assert out == "0 of 600 confirmed\n"
    assert str(error).startswith("600 not confirmed: ")
    assert overviews[0] in str(error)
    assert str(error).endswith(", …")


def test_unroutable_ones_fail_it(events, course, monkeypatch):
    monkeypatch.setattr("course_sharing_events.bulk.PAUSES", (0.01,))
    events.unbind("course-publish")
    key = str(course())
    out, _, error = run(key)
    assert error.returncode == 1
    assert out == "0 of 1 confirmed\n"
    assert "no queue is bound" in str(error)
    assert key in str(error)


def test_a_frozen_broker_fails_it(events, configure, course, frozen, monkeypatch):
    monkeypatch.setattr("course_sharing_events.bulk.PAUSES", (0.01,))
    configure(URL=frozen.url, TIMEOUT=0.2)
    _, _, error = run(str(course()))
    assert error.returncode == 1


@pytest.mark.parametrize(
    ("settings", "words"), [({"ENABLED": False}, "ENABLED is False"), ({"URL": None}, "URL is not set")]
)
def test_turned_off_it_says_so(events, configure, settings, words):
    configure(**settings)
    _, _, error = run("course-v1:a+b+c")
    assert error.returncode == 2
    assert words in str(error)
