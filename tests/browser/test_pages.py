"""What every page owes its readers: no barrier, no broken policy, no sideways scroll, a focus one can see."""

import pytest

from tests.browser.pages import EVENTS, LONG, PAGES, PHONE, Scene, arrive

pytestmark = pytest.mark.django_db(transaction=True)

every_page = pytest.mark.parametrize("name", PAGES)


@every_page
def test_axe_finds_no_barrier_in_light_or_dark(visit, name):
    visitor = arrive(name, Scene(visit, {"bypass_csp": True}))  # axe writes styles to look through

    found = {}
    for scheme in ("light", "dark"):
        visitor.page.emulate_media(color_scheme=scheme)
        found[scheme] = visitor.barriers()

    assert found == {"light": [], "dark": []}


@every_page
def test_a_narrow_screen_is_wide_enough_and_the_policy_holds(visit, name):
    """The fixture ``visit`` judges policy, scripts and dialogs."""
    visitor = arrive(name, Scene(visit, {"viewport": PHONE}))

    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


#: The text of each of its elements that the browser has put on several lines.
BROKEN = """found => found.flatMap(element => {
    const range = document.createRange();
    const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    const parts = [];
    while (texts.nextNode()) {
        range.selectNodeContents(texts.currentNode);
        const lines = new Set([...range.getClientRects()].map(line => Math.round(line.top)));
        if (lines.size > 1) parts.push(texts.currentNode.data);
    }
    return parts;
})"""


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_number_is_broken_into_digits(visit, width):
    visitor = arrive("dashboard, crowded", Scene(visit, {"viewport": {"width": width, "height": 900}}))
    numbers = visitor.page.locator(".eventbridge-value, .eventbridge-number")

    assert "12,480,001" in numbers.all_inner_texts()
    assert numbers.evaluate_all(BROKEN) == []


#: The headings and cells of a table that are wider than their column.
OVERFLOWING = (
    """found => found.filter(cell => cell.scrollWidth > cell.clientWidth + 1).map(cell => cell.textContent)"""
)


@pytest.mark.parametrize("width", [360, 768, 1030, 1100, 1280])
def test_no_cell_of_the_list_covers_the_next(visit, width):
    visitor = arrive("events", Scene(visit, {"viewport": {"width": width, "height": 900}}))

    assert visitor.page.locator("#result_list :is(th, td)").evaluate_all(OVERFLOWING) == []
    assert visitor.page.locator("#result_list .field-tries").evaluate_all(BROKEN) == []


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_a_long_type_is_broken_only_behind_dots_and_underscores(visit, width):
    visitor = arrive("events, crowded", Scene(visit, {"viewport": {"width": width, "height": 900}}))
    types = visitor.page.locator("#result_list .field-event_type a")

    assert LONG in types.all_inner_texts()
    assert types.evaluate_all(BROKEN) == []


def test_dark_is_dark(visit):
    """So that axe did not look at the same colours twice."""
    visitor = arrive("events", Scene(visit))
    colours = set()
    for scheme in ("light", "dark"):
        visitor.page.emulate_media(color_scheme=scheme)
        colours.add(visitor.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert len(colours) == 2


def test_the_policy_is_enforced_and_its_violations_are_noticed(visit):
    visitor = visit("ana")
    visitor.go(EVENTS)
    visitor.page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'document.title = "owned"';
            document.body.append(script);
        }"""
    )

    assert visitor.page.title() != "owned"
    visitor.page.wait_for_function("true")
    assert any(thing.startswith("policy: script-src") for thing in visitor.noticed)
    visitor.noticed.clear()


def test_axe_sees_a_barrier_where_there_is_one(visit):
    visitor = visit("ana")
    visitor.go(EVENTS)
    visitor.page.evaluate("document.querySelector('#content').append(document.createElement('button'))")

    assert [barrier for barrier in visitor.barriers() if "button-name" in barrier]
