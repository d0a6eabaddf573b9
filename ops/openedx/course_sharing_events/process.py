"""One sender a process, found by the process's id.

Threads do not survive a fork and a connection must not be shared across one, so what a parent began is of no
use to its child. The id is compared at every message, not in a hook: uWSGI forks without running Python's
fork hooks unless it is told to. And no lock is taken: one held during the fork stays held in the child.
"""

from __future__ import annotations

import atexit
import logging
import os

from . import conf
from .message import Message
from .sender import Sender

log = logging.getLogger(__name__)

_senders: dict[int, Sender] = {}


def submit(message: Message) -> None:
    """Hand a message to this process's sender. Takes microseconds and never raises."""
    try:
        sender().offer(message)
    except conf.SettingError as error:
        log.error("nothing is sent: %s", error)  # noqa: TRY400 - the text says it all
    except Exception:
        log.exception("event lost: %s %s", *message.subject)


def sender() -> Sender:
    """Give this process's sender, made on first use. Raises ``SettingError``."""
    pid = os.getpid()
    known = _senders.get(pid)
    if known is not None:
        return known
    made = _senders.setdefault(pid, Sender(conf.load()))  # of two threads, one wins: setdefault is atomic
    for other in [p for p in list(_senders) if p != pid]:
        # The parent's: let go without a word. Saying goodbye would close the parent's connection.
        _senders.pop(other, None)
    return made


def close(timeout: float | None = None) -> int:
    """Send what waits, within ``timeout`` seconds (by default the setting's); tell how many are lost.

    A message after this begins anew.
    """
    known = _senders.pop(os.getpid(), None)
    if known is None:
        return 0
    return known.close(timeout)


def _at_exit(**_: object) -> None:
    try:
        close()
    except Exception:
        log.exception("could not send the last events")


def close_at_exit() -> None:
    """See to it that a process that ends sends what waits: a command or a task may end at once.

    A pool process of Celery leaves without running ``atexit``; Celery's own signal is the last word there.
    """
    atexit.register(_at_exit)
    try:
        from celery.signals import worker_process_shutdown
    except ImportError:
        return
    worker_process_shutdown.connect(_at_exit, weak=False, dispatch_uid="course_sharing_events.exit")
