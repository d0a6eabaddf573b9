"""Forks, pools, servers, and processes that end at once."""

import os
import urllib.request
import uuid
from urllib.parse import quote

import child
import pytest
import rabbit
from proxy import unused_port
from waiting import until

from course_sharing_events import process


def in_a_fork(work):
    """Run ``work`` in a forked child and give its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = process.close(10)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_parent_and_child_each_have_a_connection_of_their_own(events, configure, proxy, publish, course):
    configure(URL=proxy.url)
    keys = [course() for _ in range(4)]
    publish(keys[0])
    events.receive()
    until(lambda: process.sender().wait_empty(0), "the confirm")
    assert in_a_fork(lambda: publish(keys[1])) == 0
    assert in_a_fork(lambda: publish(keys[2])) == 0
    publish(keys[3])
    assert [a.course_id for a in events.receive(3)] == list(map(str, keys[1:]))
    assert proxy.accepted == 3, "the parent's connection outlives its children's"


def test_a_child_does_not_send_what_its_parent_has_waiting(events, configure, frozen, publish, course):
    configure(URL=frozen.url, TIMEOUT=30)
    waiting, from_child = course(), course()
    publish(waiting)
    until(lambda: frozen.accepted, "the parent's try")

    def child_publishes():
        from django.test import override_settings

        with override_settings(COURSE_SHARING_EVENTS_URL=rabbit.URL):
            publish(from_child)
            assert process.close(10) == 0

    assert in_a_fork(child_publishes) == 0
    assert process.sender().waiting == 1
    frozen.thaw()
    assert [a.course_id for a in events.receive(2)] == [str(from_child), str(waiting)]


def publishing(events, url=rabbit.URL, **env):
    return {"EVENTS_URL": url, "EVENTS_EXCHANGE": events.exchange, **env}


@pytest.mark.parametrize("as_plugin", ["1", "0"])
@pytest.mark.parametrize("project", ["cms.djangoapp", "lms.djangoapp"])
def test_a_process_that_ends_at_once_sends_all(events, course, as_plugin, project):
    key = str(course())
    done = child.run(
        "for n in range(300): publish(f'{sys.argv[1]}_{n}')",
        key,
        **publishing(events, AS_PLUGIN=as_plugin, PROJECT_TYPE=project),
    )
    assert done.returncode == 0, done.stderr
    assert {a.course_id for a in events.receive(300)} == {f"{key}_{n}" for n in range(300)}


def test_a_process_that_ends_with_the_broker_down_says_what_is_lost(events, course):
    done = child.run(
        "publish(sys.argv[1])", str(course()), **publishing(events, rabbit.url_at(unused_port()))
    )
    assert done.returncode == 0, done.stderr
    assert "1 event(s) not sent before the end" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_process_that_ends_with_the_broker_frozen_ends(events, course, frozen):
    done = child.run(
        "publish(sys.argv[1])", str(course()), **publishing(events, frozen.url, EVENTS_EXIT_TIMEOUT="0.5")
    )
    assert done.returncode == 0, done.stderr
    assert "1 event(s) not sent before the end" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_edx_django_utils_it_is_a_plain_app(events, course):
    code = "assert 'edx_django_utils' not in sys.modules; publish(sys.argv[1])"
    key = str(course())
    done = child.run(code, key, **publishing(events, AS_PLUGIN="0"))
    assert done.returncode == 0, done.stderr
    assert events.receive()[0].course_id == key


def test_a_celery_pool_process_sends_its_last_events(events, course):
    keys = [str(course()) for _ in range(3)]
    env = publishing(events, CELERY_BROKER=rabbit.URL, CELERY_QUEUE=f"test-celery-{uuid.uuid4()}")
    # Each task is its process's last: the process ends as soon as the task has returned.
    once = ["--pool", "prefork", "--concurrency", "1", "--max-tasks-per-child", "1"]
    quiet = ["--without-mingle", "--without-gossip", "--without-heartbeat", "--loglevel", "ERROR"]
    worker = child.start("-m", "celery", "-A", "host.celery_app", "worker", *once, *quiet, **env)
    try:
        for key in keys:
            done = child.run("from host.celery_app import publish as p; p.delay(sys.argv[1])", key, **env)
            assert done.returncode == 0, done.stderr
        assert {a.course_id for a in events.receive(3)} == set(keys)
    finally:
        child.stop(worker)


def test_a_server_that_forks_after_loading_sends_from_each_worker(events, course):
    port = child.free_port()
    server = child.start(
        *f"-m gunicorn --preload --workers 2 --bind 127.0.0.1:{port} --log-level error host.wsgi".split(),
        **publishing(events),
    )

    def ask(key):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/?{quote(key)}", timeout=10) as answer:
            return int(answer.read())

    def answers():
        try:
            return ask("library-v1:edX+lib")
        except OSError:
            return 0

    try:
        until(answers, "the server")
        sent, workers = [], set()
        while len(workers) < 2 and len(sent) < 500:
            sent.append(str(course()))
            workers.add(ask(sent[-1]))
        assert len(workers) == 2
        assert {a.course_id for a in events.receive(len(sent))} == set(sent)
        last = str(course())
        ask(last)
    finally:
        child.stop(server)
    assert events.receive()[0].course_id == last
