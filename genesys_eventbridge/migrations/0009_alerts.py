"""Alerts: what is known of each trouble, and the notices that tell of it."""

import django.db.models.deletion
from django.db import migrations, models

import genesys_eventbridge.db.fields
from genesys_eventbridge.db.online_migrations import AddField, OnlineMigration


class Migration(OnlineMigration):
    dependencies = [
        ("genesys_eventbridge", "0008_search_indexes"),
    ]

    operations = [
        AddField(
            model_name="destination",
            name="alerts_at",
            field=models.DateTimeField(
                blank=True, help_text="When a worker last looked whether an alert is due.", null=True
            ),
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("destination", genesys_eventbridge.db.fields.ExactCharField(max_length=64)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("dead", "dead events"),
                            ("unresolved", "unresolved events"),
                            ("paused", "paused for long"),
                            ("refusals", "refused events"),
                            ("worker", "no worker"),
                            ("age", "delayed events"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "version",
                    models.PositiveIntegerField(
                        default=0, help_text="Raised by each change; who read it may write."
                    ),
                ),
                (
                    "since",
                    models.DateTimeField(blank=True, help_text="Since when the trouble is known.", null=True),
                ),
                (
                    "gone_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When the trouble of an open alert was first seen to be over.",
                        null=True,
                    ),
                ),
                ("alerted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "noticed_at",
                    models.DateTimeField(
                        blank=True, help_text="When the last notice of trouble was stored.", null=True
                    ),
                ),
                (
                    "number",
                    models.BigIntegerField(
                        default=0, help_text="Events concerned when it was last looked at."
                    ),
                ),
                (
                    "more",
                    models.BigIntegerField(default=0, help_text="Events that failed since the last notice."),
                ),
                ("message", models.CharField(blank=True, default="", max_length=500)),
            ],
            options={
                "verbose_name": "alert",
                "verbose_name_plural": "alerts",
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("destination", "kind"), name="eventbridge_alert_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="AlertNotice",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("notice_id", models.UUIDField(help_text="The same for all channels and all attempts.")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("opened", "alert"),
                            ("more", "more"),
                            ("recovered", "recovered"),
                            ("test", "test"),
                        ],
                        max_length=16,
                    ),
                ),
                ("channel", models.CharField(max_length=16)),
                ("content", models.TextField(help_text="JSON, sent as it is; see alerts/notices.py.")),
                ("created_at", models.DateTimeField()),
                (
                    "due_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When the next attempt is due, or the lease ends; empty once it is sent or given up.",
                        null=True,
                    ),
                ),
                ("claim_token", models.UUIDField(blank=True, null=True)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("last_error", models.CharField(blank=True, default="", max_length=500)),
                (
                    "alert",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notices",
                        to="genesys_eventbridge.alert",
                    ),
                ),
            ],
            options={
                "verbose_name": "notice",
                "verbose_name_plural": "notices",
                "default_permissions": (),
                "indexes": [models.Index(fields=["due_at"], name="eventbridge_notice_due")],
                "constraints": [
                    models.UniqueConstraint(fields=("notice_id", "channel"), name="eventbridge_notice_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("sent_at__isnull", True), ("due_at__isnull", True), _connector="OR"
                        ),
                        name="eventbridge_notice_sent",
                    ),
                ],
            },
        ),
    ]
