"""Indexes for the search and the filters of the event list, built without blocking traffic."""

from django.db import migrations, models

from genesys_eventbridge.db.folding import FoldedEndIndex, FoldedIndex
from genesys_eventbridge.db.indexes import SparseIndex
from genesys_eventbridge.db.online_migrations import AddIndex


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("genesys_eventbridge", "0007_group_failures")]

    operations = [
        AddIndex("outboxevent", FoldedIndex(fields=["subject"], name="eventbridge_subject_folded")),
        AddIndex("outboxevent", FoldedEndIndex(fields=["subject"], name="eventbridge_subject_end")),
        AddIndex("outboxevent", models.Index(fields=["correlation_id"], name="eventbridge_correlation")),
        AddIndex("outboxevent", models.Index(fields=["type"], name="eventbridge_type")),
        AddIndex("outboxevent", models.Index(fields=["last_status_code"], name="eventbridge_status_code")),
        AddIndex("outboxevent", models.Index(fields=["created_at"], name="eventbridge_created_at")),
        AddIndex("outboxevent", SparseIndex(fields=["accepted_at"], name="eventbridge_accepted_at")),
        AddIndex("outboxevent", SparseIndex(fields=["finished_at"], name="eventbridge_finished_at")),
        AddIndex("deliveryattempt", models.Index(fields=["correlation_id"], name="eventbridge_attempt_corr")),
    ]
