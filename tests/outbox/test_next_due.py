"""The agenda: one statement says when a destination's next steps come, at any backlog."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import Destination
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.outbox.due import due_events
from genesys_eventbridge.outbox.next_due import NextDue
from genesys_eventbridge.states import State
from tests.outbox_rows import accepted, ended, event

pytestmark = pytest.mark.django_db


def test_an_empty_outbox_has_nothing_ahead_and_nobody_was_here():
    assert next_due.next_due("default") == NextDue()


def test_the_next_publish_and_the_next_check_are_told_apart():
    event(row={"due_at": DatabaseNow(100)})
    event(row={"due_at": DatabaseNow(50)})
    accepted(due_at=DatabaseNow(20))

    ahead = next_due.next_due("default")

    assert ahead.publish_in == pytest.approx(50, abs=5)
    assert ahead.check_in == pytest.approx(20, abs=5)
    assert ahead.next_in == ahead.check_in


def test_what_is_overdue_is_negative():
    event(row={"due_at": DatabaseNow(-30)})

    assert next_due.next_due("default").publish_in == pytest.approx(-30, abs=5)


def test_only_this_destination_and_only_open_events_count(settings):
    one = settings.GENESYS_EVENTBRIDGE["default"]
    settings.GENESYS_EVENTBRIDGE = {"default": one, "emea": one}
    next_due.next_due("emea")
    event(destination="emea")
    event(row=ended(State.DEAD, "rejected"))

    assert next_due.next_due("default").next_in is None


def test_the_last_acceptance_and_heartbeat_are_ages():
    Destination.objects.create(alias="default", accepted_at=DatabaseNow(-7), heartbeat_at=DatabaseNow(-9))

    ahead = next_due.next_due("default")

    assert ahead.accepted_ago == pytest.approx(7, abs=5)
    assert ahead.heartbeat_ago == pytest.approx(9, abs=5)


def test_a_look_is_one_statement():
    event()
    next_due.next_due("default")

    with CaptureQueriesContext(connection) as statements:
        next_due.next_due("default")

    assert len(statements) == 1


def test_due_events_are_those_whose_time_has_come():
    now = event()
    event(row={"due_at": DatabaseNow(60)})
    accepted()

    assert list(due_events("default", State.PENDING)) == [now]


def test_the_databases_clock_is_read_with_and_without_any_row():
    first = next_due.database_now()

    assert first <= next_due.database_now()
    assert Destination.objects.count() == 1
