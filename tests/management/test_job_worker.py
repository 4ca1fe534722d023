"""The thread that works on jobs of operators beside a ``--loop``."""

import threading

import pytest
from django.db import OperationalError

from genesys_eventbridge.management.job_worker import JobWorker
from genesys_eventbridge.management.waiters import Waiter
from genesys_eventbridge.operations import jobs

pytestmark = pytest.mark.django_db(transaction=True)


class NoWait(Waiter):
    def wait(self, seconds: float) -> None:
        """As if that time had passed."""


def test_a_lost_database_is_said_with_the_time_of_the_next_try_and_waited_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop, passes = threading.Event(), []

    def work(*, stop: threading.Event) -> None:
        passes.append(1)
        if len(passes) == 1:
            raise OperationalError("canary")
        stop.set()

    monkeypatch.setattr(jobs, "work", work)
    worker = JobWorker(stop, NoWait(stop, 5.0))

    worker.run()

    assert len(passes) == 2
    assert [record.message for record in caplog.records] == [
        "Jobs of operators: a pass stopped (OperationalError); trying again in 5 s"
    ]
