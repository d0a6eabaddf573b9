"""Waiting for a state, with a limit."""

import threading
import time

LIMIT = 20.0


def until(state, what, limit=LIMIT):
    """Poll until ``state()`` is true and give what it gave; fail, saying ``what`` was waited for."""
    deadline = time.monotonic() + limit
    pace = threading.Event()
    while True:
        seen = state()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"not within {limit} s: {what}"
        pace.wait(0.01)
