"""A compiled query returns what Django's would, with the values, clock and connection of each execution."""

import datetime as dt
import threading
import uuid

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from genesys_eventbridge.db.clock import NOW, shifted
from genesys_eventbridge.db.compiled import Given, OneOf, changed, compiled, places_for
from genesys_eventbridge.models import OutboxEvent, outbox_alias
from tests.db.test_clock import database_zone
from tests.outbox_rows import event, fresh

pytestmark = pytest.mark.django_db(transaction=True)

field = OutboxEvent._meta.get_field
builds: list[str] = []


@pytest.fixture(autouse=True)
def _no_builds():
    builds.clear()


@compiled
def of_type(database, event_type, *, newest=False):
    builds.append(event_type)
    rows = OutboxEvent.objects.using(database).filter(type=event_type)
    return rows.order_by("-id" if newest else "id").values_list("id", "time")


@compiled
def times(database):
    builds.append("times")
    return OutboxEvent.objects.using(database).annotate(now=NOW).values_list("now")


@compiled
def any_of(database, places):
    rows = OutboxEvent.objects.using(database).filter(OneOf("id", "ids", places, field("id")))
    return rows.order_by("id").values_list("id")


@compiled
def with_values(database):
    rows = OutboxEvent.objects.using(database).filter(time__gte=Given("since", field("time")))
    return changed(
        rows, doubt_about=Given("about", field("doubt_about")), subject=Given("s", field("subject"))
    )


def test_a_query_is_built_once_for_each_set_of_arguments():
    row, other = event("a.b"), event("a.b")

    for _time in range(3):
        assert of_type(outbox_alias(), "a.b").rows() == [(row.id, row.time), (other.id, other.time)]
        assert of_type(outbox_alias(), "a.b", newest=True).rows()[0] == (other.id, other.time)
        assert of_type(outbox_alias(), "x.y").rows() == []

    assert builds == ["a.b", "a.b", "x.y"]


def test_it_reads_the_clock_of_each_execution():
    event()
    ((now,),) = times(outbox_alias()).rows()
    with shifted(3600):
        ((later,),) = times(outbox_alias()).rows()
    ((after,),) = times(outbox_alias()).rows()

    assert dt.timedelta(minutes=59) < later - now < dt.timedelta(minutes=61)
    assert now <= after < later
    assert len(builds) <= 1


def test_it_reads_the_time_right_in_whatever_zone_django_stores_times():
    event()
    for zone in ("UTC", "Asia/Tokyo"):
        with database_zone(zone):
            ((now,),) = times(outbox_alias()).rows()
        assert abs(now - timezone.now()) < dt.timedelta(seconds=30), zone


@pytest.mark.parametrize("number", range(1, 10))
def test_any_number_of_values_finds_exactly_theirs(number):
    ids = [event().id for _row in range(10)]

    found = any_of(outbox_alias(), places_for(ids[:number])).rows(ids=ids[:number])

    assert found == [(pk,) for pk in ids[:number]]


def test_few_queries_are_compiled_for_many_numbers_of_values():
    assert len({places_for(range(number)) for number in range(1, 101)}) == 8


def test_values_are_converted_for_the_database_and_the_rows_counted():
    before, row = event(), event()
    OutboxEvent.objects.filter(pk=before.pk).update(time=before.time - dt.timedelta(hours=1))
    about = uuid.uuid4()

    written = with_values(outbox_alias()).update(since=row.time, about=about, s="it's 100 %s")

    assert written == 1
    assert (fresh(row).doubt_about, fresh(row).subject) == (about, "it's 100 %s")
    assert fresh(before).doubt_about is None


def test_a_missing_value_is_an_error_before_anything_is_executed():
    with pytest.raises(KeyError, match="about"):
        with_values(outbox_alias()).update(since=dt.datetime.now(dt.UTC), s="")


def test_a_failed_update_makes_the_transaction_roll_back():
    @compiled
    def with_id(database):
        return changed(OutboxEvent.objects.using(database), event_id=Given("event_id", field("event_id")))

    event(), event()
    with transaction.atomic():
        with pytest.raises(IntegrityError):
            with_id(outbox_alias()).update(event_id="the-same")
        assert transaction.get_rollback()


def test_each_thread_executes_it_on_its_own_connection():
    row = event("c.d")
    here = of_type(outbox_alias(), "c.d").rows()
    found = []

    def work():
        with CaptureQueriesContext(connection) as captured:
            rows = of_type(outbox_alias(), "c.d").rows()
        found.append((rows, len(captured)))
        connection.close()

    thread = threading.Thread(target=work)
    with CaptureQueriesContext(connection) as captured:
        thread.start()
        thread.join(20)

    assert found == [(here, 1)]
    assert here == [(row.id, row.time)]
    assert len(captured) == 0
    assert builds == ["c.d"]
