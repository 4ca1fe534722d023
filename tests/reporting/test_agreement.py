"""Every page and command says the same of one situation: one test opens all of them."""

import re

import httpx
import pytest

from genesys_eventbridge import relay
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.formatting import span
from genesys_eventbridge.management import draining
from genesys_eventbridge.models import Destination
from genesys_eventbridge.operations import Actor, requeue
from genesys_eventbridge.states import AttemptKind, Reason, State
from tests.admin.test_dashboard import APP, LIST, PAGE, user
from tests.outbox_rows import claim, ended, event, fresh, halted
from tests.prompt import run, run_json
from tests.scripted import ScriptedPlatform

pytestmark = pytest.mark.django_db

ANA = Actor("tests", name="ana")


@pytest.fixture
def viewer(client):
    client.force_login(user("vera", "view_outboxevent", "view_destination"))
    return client


@pytest.fixture
def alive():
    return Destination.objects.create(
        alias="default", heartbeat_at=DatabaseNow(-5), accepted_at=DatabaseNow(-8)
    )


def words(response) -> str:
    assert response.status_code == 200
    return " ".join(re.sub(r"<[^>]+>", " ", str(response.content, "utf-8")).split())


class Answers:
    """What each page and command says about the destination, and about one event."""

    def __init__(self, viewer, row=None):
        dashboard = viewer.get(PAGE)
        self.verdict = dashboard.context["verdict"].title
        self.numbers = {each.label: each.value for each in dashboard.context["numbers"]}
        self.wave = next(each for each in dashboard.context["pictures"] if each.name == "wave")
        self.destination = viewer.get(f"{APP}destination/default/change/").context["standing"].title
        self.destinations = words(viewer.get(f"{APP}destination/"))
        self.status = run_json("status").data
        self.kinds = {problem["kind"] for problem in self.status["problems"]}
        checked = run("status", "--check")
        self.exit, self.checked = checked.code, checked.out
        if row is not None:
            page = viewer.get(f"{LIST}{row.pk}/change/")
            self.next = page.context["next"]
            self.planned = page.context["timeline"][-1]
            self.cell = self.column(viewer, row)
            self.shown = run("show", str(row.pk)).out

    def column(self, viewer, row) -> str:
        (listed,) = (each for each in viewer.get(LIST).context["cl"].result_list if each.pk == row.pk)
        return str(listed.step.short)

    def agree(self):
        """What must be equal in every situation."""
        assert self.verdict == self.destination
        assert self.verdict in self.destinations
        numbers = self.status["destinations"]["default"]
        for label, key in [
            ("Waiting", "waiting"),
            ("Retrying", "retrying"),
            ("In flight", "in_flight"),
            ("Accepted", "accepted"),
            ("Dead", "dead"),
            ("Unresolved", "unresolved"),
        ]:
            assert self.numbers[label] == str(numbers[key]), label
        assert self.numbers.get("Held back", "0") == str(numbers["held_events"])
        assert (self.numbers["Oldest undelivered"] == "-") is (numbers["oldest_seconds"] is None)
        assert self.status["needs_person"] is (self.exit == 3) is bool(self.kinds)
        assert ("Delayed" in self.verdict) <= ("age" in self.kinds)

    def agree_on_the_event(self, short, sentence):
        self.agree()
        assert self.next.startswith(sentence)
        assert self.next in self.shown
        assert self.cell == short
        assert self.planned.title in self.shown
        goes = short == "due" or short.startswith("in ")
        assert self.planned.title == ("Next attempt" if goes else f"Next attempt: {short}")


def test_all_well(viewer, alive):
    row = event()

    answers = Answers(viewer, row)

    answers.agree_on_the_event("due", "Will be sent within about 60 s.")
    assert answers.verdict == "Working normally"
    assert answers.planned.title == "Next attempt"


def test_paused_by_an_error(viewer, alive):
    row = event()
    halted(seconds=600)

    answers = Answers(viewer, row)

    answers.agree_on_the_event(answers.cell, "Held until ")
    assert answers.cell.startswith("paused until ")
    assert answers.verdict == "Paused"
    assert "now" not in answers.planned.title


def test_paused_by_an_operator(viewer, alive):
    row = event(row={"attempts": 2})
    Destination.objects.update(held_by="ben", held_reason="their maintenance")

    answers = Answers(viewer, row)

    answers.agree_on_the_event("paused by ben", "Held until the destination is resumed")
    assert answers.verdict == "Paused by an operator"
    assert answers.planned.at is None


def test_no_worker(viewer):
    Destination.objects.create(alias="default", heartbeat_at=DatabaseNow(-900))
    row = event()

    answers = Answers(viewer, row)

    answers.agree_on_the_event("no worker", "Nothing will happen: no worker has reported since")
    assert answers.verdict == "Stopped: no worker"
    assert "worker" in answers.kinds


def test_requeued_over_time(viewer, alive):
    rows = [
        event(row=ended(State.DEAD, Reason.EXHAUSTED, attempts=12, last_error="HTTP 503")) for _ in range(4)
    ]
    requeue([row.pk for row in rows], ANA, reason="fixed", spread=1200)
    last = fresh(rows[-1])

    answers = Answers(viewer, last)

    answers.agree_on_the_event(answers.cell, "Retries in ")
    assert answers.cell.startswith("in ")
    assert (answers.numbers["Retrying"], answers.numbers["Waiting"]) == ("4", "0")
    assert sum(int(number) for _from, number in answers.wave.table) == 3  # the first one is due


def test_behind_a_dead_event(viewer, alive):
    head = event(ordering_key="ORD-7", row=ended(State.DEAD, Reason.REJECTED))
    row = event(ordering_key="ORD-7", row={"created_at": DatabaseNow(-9999)})

    for _worker_has_seen_it in (False, True):
        answers = Answers(viewer, row)

        answers.agree_on_the_event(f"waits for #{head.pk} (dead)", f"Waits for event #{head.pk}")
        assert answers.verdict == "Working; 1 event needs an operator"
        assert answers.planned.at is None
        assert f"1 held behind #{head.pk} (dead)" in answers.checked
        assert answers.kinds == {"dead"}
        assert claim().rows == []
        row = fresh(row)
    assert run("status", "--check", "--max-dead", "10").code == 0


def test_a_worker_that_was_killed(viewer, alive):
    row = event()
    (taken,) = claim().rows
    Destination.objects.update(heartbeat_at=DatabaseNow(-5))
    row = fresh(row)
    type(row).objects.update(due_at=DatabaseNow(-1))

    answers = Answers(viewer, row)

    answers.agree_on_the_event("due", "The worker that was sending it stopped responding")
    entries = viewer.get(f"{LIST}{row.pk}/change/").context["timeline"]
    assert [entry.title for entry in entries][1:] == [
        "A worker claimed it and never reported",
        "Next attempt",
    ]
    assert entries[1].at < entries[2].at
    assert "A worker claimed it and never reported" in answers.shown
    assert answers.numbers["Retrying"] == "1"
    assert taken.id == row.pk


@pytest.fixture
def hook(settings):
    one = settings.GENESYS_EVENTBRIDGE["default"]
    settings.GENESYS_EVENTBRIDGE = {
        "default": {
            "PROTOCOL": "webhook",
            "API_BASE_URL": one["API_BASE_URL"],
            "WEBHOOK_TOKEN": "token-canary",
            "SOURCE": one["SOURCE"],
        }
    }


def test_a_wrong_token_shortly_after_an_acceptance(viewer, hook):
    """It pauses nothing at first, because one event may be at fault; it is said all the same."""
    accepted = httpx.Response(200, json={"invocationId": "123e4567-e89b-12d3-a456-426614174000"})
    answers = iter([accepted, httpx.Response(404, json={"message": "no"})])
    reports = []
    for _ in range(2):
        event()
        report = relay.publish_due(transport=lambda: httpx.MockTransport(lambda _request: next(answers)))
        reports.append(draining.Drained("default", AttemptKind.PUBLISH))
        reports[-1].add(report)

    printed = draining.lines(reports[-1])

    assert printed[0].startswith("default: 0 events sent in ")
    assert printed[2].startswith("  latest error: HTTP 404: no. No webhook has this token.")
    assert printed[3] == "  -> manage.py eventbridge_ping --destination default"
    told = run("status").out
    assert "  1 request not accepted since the last acceptance at " in told
    assert "  -> manage.py eventbridge_status --failures" in told
    rows = {row.name: row for row in viewer.get(PAGE).context["health"]}
    assert rows["Last successful call"].tone == ""
    assert "1 request not accepted since" in rows["Last successful call"].text


def test_events_that_end_without_a_request_were_not_sent():
    event(row={"attempts": 12, "last_error": "HTTP 503"})
    done = draining.Drained("default", AttemptKind.PUBLISH)

    done.add(relay.publish_due(transport=ScriptedPlatform().transport))

    assert draining.lines(done)[:3] == [
        f"default: 0 events sent in {span(done.seconds)}",
        "  1 event ended without a request",
        "  dead 1",
    ]


@pytest.mark.parametrize(
    ("columns", "tone"),
    [
        ({}, "good"),
        ({"accepted_at": None}, ""),
        ({"accepted_at": DatabaseNow(-7200)}, ""),
        ({"misses": 3}, ""),
        ({"paused_until": DatabaseNow(60), "paused_kind": "network"}, "bad"),
    ],
)
def test_the_last_success_is_green_only_while_it_says_something(viewer, alive, columns, tone):
    Destination.objects.update(misses=0)
    Destination.objects.update(**columns)

    rows = {row.name: row for row in viewer.get(PAGE).context["health"]}

    assert rows["Last successful call"].tone == tone


def test_a_webhook_that_asks(viewer, alive, hook):
    row = event(row=ended(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN))
    waiting = event()

    answers = Answers(viewer, row)

    answers.agree()
    assert answers.cell == "needs an operator"
    assert answers.verdict == "Working; 1 event needs an operator"
    assert "not sent again automatically (ON_DOUBT)" in answers.next
    notes = {each.label: each.note for each in viewer.get(PAGE).context["numbers"]}
    assert notes["Accepted"] == "no confirmation to wait for"
    assert "idempotency key" not in Answers(viewer, waiting).next
