"""From a change to a message: after the commit, never inside it, and never at the caller's cost."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import transaction

from . import conf, process
from .message import Message

log = logging.getLogger(__name__)


def after_commit(build: Callable[[], Message], using: str | None = None) -> None:
    """Send what ``build`` makes once the transaction on database ``using`` is committed; at once without one.

    A transaction that is rolled back sends nothing. Never raises.
    """

    def send() -> None:
        try:
            process.submit(build())
        except Exception:
            log.exception("event lost")

    try:
        if conf.enabled():
            transaction.on_commit(send, using=using)
    except Exception:
        # Manual transaction management, say: the moment of the commit cannot be known.
        log.exception("event lost")
