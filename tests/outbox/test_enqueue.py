"""The one way in: everything wrong raises here, in the caller's transaction, and nothing wrong is stored."""

import asyncio
import datetime as dt
import hashlib
import json
import threading
import uuid
from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from genesys_eventbridge import signals
from genesys_eventbridge.db.clock import shifted
from genesys_eventbridge.errors import IdempotencyConflict, InvalidEvent, NotInTransaction
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import aenqueue, enqueue, enqueue_many
from genesys_eventbridge.outbox.rows import NAMESPACE
from genesys_eventbridge.states import State
from tests.outbox_rows import fresh, in_threads, seconds_between
from tests.shop.models import Country, Customer
from tests.truth.models import Seat

pytestmark = pytest.mark.django_db
real_transactions = pytest.mark.django_db(transaction=True)

KEY = uuid.UUID("11111111-2222-4333-8444-555555555555")


def put(type="order.created", data=None, **keywords):  # noqa: A002 - the CloudEvents word
    return enqueue(type, data, standalone=True, **keywords)


class TestTheRow:
    def test_an_event_is_pending_and_due_at_once(self):
        row = fresh(put())

        assert (row.state, row.attempts, row.claim_token, row.in_doubt_since) == (
            State.PENDING,
            0,
            None,
            None,
        )
        assert row.due_at == row.created_at

    def test_the_body_is_the_whole_cloudevent_and_its_hash(self):
        row = fresh(put("order.created", {"amount": Decimal("1.10")}, subject="ORD-7"))

        body = json.loads(row.body)
        assert body["specversion"] == "1.0"
        assert (body["type"], body["source"]) == ("order.created", "com.example.tests")
        assert (body["subject"], body["data"]) == ("ORD-7", {"amount": "1.10"})
        assert body["id"] == row.event_id
        assert body["datacontenttype"] == "application/json"
        assert row.body_sha256 == hashlib.sha256(row.body.encode()).hexdigest()

    @pytest.mark.parametrize(
        "data",
        [
            None,
            False,
            0,
            "",
            [],
            {},
            {"a": [1, 2.5, None]},
            "text",
            "\u0000",
            "\U0001f600 é €",
            {"k": "\r\n"},
        ],
    )
    def test_a_payload_comes_back_as_it_was(self, data):
        assert fresh(put(data=data)).data == data

    def test_bytes_come_back_as_bytes(self):
        row = fresh(put(data=b"\x00\xff", datacontenttype="application/octet-stream"))

        assert row.data == b"\x00\xff"

    def test_the_time_of_the_fact_is_kept(self):
        moment = dt.datetime(2026, 3, 1, 12, 30, tzinfo=dt.timezone(dt.timedelta(hours=2)))

        row = fresh(put(time=moment))

        assert row.time == moment
        assert json.loads(row.body)["time"] == "2026-03-01T10:30:00.000Z"

    def test_what_the_caller_changes_later_changes_nothing(self):
        data = {"items": [1]}
        row = put(data=data)
        data["items"].append(2)

        assert fresh(row).data == {"items": [1]}

    def test_the_times_the_database_set_can_be_read_from_the_returned_row(self):
        row = put(delay=dt.timedelta(minutes=5))

        assert 299 <= seconds_between(row.created_at, row.due_at) <= 301
        assert row.not_before == row.due_at

    def test_a_delay_may_be_seconds(self):
        row = fresh(put(delay=1.5))

        assert 1.4 <= seconds_between(row.created_at, row.due_at) <= 1.6

    def test_the_business_object_is_remembered(self):
        ana = Customer.objects.create(name="Ana")

        row = fresh(put(about=ana))

        assert (row.object_type, row.object_id) == ("shop.customer", str(ana.pk))


class TestBadInput:
    @pytest.mark.parametrize(
        ("keywords", "field"),
        [
            ({"data": float("nan")}, "data"),
            ({"data": {"a": [float("inf")]}}, "data.a[0]"),
            ({"data": {"at": dt.datetime(2026, 1, 1)}}, "data.at"),
            ({"data": {1: "x"}}, "data"),
            ({"data": "\ud800"}, "data"),
            ({"data": object()}, "data"),
            ({"data": "x" * 300_000}, "data"),
            ({"type": ""}, "type"),
            ({"type": "a\nb"}, "type"),
            ({"type": "x" * 256}, "type"),
            ({"source": "not a uri"}, "source"),
            ({"subject": ""}, "subject"),
            ({"subject": "x" * 256}, "subject"),
            ({"time": "yesterday"}, "time"),
            ({"time": dt.datetime(2026, 1, 1)}, "time"),
            ({"extensions": {"Bad-Name": "x"}}, "extensions"),
            ({"extensions": {"id": "x"}}, "extensions"),
            ({"ordering_key": ""}, "ordering_key"),
            ({"ordering_key": "x" * 256}, "ordering_key"),
            ({"ordering_key": 7}, "ordering_key"),
            ({"idempotency_key": ""}, "idempotency_key"),
            ({"idempotency_key": 7}, "idempotency_key"),
            ({"idempotency_key": "\ud800"}, "idempotency_key"),
            ({"event_id": ""}, "id"),
            ({"delay": -1}, "delay"),
            ({"delay": float("nan")}, "delay"),
            ({"delay": "5"}, "delay"),
            ({"delay": 3652.5 * 86400 + 1}, "delay"),
            ({"delay": 10**400}, "delay"),
            ({"delay": dt.timedelta.max}, "delay"),
            ({"time": "0001-01-01T12:00:00Z"}, "time"),
            ({"time": "9999-12-31T12:00:00Z"}, "time"),
            ({"about": Customer(name="unsaved")}, "about"),
            ({"about": Customer}, "about"),
            ({"about": "shop.customer:1"}, "about"),
            ({"about": Country(pk="x" * 256)}, "about"),
            ({"about": Country(pk="a\0b")}, "about"),
            ({"about": Country(pk="a\ud800")}, "about"),
            ({"about": Seat(line="A")}, "about"),
        ],
    )
    def test_wrong_input_names_its_field_and_leaves_no_row(self, keywords, field):
        with pytest.raises(InvalidEvent) as caught:
            put(**{"type": "order.created", "data": None, **keywords})

        assert caught.value.field.startswith(field)
        assert not OutboxEvent.objects.exists()

    @pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
    @pytest.mark.parametrize("time", ["0001-01-02T00:00:00.000Z", "9999-12-30T23:59:59.999Z"])
    def test_the_farthest_times_come_back_and_can_be_shown_in_any_zone(self, zone, time):
        row = fresh(put(time=time))

        with timezone.override(zone):
            timezone.localtime(row.time)
        assert row.time == dt.datetime.fromisoformat(time)

    def test_ten_years_may_be_waited(self):
        row = fresh(put(delay=dt.timedelta(days=3652)))

        assert seconds_between(row.created_at, row.due_at) == 3652 * 86400

    def test_data_is_required_and_null_is_said_explicitly(self):
        with pytest.raises(InvalidEvent, match="data=None for JSON null"):
            enqueue("order.created", standalone=True)

    def test_an_unknown_destination_names_the_known_ones(self):
        with pytest.raises(ImproperlyConfigured, match=r"'defaul'.*Did you mean 'default'"):
            put(destination="defaul")

    @pytest.mark.parametrize("wrong", [None, 5, ["default"], b"default"], ids=repr)
    def test_a_destination_that_is_no_text_is_named(self, wrong):
        with pytest.raises(
            ImproperlyConfigured, match="destination: must be an alias in GENESYS_EVENTBRIDGE"
        ):
            put(destination=wrong)
        with pytest.raises(
            ImproperlyConfigured, match="destination: must be an alias in GENESYS_EVENTBRIDGE"
        ):
            enqueue_many([{"type": "order.created", "data": 1}], destination=wrong, standalone=True)

    def test_another_database_than_the_outbox_is_refused(self):
        with pytest.raises(ImproperlyConfigured, match="the outbox lives in database 'default'"):
            put(using="replica")

    def test_no_payload_shows_in_an_error(self):
        with pytest.raises(InvalidEvent) as caught:
            put(data={"card": "payload-canary", "bad": float("nan")})

        assert "payload-canary" not in str(caught.value)


class TestTransactions:
    def test_outside_a_transaction_the_call_is_refused_with_the_line_to_write(self):
        with pytest.raises(NotInTransaction, match=r"with transaction.atomic\(\)"):
            enqueue("order.created", None)

    def test_the_block_of_a_test_case_does_not_count(self):
        assert connection.in_atomic_block

        with pytest.raises(NotInTransaction):
            enqueue("order.created", None)

    def test_within_atomic_it_is_written(self):
        with transaction.atomic():
            row = enqueue("order.created", None, using="default")

        assert fresh(row).state == State.PENDING

    def test_the_rule_can_be_switched_off(self, settings):
        settings.GENESYS_EVENTBRIDGE = {
            "default": {**settings.GENESYS_EVENTBRIDGE["default"], "REQUIRE_TRANSACTION": False}
        }

        assert fresh(enqueue("order.created", None))

    @real_transactions
    def test_it_adds_one_insert_to_the_callers_transaction(self, django_assert_num_queries):
        with transaction.atomic(), django_assert_num_queries(1):
            enqueue("order.created", {"a": 1}, subject="s", ordering_key="k")

    @real_transactions
    def test_switched_off_autocommit_counts_as_a_transaction(self):
        transaction.set_autocommit(False)
        try:
            enqueue("order.created", None)
            transaction.rollback()
        finally:
            transaction.set_autocommit(True)

        assert not OutboxEvent.objects.exists()

    @real_transactions
    def test_outside_autocommit_a_standalone_event_commits_by_itself(self):
        put()

        assert OutboxEvent.objects.count() == 1

    @real_transactions
    def test_a_rolled_back_transaction_leaves_nothing_and_wakes_nobody(self, monkeypatch):
        woken: list[str] = []
        monkeypatch.setattr("genesys_eventbridge.wake.wake", woken.append)

        def fail():
            with transaction.atomic():
                enqueue("order.created", None)
                raise RuntimeError("roll back")

        with pytest.raises(RuntimeError):
            fail()

        assert not OutboxEvent.objects.exists()
        assert woken == []

    @real_transactions
    def test_a_commit_wakes_a_worker_and_tells_receivers_once(self, monkeypatch):
        woken: list[str] = []
        heard: list[str] = []
        monkeypatch.setattr("genesys_eventbridge.wake.wake", woken.append)

        def hear(event, **_keywords):
            heard.append(event.type)

        signals.event_enqueued.connect(hear)
        try:
            with transaction.atomic():
                enqueue("order.created", None)
                assert (woken, heard) == ([], [])
        finally:
            signals.event_enqueued.disconnect(hear)

        assert (woken, heard) == (["default"], ["order.created"])

    @real_transactions
    def test_a_receiver_that_fails_costs_the_caller_nothing(self):
        def fail(**_keywords):
            raise RuntimeError("a receiver's own trouble")

        signals.event_enqueued.connect(fail)
        try:
            put()
        finally:
            signals.event_enqueued.disconnect(fail)

        assert OutboxEvent.objects.count() == 1


class TestIdempotency:
    def test_a_key_is_mapped_to_a_uuid_of_its_own_for_ever(self):
        row = put(idempotency_key="ORD-7")

        assert row.idempotency_key == uuid.uuid5(NAMESPACE, "default\0ORD-7")
        assert str(NAMESPACE) == "6f1c3a52-9d0b-5e6e-8c55-2f0f0d6a7b11"

    def test_a_uuid_is_taken_as_it_is(self):
        assert put(idempotency_key=KEY).idempotency_key == KEY

    def test_without_a_key_each_event_has_its_own(self):
        assert put().idempotency_key != put().idempotency_key

    @pytest.mark.parametrize("key", ["ORD-7", KEY])
    def test_the_same_key_with_the_same_content_is_the_same_row(self, key):
        first = put(data={"a": 1, "b": 2}, subject="s", idempotency_key=key)
        again = put(data={"b": 2, "a": 1}, subject="s", idempotency_key=key)

        assert again.pk == first.pk
        assert again.event_id == first.event_id
        assert OutboxEvent.objects.count() == 1

    @pytest.mark.parametrize(
        "other",
        [
            {"data": {"a": 2}},
            {"type": "order.updated"},
            {"subject": "t"},
            {"source": "com.example.other"},
            {"dataschema": "https://example.com/schema"},
            {"extensions": {"region": "eu"}},
            {"time": "2026-01-01T00:00:00Z"},
        ],
    )
    def test_the_same_key_with_other_content_is_a_conflict(self, other):
        same = {"type": "order.created", "data": {"a": 1}, "subject": "s", "idempotency_key": "ORD-7"}
        put(**same)

        with pytest.raises(IdempotencyConflict, match="Use another key"):
            put(**{**same, **other})

        assert OutboxEvent.objects.count() == 1

    def test_a_conflict_leaves_the_callers_transaction_usable(self):
        with transaction.atomic():
            enqueue("order.created", 1, idempotency_key="k")
            with pytest.raises(IdempotencyConflict):
                enqueue("order.created", 2, idempotency_key="k")
            Customer.objects.create(name="Ana")

        assert Customer.objects.exists()

    def test_the_same_event_id_of_one_source_is_a_conflict(self):
        put(event_id="e-1")

        with pytest.raises(IdempotencyConflict, match="event_id 'e-1'"):
            put(event_id="e-1")
        put(event_id="e-1", source="com.example.other")
        put(event_id="E-1")

    @real_transactions
    def test_many_callers_with_one_key_at_once_write_one_row(self):
        start = threading.Barrier(4)

        def work():
            start.wait(10)
            conflicts: list[bool] = []
            while True:
                try:
                    return put(data={"a": 1}, idempotency_key="ORD-7").pk, conflicts
                except IdempotencyConflict as conflict:
                    conflicts.append(conflict.retryable)

        results = in_threads(4, work)

        assert len({pk for pk, _conflicts in results}) == 1
        assert all(retryable for _pk, conflicts in results for retryable in conflicts)
        assert OutboxEvent.objects.count() == 1


class TestMany:
    def test_rows_come_back_in_the_order_given_with_their_ids(self):
        rows = enqueue_many(
            [{"type": "order.created", "data": number} for number in range(20)], standalone=True
        )

        assert [row.data for row in rows] == list(range(20))
        assert sorted(row.pk for row in rows) == [row.pk for row in rows]
        assert fresh(rows[0]).due_at is not None

    @real_transactions
    def test_the_number_of_queries_does_not_grow_with_the_events(self):
        def queries(count):
            events = [
                {"type": "order.created", "data": None, "idempotency_key": f"{count}-{number}"}
                for number in range(count)
            ]
            with transaction.atomic(), CaptureQueriesContext(connection) as captured:
                enqueue_many(events)
            return len(captured)

        reads_ids = connection.vendor == "sqlite"
        assert queries(200) <= queries(2) + reads_ids <= 6 + reads_ids

    def test_an_error_names_the_position_and_nothing_is_written(self):
        with pytest.raises(InvalidEvent) as caught:
            enqueue_many([{"type": "a", "data": None}, {"type": "b", "data": float("nan")}], standalone=True)

        assert caught.value.field == "events[1].data"
        assert not OutboxEvent.objects.exists()

    @pytest.mark.parametrize("wrong", [{"data": None}, {"type": "a", "data": None, "colour": "red"}, "a"])
    def test_a_mapping_that_is_no_event_is_named(self, wrong):
        with pytest.raises(InvalidEvent, match=r"events\[0\]"):
            enqueue_many([wrong], standalone=True)

    def test_known_keys_bring_their_rows_and_new_ones_are_written(self):
        known = put(data=1, idempotency_key="one")
        same = {"type": "order.created", "data": 2, "idempotency_key": "two"}

        rows = enqueue_many(
            [{"type": "order.created", "data": 1, "idempotency_key": "one"}, same, same], standalone=True
        )

        assert rows[0].pk == known.pk
        assert rows[1].pk == rows[2].pk
        assert OutboxEvent.objects.count() == 2

    def test_a_conflict_inside_the_list_or_with_a_row_writes_nothing(self):
        put(data=1, idempotency_key="one")
        for events in (
            [{"type": "order.created", "data": 2, "idempotency_key": "one"}],
            [
                {"type": "order.created", "data": 2, "idempotency_key": "two"},
                {"type": "order.created", "data": 3, "idempotency_key": "two"},
            ],
        ):
            with pytest.raises(IdempotencyConflict):
                enqueue_many(events, standalone=True)

        assert OutboxEvent.objects.count() == 1

    def test_nothing_to_write_is_no_error(self):
        assert enqueue_many([], standalone=True) == []

    def test_it_too_needs_a_transaction(self):
        with pytest.raises(NotInTransaction):
            enqueue_many([{"type": "a", "data": None}])


@real_transactions
def test_async_code_enqueues_in_a_transaction_of_its_own():
    row = async_to_sync(aenqueue)("order.created", {"a": 1}, subject="s")

    assert fresh(row).data == {"a": 1}


@real_transactions
def test_async_code_may_enqueue_many_at_once():
    async def several():
        return await asyncio.gather(*(aenqueue("order.created", number) for number in range(5)))

    assert len({row.pk for row in async_to_sync(several)()}) == 5


def test_a_delayed_event_becomes_due_by_the_databases_clock():
    row = put(delay=60)

    assert not OutboxEvent.objects.due().exists()
    with shifted(61):
        assert list(OutboxEvent.objects.due()) == [row]
