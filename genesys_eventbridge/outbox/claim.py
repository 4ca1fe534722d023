"""Claim due rows: a lease with a token, taken by compare-and-set on every database."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import BooleanField, Case, Exists, F, Lookup, Q, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from genesys_eventbridge import conf, steady
from genesys_eventbridge.circuit import POISON_HALTS
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.db import first_write, in_small_transaction, retried, still_in, unlocked
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.db.compiled import Given, OneOf, changed, compiled, places_for
from genesys_eventbridge.models import OutboxEvent, OutboxQuerySet, outbox_alias
from genesys_eventbridge.outbox import destinations
from genesys_eventbridge.outbox.destinations import Drawn, Gate
from genesys_eventbridge.outbox.due import due_events, from_place, given_place, scan
from genesys_eventbridge.outbox.followers import hold
from genesys_eventbridge.platform.outcomes import Halt
from genesys_eventbridge.states import AttemptKind, State

#: Seconds until the next claim if other workers hold all the rows that were found.
CONTENDED = 0.02

#: Rows read per row wanted if some of the first cannot go. Limits how many rows are tested for blockers.
LOOK_AHEAD = 4
#: Rows wanted if the rate allows no request now: meanwhile rows that cannot go are rescheduled.
LOOK_WITHOUT_A_TOKEN = 25

FROM_STATE = {AttemptKind.PUBLISH: State.PENDING, AttemptKind.CHECK: State.ACCEPTED}


@dataclass(frozen=True, slots=True)
class Claimed:
    """One claimed row: its values before the claim, except the counters. Plain values, safe in any thread."""

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
    #: Seconds from the claim until the platform may forget the idempotency key.
    doubt_left: float
    #: At the claim: seconds since the row first became due, and since it was accepted.
    age: float
    accepted_age: float | None
    #: When the row became due and when it was claimed, by the database's clock.
    waiting_since: dt.datetime
    claimed_at: dt.datetime
    #: ``steady.monotonic()`` read before the claim was written.
    started: float
    last_status_code: int | None
    last_error: str
    correlation_id: str
    #: When it first halted.
    suspected_since: dt.datetime | None = None
    #: Sent alone after a pause, or as the one event of a refused type.
    probe: bool = False
    turn: bool = False
    #: The end of that turn, by the database's clock.
    turn_until: dt.datetime | None = None
    #: The body was changed after it was enqueued.
    altered: bool = False
    #: An operator gave it a new key: what was sent under an earlier one may have been accepted.
    renewed: bool = False
    #: The lease of its last claim expired (``lapsed``), and that of the claim before, too (``suspect``).
    lapsed: bool = False
    suspect: bool = False

    @property
    def state(self) -> State:
        return FROM_STATE[self.kind]


@dataclass(frozen=True, slots=True)
class Batch:
    """The result of one claim."""

    rows: list[Claimed] = field(default_factory=list)
    #: Seconds until the next claim is worthwhile, if due rows could not be claimed now; else 0.
    wait: float = 0.0
    #: Ids of rows that may not be sent any more, to be ended without a request.
    ended: list[int] = field(default_factory=list)
    #: Rows that could not go now were rescheduled: there may be others behind them.
    moved: bool = False


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many rows a claim may take (G11)."""

    rows: int
    #: Of these, rows whose worker died. Limited, so that other events keep some senders.
    lapsed: int = 1
    #: Of these, rows that lapsed twice in a row: one of them may be what kills the workers.
    suspects: int = 1


def claim(
    kind: AttemptKind,
    settings: DestinationSettings,
    gate: Gate,
    capacity: Capacity,
    about: uuid.UUID | None = None,
    *,
    only: Collection[int] | None = None,
) -> Batch:
    """Claim due rows of one destination in the order they became due, as many as ``capacity`` allows.

    ``about`` is the organisation that will receive them, None if unknown; ``only`` restricts it to these ids.
    After a pause one worker claims one row as a probe, and the others claim nothing. Rows that cannot go now
    are rescheduled on the way.
    """
    alias = outbox_alias()
    allowed = destinations.allowed(kind, settings, gate, capacity.rows)
    wanted = allowed.tokens or min(capacity.rows, LOOK_WITHOUT_A_TOKEN)
    look = retried(alias, lambda: _candidates(kind, settings, gate, wanted, about, only=only))
    ended = [row.id for row in look if row.ended]
    moved = _move_away(settings, gate, look)
    able = [row for row in look if row.ready]
    if able and not allowed.tokens:
        return Batch(ended=ended, moved=moved, wait=allowed.wait)
    ready = able[:1] if gate.probing else _within(capacity, able)
    if not ready:
        return Batch(ended=ended, moved=moved, wait=CONTENDED if able else 0.0)
    rows, wait = in_small_transaction(
        alias, lambda: _take(kind, settings, gate, ready[: allowed.tokens], allowed, about=about)
    )
    if not rows and not wait and not gate.probing:
        wait = CONTENDED
    return Batch(rows, ended=ended, moved=moved, wait=wait)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A due row as a plain read saw it, and whether it may be claimed."""

    id: int
    due_at: dt.datetime
    tries: int
    halts: int
    #: As in ``Claimed``.
    lapsed: bool
    suspect: bool
    #: It waits for an earlier row of its ordering key.
    blocked: bool
    #: Its attempts are used up, or another organisation may have accepted it.
    ended: bool
    #: Of a type that the platform refuses: the one event to try now (``turn``), or one that waits (``held``).
    turn: bool
    held: bool
    #: Seconds until it may no longer be sent again, if its window closes within the lease.
    closes_in: float | None

    @property
    def ready(self) -> bool:
        return not (self.blocked or self.ended or self.held) and self.closes_in is None


def _within(capacity: Capacity, rows: list[_Candidate]) -> list[_Candidate]:
    """The rows that fit the limits for lapsed rows and suspects."""
    lapsed, suspects, chosen = capacity.lapsed, capacity.suspects, []
    for row in rows:
        if row.lapsed and (lapsed <= 0 or (row.suspect and suspects <= 0)):
            continue
        lapsed -= row.lapsed
        suspects -= row.suspect
        chosen.append(row)
    return chosen


def _candidates(
    kind: AttemptKind,
    settings: DestinationSettings,
    gate: Gate,
    limit: int,
    today: uuid.UUID | None,
    *,
    only: Collection[int] | None = None,
) -> list[_Candidate]:
    publishing = kind is AttemptKind.PUBLISH
    state = FROM_STATE[kind]
    bound = LOOK_AHEAD * limit
    held_types = gate.refused_types if publishing and not gate.probing else frozenset()
    unblocked = conf.unblocked()

    def candidates(found: Sequence[tuple[Any, ...]]) -> list[_Candidate]:
        turn = None
        if held_types and gate.refused_for <= 0:
            turn = next((pk for pk, event_type, *_others in found if event_type in held_types), None)
        return [
            _Candidate(
                id=pk,
                due_at=due_at,
                tries=attempts + halts,
                halts=halts,
                lapsed=token is not None,
                suspect=token is not None and bool(lapses),
                blocked=bool(blocked),
                ended=publishing
                and (attempts >= settings.max_attempts or _is_elsewhere(doubt, about, today)),
                turn=turn == pk,
                held=turn != pk and event_type in held_types,
                closes_in=_closes_in(settings, doubt, now) if publishing else None,
            )
            for pk, event_type, due_at, halts, token, lapses, attempts, doubt, about, blocked, now in found
        ]

    if only is not None or gate.probing:
        rows = _seen(outbox_alias(), settings.alias, state, unblocked)

        def read(rows: Any, *order: str) -> list[_Candidate]:
            return candidates(rows.order_by(*(order or _FIRST_DUE))[:bound])

        if only is not None:
            rows = rows.filter(id__in=only)
        if not gate.probing:
            return read(rows)
        return _to_probe(gate, rows, read) if publishing else _to_check(settings, rows, read)
    with scan(settings.alias, state).read() as look:

        def first(most: int, *, lapsed: bool = True) -> list[_Candidate]:
            query = _first_due(
                outbox_alias(), settings.alias, state, unblocked, most, whole=look.is_whole, lapsed=lapsed
            )
            return candidates(query.rows(**look.place()))

        # Most often all can go. Reading four times as many took a tenth of a worker's CPU time per event.
        found = first(limit)
        if len(found) == limit and not all(row.ready and not row.lapsed for row in found):
            found = first(bound)
        look.saw((found[0].due_at, found[0].id) if found else None, gate.read_at)
        if len(found) == bound and sum(row.lapsed for row in found) > limit:
            # Rows of dead workers fill the front of the queue: read other rows, too.
            found += first(bound, lapsed=False)
    return found


def _seen(database: str, alias: str, state: State, unblocked: Collection[str]) -> Any:
    """The due rows of a destination with what a ``_Candidate`` needs."""
    # The time only for rows in doubt: parsing it takes psycopg longer than the rest of the row.
    now = Case(When(in_doubt_since__isnull=False, then=DatabaseNow()))
    blocked: Any = Value(False, BooleanField())
    if state is State.PENDING:
        blockers = Exists(OutboxEvent.objects.blockers(unblocked).using(database))
        blocked = Case(When(ordering_key="", then=blocked), default=blockers, output_field=BooleanField())
    rows = due_events(alias, state).using(database).annotate(blocked=blocked, now=now)
    return rows.values_list(*_SEEN, "blocked", "now")


@compiled
def _first_due(
    database: str,
    alias: str,
    state: State,
    unblocked: Collection[str],
    most: int,
    *,
    whole: bool,
    lapsed: bool,
) -> Any:
    """The first of ``_seen``; not ``whole``: from a place; not ``lapsed``: without rows of dead workers."""
    rows = _seen(database, alias, state, unblocked).order_by(*_FIRST_DUE)
    if not whole:
        rows = from_place(rows, *given_place())
    if not lapsed:
        rows = rows.filter(claim_token__isnull=True)
    return rows[:most]


def _to_probe(gate: Gate, rows: Any, read: Callable[..., list[_Candidate]]) -> list[_Candidate]:
    """Candidates for the one probe after a pause, the preferred one first."""
    if gate.kind == Halt.REFUSALS:
        return [*read(rows.exclude(type__in=gate.refused_types)), *read(rows)]
    if gate.probe_turn % 2 == 0:
        return sorted([*read(rows.filter(id__in=gate.tried)), *read(rows)], key=_first_to_try)
    # Of those never tried, the oldest and the newest in turn: bad events may be close together.
    end = _FIRST_DUE if gate.probe_turn % 4 == 1 else _LAST_DUE
    fresh = sorted(read(rows.exclude(id__in=gate.tried), *end), key=lambda row: row.tries)
    return [*fresh, *read(rows)]


def _to_check(
    settings: DestinationSettings, rows: Any, read: Callable[..., list[_Candidate]]
) -> list[_Candidate]:
    """Candidates for the one check after a pause: the newest that were never checked, then the oldest.

    If the oldest was always checked, each event that the platform has forgotten would lengthen the pause
    before one that it knows had its turn. Newer than NOT_FOUND_GRACE says nothing: it need not be known yet.
    """
    grace = settings.platform.rules.not_found_grace
    unasked = rows.filter(checks=0, accepted_at__lte=DatabaseNow(-grace))
    return [*read(unasked, *_LAST_DUE), *read(rows)]


def _first_to_try(row: _Candidate) -> tuple[bool, int, int]:
    """The event with most tries first, so that repeated probes bring one event to its end.

    Events that only ever met gateway pages come last. Ties are broken by id, so it is always the same event.
    """
    return row.halts >= POISON_HALTS, -row.tries, row.id


def _lapse(token: uuid.UUID | None, lapses: int | None) -> tuple[bool, bool]:
    """Of a due row: whether its last claim lapsed, and the one before, too."""
    return token is not None, token is not None and bool(lapses)


def _is_elsewhere(doubt: dt.datetime | None, about: uuid.UUID | None, today: uuid.UUID | None) -> bool:
    return doubt is not None and destinations.is_elsewhere(about, today)


def _closes_in(settings: DestinationSettings, doubt: dt.datetime | None, now: dt.datetime) -> float | None:
    if doubt is None:
        return None
    left = settings.doubt_seconds - (now - doubt).total_seconds()
    return left if left < settings.lease_seconds else None


def _move_away(settings: DestinationSettings, gate: Gate, look: list[_Candidate]) -> bool:
    """Reschedule rows that cannot go now; returns whether any was.

    Rows whose window is closing become due when it closes, rows of refused types when the next one may be
    tried. Followers are held until ``followers.release`` makes them due: two writes, however long they
    wait.
    """
    able = [row for row in look if not row.ended]
    followers = [row for row in able if row.blocked]
    held = [row.id for row in able if row.held and not row.blocked]
    closing = [row for row in able if not (row.blocked or row.held) and row.closes_in and row.closes_in > 0]
    if not (followers or held or closing):
        return False

    def work() -> int:
        first_write(outbox_alias())
        moved = hold([row.id for row in followers])
        wait = max(gate.refused_for, settings.pause_base)
        # Clears a lapsed claim, too: otherwise the row would be found again and again.
        moved += _unlocked_due(held).update(due_at=DatabaseNow(wait), claim_token=None) if held else 0
        for row in closing:
            moved += _unlocked_due([row.id]).update(due_at=DatabaseNow(row.closes_in or 0.0))
        return moved

    return in_small_transaction(outbox_alias(), work) > 0


def _unlocked_due(ids: Collection[int]) -> OutboxQuerySet:
    free = list(unlocked(_still_due(ids)).order_by("id").values_list("id", flat=True))
    return _still_due(free)


def _still_due(
    ids: Collection[int] | Lookup, state: State = State.PENDING, rows: OutboxQuerySet | None = None
) -> OutboxQuerySet:
    rows = OutboxEvent.objects.on_outbox() if rows is None else rows
    return still_in(rows, ids, state).filter(due_at__lte=DatabaseNow())


_SEEN = (
    "id",
    "type",
    "due_at",
    "halts",
    "claim_token",
    "lapses",
    "attempts",
    "in_doubt_since",
    "doubt_about",
)
_FIRST_DUE = ("due_at", "id")
_LAST_DUE = ("-due_at", "-id")
#: The columns of a ``Claimed``, and the time of the claim.
_VALUES = (
    "id",
    "event_id",
    "source",
    "type",
    "subject",
    "time",
    "body",
    "body_sha256",
    "idempotency_key",
    "key_epoch",
    "ordering_key",
    "remote_id",
    "attempts",
    "checks",
    "halts",
    "lapses",
    "claim_token",
    "suspected_since",
    "in_doubt_since",
    "not_before",
    "created_at",
    "accepted_at",
    "due_at",
    "last_status_code",
    "last_error",
    "correlation_id",
    "now",
)


def _take(
    kind: AttemptKind,
    settings: DestinationSettings,
    gate: Gate,
    ready: list[_Candidate],
    allowed: Drawn,
    *,
    about: uuid.UUID | None,
) -> tuple[list[Claimed], float]:
    """Within a transaction: draw from the rate, lock the rows, write the token, and spend what was claimed.

    Returns the claimed rows, and the seconds to wait if the rate allows none.
    """
    first_write(outbox_alias())
    drawn = destinations.draw(kind, settings, len(ready), publishing_is_due=allowed.publishing_is_due)
    if not drawn.tokens:
        return [], drawn.wait
    ids = [row.id for row in ready[: drawn.tokens]]
    limits = _Limits.of(settings)
    found = _to_claim(outbox_alias(), kind, limits, places_for(ids)).rows(ids=ids)
    rows = [dict(zip(_VALUES, row, strict=True)) for row in found]
    # One that lapsed since it was seen was not counted against the limits: it is left for the next look.
    seen = {row.id: (row.lapsed, row.suspect) for row in ready}
    locked = [row for row in rows if _lapse(row["claim_token"], row["lapses"]) == seen[row["id"]]]
    turns = {row.id for row in ready if row.turn}
    turn_until = None
    if any(row["id"] in turns for row in locked):
        turn_until = destinations.take_refused_turn(settings)
        if turn_until is None:
            locked = [row for row in locked if row["id"] not in turns]
    if not locked:
        return [], 0.0
    if gate.probing and kind is AttemptKind.PUBLISH:
        turn_until = destinations.take_probe(settings)
        if turn_until is None:
            return [], 0.0
    token = uuid.uuid4()
    started = steady.monotonic()
    claimed = {row["id"] for row in locked}
    written = _with_token(outbox_alias(), kind, limits, places_for(claimed))
    if written.update(ids=[*claimed], token=token, about=about) != len(locked):
        # The worker was frozen since it locked them, and a window closes now: give back the turn, too.
        transaction.set_rollback(True, using=outbox_alias())
        return [], 0.0
    destinations.spend(kind, settings, drawn, len(locked))
    return [
        _claimed(
            kind,
            settings,
            row,
            token,
            started,
            probe=gate.probing,
            turn=row["id"] in turns,
            turn_until=turn_until,
        )
        for row in locked
    ], 0.0


class _Limits(NamedTuple):
    """The settings that decide whether a row may still be claimed."""

    max_attempts: int
    resends_in_doubt: bool
    lease_seconds: float
    doubt_seconds: float

    @classmethod
    def of(cls, settings: DestinationSettings) -> _Limits:
        return cls(
            settings.max_attempts,
            settings.resends_in_doubt,
            settings.lease_seconds,
            settings.doubt_seconds,
        )


@compiled
def _to_claim(database: str, kind: AttemptKind, limits: _Limits, places: int) -> Any:
    """Lock the given rows that may still be claimed; the columns of _VALUES, in the order they became due."""
    rows = OutboxEvent.objects.using(database).annotate(now=DatabaseNow()).order_by(*_FIRST_DUE)
    return unlocked(_still_claimable(kind, limits, places, rows)).values_list(*_VALUES)


@compiled
def _with_token(database: str, kind: AttemptKind, limits: _Limits, places: int) -> Any:
    """Write the claim, and before the first byte is sent, that the rows may have been sent, and to whom."""
    field = OutboxEvent._meta.get_field
    changes: dict[str, Any] = {
        # Before the column it reads, because MySQL assigns from left to right.
        "lapses": Case(When(claim_token__isnull=True, then=Value(0)), default=Coalesce("lapses", 0) + 1),
        "claim_token": Given("token", field("claim_token")),
        "due_at": DatabaseNow(limits.lease_seconds),
        "key_held": None,
    }
    if kind is AttemptKind.CHECK:
        changes["checks"] = F("checks") + 1
    else:
        known = Q(in_doubt_since__isnull=False) | Q(key_known_since__isnull=False)
        about = Given("about", field("doubt_about"))
        changes |= {
            "attempts": F("attempts") + 1,
            # Before the column it reads, as above.
            "doubt_about": Case(When(known, then=F("doubt_about")), default=about),
            "in_doubt_since": Coalesce("in_doubt_since", DatabaseNow()),
        }
    rows = OutboxEvent.objects.using(database)
    return changed(_still_claimable(kind, limits, places, rows), **changes)


def _still_claimable(kind: AttemptKind, limits: _Limits, places: int, rows: OutboxQuerySet) -> OutboxQuerySet:
    """The given ``rows`` that may be claimed now: the worker may have been frozen since it saw them."""
    rows = _still_due(OneOf("id", "ids", places, OutboxEvent._meta.pk), FROM_STATE[kind], rows)
    if kind is AttemptKind.CHECK:
        return rows
    rows = rows.filter(attempts__lt=limits.max_attempts)
    if limits.resends_in_doubt:
        return rows
    latest = DatabaseNow(limits.lease_seconds - limits.doubt_seconds)
    return rows.filter(Q(in_doubt_since__isnull=True) | Q(in_doubt_since__gte=latest))


def _claimed(
    kind: AttemptKind,
    settings: DestinationSettings,
    row: dict[str, Any],
    token: uuid.UUID,
    started: float,
    *,
    probe: bool,
    turn: bool,
    turn_until: dt.datetime | None,
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
        probe=probe,
        turn=turn,
        turn_until=turn_until,
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
        renewed=bool(epoch),
        altered=publishing and sha256(row["body"].encode()).hexdigest() != row["body_sha256"],
        lapsed=row["claim_token"] is not None,
        suspect=row["claim_token"] is not None and bool(row["lapses"]),
    )


def _aware(moment: dt.datetime) -> dt.datetime:
    """Aware even with USE_TZ=False, because times in the platform's answers are aware."""
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
