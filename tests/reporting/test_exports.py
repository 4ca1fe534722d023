"""Exports: every attempt's correlation id, exact times, no formulas, no payload unless asked for."""

import csv
import datetime as dt
import io
import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge.models import DeliveryAttempt
from genesys_eventbridge.reporting import exports
from genesys_eventbridge.reporting.exports import COLUMNS, Format, iso, written
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import ended, event

pytestmark = pytest.mark.django_db

AT = dt.datetime(2026, 3, 2, 9, 30, 5, 1200, tzinfo=dt.UTC)


def attempt(row, number, **columns):
    columns = {"kind": "publish", "started_at": AT, "duration": 0.5, "verdict": "rejected", **columns}
    return DeliveryAttempt.objects.create(event=row, number=number, **columns)


def table(*rows, payload=False):
    text = "".join(written([[row.pk for row in rows]], Format.CSV, payload=payload))
    return list(csv.DictReader(io.StringIO(text)))


def lines(*rows, payload=False):
    parts = written([[row.pk for row in rows]], Format.JSON_LINES, payload=payload)
    return [json.loads(part) for part in parts]


def test_both_formats_have_the_same_columns_ids_first():
    row = event()

    assert list(table(row)[0]) == [*COLUMNS, "correlation_ids"]
    assert list(lines(row)[0]) == [*COLUMNS, "attempt_log", "event", "data"]
    assert COLUMNS[:2] == ("id", "event_id")


def test_every_attempt_has_its_correlation_id():
    row = event(row={"correlation_id": "c-3"})
    for number, name in ((2, "c-2"), (1, "c-1"), (3, ""), (4, "c-2")):
        attempt(row, number, correlation_id=name, status_code=503, error="HTTP 503")

    assert table(row)[0]["correlation_ids"] == "c-1 c-2"
    log = lines(row)[0]["attempt_log"]
    assert [(each["number"], each["correlation_id"]) for each in log] == [
        (1, "c-1"),
        (2, "c-2"),
        (3, ""),
        (4, "c-2"),
    ]
    assert log[0]["started_at"] == "2026-03-02T09:30:05.001200+00:00"


def test_times_are_iso_with_an_offset(settings):
    row = event(row={"created_at": AT})

    assert table(row)[0]["created_at"] == lines(row)[0]["created_at"] == "2026-03-02T09:30:05.001200+00:00"
    assert table(row)[0]["finished_at"] == ""
    assert lines(row)[0]["finished_at"] is None
    settings.TIME_ZONE = "Asia/Tokyo"
    assert iso(dt.datetime(2026, 3, 2, 9, 30)) == "2026-03-02T09:30:00+09:00"


WIDE = ("\uff1d", "\uff0b", "\uff0d", "\uff20")


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "  =", "\t=", "\r=", "\n=", *WIDE])
def test_no_cell_is_a_formula(begin):
    """Other tools may write rows, so a subject may begin with what enqueue() refuses."""
    formula = f"{begin}cmd|' /C calc'!A0"
    row = event(row={"subject": formula, "last_error": f"{begin}1+1"})

    for cell in table(row)[0].values():
        assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n", *WIDE))
    assert lines(row)[0]["subject"] == formula


def test_a_cell_is_one_line_without_invisible_characters():
    row = event(row={"subject": 'a\n"b",\u202ec'})

    assert table(row)[0]["subject"] == 'a\\x0a"b",\\u202ec'


@pytest.mark.parametrize("payload", [True, False])
def test_the_data_is_there_only_if_asked_for_and_masked(payload):
    row = event("order.created", {"name": "canary", "password": "s3cret"})
    blanked = event(row=ended(State.DELIVERED, finished_at=AT, body=""))

    cells, members = table(row, blanked, payload=payload), lines(row, blanked, payload=payload)

    if payload:
        assert json.loads(cells[0]["data"]) == {"name": "canary", "password": "[redacted]"}
        assert cells[1]["data"] == ""
        assert members[0]["event"]["data"] == {"name": "canary", "password": "[redacted]"}
    else:
        assert "data" not in cells[0]
        assert members[0]["data"].startswith("an object with 2 members")
    assert members[1]["event"] is None
    assert "s3cret" not in str((cells, members))
    assert ("canary" in str((cells, members))) is payload


def test_the_order_of_the_ids_is_kept_and_what_was_pruned_meanwhile_is_left_out(monkeypatch):
    monkeypatch.setattr(exports, "PAGE", 2)
    rows = [event(row=ended(State.DEAD, Reason.REJECTED)) for _ in range(5)]
    ids = [row.pk for row in rows[::-1]]
    rows[2].delete()

    parts = list(written([ids[:3], ids[3:]], Format.JSON_LINES, payload=False))

    assert [json.loads(part)["id"] for part in parts] == [pk for pk in ids if pk != ids[2]]


def test_pages_are_read_one_after_the_other_as_the_file_is(monkeypatch):
    """Two queries a page: the events and their attempts. Nothing is read ahead."""
    monkeypatch.setattr(exports, "PAGE", 2)
    rows = [event() for _ in range(6)]
    parts = written([[row.pk for row in rows]], Format.JSON_LINES, payload=False)

    with CaptureQueriesContext(connection) as queries:
        next(parts)
        assert len(queries) == 2
        list(parts)
        assert len(queries) == 6
