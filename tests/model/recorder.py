"""Records every committed change of every row, whoever made it: triggers of the database write the trace.

They see what a process that was killed had committed, and nothing that was rolled back.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.db import connection

from genesys_eventbridge.states import FINISHED, NEEDS_OPERATOR
from tests.invariants import EVENTS
from tests.model.traces import Line

TRACE = "tests_outbox_trace"
#: Milliseconds since the epoch of a column or of the statement's time.
_CLOCKS = {
    "postgresql": ("EXTRACT(EPOCH FROM {}) * 1000", "STATEMENT_TIMESTAMP()"),
    "mysql": ("TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {}) / 1000", "UTC_TIMESTAMP(6)"),
    "sqlite": ("(JULIANDAY({}) - 2440587.5) * 86400000.0", "'now'"),
}
_COLUMNS = {
    "event_id": "{}.event_id",
    "number": "{}.id",
    "ordering_key": "{}.ordering_key",
    "state": "{}.state",
    "reason": "{}.reason",
    "token": "{}.claim_token",
    "attempts": "{}.attempts",
    "epoch": "{}.key_epoch",
    "has_id": "CASE WHEN {}.remote_id = '' THEN 0 ELSE 1 END",
    "has_accepted": "CASE WHEN {}.accepted_at IS NULL THEN 0 ELSE 1 END",
    "wire_key": "{}.idempotency_key",
    "body_sha": "{}.body_sha256",
}
TIMES = {
    "due": "due_at",
    "doubt": "in_doubt_since",
    "key_known": "key_known_since",
    "created": "created_at",
    "failed": "failed_at",
    "finished": "finished_at",
}
_NUMBERS = {"number", "attempts", "epoch", "has_id", "has_accepted"}


@contextmanager
def recording() -> Iterator[Recorder]:
    """Record within this block, outside any transaction."""
    recorder = Recorder()
    recorder.install()
    try:
        yield recorder
    finally:
        recorder.remove()


class Recorder:
    """The triggers and their table, in the database of this run."""

    def install(self) -> None:
        text = "VARCHAR(255)"
        names = ["op", "old_state", "old_token", *_COLUMNS]
        columns = ", ".join(f"{name} {'BIGINT' if name in _NUMBERS else text}" for name in names)
        times = ", ".join(f"{name} DOUBLE PRECISION" for name in ("at", *TIMES))
        serial = {
            "postgresql": "BIGSERIAL PRIMARY KEY",
            "mysql": "BIGINT AUTO_INCREMENT PRIMARY KEY",
            "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
        }[connection.vendor]
        self._execute(f"CREATE TABLE {TRACE} (seq {serial}, {columns}, {times})")
        for op, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
            self._trigger(op, row, names)

    def _trigger(self, op: str, row: str, names: list[str]) -> None:
        ms, now = _CLOCKS[connection.vendor]
        values = [f"'{op}'", *(["OLD.state", "OLD.claim_token"] if op != "INSERT" else ["''", "NULL"])]
        values += [sql.format(row) for sql in _COLUMNS.values()]
        values += [ms.format(now), *(ms.format(f"{row}.{column}") for column in TIMES.values())]
        into = f"INSERT INTO {TRACE} ({', '.join([*names, 'at', *TIMES])}) VALUES ({', '.join(values)});"
        name, on = f"{TRACE}_{op.lower()}", f"AFTER {op} ON {EVENTS} FOR EACH ROW"
        if connection.vendor == "postgresql":
            self._execute(
                f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN {into} RETURN NULL; END $$"
            )
            self._execute(f"CREATE TRIGGER {name} {on} EXECUTE FUNCTION {name}()")
        else:
            self._execute(f"CREATE TRIGGER {name} {on} BEGIN {into} END")

    def remove(self) -> None:
        for op in ("insert", "update", "delete"):
            if connection.vendor == "postgresql":
                self._execute(f"DROP FUNCTION {TRACE}_{op}() CASCADE")
            else:
                self._execute(f"DROP TRIGGER {TRACE}_{op}")
        self._execute(f"DROP TABLE {TRACE}")

    def _execute(self, sql: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql.replace("%", "%%"))

    def lines(self, ledger: dict[str, Any] | None = None, *, lease: float | None = None) -> list[Line]:
        """What happened so far, in order; with a sandbox's ledger also what the platform saw and accepted.

        Where the database's clock is shifted by tests, give the ``lease`` in seconds: then the time of a line
        is the one that its statement wrote.
        """
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {TRACE} ORDER BY seq")
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        lines = [line_of(row) for row in rows]
        inserted = {row["event_id"]: row for row in reversed(rows)}
        for attempt in (ledger or {}).get("attempts", ()):
            if attempt["endpoint"] == "publish" and attempt["id"] in inserted:
                lines += _seen(attempt, inserted[attempt["id"]])
        lines.sort(key=lambda line: line.t)
        return lines if lease is None else list(on_their_own_clock(lines, lease))


def on_their_own_clock(lines: Iterable[Line], lease: float) -> Iterator[Line]:
    """Each line at the time that its statement wrote, not at that of its commit; ``lease`` in seconds."""
    now = 0.0
    for line in lines:
        written = line.detail.get("written")
        if line.token and line.token != line.detail["from_token"]:
            written = line.detail["due"] - lease
        now = max(now, written or now)
        yield replace(line, t=now)


def _written(row: dict[str, Any]) -> float | None:
    """The time of the statement, if it wrote it: when the row was enqueued, or came to an end."""
    if row["op"] == "INSERT":
        return _seconds(row["created"])
    if row["op"] == "DELETE" or row["state"] == row["old_state"]:
        return None
    if row["state"] in NEEDS_OPERATOR:
        return _seconds(row["failed"])
    return _seconds(row["finished"] if row["state"] in FINISHED else None)


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else round(ms) / 1000


def _token(value: Any) -> str:
    return uuid.UUID(str(value)).hex[:12] if value else ""


def line_of(row: dict[str, Any]) -> Line:
    """``row`` has the columns of the trace's table; its times are milliseconds on any one clock."""
    gone = row["op"] == "DELETE"
    at, doubt, known = _seconds(row["at"]), _seconds(row["doubt"]), _seconds(row["key_known"])
    assert at is not None
    return Line(
        t=at,
        event=row["event_id"],
        from_state="" if row["op"] == "INSERT" else row["old_state"],
        to="" if gone else row["state"],
        token=_token(row["token"]),
        epoch=row["epoch"],
        attempts=row["attempts"],
        in_doubt=doubt is not None,
        detail={
            "number": row["number"],
            "key": row["ordering_key"],
            "reason": row["reason"],
            "from_token": _token(row["old_token"]),
            "due": _seconds(row["due"]),
            "since": doubt if known is None else known,
            "known": known is not None,
            "accepted": bool(row["has_accepted"]),
            "id": bool(row["has_id"]),
            "written": _written(row),
        },
    )


def _seen(attempt: dict[str, Any], row: dict[str, Any]) -> list[Line]:
    key = uuid.UUID(str(row["wire_key"]))
    keys = [str(key), *(str(uuid.uuid5(key, str(epoch))) for epoch in range(1, 8))]
    epoch = keys.index(attempt["idempotency_key"]) if attempt["idempotency_key"] in keys else -1
    detail = {"same_bytes": attempt["body_sha256"] == row["body_sha"]}
    sent = Line(t=attempt["started_at"], event=attempt["id"], what="send", epoch=epoch, detail=detail)
    if not attempt["accepted"]:
        return [sent]
    return [sent, Line(t=attempt["started_at"], event=attempt["id"], what="accept", epoch=epoch)]
