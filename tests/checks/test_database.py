"""System checks of the database: what could lose or cut an event is said with the statement that mends it."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.core import checks, mail
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import OperationalError, connection, connections
from django_q.models import Schedule

from genesys_eventbridge import checks as our_checks
from genesys_eventbridge import runners, schedules, wake
from genesys_eventbridge.checks import database, mysql, queue
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import Destination, EventAct, OutboxEvent
from genesys_eventbridge.outbox import enqueue
from tests.outbox_rows import event
from tests.shop.models import LineItem

pytestmark = pytest.mark.django_db(transaction=True)

only_mysql = pytest.mark.skipif(connection.vendor != "mysql", reason="about MySQL and MariaDB")
only_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite")
only_servers = pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has the host's clock")

OUTBOX, ACTS = OutboxEvent._meta.db_table, EventAct._meta.db_table


def ours(*databases):
    """Our messages of `manage.py check --database ...`."""
    found = checks.run_checks(tags=[checks.Tags.database], databases=list(databases or ["default"]))
    return [message for message in found if (message.id or "").startswith("genesys_eventbridge.")]


def numbers(messages):
    return [message.id.removeprefix("genesys_eventbridge.") for message in messages]


def only(messages):
    (message,) = messages
    return message


def execute(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture(autouse=True)
def _in_order(settings):
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "workers": 1}


@pytest.fixture
def outside_of_tests(monkeypatch):
    """As in a site: no mail is collected by Django's test environment."""
    monkeypatch.delattr(mail, "outbox", raising=False)


@pytest.fixture
def renamed():
    """Take a table away, and bring it back."""
    taken = []

    def rename(table):
        execute(f"ALTER TABLE {table} RENAME TO {table}_gone")
        taken.append(table)

    yield rename
    for table in taken:
        execute(f"ALTER TABLE {table}_gone RENAME TO {table}")


class TestSilence:
    def test_a_database_in_order_hears_nothing(self, outside_of_tests):
        schedules.install()

        assert ours() == []

    def test_another_database_is_not_ours_to_judge(self, renamed, outside_of_tests):
        renamed(ACTS)

        assert our_checks.check_database(databases=["archive"]) == []

    @pytest.mark.parametrize("databases", [None, []])
    def test_a_plain_check_asks_nothing(self, databases, django_assert_num_queries, outside_of_tests):
        with django_assert_num_queries(0):
            assert our_checks.check_database(databases=databases) == []

    def test_nothing_is_written(self, outside_of_tests):
        Destination.objects.all().delete()

        ours()

        assert not Destination.objects.exists()
        assert not Schedule.objects.exists()


class TestTables:
    def test_missing_tables_are_e030_with_the_command(self, renamed):
        renamed(ACTS)

        message = only(ours())

        assert message.id == "genesys_eventbridge.E030"
        assert ACTS in message.msg
        assert "deliveryattempt" not in message.msg
        assert message.hint == "Run: python manage.py migrate --database default"
        with pytest.raises(SystemCheckError, match="E030"):
            call_command("check", databases=["default"])

    def test_migrate_itself_is_not_forbidden(self, renamed, capsys):
        renamed(ACTS)

        call_command("migrate", plan=True, skip_checks=False)

        assert "E030" not in "".join(capsys.readouterr())

    def test_a_database_that_does_not_answer_is_a_message(self, monkeypatch):
        def refuse(*_args):
            raise OperationalError("connection refused\nIs the server running?")

        monkeypatch.setattr(connections["default"].introspection, "table_names", refuse)

        message = only(ours())

        assert message.id == "genesys_eventbridge.E030"
        assert "OperationalError: connection refused" in message.msg
        assert "DATABASES['default']" in message.hint


class TestClock:
    @only_servers
    @pytest.mark.parametrize(("off", "words"), [(-60, "60 s ahead of"), (7200, "2 h behind")])
    def test_a_database_with_another_time_than_the_host_is_w034(self, monkeypatch, off, words):
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + off)

        message = only(ours())

        assert message.id == "genesys_eventbridge.W034"
        assert words in message.msg
        assert "timedatectl set-ntp true" in message.hint

    @only_servers
    def test_a_slow_answer_is_no_wrong_clock(self, monkeypatch):
        now = time.time()
        told = iter([now - 600, now + 600])
        monkeypatch.setattr(database, "time", SimpleNamespace(time=lambda: next(told)))

        assert ours() == []

    @only_servers
    @pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
    def test_the_zone_of_the_session_is_no_wrong_clock(self, zone):
        offset = {"America/New_York": "-05:00", "Asia/Tokyo": "+09:00"}[zone]
        execute(f"SET time_zone = '{offset}'" if connection.vendor == "mysql" else f"SET TIME ZONE '{zone}'")
        try:
            assert ours() == []
        finally:
            connection.close()


class TestSchedules:
    def test_missing_schedules_are_w033_with_the_command(self, outside_of_tests):
        message = only(ours())

        assert message.id == "genesys_eventbridge.W033"
        names = ", ".join(plan.name for plan in schedules.PLANS)
        assert f"missing: {names}." in message.msg
        assert message.hint == "Run: python manage.py eventbridge_schedules --apply"

    def test_doubled_and_bent_schedules_are_named(self, outside_of_tests):
        schedules.install()
        Schedule.objects.create(name="eventbridge:poll", func="genesys_eventbridge.tasks.poll_all")
        Schedule.objects.filter(name="eventbridge:prune").update(func="somebody.elses.function")

        messages = ours()

        assert numbers(messages) == ["W033", "W033"]
        assert "more than once: eventbridge:poll." in messages[0].msg
        assert "something else: eventbridge:prune." in messages[1].msg

    def test_the_command_of_the_hint_ends_it(self, outside_of_tests):
        Schedule.objects.create(name="eventbridge:poll", func="x")
        Schedule.objects.create(name="eventbridge:poll", func="y")

        call_command("eventbridge_schedules", "--apply", verbosity=0)

        assert ours() == []

    def test_the_operators_pause_and_interval_are_no_problem(self, outside_of_tests):
        schedules.install()
        Schedule.objects.filter(name="eventbridge:prune").update(repeats=0)
        Schedule.objects.filter(name="eventbridge:retry").update(minutes=30)

        assert ours() == []

    def test_a_test_database_has_no_schedules_and_is_not_told(self):
        mail.outbox = []

        assert ours() == []

    def test_before_django_q_is_migrated_nothing_is_missing(self, renamed, outside_of_tests):
        renamed("django_q_schedule")

        assert ours() == []

    def test_a_database_that_does_not_answer_is_said_once(self, monkeypatch, outside_of_tests):
        def refuse(*_args):
            raise OperationalError("gone")

        monkeypatch.setattr(connections["default"].introspection, "table_names", refuse)

        assert numbers(ours()) == ["E030"]


@only_sqlite
class TestSQLite:
    @pytest.mark.parametrize(
        ("mode", "found"),
        [(None, ["W035"]), ("DEFERRED", ["W035"]), ("immediate", []), ("IMMEDIATE", []), ("EXCLUSIVE", [])],
    )
    def test_another_transaction_mode_than_immediate_is_w035(self, monkeypatch, mode, found):
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "transaction_mode", mode)

        assert numbers(ours()) == found

    def test_its_hint_is_a_line_of_settings(self, monkeypatch):
        monkeypatch.delitem(connection.settings_dict["OPTIONS"], "transaction_mode")

        line = only(ours()).hint.removeprefix("Set ").removesuffix(".")
        pasted: dict[str, dict[str, Any]] = {"default": {}}
        exec(line, {"DATABASES": pasted})

        assert pasted["default"]["OPTIONS"]["transaction_mode"] == "IMMEDIATE"

    @pytest.mark.parametrize(("workers", "found"), [(4, ["W031"]), (None, ["W031"]), (1, [])])
    def test_several_publishing_processes_are_w031(self, settings, workers, found):
        settings.Q_CLUSTER = {**settings.Q_CLUSTER, "workers": workers}

        assert numbers(ours()) == found

    def test_without_django_q_nobody_counts_workers(self, settings, outside_of_tests):
        settings.Q_CLUSTER = {}
        settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_q"]

        assert ours() == []


def test_several_workers_are_no_matter_on_a_server(settings):
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "workers": 4}

    assert "W031" not in numbers(ours()) or connection.vendor == "sqlite"


@only_mysql
class TestMySQL:
    @pytest.fixture(autouse=True)
    def _fresh_session(self):
        yield
        connection.close()

    def test_a_table_without_transactions_is_e032_and_its_statement_mends_it(self):
        execute("ALTER TABLE genesys_eventbridge_destination ENGINE=MyISAM")
        try:
            message = only(ours())
            assert message.id == "genesys_eventbridge.E032"
            assert "genesys_eventbridge_destination (MyISAM)" in message.msg
        finally:
            execute(*message.hint.splitlines())

        assert ours() == []

    def test_a_registered_model_without_transactions_is_e032(self, monkeypatch):
        registration = SimpleNamespace(model=LineItem)
        monkeypatch.setattr(mysql, "registrations", lambda: (registration,))
        execute("ALTER TABLE shop_lineitem DROP FOREIGN KEY " + _foreign_key("shop_lineitem"))
        execute("ALTER TABLE shop_lineitem ENGINE=MyISAM")
        try:
            assert "shop_lineitem (MyISAM)" in only(ours()).msg
        finally:
            execute("ALTER TABLE shop_lineitem ENGINE=InnoDB")

        assert ours() == []

    def test_somebody_elses_table_is_their_own_affair(self):
        execute("CREATE TABLE somebody_elses (name varchar(9) CHARACTER SET latin1) ENGINE=MyISAM")
        try:
            assert ours() == []
        finally:
            execute("DROP TABLE somebody_elses")

    def test_new_tables_without_transactions_are_e032(self):
        execute("SET SESSION default_storage_engine=MyISAM")

        message = only(ours())

        assert message.id == "genesys_eventbridge.E032"
        assert "MyISAM" in message.msg
        execute(_init_command(message.hint))
        assert ours() == []

    def test_a_connection_that_is_not_utf8mb4_is_e036(self):
        execute("SET NAMES latin1")

        message = only(ours())

        assert message.id == "genesys_eventbridge.E036"
        assert "latin1" in message.msg
        assert '["OPTIONS"]["charset"] = "utf8mb4"' in message.hint

    def test_a_database_that_is_not_utf8mb4_is_e036_and_its_statement_mends_it(self):
        execute("ALTER DATABASE CHARACTER SET latin1")
        connection.close()
        try:
            message = only(ours())
            assert message.id == "genesys_eventbridge.E036"
            assert "latin1" in message.msg
        finally:
            execute(message.hint)
            connection.close()

        assert ours() == []

    def test_columns_that_are_not_utf8mb4_are_e036_and_their_statements_mend_them(self):
        execute(
            f"ALTER TABLE {OUTBOX} MODIFY body longtext CHARACTER SET latin1 NOT NULL",
            f"ALTER TABLE {ACTS} MODIFY reason varchar(500) CHARACTER SET utf8mb3 NOT NULL",
        )
        before = _definitions()
        try:
            message = only(ours())
            assert message.id == "genesys_eventbridge.E036"
            assert f"{OUTBOX}.body (latin1)" in message.msg
            assert f"{ACTS}.reason (utf8mb3)" in message.msg
        finally:
            execute(*message.hint.splitlines())

        assert ours() == []
        # Only the two columns changed: an ordering key is still compared letter by letter.
        assert {column for column in before if before[column] != _definitions()[column]} == {
            (OUTBOX, "body"),
            (ACTS, "reason"),
        }
        row = event(data={"note": "paid \U0001f389"}, subject="Order \U0001f4e6")
        assert OutboxEvent.objects.get(subject="Order \U0001f4e6").data == row.data


def _init_command(hint):
    """The SQL inside the line of settings that a hint gives."""
    return hint.partition('["init_command"] = "')[2].partition('"')[0]


def _foreign_key(table):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT constraint_name FROM information_schema.table_constraints "
            "WHERE table_schema = DATABASE() AND table_name = %s AND constraint_type = 'FOREIGN KEY'",
            [table],
        )
        return cursor.fetchone()[0]


def _definitions():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, collation_name, column_type, is_nullable "
            "FROM information_schema.columns WHERE table_schema = DATABASE() "
            "AND table_name LIKE 'genesys_eventbridge_%'"
        )
        return {row[:2]: row[2:] for row in cursor.fetchall()}


class TestWakes:
    @pytest.fixture(autouse=True)
    def _installed(self, outside_of_tests, settings):
        schedules.install()
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {"default": {**one, "WAKE": "django_q"}}

    def test_wakes_that_no_cluster_reads_are_w037_where_the_setting_demands_them(self):
        message = only(ours())

        assert message.id == "genesys_eventbridge.W037"
        assert "each commit queues a task, and no task has run for it." in message.msg
        assert message.hint.endswith("is new, check again 10 min after the next commit.")

    @pytest.mark.parametrize(
        ("ran", "written", "problem"),
        [
            (None, 700, True),
            (None, 500, False),  # a worker may still be about to run its task
            (None, None, False),
            (2000, 700, True),
            (2000, 1990, False),  # its wake may have been coalesced with the one before
            (2000, None, False),
            (100, 700, False),
        ],
    )
    def test_wakes_of_djangos_tasks_are_unread_if_no_task_followed_an_event(
        self, ran, written, problem, settings, monkeypatch
    ):
        """The framework has no schedules: without a commit, no task runs."""
        monkeypatch.setattr(runners, "send", lambda *_given: None)
        monkeypatch.setattr(runners, "why_not", lambda _runner: "")
        monkeypatch.setattr(runners, "runs_inline", lambda _runner: False)
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {"default": {**one, "WAKE": "tasks"}}
        if ran is not None:
            Destination.objects.update_or_create(alias="default", defaults={"task_at": DatabaseNow(-ran)})
        if written is not None:
            row = enqueue("order.created", 1, standalone=True)
            OutboxEvent.objects.filter(pk=row.pk).update(created_at=DatabaseNow(-written))

        found = [message for message in ours() if message.id == "genesys_eventbridge.W037"]

        assert bool(found) == problem
        assert all("Start a worker of the default backend in TASKS." in one.hint for one in found)

    def test_djangos_tasks_are_judged_without_django_q(self, settings, monkeypatch):
        monkeypatch.setattr(queue, "_woke_since", lambda *_given: True)
        monkeypatch.setattr(runners, "why_not", lambda _runner: "")
        monkeypatch.setattr(runners, "runs_inline", lambda _runner: False)
        settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {"default": {**one, "WAKE": "tasks"}}

        assert "genesys_eventbridge.W037" in [message.id for message in ours()]

    def test_after_a_task_ran_all_is_well(self):
        wake.forget()
        wake.announce("default")

        assert ours() == []

    def test_auto_queues_nothing_unread_and_is_no_problem(self, settings):
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {"default": {**one, "WAKE": "auto"}}

        assert ours() == []
