"""What people do to events: requeue, retry, check, cancel, resolve, move; guarded, audited, safe twice.

Every verb takes ids (``OutboxEvent.id``), acts on those whose state allows it at this moment and says of
the others why not. ``dry_run=True`` only says what would happen. Admin and commands call the same verbs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum

from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from genesys_eventbridge import conf
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.operations.audit import Actor, needed, one_line
from genesys_eventbridge.operations.bulk import Action, Done, Operation, Row, perform
from genesys_eventbridge.operations.pauses import pause, resume
from genesys_eventbridge.operations.resends import CannotResend, resend
from genesys_eventbridge.outbox import destinations
from genesys_eventbridge.outbox.orphans import Orphans
from genesys_eventbridge.states import FINISHED, OPEN, Act, Reason, State

__all__ = [
    "Actor",
    "CannotResend",
    "Done",
    "Resolution",
    "cancel",
    "check_now",
    "move",
    "pause",
    "requeue",
    "resend",
    "resolve",
    "resume",
    "retry_now",
]


class Resolution(StrEnum):
    """What a person found out about an event of unknown outcome."""

    DELIVERED = "delivered"
    NOT_DELIVERED = "not_delivered"
    GIVE_UP = "give_up"


def requeue(
    ids: Iterable[int], actor: Actor, *, reason: str = "", spread: float = 0.0, dry_run: bool = False
) -> Done:
    """Dead events are published again with a fresh budget and the same key, spread over so many seconds.

    After ``delivery_failed`` the platform would only repeat its answer to that key: they get a new one.
    """
    again, new_key, orphans = _same_key(), _new_key(), Orphans()

    def choose(row: Row) -> Action | str:
        if row.state is not State.DEAD:
            return _why_not(row)
        if row.destination in orphans:
            return _not_configured(row)
        return new_key if row.reason == Reason.DELIVERY_FAILED else again

    return perform(
        Operation(actor, Act.REQUEUE, one_line(reason), choose), ids, spread=spread, dry_run=dry_run
    )


def retry_now(
    ids: Iterable[int], actor: Actor, *, reason: str = "", spread: float = 0.0, dry_run: bool = False
) -> Done:
    """Events that wait for their next try are due now; attempts made stay counted."""
    due, orphans = Action(State.PENDING), Orphans()

    def choose(row: Row) -> Action | str:
        if row.state is not State.PENDING or row.in_flight:
            return _why_not(row)
        if row.destination in orphans:
            return _not_configured(row)
        if row.due_at is not None and row.due_at <= row.now:
            return _("due already")
        return due if row.attempts else _("never tried: it waits for its time")

    return perform(Operation(actor, Act.RETRY, one_line(reason), choose), ids, spread=spread, dry_run=dry_run)


def check_now(ids: Iterable[int], actor: Actor, *, reason: str = "", dry_run: bool = False) -> Done:
    """The next pass asks the platform about these: accepted ones, and unresolved ones that have its id."""
    ask = Action(State.ACCEPTED, changes={"accepted_at": Coalesce("accepted_at", DatabaseNow())})
    orphans = Orphans()

    def choose(row: Row) -> Action | str:
        if row.destination in orphans:
            return _not_configured(row)
        if row.state is State.UNRESOLVED:
            return ask if row.remote_id else _("the platform gave no id to ask by")
        if row.state is not State.ACCEPTED or row.in_flight:
            return _why_not(row)
        return _("due already") if row.due_at is not None and row.due_at <= row.now else ask

    return perform(Operation(actor, Act.CHECK, one_line(reason), choose), ids, dry_run=dry_run)


def cancel(ids: Iterable[int], actor: Actor, reason: str, *, dry_run: bool = False) -> Done:
    """Withdraw events for good; an accepted one only if its destination is not configured any more.

    Raises ValueError without a reason.
    """
    withdrawn = Action(State.CANCELLED, reason=Reason.OPERATOR)
    states = (State.PENDING, State.DEAD, State.UNRESOLVED)
    orphans = Orphans()

    def choose(row: Row) -> Action | str:
        withdrawable = row.state in states or (row.state is State.ACCEPTED and row.destination in orphans)
        if withdrawable and not row.in_flight:
            return withdrawn
        left = row.state is State.ACCEPTED and row.destination not in conf.aliases()
        return _in_use(row) if left and not row.in_flight else _why_not(row)

    return perform(Operation(actor, Act.CANCEL, _kept(reason, dry_run), choose), ids, dry_run=dry_run)


def resolve(
    ids: Iterable[int],
    actor: Actor,
    outcome: Resolution,
    reason: str,
    *,
    accept_duplicates: bool = False,
    spread: float = 0.0,
    dry_run: bool = False,
) -> Done:
    """A person decides about unresolved events. Raises ValueError without a reason.

    Where the destination is not configured any more, no worker finds out more about its accepted and its
    doubtful events: they can be decided about, too, but not be sent again before they are moved.

    NOT_DELIVERED publishes again: with the same key while the platform surely remembers it, and
    otherwise with a new one, which it could take twice: only with ``accept_duplicates``.
    """
    delivered = Action(State.DELIVERED)
    # The doubt stays: requeued later, the event must still not be sent blindly past its window.
    given_up = Action(State.DEAD, reason=Reason.OPERATOR, changes={"in_doubt_since": _doubt()})
    again, new_key, orphans = _same_key(), _new_key(), Orphans()

    def choose(row: Row) -> Action | str:
        orphan = row.destination in orphans
        open_for_ever = orphan and row.state in OPEN and _may_be_known(row) and not row.in_flight
        if row.state is not State.UNRESOLVED and not open_for_ever:
            return _why_not(row)
        match outcome:
            case Resolution.DELIVERED:
                return delivered
            case Resolution.GIVE_UP:
                return given_up
        if orphan:
            return _not_configured(row)
        if _key_is_known(row):
            return again
        return new_key if accept_duplicates else _("may duplicate: it may have been delivered already")

    return perform(
        Operation(actor, Act.RESOLVE, _kept(reason, dry_run), choose), ids, spread=spread, dry_run=dry_run
    )


def move(
    ids: Iterable[int],
    actor: Actor,
    to: str,
    reason: str,
    *,
    same_organisation: bool = False,
    accept_duplicates: bool = False,
    dry_run: bool = False,
) -> Done:
    """Events of a destination that is not configured any more go to another one, in the state they are in.

    What the old organisation may have taken goes only with ``same_organisation``, which says that ``to`` is
    the same one under another name: its key and its id are known there. With ``accept_duplicates`` it is
    sent again under a new key.

    Raises ValueError without a reason, ImproperlyConfigured for an unknown ``to``.
    """
    conf.destination(to)
    orphans, changes = Orphans(), {"destination": to, "remote_key": None, "doubt_about": None}
    new_key = replace(_new_key(), changes={**_new_key().changes, **changes})
    moves = {
        (state, why): Action(state, why, changes, keeps_due=True)
        for state in State
        for why in ("", *Reason.values)
    }

    def choose(row: Row) -> Action | str:
        if row.destination not in orphans:
            return _in_use(row)
        if row.state in FINISHED or row.in_flight:
            return _why_not(row)
        if same_organisation or not _may_be_known(row):
            return moves[row.state, row.reason]
        if accept_duplicates:
            return new_key
        return _("it may have reached the organisation of %(alias)s") % {"alias": row.destination}

    return perform(Operation(actor, Act.MOVE, _kept(reason, dry_run), choose), ids, dry_run=dry_run)


def _same_key() -> Action:
    """Publish again under the key it has, so that the platform recognises what it took already."""
    return Action(State.PENDING, changes={"in_doubt_since": _doubt(), **_FORGOTTEN}, fresh=True)


def _new_key() -> Action:
    """Publish under a new key: to the platform it is another event."""
    changes = {
        "key_epoch": F("key_epoch") + 1,
        "in_doubt_since": None,
        "key_known_since": None,
        "doubt_about": None,
        **_FORGOTTEN,
    }
    return Action(State.PENDING, changes=changes, fresh=True, may_duplicate=True)


# A fresh budget; and the checks to come are about the acceptance to come.
_FORGOTTEN = {
    "attempts": 0,
    "checks": 0,
    "halts": 0,
    "suspected_since": None,
    "remote_id": "",
    "accepted_at": None,
}


def _doubt() -> Coalesce:
    """Since when the platform may know the key: also an accepted event must not be sent past its window."""
    return Coalesce("key_known_since", "in_doubt_since", "accepted_at")


def _key_is_known(row: Row) -> bool:
    """Whether the platform surely remembers the key long enough for another try, and for this event."""
    since = row.key_known_since or row.in_doubt_since or row.accepted_at
    if since is None or row.reason == Reason.CONFLICT or row.destination not in conf.aliases():
        return False
    settings = conf.destination(row.destination)
    if destinations.is_elsewhere(row.doubt_about, destinations.organisation(settings)):
        return False
    left = settings.doubt_seconds - (row.now - since).total_seconds()
    return left > settings.lease_seconds


def _may_be_known(row: Row) -> bool:
    """Whether the platform may have taken it."""
    times = (row.in_doubt_since, row.accepted_at, row.key_known_since)
    return row.remote_id != "" or any(time is not None for time in times)


def _not_configured(row: Row) -> str:
    return _("%(alias)s is not in GENESYS_EVENTBRIDGE any more: move it, or cancel it") % {
        "alias": row.destination
    }


def _in_use(row: Row) -> str:
    if row.destination not in conf.aliases():
        return _("a worker served %(alias)s within the last 3 minutes") % {"alias": row.destination}
    return _("%(alias)s is in use") % {"alias": row.destination}


def _kept(reason: str, dry_run: bool) -> str:
    return one_line(reason) if dry_run else needed(reason)


def _why_not(row: Row) -> str:
    """Why an act leaves this event alone, in words that follow "skipped"."""
    if row.in_flight:
        return _("being sent right now") if row.state is State.PENDING else _("being checked right now")
    match row.state:
        case State.PENDING:
            return _("already waiting to be sent")
        case State.ACCEPTED:
            return _("already accepted by the platform")
        case State.DELIVERED:
            return _("already delivered")
        case State.DEAD:
            return _("dead: requeue it")
        case State.UNRESOLVED:
            return _("unresolved: resolve it")
    return _("already cancelled")
