"""The event catalogue: each event type, its data and an example, and what the table has of it."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from genesys_eventbridge.admin.badges import breakable, when
from genesys_eventbridge.admin.pages import PagesAdmin
from genesys_eventbridge.model_events.catalogue import Entry, entries
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.selection import types
from genesys_eventbridge.text import clean

#: The newest events are counted by type, and this many types are looked up in the table: both are bounded.
COUNTED = 5_000
SEEN = 500


@dataclass(frozen=True, slots=True)
class Described:
    """One declaration of a type, as shown; ``example`` and ``schema`` are JSON texts or empty."""

    entry: Entry
    example: str
    schema: str


@dataclass(frozen=True, slots=True)
class Line:
    """One event type; ``last`` is its newest event's time as HTML, "" if it is not among the newest."""

    name: str
    anchor: str
    declared: list[Described]
    count: int
    last: str
    url: str


class Catalogue(PagesAdmin):
    """The catalogue page of the event admin; requires only the permission to view events."""

    catalogue_template = "admin/genesys_eventbridge/catalogue.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.catalogue_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_catalogue"
        return [path("catalogue/", view, name=name), *super().get_urls()]

    @method_decorator(require_safe)
    def catalogue_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        problem = ""
        declared: list[Entry] = []
        try:
            declared = entries()
        except ImproperlyConfigured as error:
            problem = clean(error, 2000)
        seen = types.seen(SEEN)
        return self.page(
            request,
            self.catalogue_template,
            _("Event catalogue"),
            lines=self._lines(declared, seen),
            problem=problem,
            counted=COUNTED,
            more=len(seen) == SEEN,
        )

    def _lines(self, declared: Sequence[Entry], seen: Sequence[str]) -> list[Line]:
        now = next_due.database_now()
        counts, last = _newest()
        by_type: dict[str, list[Described]] = {name: [] for name in (*seen, *counts)}
        for entry in declared:
            by_type.setdefault(entry.type, []).append(_described(entry))
        events = self.url("changelist")
        return [
            Line(
                name=breakable(name),
                anchor=f"type-{number}",
                declared=by_type[name],
                count=counts[name],
                last=when(last[name], now) if name in last else "",
                url=f"{events}?{urlencode({'type': name})}" if name in counts or name in seen else "",
            )
            for number, name in enumerate(sorted(by_type), 1)
        ]


def _newest() -> tuple[Counter[str], dict[str, dt.datetime]]:
    """The types of the newest events with their numbers, and the time of the newest event of each."""
    rows = OutboxEvent.objects.on_outbox()
    # Without the times: they are stored behind the bodies, which SQLite would have to walk through.
    newest = list(rows.order_by("-id").values_list("type", "id")[:COUNTED])
    ids = dict(reversed(newest))
    times = rows.filter(pk__in=ids.values()).values_list("type", "created_at")
    return Counter(name for name, _id in newest), dict(times)


def _described(entry: Entry) -> Described:
    schema = entry.schema if entry.schema is not None else entry.model_schema
    return Described(
        entry=entry,
        example="" if entry.example is None else _json(entry.example),
        schema="" if schema is None else _json(schema),
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)
