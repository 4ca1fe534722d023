"""The output of ``eventbridge_status``: problems first, each with its remedy, then each destination."""

from __future__ import annotations

import math
from typing import Any

from genesys_eventbridge import conf, schedules, wake
from genesys_eventbridge.circuit import LATELY_REQUESTS
from genesys_eventbridge.formatting import moment
from genesys_eventbridge.management import arguments
from genesys_eventbridge.management.output import Result, counted, next_step
from genesys_eventbridge.reporting.judgement import judge
from genesys_eventbridge.reporting.problems import Limits, Problem
from genesys_eventbridge.reporting.status import DestinationStatus
from genesys_eventbridge.text import clean


def report(options: dict[str, Any]) -> Result:
    """The numbers, and whether anything needs an operator; with ``--check`` what, also as the exit code."""
    named = arguments.aliases(options, stored=True) if options["destination"] else None
    limits = Limits(**{name: options[name] for name in ("max_age", "max_dead") if options[name] is not None})
    judged = judge(named, limits)
    statuses, found, installed = judged.statuses, judged.problems, judged.schedules
    result = Result(
        data={
            "destinations": {each.alias: _data(each) for each in statuses},
            "problems": [_problem_data(problem) for problem in found],
        },
        needs_operator=bool(found),
        exits=options["check"],
    )
    if options["check"]:
        many = len(statuses) > 1
        result.lines += [line for problem in found for line in _problem_lines(problem, many)]
        result.lines += _fine_lines(installed, found)
        result.lines += [line for each in statuses for line in _wake_lines(each, many)]
    for each in statuses:
        result.lines += _lines(each)
    result.lines += [line for each in statuses if not each.configured for line in _not_ours(each)]
    if found and not options["check"]:
        result.lines += [
            f"{counted(len(found), 'problem')}, explained by:",
            next_step("eventbridge_status --check"),
        ]
    return result


def _problem_data(problem: Problem) -> dict[str, str | None]:
    return {
        "destination": problem.destination or None,
        "kind": problem.kind,
        "message": problem.message,
        "remedy": problem.remedy,
    }


def _not_ours(at: DestinationStatus) -> list[str]:
    if at.served:
        return [
            f"NOTE     {at.alias} is served by another project on this database; it is not monitored here"
        ]
    return [
        f"NOTE     {at.alias} is not in GENESYS_EVENTBRIDGE; no worker sends its events",
        f"  -> manage.py eventbridge_retry --destination {at.alias} --move-to ALIAS --dry-run",
        f"  -> manage.py eventbridge_cancel --destination {at.alias} --because TEXT --dry-run",
    ]


def _problem_lines(problem: Problem, many: bool) -> list[str]:
    where = f"{problem.destination}: " if many and problem.destination else ""
    lines = [f"PROBLEM  {where}{problem.message}"]
    return [*lines, f"  -> {problem.remedy}"] if problem.remedy else lines


def _fine_lines(installed: list[schedules.ScheduleStatus], found: list[Problem]) -> list[str]:
    lines = []
    there = len([each for each in installed if each.installed])
    if installed and there == 0:
        lines.append("NOTE     schedules: not installed (not needed with eventbridge_publish --loop or cron)")
    elif installed and not any(problem.kind.startswith("schedules") for problem in found):
        lines.append(f"OK       schedules: {there} of {len(installed)} installed")
    if not found:
        lines.append("OK       nothing needs an operator")
    return lines


def _wake_lines(at: DestinationStatus, many: bool) -> list[str]:
    """What a commit wakes at present."""
    if not at.configured:
        return []
    where = f"{at.alias}: " if many else ""
    ago = (
        None if time is None else (at.now - time).total_seconds()
        for time in (at.health.task_at, at.health.heard_at)
    )
    return [f"INFO     {where}wake: {wake.describe(conf.destination(at.alias).wake, wake.Readers(*ago))}"]


def _lines(at: DestinationStatus) -> list[str]:
    least = "+" if at.delivered_1h_is_least else ""
    success = "" if at.success_1h is None else f" ({math.floor(at.success_1h * 1000) / 10:g} %)"
    numbers = {
        "waiting": at.waiting,
        "in flight": at.in_flight,
        "retrying": at.retrying,
        "accepted": at.accepted,
        "unresolved": at.unresolved,
        "dead": at.dead,
    }
    line = " · ".join(f"{name} {count:,}" for name, count in numbers.items())
    lines = [f"{at.alias}  {line} · delivered 1 h {at.delivered_1h:,}{least}{success}"]
    if not at.configured:
        lines[0] += "  NOT IN SETTINGS"
    return [*lines, *_held_back_lines(at), *_missed_lines(at), *_pause_lines(at)]


def _missed_lines(at: DestinationStatus) -> list[str]:
    """What pauses nothing yet: requests that failed since the last acceptance."""
    took, missed = at.health.accepted_at, at.health.misses
    if took is None or not missed or at.health.paused_until is not None:
        return []
    least = "+" if missed >= LATELY_REQUESTS else ""
    requests = f"{missed:,}{least} request{'' if missed == 1 else 's'}"
    return [
        f"  {requests} not accepted since the last acceptance at {moment(took, at.now)}",
        next_step("eventbridge_status --failures"),
    ]


def _held_back_lines(at: DestinationStatus) -> list[str]:
    """Held is not late: it says which event to act on, and alone is not a problem."""
    sentence = at.held_back.sentence
    return [f"  {sentence}", next_step(f"eventbridge_show {at.held_back.head}")] if sentence else []


def _pause_lines(at: DestinationStatus) -> list[str]:
    health, lines = at.health, []
    if at.held:
        until = f"until {moment(health.held_until, at.now)}" if health.held_until else "until resumed"
        lines.append(
            f"  paused {until} by {clean(health.held_by, 80)}: {clean(health.held_reason, 300)}\n"
            f"  -> manage.py eventbridge_resume {at.alias}"
        )
    if health.paused_until is not None and health.paused_until > at.now:
        until = moment(health.paused_until, at.now)
        lines.append(f"  paused until {until} ({health.paused_kind}): {clean(health.paused_reason, 300)}")
    elif health.paused_until is not None:
        lines.append(f"  one event at a time is sent as a probe: {clean(health.paused_reason, 300)}")
    if health.check_paused_until is not None and health.check_paused_until > at.now:
        until = moment(health.check_paused_until, at.now)
        kind = f" ({health.check_paused_kind})" if health.check_paused_kind else ""
        lines.append(f"  checks paused until {until}{kind}: {clean(health.check_paused_reason, 300)}")
    return lines


def _data(at: DestinationStatus) -> dict[str, Any]:
    health = at.health
    return {
        "configured": at.configured,
        "waiting": at.waiting,
        "in_flight": at.in_flight,
        "retrying": at.retrying,
        "accepted": at.accepted,
        "unresolved": at.unresolved,
        "dead": at.dead,
        "held_events": at.held_back.number,
        "held_behind": at.held_back.head,
        "oldest_seconds": None if at.oldest is None else round(at.oldest, 1),
        "delivered_1h": at.delivered_1h,
        "delivered_1h_is_least": at.delivered_1h_is_least,
        "success_1h": None if at.success_1h is None else round(at.success_1h, 4),
        "heartbeat_at": health.heartbeat_at,
        "heartbeat_seconds": None if at.heartbeat_ago is None else round(at.heartbeat_ago, 1),
        "task_at": health.task_at,
        "heard_at": health.heard_at,
        "paused_until": health.paused_until,
        "paused_kind": health.paused_kind,
        "paused_reason": health.paused_reason,
        "checks_paused_until": health.check_paused_until,
        "checks_paused_kind": health.check_paused_kind,
        "held_by": health.held_by,
        "held_reason": health.held_reason,
        "held_until": health.held_until,
    }
