"""The filter that every list, command, export and bulk action shares: values in, a queryset and words out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import assert_never

from django.db.models import Exists, Q, TextChoices
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from genesys_eventbridge import conf
from genesys_eventbridge.db import NoIndex
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.db.indexes import Troubled
from genesys_eventbridge.formatting import moment
from genesys_eventbridge.models import (
    OutboxEvent,
    OutboxQuerySet,
    failed_since,
    failing,
    in_flight,
    in_states,
    retrying,
    waiting,
)
from genesys_eventbridge.selection import status_codes
from genesys_eventbridge.selection.search import search
from genesys_eventbridge.selection.status_codes import StatusClass, StatusCode
from genesys_eventbridge.states import NEEDS_OPERATOR, OPEN, Reason, State
from genesys_eventbridge.text import clean, is_storable

#: Columns with an index of their own for a filter.
INDEXED = (
    "ordering_key",
    "subject",
    "failure",
    "type",
    "state",
    "last_status_code",
    "created_at",
    "finished_at",
    "accepted_at",
)
#: Not columns, but conditions that only events in trouble meet; ``EventFilter.hint`` names their index.
TROUBLE = ("troubled", "tried")
#: Seconds after which an event that is due counts as overdue.
OVERDUE_AFTER = 300.0
#: Stands for failing events without an error text.
NO_ERROR = "none"
#: Characters of a value in ``words()``.
WIDTH = 80


class Attention(TextChoices):
    """Events that someone should look at."""

    NEEDED = "needed", gettext_lazy("Needs attention")
    PERSON = "person", gettext_lazy("Needs an operator")
    OVERDUE = "overdue", gettext_lazy("Overdue by 5 min")


class Progress(TextChoices):
    """How far an unfinished event is; computed and never stored."""

    OPEN = "open", gettext_lazy("Not delivered yet")
    WAITING = "waiting", gettext_lazy("Waiting for first attempt")
    RETRYING = "retrying", gettext_lazy("Waiting for a retry")
    IN_FLIGHT = "in_flight", gettext_lazy("In flight")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Events that meet every condition; an empty filter means all events.

    Several values of one field mean any of them. ``since`` and ``until`` are about ``created_at``;
    each ``since`` is included, each ``until`` is not. ``error`` is a part of ``last_error`` in any case.
    ``failure`` is the ``failure`` of failing events, NO_ERROR for those without; ``failed_since`` is about
    their last failure. ``held``: only those behind an earlier event of their ordering key. ``text``: what the
    search box finds.
    """

    states: tuple[State, ...] = ()
    types: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    status_code: StatusCode | None = None
    ordering_key: str = ""
    subject: str = ""
    error: str = ""
    text: str = ""
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    accepted_since: dt.datetime | None = None
    accepted_until: dt.datetime | None = None
    finished_since: dt.datetime | None = None
    finished_until: dt.datetime | None = None
    failure: str = ""
    failed_since: dt.datetime | None = None
    held: bool = False
    attention: Attention | None = None
    progress: Progress | None = None

    @property
    def is_empty(self) -> bool:
        """Whether every event matches."""
        return all(getattr(self, each.name) in ((), "", None, False) for each in fields(self))

    def rows(self) -> OutboxQuerySet:
        """The matching rows of the primary database, in any order. A ``text`` costs one query."""
        return OutboxEvent.objects.on_outbox().filter(*self.conditions().values())

    def conditions(self) -> dict[str, Q]:
        """By the column, or one of TROUBLE, whose index finds the rows that meet it; by "" if none does."""
        if not all(map(is_storable, self._texts())):
            return {"id": Q(pk__in=())}
        found: dict[str, Q] = {}
        for column, condition in self._conditions():
            found[column] = found.get(column, Q()) & condition
        return found

    def hint(self, name: str) -> Q:
        """Also met by all events that meet the condition ``name`` of TROUBLE, and found by an index."""
        if name == "troubled":
            return Q(Troubled())
        rows = OutboxEvent.objects.order_by().alias(state_now=NoIndex("state"))
        # A claim that has ended without an outcome leaves no error, but a doubt.
        doubtful = rows.filter(in_doubt_since__isnull=False, state_now=State.PENDING)
        if self.failure or self.failed_since is not None:
            failed = rows.filter(Troubled(), state_now__in=[State.PENDING, *NEEDS_OPERATOR])
        else:
            failed = rows.filter(Troubled(), reason="", state=State.PENDING)
        if self.failed_since is not None:
            failed = failed.filter(Q(failed_at__gte=self.failed_since) | Q(failed_at__isnull=True))
        return Q(pk__in=failed.values("pk").union(doubtful.values("pk"), all=True))

    def words(self) -> str:
        """A short description: "dead, rejected, type order.paid, since 14:00 UTC"; "all events" if empty."""
        return ", ".join(self._words()) or _("all events")

    def _texts(self) -> Iterator[str]:
        yield from (*self.types, *self.destinations)
        yield from (self.ordering_key, self.subject, self.error, self.failure, self.text)

    def _conditions(self) -> Iterator[tuple[str, Q]]:
        if self.text.strip():
            found = search(self.text)
            yield "id" if found.condition is None else "", found.q
        yield from self._of_values()
        yield from self._of_states()
        if self.status_code is StatusClass.NONE:
            yield "troubled", Q(last_status_code__isnull=True)
            yield "", status_codes.condition(self.status_code)
        elif self.status_code is not None:
            column = "last_status_code" if status_codes.is_indexed(self.status_code) else ""
            yield column, status_codes.condition(self.status_code)
        for column, since, until in self._spans():
            if since is not None:
                yield column, Q(**{f"{column}__gte": since})
            if until is not None:
                yield column, Q(**{f"{column}__lt": until})

    def _of_values(self) -> Iterator[tuple[str, Q]]:
        if self.error:
            yield "troubled", Q()
            yield "", Q(last_error__icontains=self.error)
        if self.destinations:
            yield "", Q(destination__in=self.destinations)
        if self.types:
            yield "type", Q(type__in=self.types)
        if self.ordering_key:
            yield "ordering_key", Q(ordering_key=self.ordering_key)
        if self.subject:
            yield "subject", Q(subject=self.subject)
        if self.failure == NO_ERROR:
            yield "", Q(failure__isnull=True)
        elif self.failure:
            yield "failure", Q(failure=self.failure)
        if self.failed_since is not None:
            yield "", failed_since(self.failed_since)

    def _of_states(self) -> Iterator[tuple[str, Q]]:
        """Conditions that only events in certain states meet."""
        if self.states:
            yield "state", in_states(self.states)
            if not set(self.states) & set(OPEN):
                # Always true, by a constraint; the index then needs no sorting.
                yield "state", Q(due_at__isnull=True)
        elif isinstance(self.status_code, StatusClass):
            yield "state", Q(state__in=[*OPEN, *NEEDS_OPERATOR])
        if self.reasons:
            ended = Q(state__in=[*NEEDS_OPERATOR, State.CANCELLED])
            yield "state", ended
            yield "troubled", ended & Q(reason__in=self.reasons)
        if self.failure or self.failed_since is not None:
            yield "state", Q(state__in=[State.PENDING, *NEEDS_OPERATOR])
            yield "tried", Q()
            yield "", failing()
        if self.held:
            yield "state", Q(state=State.PENDING)
            # Not counted: a look at its key for each pending event.
            yield "", ~Q(ordering_key="") & Q(Exists(OutboxEvent.objects.blockers()))
        if self.attention is not None:
            yield "state", _attention(self.attention)
        if self.progress is not None:
            yield from _progress(self.progress)

    def _spans(self) -> Iterator[tuple[str, dt.datetime | None, dt.datetime | None]]:
        yield "created_at", self.since, self.until
        yield "accepted_at", self.accepted_since, self.accepted_until
        yield "finished_at", self.finished_since, self.finished_until

    def _words(self) -> Iterator[str]:
        yield from (str(each.label) for each in (*self.states, *self.reasons))
        yield from (_("type %(type)s") % {"type": clean(each, WIDTH)} for each in self.types)
        yield from (_("destination %(alias)s") % {"alias": clean(each, WIDTH)} for each in self.destinations)
        if isinstance(self.status_code, StatusClass):
            yield str(self.status_code.label)
        elif self.status_code is not None:
            yield _("HTTP status %(code)s") % {"code": self.status_code}
        named = (
            (_("ordering key %(value)s"), self.ordering_key),
            (_("subject %(value)s"), self.subject),
            (_("error with “%(value)s”"), self.error),
            (_("failure %(value)s"), self.failure),
            (_("found by “%(value)s”"), self.text.strip()),
        )
        yield from (words % {"value": clean(value, WIDTH)} for words, value in named if value)
        if self.held:
            yield _("held behind another event")
        yield from (str(each.label) for each in (self.attention, self.progress) if each is not None)
        yield from self._times()

    def _times(self) -> Iterator[str]:
        named = (
            (_("since %(time)s"), self.since),
            (_("until %(time)s"), self.until),
            (_("accepted since %(time)s"), self.accepted_since),
            (_("accepted until %(time)s"), self.accepted_until),
            (_("finished since %(time)s"), self.finished_since),
            (_("finished until %(time)s"), self.finished_until),
            (_("failed since %(time)s"), self.failed_since),
        )
        now = timezone.now()
        yield from (words % {"time": moment(at, now)} for words, at in named if at is not None)


def _attention(attention: Attention) -> Q:
    person = Q(state__in=NEEDS_OPERATOR)
    overdue = Q(state__in=OPEN, due_at__lt=DatabaseNow(-OVERDUE_AFTER))
    match attention:
        case Attention.NEEDED:
            return person | overdue
        case Attention.PERSON:
            return person
        case Attention.OVERDUE:
            return overdue
        case _ as never:
            assert_never(never)


def _progress(progress: Progress) -> Iterator[tuple[str, Q]]:
    match progress:
        case Progress.OPEN:
            yield "state", Q(state__in=OPEN)
        case Progress.WAITING:
            yield "state", Q(state=State.PENDING)
            yield "", waiting()
        case Progress.RETRYING:
            yield "state", Q(state=State.PENDING)
            yield "tried", Q()
            yield "", retrying()
        case Progress.IN_FLIGHT:
            # Leases end within a known time: read that range of the index instead of every row waiting for
            # a retry.
            aliases = conf.aliases()
            longest = max(conf.destination(alias).lease_seconds for alias in aliases)
            leased = Q(state=State.PENDING, destination__in=aliases, due_at__lte=DatabaseNow(longest))
            yield "state", leased & in_flight()
        case _ as never:
            assert_never(never)
