"""Without a mouse: everything is reached by Tab, worked by Enter and Space, and one sees where one is."""

import re

import pytest
from playwright.sync_api import expect

from genesys_eventbridge.states import State
from tests.browser.pages import DESTINATION, EVENTS, Scene, arrive
from tests.outbox_rows import fresh

pytestmark = pytest.mark.django_db(transaction=True)

#: What Tab stops at, in our part of the page.
STOPS = "#content :is(a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0'])"
EDGE = 6


def looks(page, target):
    """The pixels of an element and its surroundings."""
    box = target.bounding_box()
    assert box is not None
    return page.screenshot(
        clip={
            "x": max(0, box["x"] - EDGE),
            "y": max(0, box["y"] - EDGE),
            "width": box["width"] + 2 * EDGE,
            "height": min(box["height"], 400) + 2 * EDGE,
        },
        animations="disabled",
    )


def test_a_dead_event_is_requeued_without_a_mouse(visit):
    scene = Scene(visit)
    dead = scene.events["dead"]
    ana = scene.ana
    ana.go(f"{EVENTS}?state=dead")
    page, keyboard = ana.page, ana.page.keyboard

    ana.press_until(page.locator(f'#result_list th a[href*="/{dead.pk}/change/"]'))
    keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"#{dead.pk}")
    ana.press_until(page.get_by_role("button", name="Requeue…"))
    keyboard.press("Space")
    expect(page.get_by_role("heading", name="1 event", exact=True)).to_be_visible()
    ana.press_until(page.get_by_label("Reason"))
    keyboard.type("registered now")
    ana.press_until(page.get_by_role("button", name="Requeue", exact=True), most=10)
    keyboard.press("Enter")

    expect(page.locator(".messagelist")).to_contain_text("1 requeued.")
    assert fresh(dead).state == State.PENDING
    assert ana.clicks == 0


def test_many_events_are_chosen_in_the_list_without_a_mouse(visit):
    scene = Scene(visit)
    dead = scene.events["dead"]
    ana = scene.ana
    ana.go(f"{EVENTS}?state=dead")
    page, keyboard = ana.page, ana.page.keyboard

    ana.press_until(page.locator("select[name=action]"))
    keyboard.type("Requeue")
    ana.press_until(page.locator("#action-toggle"))
    keyboard.press("Space")
    button = page.locator(".actions button[type=submit]")
    ana.press_until(button, "Shift+Tab")
    keyboard.press("Enter")
    expect(page.get_by_role("heading", name=re.compile(r"^\d+ events$"))).to_be_visible()
    ana.press_until(page.get_by_label("Reason"))
    keyboard.type("registered now")
    ana.press_until(page.get_by_role("button", name="Requeue", exact=True))
    keyboard.press("Enter")

    expect(page.locator(".messagelist")).to_contain_text("requeued.")
    assert fresh(dead).state == State.PENDING


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "name", ["event, dead", "event, behind a dead one", "confirm resolve", "destination", "destination, held"]
)
def test_every_stop_is_reached_by_tab_and_shows_the_focus(visit, name, scheme):
    ana = arrive(name, Scene(visit, {"color_scheme": scheme}))
    page = ana.page
    stops = page.locator(STOPS).filter(visible=True)
    unseen, radios = [], set()
    assert stops.count() > 1
    for number in range(stops.count()):
        stop = stops.nth(number)
        if group := stop.evaluate("element => element.type === 'radio' ? element.name : ''"):
            if group in radios:
                continue  # the arrows lead to the others
            radios.add(group)
        ana.press_until(stop)
        focused = looks(page, stop)
        stop.evaluate("element => element.blur()")
        if looks(page, stop) == focused:
            unseen.append(stop.evaluate("element => element.outerHTML"))
        stop.evaluate("element => element.focus()")

    assert unseen == []


def test_a_pause_is_asked_for_without_a_mouse(visit):
    ana = visit("ana")
    ana.go(DESTINATION)
    keyboard = ana.page.keyboard
    ana.press_until(ana.page.get_by_label("Duration (minutes)"))
    keyboard.type("30")
    ana.press_until(ana.page.get_by_label("Reason"), most=1)
    keyboard.type("tonight")
    ana.press_until(ana.page.get_by_role("button", name="Pause", exact=True), most=1)
    keyboard.press("Space")

    expect(ana.page.locator(".messagelist")).to_contain_text("Default is paused.")
