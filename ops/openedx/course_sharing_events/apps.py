"""The Django app, as a plugin of edx-platform or by name in ``INSTALLED_APPS``.

``plugin_app`` holds plain texts, as edx-django-utils reads them, so that it need not be installed.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.apps import AppConfig

_COURSE_PUBLISHED = {
    "receiver_func_name": "on_course_published",
    # The class attribute SignalHandler.course_published under the name that can be imported.
    "signal_path": "xmodule.modulestore.django.COURSE_PUBLISHED",
    "dispatch_uid": "course_sharing_events.course_published",
}
_OVERVIEW_SAVED = {
    "receiver_func_name": "on_overview_saved",
    "signal_path": "django.db.models.signals.post_save",
    "sender_path": "openedx.core.djangoapps.content.course_overviews.models.CourseOverview",
    "dispatch_uid": "course_sharing_events.overview_saved",
}
_SIGNALS = {"relative_path": "receivers", "receivers": [_COURSE_PUBLISHED, _OVERVIEW_SAVED]}
_SETTINGS = {"common": {"relative_path": "conf"}}


class CourseSharingEventsConfig(AppConfig):
    """Connects the receivers and sees to it that the last events of a process are sent."""

    name = "course_sharing_events"
    verbose_name = "course-sharing: events"
    default_auto_field = "django.db.models.BigAutoField"

    plugin_app: ClassVar[dict[str, Any]] = {
        "settings_config": {"lms.djangoapp": _SETTINGS, "cms.djangoapp": _SETTINGS},
        "signals_config": {"lms.djangoapp": _SIGNALS, "cms.djangoapp": _SIGNALS},
    }

    def ready(self) -> None:
        """Connect, too, where no plugin machinery does: the same ``dispatch_uid`` makes it one connection."""
        from . import checks  # noqa: F401 - registers itself
        from .process import close_at_exit

        _connect()
        close_at_exit()


def _connect() -> None:
    from django.apps import apps
    from django.db.models.signals import post_save

    from .receivers import on_course_published, on_overview_saved

    # By name, so that it connects when the model is loaded. Where no app has the model, `manage.py check`
    # would call the name an error.
    if any(app.label == "course_overviews" for app in apps.get_app_configs()):
        post_save.connect(
            on_overview_saved,
            sender="course_overviews.CourseOverview",
            dispatch_uid=_OVERVIEW_SAVED["dispatch_uid"],
        )
    try:
        from xmodule.modulestore.django import SignalHandler
    except ImportError:  # not an edx-platform
        return
    SignalHandler.course_published.connect(
        on_course_published, dispatch_uid=_COURSE_PUBLISHED["dispatch_uid"]
    )
