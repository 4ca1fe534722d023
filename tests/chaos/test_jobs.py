"""kill -9 in the middle of a job: another worker continues it, and each event is acted on exactly once."""

from collections import Counter

import pytest

from genesys_eventbridge import relay
from genesys_eventbridge.db.clock import shifted
from genesys_eventbridge.models import EventAct, Job, JobItem, OutboxEvent
from genesys_eventbridge.operations import Actor, Order, jobs
from genesys_eventbridge.states import Act, JobState, Reason, State
from tests.chaos import crew
from tests.chaos.judge import judge
from tests.outbox_rows import ended, event

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = 30


@pytest.fixture
def job(start) -> Job:
    for _ in range(EVENTS):
        event(row=ended(State.DEAD, Reason.REJECTED))
    order = Order(Act.REQUEUE, Actor("admin", name="ana"), "fixed")
    return jobs.freeze(order, OutboxEvent.objects.filter(state=State.DEAD))


def acted() -> Counter[int | None]:
    return Counter(EventAct.objects.values_list("event_id", flat=True))


@pytest.mark.parametrize("batch", [1, 3, 6])
def test_a_killed_worker_is_followed_and_each_event_is_acted_on_once(start, sandbox, job, batch):
    child = start(crew.work_off_jobs, point="uncommitted", size=5, batch=batch)
    child.wait_at("uncommitted")
    child.kill()

    committed = 5 * (batch - 1)
    assert sum(acted().values()) == committed
    assert jobs.work() == 0, "the lease holds"
    # What was requeued dies again meanwhile: it is not this job's concern any more.
    OutboxEvent.objects.filter(state=State.PENDING).update(**ended(State.DEAD, Reason.EXHAUSTED))

    with shifted(jobs.LEASE + 1):
        assert jobs.work() == 1

    assert acted() == Counter(OutboxEvent.objects.values_list("pk", flat=True))
    assert set(acted().values()) == {1}
    assert OutboxEvent.objects.filter(state=State.DEAD).count() == committed
    now = Job.objects.get(pk=job.pk)
    assert (now.state, now.done, now.skipped) == (JobState.FINISHED, EVENTS, 0)
    assert not JobItem.objects.exclude(outcome="done").exists()


def test_of_two_workers_at_once_one_has_the_job(start, sandbox, job):
    first = start(crew.work_off_jobs, point="uncommitted", size=5, batch=2)
    first.wait_at("uncommitted")
    second = start(crew.work_off_jobs, size=5, batch=0)
    assert second.hear() == ("done", 0)
    first.go_on()
    assert first.hear() == ("done", 1)

    assert set(acted().values()) == {1}
    assert len(acted()) == EVENTS


def test_a_frozen_worker_that_wakes_after_its_lease_writes_nothing(start, sandbox, job):
    """Its batch is open while another worker would continue; it has the rows locked, so it commits first."""
    frozen = start(crew.work_off_jobs, point="uncommitted", size=5, batch=2)
    frozen.wait_at("uncommitted")
    frozen.go_on(later=jobs.LEASE + 1)
    assert frozen.hear() == ("done", 1)

    with shifted(2 * jobs.LEASE):
        jobs.work()
    assert set(acted().values()) == {1}
    assert len(acted()) == EVENTS


def test_requeued_by_a_job_that_was_killed_each_event_arrives_once(start, sandbox, job):
    child = start(crew.work_off_jobs, point="uncommitted", size=5, batch=4)
    child.wait_at("uncommitted")
    child.kill()
    relay.publish_due()

    with shifted(jobs.LEASE + 1):
        jobs.work()
        relay.publish_due()
        relay.check_accepted()
    with shifted(jobs.LEASE + 10):
        relay.check_accepted()

    found = judge(sandbox.ledger())
    assert [found.lost, found.doubled, found.drifted, found.misordered] == [[], [], [], []]
    assert set(OutboxEvent.objects.values_list("state", flat=True)) == {State.DELIVERED}
    assert len(sandbox.received) == EVENTS
