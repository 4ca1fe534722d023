"""A key or an event id that is taken: the call locks no row, and says whether trying again may help."""

import contextlib
from typing import Any

import pytest
from django.db import connection, transaction

from genesys_eventbridge import outbox
from genesys_eventbridge.errors import IdempotencyConflict
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import enqueue, enqueue_many
from genesys_eventbridge.relay import publish_due
from genesys_eventbridge.states import State
from tests.isolation import LEVELS, isolated
from tests.outbox_rows import event, fresh, in_threads
from tests.scripted import ScriptedPlatform

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "11111111-2222-4333-8444-555555555555"
SAYS: dict[str, Any] = {"type": "order.created", "data": {"n": 1}}

CALLS = {
    "enqueue, the same": lambda: enqueue(**SAYS, idempotency_key=KEY),
    "enqueue, another content": lambda: enqueue("order.changed", None, idempotency_key=KEY),
    "enqueue, the same event id": lambda: enqueue(**SAYS, event_id="e-1"),
    "enqueue_many, the same": lambda: enqueue_many([{**SAYS, "idempotency_key": KEY}]),
    "enqueue_many, another content": lambda: enqueue_many(
        [{"type": "order.changed", "data": None, "idempotency_key": KEY}]
    ),
    "enqueue_many, the same event id": lambda: enqueue_many([{**SAYS, "event_id": "e-1"}]),
}


@pytest.fixture(params=LEVELS)
def level(request):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time and no row locks")
    with isolated(request.param):
        yield request.param


@pytest.mark.parametrize("snapshot", ["before the event", "after the event"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_while_the_callers_transaction_is_open_a_worker_claims_and_settles_the_event(level, call, snapshot):
    def write():
        return event(data=SAYS["data"], idempotency_key=KEY, event_id="e-1")

    row = None if snapshot == "before the event" else write()
    with transaction.atomic():
        list(OutboxEvent.objects.all())
        if row is None:
            (row,) = in_threads(1, write)
        try:
            call()
        except IdempotencyConflict:
            if connection.needs_rollback:
                return  # the database has ended the transaction, and its locks with it
        (claimed,) = in_threads(1, lambda: _publish_if_free(row))

    assert claimed == 1
    assert fresh(row).state == State.ACCEPTED


def _publish_if_free(row):
    """A locked row fails at once here; the worker would wait for it."""
    with transaction.atomic():
        OutboxEvent.objects.select_for_update(nowait=True).get(pk=row.pk)
    return publish_due(transport=ScriptedPlatform().transport).claimed


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_entry_of_an_index_is_locked_where_the_event_can_be_seen(level, call):
    """A prune deletes the event with its entries under the key and the event id."""
    row = event(data=SAYS["data"], idempotency_key=KEY, event_id="e-1")
    rows = OutboxEvent.objects.select_for_update(nowait=True)

    @transaction.atomic
    def lock():
        return rows.get(idempotency_key=row.idempotency_key), rows.get(event_id="e-1", source=row.source)

    with transaction.atomic():
        with contextlib.suppress(IdempotencyConflict):
            call()
        (locked,) = in_threads(1, lock)

    assert locked == (row, row)


def test_a_taken_event_id_stays_taken_so_the_conflict_is_final_and_names_its_place():
    event(event_id="e-1")

    with pytest.raises(IdempotencyConflict, match=r"^events\[1\]\.event_id: .*'e-1'.*taken") as found:
        enqueue_many([SAYS, {**SAYS, "event_id": "e-1"}], standalone=True)

    assert not found.value.retryable
    assert OutboxEvent.objects.count() == 1


def test_the_same_event_id_under_two_keys_of_one_list_is_final_too():
    twice = [{**SAYS, "event_id": "e-1", "idempotency_key": key} for key in ("one", "one", "two")]

    with pytest.raises(IdempotencyConflict, match=r"^events\[2\]\.event_id: ") as found:
        enqueue_many(twice, standalone=True)

    assert not found.value.retryable
    assert not OutboxEvent.objects.exists()


def test_another_content_under_a_taken_key_names_its_place():
    event(data=SAYS["data"], idempotency_key=KEY)

    with pytest.raises(IdempotencyConflict, match=r"^events\[1\]\.idempotency_key: ") as found:
        enqueue_many([SAYS, {"type": "other", "data": None, "idempotency_key": KEY}], standalone=True)

    assert not found.value.retryable


def test_the_same_event_id_of_another_source_is_another_event():
    event(event_id="e-1")

    (row,) = enqueue_many([{**SAYS, "event_id": "e-1", "source": "com.example.other"}], standalone=True)

    assert fresh(row).source == "com.example.other"


@pytest.mark.parametrize("name", [name for name in CALLS if "same event id" in name])
def test_an_event_id_that_another_transaction_commits_after_the_look_is_final_too(monkeypatch, name):
    event(event_id="e-1")
    first_look: Any = iter([[]] if connection.vendor == "mysql" or "many" in name else [])
    taken = outbox._Taken
    monkeypatch.setattr(outbox, "_Taken", lambda rows, alias: taken(next(first_look, rows), alias))

    with pytest.raises(IdempotencyConflict, match="taken by another") as found, transaction.atomic():
        CALLS[name]()

    assert not found.value.retryable
