"""An index that is built beside the traffic."""

from django.db import migrations, models

from genesys_eventbridge.db.online_migrations import AddUnique


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("genesys_eventbridge", "1001_columns")]

    operations = [
        AddUnique("outboxevent", models.UniqueConstraint(fields=["later_key"], name="eventbridge_later_key")),
    ]
