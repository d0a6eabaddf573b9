"""A real broker that is stopped, frozen and started again under a process that goes on publishing."""

import time

import amqp
import pytest
from own_broker import OwnBroker
from test_broker_away import PROMISE, slowest
from waiting import until

from course_sharing_events import process

EXCHANGE, QUEUE = "course-events", "durable"


@pytest.fixture
def own(tmp_path, configure):
    broker = OwnBroker(tmp_path)
    with connect(broker) as connection:
        channel = connection.channel()
        channel.exchange_declare(EXCHANGE, "topic", durable=True, auto_delete=False)
        channel.queue_declare(QUEUE, durable=True, auto_delete=False)
        channel.queue_bind(QUEUE, EXCHANGE, "#")
    configure(URL=broker.url, EXCHANGE=EXCHANGE, TIMEOUT=1.0, MAX_BACKOFF=0.5)
    yield broker
    broker.close()


def connect(broker):
    connection = amqp.Connection(f"127.0.0.1:{broker.port}", connect_timeout=10, read_timeout=10)
    connection.connect()
    return connection


def waiting_there(broker):
    with connect(broker) as connection:
        return connection.channel().queue_declare(QUEUE, passive=True).message_count


def all_sent():
    until(lambda: process.sender().wait_empty(0), "all confirmed", limit=60)


def test_stopped_frozen_and_started_again_it_costs_the_author_nothing_and_loses_nothing(own, publish, course):
    worst = [slowest(publish, [course() for _ in range(20)])]
    all_sent()

    own.freeze()
    worst.append(slowest(publish, [course() for _ in range(100)]))
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 1.5, "the time limit of a step, so that later ones meet a retry")
    worst.append(slowest(publish, [course() for _ in range(100)]))
    assert process.sender().waiting == 200
    own.thaw()
    all_sent()

    own.stop()
    worst.append(slowest(publish, [course() for _ in range(100)]))
    assert process.sender().waiting == 100
    own.start()
    all_sent()
    worst.append(slowest(publish, [course() for _ in range(20)]))
    all_sent()

    assert max(worst) < PROMISE, worst
    # At least once: what was on its way when the broker froze may be there twice.
    assert waiting_there(own) >= 340
