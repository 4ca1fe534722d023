"""The jobs of the processes: commit business rows with events, or publish. May be killed at any moment."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, InterfaceError, connection, transaction
from django_q.timeout import TimeoutHandler

from genesys_eventbridge import conf, relay
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.operations import jobs
from genesys_eventbridge.outbox import enqueue, settle
from genesys_eventbridge.outbox.settle import Transition
from tests.chaos.points import Point
from tests.shop.models import Customer, Order

#: Prefix of order numbers that must never be visible: their transaction or savepoint is rolled back.
GHOST = "X-"
#: Number of aggregates that several committers write to; they lock them, as G8 requires.
SHARED = 5
#: Number of ordering keys per committer.
KEYS = 8


def one_pass(pipe: Connection, orders: dict[str, Any]) -> None:
    """Publish and check what is due once, like a django-q2 task, and report the result."""
    _obey(orders)
    point = Point(orders.get("point", ""), pipe, alarm=orders.get("alarm", False))
    with TimeoutHandler(600):
        published = relay.publish_due(max_seconds=orders.get("max_seconds"))
        point.here("H")
        relay.check_accepted()
    pipe.send(
        ("done", {"lost": published.lost, "released": published.released, "claimed": published.claimed})
    )


def loop(pipe: Connection, orders: dict[str, Any]) -> None:
    """Run the command that works without a broker, until SIGTERM."""
    _obey(orders)
    Point(orders.get("point", ""), pipe)
    if orders.get("watched"):
        _watch_writes(pipe)
    call_command("eventbridge_publish", loop=True, interval=0.1, verbosity=0)


def one_commit(pipe: Connection, orders: dict[str, Any]) -> None:
    """One business transaction with its event."""
    _obey(orders)
    point = Point(orders["point"], pipe)
    with transaction.atomic():
        order = Order.objects.create(number="N-1")
        enqueue("order.created", {"n": 1}, subject=order.number)
        point.here("A")


def commit_many(pipe: Connection, orders: dict[str, Any]) -> None:
    """Run transactions in a row, some rolled back completely or to a savepoint, until told to stop."""
    _obey(orders)
    draw = random.Random(orders["seed"])
    name, pause = orders["name"], orders["pause"]
    number = 0
    while not pipe.poll(pause * draw.uniform(0.5, 1.5)):
        number += 1
        try:
            pipe.send(_transact(draw, name, number))
        except (DatabaseError, InterfaceError):
            connection.close()


def _transact(draw: random.Random, name: str, number: int) -> str:
    """Run one business transaction; returns "committed", "rolled back" or "savepoint"."""
    shared = draw.randrange(SHARED) if draw.random() < 0.1 else None
    own = f"{name}-{draw.randrange(KEYS)}" if draw.random() < 0.5 else None
    key = own if shared is None else f"shared-{shared}"
    ends = draw.choices(["committed", "rolled back", "savepoint"], [8, 1, 1])[0]
    with contextlib.suppress(_Regret), transaction.atomic():
        if shared is not None:
            Customer.objects.select_for_update().get_or_create(pk=1 + shared)
        prefix = GHOST if ends == "rolled back" else ""
        for part in range(draw.choice([1, 1, 2])):
            _order(f"{prefix}{name}-{number}-{part}", key, name)
        if ends == "savepoint":
            with contextlib.suppress(_Regret), transaction.atomic():
                _order(f"{GHOST}{name}-{number}-s", key, name)
                raise _Regret
        if ends == "rolled back":
            raise _Regret
    return ends


class _Regret(Exception):
    """Rolls the transaction or savepoint back."""


def _order(number: str, key: str | None, name: str) -> None:
    order = Order.objects.create(number=number, note=f"{name}/{number.split('-')[-2]}")
    enqueue("order.created", {"number": number, "text": "Zoë"}, subject=number, ordering_key=key, about=order)


def _obey(orders: dict[str, Any]) -> None:
    settings.GENESYS_EVENTBRIDGE = orders["destination"]
    conf.reset()
    logging.getLogger("genesys_eventbridge").setLevel(orders.get("log", logging.CRITICAL))


def _watch_writes(pipe: Connection) -> None:
    """Check every settle independently of its own guard: the rows it writes must have its token."""
    original = settle._update

    def update(alias: str, rows: Sequence[Transition]) -> int:
        locked = OutboxEvent.objects.using(alias).filter(id__in=[row.id for row in rows]).order_by("id")
        before = {row["id"]: row for row in locked.select_for_update().values()}
        count = original(alias, rows)
        after = {row["id"]: row for row in OutboxEvent.objects.using(alias).filter(id__in=before).values()}
        for row in rows:
            held = row.id in before and before[row.id]["claim_token"] == row.token
            if not held and before.get(row.id) != after.get(row.id):
                pipe.send(("stale", row.id))
        return count

    settle._update = update


def work_off_jobs(pipe: Connection, orders: dict[str, Any]) -> None:
    """Work on jobs of operators; stop at the end of the ``batch``-th batch, before its commit or after it."""
    _obey(orders)
    jobs.BATCH = orders["size"]
    original, batches = jobs._keep, 0

    def keep(*arguments: Any) -> None:
        nonlocal batches
        original(*arguments)
        batches += 1
        if batches == orders["batch"]:
            point.here("uncommitted")

    point = Point(orders.get("point", ""), pipe)
    jobs._keep = keep  # type: ignore[assignment]
    pipe.send(("done", jobs.work()))
