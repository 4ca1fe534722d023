"""The filters of the event list: the parameters of its address as one EventFilter, and their forms."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from genesys_eventbridge import conf, formatting
from genesys_eventbridge.operations import jobs
from genesys_eventbridge.selection import (
    Attention,
    EventFilter,
    Progress,
    StatusClass,
    StatusCode,
    status_codes,
)
from genesys_eventbridge.selection.filters import NO_ERROR
from genesys_eventbridge.states import Reason, State
from genesys_eventbridge.text import clean, is_storable

Choices = Iterable[tuple[str, Any]]

#: Parameter "created": the last N seconds.
PAST = {"1h": 3600, "24h": 86400, "7d": 7 * 86400}
#: Parameter of the list -> field of EventFilter.
CHOICES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "attention": ("attention", Attention),
    "progress": ("progress", Progress),
    "state": ("states", lambda value: (State(value),)),
    "reason": ("reasons", lambda value: (Reason(value),)),
    "destination": ("destinations", lambda value: (value,)),
    "held": ("held", {"1": True}.__getitem__),
    "failure": ("failure", str),
}


class InvalidFilter(ValueError):
    """A parameter that means nothing; ``messages`` are for the user."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(" ".join(messages))
        self.messages = messages


class _TimeField(forms.DateTimeField):
    """A date and time, in the reader's time zone unless it has an offset."""

    default_error_messages = {
        "invalid": gettext_lazy("is not a date and time. Write it as 2026-11-23 09:10.")
    }

    def __init__(self, label: Any) -> None:
        widget = forms.DateTimeInput(
            format="%Y-%m-%dT%H:%M:%S", attrs={"type": "datetime-local", "step": "any"}
        )
        super().__init__(label=label, required=False, widget=widget)

    def clean(self, value: Any) -> dt.datetime | None:
        found: dt.datetime | None = super().clean(value)
        if found is not None and not formatting.is_in_every_zone(found):
            raise ValidationError(self.error_messages["invalid"])
        return found


class _StatusField(forms.CharField):
    def clean(self, value: Any) -> StatusCode | None:
        text = str(super().clean(value)).lower()
        try:
            return status_codes.parse(text) if text else None
        except ValueError:
            message = _(
                "is not an HTTP status. Write 503, a class (3xx, 4xx, 5xx), or “none” for no response."
            )
            raise ValidationError(message) from None


class ValuesForm(forms.Form):
    """The filters that are typed. Its fields are named like the parameters of the list."""

    type = forms.CharField(
        label=gettext_lazy("Type"),
        required=False,
        max_length=255,
        widget=forms.TextInput(attrs={"list": "filter_types"}),
    )
    key = forms.CharField(label=gettext_lazy("Ordering key"), required=False, max_length=255, strip=False)
    answer = _StatusField(
        label=gettext_lazy("HTTP status"),
        required=False,
        widget=forms.TextInput(attrs={"list": "filter_statuses"}),
    )
    error = forms.CharField(label=gettext_lazy("Error contains"), required=False, max_length=255)
    created_from = _TimeField(gettext_lazy("Created from"))
    created_to = _TimeField(gettext_lazy("Created before"))
    accepted_from = _TimeField(gettext_lazy("Accepted from"))
    accepted_to = _TimeField(gettext_lazy("Accepted before"))
    finished_from = _TimeField(gettext_lazy("Finished from"))
    finished_to = _TimeField(gettext_lazy("Finished before"))
    failed_since = _TimeField(gettext_lazy("Failed since"))

    #: Of the form in the page, which need not be around the fields.
    form_id = "eventbridge-values"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for field in self.fields.values():
            field.widget.attrs["form"] = self.form_id

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        for name in ("created", "accepted", "finished"):
            since, until = cleaned.get(f"{name}_from"), cleaned.get(f"{name}_to")
            if since is not None and until is not None and since >= until:
                self.add_error(f"{name}_to", _("is not later than “from”."))
        return cleaned


PARAMETERS = frozenset({*CHOICES, "created", "job", *ValuesForm.base_fields})


def event_filter(parameters: Mapping[str, str], text: str = "") -> EventFilter:
    """The filter that the parameters of the list's address and the text of its search box describe.

    Raises InvalidFilter if any of them means nothing: an unknown choice must not show all events.
    """
    problems: list[str] = []
    given: dict[str, Any] = {"text": text}
    for name, (field, meaning) in CHOICES.items():
        if name in parameters:
            try:
                given[field] = meaning(parameters[name])
            except (ValueError, KeyError):
                problems.append(_problem(name, parameters[name], _("is not one of the choices.")))
    form = ValuesForm(parameters)
    if not form.is_valid():
        for name, errors in form.errors.items():
            label = form.fields[name].label
            problems += [_problem(label, parameters[name], error) for error in errors]
    if parameters.get("created", "1h") not in PAST:
        problems.append(_problem("created", parameters["created"], _("is not one of the choices.")))
    if problems:
        raise InvalidFilter(problems)
    return EventFilter(**given, **_values(form.cleaned_data, parameters.get("created")))


def parameters_of(chosen: EventFilter) -> dict[str, str]:
    """The parameters of a link to the list of exactly these events. Raises ValueError if there is none."""
    found: dict[str, Any] = {
        "q": chosen.text,
        "attention": chosen.attention,
        "progress": chosen.progress,
        "state": _only(chosen.states),
        "reason": _only(chosen.reasons),
        "destination": _only(chosen.destinations),
        "held": "1" if chosen.held else "",
        "type": _only(chosen.types),
        "key": chosen.ordering_key,
        "answer": chosen.status_code,
        "error": chosen.error,
        "created_from": chosen.since,
        "created_to": chosen.until,
        "accepted_from": chosen.accepted_since,
        "accepted_to": chosen.accepted_until,
        "finished_from": chosen.finished_since,
        "finished_to": chosen.finished_until,
        "failure": chosen.failure,
        "failed_since": chosen.failed_since,
    }
    if chosen.subject:
        raise ValueError("subject: the list has no such filter.")
    return {
        name: value.isoformat() if isinstance(value, dt.datetime) else str(value)
        for name, value in found.items()
        if value not in ("", None)
    }


def _only(values: tuple[Any, ...]) -> Any:
    if len(values) > 1:
        raise ValueError("The list has one value of each filter.")
    return values[0] if values else ""


def _problem(name: Any, value: str, why: Any) -> str:
    return f"{name}: “{clean(value, 80)}” {why}"


def _values(cleaned: Mapping[str, Any], past: str | None) -> dict[str, Any]:
    """The fields of the filter that the form and the parameter "created" set."""
    since = cleaned["created_from"]
    if past:
        start = timezone.now() - dt.timedelta(seconds=PAST[past])
        since = max(start, since) if since is not None else start
    return {
        "types": (cleaned["type"],) if cleaned["type"] else (),
        "ordering_key": cleaned["key"],
        "status_code": cleaned["answer"],
        "error": cleaned["error"],
        "since": since,
        "until": cleaned["created_to"],
        "accepted_since": cleaned["accepted_from"],
        "accepted_until": cleaned["accepted_to"],
        "finished_since": cleaned["finished_from"],
        "finished_until": cleaned["finished_to"],
        "failed_since": cleaned["failed_since"],
    }


class _ChoiceFilter(admin.SimpleListFilter):
    """Links on the page; EventChangeList reads all parameters at once."""

    choices_offered: Choices = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return self.choices_offered

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset


class AttentionFilter(_ChoiceFilter):
    title = gettext_lazy("attention")
    parameter_name = "attention"
    choices_offered = Attention.choices


class ProgressFilter(_ChoiceFilter):
    title = gettext_lazy("progress")
    parameter_name = "progress"
    choices_offered = Progress.choices


class HeldFilter(_ChoiceFilter):
    title = gettext_lazy("ordering")
    parameter_name = "held"
    choices_offered = (("1", gettext_lazy("Held behind another event")),)


class JobFilter(_ChoiceFilter):
    """The events of one job, ``12``, or those with one outcome, ``12:done``; offered where it is in use."""

    title = gettext_lazy("act of an operator")
    parameter_name = "job"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Also for a value that means nothing: without choices Django drops a filter, and all would match."""
        given = request.GET.get(self.parameter_name)
        return [] if given is None else [(given, clean(f"#{given.partition(':')[0]}", 20))]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value()
        if value is None:
            return queryset
        number, _colon, outcome = value.partition(":")
        if not (number.isascii() and number.isdigit() and len(number) < 19 and is_storable(outcome)):
            return queryset.none()
        return queryset.filter(pk__in=jobs.matched(int(number), *([outcome] if outcome else [])))


class FailureFilter(_ChoiceFilter):
    """One failure group, see ``reporting.failures``; offered where it is in use."""

    title = gettext_lazy("failure")
    parameter_name = "failure"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        value = request.GET.get(self.parameter_name)
        return [(value, _("no error text") if value == NO_ERROR else clean(value, 16))] if value else []


class StateFilter(_ChoiceFilter):
    title = gettext_lazy("state")
    parameter_name = "state"
    choices_offered = State.choices


class ReasonFilter(_ChoiceFilter):
    title = gettext_lazy("reason")
    parameter_name = "reason"
    choices_offered = Reason.choices


class DestinationFilter(_ChoiceFilter):
    title = gettext_lazy("destination")
    parameter_name = "destination"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(alias, alias) for alias in conf.aliases()]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """The configured ones, and those that only the tables know."""
        others = sorted({*changelist.healths} - {*conf.aliases()})
        self.lookup_choices += [(alias, clean(alias, 64)) for alias in others]
        return super().choices(changelist)


class CreatedFilter(_ChoiceFilter):
    title = gettext_lazy("created")
    parameter_name = "created"
    choices_offered = (
        ("1h", gettext_lazy("Past hour")),
        ("24h", gettext_lazy("Past 24 hours")),
        ("7d", gettext_lazy("Past 7 days")),
    )


class ValuesFilter(admin.ListFilter):
    """A form with everything that is typed; it keeps the other parameters."""

    title = gettext_lazy("value or time")
    template = "admin/genesys_eventbridge/outboxevent/values_filter.html"
    parameter_name = "values"  # no parameter; django-unfold reads it of every filter

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        for name in self.expected_parameters():
            if name in params:
                self.used_parameters[name] = params.pop(name)[-1]

    def expected_parameters(self) -> list[str | None]:
        return list(ValuesForm.base_fields)

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: Any) -> Iterator[Any]:
        mine = self.expected_parameters()
        yield {
            "form": self._form(),
            "form_id": ValuesForm.form_id,
            "types": changelist.types,
            "status_classes": StatusClass.choices,
            "zone": timezone.get_current_timezone_name(),
            "others": [(name, value) for name, value in changelist.params.items() if name not in mine],
            "clear": changelist.get_query_string(remove=mine) if self.used_parameters else "",
        }

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset

    def _form(self) -> ValuesForm:
        """What was typed; times as the browser's field for them needs them."""
        given = ValuesForm(self.used_parameters, auto_id="filter_%s")
        return ValuesForm(initial=given.cleaned_data, auto_id="filter_%s") if given.is_valid() else given
