"""Runs commands as an operator would, and a platform on loopback for them."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test import override_settings

from genesys_eventbridge.sandbox import Sandbox, serve
from tests import warm

ROOT = Path(__file__).parent.parent


@dataclass
class Ran:
    """The result of a command: its exit code, its output, and the message of its CommandError, if any."""

    code: int
    out: str
    err: str
    error: str = ""

    @property
    def data(self) -> Any:
        return json.loads(self.out)


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def run(command: str, *arguments: str, terminal: bool = False) -> Ran:
    """Run a command in this process: ``run("retry", "--state", "dead")``."""
    out, err = (Terminal(), Terminal()) if terminal else (io.StringIO(), io.StringIO())
    code, error = 0, ""
    try:
        call_command(f"eventbridge_{command}", *arguments, stdout=out, stderr=err)
    except SystemExit as end:
        code = int(str(end.code))
    except CommandError as end:
        code, error = end.returncode, str(end)
    return Ran(code, out.getvalue(), err.getvalue(), error)


def run_json(command: str, *arguments: str) -> Ran:
    return run(command, *arguments, "--format", "json")


@contextmanager
def sandboxed(
    *, more: dict[str, Any] | None = None, aliases=("default",), **options: Any
) -> Iterator[Sandbox]:
    """Run a platform that delivers at once, with settings that point these destinations to it."""
    sandbox = Sandbox(**{"deliver_after": 0, **options})
    with serve(sandbox) as server:
        where = {"API_BASE_URL": server.url, "LOGIN_BASE_URL": server.url}
        one = {**settings.GENESYS_EVENTBRIDGE["default"], **where, "CHECK_DELAYS": [0.01], **(more or {})}
        with override_settings(GENESYS_EVENTBRIDGE={alias: dict(one) for alias in aliases}):
            yield sandbox


def shell(*arguments: str, **environment: str) -> Ran:
    """Run a command in a separate process until it exits: ``shell("eventbridge_status", "--check")``."""
    done = warm.run("-m", "django", *arguments, cwd=ROOT, env={**_environment(), **environment}, timeout=60)
    return Ran(done.returncode, done.stdout, done.stderr)


def start(
    *arguments: str,
    stdout: int | IO[str] = subprocess.PIPE,
    stderr: int | IO[str] = subprocess.PIPE,
    **environment: str,
) -> "subprocess.Popen[str]":
    """Start a real ``manage.py`` process on the test database, with this test's settings."""
    return start_by(("-m", "django"), *arguments, stdout=stdout, stderr=stderr, **environment)


def start_by(
    program: tuple[str, ...],
    *arguments: str,
    stdout: int | IO[str] = subprocess.PIPE,
    stderr: int | IO[str] = subprocess.PIPE,
    **environment: str,
) -> "subprocess.Popen[str]":
    """Like ``start``, with another ``program``: the words between python and the arguments."""
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        cwd=ROOT,
        env={**_environment(), "PYTHONUNBUFFERED": "1", **environment},
        stdout=stdout,
        stderr=stderr,
        text=True,
        start_new_session=True,  # so that a failing test can kill its children, too
    )


def _environment() -> dict[str, str]:
    """That of a process with this test's database and settings."""
    overrides = {
        "DATABASE": connection.settings_dict["NAME"],
        "GENESYS_EVENTBRIDGE": settings.GENESYS_EVENTBRIDGE,
    }
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.process_settings",
        "EVENTBRIDGE_TEST_OVERRIDES": json.dumps(overrides),
    }
