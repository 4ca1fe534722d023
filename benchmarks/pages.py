"""Statements, scans and milliseconds of each admin page with many rows. ``--rows`` sets how many.

The rows are those of a large installation, with ``--backlog`` a third of them pending: see installation.py.
``scans`` counts the statements whose plan on PostgreSQL has a sequential scan of events, attempts, acts or
items; one with a LIMIT may end early.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any
from urllib.parse import urlencode

from benchmarks.measuring import Report, arguments, fresh_database, rounds, timed

#: A page may also begin a transaction, to switch an option of PostgreSQL off within it.
READS = ("SELECT", "WITH", "\nWITH")
#: By parameter of the event list, the values to try.
VALUES: dict[str, list[str]] = {
    "attention": ["needed", "person", "overdue"],
    "progress": ["open", "waiting", "retrying", "in_flight"],
    "state": ["pending", "accepted", "delivered", "dead", "unresolved", "cancelled"],
    "reason": ["rejected", "outcome_unknown", "expired"],
    "destination": ["default"],
    "held": ["1"],
    "created": ["1h", "24h", "7d"],
    "type": ["order.type_1", "order.type_19", "nothing"],
    "key": ["key-1", "nothing"],
    "answer": ["503", "404", "4xx", "5xx", "none"],
    "error": ["registered", "nothing"],
    "q": ["ORD-1000500", "1000500", "ord-10005", "ORD-1", "#1", "event-77", "correlation-7", "nothing"],
    "job": ["1"],
}
#: What people combine, and what is hard for a planner.
COMBINED: list[dict[str, str]] = [
    {"state": "dead", "type": "order.type_1"},
    {"state": "dead", "reason": "rejected", "answer": "403", "type": "order.type_3"},
    {"state": "delivered", "created": "24h"},
    {"state": "delivered", "type": "order.type_0", "created": "1h"},
    {"attention": "person", "created": "1h"},
    {"q": "1000500", "state": "delivered"},
    {"q": "ORD-1", "state": "dead", "type": "order.type_1"},
    {"answer": "5xx", "type": "order.type_1", "error": "Unavailable"},
]


def event_lists() -> Iterator[dict[str, str]]:
    """Parameters of the event list: each filter alone, and combinations."""
    yield {}
    for name, values in VALUES.items():
        yield from ({name: value} for value in values)
    yield from COMBINED
    for name in ("created", "accepted", "finished"):
        yield {f"{name}_from": ago(hours=3), f"{name}_to": ago(hours=2)}
        yield {f"{name}_from": ago(days=20), f"{name}_to": ago(days=20, hours=-1)}
        yield {f"{name}_from": ago(days=20)}
    yield {"failed_since": ago(hours=2)}
    yield {"accepted_from": ago(hours=3), "accepted_to": ago(hours=2), "type": "order.type_0"}


def ago(**units: float) -> str:
    import datetime as dt

    from django.utils import timezone

    return (timezone.now() - dt.timedelta(**units)).isoformat()


def addresses() -> dict[str, str]:
    """Every page of the admin by its name in the report."""
    from django.urls import reverse

    from genesys_eventbridge.models import Job, OutboxEvent

    def at(name: str, *arguments: Any, **parameters: str) -> str:
        return reverse(f"admin:genesys_eventbridge_{name}", args=arguments) + f"?{urlencode(parameters)}"

    lists = {f"events {urlencode(each)}": at("outboxevent_changelist", **each) for each in event_lists()}
    dead = OutboxEvent.objects.filter(state="dead").order_by("-pk").values_list("pk", flat=True)[0]
    large = Job.objects.order_by("-pk").values_list("pk", flat=True)[0]
    return {
        "index": reverse("admin:index"),
        **lists,
        "events, newest of a job": at("outboxevent_changelist", job=f"{large}:done"),
        "event": at("outboxevent_change", dead),
        "dashboard": at("outboxevent_dashboard"),
        **{
            f"dashboard {each}": at("outboxevent_dashboard", range=each) for each in ("hour", "week", "month")
        },
        "failures": at("outboxevent_failures"),
        "failures of an hour": at("outboxevent_failures", since="1h"),
        "catalogue": at("outboxevent_catalogue"),
        "destinations": at("destination_changelist"),
        "destination": at("destination_change", "default"),
        "audit": at("job_changelist"),
        "audit #42": at("job_changelist", q="#42"),
        "audit ana": at("job_changelist", q="ana"),
        "audit event-42": at("job_changelist", q="event-42"),
        "audit nothing": at("job_changelist", q="nothing"),
        "audit requeue": at("job_changelist", act="requeue"),
        "audit erase": at("job_changelist", act="erase"),
        "audit queued": at("job_changelist", state="queued"),
        "act": at("job_change", large),
    }


def scans(statements: list[str]) -> int:
    """The number of statements whose plan reads one of the large tables without an index."""
    return sum(_scans(statement) for statement in statements)


def _scans(statement: str) -> bool:
    from django.db import connection

    names = ("outboxevent", "deliveryattempt", "eventact", "jobitem")
    tables = [f"genesys_eventbridge_{name}" for name in names]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}")
        plan = [line for (line,) in cursor.fetchall()]
    return any(f"Seq Scan on {table}" in line for line in plan for table in tables)


def main() -> None:
    options = arguments(__doc__, flags=("backlog",), rows=1_000_000)
    count = 3000 if options.quick else options.rows
    report = Report()
    with fresh_database() as database:
        from django.conf import settings
        from django.contrib.auth.models import User
        from django.db import connection
        from django.test import Client
        from django.test.utils import CaptureQueriesContext

        from benchmarks.installation import fill

        settings.ALLOWED_HOSTS = ["testserver"]
        fill(count, backlog=options.backlog)
        client = Client()
        client.force_login(User.objects.create_superuser("ana"))
        for page, url in addresses().items():
            with CaptureQueriesContext(connection) as captured:
                assert client.get(url).status_code == 200, url
            statements = [query["sql"] for query in captured if query["sql"].startswith(READS)]
            taken = rounds({page: timed(partial(client.get, url))}, 1 if options.quick else 3)
            report.add(
                "pages",
                f"{page}, ms ({database})",
                median(taken[page]) * 1000,
                statements=len(statements),
                scans=scans(statements) if connection.vendor == "postgresql" else 0,
                rows=count,
            )
    report.table()


if __name__ == "__main__":
    main()
