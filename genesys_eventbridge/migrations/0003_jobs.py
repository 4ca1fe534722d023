"""Acts on any number of events, which a worker carries out, and the audit of all acts."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from genesys_eventbridge.db.fields import ExactCharField
from genesys_eventbridge.db.online_migrations import OnlineMigration


class Migration(OnlineMigration):
    dependencies = [
        ("genesys_eventbridge", "0002_attempt_may_duplicate"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Job",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", models.UUIDField(help_text="A form submitted twice makes one job.", unique=True)),
                (
                    "act",
                    models.CharField(
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
                (
                    "username",
                    models.CharField(
                        blank=True, default="", help_text="The name at that time.", max_length=150
                    ),
                ),
                ("via", models.CharField(help_text="admin, or the name of the command.", max_length=64)),
                ("reason", models.CharField(blank=True, default="", max_length=500)),
                (
                    "about",
                    models.CharField(blank=True, default="", help_text="What it applies to.", max_length=500),
                ),
                (
                    "destination",
                    ExactCharField(
                        blank=True, default="", help_text="For acts on a destination.", max_length=64
                    ),
                ),
                ("options", models.TextField(default="{}", help_text="How the act is done, as JSON.")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("preparing", "being prepared"),
                            ("queued", "in progress"),
                            ("finished", "finished"),
                            ("cancelled", "cancelled"),
                        ],
                        default="preparing",
                        max_length=16,
                    ),
                ),
                ("total", models.BigIntegerField(default=0, help_text="Number of events it applies to.")),
                ("done", models.BigIntegerField(default=0, help_text="Number of events that were acted on.")),
                (
                    "skipped",
                    models.BigIntegerField(
                        default=0, help_text="Number of events that were left as they are."
                    ),
                ),
                (
                    "results",
                    models.TextField(
                        default="[]", help_text="Numbers of events by result and type, as JSON."
                    ),
                ),
                (
                    "position",
                    models.BigIntegerField(default=0, help_text="Number of the last event that was handled."),
                ),
                ("created_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("claim_token", models.UUIDField(blank=True, null=True)),
                (
                    "due_at",
                    models.DateTimeField(
                        blank=True, help_text="When a worker continues, or the lease ends.", null=True
                    ),
                ),
                (
                    "ended_by",
                    models.CharField(blank=True, default="", help_text="Who cancelled it.", max_length=150),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit entries",
                "default_permissions": ("view",),
                "indexes": [models.Index(fields=["state", "due_at"], name="eventbridge_job_due")],
            },
        ),
        migrations.CreateModel(
            name="JobItem",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "job",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="items",
                        to="genesys_eventbridge.job",
                    ),
                ),
                (
                    "event_number",
                    models.BigIntegerField(help_text="The id of the event, which may be pruned."),
                ),
                (
                    "outcome",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="done, or why it was skipped; empty: not yet.",
                        max_length=24,
                    ),
                ),
                (
                    "new_number",
                    models.BigIntegerField(blank=True, help_text="The event that was made of it.", null=True),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("job", "event_number"), name="eventbridge_job_item")
                ],
            },
        ),
    ]
