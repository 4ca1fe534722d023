"""What django-q2 runs: plain arguments, counts as results, and no error for anything that an event does."""

import logging
from pydoc import locate

import pytest
from django.db import OperationalError, connection

from genesys_eventbridge import conf, relay, schedules, tasks, wake
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import next_due, retention
from genesys_eventbridge.relay import PassReport
from genesys_eventbridge.relay.worker import WorkerRun
from genesys_eventbridge.states import AttemptKind, State
from tests.outbox_rows import accepted, ended, event, fresh
from tests.prompt import sandboxed

pytestmark = pytest.mark.django_db

EACH = ("publish", "publish_backlog", "poll", "retry", "prune")


@pytest.fixture(autouse=True)
def _fresh_process():
    tasks._idle_since.clear()
    wake.forget()
    yield
    tasks._idle_since.clear()
    wake.forget()


@pytest.fixture
def queued(monkeypatch):
    """What was put into the queue, by a broker that takes it."""
    sent = []
    monkeypatch.setattr(
        "django_q.tasks.async_task", lambda path, *args, **how: sent.append((path, args, how))
    )
    return sent


@pytest.fixture
def shifts_done(monkeypatch):
    """The shifts a task makes, without making them."""
    done = []

    def run_worker(settings, **keywords):
        done.append(settings.alias)
        return WorkerRun(moved=1)

    monkeypatch.setattr(tasks, "run_worker", run_worker)
    return done


def test_a_woken_task_delivers_and_counts(monkeypatch):
    monkeypatch.setattr("genesys_eventbridge.relay.worker.LINGER", 0.05)
    with sandboxed():
        row = event()

        assert tasks.publish("default") >= 1

    assert fresh(row).state == State.DELIVERED


def test_a_task_takes_what_a_wake_brings(queued, shifts_done):
    """As django-q2 does it: the path is looked up, the arguments go in."""
    wake.announce("default")
    wake.wake("default")
    (path, args, _how) = queued.pop()

    function = locate(path)

    assert callable(function)
    assert function(*args) == 1


def test_poll_asks_about_accepted_events():
    with sandboxed(deliver_after=3600) as sandbox:
        row = event()
        tasks.retry("default")
        assert fresh(row).state == State.ACCEPTED
        sandbox.configure(deliver_after=0)
        OutboxEvent.objects.update(due_at=DatabaseNow())

        assert tasks.poll("default") == 1

    assert fresh(row).state == State.DELIVERED


def test_retry_tries_what_is_due_and_nothing_earlier():
    with sandboxed():
        due = event(row={"attempts": 1})
        later = event(row={"attempts": 1, "due_at": DatabaseNow(3600)})

        tasks.retry("default")

    assert fresh(due).attempts == 2
    assert fresh(later).attempts == 1


def test_prune_removes_what_is_old(settings):
    old = event(row=ended(State.DELIVERED, finished_at="2001-01-01T00:00Z", created_at="2001-01-01T00:00Z"))
    kept = accepted()

    assert tasks.prune("default") == 1
    assert not OutboxEvent.objects.filter(pk=old.pk).exists()
    assert fresh(kept).state == State.ACCEPTED


@pytest.mark.parametrize("task", EACH)
@pytest.mark.parametrize("given", ["gone", "", "a\r\nb", ["list"]], ids=repr)
def test_a_message_of_an_old_release_is_logged_and_done(task, given, caplog):
    """Fault 16: what a queue still holds may name what no longer is."""
    with caplog.at_level(logging.ERROR, "genesys_eventbridge"):
        assert getattr(tasks, task)(given) == 0

    assert len(caplog.records) == 1
    assert "\r" not in caplog.text


@pytest.mark.parametrize("task", EACH)
def test_no_task_raises_for_trouble_and_none_keeps_its_text(task, monkeypatch, caplog):
    """Fault 14: a failing task would come back for ever; T2: its traceback would be kept with its locals."""

    def lost(*args, **keywords):
        raise OperationalError("password-canary")

    for room, name in (
        (relay, "publish_due"),
        (relay, "check_accepted"),
        (next_due, "next_due"),
        (retention, "prune"),
    ):
        monkeypatch.setattr(room, name, lost)

    assert getattr(tasks, task)("default") == 0
    assert "OperationalError" in caplog.text
    assert "canary" not in caplog.text


def test_the_end_of_a_process_is_not_swallowed(monkeypatch):
    """Fault 12: django-q2's timeout is a SystemExit."""

    def end(*args, **keywords):
        raise SystemExit(1)

    monkeypatch.setattr(tasks, "run_worker", end)

    with pytest.raises(SystemExit):
        tasks.publish("default")


@pytest.mark.parametrize("plan", schedules.PLANS, ids=lambda plan: plan.name)
def test_a_schedule_serves_the_only_destination_itself(plan, monkeypatch, queued):
    """No message for what this process is about to do."""
    served = []

    def serve(alias):
        served.append(alias)
        return 3

    name = plan.func.rpartition(".")[2].removesuffix("_all")
    name = "publish_backlog" if name == "publish" else name
    monkeypatch.setattr(tasks, name, serve)

    assert getattr(tasks, plan.func.rpartition(".")[2])() == 3
    assert served == ["default"]
    assert queued == []


@pytest.mark.parametrize("plan", schedules.PLANS, ids=lambda plan: plan.name)
def test_several_destinations_get_a_task_each(plan, settings, queued, monkeypatch):
    """One broken organisation does not slow the other."""
    for task in EACH:
        monkeypatch.setattr(tasks, task, lambda alias: pytest.fail("it was queued already"))
    one = settings.GENESYS_EVENTBRIDGE["default"]
    settings.GENESYS_EVENTBRIDGE = {"default": one, "emea": one}

    assert getattr(tasks, plan.func.rpartition(".")[2])() == 0
    assert [args for _path, args, _how in queued] == [("default",), ("emea",)]
    for path, args, how in queued:
        room, _, name = path.rpartition(".")
        assert (room, name in EACH) == ("genesys_eventbridge.tasks", True)
        assert {type(value) for value in args} == {str}
        assert how == {"ack_failure": True, "save": False}


@pytest.mark.parametrize("plan", schedules.PLANS, ids=lambda plan: plan.name)
def test_another_scheduler_serves_all_destinations_itself(plan, settings, queued, monkeypatch):
    """``queue=False``: django-q2 is installed here, but its cluster may not run."""
    served = []

    def serve(alias):
        served.append(alias)
        return 1

    for task in EACH:
        monkeypatch.setattr(tasks, task, serve)
    one = settings.GENESYS_EVENTBRIDGE["default"]
    settings.GENESYS_EVENTBRIDGE = {"default": one, "emea": one}

    assert getattr(tasks, plan.func.rpartition(".")[2])(queue=False) == 2
    assert served == ["default", "emea"]
    assert queued == []


def test_where_the_broker_takes_nothing_the_scheduled_task_serves_all(settings, monkeypatch, shifts_done):
    one = settings.GENESYS_EVENTBRIDGE["default"]
    settings.GENESYS_EVENTBRIDGE = {"default": one, "emea": one}

    def down(*args, **how):
        raise ConnectionError("redis")

    monkeypatch.setattr("django_q.tasks.async_task", down)

    assert tasks.publish_all() == 2
    assert shifts_done == ["default", "emea"]


def test_without_settings_nothing_runs_and_nothing_raises(settings, caplog):
    settings.GENESYS_EVENTBRIDGE = {}

    assert tasks.publish_all() == 0
    assert "GENESYS_EVENTBRIDGE" in caplog.text


class TestParallelPasses:
    @pytest.fixture(autouse=True)
    def _a_server(self, monkeypatch):
        monkeypatch.setattr(tasks, "BATCHES_A_PASS", 2)
        monkeypatch.setattr(tasks, "_has_one_writer", lambda: False)

    @pytest.mark.parametrize(
        ("waiting", "helpers"), [(0, 0), (1, 0), (4, 0), (5, 1), (8, 1), (9, 2), (40, 2)]
    )
    def test_a_large_backlog_is_worth_several(self, waiting, helpers, settings, queued, shifts_done):
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {"default": {**one, "BATCH_SIZE": 2, "PARALLEL_PASSES": 3}}
        for _ in range(waiting):
            event()

        tasks.publish_backlog("default")

        sent = [path for path, _args, _how in queued if path == "genesys_eventbridge.tasks.publish"]
        woken = 1 if waiting else 0
        assert len(sent) in (helpers, helpers + woken)
        assert shifts_done == ["default"]

    def test_one_is_enough_where_there_is_one_writer(self, monkeypatch, settings, queued, shifts_done):
        monkeypatch.setattr(tasks, "_has_one_writer", lambda: True)
        assert tasks._passes(conf.destination()) == 1

    def test_one_is_enough_where_the_setting_says_so(self, settings, django_assert_num_queries):
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {"default": {**one, "PARALLEL_PASSES": 1}}

        with django_assert_num_queries(0):
            assert tasks._passes(conf.destination()) == 1


class TestFollowingPasses:
    """A pass stops early enough for its last request; a backlog does not wait for the next schedule."""

    PUBLISH = "genesys_eventbridge.tasks.publish"

    @pytest.fixture
    def now(self, monkeypatch):
        now = [1_700_000_000.0]
        monkeypatch.setattr("genesys_eventbridge.tasks.time.time", lambda: now[0])
        return now

    def a_shift(self, monkeypatch, now, **done):
        def run_worker(settings, **keywords):
            now[0] += 25
            return WorkerRun(moved=1, idle_for=None, **done)

        monkeypatch.setattr(tasks, "run_worker", run_worker)

    def run_queued(self, queued):
        """As workers would, one after the other."""
        for number, (path, args, _how) in enumerate(queued):
            assert path == self.PUBLISH
            assert number < 50, "the queue only grows"
            tasks.publish(*args)

    def test_unfinished_work_goes_on_until_the_schedule_comes_again(self, now, queued, monkeypatch):
        began = now[0]
        self.a_shift(monkeypatch, now, unfinished=True)

        tasks.publish_backlog("default")
        self.run_queued(queued)

        assert [args for _path, args, _how in queued] == [("default", 0, int(began) + 60)] * 2
        assert now[0] == began + 75

    def test_the_helpers_are_followed_too_and_do_not_multiply(self, now, queued, monkeypatch):
        self.a_shift(monkeypatch, now, unfinished=True)
        monkeypatch.setattr(tasks, "_passes", lambda settings: 3)
        event()
        queued.clear()  # the wake of its commit

        tasks.publish_backlog("default")

        assert len(queued) == 3  # two beside it, one after it
        now[0] -= 25  # the two ran meanwhile
        for _path, args, _how in queued[:2]:
            began = now[0]
            tasks.publish(*args)
            now[0] = began
        assert len(queued) == 5

    def test_finished_work_is_followed_by_nothing(self, now, queued, monkeypatch):
        self.a_shift(monkeypatch, now, unfinished=False)

        tasks.publish_backlog("default")
        tasks.publish("default", 0, int(now[0]) + 60)

        assert queued == []

    def test_one_that_waited_for_a_worker_until_the_next_run_is_not_needed(
        self, now, shifts_done, django_assert_num_queries
    ):
        """Or a cluster of few workers would have a queue that grows as long as the backlog lasts."""
        wake.announce("default")

        with django_assert_num_queries(0):
            assert tasks.publish("default", 0, int(now[0])) == 0
        assert tasks.publish("default", 0, int(now[0]) + 1) == 1

        assert shifts_done == ["default"]

    def test_a_wake_leaves_the_rest_to_the_schedule(self, now, queued, monkeypatch):
        """Wakes come each second under traffic; each with a train of its own would be a crowd."""
        self.a_shift(monkeypatch, now, unfinished=True)

        tasks.publish("default", int(now[0]))

        assert queued == []


class TestAnsweredWakes:
    """Under steady traffic a wake comes each second and a pass stays longer: the queue must not grow."""

    @pytest.fixture
    def now(self, monkeypatch):
        now = [1_700_000_000.0]
        monkeypatch.setattr("genesys_eventbridge.tasks.time.time", lambda: now[0])
        return now

    def test_a_wake_that_an_earlier_look_has_answered_costs_nothing(
        self, now, shifts_done, django_assert_num_queries
    ):
        tasks.publish("default", int(now[0]) - 1)

        with django_assert_num_queries(0):
            assert tasks.publish("default", int(now[0]) - 30) == 0

        assert shifts_done == ["default"]

    @pytest.mark.parametrize("ago", [0, 1, 5])
    def test_a_wake_that_may_be_newer_is_followed_whatever_the_hosts_clocks_say(self, ago, now, shifts_done):
        tasks.publish("default")

        tasks.publish("default", int(now[0]) - ago)

        assert shifts_done == ["default", "default"]

    def test_a_wake_that_says_no_time_is_followed(self, now, shifts_done):
        tasks.publish("default")
        tasks.publish("default")

        assert shifts_done == ["default", "default"]

    def test_a_pass_that_always_found_more_has_answered_nothing(self, now, monkeypatch):
        monkeypatch.setattr(tasks, "run_worker", lambda settings: WorkerRun(moved=9, idle_for=None))

        assert tasks.publish("default", int(now[0])) == 9
        assert tasks.publish("default", int(now[0]) - 30) == 9

    def test_what_counts_is_when_it_found_nothing_due_not_when_it_ended(self, now, monkeypatch):
        monkeypatch.setattr(tasks, "run_worker", lambda settings: WorkerRun(moved=9, idle_for=20.0))
        tasks.publish("default")

        assert tasks.publish("default", int(now[0]) - 25) == 9
        assert tasks.publish("default", int(now[0]) - 27) == 0


def test_results_are_small_numbers(monkeypatch):
    """T21: results are pickled and kept."""
    report = PassReport("default", AttemptKind.CHECK)
    report.states.update({"delivered": 7})
    monkeypatch.setattr(relay, "check_accepted", lambda alias: report)

    assert tasks.poll("default") == 7


@pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL")
@pytest.mark.django_db(transaction=True)
def test_a_connection_that_turned_read_only_is_dropped_after_one_task(monkeypatch):
    """After a failover the old server takes reads only; CONN_MAX_AGE None keeps the connection for ever."""
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
    with sandboxed():
        row = event()
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")

        assert tasks.retry("default") == 0
        assert tasks.retry("default") == 1

    assert fresh(row).state == State.DELIVERED
