"""The platform and the database go away in the middle of the work and come back: nothing is lost."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest
from django.db import connection, transaction

from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import enqueue
from genesys_eventbridge.sandbox import serve
from genesys_eventbridge.states import State
from tests import databases
from tests.chaos import crew
from tests.chaos.cuts import cut_connections
from tests.chaos.judge import judge
from tests.chaos.postgres import programs
from tests.chaos.processes import PATIENCE, until
from tests.chaos.storm import Storm
from tests.sandbox.callers import Caller
from tests.shop.models import Order

EVENTS = 60


def backlog():
    with transaction.atomic():
        for number in range(EVENTS):
            order = Order.objects.create(number=f"N-{number}")
            enqueue("order.created", {"n": number}, subject=order.number, ordering_key=f"k-{number % 7}")


def has_accepted(sandbox, count):
    return len(sandbox.received) >= count


def all_delivered():
    return not OutboxEvent.objects.exclude(state=State.DELIVERED).exists()


@pytest.mark.django_db(transaction=True)
def test_a_platform_that_restarts_in_the_middle_gets_every_event_once(start, sandbox, server):
    """Faults 46 to 49: connections are dropped under requests, and refused while it is away."""
    sandbox.configure(latency=0.02)
    backlog()
    start(crew.loop)
    until(partial(has_accepted, sandbox, EVENTS // 4), "the first quarter")
    server.close()
    seen = len(sandbox.received)
    with serve(sandbox, port=server.port):
        until(all_delivered, "every event is delivered")

    assert seen < EVENTS
    assert not judge(sandbox.ledger())


def test_a_platform_that_restarts_in_a_storm_ends_slow_requests():
    """Their next try must not seem to overlap with them."""
    storm = Storm(seed=1, workers=0, commits=1, seconds=1.0)
    caller = Caller(None, storm.server.url).login()
    storm.sandbox.configure(scenario="slow", slow_latency=2 * PATIENCE)

    def attempts():
        return [each for each in storm.sandbox.ledger()["attempts"] if each["endpoint"] == "publish"]

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(caller.publish, {"id": "1"})
        until(attempts, "the request arrives")
        storm._restart_platform()
        with pytest.raises(httpx.HTTPError):
            answer.result(PATIENCE)
        until(lambda: attempts()[0]["ended"], "the request ends")
    caller.http.close()
    storm.server.close()


@pytest.mark.django_db(transaction=True)
def test_workers_whose_connections_are_cut_go_on_with_new_ones(start, sandbox):
    """Faults 21 to 23: with two workers at once; neither ends, and nothing is sent twice."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no connection to cut")
    sandbox.configure(latency=0.02)
    backlog()
    workers = [start(crew.loop) for _ in range(2)]
    for part in (5, 3, 2):
        until(partial(has_accepted, sandbox, EVENTS // part), "some more events")
        # For a moment after the last cut, or between two passes, a worker may have none.
        until(cut_connections, "a connection to cut")
    until(all_delivered, "every event is delivered")

    assert all(worker.process.is_alive() for worker in workers)
    assert not judge(sandbox.ledger())


@pytest.mark.chaos
@pytest.mark.skipif(
    os.environ.get(databases.CHOICE) != "postgresql" or programs() is None,
    reason="restarts a PostgreSQL server of its own",
)
def test_a_database_that_restarts_in_the_middle_of_a_storm_loses_nothing(capsys):
    """Fault 21, with committers, workers and the judge as in every storm."""
    command = [sys.executable, "-m", "tests.chaos", "--private-postgresql", "--seed=7", "--seconds=15"]
    run = subprocess.run(
        [*command, "--commits=250"],
        cwd=Path(__file__).parents[2],
        env={name: value for name, value in os.environ.items() if name != databases.NAME},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    with capsys.disabled():
        sys.stdout.write(f"\n{run.stdout}")
    assert run.returncode == 0, run.stdout + run.stderr
