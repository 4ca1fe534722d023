"""The suite's own ground: its fence, its databases and its markers do what the other tests rely on."""

import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections
from django.test import TransactionTestCase
from hypothesis import settings as hypothesis_settings

from genesys_eventbridge import conf
from genesys_eventbridge.client import auth
from genesys_eventbridge.models import OutboxEvent
from tests import databases, legs, loopback
from tests.outbox_rows import event
from tests.shop.models import Customer


@pytest.fixture
def violations():
    """What the fence saw, taken away before the fixture of conftest.py judges this test."""
    yield loopback.violations
    loopback.violations.clear()


@pytest.mark.parametrize("address", [("192.0.2.1", 443), ("2001:db8::1", 443, 0, 0)])
def test_a_connection_to_another_machine_is_refused_and_remembered(address, violations):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as sock, pytest.raises(loopback.OutsideWorld):
        sock.connect(address)
    with socket.socket(family) as sock, pytest.raises(loopback.OutsideWorld):
        sock.connect_ex(address)
    with socket.socket(family, socket.SOCK_DGRAM) as sock, pytest.raises(loopback.OutsideWorld):
        sock.sendto(b"x", address)

    assert violations == [f"connection to {address[0]} port 443"] * 3


def test_a_swallowed_refusal_is_remembered(violations):
    with pytest.raises(URLError):
        urllib.request.urlopen("http://api.example.com/", timeout=1)

    assert violations == ["look-up of api.example.com"]


def test_a_name_under_invalid_is_unknown_without_asking_anybody(violations):
    with pytest.raises(socket.gaierror):
        socket.create_connection(("platform.invalid", 443), timeout=1)

    assert violations == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_on_this_machine_is_reached(host, violations):
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection((host, server.getsockname()[1]), timeout=5).close()

    assert violations == []


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.8.9.10", True),
        ("::1", True),
        ("LOCALHOST.", True),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("fe80::1%eth0", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_only_this_machine_is_loopback(host, expected):
    assert loopback.is_loopback(host) is expected


def test_hypothesis_repeats_itself_and_has_no_deadline():
    chosen = hypothesis_settings()

    assert chosen.deadline is None
    assert chosen.derandomize or chosen.max_examples == 5_000


@pytest.mark.django_db(transaction=True)
def test_a_child_process_sees_the_database_of_the_test():
    Customer.objects.create(name="Ada")
    code = (
        "import django; django.setup(); from tests.shop.models import Customer; print(Customer.objects.get())"
    )
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}

    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )

    assert (child.stdout, child.stderr) == ("Ada\n", "")


@pytest.mark.django_db
def test_the_database_is_the_one_chosen():
    assert connection.vendor == os.environ.get(databases.CHOICE, "sqlite")


def test_a_test_with_a_database_is_marked(request, db):
    assert request.node.get_closest_marker("database")


def test_a_test_without_a_database_is_not_marked(request):
    assert not request.node.get_closest_marker("database")


def test_a_url_names_the_server_and_the_user(monkeypatch):
    monkeypatch.setenv(databases.CHOICE, "mysql")
    monkeypatch.setenv(databases.NAME, "test_shop")
    monkeypatch.setenv("TEST_MYSQL_URL", "mysql://tester:p%40ss@127.0.0.1:3307")

    chosen = databases.database()

    assert chosen["ENGINE"] == "django.db.backends.mysql"
    assert [chosen[key] for key in ("USER", "PASSWORD", "HOST", "PORT")] == [
        "tester",
        "p@ss",
        "127.0.0.1",
        "3307",
    ]
    assert chosen["NAME"] == chosen["TEST"]["NAME"] == "test_shop"


@pytest.mark.parametrize(
    ("choice", "words"),
    [("postgresql", "needs TEST_POSTGRESQL_URL"), ("oracle", "choose sqlite, postgresql or")],
)
def test_a_database_that_cannot_be_had_is_an_error_not_a_skip(choice, words, monkeypatch):
    monkeypatch.setenv(databases.CHOICE, choice)
    monkeypatch.delenv("TEST_POSTGRESQL_URL", raising=False)

    with pytest.raises(ValueError, match=words):
        databases.database()


# ------------------------------------------------------------------------------------ the legs of CI


def left_out(nodeid, *markers):
    item: Any = SimpleNamespace(nodeid=nodeid, get_closest_marker=lambda name: name in markers)
    return legs.left_out(item)


@pytest.fixture
def passed(monkeypatch, tmp_path):
    """What passed on a server, as the leg's second run on SQLite knows it."""
    file = tmp_path / "passed"
    file.touch()
    monkeypatch.setenv(legs.PASSED, str(file))
    legs._passed.cache_clear()
    yield monkeypatch
    legs._passed.cache_clear()


@pytest.mark.parametrize("name", legs.ONE_LEG)
def test_what_one_leg_runs_is_there(name):
    assert legs.is_one_leg(legs.ROOT / name)
    assert (legs.ROOT / name).exists()


@pytest.mark.parametrize("path", [Path(__file__), legs.ROOT / "outbox" / "test_ci.py", Path("/test_ci.py")])
def test_the_other_tests_run_in_each(path):
    assert not legs.is_one_leg(path)


def test_a_leg_leaves_out_only_what_is_marked_and_only_if_it_is_told_to(monkeypatch):
    monkeypatch.setenv(databases.CHOICE, "sqlite")
    monkeypatch.delenv(legs.WITHOUT, raising=False)
    assert not left_out("test_a.py::test", "one_leg")

    monkeypatch.setenv(legs.WITHOUT, "off")
    assert left_out("test_a.py::test", "one_leg")
    assert not left_out("test_a.py::test", "database")

    monkeypatch.setenv(databases.CHOICE, "postgresql")
    assert not left_out("test_a.py::test", "one_leg")


@pytest.mark.parametrize(
    ("when", "outcome", "again"),
    [
        ("call", "passed", False),
        ("call", "skipped", True),
        ("call", "failed", True),
        ("setup", "passed", True),
    ],
)
def test_what_passed_on_a_server_is_left_out_on_sqlite_and_nothing_else(passed, when, outcome, again):
    report: Any = SimpleNamespace(nodeid="test_a.py::test[a b]", when=when, passed=outcome == "passed")

    passed.setenv(databases.CHOICE, "mysql")
    legs.note(report)
    assert not left_out("test_a.py::test[a b]")

    passed.setenv(databases.CHOICE, "sqlite")
    passed.delenv(legs.WITHOUT, raising=False)
    assert left_out("test_a.py::test[a b]") is not again
    assert not left_out("test_a.py::test[a b]", "one_leg")
    assert not left_out("test_a.py::test")


@pytest.fixture
def flush(transactional_db):
    """What Django calls after a test that commits."""

    class Case(TransactionTestCase):
        databases = {"default"}

    case: Any = Case()
    case._fixture_teardown()  # as after the test before this one
    return case._fixture_teardown


@pytest.mark.parametrize("works", [True, False])
def test_a_session_that_works_is_kept_after_a_test_that_commits(transactional_db, monkeypatch, works):
    case: Any = TransactionTestCase()
    ours, closed = connections["default"], []
    monkeypatch.setattr(ours, "errors_occurred", True)
    monkeypatch.setattr(ours, "is_usable", lambda: works)
    monkeypatch.setattr(ours, "close", lambda: closed.append(ours))

    assert not case._should_reload_connections()

    assert closed == [ours] * (not works)
    assert not ours.errors_occurred


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL has autovacuum")
def test_no_table_has_statistics_that_came_in_the_middle_of_a_run():
    ours = connection.introspection.django_table_names(only_existing=True, include_views=False)
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE 'autovacuum_enabled=off' = ANY(reloptions)")
        assert {name for (name,) in cursor.fetchall()} >= set(ours)


#: What the tests below have met.
MET: list[Any] = []


@pytest.mark.parametrize("turn", ["first", "second"])
def test_no_test_meets_the_token_or_the_failed_login_of_another(turn):
    credentials = auth.credentials_for(conf.destination().platform)

    assert credentials not in MET
    MET.append(credentials)


def permissions():
    return {(each.content_type_id, each.codename) for each in Permission.objects.all()}


def test_a_flush_empties_every_table_and_leaves_the_permissions(flush):
    before = permissions()
    Customer.objects.create(name="Ana")
    user = get_user_model().objects.create_user("ana")
    user.user_permissions.add(Permission.objects.earliest("pk"))
    event("order.created")

    flush()

    for model in (Customer, OutboxEvent, get_user_model(), get_user_model().user_permissions.through):
        assert not model.objects.exists(), model
    assert permissions() == before


@pytest.mark.parametrize(
    "change",
    [
        lambda: ContentType.objects.create(app_label="nowhere", model="nothing"),
        lambda: Permission.objects.earliest("pk").delete(),
        lambda: ContentType.objects.get_for_model(Customer).delete(),
    ],
    ids=["a-new-type", "a-lost-permission", "a-lost-type"],
)
def test_a_flush_restores_what_a_test_changed_in_types_and_permissions(flush, change):
    def named():
        return {(*each.content_type.natural_key(), each.codename) for each in Permission.objects.all()}, {
            each.natural_key() for each in ContentType.objects.all()
        }

    before = named()
    change()

    flush()

    assert named() == before
