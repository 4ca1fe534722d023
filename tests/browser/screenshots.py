"""`make screenshots` takes screenshots of the example shop's admin for the README, in light and in dark.

    python -m tests.browser.screenshots FOLDER

A day in the shop's life is played on a database of its own: orders are placed, a real relay sends them to the
sandbox, some fail; the database's clock is moved, so that it does not take a day.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any
from unittest.mock import patch

from playwright.sync_api import Browser

EXAMPLE = Path(__file__).resolve().parents[2] / "example_project"
#: From 1200 px the list is a table, with its filters at the side.
SIZE = {"width": 1280, "height": 760}
LIST = "/admin/genesys_eventbridge/outboxevent/"
#: Picture -> the path of the page it shows, with placeholders for ids.
PICTURES: dict[str, str] = {
    "dashboard": LIST + "dashboard/",
    "events": LIST,
    "event": LIST + "{dead}/change/",
    "destination": "/admin/genesys_eventbridge/destination/default/change/",
}
HOUR = 3600
#: The shop's orders: how many hours ago, number, amount, customer.
ORDERS = [
    (9.2, "ORD-4711", "129.00", "ana"),
    (8.5, "ORD-4712", "18.50", "ben"),
    (7.1, "ORD-4713", "349.90", "eva"),
    (6.0, "ORD-4714", "59.00", "ana"),
    (4.4, "ORD-4715", "74.25", "kim"),
    (3.1, "ORD-4716", "210.00", "ben"),
    (0.8, "ORD-4717", "12.90", "eva"),
    (0.4, "ORD-4718", "95.00", "kim"),
]


def main(folder: Path) -> None:
    from tests.browser.chromium import chromium

    with tempfile.TemporaryDirectory(prefix="eventbridge-pictures-") as shop, _shop(shop) as (site, dead):
        folder.mkdir(parents=True, exist_ok=True)
        with chromium() as browser:
            for name, path in PICTURES.items():
                for scheme in ("light", "dark"):
                    _picture(browser, site + path.format(dead=dead), folder / f"{name}-{scheme}.png", scheme)


def _picture(browser: Browser, address: str, file: Path, scheme: str) -> None:
    context = browser.new_context(
        viewport=SIZE, color_scheme=scheme, locale="en-GB", timezone_id="UTC", reduced_motion="reduce"
    )
    try:
        context.add_init_script("localStorage.setItem('django.admin.navSidebarIsOpen', 'false')")
        page = context.new_page()
        page.goto(address)
        page.get_by_label("Username").fill("ana")
        page.get_by_label("Password").fill("ana")
        page.get_by_role("button", name="Log in").click()
        page.locator("#content-main").wait_for()
        page.wait_for_load_state("load")
        page.screenshot(path=file, animations="disabled")
        sys.stdout.write(f"{file}: {file.stat().st_size // 1024} KiB\n")
    finally:
        context.close()


@contextmanager
def _shop(folder: str) -> Iterator[tuple[str, int]]:
    """Serve the site after its day: its address, and the number of the dead event."""
    os.environ.update(DJANGO_SETTINGS_MODULE="settings", SHOP_FOLDER=folder)
    sys.path.insert(0, str(EXAMPLE))
    import django

    django.setup()
    logging.disable(logging.CRITICAL)  # the failures are simulated
    from django.contrib.auth import get_user_model
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.management import call_command
    from django.db import connections
    from django.test import override_settings
    from django.test.testcases import LiveServerThread

    from genesys_eventbridge.sandbox import Sandbox, serve

    call_command("migrate", verbosity=0)
    get_user_model().objects.create_superuser("ana", "ana@example.com", "ana")
    sandbox = Sandbox(deliver_after=0, refused_types={"order.status_changed"})
    with serve(sandbox) as platform:
        site = LiveServerThread("127.0.0.1", StaticFilesHandler)
        site.daemon = True
        with override_settings(GENESYS_EVENTBRIDGE=_destinations(platform.url)):
            dead = _day(sandbox)
            site.start()
            site.is_ready.wait()
            try:
                yield f"http://127.0.0.1:{site.port}", dead
            finally:
                site.terminate()
                site.join()
                connections.close_all()


def _destinations(url: str) -> dict[str, dict[str, object]]:
    from django.conf import settings

    where = {"API_BASE_URL": url, "WAKE": None, "BACKOFF_BASE": 60}
    given = settings.GENESYS_EVENTBRIDGE
    return {
        "default": {**given["default"], **where, "LOGIN_BASE_URL": url, "RATE_PER_MINUTE": 300},
        "workflow": {**given["workflow"], **where},
    }


def _day(sandbox: Any) -> int:
    """Simulate the past hours: orders, passes of the relay, failures, and operator actions."""
    from django.contrib.auth import get_user_model
    from shop.models import Customer, Order  # type: ignore[import-not-found]  # on the path only here

    from genesys_eventbridge.models import OutboxEvent
    from genesys_eventbridge.operations import Actor, requeue

    names = {
        name: Customer.objects.create(name=name.title(), email=f"{name}@example.com")
        for name in sorted({name for *_, name in ORDERS})
    }

    def place(hours: float, number: str, amount: str, name: str) -> None:
        with _ago(hours):
            Order.objects.create(number=number, amount=amount, customer=names[name])
        if number == "ORD-4714":
            sandbox.fail_next(503, times=2)
        _relay(hours)
        _relay(hours - 0.1)

    def pay(hours: float, number: str) -> None:
        order = Order.objects.get(number=number)
        order.status = Order.Status.PAID
        with _ago(hours):
            order.save()
        _relay(hours)

    def requeue_dead(hours: float, number: str) -> None:
        found = OutboxEvent.objects.get(state="dead", subject=number).pk
        with _ago(hours):
            ana = Actor("admin", user=get_user_model().objects.get())
            requeue([found], ana, reason="the integration team registers the type today")
        _relay(hours - 0.05)

    # In the order of time: a clock that is set back takes back when an event was last accepted.
    steps: list[tuple[float, Callable[[], None]]] = [
        *((order[0], partial(place, *order)) for order in ORDERS),
        (2.9, partial(pay, 2.9, "ORD-4712")),
        (0.9, partial(pay, 0.9, "ORD-4715")),
        (0.65, partial(requeue_dead, 0.65, "ORD-4715")),
    ]
    for _hours, step in sorted(steps, key=itemgetter(0), reverse=True):
        step()
    dead = OutboxEvent.objects.get(state="dead", subject="ORD-4715").pk
    sandbox.fail_next(503, times=1)
    with _ago(0.02):
        Order.objects.create(number="ORD-4719", amount="33.00", customer=names["ben"])
    _relay(0.01)
    Order.objects.create(number="ORD-4720", amount="410.00", customer=names["eva"])
    return int(dead)


def _relay(hours: float) -> None:
    from genesys_eventbridge.relay import check_accepted, publish_due

    with _ago(hours):
        publish_due()
        publish_due("workflow")
    with _ago(hours - 0.002):
        check_accepted()


@contextmanager
def _ago(hours: float) -> Iterator[None]:
    """Move the database's clock and the clock for event times ``hours`` back."""
    from genesys_eventbridge.db.clock import shifted

    then = dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)
    with shifted(-hours * HOUR), patch("genesys_eventbridge.cloudevents.datetime") as clock:
        clock.now.return_value = then
        yield


if __name__ == "__main__":
    main(Path(sys.argv[1]))
