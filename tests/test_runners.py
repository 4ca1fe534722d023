"""Django's tasks framework runs wakes and passes, too; its backends with a worker and without."""

import importlib.util
import logging
import subprocess
import sys

import django
import pytest
from django.db import DatabaseError, connection, transaction

from genesys_eventbridge import checks, relay, runners, signals, tasks, wake
from genesys_eventbridge.conf.rules import AUTO, DJANGO_Q, TASKS
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import enqueue
from genesys_eventbridge.states import State
from tests.outbox_rows import fresh
from tests.pages import ROOT
from tests.prompt import sandboxed

HAS_TASKS = importlib.util.find_spec("django.tasks") is not None
needs_tasks = pytest.mark.skipif(not HAS_TASKS, reason=f"Django {django.__version__} has no tasks framework")

IMMEDIATE = "django.tasks.backends.immediate.ImmediateBackend"
DUMMY = "django.tasks.backends.dummy.DummyBackend"


@pytest.fixture(autouse=True)
def _new_process():
    wake.forget()
    yield
    wake.forget()


@pytest.fixture
def backend(settings):
    """``backend(path)`` chooses the default backend, as TASKS does."""

    def choose(path: str) -> None:
        settings.TASKS = {"default": {"BACKEND": path}}

    return choose


@pytest.fixture
def no_django_q(settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]


def waking(settings, runner: str) -> None:
    one = settings.GENESYS_EVENTBRIDGE["default"]
    settings.GENESYS_EVENTBRIDGE = {"default": {**one, "WAKE": runner}}


def found() -> list[str]:
    about = [message for message in checks.check_settings() if "WAKE" in str(message.msg)]
    return sorted({(message.id or "").rpartition(".")[2] for message in about})


@pytest.mark.skipif(HAS_TASKS, reason="this Django has the tasks framework")
def test_an_older_django_is_named(settings):
    waking(settings, TASKS)

    assert runners.chosen(TASKS) is None
    assert "has no tasks framework; it came with 6.0" in wake.describe(TASKS, wake.Readers())
    assert found() == ["W018"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("task", [tasks.publish_all, tasks.poll_all, tasks.retry_all, tasks.prune_all])
def test_tasks_that_cron_or_another_queue_calls_need_no_runner(no_django_q, task):
    """Several destinations are served here, one after the other, where no queue can take a task each."""
    with sandboxed(aliases=("default", "emea")):
        rows = [enqueue("order.created", 1, destination=to, standalone=True) for to in ("default", "emea")]
        task()

        if task in (tasks.publish_all, tasks.retry_all):
            assert {fresh(row).state for row in rows} <= {State.ACCEPTED, State.DELIVERED}


def test_where_django_q_cannot_be_imported_every_command_and_page_works():
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.without_django_q"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert "django_q is not in INSTALLED_APPS, so there are no schedules" in ran.stdout
    assert ran.stdout.endswith("nothing needed django-q2\n")


@pytest.mark.django_db
def test_a_queue_in_tables_that_fails_leaves_the_callers_transaction_usable(monkeypatch):
    def fail(*_given, **_options):
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO no_such_table VALUES (1)")

    monkeypatch.setattr("django_q.tasks.async_task", fail)
    with transaction.atomic():
        with pytest.raises(DatabaseError):
            runners.send(DJANGO_Q, "publish", "default")

        assert OutboxEvent.objects.count() == 0


def test_a_commit_within_an_inline_pass_starts_no_other(settings, monkeypatch):
    sent = []
    monkeypatch.setattr(runners, "why_not", lambda _runner: "")
    monkeypatch.setattr(runners, "runs_inline", lambda _runner: True)
    monkeypatch.setattr(runners, "send", lambda *given: sent.append(given))
    waking(settings, TASKS)

    with runners.within(TASKS):
        wake.wake("default")
    assert sent == []

    wake.wake("default")
    assert sent == [(TASKS, "retry", "default")]


@needs_tasks
class TestTheWake:
    @pytest.fixture
    def sent(self, monkeypatch):
        """What is queued; for a backend that is neither the immediate nor the dummy one."""
        from django.tasks import Task

        queued = []
        monkeypatch.setattr(Task, "enqueue", lambda task, *arguments: queued.append((task.name, arguments)))
        monkeypatch.setattr(runners, "runs_inline", lambda _runner: False)
        return queued

    def test_a_commit_queues_a_task(self, settings, sent):
        waking(settings, TASKS)

        wake.wake("default")
        wake.wake("default")

        ((name, (alias, asked_at)),) = sent
        assert (name, alias, type(asked_at)) == ("publish", "default", int)

    @pytest.mark.django_db
    def test_auto_is_a_queue_that_a_worker_reads(self, settings, sent, no_django_q):
        waking(settings, AUTO)
        wake.wake("default")
        assert sent == []
        wake.forget()
        wake.announce("default")

        wake.wake("default")

        assert [name for name, _arguments in sent] == ["publish"]

    def test_auto_prefers_django_q(self, sent):
        assert runners.chosen(AUTO) == DJANGO_Q

    def test_a_broken_backend_reaches_no_commit(self, settings, monkeypatch, caplog, sent):
        from django.tasks import Task

        def fail(_task, *_arguments):
            raise ConnectionError("password-canary")

        monkeypatch.setattr(Task, "enqueue", fail)
        waking(settings, TASKS)
        with caplog.at_level(logging.WARNING):
            wake.wake("default")
            wake.wake("default")

        assert [record.getMessage() for record in caplog.records] == [
            "Cannot wake a worker (ConnectionError); the schedules will publish. Next attempt in 30 s."
        ]

    @pytest.mark.parametrize(
        ("path", "why"),
        [
            (DUMMY, "DummyBackend, which runs no task"),
            ("nowhere.Backend", "cannot be used (InvalidTaskBackend)"),
        ],
    )
    def test_a_backend_that_runs_nothing_is_named(self, settings, backend, path, why):
        backend(path)
        waking(settings, TASKS)

        assert runners.chosen(TASKS) is None
        assert why in wake.describe(TASKS, wake.Readers())
        assert "W018" in found()


@needs_tasks
class TestTheImmediateBackend:
    """It runs a task at once, in the process that queues it."""

    @pytest.fixture(autouse=True)
    def _immediate(self, backend):
        backend(IMMEDIATE)

    @pytest.mark.django_db(transaction=True)
    def test_each_commit_publishes_its_events(self, settings):
        with sandboxed(more={"WAKE": "tasks"}):
            for _ in range(2):
                with transaction.atomic():
                    row = enqueue("order.created", 1)
                    assert fresh(row).state == State.PENDING
                assert fresh(row).state in (State.ACCEPTED, State.DELIVERED)

    @pytest.mark.django_db(transaction=True)
    def test_a_receiver_that_enqueues_starts_no_pass_within_the_pass(self, settings, monkeypatch):
        depths, running = [], []
        publish_due = relay.publish_due

        def counted(*given, **options):
            running.append(1)
            depths.append(len(running))
            try:
                return publish_due(*given, **options)
            finally:
                running.pop()

        def enqueue_another(sender, event, **_keywords):
            if event.type == "order.created":
                enqueue("order.audited", 1, standalone=True)

        monkeypatch.setattr(relay, "publish_due", counted)
        signals.event_delivered.connect(enqueue_another)
        try:
            with sandboxed(more={"WAKE": "tasks"}), transaction.atomic():
                enqueue("order.created", 1)
        finally:
            signals.event_delivered.disconnect(enqueue_another)

        assert OutboxEvent.objects.filter(type="order.audited").exists()
        assert depths == [1]

    @pytest.mark.django_db(transaction=True)
    def test_a_platform_that_is_down_reaches_no_commit(self, settings):
        with sandboxed(more={"WAKE": "tasks"}) as platform:
            platform.fail_next(503, times=3)
            with transaction.atomic():
                row = enqueue("order.created", 1)

            assert fresh(row).state == State.PENDING

    def test_the_warning_says_how_long_a_commit_may_take(self, settings):
        waking(settings, TASKS)

        assert any("up to PASS_SECONDS (45 s)" in message.msg for message in checks.check_settings())

    def test_it_is_a_warning_and_never_chosen_by_auto(self, settings, no_django_q):
        waking(settings, TASKS)

        assert found() == ["W046"]
        assert runners.chosen(AUTO) is None
        assert "in the process of the commit" in wake.describe(TASKS, wake.Readers())

    @pytest.mark.django_db(transaction=True)
    def test_the_tasks_are_those_of_django_q(self):
        from genesys_eventbridge import django_tasks

        with sandboxed():
            row = enqueue("order.created", 1, standalone=True)
            result = django_tasks.publish_all.enqueue()

        assert (result.status.name, result.return_value) == ("SUCCESSFUL", 1)
        assert fresh(row).state in (State.ACCEPTED, State.DELIVERED)

    def test_each_has_a_path_that_a_worker_can_import(self):
        from django.utils.module_loading import import_string

        from genesys_eventbridge import django_tasks

        ours = {name: task for name, task in vars(django_tasks).items() if hasattr(task, "module_path")}
        assert len(ours) == 10
        for name, task in ours.items():
            assert task.module_path == f"genesys_eventbridge.django_tasks.{name}"
            assert import_string(task.module_path) is task

    def test_what_a_task_starts_uses_its_runner(self):
        with runners.within(TASKS):
            assert runners.current() == TASKS
        assert runners.current() == DJANGO_Q
