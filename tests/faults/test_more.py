"""Faults of the catalogue that belong to no single room: clocks, routers, a full disk, hooks that raise."""

import contextlib
import datetime as dt
import logging
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from django.utils import timezone

import genesys_eventbridge
from genesys_eventbridge import relay
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import enqueue
from genesys_eventbridge.states import State
from tests.outbox_rows import claim, event, fresh
from tests.scripted import ScriptedPlatform
from tests.shop.models import Order

HOUR = 3600.0


def publish(platform):
    return relay.publish_due(transport=platform.transport)


class ReplicaRouter:
    """Reads go to a database that does not exist: who reads there to decide, fails."""

    def db_for_read(self, model, **hints):
        return "replica"

    def db_for_write(self, model, **hints):
        return "default"

    def allow_relation(self, *args, **hints):
        return True


@pytest.mark.django_db
def test_every_character_reaches_the_platform_as_it_was_enqueued():
    """Faults 28 and 86: four-byte characters and U+0000, on every database."""
    row = event(data="😀 \u0000 é \u2028", subject="😀")
    platform = ScriptedPlatform()

    publish(platform)

    (request,) = platform.published
    assert request.content == row.body.encode()
    assert (row.data, row.subject) == ("😀 \u0000 é \u2028", "😀")


@pytest.mark.django_db
def test_a_deadlock_of_our_insert_is_the_callers_to_see():
    """Fault 26: no separate connection, nothing swallowed, nothing left."""

    def fail(_execute, sql, *_args):
        assert sql.startswith("INSERT INTO genesys_eventbridge_outboxevent")
        raise OperationalError("deadlock detected")

    def business():
        with transaction.atomic():
            Order.objects.create(number="N-1")
            with connection.execute_wrapper(fail):
                enqueue("order.created", {})

    with pytest.raises(OperationalError, match="deadlock"):
        business()

    assert not Order.objects.exists()
    assert not OutboxEvent.objects.exists()


@contextlib.contextmanager
def read_only():
    """What a full disk or a standby does to every write."""
    on, off = {
        "sqlite": ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
        "postgresql": ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off"),
        "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE"),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(on)
    connection.close_at = None  # keep this session
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(off)


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_cannot_write_sends_nothing():
    """Fault 31: the claim comes before the first byte."""
    row = event()
    platform = ScriptedPlatform()

    with read_only(), pytest.raises(DatabaseError):
        publish(platform)

    assert platform.published == []
    assert fresh(row).attempts == 0
    assert publish(platform).claimed == 1


def test_no_room_of_a_worker_needs_the_session_of_a_connection():
    """Fault 32: nothing that a pooler of transactions would take away.

    Except a listener, which tests whether it hears anything, and else the worker polls.
    """
    house = Path(genesys_eventbridge.__file__).parent
    needs = re.compile(r"pg_advisory|\"LISTEN |\"NOTIFY |\.iterator\(|SET SESSION|TEMPORARY TABLE|GET_LOCK")
    found = [
        f"{path.relative_to(house)}: {hit.group()}"
        for path in sorted(house.rglob("*.py"))
        for hit in needs.finditer(path.read_text(encoding="utf-8"))
        if not {"migrations", "admin"} & set(path.parts)  # no worker runs those
        and path != house / "db" / "notifications.py"
    ]

    assert found == []


@pytest.mark.django_db
def test_what_decides_is_read_where_it_is_written(settings):
    """Fault 34: a router that sends reads to a replica."""
    row = event(ordering_key="k")
    event(ordering_key="k")
    settings.DATABASE_ROUTERS = [f"{__name__}.ReplicaRouter"]
    platform = ScriptedPlatform()

    with transaction.atomic():
        enqueue("order.created", {}, idempotency_key="once")
        enqueue("order.created", {}, idempotency_key="once")
    publish(platform)
    with shifted(10):
        relay.check_accepted(transport=platform.transport)

    assert len(platform.published) == 3
    assert OutboxEvent.objects.using("default").get(pk=row.pk).state == State.DELIVERED


@pytest.mark.django_db
def test_an_event_outlives_the_business_row_it_is_about():
    """Fault 37: the body is self-contained."""
    with transaction.atomic():
        order = Order.objects.create(number="N-1")
        enqueue("order.created", {"number": "N-1"}, about=order)
    order.delete()
    platform = ScriptedPlatform()

    publish(platform)

    assert platform.bodies[0]["data"] == {"number": "N-1"}


@pytest.mark.django_db
@pytest.mark.parametrize("wrong", [HOUR, -HOUR])
def test_a_wrong_clock_of_one_worker_changes_no_lease(monkeypatch, wrong):
    """Fault 38: every due time is the database's."""
    row = event()
    real, aware = time.time, timezone.now
    monkeypatch.setattr(time, "time", lambda: real() + wrong)
    monkeypatch.setattr(timezone, "now", lambda: aware() + dt.timedelta(seconds=wrong))

    (got,) = claim().rows

    assert got.id == row.pk
    left = OutboxEvent.objects.filter(due_at__gt=DatabaseNow(50), due_at__lt=DatabaseNow(61))
    assert left.filter(pk=row.pk).exists()
    assert claim().rows == []


@pytest.mark.django_db
def test_a_clock_of_the_database_that_jumps_delays_or_takes_over_and_never_loses():
    """Fault 39: forward, a lease ends early and the key protects; back, the wait is as long as the jump."""
    row = event()
    (first,) = claim().rows

    with shifted(-HOUR):
        assert claim().rows == []
    with shifted(HOUR):
        (second,) = claim().rows

    assert (first.id, first.key, first.body) == (second.id, second.key, second.body)
    assert second.token != first.token
    assert fresh(row).attempts == 2


@pytest.mark.django_db(transaction=True)
def test_without_the_callbacks_of_a_commit_the_event_is_still_published():
    """Fault 99: somebody else's callback fails first, ours never runs; the row is the truth."""

    def fail():
        raise ZeroDivisionError

    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        transaction.on_commit(fail)
        enqueue("order.created", {})
    platform = ScriptedPlatform()

    assert publish(platform).claimed == 1


@pytest.mark.django_db(transaction=True)
def test_a_log_handler_that_raises_changes_no_outcome():
    """Fault 118."""

    class Broken(logging.Handler):
        def emit(self, record):
            raise ZeroDivisionError

    row = event()
    logger = logging.getLogger("genesys_eventbridge")
    handler, level = Broken(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        with contextlib.suppress(ZeroDivisionError):
            publish(ScriptedPlatform())
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)

    assert fresh(row).state == State.ACCEPTED


def test_loading_the_app_opens_no_connection():
    """Fault 80: a cluster forks its workers after loading."""
    code = (
        "import django; django.setup(); from django.db import connections; "
        "assert all(each.connection is None for each in connections.all(initialized_only=True))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )

    assert run.returncode == 0, run.stderr
