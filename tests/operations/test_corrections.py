"""Correct and resend: the corrected event is a new one, the old one is cancelled, and the audit has both."""

import json

import pytest

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.models import EventAct, Job, OutboxEvent
from genesys_eventbridge.operations import Actor, CannotCorrect, correct, corrections
from genesys_eventbridge.states import Act, Reason, State
from genesys_eventbridge.text import REDACTED
from tests.outbox_rows import accepted, claim, ended, event, fresh, in_threads

pytestmark = pytest.mark.django_db

ANA = Actor("admin", name="ana")
DATA = {"amount": "12,50", "customer": {"email": "ana@example.com", "password": "s3cret"}}


def dead(data=DATA, **keywords) -> OutboxEvent:
    return event("order.created", data, row=ended(State.DEAD, Reason.REJECTED), **keywords)


def details():
    stored = EventAct.objects.get().details
    assert stored is not None
    return json.loads(stored)


def corrected(**changes):
    return {**DATA, **changes}


def test_the_corrected_event_is_a_new_one_that_names_its_origin():
    origin = event(
        "order.created",
        DATA,
        subject="ORD-7",
        extensions={"tenant": "a"},
        row=ended(State.DEAD, Reason.REJECTED, object_type="shop.order", object_id="7"),
    )

    new = fresh(correct(origin.pk, corrected(amount=12.5), ANA, "decimal comma"))

    before, after = json.loads(origin.body), json.loads(new.body)
    assert after.pop("id") != before.pop("id")
    assert after == {**before, "data": corrected(amount=12.5)}
    assert new.idempotency_key != origin.idempotency_key
    assert (new.origin, new.state, new.object_type, new.object_id) == (
        origin,
        State.PENDING,
        "shop.order",
        "7",
    )
    assert [row.id for row in claim().rows] == [new.pk]


def test_the_old_one_is_cancelled_and_the_difference_is_in_the_audit():
    origin = dead()

    correct(origin.pk, corrected(amount=12.5), ANA, "decimal comma")

    old, act = fresh(origin), EventAct.objects.get()
    assert (old.state, old.reason, old.finished_at is None) == (State.CANCELLED, Reason.OPERATOR, False)
    assert (act.event, act.act, act.from_state, act.to_state) == (
        origin,
        Act.CORRECT,
        State.DEAD,
        State.CANCELLED,
    )
    assert details() == [{"path": ["amount"], "before": "12,50", "after": 12.5}]
    assert (act.reason, Job.objects.get().act) == ("decimal comma", Act.CORRECT)


def test_a_hidden_value_stays_hidden_in_the_audit():
    origin = dead()

    correct(origin.pk, {**DATA, "customer": {"email": "ana@example.com", "password": "new"}}, ANA, "typo")

    [change] = details()
    assert change == {"path": ["customer", "password"], "before": REDACTED, "after": REDACTED}


def test_it_goes_to_the_end_of_its_key_and_frees_what_waited_behind_the_old_one():
    origin = dead(ordering_key="k")
    followers = [event("order.created", n, ordering_key="k") for n in range(2)]
    other = event("order.created", 1, ordering_key="other")
    assert [row.id for row in claim().rows] == [other.pk]
    assert corrections.behind(origin) == 2

    new = correct(origin.pk, corrected(amount=1), ANA, "typo")

    assert [row.id for row in claim().rows] == [followers[0].pk]
    assert new.pk > followers[1].pk
    assert new.ordering_key == "k"


def test_without_a_key_it_waits_for_no_other():
    origin = dead()
    event()

    assert corrections.behind(origin) == 0


def test_the_schema_is_checked_and_the_field_is_named(settings):
    schema = {"type": "object", "properties": {"amount": {"type": "number"}}}
    origin = dead()
    settings.GENESYS_EVENTBRIDGE = {
        "default": {**settings.GENESYS_EVENTBRIDGE["default"], "SCHEMAS": {"order.created": schema}}
    }

    with pytest.raises(InvalidEvent, match=r"data\.amount"):
        correct(origin.pk, corrected(amount="twelve"), ANA, "typo")

    assert fresh(origin).state == State.DEAD
    assert OutboxEvent.objects.count() == 1
    assert not EventAct.objects.exists()


def test_the_same_form_twice_makes_one_event():
    origin = dead()

    first = correct(origin.pk, corrected(amount=1), ANA, "typo", once="form 1")
    second = correct(origin.pk, corrected(amount=1), ANA, "typo", once="form 1")

    assert first.pk == second.pk
    assert (OutboxEvent.objects.count(), EventAct.objects.count()) == (2, 1)


def test_another_form_comes_too_late():
    origin = dead()
    correct(origin.pk, corrected(amount=1), ANA, "typo", once="form 1")

    with pytest.raises(CannotCorrect):
        correct(origin.pk, corrected(amount=2), ANA, "typo", once="form 2")

    assert OutboxEvent.objects.count() == 2


@pytest.mark.parametrize(
    "make",
    [
        event,
        accepted,
        lambda: event(row=ended(State.DELIVERED, finished_at=DatabaseNow())),
        lambda: event(row=ended(State.UNRESOLVED, Reason.CONFLICT)),
        lambda: event(row=ended(State.CANCELLED, Reason.OPERATOR, finished_at=DatabaseNow())),
    ],
    ids=["pending", "accepted", "delivered", "unresolved", "cancelled"],
)
def test_only_a_dead_event_is_corrected(make):
    row = make()

    with pytest.raises(CannotCorrect, match="only a dead event"):
        correct(row.pk, {"new": 1}, ANA, "typo")

    assert OutboxEvent.objects.count() == 1


@pytest.mark.parametrize(
    ("make", "data"),
    [(dead, DATA), (lambda: dead(b"\x00", datacontenttype="application/octet-stream"), {"a": 1})],
    ids=["unchanged", "binary"],
)
def test_what_cannot_be_corrected_is_said(make, data):
    row = make()

    with pytest.raises(CannotCorrect):
        correct(row.pk, data, ANA, "typo")

    assert fresh(row).state == State.DEAD


def test_what_is_not_there_cannot_be_corrected():
    with pytest.raises(CannotCorrect):
        correct(10**9, {}, ANA, "typo")


def test_a_reason_is_wanted():
    with pytest.raises(ValueError, match="reason"):
        correct(dead().pk, {}, ANA, " ")


@pytest.mark.django_db(transaction=True)
def test_two_operators_at_once_make_one_event():
    origin = dead()

    def work():
        try:
            return correct(origin.pk, corrected(amount=1), ANA, "typo").pk
        except CannotCorrect:
            return None

    made = in_threads(4, work)

    assert len(set(made) - {None}) == 1
    assert OutboxEvent.objects.count() == 2
