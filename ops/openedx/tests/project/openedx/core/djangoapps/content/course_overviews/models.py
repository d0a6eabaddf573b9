"""Stands for edx-platform's model of this name: the same key field, and the column this is all about."""

from django.db import models
from opaque_keys.edx.django.models import CourseKeyField


class CourseOverview(models.Model):
    id = CourseKeyField(db_index=True, primary_key=True, max_length=255)
    marketing_url = models.TextField(null=True)

    class Meta:
        app_label = "course_overviews"
