"""The wake: a hint after the commit, coalesced, that costs the user nothing when the broker is down."""

import logging
from types import SimpleNamespace

import pytest

from genesys_eventbridge import wake


@pytest.fixture
def hints(monkeypatch, settings):
    settings.GENESYS_EVENTBRIDGE = {
        **settings.GENESYS_EVENTBRIDGE,
        "emea": settings.GENESYS_EVENTBRIDGE["default"],
    }
    wake.forget()
    sent = []

    def async_task(function, *args, **options):
        sent.append((function, args))

    monkeypatch.setattr("django_q.tasks.async_task", async_task)
    yield sent
    wake.forget()


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""
    now = [1000.0]
    monkeypatch.setattr(wake, "time", SimpleNamespace(monotonic=lambda: now[0], time=lambda: now[0]))

    def move(seconds):
        now[0] += seconds

    return move


def test_a_hint_names_a_function_a_destination_and_the_second_and_nothing_else(hints, clock):
    """T21: queue payloads are pickles; ours hold plain text and whole numbers."""
    wake.wake("default")

    assert hints == [("genesys_eventbridge.tasks.publish", ("default", 1000))]
    assert type(hints[0][1][1]) is int


def test_a_burst_is_one_hint_a_second(hints, clock):
    for _ in range(10):
        wake.wake("default")
        clock(0.3)

    assert len(hints) == 3


def test_each_destination_has_its_own_hints(hints, clock):
    wake.wake("default")
    wake.wake("emea")

    assert [args[0] for _function, args in hints] == ["default", "emea"]


def test_a_broker_that_is_down_is_logged_once_and_left_alone(hints, clock, monkeypatch, caplog):
    tries = []

    def fail(*args, **options):
        tries.append(1)
        raise ConnectionError("broker:6379 password-canary")

    monkeypatch.setattr("django_q.tasks.async_task", fail)
    with caplog.at_level(logging.WARNING):
        for _ in range(25):
            wake.wake("default")
            clock(1.1)

    assert len(tries) == 1
    assert len(caplog.records) == 1
    assert "canary" not in caplog.text
    clock(10)
    wake.wake("default")
    assert len(tries) == 2


def test_no_hint_where_the_setting_is_off(hints, clock, settings):
    settings.GENESYS_EVENTBRIDGE = {
        "default": {**settings.GENESYS_EVENTBRIDGE["default"], "PUBLISH_ON_COMMIT": False}
    }

    wake.wake("default")

    assert hints == []


def test_no_hint_where_django_q_is_not_installed(hints, clock, settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]

    wake.wake("default")

    assert hints == []


def test_no_hint_where_tasks_would_run_in_the_users_request(hints, clock, monkeypatch):
    from django_q.conf import Conf

    monkeypatch.setattr(Conf, "SYNC", True)

    wake.wake("default")

    assert hints == []
