"""The rounds of alerts beside a worker: rare, in a thread, and of no consequence for the worker."""

import logging
import threading

import pytest
from django.db import OperationalError

from genesys_eventbridge import tasks
from genesys_eventbridge.alerts import background
from genesys_eventbridge.models import Destination
from tests import alerts
from tests.alerts import alerting, fail, heartbeat, told
from tests.passing import Clock
from tests.prompt import sandboxed

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rounds(monkeypatch):
    """The threads that began a round."""
    begun = []
    run = background._round

    def noted():
        begun.append(threading.current_thread())
        run()

    monkeypatch.setattr(background, "_round", noted)
    return begun


def test_without_the_setting_nothing_happens(rounds):
    background.tend()
    background.finish()

    assert rounds == []


def test_a_round_evaluates_and_sends():
    heartbeat()
    fail(3)
    with alerting():
        background.tend()
        background.finish()

    assert told() == ["opened dead"]


def test_a_process_begins_a_round_each_quarter_minute(rounds):
    clock = Clock()
    heartbeat()
    with alerting():
        for _ in range(61):
            background.tend(clock)
            background.finish()
            clock.now += 1

    assert len(rounds) == 5


def test_while_a_round_runs_no_other_begins(rounds, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(alerts, "receive", lambda notice: gate.wait(60))
    clock = Clock()
    heartbeat()
    fail(1)
    with alerting():
        for _ in range(10):
            background.tend(clock)
            clock.now += 60
        assert len(rounds) == 1
        gate.set()
        background.finish()


def test_rounds_of_all_processes_evaluate_once_a_minute(monkeypatch):
    evaluated = []
    monkeypatch.setattr(background, "evaluate", lambda *_, **__: evaluated.append(True))
    heartbeat()
    with alerting():
        for _ in range(5):
            background.forget()  # another process
            background.tend()
            background.finish()

    assert len(evaluated) == 1


@pytest.mark.parametrize("error", [OperationalError("lost"), KeyError("canary")])
def test_a_round_that_fails_is_logged_and_the_next_one_runs(error, rounds, monkeypatch, caplog):
    def broken(*_, **__):
        raise error

    clock = Clock()
    heartbeat()
    with alerting(), caplog.at_level(logging.ERROR):
        with monkeypatch.context() as patches:
            patches.setattr(background, "take_turn", broken)
            background.tend(clock)
            background.finish()
        clock.now += 60
        fail(1)
        background.tend(clock)
        background.finish()

    assert f"a round stopped: {type(error).__name__}" in caplog.text
    assert told() == ["opened dead"]


def test_no_thread_left_is_no_reason_to_stop(monkeypatch, caplog):
    def none(_thread):
        raise RuntimeError("can't start new thread")

    with alerting(), monkeypatch.context() as patches:
        patches.setattr(threading.Thread, "start", none)
        background.tend()

    assert "RuntimeError" in caplog.text


def test_a_task_of_django_q2_tends_the_alerts(rounds):
    fail(1)
    with sandboxed(more={"ALERTS": "tests.alerts.receive"}):
        tasks.publish("default")
        background.finish()

    assert told() == ["opened dead"]
    assert Destination.objects.get().alerts_at is not None
