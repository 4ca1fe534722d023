"""Search by what people have at hand: a subject in any case and in part, an id, a key, or an event's number.

On PostgreSQL and SQLite a part of a subject is its beginning or its end, found by indexes on expressions.
MySQL and MariaDB have no such index: there it may be anywhere in the subject of the newest events.
"""

from __future__ import annotations

import functools
import operator
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.models import F, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Left, Right, StrIndex
from django.db.models.lookups import Exact, GreaterThan, GreaterThanOrEqual, LessThan

from genesys_eventbridge import conf
from genesys_eventbridge.db import AnyOf
from genesys_eventbridge.db.folding import END, Folded, FoldedEnd
from genesys_eventbridge.models import DeliveryAttempt, OutboxEvent, OutboxQuerySet, outbox_alias
from genesys_eventbridge.outbox.rows import wire_uuid
from genesys_eventbridge.text import is_storable

#: If more events match, the search is a condition on each row, and no list of ids.
MOST_IDS = 50_000
#: MySQL and MariaDB: a part of a subject is looked for in this many of the newest events.
NEWEST = 100_000
#: The longest text that any of the columns can hold.
LONGEST = 255
#: Subjects to suggest, and rows to read for them from each side.
SUGGESTED = 5
NEIGHBOURS = 50
_BIGINT_DIGITS = 19
#: Not before any character that can follow.
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Found:
    """What a text finds: the ``ids`` of a few events, or a ``condition`` if they are many."""

    ids: tuple[int, ...] = ()
    condition: Q | None = None

    @property
    def q(self) -> Q:
        return Q(AnyOf("id", self.ids)) if self.condition is None else self.condition


def search(text: str) -> Found:
    """The events that ``text`` names: exactly, by an id, a key or "#42", or by a part of their subject.

    Takes one query. Payloads are not searched. Every database must be able to store the text.
    """
    text = text.strip()
    if not text or len(text) > LONGEST:
        return Found()
    named = [*_named(text)]
    queries = [_rows().filter(condition).values_list("pk") for condition in (*named, *_subjects(text))]
    ids = {pk for (pk,) in _all(queries, MOST_IDS + 1)}
    if len(ids) <= MOST_IDS:
        return Found(tuple(sorted(ids)))
    return Found(condition=functools.reduce(operator.or_, [*named, _any_part(text)]))


def is_capped() -> bool:
    """Whether parts of subjects are only looked for among the ``NEWEST`` events."""
    return connections[outbox_alias()].vendor == "mysql"


def nearest(text: str) -> list[str]:
    """The stored subjects that begin or end most like ``text``, for a search without a hit. One query."""
    text = text.strip()
    if len(text) < 2 or len(text) > LONGEST or not is_storable(text):
        return []
    found = {subject for (subject,) in _all(list(_neighbours(text)), NEIGHBOURS)}
    return sorted(found, key=lambda subject: (-_alike(text, subject), subject))[:SUGGESTED]


def _rows() -> OutboxQuerySet:
    return OutboxEvent.objects.on_outbox().order_by()


def _all(queries: list[QuerySet[Any, Any]], limit: int) -> list[tuple[Any, ...]]:
    """The rows of all ``queries``, at most ``limit`` of each, in one statement.

    Joined by OR, some databases would read the whole table; Django's union() has no limit per part on SQLite.
    """
    alias = outbox_alias()
    parts, parameters = [], []
    for number, query in enumerate(queries):
        sql, values = query[:limit].query.get_compiler(alias).as_sql()
        parts.append(f"SELECT * FROM ({sql}) AS part{number}")  # noqa: S608 - Django's own SQL
        parameters += values
    with connections[alias].cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), parameters)
        return list(cursor.fetchall())


def _named(text: str) -> Iterator[Q]:
    """A condition per column that identifies an event, each with an index of its own."""
    number = text[1:]
    if text[0] == "#" and number.isascii() and number.isdigit() and len(number) < _BIGINT_DIGITS:
        yield Q(pk=int(number))
    names = sorted({text, text.lower()})
    yield Q(event_id__in=names)
    yield Q(idempotency_key__in=_keys(text))
    yield Q(remote_id__in=names)
    yield Q(correlation_id__in=names)
    attempts = DeliveryAttempt.objects.using(outbox_alias()).filter(correlation_id__in=names)
    yield Q(pk__in=attempts.values("event_id"))


def _keys(text: str) -> list[uuid.UUID]:
    """The idempotency keys the text may mean: itself, or the key derived from a caller's own text."""
    try:
        keys = [uuid.UUID(text)]
    except ValueError:
        keys = []
    return [*keys, *(wire_uuid(text, alias) for alias in conf.aliases())]


def _subjects(text: str) -> Iterator[Q]:
    """Conditions on the subject, each for one index."""
    if is_capped():
        yield Q(subject__in=sorted(_spellings(text)))
        yield _any_part(text)
        return
    for spelling in sorted(_folded(text)):
        yield _begins(Folded("subject"), spelling)
        ends = _begins(FoldedEnd("subject"), spelling[::-1][:END])
        yield ends if len(spelling) <= END else ends & _ends_with(spelling)


def _any_part(text: str) -> Q:
    """The same without an index."""
    if is_capped():
        older = _rows().order_by("-pk").values("pk")[NEWEST : NEWEST + 1]
        return Q(pk__gt=Coalesce(Subquery(older), 0)) & Q(
            GreaterThan(StrIndex(Folded("subject"), Value(text.lower())), 0)
        )
    parts = [_begins_with(spelling) | _ends_with(spelling) for spelling in sorted(_folded(text))]
    return functools.reduce(operator.or_, parts)


def _spellings(text: str) -> set[str]:
    return {text, text.lower(), text.upper()}


def _folded(text: str) -> set[str]:
    """What LOWER makes of the stored text: on SQLite, and on PostgreSQL in some locales, only of A to Z."""
    return {"".join(c.lower() if c.isascii() else c for c in spelling) for spelling in _spellings(text)}


def _begins(expression: Folded | FoldedEnd, start: str) -> Q:
    """A range of the expression's index."""
    return Q(GreaterThanOrEqual(expression, Value(start)), LessThan(expression, Value(start + _LAST)))


def _begins_with(text: str) -> Q:
    return Q(Exact(Left(Folded("subject"), len(text)), Value(text)))


def _ends_with(text: str) -> Q:
    return Q(Exact(Right(Folded("subject"), len(text)), Value(text)))


def _neighbours(text: str) -> Iterator[QuerySet[Any, Any]]:
    """The subjects just before and after the text in each index that begin with the same two characters."""
    folded = text.lower()
    sides: Iterable[tuple[Any, str]] = [
        (Folded("subject"), folded),
        (FoldedEnd("subject"), folded[::-1][:END]),
    ]
    if is_capped():
        sides = ((F("subject"), text),)
    for expression, near in sides:
        rows = _rows().filter(_begins(expression, near[:2])).values_list("subject")
        yield rows.filter(GreaterThanOrEqual(expression, Value(near))).order_by(expression.asc())
        yield rows.filter(LessThan(expression, Value(near))).order_by(expression.desc())


def _alike(text: str, subject: str) -> int:
    """How many characters both have in common at the beginning and at the end."""
    one, other = text.lower(), subject.lower()
    return _common(one, other) + _common(one[::-1], other[::-1])


def _common(one: str, other: str) -> int:
    """The length of the beginning that both have."""
    return next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
