"""A page of what changes keeps up with it, unless its reader is busy with it or has switched it off."""

import pytest
from playwright.sync_api import expect

from genesys_eventbridge.models import OutboxEvent
from tests.browser.pages import DASHBOARD, Scene, arrive
from tests.outbox_rows import event

pytestmark = pytest.mark.django_db(transaction=True)

SWITCH = "Refresh every 30 s"


@pytest.fixture
def dashboard(visit):
    """An open dashboard whose timers obey the test, and its number of waiting events."""
    ana = visit("ana")
    ana.page.clock.install()
    ana.go(DASHBOARD)
    number = ana.page.locator(".eventbridge-numbers a[href*='progress=waiting'] .eventbridge-value")
    expect(number).to_have_text("0")
    return ana, number


def later(ana):
    """Half a minute later, with all that the page asked for received."""
    with ana.page.expect_response(lambda response: response.url.endswith(DASHBOARD)):
        ana.page.clock.run_for(30_000)


def stays(ana, number, shown="0"):
    """Half a minute later nothing was asked for."""
    asked = []
    ana.page.on("request", lambda request: asked.append(request.url))
    ana.page.clock.run_for(65_000)
    expect(number).to_have_text(shown)
    assert asked == []


def test_the_numbers_keep_up_with_the_table(dashboard):
    ana, number = dashboard
    event()

    later(ana)

    expect(number).to_have_text("1")


def test_the_switch_stops_it_and_is_remembered(dashboard):
    ana, number = dashboard
    ana.page.get_by_label(SWITCH).uncheck()
    event()

    stays(ana, number)

    ana.page.reload()
    expect(ana.page.get_by_label(SWITCH)).not_to_be_checked()
    expect(number).to_have_text("1")


def test_switched_on_again_it_refreshes_at_once(dashboard):
    ana, number = dashboard
    ana.page.get_by_label(SWITCH).uncheck()
    event()

    ana.page.get_by_label(SWITCH).check()

    expect(number).to_have_text("1")


def test_a_person_who_types_or_marks_text_is_left_alone(dashboard):
    ana, number = dashboard
    event()
    ana.page.evaluate(
        """() => {
            const field = document.createElement('input');
            document.querySelector('#eventbridge-live').before(field);
            field.focus();
        }"""
    )
    stays(ana, number)

    ana.page.evaluate(
        """() => {
            document.activeElement.blur();
            document.getSelection().selectAllChildren(document.querySelector('#eventbridge-live h1'));
        }"""
    )
    stays(ana, number)

    ana.page.evaluate("document.getSelection().removeAllRanges()")
    later(ana)
    expect(number).to_have_text("1")


def test_a_hidden_tab_asks_for_nothing_and_catches_up_when_it_is_seen(dashboard):
    ana, number = dashboard
    event()
    hide = """hidden => {
        Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
        document.dispatchEvent(new Event('visibilitychange'));
    }"""
    ana.page.evaluate(hide, True)
    stays(ana, number)

    ana.page.evaluate(hide, False)

    expect(number).to_have_text("1")


def test_focus_and_opened_details_stay(visit):
    scene = Scene(visit)
    scene.ana.page.clock.install()
    ana = arrive("dashboard, crowded", scene)
    page = ana.page
    page.get_by_text("Show as table").first.click()
    page.locator(".eventbridge-numbers a").first.focus()
    before = page.locator(".eventbridge-numbers a").first.element_handle()
    OutboxEvent.objects.all().delete()

    later(ana)

    expect(page.locator(".eventbridge-verdict h2")).not_to_contain_text("need an operator")
    assert before.evaluate("element => element === document.activeElement")
    expect(page.locator("details[open]")).to_have_count(1)


def test_a_failure_is_told_and_the_page_stays(dashboard):
    ana, number = dashboard
    ana.page.route(f"**{DASHBOARD}", lambda route: route.fulfill(status=503))

    later(ana)

    expect(ana.page.locator(".eventbridge-refresh [role=status]")).to_contain_text("could not be refreshed")
    expect(number).to_have_text("0")
    assert [thing for thing in ana.noticed if "503" not in thing] == []
    ana.noticed.clear()


def test_someone_logged_out_keeps_the_page_and_is_told(dashboard):
    ana, number = dashboard
    ana.context.clear_cookies()

    ana.page.clock.run_for(30_000)

    expect(ana.page.locator(".eventbridge-refresh [role=status]")).to_contain_text("could not be refreshed")
    expect(number).to_have_text("0")


def test_without_scripts_there_is_the_page_and_no_switch(visit):
    ana = arrive("dashboard", Scene(visit, {"java_script_enabled": False}))

    expect(ana.page.locator("h1")).to_have_text("Dashboard")
    expect(ana.page.get_by_label(SWITCH)).to_be_hidden()
