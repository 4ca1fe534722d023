"""A destination is held and let go again by a person, while a real worker runs."""

import pytest
from playwright.sync_api import expect

from genesys_eventbridge.models import Destination
from genesys_eventbridge.states import State
from tests.browser.pages import DESTINATION, DESTINATIONS
from tests.outbox_rows import event, fresh
from tests.prompt import sandboxed

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_destination_is_paused_for_a_while_and_resumed_and_its_events_move_again(visit, worker):
    with sandboxed(deliver_after=0.1) as platform, worker():
        ana = visit("ana")
        page = ana.page
        ana.go(DESTINATIONS)
        ana.reload_until(lambda: page.locator("#result_list").count() == 1)
        page.locator("#result_list").get_by_role("link", name="default").click()
        page.get_by_label("Duration (minutes)").fill("30")
        page.get_by_label("Reason").fill("the platform moves tonight")
        page.get_by_role("button", name="Pause", exact=True).click()
        expect(page.locator(".messagelist")).to_contain_text("Default is paused.")
        expect(page.locator(".eventbridge-next")).to_contain_text("the platform moves tonight")
        expect(page.locator(".eventbridge-next")).to_contain_text("ana")
        held = Destination.objects.get()
        assert held.held_until is not None

        row = event(subject="ORD-1")
        seen = held.heartbeat_at
        ana.reload_until(lambda: Destination.objects.get().heartbeat_at != seen)
        assert (fresh(row).state, fresh(row).attempts, platform.received) == (State.PENDING, 0, [])

        page.get_by_label("Reason").fill("it has moved")
        page.get_by_role("button", name="Resume", exact=True).click()
        expect(page.locator(".messagelist")).to_contain_text("Default is resumed.")
        ana.reload_until(lambda: fresh(row).state == State.DELIVERED)

        page.get_by_role("link", name="History").click()
        history = page.locator("#content")
        expect(history).to_contain_text("the platform moves tonight")
        expect(history).to_contain_text("it has moved")


def test_a_pause_without_a_reason_is_not_sent(visit):
    """The browser itself asks for it; the server would too."""
    ana = visit("ana")
    ana.go(DESTINATION)
    ana.page.get_by_role("button", name="Pause", exact=True).click()

    expect(ana.page.locator("textarea[name=pause-reason]:invalid")).to_be_focused()
    assert Destination.objects.filter(held_by__gt="").count() == 0
