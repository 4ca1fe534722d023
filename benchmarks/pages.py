"""Statements and milliseconds of each admin page with many rows. ``--rows`` sets how many.

A third of the rows is pending, more than in any realistic outage; the others are delivered.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from urllib.parse import urlencode

from benchmarks.claiming import rows
from benchmarks.measuring import Report, arguments, fresh_database, rounds, timed

FILTERS = [
    {},
    {"progress": "open"},
    {"progress": "waiting"},
    {"progress": "retrying"},
    {"progress": "in_flight"},
    {"state": "pending"},
    {"state": "delivered"},
    {"state": "dead"},
    {"attention": "needed"},
    {"created": "1h"},
    {"created": "24h", "state": "delivered"},
    {"attention": "person", "created": "1h"},
    {"q": "ORD-2"},
    {"q": "#1"},
]


def main() -> None:
    options = arguments(__doc__, rows=1_000_000)
    count = 3000 if options.quick else options.rows
    report = Report()
    with fresh_database() as database:
        from django.conf import settings
        from django.contrib.auth.models import User
        from django.db import connection
        from django.test import Client
        from django.test.utils import CaptureQueriesContext
        from django.urls import reverse

        settings.ALLOWED_HOSTS = ["testserver"]
        rows(count - count // 3, state="delivered")
        rows(count // 3, state="pending", first=count)
        client = Client()
        client.force_login(User.objects.create_superuser("ana"))
        name = "admin:genesys_eventbridge_outboxevent_"
        events = reverse(f"{name}changelist")
        urls = {
            **{urlencode(only) or "all": f"{events}?{urlencode(only)}" for only in FILTERS},
            "event page": reverse(f"{name}change", args=[1]),
            "dashboard": reverse(f"{name}dashboard"),
        }
        for page, url in urls.items():
            with CaptureQueriesContext(connection) as captured:
                assert client.get(url).status_code == 200, url
            statements = len(captured)
            taken = rounds({page: timed(partial(client.get, url))}, 1 if options.quick else 5)
            figure = median(taken[page]) * 1000
            report.add("pages", f"{page}, ms ({database})", figure, statements=statements, rows=count)
    report.table()


if __name__ == "__main__":
    main()
