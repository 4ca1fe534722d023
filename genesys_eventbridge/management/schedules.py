"""The django-q2 schedules as text: their state, and what was changed."""

from __future__ import annotations

from typing import Any

from genesys_eventbridge import schedules
from genesys_eventbridge.management.output import Result, next_step
from genesys_eventbridge.schedules import Change, ScheduleStatus


def show() -> Result:
    """The state of each schedule; a missing, duplicated or wrong one needs an operator."""
    found = schedules.statuses()
    ill = bool(schedules.faults(found))
    lines = [f"{each.name:<20} {each.fault or f'{each.interval}, {each.pace}'}" for each in found]
    if ill:
        lines.append(next_step("eventbridge_schedules --apply"))
    return Result(lines, {"schedules": _data(found)}, needs_operator=ill)


def change(options: dict[str, Any]) -> Result:
    """Install, reset or remove, and report the changes."""
    dry_run = options["dry_run"]
    if options["remove"]:
        changes = schedules.remove(dry_run=dry_run)
    else:
        changes = schedules.install(reset=options["reset"], dry_run=dry_run)
    lines, would = [], "would be " if dry_run else ""
    for name, done in changes.done.items():
        note = f", {changes.notes[name]}" if name in changes.notes else ""
        lines.append(f"{name:<20} {would}{', '.join(done)}{note}")
    if not changes.done:
        lines.append("There were no schedules to remove.")
    if changes.notes:
        lines.append("Your settings were kept; --reset overwrites them.")
    if not (dry_run or options["remove"]) and set().union(*changes.done.values()) - {Change.KEPT}:
        lines.append("They run while a cluster is running:")
        lines.append(next_step("qcluster"))
    data = {
        "schedules": _data(schedules.statuses()),
        "changes": {name: [str(change) for change in done] for name, done in changes.done.items()},
        "dry_run": dry_run,
    }
    return Result(lines, data)


def _data(found: list[ScheduleStatus]) -> dict[str, Any]:
    return {
        each.name: {
            "installed": each.installed,
            "well": not each.fault,
            "paused": each.paused,
            "interval": each.interval,
            "next_run": each.next_run,
            "late": round(each.late, 1),
        }
        for each in found
    }
