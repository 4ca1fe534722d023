"""Statements and milliseconds of a scrape of the metrics, and of a health check. ``--rows`` sets how many.

The rows are those of a large installation: see installation.py.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.measuring import Report, arguments, fresh_database, rounds, timed


def main() -> None:
    options = arguments(__doc__, rows=1_000_000)
    count = 3000 if options.quick else options.rows
    report = Report()
    with fresh_database() as database:
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        from benchmarks.installation import fill
        from genesys_eventbridge import counters
        from genesys_eventbridge.contrib.prometheus import as_text, registry
        from genesys_eventbridge.reporting.judgement import judge, probe

        fill(count)
        counters.add("default", {"publish:accepted": 1, "check:delivered": 1, "within:4": 1}, seconds=0.3)
        scraped = registry()
        sides: dict[str, Callable[[], Any]] = {
            "a scrape": lambda: as_text(scraped.collect()),
            "a health check": probe,
            "eventbridge_status": judge,
        }
        for name, work in sides.items():
            with CaptureQueriesContext(connection) as captured:
                work()
            taken = rounds({name: timed(work)}, 1 if options.quick else 7)[name]
            report.add(
                "metrics",
                f"{name}, ms ({database})",
                median(taken) * 1000,
                "statements <= 10" if name == "a scrape" else "",
                statements=len(captured),
                fastest=min(taken) * 1000,
                slowest=max(taken) * 1000,
                rows=count,
            )
    report.table()


if __name__ == "__main__":
    main()
