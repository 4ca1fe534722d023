"""A destination as all workers share it: pauses, the probe after them, the rate, and the heartbeat."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.db import connections
from django.db.models import F, Q
from django.utils import timezone

from genesys_eventbridge import conf
from genesys_eventbridge.circuit import RUN_EVENTS, Circuit, Limits, Pause, Pauses, Reply, after
from genesys_eventbridge.circuit.rate import SET_BACK_SECONDS, SHORTEST_WAIT, Bucket, patience
from genesys_eventbridge.circuit.refusals import Refusals
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.db import first_write, in_small_transaction, retried
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import Destination, OutboxEvent, outbox_alias
from genesys_eventbridge.states import AttemptKind, State

HEARTBEAT_SECONDS = 10.0


def organisation(settings: DestinationSettings) -> uuid.UUID | None:
    """Who gets the events: a hash of the API's host and the client id.

    None where a callable does not give the client id now.
    """
    client_id = settings.platform.client_id
    try:
        name = client_id() if callable(client_id) else client_id
    except Exception:  # noqa: BLE001 - the callable is the user's; the request that needs it reports it
        return None
    digest = hashlib.sha256(f"{urlsplit(settings.platform.api_base_url).netloc}\0{name}".encode()).digest()
    return uuid.UUID(bytes=digest[:16], version=5)


def is_elsewhere(about: uuid.UUID | None, today: uuid.UUID | None) -> bool:
    """Whether a doubt is about another organisation than the one that gets the events today."""
    return None not in (about, today) and about != today


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a destination lets a pass begin, as one read of its row saw it."""

    open: bool
    #: By the database's clock.
    read_at: dt.datetime
    #: The pause is over and no other worker probes: one worker may send one event.
    probing: bool = False
    #: Probes since the pause began, and events tried before, which have every other turn.
    probe_turn: int = 0
    tried: tuple[int, ...] = ()
    paused_for: float = 0.0
    reason: str = ""
    kind: str = ""
    accepted_lately: bool = False
    #: Types whose events the platform refuses one after the other: one event at a time is sent, the next in
    #: ``refused_for`` seconds.
    refused_types: frozenset[str] = frozenset()
    refused_for: float = 0.0
    #: The shared rate.
    bucket: Bucket | None = None


def is_held(held_by: str, held_until: dt.datetime | None, now: dt.datetime) -> bool:
    """Whether an operator has paused the destination for longer than ``now``."""
    return bool(held_by) and (held_until is None or held_until > now)


def gate(kind: AttemptKind, alias: str, worker: str) -> Gate:
    """Read the destination's row (made on demand), leave a heartbeat, and say whether a pass may begin."""
    row = retried(outbox_alias(), partial(_read, alias))
    now: dt.datetime = row["now"]
    seen = row["heartbeat_at"]
    if seen is None or not -SET_BACK_SECONDS <= (now - seen).total_seconds() < HEARTBEAT_SECONDS:
        beat = {"heartbeat_at": DatabaseNow(), "heartbeat_worker": worker[:128]}
        retried(outbox_alias(), lambda: _rows(alias).update(**beat))
    if circuit_of(row) != _stored_circuit(row):
        in_small_transaction(outbox_alias(), partial(_set_right, alias))
    if is_held(row["held_by"], row["held_until"], now):
        left = (row["held_until"] - now).total_seconds() if row["held_until"] else float("inf")
        return Gate(False, now, paused_for=left, reason=row["held_reason"], kind="operator")
    return replace(gate_of(circuit_of(row), kind), bucket=_bucket(row))


def _set_right(alias: str) -> None:
    row = _locked(alias)
    changes = _changes(row, _stored_circuit(row), circuit_of(row))
    if changes:
        _rows(alias).update(**changes)


def gate_of(circuit: Circuit, kind: AttemptKind) -> Gate:
    """Pure. After a pause one worker publishes one event; checks of one event at a time need no turn."""
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


def take_probe(settings: DestinationSettings) -> bool:
    """Within the claim's transaction: whether this worker is the one that probes."""
    free = Q(probe_until__isnull=True) | Q(probe_until__lte=DatabaseNow())
    return bool(
        _rows(settings.alias)
        .filter(free, paused_until__lte=DatabaseNow())
        .update(probe_until=DatabaseNow(settings.lease_seconds), probe_turn=F("probe_turn") + 1)
    )


def take_refused_turn(settings: DestinationSettings) -> bool:
    """Within the claim's transaction: whether this worker may try the next event of a refused type."""
    return bool(
        _rows(settings.alias)
        .filter(refused_until__lte=DatabaseNow())
        .update(refused_until=DatabaseNow(settings.lease_seconds))
    )


@dataclass(frozen=True, slots=True)
class Drawn:
    """How many requests of one kind the shared rate allows now."""

    tokens: int
    #: Seconds until it is worth asking again, if none is allowed.
    wait: float = 0.0
    #: Publishing has a claim to the common part, too.
    publishing_is_due: bool = False
    #: What ``spend`` takes from; None without a rate.
    bucket: Bucket | None = None


def allowed(kind: AttemptKind, settings: DestinationSettings, gate: Gate, wanted: int) -> Drawn:
    """Without a lock, from what the gate saw: at most ``wanted`` requests that ``draw`` would allow."""
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
    """Within the claim's transaction: lock the bucket that every worker shares, and see what it allows.

    The lock is held until the transaction ends; ``spend`` says how many tokens were used. Where another
    worker holds it, that one takes what is there: this one comes back later instead of queueing.
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
    """Within the same transaction: ``number`` requests will be made. The other tokens stay in the bucket."""
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
    """What a group of replies meant: for its rows by id, and for the destination."""

    #: By the database's clock.
    now: dt.datetime
    #: The destination is paused; nothing more should be sent.
    paused: bool = False
    #: As ``Step`` has it for each event.
    uncounted: frozenset[int] = frozenset()
    accused: frozenset[int] = frozenset()
    #: Pauses that this group began or made longer, and whether it ended the last one.
    began: tuple[Pause, ...] = ()
    resumed: bool = False
    #: The run of refusals as it stands.
    refusals: Refusals | None = None


def record(
    kind: AttemptKind, settings: DestinationSettings, replies: Sequence[Reply], *, until: float | None = None
) -> Recorded:
    """Write what ``replies``, in the order they came, mean for the destination they share.

    Nothing is locked or written where the row says it already, as for most acceptances. ``until`` bounds the
    wait for a lost database, by ``time.monotonic()``.
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


def end_pauses(alias: str) -> bool:
    """Within a transaction: try again at once what trouble paused; returns whether anything was."""
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
    return Limits(settings.pause_base, settings.pause_cap, settings.run_length, few)


def pauses_of(row: Destination, kind: AttemptKind) -> Pauses:
    """The pauses that hold requests of this kind, as a row of the model has them."""
    values = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    circuit = circuit_of({"now": getattr(row, "now", timezone.now()), **values})
    return circuit.pauses(checking=kind is AttemptKind.CHECK)


def circuit_of(row: Mapping[str, Any]) -> Circuit:
    """The circuit that a row of the table holds, as ``values()`` reads it, with ``now``."""
    return _stored_circuit(row).set_right(_lease(row["alias"]))


def _lease(alias: str) -> float:
    """Seconds; of a destination that is configured no more no claim lives."""
    return conf.destination(alias).lease_seconds if alias in conf.aliases() else 0.0


def _stored_circuit(row: Mapping[str, Any]) -> Circuit:
    """As it is stored, with times that may lie in the future."""
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
    """The columns show the latest pause. Where they differ, the release before wrote them: they count."""
    until = row[f"{prefix}paused_until"]
    latest = pauses.latest
    if until == (latest.until if latest else None):
        return pauses
    if until is None:
        return Pauses()
    kind, reason = row[f"{prefix}paused_kind"], row[f"{prefix}paused_reason"]
    return Pauses((Pause(kind, until, reason, row[f"{prefix}pause_seconds"]),))


def _changes(row: Mapping[str, Any], before: Circuit, circuit: Circuit) -> dict[str, Any]:
    """The columns to write; none where only the time of the last acceptance or answer moved a little."""
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


#: Columns that are named as the circuit names them.
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
    """How many events the platform took and has not delivered yet: 0, 1 or 2, which stands for more."""
    rows = OutboxEvent.objects.on_outbox().filter(state=State.ACCEPTED, destination=alias)
    return len(rows.order_by("due_at", "id").values_list("id", flat=True)[:2])


def waiting(alias: str) -> int:
    """How many events are still to be sent."""
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
    """Within a transaction: the row, locked, with ``now`` as the database's time after the lock was won.

    Two statements: the database's clock stands still from the start of a statement, also while it waits for
    a lock (PostgreSQL's STATEMENT_TIMESTAMP, MariaDB's UTC_TIMESTAMP). The second one locks too, because on
    MySQL and MariaDB only a locking read sees what was committed since the transaction began.
    """
    if not _rows(alias).select_for_update().values_list("pk"):
        Destination.objects.using(outbox_alias()).get_or_create(alias=alias)
    return _under_lock(alias)


def _locked_unless_busy(alias: str) -> dict[str, Any] | None:
    """As ``_locked``, but None if another transaction holds the lock, where the database can skip it."""
    skips = connections[outbox_alias()].features.has_select_for_update_skip_locked
    if not _rows(alias).select_for_update(skip_locked=skips).values_list("pk"):
        return None
    return _under_lock(alias)


def _under_lock(alias: str) -> dict[str, Any]:
    return dict(_rows(alias).select_for_update().annotate(now=DatabaseNow()).values().get())


def _read(alias: str) -> dict[str, Any]:
    rows = _rows(alias).annotate(now=DatabaseNow())
    row = rows.values().first()
    if row is None:
        Destination.objects.using(outbox_alias()).get_or_create(alias=alias)
        row = rows.values().get()
    return dict(row)
