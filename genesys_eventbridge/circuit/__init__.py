"""The state of a destination derived from its responses: pauses, runs of failures, suspects, refusals. Pure.

One response and one ``Circuit`` give the next ``Circuit``. The database keeps it for all workers
(``outbox/destinations.py``); the rules are in guarantees.md, section 2, and platform.md, section 7.4.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import assert_never

from genesys_eventbridge.circuit.rate import SET_BACK_SECONDS
from genesys_eventbridge.circuit.refusals import Refusal, Refusals
from genesys_eventbridge.platform import retry_after
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict

#: Pauses for problems that only an operator can fix: a login, a role, a path. First and longest, in seconds.
TROUBLE_BASE = 60.0
TROUBLE_CAP = 900.0
#: A destination that accepted anything within this many seconds works (G22). Because few requests are made
#: between pauses, one that accepted any of its last LATELY_REQUESTS requests then counts too.
LATELY_SECONDS = 300.0
LATELY_REQUESTS = 60
#: Failures of this many different events make a run, which pauses.
RUN_EVENTS = 3
#: After this many halts while other events are accepted, the event is at fault: the next halt ends it.
POISON_HALTS = 3
#: If anything was accepted lately, a pause is only extended after PROBES failed probes in a row, because one
#: failure among many successes means little. A login or a rate limit is not probed again at once.
PROBES = 3
_TRIED_AGAIN = frozenset({Halt.NETWORK, Halt.CONFIG, Halt.PERMISSION})
#: A time further ahead than this, in seconds, was written before the database's clock was set back.
_AHEAD = dt.timedelta(seconds=SET_BACK_SECONDS)
#: Events kept by id in a run: enough to tell them apart and to try one of them again first.
MOST_EVENTS = 50
#: Why checks pause if several events in a row are not found.
NONE_FOUND = "The platform knows none of the events that it accepted. Check EVENTS_PATH. Latest:"
#: Pauses that an acceptance ends even before their time is up. A login that was refused may still be refused
#: for others, and a wait that the platform asked for is kept.
ENDS_BY_SUCCESS = frozenset({Halt.NETWORK, Halt.REFUSALS, Halt.PERMISSION, Halt.CONFIG})


@dataclass(frozen=True, slots=True)
class Pause:
    """Why nothing is sent, and until when. ``seconds`` is its length, which doubles while probes fail."""

    kind: str
    until: dt.datetime
    reason: str = ""
    seconds: float = 0.0
    #: How long it was set for, in seconds, including a wait the platform asked for. 0 if unknown.
    length: float = 0.0


@dataclass(frozen=True, slots=True)
class Pauses:
    """At most one pause of each kind; the latest end counts."""

    all: tuple[Pause, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.all)

    @property
    def latest(self) -> Pause | None:
        return max(self.all, key=lambda pause: pause.until, default=None)

    def of(self, kind: str) -> Pause | None:
        return next((pause for pause in self.all if pause.kind == kind), None)

    def running(self, now: dt.datetime) -> bool:
        return any(pause.until > now for pause in self.all)

    def put(self, pause: Pause) -> Pauses:
        return Pauses((*(other for other in self.all if other.kind != pause.kind), pause))

    def without(self, gone: Iterable[Pause]) -> Pauses:
        ended = set(gone)
        return Pauses(tuple(pause for pause in self.all if pause not in ended))

    def over(self, now: dt.datetime) -> Pauses:
        """End all pauses at ``now``: the next event sent is a probe."""
        return Pauses(tuple(replace(pause, until=min(pause.until, now)) for pause in self.all))

    def pulled_in(self, now: dt.datetime) -> Pauses:
        """Limit each pause to its own length from now."""

        def latest(pause: Pause) -> dt.datetime:
            end = now + dt.timedelta(seconds=pause.length)
            return end if pause.length and pause.until > end + _AHEAD else pause.until

        return Pauses(tuple(replace(pause, until=latest(pause)) for pause in self.all))

    def stored(self) -> list[list[object]]:
        return [
            [each.kind, each.until.isoformat(), each.reason, each.seconds, each.length] for each in self.all
        ]

    @classmethod
    def read(cls, stored: object) -> Pauses:
        """Parse what ``stored()`` returned. Raises TypeError or ValueError for anything else."""
        if not isinstance(stored, list):
            raise TypeError
        return cls(
            tuple(
                Pause(str(kind), dt.datetime.fromisoformat(until), str(reason), *map(float, seconds))
                for kind, until, reason, *seconds in stored
            )
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """From the settings: PAUSE_BASE and PAUSE_CAP in seconds, and how many failures make a run."""

    base: float
    cap: float
    run_length: int
    #: Besides the failing events, fewer than RUN_EVENTS are due: then RUN_EVENTS failures are a run.
    few_due: bool = False
    #: Each failure leaves an event to an operator: runs are as short, and pauses get as long as for problems
    #: that only an operator can fix.
    costly: bool = False

    @property
    def short_run(self) -> bool:
        return self.few_due or self.costly


@dataclass(frozen=True, slots=True)
class Reply:
    """One response, or None if no request was started, and what the circuit must know of its event."""

    event_id: int
    outcome: Outcome | None
    type: str = ""
    #: Sent alone after a pause; sent as the only event of refused types.
    probe: bool = False
    turn: bool = False
    #: The end of that turn, as the event's claim wrote it: who stalled past it holds it no longer.
    turn_until: dt.datetime | None = None
    #: Pages and refusals that this event met before, and since when.
    halts: int = 0
    suspected_since: dt.datetime | None = None
    #: When the event was due for this request, and whether no other event waits for a check.
    due_since: dt.datetime | None = None
    sole: bool = False


@dataclass(frozen=True, slots=True)
class Circuit:
    """The shared state of one destination at ``now``, the database's time."""

    now: dt.datetime
    publish: Pauses = Pauses()
    check: Pauses = Pauses()
    accepted_at: dt.datetime | None = None
    #: The last acceptance of an event that had met a page or a 403 before.
    cleared_at: dt.datetime | None = None
    #: The last check for which the platform's response was about the event.
    found_at: dt.datetime | None = None
    #: Failures since the last acceptance or pause; the events that failed since the last acceptance.
    failures: int = 0
    failed: tuple[int, ...] = ()
    #: Events that met a page or a 403 since the last acceptance; events that checks did not find, in a row.
    suspects: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    refusals: Refusals | None = None
    refused_until: dt.datetime | None = None
    probe_until: dt.datetime | None = None
    #: Probes since the pause began. Even ones go to an event that was tried before.
    probe_turn: int = 0
    #: Failed probes since its current end, if anything was accepted lately.
    probes: int = 0
    #: Requests since the last acceptance.
    misses: int = 0

    @property
    def accepted_lately(self) -> bool:
        if self.accepted_at is None:
            return False
        if _seconds(self.accepted_at, self.now) < LATELY_SECONDS:
            return True
        return bool(self.publish) and self.misses < LATELY_REQUESTS

    def pauses(self, *, checking: bool) -> Pauses:
        """The pauses that hold requests of this kind. A wait that the platform asked for holds both kinds."""
        rate = self.publish.of(Halt.RATE)
        if not checking:
            return self.publish
        return self.check.put(rate) if rate and rate.until > self.now else self.check

    def set_right(self, lease: float) -> Circuit:
        """The circuit without the effects of a database clock that was ahead.

        Times in the future are dropped, and no pause or ``lease``, in seconds, ends later than its own length
        from now.
        """

        def past(moment: dt.datetime | None, by: float = 0.0) -> dt.datetime | None:
            bound = self.now + _AHEAD + dt.timedelta(seconds=by)
            return moment if moment is None or moment <= bound else None

        turn = max(lease, self.refusals.seconds if self.refusals else 0.0)

        return replace(
            self,
            publish=self.publish.pulled_in(self.now),
            check=self.check.pulled_in(self.now),
            accepted_at=past(self.accepted_at),
            cleared_at=past(self.cleared_at),
            found_at=past(self.found_at),
            probe_until=past(self.probe_until, lease),
            refused_until=self.refused_until and (past(self.refused_until, turn) or self.now),
        )

    def resumed(self) -> Circuit:
        """An operator ends the pauses that failures caused: the next event sent is a probe."""
        return replace(
            self,
            publish=self.publish.over(self.now),
            check=self.check.over(self.now),
            probe_until=None,
            refusals=None,
            refused_until=None,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """The circuit after one response, and the consequences for the event and the worker."""

    circuit: Circuit
    #: Nothing more should be sent: the destination is paused.
    paused: bool = False
    #: The destination is at fault, and nothing was accepted since this event last failed: not counted.
    uncounted: bool = False
    #: The response is about this event alone: it may end the event.
    accuses: bool = False


def after(circuit: Circuit, reply: Reply, limits: Limits, *, checking: bool) -> Step:
    """The circuit after one response to a publish or, if ``checking``, a check."""
    if reply.outcome is None:
        step = Step(circuit)
    elif checking:
        step = _checked(circuit, reply, reply.outcome, limits)
    else:
        step = _published(circuit, reply, reply.outcome, limits)
    if checking:
        return step
    now = step.circuit
    if reply.probe and now.probe_until == reply.turn_until:
        now = replace(now, probe_until=None)
    held = reply.turn and _holds_turn(circuit, reply)
    if held and now.refusals is not None and now.refused_until == circuit.refused_until:
        # The probe had no result: the next one need not wait for the lease to expire.
        now = replace(now, refused_until=now.now + dt.timedelta(seconds=now.refusals.seconds))
    return step if now is step.circuit else replace(step, circuit=now)


# ---- publishing


def _published(circuit: Circuit, reply: Reply, outcome: Outcome, limits: Limits) -> Step:
    if outcome.verdict is Verdict.ACCEPTED:
        return Step(_accepted(circuit, reply))
    circuit = replace(circuit, misses=min(circuit.misses + 1, LATELY_REQUESTS))
    match outcome.verdict:
        case Verdict.REJECTED:
            return _refused(circuit, reply, outcome, limits)
        case Verdict.HALTED:
            if outcome.accuses:
                return _suspected(circuit, reply, outcome, limits)
            return Step(_halted(circuit, outcome, limits, probe=reply.probe), paused=True)
        case Verdict.UNAVAILABLE | Verdict.UNKNOWN | Verdict.DELIVERED | Verdict.FAILED | Verdict.NOT_YET:
            # The last three are verdicts of checks.
            if outcome.outage is None:
                return Step(_answered(circuit))
            if outcome.status_code == 503 and outcome.retry_after is not None:
                circuit = _halted(circuit, replace(outcome, halt=Halt.RATE), limits, probe=reply.probe)
            return _failed(circuit, reply, outcome, limits)
        case _ as never:
            assert_never(never)


def _accepted(circuit: Circuit, reply: Reply) -> Circuit:
    """Requests get through: end every pause whose time is up or that an acceptance disproves."""
    now, run, refused_until = circuit.now, circuit.refusals, circuit.refused_until
    nothing_to_end = not (run or refused_until or circuit.publish or circuit.failed or circuit.suspects)
    if (
        nothing_to_end
        and circuit.accepted_at == now
        and not (circuit.failures or circuit.misses or reply.halts)
    ):
        return circuit  # as for most of a group of acceptances; a copy takes 4 microseconds
    ended = (each for each in circuit.publish.all if each.until <= now or each.kind in ENDS_BY_SUCCESS)
    if run is None or refused_until is None or reply.type in run.types:
        run = refused_until = None
    return replace(
        circuit,
        refusals=run,
        refused_until=refused_until,
        publish=circuit.publish.without(ended),
        accepted_at=now,
        cleared_at=now if reply.halts else circuit.cleared_at,
        failures=0,
        misses=0,
        failed=(),
        suspects=(),
    )


def _answered(circuit: Circuit) -> Circuit:
    """The platform responded: the cause of any pause whose time is up is gone."""
    ended = (each for each in circuit.publish.all if each.until <= circuit.now and each.kind != Halt.REFUSALS)
    return replace(circuit, publish=circuit.publish.without(ended))


def _refused(circuit: Circuit, reply: Reply, outcome: Outcome, limits: Limits) -> Step:
    """A run of different events pauses; afterwards, events of the refused types go one at a time."""
    now, before = circuit.now, circuit.publish
    holding = circuit.refused_until is not None
    run = circuit.refusals or Refusals(since=now)
    run = run.after(Refusal(reply.event_id, reply.type, outcome.error), limits.run_length)
    probed = reply.probe and before.of(Halt.REFUSALS) is not None
    # If an operator ended the run, the refusal of the probe begins the next one.
    begins = (len(run.events) >= limits.run_length or probed) and not holding
    until = circuit.refused_until
    if begins or (holding and (reply.probe or (reply.turn and _holds_turn(circuit, reply)))):
        run = replace(run, seconds=retry_after.doubled(run.seconds, limits.base, limits.cap))
        until = now + dt.timedelta(seconds=run.seconds)
    circuit = replace(_answered(circuit), refusals=run, refused_until=until)
    if not (begins or probed):
        return Step(circuit, paused=before.running(now))
    return Step(_paused(circuit, Halt.REFUSALS, run.error, limits, probe=reply.probe), paused=True)


def _suspected(circuit: Circuit, reply: Reply, outcome: Outcome, limits: Limits) -> Step:
    """A page or a 403 to an event's own POST: the event or the destination is at fault.

    The event is, if it met one before, other events were accepted since, and none of them had met one.
    Otherwise the destination is, if nothing was accepted lately or three different events in a row meet it.
    """
    lately, since = circuit.accepted_lately, reply.suspected_since
    cleared = circuit.cleared_at is not None and since is not None and circuit.cleared_at >= since
    if lately and since is not None and not cleared and not circuit.suspects:
        return Step(circuit, accuses=True)
    circuit = replace(circuit, suspects=_noted(circuit.suspects, reply.event_id))
    if lately and len(circuit.suspects) < RUN_EVENTS:
        return Step(circuit, paused=circuit.publish.running(circuit.now))
    return Step(_halted(circuit, outcome, limits, probe=reply.probe), paused=True)


def _failed(circuit: Circuit, reply: Reply, outcome: Outcome, limits: Limits) -> Step:
    """A failure on the way, or a success without proof. A run of them pauses, and so does each failed probe.

    If anything was accepted lately, the settings are right, so the pause is a network pause.
    """
    known = reply.event_id in circuit.failed or len(circuit.failed) >= MOST_EVENTS
    pauses = circuit.publish
    trouble = any(pauses.of(kind) for kind in (Halt.NETWORK, Halt.CONFIG))
    uncounted = (known or trouble) and not outcome.conflict
    failed = _noted(circuit.failed, reply.event_id)
    circuit = replace(circuit, failures=circuit.failures + 1, failed=failed)
    enough = RUN_EVENTS if limits.short_run else limits.run_length
    run = circuit.failures >= enough and (limits.short_run or len(failed) >= RUN_EVENTS)
    if (reply.probe and pauses) or (run and not pauses):
        if limits.costly:
            limits = replace(limits, cap=max(limits.cap, TROUBLE_CAP))
        kind = Halt.NETWORK if circuit.accepted_lately else outcome.outage or Halt.NETWORK
        circuit = _paused(circuit, kind, outcome.error, limits, probe=reply.probe)
    return Step(circuit, paused=bool(circuit.publish), uncounted=uncounted)


# ---- checking


def _checked(circuit: Circuit, reply: Reply, outcome: Outcome, limits: Limits) -> Step:
    if outcome.verdict is Verdict.HALTED:
        return Step(_halted(circuit, outcome, limits, probe=reply.probe, checking=True), paused=True)
    if outcome.found is None:
        return Step(circuit)
    if outcome.found:
        ended = (
            each for each in circuit.check.all if each.until <= circuit.now or each.kind in ENDS_BY_SUCCESS
        )
        check = circuit.check.without(ended)
        return Step(replace(circuit, check=check, found_at=circuit.now, missing=()))
    return _not_found(circuit, reply, outcome, limits)


def _not_found(circuit: Circuit, reply: Reply, outcome: Outcome, limits: Limits) -> Step:
    """The event is at fault if the platform found others since it was due, or if it is the only one.

    Several different events in a row point to EVENTS_PATH or the host: that ends none of them.
    """
    circuit = replace(circuit, missing=_noted(circuit.missing, reply.event_id))
    if len(circuit.missing) >= RUN_EVENTS:
        reason = f"{NONE_FOUND} {outcome.error}"
        circuit = _paused(circuit, Halt.CONFIG, reason, limits, probe=reply.probe, checking=True)
        return Step(circuit, paused=True)
    wrong = circuit.check.of(Halt.CONFIG) or circuit.publish.of(Halt.CONFIG)
    found, since = circuit.found_at, reply.due_since
    others_found = found is not None and since is not None and found >= since
    return Step(circuit, accuses=wrong is None and (reply.sole or others_found))


def _holds_turn(circuit: Circuit, reply: Reply) -> bool:
    """Whether no other worker has taken or ended the turn of the refused types since this event's claim."""
    until = circuit.refused_until
    return until is None or until <= circuit.now or until == reply.turn_until


# ---- pauses


def _halted(
    circuit: Circuit, outcome: Outcome, limits: Limits, *, probe: bool, checking: bool = False
) -> Circuit:
    kind = outcome.halt or Halt.CONFIG
    return _paused(
        circuit,
        kind,
        outcome.error,
        limits,
        probe=probe,
        asked=outcome.retry_after,
        checking=checking and kind is not Halt.RATE,
    )


def _paused(
    circuit: Circuit,
    kind: str,
    reason: str,
    limits: Limits,
    *,
    probe: bool,
    asked: float | None = None,
    checking: bool = False,
) -> Circuit:
    """Begin a pause, or extend it if its probe failed; a pause never gets shorter.

    If anything was accepted lately, it begins short, whatever its kind (G22). ``asked`` is the wait the
    platform asked for, in seconds.
    """
    pauses = circuit.check if checking else circuit.publish
    before, now = pauses.of(kind), circuit.now
    failed = probe and before is not None and before.until <= now
    if failed and not (checking or limits.costly) and circuit.accepted_lately and kind in _TRIED_AGAIN:
        circuit = replace(circuit, probes=circuit.probes + 1)
        failed = circuit.probes >= PROBES
    grows = before is None or failed
    seconds = before.seconds if before else 0.0
    if grows and kind != Halt.RATE:
        short = circuit.accepted_lately or kind in (Halt.NETWORK, Halt.REFUSALS)
        base, cap = (limits.base, limits.cap) if short else (TROUBLE_BASE, TROUBLE_CAP)
        seconds = retry_after.doubled(seconds, base, cap)
    length = max(seconds if grows else 0.0, asked or 0.0)
    until = now + dt.timedelta(seconds=length)
    if not length or (before is not None and before.until >= until):
        return circuit  # from requests that were already in flight
    pauses = pauses.put(Pause(kind, until, reason[:500], seconds, length))
    if checking:
        return replace(circuit, check=pauses)
    turn = circuit.probe_turn if circuit.publish else 0
    return replace(circuit, publish=pauses, probe_turn=turn, probes=0, failures=0)


def _noted(events: tuple[int, ...], event_id: int) -> tuple[int, ...]:
    known = event_id in events or len(events) >= MOST_EVENTS
    return events if known else (*events, event_id)


def _seconds(earlier: dt.datetime, later: dt.datetime) -> float:
    return (later - earlier).total_seconds()
