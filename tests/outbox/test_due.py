"""Where a worker's scan for due events begins, and how often it begins at the beginning."""

import datetime as dt

import pytest
from django.db import connection, connections, transaction
from django.db.models import Value

from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import due, next_due
from genesys_eventbridge.outbox.due import Pace, Scan, due_events, scan
from genesys_eventbridge.states import State
from tests.outbox_rows import claim, event, fresh, seconds_between

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
EARLIER = NOW - dt.timedelta(seconds=30)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def walk(clock, scan, seconds, first=None, now=NOW):
    """One look that takes so long; returns the place where it began, None for the beginning."""
    with scan.read() as look:
        clock.now += seconds
        look.saw(first, now)
    return look._place


class TestPace:
    def test_what_is_cheap_may_be_done_each_time(self):
        clock = Clock()
        pace = Pace(clock)
        for _ in range(9):
            assert not pace.waits()
            with pace.measured():
                clock.now += 0.001

    def test_what_was_dear_three_times_in_a_row_waits_a_hundred_times_as_long(self):
        clock = Clock()
        pace = Pace(clock)
        for _ in range(3):
            assert not pace.waits()
            with pace.measured():
                clock.now += 0.02

        clock.now += 1.9
        assert pace.waits() == pytest.approx(0.1)
        clock.now += 0.2
        assert not pace.waits()

    def test_it_waits_ten_seconds_at_most(self):
        clock = Clock()
        pace = Pace(clock)
        for _ in range(3):
            with pace.measured():
                clock.now += 5.0

        clock.now += 10.1
        assert not pace.waits()


class TestAScan:
    @pytest.fixture
    def clock(self):
        return Clock()

    @pytest.fixture
    def dear(self, clock):
        """A scan after three walks that were dear."""
        found = Scan(Pace(clock))
        for _ in range(3):
            assert walk(clock, found, 1.0, (EARLIER, 7)) is None
        return found

    def test_a_look_begins_where_the_last_one_saw_the_first_event(self, clock, dear):
        assert walk(clock, dear, 0.0, (NOW, 9)) == (EARLIER, 7)
        assert walk(clock, dear, 0.0) == (NOW, 0)

    def test_where_nothing_was_due_it_begins_at_that_time(self, clock, dear):
        walk(clock, dear, 0.0, None)

        assert walk(clock, dear, 0.0) == (NOW, 0)

    def test_it_begins_at_the_beginning_every_ten_seconds(self, clock, dear):
        """For events whose transaction committed late."""
        clock.now += 10.1

        assert walk(clock, dear, 0.0) is None

    def test_a_look_says_when_the_next_one_may_begin_at_the_beginning(self, clock, dear):
        with dear.read() as look:
            assert look.whole_in == 10.0

        clock.now += 10.1
        with dear.read() as look:
            assert look.whole_in == 0.0

    def test_it_never_begins_in_the_future(self, clock, dear):
        """The next step of an event may be later than now, and others are due before it."""
        walk(clock, dear, 0.0, (NOW + dt.timedelta(hours=1), 9))

        assert walk(clock, dear, 0.0) == (NOW, 0)

    def test_a_place_on_one_clock_is_not_used_on_another(self, clock, dear):
        """Tests shift the clock for a pass; what is enqueued after it is due before that place."""
        with shifted(60):
            assert walk(clock, dear, 1.0) is None
            assert walk(clock, dear, 0.0) is not None
        assert walk(clock, dear, 0.0) is None

    def test_a_look_that_failed_moves_nothing(self, clock, dear):
        with pytest.raises(ZeroDivisionError), dear.read():
            raise ZeroDivisionError

        assert walk(clock, dear, 0.0) == (EARLIER, 7)


@pytest.mark.django_db
class TestRows:
    def test_a_narrowed_look_sees_the_same_event_and_later_ones(self):
        before, row, after = event(), event(), event()
        OutboxEvent.objects.update(due_at=fresh(row).due_at)
        due_at = fresh(row).due_at
        assert due_at is not None

        rows = due.from_place(due_events("default", State.PENDING), Value(due_at), Value(row.pk))

        assert list(rows.order_by("id")) == [row, after]
        assert before not in rows

    @pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite keeps no entries for old snapshots")
    def test_a_look_that_misses_what_committed_late_asks_for_another_one(self, monkeypatch):
        """An event is due when it is written, and seen when it is committed; a look came in between."""
        monkeypatch.setattr(due, "CHEAP", 0.0)
        monkeypatch.setattr(due, "SHARE", 1e-9)
        for _ in range(4):
            next_due.next_due("default")
        event(row={"due_at": DatabaseNow(-5)})

        missed = next_due.next_due("default")
        assert missed.publish_in is None
        assert 0 < missed.whole_in <= due.LONGEST_PAUSE

        due.forget()
        found = next_due.next_due("default")
        assert found.publish_in is not None
        assert found.whole_in == 0

    @pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite keeps no entries for old snapshots")
    def test_claims_and_idle_looks_of_one_process_share_the_place(self, monkeypatch):
        monkeypatch.setattr(due, "CHEAP", 0.0)
        row = event()
        for _ in range(3):
            next_due.next_due("default")

        claim(limit=1, lapsed=0, suspects=0)
        claim()

        place = scan("default", State.PENDING)._place
        assert place is not None
        assert seconds_between(row.due_at, place[0]) >= 0

    @pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite keeps no entries for old snapshots")
    def test_an_idle_look_begins_where_the_last_one_ended(self, monkeypatch):
        monkeypatch.setattr(due, "CHEAP", 0.0)
        monkeypatch.setattr(due, "SHARE", 1e-9)
        event(delay=60)
        looks = [next_due.next_due("default") for _ in range(5)]

        assert scan("default", State.PENDING)._place is not None
        assert [look.publish_in for look in looks] == [pytest.approx(60, abs=10)] * 5

    @pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite keeps no entries for old snapshots")
    def test_an_event_behind_the_place_is_found_by_the_next_scan_from_the_beginning(self, monkeypatch):
        monkeypatch.setattr(due, "CHEAP", 0.0)
        monkeypatch.setattr(due, "SHARE", 1e-9)
        for _ in range(4):
            claim()
        late = event(row={"due_at": DatabaseNow(-5)})

        assert claim().rows == []
        scan("default", State.PENDING)._pace._again_at = 0.0
        assert [row.id for row in claim().rows] == [late.pk]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite keeps no entries for old snapshots")
@pytest.mark.django_db(transaction=True)
def test_with_an_old_snapshot_open_a_claim_reads_no_events_that_were_sent():
    """The plan of the look itself, with the rows that the index keeps for the snapshot."""
    if connection.vendor != "postgresql":
        pytest.skip("MariaDB shows no such numbers")
    old = connections["default"].copy()
    old.set_autocommit(False)
    try:
        with old.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT COUNT(*) FROM genesys_eventbridge_outboxevent")
        for _ in range(300):
            event()
        rows = due_events("default", State.PENDING)
        due_at, pk = rows.order_by("-due_at", "-id").values_list("due_at", "id")[0]
        assert due_at is not None
        with transaction.atomic():
            rows.exclude(id=pk).update(
                state=State.DELIVERED, due_at=None, finished_at=DatabaseNow(), in_doubt_since=None
            )

        def read(query):
            found = query.order_by("due_at", "id")[:1].explain(analyze=True, buffers=True, timing=False)
            line = next(line for line in found.splitlines() if "Buffers: shared hit=" in line)
            return int(line.partition("hit=")[2].split()[0])

        assert read(due.from_place(rows, Value(due_at), Value(pk))) < read(rows) / 3
    finally:
        old.close()
