"""Commands as an operator types them, and a platform on loopback for them to talk to."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test import override_settings

from genesys_eventbridge.sandbox import Sandbox, serve

ROOT = Path(__file__).parent.parent


@dataclass
class Ran:
    """What a command came to: its exit code, what it printed, or the error it ended with."""

    code: int
    out: str
    err: str
    error: str = ""

    @property
    def data(self) -> Any:
        return json.loads(self.out)


class Terminal(io.StringIO):
    """A stream that says a person sits before it."""

    def isatty(self) -> bool:
        return True


def run(command: str, *arguments: str, terminal: bool = False) -> Ran:
    """``run("retry", "--state", "dead")`` in this process."""
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
    """A platform that delivers at once, and settings of these destinations that reach it."""
    sandbox = Sandbox(**{"deliver_after": 0, **options})
    with serve(sandbox) as server:
        where = {"API_BASE_URL": server.url, "LOGIN_BASE_URL": server.url}
        one = {**settings.GENESYS_EVENTBRIDGE["default"], **where, "CHECK_DELAYS": [0.01], **(more or {})}
        with override_settings(GENESYS_EVENTBRIDGE={alias: dict(one) for alias in aliases}):
            yield sandbox


def shell(*arguments: str, **environment: str) -> Ran:
    """``shell("eventbridge_status", "--check")`` as a process of its own, to its end."""
    with start(*arguments, **environment) as process:
        out, err = process.communicate(timeout=60)
    return Ran(process.returncode, out, err)


def start(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """A real ``manage.py`` process on the test database, in the settings of this test."""
    return start_by(("-m", "django"), *arguments, **environment)


def start_by(program: tuple[str, ...], *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """As ``start``, by another way into it: what stands between python and the arguments."""
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.process_settings",
            "EVENTBRIDGE_TEST_OVERRIDES": json.dumps(
                {
                    "DATABASE": connection.settings_dict["NAME"],
                    "GENESYS_EVENTBRIDGE": settings.GENESYS_EVENTBRIDGE,
                }
            ),
            "PYTHONUNBUFFERED": "1",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that a test that fails can end its children too
    )
