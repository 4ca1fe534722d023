"""The queues that can run our tasks: django-q2's, and Django's own tasks framework (Django 6.0 or newer)."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import django
from django.apps import apps
from django.db import connections, transaction
from django.utils.module_loading import import_string

from genesys_eventbridge.conf.rules import AUTO, DJANGO_Q, NOTIFY, TASKS

#: What ``current()`` returns in a task that cron or another scheduler calls: no queue is known to be read.
NO_QUEUE = "no queue"

_FUNCTIONS = "genesys_eventbridge.tasks"
_OBJECTS = "genesys_eventbridge.django_tasks"

_current: ContextVar[str] = ContextVar("genesys_eventbridge_runner", default=DJANGO_Q)


def chosen(setting: str | None) -> str | None:
    """The runner whose queue gets a task after a commit; None if there is none.

    "auto" is django-q2 where it is installed, else Django's tasks if a worker runs them.
    """
    if setting == AUTO:
        setting = DJANGO_Q if apps.is_installed("django_q") else TASKS
        if runs_inline(setting):
            return None
    return None if setting in (None, NOTIFY) or why_not(setting) else setting


def why_not(runner: str) -> str:
    """Why this runner runs nothing outside the caller's process, as a clause; "" if it does."""
    if runner == NO_QUEUE:
        return "no queue is used"
    return _why_no_tasks() if runner == TASKS else _why_no_django_q()


def runs_inline(runner: str) -> bool:
    """Whether a task runs at once in the process that enqueues it: Django's ImmediateBackend."""
    if runner != TASKS or _why_no_tasks():
        return False
    from django.tasks.backends.immediate import ImmediateBackend

    return isinstance(_backend(), ImmediateBackend)


@contextmanager
def within(runner: str) -> Iterator[None]:
    """Tasks that are started in this block use the runner that runs it."""
    token = _current.set(runner)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> str:
    """The runner of the task that runs here; django-q2 outside tasks."""
    return _current.get()


def send(runner: str, task: str, *arguments: Any) -> None:
    """Queue one of our tasks by its name. Raises whatever the broker raises.

    A queue in tables may share a database with a transaction of the caller, which stays usable if it fails.
    """
    with ExitStack() as savepoints:
        for connection in connections.all(initialized_only=True):
            if connection.in_atomic_block:
                savepoints.enter_context(transaction.atomic(using=connection.alias))
        if runner == TASKS:
            import_string(f"{_OBJECTS}.{task}").enqueue(*arguments)
            return
        from django_q.tasks import async_task

        async_task(f"{_FUNCTIONS}.{task}", *arguments, ack_failure=True, save=False)


def _why_no_django_q() -> str:
    if not apps.is_installed("django_q"):
        return "django_q is not in INSTALLED_APPS"
    from django_q.conf import Conf

    return "Q_CLUSTER runs tasks in the caller's process (sync)" if Conf.SYNC else ""


def _why_no_tasks() -> str:
    if not _has_tasks():
        return f"Django {django.get_version()} has no tasks framework; it came with 6.0"
    from django.tasks.backends.dummy import DummyBackend

    try:
        backend = _backend()
    except Exception as error:  # noqa: BLE001 - the module is the user's and may fail in its own way
        return f"the default backend in TASKS cannot be used ({type(error).__name__})"
    if isinstance(backend, DummyBackend):
        return "the default backend in TASKS is DummyBackend, which runs no task"
    return ""


@functools.cache
def _has_tasks() -> bool:
    return importlib.util.find_spec("django.tasks") is not None


def _backend() -> Any:
    from django.tasks import task_backends

    return task_backends["default"]
