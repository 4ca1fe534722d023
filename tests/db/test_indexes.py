"""PostgreSQL's indexes leave out rows without a value, and each query that needs one still uses it."""

from collections.abc import Callable
from importlib import import_module

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge.admin.event_detail import with_neighbours
from genesys_eventbridge.db.clock import NOW
from genesys_eventbridge.db.indexes import SparseIndex
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox.followers import release
from genesys_eventbridge.outbox.settle import owners
from genesys_eventbridge.selection import EventFilter
from genesys_eventbridge.selection.search import search
from tests import migrating
from tests.outbox_rows import event
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
}


def definitions():
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname, indexdef FROM pg_indexes WHERE indexdef LIKE '% WHERE %'")
        return dict(cursor.fetchall())


@on_postgresql
@pytest.mark.parametrize(("index", "query"), [(name, each) for name in QUERIES for each in QUERIES[name]])
def test_the_query_uses_the_index(index, query):
    """Without a proof that the rows are in it, PostgreSQL would read the whole table."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")

    with CaptureQueriesContext(connection) as captured:
        QUERIES[index][query]()

    statements = [each["sql"] for each in captured if each["sql"].startswith(("SELECT", "(SELECT"))]
    plans = [" ".join(plan(sql)) for sql in statements]
    assert any(index in steps for steps in plans), plans


@on_postgresql
def test_the_indexes_are_sparse():
    assert set(definitions()) >= SPARSE


@pytest.mark.django_db(transaction=True)
def test_the_migration_goes_back_and_forth_and_can_be_run_again():
    last = migrating.names()[-1]
    try:
        migrating.to("0013_job_error")
        if connection.vendor == "postgresql":
            assert not set(definitions()) & SPARSE
        migrating.to(last)
        migrating.to("0013_job_error")
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:  # what an interrupted run leaves
                cursor.execute("CREATE INDEX eventbridge_key_new ON genesys_eventbridge_outboxevent (state)")
    finally:
        migrating.to(last)
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, OutboxEvent._meta.db_table)
    assert {index.name for index in OutboxEvent._meta.indexes if "subject_" not in index.name} <= set(found)
    assert "eventbridge_key_new" not in found


def test_the_migration_and_the_models_agree():
    migration = import_module("genesys_eventbridge.migrations.0015_sparse_indexes").Migration
    indexes = {each.name: each for each in OutboxEvent._meta.indexes}
    for operation in migration.operations:
        assert indexes[operation.index.name] == operation.index
        assert isinstance(operation.index, SparseIndex)
