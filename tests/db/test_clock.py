"""The database's clock: one expression, right whatever zone the session or Django reads in."""

import datetime as dt
from contextlib import ExitStack, contextmanager

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections, transaction
from django.utils import timezone

from genesys_eventbridge import conf, tasks
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.outbox.next_due import database_now
from genesys_eventbridge.relay import publish_due
from genesys_eventbridge.states import State
from tests.outbox_rows import claim, event, fresh
from tests.prompt import run
from tests.scripted import ScriptedPlatform

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:The USE_TZ"),
]


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


@contextmanager
def database_zone(zone):
    """DATABASES TIME_ZONE."""
    remembered = vars(connections[connection.alias])  # of django.db.connection they would be the proxy's own
    connection.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(connection.settings_dict, "TIME_ZONE", zone)
        for name in ("timezone", "timezone_name"):
            remembered.pop(name, None)
        assert connection.timezone_name == zone
        yield
    connection.close()
    for name in ("timezone", "timezone_name"):
        remembered.pop(name, None)


@pytest.fixture(params=["DATABASES", "USE_TZ"])
def kept_in(request, settings):
    """Let Django keep the times of the database in this zone, the one way or the other."""
    with ExitStack() as stack:

        def keep(zone):
            if request.param == "DATABASES":
                stack.enter_context(database_zone(zone))
            else:
                settings.USE_TZ = False
                settings.TIME_ZONE = zone
                connection.close()  # PostgreSQL's session is told its zone when it begins

        yield keep


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_it_is_now_where_django_reads_the_database_in_another_zone(kept_in, zone):
    """UTC_TIMESTAMP alone was 3,600 s off."""
    kept_in(zone)

    assert distance(now()) < 30
    assert distance(fresh(event()).due_at) < 30
    assert OutboxEvent.objects.due().exists()


CHANGING = ["Europe/Berlin", "America/New_York", "Africa/Casablanca", "Australia/Lord_Howe"]
STEADY = ["UTC", "Asia/Kolkata", "Etc/GMT+5", "Asia/Tokyo"]


@pytest.mark.parametrize("zone", CHANGING)
def test_where_clocks_change_workers_refuse_and_enqueue_works(kept_in, zone):
    kept_in(zone)
    row = event()

    with pytest.raises(ImproperlyConfigured, match=f"Nothing is sent: .* in {zone}, where clocks change"):
        publish_due(transport=ScriptedPlatform().transport)
    ran = run("publish")

    assert "eventbridge_publish does nothing: " in ran.error
    assert (fresh(row).state, fresh(row).attempts) == (State.PENDING, 0)


def test_where_clocks_change_a_task_leaves_no_sign_of_life(kept_in):
    kept_in("Europe/Berlin")

    assert tasks.publish("default") == 0

    assert not Destination.objects.filter(heartbeat_at__isnull=False).exists()


@pytest.mark.parametrize("zone", STEADY)
def test_where_clocks_do_not_change_they_work(kept_in, zone):
    kept_in(zone)
    row = event()

    publish_due(transport=ScriptedPlatform().transport)

    assert fresh(row).state == State.ACCEPTED


#: Half a minute before clocks go back, and forward, in Europe and in New York.
CHANGES = ["2026-10-25T00:59:30Z", "2026-11-01T05:59:30Z", "2027-03-28T00:59:30Z", "2027-03-14T06:59:30Z"]


@pytest.mark.parametrize("zone", STEADY)
@pytest.mark.parametrize("change", CHANGES)
def test_a_lease_lasts_as_long_as_ever_while_clocks_change_elsewhere(kept_in, zone, change):
    """A lease of 60 s lasted 65 minutes in October where the zone was Berlin's."""
    kept_in(zone)
    lease = conf.destination().lease_seconds
    ahead = (dt.datetime.fromisoformat(change) - dt.datetime.now(dt.UTC)).total_seconds()

    with shifted(ahead):
        row = event()

        (claimed,) = claim().rows
        with shifted(lease - 30):
            early = OutboxEvent.objects.due().exists()
        with shifted(lease + 30):
            late = OutboxEvent.objects.due().exists()

    assert claimed.id == row.pk
    assert (early, late) == (False, True)


def test_a_test_can_move_the_clock_and_it_comes_back():
    with shifted(3600), shifted(60):
        assert 3650 < (now() - timezone.now()).total_seconds() < 3670
    assert distance(now()) < 30


@pytest.mark.django_db(transaction=True)
def test_it_moves_within_a_transaction():
    """A due time is read after the lock is held, also where the transaction waited for it."""
    with transaction.atomic():
        first = database_now()
        later = next((now for now in (database_now() for _ in range(5000)) if now > first), None)

    assert later is not None
