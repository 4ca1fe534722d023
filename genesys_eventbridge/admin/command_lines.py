"""The command to run if too many events are selected, with the list's filters as flags."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Mapping

from django.utils import timezone

from genesys_eventbridge.admin.actions import Verb
from genesys_eventbridge.admin.filters import CreatedFilter

#: List parameters without a matching flag; the command would act on other events than those shown.
UNKNOWN_TO_COMMANDS = ("q", "attention", "progress", "answer")
#: The command that takes the list's filters in addition to --destination.
FILTERED = "eventbridge_retry"


def command_for(verb: Verb, filters: Mapping[str, str]) -> str:
    """The command line, or "" if no command acts on exactly these events."""
    name, _space, fixed = verb.command.partition(" ")
    if not name or any(filters.get(key) for key in UNKNOWN_TO_COMMANDS):
        return ""
    words = ["manage.py", name]
    if filters.get("destination"):
        words += ["--destination", filters["destination"]]
    if name == FILTERED:
        words += _filtered(fixed, filters)
    return shlex.join(words)


def _filtered(fixed: str, filters: Mapping[str, str]) -> list[str]:
    words = fixed.split()
    if filters.get("reason"):
        words += ["--reason", filters["reason"]]
    seconds = CreatedFilter.SECONDS.get(filters.get("created", ""))
    if seconds:
        since = timezone.now().astimezone(dt.UTC) - dt.timedelta(seconds=seconds)
        words += ["--since", since.strftime("%Y-%m-%dT%H:%M:%SZ")]
    return [*words, "--dry-run"]
