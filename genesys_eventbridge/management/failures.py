"""The output of ``eventbridge_status --failures``: what fails, how often, since when, with an example."""

from __future__ import annotations

import shlex
from typing import Any

from genesys_eventbridge.formatting import moment
from genesys_eventbridge.management import arguments
from genesys_eventbridge.management.output import Result, counted, listed, next_step
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.reporting.facts import known_aliases
from genesys_eventbridge.reporting.failures import Failures, Group, failures
from genesys_eventbridge.selection.filters import NO_ERROR
from genesys_eventbridge.text import clean

#: Groups that are printed as text; JSON has all.
SHOWN = 50


def report(options: dict[str, Any]) -> Result:
    """Every failure group of the destinations; nothing is left out of the counts."""
    aliases = arguments.aliases(options, stored=True) if options["destination"] else known_aliases()
    now = next_due.database_now()
    since = options["since"]
    found = failures(aliases, now, since=since)
    began = f" since {moment(since, now)}" if since else ""
    if not found.groups:
        lines = [f"No event is dead, unresolved or waiting for a retry{began}."]
    else:
        groups = counted(len(found.groups), "group")
        lines = [f"{counted(found.number, 'event')} in {groups} failed{began}, the largest group first."]
        lines.append("Left out of the errors: numbers, ids, times, addresses and quoted values.")
        for group in found.groups[:SHOWN]:
            lines += _lines(group, now)
        if len(found.groups) > SHOWN:
            lines.append(f"{len(found.groups) - SHOWN:,} more groups; --format json lists all.")
    return Result(
        lines,
        {"since": since, "failures": [_data(group) for group in found.groups]},
        needs_operator=_needs_operator(found),
        exits=False,
    )


def _needs_operator(found: Failures) -> bool:
    return any(group.dead or group.unresolved for group in found.groups)


def _lines(group: Group, now: Any) -> list[str]:
    states = {"dead": group.dead, "unresolved": group.unresolved, "retrying": group.retrying}
    states = {name: number for name, number in states.items() if number}
    which = f"--type {shlex.quote(group.type)} --failure {group.failure or NO_ERROR}"
    pattern = group.pattern or "no error text"
    return [
        f"{group.destination}  {clean(group.type, 255)}  {group.number:,}  {pattern}",
        f"  {listed(states)} · first {moment(group.first, now)} · last {moment(group.last, now)} "
        f"· past hour {group.recent:,}, hour before {group.before:,}",
        next_step(f"eventbridge_show {group.example}"),
        next_step(f"eventbridge_list --destination {group.destination} {which}"),
    ]


def _data(group: Group) -> dict[str, Any]:
    return {
        "destination": group.destination,
        "type": group.type,
        "failure": group.failure or NO_ERROR,
        "pattern": group.pattern,
        "number": group.number,
        "dead": group.dead,
        "unresolved": group.unresolved,
        "retrying": group.retrying,
        "first_at": group.first,
        "last_at": group.last,
        "past_hour": group.recent,
        "hour_before": group.before,
        "example": group.example,
        "error": group.error,
    }
