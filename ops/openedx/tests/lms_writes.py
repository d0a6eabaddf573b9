"""A Django process that writes overviews in every way that Django has, under the restore trigger.

Started as ``lms_writes.py <known key> <unknown key>``; prints the links that it reads back, as JSON.
"""

import json
import sys

import django

django.setup()

from django.db import connection, transaction  # noqa: E402 - Django first
from opaque_keys.edx.keys import CourseKey  # noqa: E402
from openedx.core.djangoapps.content.course_overviews.models import CourseOverview  # noqa: E402

STALE = "https://stale.example/x"
SOCIAL = "https://social.example/"
WAYS = {}


def way(write):
    WAYS[write.__name__] = write
    return write


@way
def create(key):
    CourseOverview.objects.create(id=key)


@way
def save_a_stale_copy(key):
    row = CourseOverview.objects.create(id=key)
    row.marketing_url = STALE
    row.save()


@way
def save_a_blank_copy(key):
    row = CourseOverview.objects.create(id=key)
    row.marketing_url = None
    row.save(force_update=True)


@way
def save_one_column(key):
    row = CourseOverview.objects.create(id=key)
    row.social_sharing_url = SOCIAL
    row.save(update_fields=["social_sharing_url"])


@way
def bulk_create(key):
    others = [CourseOverview(id=CourseKey.from_string(f"course-v1:Other+C{n}+2026")) for n in range(3)]
    CourseOverview.objects.bulk_create([*others, CourseOverview(id=key)])


@way
def bulk_create_that_updates(key):
    CourseOverview.objects.create(id=key)
    # MySQL takes whichever key is in the way.
    unique = None if connection.vendor == "mysql" else ["id"]
    CourseOverview.objects.bulk_create(
        [CourseOverview(id=key, marketing_url=STALE)],
        update_conflicts=True,
        update_fields=["marketing_url"],
        unique_fields=unique,
    )


@way
def bulk_update(key):
    row = CourseOverview.objects.create(id=key)
    row.marketing_url = STALE
    CourseOverview.objects.bulk_update([row], ["marketing_url"])


@way
def update_or_create_that_creates(key):
    CourseOverview.objects.update_or_create(id=key, defaults={"marketing_url": None})


@way
def update_or_create_that_updates(key):
    CourseOverview.objects.create(id=key)
    CourseOverview.objects.update_or_create(id=key, defaults={"marketing_url": STALE})


@way
def get_or_create(key):
    CourseOverview.objects.get_or_create(id=key)


@way
def update(key):
    CourseOverview.objects.create(id=key)
    assert CourseOverview.objects.filter(id=key).update(marketing_url=STALE) == 1


@way
def delete_and_create_in_one_transaction(key):
    with transaction.atomic():
        CourseOverview.objects.create(id=key)
        CourseOverview.objects.filter(id=key).delete()
        CourseOverview.objects.create(id=key)


def written(write, key):
    CourseOverview.objects.all().delete()
    write(key)
    return CourseOverview.objects.values_list("marketing_url", flat=True).get(id=key)


def main(*keys):
    keys = [CourseKey.from_string(key) for key in keys]
    found = {name: [written(write, key) for key in keys] for name, write in WAYS.items()}
    sys.stdout.write(json.dumps(found) + "\n")


main(*sys.argv[1:])
