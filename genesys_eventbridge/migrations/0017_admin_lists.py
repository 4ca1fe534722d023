"""An index of the events that failed, for lists of them in tables of any size."""

from django.db import migrations

from genesys_eventbridge.db.indexes import TroubledIndex
from genesys_eventbridge.db.online_migrations import AddIndex


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("genesys_eventbridge", "0016_lean_rows")]

    operations = [
        AddIndex(
            "outboxevent",
            TroubledIndex(
                fields=["reason", "state", "last_status_code", "failed_at", "id"], name="eventbridge_troubled"
            ),
        )
    ]
