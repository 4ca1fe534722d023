"""How a benchmark here measures: both sides in turn in one run, medians, ratios; a fresh test database."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")


@contextmanager
def fresh_database() -> Iterator[str]:
    """Django on an empty database of the kind EVENTBRIDGE_TEST_DATABASE names; yields its vendor."""
    import django

    django.setup()
    from django.conf import settings
    from django.db import connection
    from django.test.utils import setup_databases, teardown_databases

    from genesys_eventbridge import conf
    from tests import databases

    settings.GENESYS_EVENTBRIDGE["default"]["PUBLISH_ON_COMMIT"] = False
    conf.reset()
    with databases.folder():
        made = setup_databases(0, interactive=False)
        try:
            yield connection.display_name
        finally:
            teardown_databases(made, 0)


def in_turn(
    sides: Mapping[str, Callable[[], Any]], *, rounds: int = 5, times: int = 1
) -> dict[str, list[float]]:
    """Seconds of each side for ``times`` calls, in each of so many rounds; one round to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, work in sides.items():
            gc.collect()
            began = time.perf_counter()
            for _ in range(times):
                work()
            if number:
                taken[name].append(time.perf_counter() - began)
    return taken


def ratio(taken: Mapping[str, list[float]], side: str, yardstick: str) -> float:
    """The median of the rounds' own ratios, so that a busy moment spoils one round and not the result."""
    return median(a / b for a, b in zip(taken[side], taken[yardstick], strict=True))


def report(**figures: Any) -> None:
    """One JSON line."""
    print(
        json.dumps(
            {key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()}
        )
    )


def milliseconds(seconds: list[float], calls: int) -> float:
    return median(seconds) / calls * 1000
