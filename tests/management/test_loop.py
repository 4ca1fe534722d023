"""``eventbridge_publish --loop``: a worker without django-q2 that outlives its database and ends in order."""

import logging
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, OperationalError, connection
from django.test import override_settings

from genesys_eventbridge import conf, tasks
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.management.loop import BACKOFF_CAP, Loop
from genesys_eventbridge.management.progress import Progress
from genesys_eventbridge.management.stopping import stop_on_signal
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.outbox.retention import PRUNE_EVERY, Pruned
from genesys_eventbridge.outbox.sweep import sweep
from genesys_eventbridge.relay import PassReport
from genesys_eventbridge.relay.worker import Worker
from genesys_eventbridge.states import AttemptKind, State
from tests.outbox_rows import ended, event, fresh
from tests.passing import Clock
from tests.prompt import Terminal, sandboxed, shell, start
from tests.socket_server import SocketServer

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock():
    with Clock() as clock:
        yield clock


@pytest.fixture
def prunes(clock, monkeypatch):
    """When each prune began, in the seconds that passed."""
    began = []

    def prune(*_args, **_how):
        began.append(clock.passed)
        return Pruned(rows=1)

    monkeypatch.setattr("genesys_eventbridge.outbox.retention.prune", prune)
    return began


@pytest.fixture
def busy(clock, monkeypatch, request):
    """Each round takes a second, or as long as the test says, and finds something to do; all of them."""
    rounds = []

    def work(_worker, _ahead, _seconds):
        rounds.append(clock.passed)
        clock.wait(getattr(request, "param", 1))
        return [PassReport("default", AttemptKind.PUBLISH, claimed=1)]

    monkeypatch.setattr(Worker, "round", work)
    return rounds


def loop(clock, **options) -> Loop:
    shown = Progress("Published", None, stream=Terminal(), verbosity=0)
    return Loop("default", progress=shown, stop=clock, clock=clock, **options)


class TestLoop:
    def test_it_publishes_and_asks_until_told_to_stop(self, clock):
        with sandboxed(deliver_after=0):
            first = event()
            clock.at(5, event)
            clock.stop_after = 10

            served = loop(clock)
            served.run()

        assert fresh(first).state == State.DELIVERED
        assert OutboxEvent.objects.filter(state=State.DELIVERED).count() == 2
        assert served.states["delivered"] == 2

    def test_it_looks_again_after_the_interval_or_when_the_next_step_comes(self, clock):
        with sandboxed():
            event(row={"due_at": DatabaseNow(60)})
            clock.stop_after = 30
            loop(clock, interval=7.0).run()
            assert set(clock.waits) == {7.0}

            clock.stop_after = 61
            loop(clock, interval=45.0).run()

        assert min(clock.waits) < 30

    def test_a_look_that_may_have_missed_a_commit_is_followed_by_a_whole_one(self, clock, monkeypatch):
        """Notified of a commit, it would otherwise rest for half a minute before it finds the event."""
        looks = [next_due.NextDue(whole_in=0.4, pruned_ago=0), next_due.NextDue(pruned_ago=0)]
        monkeypatch.setattr(next_due, "next_due", lambda *_args, **_how: looks.pop(0))
        clock.stop_after = 30

        loop(clock, interval=30.0).run()

        assert clock.waits == [0.4, 30.0]

    def test_what_is_due_but_not_claimed_is_tried_each_second(self, clock, monkeypatch):
        """Another transaction holds it for the moment, and no commit will wake the worker."""
        event()
        monkeypatch.setattr(Worker, "round", lambda *_args: [])
        clock.stop_after = 5

        loop(clock, interval=40.0).run()

        assert set(clock.waits) == {1.0}

    def test_an_idle_loop_is_seen_to_live_and_costs_one_statement_a_look(
        self, clock, django_assert_max_num_queries
    ):
        next_due.next_due("default")
        sweep(conf.destination())  # once a minute, whether a worker is idle or not
        Destination.objects.update(pruned_at=DatabaseNow())
        clock.stop_after = 9

        with django_assert_max_num_queries(9 + 2):
            loop(clock).run()

        assert Destination.objects.get().heartbeat_at is not None

    def test_it_prunes_when_it_starts_and_each_hour(self, clock, prunes):
        clock.stop_after = 2 * PRUNE_EVERY + 100

        served = loop(clock, interval=40.0)
        served.run()

        assert prunes == [0, 3600, 7200]
        assert served.pruned == 3

    def test_old_events_are_removed(self, clock):
        event(row=ended(State.DELIVERED, finished_at="2001-01-01T00:00Z", created_at="2001-01-01T00:00Z"))
        clock.stop_after = 1

        served = loop(clock)
        served.run()

        assert (served.pruned, OutboxEvent.objects.count()) == (1, 0)

    @pytest.mark.parametrize("busy", [20], indirect=True)
    def test_one_that_is_always_busy_prunes_too(self, clock, prunes, busy):
        event()
        clock.stop_after = PRUNE_EVERY + 100

        loop(clock).run()

        assert len(busy) > 100
        assert len(prunes) == 2

    def test_one_that_is_restarted_each_hour_prunes(self, clock, prunes):
        for _restart in range(3):
            clock.stopped = False
            clock.stop_after = clock.passed + PRUNE_EVERY - 100
            loop(clock, interval=50.0).run()

        assert prunes == [0, 3600, 7200]

    def test_of_two_that_see_it_due_one_prunes(self, clock, prunes, monkeypatch):
        look = next_due.next_due
        agendas = []

        def seen_before_the_other_began(alias, **keywords):
            agendas.append(look(alias, **keywords))
            return agendas[0]

        monkeypatch.setattr(next_due, "next_due", seen_before_the_other_began)
        for _loop in range(2):
            clock.stopped = False
            clock.stop_after = clock.passed + 1
            loop(clock).run()

        assert len(prunes) == 1

    def test_a_scheduled_prune_counts(self, clock, prunes):
        next_due.next_due("default")
        tasks.prune("default")
        clock.stop_after = PRUNE_EVERY - 100

        loop(clock, interval=50.0).run()

        assert prunes == [0]

    def test_what_of_retention_did_not_fit_goes_on_between_the_rounds(self, clock, busy, monkeypatch):
        """A second at a time, so that publishing goes on."""
        told = [Pruned(rows=1, complete=False), Pruned(rows=1, complete=False), Pruned(rows=1)]
        rounds = []

        def prune(_settings, *, max_seconds):
            assert max_seconds <= 1
            rounds.append(len(busy))
            return told.pop(0)

        monkeypatch.setattr("genesys_eventbridge.outbox.retention.prune", prune)
        event()
        clock.stop_after = 30

        served = loop(clock)
        served.run()

        assert rounds == [0, 1, 2]
        assert served.pruned == 3

    def test_until_retention_is_complete_the_rounds_are_short(self, clock, monkeypatch):
        told = [Pruned(rows=1, complete=False), Pruned(rows=1)]
        monkeypatch.setattr("genesys_eventbridge.outbox.retention.prune", lambda *args, **how: told.pop(0))
        lengths = []

        def work(_worker, _ahead, seconds):
            lengths.append(seconds)
            clock.wait(1)
            return []

        monkeypatch.setattr(Worker, "round", work)
        event()
        clock.stop_after = 5

        served = loop(clock)
        served.run()

        own = served.settings
        assert lengths[:2] == [own.request_deadline + 10, own.pass_seconds]

    @pytest.mark.django_db(transaction=True)
    def test_a_prune_that_fails_does_not_hold_up_publishing(self, clock, monkeypatch):
        failures = []

        def fail(*_args, **_how):
            failures.append(clock.passed)
            raise IntegrityError("another table refers to it")

        monkeypatch.setattr("genesys_eventbridge.outbox.retention.prune", fail)
        clock.stop_after = 60
        with sandboxed():
            row = event()
            loop(clock).run()

        assert fresh(row).state == State.DELIVERED
        assert failures == [0]

    def test_what_did_not_fit_goes_on_at_once_where_nothing_is_due(self, clock, monkeypatch):
        told = [Pruned(rows=1, complete=False), Pruned(rows=1)]
        monkeypatch.setattr("genesys_eventbridge.outbox.retention.prune", lambda *args, **how: told.pop(0))
        clock.stop_after = 1

        served = loop(clock)
        served.run()

        assert served.pruned == 2

    @pytest.mark.django_db(transaction=True)
    def test_a_lost_database_is_logged_and_waited_for(self, clock, monkeypatch, caplog):
        """Fault 21: the worker goes on by itself, and asks less and less often."""
        failures = [OperationalError("password-canary")] * 9
        look = next_due.next_due

        def lost(alias, **keywords):
            if failures:
                raise failures.pop()
            return look(alias, **keywords)

        monkeypatch.setattr(next_due, "next_due", lost)
        clock.stop_after = 1000
        with sandboxed(), caplog.at_level(logging.INFO, "genesys_eventbridge"):
            row = event()
            clock.at(300, lambda: setattr(clock, "stop_after", clock.passed + 3))
            loop(clock).run()

        assert fresh(row).state == State.DELIVERED
        assert clock.waits[:7] == [1, 2, 4, 8, 16, BACKOFF_CAP, BACKOFF_CAP]
        assert "canary" not in caplog.text
        assert "working again" in caplog.text

    @pytest.mark.django_db(transaction=True)
    def test_a_connection_that_broke_is_opened_anew(self, clock):
        """As after a restart of the database; Django itself would go on with the dead one."""
        row = event(row={"due_at": DatabaseNow(4)})
        clock.at(2, connection.connection.close)
        clock.stop_after = 9

        with sandboxed():
            loop(clock).run()

        assert fresh(row).state == State.DELIVERED

    @pytest.mark.django_db(transaction=True)
    def test_a_defect_in_one_pass_does_not_end_the_worker(self, clock, monkeypatch, caplog):
        failures = [KeyError("a defect")]
        look = next_due.next_due
        monkeypatch.setattr(
            next_due,
            "next_due",
            lambda *args, **kw: _raise(failures.pop()) if failures else look(*args, **kw),
        )
        clock.stop_after = 5
        with sandboxed():
            row = event()
            loop(clock).run()

        assert fresh(row).state == State.DELIVERED
        assert "KeyError" in caplog.text

    def test_a_paused_destination_is_asked_again_soon_because_a_person_may_resume_it(self, clock):
        from genesys_eventbridge.operations import Actor, pause, resume

        with sandboxed():
            row = event()
            pause("default", Actor(via="test"), "maintenance")
            clock.at(60, lambda: resume("default", Actor(via="test")))
            clock.stop_after = 70
            loop(clock).run()

        assert fresh(row).state == State.DELIVERED

    def test_wrong_settings_are_said_before_the_loop_begins(self, clock, settings):
        settings.GENESYS_EVENTBRIDGE = {"default": {}}

        with pytest.raises(ImproperlyConfigured):
            loop(clock)


def _raise(error):
    raise error


class TestStopping:
    def test_a_first_signal_asks_and_a_second_means_what_it_meant_before(self):
        said: list[str] = []
        before = signal.getsignal(signal.SIGTERM)
        with stop_on_signal(said.append) as stop:
            signal.raise_signal(signal.SIGTERM)

            assert stop.is_set()
            assert signal.getsignal(signal.SIGTERM) is before

        assert len(said) == 1
        assert "Repeat to stop at once" in said[0]

    def test_the_signals_mean_what_they_did_before_when_all_is_done(self):
        before = signal.getsignal(signal.SIGINT)
        with stop_on_signal(lambda line: None):
            assert signal.getsignal(signal.SIGINT) is not before

        assert signal.getsignal(signal.SIGINT) is before

    def test_a_thread_that_hears_no_signals_asks_for_none(self):
        seen = []

        def work():
            with stop_on_signal(lambda line: None) as stop:
                seen.append(stop.is_set())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

        assert seen == [False]


@pytest.mark.django_db(transaction=True)
class TestProcess:
    def wait_for(self, process, condition):
        """Until it is so; a process that ended first says why."""
        ends = time.monotonic() + 60
        while not condition():
            if process.poll() is not None or time.monotonic() > ends:
                process.kill()
                out, err = process.communicate()
                pytest.fail(f"exit {process.returncode}\n{out}\n{err}")
            threading.Event().wait(0.05)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
    def test_a_signal_finishes_what_is_in_flight(self, number):
        """Fault 9: nothing stays in doubt after an ordinary stop."""
        with sandboxed(latency=1.0) as sandbox:
            row = event()
            with start("eventbridge_publish", "--loop") as process:
                self.wait_for(process, lambda: fresh(row).claim_token is not None)
                process.send_signal(number)
                out, err = process.communicate(timeout=60)

        assert process.returncode == 0, err
        assert len(sandbox.received) == 1
        assert (fresh(row).state, fresh(row).claim_token) == (State.DELIVERED, None)
        assert "default: delivered 1" in out
        assert "Stopping" in err

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    def test_a_worker_whose_log_cannot_be_written_continues(self):
        with sandboxed(), Path("/dev/full").open("w") as full:
            rows = [event() for _ in range(5)]
            with start("eventbridge_publish", "--loop", stderr=full) as process:
                self.wait_for(process, lambda: {fresh(row).state for row in rows} == {State.DELIVERED})
                process.send_signal(signal.SIGTERM)
                out, _err = process.communicate(timeout=60)

        assert "default: delivered 5" in out

    def test_it_needs_no_django_q(self):
        with sandboxed():
            row = event()
            with start("eventbridge_publish", "--loop", "-v", "0", WITHOUT="django_q") as process:
                self.wait_for(process, lambda: fresh(row).state == State.DELIVERED)
                process.terminate()
                _out, err = process.communicate(timeout=60)

        assert (process.returncode, err) == (0, "")

    def test_it_serves_several_destinations_at_once(self):
        with sandboxed(aliases=("default", "emea")):
            rows = [event(), event(destination="emea")]
            with start("eventbridge_publish", "--loop", "--format", "json") as process:
                self.wait_for(process, lambda: {fresh(row).state for row in rows} == {State.DELIVERED})
                process.terminate()
                out, _err = process.communicate(timeout=60)

        assert '"emea"' in out
        assert process.returncode == 0

    def test_an_organisation_that_does_not_answer_holds_up_no_other(self):
        """All of its requests hang, and meanwhile everything of the other one is delivered."""
        with ExitStack() as stack:
            silent = stack.enter_context(SocketServer(lambda talk: talk.stall()))
            stack.enter_context(sandboxed())
            one = settings.GENESYS_EVENTBRIDGE["default"]
            there = {**one, "API_BASE_URL": silent.url, "LOGIN_BASE_URL": silent.url}
            both = {"silent": there, "default": one}
            stack.enter_context(override_settings(GENESYS_EVENTBRIDGE=both))
            for number in range(20):
                event(data=number, destination="silent")
                event(data=number)
            with start("eventbridge_publish", "--loop", "-v", "0") as process:
                delivered = OutboxEvent.objects.filter(state=State.DELIVERED)
                self.wait_for(process, lambda: silent.connections and delivered.count() == 20)
                process.kill()
                process.communicate()

        assert set(delivered.values_list("destination", flat=True)) == {"default"}

    def test_the_other_commands_need_no_django_q_either(self):
        with sandboxed():
            event()

            assert shell("eventbridge_publish", WITHOUT="django_q").code == 0
            assert shell("eventbridge_status", "--check", WITHOUT="django_q").code == 0
            ran = shell("eventbridge_schedules", WITHOUT="django_q")

        assert ran.code == 1
        assert "INSTALLED_APPS" in ran.err
