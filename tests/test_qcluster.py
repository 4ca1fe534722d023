"""A real ``qcluster`` does the whole job: woken by commits, or by the schedules alone, on each broker."""

import json
import os
import signal
import subprocess
import threading
import time
import uuid
from contextlib import contextmanager, suppress

import pytest
from django.db import connection, connections, transaction
from django_q.models import OrmQ, Schedule, Task
from django_q.tasks import async_task

from genesys_eventbridge import schedules, wake
from genesys_eventbridge.models import DeliveryAttempt, Destination, OutboxEvent
from genesys_eventbridge.outbox import enqueue, enqueue_many
from genesys_eventbridge.outbox.due import due_events
from genesys_eventbridge.states import State
from tests.outbox_rows import event, fresh
from tests.prompt import run, sandboxed, shell, start

pytestmark = pytest.mark.django_db(transaction=True)

#: django-q2 looks at its schedules when the guard's cycles make 30 s: at once, with one cycle that long.
SCHEDULES_AT_ONCE = {"guard_cycle": 30}
#: Events that two hosts share; `python -m benchmarks.clusters` takes 20,000.
BACKLOG = 600


@pytest.fixture(autouse=True)
def _fresh_wake():
    wake.forget()
    yield
    wake.forget()


@contextmanager
def cluster(more=None, **environment):
    """A cluster while the block lasts, told to stop at its end; no child of it outlives the block."""
    environment["Q_CLUSTER_MORE"] = json.dumps(more or {})
    with start("qcluster", **environment) as process:
        try:
            yield process
            if "guard_cycle" not in (more or {}):  # django-q2 1.8 hears of a stop after such a cycle
                process.terminate()
                process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            pytest.fail("the cluster did not stop")
        finally:
            connections.close_all()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def until(condition, process=None):
    """Until it is so; a cluster that ended first, or a minute, fails the test."""
    ends = time.monotonic() + 60
    while not condition():
        if (process and process.poll() is not None) or time.monotonic() > ends:
            pytest.fail("waited in vain")
        threading.Event().wait(0.05)


def delivered(count):
    return lambda: OutboxEvent.objects.filter(state=State.DELIVERED).count() == count


def test_a_commit_wakes_a_worker_and_a_burst_leaves_nothing_behind():
    more = {"CHECK_DELAYS": [0.2], "WAKE": "django_q"}
    with sandboxed(deliver_after=0.1, more=more) as sandbox, cluster() as process:
        for number in range(30):
            with transaction.atomic():
                enqueue("order.created", {"number": number})

        until(delivered(30), process)

        assert len(sandbox.received) == 30
        assert not OrmQ.objects.exists() or OrmQ.objects.count() < 5
        assert Task.objects.count() == 0


def test_a_commit_wakes_a_worker_once_the_first_scheduled_task_has_run():
    """WAKE "auto": before that nobody is known to read a wake, and the queue stays empty."""
    with sandboxed():
        event()
        assert not OrmQ.objects.exists()
        schedules.install()
        with cluster(SCHEDULES_AT_ONCE) as process:
            until(delivered(1), process)
            Schedule.objects.all().delete()
            wake.forget()
            with transaction.atomic():
                enqueue("order.created", {})

            until(delivered(2), process)


def test_the_schedules_alone_do_it_too():
    """Every wake is lost, and every message with it."""
    with sandboxed(more={"WAKE": None}):
        schedules.install()
        event()
        with cluster(SCHEDULES_AT_ONCE) as process:
            until(delivered(1), process)
            until(lambda: Task.objects.filter(group__startswith="eventbridge:").count() == 4, process)

        assert set(Task.objects.values_list("success", flat=True)) == {True}
        assert {type(task.result) for task in Task.objects.all()} == {int}
        assert Destination.objects.get().heartbeat_at is not None


def test_each_destination_gets_its_own_task_from_the_schedule():
    with sandboxed(more={"WAKE": None}, aliases=("default", "emea")):
        schedules.install()
        event()
        event(destination="emea")
        with cluster(SCHEDULES_AT_ONCE) as process:
            until(delivered(2), process)


def test_messages_that_cannot_be_read_any_more_cost_nothing():
    """T23: after a rotation of SECRET_KEY; fault 16: of a release that had other tasks."""
    with sandboxed(more={"WAKE": None}):
        OrmQ.objects.create(key="tests", payload="signed-with-the-old-key", lock="2001-01-01T00:00Z")
        async_task("genesys_eventbridge.tasks.of_an_old_release", "default", ack_failure=True, save=False)
        async_task("genesys_eventbridge.tasks.publish", "a-destination-that-is-gone", save=False)
        async_task("genesys_eventbridge.tasks.publish", "default", save=False)
        event()
        with cluster() as process:
            until(delivered(1), process)
            until(lambda: not OrmQ.objects.exists(), process)


def test_a_cluster_that_is_killed_loses_nothing():
    """Fault 3: what it held is taken over when the lease ends, which is short here; one acceptance."""
    short = {"LEASE_SECONDS": 8, "REQUEST_DEADLINE": 2, "PASS_SECONDS": 6, "CONNECT_TIMEOUT": 1}
    with sandboxed(latency=1.0, more={**short, "WAKE": "django_q"}) as sandbox:
        row = event()
        with cluster() as process:
            until(lambda: fresh(row).claim_token is not None, process)
            os.killpg(process.pid, signal.SIGKILL)
        sandbox.configure(latency=0)
        due = due_events("default", State.PENDING)
        until(due.exists)

        assert run("publish").code == 0

    assert fresh(row).state == State.DELIVERED
    assert len(sandbox.received) == 1


def hosts_at_work():
    """The clusters whose workers have written attempts, by process group."""
    workers = DeliveryAttempt.objects.values_list("worker", flat=True).distinct()
    return {os.getpgid(int(worker.rpartition(":")[2])) for worker in workers}


def flush(name):
    """What FLUSHALL does to one cluster's queue."""
    import redis

    with redis.Redis.from_url(os.environ["TEST_REDIS_URL"]) as server:
        server.delete(f"django_q:{name}:q")


@pytest.mark.redis
class TestRedis:
    @pytest.fixture
    def redis(self):
        """A queue of its own: several runs may share a server."""
        name = f"tests-{uuid.uuid4()}"
        yield {"EVENTBRIDGE_TEST_BROKER": "redis"}, {"name": name}
        flush(name)

    def test_a_commit_wakes_a_worker(self, redis):
        environment, more = redis
        demanded = {"WAKE": "django_q"}
        with sandboxed(more=demanded) as sandbox, cluster(more, **environment) as process:
            for _ in range(3):
                ran = shell(
                    "eventbridge_enqueue",
                    *("order.created", "--data", "{}"),
                    Q_CLUSTER_MORE=json.dumps(more),
                    **environment,
                )
                assert ran.code == 0, ran
            until(delivered(3), process)

            assert len(sandbox.received) == 3

    def test_two_hosts_drain_one_backlog_though_one_is_killed_and_the_queue_is_lost(self, redis):
        """Faults 3 and 15 at once: the ledger has each event once, with the bytes that were enqueued."""
        if connection.vendor == "sqlite":
            pytest.skip("SQLite is for one machine: its backlog is one pass")
        environment, more = redis
        several = {"BATCH_SIZE": 20, "CONCURRENCY": 4, "WAKE": "django_q"}
        lease = {"LEASE_SECONDS": 8, "REQUEST_DEADLINE": 2, "CONNECT_TIMEOUT": 1}
        with sandboxed(latency=0.5, more={**several, **lease}) as sandbox:
            schedules.install()
            enqueue_many([{"type": "order.created", "data": n} for n in range(BACKLOG)], standalone=True)
            hosts = {**more, **SCHEDULES_AT_ONCE, "workers": 2, "queue_limit": 1}
            commits = 0

            def commit():
                nonlocal commits
                commits += 1
                woken = shell(
                    *("eventbridge_enqueue", "order.created", "--data", "{}"),
                    Q_CLUSTER_MORE=json.dumps(more),
                    **environment,
                )
                assert woken.code == 0, woken

            with cluster(hosts, **environment) as killed, cluster(hosts, **environment) as survivor:
                while hosts_at_work() != {killed.pid, survivor.pid}:
                    # The host that started first may have fetched all there was; it cannot hold many.
                    assert commits < 20, "only one host works"
                    commit()
                sandbox.configure(latency=0)
                until(lambda: len(sandbox.received) >= BACKLOG // 2, survivor)
                os.killpg(killed.pid, signal.SIGKILL)
                flush(more["name"])
                until(lambda: OutboxEvent.objects.in_flight().count() == 0, survivor)
                commit()
                until(delivered(BACKLOG + commits), survivor)

            ledger = sandbox.ledger()
        assert len(ledger["accepts"]) == BACKLOG + commits
        assert set(ledger["accepts"].values()) == {1}
        assert (ledger["drift"], ledger["overlaps"]) == ([], [])
        assert set(OutboxEvent.objects.values_list("attempts", flat=True)) <= {1, 2}

    def test_after_a_flush_of_the_queue_the_schedules_go_on(self, redis):
        """Fault 15: the row is the truth; no message is needed."""
        environment, more = redis
        with sandboxed(more={"WAKE": None}):
            schedules.install()
            for _ in range(20):
                event()
            with cluster({**more, **SCHEDULES_AT_ONCE}, **environment) as process:
                until(delivered(20), process)
