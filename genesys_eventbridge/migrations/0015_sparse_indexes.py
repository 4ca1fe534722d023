"""Indexes leave out the rows that no search in them is for, where the database can."""

from django.db import migrations, models

from genesys_eventbridge.db.indexes import FilledIndex, SparseIndex
from genesys_eventbridge.db.online_migrations import ReplaceIndex


def replaced(kind: type[models.Index], name: str, *fields: str) -> ReplaceIndex:
    before = models.Index(fields=fields, name=name)
    return ReplaceIndex("outboxevent", kind(fields=fields, name=name), before)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("genesys_eventbridge", "0014_heard_at")]

    operations = [
        replaced(FilledIndex, "eventbridge_key", "ordering_key", "state", "id"),
        replaced(FilledIndex, "eventbridge_remote", "remote_id"),
        replaced(FilledIndex, "eventbridge_subject", "subject", "id"),
        replaced(FilledIndex, "eventbridge_correlation", "correlation_id"),
        replaced(SparseIndex, "eventbridge_status_code", "last_status_code"),
        replaced(SparseIndex, "eventbridge_doubt", "in_doubt_since"),
    ]
