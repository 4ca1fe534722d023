"""What all workers share about a destination: pauses, probes, rate, heartbeat; and how answers change it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.db import connections
from django.db.models import F, Q
from django.utils import timezone

from genesys_eventbridge import conf, formatting, signals
from genesys_eventbridge.circuit import RUN_EVENTS, Circuit, Limits, Pause, Pauses, Reply, after
from genesys_eventbridge.circuit.rate import SET_BACK_SECONDS, SHORTEST_WAIT, Bucket, patience
from genesys_eventbridge.circuit.refusals import Refusals
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.db import first_write, in_small_transaction, retried
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.db.compiled import compiled
from genesys_eventbridge.models import Destination, OutboxEvent, outbox_alias
from genesys_eventbridge.platform import retry_after
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict
from genesys_eventbridge.states import AttemptKind, State

if TYPE_CHECKING:
    from genesys_eventbridge.outbox.claim import Claimed

logger = logging.getLogger("genesys_eventbridge")

#: A worker leaves at most one heartbeat in this many seconds.
HEARTBEAT_SECONDS = 30.0
#: The event is no longer waiting, although its row is written only after the destination's.
_ENDING = (Verdict.ACCEPTED, Verdict.REJECTED)


def organisation(settings: DestinationSettings) -> uuid.UUID | None:
    """Identifies who receives the events: a hash of the API's host and the protocol's account there.

    None if a callable setting raises.
    """
    platform = settings.platform
    try:
        name = platform.protocol.account(platform)
    except Exception:  # noqa: BLE001 - the user's code; the request that needs it reports the error
        return None
    digest = hashlib.sha256(f"{urlsplit(platform.api_base_url).netloc}\0{name}".encode()).digest()
    return uuid.UUID(bytes=digest[:16], version=5)


def is_elsewhere(about: uuid.UUID | None, today: uuid.UUID | None) -> bool:
    """Whether a doubt is about another organisation than the one that receives the events now."""
    return None not in (about, today) and about != today


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a pass may begin at a destination, as one read of its row saw it."""

    open: bool
    #: By the database's clock.
    read_at: dt.datetime
    #: The pause is over and no other worker probes: one worker may send one event.
    probing: bool = False
    #: The number of probes since the pause began, and the ids of events tried before, which get every other
    #: probe.
    probe_turn: int = 0
    tried: tuple[int, ...] = ()
    #: Seconds.
    paused_for: float = 0.0
    reason: str = ""
    kind: str = ""
    accepted_lately: bool = False
    #: Types of which the platform refuses one event after another. They are sent one at a time, the next in
    #: ``refused_for`` seconds.
    refused_types: frozenset[str] = frozenset()
    refused_for: float = 0.0
    #: The shared rate.
    bucket: Bucket | None = None


def is_held(held_by: str, held_until: dt.datetime | None, now: dt.datetime) -> bool:
    """Whether an operator's pause is in force at ``now``."""
    return bool(held_by) and (held_until is None or held_until > now)


def gate(kind: AttemptKind, alias: str, worker: str) -> Gate:
    """Whether a pass may begin. Creates the destination's row if needed, and leaves a heartbeat."""
    row = retried(outbox_alias(), partial(_read, alias))
    now: dt.datetime = row["now"]
    seen = row["heartbeat_at"]
    if seen is None or not -SET_BACK_SECONDS <= (now - seen).total_seconds() < HEARTBEAT_SECONDS:
        beat(alias, worker)
    stored = _stored_circuit(row)
    circuit = stored.set_right(_lease(alias))
    if circuit != stored or _is_set_back(row):
        in_small_transaction(outbox_alias(), partial(_set_right, alias))
    if is_held(row["held_by"], row["held_until"], now):
        left = (row["held_until"] - now).total_seconds() if row["held_until"] else float("inf")
        return Gate(False, now, paused_for=left, reason=row["held_reason"], kind="operator")
    return replace(gate_of(circuit, kind), bucket=_bucket(row))


def beat(alias: str, worker: str, *, hears: bool = False) -> None:
    """Leave a heartbeat: this worker serves the destination, and ``hears`` the notifications of commits."""
    values = {"heartbeat_at": DatabaseNow(), "heartbeat_worker": worker[:128]}
    if hears:
        values["heard_at"] = DatabaseNow()
    retried(outbox_alias(), lambda: _rows(alias).update(**values))


def _set_right(alias: str) -> None:
    row = _locked(alias)
    stored = _stored_circuit(row)
    changes = _changes(row, stored, stored.set_right(_lease(alias)))
    if _is_set_back(row):
        # Otherwise an empty bucket would not refill until the clock has caught up.
        changes["bucket_at"] = row["now"]
    if changes:
        _rows(alias).update(**changes)


def _is_set_back(row: Mapping[str, Any]) -> bool:
    """Whether the bucket was filled before the database's clock was set back."""
    at: dt.datetime | None = row["bucket_at"]
    return at is not None and (at - row["now"]).total_seconds() > SET_BACK_SECONDS


def gate_of(circuit: Circuit, kind: AttemptKind) -> Gate:
    """The gate without an operator's pause and the rate; pure.

    After a pause one worker publishes one event as a probe. Checks need no such turn.
    """
    checking = kind is AttemptKind.CHECK
    now, pause = circuit.now, circuit.pauses(checking=checking).latest
    refused_for = (circuit.refused_until - now).total_seconds() if circuit.refused_until else 0.0
    held = circuit.refusals if circuit.refused_until is not None else None
    found = Gate(
        open=True,
        read_at=now,
        accepted_lately=circuit.accepted_lately,
        refused_types=frozenset(held.types if held else ()),
        refused_for=max(0.0, refused_for) if held else 0.0,
    )
    if pause is None:
        return found
    until = pause.until
    if until <= now and not checking and circuit.probe_until is not None:
        until = circuit.probe_until
    if until > now:
        wait = (until - now).total_seconds()
        return replace(found, open=False, paused_for=wait, reason=pause.reason, kind=pause.kind)
    return replace(
        found,
        probing=True,
        probe_turn=circuit.probe_turn,
        tried=(*circuit.failed, *circuit.suspects),
        reason=pause.reason,
        kind=pause.kind,
    )


def take_probe(settings: DestinationSettings) -> dt.datetime | None:
    """Within the claim's transaction: the end of this worker's turn to probe, or None."""
    free = Q(probe_until__isnull=True) | Q(probe_until__lte=DatabaseNow())
    rows = _rows(settings.alias)
    taken = rows.filter(free, paused_until__lte=DatabaseNow()).update(
        probe_until=DatabaseNow(settings.lease_seconds), probe_turn=F("probe_turn") + 1
    )
    return rows.values_list("probe_until", flat=True).get() if taken else None


def take_refused_turn(settings: DestinationSettings) -> dt.datetime | None:
    """Within the claim's transaction: the end of this worker's turn to try a refused type, or None."""
    rows = _rows(settings.alias)
    taken = rows.filter(refused_until__lte=DatabaseNow()).update(
        refused_until=DatabaseNow(settings.lease_seconds)
    )
    return rows.values_list("refused_until", flat=True).get() if taken else None


@dataclass(frozen=True, slots=True)
class Drawn:
    """How many requests of one kind the shared rate allows now."""

    tokens: int
    #: Seconds until the next try is worthwhile, if none is allowed.
    wait: float = 0.0
    #: Events are due to be published, so checks may use only their reserve.
    publishing_is_due: bool = False
    #: The bucket that ``spend`` takes from; None without a rate.
    bucket: Bucket | None = None


def allowed(kind: AttemptKind, settings: DestinationSettings, gate: Gate, wanted: int) -> Drawn:
    """An estimate of what ``draw`` will allow, at most ``wanted`` requests; takes no lock."""
    rate = settings.rate_per_minute
    if rate is None or gate.bucket is None:
        return Drawn(wanted)
    bucket = gate.bucket.refilled(gate.read_at, rate)
    competes = (
        kind is AttemptKind.CHECK
        and bucket.available(checking=True, publishing_is_due=True) < wanted
        and _publishing_is_due(settings.alias)
    )
    return _drawn(kind, rate, bucket, gate.read_at, wanted, publishing_is_due=competes)


def draw(
    kind: AttemptKind, settings: DestinationSettings, wanted: int, *, publishing_is_due: bool = False
) -> Drawn:
    """Within the claim's transaction: lock the bucket that all workers share, and return what it allows.

    The lock is held until the transaction ends; ``spend`` records how many tokens were used. If another
    worker holds the lock, this one does not queue for it but gets a wait.
    """
    rate = settings.rate_per_minute
    if rate is None:
        return Drawn(wanted)
    row = _locked_unless_busy(settings.alias)
    if row is None:
        jitter = random.random() * patience(rate, checking=kind is AttemptKind.CHECK)  # noqa: S311 - no secret
        return Drawn(0, SHORTEST_WAIT + jitter, publishing_is_due)
    bucket = _bucket(row).refilled(row["now"], rate)
    return _drawn(kind, rate, bucket, row["now"], wanted, publishing_is_due=publishing_is_due)


def spend(kind: AttemptKind, settings: DestinationSettings, drawn: Drawn, number: int) -> None:
    """Within the same transaction: take the tokens of ``number`` requests. The others stay in the bucket."""
    if drawn.bucket is None or not number:
        return
    left = drawn.bucket.without(number, checking=kind is AttemptKind.CHECK)
    _rows(settings.alias).update(bucket_tokens=left.tokens, bucket_reserve=left.reserve, bucket_at=left.at)


def _drawn(
    kind: AttemptKind, rate: float, bucket: Bucket, now: dt.datetime, wanted: int, *, publishing_is_due: bool
) -> Drawn:
    checking = kind is AttemptKind.CHECK
    tokens = min(wanted, bucket.available(checking=checking, publishing_is_due=publishing_is_due))
    if tokens:
        return Drawn(tokens, publishing_is_due=publishing_is_due, bucket=bucket)
    wait = bucket.wait(rate, checking=checking, publishing_is_due=publishing_is_due)
    if bucket.at is not None and bucket.at > now:  # the database's clock was set back
        wait += (bucket.at - now).total_seconds()
    jitter = random.random() * patience(rate, checking=checking)  # noqa: S311 - no secret
    return Drawn(0, max(SHORTEST_WAIT, wait) + jitter, publishing_is_due)


def _bucket(row: dict[str, Any]) -> Bucket:
    return Bucket(row["bucket_tokens"], row["bucket_reserve"], row["bucket_at"])


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a group of replies means for the destination, and for single rows."""

    #: By the database's clock.
    now: dt.datetime
    #: The destination is paused; nothing more should be sent.
    paused: bool = False
    #: Ids of the events for which ``Step.uncounted`` and ``Step.accuses`` are True.
    uncounted: frozenset[int] = frozenset()
    accused: frozenset[int] = frozenset()
    #: Pauses that this group began or extended, and whether it ended the last one.
    began: tuple[Pause, ...] = ()
    resumed: bool = False
    #: The current run of refusals.
    refusals: Refusals | None = None


def record_outcomes(
    kind: AttemptKind,
    settings: DestinationSettings,
    answers: Sequence[tuple[Claimed, Outcome | None]],
    *,
    until: float | None = None,
) -> Recorded:
    """Record what answers (row and outcome, in the order they came) mean for their destination; log pauses.

    Call it before the rows are settled, so that a pause is in force before another worker can claim them.
    The outcome is None for a row whose request was not started. ``until``, a value of ``steady.monotonic()``,
    limits how long a lost database is waited for; then the database's error is raised.
    """
    replies = [_reply(settings, row, outcome) for row, outcome in answers]
    if any(outcome is not None and outcome.found is False for _row, outcome in answers):
        sole = retried(outbox_alias(), partial(awaiting_check, settings.alias), until=until) == 1
        replies = [replace(reply, sole=sole) for reply in replies]
    recorded = record(kind, settings, replies, until=until)
    if recorded.resumed:
        _announce_resumed(settings.alias)
    if recorded.began:
        pause = max(recorded.began, key=lambda pause: pause.until)
        reason, refusals = pause.reason, recorded.refusals
        if pause.kind == Halt.REFUSALS and refusals is not None:
            ending = sum(outcome is not None and outcome.verdict in _ENDING for _row, outcome in answers)
            left = retried(outbox_alias(), partial(waiting, settings.alias), until=until) - ending
            reason = formatting.refusals(refusals, formatting.number(max(0, left)), recorded.now)
        _announce_paused(settings.alias, reason, (pause.until - recorded.now).total_seconds())
    return recorded


def record(
    kind: AttemptKind, settings: DestinationSettings, replies: Sequence[Reply], *, until: float | None = None
) -> Recorded:
    """Record what replies, in the order they came, mean for their destination.

    Without a change, as for most acceptances, nothing is locked or written. ``until`` is as for
    ``record_outcomes``.
    """

    def work() -> Recorded:
        first_write(outbox_alias())
        recorded, changes = _after(_locked(settings.alias), kind, settings, replies)
        if changes:
            _rows(settings.alias).update(**changes)
        return recorded

    def look() -> tuple[Recorded, dict[str, Any]]:
        return _after(_read(settings.alias), kind, settings, replies)

    recorded, changes = retried(outbox_alias(), look, until=until)
    return in_small_transaction(outbox_alias(), work, until=until) if changes else recorded


def _announce_paused(alias: str, reason: str, seconds: float) -> None:
    logger.error("Destination %s paused for %.0f s: %s", alias, seconds, reason)
    signals.destination_paused.send_robust(sender=Destination, alias=alias, reason=reason)


def _announce_resumed(alias: str) -> None:
    logger.info("Destination %s resumed", alias)
    signals.destination_resumed.send_robust(sender=Destination, alias=alias, reason="")


def _reply(settings: DestinationSettings, row: Claimed, outcome: Outcome | None) -> Reply:
    return Reply(
        row.id,
        _with_wait(settings, outcome),
        type=row.type,
        probe=row.probe,
        turn=row.turn,
        turn_until=row.turn_until,
        halts=row.halts,
        suspected_since=row.suspected_since,
        due_since=row.waiting_since,
    )


def _with_wait(settings: DestinationSettings, outcome: Outcome | None) -> Outcome | None:
    """Add jitter to the wait that the platform asked for; only upwards."""
    if outcome is None:
        return None
    asked = outcome.retry_after
    if asked is None and outcome.halt is Halt.RATE:
        asked = settings.platform.rules.retry_after_default
    if asked is None:
        return outcome
    return replace(outcome, retry_after=retry_after.jitter_up(asked, random=random.random))


def end_pauses(alias: str) -> bool:
    """Within a transaction: end pauses that failures began; returns whether there were any."""
    row = _locked(alias)
    before = circuit_of(row)
    waits = any(not gate_of(before, kind).open for kind in AttemptKind)
    if not waits and before.refused_until is None:
        return False
    _rows(alias).update(**_changes(row, before, before.resumed()))
    return True


def _after(
    row: dict[str, Any], kind: AttemptKind, settings: DestinationSettings, replies: Sequence[Reply]
) -> tuple[Recorded, dict[str, Any]]:
    before = circuit_of(row)
    checking = kind is AttemptKind.CHECK
    limits = _limits(settings, before, replies)
    circuit, steps = before, []
    for reply in replies:
        step = after(circuit, reply, limits, checking=checking)
        steps.append((reply.event_id, step))
        circuit = step.circuit
    known = (*before.publish.all, *before.check.all)
    recorded = Recorded(
        now=circuit.now,
        paused=any(step.paused for _event, step in steps) and bool(circuit.pauses(checking=checking)),
        uncounted=frozenset(event for event, step in steps if step.uncounted),
        accused=frozenset(event for event, step in steps if step.accuses),
        began=tuple(each for each in (*circuit.publish.all, *circuit.check.all) if each not in known),
        resumed=bool(before.pauses(checking=checking)) and not circuit.pauses(checking=checking),
        refusals=circuit.refusals,
    )
    return recorded, _changes(row, before, circuit)


def _limits(settings: DestinationSettings, circuit: Circuit, replies: Sequence[Reply]) -> Limits:
    failing = {*circuit.failed, *(each.event_id for each in replies if each.outcome and each.outcome.outage)}
    few = False
    if failing and len(failing) < RUN_EVENTS:
        due = _due(settings.alias).order_by("due_at", "id").values_list("id", flat=True)
        few = len(failing.union(due[: 2 * RUN_EVENTS])) < RUN_EVENTS
    return Limits(settings.pause_base, settings.pause_cap, settings.run_length, few, settings.asks_in_doubt)


def pauses_of(row: Destination, kind: AttemptKind) -> Pauses:
    """The pauses of this kind of request, from a model instance."""
    values = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    circuit = circuit_of({"now": getattr(row, "now", timezone.now()), **values})
    return circuit.pauses(checking=kind is AttemptKind.CHECK)


def circuit_of(row: Mapping[str, Any]) -> Circuit:
    """The circuit stored in a row: a dict as ``values()`` returns it, with the database's time as ``now``."""
    return _stored_circuit(row).set_right(_lease(row["alias"]))


def _lease(alias: str) -> float:
    """The lease in seconds; 0 for a destination that is no longer configured, which has no claims."""
    return conf.destination(alias).lease_seconds if alias in conf.aliases() else 0.0


def _stored_circuit(row: Mapping[str, Any]) -> Circuit:
    """The circuit as stored, possibly with times in the future."""
    try:
        stored = json.loads(row["pauses"] or "{}")
        publish, check = Pauses.read(stored.get("publish", [])), Pauses.read(stored.get("check", []))
    except (AttributeError, TypeError, ValueError):
        publish = check = Pauses()
    return Circuit(
        now=row["now"],
        publish=_agreed(publish, row, ""),
        check=_agreed(check, row, "check_"),
        accepted_at=row["accepted_at"],
        cleared_at=row["cleared_at"],
        found_at=row["found_at"],
        failures=row["run_failures"],
        failed=_ids(row["run_events"]),
        suspects=_ids(row["suspects"]),
        missing=_ids(row["missing"]),
        refusals=Refusals.read(row["refusals"]),
        refused_until=row["refused_until"],
        probe_until=row["probe_until"],
        probe_turn=row["probe_turn"],
        probes=row["probes"],
        misses=row["misses"],
    )


def _agreed(pauses: Pauses, row: Mapping[str, Any], prefix: str) -> Pauses:
    """The stored pauses; if the columns have another pause, the previous release wrote it, and it counts."""
    until = row[f"{prefix}paused_until"]
    latest = pauses.latest
    if until == (latest.until if latest else None):
        return pauses
    if until is None:
        return Pauses()
    kind, reason = row[f"{prefix}paused_kind"], row[f"{prefix}paused_reason"]
    return Pauses((Pause(kind, until, reason, row[f"{prefix}pause_seconds"]),))


def _changes(row: Mapping[str, Any], before: Circuit, circuit: Circuit) -> dict[str, Any]:
    """The columns to write; none if only accepted_at or found_at changed, by less than a second."""
    times = ("accepted_at", "found_at")
    if replace(circuit, **{name: getattr(before, name) for name in times}) == before and not any(
        _moved(getattr(before, name), getattr(circuit, name)) for name in times
    ):
        return {}
    columns: dict[str, Any] = {
        "pauses": json.dumps({"publish": circuit.publish.stored(), "check": circuit.check.stored()}),
        **_columns(circuit.publish, ""),
        **_columns(circuit.check, "check_"),
        "run_failures": circuit.failures,
        "run_events": _text(circuit.failed),
        "suspects": _text(circuit.suspects),
        "missing": _text(circuit.missing),
        "refusals": circuit.refusals.stored() if circuit.refusals else None,
        **{name: getattr(circuit, name) for name in _SAME},
    }
    return {name: value for name, value in columns.items() if value != row[name]}


#: Columns with the same name as in the circuit.
_SAME = (
    "accepted_at",
    "cleared_at",
    "found_at",
    "refused_until",
    "probe_until",
    "probe_turn",
    "probes",
    "misses",
)


def _columns(pauses: Pauses, prefix: str) -> dict[str, Any]:
    latest = pauses.latest
    return {
        f"{prefix}paused_until": latest.until if latest else None,
        f"{prefix}paused_kind": latest.kind if latest else "",
        f"{prefix}paused_reason": latest.reason if latest else "",
        f"{prefix}pause_seconds": latest.seconds if latest else 0.0,
    }


def _moved(before: dt.datetime | None, now: dt.datetime | None) -> bool:
    return before != now and (before is None or now is None or (now - before).total_seconds() >= 1.0)


def _ids(stored: str) -> tuple[int, ...]:
    return tuple(int(part) for part in stored.split(",") if part)


def _text(ids: Iterable[int]) -> str:
    return ",".join(map(str, ids))


def awaiting_check(alias: str) -> int:
    """How many events are accepted and not delivered yet: 0, 1, or 2 for two or more."""
    rows = OutboxEvent.objects.on_outbox().filter(state=State.ACCEPTED, destination=alias)
    return len(rows.order_by("due_at", "id").values_list("id", flat=True)[:2])


def waiting(alias: str) -> int:
    """How many events are pending."""
    return OutboxEvent.objects.on_outbox().filter(state=State.PENDING, destination=alias).count()


def _publishing_is_due(alias: str) -> bool:
    return bool(_due(alias).exists())


def _due(alias: str) -> Any:
    return OutboxEvent.objects.on_outbox().filter(
        state=State.PENDING, destination=alias, due_at__lte=DatabaseNow()
    )


def _rows(alias: str) -> Any:
    return Destination.objects.using(outbox_alias()).filter(alias=alias)


def _locked(alias: str) -> dict[str, Any]:
    """Within a transaction: the locked row, with the database's time after the lock was taken as ``now``.

    This takes two statements, because the database reads its clock when a statement starts, before it waits
    for a lock (PostgreSQL's STATEMENT_TIMESTAMP, MariaDB's UTC_TIMESTAMP). The second one locks, too,
    because on MySQL and MariaDB only a locking read sees what was committed since the transaction began.
    """
    if not _rows(alias).select_for_update().values_list("pk"):
        Destination.objects.using(outbox_alias()).get_or_create(alias=alias)
    return _under_lock(alias)


def _locked_unless_busy(alias: str) -> dict[str, Any] | None:
    """As ``_locked``, but None if another transaction holds the lock and the database has SKIP LOCKED."""
    skips = connections[outbox_alias()].features.has_select_for_update_skip_locked
    if not _rows(alias).select_for_update(skip_locked=skips).values_list("pk"):
        return None
    return _under_lock(alias)


def _under_lock(alias: str) -> dict[str, Any]:
    return dict(_rows(alias).select_for_update().annotate(now=DatabaseNow()).values().get())


def _read(alias: str) -> dict[str, Any]:
    query = _with_time(outbox_alias(), alias)
    rows = query.rows()
    if not rows:
        Destination.objects.using(outbox_alias()).get_or_create(alias=alias)
        rows = query.rows()
    (row,) = rows
    return dict(zip(_with_time_columns(), row, strict=True))


@compiled
def _with_time(database: str, alias: str) -> Any:
    """The destination's row, with the database's time as ``now``. A pass reads it twice per batch."""
    rows = Destination.objects.using(database).filter(alias=alias).annotate(now=DatabaseNow())
    return rows.values_list(*_with_time_columns())


@cache
def _with_time_columns() -> tuple[str, ...]:
    return (*(field.attname for field in Destination._meta.concrete_fields), "now")
