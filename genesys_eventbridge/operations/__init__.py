"""Operator actions on events: requeue, retry, check, cancel, resolve, move. Guarded, audited, repeatable.

Each one takes ids (``OutboxEvent.id``), acts on those whose state allows it now, and returns a ``Done``,
which has the reasons for the others. ``dry_run=True`` changes nothing. Admin and commands call the same
functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from typing import assert_never

from django.db.models import F
from django.db.models.functions import Coalesce

from genesys_eventbridge import conf
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.operations.audit import Actor, needed, one_line
from genesys_eventbridge.operations.bulk import Action, Done, Operation, Row, Skip, perform
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
    "Skip",
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
    """What an operator found out about an event of unknown outcome."""

    DELIVERED = "delivered"
    NOT_DELIVERED = "not_delivered"
    GIVE_UP = "give_up"


def requeue(
    ids: Iterable[int], actor: Actor, *, reason: str = "", spread: float = 0.0, dry_run: bool = False
) -> Done:
    """Publish dead events again with a fresh attempt budget and the same key, over ``spread`` seconds.

    After ``delivery_failed`` they get a new key: for the old one the platform would only repeat its answer.
    """
    again, new_key, orphans = _same_key(), _new_key(), Orphans()

    def choose(row: Row) -> Action | Skip:
        if row.state is not State.DEAD:
            return _why_not(row)
        if row.destination in orphans:
            return Skip.NOT_CONFIGURED
        return new_key if row.reason == Reason.DELIVERY_FAILED else again

    return perform(
        Operation(actor, Act.REQUEUE, one_line(reason), choose), ids, spread=spread, dry_run=dry_run
    )


def retry_now(
    ids: Iterable[int], actor: Actor, *, reason: str = "", spread: float = 0.0, dry_run: bool = False
) -> Done:
    """Make events that wait for a retry due now; attempts stay counted."""
    due, orphans = Action(State.PENDING), Orphans()

    def choose(row: Row) -> Action | Skip:
        if row.state is not State.PENDING or row.in_flight:
            return _why_not(row)
        if row.destination in orphans:
            return Skip.NOT_CONFIGURED
        if row.due_at is not None and row.due_at <= row.now:
            return Skip.ALREADY_DUE
        return due if row.attempts else Skip.NEVER_TRIED

    return perform(Operation(actor, Act.RETRY, one_line(reason), choose), ids, spread=spread, dry_run=dry_run)


def check_now(ids: Iterable[int], actor: Actor, *, reason: str = "", dry_run: bool = False) -> Done:
    """Let the next pass check these: accepted events, and unresolved ones that have the platform's id."""
    ask = Action(State.ACCEPTED, changes={"accepted_at": Coalesce("accepted_at", DatabaseNow())})
    orphans = Orphans()

    def choose(row: Row) -> Action | Skip:
        if row.destination in orphans:
            return Skip.NOT_CONFIGURED
        if not conf.destination(row.destination).platform.protocol.confirms:
            return Skip.NO_STATUS
        if row.state is State.UNRESOLVED:
            return ask if row.remote_id else Skip.NO_ID
        if row.state is not State.ACCEPTED or row.in_flight:
            return _why_not(row)
        return Skip.ALREADY_DUE if row.due_at is not None and row.due_at <= row.now else ask

    return perform(Operation(actor, Act.CHECK, one_line(reason), choose), ids, dry_run=dry_run)


def cancel(ids: Iterable[int], actor: Actor, reason: str, *, dry_run: bool = False) -> Done:
    """Withdraw events for good; an accepted one only if its destination is no longer configured.

    Raises ValueError without a reason.
    """
    withdrawn = Action(State.CANCELLED, reason=Reason.OPERATOR)
    states = (State.PENDING, State.DEAD, State.UNRESOLVED)
    orphans = Orphans()

    def choose(row: Row) -> Action | Skip:
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
    """Record an operator's decision about unresolved events. Raises ValueError without a reason.

    If the destination is no longer configured, no worker finds out more about its accepted and doubtful
    events: they can be resolved, too, but not sent again before they are moved.

    NOT_DELIVERED publishes again: with the same key while the platform surely remembers it, otherwise with a
    new one, which the platform could accept twice, so only with ``accept_duplicates``.
    """
    delivered = Action(State.DELIVERED)
    # The doubt is kept: if it is requeued later, the event must still not be sent blindly past its window.
    given_up = Action(State.DEAD, reason=Reason.OPERATOR, changes={"in_doubt_since": _doubt()})
    again, new_key, orphans = _same_key(), _new_key(), Orphans()

    def choose(row: Row) -> Action | Skip:
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
            return Skip.NOT_CONFIGURED
        if _key_is_known(row):
            return again
        return new_key if accept_duplicates else Skip.MAY_DUPLICATE

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
    """Move events of a destination that is no longer configured to another one; they keep their state.

    What the old organisation may have accepted moves only with ``same_organisation``, which states that
    ``to`` is the same organisation under another name: it knows the keys and ids. With
    ``accept_duplicates`` it is sent again under a new key.

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

    def choose(row: Row) -> Action | Skip:
        if row.destination not in orphans:
            return _in_use(row)
        if row.state in FINISHED or row.in_flight:
            return _why_not(row)
        if same_organisation or not _may_be_known(row):
            return moves[row.state, row.reason]
        return new_key if accept_duplicates else Skip.ELSEWHERE

    return perform(Operation(actor, Act.MOVE, _kept(reason, dry_run), choose), ids, dry_run=dry_run)


def _same_key() -> Action:
    """Publish again under the same key, so that the platform recognises what it already accepted."""
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


# A fresh attempt budget; checks are counted from the next acceptance.
_FORGOTTEN = {
    "attempts": 0,
    "checks": 0,
    "halts": 0,
    "suspected_since": None,
    "remote_id": "",
    "accepted_at": None,
}


def _doubt() -> Coalesce:
    """Since when the platform may know the key: not even an accepted event may be sent past its window."""
    return Coalesce("key_known_since", "in_doubt_since", "accepted_at")


def _key_is_known(row: Row) -> bool:
    """Whether the platform surely remembers the key, for this event, long enough for another attempt."""
    since = row.key_known_since or row.in_doubt_since or row.accepted_at
    if since is None or row.reason == Reason.CONFLICT or row.destination not in conf.aliases():
        return False
    settings = conf.destination(row.destination)
    if destinations.is_elsewhere(row.doubt_about, destinations.organisation(settings)):
        return False
    left = settings.key_seconds - (row.now - since).total_seconds()
    return left > settings.lease_seconds


def _may_be_known(row: Row) -> bool:
    """Whether the platform may have accepted it."""
    times = (row.in_doubt_since, row.accepted_at, row.key_known_since)
    return row.remote_id != "" or any(time is not None for time in times)


def _in_use(row: Row) -> Skip:
    return Skip.IN_USE if row.destination in conf.aliases() else Skip.SERVED


def _kept(reason: str, dry_run: bool) -> str:
    return one_line(reason) if dry_run else needed(reason)


def _why_not(row: Row) -> Skip:
    """Why an action skips this event: by its state."""
    if row.in_flight:
        return Skip.BEING_SENT if row.state is State.PENDING else Skip.BEING_CHECKED
    match row.state:
        case State.PENDING:
            return Skip.PENDING
        case State.ACCEPTED:
            return Skip.ACCEPTED
        case State.DELIVERED:
            return Skip.DELIVERED
        case State.DEAD:
            return Skip.DEAD
        case State.UNRESOLVED:
            return Skip.UNRESOLVED
        case State.CANCELLED:
            return Skip.CANCELLED
        case _ as never:
            assert_never(never)
