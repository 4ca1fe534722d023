"""An act outlives its event, names its job, and a job acts on an event once."""

import django.db.models.deletion
from django.db import migrations, models

from genesys_eventbridge.db.fields import ExactCharField
from genesys_eventbridge.db.online_migrations import AddField, OnlineMigration


class Migration(OnlineMigration):
    dependencies = [
        ("genesys_eventbridge", "0003_jobs"),
    ]

    operations = [
        AddField(
            model_name="eventact",
            name="cloudevent_id",
            field=ExactCharField(
                blank=True,
                db_default="",
                default="",
                help_text="CloudEvents id of the event.",
                max_length=255,
            ),
        ),
        AddField(
            model_name="eventact",
            name="details",
            field=models.TextField(
                blank=True, help_text="What was changed, of a corrected event.", null=True
            ),
        ),
        AddField(
            model_name="eventact",
            name="event_number",
            field=models.BigIntegerField(
                blank=True, help_text="The id of the event, kept when it is pruned.", null=True
            ),
        ),
        AddField(
            model_name="eventact",
            name="job",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="acts",
                to="genesys_eventbridge.job",
            ),
        ),
        migrations.AlterModelOptions(
            name="outboxevent",
            options={
                "default_permissions": ("view",),
                "permissions": [
                    ("view_event_payload", "Can see the payload of events"),
                    ("requeue_event", "Can requeue, retry and check events"),
                    ("cancel_event", "Can cancel events"),
                    ("resend_event", "Can resend events as new"),
                    ("replay_event", "Can replay events"),
                    ("correct_event", "Can correct and resend events"),
                    ("erase_event", "Can erase events"),
                    ("resolve_event", "Can resolve events of unknown outcome"),
                    ("export_event", "Can export events"),
                ],
                "verbose_name": "event",
                "verbose_name_plural": "events",
            },
        ),
        migrations.AlterField(
            model_name="eventact",
            name="act",
            field=models.CharField(
                choices=[
                    ("requeue", "requeued"),
                    ("retry", "retried now"),
                    ("cancel", "cancelled"),
                    ("resolve", "resolved"),
                    ("resend", "resent as new"),
                    ("check", "status check asked for"),
                    ("move", "moved to another destination"),
                    ("replay", "replayed"),
                    ("correct", "corrected and sent as new"),
                    ("erase", "erased"),
                    ("export", "exported"),
                    ("pause", "paused"),
                    ("resume", "resumed"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="eventact",
            name="event",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="acts",
                to="genesys_eventbridge.outboxevent",
            ),
        ),
    ]
