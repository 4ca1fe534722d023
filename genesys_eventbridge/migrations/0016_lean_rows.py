"""An event writes less on PostgreSQL: smaller indexes, and room for the next version of a row beside it."""

from django.db import migrations, models

from genesys_eventbridge.db.indexes import (
    DeliveredIndex,
    FailedStatusIndex,
    FilledIndex,
    SparseIndex,
    UndeliveredIndex,
)
from genesys_eventbridge.db.online_migrations import (
    AddIndex,
    ReplaceIndex,
    SetFillFactor,
    SparseForeignKey,
)


def replaced(
    model: str, kind: type[models.Index], name: str, *fields: str, before: type[models.Index] = models.Index
) -> ReplaceIndex:
    return ReplaceIndex(model, kind(fields=fields, name=name), before(fields=fields, name=name))


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("genesys_eventbridge", "0015_sparse_indexes")]

    operations = [
        # First: a query for delivered events never lacks an index.
        AddIndex(
            "outboxevent", DeliveredIndex(fields=["destination", "due_at"], name="eventbridge_delivered")
        ),
        replaced("outboxevent", UndeliveredIndex, "eventbridge_due", "state", "destination", "due_at", "id"),
        replaced(
            "outboxevent",
            FailedStatusIndex,
            "eventbridge_status_code",
            "last_status_code",
            before=SparseIndex,
        ),
        replaced("deliveryattempt", FilledIndex, "eventbridge_attempt_corr", "correlation_id"),
        SparseForeignKey("outboxevent", "origin"),
        # A version of a row on the page of the one before is logged as their difference.
        SetFillFactor("outboxevent", 60),
        # An event's second attempt, its check, has room beside the first one.
        SetFillFactor("deliveryattempt", 50, index="eventbridge_attempt_number"),
    ]
