"""Metrics: what a scrape says, in both formats, what it costs, and who may see it."""

import math
import os

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from genesys_eventbridge import counters, relay
from genesys_eventbridge.contrib import prometheus
from genesys_eventbridge.contrib.prometheus import BUCKETS, EventBridgeCollector, as_text, registry
from genesys_eventbridge.counters import PassCounters
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import DeliveryTime, Destination, OutboxEvent, Rollup, Total
from genesys_eventbridge.operations import Actor, cancel, pause, requeue, resume
from genesys_eventbridge.outbox import retention
from genesys_eventbridge.platform.outcomes import Halt
from genesys_eventbridge.states import Act, State
from tests.outbox_rows import accepted, ended, event, halted, in_threads
from tests.prompt import run, run_json
from tests.scripted import ScriptedPlatform

pytestmark = pytest.mark.django_db

ANA = Actor("tests", name="ana")
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
#: By metric, its type and its labels: the promise in the documentation.
PROMISED = {
    "eventbridge_events": ("gauge", {"destination", "state"}),
    "eventbridge_oldest_due_seconds": ("gauge", {"destination"}),
    "eventbridge_held_events": ("gauge", {"destination"}),
    "eventbridge_published": ("counter", {"destination", "verdict"}),
    "eventbridge_checks": ("counter", {"destination", "verdict"}),
    "eventbridge_delivery_seconds": ("histogram", {"destination"}),
    "eventbridge_paused": ("gauge", {"destination", "kind"}),
    "eventbridge_worker_heartbeat_seconds": ("gauge", {"destination"}),
    "eventbridge_acts": ("counter", {"act"}),
}


def scraped() -> str:
    return as_text(registry().collect())


def values(text: str | None = None) -> dict[tuple, float]:
    """By name and labels, sorted, the value of each sample of a scrape."""
    return {
        (sample.name, *(value for _name, value in sorted(sample.labels.items()))): sample.value
        for family in parse_text(scraped() if text is None else text)
        for sample in family.samples
    }


def publish(*answers):
    return relay.publish_due(transport=ScriptedPlatform(*answers).transport)


def check(*answers):
    return relay.check_accepted(transport=ScriptedPlatform(check=answers).transport)


class TestTheFormat:
    def test_names_types_and_labels_are_those_promised(self):
        publish(202)

        found = {
            family.name: (
                family.type,
                set().union(*(sample.labels for sample in family.samples)) - {"le"},
            )
            for family in parse_text(scraped())
        }

        assert found == PROMISED

    def test_every_metric_says_what_it_is(self):
        assert all(len(family.documentation) > 20 for family in parse_text(scraped()))

    def test_openmetrics_says_the_same(self, client, bearer):
        event()

        answer = client.get("/metrics", headers={**bearer["headers"], "Accept": OPENMETRICS})

        families = list(parse_openmetrics(answer.content.decode()))
        assert answer["Content-Type"].startswith("application/openmetrics-text")
        assert {family.name: family.type for family in families} == {
            name: kind for name, (kind, _labels) in PROMISED.items()
        }
        assert {family.name for family in families if family.unit == "seconds"} == {
            name for name in PROMISED if name.endswith("_seconds")
        }

    def test_a_registry_asks_no_database_to_register_it(self, django_assert_num_queries):
        with django_assert_num_queries(0):
            CollectorRegistry().register(EventBridgeCollector())

    def test_two_collectors_in_one_registry_are_refused(self):
        both = registry()

        with pytest.raises(ValueError, match="eventbridge_events"):
            both.register(EventBridgeCollector())

    def test_every_series_is_there_from_the_start_so_that_a_first_failure_is_an_increase(self):
        found = values()

        assert {key[2] for key in found if key[0] == "eventbridge_published_total"} == {
            "accepted",
            "rejected",
            "unavailable",
            "unknown",
            "halted",
        }
        assert {key[1] for key in found if key[0] == "eventbridge_acts_total"} == set(Act.values)
        assert {key[2] for key in found if key[0] == "eventbridge_events"} == set(State.values)
        assert found["eventbridge_delivery_seconds_count", "default"] == 0

    def test_an_event_type_is_never_a_label(self):
        event("order.canary")
        publish(202)

        assert "canary" not in scraped()


class TestGauges:
    def test_events_are_counted_by_state(self):
        for _ in range(2):
            event()
        event(row=ended(State.DEAD, "rejected"))
        accepted()

        found = values()

        assert {state: found["eventbridge_events", "default", state] for state in State.values} == {
            "pending": 2,
            "accepted": 1,
            "delivered": 0,
            "dead": 1,
            "unresolved": 0,
            "cancelled": 0,
        }

    def test_no_more_than_most_are_counted(self):
        for _ in range(3):
            event()

        found = values(as_text(registry(most=2).collect()))

        assert found["eventbridge_events", "default", "pending"] == 2

    def test_most_must_be_a_number_of_events(self):
        with pytest.raises(ValueError, match="most: must be 1 or more"):
            EventBridgeCollector(most=0)

    def test_the_oldest_event_has_the_age_that_status_shows(self):
        event(row={"created_at": DatabaseNow(-500), "due_at": DatabaseNow(-100)})

        oldest = values()["eventbridge_oldest_due_seconds", "default"]

        shown = run_json("status").data["destinations"]["default"]["oldest_seconds"]
        assert oldest == pytest.approx(500, abs=20)
        assert oldest == pytest.approx(shown, abs=20)

    def test_an_event_behind_a_dead_one_is_held(self):
        event(ordering_key="k", row=ended(State.DEAD, "rejected"))
        event(ordering_key="k")

        found = values()

        assert found["eventbridge_held_events", "default"] == 1
        assert found["eventbridge_oldest_due_seconds", "default"] == 0

    def test_a_worker_that_never_reported_is_infinitely_late(self):
        assert values()["eventbridge_worker_heartbeat_seconds", "default"] == math.inf

    def test_a_heartbeat_has_its_age(self):
        Destination.objects.create(alias="default", heartbeat_at=DatabaseNow(-90))

        assert values()["eventbridge_worker_heartbeat_seconds", "default"] == pytest.approx(90, abs=20)


class TestPauses:
    def paused(self):
        return {key[2] for key, value in values().items() if key[0] == "eventbridge_paused" and value}

    def test_nothing_is_paused_at_first_but_every_kind_has_a_series(self):
        kinds = {key[2] for key in values() if key[0] == "eventbridge_paused"}

        assert self.paused() == set()
        assert kinds == {"operator", "checks", *Halt}

    def test_an_operators_pause(self):
        pause("default", ANA, "maintenance")

        assert self.paused() == {"operator"}

    @pytest.mark.parametrize("kind", [Halt.AUTH, Halt.NETWORK])
    def test_a_pause_by_trouble(self, kind):
        halted(kind)

        assert self.paused() == {kind.value}

    def test_a_pause_that_waits_for_its_probe_is_not_over(self):
        halted(Halt.AUTH)
        Destination.objects.update(paused_until=DatabaseNow(-10))

        assert self.paused() == {"auth"}

    def test_a_run_of_refusals(self):
        Destination.objects.create(alias="default", refused_until=DatabaseNow(60))

        assert self.paused() == {"refusals"}

    def test_paused_checks(self):
        Destination.objects.create(
            alias="default", check_paused_until=DatabaseNow(60), check_paused_kind="auth"
        )

        assert self.paused() == {"checks"}


class TestTotals:
    def test_requests_are_counted_by_verdict(self):
        for _ in range(3):
            event()

        publish(202, 400, 503)

        found = values()
        assert {
            verdict: found["eventbridge_published_total", "default", verdict]
            for verdict in ("accepted", "rejected", "unavailable", "unknown", "halted")
        } == {"accepted": 1, "rejected": 1, "unavailable": 0, "unknown": 1, "halted": 0}

    def test_checks_and_delivery_times_are_counted(self):
        accepted(created_at=DatabaseNow(-100), accepted_at=DatabaseNow(-99))

        check()

        found = values()
        assert found["eventbridge_checks_total", "default", "delivered"] == 1
        assert found["eventbridge_delivery_seconds_count", "default"] == 1
        assert found["eventbridge_delivery_seconds_sum", "default"] == pytest.approx(100, abs=20)

    def test_buckets_are_cumulative_and_hold_what_is_not_longer(self):
        tally = PassCounters("default")
        for seconds in (0.05, 0.1, 0.15, 1.0, 7200.0, 1_000_000.0):
            tally.took(seconds, "order.created")
        tally.write({})

        found = values()

        times = {float(key[2]): v for key, v in found.items() if key[0].endswith("_bucket")}
        assert len(times) == len(BUCKETS) + 1
        assert (times[0.1], times[0.2], times[1.6], times[13107.2], times[math.inf]) == (2, 3, 4, 5, 6)
        assert list(times.values()) == sorted(times.values())
        assert found["eventbridge_delivery_seconds_sum", "default"] == pytest.approx(1_007_201.3)

    def test_a_counter_never_falls_when_everything_old_is_pruned(self, monkeypatch):
        event()
        publish(202)
        Rollup.objects.update(starts_at=DatabaseNow(-100 * 86400))
        DeliveryTime.objects.update(starts_at=DatabaseNow(-100 * 86400))
        OutboxEvent.objects.update(
            **ended(State.DELIVERED, created_at=DatabaseNow(-9e6), finished_at=DatabaseNow(-9e6))
        )
        before = {key: value for key, value in values().items() if "_total" in key[0]}

        retention.prune(retention.rules("default"))

        assert (Rollup.objects.count(), OutboxEvent.objects.count()) == (0, 0)
        assert {key: value for key, value in values().items() if "_total" in key[0]} == before
        assert before["eventbridge_published_total", "default", "accepted"] == 1

    def test_errors_and_ends_have_no_total_because_their_number_is_not_bounded_or_is_shown_elsewhere(self):
        event()

        publish(418)

        assert {name.partition(":")[0] for name in Total.objects.values_list("measure", flat=True)} <= {
            "publish",
            "within",
            "milliseconds",
        }

    def test_the_totals_of_a_destination_that_no_longer_exists_stay(self):
        counters.add("gone", {"publish:accepted": 4})

        found = values()

        assert found["eventbridge_published_total", "gone", "accepted"] == 4
        assert ("eventbridge_events", "gone", "pending") not in found

    def test_a_verdict_of_another_release_is_left_out(self):
        counters.add("default", {"publish:accepted": 1, "publish:invented": 1})

        assert "invented" not in scraped()


@pytest.mark.django_db(transaction=True)
def test_a_total_that_cannot_be_written_leaves_no_bucket(monkeypatch):
    def fails(connection, model, *arguments):
        if model is Total:
            raise OperationalError("disk full")
        written(connection, model, *arguments)

    written = counters._upsert
    monkeypatch.setattr(counters, "_upsert", fails)

    counters.add("default", {"publish:accepted": 1})

    assert (Rollup.objects.count(), Total.objects.count()) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_passes_of_several_workers_add_up():
    def work():
        for _ in range(5):
            counters.add("default", {"publish:accepted": 1, "check:delivered": 2, "within:3": 1})

    in_threads(4, work)

    found = values()
    assert found["eventbridge_published_total", "default", "accepted"] == 20
    assert found["eventbridge_checks_total", "default", "delivered"] == 40
    assert found["eventbridge_delivery_seconds_count", "default"] == 20


@pytest.mark.django_db(transaction=True)
class TestThreads:
    """A server of metrics starts a thread for each scrape."""

    def test_a_scrape_closes_the_connection_that_it_opened(self):
        def work():
            before = connection.connection
            text = scraped()
            return before, "eventbridge_events{" in text, connection.connection

        assert in_threads(1, work) == [(None, True, None)]

    def test_it_keeps_one_that_was_open(self):
        connection.ensure_connection()
        before = connection.connection

        scraped()

        assert connection.connection is before


class TestActs:
    def test_events_are_counted_not_clicks(self):
        dead = [event(row=ended(State.DEAD, "rejected")).pk for _ in range(3)]

        requeue(dead, ANA, reason="fixed")

        assert values()["eventbridge_acts_total", "requeue"] == 3

    def test_a_pause_and_a_resume_count_once_each(self):
        pause("default", ANA, "maintenance")
        resume("default", ANA)

        found = values()
        assert (found["eventbridge_acts_total", "pause"], found["eventbridge_acts_total", "resume"]) == (1, 1)

    def test_acts_from_before_there_were_jobs_count(self):
        Total.objects.create(destination="", measure="act:cancel", number=7)
        cancel([event().pk], ANA, "wrong")

        assert values()["eventbridge_acts_total", "cancel"] == 8

    def test_acts_outlive_their_events(self):
        cancel([event().pk], ANA, "wrong")
        OutboxEvent.objects.all().delete()

        assert values()["eventbridge_acts_total", "cancel"] == 1


class TestCosts:
    @pytest.fixture(autouse=True)
    def _a_worker_has_reported(self):
        """The first question for the database's time makes a row; see next_due."""
        Destination.objects.create(alias="default", heartbeat_at=DatabaseNow())

    def test_a_scrape_takes_at_most_ten_statements(self):
        for _ in range(20):
            event(ordering_key="k")
        counters.add("default", {"publish:accepted": 1})

        with CaptureQueriesContext(connection) as queries:
            scraped()

        assert len(queries) <= 10

    def test_more_destinations_take_no_more_statements(self, settings):
        with CaptureQueriesContext(connection) as one:
            scraped()
        ours = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = dict.fromkeys(("default", "second", "third"), ours)

        with CaptureQueriesContext(connection) as three:
            scraped()

        assert len(three) == len(one)


class TestTheView:
    def test_it_needs_the_token(self, client, bearer):
        right = client.get("/metrics", **bearer)
        wrong = client.get("/metrics", headers={"Authorization": "Bearer guessed"})
        other = client.get("/metrics", headers={"Authorization": "Basic sample-token"})
        none = client.get("/metrics")

        assert [answer.status_code for answer in (right, wrong, other, none)] == [200, 401, 401, 401]
        assert none["WWW-Authenticate"] == "Bearer"
        assert b"eventbridge_" not in none.content
        assert right["Content-Type"].startswith("text/plain; version=0.0.4")

    def test_a_refused_request_reads_nothing(self, client, django_assert_num_queries):
        with django_assert_num_queries(0):
            client.get("/metrics")

    def test_the_token_may_be_a_function(self, client, bearer):
        assert client.get("/metrics/late", **bearer).status_code == 200
        assert client.get("/metrics/late").status_code == 401

    def test_none_leaves_it_to_something_else(self, client):
        assert client.get("/metrics/open").status_code == 200

    @pytest.mark.parametrize(
        ("address", "what"), [("/metrics/unset", "is missing"), ("/metrics/empty", "must not be empty")]
    )
    def test_without_a_token_it_says_what_to_write(self, client, address, what):
        with pytest.raises(ImproperlyConfigured, match=f'token: {what}.*"token": TOKEN'):
            client.get(address)

    def test_it_only_reads(self, client, bearer):
        assert client.post("/metrics", **bearer).status_code == 405

    def test_it_is_not_cached(self, client, bearer):
        assert "no-store" in client.get("/metrics", **bearer)["Cache-Control"]

    def test_a_failed_database_is_503_and_says_no_more_than_its_kind(self, client, bearer, monkeypatch):
        def fails(*arguments):
            raise OperationalError("password canary")

        monkeypatch.setattr(prometheus, "measure", fails)

        answer = client.get("/metrics", **bearer)

        assert (answer.status_code, answer.content) == (503, b"The database failed (OperationalError).\n")


class TestTheCommand:
    def test_it_prints_what_the_view_shows(self, client):
        event()

        printed = values(run("metrics").out)

        assert printed.keys() == values(client.get("/metrics/open").content.decode()).keys()
        assert printed["eventbridge_events", "default", "pending"] == 1

    def test_json_is_json_even_of_infinity(self):
        ran = run_json("metrics")

        found = {metric["name"]: metric for metric in ran.data["metrics"]}
        assert "Infinity" not in ran.out
        assert found["eventbridge_worker_heartbeat_seconds"]["samples"][0] == {
            "name": "eventbridge_worker_heartbeat_seconds",
            "labels": {"destination": "default"},
            "value": None,
        }

    def test_a_file_is_replaced_as_a_whole_and_others_may_read_it(self, tmp_path):
        file = tmp_path / "eventbridge.prom"
        file.write_text("old")

        ran = run("metrics", "--output", str(file))

        assert ran.out == f"9 metrics written to {file}\n"
        assert values(file.read_text())["eventbridge_events", "default", "pending"] == 0
        assert file.stat().st_mode & 0o777 == 0o644
        assert [each.name for each in tmp_path.iterdir()] == ["eventbridge.prom"]

    def test_a_failed_write_leaves_the_old_file_and_no_other(self, tmp_path, monkeypatch):
        file = tmp_path / "eventbridge.prom"
        file.write_text("old")

        def fails(self, target):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("pathlib.Path.replace", fails)
        ran = run("metrics", "--output", str(file))

        assert ran.code == 1
        assert "No space left on device" in ran.error
        assert file.read_text() == "old"
        assert [each.name for each in tmp_path.iterdir()] == ["eventbridge.prom"]

    def test_a_link_stays_where_it_is(self, tmp_path):
        file, link = tmp_path / "real.prom", tmp_path / "link.prom"
        link.symlink_to(file)

        assert run("metrics", "--output", str(link)).code == 0
        assert link.is_symlink()
        assert "eventbridge_events" in file.read_text()

    def test_what_is_no_regular_file_is_not_replaced(self, tmp_path):
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)

        ran = run("metrics", "--output", str(pipe))

        assert (ran.code, pipe.is_fifo()) == (1, True)
        assert "is not a regular file" in ran.error

    def test_a_folder_that_is_not_there_is_named(self, tmp_path):
        ran = run("metrics", "--output", str(tmp_path / "missing" / "eventbridge.prom"))

        assert ran.code == 1
        assert "--output: cannot write" in ran.error
        assert "Its folder must exist" in ran.error
