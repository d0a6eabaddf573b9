"""The connection to RabbitMQ: gives it messages and says of each what became of it.

Kombu opens it and sends; the confirms are matched here. py-amqp's own ``confirm_publish`` waits for *an* ack
after each message, without looking which: after a time-out it takes the late ack of one message for the next
one's, and every message costs a round trip. Here a batch goes out whole and each ack is matched by its tag.

Not thread-safe: one thread owns it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import kombu

from .conf import Config
from .message import Message


@dataclass(slots=True)
class Report:
    """What became of a batch: each message is in exactly one of the three lists."""

    confirmed: list[Message] = field(default_factory=list)
    #: The broker's own no, and why: no queue takes it, or a queue refuses it.
    refused: list[tuple[Message, str]] = field(default_factory=list)
    #: Nobody knows: sent again, they may arrive twice, which does no harm.
    unsettled: list[Message] = field(default_factory=list)
    #: Why some are unsettled.
    error: Exception | None = None


class Broker:
    """One connection, opened when there is something to send and again after every failure."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._hosts = deque(config.url.split(";"))
        self._connection: Any = None
        self._producer: Any = None
        self._last_tag = 0
        self._unconfirmed: dict[int, Message] = {}
        self._returned: dict[str, str] = {}
        self._report = Report()

    @property
    def is_open(self) -> bool:
        """Tell whether there is a connection, as far as this end knows."""
        return self._producer is not None

    def publish(self, messages: Sequence[Message]) -> Report:
        """Send ``messages`` and wait for the broker's word on each. Never raises for what a broker does.

        A connection that was kept may have died unnoticed, so a failure on one is tried again, once, on a
        fresh one.
        """
        kept = self.is_open
        report = self._attempt(messages)
        if report.error is not None and kept:
            again = self._attempt(report.unsettled)
            report.confirmed += again.confirmed
            report.refused += again.refused
            report.unsettled, report.error = again.unsettled, again.error
        return report

    def close(self) -> None:
        """Take leave of the broker, in bounded time: the socket has a time limit."""
        connection, self._connection, self._producer = self._connection, None, None
        if connection is None:
            return
        try:
            connection.release()
        except Exception:  # already gone: what matters is that the socket is closed
            _cut(connection)

    def _attempt(self, messages: Sequence[Message]) -> Report:
        self._report = report = Report()
        self._unconfirmed, self._returned = {}, {}
        sent = 0
        try:
            self._open()
            for message in messages:
                self._send(message)
                sent += 1
            self._await_confirms()
        except Exception as error:  # whatever it is, this connection's state is unknown from here on
            report.error = error
            report.unsettled = [*self._unconfirmed.values(), *messages[sent:]]
            self._drop()
        return report

    def _open(self) -> None:
        if self._producer is not None:
            return
        self._connection = connection = self._connect()
        # Else opening a channel, or closing it, waits for ever on a broker that froze.
        connection.connection.sock.settimeout(self._config.timeout)
        channel = connection.channel()
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        self._last_tag = 0
        self._producer = kombu.Producer(channel, auto_declare=False, on_return=self._on_return)

    def _connect(self) -> Any:
        """Try each host once, beginning with the one that worked last."""
        for left in range(len(self._hosts) - 1, -1, -1):
            connection = self._to(self._hosts[0])
            try:
                # The tiny time limit: one try. Kombu's own tries pause, and say nothing meanwhile.
                return connection.ensure_connection(max_retries=1, interval_start=0, timeout=1e-9)
            except Exception:
                _cut(connection)
                self._hosts.rotate(-1)
                if not left:
                    raise
        raise AssertionError("a checked URL names a host")

    def _to(self, url: str) -> Any:
        return kombu.Connection(
            url,
            ssl=self._tls(url),
            connect_timeout=self._config.timeout,
            # No heartbeat: nothing beats while the thread sleeps. An unused connection is closed instead.
            heartbeat=0,
            transport_options={"client_properties": {"connection_name": _name()}},
        )

    def _tls(self, url: str) -> dict[str, Any] | bool:
        """Have the broker's name checked, which kombu leaves out unless it is told the name."""
        parts = urlsplit(url)
        if parts.scheme != "amqps":
            return self._config.ssl or False
        return {"server_hostname": parts.hostname, **(self._config.ssl or {})}

    def _send(self, message: Message) -> None:
        # Before the write: the ack may be read while the next message is written.
        self._last_tag += 1
        self._unconfirmed[self._last_tag] = message
        try:
            self._producer.publish(
                message.body,
                exchange=self._config.exchange,
                routing_key=message.routing_key,
                mandatory=True,
                delivery_mode=2,
                content_type=message.content_type,
                content_encoding="utf-8",
                headers=dict(message.headers),
                message_id=message.message_id,
                timestamp=int(message.time.timestamp()),
            )
        except Exception:
            self._unconfirmed.pop(self._last_tag, None)
            raise

    def _await_confirms(self) -> None:
        deadline = time.monotonic() + self._config.timeout
        while self._unconfirmed:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no confirm within {self._config.timeout:g} s")
            self._connection.drain_events(timeout=left)

    def _on_return(self, error: Exception, exchange: str, routing_key: str, returned: Any) -> None:
        # Comes before the ack of the same message: "confirmed" alone does not mean that a queue has it.
        self._returned[returned.properties.get("message_id", "")] = (
            f"no queue is bound to exchange {exchange!r} for {routing_key!r}"
        )

    def _on_ack(self, tag: int, multiple: bool) -> None:
        for message in self._settled(tag, multiple):
            reason = self._returned.pop(message.message_id, None)
            if reason is None:
                self._report.confirmed.append(message)
            else:
                self._report.refused.append((message, reason))

    def _on_nack(self, tag: int, multiple: bool) -> None:
        reason = "the broker refused it (a full queue, perhaps)"
        self._report.refused += [(message, reason) for message in self._settled(tag, multiple)]

    def _settled(self, tag: int, multiple: bool) -> list[Message]:
        tags = [t for t in self._unconfirmed if t <= tag] if multiple else [tag]
        return [self._unconfirmed.pop(t) for t in tags if t in self._unconfirmed]

    def _drop(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            _cut(connection)


def _cut(connection: Any) -> None:
    """Close the socket without a word: a broker that froze would not answer one."""
    with contextlib.suppress(Exception):  # half-open objects of kombu and py-amqp raise all sorts
        connection.collect()


def _name() -> str:
    """Name this connection as the broker's connection list shows it."""
    return f"course-sharing-events {socket.gethostname()}:{os.getpid()}"
