"""A migration gives up soon if others use its tables, so that saves go on; then it can be run again."""

import io
import threading
from contextlib import contextmanager
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, connection, migrations, transaction

from genesys_eventbridge.db.online_migrations import (
    AddIndex,
    AddUnique,
    OnlineMigration,
    ReplaceIndex,
    SetFillFactor,
    SparseForeignKey,
)
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.outbox import enqueue
from tests import migrating
from tests.migrating import APP
from tests.outbox_rows import event, in_threads

pytestmark = pytest.mark.django_db(transaction=True)

ONLINE = {AddUnique, AddIndex, ReplaceIndex, SparseForeignKey, SetFillFactor}
RELEASED = migrating.names()[-1]
COLUMNS, UNIQUE = "1001_columns", "1002_unique"
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'eventbridge_later_key'::regclass"

on_a_server = pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
READ_LIMIT = {"postgresql": "SHOW lock_timeout", "mysql": "SELECT @@SESSION.lock_wait_timeout"}


def migrate():
    call_command("migrate", APP, verbosity=0)


@pytest.fixture(autouse=True)
def _later_migrations():
    """Two migrations that are not yet applied follow those of the app; gone when the test has ended."""
    with migrating.chain(migrating.LATER):
        yield
        migrating.to(RELEASED)


@contextmanager
def report(model):
    """Another session's transaction has read the table and is still open."""
    has_read, ends = threading.Event(), threading.Event()

    def read():
        with transaction.atomic():
            model.objects.count()
            has_read.set()
            ends.wait(20)

    reader = threading.Thread(target=in_threads, args=(1, read))
    reader.start()
    has_read.wait(20)
    try:
        yield
    finally:
        ends.set()
        reader.join()


@on_a_server
@pytest.mark.parametrize("model", [OutboxEvent, Destination])
def test_a_report_makes_it_give_up_and_not_the_saves(model):
    with report(model):
        with pytest.raises(CommandError, match=r"is using a table .* run migrate again\. To find it: SELECT"):
            migrate()
        with transaction.atomic():
            enqueue("order.created", None)

    migrate()

    assert OutboxEvent.objects.get().type == "order.created"


@on_a_server
def test_the_limit_of_the_session_is_the_same_afterwards():

    def limit():
        with connection.cursor() as cursor:
            cursor.execute(READ_LIMIT[connection.vendor])
            return cursor.fetchone()[0]

    connection.close()
    before = limit()
    migrate()
    after_success = limit()
    migrating.to(RELEASED)
    with report(OutboxEvent), pytest.raises(CommandError):
        migrate()
    after_failure = limit()
    migrate()

    assert before == after_success == after_failure


@on_a_server
def test_a_shorter_limit_of_the_session_stays():
    seen = []
    shorter = {
        "postgresql": ("SET lock_timeout = 700", "700ms"),
        "mysql": ("SET SESSION lock_wait_timeout = 1", 1),
    }
    say, expected = shorter[connection.vendor]

    def watch(execute, sql, *rest):
        if sql.startswith("ALTER TABLE"):
            with connection.connection.cursor() as cursor:
                cursor.execute(READ_LIMIT[connection.vendor])
                seen.append(cursor.fetchone()[0])
        return execute(sql, *rest)

    with connection.cursor() as cursor:
        cursor.execute(say)
    try:
        with connection.execute_wrapper(watch):
            migrate()
    finally:
        connection.close()

    assert set(seen) == {expected}


def test_a_migration_that_failed_half_way_can_be_run_again():
    """MySQL and MariaDB keep the columns that were added before the failure."""
    if connection.vendor != "mysql":
        pytest.skip("only MySQL and MariaDB cannot roll back a change of a table")
    with report(OutboxEvent), pytest.raises(CommandError):
        migrate()
    with connection.cursor() as cursor:
        there = {
            each.name
            for each in connection.introspection.get_table_description(cursor, Destination._meta.db_table)
        }

    migrate()

    assert {"later_note", "later_at"} <= there
    assert event().state == "pending"
    assert migrating.recorded() >= {COLUMNS, UNIQUE}


def unique_index():
    """What the database says of the index; None without one."""
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, OutboxEvent._meta.db_table)
    return found.get("eventbridge_later_key")


class TestAddUnique:
    @on_a_server
    def test_a_report_makes_it_give_up_and_not_the_saves(self):
        migrating.to(COLUMNS)
        with report(OutboxEvent):
            with pytest.raises(CommandError, match="is using a table"):
                migrate()
            with transaction.atomic():
                enqueue("order.created", None)

        migrate()

        assert unique_index()["unique"]
        assert OutboxEvent.objects.get().type == "order.created"

    def test_it_can_be_taken_back_and_added_again(self):
        event()
        migrate()
        migrating.to(COLUMNS)
        assert unique_index() is None

        migrate()

        assert unique_index()["columns"] == ["later_key"]
        assert unique_index()["unique"]
        assert OutboxEvent.objects.count() == 1

    def test_postgresql_begins_again_where_an_index_was_left_invalid(self):
        if connection.vendor != "postgresql":
            pytest.skip("only PostgreSQL builds an index beside the traffic")
        migrating.to(COLUMNS)
        event()
        event()
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {OutboxEvent._meta.db_table} SET later_key = %s", [uuid4()])
            with pytest.raises(IntegrityError):
                migrate()
            cursor.execute(f"UPDATE {OutboxEvent._meta.db_table} SET later_key = NULL")
            cursor.execute(VALID)
            assert cursor.fetchone() == (False,)

            migrate()

            cursor.execute(VALID)
            assert cursor.fetchone() == (True,)


def test_every_migration_of_the_app_waits_only_briefly():
    """The two later ones are judged, too: today the app has only one."""
    for name in migrating.names():
        migration = migrating.migration(name)
        kinds = {type(operation) for operation in migration.operations}
        online = {*ONLINE, migrations.RunPython}
        assert isinstance(migration, OnlineMigration) or (kinds <= online and not migration.atomic), name
        assert migrations.AddField not in kinds, f"{name}: AddField of online_migrations"
        if not migration.initial:
            assert migrations.AddIndex not in kinds, "an index of a table that is there: ours"
            assert not kinds & ONLINE or not migration.atomic, name


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        (COLUMNS, "SET LOCAL lock_timeout = '2s';"),
        (UNIQUE, 'CREATE UNIQUE INDEX CONCURRENTLY "eventbridge_later_key"'),
    ],
)
def test_sqlmigrate_shows_on_postgresql_what_keeps_it_short(name, statement):
    out = io.StringIO()

    call_command("sqlmigrate", APP, name, stdout=out)

    assert (statement in out.getvalue()) is (connection.vendor == "postgresql")
