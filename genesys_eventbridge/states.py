"""The states of an event, the reasons for an end, and what people do: Django's own choices."""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class State(TextChoices):
    """Where an event stands. *State* is ours, *status* is the platform's word."""

    #: To be published when due, for the first time or again.
    PENDING = "pending", _("pending")
    #: The platform took it; we ask until it says delivered.
    ACCEPTED = "accepted", _("accepted")
    #: The platform confirmed, or accepted where CONFIRM is off. An end.
    DELIVERED = "delivered", _("delivered")
    #: Certainly not delivered. A person decides.
    DEAD = "dead", _("dead")
    #: Perhaps delivered. A person decides.
    UNRESOLVED = "unresolved", _("unresolved")
    #: Withdrawn by a person. An end.
    CANCELLED = "cancelled", _("cancelled")


class Reason(TextChoices):
    """Why a row is dead, unresolved or cancelled."""

    #: dead: the platform refused this event for good.
    REJECTED = "rejected", _("rejected")
    #: dead: MAX_ATTEMPTS used up, never in doubt.
    EXHAUSTED = "exhausted", _("exhausted")
    #: dead: older than MAX_AGE at a counted failure.
    EXPIRED = "expired", _("expired")
    #: dead: accepted, and then the platform said it failed to deliver.
    DELIVERY_FAILED = "delivery_failed", _("delivery failed")
    #: unresolved: the idempotency key answers for another event.
    CONFLICT = "conflict", _("conflict")
    #: unresolved: in doubt when the window, the attempts or the platform's patience ended.
    OUTCOME_UNKNOWN = "outcome_unknown", _("outcome unknown")
    #: unresolved: accepted, never confirmed.
    UNCONFIRMED = "unconfirmed", _("unconfirmed")
    #: unresolved: accepted without an id to ask by.
    UNTRACKED = "untracked", _("untracked")
    #: cancelled, or given up, by a person.
    OPERATOR = "operator", _("operator")


class Act(TextChoices):
    """What a person did to an event."""

    REQUEUE = "requeue", _("requeued")
    RETRY = "retry", _("retried now")
    CANCEL = "cancel", _("cancelled")
    RESOLVE = "resolve", _("resolved")
    RESEND = "resend", _("resent as new")
    CHECK = "check", _("status check asked for")
    MOVE = "move", _("moved to another destination")


class AttemptKind(TextChoices):
    """What an attempt asked the platform."""

    PUBLISH = "publish", _("publish")
    CHECK = "check", _("check")


OPEN = (State.PENDING, State.ACCEPTED)
FINISHED = (State.DELIVERED, State.CANCELLED)
NEEDS_OPERATOR = (State.DEAD, State.UNRESOLVED)
