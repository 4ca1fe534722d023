"""`manage.py demo` places orders and publishes their events to a stand-in platform on this machine."""

from __future__ import annotations

import os
import tempfile
import time
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections, transaction

from genesys_eventbridge import conf
from genesys_eventbridge.models import DeliveryAttempt, OutboxEvent
from genesys_eventbridge.states import OPEN, AttemptKind, State
from shop.models import Customer, Order
from shop.stage import DemoFailed, answers, control, free_port, port_from, process, stopped_by_signals, until

#: The sandbox refuses this type until the demo registers it, as the platform refuses unknown types.
UNREGISTERED = "order.status_changed"
ORDERS = 6
#: Seconds without news after which the demo says what it waits for.
SILENCE = 6.0
#: Seconds until the demo gives up: a retry may wait a minute for its schedule, and django-q2 looks for due
#: schedules every 30 seconds.
PATIENCE = 100.0


class Command(BaseCommand):
    help = "Shows the whole path of an event with a real sandbox platform, django-q2 workers and orders."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--serve", action="store_true", help="keep the site up to look at the admin")
        parser.add_argument("--port", type=int, default=8000, help="port of the site with --serve (8000)")

    def handle(self, **options: Any) -> None:
        with stopped_by_signals(), tempfile.TemporaryDirectory(prefix="eventbridge-demo-") as name:
            folder = Path(name)
            try:
                self._play(folder, serve=options["serve"], port=options["port"])
            except DemoFailed as failure:
                logs = "\n".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in folder.glob("*.log"))
                raise CommandError(f"{failure}\n{logs}") from None
            finally:
                connections.close_all()

    def _play(self, folder: Path, *, serve: bool, port: int) -> None:
        began = time.monotonic()
        url = f"http://127.0.0.1:{free_port()}"
        # For the child processes; this process has already read its settings.
        os.environ.update(SHOP_FOLDER=str(folder), SANDBOX_URL=url)
        self._use(folder, url)
        self._say("Preparing an SQLite database and the django-q2 schedules.")
        call_command("migrate", verbosity=0)
        call_command("eventbridge_schedules", apply=True, stdout=StringIO())
        sandbox = ("eventbridge_sandbox", "--port", url.rsplit(":", 1)[1], "--scenario", "flaky")
        with (
            process(*sandbox, "--refuse-type", UNREGISTERED, log=folder / "sandbox.log"),
            process("qcluster", log=folder / "qcluster.log"),
        ):
            until(lambda: answers(url), "the sandbox platform responds", 20)
            self._say(f"Started the sandbox platform at {url} and a django-q2 cluster.\n")
            self._watched = _Watch(self)
            self._orders()
            self._a_refusal(url)
            self._summary(time.monotonic() - began)
            if serve:
                self._serve(port, url, folder)
            else:
                self._say("\nTo see them in the admin: make serve")

    def _use(self, folder: Path, url: str) -> None:
        """Point this process at the demo's own database and platform."""
        settings.GENESYS_EVENTBRIDGE["default"].update(API_BASE_URL=url, LOGIN_BASE_URL=url)
        settings.GENESYS_EVENTBRIDGE["workflow"].update(API_BASE_URL=url)
        conf.reset()
        connections["default"].close()
        connections["default"].settings_dict["NAME"] = str(folder / "shop.sqlite3")

    def _orders(self) -> None:
        self._say(
            f"Placing {ORDERS} orders. Each goes to the event bus (default) and, by a webhook, to a workflow."
        )
        self._say("Every third event gets 503 twice before it is accepted.")
        ana = Customer.objects.create(name="Ana", email="ana@example.com")
        for number in range(1, ORDERS + 1):
            with transaction.atomic():
                Order.objects.create(number=f"ORD-{number}", amount=f"{number}9.90", customer=ana)
        until(self._watched.none_open, "every order's event is delivered", PATIENCE)

    def _a_refusal(self, url: str) -> None:
        self._say(f"\nPaying ORD-1. The platform does not know the type {UNREGISTERED} yet.")
        order = Order.objects.get(number="ORD-1")
        order.status = Order.Status.PAID
        order.save()
        until(self._watched.none_open, "the refused event is dead", PATIENCE)
        self._say(
            f"\nRegistering {UNREGISTERED} at the platform, then: manage.py eventbridge_retry --state dead "
            '--because "the type is registered now"'
        )
        control(url, register=UNREGISTERED)
        retry = (
            "eventbridge_retry",
            "--state",
            "dead",
            "--because",
            "the type is registered now",
            "--no-input",
        )
        call_command(*retry, stdout=self.stdout)
        until(self._watched.none_open, "the requeued event is delivered", PATIENCE)

    def _summary(self, seconds: float) -> None:
        events = list(OutboxEvent.objects.order_by("id"))
        delivered = [event for event in events if event.state == State.DELIVERED]
        requeued = [event for event in delivered if event.pk in self._watched.died]
        retried = [
            event for event in delivered if event.pk in self._watched.failed.keys() - self._watched.died
        ]
        first = len(delivered) - len(retried) - len(requeued)
        self._say(f"\n{len(delivered)} of {len(events)} events delivered in {seconds:.0f} s:")
        self._say(
            f"  {first} at the first attempt, {len(retried)} after retries, {len(requeued)} after being dead "
            "and requeued."
        )
        for alias in conf.aliases():
            count = sum(event.destination == alias for event in delivered)
            confirmed = "confirmed" if conf.destination(alias).confirms else "accepted, without confirmation"
            name = conf.destination(alias).platform.protocol.name
            self._say(f"  {count} by {alias} (protocol {name}): {confirmed}.")
        if len(events) != 2 * ORDERS + 1 or len(delivered) != len(events):
            raise DemoFailed("Not every event was delivered.")
        if not retried or len(requeued) != 1:
            raise DemoFailed(
                "No event was delivered after retries, or none was dead and delivered after a requeue."
            )

    def _serve(self, port: int, url: str, folder: Path) -> None:
        get_user_model().objects.create_superuser("demo", "demo@example.com", "demo")
        wanted, port = port, port_from(port)
        if port != wanted:
            self._say(
                f"\nPort {wanted} is taken; using {port}. Choose one: manage.py demo --serve --port {port}"
            )
        site = f"http://127.0.0.1:{port}"
        with process("runserver", str(port), "--noreload", log=folder / "site.log"):
            until(lambda: answers(f"{site}/admin/login/"), "the site responds", 20)
            self._say(
                f"\nThe shop:  {site}/admin/   user demo, password demo   (place an order, then look at"
            )
            self._say(f"           {site}/admin/genesys_eventbridge/outboxevent/)")
            self._say(f"Platform:  {url}/   (what it received; its scenario can be changed there)")
            self._say("Press Ctrl-C to stop everything.")
            try:
                while True:
                    time.sleep(1)
            except KeyboardInterrupt:
                self._say("\nStopped.")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


class _Watch:
    """Prints each failed attempt and each new state. The summary counts what it has printed."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.began = time.monotonic()
        self.states: dict[int, str] = {}
        #: Failed attempts to publish, by event.
        self.failed: dict[int, int] = {}
        self.died: set[int] = set()
        self._last_attempt = 0
        self._last_said = self.began

    def none_open(self) -> bool:
        """Print what has changed since the last call. True if there are events and none is open."""
        # From the attempt log, because a poll may miss a state. Read after the events: it is at least as new.
        events = {event.pk: event for event in OutboxEvent.objects.order_by("id")}
        attempts = DeliveryAttempt.objects.filter(
            pk__gt=self._last_attempt, event__in=events, kind=AttemptKind.PUBLISH
        )
        for attempt in attempts.order_by("pk"):
            self._last_attempt = attempt.pk
            if attempt.event_id and attempt.error:
                self.failed[attempt.event_id] = self.failed.get(attempt.event_id, 0) + 1
                number = self.failed[attempt.event_id]
                self._say(events[attempt.event_id], f"attempt {number}: {_first_sentence(attempt.error)}")
        for event in events.values():
            if self.states.get(event.pk) != event.state:
                self.states[event.pk] = event.state
                self._report(event)
        count = sum(event.state in OPEN for event in events.values())
        if count and time.monotonic() - self._last_said >= SILENCE:
            who = "1 event is" if count == 1 else f"{count} events are"
            self._line(f"{who} still open: a retry due later waits for the next worker, one a minute.")
        return bool(events) and not count

    def _report(self, event: OutboxEvent) -> None:
        what = f"{event.state}"
        if event.state == State.DEAD:
            self.died.add(event.pk)
            what = f"dead ({event.reason})"
        elif event.state == State.DELIVERED:
            end = "delivered" if conf.destination(event.destination).confirms else "accepted"
            number = self.failed.get(event.pk, 0) + 1
            what = f"{end}, {number} attempt{'s' if number > 1 else ''}"
        self._say(event, what)

    def _say(self, event: OutboxEvent, what: str) -> None:
        self._line(f"{event.subject:<6} {event.type:<21} {event.destination:<8} {what}")

    def _line(self, text: str) -> None:
        self._last_said = time.monotonic()
        self.command._say(f"  {self._last_said - self.began:5.1f} s  {text}")


def _first_sentence(text: str) -> str:
    return text.split(". ", maxsplit=1)[0]
