"""Cost of a claim of 100 and of an idle pass with many rows: rows 8, 12 and 14. ``--rows`` sets how many.

Each size has its own database, filled by SQL, and its own process; they claim alternately.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from statistics import median

from benchmarks.measuring import Child, Report, arguments, fresh_database, platform, ratio, rounds, timed

CLAIMS = 10  # per round
NUMBERS = {
    "postgresql": "SELECT n FROM generate_series(1, {count}) AS n",
    "sqlite": "WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n+1 FROM t LIMIT {count}) SELECT n FROM t",
    "mysql": "SELECT CAST(seq AS SIGNED) AS n FROM seq_1_to_{count}",
}
KEY = {
    "postgresql": "CAST(LPAD(TO_HEX(n + {first}), 32, '0') AS uuid)",
    "sqlite": "PRINTF('%%032x', n + {first})",
    "mysql": "LPAD(HEX(n + {first}), 32, '0')",
}
NAME = {
    "postgresql": "'{prefix}' || (n %% {keys})",
    "sqlite": "'{prefix}' || (n %% {keys})",
    "mysql": "CONCAT('{prefix}', n %% {keys})",
}


def rows(count: int, *, state: str, keys: int = 0, first: int = 0) -> None:
    """Insert ``count`` rows in one statement, in the order of their keys, with ``keys`` ordering keys."""
    from django.db import connection

    from genesys_eventbridge.db.clock import now_sql

    vendor = connection.vendor
    key = KEY[vendor].format(first=first)
    name = NAME[vendor].format(prefix="key-", keys=keys) if keys else "''"
    is_open = state == "pending"
    now = now_sql(connection, "-60")
    columns = {
        **dict.fromkeys(
            ("reason", "remote_id", "last_error", "correlation_id", "object_type", "object_id"), "''"
        ),
        **dict.fromkeys(("key_epoch", "attempts", "checks", "halts"), "0"),
        **dict.fromkeys(("time", "created_at"), now),
        "due_at": now if is_open else "NULL",
        "finished_at": "NULL" if is_open else now,
        "destination": "'default'",
        "source": "'com.example.benchmarks'",
        "type": "'order.created'",
        "subject": "'ORD-1'",
        "body": "'{}'",
        "body_sha256": "''",
        "content_sha256": "''",
        "state": f"'{state}'",
        "ordering_key": name,
        "event_id": NAME[vendor].format(prefix=f"{state}-{first}-", keys=count + 1),
        "idempotency_key": key,
    }
    numbers = NUMBERS[vendor].format(count=count)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO genesys_eventbridge_outboxevent ({', '.join(columns)}) "
            f"SELECT {', '.join(columns.values())} FROM ({numbers}) AS numbers ORDER BY n",
            [],
        )
        if vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE genesys_eventbridge_outboxevent")
        elif vendor == "mysql":
            cursor.execute("ANALYZE TABLE genesys_eventbridge_outboxevent")


def child(finished: int, pending: int, keys: int) -> None:
    """Fill the table, then answer each line: ``claim`` in seconds, ``pass`` in MB, ``idle`` in statements."""
    with fresh_database():
        if finished:
            rows(finished, state="delivered")
        rows(pending, state="pending", keys=keys, first=finished)
        print("ready", flush=True)
        for line in sys.stdin:
            print(json.dumps({"claim": claim, "pass": one_pass, "idle": idle}[line.strip()]()), flush=True)


def claim() -> float:
    from genesys_eventbridge import conf
    from genesys_eventbridge.outbox import claim as claims
    from genesys_eventbridge.outbox import destinations
    from genesys_eventbridge.states import AttemptKind

    def work() -> None:
        gate = destinations.gate(AttemptKind.PUBLISH, "default", "benchmark")
        batch = claims.claim(AttemptKind.PUBLISH, conf.destination(), gate, claims.Capacity(100))
        assert len(batch.rows) == 100

    return timed(work, CLAIMS)()


def one_pass() -> float:
    """Publish 500 events; returns this process's peak memory in MB."""
    from genesys_eventbridge import relay

    assert relay.publish_due(limit=500).moved == 500
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def idle() -> int:
    """Statements needed to find that nothing is due, without BEGIN and COMMIT."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from genesys_eventbridge import conf
    from genesys_eventbridge.models import OutboxEvent
    from genesys_eventbridge.relay.worker import run_worker

    OutboxEvent.objects.all().delete()
    run_worker(conf.destination())  # writes the heartbeat, which is due every ten seconds
    with CaptureQueriesContext(connection) as captured:
        run_worker(conf.destination())
    return len([query for query in captured if query["sql"] not in {"BEGIN", "COMMIT"}])


def start(finished: int, pending: int, keys: int = 0, destination: str = "{}") -> Child:
    started = Child(
        *("-m", "benchmarks.claiming", "--child", str(finished), str(pending), str(keys)),
        BENCH_DESTINATION=destination,
    )
    started.line()
    return started


def compare(report: Report, row: str, measure: str, *, number: int, sides: list[Child], reach: str) -> None:
    many, few = sides
    samples = rounds({"many": lambda: many.ask("claim"), "few": lambda: few.ask("claim")}, number)
    medians = {f"{name} (ms)": median(taken) * 1000 for name, taken in samples.items()}
    report.add(row, measure, ratio(samples, "many", "few"), reach, **medians)
    few.end()
    many.end()


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
        child(*map(int, sys.argv[2:]))
        return
    options = arguments(__doc__, rows=5_000_000)
    number, finished = (1, 20_000) if options.quick else (5, options.rows)
    pending, keys = max(finished // 5, 2000), max(finished // 50, 1000)
    report = Report()
    database = os.environ.get("EVENTBRIDGE_TEST_DATABASE", "sqlite")
    claimed = 100 * CLAIMS * (number + 1)

    measure = f"claim of 100 at {finished:,} finished rows / at 10,000 ({database})"
    sides = [start(finished, claimed), start(10_000, claimed)]
    compare(report, "8", measure, number=number, sides=sides, reach="<= 1.3")
    measure = f"claim of 100 of {pending:,} pending with {keys:,} ordering keys / without ({database})"
    sides = [start(0, max(pending, claimed), max(keys, claimed)), start(0, max(pending, claimed))]
    compare(report, "14", measure, number=number, sides=sides, reach="<= 2")

    with platform() as stand_in:
        waiting = [start(0, count, 0, stand_in.destination()) for count in (max(pending // 2, 500), 500)]
        memory = [one.ask("pass") for one in waiting]
        measure = f"memory at {max(pending // 2, 500):,} pending / at 500 ({database})"
        report.add("12", measure, memory[0] / memory[1], "<= 1.05", many_MB=memory[0], few_MB=memory[1])
        measure = f"statements to find that nothing is due ({database})"
        report.add("12", measure, waiting[1].ask("idle"), "<= 3")
        for one in waiting:
            one.end()
    report.table()


if __name__ == "__main__":
    main()
