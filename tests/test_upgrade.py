"""A rolling upgrade: old and new workers side by side on the new tables, and the queue of an old one."""

from itertools import pairwise
from pydoc import locate
from typing import Any

import pytest
from django.db import connection, migrations
from django.db.migrations.executor import MigrationExecutor
from django.db.models import CharField, UniqueConstraint

from genesys_eventbridge import schedules, tasks
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.states import State
from tests.outbox_rows import event
from tests.prompt import sandboxed

APP = "genesys_eventbridge"

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


def migration_names():
    """Of this app, the first one first."""
    graph = MigrationExecutor(connection).loader.graph
    (leaf,) = graph.leaf_nodes(APP)
    return [name for app, name in graph.forwards_plan(leaf) if app == APP]


def migrate(name):
    """The models as they were at that migration, with the tables."""
    executor = MigrationExecutor(connection)
    return executor.migrate([(APP, name)]).apps


@pytest.fixture
def previous():
    """The last migration of the release before; the tables are the newest again when the test has ended."""
    names = migration_names()
    yield "0003_key_known_since"
    migrate(names[-1])


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


def added_fields(loader, name):
    operations = loader.graph.nodes[APP, name].operations
    return {operation.name for operation in operations if isinstance(operation, migrations.AddField)}


@pytest.mark.django_db
def test_a_later_migration_takes_nothing_away_that_an_old_worker_writes():
    """Deploying migrates first: until the last old worker has ended it writes to the new tables."""
    harmless = (migrations.CreateModel, migrations.AddIndex, migrations.AlterModelOptions)
    loader = MigrationExecutor(connection).loader
    for previous, name in pairwise(migration_names()):
        for operation in loader.graph.nodes[APP, name].operations:
            if isinstance(operation, migrations.AddField):
                field = operation.field
                assert field.null or field.has_db_default(), f"{name}: {operation.name} has no db_default"
            elif isinstance(operation, migrations.AddConstraint):
                assert isinstance(operation.constraint, UniqueConstraint)
                fields = operation.constraint.fields
                added = {field for name in migration_names()[1:] for field in added_fields(loader, name)}
                assert set(fields) <= added, f"{name}: an old worker writes {fields}"
            elif isinstance(operation, migrations.AlterField):
                model = loader.project_state((APP, previous)).models[APP, operation.model_name_lower]
                before, after = model.fields[operation.name], operation.field
                assert type(before) is type(after) is CharField, operation.name
                assert (after.max_length or 0) >= (before.max_length or 0), (
                    f"{name}: {operation.name} takes less"
                )
            else:
                assert isinstance(operation, harmless), f"{name}: {operation.describe()}"


@pytest.mark.django_db(transaction=True)
def test_events_written_before_the_migration_are_delivered_after_it(previous):
    row = event()
    before = migrate(previous).get_model(APP, "OutboxEvent")
    assert before.objects.get().event_id == row.event_id

    migrate(migration_names()[-1])
    with sandboxed():
        tasks.retry("default")

    assert OutboxEvent.objects.get().state == State.DELIVERED
