"""Who may only look sees that something is wrong, and neither the payload nor a button."""

import pytest
from playwright.sync_api import expect

from tests.browser.cast import cast
from tests.browser.pages import DESTINATION, EVENTS, STATES

pytestmark = pytest.mark.django_db(transaction=True)

#: Django's own: the switch of colours, the log-out, the search and its filters.
BUTTONS = "#content :is(button, input[type=submit], .button):not(#changelist-search *, #changelist-filter *)"
SECRETS = ("49.90", "ana@example.com")


def test_a_viewer_sees_no_payload_and_no_button(visit):
    events = cast()
    vera = visit("vera", "view_outboxevent", "view_destination")
    addresses = [EVENTS, DESTINATION, *(f"{EVENTS}{events[name].pk}/change/" for name in STATES)]
    for address in addresses:
        vera.go(address)
        assert vera.page.locator(BUTTONS).all_inner_texts() == [], address
        assert vera.page.locator("#content form[method=post] input:visible").count() == 0, address
        assert [secret for secret in SECRETS if secret in vera.page.content()] == [], address

    vera.go(f"{EVENTS}{events['dead'].pk}/change/")
    expect(vera.page.locator(".eventbridge-next")).to_contain_text("It will not be retried automatically")
    expect(vera.page.locator("#content")).to_contain_text("an object with 3 members")


def test_the_same_places_show_both_to_those_who_may(visit):
    events = cast()
    ana = visit("ana")
    ana.go(EVENTS)
    assert ana.page.locator(BUTTONS).count() > 0
    ana.go(f"{EVENTS}{events['dead'].pk}/change/")
    assert ana.page.locator(BUTTONS).all_inner_texts() == [
        "Requeue…",
        "Cancel…",
        "Correct and resend…",
        "Export…",
    ]
    assert [secret for secret in SECRETS if secret not in ana.page.content()] == []


def test_a_right_brings_its_own_button_only(visit):
    events = cast()
    rita = visit("rita", "view_outboxevent", "requeue_event")
    rita.go(f"{EVENTS}{events['dead'].pk}/change/")

    assert rita.page.locator(BUTTONS).all_inner_texts() == ["Requeue…"]
