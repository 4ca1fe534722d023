"""Tests of the alerts; the receivers of notices that they share."""

import base64
from typing import Any

from django.test import override_settings

from genesys_eventbridge.alerts import Notice
from genesys_eventbridge.alerts.delivery import Delivery, deliver
from genesys_eventbridge.alerts.evaluation import Report, configured, evaluate
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import destinations, enqueue_many
from genesys_eventbridge.states import AttemptKind
from tests.outbox_rows import ended
from tests.settings import GENESYS_EVENTBRIDGE

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def alerting(alerts: Any = "tests.alerts.receive", aliases=("default",), **more: Any) -> override_settings:
    """Settings in which these destinations have ALERTS."""
    one = {**GENESYS_EVENTBRIDGE["default"], "ALERTS": alerts, **more}
    return override_settings(GENESYS_EVENTBRIDGE={alias: dict(one) for alias in aliases})


received: list[Notice] = []


def receive(notice: Notice) -> None:
    """The function of ALERTS in most tests."""
    received.append(notice)


def heartbeat(alias: str = "default") -> None:
    """A worker reports."""
    destinations.gate(AttemptKind.PUBLISH, alias, "tests")


def fail(number: int, state: str = "dead", reason: str = "rejected", destination: str = "default") -> None:
    """So many more events are dead."""
    for start in range(0, number, 1000):
        rows = enqueue_many(
            [{"type": "order.created", "data": 1} for _ in range(min(1000, number - start))],
            destination=destination,
            standalone=True,
        )
        OutboxEvent.objects.filter(id__in=[row.pk for row in rows]).update(**ended(state, reason))


def look(*, by_worker: bool = False) -> list[Report]:
    return evaluate(configured(), by_worker=by_worker)


def send() -> list[Delivery]:
    return deliver(configured(), seconds=60)


def told() -> list[str]:
    """What the receiver got so far, as "status kind"."""
    return [f"{notice.status} {notice.kind}" for notice in received]
