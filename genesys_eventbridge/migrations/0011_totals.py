"""Totals for metrics, which are never pruned."""

from django.db import migrations, models

import genesys_eventbridge.db.fields
from genesys_eventbridge.db.online_migrations import OnlineMigration


class Migration(OnlineMigration):
    dependencies = [("genesys_eventbridge", "0010_menu")]

    operations = [
        migrations.CreateModel(
            name="Total",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "destination",
                    genesys_eventbridge.db.fields.ExactCharField(
                        blank=True, help_text="Empty: of all destinations.", max_length=64
                    ),
                ),
                ("measure", genesys_eventbridge.db.fields.ExactCharField(max_length=64)),
                ("number", models.BigIntegerField()),
            ],
            options={
                "verbose_name": "total",
                "verbose_name_plural": "totals",
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("destination", "measure"), name="eventbridge_total_once")
                ],
            },
        ),
    ]
