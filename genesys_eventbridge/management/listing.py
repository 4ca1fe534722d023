"""``eventbridge_list``, and what ``eventbridge_show`` says if its argument means several events or none."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Iterator

from django.utils import timezone

from genesys_eventbridge import conf
from genesys_eventbridge.formatting import moment
from genesys_eventbridge.management.output import Streamed, counted, next_step
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.reporting.exports import Format, written
from genesys_eventbridge.selection import EventFilter, access, search
from genesys_eventbridge.text import clean

#: Ids read at once.
PAGE = 500
#: Characters of a last error.
ERROR_WIDTH = 80
SEARCHED = (
    "The search takes a subject, its beginning or its end, in any case; an event id, idempotency key, "
    "platform id or correlation id; '#12' finds event number 12."
)
SEARCHED_WITHOUT_INDEX = (
    "The search takes a subject, event id, idempotency key, platform id or correlation id; '#12' finds event "
    f"number 12. A part of a subject, in any case, is only looked for in the newest {search.NEWEST:,} events "
    "here."
)


def listing(chosen: EventFilter, limit: int | None, *, payload: bool) -> Streamed:
    """The matching events, newest first: text for people, CSV, or with ``json`` one JSON value per line."""

    def source(form: str) -> Iterator[str]:
        pages = _limited(access.pages(chosen, PAGE), limit)
        if form == "text":
            return _text(chosen, pages, limit)
        return written(pages, Format.CSV if form == "csv" else Format.JSON_LINES, payload=payload)

    return Streamed(source=source)


def lines(ids: list[int]) -> Iterator[str]:
    """One line for each of these events, in this order; the ids come first."""
    found = OutboxEvent.objects.on_outbox().defer("body").in_bulk(ids)
    now = timezone.now()
    yield from (_line(found[pk], now) for pk in ids if pk in found)


def not_found(text: str) -> list[str]:
    """What was searched, and the nearest subjects with a command for each."""
    known = [clean(subject, 255) for subject in search.nearest(text)]
    nearest = [next_step(f"eventbridge_show {shlex.quote(subject)}") for subject in known]
    return [
        SEARCHED_WITHOUT_INDEX if search.is_capped() else SEARCHED,
        "Payloads are not searched. Old events may have been pruned (RETENTION_DAYS).",
        *(["The nearest subjects:", *nearest] if nearest else []),
    ]


def _limited(pages: Iterator[list[int]], limit: int | None) -> Iterator[list[int]]:
    left = limit
    for ids in pages:
        yield ids if left is None else ids[:left]
        if left is not None and (left := left - len(ids)) <= 0:
            return


def _text(chosen: EventFilter, pages: Iterator[list[int]], limit: int | None) -> Iterator[str]:
    count = 0
    for ids in pages:
        for line in lines(ids):
            count += 1
            yield line
    if not count and chosen.text:
        yield f"No event matches ({chosen.words()})."
        yield from not_found(chosen.text)
        return
    more = " There may be more: --limit was reached." if limit == count else ""
    yield f"{counted(count, 'event')} ({chosen.words()}).{more}"


def _line(event: OutboxEvent, now: dt.datetime) -> str:
    state = f"{event.state} ({event.reason})" if event.reason else event.state
    words = [
        f"#{event.pk}",
        clean(event.event_id, 255),
        state,
        clean(event.type, 255),
        clean(event.subject, 255) or "-",
        *([clean(event.destination, 64)] if len(conf.aliases()) > 1 else []),
        moment(event.created_at, now),
        clean(event.last_error, ERROR_WIDTH),
    ]
    return "  ".join(word for word in words if word)
