"""Who did what to an event, and why: the append-only audit, and Django's admin history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import EventAct
from genesys_eventbridge.states import Act, State
from genesys_eventbridge.text import clean

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

MAX_REASON = 500


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
        raise ValueError("reason: must not be empty; it is stored with the event.")
    return kept


def record(
    alias: str,
    actor: Actor,
    act: Act,
    reason: str,
    moved: Mapping[int, tuple[State, State, str]],
) -> None:
    """Write one row per event within the action's transaction: ``{id: (from, to, the event as text)}``."""
    EventAct.objects.using(alias).bulk_create(
        EventAct(
            event_id=pk,
            act=act,
            user_id=None if actor.user is None else actor.user.pk,
            username=actor.username,
            via=clean(actor.via, 64),
            from_state=before,
            to_state=after,
            reason=reason,
            at=DatabaseNow(),
        )
        for pk, (before, after, _words) in moved.items()
    )
    model = EventAct._meta.get_field("event").related_model
    message = f"{act.label}: {reason}" if reason else str(act.label)
    log(actor, model, [(pk, words) for pk, (_before, _after, words) in moved.items()], message)


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
