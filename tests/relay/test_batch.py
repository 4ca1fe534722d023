"""Publishing and checking side by side in one pass: neither holds up the other."""

import threading
from collections import Counter
from uuid import uuid4

import httpx
import pytest

from genesys_eventbridge import conf, relay
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import claim as claims
from genesys_eventbridge.outbox import destinations, next_due
from genesys_eventbridge.relay.batch import Side
from genesys_eventbridge.relay.senders import Senders
from genesys_eventbridge.states import State
from tests.outbox_rows import CHECK, PUBLISH, accepted, event, fresh, halted, seconds_between, settings_with
from tests.passing import Clock
from tests.scripted import ScriptedPlatform

pytestmark = pytest.mark.django_db

BOTH = {PUBLISH: 0.0, CHECK: 0.0}


@pytest.fixture
def clock():
    with Clock() as clock:
        yield clock


@pytest.fixture
def configure(settings):
    def configure(**keys):
        settings.GENESYS_EVENTBRIDGE = {"default": {**settings.GENESYS_EVENTBRIDGE["default"], **keys}}

    return configure


@pytest.fixture(autouse=True)
def later(configure):
    """What is published here is not due for its check within the test, however slow the machine is."""
    configure(CHECK_DELAYS=[3600])


def serve(platform, kinds=BOTH, *, clock=None, seconds=None):
    """The reports by kind."""
    own = conf.destination()
    with Senders(own, own.concurrency, transport=platform.transport) as senders:
        reports = relay.serve(
            "default", kinds, senders=senders, max_seconds=seconds, stop=clock, clock=clock and clock.__call__
        )
    return {report.kind: report for report in reports}


def seen_claims(monkeypatch, look):
    """Call ``look(kind, batch)`` with what each claim brought."""
    claim = claims.claim

    def seen(kind, *args, **keywords):
        batch = claim(kind, *args, **keywords)
        look(kind, batch)
        return batch

    monkeypatch.setattr(claims, "claim", seen)


class TestTheRate:
    def test_with_a_backlog_of_both_a_minute_is_four_fifths_publishing_and_one_fifth_checks(
        self, clock, configure
    ):
        """All of the rate is used. What a busy machine takes for the work only adds tokens."""
        configure(RATE_PER_MINUTE=300)
        for _ in range(500):
            event()
        for _ in range(120):
            accepted()
        platform = ScriptedPlatform()
        clock.stop_after = 60
        began = next_due.database_now()

        serve(platform, clock=clock, seconds=3600.0)

        seconds = seconds_between(began, next_due.database_now())
        published, checked = len(platform.published), len(platform.checked)
        assert published + checked <= 5 * seconds + 5
        assert 0.9 * 4 * clock.passed <= published <= 1.1 * 4 * seconds
        assert 0.9 * clock.passed <= checked <= 1.1 * seconds + 2

    def test_what_was_just_published_is_asked_about_while_publishing_goes_on(self, clock, configure):
        configure(RATE_PER_MINUTE=300, CHECK_DELAYS=[1])
        for _ in range(500):
            event()
        platform = ScriptedPlatform()
        clock.stop_after = 60

        serve(platform, clock=clock, seconds=3600.0)

        assert clock.passed >= 60
        assert len(platform.published) >= 0.9 * 4 * clock.passed
        assert len(platform.checked) >= 0.9 * clock.passed

    def test_a_kind_that_waits_for_a_token_is_not_asked_again_before_its_wait_is_over(
        self, clock, configure, monkeypatch
    ):
        configure(RATE_PER_MINUTE=30)
        for _ in range(40):
            event()
            accepted()
        earliest = dict.fromkeys(BOTH, 0.0)
        calls: Counter[str] = Counter()

        def look(kind, batch):
            calls[kind] += 1
            assert clock.passed >= earliest[kind]
            earliest[kind] = clock.passed + batch.wait - 0.01

        seen_claims(monkeypatch, look)
        clock.stop_after = 60

        serve(ScriptedPlatform(), clock=clock, seconds=3600.0)

        assert calls[PUBLISH] < 3 * 24
        assert calls[CHECK] < 3 * 6


@pytest.mark.django_db(transaction=True)
def test_without_a_rate_checks_leave_most_senders_to_events_that_are_due(configure):
    """A backlog goes out nearly as fast as without them, and they are not held up until it is gone."""
    configure(BATCH_SIZE=20, CONCURRENCY=2)
    for _ in range(100):
        event()
    for _ in range(100):
        accepted()
    platform = ScriptedPlatform()
    asked: list[str] = []

    def publish(_request):
        asked.append("publish")
        return httpx.Response(202, json={"id": f"evt-{uuid4()}"})

    def check(request):
        asked.append("check")
        return httpx.Response(200, json={"id": request.url.path.rsplit("/", 1)[-1], "status": "delivered"})

    platform.publish_script, platform.check_script = [publish], [check]

    serve(platform)

    until_drained = asked[: len(asked) - asked[::-1].index("publish")]
    assert 5 <= until_drained.count("check") <= 40


class TestPauses:
    def test_a_pause_of_one_kind_does_not_end_the_other(self):
        for _ in range(3):
            event()
            accepted()
        halted()

        reports = serve(ScriptedPlatform())

        assert reports[PUBLISH].paused_for > 0
        assert (reports[CHECK].states, reports[CHECK].drained) == ({"delivered": 3}, True)

    def test_a_kind_whose_pause_ends_goes_on_while_the_other_is_at_work(self, clock, configure):
        configure(RATE_PER_MINUTE=60)
        row = event()
        for _ in range(30):
            accepted()
        halted()
        clock.stop_after = 15

        reports = serve(ScriptedPlatform(), clock=clock, seconds=3600.0)

        assert fresh(row).state == State.ACCEPTED
        assert reports[PUBLISH].paused_for == 0
        assert reports[CHECK].claimed > 5

    @pytest.mark.django_db(transaction=True)
    def test_a_probe_waits_only_for_what_its_own_kind_has_in_flight(self):
        event()
        accepted()
        published = threading.Event()
        halted()
        destinations._rows("default").update(paused_until=DatabaseNow(-1))

        def publish(request):
            published.set()
            return httpx.Response(202, json={"id": f"evt-{uuid4()}"})

        def check(request):
            assert published.wait(20)
            return httpx.Response(
                200, json={"id": request.url.path.rsplit("/", 1)[-1], "status": "delivered"}
            )

        # The check is in flight before publishing is looked at.
        reports = serve(ScriptedPlatform(publish, check=[check]), {CHECK: 0.0, PUBLISH: 0.01})

        assert reports[PUBLISH].states == {"accepted": 1}
        assert reports[CHECK].states == {"delivered": 1}

    def test_after_a_stop_each_kind_begins_again_when_it_has_nothing_in_flight(self):
        with Senders(settings_with(), 1) as senders:
            senders.stop()
            assert senders.is_stopped(PUBLISH)

            senders.resume(CHECK)

            assert senders.is_stopped(PUBLISH)
            assert not senders.is_stopped(CHECK)


class TestTheEnd:
    def test_a_pass_ends_when_neither_kind_has_anything_due(self, clock):
        row = event()

        reports = serve(ScriptedPlatform(), clock=clock)

        assert fresh(row).state == State.ACCEPTED
        assert [report.drained for report in reports.values()] == [True, True]
        assert clock.waits == []

    def test_a_kind_that_is_to_wait_joins_only_while_the_other_is_at_work(self, clock):
        event()
        accepted()

        reports = serve(ScriptedPlatform(), {PUBLISH: 0.0, CHECK: 5.0}, clock=clock)

        assert set(reports) == {PUBLISH}
        assert clock.waits == []

    def test_told_to_stop_it_claims_nothing_of_either_kind(self, clock):
        event()
        accepted()
        clock.stopped = True

        reports = serve(ScriptedPlatform(), clock=clock)

        assert [report.claimed for report in reports.values()] == [0, 0]


class TestRowsOfDeadWorkers:
    """G11: they leave room for other events, and what may have killed its worker goes one at a time."""

    @pytest.fixture
    def in_flight(self, monkeypatch):
        """After each claim: how many rows in flight lapsed once, lapsed twice, and never lapsed."""
        claim, found = Side.claim, []

        def seen(side, *arguments, **keywords):
            claim(side, *arguments, **keywords)
            rows = side.in_flight.values()
            twice = sum(row.suspect for row in rows)
            found.append(
                (sum(row.lapsed for row in rows) - twice, twice, sum(not row.lapsed for row in rows))
            )

        monkeypatch.setattr(Side, "claim", seen)
        return found

    def lapsed(self, number, *, lapses):
        row = {"claim_token": uuid4(), "attempts": 2, "in_doubt_since": DatabaseNow(-130), "lapses": lapses}
        return [event(row=row) for _ in range(number)]

    def serve(self):
        serve(ScriptedPlatform(lambda request: httpx.Response(202, json={"id": f"evt-{uuid4()}"})))

    def test_at_most_one_that_lapsed_twice_is_in_flight_and_others_go_beside_it(self, configure, in_flight):
        configure(CONCURRENCY=4)
        self.lapsed(8, lapses=1)
        for _ in range(12):
            event()

        self.serve()

        assert in_flight[0] == (0, 1, 12)
        assert max(twice for _once, twice, _never in in_flight) == 1
        assert not OutboxEvent.objects.filter(state=State.PENDING).exists()

    def test_those_that_lapsed_once_leave_a_quarter_of_the_senders_to_others(self, configure, in_flight):
        configure(CONCURRENCY=4)
        self.lapsed(8, lapses=0)
        event()

        self.serve()

        assert in_flight[0] == (3, 0, 1)
        assert max(once for once, _twice, _never in in_flight) == 3
        assert not OutboxEvent.objects.filter(state=State.PENDING).exists()

    def test_both_kinds_share_the_one_place(self, configure, in_flight):
        configure(CONCURRENCY=4)
        self.lapsed(1, lapses=1)
        accepted(claim_token=uuid4(), lapses=1)

        serve(ScriptedPlatform(lambda request: httpx.Response(202, json={"id": f"evt-{uuid4()}"})))

        assert [twice for _once, twice, _never in in_flight[:2]] == [1, 0]
