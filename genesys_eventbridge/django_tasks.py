"""Our tasks for Django's tasks framework (Django 6.0 or newer): stable dotted paths, stored in queues.

``publish.enqueue("default")`` queues a pass; what each does is described in ``tasks``. They need a backend
named "default" in TASKS.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.tasks import task

from genesys_eventbridge import runners, tasks
from genesys_eventbridge.conf.rules import TASKS


def _task(function: Callable[..., int]) -> Any:
    @wraps(function)
    def run(*arguments: Any) -> int:
        with runners.within(TASKS):
            return function(*arguments)

    run.__module__ = __name__  # a worker imports it from here
    return task()(run)


publish = _task(tasks.publish)
publish_backlog = _task(tasks.publish_backlog)
poll = _task(tasks.poll)
retry = _task(tasks.retry)
prune = _task(tasks.prune)
jobs = _task(tasks.jobs)
publish_all = _task(tasks.publish_all)
poll_all = _task(tasks.poll_all)
retry_all = _task(tasks.retry_all)
prune_all = _task(tasks.prune_all)
