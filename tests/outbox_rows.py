"""Rows and claims for the tests of the outbox, written and read through the app's own functions."""

from concurrent.futures import ThreadPoolExecutor
from copy import copy

from django.db import connections

from genesys_eventbridge import conf
from genesys_eventbridge.circuit import Reply
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.operations import Done
from genesys_eventbridge.outbox import claim as claims
from genesys_eventbridge.outbox import destinations, enqueue
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict
from genesys_eventbridge.states import AttemptKind, State

PUBLISH = AttemptKind.PUBLISH
CHECK = AttemptKind.CHECK


def settings_with(**changes) -> DestinationSettings:
    return conf.destination().changed(**changes)


def event(kind="order.created", data=None, *, row=None, **keywords) -> OutboxEvent:
    """Enqueue one event, then set the columns in ``row``."""
    written = enqueue(kind, data, standalone=True, **keywords)
    if row:
        OutboxEvent.objects.filter(pk=written.pk).update(**row)
    return OutboxEvent.objects.get(pk=written.pk)


def ended(state, reason="", **row):
    """The columns of a row that is not open, for ``event(row=...)``."""
    return {"state": state, "reason": reason, "due_at": None, "claim_token": None, **row}


def accepted(**row) -> OutboxEvent:
    """An event that the platform has just accepted, due for its first check."""
    written = event()
    columns = {"state": State.ACCEPTED, "remote_id": f"evt-{written.pk}", "accepted_at": written.created_at}
    OutboxEvent.objects.filter(pk=written.pk).update(**{**columns, **row})
    return OutboxEvent.objects.get(pk=written.pk)


def claim(kind=PUBLISH, limit=100, *, settings=None, lapsed=12, suspects=1, about=None):
    """The batch that one worker claims now; empty if the destination is paused."""
    settings = settings or conf.destination()
    gate = destinations.gate(kind, settings.alias, "tests")
    if not gate.open:
        return claims.Batch()
    return claims.claim(kind, settings, gate, claims.Capacity(limit, lapsed, suspects), about)


def halted(kind=Halt.NETWORK, reason="connection refused", seconds=None):
    """Pause the destination by recording a halted publish request."""
    outcome = Outcome(Verdict.HALTED, halt=kind, error=reason, retry_after=seconds)
    return destinations.record(PUBLISH, conf.destination(), [Reply(0, outcome)])


def changed(destination: Destination, **columns) -> Destination:
    """A copy of the row with other values; nothing is stored."""
    row = copy(destination)
    for name, value in columns.items():
        setattr(row, name, value)
    return row


def skipped(done: Done) -> dict[str, list[int]]:
    """The ids that an action skipped, by the reason in words."""
    return {str(why.label): some.ids for why, some in done.skipped.items()}


def fresh(row) -> OutboxEvent:
    return OutboxEvent.objects.get(pk=row.pk if isinstance(row, OutboxEvent) else row.id)


def seconds_between(earlier, later) -> float:
    """The seconds from one time to another; asserts that neither is None."""
    assert earlier is not None
    assert later is not None
    seconds: float = (later - earlier).total_seconds()
    return seconds


def in_threads(count, work):
    """Run ``work`` in ``count`` threads, each with its own connection. Raises the error of any thread."""

    def run():
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return [future.result(60) for future in [pool.submit(run) for _ in range(count)]]
