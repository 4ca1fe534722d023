"""Resend as new: the same content as another event, which names its origin; nothing else is resent."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import EventAct, OutboxEvent
from genesys_eventbridge.operations import Actor, CannotResend, resend
from genesys_eventbridge.operations.copies import content
from genesys_eventbridge.states import Act, Reason, State
from tests.outbox_rows import accepted, claim, ended, event, fresh

pytestmark = pytest.mark.django_db

ANA = Actor("admin", name="ana")


def delivered(*arguments, row=None, **keywords) -> OutboxEvent:
    columns = ended(State.DELIVERED, finished_at=DatabaseNow(), **(row or {}))
    return event(*arguments, row=columns, **keywords)


def test_a_resent_event_says_the_same_under_an_id_and_a_key_of_its_own():
    origin = delivered(
        "order.created",
        {"amount": 12.5, "lines": [1, "zwei €"], "none": None},
        subject="ORD-7",
        ordering_key="ORD-7",
        dataschema="https://example.com/schema",
        extensions={"tenant": "a", "level": 3, "sampled": True},
        row={"object_type": "shop.order", "object_id": "7"},
    )

    new = resend(origin.pk, ANA, "the flow lost it")

    before, after = json.loads(origin.body), json.loads(fresh(new).body)
    assert after.pop("id") == new.event_id != before.pop("id")
    assert after == before
    assert new.idempotency_key != origin.idempotency_key
    assert (new.origin, new.object_type, new.object_id) == (origin, "shop.order", "7")
    assert (fresh(new).state, new.ordering_key, new.subject) == (State.PENDING, "ORD-7", "ORD-7")
    assert [row.id for row in claim().rows] == [new.pk]


@pytest.mark.parametrize(
    ("data", "keywords"),
    [
        (b"\x00\xff", {"datacontenttype": "application/octet-stream"}),
        ("<order/>", {"datacontenttype": "application/xml"}),
        (None, {}),
        ([], {}),
        ("text", {}),
        ({"big": 2**63, "tiny": 1e-300, "surplus": [[[]]]}, {}),
    ],
)
def test_every_kind_of_data_is_resent_as_it_was(data, keywords):
    origin = delivered("order.created", data, **keywords)

    new = resend(origin.pk, ANA, "again")

    assert new.data == origin.data
    assert fresh(new).body == origin.body.replace(origin.event_id, new.event_id)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4))
def test_the_stored_text_gives_back_what_it_was_built_from(data):
    """Byte for byte, but for the id: numbers keep their digits."""
    from genesys_eventbridge.cloudevents import build_event
    from genesys_eventbridge.errors import InvalidEvent

    try:
        first = build_event("order.created", data, source="com.example", time="2026-01-02T03:04:05Z")
    except InvalidEvent:
        return
    again = build_event(**content(first.encode()), id=first.id)

    assert again.encode() == first.encode()


def test_the_origin_keeps_the_act_and_stays_delivered():
    origin = delivered()

    resend(origin.pk, ANA, "the flow lost it")

    act = EventAct.objects.get()
    assert (act.event, act.act, act.to_state, act.reason) == (
        origin,
        Act.RESEND,
        State.DELIVERED,
        "the flow lost it",
    )
    assert fresh(origin).state == State.DELIVERED


def test_the_same_form_twice_gives_one_new_event():
    origin = delivered()

    first = resend(origin.pk, ANA, "again", once="form 1")
    second = resend(origin.pk, ANA, "again", once="form 1")
    another = resend(origin.pk, ANA, "again", once="form 2")

    assert first.pk == second.pk != another.pk
    assert EventAct.objects.count() == 2


def test_what_a_form_names_itself_cannot_reach_another_event():
    """The name is folded into the origin's key: nobody can aim it at a key that is taken."""
    origin = delivered(time="2026-01-02T03:04:05Z")

    new = resend(origin.pk, ANA, "again", once=str(origin.idempotency_key))

    assert new.pk != origin.pk
    assert new.origin == origin


@pytest.mark.parametrize(
    "make",
    [
        event,
        accepted,
        lambda: event(row=ended(State.DEAD, Reason.REJECTED)),
        lambda: event(row=ended(State.UNRESOLVED, Reason.CONFLICT)),
        lambda: event(row=ended(State.CANCELLED, Reason.OPERATOR, finished_at=DatabaseNow())),
    ],
    ids=["pending", "accepted", "dead", "unresolved", "cancelled"],
)
def test_only_a_delivered_event_is_resent(make):
    row = make()

    with pytest.raises(CannotResend, match="only a delivered event"):
        resend(row.pk, ANA, "again")
    assert OutboxEvent.objects.count() == 1


def test_an_event_that_is_not_there_cannot_be_resent():
    with pytest.raises(CannotResend):
        resend(10**9, ANA, "again")


def test_a_blanked_event_has_nothing_to_send():
    row = delivered(row={"body": ""})

    with pytest.raises(CannotResend, match="blanked"):
        resend(row.pk, ANA, "again")


def test_what_the_settings_refuse_today_is_told(settings):
    row = delivered("order.created", {"note": "x" * 2000})
    settings.GENESYS_EVENTBRIDGE = {
        "default": {**settings.GENESYS_EVENTBRIDGE["default"], "MAX_EVENT_BYTES": 1024}
    }

    with pytest.raises(CannotResend, match="1,024"):
        resend(row.pk, ANA, "again")


def test_an_event_of_a_destination_that_is_gone_cannot_be_resent():
    row = delivered(row={"destination": "gone"})

    with pytest.raises(CannotResend, match="gone"):
        resend(row.pk, ANA, "again")


def test_a_reason_is_wanted():
    with pytest.raises(ValueError, match="reason"):
        resend(delivered().pk, ANA, " ")
