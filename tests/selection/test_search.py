"""The search finds what people have at hand, by indexes, and says what is nearest if it finds nothing."""

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge.db.folding import END
from genesys_eventbridge.models import DeliveryAttempt, OutboxEvent
from genesys_eventbridge.selection import EventFilter, search, types
from tests.outbox_rows import event
from tests.selection.plans import plan

pytestmark = pytest.mark.django_db

MYSQL = connection.vendor == "mysql"
by_index = pytest.mark.skipif(MYSQL, reason="MySQL and MariaDB have no index for a part of a subject")


def subjects(text):
    return {row.subject for row in EventFilter(text=text).rows()}


@pytest.mark.parametrize("text", ["ORD-4711", "ord-4711", "Ord-4711", "4711", "ord", "ORD-47", " 711\n"])
def test_a_subject_is_found_in_any_case_by_its_beginning_or_its_end(text):
    for subject in ("ORD-4711", "INV-1", "47110", ""):
        event(subject=subject or None)

    assert "ORD-4711" in subjects(text)
    assert not subjects(text) & {"INV-1", ""}


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("Größe-1", "größe"),
        ("GRÖSSE-Ä", "ä"),
        ("ÉTÉ-1", "été-1"),
        ("100%_x", "%_X"),
        ("a\\b", "A\\B"),
        ("x" * 250 + "Y-1", "xY-1"),
        ("A" + "b" * 254, "b" * 100),
        ("ab" * (END - 1), "ab" * (END - 2)),
    ],
)
def test_letters_of_any_alphabet_signs_and_long_texts_are_found(stored, text):
    event(subject=stored)
    event(subject="another")

    assert subjects(text) == {stored}


@by_index
def test_a_long_end_is_compared_as_a_whole():
    event(subject="x" + "b" * (END + 1))

    assert subjects("y" + "b" * END) == set()


@by_index
def test_the_middle_of_a_subject_is_not_searched():
    event(subject="ORD-4711-B")

    assert subjects("4711") == set()


def test_a_number_is_a_number_only_with_its_sign():
    row = event(subject="x")
    other = event(subject=str(row.pk))

    assert {found.pk for found in EventFilter(text=f"#{row.pk}").rows()} == {row.pk}
    assert {found.pk for found in EventFilter(text=str(row.pk)).rows()} == {other.pk}


def test_ids_and_keys_are_found_exactly():
    key = uuid.uuid4()
    row = event(idempotency_key=key, row={"remote_id": "Evt-1", "correlation_id": "C-last"})
    DeliveryAttempt.objects.create(
        event=row, number=1, kind="publish", started_at=row.created_at, duration=0.1, correlation_id="C-first"
    )
    event(row={"remote_id": "Evt-10", "correlation_id": "C-last-2"})

    for text in (row.event_id, row.event_id.upper(), str(key), key.hex, "Evt-1", "C-last", "C-first"):
        assert {found.pk for found in EventFilter(text=text).rows()} == {row.pk}, text
    assert not EventFilter(text="C-la").rows().exists()


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 256, "#" + "9" * 40, "#", "%", "_"])
def test_a_text_that_nothing_can_have_finds_nothing(text):
    event(subject="ORD-1")

    assert not EventFilter(text=text).rows().exists()
    assert search.nearest(text) == []


def test_a_text_that_very_many_events_have_is_a_condition_and_finds_the_same(monkeypatch):
    for number in range(6):
        event(subject=f"ORD-{number}")
    one = event(event_id="ORD-")
    event(subject="INV-1")
    few = {row.pk for row in EventFilter(text="ord-").rows()}
    monkeypatch.setattr(search, "MOST_IDS", 3)

    assert search.search("ord-").condition is not None
    assert {row.pk for row in EventFilter(text="ord-").rows()} == few
    assert {row.pk for row in EventFilter(text="ORD-").rows()} == {one.pk, *few}


def test_a_search_takes_one_query_and_its_rows_another():
    event(subject="ORD-1")

    with CaptureQueriesContext(connection) as queries:
        list(EventFilter(text="ord-1").rows())

    assert len(queries) == 2


@by_index
def test_every_part_of_a_search_has_an_index(django_assert_num_queries):
    """On SQLite; PostgreSQL prefers to read a table this small."""
    event(subject="ORD-1")

    with django_assert_num_queries(1) as queries:
        search.search("ORD-1")

    assert not [line for line in plan(queries.captured_queries[0]["sql"]) if line.startswith("SCAN genesys")]


def test_the_nearest_subjects_share_most_with_the_text():
    for subject in ("ORD-4711", "ORD-4713", "ORD-9", "INV-4712", "XYZ"):
        event(subject=subject)
        event(subject=subject)

    assert search.nearest("ORD-4712")[:2] == ["ORD-4711", "ORD-4713"]
    assert MYSQL or search.nearest("ORD-4712")[2] == "INV-4712"
    assert search.nearest("qqq") == []
    assert "XYZ" not in search.nearest("ORD-4712")


@pytest.mark.skipif(not MYSQL, reason="the other databases have an index for a part of a subject")
def test_without_an_index_only_the_newest_events_are_searched_in_part(monkeypatch):
    old = event(subject="ORD-4711")
    event(subject="new")
    event(subject="newer")
    monkeypatch.setattr(search, "NEWEST", 2)

    assert search.is_capped()
    assert subjects("4711") == set()
    assert subjects("ORD-4711") == {old.subject}
    assert subjects("EWE") == {"newer"}


def test_the_types_in_the_table_are_offered_sorted_and_bounded():
    assert types.seen(3) == []
    for kind in ("d", "b", "a", "c", "b", "b"):
        event(kind)

    assert types.seen(3) == ["a", "b", "c"]
    assert types.seen(100) == ["a", "b", "c", "d"]
    assert OutboxEvent.objects.count() == 6
