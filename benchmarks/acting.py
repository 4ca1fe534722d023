"""A requeue of a tenth of ``--rows`` events, spread over an hour: statements per batch, memory, seconds.

The rows are those of a large installation: see installation.py.
"""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

from benchmarks.measuring import Report, arguments, fresh_database


def main() -> None:
    options = arguments(__doc__, rows=1_000_000)
    report = Report()
    with fresh_database() as database:
        from django.db import connection

        from benchmarks.installation import fill
        from genesys_eventbridge.operations import Actor, Order, jobs
        from genesys_eventbridge.selection import EventFilter
        from genesys_eventbridge.states import Act, State

        fill(20_000 if options.quick else options.rows)
        dead = EventFilter(states=(State.DEAD,)).rows()
        order = Order(Act.REQUEUE, Actor("benchmark"), "registered", {"spread": 3600.0})
        tracemalloc.start()
        began = time.perf_counter()
        job = jobs.freeze(order, dead, claim=True)
        listed = time.perf_counter() - began
        total, seen = [0], list[int]()

        def count(execute: Any, *arguments: Any) -> Any:
            total[0] += 1
            return execute(*arguments)

        def saw(_results: Any) -> None:
            seen.append(total[0] - sum(seen))

        with connection.execute_wrapper(count):
            jobs.run(job, order.actor, saw=saw)
        report.add(
            "requeue",
            f"statements per batch ({database})",
            max(seen),
            events=job.total,
            batches=len(seen),
            peak_MB=tracemalloc.get_traced_memory()[1] / 1e6,
            seconds_to_list=listed,
            seconds=time.perf_counter() - began,
        )
    report.table()


if __name__ == "__main__":
    main()
