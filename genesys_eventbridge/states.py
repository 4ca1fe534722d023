"""The states of an event, why it ended, operator actions and kinds of alerts, as Django choices."""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class State(TextChoices):
    """The state of an event. *State* is our word, *status* the platform's."""

    #: To be published when due, for the first time or again.
    PENDING = "pending", _("pending")
    #: The platform accepted it; we check its status until it is delivered.
    ACCEPTED = "accepted", _("accepted")
    #: The platform confirmed it, or accepted it with CONFIRM off. Final.
    DELIVERED = "delivered", _("delivered")
    #: Definitely not delivered. Needs an operator.
    DEAD = "dead", _("dead")
    #: Possibly delivered. Needs an operator.
    UNRESOLVED = "unresolved", _("unresolved")
    #: Withdrawn by an operator. Final.
    CANCELLED = "cancelled", _("cancelled")


class Reason(TextChoices):
    """Why a row is dead, unresolved or cancelled."""

    #: dead: the platform refused this event permanently.
    REJECTED = "rejected", _("rejected")
    #: dead: MAX_ATTEMPTS used up, and no attempt had an unknown outcome.
    EXHAUSTED = "exhausted", _("exhausted")
    #: dead: older than MAX_AGE when an attempt failed.
    EXPIRED = "expired", _("expired")
    #: dead: accepted, but the platform failed to deliver it.
    DELIVERY_FAILED = "delivery_failed", _("delivery failed")
    #: unresolved: the idempotency key belongs to another event.
    CONFLICT = "conflict", _("conflict")
    #: unresolved: the outcome of an attempt was still unknown when the idempotency window or the attempts
    #: ran out, or a later attempt was refused.
    OUTCOME_UNKNOWN = "outcome_unknown", _("outcome unknown")
    #: unresolved: accepted, never confirmed.
    UNCONFIRMED = "unconfirmed", _("unconfirmed")
    #: unresolved: accepted without an id, so its status cannot be checked.
    UNTRACKED = "untracked", _("untracked")
    #: cancelled, or given up, by an operator.
    OPERATOR = "operator", _("operator")


class Act(TextChoices):
    """An operator action on events or on a destination."""

    REQUEUE = "requeue", _("requeued")
    RETRY = "retry", _("retried now")
    CANCEL = "cancel", _("cancelled")
    RESOLVE = "resolve", _("resolved")
    RESEND = "resend", _("resent as new")
    CHECK = "check", _("status check asked for")
    MOVE = "move", _("moved to another destination")
    REPLAY = "replay", _("replayed")
    CORRECT = "correct", _("corrected and sent as new")
    ERASE = "erase", _("erased")
    EXPORT = "export", _("exported")
    PAUSE = "pause", _("paused")
    RESUME = "resume", _("resumed")


class JobState(TextChoices):
    """The state of a job: an act on any number of events."""

    #: Its events are being listed. One whose process died here does nothing.
    PREPARING = "preparing", _("being prepared")
    #: Waits for a worker, or a worker is at it.
    QUEUED = "queued", _("in progress")
    FINISHED = "finished", _("finished")
    #: An operator stopped it; what it had done until then stays.
    CANCELLED = "cancelled", _("cancelled")


class AttemptKind(TextChoices):
    """The kind of request an attempt made."""

    PUBLISH = "publish", _("publish")
    CHECK = "check", _("check")


class AlertKind(TextChoices):
    """What an alert is about. At one destination at most one alert of each kind is open."""

    #: Events became dead.
    DEAD = "dead", _("dead events")
    #: Events became unresolved.
    UNRESOLVED = "unresolved", _("unresolved events")
    #: Nothing has been sent, or no status checked, for longer than ``paused_for``.
    PAUSED = "paused", _("paused for long")
    #: The platform refuses one event after another.
    REFUSALS = "refusals", _("refused events")
    #: No worker reports.
    WORKER = "worker", _("no worker")
    #: The oldest undelivered event is older than ``backlog_age``.
    AGE = "age", _("delayed events")


class AlertStatus(TextChoices):
    """What a notice of an alert says."""

    #: The trouble began.
    OPENED = "opened", _("alert")
    #: After the window, more events failed than the alert said.
    MORE = "more", _("more")
    #: The trouble is over.
    RECOVERED = "recovered", _("recovered")
    #: Sent by ``eventbridge_alert --test``; nothing is wrong.
    TEST = "test", _("test")


OPEN = (State.PENDING, State.ACCEPTED)
FINISHED = (State.DELIVERED, State.CANCELLED)
NEEDS_OPERATOR = (State.DEAD, State.UNRESOLVED)
