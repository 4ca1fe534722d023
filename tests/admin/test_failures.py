"""The page of failures: each number leads to exactly the events that it counts."""

import html as markup
import re
from itertools import pairwise

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge.admin.dashboard import failures as page
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.states import Reason, State
from tests.admin.test_dashboard import LIST, user
from tests.outbox_rows import ended, event
from tests.reporting.test_failures import failed

pytestmark = pytest.mark.django_db

PAGE = f"{LIST}failures/"


@pytest.fixture
def viewer(client):
    client.force_login(user("vera", "view_outboxevent"))
    return client


def text(response) -> str:
    assert response.status_code == 200
    return str(response.content, "utf-8")


def links(of: str) -> list[str]:
    return [markup.unescape(found) for found in re.findall(r'<td><a href="([^"]+)"><strong>', of)]


def listed(viewer, address) -> set[int]:
    response = viewer.get(address)
    assert response.status_code == 200, response.headers
    return {row.pk for row in response.context["cl"].result_list}


class TestLinks:
    def test_each_group_leads_to_exactly_its_events(self, viewer):
        for number in range(3):
            failed(error=f"400 order ORD-{number} is wrong")
        failed("order.paid")
        failed(state=State.PENDING, reason="", due_at=DatabaseNow(60), attempts=2)
        failed(**ended(State.CANCELLED, Reason.OPERATOR, finished_at=DatabaseNow()))
        event(row=ended(State.UNRESOLVED, Reason.UNTRACKED))
        event()

        response = viewer.get(PAGE)

        groups = response.context["found"].groups
        addresses = links(text(response))
        assert len(addresses) == len(groups) == 3
        for group, address in zip(groups, addresses, strict=True):
            rows = OutboxEvent.objects.filter(pk__in=listed(viewer, address))
            assert rows.count() == group.number
            assert {row.type for row in rows} == {group.type}
            assert {row.failure for row in rows} == {group.failure}

    def test_since_a_time_they_lead_to_those_that_failed_since(self, viewer):
        failed(ago=7200)
        newer = failed(ago=60)

        (address,) = links(text(viewer.get(f"{PAGE}?since=1h")))

        assert listed(viewer, address) == {newer.pk}


class TestWhatItSays:
    def test_the_error_without_ids_the_numbers_and_the_rule(self, viewer):
        for number in range(12):
            failed(error=f"400 order ORD-{number} is wrong")

        shown = text(viewer.get(PAGE))

        assert "12 failing events in 1 group" in shown
        assert "400 order &lt;id&gt; is wrong" in shown
        assert "12 dead" in shown
        assert "past hour 12, hour before 0" in shown
        assert "apart from numbers, ids, times" in shown

    @pytest.mark.parametrize(
        ("events", "groups", "heading"),
        [
            (1, 1, "1 failing event in 1 group"),
            (2, 1, "2 failing events in 1 group"),
            (7200, 48, "7,200 failing events in 48 groups"),
        ],
    )
    def test_the_heading_has_the_numbers_as_all_pages_write_them(self, events, groups, heading):
        assert page._heading(events, groups) == heading

    def test_a_time_that_is_none_shows_nothing_and_says_so(self, viewer):
        failed()

        shown = text(viewer.get(f"{PAGE}?since=noon"))

        assert "This is not a time" in shown
        assert links(shown) == []

    def test_a_time_is_read_in_the_readers_zone(self, viewer, settings):
        settings.TIME_ZONE = "Asia/Kolkata"
        failed()

        response = viewer.get(f"{PAGE}?since=2026-03-02T14:00")

        assert response.context["since"].utcoffset().total_seconds() == 19800
        assert "since 2 Mar" in text(response)

    def test_a_cap_is_said(self, viewer, monkeypatch):
        monkeypatch.setattr(page, "READ", 1)
        monkeypatch.setattr(page, "SHOWN", 1)
        for word in ("a", "b", "c"):
            failed(error=f"400 {word}")

        shown = text(viewer.get(PAGE))

        assert "Only the newest 1 events" in shown
        assert "1 smaller group is not shown." in shown

    def test_hostile_errors_are_text(self, viewer):
        failed(error="400 <script>alert(1)</script>\x1b[31m")

        shown = text(viewer.get(PAGE))

        assert "<script>alert" not in shown
        assert "\x1b" not in shown

    def test_nothing_fails(self, viewer):
        assert "Nothing fails" in text(viewer.get(PAGE))


def test_it_needs_the_permission_to_view_events(client):
    client.force_login(user("nobody"))

    assert client.get(PAGE).status_code == 403


def test_an_unknown_destination_is_not_found(viewer):
    assert viewer.get(f"{PAGE}?destination=nope").status_code == 404


def test_the_number_of_queries_is_the_same_with_more_groups(viewer):
    counts = []
    for word in ("a", "b c", "d e f"):
        failed(error=f"400 {word}")
        with CaptureQueriesContext(connection) as queries:
            viewer.get(PAGE)
        counts.append(len(queries))

    assert all(one == other for one, other in pairwise(counts[1:]))
    assert counts[-1] <= 10
