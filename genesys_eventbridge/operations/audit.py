"""Who did what to an event, and why: the append-only audit, and Django's admin history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.utils.translation import gettext as _

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import EventAct, Job, OutboxEvent, outbox_alias
from genesys_eventbridge.states import Act, State
from genesys_eventbridge.text import clean

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

MAX_REASON = 500
#: Django's own history gets no entry per event of a job with more events: the audit has them.
LOGGED = 100


@dataclass(frozen=True, slots=True)
class Actor:
    """An operator: ``via`` is "admin" or the command's name, ``name`` the username or the OS user's."""

    via: str
    user: AbstractBaseUser | None = None
    name: str = ""

    @property
    def username(self) -> str:
        """A name that is never empty, short enough for the audit."""
        known = self.name or (self.user.get_username() if self.user is not None else "")
        return clean(known or self.via, 150)


def one_line(reason: str) -> str:
    """A reason as it is stored: one line, at most 500 characters."""
    return clean(" ".join(reason.split()), MAX_REASON)


def needed(reason: str) -> str:
    """The reason as it is stored. Raises ValueError if it is empty."""
    kept = one_line(reason)
    if not kept:
        raise ValueError(_("reason: must not be empty; it is stored with the event."))
    return kept


@dataclass(frozen=True, slots=True)
class Acted:
    """One event that was acted on: its row's id, its CloudEvents id and type, its state before and after."""

    id: int
    event_id: str
    type: str
    before: State
    after: State
    details: str | None = None


def record(job: Job, actor: Actor, acted: Sequence[Acted]) -> None:
    """Write one row per event within the act's transaction."""
    EventAct.objects.using(outbox_alias()).bulk_create(
        EventAct(
            event_id=one.id,
            event_number=one.id,
            cloudevent_id=one.event_id,
            job_id=job.pk,
            act=job.act,
            user_id=None if actor.user is None else actor.user.pk,
            username=actor.username,
            via=clean(actor.via, 64),
            from_state=one.before,
            to_state=one.after,
            reason=job.reason,
            details=one.details,
            at=DatabaseNow(),
        )
        for one in acted
    )
    if job.total > LOGGED:
        return
    label = Act(job.act).label
    message = f"{label}: {job.reason}" if job.reason else str(label)
    log(actor, OutboxEvent, [(one.id, f"{one.type} {one.event_id}") for one in acted], message)


def log(actor: Actor, model: type[Model], objects: Sequence[tuple[int, str]], message: str) -> None:
    """Django's history, which the admin shows; only for staff, and only if the admin is installed."""
    user = actor.user
    if user is None or not getattr(user, "is_staff", False) or not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.models import CHANGE, LogEntry

    content_type = ContentType.objects.get_for_model(model)
    LogEntry.objects.bulk_create(
        LogEntry(
            user_id=user.pk,
            content_type=content_type,
            object_id=str(pk),
            object_repr=clean(words, 200),
            action_flag=CHANGE,
            change_message=message,
        )
        for pk, words in objects
    )
