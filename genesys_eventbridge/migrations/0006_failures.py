"""Events know their failure, so that equal ones can be counted; delivery times are counted by type."""

from django.db import migrations, models

from genesys_eventbridge.db.fields import ExactCharField
from genesys_eventbridge.db.online_migrations import AddField, OnlineMigration


class Migration(OnlineMigration):
    dependencies = [("genesys_eventbridge", "0005_act_indexes")]

    operations = [
        AddField(
            "outboxevent",
            "failure",
            models.CharField(
                max_length=16,
                null=True,
                blank=True,
                help_text="Equal for errors that differ only in ids and numbers; see text/failures.py.",
            ),
        ),
        AddField(
            "outboxevent",
            "failed_at",
            models.DateTimeField(null=True, blank=True, help_text="When it last failed."),
        ),
        migrations.CreateModel(
            name="DeliveryTime",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "seconds",
                    models.PositiveSmallIntegerField(help_text="Length of the bucket: 300 or 3600."),
                ),
                ("starts_at", models.DateTimeField(help_text="Start of the bucket.")),
                ("destination", ExactCharField(max_length=64)),
                (
                    "type",
                    ExactCharField(
                        blank=True, max_length=255, help_text="Empty: other types, beyond the first 50."
                    ),
                ),
                ("step", models.PositiveSmallIntegerField()),
                ("number", models.BigIntegerField()),
            ],
            options={
                "verbose_name": "delivery time",
                "verbose_name_plural": "delivery times",
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("seconds", "starts_at", "destination", "type", "step"),
                        name="eventbridge_time_once",
                    )
                ],
            },
        ),
    ]
