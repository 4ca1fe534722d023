"""A row whose times the driver cannot read (PostgreSQL) stops no query, page, command or pass."""

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from genesys_eventbridge import conf
from genesys_eventbridge.db.fields import ReadableDateTimeField
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.operations import Actor, cancel, requeue
from genesys_eventbridge.outbox import destinations, next_due
from genesys_eventbridge.relay import publish_due
from genesys_eventbridge.reporting import status
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import PUBLISH, accepted, claim, ended, event, fresh
from tests.prompt import run
from tests.scripted import ScriptedPlatform

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor != "postgresql", reason="only PostgreSQL stores times that Python cannot hold"
    ),
]

#: delay= in milliseconds by an earlier release; and what only SQL writes.
FAR = {"milliseconds": "58929-03-17 00:00:00+00", "infinity": "infinity"}


@pytest.fixture(params=FAR)
def far(request):
    return FAR[request.param]


def spoil(row, time, *columns):
    with connection.cursor() as cursor:
        for column in columns or ("due_at", "not_before"):
            cursor.execute(
                f"UPDATE {row._meta.db_table} SET {column} = %s::timestamptz WHERE id = %s", [time, row.pk]
            )
    return row


def test_the_others_are_claimed_and_published(far):
    far_away, other = spoil(event(), far), event()

    report = publish_due(transport=ScriptedPlatform().transport)

    assert report.claimed == 1
    assert fresh(other).state == State.ACCEPTED
    assert fresh(far_away).state == State.PENDING


def test_the_idle_look_and_the_gate_go_on(far):
    spoil(event(), far)
    destinations.gate(PUBLISH, "default", "tests")
    spoil(Destination.objects.get(), far, "held_until", "paused_until", "heartbeat_at")

    look = next_due.next_due("default")

    assert look.publish_in is not None
    assert look.publish_in > 6000 * 365 * 86400


@pytest.mark.parametrize("state", [State.PENDING, State.DEAD])
def test_it_can_be_cancelled(far, state):
    row = event() if state == State.PENDING else event(row=ended(state, Reason.REJECTED))
    spoil(row, far, *(("due_at", "not_before") if state == State.PENDING else ("not_before",)))

    done = cancel([row.pk], Actor("tests"), "delay in milliseconds")

    assert done.ids == [row.pk]
    assert fresh(row).state == State.CANCELLED


def test_a_requeue_brings_it_back_to_this_century(far):
    row = spoil(event(row=ended(State.DEAD, Reason.REJECTED)), far, "not_before")

    requeue([row.pk], Actor("tests"))

    assert [each.id for each in claim().rows] == [row.pk]


COLUMNS = [
    field.column for field in OutboxEvent._meta.concrete_fields if isinstance(field, ReadableDateTimeField)
]


def test_every_time_of_an_event_but_that_of_the_fact_is_read_so():
    assert {"due_at", "not_before", "created_at", "accepted_at", "in_doubt_since"} <= set(COLUMNS)


@pytest.mark.parametrize("page", ["", "?q=far", "?o=1", "{pk}/change/"])
def test_the_admin_shows_it(client, far, page):
    client.force_login(get_user_model().objects.create_superuser("ana"))
    row = spoil(event(subject="far"), far)
    event()

    answer = client.get(f"/admin/genesys_eventbridge/outboxevent/{page.format(pk=row.pk)}", follow=True)

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "words", [("show", "{pk}"), ("status",), ("retry", "--dry-run"), ("retry", "{pk}", "--dry-run")]
)
def test_commands_show_it(far, words):
    row = spoil(event(row={"attempts": 3}), far)

    ran = run(*(word.format(pk=row.pk) for word in words))

    assert ran.code == 0
    assert "Traceback" not in ran.err


def test_status_and_dashboard_count_it(client, far):
    client.force_login(get_user_model().objects.create_superuser("ana"))
    spoil(event(), far)
    spoil(accepted(), far, "due_at", "accepted_at")

    (at,) = status.statuses(["default"])
    answer = client.get("/admin/genesys_eventbridge/outboxevent/dashboard/", follow=True)

    assert at.undelivered == 2
    assert answer.status_code == 200


def test_every_column_that_is_far_away_leaves_the_page_readable(client, far):
    client.force_login(get_user_model().objects.create_superuser("ana"))
    row = event(row=ended(State.DELIVERED, finished_at="2026-01-01T00:00:00Z"))
    spoil(row, far, *(column for column in COLUMNS if column != "due_at"))

    answer = client.get(f"/admin/genesys_eventbridge/outboxevent/{row.pk}/change/")

    assert answer.status_code == 200
    assert run("show", str(row.pk)).code == 0
    assert conf.destination().retention_days
