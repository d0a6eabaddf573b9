"""The queue between author and sender, alone."""

import threading

from course_sharing_events.message import native
from course_sharing_events.outbox import Outbox, Put


def event(n):
    return native("course-publish", f"course-v1:edX+Demo+{n}", {})


def test_it_is_bounded_and_what_is_being_sent_counts():
    outbox = Outbox(2)
    assert [outbox.put(event(n)) for n in range(3)] == [Put.WAITING, Put.WAITING, Put.FULL]
    taken = outbox.take(1, 0)
    assert outbox.put(event(3)) is Put.FULL
    outbox.settle()
    assert outbox.put(event(3)) is Put.WAITING
    assert len(taken) == 1


def test_what_waits_is_not_doubled_but_what_is_being_sent_is():
    outbox = Outbox(10)
    assert outbox.put(event(1)) is Put.WAITING
    assert outbox.put(event(1)) is Put.MERGED
    (out,) = outbox.take(10, 0)
    assert outbox.put(event(1)) is Put.WAITING
    outbox.settle(first=[out])
    assert len(outbox) == 1


def test_what_failed_goes_first_and_what_was_refused_last():
    outbox = Outbox(10)
    for n in range(4):
        outbox.put(event(n))
    taken = outbox.take(3, 0)
    outbox.settle(first=taken[:2], last=taken[2:])
    runs = [m.subject[1][-1] for m in outbox.take(10, 0)]
    assert runs == ["0", "1", "3", "2"]


def test_closing_wakes_and_refuses():
    outbox = Outbox(10)
    woken = threading.Event()
    threading.Thread(target=lambda: (outbox.take(1, 60), woken.set()), daemon=True).start()
    outbox.close()
    assert woken.wait(10)
    assert outbox.put(event(1)) is Put.CLOSED
    assert outbox.wait_empty(0)
