"""Lists and exports read few rows for rare events, and walk the table once, by id, for common ones."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.selection import EventFilter, access
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import ended, event
from tests.selection.plans import plan

pytestmark = pytest.mark.django_db

DEAD = EventFilter(states=(State.DEAD,))
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
