"""What the real code does is what the model says: recorded changes replay, and altered ones are refused."""

import dataclasses
from contextlib import ExitStack

import pytest
from django.db import transaction

from genesys_eventbridge import conf, operations, relay
from genesys_eventbridge.db.clock import shifted
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.operations import Actor, Resolution
from genesys_eventbridge.outbox import enqueue
from genesys_eventbridge.sandbox import Sandbox, serve
from tests.chaos.processes import destination
from tests.model.recorder import recording
from tests.model.traces import SLACK, Line, Validator

pytestmark = pytest.mark.django_db(transaction=True)

CLERK = Actor("tests")


@pytest.fixture
def run(_spin, settings):
    """``run(work)``: the trace of ``work(sandbox)``."""
    with ExitStack() as stack:
        sandbox = Sandbox(deliver_after=0)
        server = stack.enter_context(serve(sandbox))
        settings.GENESYS_EVENTBRIDGE = destination(server.url)
        conf.reset()

        def run(work, lease=None):
            with recording() as recorder:
                work(sandbox)
                return recorder.lines(sandbox.ledger(), lease=lease)

        yield run


@pytest.fixture
def judge(run):
    """``judge(lines)``: the model's verdict."""
    with Validator(conf.destination(), slack=SLACK, lag=0.5) as validator:
        yield validator.judge


def publish_two(sandbox):
    for number in range(2):
        enqueue("order.created", {"n": number}, ordering_key="k", standalone=True)
    for _ in range(2):
        relay.publish_due()
    relay.check_accepted()


def refused_and_requeued(sandbox):
    sandbox.fail_next(422)
    event = enqueue("order.created", {"n": 1}, standalone=True)
    relay.publish_due()
    operations.requeue([event.pk], CLERK, reason="fixed")
    relay.publish_due()
    operations.cancel([enqueue("order.created", {"n": 2}, standalone=True).pk], CLERK, "not needed")


def given_up(sandbox):
    event = enqueue("order.created", {"n": 1}, standalone=True)
    sandbox.lose_next_answer()
    relay.publish_due()
    OutboxEvent.objects.filter(pk=event.pk).update(due_at=OutboxEvent.objects.get().created_at)
    sandbox.fail_next(422)
    relay.publish_due()
    operations.resolve([event.pk], CLERK, Resolution.NOT_DELIVERED, "asked them")
    relay.publish_due()
    relay.check_accepted()


@pytest.mark.parametrize("work", [publish_two, refused_and_requeued, given_up])
def test_what_the_code_does_replays_against_the_model(run, judge, work):
    lines = run(work)

    verdict = judge(lines)

    assert verdict.refused is None, str(verdict)
    assert verdict.lines == len(lines) > 4


def test_a_trace_on_a_shifted_clock_replays_too(run, judge):
    """Its window closes: the event becomes unresolved without a request, and is sent under a new key."""

    def work(sandbox):
        event = enqueue("order.created", {"n": 1}, standalone=True)
        sandbox.lose_next_answer()
        relay.publish_due()
        with shifted(conf.destination().doubt_seconds):
            relay.publish_due()
            operations.resolve(
                [event.pk], CLERK, Resolution.NOT_DELIVERED, "asked them", accept_duplicates=True
            )
            relay.publish_due()
            relay.check_accepted()

    lines = run(work, lease=conf.destination().lease_seconds)

    verdict = judge(lines)
    assert verdict.refused is None, str(verdict)
    assert [line.to for line in lines if line.to == "unresolved"] == ["unresolved"]
    assert lines[-1].epoch == 1


def test_a_requeue_counts_from_its_commit(run):
    """Its row keeps the time of the failure before, which is not that of the requeue."""
    lines = run(refused_and_requeued)

    assert [line.detail["written"] for line in lines if line.from_state == "dead"] == [None]
    assert all(line.detail["written"] for line in lines if line.to == "dead")


def test_a_line_keeps_its_content_as_json(run):
    lines = run(publish_two)

    assert [Line.from_json(line.as_json()) for line in lines] == lines


def _claims(lines):
    return [at for at, line in enumerate(lines) if line.what == "row" and line.token]


def without_a_claim(lines):
    del lines[_claims(lines)[0]]


def without_an_outcome(lines):
    del lines[_claims(lines)[0] + 3]


def a_stale_token(lines):
    claim = lines[_claims(lines)[0]]
    outcome = next(at for at, line in enumerate(lines) if line.detail.get("from_token") == claim.token)
    detail = {**lines[outcome].detail, "from_token": "another"}
    lines[outcome] = dataclasses.replace(lines[outcome], detail=detail)


def two_acceptances(lines):
    at = next(at for at, line in enumerate(lines) if line.what == "accept")
    lines.insert(at + 1, lines[at])


def a_send_before_its_claim(lines):
    at = next(at for at, line in enumerate(lines) if line.what == "send")
    claim = _claims(lines)[0]
    lines.insert(claim, dataclasses.replace(lines.pop(at), t=lines[claim].t))


def other_bytes(lines):
    at = next(at for at, line in enumerate(lines) if line.what == "send")
    lines[at] = dataclasses.replace(lines[at], detail={"same_bytes": False})


def an_outcome_of_no_request(lines):
    lines[:] = [line for line in lines if line.what != "send"]


def an_acceptance_that_was_none(lines):
    lines[:] = [line for line in lines if line.what != "accept"]


def a_follower_first(lines):
    for at, line in enumerate(lines):
        if "number" in line.detail:
            lines[at] = dataclasses.replace(
                line, detail={**line.detail, "number": 10**6 - line.detail["number"]}
            )


def an_attempt_not_counted(lines):
    at = _claims(lines)[0]
    lines[at] = dataclasses.replace(lines[at], attempts=0)


def no_doubt(lines):
    at = _claims(lines)[0]
    detail = {**lines[at].detail, "since": None}
    lines[at] = dataclasses.replace(lines[at], in_doubt=False, detail=detail)


@pytest.mark.parametrize(
    "alter",
    [
        without_a_claim,
        without_an_outcome,
        a_stale_token,
        two_acceptances,
        a_send_before_its_claim,
        other_bytes,
        an_outcome_of_no_request,
        an_acceptance_that_was_none,
        a_follower_first,
        an_attempt_not_counted,
        no_doubt,
    ],
)
def test_an_altered_trace_is_refused(run, judge, alter):
    lines = run(publish_two)
    alter(lines)

    assert judge(lines).refused is not None


def test_nothing_that_was_rolled_back_is_in_the_trace(run):
    def work(sandbox):
        with transaction.atomic():
            enqueue("order.created", {"n": 1})
            transaction.set_rollback(True)

    assert run(work) == []
