"""Destinations in the tables but not in the settings: removed, renamed, or another project's."""

from __future__ import annotations

import datetime as dt

from django.db.models import QuerySet

from genesys_eventbridge import conf
from genesys_eventbridge.circuit.rate import SET_BACK_SECONDS
from genesys_eventbridge.db.clock import NOW
from genesys_eventbridge.models import Destination, OutboxEvent, in_states, outbox_alias
from genesys_eventbridge.states import State

#: If a worker reported within this many seconds, another project on this database serves the destination.
SERVED = 180.0


def left() -> tuple[str, ...]:
    """Their aliases, sorted. A few index reads per destination, whatever the size of the table."""
    return tuple(sorted((_of_events() | _with_a_row()) - set(conf.aliases())))


def is_left(alias: str) -> bool:
    """Whether this destination is in the tables but not in the settings."""
    if alias in conf.aliases():
        return False
    events = OutboxEvent.objects.on_outbox().filter(in_states(tuple(State)), destination=alias)
    return _rows().filter(alias=alias).exists() or events.exists()


def orphans(quiet: float = SERVED) -> tuple[str, ...]:
    """Those that no worker serves: none has reported for ``quiet`` seconds by the database's clock."""
    known = Orphans(quiet)
    return tuple(alias for alias in left() if alias in known)


class Orphans:
    """``alias in Orphans()``: not configured, and served by no worker. No query for a configured one."""

    def __init__(self, quiet: float = SERVED) -> None:
        self._quiet = quiet
        self._known: dict[str, bool] = {}

    def __contains__(self, alias: str) -> bool:
        if alias in conf.aliases():
            return False
        if alias not in self._known:
            row = _rows().filter(alias=alias).annotate(now=NOW).values_list("heartbeat_at", "now")
            seen, now = row.first() or (None, None)
            self._known[alias] = not is_served(seen, now, self._quiet)
        return self._known[alias]


def is_served(heartbeat_at: dt.datetime | None, now: dt.datetime | None, quiet: float = SERVED) -> bool:
    if heartbeat_at is None or now is None:
        return False
    return -SET_BACK_SECONDS <= (now - heartbeat_at).total_seconds() <= quiet


def _with_a_row() -> set[str]:
    return set(_rows().values_list("alias", flat=True))


def _of_events() -> set[str]:
    """Skips along the index on state and destination, from one destination to the next."""
    found = set()
    for state in State.values:
        rows = OutboxEvent.objects.on_outbox().filter(state=state).order_by("destination")
        names = rows.values_list("destination", flat=True)
        name = names.first()
        while name is not None:
            found.add(name)
            name = names.filter(destination__gt=name).first()
    return found


def _rows() -> QuerySet[Destination]:
    return Destination.objects.using(outbox_alias())
