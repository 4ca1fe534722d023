"""What the app remembers: events, attempts to send them, what people did, and the destinations' health."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import Any

from django.conf import settings
from django.db import models, router
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext_lazy as _

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.db.fields import ExactCharField, ReadableDateTimeField
from genesys_eventbridge.states import FINISHED, NEEDS_OPERATOR, OPEN, Act, AttemptKind, Reason, State

# Methods load what only they need: at each start it would cost more than the models (benchmarks/starting.py).


def outbox_alias() -> str:
    """The one database that holds the outbox; every read that decides happens there too."""
    return router.db_for_write(OutboxEvent)


def is_claimed(claim_token: object, due_at: dt.datetime | None, now: dt.datetime) -> bool:
    """``in_flight`` of a row that was read."""
    return claim_token is not None and due_at is not None and due_at > now


def in_flight(now: Any = None) -> Q:
    """A worker holds the claim at ``now``, by default the database's time: being sent or asked about."""
    return Q(claim_token__isnull=False, due_at__gt=DatabaseNow() if now is None else now)


class OutboxQuerySet(models.QuerySet["OutboxEvent"]):
    """Facts that are computed and never stored; claim, admin, commands and status all ask here."""

    def on_outbox(self) -> OutboxQuerySet:
        """Read from the database that is written, whatever the router says of replicas."""
        return self.using(outbox_alias())

    def open(self) -> OutboxQuerySet:
        return self.filter(state__in=OPEN)

    def due(self) -> OutboxQuerySet:
        """To be published or checked now. A row whose lease ran out is due again."""
        return self.open().filter(due_at__lte=DatabaseNow())

    def in_flight(self) -> OutboxQuerySet:
        """A worker holds the claim: being sent or asked about right now."""
        return self.filter(in_flight())

    def not_in_flight(self) -> OutboxQuerySet:
        return self.filter(
            Q(claim_token__isnull=True) | Q(due_at__isnull=True) | Q(due_at__lte=DatabaseNow())
        )

    def retrying(self) -> OutboxQuerySet:
        """Tried before, not accepted, waiting for the next try."""
        return self.filter(state=State.PENDING, attempts__gt=0).not_in_flight()

    def needs_operator(self) -> OutboxQuerySet:
        return self.filter(state__in=NEEDS_OPERATOR)

    def blocked(self) -> OutboxQuerySet:
        """Held back by an earlier event of the same ordering key (guarantee G8)."""
        return self.filter(state=State.PENDING).exclude(ordering_key="").filter(Exists(self.blockers()))

    def blockers(self) -> OutboxQuerySet:
        """For a subquery: the earlier rows of the outer row's key that hold it back."""
        from genesys_eventbridge import conf

        holding = Q(state=State.PENDING) | Q(accepted_at__isnull=True)
        unblocked = [alias for alias in conf.aliases() if not conf.destination(alias).block_key_on_dead]
        rows = OutboxEvent.objects.filter(
            holding,
            ordering_key=OuterRef("ordering_key"),
            destination=OuterRef("destination"),
            state__in=[State.PENDING, *NEEDS_OPERATOR],
            id__lt=OuterRef("id"),
        )
        if unblocked:
            rows = rows.exclude(state__in=NEEDS_OPERATOR, destination__in=unblocked)
        return rows


class OutboxEvent(models.Model):
    """One row is one event, and the row is the truth about it."""

    id = models.BigAutoField(primary_key=True)
    destination = ExactCharField(max_length=64, help_text=_("Alias in GENESYS_EVENTBRIDGE."))
    event_id = ExactCharField(max_length=255, help_text=_("CloudEvents id; unique with the source."))
    source = ExactCharField(max_length=255, help_text=_("CloudEvents source."))
    type = ExactCharField(max_length=255, help_text=_("CloudEvents type."))
    subject = ExactCharField(max_length=255, blank=True, default="", help_text=_("CloudEvents subject."))
    time = models.DateTimeField(help_text=_("When the fact happened."))
    body = models.TextField(blank=True, help_text=_("The exact text that is sent, fixed at enqueue."))
    body_sha256 = models.CharField(max_length=64, help_text=_("SHA-256 of the body's UTF-8 bytes."))
    content_sha256 = models.CharField(
        max_length=64, help_text=_("SHA-256 of what the caller said; tells a repeated call from a conflict.")
    )
    idempotency_key = models.UUIDField(unique=True, help_text=_("Fixed at enqueue."))
    key_epoch = models.PositiveSmallIntegerField(
        default=0, help_text=_("Raised by a person who accepts a duplicate; changes the key on the wire.")
    )
    ordering_key = ExactCharField(
        max_length=255, blank=True, default="", help_text=_("Events of one key go one at a time, in order.")
    )
    not_before = ReadableDateTimeField(null=True, blank=True, help_text=_("Asked for with delay=."))
    state = models.CharField(max_length=16, choices=State.choices, default=State.PENDING)
    reason = models.CharField(max_length=32, choices=Reason.choices, blank=True, default="")
    due_at = ReadableDateTimeField(
        null=True, blank=True, help_text=_("Next step, or the end of the lease; empty unless open.")
    )
    claim_token = models.UUIDField(null=True, blank=True, help_text=_("Who may write; fresh at each claim."))
    lapses = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text=_("Claims in a row whose lease ran out without an outcome.")
    )
    key_held = models.BooleanField(
        null=True, help_text=_("Put aside until the earlier event of its ordering key leaves.")
    )
    attempts = models.PositiveIntegerField(default=0, help_text=_("Publishing tries, counted at claim."))
    checks = models.PositiveIntegerField(default=0, help_text=_("Times the platform was asked."))
    halts = models.PositiveIntegerField(
        default=0, help_text=_("Times this event met a refusal that concerns the whole destination.")
    )
    suspected_since = ReadableDateTimeField(
        null=True, blank=True, help_text=_("Its first halt, until an operator requeues it.")
    )
    in_doubt_since = ReadableDateTimeField(
        null=True,
        blank=True,
        help_text=_("First try whose outcome is unknown; kept until a definite answer."),
    )
    doubt_about = models.UUIDField(
        null=True, blank=True, help_text=_("Hash of the organisation that may have taken it.")
    )
    key_known_since = ReadableDateTimeField(
        null=True, blank=True, help_text=_("Since when the platform may know an accepted event's key.")
    )
    remote_id = ExactCharField(max_length=255, blank=True, default="", help_text=_("The platform's id."))
    remote_key = models.UUIDField(
        null=True, blank=True, help_text=_("Hash of destination and remote id: one id proves one event.")
    )
    last_status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True, default="")
    correlation_id = models.CharField(max_length=128, blank=True, default="")
    created_at = ReadableDateTimeField()
    accepted_at = ReadableDateTimeField(null=True, blank=True)
    finished_at = ReadableDateTimeField(null=True, blank=True)
    origin = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="resends",
        help_text=_("The event this one was resent from."),
    )
    object_type = ExactCharField(max_length=255, blank=True, default="", help_text=_("app_label.model"))
    object_id = ExactCharField(max_length=255, blank=True, default="")

    objects = OutboxQuerySet.as_manager()

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        default_permissions = ("view",)
        permissions = [
            ("view_event_payload", "Can see the payload of events"),
            ("requeue_event", "Can requeue, retry and check events"),
            ("cancel_event", "Can cancel events"),
            ("resend_event", "Can resend events as new"),
            ("resolve_event", "Can resolve events of unknown outcome"),
            ("export_event", "Can export events"),
        ]
        indexes = [
            # Equality on the first two: a paused destination or waiting checks cost a claim nothing.
            models.Index(fields=["state", "destination", "due_at", "id"], name="eventbridge_due"),
            # The head of a key is found among its open rows, not by walking its delivered history.
            models.Index(fields=["ordering_key", "state", "id"], name="eventbridge_key"),
            models.Index(fields=["remote_id"], name="eventbridge_remote"),
            models.Index(fields=["subject", "id"], name="eventbridge_subject"),
            # Expiry looks at doubtful rows only, also where a paused destination has a million due ones.
            models.Index(fields=["in_doubt_since"], name="eventbridge_doubt"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["event_id", "source"], name="eventbridge_event_source"),
            models.UniqueConstraint(fields=["remote_key"], name="eventbridge_remote_key"),
            models.CheckConstraint(condition=Q(state__in=State.values), name="eventbridge_state"),
            models.CheckConstraint(
                condition=Q(state__in=OPEN, due_at__isnull=False)
                | (~Q(state__in=OPEN) & Q(due_at__isnull=True, claim_token__isnull=True)),
                name="eventbridge_open_is_due",
            ),
            models.CheckConstraint(
                condition=Q(state__in=FINISHED, finished_at__isnull=False)
                | (~Q(state__in=FINISHED) & Q(finished_at__isnull=True)),
                name="eventbridge_finished",
            ),
            models.CheckConstraint(
                condition=(Q(state__in=[*NEEDS_OPERATOR, State.CANCELLED]) & Q(reason__in=Reason.values))
                | (~Q(state__in=[*NEEDS_OPERATOR, State.CANCELLED]) & Q(reason="")),
                name="eventbridge_reason",
            ),
            models.CheckConstraint(
                condition=Q(state__in=FINISHED) | ~Q(body=""), name="eventbridge_body_until_finished"
            ),
            models.CheckConstraint(
                condition=~Q(state=State.PENDING)
                | Q(claim_token__isnull=True)
                | Q(in_doubt_since__isnull=False),
                name="eventbridge_claimed_is_in_doubt",
            ),
        ]

    def __str__(self) -> str:
        from genesys_eventbridge.text import clean

        return clean(f"{self.type} {self.event_id}", 200)

    @property
    def data(self) -> Any:
        """The decoded payload; NO_DATA where the event has none or its body was blanked."""
        from genesys_eventbridge.cloudevents import NO_DATA

        if not self.body:
            return NO_DATA
        event = json.loads(self.body)
        if "data_base64" in event:
            return base64.b64decode(event["data_base64"])
        return event.get("data", NO_DATA)


class DeliveryAttempt(models.Model):
    """One request to the platform and its answer: for people; no decision reads it."""

    id = models.BigAutoField(primary_key=True)
    event = models.ForeignKey(
        OutboxEvent, on_delete=models.CASCADE, related_name="attempt_log", db_index=False
    )
    number = models.PositiveIntegerField(help_text=_("Position in the event's log."))
    kind = models.CharField(max_length=16, choices=AttemptKind.choices)
    started_at = ReadableDateTimeField()
    duration = models.FloatField(help_text=_("Seconds."))
    verdict = models.CharField(max_length=16)
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True, default="")
    correlation_id = models.CharField(max_length=128, blank=True, default="")
    retry_after = models.FloatField(null=True, blank=True, help_text=_("Seconds the platform asked for."))
    response_excerpt = models.TextField(blank=True, default="")
    worker = models.CharField(max_length=128, blank=True, default="")

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        default_permissions = ("view",)
        constraints = [models.UniqueConstraint(fields=["event", "number"], name="eventbridge_attempt_number")]

    def __str__(self) -> str:
        return f"{self.kind} {self.number}: {self.verdict}"


class EventAct(models.Model):
    """What a person did to an event: append-only audit."""

    id = models.BigAutoField(primary_key=True)
    event = models.ForeignKey(OutboxEvent, on_delete=models.CASCADE, related_name="acts")
    act = models.CharField(max_length=16, choices=Act.choices)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    username = models.CharField(max_length=150, blank=True, default="", help_text=_("As it was then."))
    via = models.CharField(max_length=64, help_text=_("admin, or the command."))
    from_state = models.CharField(max_length=16, choices=State.choices)
    to_state = models.CharField(max_length=16, choices=State.choices)
    reason = models.CharField(max_length=500, blank=True, default="")
    at = ReadableDateTimeField()

    class Meta:
        verbose_name = _("act")
        verbose_name_plural = _("acts")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.act} by {self.username or self.via}"


class Destination(models.Model):
    """The health of one destination, shared by every worker on every host."""

    alias = ExactCharField(max_length=64, unique=True)
    # No JSONField: its system check asks the database, which may be away.
    pauses = models.TextField(  # noqa: DJ001 - a worker of the release before makes rows without it
        null=True, blank=True, help_text=_("The pauses of each kind; see circuit.py.")
    )
    paused_until = ReadableDateTimeField(
        null=True, blank=True, help_text=_("Set by trouble, cleared by a success.")
    )
    paused_kind = models.CharField(max_length=16, blank=True, default="")
    paused_reason = models.CharField(max_length=500, blank=True, default="")
    pause_seconds = models.FloatField(default=0.0, help_text=_("Length of the last pause; doubles."))
    check_paused_until = ReadableDateTimeField(null=True, blank=True)
    check_paused_kind = models.CharField(max_length=16, blank=True, default="", db_default="")
    check_paused_reason = models.CharField(max_length=500, blank=True, default="")
    check_pause_seconds = models.FloatField(default=0.0)
    probe_until = ReadableDateTimeField(null=True, blank=True, help_text=_("Lease of the one prober."))
    probe_turn = models.PositiveIntegerField(default=0)
    probes = models.PositiveIntegerField(
        default=0,
        db_default=0,
        help_text=_("Probes that failed in a row, while others were accepted lately."),
    )
    held_by = models.CharField(max_length=150, blank=True, default="", help_text=_("Who paused it."))
    held_reason = models.CharField(max_length=500, blank=True, default="")
    held_until = ReadableDateTimeField(null=True, blank=True, help_text=_("Empty: until resumed."))
    bucket_tokens = models.FloatField(default=0.0)
    bucket_reserve = models.FloatField(default=0.0, help_text=_("The fifth kept for checks."))
    bucket_at = ReadableDateTimeField(null=True, blank=True)
    misses = models.PositiveIntegerField(
        default=0, db_default=60, help_text=_("Requests since the last acceptance; 60 stands for more.")
    )
    run_failures = models.PositiveIntegerField(default=0)
    run_events = models.CharField(
        max_length=1000, blank=True, default="", help_text=_("Events that failed since the last acceptance.")
    )
    missing = models.CharField(
        max_length=1000,
        blank=True,
        default="",
        db_default="",
        help_text=_("Events that checks did not find, in a row."),
    )
    suspects = models.CharField(
        max_length=1000,
        blank=True,
        default="",
        db_default="",
        help_text=_("Events that met a page or a 403 in a row, while others were accepted before."),
    )
    cleared_at = ReadableDateTimeField(
        null=True, blank=True, help_text=_("Last acceptance of an event that had met a page or a 403 before.")
    )
    refusals = models.TextField(  # noqa: DJ001 - a worker of the release before makes rows without it
        null=True, blank=True, help_text=_("Events the platform refused in a row; see refusals.py.")
    )
    refused_until = ReadableDateTimeField(
        null=True, blank=True, help_text=_("When the next event of a type of that run may go.")
    )
    accepted_at = ReadableDateTimeField(null=True, blank=True, help_text=_("Last acceptance."))
    found_at = ReadableDateTimeField(
        null=True, blank=True, help_text=_("Last check that the platform answered about its event.")
    )
    heartbeat_at = ReadableDateTimeField(null=True, blank=True)
    heartbeat_worker = models.CharField(max_length=128, blank=True, default="")
    task_at = ReadableDateTimeField(
        null=True, blank=True, help_text=_("When a django-q2 task last ran for it; a wake is read there.")
    )
    pruned_at = ReadableDateTimeField(
        null=True, blank=True, help_text=_("When a worker last began to remove old events.")
    )

    class Meta:
        verbose_name = _("destination")
        verbose_name_plural = _("destinations")
        default_permissions = ("view",)
        permissions = [("pause_destination", "Can pause, resume and test destinations")]

    def __str__(self) -> str:
        return self.alias


class Rollup(models.Model):
    """So many of one thing in five minutes, for people; no decision reads it, and it may miss some.

    ``measure`` is ``delivered``, ``dead`` or ``unresolved`` (events that went there); ``publish:<verdict>``
    or ``check:<verdict>`` (requests); ``error:<HTTP status or kind of failure>``; ``within:<n>`` (events
    by their time to delivery, see rollups.upper).
    """

    id = models.BigAutoField(primary_key=True)
    starts_at = models.DateTimeField(help_text=_("Begin of the five minutes."))
    destination = ExactCharField(max_length=64)
    measure = ExactCharField(max_length=64)
    number = models.BigIntegerField()

    class Meta:
        verbose_name = _("roll-up")
        verbose_name_plural = _("roll-ups")
        default_permissions = ()
        constraints = [
            # In the order in which the dashboard and the pruning read.
            models.UniqueConstraint(
                fields=["starts_at", "destination", "measure"], name="eventbridge_rollup_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.destination} {self.measure}: {self.number}"
