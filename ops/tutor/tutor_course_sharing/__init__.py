"""The Tutor plugin of course-sharing: its worker, its RabbitMQ, and what the LMS and Studio need for it."""

__version__ = "0.2.0"
