"""Health: the check and the view say what eventbridge_status --check says."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django_q.models import Schedule
from health_check.exceptions import ServiceUnavailable
from health_check.views import HealthCheckView

from genesys_eventbridge import schedules
from genesys_eventbridge.contrib import health, views
from genesys_eventbridge.contrib.health import EventBridge
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.reporting import judgement
from genesys_eventbridge.reporting.problems import Limits
from genesys_eventbridge.states import State
from tests.outbox_rows import ended, event, halted
from tests.prompt import run_json

pytestmark = pytest.mark.django_db

urlpatterns = [
    path("", HealthCheckView.as_view(checks=[EventBridge, (EventBridge, {"max_dead": 5, "details": True})]))
]


@pytest.fixture(autouse=True)
def _a_worker_reports():
    Destination.objects.create(alias="default", heartbeat_at=DatabaseNow())


def late():
    event(row={"created_at": DatabaseNow(-500), "due_at": DatabaseNow(-400)})


def dead():
    event(row=ended(State.DEAD, "rejected"))


def no_worker():
    Destination.objects.update(heartbeat_at=DatabaseNow(-9000))


def refused_login():
    halted()
    Destination.objects.update(paused_kind="auth", paused_until=DatabaseNow(60), paused_reason="401 canary")


def nothing():
    """All is well."""


def two_at_once():
    dead()
    no_worker()


TROUBLES = [nothing, late, dead, no_worker, refused_login, two_at_once]


class TestOneJudgement:
    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_the_view_finds_the_problems_that_status_finds(self, client, bearer, trouble):
        trouble()

        answer = client.get("/health", **bearer)

        ran = run_json("status", "--check")
        assert answer.json()["problems"] == ran.data["problems"]
        assert (answer.status_code, answer.json()["healthy"]) == ((503, False) if ran.code else (200, True))

    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_so_does_the_check(self, trouble):
        trouble()

        found = ""
        try:
            EventBridge(details=True).run()
        except ServiceUnavailable as error:
            found = error.message

        problems = run_json("status", "--check").data["problems"]
        assert found == "; ".join(f"default: {problem['message']}" for problem in problems)

    def test_a_missing_schedule_is_a_problem_in_each(self, client, bearer):
        schedules.install()
        Schedule.objects.order_by("pk").first().delete()

        answer = client.get("/health", **bearer)

        assert answer.json()["problems"] == run_json("status", "--check").data["problems"]
        assert [problem["kind"] for problem in answer.json()["problems"]] == ["schedules"]

    def test_a_limit_above_what_a_probe_looks_at_is_still_seen_to_be_exceeded(self, monkeypatch):
        monkeypatch.setattr(judgement, "LOOKED_AT", 1)
        for _ in range(4):
            dead()

        assert [each.kind for each in judgement.probe(None, Limits(max_dead=3)).problems] == ["dead"]
        assert judgement.probe(None, Limits(max_dead=4)).problems == []

    def test_a_probe_takes_a_fixed_number_of_statements(self):
        with CaptureQueriesContext(connection) as few:
            judgement.probe()
        for _ in range(20):
            late()

        with CaptureQueriesContext(connection) as many:
            judgement.probe()

        assert len(many) == len(few) <= 8


class TestTheView:
    def test_it_needs_the_token_like_the_metrics(self, client):
        answer = client.get("/health")

        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")

    def test_without_a_token_it_says_what_to_write(self, client):
        with pytest.raises(ImproperlyConfigured, match="health_view: token: is missing"):
            client.get("/health/unset")

    def test_without_details_it_says_no_more_than_the_kinds(self, client):
        refused_login()

        answer = client.get("/health/short")

        assert answer.status_code == 503
        assert answer.json() == {
            "healthy": False,
            "problems": [{"destination": "default", "kind": "paused"}],
        }
        assert b"canary" not in answer.content

    def test_limits_are_those_given(self, client):
        late()
        dead()

        assert client.get("/health/lenient").status_code == 200

    def test_it_can_be_about_some_destinations_only(self, client, settings):
        ours = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {"default": ours, "second": ours}
        OutboxEvent.objects.all().delete()
        event(destination="second", row=ended(State.DEAD, "rejected"))

        assert client.get("/health/shop").status_code == 200
        assert {each.destination for each in judgement.probe(["second"]).problems} == {"second"}

    def test_a_destination_that_is_not_configured_is_404_and_named(self, client, rf):
        answer = client.get("/health/wrong")

        assert answer.status_code == 404
        (problem,) = answer.json()["problems"]
        assert (answer.json()["healthy"], problem["kind"]) == (False, "unknown")
        assert problem["message"] == (
            f"GENESYS_EVENTBRIDGE has no destination {problem['destination']!r}; it has 'default'"
        )
        public = views.health_view(rf.get("/"), None, destinations=["default", "nowhere"], details=False)
        assert json.loads(public.content)["problems"] == [{"destination": "nowhere", "kind": "unknown"}]

    def test_one_alias_may_be_given_as_text(self, rf):
        dead()

        assert views.health_view(rf.get("/"), None, destinations="default").status_code == 503
        assert views.health_view(rf.get("/"), None, destinations="emea").status_code == 404

    def test_a_failed_database_is_503_and_says_no_more_than_its_kind(self, client, bearer, monkeypatch):
        def fails(*arguments):
            raise OperationalError("password canary")

        monkeypatch.setattr(views, "probe", fails)

        answer = client.get("/health", **bearer)

        assert answer.status_code == 503
        assert [problem["kind"] for problem in answer.json()["problems"]] == ["database"]
        assert b"canary" not in answer.content


class TestTheCheck:
    def test_it_says_only_the_kinds_unless_asked(self):
        refused_login()

        with pytest.raises(ServiceUnavailable) as error:
            EventBridge().run()

        assert error.value.message == "default: paused"

    def test_a_failed_database_is_unavailable(self, monkeypatch):
        def fails(*arguments):
            raise OperationalError("password canary")

        monkeypatch.setattr(health, "probe", fails)

        with pytest.raises(ServiceUnavailable, match=r"the database failed \(OperationalError\)$"):
            EventBridge().run()

    def test_its_name_says_what_it_checks(self):
        check = EventBridge(destinations=("default",), max_dead=5)

        assert repr(check) == "EventBridge(destinations=('default',), max_age=300.0, max_dead=5)"


@pytest.mark.django_db(transaction=True)
class TestInItsView:
    """Through django-health-check's own view, which runs checks in threads."""

    def test_a_page_is_200_if_nothing_needs_an_operator(self, client, settings):
        settings.ROOT_URLCONF = __name__

        answer = client.get("/?format=json")

        assert answer.status_code == 200
        assert set(answer.json().values()) == {"OK"}

    def test_a_problem_is_an_error_on_the_page(self, client, settings):
        settings.ROOT_URLCONF = __name__
        dead()

        answer = client.get("/?format=json")

        assert answer.status_code == 500
        assert set(answer.json().values()) == {"Unavailable: default: dead", "OK"}

    def test_a_thread_leaves_no_connection_open(self):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(EventBridge().run).result(60)

            assert pool.submit(lambda: connection.connection).result(60) is None
