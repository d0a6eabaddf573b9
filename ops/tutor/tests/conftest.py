"""Sites rendered once for all the tests that only read them."""

import pytest
from site_of_tutor import Site


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """With every setting at its default."""
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def changed(tmp_path_factory):
    """With a broker of somebody else's, what YAML reads as another type, and course-discovery beside it."""
    return Site(
        tmp_path_factory.mktemp("changed"),
        "discovery",
        ENABLE_HTTPS=True,
        COURSE_SHARING_REPOSITORY="https://git.example.org/course-sharing.git",
        RUN_MYSQL=False,
        COURSE_SHARING_RUN_RABBITMQ=False,
        COURSE_SHARING_AMQP_URL="amqps://worker:secret@mq.example.org:5671/openedx",
        COURSE_SHARING_EVENTS_URL="amqps://events:secret@mq.example.org:5671/openedx",
        COURSE_SHARING_EVENTS_SSL={"ca_certs": "/ca.pem"},
        # What YAML makes of a bare `off`.
        COURSE_SHARING_RECONCILE_SCHEDULE=False,
        COURSE_SHARING_RECONCILE_LIGHT_SCHEDULE=False,
        COURSE_SHARING_RECONCILE_DELTA_INTERVAL=False,
        COURSE_SHARING_HEAL_INTERVAL=False,
        COURSE_SHARING_RECONCILE_PAGE_SIZE="lms",
        COURSE_SHARING_SYNC_ALSO=["language"],
        COURSE_SHARING_RETIRE_SYNC_COURSE_RUNS=False,
        COURSE_SHARING_HTTP_TOKENS=["0123456789abcdef", "fedcba9876543210"],
        COURSE_SHARING_HTTP_PORT=9090,
        COURSE_SHARING_HTTP_GRAFANA_URL="https://grafana.example.org/d/course-sharing",
        COURSE_SHARING_HTTP_TRACE_URL="https://grafana.example.org/explore?traceId={trace_id}",
        COURSE_SHARING_OTEL_ENDPOINT="http://collector:4318",
    )
