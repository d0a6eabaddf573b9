"""Tells at ``manage.py check`` what would otherwise show only when the first event is not sent."""

from __future__ import annotations

from typing import Any

from django.core import checks

from . import conf


@checks.register("course_sharing_events")
def settings_are_sound(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn: a wrong setting must not keep Studio from starting."""
    if conf.switched_off():
        return []
    try:
        conf.load()
    except conf.SettingError as error:
        return [checks.Warning(f"{error}: no event is sent.", id="course_sharing_events.W001")]
    return []
