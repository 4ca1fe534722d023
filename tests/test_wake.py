"""The wake: a hint after the commit, coalesced, that costs the user nothing when the broker is down."""

import logging
from types import SimpleNamespace

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge import conf, tasks, wake
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import Destination


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

        ago = wake.task_ago("default")
        assert ago is not None
        assert ago >= 0

    def test_a_database_that_does_not_answer_wakes_nobody_and_leaves_the_transaction_usable(
        self, hints, clock, monkeypatch, caplog
    ):
        def ask(alias):
            with connection.cursor() as cursor:
                cursor.execute("SELECT no_such_column FROM genesys_eventbridge_destination")

        monkeypatch.setattr(wake, "task_ago", ask)
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
            ("auto", None, "none: no task has run for it; workers poll for due events"),
            ("auto", 3600, "none: the last task ran 1 h ago; workers poll for due events"),
            ("django_q", 12, "django-q2 (a task ran 12 s ago)"),
            ("django_q", None, "django-q2, which may not read it: no task has run for it"),
            (None, 12, "none (WAKE is None): workers poll for due events"),
        ],
    )
    def test_what_a_commit_wakes_is_said_in_words(self, setting, ago, words):
        assert wake.describe(setting, ago) == words

    def test_where_django_q_is_not_installed_the_words_say_so(self, settings):
        settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]

        assert "django_q is not in INSTALLED_APPS" in wake.describe("auto", None)


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
