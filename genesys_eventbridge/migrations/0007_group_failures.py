"""Rows that failed before are grouped, too, and an index finds the rows of a group."""

from typing import Any

from django.db import migrations
from django.db.models import Max, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from genesys_eventbridge.db.indexes import SparseIndex
from genesys_eventbridge.db.online_migrations import AddIndex
from genesys_eventbridge.text.failures import failure_id

#: Rows per statement; each one is a transaction of its own, so no lock lasts.
BATCH = 1000


def group(apps: Any, schema_editor: Any) -> None:
    """Fill the new columns of unfinished rows, page by page; run again, it continues."""
    alias = schema_editor.connection.alias
    events = apps.get_model("genesys_eventbridge", "OutboxEvent").objects.using(alias)
    attempts = apps.get_model("genesys_eventbridge", "DeliveryAttempt").objects.using(alias)
    tried = attempts.filter(event=OuterRef("pk")).order_by().values("event").annotate(at=Max("started_at"))
    failed = events.filter(
        ~Q(last_error=""), state__in=["pending", "accepted", "dead", "unresolved"], failure__isnull=True
    )
    last = 0
    while page := list(
        failed.filter(id__gt=last).order_by("id").values_list("id", "last_status_code", "last_error")[:BATCH]
    ):
        groups: dict[str | None, list[int]] = {}
        for pk, status_code, error in page:
            groups.setdefault(failure_id(status_code, error), []).append(pk)
        for failure, ids in groups.items():
            failed.filter(id__in=ids).update(
                failure=failure, failed_at=Coalesce(Subquery(tried.values("at")[:1]), "created_at")
            )
        last = page[-1][0]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("genesys_eventbridge", "0006_failures")]

    operations = [
        migrations.RunPython(group, migrations.RunPython.noop),
        AddIndex(
            model_name="outboxevent",
            index=SparseIndex(fields=["failure", "id"], name="eventbridge_failure"),
        ),
    ]
