"""All tables, as the seven migrations of the development versions made them.

Those files no longer exist. A database that has applied all seven needs nothing: ``migrate`` only records this one.
A database that has applied some of them must first be migrated to 0007_leases with the version that had it; check
E030 says so.
"""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from genesys_eventbridge.db.fields import ExactCharField
from genesys_eventbridge.db.online_migrations import AddUnique, OnlineMigration


class Migration(OnlineMigration):
    replaces = [
        ("genesys_eventbridge", "0001_initial"),
        ("genesys_eventbridge", "0002_rollup"),
        ("genesys_eventbridge", "0003_key_known_since"),
        ("genesys_eventbridge", "0004_wire"),
        ("genesys_eventbridge", "0005_remote_key"),
        ("genesys_eventbridge", "0006_circuit"),
        ("genesys_eventbridge", "0007_leases"),
    ]

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Destination",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("alias", ExactCharField(max_length=64, unique=True)),
                (
                    "paused_until",
                    models.DateTimeField(
                        blank=True, help_text="Set by a failure, cleared by a success.", null=True
                    ),
                ),
                ("paused_kind", models.CharField(blank=True, default="", max_length=16)),
                ("paused_reason", models.CharField(blank=True, default="", max_length=500)),
                (
                    "pause_seconds",
                    models.FloatField(
                        default=0.0, help_text="Length of the last pause in seconds; doubles each time."
                    ),
                ),
                ("check_paused_until", models.DateTimeField(blank=True, null=True)),
                ("check_paused_reason", models.CharField(blank=True, default="", max_length=500)),
                ("check_pause_seconds", models.FloatField(default=0.0)),
                (
                    "probe_until",
                    models.DateTimeField(blank=True, help_text="Until when one worker may probe.", null=True),
                ),
                ("probe_turn", models.PositiveIntegerField(default=0)),
                (
                    "held_by",
                    models.CharField(blank=True, default="", help_text="Who paused it.", max_length=150),
                ),
                ("held_reason", models.CharField(blank=True, default="", max_length=500)),
                (
                    "held_until",
                    models.DateTimeField(blank=True, help_text="Empty: paused until resumed.", null=True),
                ),
                ("bucket_tokens", models.FloatField(default=0.0)),
                (
                    "bucket_reserve",
                    models.FloatField(default=0.0, help_text="The fifth reserved for checks."),
                ),
                ("bucket_at", models.DateTimeField(blank=True, null=True)),
                ("run_failures", models.PositiveIntegerField(default=0)),
                (
                    "run_events",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="Events that failed since the last acceptance.",
                        max_length=1000,
                    ),
                ),
                ("accepted_at", models.DateTimeField(blank=True, help_text="Last acceptance.", null=True)),
                ("heartbeat_at", models.DateTimeField(blank=True, null=True)),
                ("heartbeat_worker", models.CharField(blank=True, default="", max_length=128)),
                (
                    "cleared_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Last acceptance of an event that had got an HTML page or a 403 before.",
                        null=True,
                    ),
                ),
                (
                    "refusals",
                    models.TextField(
                        blank=True,
                        help_text="Consecutive events that the platform refused; see circuit/refusals.py.",
                        null=True,
                    ),
                ),
                (
                    "refused_until",
                    models.DateTimeField(
                        blank=True, help_text="When the next event of a refused type may be sent.", null=True
                    ),
                ),
                (
                    "suspects",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="Consecutive events that got an HTML page or a 403 after others were accepted.",
                        max_length=1000,
                    ),
                ),
                ("check_paused_kind", models.CharField(blank=True, db_default="", default="", max_length=16)),
                (
                    "found_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Last check in which the platform knew the event.",
                        null=True,
                    ),
                ),
                (
                    "misses",
                    models.PositiveIntegerField(
                        db_default=60,
                        default=0,
                        help_text="Requests since the last acceptance; 60 means 60 or more.",
                    ),
                ),
                (
                    "missing",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="Consecutive events that checks did not find.",
                        max_length=1000,
                    ),
                ),
                (
                    "pauses",
                    models.TextField(
                        blank=True, help_text="Pauses by kind; see the package circuit.", null=True
                    ),
                ),
                (
                    "probes",
                    models.PositiveIntegerField(
                        db_default=0,
                        default=0,
                        help_text="Consecutive failed probes while other events were accepted recently.",
                    ),
                ),
                (
                    "pruned_at",
                    models.DateTimeField(
                        blank=True, help_text="When a worker last started to remove old events.", null=True
                    ),
                ),
                (
                    "task_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When a django-q2 task last ran for it; a wake reaches one.",
                        null=True,
                    ),
                ),
            ],
            options={
                "verbose_name": "destination",
                "verbose_name_plural": "destinations",
                "permissions": [("pause_destination", "Can pause, resume and test destinations")],
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="OutboxEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "destination",
                    ExactCharField(help_text="Alias in GENESYS_EVENTBRIDGE.", max_length=64),
                ),
                (
                    "event_id",
                    ExactCharField(help_text="CloudEvents id; unique with the source.", max_length=255),
                ),
                (
                    "source",
                    ExactCharField(help_text="CloudEvents source.", max_length=255),
                ),
                (
                    "type",
                    ExactCharField(help_text="CloudEvents type.", max_length=255),
                ),
                (
                    "subject",
                    ExactCharField(blank=True, default="", help_text="CloudEvents subject.", max_length=255),
                ),
                ("time", models.DateTimeField(help_text="When it happened.")),
                (
                    "body",
                    models.TextField(
                        blank=True, help_text="The exact text sent, fixed when the event is enqueued."
                    ),
                ),
                (
                    "body_sha256",
                    models.CharField(help_text="SHA-256 of the body's UTF-8 bytes.", max_length=64),
                ),
                (
                    "content_sha256",
                    models.CharField(
                        help_text="SHA-256 of what the caller passed; distinguishes a repeated call from a conflict.",
                        max_length=64,
                    ),
                ),
                (
                    "idempotency_key",
                    models.UUIDField(help_text="Fixed when the event is enqueued.", unique=True),
                ),
                (
                    "key_epoch",
                    models.PositiveSmallIntegerField(
                        default=0,
                        help_text="Raised when an operator accepts a possible duplicate; changes the key that is sent.",
                    ),
                ),
                (
                    "ordering_key",
                    ExactCharField(
                        blank=True,
                        default="",
                        help_text="Events with the same key are sent one at a time, in order.",
                        max_length=255,
                    ),
                ),
                (
                    "not_before",
                    models.DateTimeField(
                        blank=True, help_text="Earliest time to send it, set with delay=.", null=True
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("accepted", "accepted"),
                            ("delivered", "delivered"),
                            ("dead", "dead"),
                            ("unresolved", "unresolved"),
                            ("cancelled", "cancelled"),
                        ],
                        default="pending",
                        max_length=16,
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("rejected", "rejected"),
                            ("exhausted", "exhausted"),
                            ("expired", "expired"),
                            ("delivery_failed", "delivery failed"),
                            ("conflict", "conflict"),
                            ("outcome_unknown", "outcome unknown"),
                            ("unconfirmed", "unconfirmed"),
                            ("untracked", "untracked"),
                            ("operator", "operator"),
                        ],
                        default="",
                        max_length=32,
                    ),
                ),
                (
                    "due_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When the next step is due, or the lease ends; empty unless open.",
                        null=True,
                    ),
                ),
                (
                    "claim_token",
                    models.UUIDField(
                        blank=True,
                        help_text="Token of the worker that may write; new for each claim.",
                        null=True,
                    ),
                ),
                (
                    "attempts",
                    models.PositiveIntegerField(
                        default=0, help_text="Attempts to publish it, counted when it is claimed."
                    ),
                ),
                ("checks", models.PositiveIntegerField(default=0, help_text="Number of status checks.")),
                (
                    "halts",
                    models.PositiveIntegerField(
                        default=0,
                        help_text="Times it got a response that concerns the whole destination.",
                    ),
                ),
                (
                    "in_doubt_since",
                    models.DateTimeField(
                        blank=True,
                        help_text="First attempt whose outcome is unknown; kept until a definite response.",
                        null=True,
                    ),
                ),
                (
                    "remote_id",
                    ExactCharField(blank=True, default="", help_text="The platform's id.", max_length=255),
                ),
                ("last_status_code", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("last_error", models.CharField(blank=True, default="", max_length=500)),
                ("correlation_id", models.CharField(blank=True, default="", max_length=128)),
                ("created_at", models.DateTimeField()),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "object_type",
                    ExactCharField(blank=True, default="", help_text="app_label.model", max_length=255),
                ),
                (
                    "object_id",
                    ExactCharField(blank=True, default="", max_length=255),
                ),
                (
                    "origin",
                    models.ForeignKey(
                        blank=True,
                        help_text="The event it was resent from.",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="resends",
                        to="genesys_eventbridge.outboxevent",
                    ),
                ),
                (
                    "key_known_since",
                    models.DateTimeField(
                        blank=True,
                        help_text="Since when the platform may know the key of an event it accepted.",
                        null=True,
                    ),
                ),
                (
                    "remote_key",
                    models.UUIDField(
                        blank=True,
                        help_text="Hash of destination and remote id; an id belongs to one event.",
                        null=True,
                    ),
                ),
                (
                    "suspected_since",
                    models.DateTimeField(
                        blank=True,
                        help_text="When that first happened; cleared when an operator requeues it.",
                        null=True,
                    ),
                ),
                (
                    "key_held",
                    models.BooleanField(
                        help_text="Set while it waits for an earlier event of its ordering key.", null=True
                    ),
                ),
                (
                    "doubt_about",
                    models.UUIDField(
                        blank=True, help_text="Hash of the organisation that may have accepted it.", null=True
                    ),
                ),
                (
                    "lapses",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Consecutive claims whose lease expired without an outcome.",
                        null=True,
                    ),
                ),
            ],
            options={
                "verbose_name": "event",
                "verbose_name_plural": "events",
                "permissions": [
                    ("view_event_payload", "Can see the payload of events"),
                    ("requeue_event", "Can requeue, retry and check events"),
                    ("cancel_event", "Can cancel events"),
                    ("resend_event", "Can resend events as new"),
                    ("resolve_event", "Can resolve events of unknown outcome"),
                    ("export_event", "Can export events"),
                ],
                "default_permissions": ("view",),
                "constraints": [
                    models.UniqueConstraint(fields=("event_id", "source"), name="eventbridge_event_source"),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "state__in",
                                ["pending", "accepted", "delivered", "dead", "unresolved", "cancelled"],
                            )
                        ),
                        name="eventbridge_state",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("due_at__isnull", False), ("state__in", ("pending", "accepted"))),
                            models.Q(
                                models.Q(("state__in", ("pending", "accepted")), _negated=True),
                                ("claim_token__isnull", True),
                                ("due_at__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="eventbridge_open_is_due",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("finished_at__isnull", False), ("state__in", ("delivered", "cancelled"))
                            ),
                            models.Q(
                                models.Q(("state__in", ("delivered", "cancelled")), _negated=True),
                                ("finished_at__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="eventbridge_finished",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("state__in", ["dead", "unresolved", "cancelled"]),
                                (
                                    "reason__in",
                                    [
                                        "rejected",
                                        "exhausted",
                                        "expired",
                                        "delivery_failed",
                                        "conflict",
                                        "outcome_unknown",
                                        "unconfirmed",
                                        "untracked",
                                        "operator",
                                    ],
                                ),
                            ),
                            models.Q(
                                models.Q(("state__in", ["dead", "unresolved", "cancelled"]), _negated=True),
                                ("reason", ""),
                            ),
                            _connector="OR",
                        ),
                        name="eventbridge_reason",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("state__in", ("delivered", "cancelled")),
                            models.Q(("body", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="eventbridge_body_until_finished",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "pending"), _negated=True),
                            ("claim_token__isnull", True),
                            ("in_doubt_since__isnull", False),
                            _connector="OR",
                        ),
                        name="eventbridge_claimed_is_in_doubt",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="EventAct",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
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
                (
                    "from_state",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("accepted", "accepted"),
                            ("delivered", "delivered"),
                            ("dead", "dead"),
                            ("unresolved", "unresolved"),
                            ("cancelled", "cancelled"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "to_state",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("accepted", "accepted"),
                            ("delivered", "delivered"),
                            ("dead", "dead"),
                            ("unresolved", "unresolved"),
                            ("cancelled", "cancelled"),
                        ],
                        max_length=16,
                    ),
                ),
                ("reason", models.CharField(blank=True, default="", max_length=500)),
                ("at", models.DateTimeField()),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "event",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="acts",
                        to="genesys_eventbridge.outboxevent",
                    ),
                ),
            ],
            options={
                "verbose_name": "act",
                "verbose_name_plural": "acts",
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="DeliveryAttempt",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("number", models.PositiveIntegerField(help_text="Position in the event's log.")),
                (
                    "kind",
                    models.CharField(choices=[("publish", "publish"), ("check", "check")], max_length=16),
                ),
                ("started_at", models.DateTimeField()),
                ("duration", models.FloatField(help_text="Seconds.")),
                ("verdict", models.CharField(max_length=16)),
                ("status_code", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("error", models.CharField(blank=True, default="", max_length=500)),
                ("correlation_id", models.CharField(blank=True, default="", max_length=128)),
                (
                    "retry_after",
                    models.FloatField(blank=True, help_text="Seconds the platform asked to wait.", null=True),
                ),
                ("response_excerpt", models.TextField(blank=True, default="")),
                ("worker", models.CharField(blank=True, default="", max_length=128)),
                (
                    "event",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attempt_log",
                        to="genesys_eventbridge.outboxevent",
                    ),
                ),
            ],
            options={
                "verbose_name": "attempt",
                "verbose_name_plural": "attempts",
                "default_permissions": ("view",),
                "constraints": [
                    models.UniqueConstraint(fields=("event", "number"), name="eventbridge_attempt_number")
                ],
            },
        ),
        migrations.CreateModel(
            name="Rollup",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("starts_at", models.DateTimeField(help_text="Start of the five minutes.")),
                ("destination", ExactCharField(max_length=64)),
                ("measure", ExactCharField(max_length=64)),
                ("number", models.BigIntegerField()),
            ],
            options={
                "verbose_name": "roll-up",
                "verbose_name_plural": "roll-ups",
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("starts_at", "destination", "measure"), name="eventbridge_rollup_once"
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="outboxevent",
            index=models.Index(fields=["state", "destination", "due_at", "id"], name="eventbridge_due"),
        ),
        migrations.AddIndex(
            model_name="outboxevent",
            index=models.Index(fields=["ordering_key", "state", "id"], name="eventbridge_key"),
        ),
        migrations.AddIndex(
            model_name="outboxevent",
            index=models.Index(fields=["remote_id"], name="eventbridge_remote"),
        ),
        migrations.AddIndex(
            model_name="outboxevent",
            index=models.Index(fields=["subject", "id"], name="eventbridge_subject"),
        ),
        migrations.AddIndex(
            model_name="outboxevent",
            index=models.Index(fields=["in_doubt_since"], name="eventbridge_doubt"),
        ),
        AddUnique(
            model_name="outboxevent",
            constraint=models.UniqueConstraint(fields=("remote_key",), name="eventbridge_remote_key"),
        ),
    ]
