"""A small project that loads the plugin as edx-platform does, or, with AS_PLUGIN=0, as a plain Django app."""

import os

AS_PLUGIN = os.environ.get("AS_PLUGIN", "1") == "1"
PROJECT_TYPE = os.environ.get("PROJECT_TYPE", "cms.djangoapp")

SECRET_KEY = "for tests"
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("TEST_DATABASE", ":memory:"),
        "TEST": {"NAME": os.environ.get("TEST_DATABASE", ":memory:")},
    }
}
# The LMS's own database, for the process that plays the LMS beside a worker.
if "LMS_DATABASE_URL" in os.environ:
    from urllib.parse import urlsplit

    import pymysql

    pymysql.install_as_MySQLdb()
    _server = urlsplit(os.environ["LMS_DATABASE_URL"])
    _engine, _port = {"mysql": ("mysql", 3306), "postgres": ("postgresql", 5432)}[_server.scheme]
    DATABASES["default"] = {
        "ENGINE": f"django.db.backends.{_engine}",
        "NAME": _server.path[1:],
        "HOST": _server.hostname,
        "PORT": _server.port or _port,
        "USER": _server.username,
        "PASSWORD": _server.password or "",
        "CONN_MAX_AGE": None,
    }
INSTALLED_APPS = [
    "openedx.core.djangoapps.content.course_overviews.apps.CourseOverviewsConfig",
    "host.apps.HostConfig",
]
# What the test of a sub-process says; unset, the plugin has its own defaults.
for _name in ("URL", "EXCHANGE", "ENABLED", "EXIT_TIMEOUT"):
    _value = os.environ.get("EVENTS_" + _name)
    if _value is not None:
        globals()["COURSE_SHARING_EVENTS_" + _name] = float(_value) if _name == "EXIT_TIMEOUT" else _value

if AS_PLUGIN:
    from edx_django_utils.plugins import add_plugins, get_plugin_apps

    INSTALLED_APPS += get_plugin_apps(PROJECT_TYPE)
    # The event bus, as a site sets it up that sends the four types; a re-run is none in older openedx-events.
    from openedx_events.content_authoring.signals import OpenEdxPublicSignal

    INSTALLED_APPS += ["openedx_events"]
    KNOWN = {signal.event_type for signal in OpenEdxPublicSignal.all_events()}
    EVENT_BUS_PRODUCER = "course_sharing_events.event_bus.CloudEventsProducer"
    EVENT_BUS_PRODUCER_CONFIG = {
        f"org.openedx.content_authoring.{name}": {"course-catalog": {"event_key_field": key, "enabled": True}}
        for name, key in {
            "course.catalog_info.changed.v1": "catalog_info.course_key",
            "course.created.v1": "course.course_key",
            "course.import.completed.v1": "course.course_key",
            "course.rerun.completed.v1": "course.course_key",
            "xblock.published.v1": "xblock_info.usage_key",
        }.items()
        if f"org.openedx.content_authoring.{name}" in KNOWN
    }
    add_plugins(__name__, PROJECT_TYPE, "common")
else:
    INSTALLED_APPS += ["course_sharing_events"]

# A sub-process says on stderr what it logs; in the tests' own process pytest sees to that.
if "EVENTS_URL" in os.environ:
    LOGGING = {
        "version": 1,
        "handlers": {"stderr": {"class": "logging.StreamHandler"}},
        "loggers": {"course_sharing_events": {"handlers": ["stderr"], "level": "INFO"}},
    }
