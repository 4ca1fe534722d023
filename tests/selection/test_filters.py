"""The filter that lists, commands, exports and bulk actions share."""

import datetime as dt

import pytest
from django.utils import timezone

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.selection import Attention, EventFilter, Progress, StatusClass
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import ended, event

pytestmark = pytest.mark.django_db

HOUR = 3600
NOON = dt.datetime(2026, 3, 2, 12, 0, tzinfo=dt.UTC)


@pytest.fixture
def made():
    refused = ended(State.DEAD, Reason.REJECTED, last_status_code=400, last_error="HTTP 400: Field is wrong")
    done = ended(State.DELIVERED, finished_at=NOON, accepted_at=NOON, created_at=NOON)
    waits = {"attempts": 2, "last_error": "connection refused", "due_at": DatabaseNow(60)}
    rows = {
        "fresh": event("order.paid", subject="ORD-2"),
        "late": event(row={"due_at": DatabaseNow(-HOUR)}),
        "retrying": event(row=waits),
        "head": event(ordering_key="K", row=refused),
        "behind": event(ordering_key="K"),
        "5xx": event(row=ended(State.DEAD, Reason.EXHAUSTED, last_status_code=503)),
        "elsewhere": event(row={"destination": "gone", "due_at": DatabaseNow(60)}),
        "done": event(row={**done, "last_status_code": 503}),
        "unresolved": event(row=ended(State.UNRESOLVED, Reason.UNCONFIRMED)),
    }
    return {row.pk: name for name, row in rows.items()}


LAWS = [
    (EventFilter(states=(State.DEAD,)), {"head", "5xx"}),
    (EventFilter(states=(State.DEAD, State.DELIVERED)), {"head", "5xx", "done"}),
    (EventFilter(types=("order.paid",)), {"fresh"}),
    (EventFilter(types=("nothing", "order.paid")), {"fresh"}),
    (EventFilter(types=("a\0b",)), set()),
    (EventFilter(destinations=("gone",)), {"elsewhere"}),
    (EventFilter(reasons=(Reason.REJECTED, Reason.UNCONFIRMED)), {"head", "unresolved"}),
    (EventFilter(status_code=503), {"5xx", "done"}),
    (EventFilter(status_code=StatusClass.PLATFORM_ERROR), {"5xx"}),
    (EventFilter(status_code=StatusClass.PLATFORM_ERROR, states=(State.DELIVERED,)), {"done"}),
    (EventFilter(status_code=StatusClass.NONE), {"retrying"}),
    (EventFilter(ordering_key="K"), {"head", "behind"}),
    (EventFilter(subject="ORD-2"), {"fresh"}),
    (EventFilter(error="field IS"), {"head"}),
    (EventFilter(text="ORD-2"), {"fresh"}),
    (EventFilter(until=NOON + dt.timedelta(seconds=1)), {"done"}),
    (EventFilter(until=NOON), set()),
    (EventFilter(since=NOON, until=NOON + dt.timedelta(seconds=1)), {"done"}),
    (EventFilter(accepted_since=NOON), {"done"}),
    (EventFilter(accepted_until=NOON), set()),
    (EventFilter(finished_since=NOON, finished_until=NOON + dt.timedelta(hours=1)), {"done"}),
    (EventFilter(held=True), {"behind"}),
    (EventFilter(attention=Attention.PERSON), {"head", "5xx", "unresolved"}),
    (EventFilter(attention=Attention.OVERDUE), {"late"}),
    (EventFilter(attention=Attention.NEEDED), {"head", "5xx", "unresolved", "late"}),
    (EventFilter(progress=Progress.RETRYING), {"retrying"}),
    (EventFilter(progress=Progress.WAITING), {"fresh", "late", "behind", "elsewhere"}),
    (EventFilter(states=(State.DEAD,), status_code=503), {"5xx"}),
]


@pytest.mark.parametrize(("chosen", "names"), LAWS, ids=(str(n) for n in range(len(LAWS))))
def test_a_filter_matches_exactly_the_events_that_meet_every_condition(made, chosen, names):
    assert {made[row.pk] for row in chosen.rows()} == names
    assert not chosen.is_empty


def test_an_empty_filter_matches_every_event(made):
    assert EventFilter().rows().count() == OutboxEvent.objects.count()
    assert EventFilter().is_empty


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (EventFilter(), "all events"),
        (
            EventFilter(states=(State.DEAD,), reasons=(Reason.REJECTED,), types=("order.paid",)),
            "dead, rejected, type order.paid",
        ),
        (EventFilter(destinations=("crm",), status_code=503), "destination crm, HTTP status 503"),
        (EventFilter(status_code=StatusClass.NONE, held=True), "no response, held behind another event"),
        (EventFilter(ordering_key="K", subject="S"), "ordering key K, subject S"),
        (EventFilter(error="a\nb", text=" 4711 "), "error with “a\\x0ab”, found by “4711”"),
        (EventFilter(progress=Progress.RETRYING), "Waiting for a retry"),
        (EventFilter(since=NOON), "since 2 Mar 12:00 UTC"),
        (
            EventFilter(accepted_since=NOON, accepted_until=NOON),
            "accepted since 2 Mar 12:00 UTC, accepted until 2 Mar 12:00 UTC",
        ),
    ],
    ids=str,
)
def test_a_filter_describes_itself_in_a_few_words(chosen, words, settings, monkeypatch):
    settings.TIME_ZONE = "UTC"
    monkeypatch.setattr(timezone, "now", lambda: NOON + dt.timedelta(days=40))

    assert chosen.words() == words


@pytest.mark.parametrize(("code", "columns"), [(503, ["last_status_code"]), (202, [""])])
def test_a_status_that_means_no_failure_is_not_looked_for_in_an_index(code, columns):
    """PostgreSQL's index leaves it out: to count such events it would read the whole table."""
    assert list(EventFilter(status_code=code).conditions()) == columns
