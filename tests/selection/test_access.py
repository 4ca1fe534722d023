"""Lists and exports read few rows for rare events, and walk the table once, by id, for common ones."""

import datetime as dt
import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.selection import EventFilter, Progress, StatusClass, access
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import ended, event
from tests.selection.plans import plan

pytestmark = pytest.mark.django_db

DEAD = EventFilter(states=(State.DEAD,))
LATER = dt.datetime(2999, 1, 1, tzinfo=dt.UTC)
MIXED = EventFilter(states=(State.DEAD,), types=("order.paid",))


@pytest.fixture
def made():
    """Every third is dead, every second is paid."""
    dead = ended(State.DEAD, Reason.REJECTED)
    return [
        event("order.paid" if number % 2 else "order.created", row=dead if number % 3 == 0 else None).pk
        for number in range(30)
    ]


def matching(chosen):
    return sorted(chosen.rows().values_list("pk", flat=True))


RETRYING = EventFilter(progress=Progress.RETRYING)
REJECTED = EventFilter(reasons=(Reason.REJECTED,))
UNANSWERED = EventFilter(status_code=StatusClass.NONE)
FAILED_SINCE = EventFilter(failed_since=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
#: Found by the index of the events in trouble.
TROUBLED = [
    RETRYING,
    REJECTED,
    UNANSWERED,
    FAILED_SINCE,
    EventFilter(error="refused", types=("order.paid",)),
    EventFilter(failure="none", progress=Progress.RETRYING),
    EventFilter(reasons=(Reason.REJECTED,), error="REFUSED", progress=Progress.OPEN),
]


def in_trouble():
    """An event of each kind that a list of failures must or must not have; returns their ids."""
    moment = timezone.now()
    refused = {"last_error": "connection refused", "failed_at": moment, "attempts": 1}
    dead = ended(State.DEAD, Reason.REJECTED)
    rows = [
        refused,
        {**refused, "last_status_code": 503, "in_doubt_since": moment},
        {"attempts": 1, "in_doubt_since": moment, "claim_token": uuid.uuid4()},  # its worker died
        {**refused, "in_doubt_since": moment, "claim_token": uuid.uuid4(), "due_at": LATER},  # in flight
        {"halts": 1, "last_error": "429"},
        {**dead, **refused},
        {**dead, "last_status_code": 400},
        ended(State.CANCELLED, Reason.REJECTED, finished_at=moment),
        {"last_status_code": 202},
    ]
    return [
        event("order.paid" if number % 2 else "order.created", row=row).pk for number, row in enumerate(rows)
    ]


@pytest.mark.parametrize("rare", [1, 8, 10_000], ids=["walk", "one-is-rare", "all-are-rare"])
@pytest.mark.parametrize("chosen", TROUBLED, ids=range(len(TROUBLED)))
def test_what_is_in_trouble_is_found_by_its_index_as_without(made, monkeypatch, rare, chosen):
    monkeypatch.setattr(access, "RARE", rare)
    monkeypatch.setattr(access, "RARE_TROUBLE", rare)
    in_trouble()

    found = list(access.listed(OutboxEvent.objects.all(), chosen).values_list("pk", flat=True))

    assert found == matching(chosen)[::-1]


def test_an_event_whose_worker_died_waits_for_a_retry_although_it_has_no_error(made):
    lapsed = in_trouble()[2]

    found = list(access.listed(OutboxEvent.objects.all(), RETRYING).values_list("pk", flat=True))

    assert lapsed in found


@pytest.mark.parametrize("rare", [1, 8, 10_000], ids=["walk", "one-is-rare", "all-are-rare"])
@pytest.mark.parametrize("chosen", [EventFilter(), DEAD, MIXED, EventFilter(text="nothing")], ids=str)
@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_have_every_match_once_in_order_however_they_are_read(
    made, monkeypatch, rare, chosen, newest_first
):
    monkeypatch.setattr(access, "RARE", rare)
    monkeypatch.setattr(access, "WINDOW", 7)

    pages = list(access.pages(chosen, 4, newest_first=newest_first))

    found = [pk for page in pages for pk in page]
    assert found == sorted(matching(chosen), reverse=newest_first)
    assert all(0 < len(page) <= 4 for page in pages)
    rows = access.listed(OutboxEvent.objects.all(), chosen, newest_first=newest_first)
    assert [row.pk for row in rows] == found


@pytest.mark.parametrize("rare", [1, 10_000])
def test_pages_end_at_the_event_that_was_the_newest(made, monkeypatch, rare):
    monkeypatch.setattr(access, "RARE", rare)
    monkeypatch.setattr(access, "WINDOW", 7)
    newest = made[-4]

    found = [pk for page in access.pages(DEAD, 100, up_to=newest) for pk in page]

    assert found == [pk for pk in matching(DEAD)[::-1] if pk <= newest]


def test_the_work_of_pages_grows_with_the_table_and_not_faster(made, monkeypatch):
    """Each window of ids is read once, also across gaps."""
    monkeypatch.setattr(access, "RARE", 1)
    monkeypatch.setattr(access, "WINDOW", 5)
    OutboxEvent.objects.filter(pk__in=made[5:15]).delete()

    with CaptureQueriesContext(connection) as queries:
        list(access.pages(DEAD, 100))

    windows = len(range(0, 20, 5))
    assert len(queries) == 1 + 2 * windows + 1


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite has no statistics: its plan is ours")
class TestPlans:
    def steps(self, chosen):
        with CaptureQueriesContext(connection) as queries:
            list(access.listed(OutboxEvent.objects.all(), chosen)[:50])
        return plan(queries.captured_queries[-1]["sql"])

    def test_a_rare_condition_is_found_by_its_index_and_sorted(self, made, monkeypatch):
        monkeypatch.setattr(access, "RARE", 11)  # ten are dead, fifteen are paid

        steps = self.steps(MIXED)

        assert "eventbridge_due" in steps[0]
        assert steps[-1] == "USE TEMP B-TREE FOR ORDER BY"
        rows = access.listed(OutboxEvent.objects.all(), MIXED)
        assert str(rows.query).endswith('ORDER BY +"genesys_eventbridge_outboxevent"."id" DESC')

    @pytest.mark.parametrize("chosen", TROUBLED[:5], ids=range(5))
    def test_events_in_trouble_are_found_by_their_index(self, made, chosen):
        steps = " ".join(self.steps(chosen))

        assert "INDEX eventbridge_troubled" in steps
        assert "INDEX eventbridge_due" not in steps
        assert "SCAN genesys_eventbridge_outboxevent USING COVERING" not in steps

    def test_the_rarest_of_several_is_chosen(self, made):
        event("order.rare", row=ended(State.DEAD, Reason.REJECTED))

        steps = self.steps(EventFilter(states=(State.DEAD,), types=("order.rare",)))

        assert "eventbridge_type" in steps[0]

    def test_common_conditions_are_checked_in_the_order_of_ids(self, made, monkeypatch):
        monkeypatch.setattr(access, "RARE", 5)

        steps = self.steps(DEAD)

        assert len(steps) == 1
        assert steps[0].startswith("SCAN")
        assert "USING" not in steps[0]

    def test_the_count_that_decides_stops_early(self, made, monkeypatch):
        monkeypatch.setattr(access, "RARE", 5)

        with CaptureQueriesContext(connection) as queries:
            access.listed(OutboxEvent.objects.all(), MIXED)

        assert len(queries) == 1
        assert queries.captured_queries[0]["sql"].count("LIMIT 5") == 2


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite combines no indexes")
@pytest.mark.parametrize(
    "chosen",
    [
        EventFilter(status_code=StatusClass.REFUSED),
        EventFilter(status_code=503, states=(State.PENDING,)),
        EventFilter(failure="0123456789abcdef"),
    ],
    ids=str,
)
def test_what_few_states_have_is_found_without_the_index_of_the_states(made, chosen):
    """It has a large backlog's pending events, too: reading their entries took a third of the page's time."""
    in_trouble()

    sql = str(access.listed(OutboxEvent.objects.all(), chosen).query)

    column = connection.ops.quote_name("state")
    table = connection.ops.quote_name(OutboxEvent._meta.db_table)
    assert f"CONCAT({table}.{column}" in sql
    assert f"{table}.{column} IN" not in sql
