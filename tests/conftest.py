"""What every test stands on: hypothesis profiles, the loopback fence, the markers set by themselves."""

import os
import unittest
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.test import TransactionTestCase
from hypothesis import HealthCheck, settings

from genesys_eventbridge import defects
from genesys_eventbridge.outbox import due, sweep
from tests import databases, flushes, loopback

# No clock judges a test: this machine may be busy. `--hypothesis-profile=deep` looks for new examples.
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
# `make test` must not take long: full depth is for one leg of CI, and for whoever wants it.
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
    if os.environ.get(databases.CHOICE) == "postgresql":
        flushes.install()
    place = ExitStack()
    place.enter_context(databases.folder())
    config.add_cleanup(place.close)


@pytest.hookimpl(tryfirst=True)  # before pytest looks at -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by what a test uses, so that nobody has to remember a marker."""
    no_redis = pytest.mark.skip(reason="TEST_REDIS_URL is not set")
    for item in items:
        if uses_database(item):
            item.add_marker(pytest.mark.database)
        if item.get_closest_marker("redis") and not os.environ.get("TEST_REDIS_URL"):
            item.add_marker(no_redis)


def uses_database(item: pytest.Item) -> bool:
    if item.get_closest_marker("django_db"):
        return True
    case = getattr(item, "cls", None)
    if case is not None and issubclass(case, unittest.TestCase):
        return issubclass(case, TransactionTestCase)
    return not DATABASE_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def pytest_report_header() -> str:
    return f"database of this run: {os.environ.get(databases.CHOICE, 'sqlite')}"


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """No suffix of pytest-django for pytest-xdist: each worker has its own name, and its children know it."""


@pytest.fixture(autouse=True)
def _only_loopback() -> Iterator[None]:
    """A test that reached for another machine fails, whatever it did with the error."""
    loopback.violations.clear()
    yield
    if loopback.violations:
        pytest.fail("reached for another machine: " + "; ".join(loopback.violations))


@pytest.fixture(autouse=True)
def _new_process() -> Iterator[None]:
    """What a process remembers of its looks at the outbox, and of errors it logged, ends with the test."""
    yield
    defects.forget()
    due.forget()
    sweep.forget()
