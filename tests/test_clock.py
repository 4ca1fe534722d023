"""The database's clock: one expression, right whatever zone the session or Django reads in."""

import datetime as dt

import pytest
from django.db import connection, connections
from django.utils import timezone

from genesys_eventbridge.clock import DatabaseNow, shifted
from genesys_eventbridge.models import OutboxEvent
from tests.outbox_rows import event, fresh

pytestmark = pytest.mark.django_db(transaction=True)


def now(seconds=0.0):
    event()
    return OutboxEvent.objects.annotate(now=DatabaseNow(seconds)).values_list("now", flat=True)[0]


def distance(moment):
    return abs((moment - timezone.now()).total_seconds())


@pytest.fixture
def session_zone():
    """Run the session in another zone than UTC, as a site may."""
    if connection.vendor == "sqlite":
        yield
        return
    name = "'-05:00'" if connection.vendor == "mysql" else "'America/New_York'"
    with connection.cursor() as cursor:
        cursor.execute(f"SET time_zone = {name}" if connection.vendor == "mysql" else f"SET TIME ZONE {name}")
    yield
    connection.close()


def test_it_is_now():
    assert distance(now()) < 30


@pytest.mark.parametrize("seconds", [0.25, 60, 3600, -90, 86400 * 30])
def test_seconds_are_added(seconds):
    expected = timezone.now() + dt.timedelta(seconds=seconds)

    assert abs((now(seconds) - expected).total_seconds()) < 30


def test_fractions_of_a_second_count():
    event()
    (first, second) = OutboxEvent.objects.annotate(a=DatabaseNow(0), b=DatabaseNow(0.5)).values_list(
        "a", "b"
    )[0]

    assert 0.49 <= (second - first).total_seconds() <= 0.51


def test_it_is_now_whatever_the_sessions_zone(session_zone):
    """G14: Now() was 18,000 s off on MariaDB."""
    row, later = event(), event(delay=60)

    assert list(OutboxEvent.objects.due()) == [row]
    with shifted(61):
        assert list(OutboxEvent.objects.due()) == [row, later]
    if connection.vendor != "postgresql":  # where Django itself misreads times under a changed session zone
        assert distance(now()) < 30


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_it_is_now_where_django_reads_the_database_in_another_zone(zone, monkeypatch):
    """DATABASES TIME_ZONE: UTC_TIMESTAMP alone was 3,600 s off."""
    if connection.vendor == "postgresql":
        pytest.skip("PostgreSQL stores absolute times; Django refuses a zone there only on older versions")
    remembered = vars(connections[connection.alias])  # of django.db.connection they would be the proxy's own
    monkeypatch.setitem(connection.settings_dict, "TIME_ZONE", zone)
    for name in ("timezone", "timezone_name"):
        remembered.pop(name, None)
    try:
        assert connection.timezone_name == zone
        assert distance(now()) < 30
        assert distance(fresh(event()).due_at) < 30
        assert OutboxEvent.objects.due().exists()
    finally:
        monkeypatch.undo()
        for name in ("timezone", "timezone_name"):
            remembered.pop(name, None)


def test_a_test_can_move_the_clock_and_it_comes_back():
    with shifted(3600), shifted(60):
        assert 3650 < (now() - timezone.now()).total_seconds() < 3670
    assert distance(now()) < 30
