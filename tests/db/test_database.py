"""Small transactions: a passing database error is tried again as a whole, a lasting one is let through."""

from types import SimpleNamespace

import pytest
from django.db import DatabaseError, OperationalError, connection, connections
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge import conf, db, operations
from genesys_eventbridge.db import in_small_transaction, renew_connection
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.operations import Actor
from genesys_eventbridge.outbox import retention
from genesys_eventbridge.outbox.followers import release
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import ended, event


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    taken: list[float] = []
    monkeypatch.setattr(db, "pause", taken.append)
    return taken


def failing(times, error, result="done"):
    calls = []

    def work():
        calls.append(1)
        Destination.objects.create(alias=f"try-{len(calls)}")
        if len(calls) <= times:
            raise error
        return result

    return work, calls


@pytest.mark.django_db(transaction=True)
def test_a_deadlock_is_rolled_back_and_the_whole_tried_again(pauses):
    work, _calls = failing(2, OperationalError("deadlock detected"))

    assert in_small_transaction("default", work) == "done"

    assert list(Destination.objects.values_list("alias", flat=True)) == ["try-3"]
    assert len(pauses) == 2


@pytest.mark.django_db(transaction=True)
def test_a_lasting_error_is_let_through_after_a_few_tries(pauses):
    work, calls = failing(99, OperationalError("server closed the connection"))

    with pytest.raises(OperationalError):
        in_small_transaction("default", work)

    assert len(calls) == db.TRIES
    assert not Destination.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_while_a_lease_lasts_a_lost_database_is_waited_for(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(db, "steady", SimpleNamespace(monotonic=lambda: next(clock)))
    work, _calls = failing(20, OperationalError("connection refused"))

    assert in_small_transaction("default", work, until=50.0) == "done"


@pytest.mark.django_db(transaction=True)
def test_after_the_lease_nobody_waits(monkeypatch):
    monkeypatch.setattr(db, "steady", SimpleNamespace(monotonic=lambda: 100.0))
    work, calls = failing(20, OperationalError("connection refused"))

    with pytest.raises(OperationalError):
        in_small_transaction("default", work, until=50.0)

    assert len(calls) == 1


@pytest.mark.django_db(transaction=True)
def test_an_error_of_the_data_is_not_tried_again():
    work, calls = failing(1, DatabaseError("value too long"))

    with pytest.raises(DatabaseError):
        in_small_transaction("default", work)

    assert len(calls) == 1


@pytest.mark.django_db
def test_inside_the_callers_transaction_it_runs_once():
    work, calls = failing(1, OperationalError("deadlock detected"))

    with pytest.raises(OperationalError):
        in_small_transaction("default", work)

    assert len(calls) == 1


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_was_lost_is_replaced():
    def work():
        return Destination.objects.count()

    connection = connections["default"]
    in_small_transaction("default", work)
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no connection to lose")
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_backend_pid()")
        else:
            cursor.execute("SELECT CONNECTION_ID()")
        (session,) = cursor.fetchone()
    other = connection.copy()
    with other.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_terminate_backend(%s)", [session])
        else:
            cursor.execute(f"KILL {int(session)}")
    other.close()

    assert in_small_transaction("default", work) == 0


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="the other databases have statistics")
@pytest.mark.parametrize("deed", ["requeue", "prune", "wake"])
def test_on_sqlite_what_names_its_events_by_id_does_not_walk_a_state(deed):
    """Without statistics SQLite takes an equality for ten rows, however many there are."""
    dead = [event(row=ended(State.DEAD, Reason.REJECTED)).pk for _ in range(40)]
    gone = ended(State.DELIVERED, finished_at=DatabaseNow())
    heads = [event(ordering_key=f"key-{number}", row=gone).pk for number in range(40)]
    for number in range(40):
        event(ordering_key=f"key-{number}", row={"due_at": DatabaseNow(60)})
    old = {"finished_at": DatabaseNow(-40 * 86400), "created_at": DatabaseNow(-40 * 86400)}
    for _ in range(40):
        event(row=ended(State.DELIVERED, "", **old))
    deeds = {
        "requeue": lambda: operations.requeue(dead, Actor("tests", name="somebody")),
        "prune": lambda: retention.prune(conf.destination()),
        "wake": lambda: release(heads),
    }

    with CaptureQueriesContext(connection) as captured:
        deeds[deed]()

    table = f'"{OutboxEvent._meta.db_table}"'
    guarded = [
        query["sql"]
        for query in captured
        if f'{table}."id" IN (' in query["sql"] and f'+{table}."state"' in query["sql"]
    ]
    assert guarded
    with connection.cursor() as cursor:
        for sql in guarded:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plan = " ".join(row[3] for row in cursor.fetchall())
            assert f"{OutboxEvent._meta.db_table} USING INTEGER PRIMARY KEY" in plan


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("age", "error", "kept"),
    [(0, False, True), (0, True, False), (None, False, True), (60, False, True), (-1, False, False)],
)
def test_a_pass_keeps_a_connection_that_works_and_is_not_too_old(age, error, kept, monkeypatch):
    """CONN_MAX_AGE 0 is about requests; a worker with the default would connect again for each pass."""
    connection = connections["default"]
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", age)
    connection.close()
    connection.ensure_connection()
    connection.errors_occurred = error
    before = connection.connection

    renew_connection("default")
    connection.ensure_connection()

    assert (connection.connection is before) is kept
