from django.db import migrations, models

from genesys_eventbridge.db.online_migrations import AddField, OnlineMigration


class Migration(OnlineMigration):
    dependencies = [
        ("genesys_eventbridge", "0006_circuit"),
    ]

    operations = [
        AddField(
            model_name="destination",
            name="task_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When a django-q2 task last ran for it; a wake is read there.",
                null=True,
            ),
        ),
        AddField(
            model_name="outboxevent",
            name="key_held",
            field=models.BooleanField(
                help_text="Put aside until the earlier event of its ordering key leaves.", null=True
            ),
        ),
        AddField(
            model_name="outboxevent",
            name="doubt_about",
            field=models.UUIDField(
                blank=True, help_text="Hash of the organisation that may have taken it.", null=True
            ),
        ),
        AddField(
            model_name="outboxevent",
            name="lapses",
            field=models.PositiveSmallIntegerField(
                blank=True, help_text="Claims in a row whose lease ran out without an outcome.", null=True
            ),
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
                ],
                max_length=16,
            ),
        ),
    ]
