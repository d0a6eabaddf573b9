"""Stands for edx-platform's module of this name: the signal, its two names and how it is sent."""

from django.dispatch import Signal


class SignalHandler:
    course_published = Signal()

    @classmethod
    def send(cls, course_key):
        """Send as the modulestore does: robustly, with its class as the sender."""
        return cls.course_published.send_robust(sender=cls, course_key=course_key)


COURSE_PUBLISHED = SignalHandler.course_published
