"""A destination as all workers share it: pauses, the probe after them, the rate, and the heartbeat."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.models import F, Q

from genesys_eventbridge.clock import DatabaseNow
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.database import first_write, in_small_transaction
from genesys_eventbridge.models import Destination, OutboxEvent, outbox_alias
from genesys_eventbridge.states import AttemptKind, State

HEARTBEAT_SECONDS = 10.0
#: Pauses for what a person has to mend: a login, a role, a path.
TROUBLE_BASE = 60.0
TROUBLE_CAP = 900.0
#: Pauses that a success ends early: the way to the platform is open again.
ENDS_BY_SUCCESS = ("network",)
#: Failures of how many different events make a run, and a pause.
RUN_EVENTS = 3


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a destination lets a pass begin, as one read of its row saw it."""

    open: bool
    #: The pause is over and nobody holds the probe: one worker may send one event.
    probing: bool = False
    #: The probe's turn: a row tried before, or one never tried.
    probe_tried: bool = False
    paused_for: float = 0.0
    reason: str = ""
    kind: str = ""


def gate(kind: AttemptKind, alias: str, worker: str) -> Gate:
    """Read the destination's row (made on demand), leave a heartbeat, and say whether a pass may begin."""
    row = _read(alias)
    now: dt.datetime = row["now"]
    if row["heartbeat_at"] is None or (now - row["heartbeat_at"]).total_seconds() >= HEARTBEAT_SECONDS:
        _rows(alias).update(heartbeat_at=DatabaseNow(), heartbeat_worker=worker[:128])
    if row["held_by"] and (row["held_until"] is None or row["held_until"] > now):
        left = (row["held_until"] - now).total_seconds() if row["held_until"] else float("inf")
        return Gate(False, paused_for=left, reason=row["held_reason"], kind="operator")
    if kind is AttemptKind.CHECK:
        until, reason, why = row["check_paused_until"], row["check_paused_reason"], "check"
        if (
            until is None
            and row["paused_until"]
            and row["paused_until"] > now
            and row["paused_kind"] == "rate"
        ):
            until, reason, why = row["paused_until"], row["paused_reason"], "rate"
    else:
        until, reason, why = row["paused_until"], row["paused_reason"], row["paused_kind"]
    if until is None:
        return Gate(True)
    left = (until - now).total_seconds()
    if left > 0:
        return Gate(False, paused_for=left, reason=reason, kind=why)
    if kind is AttemptKind.CHECK:
        return Gate(True, probing=True, reason=reason, kind=why)
    if row["probe_until"] is not None and row["probe_until"] > now:
        wait = (row["probe_until"] - now).total_seconds()
        return Gate(False, paused_for=wait, reason=reason, kind=why)
    return Gate(True, probing=True, probe_tried=row["probe_turn"] % 2 == 1, reason=reason, kind=why)


def take_probe(kind: AttemptKind, settings: DestinationSettings) -> bool:
    """Within the claim's transaction: whether this worker is the one that probes."""
    if kind is AttemptKind.CHECK:
        return True
    free = Q(probe_until__isnull=True) | Q(probe_until__lte=DatabaseNow())
    return bool(
        _rows(settings.alias)
        .filter(free, paused_until__lte=DatabaseNow())
        .update(probe_until=DatabaseNow(settings.lease_seconds), probe_turn=F("probe_turn") + 1)
    )


@dataclass(frozen=True, slots=True)
class Drawn:
    tokens: int
    wait: float = 0.0


def draw(kind: AttemptKind, settings: DestinationSettings, wanted: int) -> Drawn:
    """Within the claim's transaction: draw from the bucket that every worker shares.

    It refills evenly and holds one second's worth, at least one. A fifth of the refill goes to a reserve
    for checks first, and over its brim into the common part, so that an idle fifth is not wasted.
    """
    rate = settings.rate_per_minute
    if rate is None:
        return Drawn(wanted)
    row = _read(settings.alias, lock=True)
    per_second = rate / 60
    brim = max(1.0, per_second)
    reserve_brim = max(1.0, per_second / 5)
    last = row["bucket_at"]
    passed = (row["now"] - last).total_seconds() if last else 1.0
    refill = max(0.0, min(passed, 60.0)) * per_second
    reserve = row["bucket_reserve"] + refill / 5
    spill = max(0.0, reserve - reserve_brim)
    reserve = min(reserve, reserve_brim)
    common = min(brim, row["bucket_tokens"] + refill * 4 / 5 + spill)
    if kind is AttemptKind.PUBLISH:
        tokens = min(wanted, int(common))
        common -= tokens
        lacking = 1 - common
    else:
        from_reserve = min(wanted, int(reserve))
        spare = 0 if from_reserve == wanted or _publishing_is_due(settings.alias) else int(common)
        from_common = min(wanted - from_reserve, spare)
        tokens = from_reserve + from_common
        reserve -= from_reserve
        common -= from_common
        lacking = 5 * (1 - reserve)
    _rows(settings.alias).update(bucket_tokens=common, bucket_reserve=reserve, bucket_at=row["now"])
    return Drawn(tokens, 0.0 if tokens else max(0.05, lacking / per_second))


def halted(
    settings: DestinationSettings, kind: str, reason: str, seconds: float | None, *, checking: bool = False
) -> float:
    """Pause for every worker; returns the length in seconds. A pause never gets shorter by a new one.

    Trouble doubles the pause when it outlasts one, not when several senders meet it at once.
    """
    prefix = "check_" if checking and kind != "rate" else ""

    def work() -> float:
        first_write(outbox_alias())
        row = _read(settings.alias, lock=True)
        until, before = row[f"{prefix}paused_until"], row[f"{prefix}pause_seconds"]
        still = until is not None and until > row["now"]
        if kind == "rate":
            length = step = seconds or settings.retry_after_default
            step = before
        else:
            base, cap = (
                (settings.pause_base, settings.pause_cap)
                if kind == "network"
                else (TROUBLE_BASE, TROUBLE_CAP)
            )
            step = before if still and before else min(cap, max(base, before * 2) if until else base)
            length = max(step, seconds or 0.0)
        new_until = row["now"] + dt.timedelta(seconds=length)
        changes: dict[str, Any] = {f"{prefix}pause_seconds": step}
        if not still or new_until > until:
            changes |= {f"{prefix}paused_until": new_until, f"{prefix}paused_reason": reason[:500]}
            if not prefix:
                changes["paused_kind"] = kind
        if not prefix:
            changes |= {"probe_until": None, "run_failures": 0, "run_events": ""}
        _rows(settings.alias).update(**changes)
        return length

    return in_small_transaction(outbox_alias(), work)


def succeeded(alias: str, *, checking: bool = False) -> bool:
    """An answer proves the way is open; returns whether that ended a pause.

    It ends a network pause at once, and any pause that is over; never one that the platform asked for.
    """
    if checking:
        return bool(
            _rows(alias)
            .filter(check_paused_until__isnull=False)
            .update(check_paused_until=None, check_paused_reason="", check_pause_seconds=0.0)
        )
    row = _read(alias)
    if row["accepted_at"] is None or (row["now"] - row["accepted_at"]).total_seconds() >= 1.0:
        _rows(alias).update(accepted_at=DatabaseNow())
    if row["run_failures"]:
        _rows(alias).filter(run_failures__gt=0).update(run_failures=0, run_events="")
    if row["paused_until"] is None:
        return False
    over = Q(paused_until__lte=DatabaseNow()) | Q(paused_kind__in=ENDS_BY_SUCCESS)
    return bool(
        _rows(alias)
        .filter(over, paused_until__isnull=False)
        .update(paused_until=None, paused_kind="", paused_reason="", pause_seconds=0.0, probe_until=None)
    )


def failed(settings: DestinationSettings, event_ids: list[int], kind: str, reason: str) -> float:
    """Count failures to the shared run; a run, or one more failure after a pause, pauses. Returns seconds."""

    def work() -> bool:
        first_write(outbox_alias())
        row = _read(settings.alias, lock=True)
        events = [part for part in row["run_events"].split(",") if part]
        for event_id in map(str, event_ids):
            if event_id not in events and len(events) < RUN_EVENTS:
                events.append(event_id)
        failures = row["run_failures"] + len(event_ids)
        _rows(settings.alias).update(run_failures=failures, run_events=",".join(events))
        run = failures >= max(5, 2 * settings.concurrency) and len(events) >= RUN_EVENTS
        return run or row["paused_until"] is not None

    if not in_small_transaction(outbox_alias(), work):
        return 0.0
    return halted(settings, kind, reason, None)


def accepted_since(alias: str, moment: dt.datetime) -> bool:
    """Whether the destination took any event after ``moment``."""
    return bool(_rows(alias).filter(accepted_at__gt=moment).exists())


def _publishing_is_due(alias: str) -> bool:
    return (
        OutboxEvent.objects.on_outbox()
        .filter(state=State.PENDING, destination=alias, due_at__lte=DatabaseNow())
        .exists()
    )


def _rows(alias: str) -> Any:
    return Destination.objects.using(outbox_alias()).filter(alias=alias)


def _read(alias: str, *, lock: bool = False) -> dict[str, Any]:
    rows = _rows(alias).annotate(now=DatabaseNow())
    if lock and connections[outbox_alias()].features.has_select_for_update:
        rows = rows.select_for_update()
    row = rows.values().first()
    if row is None:
        Destination.objects.using(outbox_alias()).get_or_create(alias=alias)
        row = rows.values().get()
    return dict(row)
