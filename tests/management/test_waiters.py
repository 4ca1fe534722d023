"""What ends the wait of an idle ``--loop``: a commit, on SQLite and PostgreSQL, or the interval."""

import threading
import uuid
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection, connections, transaction

from genesys_eventbridge import wake
from genesys_eventbridge.db import notifications
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.management import waiters
from genesys_eventbridge.management.waiters import FileWaiter, NotifiedWaiter, Waiter, Waiters
from genesys_eventbridge.models import Destination
from genesys_eventbridge.outbox import enqueue
from genesys_eventbridge.states import State
from tests.outbox_rows import fresh
from tests.prompt import sandboxed, start
from tests.test_qcluster import until

pytestmark = pytest.mark.django_db(transaction=True)

on_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite")
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(waiters, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


class Stop:
    """A stop event whose waits advance the clock; ``at`` maps the number of a wait to what then happens."""

    def __init__(self, clock: list[float]) -> None:
        self._clock = clock
        self.ticks = 0
        self.at: dict[int, Callable[[], object]] = {}
        self.stopped = False

    def wait(self, seconds: float) -> bool:
        self._clock[0] += seconds
        self.ticks += 1
        self.at.pop(self.ticks, lambda: None)()
        return self.stopped


def elsewhere(work: Callable[[], object]) -> None:
    """Do it on another connection, as another process does."""

    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def write() -> None:
    Destination.objects.create(alias=str(uuid.uuid4()))


@on_sqlite
class TestFileWaiter:
    @pytest.fixture
    def stop(self, clock: list[float]) -> Stop:
        return Stop(clock)

    @pytest.fixture
    def waiter(self, stop: Stop) -> FileWaiter:
        waiter = FileWaiter(stop)  # type: ignore[arg-type]
        waiter.begin()
        return waiter

    def test_a_commit_of_another_connection_ends_the_wait(self, waiter: FileWaiter, stop: Stop) -> None:
        stop.at[100] = lambda: elsewhere(write)

        waiter.wait(3600)

        assert stop.ticks == 100

    def test_a_commit_between_the_look_and_the_wait_is_not_missed(
        self, waiter: FileWaiter, stop: Stop, clock: list[float]
    ) -> None:
        clock[0] += 1  # the look
        elsewhere(write)

        waiter.wait(3600)

        assert stop.ticks == 1

    def test_a_rollback_and_the_workers_own_writes_do_not(self, waiter: FileWaiter, stop: Stop) -> None:
        def roll_back() -> None:
            with transaction.atomic():
                write()
                transaction.set_rollback(True)

        stop.at[50] = lambda: elsewhere(roll_back)
        stop.at[60] = write

        waiter.wait(1)

        assert stop.ticks == pytest.approx(1 / waiters.TICK, abs=1)

    def test_looks_keep_apart_while_others_write_all_the_time(self, waiter: FileWaiter, stop: Stop) -> None:
        elsewhere(write)

        waiter.wait(3600)

        assert stop.ticks == pytest.approx(waiters.LOOKS_APART / waiters.TICK, abs=1)

    def test_a_stop_ends_it(self, waiter: FileWaiter, stop: Stop) -> None:
        stop.at[7] = lambda: setattr(stop, "stopped", True)

        waiter.wait(3600)

        assert stop.ticks == 7

    def test_after_a_lost_connection_it_looks(self, waiter: FileWaiter, stop: Stop) -> None:
        connection.close()
        elsewhere(write)

        waiter.begin()
        stop.at[10] = lambda: elsewhere(write)
        waiter.wait(3600)

        assert stop.ticks == 10


class TestNotifiedWaiter:
    @pytest.fixture
    def listener(self) -> Any:
        return SimpleNamespace(hears_since=None, bell=lambda _topic: notifications.Bell())

    def test_it_polls_until_commits_have_learned_that_it_listens(
        self, listener: Any, clock: list[float]
    ) -> None:
        """A process looks every LOOK_SECONDS whether a worker listens; until then it notifies no one."""
        waiter = NotifiedWaiter(threading.Event(), 1, listener, "publish:default", 30)
        assert (waiter.hears, waiter.interval) == (False, 1)

        listener.hears_since = clock[0]
        assert (waiter.hears, waiter.interval) == (True, 1)
        clock[0] += wake.LOOK_SECONDS + 1
        assert waiter.interval == 1
        clock[0] += 5
        assert waiter.interval == 30

        listener.hears_since = None
        assert (waiter.hears, waiter.interval) == (False, 1)


class TestWaiters:
    @pytest.fixture
    def stop(self) -> Iterator[threading.Event]:
        stop = threading.Event()
        yield stop
        stop.set()

    @pytest.mark.parametrize("value", ["auto", "notify", "django_q", None])
    def test_each_destination_waits_as_its_wake_and_the_database_allow(
        self, value: str | None, stop: threading.Event
    ) -> None:
        with sandboxed(more={"WAKE": value}):
            found = Waiters(stop, ["default"])

            notified = connection.vendor == "postgresql" and value in ("auto", "notify")
            kind = NotifiedWaiter if notified else FileWaiter if connection.vendor == "sqlite" else Waiter
            assert type(found.of_destination("default")) is kind
            assert type(found.of_jobs()) is (NotifiedWaiter if notified else Waiter)


@on_postgresql
def test_a_killed_worker_is_replaced_and_commits_stop_to_notify_when_nothing_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[str] = []
    notify = notifications.notify

    def recorded(alias: str, topic: str) -> None:
        sent.append(topic)
        notify(alias, topic)

    monkeypatch.setattr(notifications, "notify", recorded)
    with sandboxed(more={"WAKE": "auto"}) as sandbox:
        heard = Destination.objects.filter(alias="default", heard_at__isnull=False)
        worker = start("eventbridge_publish", "--loop", "--interval", "3600")
        try:
            until(heard.exists, worker)
        finally:
            worker.kill()
            worker.communicate(timeout=60)
        wake.forget()
        with transaction.atomic():
            left = enqueue("order.created", 1)
        assert sent == ["publish:default"]  # the killed one may still live, for all a commit knows

        heard.update(heard_at=DatabaseNow(-wake.HEARS))
        wake.forget()
        with transaction.atomic():
            quiet = enqueue("order.created", 2)
        assert sent == ["publish:default"]

        worker = start("eventbridge_publish", "--loop", "--interval", "3600")
        try:
            until(lambda: {fresh(left).state, fresh(quiet).state} == {State.DELIVERED}, worker)
            until(heard.filter(heard_at__gt=DatabaseNow(-wake.HEARS)).exists, worker)
            wake.forget()
            with transaction.atomic():
                third = enqueue("order.created", 3)
            until(lambda: fresh(third).state == State.DELIVERED, worker)
        finally:
            worker.terminate()
            worker.communicate(timeout=60)
            wake.forget()

    assert worker.returncode == 0
    assert [each.endpoint for each in sandbox.requests].count("publish") == 3
    sent_ids = [one["id"] for one in sandbox.received]
    assert sorted(sent_ids) == sorted(row.event_id for row in (left, quiet, third))


@pytest.mark.skipif(connection.vendor == "mysql", reason="MySQL and MariaDB notify no one")
@pytest.mark.parametrize("value", ["auto", "notify"])
def test_a_commit_reaches_a_real_worker_that_looks_once_an_hour(value: str) -> None:
    if value == "notify" and connection.vendor == "sqlite":
        pytest.skip("about PostgreSQL")
    with sandboxed(more={"WAKE": value}):
        process = start("eventbridge_publish", "--loop", "--interval", "3600")
        try:
            wake.forget()
            row = Destination.objects.filter(alias="default", heartbeat_at__isnull=False)
            if connection.vendor == "postgresql":
                row = row.filter(heard_at__isnull=False)
            until(row.exists, process)
            with transaction.atomic():
                first = enqueue("order.created", 1)
            until(lambda: fresh(first).state == State.DELIVERED, process)
            with transaction.atomic():
                second = enqueue("order.created", 2)
            until(lambda: fresh(second).state == State.DELIVERED, process)
        finally:
            process.terminate()
            process.communicate(timeout=60)
            wake.forget()

    assert process.returncode == 0
