"""The tables of a large installation after an outage: a month of events in all states, filled by SQL.

Of 100 events, 84 are delivered, 10 dead, 1 each unresolved, cancelled and accepted; 3 wait, one of them for
a retry. With ``backlog`` every third event waits instead. Their numbers follow the time. Each subject has one
event, each ordering key five.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from django.db import connection
from django.db.models import Model

from benchmarks.claiming import KEY, NUMBERS
from genesys_eventbridge.db.clock import DatabaseNow, now_sql
from genesys_eventbridge.models import (
    DeliveryAttempt,
    DeliveryTime,
    Destination,
    EventAct,
    Job,
    JobItem,
    OutboxEvent,
    Rollup,
)
from genesys_eventbridge.states import Act, JobState, Reason, State
from genesys_eventbridge.text.failures import failure_id

DAYS = 30
TYPES = 20
ERRORS = [
    (400, "400 from the platform: the event type is not registered in this organisation"),
    (403, "403 Forbidden: the permission eventbridge:event:add is missing"),
    (503, "503 Service Unavailable"),
    (None, "ReadTimeout: no response within 15 s"),
]
#: The events of every hundred that are not delivered.
STATES = {
    **dict.fromkeys(range(10), State.DEAD),
    10: State.UNRESOLVED,
    11: State.CANCELLED,
    12: State.ACCEPTED,
    **dict.fromkeys(range(13, 16), State.PENDING),
}
RETRYING = 13
#: The place among every hundred that decides about an event, without and with a backlog.
PLACE = {False: "n % 100", True: "(CASE WHEN n % 3 = 0 THEN 14 ELSE n % 100 END)"}
BODY = '{"specversion": "1.0", "type": "order.created", "data": {"customer": {"email": "ana@example.com"}}}'


def fill(count: int, *, backlog: bool = False) -> None:
    """``count`` events, a tenth as many attempts and acts, and the counters of a month."""
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION sql_mode = CONCAT(@@sql_mode, ',PIPES_AS_CONCAT')")
    _events(count, PLACE[backlog])
    _attempts(count)
    _acts(count)
    _counters()
    Destination.objects.create(alias="default", heartbeat_at=DatabaseNow(), accepted_at=DatabaseNow())
    with connection.cursor() as cursor:
        for model in (OutboxEvent, DeliveryAttempt, EventAct, Job, JobItem, Rollup, DeliveryTime):
            table = model._meta.db_table
            if connection.vendor == "postgresql":
                cursor.execute(f"VACUUM ANALYZE {table}")
            elif connection.vendor == "mysql":
                cursor.execute(f"ANALYZE TABLE {table}")


def _events(count: int, place: str) -> None:
    age = f"(n - {count}) * {DAYS * 86400.0 / count}"
    created = now_sql(connection, age)
    failed = ", ".join(str(each) for each, state in STATES.items() if state in (State.DEAD, State.UNRESOLVED))
    has_failed = f"{place} IN ({failed}, {RETRYING})"
    due = now_sql(connection, f"CASE WHEN {place} = {RETRYING} THEN n % 3600 ELSE -1 * (n % 240) END")
    errors = _of_errors([_quoted(error) for _code, error in ERRORS])
    codes = _of_errors([str(code or "NULL") for code, _error in ERRORS])
    failures = _of_errors([_quoted(failure_id(code, error)) for code, error in ERRORS])
    columns = {
        **_blank("destination", "remote_id", "object_type", "object_id", "correlation_id"),
        **dict.fromkeys(("key_epoch", "halts"), "0"),
        "destination": "'default'",
        "attempts": f"CASE WHEN {place} IN (14, 15) THEN 0 ELSE 1 END",
        "checks": "0",
        "time": created,
        "created_at": created,
        "state": _case(place, {each: f"'{state}'" for each, state in STATES.items()}, f"'{State.DELIVERED}'"),
        "reason": _case(
            place,
            {
                **dict.fromkeys(range(10), f"'{Reason.REJECTED}'"),
                10: f"'{Reason.OUTCOME_UNKNOWN}'",
                11: f"'{Reason.REJECTED}'",
            },
            "''",
        ),
        "due_at": f"CASE WHEN {place} BETWEEN 12 AND 15 THEN {due} END",
        "accepted_at": f"CASE WHEN {place} > 15 OR {place} = 12 THEN {now_sql(connection, age + ' + 1')} END",
        "finished_at": f"CASE WHEN {place} > 15 OR {place} = 11 THEN {now_sql(connection, age + ' + 2')} END",
        "failed_at": f"CASE WHEN {has_failed} THEN {now_sql(connection, age + ' + 1')} END",
        "last_error": f"CASE WHEN {has_failed} THEN {errors} ELSE '' END",
        "last_status_code": f"CASE WHEN {has_failed} THEN {codes} END",
        "failure": f"CASE WHEN {has_failed} THEN {failures} END",
        "source": "'com.example.shop'",
        "type": f"'order.type_' || (n % {TYPES})",
        "subject": "'ORD-' || (n + 1000000)",
        "ordering_key": f"'key-' || (n % {max(1, count // 5)})",
        "event_id": "'event-' || n",
        "body": f"'{BODY}'",
        "body_sha256": "'0'",
        "content_sha256": "'0'",
        "idempotency_key": KEY[connection.vendor].format(first=0).replace("%%", "%"),
    }
    _insert(OutboxEvent, columns, count)


def _attempts(count: int) -> None:
    """Ten for every hundred events, with correlation ids."""
    columns = {
        "event_id": "n * 10",
        "number": "1",
        "kind": "'publish'",
        "started_at": now_sql(connection, "-60"),
        "duration": "0.1",
        "verdict": "'rejected'",
        "status_code": "400",
        "error": _quoted(ERRORS[0][1]),
        "correlation_id": "'correlation-' || n",
        "response_excerpt": "''",
        "worker": "'worker-1:4711'",
    }
    _insert(DeliveryAttempt, columns, count // 10)


def _acts(count: int) -> None:
    """Acts on one event each, and as the last one a job that requeued a tenth of all events."""
    number = count // 10
    job = {
        **_blank("destination", "ended_by"),
        **dict.fromkeys(("skipped", "position"), "0"),
        "key": KEY[connection.vendor].format(first=0).replace("%%", "%"),
        "act": f"'{Act.REQUEUE}'",
        "username": "CASE WHEN n % 2 = 0 THEN 'ana' ELSE 'ben' END",
        "via": "'admin'",
        "reason": "'the type is registered now'",
        "about": "'#' || n",
        "options": "'{}'",
        "state": f"'{JobState.FINISHED}'",
        "total": "1",
        "done": "1",
        "results": "'[]'",
        "created_at": now_sql(connection, f"(n - {number}) * 20.0"),
        "finished_at": now_sql(connection, f"(n - {number}) * 20.0"),
    }
    _insert(Job, job, number)
    act = {
        "event_id": "n",
        "event_number": "n",
        "cloudevent_id": "'event-' || n",
        "job_id": "n",
        "act": f"'{Act.REQUEUE}'",
        "username": job["username"],
        "via": "'admin'",
        "from_state": f"'{State.DEAD}'",
        "to_state": f"'{State.PENDING}'",
        "reason": job["reason"],
        "at": now_sql(connection, "-60"),
    }
    _insert(EventAct, act, number)
    large = Job.objects.order_by("-pk")[:1].get()
    items = {"job_id": str(large.pk), "event_number": "n * 10", "outcome": "'done'"}
    _insert(JobItem, items, number)
    groups = [["done", "default", f"order.type_{kind * 10}", number // 2] for kind in range(TYPES // 10)]
    Job.objects.filter(pk=large.pk).update(total=number, done=number, results=json.dumps(groups))


def _counters() -> None:
    measures = ["delivered", "dead", "unresolved", "publish:accepted", "check:delivered", "error:503"]
    measures += [f"within:{step}" for step in range(1, 30)]
    buckets = DAYS * 24 * 12
    for model, column, seconds, values in (
        (Rollup, "measure", 300, [_quoted(measure) for measure in measures]),
        (DeliveryTime, "type", 3600, [_quoted(f"order.type_{kind}") for kind in range(TYPES)]),
    ):
        for value in values:
            columns = {
                column: value,
                "destination": "'default'",
                "number": "300",
                "starts_at": _bucket(seconds),
            }
            if model is DeliveryTime:
                columns |= {"seconds": str(seconds), "step": "12"}
            _insert(model, columns, buckets * 300 // seconds)


def _bucket(seconds: int) -> str:
    """The start of the bucket ``n`` before this one."""
    ago = now_sql(connection, f"-1.0 * {seconds} * n")
    if connection.vendor == "postgresql":
        return f"TO_TIMESTAMP(FLOOR(EXTRACT(EPOCH FROM {ago}) / {seconds}) * {seconds})"
    if connection.vendor == "mysql":
        return f"FROM_UNIXTIME(FLOOR(UNIX_TIMESTAMP({ago}) / {seconds}) * {seconds})"
    return f"DATETIME(CAST(STRFTIME('%s', {ago}) AS INTEGER) / {seconds} * {seconds}, 'unixepoch')"


def _case(place: str, values: Mapping[int, str], other: str) -> str:
    whens = " ".join(f"WHEN {each} THEN {value}" for each, value in values.items())
    return f"CASE {place} {whens} ELSE {other} END"


def _of_errors(values: Sequence[str]) -> str:
    whens = " ".join(f"WHEN {place} THEN {value}" for place, value in enumerate(values))
    return f"CASE n % 7 % {len(ERRORS)} {whens} END"


def _quoted(text: str | None) -> str:
    assert text is not None
    return f"'{text}'"


def _blank(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "''")


def _insert(model: type[Model], columns: Mapping[str, str], count: int) -> None:
    """A row for each ``n`` from 1 to ``count``."""
    names = ", ".join(connection.ops.quote_name(name) for name in columns)
    numbers = NUMBERS[connection.vendor].format(count=count)
    values = ", ".join(value.replace("%%", "%") for value in columns.values())
    with connection.cursor() as cursor:
        # Without parameters, so that a percent sign is one.
        cursor.execute(
            f"INSERT INTO {model._meta.db_table} ({names}) "
            f"SELECT {values} FROM ({numbers}) AS numbers ORDER BY n"
        )
