"""The author never waits and nothing is raised, whatever the broker does; and what can be sent later is."""

import threading
import time

import pytest
import rabbit
from proxy import Proxy, unused_port
from waiting import LIMIT, until

from course_sharing_events import process
from course_sharing_events.sender import BATCH, MAX_REFUSALS

#: The one promise about time: what a publish may cost its author, in seconds.
PROMISE = 0.2


def slowest(publish, keys):
    """Publish each and give the longest time that one took."""
    worst = 0.0
    for key in keys:
        began = time.perf_counter()
        publish(key)
        worst = max(worst, time.perf_counter() - began)
    return worst


def test_a_broker_that_is_up_costs_the_author_nothing(events, publish, course):
    keys = [course() for _ in range(200)]
    assert slowest(publish, keys) < PROMISE
    assert {a.course_id for a in events.receive(200)} == set(map(str, keys))


def test_a_broker_that_is_down_costs_the_author_nothing(events, configure, publish, course, caplog):
    configure(URL=rabbit.url_at(unused_port()))
    assert slowest(publish, [course() for _ in range(200)]) < PROMISE
    until(lambda: "not sent, will try again" in caplog.text, "a word in the log")
    assert process.sender().waiting == 200
    assert "guest:guest" not in caplog.text


def test_a_broker_that_never_answers_costs_the_author_nothing(events, configure, frozen, publish, course):
    configure(URL=frozen.url, TIMEOUT=0.5)
    publish(course())
    until(lambda: frozen.accepted, "a connection")
    assert slowest(publish, [course() for _ in range(200)]) < PROMISE
    until(lambda: frozen.accepted > 1, "another try after the time limit")
    assert slowest(publish, [course()]) < PROMISE


@pytest.mark.parametrize("answers", range(1, 6))
def test_a_broker_that_stops_answering_anywhere_is_given_up(events, configure, publish, course, answers):
    """It greets, tunes, opens the connection, a channel, confirms; and after any of these says no more."""
    wire = Proxy(answers=answers)
    try:
        configure(URL=wire.url, TIMEOUT=0.3, MAX_BACKOFF=0.2)
        assert slowest(publish, [course()]) < PROMISE
        until(lambda: wire.accepted > 1, "another try")
        wire.thaw()
        events.receive()
    finally:
        wire.close()


def test_what_waited_is_sent_when_the_broker_answers_again(events, configure, frozen, publish, course):
    configure(URL=frozen.url, TIMEOUT=0.5, MAX_BACKOFF=0.2)
    keys = [course() for _ in range(100)]
    for key in keys:
        publish(key)
    until(lambda: frozen.accepted > 1, "a second try")
    frozen.thaw()
    until(lambda: process.sender().wait_empty(0), "all sent")
    arrived = {events.get().course_id for _ in range(100)}
    assert arrived == set(map(str, keys))


def test_a_wire_that_dies_midway_loses_nothing(events, configure, proxy, publish, course):
    configure(URL=proxy.url, TIMEOUT=0.5, MAX_BACKOFF=0.2)
    publish(course())
    events.receive()
    proxy.freeze()
    key = course()
    assert slowest(publish, [key]) < PROMISE
    until(lambda: proxy.accepted > 1, "a fresh connection")
    assert slowest(publish, [course()]) < PROMISE
    proxy.thaw()
    # Sent at least once: the frozen wire may deliver its bytes after all.
    assert str(key) in {a.course_id for a in events.receive(2)}


def test_a_connection_that_was_dropped_is_opened_again(events, configure, proxy, publish, course):
    configure(URL=proxy.url)
    for expected in (1, 2, 3):
        key = course()
        publish(key)
        assert events.receive()[0].course_id == str(key)
        assert proxy.accepted == expected
        until(lambda: process.sender().wait_empty(0), "the confirm")
        proxy.cut()


def test_a_process_has_one_connection(events, configure, proxy, publish, course):
    configure(URL=proxy.url)
    before = set(threading.enumerate())
    keys = [[course() for _ in range(25)] for _ in range(4)]
    threads = [threading.Thread(target=slowest, args=(publish, some)) for some in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({a.course_id for a in events.receive(100)}) == 100
    assert proxy.accepted == 1
    new = set(threading.enumerate()) - before
    assert sum(thread.name == "course-sharing-events" for thread in new) == 1


def test_an_unused_connection_is_closed(events, configure, proxy, publish, course):
    configure(URL=proxy.url, IDLE_TIMEOUT=0.2)
    for _ in range(2):
        publish(course())
        events.receive()
        until(lambda: proxy.open == 0, "the connection's end")
    assert proxy.accepted == 2


def test_a_second_host_takes_over(events, configure, publish, course):
    configure(URL=f"{rabbit.url_at(unused_port())};{rabbit.URL}")
    publish(course())
    events.receive()


def test_an_exchange_that_comes_later_gets_what_waited(events, configure, publish, course, caplog):
    configure(MAX_BACKOFF=0.2)
    events.delete_exchange()
    key = course()
    assert slowest(publish, [key]) < PROMISE
    until(lambda: "no exchange" in caplog.text, "the reason in the log")
    events.declare_exchange()
    events.bind("course-publish")
    assert events.receive()[0].course_id == str(key)


def test_what_no_queue_takes_is_noticed_and_given_up(events, publish, course, counts, caplog):
    events.unbind("course-publish")
    publish(course())
    until(lambda: counts()["refused"] == 1, "the end of the tries")
    assert counts()["confirmed"] == 0
    assert "no queue is bound to exchange" in caplog.text
    assert f"event dropped after {MAX_REFUSALS} refusals" in caplog.text
    assert process.sender().waiting == 0


def test_what_no_queue_takes_does_not_hold_up_the_rest(events, publish, course, counts):
    from openedx.core.djangoapps.content.course_overviews.models import CourseOverview

    events.unbind("course-publish")
    for _ in range(100):
        publish(course())
    key = course()
    CourseOverview.objects.create(id=key)
    assert events.receive()[0].course_id == str(key)
    assert counts()["refused"] < BATCH, "it need not wait for the end of their tries"


def test_a_full_outbox_drops_and_says_so(events, configure, publish, course, counts, caplog):
    configure(URL=rabbit.url_at(unused_port()), QUEUE_SIZE=3)
    assert slowest(publish, [course() for _ in range(50)]) < PROMISE
    assert counts()["full"] == 47
    assert process.sender().waiting == 3
    assert caplog.text.count("outbox full") == 1


def test_the_same_course_waits_once(events, configure, publish, course, counts):
    wire = Proxy(frozen=True)
    try:
        configure(URL=wire.url, TIMEOUT=0.5)
        publish(course())
        until(lambda: wire.accepted, "the first one on its way")
        key, last = course(), course()
        for _ in range(100):
            publish(key)
        assert counts()["merged"] == 99
        publish(last)
        wire.thaw()
        seen = [a.course_id for a in events.receive_until(str(last))]
        assert seen.count(str(key)) == 1
    finally:
        wire.close()


def test_the_end_waits_no_longer_than_it_may(events, configure, frozen, publish, course, caplog):
    configure(URL=frozen.url, TIMEOUT=60.0)
    for _ in range(5):
        publish(course())
    assert process.close(timeout=0.5) == 5
    assert "5 event(s) not sent before the end" in caplog.text


def test_the_end_tries_once(events, configure, frozen, publish, course):
    configure(URL=frozen.url, TIMEOUT=0.3)
    publish(course())
    assert process.close(timeout=LIMIT) == 1
    assert frozen.accepted == 1
