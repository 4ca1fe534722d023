"""``eventbridge_outbox`` and ``capture_events``: what was enqueued, and how a failure reads."""

import asyncio
from decimal import Decimal
from unittest.mock import ANY
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge import conf
from genesys_eventbridge.outbox import enqueue
from genesys_eventbridge.testing import capture_events
from genesys_eventbridge.testing.matching import differences
from tests.shop.models import Order

pytest_plugins = ["tests.registrations"]

ORDER = {"number": "A1", "amount": "9.90", "items": [{"sku": "x", "quantity": 2}], "paid": False}


@pytest.fixture
def order(eventbridge_outbox):
    return enqueue("order.created", ORDER, subject="A1", ordering_key="A1", standalone=True)


def failure(assertion, *arguments, **keywords):
    with pytest.raises(AssertionError) as caught:
        assertion(*arguments, **keywords)
    return str(caught.value)


def test_what_a_model_publishes_is_there(publish, eventbridge_outbox):
    publish(Order, created="order.created", fields=["number", "amount"], subject="number")
    eventbridge_outbox.assert_nothing_enqueued()

    Order.objects.create(number="A1", amount="9.90")

    (event,) = eventbridge_outbox.assert_enqueued("order.created", subject="A1", data={"number": "A1"})
    assert eventbridge_outbox.events == [event] == list(eventbridge_outbox)
    assert len(eventbridge_outbox) == 1


@pytest.mark.parametrize(
    "expected",
    [
        {},
        {"number": "A1"},
        {"amount": Decimal("9.90")},
        {"items": [{"sku": "x"}]},
        {"items": ({"quantity": 2},)},
        {"items": ANY, "paid": False},
    ],
)
def test_a_part_of_the_payload_matches_at_any_depth(order, eventbridge_outbox, expected):
    assert eventbridge_outbox.assert_enqueued("order.created", data=expected) == [order]


@pytest.mark.parametrize(
    ("expected", "line"),
    [
        ({"amount": "10.00"}, 'data.amount is "9.90", expected "10.00"'),
        ({"amount": 9.9}, 'data.amount is "9.90", expected 9.9'),
        ({"paid": 0}, "data.paid is false, expected 0"),
        ({"colour": "red"}, 'data.colour is missing, expected "red" (there: number, amount, items, paid)'),
        ({"items": [{"sku": "y"}]}, 'data.items[0].sku is "x", expected "y"'),
        ({"items": []}, 'data.items has 1 items, expected 0: [{"sku": "x", "quantity": 2}]'),
        ({"items": {"sku": "x"}}, 'data.items is [{"sku": "x", "quantity": 2}], expected an object'),
        ({"number": ["A1"]}, 'data.number is "A1", expected an array'),
        (None, "expected null"),
    ],
)
def test_a_difference_names_its_path_and_both_values(order, eventbridge_outbox, expected, line):
    text = failure(eventbridge_outbox.assert_enqueued, "order.created", data=expected)

    assert line in text


def test_a_failure_lists_what_was_enqueued_and_how_each_event_differs(order, eventbridge_outbox):
    enqueue("order.paid", {"number": "A2"}, subject="A2", standalone=True)

    text = failure(eventbridge_outbox.assert_enqueued, "order.paid", subject="A1", data={"number": "A1"})

    assert text.splitlines() == [
        'no events with type="order.paid", subject="A1", data={"number": "A1"} were enqueued, expected 1.',
        "Enqueued:",
        '  1. order.created subject="A1" data={"number": "A1", "amount": "9.90", "items": [{"sku": "x", '
        '"quantity": 2}], "paid": false}',
        '       type is "order.created", expected "order.paid"',
        '  2. order.paid subject="A2" data={"number": "A2"}',
        '       subject is "A2", expected "A1"',
        '       data.number is "A2", expected "A1"',
    ]


def test_a_failure_with_nothing_enqueued_says_so(eventbridge_outbox):
    text = failure(eventbridge_outbox.assert_enqueued, "order.paid")

    assert text == 'no events with type="order.paid" were enqueued, expected 1.\nNothing was enqueued.'


def test_the_number_of_matches_is_exact(order, eventbridge_outbox):
    enqueue("order.created", ORDER, standalone=True)

    assert len(eventbridge_outbox.assert_enqueued("order.created", count=2)) == 2
    eventbridge_outbox.assert_enqueued("order.cancelled", count=0)
    assert failure(eventbridge_outbox.assert_enqueued, "order.created").startswith("2 events with")


def test_subject_destination_and_ordering_key_are_compared_if_given(order, eventbridge_outbox):
    check = eventbridge_outbox.assert_enqueued

    check("order.created", subject="A1", destination="default", ordering_key="A1")
    assert 'ordering_key is "A1", expected "A2"' in failure(check, "order.created", ordering_key="A2")
    assert 'destination is "default"' in failure(check, "order.created", destination="other")
    assert 'subject is "A1", expected ""' in failure(check, "order.created", subject="")


def test_an_unexpected_event_is_listed(order, eventbridge_outbox):
    text = failure(eventbridge_outbox.assert_nothing_enqueued)

    assert text.startswith("1 event was enqueued, expected none.\nEnqueued:\n  1. order.created")


def test_a_failure_with_many_events_stays_short(eventbridge_outbox):
    for number in range(30):
        enqueue("order.created", {"text": "x" * 1000}, subject=f"A{number}", standalone=True)

    text = failure(eventbridge_outbox.assert_enqueued, "order.paid")

    assert "and 10 more" in text
    assert len(text) < 10_000


@pytest.mark.django_db
def test_capture_events_sees_its_block_only_and_keeps_it():
    enqueue("order.before", None, standalone=True)
    with capture_events() as captured, transaction.atomic():
        enqueue("order.created", ORDER)
    enqueue("order.after", None, standalone=True)

    assert [event.type for event in captured.events] == ["order.created"]
    captured.assert_enqueued("order.created", data=ORDER)


def test_a_commit_wakes_no_worker_whatever_the_settings_are(eventbridge_outbox, settings):
    keys = settings.GENESYS_EVENTBRIDGE["default"]
    with override_settings(GENESYS_EVENTBRIDGE={"default": {**keys, "WAKE": "django_q"}}):
        assert conf.destination().wake is None


@pytest.mark.django_db(transaction=True)
def test_async_tests_have_assertions_of_their_own(eventbridge_outbox):
    async def scenario():
        from genesys_eventbridge.outbox import aenqueue

        await eventbridge_outbox.aassert_nothing_enqueued()
        await aenqueue("order.created", ORDER)
        await eventbridge_outbox.aassert_enqueued("order.created", data={"number": "A1"})
        with pytest.raises(AssertionError, match=r"order\.paid"):
            await eventbridge_outbox.aassert_enqueued("order.paid")
        try:
            return await eventbridge_outbox.aevents()
        finally:
            await sync_to_async(connections.close_all)()  # those of the thread that asgiref started

    (event,) = asyncio.run(scenario())

    assert event.type == "order.created"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_every_payload_matches_itself(value):
    assert list(differences(value, value)) == []


@given(JSON, JSON)
def test_equal_is_what_json_calls_equal(one, other):
    """Apart from members that are not asked for."""
    both = not list(differences(one, other)) and not list(differences(other, one))

    assert both == (repr(_sorted(one)) == repr(_sorted(other)))


def _sorted(value):
    if isinstance(value, dict):
        return sorted((key, _sorted(inner)) for key, inner in value.items()), "object"
    return [_sorted(inner) for inner in value] if isinstance(value, list) else value


def test_expected_values_are_compared_as_they_are_encoded():
    identity = UUID(int=7)

    assert list(differences({"id": identity}, {"id": str(identity)})) == []
