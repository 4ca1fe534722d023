"""How to read the events of a filter fast: by the index of its rarest condition, or in the order of ids.

A database that expects a condition to be common walks the table in the order of ids until a page is full. If
the matching events are rare, or all old, that is the whole table. SQLite does not even know what is common.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from django.db import connections
from django.db.models import Max, Min, Q, QuerySet

from genesys_eventbridge.db import NoIndex
from genesys_eventbridge.models import OutboxEvent, outbox_alias
from genesys_eventbridge.selection.filters import INDEXED, TROUBLE, EventFilter

Rows = TypeVar("Rows", bound=QuerySet[Any])

#: A condition is rare if fewer events than this meet it: they can be read and sorted for one page.
RARE = 50_000
#: As RARE, for events in trouble: most of the condition is answered by the index.
RARE_TROUBLE = 4 * RARE
#: Rows of the table that one step of ``pages`` reads if no condition is rare.
WINDOW = 10_000
#: Conditions that only events in a few states meet. PostgreSQL does not know that: to find what meets both,
#: it would read the index of the states, too, with all that is pending.
OF_FEW_STATES = ("failure", "last_status_code", *TROUBLE)


def listed(rows: Rows, chosen: EventFilter, *, newest_first: bool = True) -> Rows:
    """Those of ``rows`` that match, in the order of ids. Takes one query, and one more for a text."""
    conditions = chosen.conditions()
    rarest = _rarest(chosen, conditions)
    if rarest is not None:
        return _sorted(_matching(rows, chosen, conditions, rarest), newest_first=newest_first)
    # Within one type, the index has the order of ids.
    kept = "type" if len(chosen.types) == 1 else None
    return _matching(rows, chosen, conditions, kept).order_by("-id" if newest_first else "id")


def pages(
    chosen: EventFilter,
    size: int,
    *,
    rows: QuerySet[OutboxEvent] | None = None,
    newest_first: bool = True,
    up_to: int | None = None,
) -> Iterator[list[int]]:
    """The ids of all matching events, of ``rows`` (default: all) at most ``up_to``, in lists of ``size``.

    Takes linear time and holds at most RARE ids, however many events match.
    """
    conditions = chosen.conditions()
    everything = OutboxEvent.objects.on_outbox() if rows is None else rows
    if up_to is not None:
        everything = everything.filter(id__lte=up_to)
    rarest = _rarest(chosen, conditions)
    if rarest is not None:
        found = _sorted(_matching(everything, chosen, conditions, rarest), newest_first=newest_first)
        yield from _chunks([*found.values_list("id", flat=True)], size)
        return
    for first, last in _windows(up_to, newest_first=newest_first):
        window = everything.filter(id__gte=first, id__lte=last)
        found = _unindexed(window, conditions, INDEXED).order_by("-id" if newest_first else "id")
        yield from _chunks([*found.values_list("id", flat=True)], size)


def _rarest(chosen: EventFilter, conditions: Mapping[str, Q]) -> str | None:
    """The column, or one of TROUBLE, whose condition the fewest events meet; None if no condition is rare."""
    if "id" in conditions:
        return "id"
    has_index = connections[outbox_alias()].features.supports_partial_indexes
    columns = [column for column in (*(TROUBLE if has_index else ()), *INDEXED) if column in conditions]
    rows = OutboxEvent.objects.on_outbox().order_by()
    counts = _counted(
        [
            _matching(rows, chosen, {column: conditions[column]}, column).values("id")[: _most(column)]
            for column in columns
        ]
    )
    counted = dict(zip(columns, counts, strict=True))
    rare = [column for column in columns if counted[column] < _most(column)]
    return min(rare, key=counted.__getitem__, default=None)


def _most(column: str) -> int:
    return RARE_TROUBLE if column == "troubled" else RARE


def _counted(queries: Sequence[QuerySet[Any, Any]]) -> Sequence[int]:
    """How many events each finds, in one query: each count ends early or reads few rows."""
    if not queries:
        return ()
    alias = outbox_alias()
    counts, parameters = [], []
    for number, rows in enumerate(queries):
        sql, values = rows.query.get_compiler(alias).as_sql()
        counts.append(f"(SELECT COUNT(*) FROM ({sql}) AS part{number})")  # noqa: S608 - Django's own SQL
        parameters += values
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(counts)}", parameters)
        found: Sequence[int] = cursor.fetchone()
    return found


def _matching(rows: Rows, chosen: EventFilter, conditions: Mapping[str, Q], by: str | None) -> Rows:
    """Those of ``rows`` that meet the conditions, found by the index of the condition ``by``.

    Other databases than SQLite have statistics; they may combine several indexes, but see OF_FEW_STATES.
    """
    if by in TROUBLE:
        rows = rows.filter(chosen.hint(by))
    if by == "troubled":
        # Its index has the columns of the condition.
        rows = rows.filter(conditions[by])
        conditions = {column: each for column, each in conditions.items() if column != by}
    if connections[outbox_alias()].vendor == "sqlite":
        hidden = [column for column in INDEXED if column != by]
    else:
        hidden = ["state"] if by in OF_FEW_STATES else []
    return _unindexed(rows, conditions, hidden)


def _sorted(rows: Rows, *, newest_first: bool) -> Rows:
    """In the order of ids, but not by reading the table in that order."""
    by_id: Any = NoIndex("id")
    return rows.order_by(by_id.desc() if newest_first else by_id.asc())


def _unindexed(rows: Rows, conditions: Mapping[str, Q], columns: Collection[str]) -> Rows:
    """Those of ``rows`` that meet the conditions, without the indexes of these columns."""
    renamed = {column: f"{column}_unindexed" for column in columns}
    rows = rows.alias(**{alias: NoIndex(column) for column, alias in renamed.items()})
    return rows.filter(*(_renamed(condition, renamed) for condition in conditions.values()))


def _renamed(condition: Q, names: Mapping[str, str]) -> Q:
    """The condition with some columns looked up by another name."""

    def child(part: Any) -> Any:
        if isinstance(part, Q):
            return _renamed(part, names)
        if not isinstance(part, tuple):
            return part
        column, separator, lookup = part[0].partition("__")
        return f"{names.get(column, column)}{separator}{lookup}", part[1]

    return Q.create([child(part) for part in condition.children], condition.connector, condition.negated)


def _windows(up_to: int | None, *, newest_first: bool) -> Iterator[tuple[int, int]]:
    """Ranges of ids with at most WINDOW rows each, whatever the gaps between the ids."""
    rows = OutboxEvent.objects.on_outbox()
    rows = rows if up_to is None else rows.filter(id__lte=up_to)
    rest = rows
    while True:
        window = rest.order_by("-id" if newest_first else "id").values("id")[:WINDOW]
        edges = window.aggregate(first=Min("id"), last=Max("id"))
        first, last = edges["first"], edges["last"]
        if first is None:
            return
        yield first, last
        rest = rows.filter(id__lt=first) if newest_first else rows.filter(id__gt=last)


def _chunks(ids: list[int], size: int) -> Iterator[list[int]]:
    yield from (ids[start : start + size] for start in range(0, len(ids), size))
