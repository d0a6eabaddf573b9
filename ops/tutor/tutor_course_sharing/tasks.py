"""The scripts that ``do init`` runs, and the one way back. Each runs in the container of a service."""

from __future__ import annotations

from importlib.resources import files

# The tables come first: MySQL grants rights on a table's columns only where there is a table.
INIT = (("course-sharing", "migrate"), ("mysql", "grant"), ("lms", "client"))

# The worker's user goes last of what it uses, so that a running worker fails loudly and not strangely.
REMOVE = (("course-sharing", "migrate-down"), ("mysql", "revoke"), ("lms", "client-remove"))


def read(name: str) -> str:
    """Give a script as it is in the package; Tutor renders it."""
    folder = files("tutor_course_sharing") / "templates" / "course-sharing" / "tasks"
    return (folder / f"{name}.sh").read_text(encoding="utf-8")
