"""The tables: events, attempts to send them, operator actions, and the status of the destinations."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.db import models, router
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext_lazy as _

from genesys_eventbridge.db.clock import NOW
from genesys_eventbridge.db.fields import ExactCharField, ReadableDateTimeField, by_stored
from genesys_eventbridge.db.folding import FoldedEndIndex, FoldedIndex
from genesys_eventbridge.db.indexes import (
    DeliveredIndex,
    FailedStatusIndex,
    FilledIndex,
    SparseIndex,
    TroubledIndex,
    UndeliveredIndex,
)
from genesys_eventbridge.states import (
    FINISHED,
    NEEDS_OPERATOR,
    OPEN,
    Act,
    AlertKind,
    AlertStatus,
    AttemptKind,
    JobState,
    Reason,
    State,
)

# Imported within methods if only they need it: at startup these would cost more than the models
# (benchmarks/starting.py).


def outbox_alias() -> str:
    """The alias of the database that holds the outbox; every read that decides uses it too."""
    return router.db_for_write(OutboxEvent)


def is_claimed(claim_token: object, due_at: dt.datetime | None, now: dt.datetime) -> bool:
    """``in_flight`` for a row that has been read."""
    return claim_token is not None and due_at is not None and due_at > now


def in_flight(now: Any = None) -> Q:
    """Q for rows whose claim a worker holds at ``now``, by default the database's time."""
    return Q(claim_token__isnull=False, due_at__gt=NOW if now is None else now)


def not_in_flight() -> Q:
    """Q for the other rows: unclaimed, or with a lease that has expired by the database's time."""
    return Q(claim_token__isnull=True) | Q(due_at__isnull=True) | Q(due_at__lte=NOW)


#: Q for rows that were sent, or would have been: an operator who requeues one resets only its counters.
TRIED = Q(attempts__gt=0) | Q(halts__gt=0) | ~Q(last_error="")


def was_tried(attempts: int, halts: int, last_error: str) -> bool:
    """``TRIED`` for a row that has been read."""
    return bool(attempts or halts or last_error)


#: The platform may have accepted the event, under its present key or an earlier one.
MAY_BE_KNOWN = (
    ~Q(remote_id="")
    | Q(in_doubt_since__isnull=False)
    | Q(accepted_at__isnull=False)
    | Q(key_known_since__isnull=False)
)


def may_be_known(
    remote_id: str,
    in_doubt_since: dt.datetime | None,
    accepted_at: dt.datetime | None,
    key_known_since: dt.datetime | None,
) -> bool:
    """``MAY_BE_KNOWN`` for a row that has been read."""
    return remote_id != "" or any(time is not None for time in (in_doubt_since, accepted_at, key_known_since))


def waiting() -> Q:
    """Q for rows that wait for the first attempt."""
    return Q(state=State.PENDING, attempts=0, halts=0, last_error="") & not_in_flight()


def retrying() -> Q:
    """Q for rows that were tried before, not accepted, and wait for the next attempt."""
    return Q(TRIED, state=State.PENDING) & not_in_flight()


def in_states(states: Collection[State]) -> Q:
    """Q for rows in these states: delivered ones apart, as PostgreSQL has an index for them and another for
    the rest, and uses both only if asked for both."""
    others = [state for state in states if state != State.DELIVERED]
    if not others or len(others) == len(states):
        return Q(state__in=states)
    return Q(state__in=others) | Q(state=State.DELIVERED)


def blocking(unblocked: Collection[str] | None = None) -> Q:
    """Q for rows that hold back the later rows of their ordering key (guarantee G8).

    ``unblocked``: as ``conf.unblocked()``, which is the default.
    """
    from genesys_eventbridge import conf

    not_accepted = Q(state=State.PENDING) | Q(accepted_at__isnull=True)
    blocks = not_accepted & Q(state__in=[State.PENDING, *NEEDS_OPERATOR])
    if unblocked is None:
        unblocked = conf.unblocked()
    return blocks & ~Q(state__in=NEEDS_OPERATOR, destination__in=unblocked) if unblocked else blocks


def failing() -> Q:
    """Q for rows that are dead, unresolved, or wait for a retry: what failure groups count."""
    return Q(state__in=NEEDS_OPERATOR) | (Q(TRIED, state=State.PENDING) & ~in_flight())


def failed_since(moment: dt.datetime) -> Q:
    """Q for rows that last failed then or later; workers of the release before write no such time."""
    return Q(failed_at__gte=moment) | Q(failed_at__isnull=True, created_at__gte=moment)


class OutboxQuerySet(models.QuerySet["OutboxEvent"]):
    """Computed facts, never stored; claim, admin, commands and status all use these."""

    def order_by(self, *names: Any) -> OutboxQuerySet:
        """As Django's, but a time that is also selected is ordered by its column: see ``fields.Stored``."""
        return super().order_by(*(by_stored(self.model, name) for name in names))

    def on_outbox(self) -> OutboxQuerySet:
        """Read from the primary database, even if the router has replicas."""
        return self.using(outbox_alias())

    def open(self) -> OutboxQuerySet:
        return self.filter(state__in=OPEN)

    def due(self) -> OutboxQuerySet:
        """To be published or checked now. A row whose lease has expired is due again."""
        return self.open().filter(due_at__lte=NOW)

    def in_flight(self) -> OutboxQuerySet:
        """A worker holds the claim: being sent or checked right now."""
        return self.filter(in_flight())

    def not_in_flight(self) -> OutboxQuerySet:
        return self.filter(not_in_flight())

    def retrying(self) -> OutboxQuerySet:
        return self.filter(retrying())

    def waiting(self) -> OutboxQuerySet:
        return self.filter(waiting())

    def failing(self) -> OutboxQuerySet:
        return self.filter(failing())

    def needs_operator(self) -> OutboxQuerySet:
        return self.filter(state__in=NEEDS_OPERATOR)

    def blocked(self) -> OutboxQuerySet:
        """Held back by an earlier event of the same ordering key (guarantee G8)."""
        return self.filter(state=State.PENDING).exclude(ordering_key="").filter(Exists(self.blockers()))

    def blockers(self, unblocked: Collection[str] | None = None) -> OutboxQuerySet:
        """For a subquery: the earlier rows of the outer row's key that hold it back.

        ``unblocked``: as for ``blocking``.
        """
        return OutboxEvent.objects.filter(
            blocking(unblocked),
            ordering_key=OuterRef("ordering_key"),
            destination=OuterRef("destination"),
            id__lt=OuterRef("id"),
        ).exclude(ordering_key="")  # for the index, which leaves these out


class OutboxEvent(models.Model):
    """One row is one event and its authoritative state."""

    id = models.BigAutoField(primary_key=True)
    destination = ExactCharField(max_length=64, help_text=_("Alias in GENESYS_EVENTBRIDGE."))
    event_id = ExactCharField(max_length=255, help_text=_("CloudEvents id; unique with the source."))
    source = ExactCharField(max_length=255, help_text=_("CloudEvents source."))
    type = ExactCharField(max_length=255, help_text=_("CloudEvents type."))
    subject = ExactCharField(max_length=255, blank=True, default="", help_text=_("CloudEvents subject."))
    time = models.DateTimeField(help_text=_("When it happened."))
    body = models.TextField(blank=True, help_text=_("The exact text sent, fixed when the event is enqueued."))
    body_sha256 = models.CharField(max_length=64, help_text=_("SHA-256 of the body's UTF-8 bytes."))
    content_sha256 = models.CharField(
        max_length=64,
        help_text=_("SHA-256 of what the caller passed; distinguishes a repeated call from a conflict."),
    )
    idempotency_key = models.UUIDField(unique=True, help_text=_("Fixed when the event is enqueued."))
    key_epoch = models.PositiveSmallIntegerField(
        default=0,
        help_text=_("Raised when an operator accepts a possible duplicate; changes the key that is sent."),
    )
    ordering_key = ExactCharField(
        max_length=255,
        blank=True,
        default="",
        help_text=_("Events with the same key are sent one at a time, in order."),
    )
    not_before = ReadableDateTimeField(
        null=True, blank=True, help_text=_("Earliest time to send it, set with delay=.")
    )
    state = models.CharField(max_length=16, choices=State.choices, default=State.PENDING)
    reason = models.CharField(max_length=32, choices=Reason.choices, blank=True, default="")
    due_at = ReadableDateTimeField(
        null=True, blank=True, help_text=_("When the next step is due, or the lease ends; empty unless open.")
    )
    claim_token = models.UUIDField(
        null=True, blank=True, help_text=_("Token of the worker that may write; new for each claim.")
    )
    lapses = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text=_("Consecutive claims whose lease expired without an outcome.")
    )
    key_held = models.BooleanField(
        null=True, help_text=_("Set while it waits for an earlier event of its ordering key.")
    )
    attempts = models.PositiveIntegerField(
        default=0, help_text=_("Attempts to publish it, counted when it is claimed.")
    )
    checks = models.PositiveIntegerField(default=0, help_text=_("Number of status checks."))
    halts = models.PositiveIntegerField(
        default=0, help_text=_("Times it got a response that concerns the whole destination.")
    )
    suspected_since = ReadableDateTimeField(
        null=True, blank=True, help_text=_("When that first happened; cleared when an operator requeues it.")
    )
    in_doubt_since = ReadableDateTimeField(
        null=True,
        blank=True,
        help_text=_("First attempt whose outcome is unknown; kept until a definite response."),
    )
    doubt_about = models.UUIDField(
        null=True, blank=True, help_text=_("Hash of the organisation that may have accepted it.")
    )
    key_known_since = ReadableDateTimeField(
        null=True,
        blank=True,
        help_text=_("Since when the platform may know the key of an event it accepted."),
    )
    remote_id = ExactCharField(max_length=255, blank=True, default="", help_text=_("The platform's id."))
    remote_key = models.UUIDField(
        null=True, blank=True, help_text=_("Hash of destination and remote id; an id belongs to one event.")
    )
    last_status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True, default="")
    failure = models.CharField(  # noqa: DJ001 - only rows with an error take space in its index
        max_length=16,
        null=True,
        blank=True,
        help_text=_("Equal for errors that differ only in ids and numbers; see text/failures.py."),
    )
    failed_at = ReadableDateTimeField(null=True, blank=True, help_text=_("When it last failed."))
    correlation_id = models.CharField(max_length=128, blank=True, default="")
    created_at = ReadableDateTimeField()
    accepted_at = ReadableDateTimeField(null=True, blank=True)
    finished_at = ReadableDateTimeField(null=True, blank=True)
    # On PostgreSQL its index leaves out events without one; see migration 0016.
    origin = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="resends",
        help_text=_("The event it was resent from."),
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
            ("replay_event", "Can replay events"),
            ("correct_event", "Can correct and resend events"),
            ("erase_event", "Can erase events"),
            ("resolve_event", "Can resolve events of unknown outcome"),
            ("export_event", "Can export events"),
        ]
        indexes = [
            # Equality on the first two columns: a paused destination or waiting checks do not slow down a
            # claim.
            UndeliveredIndex(fields=["state", "destination", "due_at", "id"], name="eventbridge_due"),
            # ``due_at`` is empty and takes no space: a count that asks for that reads only the index.
            DeliveredIndex(fields=["destination", "due_at"], name="eventbridge_delivered"),
            # The head of a key is found among its open rows, not by walking its delivered history.
            FilledIndex(fields=["ordering_key", "state", "id"], name="eventbridge_key"),
            FilledIndex(fields=["remote_id"], name="eventbridge_remote"),
            FilledIndex(fields=["subject", "id"], name="eventbridge_subject"),
            # For search and filters; see the package selection.
            FoldedIndex(fields=["subject"], name="eventbridge_subject_folded"),
            FoldedEndIndex(fields=["subject"], name="eventbridge_subject_end"),
            FilledIndex(fields=["correlation_id"], name="eventbridge_correlation"),
            models.Index(fields=["type"], name="eventbridge_type"),
            FailedStatusIndex(fields=["last_status_code"], name="eventbridge_status_code"),
            models.Index(fields=["created_at"], name="eventbridge_created_at"),
            SparseIndex(fields=["accepted_at"], name="eventbridge_accepted_at"),
            SparseIndex(fields=["finished_at"], name="eventbridge_finished_at"),
            # Expiry reads only doubtful rows, even if a paused destination has a million due ones.
            SparseIndex(fields=["in_doubt_since"], name="eventbridge_doubt"),
            SparseIndex(fields=["failure", "id"], name="eventbridge_failure"),
            # For lists of what failed; see selection/access.py.
            TroubledIndex(
                fields=["reason", "state", "last_status_code", "failed_at", "id"], name="eventbridge_troubled"
            ),
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
        """The decoded payload; NO_DATA if the event has none or its body was blanked."""
        from genesys_eventbridge.cloudevents import NO_DATA

        if not self.body:
            return NO_DATA
        event = json.loads(self.body)
        if "data_base64" in event:
            return base64.b64decode(event["data_base64"])
        return event.get("data", NO_DATA)


class DeliveryAttempt(models.Model):
    """One request to the platform and its response. Informational: no decision depends on it."""

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
    retry_after = models.FloatField(null=True, blank=True, help_text=_("Seconds the platform asked to wait."))
    response_excerpt = models.TextField(blank=True, default="")
    may_duplicate = models.BooleanField(
        null=True,
        blank=True,
        help_text=_("Sent although an earlier attempt may have arrived, to a platform that honours no key."),
    )
    worker = models.CharField(max_length=128, blank=True, default="")

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        default_permissions = ("view",)
        indexes = [FilledIndex(fields=["correlation_id"], name="eventbridge_attempt_corr")]
        constraints = [models.UniqueConstraint(fields=["event", "number"], name="eventbridge_attempt_number")]

    def __str__(self) -> str:
        return f"{self.kind} {self.number}: {self.verdict}"


class Job(models.Model):
    """What an operator decided to do, with events or a destination, and how far it is: also the audit.

    Its events are listed in JobItem when the operator confirms. Whoever holds ``claim_token`` works on them
    in the order of their numbers, ``position`` being the last one done; the lease is renewed by each batch.
    """

    id = models.BigAutoField(primary_key=True)
    key = models.UUIDField(unique=True, help_text=_("A form submitted twice makes one job."))
    act = models.CharField(max_length=16, choices=Act.choices)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_constraint=False,  # `migrate` would have to lock the table of users
    )
    username = models.CharField(max_length=150, blank=True, default="", help_text=_("The name at that time."))
    via = models.CharField(max_length=64, help_text=_("admin, or the name of the command."))
    reason = models.CharField(max_length=500, blank=True, default="")
    about = models.CharField(max_length=500, blank=True, default="", help_text=_("What it applies to."))
    destination = ExactCharField(
        max_length=64, blank=True, default="", help_text=_("For acts on a destination.")
    )
    # Not JSONFields: their system check queries the database, which may be down.
    options = models.TextField(default="{}", help_text=_("How the act is done, as JSON."))
    state = models.CharField(max_length=16, choices=JobState.choices, default=JobState.PREPARING)
    total = models.BigIntegerField(default=0, help_text=_("Number of events it applies to."))
    done = models.BigIntegerField(default=0, help_text=_("Number of events that were acted on."))
    skipped = models.BigIntegerField(default=0, help_text=_("Number of events that were left as they are."))
    results = models.TextField(default="[]", help_text=_("Numbers of events by result and type, as JSON."))
    position = models.BigIntegerField(default=0, help_text=_("Number of the last event that was handled."))
    created_at = ReadableDateTimeField()
    finished_at = ReadableDateTimeField(null=True, blank=True)
    claim_token = models.UUIDField(null=True, blank=True)
    due_at = ReadableDateTimeField(
        null=True, blank=True, help_text=_("When a worker continues, or the lease ends.")
    )
    ended_by = models.CharField(max_length=150, blank=True, default="", help_text=_("Who cancelled it."))
    last_error = models.CharField(
        max_length=255,
        blank=True,
        db_default="",
        help_text=_("Class of the error that ended the last try; empty after a batch that was committed."),
    )

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        default_permissions = ("view",)
        indexes = [models.Index(fields=["state", "due_at"], name="eventbridge_job_due")]

    def __str__(self) -> str:
        return f"{self.act} by {self.username or self.via}"


class JobItem(models.Model):
    """One event of a job; removed some time after the job has ended."""

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="items", db_index=False)
    event_number = models.BigIntegerField(help_text=_("The id of the event, which may be pruned."))
    outcome = models.CharField(
        max_length=24, blank=True, default="", help_text=_("done, or why it was skipped; empty: not yet.")
    )
    new_number = models.BigIntegerField(null=True, blank=True, help_text=_("The event that was made of it."))

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["job", "event_number"], name="eventbridge_job_item")]

    def __str__(self) -> str:
        return f"{self.job_id}: {self.event_number}"


class EventAct(models.Model):
    """What an operator did to one event: append-only audit, which outlives the event."""

    id = models.BigAutoField(primary_key=True)
    event = models.ForeignKey(
        OutboxEvent, null=True, blank=True, on_delete=models.SET_NULL, related_name="acts"
    )
    event_number = models.BigIntegerField(
        null=True, blank=True, help_text=_("The id of the event, kept when it is pruned.")
    )
    cloudevent_id = ExactCharField(
        max_length=255, blank=True, default="", db_default="", help_text=_("CloudEvents id of the event.")
    )
    job = models.ForeignKey(
        Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="acts", db_index=False
    )
    details = models.TextField(  # noqa: DJ001 - a worker of the release before makes rows without it
        null=True, blank=True, help_text=_("What was changed, of a corrected event.")
    )
    act = models.CharField(max_length=16, choices=Act.choices)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    username = models.CharField(max_length=150, blank=True, default="", help_text=_("The name at that time."))
    via = models.CharField(max_length=64, help_text=_("admin, or the name of the command."))
    from_state = models.CharField(max_length=16, choices=State.choices)
    to_state = models.CharField(max_length=16, choices=State.choices)
    reason = models.CharField(max_length=500, blank=True, default="")
    at = ReadableDateTimeField()

    class Meta:
        verbose_name = _("act")
        verbose_name_plural = _("acts")
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["event_number"], name="eventbridge_act_number"),
            models.Index(fields=["cloudevent_id"], name="eventbridge_act_event"),
        ]
        constraints = [
            # However often a job is resumed, it acts on an event once.
            models.UniqueConstraint(fields=["job", "event"], name="eventbridge_act_once")
        ]

    def __str__(self) -> str:
        return f"{self.act} by {self.username or self.via}"


class Destination(models.Model):
    """The status of one destination, shared by all workers on all hosts."""

    alias = ExactCharField(max_length=64, unique=True)
    # Not a JSONField: its system check queries the database, which may be down.
    pauses = models.TextField(  # noqa: DJ001 - a worker of the release before makes rows without it
        null=True, blank=True, help_text=_("Pauses by kind; see the package circuit.")
    )
    paused_until = ReadableDateTimeField(
        null=True, blank=True, help_text=_("Set by a failure, cleared by a success.")
    )
    paused_kind = models.CharField(max_length=16, blank=True, default="")
    paused_reason = models.CharField(max_length=500, blank=True, default="")
    pause_seconds = models.FloatField(
        default=0.0, help_text=_("Length of the last pause in seconds; doubles each time.")
    )
    check_paused_until = ReadableDateTimeField(null=True, blank=True)
    check_paused_kind = models.CharField(max_length=16, blank=True, default="", db_default="")
    check_paused_reason = models.CharField(max_length=500, blank=True, default="")
    check_pause_seconds = models.FloatField(default=0.0)
    probe_until = ReadableDateTimeField(
        null=True, blank=True, help_text=_("Until when one worker may probe.")
    )
    probe_turn = models.PositiveIntegerField(default=0)
    probes = models.PositiveIntegerField(
        default=0,
        db_default=0,
        help_text=_("Consecutive failed probes while other events were accepted recently."),
    )
    held_by = models.CharField(max_length=150, blank=True, default="", help_text=_("Who paused it."))
    held_reason = models.CharField(max_length=500, blank=True, default="")
    held_until = ReadableDateTimeField(null=True, blank=True, help_text=_("Empty: paused until resumed."))
    bucket_tokens = models.FloatField(default=0.0)
    bucket_reserve = models.FloatField(default=0.0, help_text=_("The fifth reserved for checks."))
    bucket_at = ReadableDateTimeField(null=True, blank=True)
    misses = models.PositiveIntegerField(
        default=0, db_default=60, help_text=_("Requests since the last acceptance; 60 means 60 or more.")
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
        help_text=_("Consecutive events that checks did not find."),
    )
    suspects = models.CharField(
        max_length=1000,
        blank=True,
        default="",
        db_default="",
        help_text=_("Consecutive events that got an HTML page or a 403 after others were accepted."),
    )
    cleared_at = ReadableDateTimeField(
        null=True,
        blank=True,
        help_text=_("Last acceptance of an event that had got an HTML page or a 403 before."),
    )
    refusals = models.TextField(  # noqa: DJ001 - a worker of the release before makes rows without it
        null=True,
        blank=True,
        help_text=_("Consecutive events that the platform refused; see circuit/refusals.py."),
    )
    refused_until = ReadableDateTimeField(
        null=True, blank=True, help_text=_("When the next event of a refused type may be sent.")
    )
    accepted_at = ReadableDateTimeField(null=True, blank=True, help_text=_("Last acceptance."))
    found_at = ReadableDateTimeField(
        null=True, blank=True, help_text=_("Last check in which the platform knew the event.")
    )
    heartbeat_at = ReadableDateTimeField(null=True, blank=True)
    heartbeat_worker = models.CharField(max_length=128, blank=True, default="")
    task_at = ReadableDateTimeField(
        null=True, blank=True, help_text=_("When a django-q2 task last ran for it; a wake reaches one.")
    )
    heard_at = ReadableDateTimeField(
        null=True, blank=True, help_text=_("When a worker last listened for notifications of PostgreSQL.")
    )
    pruned_at = ReadableDateTimeField(
        null=True, blank=True, help_text=_("When a worker last started to remove old events.")
    )
    alerts_at = ReadableDateTimeField(
        null=True, blank=True, help_text=_("When a worker last looked whether an alert is due.")
    )

    class Meta:
        verbose_name = _("destination")
        verbose_name_plural = _("destinations")
        default_permissions = ("view",)
        permissions = [("pause_destination", "Can pause, resume and test destinations")]

    def __str__(self) -> str:
        return self.alias


class Rollup(models.Model):
    """A counter per five minutes. Informational: no decision depends on it, and counts may be missing.

    ``measure`` is ``delivered``, ``dead`` or ``unresolved`` (events with this new state);
    ``publish:<verdict>`` or ``check:<verdict>`` (requests); ``error:<HTTP status or kind of failure>``;
    ``within:<n>`` (events by their time to delivery, see counters.upper).
    """

    id = models.BigAutoField(primary_key=True)
    starts_at = models.DateTimeField(help_text=_("Start of the five minutes."))
    destination = ExactCharField(max_length=64)
    measure = ExactCharField(max_length=64)
    number = models.BigIntegerField()

    class Meta:
        verbose_name = _("roll-up")
        verbose_name_plural = _("roll-ups")
        default_permissions = ()
        constraints = [
            # In the order in which the dashboard and pruning read.
            models.UniqueConstraint(
                fields=["starts_at", "destination", "measure"], name="eventbridge_rollup_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.destination} {self.measure}: {self.number}"


class DeliveryTime(models.Model):
    """How many events of one type were delivered within a time, per five minutes and per hour.

    Informational, like Rollup: it says which types are slow. ``step`` is the n of ``counters.upper``.
    """

    id = models.BigAutoField(primary_key=True)
    seconds = models.PositiveSmallIntegerField(help_text=_("Length of the bucket: 300 or 3600."))
    starts_at = models.DateTimeField(help_text=_("Start of the bucket."))
    destination = ExactCharField(max_length=64)
    type = ExactCharField(max_length=255, blank=True, help_text=_("Empty: other types, beyond the first 50."))
    step = models.PositiveSmallIntegerField()
    number = models.BigIntegerField()

    class Meta:
        verbose_name = _("delivery time")
        verbose_name_plural = _("delivery times")
        default_permissions = ()
        constraints = [
            # In the order in which the dashboard and pruning read.
            models.UniqueConstraint(
                fields=["seconds", "starts_at", "destination", "type", "step"], name="eventbridge_time_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.destination} {self.type} {self.step}: {self.number}"


class Total(models.Model):
    """A counter since the installation, for metrics: never pruned, so that it never falls.

    Informational, like Rollup, and written with it in one transaction. ``measure`` is ``publish:<verdict>``
    or ``check:<verdict>`` (requests), ``within:<n>`` (events by their time to delivery, see counters.upper),
    ``milliseconds`` (the sum of these times), or ``act:<act>`` (acts on events from before there were jobs).
    """

    id = models.BigAutoField(primary_key=True)
    destination = ExactCharField(max_length=64, blank=True, help_text=_("Empty: of all destinations."))
    measure = ExactCharField(max_length=64)
    number = models.BigIntegerField()

    class Meta:
        verbose_name = _("total")
        verbose_name_plural = _("totals")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["destination", "measure"], name="eventbridge_total_once")
        ]

    def __str__(self) -> str:
        return f"{self.destination} {self.measure}: {self.number}"


class DashboardPage(OutboxEvent):
    """No table: Django's index and sidebar list models, so the dashboard is one."""

    class Meta:
        proxy = True
        verbose_name = _("dashboard")
        verbose_name_plural = _("dashboard")
        default_permissions = ()


class FailuresPage(OutboxEvent):
    """No table, as DashboardPage: the groups of failures."""

    class Meta:
        proxy = True
        verbose_name = _("failures")
        verbose_name_plural = _("failures")
        default_permissions = ()


class CataloguePage(OutboxEvent):
    """No table, as DashboardPage: the event types, for those who consume them."""

    class Meta:
        proxy = True
        verbose_name = _("event catalogue")
        verbose_name_plural = _("event catalogue")
        default_permissions = ()


class Alert(models.Model):
    """What the alerts of one kind at one destination have come to; see alerts/decide.py.

    An alert is open while ``alerted_at`` is set.
    """

    id = models.BigAutoField(primary_key=True)
    destination = ExactCharField(max_length=64)
    kind = models.CharField(max_length=16, choices=AlertKind.choices)
    version = models.PositiveIntegerField(
        default=0, help_text=_("Raised by each change; who read it may write.")
    )
    since = ReadableDateTimeField(null=True, blank=True, help_text=_("Since when the trouble is known."))
    gone_at = ReadableDateTimeField(
        null=True, blank=True, help_text=_("When the trouble of an open alert was first seen to be over.")
    )
    alerted_at = ReadableDateTimeField(null=True, blank=True)
    noticed_at = ReadableDateTimeField(
        null=True, blank=True, help_text=_("When the last notice of trouble was stored.")
    )
    number = models.BigIntegerField(default=0, help_text=_("Events concerned when it was last looked at."))
    more = models.BigIntegerField(default=0, help_text=_("Events that failed since the last notice."))
    message = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["destination", "kind"], name="eventbridge_alert_once")]

    def __str__(self) -> str:
        return f"{self.destination} {self.kind}"


class AlertNotice(models.Model):
    """One notice to one channel: stored with the change of its alert, sent later, kept for 30 days."""

    id = models.BigAutoField(primary_key=True)
    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="notices")
    notice_id = models.UUIDField(help_text=_("The same for all channels and all attempts."))
    status = models.CharField(max_length=16, choices=AlertStatus.choices)
    channel = models.CharField(max_length=16)
    content = models.TextField(help_text=_("JSON, sent as it is; see alerts/notices.py."))
    created_at = ReadableDateTimeField()
    due_at = ReadableDateTimeField(
        null=True,
        blank=True,
        help_text=_("When the next attempt is due, or the lease ends; empty once it is sent or given up."),
    )
    claim_token = models.UUIDField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    sent_at = ReadableDateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        verbose_name = _("notice")
        verbose_name_plural = _("notices")
        default_permissions = ()
        indexes = [models.Index(fields=["due_at"], name="eventbridge_notice_due")]
        constraints = [
            models.UniqueConstraint(fields=["notice_id", "channel"], name="eventbridge_notice_once"),
            models.CheckConstraint(
                condition=Q(sent_at__isnull=True) | Q(due_at__isnull=True), name="eventbridge_notice_sent"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.status} by {self.channel}"
