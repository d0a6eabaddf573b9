"""The broker's word on each message, as Broker reports it."""

import ssl

import pytest
import rabbit
import trustme
from proxy import Proxy, unused_port

from course_sharing_events import conf
from course_sharing_events.broker import Broker
from course_sharing_events.message import COURSE_PUBLISH, OVERVIEW_RECREATED, native


@pytest.fixture
def link(events):
    link = Broker(conf.load())
    yield link
    link.close()


def some(count, event_type=COURSE_PUBLISH):
    return [native(event_type, f"course-v1:edX+Demo+{n}", {}) for n in range(count)]


def test_a_batch_is_confirmed_message_by_message(link, events):
    messages = some(1000)
    report = link.publish(messages)
    assert report.error is None
    assert sorted(m.message_id for m in report.confirmed) == sorted(m.message_id for m in messages)
    assert [a.body["id"] for a in events.receive(1000)] == [m.message_id for m in messages]


def test_only_what_no_queue_takes_is_refused(link, events):
    events.unbind(OVERVIEW_RECREATED)
    bad, good = some(3, OVERVIEW_RECREATED), some(3)
    report = link.publish([bad[0], good[0], good[1], bad[1], good[2], bad[2]])
    assert report.confirmed == good
    assert [message for message, _ in report.refused] == bad
    assert "overview-recreated" in report.refused[0][1]
    assert link.publish(good).confirmed == good


def test_a_queue_that_refuses_is_noticed(link, events):
    events.channel.queue_delete(events.queue)
    events.declare({"x-max-length": 1, "x-overflow": "reject-publish"})
    report = link.publish(some(1))
    assert len(report.confirmed) == 1
    report = link.publish(some(20))
    assert report.refused
    assert "refused" in report.refused[0][1]
    assert not report.unsettled


def test_a_missing_exchange_leaves_all_unsettled(link, events):
    events.delete_exchange()
    messages = some(10)
    report = link.publish(messages)
    assert report.unsettled == messages
    assert "no exchange" in str(report.error)
    assert not link.is_open


def test_a_late_confirm_is_not_taken_for_the_next_one(configure, events, proxy):
    configure(URL=proxy.url, EXCHANGE=events.exchange, TIMEOUT=0.3)
    link = Broker(conf.load())
    first, second = some(2)
    assert link.publish([first]).confirmed == [first]
    proxy.freeze()
    report = link.publish([second])
    assert report.unsettled == [second]
    assert report.error is not None
    proxy.thaw()
    assert link.publish([second]).confirmed == [second]
    link.close()


def test_a_kept_connection_that_died_costs_no_second_call(configure, events, proxy):
    configure(URL=proxy.url, EXCHANGE=events.exchange)
    link = Broker(conf.load())
    first, second = some(2)
    assert link.publish([first]).confirmed == [first]
    proxy.cut()
    assert link.publish([second]).confirmed == [second]
    assert proxy.accepted == 2
    link.close()


@pytest.mark.parametrize(("name", "trusted"), [("localhost", True), ("elsewhere.example", False)])
def test_over_tls_the_name_is_checked(configure, events, tmp_path, name, trusted):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    wire = Proxy(tls=context)
    try:
        url = rabbit.url_at(wire.port, "localhost").replace("amqp://", "amqps://")
        configure(URL=url, EXCHANGE=events.exchange, SSL={"ca_certs": str(tmp_path / "ca.pem")})
        link = Broker(conf.load())
        messages = some(3)
        report = link.publish(messages)
        assert report.confirmed == (messages if trusted else [])
        assert trusted or "CERTIFICATE_VERIFY_FAILED" in str(report.error)
        link.close()
    finally:
        wire.close()


def test_one_call_is_one_try(configure, events, frozen):
    configure(URL=frozen.url, EXCHANGE=events.exchange, TIMEOUT=0.2)
    messages = some(3)
    assert Broker(conf.load()).publish(messages).unsettled == messages
    assert frozen.accepted == 1


def test_a_wrong_password_is_not_shown(configure, events):
    configure(URL=rabbit.URL.replace("guest:guest", "guest:s3cret"))
    link = Broker(conf.load())
    report = link.publish(some(1))
    assert report.error is not None
    assert "s3cret" not in repr(report.error) + repr(conf.load())


def test_a_broker_that_is_away_leaves_all_unsettled(configure, events):
    configure(URL=rabbit.url_at(unused_port()))
    messages = some(3)
    report = Broker(conf.load()).publish(messages)
    assert report.unsettled == messages
    assert report.error is not None
