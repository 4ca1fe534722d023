"""Helpers of the demo: processes that stop with it, waiting, and the sandbox's control page."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"


class DemoFailed(Exception):
    """A step of the demo did not give the expected result."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_from(wanted: int, tries: int = 50) -> int:
    """``wanted``, or the next port that is free. Raises DemoFailed after ``tries``."""
    for port in range(wanted, min(wanted + tries, 65536)):
        if _is_free(port):
            return port
    raise DemoFailed(f"Port {wanted} is taken, and so are the next ones: choose another with --port.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as runserver does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block like Ctrl-C, so that it stops its processes; then exit 128 + signal.

    A second signal does not interrupt the cleanup.
    """
    signals = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]

    def stop(number: int, _frame: object) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {each: signal.signal(each, stop) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def process(*arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``manage.py`` with these arguments in a separate process, and stop it with SIGTERM afterwards."""
    with log.open("wb") as output:
        running = subprocess.Popen(  # noqa: S603 - our own manage.py
            [sys.executable, str(MANAGE), *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ,
            start_new_session=True,
        )
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                    running.wait(15)
            finally:
                with suppress(ProcessLookupError):  # it, or workers that it has left behind
                    os.killpg(running.pid, signal.SIGKILL)
                running.wait()


def until(true: Callable[[], bool], what: str, seconds: float, *, every: float = 0.1) -> None:
    """Wait until ``true()`` is true. Raises DemoFailed, naming ``what``, after ``seconds``."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise DemoFailed(f"Timed out after {seconds:g} s: {what}.")
        time.sleep(every)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code < 500
    except httpx.HTTPError:
        return False


def control(url: str, **switches: object) -> None:
    """Change the sandbox's settings through its control page."""
    httpx.post(f"{url}/_control", json=switches, timeout=5).raise_for_status()
