"""Waiting for a state, with a limit."""

import threading
import time

LIMIT = 20.0


def until(state, what, limit=LIMIT, pace=0.01):
    """Poll until ``state()`` is true and give what it gave; fail, saying ``what`` was waited for."""
    deadline = time.monotonic() + limit
    pause = threading.Event()
    while True:
        seen = state()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"not within {limit} s: {what}"
        pause.wait(pace)
