"""kill -9, freezes and alarms at each named point of one publish: the event is delivered once."""

import signal

import pytest
from django.db import connection, transaction

from genesys_eventbridge import relay
from genesys_eventbridge.db.clock import shifted
from genesys_eventbridge.models import DeliveryAttempt, OutboxEvent
from genesys_eventbridge.outbox import enqueue
from genesys_eventbridge.states import State
from tests.chaos import crew
from tests.chaos.cuts import cut_connections
from tests.chaos.judge import judge
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

#: Later than any lease that was taken before; injected, nobody waits.
LATER = 9.0
#: Points between the claim and the commit of its outcome, and what the platform has by then.
POINTS = [("C", 0), ("D", 0), ("E", 1), ("F", 1), ("G", 1)]


@pytest.fixture
def row(start):
    with transaction.atomic():
        order = Order.objects.create(number="N-1")
        written = enqueue("order.created", {"n": 1}, subject=order.number)
    return OutboxEvent.objects.get(pk=written.pk)


def fresh(row):
    return OutboxEvent.objects.get(pk=row.pk)


def columns():
    return list(OutboxEvent.objects.order_by("id").values())


def another_worker(seconds=LATER):
    """Two passes and their checks, in this process, so many seconds later."""
    with shifted(seconds):
        report = relay.publish_due()
        relay.check_accepted()
    with shifted(seconds + 1):
        relay.check_accepted()
    return report


def accepts(sandbox):
    return sum(sandbox.ledger()["accepts"].values())


def publishes(sandbox):
    return [each for each in sandbox.ledger()["attempts"] if each["endpoint"] == "publish" and each["id"]]


def test_killed_before_the_commit_neither_the_order_nor_its_event_exists(start, sandbox):
    """Fault 1."""
    child = start(crew.one_commit, point="A")
    child.wait_at("A")
    child.kill()

    assert not Order.objects.exists()
    assert not OutboxEvent.objects.exists()
    another_worker()
    assert accepts(sandbox) == 0


def test_killed_after_the_commit_the_event_is_published_without_any_message(start, sandbox):
    """Fault 2."""
    child = start(crew.one_commit, point="B")
    child.wait_at("B")
    child.kill()

    another_worker(0.0)

    assert OutboxEvent.objects.get().state == State.DELIVERED
    assert not judge(sandbox.ledger())


@pytest.mark.parametrize(("point", "at_the_platform"), POINTS)
def test_killed_between_claim_and_commit_the_event_moves_again_after_its_lease(
    point, at_the_platform, start, sandbox, row
):
    """Faults 3 to 7: the same key and bytes, one acceptance, and no half-written state."""
    child = start(crew.one_pass, point=point)
    child.wait_at(point)
    child.kill()

    left = fresh(row)
    assert (left.state, left.attempts) == (State.PENDING, 1)
    assert left.claim_token is not None
    assert left.in_doubt_since is not None
    assert not DeliveryAttempt.objects.exists()
    assert accepts(sandbox) == at_the_platform
    assert another_worker(0.0).claimed == 0, "the lease holds"

    another_worker()

    done = fresh(row)
    assert (done.state, done.attempts, done.in_doubt_since) == (State.DELIVERED, 2, None)
    assert not judge(sandbox.ledger())


def test_killed_after_the_commit_of_the_outcome_a_second_run_finds_nothing_to_do(start, sandbox, row):
    """Fault 8."""
    child = start(crew.one_pass, point="H")
    child.wait_at("H")
    child.kill()
    assert fresh(row).state == State.DELIVERED

    assert another_worker().claimed == 0
    assert len(publishes(sandbox)) == 1
    assert not judge(sandbox.ledger())


def test_frozen_before_it_sends_a_worker_sends_nothing_any_more(start, sandbox, row):
    """Fault 10: SIGSTOP outlasts the lease, another worker publishes meanwhile; no request overlaps."""
    child = start(crew.one_pass, point="C")
    child.wait_at("C")
    child.signal(signal.SIGSTOP)
    another_worker()
    before = columns()

    child.go_on(later=LATER)
    child.signal(signal.SIGCONT)

    assert child.hear() == ("done", {"lost": 1, "released": 0, "claimed": 1})
    assert columns() == before
    assert len(publishes(sandbox)) == 1
    assert not judge(sandbox.ledger())


@pytest.mark.parametrize("point", ["E", "F", "G"])
def test_frozen_with_the_answer_a_worker_writes_nothing_over_its_successor(point, start, sandbox, row):
    """Fault 11: the stale write is refused by its token; at G its transaction comes too late instead."""
    # The pass outlasts LATER: one that is over may end before its sender hands over the answer read at E.
    child = start(crew.one_pass, point=point, max_seconds=4 * LATER)
    child.wait_at(point)
    child.signal(signal.SIGSTOP)
    if point == "G":  # its transaction holds the row: nobody can take it over, and its own write is right
        child.go_on(later=LATER)
        child.signal(signal.SIGCONT)
        assert child.hear()[1]["lost"] == 0
        another_worker()
    else:
        another_worker()
        before = columns()
        child.go_on(later=LATER)
        child.signal(signal.SIGCONT)
        assert child.hear()[1]["lost"] == 1
        assert columns() == before

    assert fresh(row).state == State.DELIVERED
    assert not judge(sandbox.ledger())


@pytest.mark.parametrize("point", ["C", "W", "F", "G", "H"])
def test_a_task_timeout_at_any_point_ends_the_task_and_the_event_moves_again(point, start, sandbox, row):
    """Fault 12: django-q2 raises a SystemExit from SIGALRM; nothing swallows it or guesses an outcome."""
    child = start(crew.one_pass, point=point, alarm=True)

    assert child.join() == 1
    left = fresh(row)
    if point == "H":
        assert left.state == State.DELIVERED
    else:
        assert (left.state, left.attempts) == (State.PENDING, 1)
        assert left.claim_token is not None
        assert not DeliveryAttempt.objects.exists()

    another_worker()

    assert fresh(row).state == State.DELIVERED
    assert not judge(sandbox.ledger())


@pytest.mark.parametrize("point", ["C", "F"])
def test_told_to_stop_a_worker_finishes_or_releases_what_it_holds(point, start, sandbox, row):
    """Fault 9: SIGTERM to the process that serves."""
    child = start(crew.loop, point=point)
    child.wait_at(point)
    child.signal(signal.SIGTERM)
    child.go_on()

    assert child.join() == 0
    left = fresh(row)
    assert left.claim_token is None
    released = point == "C" and (left.state, left.attempts) == (State.PENDING, 0)
    assert released or (left.state, left.attempts) == (State.DELIVERED, 1)

    another_worker()

    assert fresh(row).state == State.DELIVERED
    assert not judge(sandbox.ledger())


def test_two_runs_of_one_task_at_once_send_each_event_once(start, sandbox):
    """Fault 13: a broker that delivers a task twice."""
    with transaction.atomic():
        for number in range(30):
            order = Order.objects.create(number=f"N-{number}")
            enqueue("order.created", {"n": number}, subject=order.number, ordering_key=f"k-{number % 3}")
    # Long enough for a busy machine: each ordering key takes ten claims in a row.
    children = [start(crew.one_pass, max_seconds=60) for _ in range(2)]

    claimed = [child.hear()[1]["claimed"] for child in children]

    assert sum(claimed) == 30
    another_worker()
    assert len(publishes(sandbox)) == 30
    assert not judge(sandbox.ledger())


def test_a_connection_cut_before_the_outcome_is_written_loses_no_outcome(start, sandbox, row):
    """Fault 22: the write is tried again on a new connection, with the same token, within the lease."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no connection to cut")
    child = start(crew.one_pass, point="F")
    child.wait_at("F")
    assert cut_connections() == 1
    child.go_on()

    assert child.hear() == ("done", {"lost": 0, "released": 0, "claimed": 1})
    assert fresh(row).attempts == 1
    another_worker()
    assert len(publishes(sandbox)) == 1
    assert not judge(sandbox.ledger())
