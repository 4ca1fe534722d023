"""Upgrades: old and new workers side by side, what an old queue holds, and databases of earlier versions."""

import io
import re
from collections import Counter
from datetime import timedelta
from importlib import import_module
from itertools import pairwise
from pydoc import locate
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.core.management.color import no_style
from django.db import connection, migrations
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.models import CharField, ForeignKey, UniqueConstraint
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from genesys_eventbridge import counters, schedules, tasks
from genesys_eventbridge.checks import database
from genesys_eventbridge.db.online_migrations import SetFillFactor, SparseForeignKey
from genesys_eventbridge.models import DeliveryAttempt, Destination, EventAct, OutboxEvent, Rollup, Total
from genesys_eventbridge.operations import Actor, cancel
from genesys_eventbridge.states import State
from genesys_eventbridge.text.failures import failure_id
from tests import migrating
from tests.catalogue import catalogue
from tests.migrating import APP
from tests.outbox_rows import accepted, ended, event, fresh
from tests.prompt import sandboxed

SQUASHED = "0001_squashed_0007_leases"
SEVEN = [
    "0001_initial",
    "0002_rollup",
    "0003_key_known_since",
    "0004_wire",
    "0005_remote_key",
    "0006_circuit",
    "0007_leases",
]
MODELS = [Destination, OutboxEvent, EventAct, DeliveryAttempt, Rollup]  # those they refer to before them
TABLES = sorted(model._meta.db_table for model in MODELS)

#: What queues and schedules of any release may hold: path, and the arguments it was called with. A line is
#: never taken away, only added: operators' Schedule rows and queued messages outlive a release.
PROMISED = (
    ("genesys_eventbridge.tasks.publish", ("default",)),
    ("genesys_eventbridge.tasks.publish", ("default", 1_700_000_000)),
    ("genesys_eventbridge.tasks.publish", ("default", 0, 4_000_000_000)),
    ("genesys_eventbridge.tasks.publish_backlog", ("default",)),
    ("genesys_eventbridge.tasks.poll", ("default",)),
    ("genesys_eventbridge.tasks.retry", ("default",)),
    ("genesys_eventbridge.tasks.prune", ("default",)),
    ("genesys_eventbridge.tasks.publish_all", ()),
    ("genesys_eventbridge.tasks.poll_all", ()),
    ("genesys_eventbridge.tasks.retry_all", ()),
    ("genesys_eventbridge.tasks.prune_all", ()),
)


@pytest.mark.parametrize(("path", "arguments"), PROMISED, ids=str)
@pytest.mark.django_db
def test_what_a_queue_of_an_earlier_release_holds_still_runs(path, arguments, monkeypatch):
    monkeypatch.setattr("genesys_eventbridge.relay.worker.LINGER", 0.0)
    tasks._idle_since.clear()
    with sandboxed():
        task: Any = locate(path)
        assert type(task(*arguments)) is int


def test_every_schedule_that_is_installed_is_among_what_is_promised():
    assert {plan.func for plan in schedules.PLANS} <= {path for path, _arguments in PROMISED}


def rows_of_every_state():
    """An event in each state, two pending, with attempts, an act, a destination and counters."""
    with sandboxed():
        event("order.delivered")
        tasks.retry("default")
    event("order.new")
    event("order.next", ordering_key="order 1")
    accepted(due_at=timezone.now() + timedelta(hours=1))
    event("order.refused", row=ended(State.DEAD, "rejected"))
    event("order.lost", row=ended(State.UNRESOLVED, "outcome_unknown"))
    cancel([event("order.withdrawn").pk], Actor(via="tests"), "not wanted")
    assert {model.__name__ for model in MODELS if not model._base_manager.exists()} == set()


class Rows:
    """All rows of the app's tables, to put into tables that were made by other migrations."""

    def __init__(self):
        every = {model.__name__: list(model._base_manager.order_by("pk").values()) for model in MODELS}
        self.rows = {name: rows for name, rows in every.items() if rows}

    def put(self, apps):
        models = [apps.get_model(APP, name) for name in self.rows]
        for model in models:
            for row in self.known_to(model):
                model.objects.create(**row)
        with connection.cursor() as cursor:
            for statement in connection.ops.sequence_reset_sql(no_style(), models):
                cursor.execute(statement)

    def there(self, apps):
        models = [apps.get_model(APP, name) for name in self.rows]
        return all(
            list(model.objects.order_by("pk").values()) == list(self.known_to(model)) for model in models
        )

    def known_to(self, model):
        """The rows without columns that later migrations added."""
        columns = {field.attname for field in model._meta.concrete_fields}
        for row in self.rows[model.__name__]:
            yield {name: value for name, value in row.items() if name in columns}


def added_fields(name):
    return {
        each.name for each in migrating.migration(name).operations if isinstance(each, migrations.AddField)
    }


@pytest.mark.parametrize("module", [migrating.OLD, migrating.OWN, migrating.LATER])
def test_a_later_migration_takes_nothing_away_that_an_old_worker_writes(module):
    """Deploying migrates first: until the last old worker has ended it writes to the new tables."""
    harmless = (
        migrations.CreateModel,
        migrations.AddIndex,
        migrations.AlterModelOptions,
        migrations.RunPython,  # the app's only fill columns that were added
        SparseForeignKey,
        SetFillFactor,
    )
    with migrating.chain(module):
        names = migrating.names()
        added = {field for name in names[1:] for field in added_fields(name)}
        loader = MigrationLoader(None)
    for previous, name in pairwise(names):
        for operation in loader.graph.nodes[APP, name].operations:
            if isinstance(operation, migrations.AddField):
                field = operation.field
                assert field.null or field.has_db_default(), f"{name}: {operation.name} has no db_default"
            elif isinstance(operation, migrations.AddConstraint):
                assert isinstance(operation.constraint, UniqueConstraint)
                fields = operation.constraint.fields
                # An old worker leaves an added column empty, and rows with an empty column are all different.
                assert set(fields) & added, f"{name}: an old worker writes {fields}"
            elif isinstance(operation, migrations.AlterField):
                model = loader.project_state((APP, previous)).models[APP, operation.model_name_lower]
                before, after = model.fields[operation.name], operation.field
                if isinstance(before, ForeignKey) and isinstance(after, ForeignKey):
                    assert after.null, f"{name}: {operation.name} takes less"
                    continue
                assert type(before) is type(after) is CharField, operation.name
                assert (after.max_length or 0) >= (before.max_length or 0), (
                    f"{name}: {operation.name} takes less"
                )
            else:
                assert isinstance(operation, harmless), f"{name}: {operation.describe()}"


@pytest.mark.django_db(transaction=True)
class TestTheSquashedMigration:
    def test_it_makes_the_tables_that_the_seven_made(self):
        with migrating.old_tables(SEVEN[-1]):
            by_seven = catalogue()
        migrating.to(None)
        assert catalogue() == {}
        migrating.to(SQUASHED)
        by_one = catalogue()
        migrating.to_the_last()

        assert list(by_one) == list(by_seven) == TABLES
        for table in TABLES:
            assert by_one[table] == by_seven[table]

    def test_it_stands_for_the_seven_in_the_migrations_of_others(self):
        """A migration of a user's app may depend on any of them."""
        assert migrating.migration(SQUASHED).replaces == [(APP, name) for name in SEVEN]
        with migrating.chain(migrating.OLD):
            assert migrating.names() == SEVEN

    def test_a_fresh_database_remembers_the_seven_too(self):
        """So the release before, which has the seven files, can be started again."""
        assert migrating.recorded() >= {SQUASHED, *SEVEN}
        with migrating.chain(migrating.OLD):
            assert MigrationExecutor(connection).migration_plan([(APP, SEVEN[-1])]) == []


@pytest.mark.django_db(transaction=True)
class TestADatabaseOfTheLastDevelopmentVersion:
    """It has applied all seven migrations, and holds rows."""

    def test_no_table_changes_and_no_row(self):
        rows_of_every_state()
        rows = Rows()
        with migrating.old_tables(SEVEN[-1]) as apps:
            rows.put(apps)
            before = catalogue()
            with CaptureQueriesContext(connection) as queries:
                call_command("migrate", APP, SQUASHED, verbosity=0)
            after = catalogue()

            assert after == before
            assert not [each for each in queries if re.match(r"\s*(CREATE|ALTER|DROP)\b", each["sql"])]
            assert migrating.recorded() == {SQUASHED, *SEVEN}
            assert rows.there(apps)

    def test_the_models_fit_and_migrate_has_nothing_left_to_do(self):
        out = io.StringIO()
        with migrating.old_tables(SEVEN[-1]):
            call_command("migrate", verbosity=0)
            call_command("makemigrations", check=True, dry_run=True, stdout=out)
            call_command("migrate", stdout=out)

        assert "No changes detected" in out.getvalue()
        assert "No migrations to apply" in out.getvalue()

    def test_workers_publish_and_check_what_is_in_it(self):
        rows_of_every_state()
        rows = Rows()
        with migrating.old_tables(SEVEN[-1]) as apps:
            rows.put(apps)
            call_command("migrate", verbosity=0)
            with sandboxed():
                tasks.retry("default")
        states = Counter(OutboxEvent.objects.values_list("state", flat=True))

        assert states == {"delivered": 3, "accepted": 1, "dead": 1, "unresolved": 1, "cancelled": 1}


@pytest.mark.django_db(transaction=True)
class TestADatabaseThatHasAppliedSomeOfTheSeven:
    """Django itself would leave the squashed migration out and say nothing."""

    @pytest.mark.parametrize("name", [SEVEN[0], SEVEN[5]])
    def test_migrate_refuses_and_says_what_to_do(self, name):
        with migrating.old_tables(name):
            before = catalogue()
            with pytest.raises(SystemCheckError) as refused:
                call_command("migrate", verbosity=0, skip_checks=False)
            applied = migrating.recorded()
            found = [problem.id for problem in database.problems(["default"])]
            after = catalogue()
        text = str(refused.value)

        assert found == ["E030"]
        assert text.count("genesys_eventbridge.E030") == 1
        assert f"has applied {len(applied)} of the 7 migrations that {SQUASHED} replaces" in text
        assert f"run: python manage.py migrate {APP} {SEVEN[-1]}" in text
        assert applied == set(SEVEN[: SEVEN.index(name) + 1])
        assert after == before

    def test_events_written_before_it_are_delivered_after_both_upgrades(self):
        row = event()
        rows = Rows()
        with migrating.old_tables(SEVEN[2]) as apps:
            rows.put(apps)
            with migrating.chain(migrating.OLD):
                migrating.to(SEVEN[-1])
            call_command("migrate", verbosity=0)
            with sandboxed():
                tasks.retry("default")

        assert OutboxEvent.objects.get().event_id == row.event_id
        assert OutboxEvent.objects.get().state == State.DELIVERED


@pytest.mark.django_db(transaction=True)
class TestTotals:
    """They start with what the counters still know; the migration that counts can be run again."""

    @pytest.mark.parametrize("times", [1, 2])
    def test_buckets_and_acts_without_a_job_are_counted_once(self, times):
        counters.add("default", {"publish:accepted": 2, "within:4": 3, "error:503": 1, "dead": 1})
        counters.add("crm", {"check:delivered": 5})
        Rollup.objects.update(starts_at=timezone.now() - timedelta(days=3))
        counters.add("default", {"publish:accepted": 4})
        cancel([event().pk, event().pk], Actor("tests", name="ana"), "wrong")
        EventAct.objects.filter(pk=EventAct.objects.order_by("pk")[0].pk).update(job=None)
        migrating.to("0010_menu")
        for _ in range(times):
            migrating.to("0011_totals")
            migrating.to_the_last()

        found = {(row.destination, row.measure): row.number for row in Total.objects.all()}
        milliseconds = found.pop(("default", "milliseconds"))
        assert found == {
            ("", "act:cancel"): 1,
            ("crm", "check:delivered"): 5,
            ("default", "publish:accepted"): 6,
            ("default", "within:4"): 3,
        }
        # Each took between the bounds of its step.
        assert counters.upper(3) < milliseconds / 3000 < counters.upper(4)


@pytest.mark.django_db(transaction=True)
class TestRowsThatFailedBeforeThereWereGroups:
    """Their failures are filled in by a migration, page by page; it can be run again."""

    def test_unfinished_ones_are_grouped_like_new_ones(self, monkeypatch):
        error = {"last_error": "400 order ORD-1 is wrong", "last_status_code": 400}
        rows = [
            event(row=ended(State.DEAD, "rejected", **error)),
            event(row=ended(State.DEAD, "rejected", **{**error, "last_error": "400 order ORD-2 is wrong"})),
            event(row={"attempts": 1, **error}),
            event(row=ended(State.CANCELLED, "operator", finished_at=timezone.now(), **error)),
            event(),
        ]
        tried = timezone.now() - timedelta(hours=3)
        DeliveryAttempt.objects.create(
            event=rows[0], number=1, kind="publish", started_at=tried, duration=1, verdict="rejected"
        )
        migrating.to("0006_failures")
        OutboxEvent.objects.update(failure=None, failed_at=None)
        module = import_module("genesys_eventbridge.migrations.0007_group_failures")
        monkeypatch.setattr(module, "BATCH", 2)

        migrating.to_the_last()

        known = failure_id(400, "400 order ORD-3 is wrong")
        assert [fresh(row).failure for row in rows] == [known, known, known, None, None]
        assert fresh(rows[0]).failed_at == tried
        assert fresh(rows[1]).failed_at == rows[1].created_at
