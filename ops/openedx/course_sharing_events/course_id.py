"""Which texts are keys of course runs: the one question asked of every key before it is sent.

A pattern, not opaque-keys' types: there a library's key *is* a ``CourseKey``, and this must also work where
opaque-keys is not installed. Alphabet and forms are those that course-sharing accepts.
"""

from __future__ import annotations

import re
from typing import Final

#: What the LMS's ``varchar(255)`` holds.
MAX_CHARS: Final = 255

_NEW = r"[\w\-~.:]+"
_OLD = r"[\w\-.%]+"
_RUN: Final = re.compile(
    rf"course-v1:{_NEW}\+{_NEW}\+{_NEW}|ccx-v1:{_NEW}\+{_NEW}\+{_NEW}\+ccx@[0-9]+|{_OLD}/{_OLD}/{_OLD}"
)
# A tail that names a version of a course: the same run.
_TAIL: Final = re.compile(r"\+(?:branch|version)@.*", re.DOTALL)


def course_run_id(key: object) -> str | None:
    """Give the run's key as text, without a branch or version; ``None`` for a library or anything else."""
    text = _TAIL.sub("", str(key))
    if len(text) > MAX_CHARS or not _RUN.fullmatch(text):
        return None
    return text


def checked_by_opaque_keys(course_id: str) -> bool:
    """Ask opaque-keys too, where it is installed: it knows what the platform itself would refuse."""
    try:
        from opaque_keys import InvalidKeyError
        from opaque_keys.edx.keys import CourseKey
    except ImportError:
        return True
    try:
        CourseKey.from_string(course_id)
    except InvalidKeyError:
        return False
    return True
