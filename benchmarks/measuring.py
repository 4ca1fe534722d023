"""Tools of the benchmarks: sides run alternately, five rounds, the median of the rounds' ratios counts."""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx

Samples = Mapping[str, list[float]]


def arguments(about: str | None, *, flags: Sequence[str] = (), **numbers: int) -> argparse.Namespace:
    """Parse ``--quick``, ``flags`` and one integer option per keyword; selects Django's settings module."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="few events and rounds, to check that it runs")
    for name in flags:
        parser.add_argument(f"--{name}", action="store_true")
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


@contextmanager
def fresh_database() -> Iterator[str]:
    """Set Django up on an empty database of the kind EVENTBRIDGE_TEST_DATABASE; yields its display name."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from django.db import connection
    from django.test.utils import setup_databases, teardown_databases

    from tests import databases

    with databases.folder():
        made = setup_databases(0, interactive=False)
        try:
            yield connection.display_name
        finally:
            teardown_databases(made, 0)


def rounds(sides: Mapping[str, Callable[[], float]], number: int) -> dict[str, list[float]]:
    """Run one warm-up round and ``number`` rounds; returns each side's figures (times or rates)."""
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(number + 1):
        for name, work in sides.items():
            gc.collect()
            figure = work()
            if turn:
                figures[name].append(figure)
    return figures


def timed(
    work: Callable[[], Any], times: int = 1, clock: Callable[[], float] = time.perf_counter
) -> Callable[[], float]:
    """Returns a function that makes ``times`` calls and returns the seconds of ``clock`` per call."""

    def run() -> float:
        began = clock()
        for _ in range(times):
            work()
        return (clock() - began) / times

    return run


def cpu_with_server(*, only_server: bool = False) -> Callable[[], float]:
    """The CPU seconds of this process and of the server's thread for its connection, which stays open.

    Linux, and a server on this machine. SQLite works in this process.
    """
    from django.db import connection

    connection.ensure_connection()
    thread = 0
    if connection.vendor == "postgresql":
        thread = connection.connection.info.backend_pid
    elif connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT tid FROM information_schema.processlist WHERE id = CONNECTION_ID()")
            (thread,) = cursor.fetchone()
    if not thread:
        return time.process_time
    nanoseconds = Path(f"/proc/{thread}/schedstat")

    def seconds() -> float:
        own = 0.0 if only_server else time.process_time()
        return own + int(nanoseconds.read_text().split()[0]) / 1e9

    return seconds


def ratio(samples: Samples, side: str, yardstick: str) -> float:
    """The median of the rounds' ratios, so that a busy moment spoils one round but not the result."""
    return median(a / b for a, b in zip(samples[side], samples[yardstick], strict=True))


class Report:
    """Prints each result as a JSON line, then a Markdown table. ``reach`` is a goal such as ``<= 2.0``."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, row: str, measure: str, figure: float, reach: str = "", **more: Any) -> None:
        facts = {key: round(value, 3) if isinstance(value, float) else value for key, value in more.items()}
        record = {"row": row, "measure": measure, "figure": round(figure, 3), "reach": reach, **facts}
        print(json.dumps(record), flush=True)
        details = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in facts.items())
        self.lines.append(f"| {row} | {measure} | **{figure:.3g}** | {reach} | {details} |")

    def table(self) -> None:
        print("\n| # | measure | measured | goal | medians |\n| --- | --- | --- | --- | --- |")
        print("\n".join(self.lines), flush=True)


class Child:
    """A Python process that replies to each line with one line of JSON."""

    def __init__(self, *command: str, python: str = sys.executable, **environment: str) -> None:
        self.process = subprocess.Popen(
            [python, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def line(self) -> str:
        """The next line of its output. Raises RuntimeError if it has exited."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"{self.process.args!r} exited with {self.process.wait(30)}")
        return line

    def tell(self, line: str = "go") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line: str = "go") -> Any:
        self.tell(line)
        return json.loads(self.line())

    def end(self) -> None:
        """Close its input, which makes it exit, and wait for that."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(120)


class Platform:
    """The stand-in in a separate process, and its counters."""

    def __init__(self) -> None:
        self.child = Child("-m", "benchmarks.platform")
        self.url = self.child.line()
        self.client = httpx.Client(base_url=self.url)

    def reset(self, *, latency: float = 0.0, rate: float = 0.0, window: float = 1.0) -> None:
        self.client.post("/reset", json={"latency": latency, "rate": rate, "window": window})

    def stats(self) -> dict[str, float]:
        found: dict[str, float] = self.client.get("/stats").json()
        return found

    def arrivals(self) -> dict[str, float]:
        """By event id, the ``time.monotonic()`` of its first arrival."""
        found: dict[str, float] = self.client.get("/arrivals").json()
        return found

    def per_second(self) -> float:
        """Events per second between the first and the last acceptance, so startup time does not count."""
        stats = self.stats()
        return (stats["accepted"] - 1) / (stats["last"] - stats["first"])

    def destination(self, **keys: Any) -> str:
        """Settings that point to this platform, as JSON for BENCH_DESTINATION."""
        return json.dumps({"API_BASE_URL": self.url, "LOGIN_BASE_URL": self.url, **keys})


@contextmanager
def platform() -> Iterator[Platform]:
    stand_in = Platform()
    try:
        yield stand_in
    finally:
        stand_in.client.close()
        stand_in.child.end()
