"""Columns for two tables that every save and every worker uses."""

from pkgutil import iter_modules

from django.db import migrations, models

from genesys_eventbridge import migrations as released
from genesys_eventbridge.db.online_migrations import AddField, OnlineMigration

LAST = max(module.name for module in iter_modules(released.__path__))


class Migration(OnlineMigration):
    dependencies = [("genesys_eventbridge", LAST)]

    operations = [
        AddField("destination", "later_note", models.CharField(max_length=16, default="", db_default="")),
        AddField("destination", "later_at", models.DateTimeField(null=True)),
        AddField("outboxevent", "later_key", models.UUIDField(null=True)),
        migrations.AlterField("destination", "held_reason", models.CharField(max_length=600, default="")),
    ]
