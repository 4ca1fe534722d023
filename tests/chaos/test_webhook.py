"""kill -9, freezes and signals at each point of one publish by the webhook, which honours no key.

With ON_DOUBT "ask" nothing is sent again and an operator is asked; with "resend" it is, and marked.
"""

import signal

import pytest
from django.db import transaction

from genesys_eventbridge import relay
from genesys_eventbridge.db.clock import shifted
from genesys_eventbridge.models import DeliveryAttempt, OutboxEvent
from genesys_eventbridge.outbox import enqueue
from genesys_eventbridge.states import State
from tests.chaos import crew
from tests.chaos.judge import judge, never_requested
from tests.chaos.processes import until, webhook
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

#: Later than any lease that was taken before; injected, nobody waits.
LATER = 9.0
#: Points between the claim and the commit of its outcome, and what the platform has by then.
POINTS = [("C", 0), ("D", 0), ("E", 1), ("F", 1), ("G", 1)]
ASKED = (State.UNRESOLVED, "outcome_unknown")
SENT = (State.DELIVERED, "")


@pytest.fixture(params=["ask", "resend"])
def on_doubt(request):
    return request.param


@pytest.fixture
def target(server, on_doubt):
    return webhook(server.url, on_doubt)


@pytest.fixture
def row(start):
    return backlog(1)[0]


def backlog(count):
    with transaction.atomic():
        orders = [Order.objects.create(number=f"N-{number}") for number in range(count)]
        return [enqueue("order.created", {"n": order.number}, subject=order.number) for order in orders]


def ended(row):
    return OutboxEvent.objects.values_list("state", "reason").get(pk=row.pk)


def another_worker(seconds=LATER):
    with shifted(seconds):
        return relay.publish_due()


def accepts(sandbox):
    return sum(sandbox.ledger()["accepts"].values())


def publishes(sandbox):
    return [each for each in sandbox.ledger()["attempts"] if each["endpoint"] == "webhook" and each["id"]]


def log():
    return list(DeliveryAttempt.objects.order_by("id").values_list("verdict", "may_duplicate"))


@pytest.mark.parametrize(("point", "at_the_platform"), POINTS)
def test_killed_between_claim_and_commit_an_event_is_asked_about_or_sent_again_and_marked(
    point, at_the_platform, start, sandbox, on_doubt
):
    """Faults 3 to 7. "May have been sent" is durable from the claim on, so C and D count as well."""
    (row,) = backlog(1)
    child = start(crew.one_pass, point=point)
    child.wait_at(point)
    child.kill()
    assert accepts(sandbox) == at_the_platform
    requests = len(publishes(sandbox))
    assert another_worker(0.0).states == {}, "the lease holds"

    another_worker()
    another_worker(2 * LATER)

    if on_doubt == "ask":
        assert ended(row) == ASKED
        assert (accepts(sandbox), len(publishes(sandbox)), log()) == (at_the_platform, requests, [])
        assert len(never_requested(sandbox.ledger())) == 1 - at_the_platform
    else:
        assert ended(row) == SENT
        assert (accepts(sandbox), len(publishes(sandbox))) == (at_the_platform + 1, requests + 1)
        assert log() == [("accepted", True)]
    assert not judge(sandbox.ledger(), on_doubt=on_doubt)


def test_killed_after_the_commit_of_the_outcome_nothing_is_left_to_do(start, sandbox, row, on_doubt):
    """Fault 8."""
    child = start(crew.one_pass, point="H")
    child.wait_at("H")
    child.kill()

    assert another_worker().claimed == 0
    assert (ended(row), len(publishes(sandbox)), log()) == (SENT, 1, [("accepted", None)])
    assert not judge(sandbox.ledger(), on_doubt=on_doubt)


@pytest.mark.parametrize("point", ["C", "W"])
def test_a_killed_worker_leaves_no_more_doubts_than_it_has_senders(point, start, sandbox, on_doubt):
    """Of 30 due events; those not begun are published by the next worker, without a mark."""
    rows = backlog(30)
    child = start(crew.one_pass, point=point)
    child.wait_at(point)
    child.kill()
    held = OutboxEvent.objects.filter(claim_token__isnull=False).count()
    assert 1 <= held <= 4

    another_worker()
    another_worker(2 * LATER)

    marked = sum(bool(mark) for _verdict, mark in log())
    if on_doubt == "ask":
        unresolved = OutboxEvent.objects.filter(state=State.UNRESOLVED).count()
        assert (unresolved, marked) == (held, 0)
    else:
        assert (OutboxEvent.objects.filter(state=State.DELIVERED).count(), marked) == (len(rows), held)
    assert not judge(sandbox.ledger(), on_doubt=on_doubt)


def test_frozen_before_it_sends_a_worker_sends_nothing_any_more(start, sandbox, row, on_doubt):
    """Fault 10: the lease lapses, and another worker decides."""
    child = start(crew.one_pass, point="C")
    child.wait_at("C")
    child.signal(signal.SIGSTOP)
    another_worker()
    before = ended(row)

    child.go_on(later=LATER)
    child.signal(signal.SIGCONT)

    assert child.hear() == ("done", {"lost": 1, "released": 0, "claimed": 1})
    assert ended(row) == before == (ASKED if on_doubt == "ask" else SENT)
    assert accepts(sandbox) == len(publishes(sandbox)) == (on_doubt == "resend")
    assert not judge(sandbox.ledger(), on_doubt=on_doubt)


@pytest.mark.parametrize("point", ["E", "F"])
def test_frozen_with_the_answer_a_worker_still_brings_the_proof(point, start, sandbox, row, on_doubt):
    """Fault 11: with "ask" its late answer ends the question; with "resend" another worker has sent again."""
    child = start(crew.one_pass, point=point, max_seconds=4 * LATER)
    child.wait_at(point)
    child.signal(signal.SIGSTOP)
    another_worker()
    assert ended(row) == (ASKED if on_doubt == "ask" else SENT)

    child.go_on(later=LATER)
    child.signal(signal.SIGCONT)

    assert child.hear()[1]["lost"] == 1
    assert ended(row) == SENT
    assert accepts(sandbox) == len(publishes(sandbox)) == (1 if on_doubt == "ask" else 2)
    assert log() == ([] if on_doubt == "ask" else [("accepted", True)])
    assert not judge(sandbox.ledger(), on_doubt=on_doubt)


@pytest.mark.parametrize("point", ["C", "F"])
def test_told_to_stop_a_worker_leaves_no_doubt(point, start, sandbox, row, on_doubt):
    """Fault 9: SIGTERM; what was not begun is given back without a doubt, what was is finished."""
    child = start(crew.loop, point=point)
    child.wait_at(point)
    child.signal(signal.SIGTERM)
    child.go_on()

    assert child.join() == 0
    another_worker()

    assert (ended(row), len(publishes(sandbox)), log()) == (SENT, 1, [("accepted", None)])
    assert not judge(sandbox.ledger(), on_doubt=on_doubt)


def test_two_workers_at_once_send_each_event_once(start, sandbox, on_doubt):
    """Fault 13."""
    backlog(30)
    children = [start(crew.one_pass) for _ in range(2)]

    assert sum(child.hear()[1]["claimed"] for child in children) == 30
    another_worker()

    assert len(publishes(sandbox)) == 30
    assert set(log()) == {("accepted", None)}
    assert not judge(sandbox.ledger(), on_doubt=on_doubt)


def test_of_two_workers_one_is_killed_and_the_other_goes_on(start, sandbox, on_doubt):
    """At most one event per sender is in doubt, and no other is touched."""
    sandbox.configure(latency=0.05)
    backlog(60)
    workers = [start(crew.loop) for _ in range(2)]
    until(lambda: len(sandbox.received) >= 15, "the first quarter")
    workers[0].kill()
    waiting = OutboxEvent.objects.filter(state=State.PENDING, claim_token__isnull=True)
    until(lambda: not waiting.exists(), "nothing waits but what the killed worker held")
    workers[1].signal(signal.SIGTERM)
    assert workers[1].join() == 0
    another_worker()
    another_worker(2 * LATER)

    assert not OutboxEvent.objects.filter(state=State.PENDING).exists()
    doubts = OutboxEvent.objects.filter(state=State.UNRESOLVED).count()
    marked = sum(bool(mark) for _verdict, mark in log())
    assert doubts <= 4 * (on_doubt == "ask")
    assert marked <= 4 * (on_doubt == "resend")
    assert not judge(sandbox.ledger(), on_doubt=on_doubt)
