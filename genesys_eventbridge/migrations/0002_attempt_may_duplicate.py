"""The attempt log marks what was sent again without an idempotency key that the platform honours."""

from django.db import models

from genesys_eventbridge.db.online_migrations import AddField, OnlineMigration


class Migration(OnlineMigration):
    dependencies = [("genesys_eventbridge", "0001_squashed_0007_leases")]

    operations = [
        AddField(
            "deliveryattempt",
            "may_duplicate",
            models.BooleanField(
                null=True,
                blank=True,
                help_text="Sent although an earlier attempt may have arrived, to a platform that honours no key.",
            ),
        )
    ]
