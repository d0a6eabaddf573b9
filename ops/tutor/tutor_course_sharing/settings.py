"""Every setting and its default. In Tutor's configuration each is called ``COURSE_SHARING_<name>``."""

from __future__ import annotations

from typing import Any

from . import __version__

PREFIX = "COURSE_SHARING_"

_SCHEME = "{% if ENABLE_HTTPS %}https{% else %}http{% endif %}"
_BROKER = (
    "{{ COURSE_SHARING_RABBITMQ_HOST }}:{{ COURSE_SHARING_RABBITMQ_PORT }}"
    "/{{ COURSE_SHARING_RABBITMQ_VHOST | course_sharing_url }}"
)

# What is installed, and where it runs.
_INSTALLATION: dict[str, Any] = {
    "VERSION": __version__,
    "DOCKER_IMAGE": "{{ DOCKER_REGISTRY }}course-sharing:{{ COURSE_SHARING_VERSION }}",
    # Where `tutor images build course-sharing` gets the sources.
    "REPOSITORY": "",
    "REPOSITORY_VERSION": "v{{ COURSE_SHARING_VERSION }}",
    "REPLICAS": 2,
    "MEMORY_LIMIT": "768Mi",
    "HTTP_PORT": 8080,
    "DEV_PORT": 8390,
    "OTEL_ENDPOINT": "",
    "MYSQL_USERNAME": "course-sharing",
    "OAUTH2_KEY": "course-sharing",
    "OAUTH2_USERNAME": "course-sharing",
    "RETIRE_SYNC_COURSE_RUNS": True,
}

_RABBITMQ: dict[str, Any] = {
    "RUN_RABBITMQ": True,
    "DOCKER_IMAGE_RABBITMQ": "docker.io/rabbitmq:4.1",
    "RABBITMQ_HOST": "course-sharing-rabbitmq",
    "RABBITMQ_PORT": 5672,
    "RABBITMQ_VHOST": "/",
    "RABBITMQ_USERNAME": "course-sharing",
    "RABBITMQ_STORAGE": "2Gi",
    "RABBITMQ_MAX_MESSAGE_SIZE": 1048576,
}

# What LMS and Studio send events by: the settings of the package course-sharing-events.
_EVENTS: dict[str, Any] = {
    "EVENTS_REQUIREMENT": "course-sharing-events=={{ COURSE_SHARING_VERSION }}",
    "EVENTS_ENABLED": True,
    "EVENTS_USERNAME": "openedx-events",
    "EVENTS_URL": "amqp://{{ COURSE_SHARING_EVENTS_USERNAME | course_sharing_url }}"
    ":{{ COURSE_SHARING_EVENTS_PASSWORD | course_sharing_url }}@" + _BROKER,
    "EVENTS_SSL": None,
    "EVENTS_QUEUE_SIZE": 10000,
    "EVENTS_TIMEOUT": 5.0,
    "EVENTS_MAX_BACKOFF": 30.0,
    "EVENTS_IDLE_TIMEOUT": 60.0,
    "EVENTS_EXIT_TIMEOUT": 5.0,
}

# The worker's own configuration: <SECTION>_<KEY> is section.key of its file.
_WORKER: dict[str, Any] = {
    "DATABASE_URL": "mysql://{{ COURSE_SHARING_MYSQL_USERNAME | course_sharing_url }}"
    ":{{ COURSE_SHARING_MYSQL_PASSWORD | course_sharing_url }}"
    "@{{ MYSQL_HOST }}:{{ MYSQL_PORT }}/{{ OPENEDX_MYSQL_DATABASE }}",
    "DATABASE_MAX_CONNECTIONS": 8,
    "AMQP_URL": "amqp://{{ COURSE_SHARING_RABBITMQ_USERNAME | course_sharing_url }}"
    ":{{ COURSE_SHARING_RABBITMQ_PASSWORD | course_sharing_url }}@" + _BROKER,
    "AMQP_EXCHANGE": "course-events",
    "AMQP_QUEUE": "course-sharing.events",
    "AMQP_PREFETCH": 200,
    "AMQP_DECLARE": True,
    # Empty: course-discovery as Tutor runs it. Its public name, because it chooses the partner by that.
    "CATALOG_URL": "",
    "CATALOG_TOKEN_URL": "http://lms:8000/oauth2/access_token",
    "CATALOG_CONCURRENCY": 2,
    "CATALOG_TIMEOUT": "20s",
    "CATALOG_REQUESTS_PER_HOUR": 0,
    "CATALOG_MAX_URL_BYTES": 1300,
    "CATALOG_MAX_BODY_BYTES": 33554432,
    "LMS_ROOT_URL": _SCHEME + "://{{ LMS_HOST }}",
    "LMS_CUSTOM_COURSE_URLS": True,
    "LMS_MARKETING_SITE": True,
    "MARKETING_URL_ALLOWED_HOSTS": [],
    "MARKETING_URL_ALLOW_HTTP": "{{ not ENABLE_HTTPS }}",
    "SYNC_MAX_BATCH": 200,
    "SYNC_MIN_INTERVAL": "5s",
    "SYNC_CLEAR_AFTER": "15m",
    "SYNC_ALSO": [],
    "RECONCILE_SCHEDULE": "0 30 3 * * *",
    "RECONCILE_LIGHT_SCHEDULE": "0 15 * * * *",
    "RECONCILE_DELTA_INTERVAL": "5m",
    "RECONCILE_PAGE_SIZE": "auto",
    "RECONCILE_MAX_CHANGE_RATIO": 0.05,
    "RECONCILE_ABSENT": "keep",
    "RECONCILE_RESUME_WITHIN": "2h",
    "HEAL_INTERVAL": "60s",
    # For the worker's file of tokens.
    "HTTP_TOKENS": [],
    "HTTP_GRAFANA_URL": "",
    "HTTP_TRACE_URL": "",
    "LOG_FORMAT": "json",
    "LOG_LEVEL": "info",
}

DEFAULTS = {**_INSTALLATION, **_RABBITMQ, **_EVENTS, **_WORKER}

# Made from a secret that Tutor has saved before, and not at random: `tutor plugins enable` saves nothing, and
# each command until the next `tutor config save` would have passwords of its own.
UNIQUE = {
    name: "{{ OPENEDX_SECRET_KEY | course_sharing_password('" + name + "') }}"
    for name in ("MYSQL_PASSWORD", "RABBITMQ_PASSWORD", "EVENTS_PASSWORD", "OAUTH2_SECRET")
}
