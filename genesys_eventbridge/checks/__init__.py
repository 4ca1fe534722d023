"""System checks: find what cannot work before the first event (ids: genesys_eventbridge.X000).

A process that only serves or works runs none of them, so each check imports what it needs when it runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.core import checks
from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from genesys_eventbridge.conf.rules import Problem


def register() -> None:
    checks.register(check_settings)
    checks.register(check_queue)
    checks.register(check_models, checks.Tags.models)
    checks.register(check_deployment, checks.Tags.security, deploy=True)
    checks.register(check_database, checks.Tags.database)


def check_settings(**_kwargs: Any) -> list[checks.CheckMessage]:
    """GENESYS_EVENTBRIDGE and the settings of Django that it depends on.

    What only stops sending is left to ``check_deployment`` and to what sends: a test run, a migration and a
    web process need no credentials.
    """
    from genesys_eventbridge import conf
    from genesys_eventbridge.checks import settings

    found = [problem for problem in conf.problems() if not problem.only_sending]
    return _messages([*found, *settings.problems()])


def check_queue(**_kwargs: Any) -> list[checks.CheckMessage]:
    """Q_CLUSTER, as far as it can break a pass; nothing if django-q2 is not installed."""
    from genesys_eventbridge.checks import queue

    return _messages(queue.problems())


def check_models(**_kwargs: Any) -> list[checks.CheckMessage]:
    """Models registered with ``publishes()``, and events declared with ``declare_event()``."""
    from genesys_eventbridge.checks import declarations, models

    try:
        return _messages([*models.problems(), *declarations.problems()])
    except ImproperlyConfigured:
        return []  # no destination can be read at all: reported by ``check_settings``


def check_deployment(**_kwargs: Any) -> list[checks.CheckMessage]:
    """What a demo may have or lack but production may not; run by ``manage.py check --deploy``."""
    from genesys_eventbridge import conf
    from genesys_eventbridge.checks import settings

    missing = [problem for problem in conf.problems() if problem.only_sending]
    return _messages([*missing, *settings.deployment_problems()])


def check_database(databases: Iterable[str] | None = None, **_kwargs: Any) -> list[checks.CheckMessage]:
    """The outbox's database and the schedules; run by ``manage.py check --database default``."""
    from genesys_eventbridge.checks import database, queue

    aliases = frozenset(databases or ())
    return _messages([*database.problems(aliases), *queue.schedule_problems(aliases)])


def _messages(problems: Iterable[Problem]) -> list[checks.CheckMessage]:
    return [
        (checks.Error if problem.is_error else checks.Warning)(
            problem.message, hint=problem.hint or None, id=f"genesys_eventbridge.{problem.id}"
        )
        for problem in problems
    ]
