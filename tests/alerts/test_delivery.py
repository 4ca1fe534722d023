"""Stored notices reach each channel: in order, retried, and at least once."""

import logging

import pytest

from genesys_eventbridge.alerts import channels
from genesys_eventbridge.alerts.delivery import BACKOFF_BASE, BACKOFF_CAP, GIVE_UP_AFTER, LEASE, deliver
from genesys_eventbridge.alerts.evaluation import configured
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import AlertNotice, OutboxEvent
from tests import alerts
from tests.alerts import alerting, fail, heartbeat, look, received, send, told
from tests.outbox_rows import in_threads, seconds_between

pytestmark = pytest.mark.django_db
CANARY = "secret-canary"


@pytest.fixture(autouse=True)
def _alerts():
    with alerting():
        yield


@pytest.fixture
def broken(monkeypatch):
    """The receiver raises while this list has something in it; it notes how often it was called."""
    troubles, calls = ["yes"], []

    def receive(notice):
        calls.append(notice.id)
        if troubles:
            raise OSError(CANARY)
        received.append(notice)

    monkeypatch.setattr(alerts, "receive", receive)
    return troubles, calls


def one_alert() -> AlertNotice:
    heartbeat()
    fail(1)
    look()
    return AlertNotice.objects.get()


def due_in() -> float:
    row = AlertNotice.objects.annotate(now=DatabaseNow()).get()
    return seconds_between(row.now, row.due_at)


def test_a_notice_is_sent_once():
    one_alert()

    assert [delivery.failure for delivery in send()] == [None]
    assert send() == []
    assert told() == ["opened dead"]
    row = AlertNotice.objects.get()
    assert (row.due_at, row.attempts, row.claim_token) == (None, 1, None)
    assert row.sent_at is not None


def test_what_failed_is_tried_again_later_and_less_and_less_often(broken):
    one_alert()
    waits, passed = [], 0.0
    for _ in range(10):
        with shifted(passed):
            send()
            waits.append(due_in())
            assert send() == []
        passed += waits[-1] + 1

    assert waits[:3] == pytest.approx([BACKOFF_BASE, 2 * BACKOFF_BASE, 4 * BACKOFF_BASE], abs=5)
    assert waits[-1] == pytest.approx(BACKOFF_CAP, abs=5)


def test_the_same_notice_is_repeated(broken):
    troubles, calls = broken
    one_alert()
    send()
    troubles.clear()
    with shifted(BACKOFF_BASE + 1):
        send()

    assert len(calls) == 2
    assert len(set(calls)) == 1
    assert told() == ["opened dead"]


def test_what_the_function_raised_is_neither_logged_nor_stored(broken, caplog):
    one_alert()
    send()

    assert AlertNotice.objects.get().last_error == "it raised OSError"
    assert "canary" not in caplog.text


def test_a_day_later_it_is_given_up_after_one_more_attempt(broken, caplog):
    row = one_alert()
    send()
    AlertNotice.objects.update(created_at=DatabaseNow(-GIVE_UP_AFTER - 60), due_at=DatabaseNow(-1))
    with caplog.at_level(logging.ERROR):
        (delivery,) = send()

    assert delivery.given_up
    assert "given up" in caplog.text
    row.refresh_from_db()
    assert (row.due_at, row.sent_at, row.attempts) == (None, None, 2)


def test_a_notice_that_no_one_could_try_for_days_is_tried():
    """All workers stood still: late is better than never."""
    one_alert()
    AlertNotice.objects.update(created_at=DatabaseNow(-3 * GIVE_UP_AFTER))
    send()

    assert told() == ["opened dead"]


def test_a_channel_that_was_removed_is_given_up_at_once():
    with alerting({"function": "tests.alerts.receive", "email": ["ops@example.com"]}):
        heartbeat()
        fail(1)
        look()
    send()

    left = AlertNotice.objects.get(channel="email")
    assert (left.due_at, left.sent_at) == (None, None)
    assert left.last_error == "the channel is no longer in ALERTS"
    assert told() == ["opened dead"]


def test_one_channel_that_fails_holds_up_no_other(broken, mailoutbox):
    with alerting({"function": "tests.alerts.receive", "email": ["ops@example.com"]}):
        heartbeat()
        fail(1)
        look()
        send()

    assert len(mailoutbox) == 1


def test_the_recovery_waits_for_the_alert(broken):
    """Who reads that it is over must have read what was wrong."""
    troubles, _ = broken
    one_alert()
    send()
    OutboxEvent.objects.all().delete()
    with shifted(1000):
        heartbeat()
        look()
        AlertNotice.objects.filter(status="opened").update(due_at=DatabaseNow(60))
        troubles.clear()
        assert send() == []
    with shifted(1100):
        send()

    assert told() == ["opened dead", "recovered dead"]


def test_a_process_that_was_killed_while_it_sent_leaves_the_notice_to_another(monkeypatch):
    """It had sent it, and did not live to write so: at least once, under the same id."""

    class Killed(BaseException):
        pass

    def send_and_die(channel, attempt):
        received.append(attempt.notice)
        raise Killed

    one_alert()
    with monkeypatch.context() as patches:
        patches.setattr(channels, "send", send_and_die)
        with pytest.raises(Killed):
            send()
    assert send() == []
    with shifted(LEASE + 1):
        send()

    assert told() == ["opened dead", "opened dead"]
    assert len({notice.id for notice in received}) == 1


def test_a_notice_that_another_process_claimed_meanwhile_is_left_to_it():
    """Both have read it as due; one of them claims it first."""
    one_alert()
    calls: list[str] = []

    def clock():
        calls.append("read")
        if len(calls) == 2:  # after the notices were read, before the first is claimed
            send()
        return 0.0

    deliver(configured(), seconds=60, clock=clock)

    assert told() == ["opened dead"]


def test_no_connection_is_held_while_a_channel_sends(monkeypatch):
    """A pool may have none to spare for the workers."""
    steps: list[str] = []
    monkeypatch.setattr("genesys_eventbridge.alerts.delivery.release_connection", steps.append)
    monkeypatch.setattr(channels, "send", lambda channel, _attempt: steps.append(channel))
    one_alert()
    send()

    assert steps == ["default", "function"]


def test_who_lost_its_claim_does_not_write(monkeypatch):
    """It was slow; another has claimed the notice since, and its attempt is under way."""
    row = one_alert()
    other = "00000000-0000-0000-0000-000000000007"

    def slow(channel, attempt):
        AlertNotice.objects.update(claim_token=other, due_at=DatabaseNow(LEASE))

    monkeypatch.setattr(channels, "send", slow)
    send()
    row.refresh_from_db()

    assert str(row.claim_token) == other
    assert row.sent_at is None


@pytest.mark.django_db(transaction=True)
def test_processes_that_deliver_at_the_same_time_send_a_notice_once():
    one_alert()

    in_threads(4, send)

    assert told() == ["opened dead"]


def test_no_attempt_begins_after_the_time_is_up():
    with alerting(aliases=("default", "emea")):
        for alias in ("default", "emea"):
            heartbeat(alias)
            fail(1, destination=alias)
        look()
        now = iter([0.0, 0.0, 11.0])
        deliver(configured(), seconds=10, clock=lambda: next(now))

        assert len(received) == 1


def test_more_notices_than_one_batch_are_sent(monkeypatch):
    monkeypatch.setattr("genesys_eventbridge.alerts.delivery.BATCH", 2)
    aliases = tuple(f"d{number}" for number in range(5))
    with alerting(aliases=aliases):
        for alias in aliases:
            heartbeat(alias)
            fail(1, destination=alias)
        look()
        send()

        assert len(received) == 5


def test_a_notice_of_another_project_is_left_alone():
    one_alert()
    with alerting(aliases=("emea",)):
        assert send() == []
