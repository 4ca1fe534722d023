"""Whether anything needs an operator: the one judgement of eventbridge_status and of the health checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.apps import apps

from genesys_eventbridge import conf, schedules
from genesys_eventbridge.formatting import span
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.reporting import status
from genesys_eventbridge.reporting.problems import Limits, Problem, problems
from genesys_eventbridge.reporting.status import DestinationStatus

#: Events of each kind that a probe looks at, so that it takes as long with a million events as with ten.
LOOKED_AT = 2_000


@dataclass(frozen=True, slots=True)
class Judgement:
    """The destinations, what needs an operator, and the django-q2 schedules, if it is installed."""

    statuses: list[DestinationStatus]
    problems: list[Problem]
    schedules: list[schedules.ScheduleStatus]


def judge(aliases: Sequence[str] | None = None, limits: Limits | None = None) -> Judgement:
    """Count everything; by default of all configured destinations, and of others whose events are left."""
    return _judge(status.statuses(aliases), limits or Limits())


def probe(aliases: Sequence[str] | None = None, limits: Limits | None = None) -> Judgement:
    """The same from a bounded number of events, without the numbers of the last hour: for frequent calls.

    Raises ImproperlyConfigured for a destination that is not in the settings.
    """
    for alias in aliases or ():
        conf.destination(alias)
    limits = limits or Limits()
    # More than the limit, so that it can be seen to be exceeded.
    seen = status.sampled(next_due.database_now(), {}, max(LOOKED_AT, limits.max_dead + 1))
    return _judge([at for at in seen if aliases is None or at.alias in aliases], limits)


def _judge(statuses: list[DestinationStatus], limits: Limits) -> Judgement:
    found = [problem for each in statuses for problem in problems(each, limits)]
    installed = schedules.statuses() if apps.is_installed("django_q") else []
    return Judgement(statuses, [*found, *_schedule_problems(installed)], installed)


def _schedule_problems(installed: list[schedules.ScheduleStatus]) -> Iterator[Problem]:
    """None at all is a choice (``--loop``, cron); missing, duplicated or wrong ones are not."""
    if any(each.installed for each in installed):
        for fault, faulty in schedules.faults(installed).items():
            remedy = "manage.py eventbridge_schedules --apply"
            yield Problem("", "schedules", f"schedules {fault}: {', '.join(faulty)}", remedy)
    late = [each for each in installed if each.is_late and not each.fault]
    if late:
        longest = span(max(each.late for each in late))
        names = ", ".join(each.name for each in late)
        yield Problem("", "schedules_late", f"schedules {longest} late: {names}", "manage.py qcluster")
