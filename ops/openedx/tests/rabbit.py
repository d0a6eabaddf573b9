"""The real broker: an exchange and a queue of a test's own, and what arrived there."""

import json
import os
import uuid
from dataclasses import dataclass
from urllib.parse import urlsplit

import amqp
from waiting import until

URL = os.environ.get("COURSE_SHARING_TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
PARTS = urlsplit(URL)
HOST, PORT = PARTS.hostname, PARTS.port or 5672
KEYS = ("course-publish", "overview-recreated")


def url_at(port, host="127.0.0.1"):
    """The broker's URL with another address."""
    return URL.replace(f"{HOST}:{PORT}", f"{host}:{port}")


def connect():
    connection = amqp.Connection(
        f"{HOST}:{PORT}", userid=PARTS.username, password=PARTS.password, connect_timeout=5
    )
    connection.connect()
    return connection


@dataclass
class Arrived:
    routing_key: str
    body: dict
    properties: dict

    @property
    def headers(self):
        return self.properties.get("application_headers", {})

    @property
    def course_id(self):
        return self.body["course_id"]


class Rabbit:
    """A topic exchange with one queue for both routing keys, gone after the test."""

    def __init__(self):
        self.connection = connect()
        self.channel = self.connection.channel()
        self.exchange = f"test-course-events-{uuid.uuid4()}"
        self.queue = f"test-course-sharing-{uuid.uuid4()}"

    def declare(self, arguments=None):
        self.declare_exchange()
        self.channel.queue_declare(self.queue, durable=True, auto_delete=False, arguments=arguments)
        self.bind(*KEYS)

    def declare_exchange(self):
        self.channel.exchange_declare(self.exchange, "topic", durable=True, auto_delete=False)

    def bind(self, *keys):
        for key in keys:
            self.channel.queue_bind(self.queue, self.exchange, key)

    def unbind(self, *keys):
        for key in keys:
            self.channel.queue_unbind(self.queue, self.exchange, key)

    def delete_exchange(self):
        self.channel.exchange_delete(self.exchange)

    def get(self):
        message = self.channel.basic_get(self.queue, no_ack=True)
        if message is None:
            return None
        body = message.body.encode() if isinstance(message.body, str) else bytes(message.body)
        return Arrived(message.delivery_info["routing_key"], json.loads(body), dict(message.properties))

    def receive(self, count=1):
        """Wait for exactly so many messages."""
        return [until(self.get, f"message {n + 1} of {count}") for n in range(count)]

    def receive_until(self, course_id):
        """Wait for the message of ``course_id`` and give all that came before it, and it."""
        seen = []
        while not seen or seen[-1].course_id != course_id:
            seen += self.receive()
        return seen

    def close(self):
        self.channel.queue_delete(self.queue)
        self.channel.exchange_delete(self.exchange)
        self.connection.close()
