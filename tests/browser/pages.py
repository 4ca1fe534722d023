"""All pages by name, and how to open each. Requirements for every page are tested on each of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.utils import timezone
from playwright.sync_api import expect

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.model_events import publishes
from genesys_eventbridge.models import Destination, OutboxEvent, Rollup
from genesys_eventbridge.operations import Order, jobs, pause
from genesys_eventbridge.outbox import enqueue_many
from genesys_eventbridge.states import Act, State
from tests.browser import cast
from tests.browser.visitor import Visitor
from tests.outbox_rows import event as event_row
from tests.shop.models import Order as ShopOrder

EVENTS = "/admin/genesys_eventbridge/outboxevent/"
AUDIT = "/admin/genesys_eventbridge/job/"
CATALOGUE = "/admin/genesys_eventbridge/cataloguepage/"
DASHBOARD = "/admin/genesys_eventbridge/dashboardpage/"
ERASE = f"{EVENTS}erase/"
FAILURES = "/admin/genesys_eventbridge/failurespage/"
DESTINATIONS = "/admin/genesys_eventbridge/destination/"
DESTINATION = f"{DESTINATIONS}default/change/"
#: The smallest supported screen.
PHONE = {"width": 360, "height": 740}


@dataclass
class Scene:
    """The visitor and the events of a test, created when first used."""

    visit: Callable[..., Visitor]
    looks: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def events(self) -> dict[str, OutboxEvent]:
        return cast.cast()

    @cached_property
    def ana(self) -> Visitor:
        return self.visit("ana", **self.looks)


Way = Callable[[Scene], Visitor]


def arrive(name: str, scene: Scene) -> Visitor:
    """A visitor who has opened this page, after all its files have loaded."""
    visitor = PAGES[name](scene)
    visitor.page.wait_for_load_state("load")
    return visitor


def at(path: str) -> Way:
    def go(scene: Scene) -> Visitor:
        assert scene.events
        scene.ana.go(path)
        return scene.ana

    return go


def at_once(path: str) -> Way:
    """The page without any events."""

    def go(scene: Scene) -> Visitor:
        scene.ana.go(path)
        return scene.ana

    return go


def event(name: str) -> Way:
    def go(scene: Scene) -> Visitor:
        scene.ana.go(f"{EVENTS}{scene.events[name].pk}/change/")
        return scene.ana

    return go


def asked(name: str, button: str) -> Way:
    """The confirmation page of an action on one event."""

    def go(scene: Scene) -> Visitor:
        ana = event(name)(scene)
        ana.page.get_by_role("button", name=button).click()
        expect(ana.page.locator(".eventbridge-form")).to_be_visible()
        return ana

    return go


def chosen(action: str, then: str) -> Way:
    """The page after an action on all rows of the list."""

    def go(scene: Scene) -> Visitor:
        ana = at(EVENTS)(scene)
        ana.page.locator("#action-toggle").check()
        ana.page.locator("select[name=action]").select_option(label=action)
        ana.page.locator(".actions button[type=submit]").click()
        expect(ana.page.locator("#content-main.eventbridge-page")).to_contain_text(then)
        return ana

    return go


def _everything(scene: Scene) -> Visitor:
    """The confirmation of an action on all events that match, more than a page of the list shows."""
    enqueue_many([{"type": "order.created", "data": {"number": n}} for n in range(101)], standalone=True)
    OutboxEvent.objects.update(**cast.dead())
    ana = scene.ana
    ana.go(EVENTS)
    ana.page.locator("#action-toggle").check()
    ana.page.locator(".actions .question a").click()
    ana.page.locator("select[name=action]").select_option(label="Requeue")
    ana.page.locator(".actions button[type=submit]").click()
    expect(ana.page.locator(".eventbridge-next")).to_contain_text("All that match")
    return ana


def _job(scene: Scene) -> Visitor:
    """The page of an act that waits for a worker."""
    assert scene.events
    order = Order(Act.REQUEUE, cast.WHO, "the type is registered now", {}, "dead")
    job = jobs.freeze(order, OutboxEvent.objects.filter(state=State.DEAD))
    scene.ana.go(f"{AUDIT}{job.pk}/change/")
    return scene.ana


def _finished_job(scene: Scene) -> Visitor:
    assert scene.events
    scene.ana.go(AUDIT)
    scene.ana.page.locator("#result_list th a").first.click()
    return scene.ana


def _changes(scene: Scene) -> Visitor:
    """The difference between the data of a dead event and what was typed."""
    ana = asked("dead", "Correct and resend…")(scene)
    ana.page.locator("[name=corrected]").fill('{"number": "ORD-8", "customer": {"email": "ana@example.com"}}')
    ana.page.get_by_label("Reason").fill("a wrong number")
    ana.page.get_by_role("button", name="Show the changes").click()
    expect(ana.page.get_by_role("list", name="Changes")).to_be_visible()
    return ana


def _counted_erasure(scene: Scene) -> Visitor:
    """What would be erased of the person whose events have this subject."""
    ana = at(ERASE)(scene)
    ana.page.locator("[name=sought]").fill("ORD-7")
    ana.page.get_by_label("Reason").fill("asked for by letter")
    ana.page.get_by_role("button", name="Show what would be erased").click()
    expect(ana.page.get_by_role("button", name="Erase", exact=True)).to_be_visible()
    return ana


def _refused(scene: Scene) -> Visitor:
    ana = asked("dead", "Requeue…")(scene)
    ana.page.locator(".eventbridge-form").evaluate("form => { form.noValidate = true }")
    ana.page.get_by_role("button", name="Requeue", exact=True).click()
    expect(ana.page.locator(".errornote")).to_be_visible()
    return ana


def _without_payload(scene: Scene) -> Visitor:
    vera = scene.visit("vera", "view_outboxevent", "view_destination", **scene.looks)
    vera.go(f"{EVENTS}{scene.events['dead'].pk}/change/")
    return vera


def _list_of_a_viewer(scene: Scene) -> Visitor:
    assert scene.events
    vera = scene.visit("vera", "view_outboxevent", "view_destination", **scene.looks)
    vera.go(EVENTS)
    return vera


def _after_an_act(scene: Scene) -> Visitor:
    ana = asked("dead", "Requeue…")(scene)
    ana.page.get_by_label("Reason").fill("registered")
    ana.page.get_by_role("button", name="Requeue", exact=True).click()
    expect(ana.page.locator(".messagelist")).to_be_visible()
    return ana


#: As long as types get in practice, without a place to break but their dots.
LONG = "com.example.commerce.fulfilment.order.shipment_status_changed.v2"


def crowded(path: str) -> Way:
    """The page of a large installation: several destinations, long names, millions of deliveries."""

    def go(scene: Scene) -> Visitor:
        assert scene.events
        away = event_row(LONG, subject="ORD-2026-0004711-B")
        OutboxEvent.objects.filter(pk=away.pk).update(destination="emea-production-callbacks")
        Destination.objects.create(alias="emea-production-callbacks")
        begin = timezone.now() - dt.timedelta(minutes=20)
        for measure in ("delivered", "dead", "within:4"):
            Rollup.objects.create(starts_at=begin, destination="default", measure=measure, number=12_480_001)
        scene.ana.go(path)
        return scene.ana

    return go


def _catalogue(scene: Scene) -> Visitor:
    fields = ["number", "amount", "status", "customer.email", "note"]
    publishes(created="order.created", updated=LONG, changed=["status"], fields=fields)(ShopOrder)
    return at(CATALOGUE)(scene)


def _destination(path: str, **row: Any) -> Way:
    def go(scene: Scene) -> Visitor:
        assert scene.events
        Destination.objects.filter(alias="default").update(**row)
        scene.ana.go(path)
        return scene.ana

    return go


def _held(scene: Scene) -> Visitor:
    assert scene.events
    pause("default", cast.WHO, "the platform moves tonight", 3600)
    scene.ana.go(DESTINATION)
    return scene.ana


def _refused_pause(scene: Scene) -> Visitor:
    ana = at(DESTINATION)(scene)
    ana.page.locator(".eventbridge-form").evaluate("form => { form.noValidate = true }")
    ana.page.get_by_role("button", name="Pause", exact=True).click()
    expect(ana.page.locator(".errorlist").first).to_be_visible()
    return ana


TROUBLE = {"paused_until": DatabaseNow(480), "paused_reason": "rate", "run_failures": 3}
STATES = (
    "waiting",
    "in flight",
    "waiting for a retry",
    "in doubt",
    "accepted",
    "dead",
    "dead, requeued before",
    "before another in its key",
    "behind a dead one",
    "unresolved",
    "delivered",
    "resent",
    "cancelled",
    "blanked",
)
PAGES: dict[str, Way] = {
    "dashboard": at(DASHBOARD),
    "dashboard, of an empty outbox": at_once(DASHBOARD),
    "dashboard, crowded": crowded(DASHBOARD),
    "events, crowded": crowded(EVENTS),
    "catalogue": _catalogue,
    "catalogue, without a declared type": at(CATALOGUE),
    "catalogue, empty": at_once(CATALOGUE),
    "app index": at("/admin/genesys_eventbridge/"),
    "events": at(EVENTS),
    "events, dead ones": at(f"{EVENTS}?state=dead"),
    "events, nothing matches": at(f"{EVENTS}?q=nobody"),
    "events, none yet": at_once(EVENTS),
    "events, for a viewer": _list_of_a_viewer,
    "event, without its payload": _without_payload,
    "event, after an act": _after_an_act,
    **{f"event, {name}": event(name) for name in STATES},
    "history of an event": lambda scene: at(f"{EVENTS}{scene.events['dead'].pk}/history/")(scene),
    "confirm requeue of many": chosen("Requeue", "Dead events are sent again"),
    "confirm cancel of many": chosen("Cancel", "withdrawn permanently"),
    "confirm, everything": _everything,
    "audit": at(AUDIT),
    "audit, an act that waits": _job,
    "audit, an act that is done": _finished_job,
    "failures": at(FAILURES),
    "failures, crowded": crowded(FAILURES),
    "failures, of an empty outbox": at_once(FAILURES),
    "confirm, refused": _refused,
    "confirm requeue": asked("dead", "Requeue…"),
    "confirm retry": asked("waiting for a retry", "Retry now…"),
    "confirm check": asked("accepted", "Check status now…"),
    "confirm resolve": asked("unresolved", "Resolve…"),
    "confirm cancel": asked("dead", "Cancel…"),
    "confirm resend": asked("delivered", "Resend as new…"),
    "confirm export": asked("delivered", "Export…"),
    "confirm replay of many": chosen("Replay", "sent again as new events"),
    "correct": asked("dead", "Correct and resend…"),
    "correct, its changes": _changes,
    "erase": at(ERASE),
    "erase, counted": _counted_erasure,
    "destinations": at(DESTINATIONS),
    "destination": at(DESTINATION),
    "destination, held": _held,
    "destination, in trouble": _destination(DESTINATION, **TROUBLE),
    "destination, pause refused": _refused_pause,
}
