"""Acts are found by their event's number and id; a job acts on an event once."""

from django.db import migrations, models

from genesys_eventbridge.db.online_migrations import AddIndex, AddUnique


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("genesys_eventbridge", "0004_acts_outlive_events")]

    operations = [
        AddIndex("eventact", models.Index(fields=["event_number"], name="eventbridge_act_number")),
        AddIndex("eventact", models.Index(fields=["cloudevent_id"], name="eventbridge_act_event")),
        AddUnique("eventact", models.UniqueConstraint(fields=("job", "event"), name="eventbridge_act_once")),
    ]
