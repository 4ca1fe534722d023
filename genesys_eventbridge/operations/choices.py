"""What each act does with one event in its present state: pure decisions about rows."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import assert_never

from django.db.models import F
from django.db.models.functions import Coalesce

from genesys_eventbridge import conf
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import may_be_known, was_tried
from genesys_eventbridge.operations.bulk import Action, Choose, Row
from genesys_eventbridge.operations.results import Skip
from genesys_eventbridge.outbox import destinations
from genesys_eventbridge.outbox.orphans import Orphans
from genesys_eventbridge.states import FINISHED, OPEN, Reason, State


class Resolution(StrEnum):
    """What an operator found out about an event of unknown outcome."""

    DELIVERED = "delivered"
    NOT_DELIVERED = "not_delivered"
    GIVE_UP = "give_up"


def requeue() -> Choose:
    """Dead events are published again; after ``delivery_failed`` under a new key."""
    again, new_key, orphans = _same_key(), _new_key(), Orphans()

    def choose(row: Row) -> Action | Skip:
        if row.state is not State.DEAD:
            return _why_not(row)
        if row.destination in orphans:
            return Skip.NOT_CONFIGURED
        return new_key if row.reason == Reason.DELIVERY_FAILED else again

    return choose


def retry_now() -> Choose:
    """Events that wait for a retry become due."""
    due, orphans = Action(State.PENDING), Orphans()

    def choose(row: Row) -> Action | Skip:
        if row.state is not State.PENDING or row.in_flight:
            return _why_not(row)
        if row.destination in orphans:
            return Skip.NOT_CONFIGURED
        if row.due_at is not None and row.due_at <= row.now:
            return Skip.ALREADY_DUE
        if row.key_held:
            return Skip.HELD
        return due if was_tried(row.attempts, row.halts, row.last_error) else Skip.NEVER_TRIED

    return choose


def check_now() -> Choose:
    """Accepted events, and unresolved ones with the platform's id, become due for a check."""
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

    return choose


def cancel(*, never_sent: bool = False) -> Choose:
    """Events are withdrawn; an accepted one only if its destination is no longer configured.

    With ``never_sent``, only pending events without any attempt.
    """
    withdrawn = Action(State.CANCELLED, reason=Reason.OPERATOR)
    states = (State.PENDING, State.DEAD, State.UNRESOLVED)
    orphans = Orphans()

    def choose(row: Row) -> Action | Skip:
        if never_sent and (row.state is not State.PENDING or row.attempts or _may_be_known(row)):
            return Skip.ALREADY_SENT if row.state is State.PENDING else _why_not(row)
        withdrawable = row.state in states or (row.state is State.ACCEPTED and row.destination in orphans)
        if withdrawable and not row.in_flight:
            return withdrawn
        left = row.state is State.ACCEPTED and row.destination not in conf.aliases()
        return _in_use(row) if left and not row.in_flight else _why_not(row)

    return choose


def resolve(outcome: str, *, accept_duplicates: bool = False) -> Choose:
    """Unresolved events, and doubtful ones that no worker serves, get the ``Resolution`` ``outcome``."""
    resolution = Resolution(outcome)
    delivered = Action(State.DELIVERED)
    # The doubt is kept: if it is requeued later, the event must still not be sent blindly past its window.
    given_up = Action(State.DEAD, reason=Reason.OPERATOR, changes={"in_doubt_since": _doubt()})
    again, new_key, orphans = _same_key(), _new_key(), Orphans()

    def choose(row: Row) -> Action | Skip:
        orphan = row.destination in orphans
        open_for_ever = orphan and row.state in OPEN and _may_be_known(row) and not row.in_flight
        if row.state is not State.UNRESOLVED and not open_for_ever:
            return _why_not(row)
        match resolution:
            case Resolution.DELIVERED:
                return delivered
            case Resolution.GIVE_UP:
                return given_up
            case Resolution.NOT_DELIVERED:
                if orphan:
                    return Skip.NOT_CONFIGURED
                if _key_is_known(row):
                    return again
                return new_key if accept_duplicates else Skip.MAY_DUPLICATE
            case _ as never:
                assert_never(never)

    return choose


def resolvable() -> Choose:
    """Events that at least one resolution applies to, before the operator has chosen one.

    If the destination is no longer configured, an event cannot be sent again; the others apply.
    """
    again = resolve(Resolution.NOT_DELIVERED, accept_duplicates=True)
    ended = resolve(Resolution.GIVE_UP)

    def choose(row: Row) -> Action | Skip:
        chosen = again(row)
        return ended(row) if isinstance(chosen, Skip) else chosen

    return choose


def move(to: str, *, same_organisation: bool = False, accept_duplicates: bool = False) -> Choose:
    """Events of a destination that is no longer configured go to ``to``."""
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

    return choose


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
    return may_be_known(row.remote_id, row.in_doubt_since, row.accepted_at, row.key_known_since)


def _in_use(row: Row) -> Skip:
    return Skip.IN_USE if row.destination in conf.aliases() else Skip.SERVED


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
