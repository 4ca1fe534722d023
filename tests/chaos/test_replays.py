"""kill -9 in the middle of a replay and of an erasure: each event is copied, or erased, exactly once."""

from collections import Counter

import pytest

from genesys_eventbridge import relay
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import EventAct, Job, JobItem, OutboxEvent
from genesys_eventbridge.operations import Actor, Order, Person, jobs, persons
from genesys_eventbridge.states import Act, JobState, State
from tests.chaos import crew
from tests.outbox_rows import ended, event

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = 30
ANA = Actor("admin", name="ana")


@pytest.fixture
def rows(start) -> list[OutboxEvent]:
    columns = ended(State.DELIVERED, finished_at=DatabaseNow(), accepted_at=DatabaseNow())
    return [
        event("order.created", {"n": n}, subject="zoe", ordering_key=f"k{n % 3}", row=columns)
        for n in range(EVENTS)
    ]


def killed_in(start, batch) -> None:
    child = start(crew.work_off_jobs, point="uncommitted", size=5, batch=batch)
    child.wait_at("uncommitted")
    child.kill()


@pytest.mark.parametrize("batch", [1, 4, 6])
def test_a_killed_replay_is_continued_and_the_platform_gets_each_event_once_more(start, sandbox, rows, batch):
    job = jobs.freeze(Order(Act.REPLAY, ANA, "lost"), OutboxEvent.objects.all())
    killed_in(start, batch)
    assert OutboxEvent.objects.filter(origin__isnull=False).count() == 5 * (batch - 1)
    relay.publish_due()

    with shifted(jobs.LEASE + 1):
        assert jobs.work() == 1
        relay.publish_due()

    copies = OutboxEvent.objects.filter(origin__isnull=False).order_by("id")
    assert [copy.origin_id for copy in copies] == [row.pk for row in rows]
    assert set(sandbox.ledger()["accepts"].values()) == {1}
    assert [Counter(each["data"]["n"] for each in sandbox.received)[n] for n in range(EVENTS)] == [1] * EVENTS
    assert (Job.objects.get(pk=job.pk).state, EventAct.objects.count()) == (JobState.FINISHED, EVENTS)
    for key in range(3):  # in the order of the originals
        numbers = [each["data"]["n"] for each in sandbox.received if each["data"]["n"] % 3 == key]
        assert numbers == sorted(numbers)


def test_a_replay_that_was_stopped_after_its_worker_was_killed_is_withdrawn_once(start, sandbox, rows):
    job = jobs.freeze(Order(Act.REPLAY, ANA, "lost"), OutboxEvent.objects.all())
    killed_in(start, 4)
    assert jobs.cancel(job.pk, ANA)
    killed_in(start, 2)  # in the middle of the withdrawal

    with shifted(jobs.LEASE + 1):
        jobs.work()

    copies = OutboxEvent.objects.filter(origin__isnull=False)
    assert (copies.count(), set(copies.values_list("state", flat=True))) == (15, {State.CANCELLED})
    assert EventAct.objects.filter(act=Act.CANCEL).count() == 15
    relay.publish_due()
    assert not sandbox.received


@pytest.mark.parametrize("batch", [1, 4, 6])
def test_a_killed_erasure_is_continued_and_erases_each_event_once(start, sandbox, rows, batch):
    other = event("order.created", {"n": 0}, subject="zoey")
    job = persons.freeze(Person(subject="zoe"), ANA, "request 17")
    killed_in(start, batch)
    assert OutboxEvent.objects.filter(body="").count() == 5 * (batch - 1)

    with shifted(jobs.LEASE + 1):
        assert jobs.work() == 1

    erased = OutboxEvent.objects.filter(body="", subject="", ordering_key="")
    assert set(erased.values_list("pk", flat=True)) == {row.pk for row in rows}
    assert OutboxEvent.objects.get(pk=other.pk).body == other.body
    assert Counter(EventAct.objects.values_list("event_id", flat=True)) == {row.pk: 1 for row in rows}
    assert (Job.objects.get(pk=job.pk).done, JobItem.objects.exclude(outcome="done").count()) == (EVENTS, 0)
