"""Erase one person: find their events by what identifies them, and make the job that erases those."""

from __future__ import annotations

import functools
import json
import operator
import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.apps import apps
from django.db.models import Model, Q
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from genesys_eventbridge.cloudevents import NO_DATA
from genesys_eventbridge.models import EventAct, Job, JobItem, OutboxEvent, OutboxQuerySet, outbox_alias
from genesys_eventbridge.operations import jobs
from genesys_eventbridge.operations.audit import Actor, needed
from genesys_eventbridge.operations.bulk import Action, decide, named
from genesys_eventbridge.operations.erasure import choice, history, mention, result, rewrite
from genesys_eventbridge.operations.results import Done
from genesys_eventbridge.states import Act, State
from genesys_eventbridge.text import clean, is_storable

#: Events read at once; by a path, with their bodies.
PAGE = 100
#: Characters of a value that the database looks for in the bodies.
SEARCHED = 1_000
#: A value is shortened to this many characters in the description of a filter.
SHORTENED = 80
#: No list is longer.
MOST_DIGITS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Whose data to erase, by exactly one of: subject, ordering key, object, or a value in the data.

    ``about`` is ``app_label.Model:primary key``. ``path`` leads to a value in the data, such as
    ``customer.email`` or ``items.0.email``: lists count from 0, and the path may begin with ``data``.
    ``value`` is a text, or a number, true, false or null as JSON writes it. Everything is compared exactly.
    Raises ValueError, whose text contains none of it.
    """

    subject: str = field(default="", repr=False)
    ordering_key: str = field(default="", repr=False)
    about: str = field(default="", repr=False)
    path: str = ""
    value: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if sum(map(bool, (self.subject, self.ordering_key, self.about, self.path or self.value))) != 1:
            raise ValueError(_("Give exactly one of: subject, ordering key, object, or path and value."))
        if bool(self.path) != bool(self.value):
            raise ValueError(_("Give path and value together, neither of them empty."))
        if self.about and not all(self._object()):
            raise ValueError(_("object: write app_label.Model:primary key, such as shop.Customer:42."))
        if not is_storable(self.data):
            raise ValueError(_("No event contains a NUL character or a lone surrogate."))

    @property
    def data(self) -> str:
        """The text that may stay nowhere."""
        return self.subject or self.ordering_key or self.value or self._object()[1]

    def words(self) -> str:
        """What their events are found by, without the data."""
        if self.subject:
            return "one person, by subject"
        if self.ordering_key:
            return "one person, by ordering key"
        if self.about:
            return f"one person, by object of {clean(self._object()[0], 100)}"
        return f"one person, by the value at {clean(self.path, 100)}"

    def rows(self) -> OutboxQuerySet:
        """Their events; by a path, events that may be theirs: ``matches`` decides."""
        rows = OutboxEvent.objects.on_outbox()
        if self.subject:
            return rows.filter(subject=self.subject)
        if self.ordering_key:
            return rows.filter(ordering_key=self.ordering_key)
        if self.about:
            name, pk = self._object()
            return rows.filter(object_type=name, object_id=pk)
        return rows.exclude(body="").filter(_written(self.value))

    @sensitive_variables()
    def matches(self, event: OutboxEvent) -> bool:
        """Whether one of ``rows`` is theirs."""
        if not self.path:
            return True
        data = event.data
        if data is NO_DATA or isinstance(data, bytes):
            return False
        steps = self.path.split(".")
        below = _at(data, steps[1:]) if steps[0] == "data" else ()
        return any(_same(value, self.value) for value in (*_at(data, steps), *below))

    def _object(self) -> tuple[str, str]:
        """Its model, as events store it, and its primary key; a proxy counts as its model."""
        name, _colon, pk = self.about.partition(":")
        if name.count(".") != 1:
            return "", pk
        model = _installed(name)
        return name.lower() if model is None else (model._meta.concrete_model or model)._meta.label_lower, pk

    def require_model(self) -> None:
        """Raises ValueError if nothing is found because the model is misspelt. A removed one has events."""
        name = self._object()[0]
        if self.about and _installed(name) is None and not self.rows().exists():
            raise ValueError(
                _("object: no installed app has the model %(model)s, and no event is about this object.")
                % {"model": clean(name, 100)}
            )


def _installed(name: str) -> type[Model] | None:
    try:
        return apps.get_model(name)
    except LookupError:
        return None


@dataclass(slots=True)
class Survey:
    """What an erasure would do: the sum, and the states now of the events that it would erase.

    ``complete`` is False if there are more events than were examined.
    """

    done: Done = field(default_factory=Done)
    states: Counter[State] = field(default_factory=Counter)
    complete: bool = True


@sensitive_variables()
def survey(person: Person, *, cancel: bool, most: int | None = None) -> Survey:
    """What the erasure would do now; examines at most about ``most`` events. Writes nothing.

    Raises ValueError if the model of the object is neither installed nor that of an event.
    """
    person.require_model()
    found, last, read = Survey(), 0, 0
    choose = choice(cancel)
    while True:
        ahead = person.rows().filter(id__gt=last).order_by("id")
        page = list((ahead if person.path else ahead.only("id"))[:PAGE])
        for row, chosen in decide(named([event.pk for event in page if person.matches(event)]), choose):
            found.done.add([result(row, chosen)])
            if isinstance(chosen, Action):
                found.states[row.state] += 1
        if len(page) < PAGE:
            return found
        read, last = read + len(page), page[-1].pk
        if most is not None and read >= most:
            found.complete = not person.rows().filter(id__gt=last).exists()
            return found


@sensitive_variables()
def freeze(
    person: Person,
    actor: Actor,
    reason: str,
    *,
    cancel: bool = False,
    key: uuid.UUID | None = None,
    claim: bool = False,
) -> Job:
    """Make the job that erases this person's events; as ``jobs.freeze``. The job does not contain the data.

    Raises ValueError without a reason, and if the reason contains the data: it is kept.
    """
    kept = needed(reason)
    if mention([person.data]).search(kept):
        raise ValueError(_("reason: must not contain the data to erase; it is kept in the audit."))
    how = {"cancel": cancel, "by_path": bool(person.path)}
    order = jobs.Order(Act.ERASE, actor, kept, how, person.words(), uuid.uuid4() if key is None else key)
    return jobs.freeze(
        order,
        person.rows(),
        claim=claim,
        matches=person.matches if person.path else None,
        prepare=partial(_clear_texts, person.data),
    )


@sensitive_variables()
def _clear_texts(data: str, job: Job) -> None:
    """Take the data out of what people wrote: descriptions of jobs, and reasons of acts on these events."""
    alias, pattern = outbox_alias(), mention([data])
    begins = clean(data, SHORTENED).removesuffix("…")
    described = Job.objects.using(alias).filter(_contains("about", (data, begins)))
    for other in described.only("about"):
        rewrite(other, "about", mention([data, begins]))
    items = JobItem.objects.using(alias).filter(job=job)
    acts = EventAct.objects.using(alias).filter(_contains("reason", (data,)))
    its_jobs = set()
    for act in acts.filter(event__in=items.values("event_number")).only("job", "reason"):
        rewrite(act, "reason", pattern)
        if act.job_id is not None:
            its_jobs.add(act.job_id)
    for other in Job.objects.using(alias).filter(pk__in=its_jobs).only("reason"):
        rewrite(other, "reason", pattern)
    if (entries := history()) is not None:
        for entry in entries.filter(_contains("change_message", (data,))):
            if items.filter(event_number=int(entry.object_id)).exists():
                rewrite(entry, "change_message", pattern)


def _contains(column: str, texts: Collection[str]) -> Q:
    return functools.reduce(operator.or_, [Q(**{f"{column}__icontains": text}) for text in texts if text])


def _written(value: str) -> Q:
    """Bodies that contain the value as JSON writes it; they may contain it elsewhere, or in another case."""
    forms = {json.dumps(value, ensure_ascii=ascii_only)[1:-1][:SEARCHED] for ascii_only in (False, True)}
    return functools.reduce(operator.or_, [Q(body__contains=form) for form in sorted(forms)])


def _at(value: Any, steps: Sequence[str]) -> Iterator[Any]:
    """The values at a path. The name of a member may contain dots, so that there can be several."""
    if not steps:
        yield value
    elif isinstance(value, list):
        place = steps[0]
        if place.isascii() and place.isdigit() and len(place) < MOST_DIGITS and int(place) < len(value):
            yield from _at(value[int(place)], steps[1:])
    elif isinstance(value, dict):
        for count in range(1, len(steps) + 1):
            if (name := ".".join(steps[:count])) in value:
                yield from _at(value[name], steps[count:])


def _same(found: Any, value: str) -> bool:
    if isinstance(found, str):
        return found == value
    return not isinstance(found, dict | list) and json.dumps(found) == value
