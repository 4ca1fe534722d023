"""A migration gives up soon if others use its tables, so that saves go on; then it can be run again."""

import io
import threading
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, migrations, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from genesys_eventbridge.db.online_migrations import AddField, OnlineMigration
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.outbox import enqueue
from tests.outbox_rows import event, in_threads

pytestmark = pytest.mark.django_db(transaction=True)

APP = "genesys_eventbridge"
NAMES = sorted(name for app, name in MigrationLoader(None).graph.nodes if app == APP)

on_a_server = pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
READ_LIMIT = {"postgresql": "SHOW lock_timeout", "mysql": "SELECT @@SESSION.lock_wait_timeout"}


def back_to(name):
    MigrationExecutor(connection).migrate([(APP, name)])


def migrate():
    call_command("migrate", APP, verbosity=0)


@pytest.fixture(params=["0003_key_known_since", "0005_remote_key", "0006_circuit"])
def older(request):
    """The tables of an earlier migration; the newest again when the test has ended."""
    back_to(request.param)
    yield request.param
    migrate()


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
def test_a_report_makes_it_give_up_and_not_the_saves(older, model):
    with report(model):
        with pytest.raises(CommandError, match=r"uses a table .* run migrate again\. To find it: SELECT"):
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
    back_to(NAMES[-2])
    migrate()
    after_success = limit()
    back_to(NAMES[-2])
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

    back_to(NAMES[-2])
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
    back_to("0006_circuit")
    with report(OutboxEvent), pytest.raises(CommandError):
        migrate()
    columns = [field.column for field in Destination._meta.concrete_fields]
    with connection.cursor() as cursor:
        there = {
            each.name
            for each in connection.introspection.get_table_description(cursor, Destination._meta.db_table)
        }

    migrate()

    assert set(columns) <= there
    assert event().state == "pending"


def test_every_migration_of_the_app_waits_only_briefly():
    loader = MigrationLoader(None)
    for name in NAMES:
        migration = loader.graph.nodes[APP, name]
        online = isinstance(migration, OnlineMigration)
        assert online or name == "0005_remote_key", name
        for operation in migration.operations:
            assert not isinstance(operation, migrations.AddField) or isinstance(operation, AddField), name
            if isinstance(operation, migrations.AddIndex):
                assert name == "0001_initial", "an index of a table that is there: AddIndexConcurrently"


def test_sqlmigrate_shows_the_limit_on_postgresql():
    out = io.StringIO()

    call_command("sqlmigrate", APP, "0006_circuit", stdout=out)

    assert ("SET LOCAL lock_timeout = '2s';" in out.getvalue()) is (connection.vendor == "postgresql")
