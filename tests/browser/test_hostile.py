"""What the world sends is text in a real browser too: nothing runs, opens, moves or turns around."""

import pytest

from genesys_eventbridge.models import OutboxEvent
from tests.admin.test_hostile import EVIL, SEEN_BY_NOBODY, rows_full_of
from tests.browser.pages import DESTINATION, DESTINATIONS, EVENTS, PHONE
from tests.outbox_rows import event

pytestmark = pytest.mark.django_db(transaction=True)

RUNS = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><svg>"
TEXTS = {**EVIL, "runs": RUNS}
#: The text in the page's own part: what a reader sees, whatever elements hold it.
SHOWN = "document.querySelector('#content').innerText"
ELEMENTS = (
    "document.querySelectorAll('#content :is(script:not([src]), img[src=x], svg, iframe, [onerror])').length"
)


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_text_in_every_field_is_text(visit, name):
    evil = TEXTS[name]
    row = rows_full_of(evil)
    ana = visit("ana", viewport=PHONE, bypass_csp=True)  # our escaping alone must hold
    page = ana.page
    for address in (
        EVENTS,
        f"{EVENTS}{row.pk}/change/",
        DESTINATIONS,
        DESTINATION,
        f"{EVENTS}{row.pk}/history/",
    ):
        ana.go(address)
        text = page.evaluate(SHOWN)
        assert page.evaluate(ELEMENTS) == 0, address
        assert page.title() != "owned", address
        if "history" not in address:
            assert SEEN_BY_NOBODY.isdisjoint(text), address
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], address
    ana.go(f"{EVENTS}{row.pk}/change/")
    page.get_by_role("button", name="Requeue…").click()
    page.get_by_label("Reason").fill(evil.replace("\r", ""))
    page.get_by_role("button", name="Requeue", exact=True).click()
    page.locator(".messagelist").wait_for()
    assert page.evaluate(ELEMENTS) == 0
    assert page.title() != "owned"


def test_what_is_hostile_is_still_readable(visit):
    row = rows_full_of(EVIL["script"])
    ana = visit("ana")
    ana.go(f"{EVENTS}{row.pk}/change/")

    assert ana.text().count(EVIL["script"]) > 10


def test_a_payload_of_200_kib_is_shown_in_a_box_of_its_own(visit):
    row = event("order.created", {"note": "<b>" * 66_000, "word": "x" * 2_000}, subject="ORD-1")
    assert len(OutboxEvent.objects.get(pk=row.pk).body) > 198_000
    ana = visit("ana", viewport=PHONE)
    ana.go(f"{EVENTS}{row.pk}/change/")
    box = ana.page.locator(".eventbridge-body")

    assert box.inner_text().count("<b>") == 66_000
    assert box.locator("b").count() == 0
    assert ana.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    height = box.bounding_box()
    assert height is not None
    assert height["height"] < 1_000
