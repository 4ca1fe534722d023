"""An error of our own leaves its frames in the log, once per kind and minute, and nothing that it holds."""

import logging
from types import SimpleNamespace

import httpx
import pytest
from django.db import DatabaseError, OperationalError

from genesys_eventbridge import defects, relay, tasks, wake
from genesys_eventbridge.client.responses.exceptions import failure_outcome
from genesys_eventbridge.defects import report
from genesys_eventbridge.outbox import claim, next_due
from genesys_eventbridge.platform.outcomes import Halt, Verdict
from genesys_eventbridge.platform.protocols import EventBridge
from tests.outbox_rows import event
from tests.scripted import ScriptedPlatform

EMPTY: dict[str, str] = {}


@pytest.fixture(autouse=True)
def now(monkeypatch):
    """A clock that stands still until it is moved."""
    now = [1000.0]
    monkeypatch.setattr(defects, "time", SimpleNamespace(monotonic=lambda: now[0]))
    defects.forget()
    yield now
    defects.forget()


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.WARNING, "genesys_eventbridge")
    return lambda: [record.getMessage() for record in caplog.records]


def raised(key="c4n4ry"):
    token = "c4n4ry-local"
    try:
        EMPTY[key + token]
    except KeyError as error:
        return error


def test_the_frames_are_logged_without_message_and_variables(lines):
    report(raised(), "A pass stopped: %s", "KeyError")

    (line,) = lines()
    assert line.startswith("A pass stopped: KeyError\n  File ")
    assert "EMPTY[key + token]" in line
    assert "c4n4ry-local" not in line.replace('token = "c4n4ry-local"', "")
    assert "KeyError:" not in line


def test_the_same_place_is_shown_once_a_minute(lines, now):
    for _ in range(3):
        report(raised(), "stopped")
    now[0] += defects.EVERY
    report(raised(), "stopped")

    assert ["\n" in line for line in lines()] == [True, False, False, True]


def test_another_place_or_class_is_another_kind(lines):
    report(raised(), "stopped")
    try:
        raise KeyError
    except KeyError as error:
        report(error, "stopped")
    try:
        raise ValueError
    except ValueError as error:
        report(error, "stopped")

    assert ["\n" in line for line in lines()] == [True, True, True]


def test_what_is_expected_is_one_line(lines):
    report(OperationalError("c4n4ry"), "lost: %s", "OperationalError", expected=(OperationalError,))

    assert lines() == ["lost: OperationalError"]


def test_an_error_without_frames_does_no_harm(lines):
    report(ValueError("c4n4ry"), "stopped")

    assert lines() == ["stopped\n"]


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(defects, "REMEMBERED", 3)
    for number in range(9):
        report(type(f"Kind{number}", (Exception,), {})(), "stopped")

    assert len(defects._memory.logged) == 3


@pytest.mark.django_db
def test_a_defect_in_a_claim_leaves_its_place_in_the_log_of_a_task(monkeypatch, lines):
    def broken(*arguments, **keywords):
        return EMPTY["c4n4ry"[:0]]

    monkeypatch.setattr(claim, "claim", broken)
    wake.forget()
    event()

    tasks.retry("default")

    (line,) = [line for line in lines() if line.startswith("Task retry")]
    assert "in broken" in line
    assert "KeyError" in line


@pytest.mark.django_db
def test_a_lost_database_is_one_line_and_an_error_of_ours_at_it_is_not(monkeypatch, lines):
    for error in (OperationalError("gone"), DatabaseError("no such column")):

        def broken(*arguments, error=error, **keywords):
            raise error

        monkeypatch.setattr(next_due, "next_due", broken)
        tasks.publish_backlog("default")

    short, long = lines()
    assert short == "Task publish of destination default stopped: OperationalError"
    assert long.startswith("Task publish of destination default stopped: DatabaseError\n  File ")


@pytest.mark.django_db
def test_a_defect_while_an_answer_is_judged_names_its_place(monkeypatch, lines):
    def broken(*arguments, **keywords):
        return EMPTY[""]

    monkeypatch.setattr(EventBridge, "publish_outcome", broken)
    event()

    relay.publish_due(transport=ScriptedPlatform().transport)

    assert any("could not be judged" in line and "in broken" in line for line in lines())


def test_a_failure_of_no_known_class_names_its_place(lines):
    known, unknown = failure_outcome(httpx.ReadError("reset")), failure_outcome(raised())

    assert (known.outage, unknown.halt or unknown.outage) == (Halt.NETWORK, Halt.CONFIG)
    assert unknown.verdict is Verdict.UNKNOWN
    (line,) = lines()
    assert line.startswith("A request failed because of a bug: KeyError\n")
