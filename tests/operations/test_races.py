"""Two people, or a person and a worker, at the same moment: one wins each row, and nobody fails."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from genesys_eventbridge.models import EventAct, OutboxEvent
from genesys_eventbridge.operations import Actor, cancel, requeue
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import claim, ended, event, skipped

pytestmark = pytest.mark.django_db(transaction=True)


def together(*works):
    """Run each in a thread of its own, all at once; returns what they returned, raises what they raised."""
    start = threading.Barrier(len(works))

    def run(work):
        try:
            start.wait(10)
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(run, works))


def test_of_two_operators_one_wins_each_row():
    ids = [event(row=ended(State.DEAD, Reason.REJECTED)).pk for _ in range(20)]

    first, second = together(
        lambda: requeue(ids, Actor("admin", name="ana")),
        lambda: requeue(list(reversed(ids)), Actor("admin", name="ben")),
    )

    assert sorted(first.ids + second.ids) == ids
    assert EventAct.objects.count() == len(ids)
    assert OutboxEvent.objects.filter(state=State.PENDING).count() == len(ids)


def test_requeue_against_cancel_each_row_goes_one_way_or_the_other():
    """A requeued row can be cancelled after all; a cancelled one cannot be requeued."""
    ids = [event(row=ended(State.DEAD, Reason.REJECTED)).pk for _ in range(20)]

    requeued, cancelled = together(
        lambda: requeue(ids, Actor("admin", name="ana")),
        lambda: cancel(ids, Actor("admin", name="ben"), "withdrawn"),
    )

    assert cancelled.ids == ids
    acts = Counter(
        (act.event_id, act.from_state) for act in EventAct.objects.filter(to_state=State.CANCELLED)
    )
    assert acts == Counter((pk, State.PENDING if pk in requeued.ids else State.DEAD) for pk in ids)
    assert not OutboxEvent.objects.exclude(state=State.CANCELLED).exists()


def test_what_a_worker_claims_at_the_same_moment_is_not_cancelled():
    ids = [event().pk for _ in range(20)]

    batch, cancelled = together(claim, lambda: cancel(ids, Actor("admin", name="ben"), "withdrawn"))

    claimed = {row.id for row in batch.rows}
    assert claimed.isdisjoint(cancelled.ids)
    assert skipped(cancelled).get("being sent right now", []) == sorted(set(ids) - set(cancelled.ids))
    assert set(OutboxEvent.objects.in_flight().values_list("pk", flat=True)) == claimed
