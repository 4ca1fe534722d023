"""Hasty people: a double click and two operators at once come to one act."""

import pytest
from playwright.sync_api import expect

from genesys_eventbridge.models import EventAct, OutboxEvent
from genesys_eventbridge.states import Act, State
from tests.browser.cast import cast
from tests.browser.pages import EVENTS
from tests.outbox_rows import fresh

pytestmark = pytest.mark.django_db(transaction=True)


def confirmation(visitor, row, button, reason):
    visitor.go(f"{EVENTS}{row.pk}/change/")
    visitor.page.get_by_role("button", name=f"{button}…").click()
    visitor.page.get_by_label("Reason").fill(reason)
    return visitor.page.get_by_role("button", name=button, exact=True)


def test_a_double_click_requeues_once(visit):
    dead = cast()["dead"]
    ana = visit("ana")
    confirmation(ana, dead, "Requeue", "in a hurry").dblclick()

    expect(ana.page.locator(".messagelist")).to_be_visible()
    assert EventAct.objects.filter(event=dead, act=Act.REQUEUE).count() == 1
    assert fresh(dead).state == State.PENDING


def test_a_double_click_resends_once(visit):
    delivered = cast()["delivered"]
    before = OutboxEvent.objects.count()
    ana = visit("ana")
    confirmation(ana, delivered, "Resend as new", "in a hurry").dblclick()

    expect(ana.page.locator(".messagelist")).to_be_visible()
    assert OutboxEvent.objects.count() == before + 1


def test_two_operators_at_once_come_to_one_act(visit):
    dead = cast()["dead"]
    operators = [visit("ana"), visit("rita", "view_outboxevent", "requeue_event")]
    for operator in operators:
        confirmation(operator, dead, "Requeue", "in a hurry")
    for operator in operators:
        submit = "const form = document.querySelector('form.eventbridge-form')"
        press = "form.requestSubmit(form.querySelector('[name=confirm]'))"
        operator.page.evaluate(f"() => {{ {submit}; setTimeout(() => {press}) }}")
    said = [operator.page.locator(".messagelist").inner_text().strip() for operator in operators]

    assert sorted(said) == ["0 requeued, 1 skipped: already waiting to be sent.", "1 requeued."]
    assert EventAct.objects.filter(event=dead, act=Act.REQUEUE).count() == 1


def test_what_changed_since_the_confirmation_is_said(visit):
    """T38: the selection is judged again when it is acted on."""
    dead = cast()["dead"]
    ana, rita = visit("ana"), visit("rita", "view_outboxevent", "requeue_event", "cancel_event")
    late = confirmation(rita, dead, "Requeue", "too late")
    confirmation(ana, dead, "Cancel", "the customer withdrew").click()
    expect(ana.page.locator(".messagelist")).to_contain_text("1 cancelled.")
    late.click()

    expect(rita.page.locator(".messagelist")).to_contain_text("0 requeued, 1 skipped")
    assert fresh(dead).state == State.CANCELLED
