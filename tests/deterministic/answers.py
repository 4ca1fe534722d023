"""The rules for what an answer means for the destination: pauses, runs, suspects, refusals (G9, G20, G22).

Each rule compares the state before one answer with that after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from genesys_eventbridge.circuit import Circuit, Limits, Pause, Reply, Step
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.outbox.destinations import Recorded
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict
from genesys_eventbridge.states import AttemptKind
from tests.deterministic.scheduler import Broken

#: Something was accepted lately: within so many seconds, or of so many requests of a paused destination.
LATELY, LATELY_REQUESTS = 300.0, 60
#: So many different events in a row accuse the destination, and so many failed probes make a pause longer.
SEVERAL = 3
#: The shortest and the longest pause for what only an operator can set right, in seconds.
OPERATORS_PAUSE, OPERATORS_CAP = 60.0, 900.0
#: Only so many events of a run are known by their id.
NAMED = 50
#: A time that is further ahead is one of a clock that was set back.
AHEAD = 10.0
#: An acceptance proves that nothing of this kind is in the way.
DISPROVED = (Halt.NETWORK, Halt.REFUSALS, Halt.PERMISSION, Halt.CONFIG)
TROUBLE = (Halt.NETWORK, Halt.CONFIG)
PROBED_AGAIN = (Halt.NETWORK, Halt.PERMISSION, Halt.CONFIG)
CLOSE = 0.002

After = Callable[..., Step]


@dataclass(frozen=True)
class Meaning:
    """What the latest answer about an event has to mean for its row."""

    #: The failure uses up no attempt; the answer may end the event; the destination is paused by it.
    free: bool = False
    accuses: bool = False
    paused: bool = False
    #: Of a check: whether the platform knows the event; None if the answer does not say.
    found: bool | None = None


class AnswerJudge:
    """Sees each step of the circuit. ``few`` says whether fewer than three events are failing or due."""

    def __init__(
        self, settings: DestinationSettings, who: Callable[[], str], few: Callable[[Iterable[int]], bool]
    ) -> None:
        self.settings, self.who, self.few = settings, who, few
        #: By process and event: what its last answer means.
        self.meanings: dict[tuple[str, int], Meaning] = {}

    def after(self, after: After, before: Circuit, reply: Reply, limits: Limits, *, checking: bool) -> Step:
        """Replaces ``circuit.after``: raises Broken if the step is not what was promised."""
        step = after(before, reply, limits, checking=checking)
        self._judge_times(before)
        self._judge_turn(before, reply, step.circuit, checking=checking)
        if reply.outcome is None:
            return step
        if checking:
            meaning = self._checked(before, reply, reply.outcome, step)
        else:
            self._judge_pauses(before, reply, reply.outcome, step.circuit)
            meaning = self._published(before, reply, reply.outcome, limits, step)
        if step.accuses != meaning.accuses:
            raise Broken(f"event {reply.event_id}: accused {step.accuses}, and it is {meaning.accuses}")
        if step.uncounted != meaning.free:
            raise Broken(
                f"event {reply.event_id}: counts {not step.uncounted}, and should {not meaning.free}"
            )
        if meaning.paused and not step.paused:
            raise Broken(f"event {reply.event_id}: its answer pauses, and the senders are not stopped")
        meaning = replace(meaning, found=reply.outcome.found if checking else None)
        self.meanings[self.who(), reply.event_id] = meaning
        return step

    def record(self, record: Callable[..., Recorded], kind: AttemptKind, *args: Any, **more: Any) -> Recorded:
        """Replaces ``destinations.record``: what was not recorded means nothing for its row."""
        try:
            recorded = record(kind, *args, **more)
        except BaseException:
            self.meanings = {each: found for each, found in self.meanings.items() if each[0] != self.who()}
            raise
        for (process, event), found in list(self.meanings.items()):
            if process == self.who():
                self.meanings[process, event] = replace(found, paused=recorded.paused)
        return recorded

    def meaning(self, process: str, event: int) -> Meaning | None:
        """What the answer to this process means for the event; asked for once."""
        return self.meanings.pop((process, event), None)

    # ------------------------------------------------------------------------------------------ of any answer

    def _judge_times(self, circuit: Circuit) -> None:
        """Times from before the clock was set back are forgotten, however they came about (G14)."""
        times = {name: getattr(circuit, name) for name in ("accepted_at", "cleared_at", "found_at")}
        times |= {"probe_until": circuit.probe_until}
        longest = {"probe_until": self.settings.lease_seconds}
        for name, moment in times.items():
            if moment and _seconds(circuit.now, moment) > longest.get(name, 0.0) + AHEAD + CLOSE:
                raise Broken(f"{name} is {_seconds(circuit.now, moment):.0f} s ahead of the clock")
        for pause in (*circuit.publish.all, *circuit.check.all):
            if pause.length and _seconds(circuit.now, pause.until) > pause.length + AHEAD + CLOSE:
                raise Broken(f"a pause of {pause.length:.0f} s ends {pause.until} at {circuit.now}")

    def _judge_turn(self, before: Circuit, reply: Reply, circuit: Circuit, *, checking: bool) -> None:
        """A probe that was answered hands its own turn back, and nothing else ends a turn (G9)."""
        own = not checking and reply.probe and before.probe_until == reply.turn_until
        expected = None if own else before.probe_until
        if circuit.probe_until != expected:
            raise Broken(
                f"event {reply.event_id}, a probe: {reply.probe}, whose turn ends {reply.turn_until}, leaves "
                f"the turn {circuit.probe_until} of {before.probe_until}"
            )
        # A refusal of its probe ends a pause of the network, and may begin one for refusals.
        lasts = any(circuit.publish.of(pause.kind) for pause in before.publish.all)
        if circuit.probe_turn != before.probe_turn and (lasts or circuit.probe_turn):
            raise Broken(f"turn {circuit.probe_turn} of probes follows {before.probe_turn}")
        if not checking and circuit.publish and not lasts and circuit.probe_turn:
            raise Broken(f"a pause begins with turn {circuit.probe_turn} of its probes")

    def _judge_pauses(  # noqa: C901 - one rule after another
        self, before: Circuit, reply: Reply, outcome: Outcome, circuit: Circuit
    ) -> None:
        """How long pauses are, and that those of different kinds are independent (G9, G22)."""
        lately = accepted_lately(before)
        for pause in circuit.publish.all:
            known = before.publish.of(pause.kind)
            if known is None:
                self._judge_beginning(pause, lately=lately)
            elif pause.seconds != known.seconds:
                if not (reply.probe and known.until <= before.now):
                    raise Broken(f"a pause of kind {pause.kind} grows, and none of its probes failed")
                again = lately and pause.kind in PROBED_AGAIN and not self.settings.asks_in_doubt
                if again and before.probes + 1 < SEVERAL:
                    raise Broken(
                        f"a pause of kind {pause.kind} grows after {before.probes + 1} failed probes"
                    )
                if pause.seconds > max(2 * known.seconds, OPERATORS_PAUSE):
                    raise Broken(
                        f"a pause of kind {pause.kind} grows from {known.seconds} to {pause.seconds}"
                    )
            if known is not None and pause.until < known.until:
                raise Broken(f"a pause of kind {pause.kind} gets shorter")
        if outcome.verdict is Verdict.ACCEPTED:
            return
        for known in before.publish.all:
            answered = (
                known.until <= before.now and known.kind != Halt.REFUSALS and _is_the_platforms(outcome)
            )
            if circuit.publish.of(known.kind) is None and not answered:
                raise Broken(f"a {outcome.verdict} ends the pause of kind {known.kind}")
            if answered and circuit.publish.of(known.kind) is not None:
                raise Broken(f"the platform answers, and the pause of kind {known.kind} stays")

    def _judge_beginning(self, pause: Pause, *, lately: bool) -> None:
        if pause.kind == Halt.RATE:
            return
        short = lately or pause.kind in (Halt.NETWORK, Halt.REFUSALS)
        expected = self.settings.pause_base if short else OPERATORS_PAUSE
        if abs(pause.seconds - expected) > CLOSE:
            raise Broken(f"a pause of kind {pause.kind} begins with {pause.seconds} s, not {expected}")

    # --------------------------------------------------------------------------------------------- publishing

    def _published(
        self, before: Circuit, reply: Reply, outcome: Outcome, limits: Limits, step: Step
    ) -> Meaning:
        match outcome.verdict:
            case Verdict.ACCEPTED:
                return self._accepted(before, reply, step.circuit)
            case Verdict.REJECTED:
                return self._refused(before, reply, step)
            case Verdict.HALTED if outcome.accuses:
                return self._page(before, reply, step)
            case Verdict.HALTED:
                known = before.publish.of(outcome.halt or Halt.CONFIG)
                if known is None and not step.circuit.publish.running(before.now):
                    raise Broken(f"{outcome.halt} is about the whole destination, and it is not paused")
                return Meaning(paused=True)
            case _:
                return self._failed(before, reply, outcome, limits, step)

    def _accepted(self, before: Circuit, reply: Reply, circuit: Circuit) -> Meaning:
        """An acceptance ends what it disproves, and every run."""
        for pause in circuit.publish.all:
            if pause.until <= before.now or pause.kind in DISPROVED:
                raise Broken(f"an event is accepted, and the pause of kind {pause.kind} stays")
        for pause in before.publish.all:
            if pause.until > before.now and pause.kind not in DISPROVED and pause not in circuit.publish.all:
                raise Broken(f"an acceptance ends a pause of kind {pause.kind}")
        if circuit.failed or circuit.suspects or circuit.failures:
            raise Broken("an event is accepted, and a run of failures continues")
        if circuit.accepted_at != before.now:
            raise Broken("an event is accepted, and its time is not noted")
        if reply.halts and circuit.cleared_at != before.now:
            raise Broken("an event that met a page is accepted, and the path is not cleared")
        of_the_run = before.refused_until is None or (
            before.refusals is not None and reply.type in before.refusals.types
        )
        if before.refusals is not None and (circuit.refusals is None) != of_the_run:
            raise Broken(
                f"a {reply.type} is accepted; refused types {before.refusals.types} end: {not of_the_run}"
            )
        return Meaning()

    def _refused(self, before: Circuit, reply: Reply, step: Step) -> Meaning:
        """Refusals of different events in a row pause; then the refused types go one at a time (G20)."""
        circuit, holding = step.circuit, before.refused_until is not None
        known = before.refusals.events if before.refusals else ()
        different = len({*known, reply.event_id})
        probed = reply.probe and before.publish.of(Halt.REFUSALS) is not None
        begins = not holding and (different >= self.settings.run_length or probed)
        pause = circuit.publish.of(Halt.REFUSALS)
        if (begins or probed) != (pause is not None and pause != before.publish.of(Halt.REFUSALS)):
            raise Broken(
                f"{different} different events were refused in a row, a probe: {probed}, and the destination "
                f"has the pause {pause}"
            )
        tries = reply.probe or (reply.turn and _has_turn(before, reply))
        if holding and not tries and circuit.refused_until != before.refused_until:
            raise Broken("a refusal of what was on its way moves the turn of the refused types")
        if (begins or (holding and tries)) and (
            circuit.refusals is None
            or circuit.refused_until is None
            or _seconds(before.now, circuit.refused_until) < self.settings.pause_base - CLOSE
        ):
            raise Broken("events are refused, and those of their types are not held back")
        return Meaning(paused=begins or probed)

    def _page(self, before: Circuit, reply: Reply, step: Step) -> Meaning:
        """A page accuses its event only while others are accepted and it alone meets pages (G20)."""
        lately, since = accepted_lately(before), reply.suspected_since
        cleared = since is not None and before.cleared_at is not None and before.cleared_at >= since
        if lately and since is not None and not cleared and not before.suspects:
            if step.circuit.publish != before.publish:
                raise Broken("the page of an accused event pauses the destination")
            return Meaning(accuses=True)
        different = len({*before.suspects, reply.event_id})
        running = step.circuit.publish.running(before.now)
        if lately and different < SEVERAL:
            if step.circuit.publish != before.publish:
                raise Broken(f"pages of {different} events pause, and others were accepted lately")
            return Meaning(paused=running)
        kind = reply.outcome.halt if reply.outcome else None
        if not running and before.publish.of(kind or Halt.CONFIG) is None:
            raise Broken(f"pages of {different} events, accepted lately: {lately}, and nothing is paused")
        return Meaning(paused=True)

    def _failed(self, before: Circuit, reply: Reply, outcome: Outcome, limits: Limits, step: Step) -> Meaning:
        """Failures of several events in a row pause; in an outage each event pays for one (G9)."""
        if outcome.outage is None:
            return Meaning()
        asked = outcome.status_code == 503 and outcome.retry_after is not None
        counted_before = reply.event_id in before.failed or len(before.failed) >= NAMED
        trouble = any(before.publish.of(kind) for kind in TROUBLE)
        free = (counted_before or trouble) and not outcome.conflict
        if not asked:
            self._judge_run(before, reply, outcome, limits, step.circuit)
        return Meaning(free=free, paused=bool(step.circuit.publish))

    def _judge_run(
        self, before: Circuit, reply: Reply, outcome: Outcome, limits: Limits, circuit: Circuit
    ) -> None:
        failures, different = before.failures + 1, len({*before.failed, reply.event_id})
        short = self.settings.asks_in_doubt or self.few({*before.failed, reply.event_id})
        must = failures >= SEVERAL if short else failures >= self.settings.run_length and different >= SEVERAL
        may = must or (limits.few_due and failures >= SEVERAL) or reply.probe
        if not before.publish and must != bool(circuit.publish) and not (may and circuit.publish):
            raise Broken(
                f"{failures} failures in a row of {different} events, few due: {short}, and the destination "
                f"has the pauses {circuit.publish}"
            )
        if before.publish and not reply.probe and circuit.publish != before.publish:
            raise Broken("a failure in a pause that is no probe changes the pause")
        new = [each for each in circuit.publish.all if each not in before.publish.all]
        if accepted_lately(before) and any(each.kind != Halt.NETWORK for each in new):
            raise Broken(f"something was accepted lately, and {outcome.outage} is said to be the trouble")

    # ----------------------------------------------------------------------------------------------- checking

    def _checked(self, before: Circuit, reply: Reply, outcome: Outcome, step: Step) -> Meaning:
        """A check that does not find its event may be about the path (G9)."""
        circuit = step.circuit
        if outcome.verdict is Verdict.HALTED:
            held = circuit.publish if outcome.halt is Halt.RATE else circuit.check
            known = (before.publish if outcome.halt is Halt.RATE else before.check).of(
                outcome.halt or Halt.CONFIG
            )
            if known is None and not held.running(before.now):
                raise Broken(f"a check meets {outcome.halt}, and nothing is paused")
            return Meaning(paused=True)
        if outcome.found is None:
            return Meaning()
        if outcome.found:
            if circuit.missing or circuit.found_at != before.now:
                raise Broken("the platform knows an event, and that is not noted")
            return Meaning()
        if len({*before.missing, reply.event_id}) >= SEVERAL:
            if not circuit.check.running(before.now) and before.check.of(Halt.CONFIG) is None:
                raise Broken("the platform finds none of several events in a row, and checks continue")
            return Meaning(paused=True)
        wrong = before.check.of(Halt.CONFIG) or before.publish.of(Halt.CONFIG)
        others = before.found_at is not None and reply.due_since is not None
        others = others and before.found_at >= reply.due_since  # type: ignore[operator]
        return Meaning(accuses=wrong is None and (others or reply.sole))


def accepted_lately(circuit: Circuit) -> bool:
    """Whether the destination works: it accepted an event lately, or one of few requests between pauses."""
    if circuit.accepted_at is None:
        return False
    recently = _seconds(circuit.accepted_at, circuit.now) < LATELY
    return recently or (bool(circuit.publish) and circuit.misses < LATELY_REQUESTS)


def _has_turn(circuit: Circuit, reply: Reply) -> bool:
    until = circuit.refused_until
    return until is None or until <= circuit.now or until == reply.turn_until


def _is_the_platforms(outcome: Outcome) -> bool:
    """An answer of the platform itself, about this event."""
    return outcome.verdict is Verdict.REJECTED or (
        outcome.verdict in (Verdict.UNAVAILABLE, Verdict.UNKNOWN) and outcome.outage is None
    )


def _seconds(earlier: Any, later: Any) -> float:
    return float((later - earlier).total_seconds())
