"""The claim: a lease with a token on due rows, taken by compare-and-set on every database."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from django.db import connections
from django.db.models import BooleanField, Case, Exists, F, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from genesys_eventbridge import destinations
from genesys_eventbridge.circuit import POISON_HALTS
from genesys_eventbridge.clock import DatabaseNow
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.database import first_write, in_small_transaction, still_in
from genesys_eventbridge.destinations import Drawn, Gate
from genesys_eventbridge.models import OutboxEvent, OutboxQuerySet, outbox_alias
from genesys_eventbridge.states import AttemptKind, State
from genesys_eventbridge.verdicts import Halt

#: Other workers hold all the rows that were seen: look again after so many seconds.
CONTENDED = 0.02

#: Rows looked at for each row wanted; the scan is bounded before the test for the head of a key.
LOOK_AHEAD = 4
#: The rows wanted where the rate allows none now: rows that cannot go are moved away meanwhile.
LOOK_WITHOUT_A_TOKEN = 25

FROM_STATE = {AttemptKind.PUBLISH: State.PENDING, AttemptKind.CHECK: State.ACCEPTED}


@dataclass(frozen=True, slots=True)
class Claimed:
    """One claimed row, as it was before the claim but for the counters; plain values, safe in a thread."""

    id: int
    destination: str
    token: uuid.UUID
    kind: AttemptKind
    event_id: str
    source: str
    type: str
    subject: str
    time: dt.datetime
    body: str = field(repr=False)
    key: str
    ordering_key: str
    remote_id: str
    attempts: int
    checks: int
    halts: int
    doubt_before: dt.datetime | None
    #: Seconds from the claim until the key may be forgotten by the platform.
    doubt_left: float
    #: Seconds at the claim since the row became due for the first time, and since its acceptance.
    age: float
    accepted_age: float | None
    #: When the row became due for this claim, and the time of the claim, both by the database's clock.
    waiting_since: dt.datetime
    claimed_at: dt.datetime
    #: ``time.monotonic()`` read before the claim was written.
    started: float
    last_status_code: int | None
    last_error: str
    correlation_id: str
    #: Its first halt.
    suspected_since: dt.datetime | None = None
    #: Sent alone after a pause; sent as the one event of refused types.
    probe: bool = False
    turn: bool = False

    @property
    def state(self) -> State:
        return FROM_STATE[self.kind]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one claim brought."""

    rows: list[Claimed] = field(default_factory=list)
    #: The next due row's last claim lapsed: it goes alone, so finish what is in flight first.
    after_flight: bool = False
    #: Seconds until it is worth to look again, where due rows could not be had now; else 0.
    wait: float = 0.0
    #: Rows whose attempts are used up: to be settled without a request.
    used_up: list[int] = field(default_factory=list)
    #: Rows were looked at that could not go now, and were moved: there may be others behind them.
    moved: bool = False


def claim(kind: AttemptKind, settings: DestinationSettings, gate: Gate, limit: int, *, idle: bool) -> Batch:
    """Claim up to ``limit`` due rows of one destination, in the order they became due.

    ``idle`` says that the caller has nothing in flight. Where the destination's pause is over, one
    worker claims one row as a probe and all others nothing.
    """
    allowed = destinations.allowed(kind, settings, gate, limit)
    look = _candidates(kind, settings, gate, allowed.tokens or min(limit, LOOK_WITHOUT_A_TOKEN))
    used_up = [row.id for row in look if row.used_up]
    moved = _move_away(settings, gate, look)
    ready = [row for row in look if row.ready]
    if ready and not allowed.tokens:
        return Batch(used_up=used_up, moved=moved, wait=allowed.wait)
    lapsed_first = bool(ready) and ready[0].lapsed
    if lapsed_first and not idle:
        return Batch(after_flight=True, used_up=used_up, moved=moved)
    ready = ready[:1] if lapsed_first or gate.probing else list(takewhile(lambda row: not row.lapsed, ready))
    if not ready:
        return Batch(used_up=used_up, moved=moved)
    rows, wait = in_small_transaction(
        outbox_alias(), lambda: _take(kind, settings, gate, ready[: allowed.tokens], allowed)
    )
    if not rows and not wait and not gate.probing:
        wait = CONTENDED
    return Batch(rows, used_up=used_up, moved=moved, wait=wait)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A due row as a plain read saw it, and what may be done with it."""

    id: int
    tries: int
    halts: int
    lapsed: bool
    blocked: bool
    used_up: bool
    #: Of a type that the platform refuses: the one whose turn it is, or one that waits for its turn.
    turn: bool
    held: bool
    #: Seconds until its doubt may no longer be sent, where that is nearer than a lease.
    closes_in: float | None

    @property
    def ready(self) -> bool:
        return not (self.blocked or self.used_up or self.held) and self.closes_in is None


def _candidates(kind: AttemptKind, settings: DestinationSettings, gate: Gate, limit: int) -> list[_Candidate]:
    rows = _due(kind, settings.alias)
    publishing = kind is AttemptKind.PUBLISH
    if publishing:
        blocked = Case(
            When(ordering_key="", then=Value(False)),
            default=Exists(rows.blockers().using(outbox_alias())),
            output_field=BooleanField(),
        )
    else:
        blocked = Case(default=Value(False), output_field=BooleanField())
    # The time only beside a doubt: to read it takes psycopg longer than the rest of a row.
    now = Case(When(in_doubt_since__isnull=False, then=DatabaseNow()))
    look = rows.annotate(blocked=blocked, now=now).values_list(
        "id", "type", "halts", "claim_token", "blocked", "attempts", "in_doubt_since", "now"
    )
    bound = LOOK_AHEAD * limit

    held_types = gate.refused_types if publishing and not gate.probing else frozenset()

    def read(rows: Any, *order: str) -> list[_Candidate]:
        found = list(rows.order_by(*(order or ("due_at", "id")))[:bound])
        turn = None
        if held_types and gate.refused_for <= 0:
            turn = next((pk for pk, event_type, *_others in found if event_type in held_types), None)
        return [
            _Candidate(
                id=pk,
                tries=attempts + halts,
                halts=halts,
                lapsed=token is not None,
                blocked=bool(held),
                used_up=publishing and attempts >= settings.max_attempts,
                turn=turn == pk,
                held=turn != pk and event_type in held_types,
                closes_in=_closes_in(settings, doubt, now) if publishing else None,
            )
            for pk, event_type, halts, token, held, attempts, doubt, now in found
        ]

    if not (gate.probing and publishing):
        return read(look)
    if gate.kind == Halt.REFUSALS:
        return [*read(look.exclude(type__in=gate.refused_types)), *read(look)]
    if gate.probe_turn % 2 == 0:
        return sorted([*read(look.filter(id__in=gate.tried)), *read(look)], key=_first_to_try)
    # Of those never tried the oldest, and next time the newest: bad ones may stand together.
    end = ("due_at", "id") if gate.probe_turn % 4 == 1 else ("-due_at", "-id")
    fresh = sorted(read(look.exclude(id__in=gate.tried), *end), key=lambda row: row.tries)
    return [*fresh, *read(look)]


def _first_to_try(row: _Candidate) -> tuple[bool, int, int]:
    """Tried before and nearest to its next step, so that the probes of a pause get somewhere.

    What only ever met pages comes last. Among equals always the same one.
    """
    return row.halts >= POISON_HALTS, -row.tries, row.id


def _due(kind: AttemptKind, alias: str) -> OutboxQuerySet:
    return OutboxEvent.objects.on_outbox().filter(
        state=FROM_STATE[kind], destination=alias, due_at__lte=DatabaseNow()
    )


def _closes_in(settings: DestinationSettings, doubt: dt.datetime | None, now: dt.datetime) -> float | None:
    if doubt is None:
        return None
    left = settings.doubt_seconds - (now - doubt).total_seconds()
    return left if left < settings.lease_seconds else None


def _move_away(settings: DestinationSettings, gate: Gate, look: list[_Candidate]) -> bool:
    """Let rows that cannot go now be looked at later.

    Followers in a lease, closing doubts at their close, rows of refused types at the next one's turn.
    """
    moved = 0
    followers = [row.id for row in look if row.blocked and not row.used_up]
    if followers:
        # Also one whose claim lapsed before its head came back: left as it is, it would be met for ever.
        moved += _still_due(followers).update(due_at=DatabaseNow(settings.lease_seconds), claim_token=None)
    held = [row.id for row in look if row.held and not row.blocked and not row.used_up]
    if held:
        wait = max(gate.refused_for, settings.pause_base)
        moved += _still_due(held).update(due_at=DatabaseNow(wait), claim_token=None)
    for row in look:
        if row.closes_in is not None and not row.held and row.closes_in > 0 and not row.blocked:
            moved += _still_due([row.id]).update(due_at=DatabaseNow(row.closes_in))
    return moved > 0


def _still_due(ids: Collection[int], state: State = State.PENDING) -> OutboxQuerySet:
    return still_in(OutboxEvent.objects.on_outbox(), ids, state).filter(due_at__lte=DatabaseNow())


_VALUES = (
    "id",
    "event_id",
    "source",
    "type",
    "subject",
    "time",
    "body",
    "idempotency_key",
    "key_epoch",
    "ordering_key",
    "remote_id",
    "attempts",
    "checks",
    "halts",
    "suspected_since",
    "in_doubt_since",
    "not_before",
    "created_at",
    "accepted_at",
    "due_at",
    "last_status_code",
    "last_error",
    "correlation_id",
)


def _take(
    kind: AttemptKind, settings: DestinationSettings, gate: Gate, ready: list[_Candidate], allowed: Drawn
) -> tuple[list[Claimed], float]:
    """In one transaction: draw the rate, lock, stamp the token, read what was won, and spend that many."""
    alias = outbox_alias()
    connection = connections[alias]
    first_write(alias)
    drawn = destinations.draw(kind, settings, len(ready), publishing_is_due=allowed.publishing_is_due)
    if not drawn.tokens:
        return [], drawn.wait
    ids = [
        row.id for row in ready[: drawn.tokens] if not row.turn or destinations.take_refused_turn(settings)
    ]
    rows = _still_due(ids, FROM_STATE[kind])
    if connection.features.has_select_for_update:
        rows = rows.select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked)
    locked = list(rows.order_by("due_at", "id").annotate(now=DatabaseNow()).values(*_VALUES, "now"))
    if not locked:
        return [], 0.0
    if gate.probing and kind is AttemptKind.PUBLISH and not destinations.take_probe(settings):
        return [], 0.0
    token = uuid.uuid4()
    started = time.monotonic()
    won = {row["id"] for row in locked}
    counted = _still_due(won, FROM_STATE[kind]).update(
        claim_token=token, due_at=DatabaseNow(settings.lease_seconds), **_counters(kind)
    )
    if counted != len(locked):
        mine = OutboxEvent.objects.on_outbox().filter(id__in=won, claim_token=token)
        won = set(mine.values_list("id", flat=True))
    destinations.spend(kind, settings, drawn, len(won))
    turns = {row.id for row in ready if row.turn}
    return [
        replace(_claimed(kind, settings, row, token, started), probe=gate.probing, turn=row["id"] in turns)
        for row in locked
        if row["id"] in won
    ], 0.0


def _counters(kind: AttemptKind) -> dict[str, Any]:
    """What makes "may have been sent" durable before the first byte."""
    if kind is AttemptKind.CHECK:
        return {"checks": F("checks") + 1}
    return {"attempts": F("attempts") + 1, "in_doubt_since": Coalesce("in_doubt_since", DatabaseNow())}


def _claimed(
    kind: AttemptKind, settings: DestinationSettings, row: dict[str, Any], token: uuid.UUID, started: float
) -> Claimed:
    now = row["now"]
    doubt = row["in_doubt_since"]
    epoch = row["key_epoch"]
    key = row["idempotency_key"]
    accepted_at = row["accepted_at"]
    publishing = kind is AttemptKind.PUBLISH
    return Claimed(
        id=row["id"],
        destination=settings.alias,
        token=token,
        kind=kind,
        event_id=row["event_id"],
        source=row["source"],
        type=row["type"],
        subject=row["subject"],
        time=_aware(row["time"]),
        body=row["body"],
        key=str(uuid.uuid5(key, str(epoch)) if epoch else key),
        ordering_key=row["ordering_key"],
        remote_id=row["remote_id"],
        attempts=row["attempts"] + publishing,
        checks=row["checks"] + (not publishing),
        halts=row["halts"],
        suspected_since=row["suspected_since"],
        doubt_before=doubt,
        doubt_left=settings.doubt_seconds - (max(0.0, (now - doubt).total_seconds()) if doubt else 0.0),
        age=(now - (row["not_before"] or row["created_at"])).total_seconds(),
        accepted_age=(now - accepted_at).total_seconds() if accepted_at else None,
        waiting_since=row["due_at"],
        claimed_at=now,
        started=started,
        last_status_code=row["last_status_code"],
        last_error=row["last_error"],
        correlation_id=row["correlation_id"],
    )


def _aware(moment: dt.datetime) -> dt.datetime:
    """With its zone, also under USE_TZ=False: an answer's time has one, too."""
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
