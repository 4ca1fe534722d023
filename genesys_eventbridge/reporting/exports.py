"""Events and acts as CSV or JSON lines, written page by page, however many there are."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any, assert_never

from django.db.models import Prefetch, TextChoices
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from genesys_eventbridge.models import DeliveryAttempt, Job, OutboxEvent, outbox_alias
from genesys_eventbridge.reporting.payloads import envelope, shape, visible

#: Rows read at once; a body may have up to 256 KiB.
PAGE = 50
#: Columns of both formats, ids first.
COLUMNS = (
    "id",
    "event_id",
    "state",
    "reason",
    "type",
    "subject",
    "destination",
    "ordering_key",
    "created_at",
    "accepted_at",
    "finished_at",
    "attempts",
    "checks",
    "last_status_code",
    "last_error",
    "remote_id",
    "idempotency_key",
    "key_epoch",
    "correlation_id",
    "body_sha256",
)
ATTEMPT_COLUMNS = (
    "number",
    "kind",
    "started_at",
    "duration",
    "verdict",
    "status_code",
    "correlation_id",
    "error",
    "worker",
)
#: Cells that begin like this, also after spaces, are formulas for spreadsheets; the last four are the wide
#: forms of the signs.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class Format(TextChoices):
    """How events are written; the value is also the ending of a file's name."""

    JSON_LINES = "jsonl", _("JSON lines: everything, one event per line")
    CSV = "csv", _("CSV: a table for spreadsheets")

    @property
    def content_type(self) -> str:
        match self:
            case Format.JSON_LINES:
                return "application/x-ndjson; charset=utf-8"
            case Format.CSV:
                return "text/csv; charset=utf-8; header=present"
            case _ as never:
                assert_never(never)


@sensitive_variables()
def written(pages: Iterable[list[int]], form: Format, *, payload: bool) -> Iterator[str]:
    """The events of these pages of ids, in their order, as parts of a file.

    ``payload`` adds the data of the events, masked by REDACT_KEYS; without it JSON lines has only its shape.
    Times are ISO 8601 with an offset. In CSV ``correlation_ids`` are those of all attempts, oldest first;
    tabs, line ends and what is invisible are escaped, and what a spreadsheet would run as a formula begins
    with an apostrophe.
    """
    match form:
        case Format.JSON_LINES:
            for event in _events(pages):
                yield json.dumps(_line(event, payload=payload), ensure_ascii=False, default=plain) + "\n"
        case Format.CSV:
            yield _row([*COLUMNS, "correlation_ids", *(["data"] if payload else [])])
            for event in _events(pages):
                yield _row(_cells(event, payload=payload))
        case _ as never:
            assert_never(never)


#: Columns of an export of the audit.
ACT_COLUMNS = (
    "id",
    "created_at",
    "username",
    "via",
    "act",
    "reason",
    "about",
    "destination",
    "state",
    "total",
    "done",
    "skipped",
    "finished_at",
    "ended_by",
)


def acts_written(acts: Iterable[Job], form: Format) -> Iterator[str]:
    """Acts of operators in the same formats, as parts of a file."""
    match form:
        case Format.JSON_LINES:
            for act in acts:
                line = {name: getattr(act, name) for name in ACT_COLUMNS}
                line["results"] = json.loads(act.results)
                yield json.dumps(line, ensure_ascii=False, default=plain) + "\n"
        case Format.CSV:
            yield _row(list(ACT_COLUMNS))
            for act in acts:
                yield _row([_cell(getattr(act, name)) for name in ACT_COLUMNS])
        case _ as never:
            assert_never(never)


def plain(value: Any) -> str:
    """What JSON has no type for: a time in ISO 8601 with its offset, anything else as text."""
    return iso(value) if isinstance(value, dt.datetime) else str(value)


def iso(when: dt.datetime) -> str:
    """ "2026-11-23T09:10:11.123456+00:00", also if USE_TZ is off."""
    return (when if timezone.is_aware(when) else timezone.make_aware(when)).isoformat()


def _events(pages: Iterable[list[int]]) -> Iterator[OutboxEvent]:
    """Reads by ids: a server-side cursor would not survive PgBouncer's transaction pooling."""
    attempts = DeliveryAttempt.objects.using(outbox_alias()).order_by("number").defer("response_excerpt")
    rows = OutboxEvent.objects.on_outbox().prefetch_related(Prefetch("attempt_log", attempts))
    for ids in pages:
        for start in range(0, len(ids), PAGE):
            wanted = ids[start : start + PAGE]
            found = rows.in_bulk(wanted)
            yield from (found[pk] for pk in wanted if pk in found)


def _line(event: OutboxEvent, *, payload: bool) -> dict[str, Any]:
    line = {name: getattr(event, name) for name in COLUMNS}
    line["attempt_log"] = [
        {name: getattr(attempt, name) for name in ATTEMPT_COLUMNS} for attempt in event.attempt_log.all()
    ]
    line["event"] = envelope(event, payload=payload)
    return line if payload else {**line, "data": shape(event)}


def _cells(event: OutboxEvent, *, payload: bool) -> list[Any]:
    cells = [getattr(event, name) for name in COLUMNS]
    ids = dict.fromkeys(attempt.correlation_id for attempt in event.attempt_log.all())
    cells.append(" ".join(each for each in ids if each))
    if payload:
        members = envelope(event, payload=True) or {}
        data = {name: members[name] for name in ("data", "data_base64") if name in members}
        cells.append(json.dumps(data.popitem()[1], ensure_ascii=False) if data else "")
    return [_cell(cell) for cell in cells]


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    text = visible(plain(value))
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _row(cells: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
