"""Django set up once, the broker there or a plain word; for each test an exchange and a sender of its own."""

import os
import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
os.environ["TEST_DATABASE"] = str(Path(tempfile.mkdtemp(prefix="course-sharing-events-")) / "db.sqlite3")


def pytest_configure(config):
    import django
    import rabbit
    from django.core.management import call_command

    try:
        rabbit.connect().close()
    except OSError as error:
        pytest.exit(
            f"No RabbitMQ answers at {rabbit.HOST}:{rabbit.PORT} ({error}). Start one, as "
            "`apt-get install rabbitmq-server && service rabbitmq-server start`, or name another in "
            "COURSE_SHARING_TEST_AMQP_URL.",
            returncode=1,
        )
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)


@pytest.fixture
def course():
    """A course key that no other test uses."""

    def make(run=""):
        from opaque_keys.edx.keys import CourseKey

        return CourseKey.from_string(f"course-v1:edX+Demo_{uuid.uuid4().hex[:12]}+2026{run}")

    return make


@pytest.fixture
def broker():
    from rabbit import Rabbit

    rabbit = Rabbit()
    rabbit.declare()
    yield rabbit
    rabbit.close()


@pytest.fixture
def configure(broker):
    """Change settings for this test; the next event finds a new sender."""
    from django.test import override_settings

    from course_sharing_events import process

    with ExitStack() as stack:

        def change(**settings):
            process.close(timeout=0)
            names = {f"COURSE_SHARING_EVENTS_{name}": value for name, value in settings.items()}
            stack.enter_context(override_settings(**names))

        yield change
        process.close(timeout=0)


@pytest.fixture
def events(broker, configure):
    """Events go to the real broker, into this test's exchange."""
    import rabbit

    configure(URL=rabbit.URL, EXCHANGE=broker.exchange, TIMEOUT=2.0, MAX_BACKOFF=0.2)
    return broker


@pytest.fixture
def proxy():
    from proxy import Proxy

    wire = Proxy()
    yield wire
    wire.close()


@pytest.fixture
def frozen():
    from proxy import Proxy

    wire = Proxy(frozen=True)
    yield wire
    wire.close()


@pytest.fixture
def publish():
    """Publish as Studio does; an exception of the receiver fails the test."""
    from xmodule.modulestore.django import SignalHandler

    def send(course_key):
        for _, answer in SignalHandler.send(course_key):
            assert answer is None, answer

    return send


@pytest.fixture
def counts():
    from course_sharing_events import process

    return lambda: process.sender().counts
