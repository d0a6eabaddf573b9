"""Many messages, sent here and now: for the operator's command, which waits and wants to know."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from .broker import Broker
from .conf import Config
from .message import Message

BATCH = 256
#: Pauses before the second and later tries at a batch, in seconds.
PAUSES = (0.5, 2.0)


@dataclass(slots=True)
class Totals:
    """How it ended. ``failed`` holds the first few run keys that were not confirmed."""

    asked: int = 0
    confirmed: int = 0
    failed: list[str] = field(default_factory=list)
    reason: str | None = None

    NAMED = 10


def publish_all(config: Config, messages: Iterable[Message]) -> Iterator[Totals]:
    """Send everything, giving the running totals after each batch.

    After a batch that the broker would not answer for, the rest is only counted: each would take as long.
    """
    totals = Totals()
    broker = Broker(config)
    source = iter(messages)
    try:
        while batch := list(islice(source, BATCH)):
            totals.asked += len(batch)
            if totals.reason is None:
                batch = _persist(broker, batch, totals)
            totals.failed += [m.subject[1] for m in batch[: Totals.NAMED - len(totals.failed)]]
            yield totals
    finally:
        broker.close()


def _persist(broker: Broker, batch: list[Message], totals: Totals) -> list[Message]:
    """Try a batch until it is confirmed or the tries are used up; give what is left of it."""
    for pause in (*PAUSES, None):
        report = broker.publish(batch)
        totals.confirmed += len(report.confirmed)
        batch = report.unsettled + [message for message, _ in report.refused]
        if not batch:
            return []
        if pause is None:
            totals.reason = report.refused[0][1] if report.refused else f"{report.error}"
            return batch
        time.sleep(pause)
    raise AssertionError("the last pause is None")
