"""PostgreSQL's indexes leave out rows that no query looks for in them; each query still uses its index."""

import re
from collections import Counter
from collections.abc import Callable
from importlib import import_module

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge import conf
from genesys_eventbridge.admin.event_detail import with_neighbours
from genesys_eventbridge.db.clock import NOW
from genesys_eventbridge.db.indexes import DeliveredIndex, SparseIndex
from genesys_eventbridge.db.online_migrations import AddIndex, ReplaceIndex
from genesys_eventbridge.models import DeliveryAttempt, OutboxEvent, in_states
from genesys_eventbridge.outbox import orphans
from genesys_eventbridge.outbox.due import due_events
from genesys_eventbridge.outbox.expiry import expire
from genesys_eventbridge.outbox.followers import release
from genesys_eventbridge.outbox.next_due import next_due
from genesys_eventbridge.outbox.settle import owners
from genesys_eventbridge.reporting.status import statuses
from genesys_eventbridge.selection import EventFilter, access
from genesys_eventbridge.selection.filters import Attention, Progress
from genesys_eventbridge.selection.search import search
from genesys_eventbridge.states import State
from tests import migrating
from tests.outbox_rows import ended, event
from tests.selection.plans import plan

pytestmark = pytest.mark.django_db

on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="only PostgreSQL leaves out empty texts"
)
SPARSE = {
    "eventbridge_key",
    "eventbridge_remote",
    "eventbridge_subject",
    "eventbridge_correlation",
    "eventbridge_status_code",
    "eventbridge_doubt",
}
LEAN = {"eventbridge_due", "eventbridge_delivered", "eventbridge_attempt_corr", "origin"}
TABLE = "genesys_eventbridge_outboxevent"

QUERIES: dict[str, dict[str, Callable[[], object]]] = {
    "eventbridge_key": {
        "of a key": lambda: list(EventFilter(ordering_key="k").rows()),
        "rows ahead": lambda: list(OutboxEvent.objects.blocked()),
        "neighbours on the page": lambda: list(with_neighbours(OutboxEvent.objects.all())),
        "the next row": lambda: release([event(ordering_key="k").pk]),
    },
    "eventbridge_remote": {
        "owners": lambda: owners("default", ["evt-1"]),
        "owners of more than a hundred": lambda: owners("default", [f"evt-{n}" for n in range(300)]),
        "search": lambda: search("evt-1"),
    },
    "eventbridge_subject": {
        "of a subject": lambda: list(EventFilter(subject="ORD-1").rows()),
        "search": lambda: search("ORD-1"),
    },
    "eventbridge_correlation": {"search": lambda: search("evt-1")},
    "eventbridge_status_code": {
        "of a code": lambda: list(EventFilter(status_code=503).rows()),
        "of a class": lambda: list(OutboxEvent.objects.filter(last_status_code__gte=500)),
    },
    "eventbridge_doubt": {"in doubt": lambda: list(OutboxEvent.objects.filter(in_doubt_since__lte=NOW))},
    "eventbridge_due": {
        "a claim": lambda: list(due_events("default", State.PENDING).order_by("due_at", "id")[:100]),
        "the next due": lambda: next_due("default"),
        "due": lambda: list(OutboxEvent.objects.due()),
        "needing an operator": lambda: list(OutboxEvent.objects.needs_operator()),
        "failing": lambda: list(OutboxEvent.objects.failing()),
        "dead": lambda: list(EventFilter(states=(State.DEAD,)).rows()),
        "cancelled and delivered": lambda: list(
            EventFilter(states=(State.CANCELLED, State.DELIVERED)).rows()
        ),
        "needing attention": lambda: list(EventFilter(attention=Attention.NEEDED).rows()),
        "not delivered": lambda: list(EventFilter(progress=Progress.OPEN).rows()),
        "numbers of a destination": lambda: statuses(["default"]),
        "closing": lambda: expire(conf.destination("default")),
        "orphans": orphans.left,
        "an orphan": lambda: orphans.is_left("gone"),
    },
    "eventbridge_delivered": {
        "delivered": lambda: list(EventFilter(states=(State.DELIVERED,)).rows()),
        "cancelled and delivered": lambda: list(
            EventFilter(states=(State.CANCELLED, State.DELIVERED)).rows()
        ),
        "orphans": orphans.left,
        "an orphan": lambda: orphans.is_left("gone"),
    },
    "eventbridge_attempt_corr": {"search": lambda: search("evt-1")},
    "origin": {
        "resends": lambda: list(OutboxEvent.objects.filter(origin=1)),
        "removal": lambda: OutboxEvent.objects.filter(pk=event().pk).delete(),
    },
}


def definitions():
    """By name without Django's suffixes, the indexes that leave out rows."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname, indexdef FROM pg_indexes WHERE indexdef LIKE '% WHERE %'")
        found = dict(cursor.fetchall())
    return {re.sub(rf"{TABLE}_(origin)_id_\w+", r"\1", name): text for name, text in found.items()}


def fill_factors():
    """How far PostgreSQL fills pages, by table or index; without those that have the default."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, option FROM pg_class, unnest(reloptions) AS option "
            "WHERE relname LIKE '%eventbridge%' AND option LIKE 'fillfactor=%'"
        )
        return dict(cursor.fetchall())


@on_postgresql
@pytest.mark.parametrize(("index", "query"), [(name, each) for name in QUERIES for each in QUERIES[name]])
def test_the_query_uses_the_index(index, query):
    """Without a proof that the rows are in it, PostgreSQL would read the whole table."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")

    with CaptureQueriesContext(connection) as captured:
        QUERIES[index][query]()

    statements = [each["sql"] for each in captured if each["sql"].startswith(("SELECT", "(SELECT", "UPDATE"))]
    plans = [" ".join(plan(sql)) for sql in statements]
    assert any(index in steps for steps in plans), plans


@on_postgresql
@pytest.mark.parametrize("state", [State.DELIVERED, State.DEAD])
def test_the_count_that_decides_how_to_read_a_list_reads_only_the_index(state):
    """Otherwise the list of delivered events would read 50,000 of them before it shows the first."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")

    with CaptureQueriesContext(connection) as captured:
        access.listed(OutboxEvent.objects.all(), EventFilter(states=(state,)))

    (count,) = captured.captured_queries
    index = "delivered" if state is State.DELIVERED else "due"
    assert f"Index Only Scan using eventbridge_{index}" in " ".join(plan(count["sql"]))


@on_postgresql
def test_the_indexes_are_sparse():
    assert set(definitions()) >= SPARSE | LEAN


@pytest.mark.parametrize("states", [(State.PENDING, State.DELIVERED), tuple(State)])
def test_states_of_two_indexes_are_all_found(states):
    delivered, pending = event(row=ended(State.DELIVERED, finished_at=NOW)).pk, event().pk

    found = OutboxEvent.objects.filter(in_states(states))
    assert set(found.values_list("pk", flat=True)) == {delivered, pending}


def pages_of(rows):
    """The numbers of their pages in the table."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id, (ctid::text::point)[0] FROM {TABLE} WHERE id = ANY(%s)", [rows])
        return dict(cursor.fetchall())


@on_postgresql
def test_the_most_frequent_entries_of_due_events_come_last():
    """Anywhere else a full page of the index is split in two halves, which stay half empty."""
    assert "(state DESC, destination, due_at, id) WHERE" in definitions()["eventbridge_due"]


@on_postgresql
def test_the_next_version_of_a_row_fits_beside_it():
    """Elsewhere PostgreSQL would log the whole row, and not the difference."""
    rows = [event(data={"text": "x" * 300}).pk for _ in range(30)]
    before = pages_of(rows)
    ((page, _number),) = Counter(before.values()).most_common(1)
    changed = [pk for pk in rows if before[pk] == page][:2]

    OutboxEvent.objects.filter(pk__in=changed).update(due_at=NOW)

    assert set(pages_of(changed).values()) == {page}


@pytest.mark.django_db(transaction=True)
def test_the_migration_goes_back_and_forth_and_can_be_run_again():
    last = migrating.names()[-1]
    missing = {
        "sqlite": {"eventbridge_delivered"},
        "mysql": {"eventbridge_delivered", "eventbridge_troubled"},
    }
    try:
        migrating.to("0013_job_error")
        if connection.vendor == "postgresql":
            assert not set(definitions()) & (SPARSE | LEAN)
            assert fill_factors() == {}
        migrating.to(last)
        migrating.to("0013_job_error")
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:  # what an interrupted run leaves
                cursor.execute("CREATE INDEX eventbridge_key_new ON genesys_eventbridge_outboxevent (state)")
    finally:
        migrating.to(last)
    if connection.vendor == "postgresql":
        assert fill_factors() == {TABLE: "fillfactor=60", "eventbridge_attempt_number": "fillfactor=50"}
        assert set(definitions()) >= SPARSE | LEAN
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, OutboxEvent._meta.db_table)
    expected = {index.name for index in OutboxEvent._meta.indexes if "subject_" not in index.name}
    assert expected - missing.get(connection.vendor, set()) <= set(found)
    assert "eventbridge_key_new" not in found


def test_the_migrations_and_the_models_agree():
    indexes = {each.name: each for model in (OutboxEvent, DeliveryAttempt) for each in model._meta.indexes}
    last = {}
    for name in ("0015_sparse_indexes", "0016_lean_rows"):
        migration = import_module(f"genesys_eventbridge.migrations.{name}").Migration
        for operation in migration.operations:
            if isinstance(operation, AddIndex | ReplaceIndex):
                last[operation.index.name] = operation.index

    assert last == {name: indexes[name] for name in SPARSE | LEAN - {"origin"}}
    assert all(isinstance(each, SparseIndex | DeliveredIndex) for each in last.values())


def test_the_migration_says_what_it_does():
    operations = import_module("genesys_eventbridge.migrations.0016_lean_rows").Migration.operations

    assert [each.describe() for each in operations[-3:]] == [
        "Leave out rows without origin in its index on outboxevent",
        "Fill pages of outboxevent up to 60 %",
        "Fill pages of eventbridge_attempt_number up to 50 %",
    ]
