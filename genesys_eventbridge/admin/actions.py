"""The actions on event pages: name, permission, texts, form, and the operation each one runs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.utils.translation import gettext_lazy as _

from genesys_eventbridge import conf, operations
from genesys_eventbridge.admin.forms import ActForm, MoveForm, ResendForm, ResolveForm, SpreadForm
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.operations import Actor, Done, Resolution
from genesys_eventbridge.operations.resends import resendable
from genesys_eventbridge.outbox.orphans import Orphans
from genesys_eventbridge.reporting.explain import is_in_flight
from genesys_eventbridge.reporting.facts import settings_of
from genesys_eventbridge.states import FINISHED, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One action. ``permission`` is the middle part of ``has_<permission>_permission``."""

    name: str
    permission: str
    label: Any
    #: Shown on the confirmation page: what will happen.
    about: Any
    #: Reported afterwards, such as "12 requeued".
    past: Any
    form: type[ActForm]
    #: Whether to show a button for it on this event's page now. The operation checks again.
    fits: Callable[[OutboxEvent, dt.datetime], bool]
    #: A dry run, before the form is filled in: takes ids and the actor.
    preview: Callable[[Sequence[int], Actor], Done]
    #: Runs it: takes ids, the actor, and the form's fields. None for actions whose response is not a page.
    perform: Callable[..., Done] | None = None
    #: Acts on one event at a time.
    single: bool = False
    #: Ends the event for good; its button is styled accordingly.
    destructive: bool = False
    #: The command, with its fixed flags, to suggest if too many events are selected.
    command: str = ""


def _fits(*states: State) -> Callable[[OutboxEvent, dt.datetime], bool]:
    return lambda event, now: event.state in states and not is_in_flight(event, now)


def _always(_event: OutboxEvent, _now: dt.datetime) -> bool:
    return True


def _waits(event: OutboxEvent, now: dt.datetime) -> bool:
    return event.due_at is not None and event.due_at > now and event.claim_token is None


def _waits_for_retry(event: OutboxEvent, now: dt.datetime) -> bool:
    return event.state == State.PENDING and event.attempts > 0 and _waits(event, now)


def _can_be_asked(event: OutboxEvent, now: dt.datetime) -> bool:
    settings = settings_of(event.destination)
    if settings is None or not settings.platform.protocol.confirms:
        return False
    if event.state == State.UNRESOLVED:
        return bool(event.remote_id)
    return event.state == State.ACCEPTED and _waits(event, now)


def _can_be_cancelled(event: OutboxEvent, now: dt.datetime) -> bool:
    if event.state == State.ACCEPTED:
        return _has_no_destination(event, now)
    return _fits(State.PENDING, State.DEAD, State.UNRESOLVED)(event, now)


def _can_be_resolved(event: OutboxEvent, now: dt.datetime) -> bool:
    if event.state == State.ACCEPTED or (event.state == State.PENDING and event.in_doubt_since):
        return _has_no_destination(event, now)
    return _fits(State.UNRESOLVED)(event, now)


def _resolvable(ids: Sequence[int], actor: Actor) -> Done:
    """The events that at least one outcome applies to.

    If the destination is no longer configured, an event cannot be sent again; the other outcomes apply.
    """
    again = operations.resolve(ids, actor, Resolution.NOT_DELIVERED, "", accept_duplicates=True, dry_run=True)
    left = [pk for skipped in again.skipped.values() for pk in skipped]
    if not left:
        return again
    ended = operations.resolve(left, actor, Resolution.GIVE_UP, "", dry_run=True)
    return Done(sorted([*again.ids, *ended.ids]), ended.skipped, again.may_duplicate)


def _has_no_destination(event: OutboxEvent, now: dt.datetime) -> bool:
    unfinished = event.state not in FINISHED and not is_in_flight(event, now)
    return unfinished and event.destination in Orphans()


def _resend(ids: Sequence[int], actor: Actor, reason: str, once: str) -> Done:
    return Done(ids=[operations.resend(pk, actor, reason, once=once).pk for pk in ids])


def _resendable(ids: Sequence[int], _actor: Actor) -> Done:
    done = Done()
    for pk in ids:
        why_not = resendable(pk)
        (done.skipped.setdefault(why_not, []) if why_not else done.ids).append(pk)
    return done


def _all(ids: Sequence[int], _actor: Actor) -> Done:
    return Done(ids=list(ids))


VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            name="retry_now",
            permission="requeue",
            label=_("Retry now"),
            about=_("Events waiting for a retry are sent now. Their attempt counts are kept."),
            past=_("%(count)s due now"),
            form=SpreadForm,
            fits=_waits_for_retry,
            preview=partial(operations.retry_now, dry_run=True),
            perform=operations.retry_now,
            command="eventbridge_retry",
        ),
        Verb(
            name="requeue",
            permission="requeue",
            label=_("Requeue"),
            about=_(
                "Dead events are sent again with a fresh attempt budget and the same idempotency key, so the "
                "platform recognises those it already accepted."
            ),
            past=_("%(count)s requeued"),
            form=SpreadForm,
            fits=_fits(State.DEAD),
            preview=partial(operations.requeue, dry_run=True),
            perform=operations.requeue,
            command="eventbridge_retry --state dead",
        ),
        Verb(
            name="check_now",
            permission="requeue",
            label=_("Check status now"),
            about=_("A worker checks the status of these events within about a minute."),
            past=_("%(count)s will be checked now"),
            form=ActForm,
            fits=_can_be_asked,
            preview=partial(operations.check_now, dry_run=True),
            perform=operations.check_now,
            command="eventbridge_poll",
        ),
        Verb(
            name="resolve",
            permission="resolve",
            label=_("Resolve"),
            about=_("Decide what happened to events of unknown outcome. Look them up on the platform first."),
            past=_("%(count)s resolved"),
            form=ResolveForm,
            fits=_can_be_resolved,
            preview=_resolvable,
            perform=operations.resolve,
            command="eventbridge_retry --state unresolved",
        ),
        Verb(
            name="cancel",
            permission="cancel",
            label=_("Cancel"),
            about=_("These events are withdrawn permanently. They will not be sent and cannot be requeued."),
            past=_("%(count)s cancelled"),
            form=ActForm,
            fits=_can_be_cancelled,
            preview=partial(operations.cancel, reason="", dry_run=True),
            perform=operations.cancel,
            destructive=True,
        ),
        Verb(
            name="move",
            permission="requeue",
            label=_("Move"),
            about=_(
                "Events of a destination that is no longer configured are moved to another one. Each keeps "
                "its state."
            ),
            past=_("%(count)s moved"),
            form=MoveForm,
            fits=_has_no_destination,
            preview=lambda ids, actor: operations.move(
                ids, actor, conf.aliases()[0], "", same_organisation=True, dry_run=True
            ),
            perform=operations.move,
        ),
        Verb(
            name="resend",
            permission="resend",
            label=_("Resend as new"),
            about=_(
                "The content of this delivered event is sent again, as a new event with its own id and key. "
                "Recipients treat it as a separate event."
            ),
            past=_("%(count)s resent as new"),
            form=ResendForm,
            fits=_fits(State.DELIVERED),
            preview=_resendable,
            perform=_resend,
            single=True,
        ),
        Verb(
            name="export",
            permission="export",
            label=_("Export as JSON lines"),
            about=_("Downloads a file with one event per line. Values of names in REDACT_KEYS are masked."),
            past=_("%(count)s exported"),
            form=ActForm,
            fits=_always,
            preview=_all,
        ),
    )
}
