"""In a theme, too, one sees what a page is about, what is a button and what is a field, in light and in dark.

The pictures are for people: `make themes` leaves them in build/themes.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import expect

from tests.browser.pages import Scene, arrive
from tests.browser.visitor import Visitor

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # unfold on Django 6.1; its warning, and not about our classes.
    pytest.mark.filterwarnings("ignore:Overriding get_action_choices"),
]

THEME = settings.SETTINGS_MODULE.rpartition(".")[2]
OURS = ".eventbridge-page"
#: Page -> what its heading says.
HEADINGS = {
    "event, dead": "✕ dead order.paid ORD-7 #{pk}",
    "confirm requeue": "Requeue",
    "confirm resolve": "Resolve",
    "dashboard": "Dashboard",
    "catalogue": "Event catalogue",
    "destination": "default",
    "destination, pause refused": "default",
}
#: Those without a border and without a background of their own: they look like text.
FLAT = """found => found.filter(element => {
    const style = getComputedStyle(element);
    const clear = colour => colour === 'transparent' || /[,/] ?0\\)$/.test(colour);
    const framed = parseFloat(style.borderTopWidth) > 0 && !clear(style.borderTopColor);
    return !framed && clear(style.backgroundColor);
}).map(element => element.outerHTML)"""
FIELDS = f"{OURS} :is(textarea, select, input:not([type=submit], [type=radio], [type=checkbox]))"
BUTTONS = f"{OURS} :is(button, .button, input[type=submit])"

#: Jazzmin's script for forms expects Django's jQuery, which pages without a form do not load.
KNOWN = {"script error: django.jQuery is not a function"} if THEME == "jazzmin" else set()

schemes = pytest.mark.parametrize("scheme", ["light", "dark"])


@pytest.fixture
def visit(visit: Callable[..., Visitor]) -> Iterator[Callable[..., Visitor]]:
    """Without what the theme itself does on every page of this kind."""
    visitors = []

    def enter(*names: str, **looks: Any) -> Visitor:
        visitors.append(visit(*names, **looks))
        return visitors[-1]

    yield enter
    for visitor in visitors:
        visitor.noticed = [thing for thing in visitor.noticed if thing not in KNOWN]


def picture(page: Any, name: str, scheme: str, folder: Path) -> None:
    folder = Path(os.environ.get("EVENTBRIDGE_PICTURES", folder)) / THEME
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name.replace(', ', '-').replace(' ', '-')}-{scheme}.png"
    page.screenshot(path=file, full_page=True, animations="disabled")


@schemes
@pytest.mark.parametrize("name", HEADINGS)
def test_a_page_says_what_it_is_about_and_its_buttons_look_like_buttons(visit, name, scheme, tmp_path):
    scene = Scene(visit, {"color_scheme": scheme})
    page = arrive(name, scene).page

    heading = page.locator(f"{OURS} h1")
    expect(heading).to_be_visible()
    expect(heading).to_have_text(HEADINGS[name].format(pk=scene.events["dead"].pk), use_inner_text=True)
    for kind in (FIELDS, BUTTONS):
        assert page.locator(kind).filter(visible=True).evaluate_all(FLAT) == []
    picture(page, name, scheme, tmp_path)


@schemes
@pytest.mark.parametrize("name", HEADINGS)
def test_axe_finds_no_barrier_in_our_part_of_a_page(visit, name, scheme):
    visitor = arrive(name, Scene(visit, {"color_scheme": scheme}))

    assert visitor.barriers(OURS) == []


@schemes
def test_the_list_shows_states_and_errors(visit, scheme, tmp_path):
    page = arrive("events", Scene(visit, {"color_scheme": scheme})).page
    rows = page.locator("#result_list tbody tr")

    expect(rows.filter(has_text="rejected").first).to_contain_text("400 from the platform")
    picture(page, "events", scheme, tmp_path)


def test_typed_filters_and_the_search_work(visit):
    """Themes show the filters in a form of their own, and a form within a form ends it."""
    scene = Scene(visit)
    page = arrive("events", scene).page
    if THEME == "unfold":
        page.locator("#content a", has_text="Filters").first.click()
    name = page.locator(".eventbridge-values input[name=type]")
    for kind in (f".eventbridge-values {what}" for what in ("input[type=text]", "input[type=submit]")):
        assert page.locator(kind).evaluate_all(FLAT) == []

    name.fill("order.created")
    page.locator(".eventbridge-values input[type=submit]").click()

    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    search = page.locator("input[name=q], #searchbar").first
    search.fill("ORD-9")
    search.press("Enter")
    expect(page).to_have_url(re.compile(r"[?&]q=ORD-9"))
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
