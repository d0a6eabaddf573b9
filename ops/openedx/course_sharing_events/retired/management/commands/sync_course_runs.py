"""Stands where edx-platform has its own ``sync_course_runs``, which writes over what course-sharing knows."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Writes nothing, and succeeds: a timetable that still calls it is no reason to wake somebody."""

    help = "Retired on this site: course-sharing keeps marketing_url. Does nothing."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own declaration

    def handle(self, *args: Any, **options: Any) -> None:
        """Say who does the work now."""
        self.stdout.write(
            "sync_course_runs is retired on this site and has done nothing: course-sharing keeps "
            "marketing_url. Take the command out of its timetable."
        )
