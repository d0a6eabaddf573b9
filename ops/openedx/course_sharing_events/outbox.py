"""What waits to be sent: bounded, without doubles, and quick to put into, whatever the broker does."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from enum import Enum

from .message import Message


class Put(Enum):
    """What became of a message that was put in."""

    WAITING = "waiting"
    #: One of the same subject waits already; it says all that this one would.
    MERGED = "merged"
    FULL = "full"
    CLOSED = "closed"


class Outbox:
    """A queue between the callers' threads and the one sender's. Every method may be called from any thread.

    An event says only that a run may be stale, so order does not matter and of two that wait one is enough.
    One that is *being sent* does not count as waiting: the change may be younger than the sending.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: OrderedDict[tuple[str, str], Message] = OrderedDict()
        self._out = 0
        self._closed = False
        self._changed = threading.Condition(threading.Lock())

    def put(self, message: Message) -> Put:
        """Add a message, unless it is one too many."""
        with self._changed:
            if self._closed:
                return Put.CLOSED
            if message.subject in self._waiting:
                return Put.MERGED
            if len(self._waiting) + self._out >= self._size:
                return Put.FULL
            self._waiting[message.subject] = message
            self._changed.notify_all()
            return Put.WAITING

    def take(self, limit: int, timeout: float) -> list[Message]:
        """Wait up to ``timeout`` seconds for messages and take the oldest ``limit``; ``settle`` must follow.

        Gives an empty list when the time is over, and at once when closed and empty.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, timeout)
            taken = [self._waiting.popitem(last=False)[1] for _ in range(min(limit, len(self._waiting)))]
            self._out = len(taken)
            return taken

    def settle(self, first: Sequence[Message] = (), last: Sequence[Message] = ()) -> None:
        """End what ``take`` began: ``first`` go to the front again, ``last`` to the end, the rest is over."""
        with self._changed:
            for message in reversed(first):
                self._waiting.setdefault(message.subject, message)
                self._waiting.move_to_end(message.subject, last=False)
            for message in last:
                self._waiting.setdefault(message.subject, message)
            self._out = 0
            self._changed.notify_all()

    def close(self) -> None:
        """Take no more, and wake whoever waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Wait for a time, or until closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, seconds)

    @property
    def closed(self) -> bool:
        """Tell whether ``close`` was called."""
        return self._closed

    def wait_empty(self, timeout: float) -> bool:
        """Wait until nothing waits and nothing is being sent; tell whether it came to that in time."""
        deadline = time.monotonic() + timeout
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and not self._out, max(0.0, deadline - time.monotonic())
            )

    def __len__(self) -> int:
        """Count what waits and what is being sent."""
        with self._changed:
            return len(self._waiting) + self._out
