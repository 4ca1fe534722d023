"""The problems of a destination that need an operator, each with the command or setting that helps. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from genesys_eventbridge import formatting
from genesys_eventbridge.formatting import moment, pause_kind, refusals, span
from genesys_eventbridge.platform.outcomes import Halt
from genesys_eventbridge.reporting import workers
from genesys_eventbridge.reporting.explain import NO_WORKER_AFTER
from genesys_eventbridge.reporting.facts import others_flow, refused
from genesys_eventbridge.reporting.status import DestinationStatus
from genesys_eventbridge.states import State
from genesys_eventbridge.text import clean

#: Pauses that end only after an operator fixes something.
NEED_A_FIX = (Halt.AUTH, Halt.PERMISSION, Halt.CONFIG)
#: Pauses that end automatically.
HEALS = (Halt.NETWORK, Halt.RATE)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits above which a number is a problem: age in seconds; dead and unresolved events, each."""

    max_age: float = 300.0
    max_dead: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """``kind`` is a fixed code for programs; ``remedy`` is a command, a settings line, or ""."""

    destination: str
    kind: str
    message: str
    remedy: str = ""


def problems(at: DestinationStatus, limits: Limits) -> Iterator[Problem]:
    """Everything at one destination that needs an operator, worst first."""
    if not at.configured:
        yield from _not_configured(at)
        return
    if at.oldest is not None and at.oldest > limits.max_age:
        words = {"age": span(at.oldest), "limit": span(limits.max_age)}
        message = _("oldest undelivered event is %(age)s old (limit %(limit)s)") % words
        yield Problem(at.alias, "age", message)
    yield from _worker(at)
    yield from _pauses(at)
    yield from _needs_operator(at, limits)


def first_look(state: State, alias: str, *, honours_key: bool) -> str:
    """The command that shows what can be done with a destination's dead or unresolved events.

    Without a key that the platform honours, a retry skips all unresolved ones: someone must look for each.
    """
    if state is State.UNRESOLVED and not honours_key:
        return f"eventbridge_list --destination {alias} --state unresolved"
    return f"eventbridge_retry --destination {alias} --state {state.value} --dry-run"


def _not_configured(at: DestinationStatus) -> Iterator[Problem]:
    """Reported only if no other project serves it; an operator's pause silences it."""
    if at.undelivered and not at.served and not at.held:
        yield Problem(
            at.alias,
            "not_configured",
            _("no longer in GENESYS_EVENTBRIDGE: %(count)s open")
            % {"count": at.shown(at.undelivered, "waiting", "retrying", "accepted")},
            _(
                "add it to the settings again, move or cancel its events, or, if they belong to another "
                "project: %(pause)s"
            )
            % {"pause": f"manage.py eventbridge_pause {at.alias} --because TEXT"},
        )


def _worker(at: DestinationStatus) -> Iterator[Problem]:
    seen, ago = at.health.heartbeat_at, at.heartbeat_ago
    first, *others = workers.commands()
    start = _("start one: %(command)s") % {"command": first}
    for other in others:
        start += _("   (or: %(command)s)") % {"command": other}
    if seen is None:
        yield Problem(at.alias, "worker", _("no worker has ever reported"), start)
    elif ago is None:
        yield Problem(at.alias, "worker", _("no worker has reported since the clock was set back"), start)
    elif ago > NO_WORKER_AFTER:
        words = {"since": moment(seen, at.now), "span": span(ago)}
        message = _("no worker heartbeat since %(since)s (%(span)s)") % words
        yield Problem(at.alias, "worker", message, start)


def _pauses(at: DestinationStatus) -> Iterator[Problem]:
    health = at.health
    run = refused(health)
    if run is not None:
        waiting = at.shown(at.waiting + at.retrying, "waiting", "retrying")
        yield Problem(
            at.alias,
            "refusals",
            refusals(run, waiting, at.now, others_accepted=others_flow(health)),
            _(
                "correct what the platform refuses (SOURCE, the event type, its schema), or cancel these "
                "events, then: %(resume)s, and %(retry)s"
            )
            % {
                "resume": f"manage.py eventbridge_resume {at.alias}",
                "retry": f"manage.py eventbridge_retry --destination {at.alias} --state dead --because TEXT",
            },
        )
    if health.paused_until is not None and health.paused_kind in NEED_A_FIX:
        yield Problem(
            at.alias,
            "paused",
            _("sending is paused (%(kind)s): %(why)s")
            % {"kind": pause_kind(health.paused_kind), "why": clean(health.paused_reason, 300)},
            f"manage.py eventbridge_ping --destination {at.alias}",
        )
    if health.check_paused_until is not None and health.check_paused_kind not in HEALS:
        kind = health.check_paused_kind or Halt.CONFIG
        yield Problem(
            at.alias,
            "checks_paused",
            _("status checks are paused (%(kind)s): %(why)s")
            % {"kind": pause_kind(kind), "why": clean(health.check_paused_reason, 300)},
            _checks_remedy(kind, at.alias),
        )


def _checks_remedy(kind: str, alias: str) -> str:
    """CONFIRM off treats accepted events as delivered for good: suggested only for a missing permission."""
    if kind == Halt.PERMISSION:
        return _(
            'grant eventbridge:events:read, or set "CONFIRM": False, which treats every accepted event as '
            "delivered"
        )
    return f"manage.py eventbridge_ping --destination {alias}"


def _needs_operator(at: DestinationStatus, limits: Limits) -> Iterator[Problem]:
    for state, number in ((State.DEAD, at.dead), (State.UNRESOLVED, at.unresolved)):
        if number > limits.max_dead:
            message = ngettext(
                "%(count)s event is %(state)s (limit %(limit)s)",
                "%(count)s events are %(state)s (limit %(limit)s)",
                number,
            )
            words = {
                "count": at.shown(number, state.value),
                "state": state.label,
                "limit": formatting.number(limits.max_dead),
            }
            held = at.held_back.sentence if at.held_back.state is state else ""
            yield Problem(
                at.alias,
                state.value,
                "; ".join(filter(None, (message % words, held))),
                f"manage.py {first_look(state, at.alias, honours_key=at.honours_key)}",
            )
