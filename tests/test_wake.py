"""The wake: a hint after the commit, coalesced, that costs the user nothing when the broker is down."""

import logging
from types import SimpleNamespace

import pytest
from django.db import OperationalError, connection, transaction
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge import checks, conf, runners, tasks, wake
from genesys_eventbridge.conf.rules import TASKS
from genesys_eventbridge.db import notifications
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import Destination

#: What comes after the reason why a commit wakes no worker.
POLLS = (
    "eventbridge_publish --loop watches the database's file, other workers poll for due events"
    if connection.vendor == "sqlite"
    else "workers poll for due events"
)


@pytest.fixture
def hints(monkeypatch, settings):
    one = {**settings.GENESYS_EVENTBRIDGE["default"], "WAKE": "django_q"}
    settings.GENESYS_EVENTBRIDGE = {"default": one, "emea": one}
    wake.forget()
    sent = []

    def async_task(function, *args, **options):
        sent.append((function, args))

    monkeypatch.setattr("django_q.tasks.async_task", async_task)
    yield sent
    wake.forget()


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""
    now = [1000.0]
    monkeypatch.setattr(wake, "time", SimpleNamespace(monotonic=lambda: now[0], time=lambda: now[0]))

    def move(seconds):
        now[0] += seconds

    return move


def test_a_hint_names_a_function_a_destination_and_the_second_and_nothing_else(hints, clock):
    """T21: queue payloads are pickles; ours hold plain text and whole numbers."""
    wake.wake("default")

    assert hints == [("genesys_eventbridge.tasks.publish", ("default", 1000))]
    assert type(hints[0][1][1]) is int


def test_a_burst_is_one_hint_a_second(hints, clock):
    for _ in range(10):
        wake.wake("default")
        clock(0.3)

    assert len(hints) == 3


def test_each_destination_has_its_own_hints(hints, clock):
    wake.wake("default")
    wake.wake("emea")

    assert [args[0] for _function, args in hints] == ["default", "emea"]


def test_a_broker_that_is_down_is_logged_once_and_left_alone(hints, clock, monkeypatch, caplog):
    tries = []

    def fail(*args, **options):
        tries.append(1)
        raise ConnectionError("broker:6379 password-canary")

    monkeypatch.setattr("django_q.tasks.async_task", fail)
    with caplog.at_level(logging.WARNING):
        for _ in range(25):
            wake.wake("default")
            clock(1.1)

    assert len(tries) == 1
    assert len(caplog.records) == 1
    assert "canary" not in caplog.text
    clock(10)
    wake.wake("default")
    assert len(tries) == 2


def test_no_hint_where_the_setting_is_off(hints, clock, settings):
    settings.GENESYS_EVENTBRIDGE = {"default": {**settings.GENESYS_EVENTBRIDGE["default"], "WAKE": None}}

    wake.wake("default")

    assert hints == []


def test_no_hint_where_django_q_is_not_installed(hints, clock, settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]

    wake.wake("default")

    assert hints == []


def test_no_hint_where_tasks_would_run_in_the_users_request(hints, clock, monkeypatch):
    from django_q.conf import Conf

    monkeypatch.setattr(Conf, "SYNC", True)

    wake.wake("default")

    assert hints == []


@pytest.mark.django_db
class TestAuto:
    """A commit wakes a worker only where a django-q2 task of ours ran lately."""

    @pytest.fixture(autouse=True)
    def _auto(self, hints, settings):
        settings.GENESYS_EVENTBRIDGE = {
            alias: {**one, "WAKE": "auto"} for alias, one in settings.GENESYS_EVENTBRIDGE.items()
        }

    def ran(self, ago):
        Destination.objects.update_or_create(alias="default", defaults={"task_at": DatabaseNow(-ago)})

    def test_no_task_ever_ran_so_nothing_is_queued(self, hints, clock):
        wake.wake("default")
        Destination.objects.create(alias="default")
        clock(wake.LOOK_SECONDS)
        wake.wake("default")

        assert hints == []

    @pytest.mark.parametrize(("ago", "woken"), [(0, 1), (500, 1), (700, 0), (-5, 1), (-86400, 0)], ids=str)
    def test_a_task_that_ran_in_the_last_ten_minutes_means_that_a_cluster_reads(
        self, ago, woken, hints, clock
    ):
        self.ran(ago)

        wake.wake("default")

        assert len(hints) == woken

    def test_a_task_of_one_destination_says_nothing_about_another(self, hints, clock):
        self.ran(0)

        wake.wake("emea")

        assert hints == []

    @pytest.mark.parametrize("task", ["publish", "publish_backlog", "poll", "retry"])
    def test_each_task_that_sends_announces_itself(self, task, hints, clock, monkeypatch):
        for name in ("run_worker", "relay"):
            monkeypatch.setattr(tasks, name, SimpleNamespace())  # what comes after does not matter

        getattr(tasks, task)("default")
        wake.wake("default")

        assert hints[-1] == ("genesys_eventbridge.tasks.publish", ("default", 1000))

    @pytest.mark.parametrize("task", ["publish_all", "poll_all", "retry_all"])
    def test_a_call_by_another_scheduler_is_no_sign_of_a_cluster(self, task, hints, clock, monkeypatch):
        for name in ("run_worker", "relay"):
            monkeypatch.setattr(tasks, name, SimpleNamespace())  # what comes after does not matter

        getattr(tasks, task)(queue=False)
        wake.wake("default")

        assert hints == []

    def test_a_task_of_another_queue_is_no_sign_of_a_cluster(self, hints, clock, monkeypatch):
        monkeypatch.setattr(tasks, "relay", SimpleNamespace())

        with runners.within(TASKS):
            tasks.poll("default")
        wake.wake("default")

        assert hints == []

    def test_a_process_asks_the_database_once_in_ten_seconds(self, hints, clock):
        self.ran(0)

        with CaptureQueriesContext(connection) as asked:
            for _ in range(20):
                wake.wake("default")
                clock(1.1)

        assert len(hints) == 20
        assert len([query for query in asked if "task_at" in query["sql"]]) == 2

    def test_a_cluster_that_starts_is_seen_within_ten_seconds(self, hints, clock):
        wake.wake("default")
        self.ran(0)
        clock(wake.LOOK_SECONDS)

        wake.wake("default")

        assert len(hints) == 1

    def test_an_announcement_writes_at_most_once_in_ten_seconds(self, clock, django_assert_num_queries):
        wake.announce("default")
        first = Destination.objects.get().task_at
        assert first is not None

        with django_assert_num_queries(0):
            wake.announce("default")
        wake.forget()  # another worker
        wake.announce("default")

        assert Destination.objects.get().task_at == first
        with shifted(wake.ANNOUNCE_SECONDS + 1):
            wake.forget()
            wake.announce("default")
        latest = Destination.objects.get().task_at
        assert latest is not None
        assert latest > first

    def test_an_announcement_from_the_future_is_corrected(self, clock):
        self.ran(-86400)

        wake.announce("default")

        ago = wake.readers("default").task_ago
        assert ago is not None
        assert ago >= 0

    def test_a_database_that_does_not_answer_wakes_nobody_and_leaves_the_transaction_usable(
        self, hints, clock, monkeypatch, caplog
    ):
        def ask(alias):
            with connection.cursor() as cursor:
                cursor.execute("SELECT no_such_column FROM genesys_eventbridge_destination")

        monkeypatch.setattr(wake, "readers", ask)
        with transaction.atomic():
            wake.wake("default")
            wake.wake("default")
            Destination.objects.create(alias="default")

        assert hints == []
        assert [record.message.splitlines()[0] for record in caplog.records] == [
            "Cannot tell whether a worker would read a hint: OperationalError"
            if connection.vendor != "postgresql"
            else "Cannot tell whether a worker would read a hint: ProgrammingError"
        ]

    def test_an_announcement_that_fails_is_the_tasks_own_trouble(self, clock, monkeypatch, caplog):
        def lost(alias):
            raise OperationalError("canary")

        monkeypatch.setattr(wake, "announce", lost)

        assert tasks.publish("default") == 0
        assert "canary" not in caplog.text

    @pytest.mark.parametrize(
        ("setting", "ago", "words"),
        [
            ("auto", 12, "django-q2 (a task ran 12 s ago)"),
            ("auto", None, f"none: no task has run for it; {POLLS}"),
            ("auto", 3600, f"none: the last task ran 1 h ago; {POLLS}"),
            ("django_q", 12, "django-q2 (a task ran 12 s ago)"),
            ("django_q", None, "django-q2, which may not read it: no task has run for it"),
            (None, 12, f"none (WAKE is None): {POLLS}"),
        ],
    )
    def test_what_a_commit_wakes_is_said_in_words(self, setting, ago, words, monkeypatch):
        monkeypatch.setattr(notifications, "why_not", lambda _alias: "it is not PostgreSQL")
        assert wake.describe(setting, wake.Readers(task_ago=ago)) == words

    def test_where_django_q_is_not_installed_the_words_say_so(self, settings):
        settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]

        words = f"django_q is not in INSTALLED_APPS; {POLLS}"
        assert wake.describe("auto", wake.Readers()).endswith(words)


@pytest.fixture
def notified(hints, clock, monkeypatch):
    """The topics that were notified, on any database, by ``hints``' destinations on a ``clock``."""
    sent = []
    monkeypatch.setattr(notifications, "why_not", lambda _alias: "")
    monkeypatch.setattr(notifications, "notify", lambda _alias, topic: sent.append(topic))
    return sent


def heard(ago):
    Destination.objects.update_or_create(alias="default", defaults={"heard_at": DatabaseNow(-ago)})


def setting(settings, value):
    one = {**settings.GENESYS_EVENTBRIDGE["default"], "WAKE": value}
    settings.GENESYS_EVENTBRIDGE = dict.fromkeys(settings.GENESYS_EVENTBRIDGE, one)


@pytest.mark.django_db(transaction=True)
class TestNotify:
    """A commit notifies a ``--loop`` that listens: after the commit, and not for each of a burst."""

    @pytest.mark.parametrize(("ago", "times"), [(0, 1), (100, 1), (200, 0), (-5, 1), (-86400, 0)], ids=str)
    def test_auto_notifies_if_a_loop_listened_lately(self, ago, times, notified, settings):
        setting(settings, "auto")
        heard(ago)

        wake.wake("default")

        assert notified == ["publish:default"] * times

    def test_auto_wakes_both_if_both_read(self, hints, notified, settings):
        setting(settings, "auto")
        heard(0)
        Destination.objects.update(task_at=DatabaseNow())

        wake.wake("default")

        assert (len(hints), len(notified)) == (1, 1)

    def test_notify_is_sent_whoever_listens_and_queues_no_task(self, hints, notified, settings):
        setting(settings, "notify")

        wake.wake("default")

        assert (hints, notified) == ([], ["publish:default"])

    @pytest.mark.parametrize("value", [None, "django_q"])
    def test_the_other_settings_notify_no_one(self, value, hints, notified, settings):
        setting(settings, value)
        heard(0)

        wake.wake("default")

        assert notified == []

    def test_a_burst_is_one_notification_in_each_window(self, clock, notified, settings):
        setting(settings, "notify")
        for _ in range(10):
            wake.wake("default")
            clock(notifications.COALESCE / 4)

        assert len(notified) == 3

    def test_it_leaves_after_the_commit_and_never_from_inside_the_transaction(
        self, hints, notified, settings
    ):
        """NOTIFY in a transaction makes its commit wait for all others that notify."""
        setting(settings, "notify")
        with transaction.atomic():
            wake.wake("default")
            assert notified == []

        assert notified == ["publish:default"]

    def test_nothing_of_a_transaction_that_is_rolled_back(self, hints, notified, settings):
        setting(settings, "notify")
        with transaction.atomic():
            wake.wake("default")
            transaction.set_rollback(True)

        assert notified == []

    def test_a_testcase_that_runs_its_callbacks_sends_none(self, hints, notified, settings):
        """``captureOnCommitCallbacks`` calls them within the transaction of the test, new ones too."""
        setting(settings, "notify")
        with transaction.atomic():
            with TestCase.captureOnCommitCallbacks(execute=True) as callbacks:
                wake.wake("default")
            transaction.set_rollback(True)  # as a TestCase ends

        assert len(callbacks) == 1
        assert notified == []

    def test_none_joins_a_transaction_that_was_begun_by_hand(self, hints, notified, settings):
        setting(settings, "notify")
        transaction.set_autocommit(False)
        try:
            wake.wake("default")
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)

        assert notified == []

    @pytest.fixture
    def broken(self, notified, monkeypatch):
        def fail(_alias, _topic):
            raise OperationalError("canary")

        monkeypatch.setattr(notifications, "notify", fail)

    def test_a_failure_is_logged_once_and_no_broker_is_left_alone_for_it(
        self, hints, broken, clock, settings, caplog
    ):
        setting(settings, "auto")
        heard(0)
        Destination.objects.update(task_at=DatabaseNow())

        for _ in range(5):
            wake.wake("default")
            clock(1.1)

        assert [record.message for record in caplog.records] == [
            "Cannot wake a worker (OperationalError); the next look of a worker will publish. "
            "Next attempt in 30 s."
        ]
        assert len(hints) == 5

    def test_jobs_are_announced_once_to_loops_and_once_to_a_queue(self, hints, notified, settings):
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {
            alias: {**one, "WAKE": value}
            for alias, value in {"a": None, "b": "django_q", "c": "notify", "d": "notify"}.items()
        }

        wake.wake_jobs()

        assert notified == ["jobs"]
        assert [args[0] for _function, args in hints] == ["b"]

    @pytest.mark.parametrize(
        ("value", "found", "words"),
        [
            ("auto", wake.Readers(None, 8), "eventbridge_publish --loop (it listened 8 s ago)"),
            (
                "auto",
                wake.Readers(12, 8),
                "eventbridge_publish --loop (it listened 8 s ago); django-q2 (a task ran 12 s ago)",
            ),
            ("auto", wake.Readers(12, 800), "django-q2 (a task ran 12 s ago)"),
            (
                "auto",
                wake.Readers(),
                f"none: no eventbridge_publish --loop listens, and no task has run for it; {POLLS}",
            ),
            ("notify", wake.Readers(12, 8), "eventbridge_publish --loop (it listened 8 s ago)"),
            (
                "notify",
                wake.Readers(12, 800),
                f"none: no eventbridge_publish --loop listens; {POLLS}",
            ),
        ],
    )
    def test_what_a_commit_wakes_is_said_in_words(self, value, found, words, notified):
        assert wake.describe(value, found) == words

    @pytest.mark.skipif(connection.vendor == "postgresql", reason="about the other databases")
    def test_another_database_is_named(self, settings):
        setting(settings, "notify")
        about = " ".join(str(problem.msg) for problem in checks.check_settings())

        assert f"the outbox's database is {connection.display_name}, not PostgreSQL" in about
        assert f"not PostgreSQL; {POLLS}" in wake.describe("notify", wake.Readers(None, 8))


class TestTheFormerKey:
    @pytest.mark.parametrize(("given", "wake_is"), [(False, None), (True, "auto")])
    def test_it_is_obeyed_with_a_warning_that_says_what_to_write(self, given, wake_is, settings):
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {
            "default": {**{key: one[key] for key in one if key != "WAKE"}, "PUBLISH_ON_COMMIT": given}
        }

        (problem,) = conf.problems()

        assert conf.destination().wake == wake_is
        assert problem.id == "W017"
        assert ('Write "WAKE": None' in problem.hint) is (given is False)

    def test_wake_wins(self, settings):
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {"default": {**one, "WAKE": "django_q", "PUBLISH_ON_COMMIT": False}}

        assert conf.destination().wake == "django_q"
