"""What queues could do to a pass: no broker, a pass run twice, no schedule, a queue that no worker reads."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import mail
from django.db import Error as DatabaseError
from django.db import connections, router
from django.utils.module_loading import import_string

from genesys_eventbridge import conf, runners, schedules, wake
from genesys_eventbridge.checks.settings import readable
from genesys_eventbridge.conf.rules import DJANGO_Q, TASKS, Problem
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.formatting import span
from genesys_eventbridge.models import OutboxEvent, outbox_alias

# django-q2's own defaults, for keys that Q_CLUSTER lacks.
_TIMEOUT, _RETRY = None, 60
#: Seconds between the end of a pass, the timeout and the retry in the values we suggest.
_APART = 15
#: Seconds after a task ran in which events may still be its own: wakes and announcements are coalesced.
_SERVED = 60
#: How to start a worker of each queue.
_START = {
    DJANGO_Q: "Start a cluster: python manage.py qcluster.",
    TASKS: "Start a worker of the default backend in TASKS.",
}


def cluster() -> Mapping[str, Any]:
    """Q_CLUSTER as it is configured."""
    given = getattr(settings, "Q_CLUSTER", None)
    return given if isinstance(given, Mapping) else {}


def problems() -> Iterator[Problem]:
    """What is wrong with Q_CLUSTER. Contacts neither broker nor database."""
    if not apps.is_installed("django_q"):
        return
    given = cluster()
    if given.get("sync"):
        return  # tasks run synchronously: there is no broker and no worker
    yield from _broker(given)
    yield from _times(given)
    if given.get("catch_up", True):
        yield Problem(
            "W011",
            "Q_CLUSTER",
            "After downtime django-q2 runs every schedule once for each time it was missed: 120 idle "
            "passes in a row after two hours.",
            'Add "catch_up": False to Q_CLUSTER.',
        )


def schedule_problems(aliases: Iterable[str]) -> Iterator[Problem]:
    """What is wrong with the schedules and the wakes, if their database is among ``aliases``."""
    aliases = frozenset(aliases)
    # A test database never has schedules, and the checks run in every test run.
    if hasattr(mail, "outbox"):
        return
    yield from _unread_wakes(aliases)
    if not apps.is_installed("django_q"):
        return
    from django_q.models import Schedule

    alias = router.db_for_write(Schedule)
    if alias not in aliases:
        return
    try:
        # Without tables only `migrate` is missing, which another check reports.
        if {Schedule._meta.db_table} <= set(connections[alias].introspection.table_names()):
            yield from _status()
    except DatabaseError:
        return  # the checks of the database report it


def _unread_wakes(aliases: frozenset[str]) -> Iterator[Problem]:
    """Wake tasks pile up in the queue if the setting requires them and no worker runs them."""
    if outbox_alias() not in aliases:
        return
    try:
        for destination in readable():
            runner = destination.wake
            if runner not in _START or runners.chosen(runner) is None or runners.runs_inline(runner):
                continue
            ago = wake.readers(destination.alias).task_ago
            if wake.is_lately(ago) or (runner == TASKS and not _woke_since(destination.alias, ago)):
                continue
            yield Problem(
                "W037",
                "WAKE",
                f'{conf.SETTING}[{destination.alias!r}]: WAKE is "{runner}": each commit queues a '
                f"task, and {wake.ran(ago)}.",
                f'{_START[runner]} Or set "WAKE": "auto". If the worker or the setting is new, check again '
                f"{span(wake.LISTENS)} after the next commit.",
            )
    except DatabaseError:
        return  # the checks of the database report it


def _woke_since(destination: str, ago: float | None) -> bool:
    """Whether an event was written after that task, and long enough ago to be served by another.

    Django's tasks have no schedules, so without a commit no task runs.
    """
    rows = OutboxEvent.objects.on_outbox().filter(
        destination=destination, created_at__lt=DatabaseNow(-wake.LISTENS)
    )
    if ago is not None:
        rows = rows.filter(created_at__gt=DatabaseNow(_SERVED - ago))
    return rows.exists()


def _broker(given: Mapping[str, Any]) -> Iterator[Problem]:
    path = given.get("broker_class")
    if path:
        try:
            import_string(path)
        except Exception as error:  # noqa: BLE001 - the module is the user's and may fail in its own way
            yield Problem(
                "E006",
                "Q_CLUSTER",
                f"Q_CLUSTER['broker_class'] {path!r} does not import: {type(error).__name__}: {error}",
                'Use the full dotted path of the class, or use "orm": "default" instead.',
            )
        return
    named = any(given.get(key) for key in ("iron_mq", "orm", "mongo")) or isinstance(given.get("sqs"), dict)
    if not named and importlib.util.find_spec("redis") is None:
        yield Problem(
            "E008",
            "Q_CLUSTER",
            "Q_CLUSTER names no broker, so django-q2 uses Redis, and the redis package is not installed: no "
            "task can be queued and no worker starts.",
            'Add "orm": "default" to Q_CLUSTER, or: pip install "django-genesys-eventbridge[redis]"',
        )


def _times(given: Mapping[str, Any]) -> Iterator[Problem]:
    """A task that outlives ``retry`` runs twice; one that outlives ``timeout`` is killed at any point."""
    passes = [destination.pass_seconds for destination in readable()]
    longest = max(passes, default=conf.DEFAULTS["PASS_SECONDS"])
    timeout, retry = given.get("timeout", _TIMEOUT), given.get("retry", _RETRY)
    if _above(timeout, longest) and _above(retry, timeout):
        return
    better = timeout if _above(timeout, longest) else math.ceil(longest + _APART)
    later = retry if _above(retry, better) else math.ceil(better + 2 * _APART)
    yield Problem(
        "E009",
        "Q_CLUSTER",
        f"PASS_SECONDS ({longest:g}) < Q_CLUSTER timeout ({timeout!r}) < Q_CLUSTER retry ({retry!r}) does "
        "not hold: django-q2 would cut a pass off, or run it a second time concurrently.",
        f'Set "timeout": {better:g}, "retry": {later:g} in Q_CLUSTER; PASS_SECONDS is {longest:g}.',
    )


def _above(value: Any, bound: float) -> bool:
    return isinstance(value, int | float) and bound < value < math.inf


def _status() -> Iterator[Problem]:
    """An operator's own interval or pause is not a problem."""
    for fault, names in schedules.faults(schedules.statuses()).items():
        yield Problem(
            "W033",
            "",
            f"django-q2 schedules {fault}: {', '.join(names)}. Without them django-q2 runs no task of this "
            'app: with "WAKE": "auto" commits wake no worker, and with "django_q" what fails waits for the '
            "next commit.",
            "Run: python manage.py eventbridge_schedules --apply",
        )
