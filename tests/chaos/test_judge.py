"""The judge finds what it looks for at a protocol without a key."""

import pytest

from genesys_eventbridge.models import DeliveryAttempt, OutboxEvent
from genesys_eventbridge.platform.outcomes import Verdict
from genesys_eventbridge.states import AttemptKind, State
from tests.chaos.judge import blind, judge, never_requested
from tests.outbox_rows import ended, event

pytestmark = pytest.mark.django_db


def ledger_of(row, *statuses):
    """The ledger after one request of this event per second; those answered 200 or "closed" are accepted."""
    began = row.created_at.timestamp()
    attempts = [
        {
            "endpoint": "webhook",
            "source": row.source,
            "id": row.event_id,
            "subject": "",
            "body_sha256": row.body_sha256,
            "started_at": began + number,
            "status": status,
            "accepted": status in ("200", "closed"),
            "correlation_id": f"c-{number}",
        }
        for number, status in enumerate(statuses, start=1)
    ]
    accepts = {f"{row.source} {row.event_id}": sum(bool(each["accepted"]) for each in attempts)}
    return {"attempts": attempts, "accepts": accepts, "overlaps": []}


def logged(row, number, verdict, *, mark=None):
    DeliveryAttempt.objects.create(
        event=row,
        kind=AttemptKind.PUBLISH,
        number=number,
        duration=0.1,
        started_at=row.created_at,
        verdict=verdict,
        correlation_id=f"c-{number}",
        may_duplicate=mark,
    )


@pytest.mark.parametrize(("first", "found"), [("503", True), ("closed", True), ("429", False)])
def test_with_ask_only_what_was_certainly_not_accepted_may_be_sent_again(first, found):
    row = event()

    assert bool(blind(ledger_of(row, first, "200"), "ask")) is found


@pytest.mark.parametrize(("mark", "found"), [(None, True), (True, False)])
def test_with_resend_a_repetition_needs_its_mark(mark, found):
    row = event()
    logged(row, 1, Verdict.UNKNOWN)
    logged(row, 2, Verdict.ACCEPTED, mark=mark)

    assert bool(blind(ledger_of(row, "closed", "200"), "resend")) is found


@pytest.mark.parametrize(("first", "found"), [(Verdict.ACCEPTED, True), (Verdict.UNKNOWN, False)])
def test_with_resend_nothing_follows_a_known_acceptance(first, found):
    row = event()
    logged(row, 1, first)
    logged(row, 2, Verdict.ACCEPTED, mark=True)

    assert bool(judge(ledger_of(row, "200", "200"), on_doubt="resend").doubled) is found


@pytest.mark.parametrize(("statuses", "found"), [((), True), (("429",), True), (("503",), False)])
def test_a_question_about_what_cannot_have_arrived_is_counted(statuses, found):
    row = event()
    OutboxEvent.objects.update(**ended(State.UNRESOLVED, "outcome_unknown", in_doubt_since=row.created_at))

    assert bool(never_requested(ledger_of(row, *statuses))) is found
