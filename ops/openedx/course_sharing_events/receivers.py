"""What edx-platform tells us, and what of it is passed on.

Both receivers stand in both services: Studio publishes courses, but the LMS does so too, for the runs of CCX
coaches; and an overview is created by whichever process misses it first.
"""

from __future__ import annotations

import logging
from typing import Any

from .course_id import course_run_id
from .dispatch import after_commit
from .message import COURSE_PUBLISH, OVERVIEW_RECREATED, native
from .trace import creating

log = logging.getLogger(__name__)


def on_course_published(sender: Any, course_key: Any, **kwargs: Any) -> None:
    """Receive ``SignalHandler.course_published``; the names of the first two parameters are the signal's."""
    _announce(COURSE_PUBLISH, course_key)


def on_overview_saved(
    sender: Any, instance: Any, created: bool = False, using: str | None = None, **kwargs: Any
) -> None:
    """Receive ``post_save`` of a ``CourseOverview``: only a new row has lost its URL."""
    if created:
        _announce(OVERVIEW_RECREATED, instance.pk, using)


def _announce(event_type: str, key: Any, using: str | None = None) -> None:
    try:
        course_id = course_run_id(key)
        if course_id is None:
            log.debug("%s left out: %s is no course run", event_type, key)
            return
        with creating(event_type, course_id) as headers:  # now: the trace may be over at the commit
            pass
    except Exception:
        log.exception("event lost")
        return
    after_commit(lambda: native(event_type, course_id, headers), using)
