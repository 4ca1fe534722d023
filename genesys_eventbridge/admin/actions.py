"""The actions on event pages: name, permission, texts, form, and the operation each one runs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

from genesys_eventbridge import conf
from genesys_eventbridge.admin.forms import (
    ActForm,
    ExportForm,
    MoveForm,
    ReplayForm,
    RequeueForm,
    ResolveForm,
    SpreadForm,
)
from genesys_eventbridge.models import OutboxEvent, OutboxQuerySet
from genesys_eventbridge.operations import choices, corrections, jobs
from genesys_eventbridge.operations.bulk import Choose, foresee
from genesys_eventbridge.operations.results import Result
from genesys_eventbridge.outbox.orphans import Orphans
from genesys_eventbridge.reporting.explain import is_in_flight
from genesys_eventbridge.reporting.facts import settings_of
from genesys_eventbridge.states import FINISHED, Act, State


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
    act: Act
    #: What it would do with these events, before the form is filled in.
    foresee: Callable[[OutboxQuerySet], list[Result]]
    #: Acts on one event at a time.
    single: bool = False
    #: Ends the event for good; its button is styled accordingly.
    destructive: bool = False
    #: Makes new events of accepted ones, so that consumers get them twice.
    copies: bool = False


def _fits(*states: State) -> Callable[[OutboxEvent, dt.datetime], bool]:
    return lambda event, now: event.state in states and not is_in_flight(event, now)


def _never(_event: OutboxEvent, _now: dt.datetime) -> bool:
    return False


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


def _has_no_destination(event: OutboxEvent, now: dt.datetime) -> bool:
    unfinished = event.state not in FINISHED and not is_in_flight(event, now)
    return unfinished and event.destination in Orphans()


def _move_anywhere(rows: OutboxQuerySet) -> list[Result]:
    anywhere = choices.move(conf.aliases()[0], same_organisation=True)
    return foresee(anywhere, rows)


def _all(rows: OutboxQuerySet) -> list[Result]:
    return [Result(pk) for pk in rows.values_list("pk", flat=True)]


def _of(choose: Callable[[], Choose]) -> Callable[[OutboxQuerySet], list[Result]]:
    return lambda rows: foresee(choose(), rows)


def _foreseen(act: Act) -> Callable[[OutboxQuerySet], list[Result]]:
    return jobs.KINDS[act]({}).foresee


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
            act=Act.RETRY,
            foresee=_of(choices.retry_now),
        ),
        Verb(
            name="requeue",
            permission="requeue",
            label=_("Requeue"),
            about=_(
                "Dead events are sent again with a fresh attempt budget. Those that the platform accepted "
                "but failed to deliver are other events to it, so they may be delivered twice."
            ),
            past=_("%(count)s requeued"),
            form=RequeueForm,
            fits=_fits(State.DEAD),
            act=Act.REQUEUE,
            foresee=_of(choices.requeue),
        ),
        Verb(
            name="check_now",
            permission="requeue",
            label=_("Check status now"),
            about=_("A worker checks the status of these events within about a minute."),
            past=_("%(count)s will be checked now"),
            form=ActForm,
            fits=_can_be_asked,
            act=Act.CHECK,
            foresee=_of(choices.check_now),
        ),
        Verb(
            name="resolve",
            permission="resolve",
            label=_("Resolve"),
            about=_("Decide what happened to events of unknown outcome. Look them up on the platform first."),
            past=_("%(count)s resolved"),
            form=ResolveForm,
            fits=_can_be_resolved,
            act=Act.RESOLVE,
            foresee=_of(choices.resolvable),
        ),
        Verb(
            name="cancel",
            permission="cancel",
            label=_("Cancel"),
            about=_(
                "These events are withdrawn permanently. They will not be sent and cannot be requeued. What "
                "the platform has already accepted stays there."
            ),
            past=_("%(count)s cancelled"),
            form=ActForm,
            fits=_can_be_cancelled,
            act=Act.CANCEL,
            foresee=_of(choices.cancel),
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
            act=Act.MOVE,
            foresee=_move_anywhere,
        ),
        Verb(
            name="resend",
            permission="resend",
            label=_("Resend as new"),
            about=_(
                "The content of delivered events is sent again, as new events with their own ids and keys. "
                "Recipients treat them as separate events."
            ),
            past=_("%(count)s resent as new"),
            form=ActForm,
            fits=_fits(State.DELIVERED),
            act=Act.RESEND,
            foresee=_foreseen(Act.RESEND),
            copies=True,
        ),
        Verb(
            name="replay",
            permission="replay",
            label=_("Replay"),
            about=_(
                "Events that the platform accepted are sent again as new events, in the same order per "
                "ordering key. Filter the list by the time of acceptance to replay an hour that was lost. "
                "Stopping the replay also withdraws its new events that were not sent yet."
            ),
            past=_("%(count)s replayed"),
            form=ReplayForm,
            fits=_never,
            act=Act.REPLAY,
            foresee=_foreseen(Act.REPLAY),
            copies=True,
        ),
        Verb(
            name="correct",
            permission="correct",
            label=_("Correct and resend"),
            about=_(
                "The data of this dead event is corrected and sent as a new event, and the old one is "
                "cancelled. What was changed is kept in the audit."
            ),
            past=_("%(count)s corrected"),
            form=ActForm,
            fits=_fits(State.DEAD),
            act=Act.CORRECT,
            foresee=corrections.foresee,
            single=True,
        ),
        Verb(
            name="export",
            permission="export",
            label=_("Export"),
            about=_(
                "Downloads a file with one event per line, and the correlation id of every attempt. Event "
                "data is included only if you may see payloads; values of names in REDACT_KEYS are masked."
            ),
            past=_("%(count)s exported"),
            form=ExportForm,
            fits=_always,
            act=Act.EXPORT,
            foresee=_all,
        ),
    )
}
