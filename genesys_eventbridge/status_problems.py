"""What of a destination's standing needs a person, each with the command or setting that helps. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from genesys_eventbridge.explain import NO_WORKER_AFTER
from genesys_eventbridge.explain_words import moment, span
from genesys_eventbridge.status import Standing
from genesys_eventbridge.text import clean

#: Kinds of pause that end only when somebody mends something.
MENDED_BY_PEOPLE = ("auth", "permission", "config")


@dataclass(frozen=True, slots=True)
class Limits:
    """When a number becomes a problem: seconds, and events of each kind that wait for a person."""

    max_age: float = 300.0
    max_dead: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """``kind`` is a fixed word for programs; ``remedy`` a command or a line of settings, or empty."""

    destination: str
    kind: str
    message: str
    remedy: str = ""


def problems(at: Standing, limits: Limits) -> Iterator[Problem]:
    """Everything that needs a person at one destination, the gravest first."""
    if not at.configured:
        yield Problem(
            at.alias,
            "not_configured",
            f"{at.undelivered:,} events to send, and GENESYS_EVENTBRIDGE has no such destination any more",
            "add it to the settings again, or cancel its events",
        )
        return
    if at.oldest is not None and at.oldest > limits.max_age:
        age, limit = span(at.oldest), span(limits.max_age)
        yield Problem(at.alias, "age", f"oldest undelivered event is {age} old (limit {limit})")
    yield from _worker(at)
    yield from _pauses(at)
    yield from _waiting_for_a_person(at, limits)


def _worker(at: Standing) -> Iterator[Problem]:
    seen, ago = at.health.heartbeat_at, at.heartbeat_ago
    start = "start one: manage.py qcluster   (or: manage.py eventbridge_publish --loop)"
    if seen is None or ago is None:
        yield Problem(at.alias, "worker", "no worker has ever reported", start)
    elif ago > NO_WORKER_AFTER:
        since = f"no worker heartbeat since {moment(seen, at.now)} ({span(ago)})"
        yield Problem(at.alias, "worker", since, start)


def _pauses(at: Standing) -> Iterator[Problem]:
    health = at.health
    if health.paused_until is not None and health.paused_kind in MENDED_BY_PEOPLE:
        yield Problem(
            at.alias,
            "paused",
            f"sending is paused ({health.paused_kind}): {clean(health.paused_reason, 300)}",
            f"manage.py eventbridge_ping --destination {at.alias}",
        )
    if health.check_paused_until is not None:
        yield Problem(
            at.alias,
            "checks_paused",
            f"asking for deliveries is paused: {clean(health.check_paused_reason, 300)}",
            'grant eventbridge:events:read, or set "CONFIRM": False',
        )


def _waiting_for_a_person(at: Standing, limits: Limits) -> Iterator[Problem]:
    for state, number in (("dead", at.dead), ("unresolved", at.unresolved)):
        if number > limits.max_dead:
            events = "event is" if number == 1 else "events are"
            yield Problem(
                at.alias,
                state,
                f"{number:,} {events} {state} (limit {limits.max_dead:,})",
                f"manage.py eventbridge_retry --destination {at.alias} --state {state} --dry-run",
            )
