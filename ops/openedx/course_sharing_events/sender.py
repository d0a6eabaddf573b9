"""The one thread of a process that talks to the broker, so that no author ever waits for it."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence

from .broker import Broker, Report
from .conf import Config
from .message import Message
from .outbox import Outbox, Put

log = logging.getLogger(__name__)

#: Messages out without a confirm: a burst costs one round trip in so many.
BATCH = 64
#: How often one message is offered again after the broker's own no; a lost connection does not count.
MAX_REFUSALS = 5
FIRST_BACKOFF = 0.5
#: Of many equal complaints, one in so many seconds is logged, with their number.
COMPLAINT_INTERVAL = 60.0
COMPLAINTS_KNOWN = 50


class Sender:
    """Takes messages at once and sends them when it can. The thread starts with the first message."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._outbox = Outbox(config.queue_size)
        self._broker = Broker(config)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._failures = 0
        self._refusals: Counter[tuple[str, str]] = Counter()
        self._complaints = _Complaints()
        #: merged, full, confirmed, refused, lost: how many messages ended so in this process.
        self.counts: Counter[str] = Counter()

    def offer(self, message: Message) -> None:
        """Take a message, in microseconds. Drops it, with a word in the log, when the outbox is full."""
        put = self._outbox.put(message)
        if put is Put.WAITING:
            self._ensure_thread()
            return
        if put is Put.MERGED:
            self.counts["merged"] += 1
            return
        self.counts[put.value] += 1
        self._complaints.warn(f"outbox {put.value}: event dropped, the nightly pass repairs it")

    def close(self, timeout: float | None = None) -> int:
        """Send what waits, for at most ``timeout`` seconds (the setting's, if none) and without a second try.

        Tells how many are lost.
        """
        timeout = self._config.exit_timeout if timeout is None else timeout
        self._outbox.close()
        if self._thread is not None:
            deadline = time.monotonic() + timeout
            self._outbox.wait_empty(timeout)
            # Let it say goodbye to the broker; one that is stuck is a daemon and ends with the process.
            self._thread.join(max(0.0, deadline - time.monotonic()))
        lost = self.waiting + self.counts["lost"]
        if lost:
            log.warning("%d event(s) not sent before the end; the nightly pass repairs them", lost)
        return lost

    @property
    def waiting(self) -> int:
        """Count the messages whose end is open."""
        return len(self._outbox)

    def wait_empty(self, timeout: float) -> bool:
        """Wait until everything taken so far has ended one way or the other; tell whether it did in time."""
        return self._outbox.wait_empty(timeout)

    def _ensure_thread(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return
            thread = threading.Thread(target=self._run, name="course-sharing-events", daemon=True)
            thread.start()  # RuntimeError at the interpreter's end: the message then counts as lost
            self._thread = thread

    def _run(self) -> None:
        while True:
            batch = self._outbox.take(BATCH, self._config.idle_timeout)
            if batch:
                self._send(batch)
                continue
            self._broker.close()
            if self._outbox.closed:
                return

    def _send(self, batch: Sequence[Message]) -> None:
        try:
            report = self._broker.publish(batch)
        except Exception as error:  # a mistake of ours must not end the thread
            log.exception("could not send")
            report = Report(unsettled=list(batch), error=error)
        self.counts["confirmed"] += len(report.confirmed)
        for message in report.confirmed:
            self._refusals.pop(message.subject, None)
        refused = self._worth_another_try(report)
        if self._outbox.closed and not report.confirmed:
            # The process ends, and waits for us: no second try, for what waits behind it neither.
            self.counts["lost"] += len(report.unsettled) + len(refused)
            self._outbox.settle()
        else:
            self._outbox.settle(first=report.unsettled, last=refused)
        self._note(report)
        if self._failures:
            self._outbox.pause(self._backoff())

    def _worth_another_try(self, report: Report) -> list[Message]:
        """Count the broker's refusals and leave out what was refused too often."""
        again = []
        for message, reason in report.refused:
            self._refusals[message.subject] += 1
            if self._refusals[message.subject] < MAX_REFUSALS:
                again.append(message)
                continue
            del self._refusals[message.subject]
            self.counts["refused"] += 1
            self._complaints.warn(f"event dropped after {MAX_REFUSALS} refusals: {reason}")
        return again

    def _note(self, report: Report) -> None:
        """Keep count of failures in a row, and say when they begin and end."""
        reason = report.error or (report.refused[0][1] if report.refused else None)
        if reason is not None:
            self._complaints.warn(f"not sent, will try again: {_say(reason)}")
        if report.error is None and (report.confirmed or not report.refused):
            if self._failures:
                log.info("sending again; %d event(s) waiting", self.waiting)
            self._failures = 0
        else:
            self._failures += 1

    def _backoff(self) -> float:
        # Jittered, so that a farm of processes does not fall upon a broker that comes back.
        ceiling = min(self._config.max_backoff, FIRST_BACKOFF * 2.0 ** min(self._failures - 1, 16))
        return random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreads load, guards nothing


class _Complaints:
    """Keeps a broker's outage from filling the log."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._silent: Counter[str] = Counter()

    def warn(self, text: str) -> None:
        now = time.monotonic()
        if now - self._last.get(text, -COMPLAINT_INTERVAL) < COMPLAINT_INTERVAL:
            self._silent[text] += 1
            return
        if len(self._last) >= COMPLAINTS_KNOWN:  # a broker may word each error anew
            self._last.clear()
            self._silent.clear()
        self._last[text] = now
        silent = self._silent.pop(text, 0)
        log.warning("%s%s", text, f" (and {silent} more)" if silent else "")


def _say(reason: Exception | str) -> str:
    return reason if isinstance(reason, str) else f"{type(reason).__name__}: {reason}"
