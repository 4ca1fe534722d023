"""Setup for every test: hypothesis profiles, the network block, and markers that are added automatically."""

import gc
import os
import unittest
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

os.environ.setdefault("GENESYS_EVENTBRIDGE_PARSER", "h11")  # also for child processes; see tests/parsers.py

from genesys_eventbridge.client import http  # chooses its library before the alias exists

if http.httpx.__name__ == "httpx2":  # `make httpx2`: tests write httpx and mean the library in use
    http.httpx.alias_httpx()  # type: ignore[attr-defined]

from django.conf import settings as django_settings
from django.db import connection
from django.test import TransactionTestCase
from hypothesis import HealthCheck, settings
from pytest_django.plugin import DjangoDbBlocker

from genesys_eventbridge import conf, counters, defects
from genesys_eventbridge.client import auth
from genesys_eventbridge.outbox import due, sweep
from tests import databases, legs, loopback, teardown

# No deadlines, because the machine may be busy. `--hypothesis-profile=deep` looks for new examples.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "deep", settings.get_profile("repeatable"), derandomize=False, max_examples=5_000, print_blob=True
)
# Keeps `make test` short; full depth runs in one leg of CI, or on request.
settings.register_profile("quick", settings.get_profile("repeatable"), max_examples=25)
DEPTHS = {"quick": "quick", "full": "repeatable"}
settings.load_profile(DEPTHS[os.environ.get("EVENTBRIDGE_TEST_DEPTH", "quick")])

DATABASE_FIXTURES = frozenset(
    {
        "db",
        "transactional_db",
        "django_db_setup",
        "django_db_reset_sequences",
        "django_db_serialized_rollback",
        "live_server",
    }
)


def pytest_configure(config: pytest.Config) -> None:
    loopback.install()
    teardown.install()
    place = ExitStack()
    place.enter_context(databases.folder())
    config.add_cleanup(place.close)


@pytest.hookimpl(tryfirst=True)  # before pytest looks at -m
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the markers that follow from what a test uses, and leave out what another leg of CI runs."""
    no_redis = pytest.mark.skip(reason="TEST_REDIS_URL is not set")
    for item in items:
        if uses_database(item):
            item.add_marker(pytest.mark.database)
        if item.get_closest_marker("redis") and not os.environ.get("TEST_REDIS_URL"):
            item.add_marker(no_redis)
        if legs.is_one_leg(item.path):
            item.add_marker(pytest.mark.one_leg)
    if left_out := [item for item in items if legs.left_out(item)]:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Files with few tests take longest: they start processes or simulate hours. At the end, one process
        # would work at them alone.
        tests = Counter(item.path for item in items)
        items.sort(key=lambda item: (tests[item.path], item.path))


def pytest_collection_finish() -> None:
    """The garbage collector need not visit 20,000 collected tests again and again, nor look so often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # as often as by default, it takes 4 % of the CPU of a long run


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    legs.note(report)


def uses_database(item: pytest.Item) -> bool:
    if item.get_closest_marker("django_db"):
        return True
    case = getattr(item, "cls", None)
    if case is not None and issubclass(case, unittest.TestCase):
        return issubclass(case, TransactionTestCase)
    return not DATABASE_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def pytest_report_header() -> str:
    return f"database: {os.environ.get(databases.CHOICE, 'sqlite')}"


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """No suffix by pytest-django for pytest-xdist: each worker has its own name, known to its children."""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """On PostgreSQL without autovacuum: its statistics would change plans that tests look at, in mid-run."""
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            for table in connection.introspection.django_table_names(include_views=False):
                cursor.execute(f'ALTER TABLE "{table}" SET (autovacuum_enabled = off)')


@pytest.fixture(autouse=True, scope="session")
def _json_on_sqlite(django_db_blocker: DjangoDbBlocker) -> None:
    """Let Django find out now whether this SQLite stores JSON; it keeps the answer for the whole process.

    Django 6.1 asks whenever it checks the models, so a test of the checks would need an earlier test that
    uses the database.
    """
    if connection.vendor == "sqlite":
        with django_db_blocker.unblock(), closing(connection):
            assert connection.features.supports_json_field


@pytest.fixture(autouse=True)
def _only_loopback() -> Iterator[None]:
    """Fail a test that tried to reach another machine, even if it caught the error."""
    loopback.violations.clear()
    yield
    if loopback.violations:
        pytest.fail("tried to reach another machine: " + "; ".join(loopback.violations))


@pytest.fixture(autouse=True)
def _new_process() -> Iterator[None]:
    """Clear what the process remembers about the outbox, tokens and logged errors after each test.

    And before it, Django's copy of our setting: a thread left over from a test may have read it while
    the test ended, and ``LazySettings`` keeps for the whole process what it read.
    """
    vars(django_settings).pop(conf.SETTING, None)
    conf.reset()
    wrapped = vars(django_settings)["_wrapped"]
    yield
    if vars(django_settings)["_wrapped"] is not wrapped:
        pytest.fail("left settings behind that another test would see")
    auth.forget()  # a failed token request would fail the next test's, too, for a second
    defects.forget()
    due.forget()
    sweep.forget()
    counters.forget()
