"""``course_sharing_publish``: says of some runs, or all, that they may be stale, and waits for confirms."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError

from course_sharing_events import conf
from course_sharing_events.bulk import Totals, publish_all
from course_sharing_events.course_id import checked_by_opaque_keys, course_run_id
from course_sharing_events.message import COURSE_PUBLISH, Message, native
from course_sharing_events.trace import creating

WRONG_USAGE = 2


class Command(BaseCommand):
    """Exit codes as course-sharing's own: 0 all confirmed, 1 some not, 2 wrong usage or settings."""

    help = (
        "Publish `course-publish` for the given course runs, or for every course overview, and wait until "
        "the broker has confirmed each. Exit codes: 0 all confirmed, 1 some not, 2 wrong usage or settings."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Either ``--all`` or at least one key."""
        parser.add_argument("course_ids", nargs="*", metavar="course-id")
        parser.add_argument("--all", action="store_true", help="every course overview of this platform")

    def handle(self, *args: Any, **options: Any) -> None:
        """Send, say how many, and fail if one was not confirmed."""
        if options["all"] == bool(options["course_ids"]):
            raise CommandError("give either --all or course ids", returncode=WRONG_USAGE)
        config = _config()
        ids = self._overviews() if options["all"] else _checked(options["course_ids"])
        totals = Totals()
        for totals in publish_all(config, map(_message, ids)):
            if options["verbosity"] > 1:
                self.stderr.write(f"{totals.confirmed} of {totals.asked} confirmed so far")
        self.stdout.write(f"{totals.confirmed} of {totals.asked} confirmed")
        missing = totals.asked - totals.confirmed
        if missing:
            more = ", …" if missing > len(totals.failed) else ""
            raise CommandError(
                f"{missing} not confirmed: {totals.reason}\n  {', '.join(totals.failed)}{more}", returncode=1
            )

    def _overviews(self) -> Iterator[str]:
        """Give the key of every overview; a row that is no course run is named and left out."""
        try:
            overview = apps.get_model("course_overviews", "CourseOverview")
        except LookupError as error:
            raise CommandError("--all needs the course_overviews app", returncode=WRONG_USAGE) from error
        # In pages of the database's driver: a platform may have 10⁴ rows.
        for key in overview.objects.order_by("pk").values_list("pk", flat=True).iterator():
            course_id = course_run_id(key)
            if course_id is None:
                self.stderr.write(f"left out, no course run: {key}")
                continue
            yield course_id


def _message(course_id: str) -> Message:
    with creating(COURSE_PUBLISH, course_id) as headers:
        return native(COURSE_PUBLISH, course_id, headers)


def _config() -> conf.Config:
    if conf.switched_off():
        raise CommandError(f"{conf.PREFIX}ENABLED is False: nothing is sent", returncode=WRONG_USAGE)
    try:
        return conf.load()
    except conf.SettingError as error:
        raise CommandError(str(error), returncode=WRONG_USAGE) from error


def _checked(texts: Iterable[str]) -> list[str]:
    """Refuse the whole request if one key is wrong, naming each: half a refresh is no refresh."""
    ids, wrong = [], []
    for text in texts:
        course_id = course_run_id(text)
        if course_id is None or not checked_by_opaque_keys(course_id):
            wrong.append(text)
        else:
            ids.append(course_id)
    if wrong:
        raise CommandError(
            "not the key of a course run: " + ", ".join(map(repr, wrong)), returncode=WRONG_USAGE
        )
    return ids
