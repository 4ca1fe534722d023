"""PostgreSQL's connection pool: forked processes share no socket, and destinations share what there is."""

import json

import pytest
from django.db import connection, transaction

from genesys_eventbridge import db, schedules, wake
from genesys_eventbridge.checks import database as checks_database
from genesys_eventbridge.outbox import enqueue
from tests.outbox_rows import event
from tests.prompt import sandboxed, start
from tests.test_qcluster import SCHEDULES_AT_ONCE, cluster, delivered, until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL"),
]

POOL = json.dumps({"min_size": 1, "max_size": 4, "timeout": 3})


@pytest.fixture(autouse=True)
def _installed():
    pytest.importorskip("psycopg_pool", reason="psycopg-pool is not installed")
    wake.forget()
    yield
    wake.forget()


def test_a_forked_cluster_works_with_a_pool():
    """Its parent has used the pool before: each child would talk over the same sockets."""
    with sandboxed(more={"WAKE": "django_q"}, aliases=("default", "emea")) as sandbox:
        schedules.install()
        with cluster({**SCHEDULES_AT_ONCE, "workers": 3}, POOL=POOL) as process:
            for number in range(30):
                with transaction.atomic():
                    enqueue("order.created", {"n": number}, destination=("default", "emea")[number % 2])
                if number % 10 == 9:
                    until(delivered(number + 1), process)
                    wake.forget()

        assert len(sandbox.received) == 30


def test_more_destinations_than_connections_are_all_served():
    aliases = tuple(f"d{number}" for number in range(6))
    with sandboxed(aliases=aliases):
        for alias in aliases:
            for _ in range(5):
                event(destination=alias)
        with start("eventbridge_publish", "--loop", POOL=POOL) as process:
            try:
                until(delivered(30), process)
                for alias in aliases:
                    event(destination=alias)
                until(delivered(36), process)
                process.terminate()
                _out, err = process.communicate(timeout=30)
            finally:
                process.kill()

    assert "a pass stopped" not in err


def test_a_forked_process_leaves_the_pools_and_connections_of_its_parent_alone(monkeypatch):
    """To close them would end the sessions of the parent."""
    from django.db.backends.postgresql.base import DatabaseWrapper

    pools, kept = {"default": object()}, connection.connection
    monkeypatch.setattr(DatabaseWrapper, "_connection_pools", pools)
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"pool": True})
    monkeypatch.setattr(db, "_of_the_parent", [])
    opened = pools["default"]

    db.leave_pools_to_parent()
    left, connection.connection = connection.connection, kept

    assert left is None
    assert pools == {}
    assert db._of_the_parent == [kept, {"default": opened}]


@pytest.mark.parametrize(
    ("pool", "found"),
    [(True, ["W038"]), ({"min_size": 2}, ["W038"]), ({"max_size": 4}, ["W038"]), ({"max_size": 5}, [])],
)
def test_a_pool_with_fewer_connections_than_destinations_is_w038(pool, found, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"pool": pool})
    with sandboxed(aliases=tuple("abcde")):
        assert [problem.id for problem in checks_database._small_pool(connection)] == found


def test_alerts_need_one_connection_more(monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"pool": {"max_size": 5}})
    with sandboxed(aliases=tuple("abcde"), more={"ALERTS": "tests.alerts.receive"}):
        (problem,) = checks_database._small_pool(connection)

    assert "5 connections for 5 destinations and the alerts" in problem.message
    assert '"max_size": 7' in problem.hint


def test_without_a_pool_nothing_is_said():
    assert list(checks_database._small_pool(connection)) == []
