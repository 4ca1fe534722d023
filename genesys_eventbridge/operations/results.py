"""What an act did to each event, and the sum of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy

#: Ids that a Done keeps of each kind; it counts all.
KEPT = 1_000


class Skip(TextChoices):
    """Why an act leaves an event as it is; the label follows "skipped:"."""

    BEING_SENT = "being_sent", gettext_lazy("being sent right now")
    BEING_CHECKED = "being_checked", gettext_lazy("being checked right now")
    PENDING = "pending", gettext_lazy("already waiting to be sent")
    ACCEPTED = "accepted", gettext_lazy("already accepted by the platform")
    DELIVERED = "delivered", gettext_lazy("already delivered")
    DEAD = "dead", gettext_lazy("dead: requeue it")
    UNRESOLVED = "unresolved", gettext_lazy("unresolved: resolve it")
    CANCELLED = "cancelled", gettext_lazy("already cancelled")
    ALREADY_DUE = "already_due", gettext_lazy("already due")
    NEVER_TRIED = "never_tried", gettext_lazy("never tried: it is scheduled for later")
    HELD = "held", gettext_lazy("held behind an earlier event of its ordering key")
    NO_ID = "no_id", gettext_lazy("the platform returned no id to check")
    NO_STATUS = "no_status", gettext_lazy("the protocol of its destination has no delivery status")
    MAY_DUPLICATE = "may_duplicate", gettext_lazy("may duplicate: it may have been delivered already")
    NOT_CONFIGURED = (
        "not_configured",
        gettext_lazy("its destination is no longer in GENESYS_EVENTBRIDGE: move it, or cancel it"),
    )
    IN_USE = "in_use", gettext_lazy("its destination is in use")
    SERVED = "served", gettext_lazy("a worker served its destination within the last 3 minutes")
    ELSEWHERE = "elsewhere", gettext_lazy("it may have reached the organisation of its destination")
    NOT_DELIVERED = "not_delivered", gettext_lazy("only a delivered event can be resent as new")
    NOT_DEAD = "not_dead", gettext_lazy("only a dead event can be corrected")
    BINARY = "binary", gettext_lazy("its data is binary; only JSON data can be corrected")
    UNCHANGED = "unchanged", gettext_lazy("nothing was changed: requeue it instead")
    BLANKED = ("blanked", gettext_lazy("its body was blanked: there is nothing to send"))
    INVALID = (
        "invalid",
        gettext_lazy("it cannot be enqueued again: its schema, its size or the settings do not allow it"),
    )
    ALREADY_SENT = "already_sent", gettext_lazy("an attempt was made to send it")
    UNFINISHED = "unfinished", gettext_lazy("not finished: it has to be cancelled first")
    CHANGED = "changed", gettext_lazy("it changed just now")
    NO_SUCH_EVENT = "no_such_event", gettext_lazy("no such event")


@dataclass(frozen=True, slots=True)
class Result:
    """What an act did to one event; ``skip`` is None if it did something."""

    id: int
    skip: Skip | None = None
    destination: str = ""
    type: str = ""
    #: It got a new key, so that the platform could accept it twice.
    may_duplicate: bool = False
    #: The event that was made of it.
    new_id: int | None = None
    #: The act waits for this event and will look at it again.
    waits: bool = False


@dataclass(slots=True)
class Some:
    """A number of events, and the ids of the first of them."""

    count: int = 0
    ids: list[int] = field(default_factory=list)

    def add(self, ids: Sequence[int]) -> None:
        self.count += len(ids)
        self.ids += ids[: max(0, KEPT - len(self.ids))]


@dataclass(slots=True)
class Done:
    """The sum of an act: the events it ``changed``, and those it ``skipped``, by the reason.

    ``may_duplicate`` are those of the changed ones that got a new key: the platform could accept them twice.
    ``waits`` are those that the act will look at again.
    """

    changed: Some = field(default_factory=Some)
    skipped: dict[Skip, Some] = field(default_factory=dict)
    may_duplicate: Some = field(default_factory=Some)
    waits: Some = field(default_factory=Some)

    @property
    def count(self) -> int:
        return self.changed.count

    @property
    def ids(self) -> list[int]:
        """The ids of the first KEPT of those it changed."""
        return self.changed.ids

    @property
    def left(self) -> int:
        """The number of events it skipped."""
        return sum(some.count for some in self.skipped.values())

    def add(self, results: Iterable[Result]) -> None:
        for result in results:
            if result.waits:
                self.waits.add([result.id])
                continue
            if result.skip is not None:
                self.skipped.setdefault(result.skip, Some()).add([result.id])
                continue
            self.changed.add([result.id])
            if result.may_duplicate:
                self.may_duplicate.add([result.id])

    def merge(self, other: Done) -> None:
        """Add the sum of another act."""
        for name in ("changed", "may_duplicate", "waits"):
            _join(getattr(self, name), getattr(other, name))
        for skip, some in other.skipped.items():
            _join(self.skipped.setdefault(skip, Some()), some)


def _join(mine: Some, theirs: Some) -> None:
    mine.ids += theirs.ids[: max(0, KEPT - len(mine.ids))]
    mine.count += theirs.count
