"""Alerts of real processes: killed while they send, at the same time, beside a worker, and from django-q2."""

import json
import signal
from pathlib import Path

import pytest

from genesys_eventbridge import schedules, wake
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import Alert, AlertNotice, OutboxEvent
from genesys_eventbridge.states import State
from tests.alerts import alerting, fail, heartbeat
from tests.outbox_rows import event
from tests.prompt import sandboxed, shell, start
from tests.test_qcluster import SCHEDULES_AT_ONCE, cluster, delivered, until

pytestmark = pytest.mark.django_db(transaction=True)
CHECK = ("eventbridge_alert", "--check")


class Place:
    """Where the processes note what they received."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "notices"
        self.gate = folder / "gate"
        self.environment = {"NOTICES": str(self.file), "GATE": str(self.gate)}

    @property
    def notices(self) -> list[dict]:
        if not self.file.exists():
            return []
        return [json.loads(line) for line in self.file.read_text("utf-8").splitlines()]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def lease_is_over() -> None:
    AlertNotice.objects.filter(due_at__isnull=False).update(due_at=DatabaseNow(-1))


@pytest.mark.parametrize(("how", "received"), [("die_before", 1), ("die_after", 2)])
def test_a_process_killed_while_it_sends_loses_no_alert(how, received, place):
    """One that was received just before may come again, under the same id."""
    heartbeat()
    fail(5000)
    with alerting(f"tests.alerts.functions.{how}"):
        assert shell(*CHECK, **place.environment).code == -signal.SIGKILL
    assert Alert.objects.get().alerted_at is not None
    lease_is_over()
    with alerting("tests.alerts.functions.note"):
        ran = shell(*CHECK, **place.environment)
        again = shell(*CHECK, **place.environment)

    assert (ran.code, again.code) == (3, 3), ran
    assert len(place.notices) == received
    assert len({notice["id"] for notice in place.notices}) == 1
    assert AlertNotice.objects.get().sent_at is not None


def test_processes_that_check_at_the_same_time_tell_it_once(place):
    heartbeat()
    fail(5000)
    with alerting("tests.alerts.functions.note"):
        running = [start(*CHECK, **place.environment) for _ in range(3)]
        for process in running:
            _out, err = process.communicate(timeout=60)
            assert process.returncode == 3, err

    assert [notice["kind"] for notice in place.notices] == ["dead"]


def test_a_channel_that_hangs_delays_no_event(place):
    """The worker has begun to tell of a dead event; new events are delivered all the same."""
    fail(1)
    more = {"ALERTS": "tests.alerts.functions.hang"}
    with sandboxed(more=more), start("eventbridge_publish", "--loop", **place.environment) as process:
        try:
            until(lambda: place.notices, process)
            for _ in range(20):
                event()
            until(delivered(20), process)
            assert not place.gate.exists()
            place.gate.touch()
            until(lambda: AlertNotice.objects.filter(sent_at__isnull=False).exists(), process)
            process.terminate()
            _out, err = process.communicate(timeout=30)
        finally:
            place.gate.touch()
            process.kill()

    assert process.returncode == 0, err
    assert [notice["kind"] for notice in place.notices] == ["dead"]


def test_a_cluster_of_django_q2_tells_it_once(place):
    fail(3)
    wake.forget()
    with sandboxed(more={"ALERTS": "tests.alerts.functions.note"}):
        schedules.install()
        with cluster({**SCHEDULES_AT_ONCE, "workers": 3}, **place.environment) as process:
            for _ in range(5):
                event()
            until(delivered(5), process)
            until(lambda: AlertNotice.objects.filter(sent_at__isnull=False).exists(), process)

    assert [notice["kind"] for notice in place.notices] == ["dead"]
    assert OutboxEvent.objects.filter(state=State.DELIVERED).count() == 5
