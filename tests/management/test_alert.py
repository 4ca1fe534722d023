"""eventbridge_alert: evaluates the alerts for cron, and tests the channels."""

import pytest

from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import Alert, AlertNotice, OutboxEvent
from genesys_eventbridge.operations import Actor, pause
from tests import alerts
from tests.alerts import SECRET, alerting, fail, heartbeat, received, told
from tests.outbox_rows import event
from tests.prompt import run, run_json

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _alerts():
    received.clear()
    with alerting():
        yield


@pytest.fixture
def broken(monkeypatch):
    def receive(notice):
        raise ValueError("no channel #ops")

    monkeypatch.setattr(alerts, "receive", receive)


def test_nothing_to_tell():
    heartbeat()
    ran = run("alert", "--check")

    assert (ran.code, ran.out) == (0, "OK       default: nothing to tell\n")


def test_an_open_alert_is_told_and_exits_with_3():
    heartbeat()
    fail(5)
    first, second = run("alert", "--check"), run("alert", "--check")

    remedy = "  -> manage.py eventbridge_retry --destination default --state dead --dry-run\n"
    assert first.code == second.code == 3
    assert first.out == f"OPEN     default dead: 5 events are dead (limit 0); new\n{remedy}"
    assert second.out.startswith("OPEN     default dead: 5 events are dead (limit 0); alert of ")
    assert told() == ["opened dead"]


def test_what_is_over_exits_with_0_before_and_after_it_is_told():
    heartbeat()
    fail(1)
    run("alert", "--check")
    OutboxEvent.objects.all().delete()
    ran = run("alert", "--check")
    assert ran.code == 0
    assert ran.out.startswith("OVER     default dead: over since ")
    assert ran.out.endswith("; “recovered” is sent in 15 min unless it returns\n")
    with shifted(901):
        heartbeat()
        ran = run("alert", "--check")

    assert (ran.code, ran.out) == (0, "OVER     default dead: recovered\n")
    assert told() == ["opened dead", "recovered dead"]


def test_what_is_not_an_alert_yet_is_shown():
    heartbeat()
    pause("default", Actor(via="tests", name="ana"), "maintenance")
    ran = run("alert", "--check")

    assert ran.code == 0
    assert ran.out.startswith("WAITING  default paused: Paused by ana until resumed: “maintenance”.")
    assert "an alert after 15 min" in ran.out
    assert told() == []


def test_no_worker_is_found_by_the_command_since_no_worker_can():
    heartbeat()
    with shifted(600):
        ran = run("alert", "--check")

    assert ran.code == 3
    assert "OPEN     default worker: no worker heartbeat since " in ran.out
    assert told() == ["opened worker"]


def test_a_channel_that_fails_is_shown_with_the_command_to_test_it(broken):
    heartbeat()
    fail(1)
    OutboxEvent.objects.all().delete()
    fail(1)
    ran = run("alert", "--check")

    assert ran.code == 3
    assert "UNSENT   default dead (opened) by function: it raised ValueError; attempt 1, next at " in ran.out
    assert "  -> manage.py eventbridge_alert --test --destination default" in ran.out
    assert "#ops" not in ran.out


def test_an_alert_that_no_one_got_exits_with_3_although_it_is_over(broken):
    heartbeat()
    fail(1)
    run("alert", "--check")
    OutboxEvent.objects.all().delete()

    assert run("alert", "--check").code == 3


def test_check_as_json():
    heartbeat()
    fail(2)
    ran = run_json("alert", "--check")

    (found,) = ran.data["alerts"]
    assert (found["destination"], found["kind"], found["open"], found["stored"]) == (
        "default",
        "dead",
        True,
        "opened",
    )
    assert ran.data["unsent"] == []
    assert ran.data["needs_person"] is True


def test_only_the_named_destination_is_evaluated():
    with alerting(aliases=("default", "emea")):
        for alias in ("default", "emea"):
            heartbeat(alias)
            fail(1, destination=alias)
        run("alert", "--check", "--destination", "emea")

        assert [notice.destination for notice in received] == ["emea"]


@pytest.mark.parametrize("flag", ["--check", "--test"])
def test_without_the_setting_the_command_says_what_to_set(flag):
    with alerting(None):
        ran = run("alert", flag)

    assert ran.code == 1
    assert '"ALERTS": {"email": "admins"}' in ran.error


def test_a_test_goes_through_every_channel(mailoutbox):
    with alerting({"email": ["ops@example.com"], "function": "tests.alerts.receive"}):
        ran = run("alert", "--test")

    assert (ran.code, ran.out) == (0, "OK       default email: sent\nOK       default function: sent\n")
    assert [mail.subject for mail in mailoutbox] == ["[Django] default: a test of the alerts"]
    assert [(notice.status, notice.kind) for notice in received] == [("test", "test")]
    assert not Alert.objects.exists()
    assert not AlertNotice.objects.exists()


def test_a_test_says_what_failed_and_what_to_do(broken):
    given = {
        "webhook": "http://127.0.0.1:1/canary",
        "secret": SECRET,
        "function": "tests.alerts.receive",
    }
    with alerting(given):
        ran = run("alert", "--test")

    webhook, remedy, function = ran.out.splitlines()
    assert ran.code == 3
    assert webhook.startswith("FAILED   default webhook: ConnectError: ")
    assert "Connection refused" in webhook
    assert remedy == "  -> check the URL, the route to its host, PROXY and CA_BUNDLE"
    assert function == "FAILED   default function: it raised ValueError: no channel #ops"
    assert "canary" not in ran.out


def test_a_test_as_json(broken):
    ran = run_json("alert", "--test")

    assert ran.data == {
        "destinations": {
            "default": [
                {
                    "channel": "function",
                    "ok": False,
                    "error": "it raised ValueError: no channel #ops",
                    "remedy": "",
                }
            ]
        },
        "needs_person": True,
    }


@pytest.mark.parametrize("arguments", [(), ("--check", "--test")])
def test_one_of_both_is_asked_for(arguments):
    ran = run("alert", *arguments)

    assert ran.code == 2 or "required" in ran.error or "not allowed" in ran.error


@pytest.mark.django_db(transaction=True)
def test_nothing_is_evaluated_within_a_transaction_of_business_code():
    from django.db import transaction

    with transaction.atomic():
        event(row={"created_at": DatabaseNow(-9999)})
        ran = run("alert", "--check")

    assert ran.code == 1
    assert "transaction is open" in ran.error
    assert told() == []
