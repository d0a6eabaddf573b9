"""How edx-platform finds it, what it puts into the settings, and what ``manage.py check`` says."""

import traceback
from importlib.metadata import entry_points
from types import SimpleNamespace

import pytest
from django.core import checks
from django.db.models.signals import post_save
from edx_django_utils.plugins import get_plugin_apps
from xmodule.modulestore.django import SignalHandler

from course_sharing_events import conf
from course_sharing_events.apps import CourseSharingEventsConfig

PATH = "course_sharing_events.apps.CourseSharingEventsConfig"


@pytest.mark.parametrize("group", ["cms.djangoapp", "lms.djangoapp"])
def test_the_platform_finds_it(group):
    (entry,) = [e for e in entry_points(group=group) if e.dist.name == "course-sharing-events"]
    assert entry.load() is CourseSharingEventsConfig
    assert PATH in get_plugin_apps(group)


@pytest.mark.parametrize(
    ("signal", "uid"),
    [
        (SignalHandler.course_published, "course_sharing_events.course_published"),
        (post_save, "course_sharing_events.overview_saved"),
    ],
)
def test_each_receiver_is_connected_once(signal, uid):
    """By the plugin machinery and by the app itself, which one ``dispatch_uid`` makes one."""
    assert [connected[0][0] for connected in signal.receivers].count(uid) == 1


def test_defaults_are_put_in_and_what_is_set_stays():
    settings = SimpleNamespace(COURSE_SHARING_EVENTS_EXCHANGE="other")
    conf.plugin_settings(settings)
    assert settings.COURSE_SHARING_EVENTS_EXCHANGE == "other"
    assert settings.COURSE_SHARING_EVENTS_ENABLED is True
    assert len(vars(settings)) == len(conf.DEFAULTS)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"URL": None}, "COURSE_SHARING_EVENTS_URL is not set"),
        ({"URL": "redis://127.0.0.1"}, "COURSE_SHARING_EVENTS_URL must start with amqp:// or amqps://"),
        ({"SSL": True}, "COURSE_SHARING_EVENTS_SSL must be None or a dictionary"),
        ({"EXCHANGE": ""}, "COURSE_SHARING_EVENTS_EXCHANGE must be a text"),
        ({"QUEUE_SIZE": 0}, "COURSE_SHARING_EVENTS_QUEUE_SIZE must be a number, at least 1"),
        ({"TIMEOUT": "5"}, "COURSE_SHARING_EVENTS_TIMEOUT must be a number"),
        ({"MAX_BACKOFF": float("nan")}, "COURSE_SHARING_EVENTS_MAX_BACKOFF must be a number"),
        ({"EXIT_TIMEOUT": -1}, "COURSE_SHARING_EVENTS_EXIT_TIMEOUT must be a number"),
    ],
)
def test_check_names_a_wrong_setting(events, configure, settings, words):
    configure(**settings)
    (warning,) = checks.run_checks(tags=["course_sharing_events"])
    assert warning.msg.startswith(words)
    assert warning.id == "course_sharing_events.W001"


@pytest.mark.parametrize(
    "password",
    ["s3cr3t/xyz", "s3cr3t#xyz", "s3cr3t?xyz", "[s3cr3t", "1/s3cr3t", "1?s3cr3t", "#s3cr3t"],
)
def test_a_password_that_breaks_the_url_is_named_and_never_shown(events, configure, password):
    configure(URL=f"amqp://localhost;amqp://user:{password}@host/%2f")
    (warning,) = checks.run_checks(tags=["course_sharing_events"])
    assert "cannot be read; percent-encode user and password" in warning.msg
    assert "s3cr3t" not in warning.msg
    with pytest.raises(conf.SettingError) as raised:
        conf.load()
    assert "s3cr3t" not in "".join(traceback.format_exception(raised.value))


def test_check_has_nothing_to_say_when_all_is_well_or_off(events, configure):
    assert checks.run_checks(tags=["course_sharing_events"]) == []
    configure(URL=None, ENABLED=False)
    assert checks.run_checks(tags=["course_sharing_events"]) == []
