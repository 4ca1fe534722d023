"""A job says why its last try failed."""

from django.db import models

from genesys_eventbridge.db.online_migrations import AddField, OnlineMigration


class Migration(OnlineMigration):
    dependencies = [("genesys_eventbridge", "0012_count_totals")]

    operations = [
        AddField(
            "job",
            "last_error",
            models.CharField(
                max_length=255,
                blank=True,
                db_default="",
                help_text="Class of the error that ended the last try; empty after a batch that was committed.",
            ),
        ),
    ]
