"""The database's clock was a day ahead for a while, and is right again: what it wrote then stops nothing."""

import datetime as dt

import httpx
import pytest

from genesys_eventbridge import conf, relay
from genesys_eventbridge.circuit import Circuit, Pause, Pauses
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.outbox import destinations, expiry, retention, sweep
from genesys_eventbridge.reporting.status import statuses
from genesys_eventbridge.states import State
from tests.outbox_rows import PUBLISH, claim, event, fresh, halted, seconds_between, settings_with
from tests.scripted import ScriptedPlatform

pytestmark = pytest.mark.django_db

DAY = 86400.0


def gate(kind=PUBLISH):
    return destinations.gate(kind, "default", "tests")


def publish(*answers):
    platform = ScriptedPlatform(*answers)
    relay.publish_due(transport=platform.transport)
    return platform


def due_in(row):
    now = (
        OutboxEvent.objects.filter(pk=row.pk).annotate(now=DatabaseNow()).values_list("now", flat=True).get()
    )
    return seconds_between(now, fresh(row).due_at)


def test_a_day_ahead_and_back_again_costs_a_minute():
    """New, claimed, accepted, doubtful: all of them go on with the next sweep."""
    with shifted(DAY):
        accepted = event()
        publish(202)
        claimed = event()
        claim()
        doubtful = event()
        publish(httpx.ReadTimeout("no answer"))
        new = event()

    sweep.forget()
    platform = publish(202)

    assert len(platform.published) == 2
    assert {fresh(new).state, fresh(doubtful).state} == {State.ACCEPTED}
    assert -1 < due_in(accepted) < 1
    assert 55 < due_in(claimed) < 61


def test_no_doubt_is_dated_later_than_now():
    """Else it would be sent again a day after the platform may have forgotten its key."""
    with shifted(DAY):
        row = event()
        publish(httpx.ReadTimeout("no answer"))

    sweep.pull_in(conf.destination())

    doubt = fresh(row).in_doubt_since
    with shifted(conf.destination().doubt_seconds + 1):
        assert seconds_between(doubt, fresh(row).due_at) < 61
        assert expiry.expire(conf.destination()) == {State.UNRESOLVED.value: 1}


def test_a_delay_that_was_asked_for_is_counted_from_now():
    with shifted(DAY):
        row = event(delay=600)

    sweep.pull_in(conf.destination())

    assert 590 < due_in(row) <= 601


@pytest.mark.parametrize(
    "row",
    [
        {"attempts": 3, "due_at": DatabaseNow(3600)},
        {"attempts": 0, "due_at": DatabaseNow(60)},
        {"attempts": 0, "due_at": DatabaseNow(80000), "key_held": True},
        {"attempts": 0, "due_at": DatabaseNow(10 * DAY), "not_before": DatabaseNow(10 * DAY)},
    ],
    ids=["backoff", "moved for a lease", "put aside", "delayed"],
)
def test_waits_that_can_be_are_left_alone(row):
    event(row=row)

    assert sweep.pull_in(conf.destination()) == 0


@pytest.mark.parametrize(
    "row",
    [
        {"attempts": 3, "due_at": DatabaseNow(2 * DAY)},
        {"attempts": 0, "due_at": DatabaseNow(2 * DAY), "key_held": True},
    ],
    ids=["backoff", "put aside"],
)
def test_a_wait_longer_than_any_is_ended(row):
    written = event(row=row)

    assert sweep.pull_in(conf.destination()) == 1
    assert -1 < due_in(written) < 1


def test_a_row_that_moved_meanwhile_is_left_to_its_worker(monkeypatch):
    row = event(row={"attempts": 3, "due_at": DatabaseNow(2 * DAY)})
    found = sweep._corrected

    def and_moves(*arguments):
        OutboxEvent.objects.filter(pk=row.pk).update(due_at=DatabaseNow(7))
        return found(*arguments)

    monkeypatch.setattr(sweep, "_corrected", and_moves)

    assert sweep.pull_in(conf.destination()) == 0


class TestTheDestination:
    def test_an_acceptance_in_the_future_is_not_lately(self):
        """Four hours of 403 made events dead."""
        gate()
        Destination.objects.update(accepted_at=DatabaseNow(DAY), cleared_at=DatabaseNow(DAY))

        assert not gate().accepted_lately
        row = Destination.objects.get()
        assert (row.accepted_at, row.cleared_at) == (None, None)

    def test_a_pause_ends_no_later_than_its_length_from_now(self):
        with shifted(DAY):
            gate()
            halted("network")

        assert gate().paused_for <= 5.1
        with shifted(6):
            assert gate().probing
            event()
            assert len(claim().rows) == 1

    def test_a_wait_that_the_platform_asked_for_keeps_its_length(self):
        with shifted(DAY):
            gate()
            halted("rate", seconds=900.0)

        assert 890 < gate().paused_for < 1000

    def test_an_empty_bucket_fills_again(self):
        """A worker without a token writes nothing: for as long as the clock was ahead, nothing was sent."""
        settings = settings_with(rate_per_minute=60.0)
        with shifted(DAY):
            gate()
            Destination.objects.update(bucket_at=DatabaseNow(), bucket_tokens=0.0, bucket_reserve=0.0)

        assert destinations.allowed(PUBLISH, settings, gate(), 1).tokens == 0
        with shifted(2):
            assert destinations.allowed(PUBLISH, settings, gate(), 1).tokens == 1

    def test_the_lease_of_a_probe_ends(self):
        gate()
        halted("network")
        Destination.objects.update(probe_until=DatabaseNow(DAY), paused_until=DatabaseNow(-1), pauses=None)

        assert gate().probing

    def test_a_heartbeat_in_the_future_is_none(self):
        gate()
        Destination.objects.update(heartbeat_at=DatabaseNow(DAY))

        assert statuses()[0].heartbeat_ago is None
        gate()
        ago = statuses()[0].heartbeat_ago
        assert ago is not None
        assert -1 < ago < 5

    def test_a_prune_in_the_future_does_not_put_off_the_next(self):
        gate()
        Destination.objects.update(pruned_at=DatabaseNow(DAY))

        assert retention.take_turn("default")
        assert not retention.take_turn("default")

    def test_found_in_the_future_accuses_no_accepted_event(self):
        now = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
        circuit = Circuit(now, found_at=now + dt.timedelta(days=1))

        assert circuit.set_right(60.0).found_at is None

    def test_times_a_little_ahead_are_kept(self):
        """Two statements of one moment, or a clock that is slewed."""
        now = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
        soon = now + dt.timedelta(seconds=5)
        pause = Pause("network", now + dt.timedelta(seconds=8), length=5.0)
        circuit = Circuit(now, publish=Pauses((pause,)), accepted_at=soon, cleared_at=soon, found_at=soon)

        assert circuit.set_right(60.0) == circuit

    def test_a_pause_of_the_release_before_has_no_length_and_stays(self):
        now = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
        stored = [["network", (now + dt.timedelta(days=1)).isoformat(), "why", 5.0]]

        assert Pauses.read(stored).pulled_in(now) == Pauses.read(stored)
        assert Pauses.read(Pauses.read(stored).stored()) == Pauses.read(stored)


class TestTheSweep:
    def test_a_process_sweeps_once_a_minute(self):
        clock = [1000.0]
        event(row={"attempts": 3, "due_at": DatabaseNow(2 * DAY)})

        def swept():
            OutboxEvent.objects.update(due_at=DatabaseNow(2 * DAY))
            sweep.sweep(conf.destination(), clock=lambda: clock[0])
            return OutboxEvent.objects.due().exists()

        assert swept()
        clock[0] += 59
        assert not swept()
        clock[0] += 2
        assert swept()

    def test_one_that_takes_long_comes_less_often(self, monkeypatch):
        clock = [1000.0]
        monkeypatch.setattr(sweep, "pull_in", lambda settings: clock.__setitem__(0, clock[0] + 2.0))
        sweep.sweep(conf.destination(), clock=lambda: clock[0])
        monkeypatch.setattr(sweep, "pull_in", lambda settings: pytest.fail("too early"))

        clock[0] += 190
        sweep.sweep(conf.destination(), clock=lambda: clock[0])

    def test_it_ends_doubts_whose_attempts_are_used_up_also_in_a_pause(self):
        row = event(row={"attempts": 12, "in_doubt_since": DatabaseNow(-60)})
        gate()
        halted("network")

        publish()

        assert fresh(row).state == State.UNRESOLVED

    def test_it_releases_followers_that_nothing_holds_any_more(self, settings):
        """BLOCK_KEY_ON_DEAD was switched off."""
        head, follower = event(ordering_key="k"), event(ordering_key="k")
        claim()
        OutboxEvent.objects.filter(pk=head.pk).update(
            state=State.DEAD, reason="rejected", due_at=None, claim_token=None
        )
        assert fresh(follower).key_held
        settings.GENESYS_EVENTBRIDGE = {
            "default": {**settings.GENESYS_EVENTBRIDGE["default"], "BLOCK_KEY_ON_DEAD": False}
        }

        sweep.sweep(conf.destination())

        assert list(OutboxEvent.objects.due()) == [follower]

    def test_it_leaves_followers_that_are_held(self):
        event(ordering_key="k")
        event(ordering_key="k")
        claim()

        sweep.sweep(conf.destination())

        assert not OutboxEvent.objects.due().exists()
