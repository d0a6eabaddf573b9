"""Stands for edx-platform's model of this name: its table, column by column, as an LMS has it."""

import re
from pathlib import Path

from django.db import models
from django.utils import timezone
from opaque_keys.edx.django.models import CourseKeyField

SHAPE = Path(__file__).parents[9] / "tests/fixtures/lms/course_overviews.mysql.sql"
#: The model's own defaults are Python's; the table has none.
KINDS = {
    "varchar": lambda null: models.CharField(max_length=255, null=null, default=None if null else ""),
    "longtext": lambda null: models.TextField(null=null, default=None if null else ""),
    "datetime": lambda null: models.DateTimeField(null=null, default=None if null else timezone.now),
    "bool": lambda null: models.BooleanField(null=null, default=None if null else False),
    "int": lambda null: models.IntegerField(null=null, default=None if null else 0),
    "double": lambda null: models.FloatField(null=null, default=None if null else 0.0),
    "decimal": lambda null: models.DecimalField(max_digits=5, decimal_places=2, null=null),
}


class CourseOverview(models.Model):
    id = CourseKeyField(db_index=True, primary_key=True, max_length=255)

    class Meta:
        app_label = "course_overviews"


for _name, _kind, _null in re.findall(
    r"^  `(\w+)` (\w+)[^ ]* (NOT NULL|NULL)", SHAPE.read_text(), re.MULTILINE
):
    if _name != "id":
        CourseOverview.add_to_class(_name, KINDS[_kind](_null == "NULL"))
