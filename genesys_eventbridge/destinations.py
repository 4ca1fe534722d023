"""A destination as all workers share it: pauses, the probe after them, the rate, and the heartbeat."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import connections
from django.db.models import F, Q

from genesys_eventbridge import backoff
from genesys_eventbridge.clock import DatabaseNow
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.database import first_write, in_small_transaction
from genesys_eventbridge.models import Destination, OutboxEvent, outbox_alias
from genesys_eventbridge.refusals import Refusal, Refusals
from genesys_eventbridge.states import AttemptKind, State
from genesys_eventbridge.verdicts import Halt

HEARTBEAT_SECONDS = 10.0
#: Pauses for what a person has to mend: a login, a role, a path.
TROUBLE_BASE = 60.0
TROUBLE_CAP = 900.0
#: Pauses that a success ends early: the way to the platform is open again.
ENDS_BY_SUCCESS = (Halt.NETWORK, Halt.REFUSALS)
#: Failures of how many different events make a run, and a pause.
RUN_EVENTS = 3
#: A destination that accepted anything in the last seconds works: a page may be about one event.
LATELY_SECONDS = 300.0


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
    accepted_lately: bool = False
    #: Types whose events the platform refuses one after the other: one event at a time is sent, the next in
    #: ``refused_for`` seconds.
    refused_types: frozenset[str] = frozenset()
    refused_for: float = 0.0


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
    return replace(_gate(kind, row, until, reason, why), **_lately(row))


def _lately(row: dict[str, Any]) -> dict[str, Any]:
    """What the answers of the last minutes mean for single events."""
    run, until = Refusals.read(row["refusals"]), row["refused_until"]
    held = run if until is not None else None
    return {
        "accepted_lately": _accepted_lately(row),
        "refused_types": frozenset(held.types if held else ()),
        "refused_for": max(0.0, (until - row["now"]).total_seconds()) if held else 0.0,
    }


def _accepted_lately(row: dict[str, Any]) -> bool:
    accepted_at = row["accepted_at"]
    return accepted_at is not None and (row["now"] - accepted_at).total_seconds() < LATELY_SECONDS


def _gate(kind: AttemptKind, row: dict[str, Any], until: dt.datetime | None, reason: str, why: str) -> Gate:
    now: dt.datetime = row["now"]
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


def take_refused_turn(settings: DestinationSettings) -> bool:
    """Within the claim's transaction: whether this worker may try the next event of a refused type."""
    return bool(
        _rows(settings.alias)
        .filter(refused_until__lte=DatabaseNow())
        .update(refused_until=DatabaseNow(settings.lease_seconds))
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

    Trouble doubles the pause when it outlasts one, not when several senders meet it at once. Where anything
    was accepted lately it begins short, whatever its kind (G22).
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
            base, cap = settings.pause_base, settings.pause_cap
            if kind not in ENDS_BY_SUCCESS:
                base, cap = base if _accepted_lately(row) else TROUBLE_BASE, TROUBLE_CAP
            step = before if still and before else min(cap, max(base, before * 2) if until else base)
            length = max(step, seconds or 0.0)
        new_until = row["now"] + dt.timedelta(seconds=length)
        changes: dict[str, Any] = {f"{prefix}pause_seconds": step}
        if not still or new_until > until:
            changes |= {f"{prefix}paused_until": new_until, f"{prefix}paused_reason": reason[:500]}
            if not prefix:
                changes["paused_kind"] = kind
        if not prefix:
            changes |= {"probe_until": None, "run_failures": 0, "run_events": "", "suspects": ""}
        _rows(settings.alias).update(**changes)
        return length

    return in_small_transaction(outbox_alias(), work)


def succeeded(
    alias: str, *, checking: bool = False, types: Collection[str] = (), cleared: bool = False
) -> bool:
    """An answer proves the way is open; returns whether that ended a pause.

    It ends a pause for trouble of the network or for refusals at once, and any pause that is over; never one
    that the platform asked for. ``types`` are the types of the events accepted, which the platform does not
    refuse any more; ``cleared`` says that one of them had met a page or a 403 before.
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
    if row["run_failures"] or row["suspects"]:
        _rows(alias).update(run_failures=0, run_events="", suspects="")
    if cleared:
        _rows(alias).update(cleared_at=DatabaseNow())
    run = Refusals.read(row["refusals"])
    if row["refusals"] is not None and (
        run is None or row["refused_until"] is None or not set(run.types).isdisjoint(types)
    ):
        _rows(alias).update(refusals=None, refused_until=None)
    if row["paused_until"] is None:
        return False
    over = Q(paused_until__lte=DatabaseNow()) | Q(paused_kind__in=ENDS_BY_SUCCESS)
    return bool(
        _rows(alias)
        .filter(over, paused_until__isnull=False)
        .update(paused_until=None, paused_kind="", paused_reason="", pause_seconds=0.0, probe_until=None)
    )


def failed(settings: DestinationSettings, event_ids: list[int], kind: str, reason: str) -> float:
    """Count failures to the shared run; a run, or one more failure after a pause, pauses. Returns seconds.

    Where anything was accepted lately the settings are right, so the pause is one of the network.
    """

    def work() -> tuple[bool, str]:
        first_write(outbox_alias())
        row = _read(settings.alias, lock=True)
        events = [part for part in row["run_events"].split(",") if part]
        for event_id in map(str, event_ids):
            if event_id not in events and len(events) < RUN_EVENTS:
                events.append(event_id)
        failures = row["run_failures"] + len(event_ids)
        _rows(settings.alias).update(run_failures=failures, run_events=",".join(events))
        run = failures >= settings.run_length and len(events) >= RUN_EVENTS
        pauses = run or row["paused_until"] is not None
        return pauses, Halt.NETWORK if _accepted_lately(row) else kind

    pauses, kind_now = in_small_transaction(outbox_alias(), work)
    return halted(settings, kind_now, reason, None) if pauses else 0.0


def suspected(settings: DestinationSettings, event_ids: Sequence[int], kind: str, reason: str) -> float:
    """A page or a 403 answered these events; returns the pause's seconds, 0.0 where it may be their fault.

    It is about the destination where nothing was accepted lately, where three different events in a row
    meet it, and where a pause for trouble is not over yet.
    """

    def work() -> bool:
        first_write(outbox_alias())
        row = _read(settings.alias, lock=True)
        suspects = [part for part in row["suspects"].split(",") if part]
        for event_id in map(str, event_ids):
            if event_id not in suspects and len(suspects) < RUN_EVENTS:
                suspects.append(event_id)
        _rows(settings.alias).update(suspects=",".join(suspects))
        in_a_row = len(suspects) >= RUN_EVENTS
        return in_a_row or not _accepted_lately(row) or row["paused_until"] is not None

    if not in_small_transaction(outbox_alias(), work):
        return 0.0
    return halted(settings, kind, reason, None)


def refused(
    settings: DestinationSettings, refusals: Sequence[Refusal], *, before: Sequence[Refusal] = ()
) -> tuple[float, Refusals | None]:
    """Count events that the platform refused since it accepted any; returns the pause's seconds and the run.

    A run of ``settings.run_length`` different events pauses the destination; from then on the events of its
    types go one at a time, until one of them is accepted. ``before`` are refusals that an acceptance of
    another type followed: they count where that has begun.
    """

    def work() -> tuple[bool, Refusals | None]:
        first_write(outbox_alias())
        row = _read(settings.alias, lock=True)
        holding = row["refused_until"] is not None
        news = [*before, *refusals] if holding else list(refusals)
        if not news:
            return False, None
        run = Refusals.read(row["refusals"]) or Refusals(since=row["now"])
        for refusal in news:
            run = run.after(refusal, settings.run_length)
        changes: dict[str, Any] = {}
        paused_until = row["paused_until"]
        # A request that was in flight when the pause began is not a probe.
        on_its_way = paused_until is not None and paused_until > row["now"]
        probed = row["paused_kind"] == Halt.REFUSALS and paused_until is not None and not on_its_way
        # Where an operator ended the run, the refusal of the probe begins the next one.
        begins = (len(run.events) >= settings.run_length or probed) and not holding
        if begins or (holding and not on_its_way):
            run = replace(run, seconds=backoff.doubled(run.seconds, settings.pause_base, settings.pause_cap))
            changes["refused_until"] = row["now"] + dt.timedelta(seconds=run.seconds)
        _rows(settings.alias).update(refusals=run.stored(), **changes)
        return begins or probed, run

    pauses, run = in_small_transaction(outbox_alias(), work)
    if not pauses or run is None:
        return 0.0, run
    return halted(settings, Halt.REFUSALS, run.error, None), run


def alone_since(alias: str, moment: dt.datetime) -> bool:
    """Whether since ``moment`` the destination took other events, and none that had met a page or a 403.

    Where such an event was accepted later, the pages came from a gateway that answers now and then: they
    accuse no event.
    """
    cleared = Q(cleared_at__isnull=True) | Q(cleared_at__lte=moment)
    return bool(_rows(alias).filter(cleared, accepted_at__gt=moment).exists())


def waiting(alias: str) -> int:
    """How many events are still to be sent."""
    return OutboxEvent.objects.on_outbox().filter(state=State.PENDING, destination=alias).count()


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
