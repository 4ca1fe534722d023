"""Takes the app's tables along a chain of migrations: the app's own, the seven before it, or later ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps as dj_apps
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings

APP = "genesys_eventbridge"
OWN = f"{APP}.migrations"
OLD = "tests.old.migrations"
LATER = "tests.db.later.migrations"


@contextmanager
def chain(module: str) -> Iterator[None]:
    """Django finds the app's migrations in this package."""
    with override_settings(MIGRATION_MODULES={APP: module}):
        yield


def names() -> list[str]:
    """Of the chain, the first one first."""
    graph = MigrationLoader(None).graph
    (leaf,) = graph.leaf_nodes(APP)
    return [name for app, name in graph.forwards_plan(leaf) if app == APP]


def migration(name: str) -> Any:
    return MigrationLoader(None).graph.nodes[APP, name]


def to(name: str | None) -> Any:
    """Forwards or backwards to that migration, None for no tables; returns the models as they were there."""
    return MigrationExecutor(connection).migrate([(APP, name)]).apps


def to_the_last() -> Any:
    return to(names()[-1])


@contextmanager
def old_tables(name: str) -> Iterator[Any]:
    """The tables as the old chain made them, without rows; those of the app when the block has ended."""
    _drop()
    try:
        with chain(OLD):
            apps = to(name)
        yield apps
    finally:
        if not set(names()) & recorded():
            with chain(OLD):
                to_the_last()
        to_the_last()


def _drop() -> None:
    """What ``to(None)`` does, without a way back along all migrations."""
    models = dj_apps.get_app_config(APP).get_models()
    dropped = [model for model in models if model._meta.managed and not model._meta.proxy]
    with connection.schema_editor() as editor:
        for model in reversed(dropped):  # those that refer to others are declared after them
            editor.delete_model(model)
    MigrationRecorder(connection).migration_qs.filter(app=APP).delete()


def recorded() -> set[str]:
    """The app's migrations that the database has applied."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM django_migrations WHERE app = %s", [APP])
        return {name for (name,) in cursor.fetchall()}
