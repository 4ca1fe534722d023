"""The memory: what the database itself refuses to believe, and the facts that are computed."""

import uuid
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, transaction

from genesys_eventbridge.cloudevents import NO_DATA
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.states import FINISHED, OPEN, Reason, State
from tests.outbox_rows import accepted, claim, ended, event, fresh

pytestmark = pytest.mark.django_db

TOKEN = uuid.UUID(int=7)  # the same in each process: ids of tests hold it


@pytest.mark.parametrize(
    "columns",
    [
        {"state": "lost"},
        {"due_at": None},
        {"state": State.DEAD, "reason": Reason.REJECTED},
        ended(State.DEAD, Reason.REJECTED) | {"claim_token": TOKEN},
        ended(State.DEAD),
        ended(State.DEAD, "because"),
        ended(State.UNRESOLVED),
        ended(State.CANCELLED, finished_at=DatabaseNow()),
        ended(State.DELIVERED),
        ended(State.DELIVERED, Reason.REJECTED, finished_at=DatabaseNow()),
        ended(State.DEAD, Reason.REJECTED, finished_at=DatabaseNow()),
        {"reason": Reason.REJECTED},
        {"finished_at": DatabaseNow()},
        {"body": ""},
        {"claim_token": TOKEN},
    ],
    ids=str,
)
def test_the_database_refuses_what_cannot_be(columns):
    row = event()

    with pytest.raises(IntegrityError), transaction.atomic():
        OutboxEvent.objects.filter(pk=row.pk).update(**columns)


@pytest.mark.parametrize(
    "columns",
    [
        ended(State.DELIVERED, finished_at=DatabaseNow()),
        ended(State.DELIVERED, finished_at=DatabaseNow(), body=""),
        ended(State.CANCELLED, Reason.OPERATOR, finished_at=DatabaseNow()),
        *(ended(State.DEAD, reason) for reason in Reason),
        *(ended(State.UNRESOLVED, reason) for reason in Reason),
        {"claim_token": TOKEN, "in_doubt_since": DatabaseNow()},
        {"state": State.ACCEPTED},
        {"state": State.ACCEPTED, "claim_token": TOKEN},
    ],
    ids=str,
)
def test_the_database_believes_what_can_be(columns):
    row = event()

    assert OutboxEvent.objects.filter(pk=row.pk).update(**columns) == 1


def test_an_idempotency_key_and_an_event_of_a_source_are_unique():
    row, other = event(event_id="a"), event(event_id="b")

    for columns in ({"idempotency_key": row.idempotency_key}, {"event_id": "a"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            OutboxEvent.objects.filter(pk=other.pk).update(**columns)
    assert OutboxEvent.objects.filter(pk=other.pk).update(event_id="a", source="elsewhere")


@pytest.mark.parametrize(("one", "other"), [("a", "A"), ("a", "a "), ("e", "é")])
def test_identities_are_compared_exactly(one, other):
    event(event_id=one, ordering_key=one, subject=one)
    event(event_id=other, ordering_key=other, subject=other)

    for field in ("event_id", "ordering_key", "subject"):
        assert OutboxEvent.objects.filter(**{field: one}).count() == 1


def test_the_facts_of_a_row_are_computed_and_never_stored():
    waiting = event()
    late = event(delay=60)
    retrying = event(row={"attempts": 2, "due_at": DatabaseNow(60)})
    asked = accepted()
    dead = event(row=ended(State.DEAD, Reason.REJECTED))
    flying = event(row={"due_at": DatabaseNow(-60)})
    claim(limit=1)
    rows = OutboxEvent.objects

    assert set(rows.due()) == {waiting, asked}
    assert set(rows.in_flight()) == {flying}
    assert set(rows.retrying()) == {retrying}
    assert set(rows.open()) == {waiting, late, retrying, asked, flying}
    assert set(rows.needs_operator()) == {dead}
    assert set(rows.not_in_flight()) == {waiting, late, retrying, asked, dead}


def test_every_state_is_open_finished_or_waits_for_a_person():
    assert {*OPEN, *FINISHED, State.DEAD, State.UNRESOLVED} == set(State)


def test_a_blanked_body_has_no_data():
    row = event(data=1, row=ended(State.DELIVERED, finished_at=DatabaseNow(), body=""))

    assert fresh(row).data is NO_DATA


def test_the_payload_shows_in_no_repr():
    row = event(data="payload-canary")

    assert "canary" not in repr(row) + str(row)
    (claimed,) = claim().rows
    assert "canary" not in repr(claimed)


def test_the_migrations_are_complete():
    call_command("makemigrations", "genesys_eventbridge", check=True, dry_run=True, stdout=StringIO())


def test_no_index_has_a_condition():
    """SQLite's planner does not use one with bound parameters, and MySQL and MariaDB drop the condition."""
    for model in apps.get_app_config("genesys_eventbridge").get_models():
        assert [index.name for index in model._meta.indexes if index.condition] == []
