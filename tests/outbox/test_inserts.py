"""Rows written by hand-made statements are the rows that the model's own save() would write."""

import datetime as dt
import json
from typing import Any

import pytest
from django.db import DataError, connection

from genesys_eventbridge.db import clock
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import rows as outbox_rows
from genesys_eventbridge.outbox.rows import build_row, insert, insert_many
from tests.outbox_rows import fresh, seconds_between

pytestmark = pytest.mark.django_db

DATABASE_SETS = {"id", "created_at", "due_at", "not_before"}


def write_one(row):
    insert(row, "default")


def write_many(row):
    insert_many([row], "default")


def save(row):
    row.save(force_insert=True)


both = pytest.mark.parametrize("write", [write_one, write_many])


def columns(row):
    return {field.attname: getattr(row, field.attname) for field in OutboxEvent._meta.concrete_fields}


@both
def test_each_column_holds_what_save_would_have_written(write):
    said: dict[str, Any] = {
        "event_id": "e-1",
        "subject": "ORD-7",
        "time": "2026-03-01T10:30:00.123Z",
        "ordering_key": "k",
    }
    key = "11111111-2222-4333-8444-555555555555"
    as_django = build_row("order.created", {"a": 1}, idempotency_key=key, source="com.example.a", **said)
    ours = build_row("order.created", {"a": 1}, idempotency_key=f"{key}-2", source="com.example.b", **said)
    save(as_django)
    write(ours)

    theirs, own = columns(fresh(as_django)), columns(fresh(ours))
    differing = {"id", "source", "body", "body_sha256", "content_sha256", "idempotency_key", *DATABASE_SETS}
    assert own.keys() == theirs.keys()
    assert {name for name in own if own[name] != theirs[name]} <= differing
    assert own["source"] == "com.example.b"
    assert own["idempotency_key"] == ours.idempotency_key


@both
def test_the_times_are_the_databases_and_a_delay_is_kept(write):
    soon, later = build_row("a", None), build_row("a", None, delay=dt.timedelta(minutes=5))
    write(soon)
    write(later)

    assert (fresh(soon).due_at, fresh(soon).not_before) == (fresh(soon).created_at, None)
    assert 299 <= seconds_between(later.created_at, later.due_at) <= 301
    assert fresh(later).not_before == fresh(later).due_at == later.not_before


@both
@pytest.mark.parametrize(
    "text", ["\u0000", 'it\'s "quoted" \\ 100 %s %', "\r\n\t\u2028", "\U0001f600 é €", "{}"]
)
def test_a_body_arrives_byte_for_byte(write, text):
    row = build_row("order.created", {"text": text, text: [text]})
    write(row)

    assert fresh(row).body == row.body
    assert fresh(row).data == {"text": text, text: [text]}


@both
def test_the_row_can_be_saved_and_deleted_like_any_other(write):
    row = build_row("order.created", None)
    write(row)

    assert (row._state.adding, row._state.db) == (False, "default")
    row.object_id = "7"
    row.save(update_fields=["object_id"])
    assert fresh(row).object_id == "7"
    row.delete()
    assert not OutboxEvent.objects.exists()


@both
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite does not limit the length of text")
def test_what_is_too_long_for_its_column_is_refused_and_never_cut(write):
    row = build_row("order.created", None)
    row.object_id = "x" * 256

    with pytest.raises(DataError):
        write(row)


def test_many_rows_get_ids_that_rise_in_the_order_given():
    rows = [build_row("order.created", number) for number in range(200)]
    insert_many(rows, "default")

    stored = OutboxEvent.objects.order_by("id")
    assert [json.loads(row.body)["data"] for row in stored] == list(range(200))
    assert [row.pk for row in rows] == [row.pk for row in stored]


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="elsewhere the ids are read")
def test_ids_are_true_though_a_trigger_writes_rows_in_between():
    changed = {
        "event_id": "hex(randomblob(8))",
        "idempotency_key": "lower(hex(randomblob(16)))",
        "type": "'b'",
    }
    names = [field.attname for field in OutboxEvent._meta.concrete_fields if not field.primary_key]
    table, values = OutboxEvent._meta.db_table, ", ".join(changed.get(name, f"NEW.{name}") for name in names)
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TRIGGER copies AFTER INSERT ON {table} WHEN NEW.type = 'a' "
            f"BEGIN INSERT INTO {table} ({', '.join(names)}) VALUES ({values}); END"
        )
    rows = [build_row("a", number) for number in range(100)]
    insert_many(rows, "default")

    stored = OutboxEvent.objects.filter(type="a").order_by("id")
    assert [row.pk for row in rows] == [row.pk for row in stored]
    assert [row.data for row in stored] == list(range(100))
    assert OutboxEvent.objects.count() == 200


def test_a_delay_in_a_batch_moves_only_its_own_event():
    rows = [build_row("a", None), build_row("a", None, delay=300), build_row("a", None)]
    insert_many(rows, "default")

    waits = [seconds_between(row.created_at, row.due_at) for row in map(fresh, rows)]
    assert waits[::2] == [0, 0]
    assert 299 <= waits[1] <= 301
    assert [fresh(row).not_before is None for row in rows] == [True, False, True]


def test_a_new_row_has_the_models_defaults():
    built = build_row("order.created", None)

    given = {*outbox_rows._COLUMNS, *outbox_rows._TIMES}
    others = {name: value for name, value in columns(OutboxEvent()).items() if name not in given}
    assert {name: value for name, value in columns(built).items() if name in others} == others


@both
def test_the_time_of_an_event_follows_a_shifted_clock(write):
    now, shifted = build_row("a", None), build_row("a", None)
    write(now)
    with clock.shifted(3600):
        write(shifted)

    assert 3599 <= seconds_between(now.created_at, shifted.created_at) <= 3660


@both
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="elsewhere NOW() is the statement's time")
def test_the_time_of_an_event_is_not_that_of_its_transaction(write):
    row = build_row("a", None)
    write(row)

    with connection.cursor() as cursor:
        cursor.execute("SELECT NOW()")
        assert fresh(row).created_at > cursor.fetchone()[0]


def test_the_statements_name_every_column_that_has_no_null():
    """A column added to the model without NULL has to be written here, too."""
    with connection.cursor() as cursor:
        described = connection.introspection.get_table_description(cursor, OutboxEvent._meta.db_table)
    written = {*outbox_rows._COLUMNS, *outbox_rows._TIMES, *outbox_rows._BEGINNING}
    assert {column.name for column in described if not column.null_ok} <= {"id", *written}


@pytest.mark.skipif("connection.vendor != 'mysql'", reason="MySQL and MariaDB limit a statement's bytes")
def test_many_large_events_are_not_limited_by_the_largest_statement():
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (limit,) = cursor.fetchone()
    data = '"' * 50_000  # 100,000 bytes in the body, 150,000 or more in the statement
    rows = [build_row("order.created", data) for _ in range(limit // 100_000)]

    insert_many(rows, "default")

    ids = [row.pk for row in rows]
    assert ids == sorted(set(ids))
    assert [row.event_id for row in OutboxEvent.objects.only("event_id").order_by("id")] == [
        row.event_id for row in rows
    ]


@pytest.mark.parametrize(
    ("bodies", "parts"),
    [
        ([10, 10, 10], [3]),
        ([3000, 3000, 10], [1, 2]),
        ([9000, 10, 9000, 9000], [1, 1, 1, 1]),
        ([10, 9000], [1, 1]),
        ([9000], [1]),
    ],
)
def test_a_statement_has_as_many_rows_as_fit_and_at_least_one(monkeypatch, bodies, parts):
    monkeypatch.setattr(outbox_rows, "PACKET", 6000)
    rows = [OutboxEvent(body="é" * (size // 2)) for size in bodies]

    found = list(outbox_rows._packets(rows))

    assert [len(part) for part in found] == parts
    assert [row for part in found for row in part] == rows
