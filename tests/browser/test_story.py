"""Support staff at work: an order's event is found, understood, sent again, and seen to arrive."""

import re
import time

import pytest
from playwright.sync_api import expect

from genesys_eventbridge.models import EventAct, OutboxEvent
from genesys_eventbridge.states import Act, State
from tests.outbox_rows import event
from tests.prompt import sandboxed

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = "/admin/genesys_eventbridge/outboxevent/"
TYPE = "order.status_changed"


@pytest.fixture
def refused(worker):
    """A platform that refuses a type, a worker that ran into it, and the dead event among others."""
    with sandboxed(refused_types={TYPE}, deliver_after=0.1) as platform, worker():
        event("order.created", {"number": "ORD-1"}, subject="ORD-1")
        dead = event(TYPE, {"number": "ORD-7"}, subject="ORD-7")
        yield platform, dead


def wait_for(visitor, row, state):
    """The page of the event says so, looked at again and again."""
    heading = visitor.page.get_by_role("heading", level=1)
    visitor.reload_until(lambda: state in heading.inner_text())
    assert OutboxEvent.objects.get(pk=row.pk).state == state


def test_a_dead_event_is_found_by_filters_understood_requeued_and_delivered(visit, refused):
    platform, dead = refused
    ana = visit("ana")
    page = ana.page
    ana.go(EVENTS)

    filters = page.locator("#changelist-filter")
    rows = page.locator("#result_list tbody tr")
    ana.reload_until(lambda: "dead" in page.locator("#result_list").inner_text())
    filters.get_by_role("link", name="dead", exact=True).click()
    expect(rows).to_have_count(1)
    filters.get_by_role("link", name="rejected", exact=True).click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("ORD-7")
    rows.get_by_role("link", name=TYPE).click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("dead")
    expect(page.locator(".eventbridge-next")).to_contain_text("It will not be retried automatically")
    expect(page.locator(".eventbridge-timeline")).to_contain_text("is not registered")
    platform.register(TYPE)

    page.get_by_role("button", name="Requeue…").click()
    expect(page.get_by_role("heading", name="1 event", exact=True)).to_be_visible()
    page.get_by_label("Reason").fill("the type is registered now")
    page.get_by_role("button", name="Requeue", exact=True).click()

    expect(page.locator(".messagelist")).to_contain_text("1 requeued.")
    wait_for(ana, dead, State.DELIVERED)
    expect(page.locator(".eventbridge-timeline")).to_contain_text("the type is registered now")
    assert [received["subject"] for received in platform.received] == ["ORD-1", "ORD-7"]
    act = EventAct.objects.get(event=dead)
    assert (act.act, act.username, act.reason) == (Act.REQUEUE, "ana", "the type is registered now")


def test_from_an_order_number_to_requeued_and_delivered(visit, refused, capsys):
    """What a customer on the telephone waits for."""
    platform, dead = refused
    ana = visit("ana")
    page = ana.page
    ana.go(f"{EVENTS}{dead.pk}/change/")
    wait_for(ana, dead, State.DEAD)
    platform.register(TYPE)
    ana.go(EVENTS)
    began, before = time.monotonic(), ana.clicks

    page.locator("#searchbar").click()
    page.keyboard.type("ORD-7")
    page.keyboard.press("Enter")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.locator("#result_list").get_by_role("link", name=TYPE).click()
    page.get_by_role("button", name="Requeue…").click()
    page.get_by_label("Reason").click()
    page.keyboard.type("ORD-7 never arrived")
    page.get_by_role("button", name="Requeue", exact=True).click()
    expect(page.locator(".messagelist")).to_contain_text("1 requeued.")
    wait_for(ana, dead, State.DELIVERED)

    seconds, clicks = time.monotonic() - began, ana.clicks - before
    with capsys.disabled():
        print(f"\norder number to delivered: {clicks} clicks, 2 texts, {seconds:.1f} s")  # noqa: T201
    assert clicks == 5


def test_events_are_requeued_from_the_list_and_its_filters_stay(visit, refused):
    platform, dead = refused
    ana = visit("ana")
    page = ana.page
    ana.go(f"{EVENTS}?state=dead")
    ana.reload_until(lambda: page.locator("#result_list tbody tr").count() == 1)
    platform.register(TYPE)

    page.get_by_role("checkbox", name=re.compile("Select this object")).check()
    page.locator("select[name=action]").select_option(label="Requeue")
    page.get_by_role("button", name=re.compile("^(Go|Run)")).click()
    page.get_by_label("Reason").fill("registered")
    page.get_by_role("button", name="Requeue", exact=True).click()

    expect(page.locator(".messagelist")).to_contain_text("1 requeued.")
    assert page.url.endswith("?state=dead")
    expect(page.get_by_text("No event matches.")).to_be_visible()
    ana.go(f"{EVENTS}{dead.pk}/change/")
    wait_for(ana, dead, State.DELIVERED)


def test_a_person_logs_in_and_arrives_where_they_wanted_to_be(visit):
    nobody = visit("ana")
    nobody.context.clear_cookies()
    row = event(subject="ORD-3")
    nobody.go(f"{EVENTS}{row.pk}/change/")

    nobody.page.get_by_label("Username").fill("ana")
    nobody.page.get_by_label("Password").fill("ana")
    nobody.page.get_by_role("button", name="Log in").click()

    expect(nobody.page.get_by_role("heading", level=1)).to_contain_text(f"#{row.pk}")
