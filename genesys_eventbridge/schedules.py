"""The django-q2 schedules as data, and an installer that is safe to run concurrently on every host."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

from django.db import router, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from genesys_eventbridge import conf
from genesys_eventbridge.db import first_write, in_small_transaction
from genesys_eventbridge.formatting import span
from genesys_eventbridge.models import Destination, outbox_alias


@dataclass(frozen=True, slots=True)
class Plan:
    """One planned schedule: its name, what it runs, and its interval in minutes."""

    name: str
    func: str
    minutes: int


PLANS = (
    Plan("eventbridge:publish", "genesys_eventbridge.tasks.publish_all", 1),
    Plan("eventbridge:poll", "genesys_eventbridge.tasks.poll_all", 1),
    Plan("eventbridge:retry", "genesys_eventbridge.tasks.retry_all", 5),
    Plan("eventbridge:prune", "genesys_eventbridge.tasks.prune_all", 60),
)

#: A schedule is late after this many seconds; django-q2 looks for due schedules about every 30 seconds.
LATE = 180.0


class Change(StrEnum):
    """What the installer did, or would do, to a schedule."""

    CREATED = "created"
    REPAIRED = "repaired"
    RESET = "reset"
    REMOVED = "removed"
    #: A second schedule with the same name.
    DOUBLE_REMOVED = "double removed"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class ScheduleStatus:
    """One schedule as it is; ``late``: seconds since it should have run, 0 if it is on time.

    ``started`` is known if a worker has finished its last task and django-q2 has kept that.
    """

    name: str
    installed: int
    right: bool = False
    paused: bool = False
    interval: str = ""
    next_run: dt.datetime | None = None
    late: float = 0.0
    started: dt.datetime | None = None

    @property
    def fault(self) -> str:
        """What is wrong with its installation, in words; "" if nothing is."""
        if not self.installed:
            return _("missing")
        if self.installed > 1:
            return _("installed more than once")
        return "" if self.right else _("changed to run something else")

    @property
    def pace(self) -> str:
        """Whether it runs when it should, in words."""
        if self.paused:
            return _("paused in django-q2")
        return _("%(span)s late") % {"span": span(self.late)} if self.is_late else _("on time")

    @property
    def is_late(self) -> bool:
        return self.late > LATE


def faults(statuses: Iterable[ScheduleStatus]) -> dict[str, list[str]]:
    """The names of the schedules that are not installed as planned, by what is wrong with them."""
    found: dict[str, list[str]] = {}
    for each in statuses:
        if each.fault:
            found.setdefault(each.fault, []).append(each.name)
    return found


@dataclass(slots=True)
class Changes:
    """What was done, by schedule; ``notes`` name what was left as the operator set it."""

    done: dict[str, list[Change]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


#: A change to a schedule, and the function that makes it.
Step = tuple[Change, Callable[[], object]]


def statuses() -> list[ScheduleStatus]:
    """Each planned schedule as it is now."""
    rows: dict[str, list[Any]] = {plan.name: [] for plan in PLANS}
    for row in _ours():
        rows[row.name].append(row)
    started = _started([mine[0].task for mine in rows.values() if mine and mine[0].task])
    return [_status(plan, rows[plan.name], started) for plan in PLANS]


def install(*, reset: bool = False, dry_run: bool = False) -> Changes:
    """Create missing schedules, remove duplicates, repair what a schedule runs.

    The operator's interval and pause (``repeats`` 0) are kept, unless ``reset``.
    """
    return _change(partial(_steps, reset=reset), dry_run=dry_run, notes=not reset)


def remove(*, dry_run: bool = False) -> Changes:
    """Delete the planned schedules; events and queued tasks stay."""
    return _change(lambda _plan, rows: [(Change.REMOVED, row.delete) for row in rows], dry_run=dry_run)


def _steps(plan: Plan, rows: list[Any], *, reset: bool) -> Iterator[Step]:
    """The changes to one schedule, each with the function that makes it."""
    if not rows:
        new = _schedule()(name=plan.name, **_runs(plan), **_pace(plan))
        yield Change.CREATED, partial(new.save, using=_alias())
        return
    first, *doubles = rows
    for double in doubles:
        yield Change.DOUBLE_REMOVED, double.delete
    if reset:
        yield Change.RESET, partial(_write, first, {**_runs(plan), **_pace(plan)})
    elif _vanishes(first):
        yield Change.REPAIRED, partial(_write, first, {**_runs(plan), **_pace(plan)})
    elif not _right(plan, first):
        yield Change.REPAIRED, partial(_write, first, _runs(plan))
    else:
        yield Change.KEPT, lambda: None


def _write(row: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    row.save(using=_alias(), update_fields=list(values))


def _started(tasks: list[str]) -> dict[str, dt.datetime]:
    """When these tasks started. Reads no column that holds a pickle."""
    if not tasks:
        return {}
    from django_q.models import Task

    kept = Task.objects.using(router.db_for_write(Task)).filter(id__in=tasks)
    return dict(kept.values_list("id", "started"))


def _status(plan: Plan, rows: list[Any], started: dict[str, dt.datetime]) -> ScheduleStatus:
    if not rows:
        return ScheduleStatus(plan.name, 0)
    first = rows[0]
    paused = first.repeats == 0 or first.next_run is None
    late = 0.0 if paused else max(0.0, (timezone.now() - first.next_run).total_seconds())
    return ScheduleStatus(
        name=plan.name,
        installed=len(rows),
        right=_right(plan, first) and not _vanishes(first),
        paused=paused,
        interval=_interval(first),
        next_run=first.next_run,
        late=late,
        started=started.get(first.task or ""),
    )


def _change(
    steps: Callable[[Plan, list[Any]], Iterable[Step]], *, dry_run: bool, notes: bool = False
) -> Changes:
    """Change each schedule; one installer at a time, on every database, by locking a row of our own.

    django-q2's table has no unique name, and before the first installation it has nothing to lock.
    """
    alias = conf.aliases()[0]

    def work() -> Changes:
        changes = Changes()
        rows = list(_ours(lock=True))
        for plan in PLANS:
            mine = [row for row in rows if row.name == plan.name]
            for change, operation in steps(plan, mine):
                changes.done.setdefault(plan.name, []).append(change)
                if not dry_run:
                    operation()
            if notes and mine and (note := _operators_choice(plan, mine[0])):
                changes.notes[plan.name] = note
        return changes

    def locked() -> Changes:
        first_write(outbox_alias())
        Destination.objects.using(outbox_alias()).get_or_create(alias=alias)
        Destination.objects.using(outbox_alias()).filter(alias=alias).update(alias=F("alias"))
        with transaction.atomic(using=_alias()):
            return work()

    return in_small_transaction(outbox_alias(), locked)


def _ours(*, lock: bool = False) -> Any:
    rows: Any = (
        _schedule().objects.using(_alias()).filter(name__in=[plan.name for plan in PLANS]).order_by("id")
    )
    return rows.select_for_update() if lock else rows


def _runs(plan: Plan) -> dict[str, Any]:
    return {"func": plan.func, "args": None, "kwargs": None, "hook": None}


def _pace(plan: Plan) -> dict[str, Any]:
    schedule = _schedule()
    return {
        "schedule_type": schedule.MINUTES,
        "minutes": plan.minutes,
        "cron": None,
        "repeats": -1,
        "next_run": timezone.now(),
    }


def _right(plan: Plan, row: Any) -> bool:
    return row.func == plan.func and not row.args and not row.kwargs


def _vanishes(row: Any) -> bool:
    """A schedule that runs once and is then deleted: not an interval that an operator chose."""
    return bool(row.schedule_type == _schedule().ONCE and row.repeats != 0)


def _operators_choice(plan: Plan, row: Any) -> str:
    if row.repeats == 0:
        return "paused (repeats is 0)"
    if row.next_run is None:
        return "paused (it has no next run)"
    if row.schedule_type != _schedule().MINUTES or row.minutes != plan.minutes:
        return f"runs {_interval(row)} instead of every {plan.minutes} min"
    return ""


def _interval(row: Any) -> str:
    schedule = _schedule()
    if row.schedule_type == schedule.MINUTES:
        return f"every {row.minutes or 1} min"
    if row.schedule_type == schedule.CRON:
        return f"at {row.cron}"
    return str(row.get_schedule_type_display()).lower()


def _alias() -> str:
    return router.db_for_write(_schedule())


def _schedule() -> Any:
    """django-q2's model, imported late because the app may run without django_q."""
    from django_q.models import Schedule

    return Schedule
