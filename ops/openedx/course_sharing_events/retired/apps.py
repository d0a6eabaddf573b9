"""The Django app. It has a command and nothing else."""

from django.apps import AppConfig


class RetiredConfig(AppConfig):
    """Named in full: an edx-platform has hundreds of apps, and a label may be taken once."""

    name = "course_sharing_events.retired"
    label = "course_sharing_events_retired"
    verbose_name = "course-sharing: commands that it has retired"
