"""The roll-up: what passes and people did is added up, by any number of workers, and never in their way."""

import datetime as dt
import logging
from itertools import pairwise

import httpx
import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge import conf, counters, relay
from genesys_eventbridge.counters import PassCounters, add, error_class, step, upper
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import DeliveryTime, OutboxEvent, Rollup
from genesys_eventbridge.operations import Actor, Resolution, resolve
from genesys_eventbridge.outbox import next_due, retention
from genesys_eventbridge.outbox.settle import Settled
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict
from genesys_eventbridge.relay import batch
from genesys_eventbridge.reporting.figures import Figures, Range, bars, figures, merged, type_times
from genesys_eventbridge.states import AttemptKind, Reason, State
from tests.outbox_rows import accepted, ended, event, fresh, in_threads
from tests.scripted import ScriptedPlatform

pytestmark = pytest.mark.django_db

DAY = 86400


@pytest.fixture(autouse=True)
def _nothing_told_yet():
    counters.forget()


def numbers(destination="default") -> dict[str, int]:
    """All buckets together."""
    found: dict[str, int] = {}
    for measure, number in Rollup.objects.filter(destination=destination).values_list("measure", "number"):
        found[measure] = found.get(measure, 0) + number
    return found


def ends(found: dict[str, int]) -> dict[str, int]:
    return {measure: number for measure, number in found.items() if ":" not in measure}


def publish(*answers):
    return relay.publish_due(transport=ScriptedPlatform(*answers).transport)


def check(*answers):
    return relay.check_accepted(transport=ScriptedPlatform(check=answers).transport)


class TestAPass:
    def test_requests_are_counted_by_verdict_and_errors_by_what_they_were(self):
        for _ in range(3):
            event()

        publish(202, 400, 503)

        assert numbers() == {
            "publish:accepted": 1,
            "publish:rejected": 1,
            "publish:unknown": 1,
            "error:400": 1,
            "error:503": 1,
            "dead": 1,
        }

    def test_a_delivery_is_counted_with_the_time_it_took(self):
        accepted(created_at=DatabaseNow(-100), accepted_at=DatabaseNow(-99))

        check()

        found = numbers()
        assert (found.pop("delivered"), found.pop("check:delivered")) == (1, 1)
        ((within, number),) = found.items()
        assert number == 1
        assert upper(int(within.removeprefix("within:"))) == pytest.approx(102, rel=0.1)

    def test_a_delayed_event_is_timed_from_when_it_could_have_gone(self):
        accepted(created_at=DatabaseNow(-DAY), not_before=DatabaseNow(-100))

        check()

        (within,) = [measure for measure in numbers() if measure.startswith("within:")]
        assert upper(int(within.removeprefix("within:"))) < 200

    def test_an_event_that_ends_without_a_request_is_counted(self):
        event(row={"attempts": 12})

        publish()

        assert numbers() == {"dead": 1}

    def test_an_event_that_goes_back_is_no_end(self):
        event()

        publish(httpx.ConnectError("refused"))

        assert numbers() == {"publish:halted": 1, "error:ConnectError": 1}

    def test_a_lost_claim_is_counted_by_who_holds_it(self, monkeypatch):
        event()
        monkeypatch.setattr(batch, "settle", lambda *arguments, **keywords: Settled())

        assert publish().lost == 1

        assert numbers() == {}

    def test_it_costs_one_statement_per_table_whatever_happened(self):
        tally = PassCounters("default")
        for status in range(400, 410):
            tally.asked(AttemptKind.PUBLISH, Outcome(Verdict.REJECTED, status_code=status))
            tally.took(status, "order.created")

        with CaptureQueriesContext(connection) as queries:
            tally.write({"dead": 10})

        written = [query for query in queries.captured_queries if query["sql"].startswith("INSERT")]
        assert len(written) == 3

    def test_a_pass_that_did_nothing_writes_nothing(self, django_assert_num_queries):
        with django_assert_num_queries(0):
            PassCounters("default").write({"pending": 3, "accepted": 1})

    def test_rare_errors_are_put_together(self):
        tally = PassCounters("default")
        for status in range(400, 500):
            tally.asked(AttemptKind.PUBLISH, Outcome(Verdict.REJECTED, status_code=status))
        tally.asked(AttemptKind.PUBLISH, Outcome(Verdict.REJECTED, status_code=499))

        tally.write({})

        found = {name: number for name, number in numbers().items() if name.startswith("error:")}
        assert len(found) == counters.ERRORS + 1
        assert found["error:499"] == 2
        assert found["error:other"] == 101 - 2 - (counters.ERRORS - 1)


@pytest.mark.parametrize(
    ("outcome", "name"),
    [
        (Outcome(Verdict.UNKNOWN, status_code=503, error="503 Service Unavailable"), "503"),
        (Outcome(Verdict.UNKNOWN, error="ReadTimeout (api.example.com): too slow."), "ReadTimeout"),
        (Outcome(Verdict.HALTED, error="Nothing works.", halt=Halt.AUTH), "auth"),
        (Outcome(Verdict.UNKNOWN, error="<script>alert(1)</script>"), "other"),
        (Outcome(Verdict.UNKNOWN, error="A" * 400 + "Error"), "other"),
    ],
)
def test_an_error_has_one_of_few_names(outcome, name):
    assert error_class(outcome) == name


class TestPeople:
    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize(
        ("outcome", "counted"),
        [
            (Resolution.DELIVERED, {"delivered": 2}),
            (Resolution.GIVE_UP, {"dead": 2}),
            (Resolution.NOT_DELIVERED, {}),
        ],
    )
    def test_what_they_bring_to_an_end_is_counted(self, outcome, counted):
        rows = [event(row=ended(State.UNRESOLVED, Reason.UNCONFIRMED)) for _ in range(2)]

        resolve([row.pk for row in rows], Actor("tests", name="ana"), outcome, "why", accept_duplicates=True)

        assert numbers() == counted


class TestTheBuckets:
    def test_numbers_of_five_minutes_are_added_and_others_told_apart(self):
        for seconds in (0, 0, 300, 600):
            with shifted(seconds):
                add("default", {"delivered": 2})
        add("emea", {"delivered": 5})

        rows = Rollup.objects.filter(destination="default").order_by("starts_at")
        assert [row.number for row in rows] == [4, 2, 2]
        assert numbers("emea") == {"delivered": 5}
        for row in rows:
            assert (row.starts_at.minute % 5, row.starts_at.second, row.starts_at.microsecond) == (0, 0, 0)
        now = next_due.database_now()
        assert dt.timedelta(0) <= now - rows[0].starts_at < dt.timedelta(seconds=310)

    @pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
    def test_without_time_zones_they_are_the_same_five_minutes(self, settings, zone):
        settings.USE_TZ = False
        settings.TIME_ZONE = zone

        add("default", {"delivered": 1})

        assert figures(next_due.database_now())["default"].hour == {"delivered": 1}

    def test_destinations_that_differ_by_case_are_two(self):
        add("a", {"delivered": 1})
        add("A", {"delivered": 2})

        assert (numbers("a"), numbers("A")) == ({"delivered": 1}, {"delivered": 2})

    @pytest.mark.django_db(transaction=True)
    def test_workers_that_write_at_once_lose_nothing(self):
        def work():
            for number in range(10):
                add("default", {"delivered": 1, f"error:{number}": 1, "publish:accepted": 3})

        in_threads(4, work)

        found = numbers()
        assert (found["delivered"], found["publish:accepted"]) == (40, 120)
        assert all(found[f"error:{number}"] == 4 for number in range(10))

    def test_old_ones_are_pruned_with_the_events(self):
        now = next_due.database_now()
        for days in (0, 29, 31, 40):
            Rollup.objects.create(
                starts_at=now - dt.timedelta(days=days), destination="gone", measure="dead", number=1
            )
        event()

        assert retention.prune(conf.destination(), batch_size=1, dry_run=True).complete
        assert Rollup.objects.count() == 4
        done = retention.prune(conf.destination(), batch_size=1)

        assert (done.rows, done.complete) == (0, True)
        assert Rollup.objects.count() == 2


class TestTrouble:
    @pytest.fixture
    def broken(self, monkeypatch):
        def fail(*arguments):
            raise OperationalError("no such table: genesys_eventbridge_rollup")

        monkeypatch.setattr(counters, "_upsert", fail)

    def test_no_event_suffers_and_it_is_logged_once(self, broken, caplog):
        rows = [event(), event()]
        caplog.set_level(logging.WARNING, "genesys_eventbridge")

        publish()
        for row in rows:
            OutboxEvent.objects.filter(pk=row.pk).update(due_at=DatabaseNow(-1))
        check()

        assert {fresh(row).state for row in rows} == {State.DELIVERED}
        told = [record for record in caplog.records if "dashboard" in record.getMessage()]
        assert len(told) == 1

    def test_it_is_logged_again_after_it_went_well(self, monkeypatch, caplog):
        def fail(*arguments):
            raise OperationalError

        for _ in range(2):
            with monkeypatch.context() as patch:
                patch.setattr(counters, "_upsert", fail)
                add("default", {"dead": 1})
            add("default", {"dead": 1})

        assert len([record for record in caplog.records if "dashboard" in record.getMessage()]) == 2
        assert numbers() == {"dead": 2}

    @pytest.mark.django_db(transaction=True)
    def test_a_table_that_is_not_there_yet_stops_no_worker(self):
        """New workers beside a database that is migrated a moment later."""
        row = event()
        with connection.schema_editor() as editor:
            editor.delete_model(Rollup)
        try:
            publish()
        finally:
            with connection.schema_editor() as editor:
                editor.create_model(Rollup)

        assert fresh(row).state == State.ACCEPTED


class TestFigures:
    def test_the_last_hour_and_the_last_day_are_told_apart(self):
        for ago, delivered in ((60, 90), (2 * 3600, 100), (2 * DAY, 1000)):
            with shifted(-ago):
                add("default", {"delivered": delivered, "dead": 10})

        found = figures(next_due.database_now())["default"]

        assert (found.hour["delivered"], found.whole["delivered"]) == (90, 190)
        assert found.success_1h == 0.9

    def test_where_nothing_ended_there_is_no_share_and_no_time(self):
        assert (Figures().success_1h, Figures().quantile(0.5), Figures().errors) == (None, None, [])

    @pytest.mark.parametrize("seconds", [0.01, 0.1, 0.5, 2, 60, 3600, 30 * DAY, 300 * DAY])
    def test_a_time_is_counted_within_half_a_power_of_two(self, seconds):
        assert seconds <= upper(step(seconds)) or step(seconds) == counters.COARSEST
        assert step(seconds) == 0 or upper(step(seconds) - 1) < seconds

    def test_a_quantile_is_right_by_a_fifth(self):
        add("default", {"delivered": 100})
        tally = PassCounters("default")
        for tenth in range(1, 101):
            tally.took(tenth / 10, "order.created")
        tally.write({})

        found = figures(next_due.database_now())["default"]

        assert found.quantile(0.5) == pytest.approx(5, rel=0.2)
        assert found.quantile(0.95) == pytest.approx(9.5, rel=0.2)

    def test_errors_come_by_their_number(self):
        add("default", {"error:503": 5, "error:401": 7, "error:ReadTimeout": 5})

        assert figures(next_due.database_now())["default"].errors == [
            ("401", 7),
            ("503", 5),
            ("ReadTimeout", 5),
        ]

    def test_destinations_are_put_together(self):
        add("a", {"delivered": 1})
        add("b", {"delivered": 2, "dead": 1})

        both = merged(figures(next_due.database_now()).values())

        assert both.hour == both.whole == {"delivered": 3, "dead": 1}
        assert set(figures(next_due.database_now(), aliases=["b"])) == {"b"}

    def test_a_day_is_drawn_in_quarters_of_an_hour(self):
        now = next_due.database_now()
        for ago in (0, 12 * 3600, 2 * DAY):
            with shifted(-ago):
                add("default", {"delivered": 3, "dead": 1, "unresolved": 2, "publish:accepted": 9})
        add("emea", {"delivered": 10})

        day = bars(now)

        assert day[0].begins == Range.DAY.begins(now)
        assert day[-1].begins <= now < day[-1].begins + dt.timedelta(minutes=15)
        assert {later.begins - bar.begins for bar, later in pairwise(day)} == {dt.timedelta(minutes=15)}
        assert (sum(bar.delivered for bar in day), sum(bar.dead for bar in day)) == (16, 2)
        assert sum(bar.unresolved for bar in day) == 4
        assert sum(bar.delivered for bar in bars(now, aliases=["default"])) == 6
        middle = [bar for bar in day if bar.begins <= now - dt.timedelta(hours=12)][-1]
        assert (middle.delivered, middle.dead, middle.unresolved) == (3, 1, 2)

    @pytest.mark.parametrize("chosen", Range)
    def test_each_range_counts_what_its_bars_draw(self, chosen):
        now = next_due.database_now()
        for ago in (0, 3500, 7200, 20 * 3600, 3 * DAY, 6.9 * DAY, 20 * DAY, 29.9 * DAY, 40 * DAY):
            with shifted(-ago):
                add("default", {"delivered": 1})
        within = sum(
            now - dt.timedelta(seconds=ago) >= chosen.begins(now)
            for ago in (0, 3500, 7200, 20 * 3600, 3 * DAY, 6.9 * DAY, 20 * DAY, 29.9 * DAY, 40 * DAY)
        )

        drawn = sum(bar.delivered for bar in bars(now, chosen))

        assert drawn == figures(now, chosen)["default"].whole["delivered"] == within
        assert chosen.lasts <= now - chosen.begins(now) <= chosen.lasts + dt.timedelta(hours=1)

    def test_an_hour_is_no_day(self):
        """300 deliveries at 200 s in the past hour, after a day of fast ones."""
        for ago, seconds, number in ((20 * 3600, 2.0, 3000), (60, 200.0, 300)):
            with shifted(-ago):
                tally = PassCounters("default")
                for _ in range(number):
                    tally.took(seconds, "order.created")
                tally.write({"delivered": number})
        now = next_due.database_now()

        hour, day = (figures(now, chosen)["default"] for chosen in (Range.HOUR, Range.DAY))

        assert hour.quantile(0.5) == pytest.approx(200, rel=0.2)
        assert day.quantile(0.5) == pytest.approx(2, rel=0.2)
        assert day.quantile(0.95) == pytest.approx(200, rel=0.2)

    def test_the_number_of_queries_does_not_grow(self, django_assert_num_queries):
        now = next_due.database_now()
        for seconds in range(0, 7200, 300):
            with shifted(-seconds):
                add("default", {"delivered": 1}, {("order.created", 3): 1})

        with django_assert_num_queries(3):
            figures(now)
            bars(now)
            type_times(now)


class TestTimesByType:
    def deliver(self, destination="default", ago=0, **types):
        with shifted(-ago):
            tally = PassCounters(destination)
            for name, seconds in types.items():
                tally.took(seconds, name)
            tally.write({"delivered": len(types)})

    def found(self, chosen=Range.DAY, **how):
        times = type_times(next_due.database_now(), chosen, **how)
        return {(each.destination, each.type): each for each in times}

    def test_a_slow_type_is_told_from_a_fast_one(self):
        for _ in range(3):
            self.deliver(created=1.0, paid=100.0)
        self.deliver(created=1.0)

        found = self.found()

        assert [each.number for each in found.values()] == [4, 3]
        assert found["default", "created"].quantile(0.95) == pytest.approx(1, rel=0.2)
        assert found["default", "paid"].quantile(0.5) == pytest.approx(100, rel=0.2)

    def test_a_range_has_only_its_own(self):
        self.deliver(created=1.0)
        self.deliver(ago=5 * 3600, created=100.0)

        assert self.found(Range.HOUR)["default", "created"].number == 1
        assert self.found(Range.WEEK)["default", "created"].number == 2

    def test_destinations_are_told_apart(self):
        self.deliver(created=1.0)
        self.deliver("emea", created=1.0)

        assert set(self.found()) == {("default", "created"), ("emea", "created")}
        assert set(self.found(aliases=["emea"])) == {("emea", "created")}

    def test_types_without_end_are_timed_together(self, monkeypatch):
        """A type per order would make a row per order."""
        monkeypatch.setattr(counters, "TYPES", 3)
        self.deliver(**{f"order.{number}": 1.0 for number in range(5)})
        counters.forget()
        self.deliver(new=1.0)

        stored = DeliveryTime.objects.filter(seconds=3600).values_list("type", flat=True)
        assert len(set(stored)) == 4
        assert "" in stored
        assert "new" not in stored
        assert self.found()["default", ""].number == 3

    def test_those_beyond_what_is_shown_are_one_line(self):
        self.deliver(a=1.0, b=1.0, c=1.0)
        self.deliver(a=1.0)

        found = self.found(shown=1)

        assert [(key[1], each.number) for key, each in found.items()] == [("a", 2), ("", 2)]

    def test_fine_ones_are_pruned_after_hours_and_coarse_ones_with_the_rest(self):
        for ago in (0, 5 * 3600, 20 * DAY, 40 * DAY):
            self.deliver(ago=ago, created=1.0)

        while counters.prune(1):
            pass

        assert DeliveryTime.objects.filter(seconds=300).count() == 1
        assert DeliveryTime.objects.filter(seconds=3600).count() == 3

    def test_a_pass_counts_the_type_it_delivered(self):
        accepted(created_at=DatabaseNow(-100), accepted_at=DatabaseNow(-99))

        check()

        (times,) = self.found().values()
        assert (times.type, times.number) == ("order.created", 1)
