"""A Django process that does to overviews what an LMS does: delete, re-create, publish, save old copies.

Started as ``rounds.py <rounds> <name>``; prints what it measured as one line of JSON.
"""

import json
import sys
import time

import django

django.setup()

from opaque_keys.edx.keys import CourseKey  # noqa: E402 - Django first
from openedx.core.djangoapps.content.course_overviews.models import CourseOverview  # noqa: E402
from receiver import link  # noqa: E402
from waiting import until  # noqa: E402
from xmodule.modulestore.django import SignalHandler  # noqa: E402

COURSES = 10
#: One round in so many saves a whole row that it read before the link came back.
STALE = 50


def linked(key):
    rows = CourseOverview.objects.filter(id=key).values_list("marketing_url", flat=True)
    return list(rows) == [link(str(key))]


def blank(key, change):
    """Give how long the link is away, in milliseconds, from before ``change`` until it is seen again."""
    began = time.monotonic()
    change()
    until(lambda: linked(key), f"the link of {key}", pace=0.001)
    return (time.monotonic() - began) * 1000


def recreate(key):
    CourseOverview.objects.filter(id=key).delete()
    CourseOverview.objects.create(id=key)
    SignalHandler.send(key)


def main(rounds, name):
    keys = [CourseKey.from_string(f"course-v1:{name}+Round{n}+2026") for n in range(COURSES)]
    for key in keys:  # the first time the Catalog has to be asked; after that the ledger knows
        blank(key, lambda key=key: recreate(key))
    blanks, stale_blanks = [], []
    for n in range(rounds):
        key = keys[n % COURSES]
        read_before = CourseOverview(id=key)  # what a slow publish holds while we write
        blanks.append(blank(key, lambda key=key: recreate(key)))
        if n % STALE == STALE - 1:
            stale_blanks.append(blank(key, lambda row=read_before: row.save(force_update=True)))
    back = sum(linked(key) for key in keys)
    blanks.sort()
    measured = {
        "rounds": rounds,
        "back": back == COURSES,
        "median_ms": round(blanks[len(blanks) // 2], 1),
        "longest_ms": round(blanks[-1], 1),
        "stale_saves": len(stale_blanks),
        "longest_after_stale_save_ms": round(max(stale_blanks, default=0.0), 1),
    }
    sys.stdout.write(json.dumps(measured) + "\n")


main(int(sys.argv[1]), sys.argv[2])
