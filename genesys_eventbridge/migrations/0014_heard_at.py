"""A destination says when a worker last listened for notifications."""

from django.db import models

from genesys_eventbridge.db.online_migrations import AddField, OnlineMigration


class Migration(OnlineMigration):
    dependencies = [("genesys_eventbridge", "0013_job_error")]

    operations = [
        AddField(
            "destination",
            "heard_at",
            models.DateTimeField(
                blank=True,
                help_text="When a worker last listened for notifications of PostgreSQL.",
                null=True,
            ),
        ),
    ]
