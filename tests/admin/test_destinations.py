"""Destinations in the admin: how each stands, paused and resumed by a person, no secret anywhere."""

import re

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection, connections
from django.test import Client

from genesys_eventbridge import ping
from genesys_eventbridge.admin import destinations as admin_destinations
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.operations import Actor, pause
from genesys_eventbridge.outbox import destinations
from genesys_eventbridge.platform.outcomes import Halt
from tests.outbox_rows import PUBLISH, claim, event, halted
from tests.prompt import sandboxed

pytestmark = pytest.mark.django_db

LIST = "/admin/genesys_eventbridge/destination/"
DASHBOARD = "/admin/genesys_eventbridge/outboxevent/dashboard/"
PAGE = f"{LIST}default/change/"
PAUSE = f"{LIST}default/pause/"
RESUME = f"{LIST}default/resume/"
TEST = f"{LIST}default/test/"


def user(name, *codenames, **flags):
    made = get_user_model().objects.create_user(name, **flags)
    made.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    return made


@pytest.fixture
def ana(client):
    client.force_login(get_user_model().objects.create_superuser("ana"))
    return client


@pytest.fixture
def row():
    return Destination.objects.create(
        alias="default",
        heartbeat_at=DatabaseNow(-5),
        heartbeat_worker="web1:4711",
        accepted_at=DatabaseNow(-8),
    )


def text(response) -> str:
    return str(response.content, "utf-8")


def told(response) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def test_the_list_and_the_page_say_how_it_stands(ana, row):
    for address in (LIST, PAGE):
        shown = text(ana.get(address))
        assert "Working normally" in shown
        assert "Last event accepted: 8 s ago." in shown or "Last event accepted: 9 s ago." in shown


def test_a_destination_nobody_used_yet_is_there_too(ana, settings):
    one = settings.GENESYS_EVENTBRIDGE["default"]
    settings.GENESYS_EVENTBRIDGE = {"default": one, "second": one}
    Destination.objects.create(alias="default")

    assert f"{LIST}second/change/" in text(ana.get(LIST))
    shown = re.sub(r"<[^>]+>", "", text(ana.get(LIST)))
    start = "Start one: manage.py qcluster, or manage.py eventbridge_publish --loop."
    assert f"second: No worker has reported yet. {start}" in shown
    assert "No worker has reported yet" in text(ana.get(f"{LIST}second/change/"))


def test_a_destination_that_is_configured_no_more_is_told_as_such(ana):
    gone = Destination.objects.create(alias="gone")

    assert "Not configured" in text(ana.get(f"{LIST}{gone.pk}/change/"))
    assert ana.post(f"{LIST}gone/test/").status_code == 404


def test_one_that_is_configured_no_more_can_be_held_so_that_nobody_is_alarmed(ana):
    gone = Destination.objects.create(alias="gone")

    ana.post(f"{LIST}gone/pause/", {"pause-reason": "another project's"})
    gone.refresh_from_db()

    assert gone.held_reason == "another project's"
    assert 'action="' + f"{LIST}gone/test/" not in text(ana.get(f"{LIST}{gone.pk}/change/"))


@pytest.mark.parametrize("name", ["nothing", "99", "9" * 40])
def test_a_destination_that_is_not_there_is_not_found(ana, name):
    assert ana.get(f"{LIST}{name}/change/").status_code == 404


def test_no_secret_is_shown(ana, row):
    assert "test-secret-sample" not in text(ana.get(PAGE)) + text(ana.get(LIST))
    assert "test-client" not in text(ana.get(PAGE))


@pytest.mark.parametrize(
    ("on_doubt", "follows"), [("ask", "waits for an operator"), ("resend", "is sent again")]
)
def test_its_page_and_the_dashboard_say_what_a_doubt_means_without_a_key(
    ana, row, settings, on_doubt, follows
):
    assert "no idempotency key" not in text(ana.get(PAGE)) + text(ana.get(DASHBOARD))
    settings.GENESYS_EVENTBRIDGE = {
        "default": {
            "REGION": "us-east-1",
            "SOURCE": "com.example",
            "PROTOCOL": "webhook",
            "WEBHOOK_TOKEN": "canarytoken-0123456789",
            "ON_DOUBT": on_doubt,
        }
    }

    for address in (PAGE, DASHBOARD):
        shown = text(ana.get(address))
        assert "<code>webhook</code>, no idempotency key" in shown
        assert f"{follows} (ON_DOUBT: {on_doubt})" in shown
        assert "canarytoken" not in shown


def test_the_rate_is_shown(ana, row, settings):
    assert "no limit set" in text(ana.get(LIST))
    settings.GENESYS_EVENTBRIDGE = {
        "default": {**settings.GENESYS_EVENTBRIDGE["default"], "RATE_PER_MINUTE": 300}
    }
    assert "300 per minute" in text(ana.get(LIST))


def test_trouble_is_shown_with_its_reason(ana, row):
    halted(Halt.AUTH, "401: check CLIENT_ID")

    shown = text(ana.get(PAGE))
    assert "Paused" in shown
    assert "401: check CLIENT_ID" in shown


def test_each_kind_of_pause_is_shown_with_its_end(ana, row):
    halted(Halt.RATE, "slow down", 30.0)
    halted(Halt.NETWORK)

    shown = text(ana.get(PAGE))
    assert re.search(r"in \d+ s</time> rate, <time", shown)
    assert re.search(r"in \d+ s</time> network", shown)


def test_a_person_pauses_with_a_reason_and_a_time(ana, row):
    event()

    response = ana.post(PAUSE, {"pause-reason": "their maintenance", "pause-minutes": "30"}, follow=True)

    assert told(response) == ["default is paused."]
    assert "Paused by ana until" in text(response)
    assert claim().rows == []
    row.refresh_from_db()
    assert (row.held_by, row.held_reason, row.held_until is None) == ("ana", "their maintenance", False)
    assert LogEntry.objects.get().get_change_message() == "paused: their maintenance"


def test_a_person_resumes(ana, row):
    event()
    pause("default", Actor("admin", name="ben"), "their maintenance")

    response = ana.post(RESUME, {"resume-reason": "they are back"}, follow=True)

    assert told(response) == ["default is resumed."]
    assert len(claim().rows) == 1


def test_resuming_twice_is_harmless(ana, row):
    response = ana.post(RESUME, {}, follow=True)

    assert told(response) == ["default was not paused."]


def test_trouble_can_be_tried_at_once(ana, row):
    halted(Halt.AUTH, "401")
    assert "Try now" in text(ana.get(PAGE))

    ana.post(RESUME, {"resume-also_trouble": "on"})

    assert destinations.gate(PUBLISH, "default", "tests").probing


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, {"reason"}),
        ({"pause-reason": " "}, {"reason"}),
        ({"pause-reason": "x", "pause-minutes": "0"}, {"minutes"}),
        ({"pause-reason": "x", "pause-minutes": "soon"}, {"minutes"}),
    ],
)
def test_a_pause_that_makes_no_sense_is_asked_again(ana, row, fields, wrong):
    response = ana.post(PAUSE, fields)

    assert response.status_code == 200
    assert response.context["pause_form"].errors.keys() == wrong
    row.refresh_from_db()
    assert row.held_by == ""


def test_a_reason_to_resume_that_is_too_long_is_asked_again(ana, row):
    response = ana.post(RESUME, {"resume-reason": "x" * 600})

    assert response.context["resume_form"].errors.keys() == {"reason"}


@pytest.mark.parametrize("address", [PAUSE, RESUME])
@pytest.mark.parametrize("person", ["anonymous", "no staff", "viewer", "without view", "permitted"])
def test_pausing_needs_its_permission(client, row, address, person):
    codenames = {
        "no staff": ["view_destination", "pause_destination"],
        "viewer": ["view_destination"],
        "without view": ["pause_destination"],
        "permitted": ["view_destination", "pause_destination"],
    }
    if person in codenames:
        client.force_login(user("paul", *codenames[person], is_staff=person != "no staff"))
    pause("default", Actor("admin", name="ben"), "before")
    fields = {"pause-reason": "after", "resume-reason": "after"}

    response = client.post(address, fields)

    row.refresh_from_db()
    if person == "permitted":
        assert response.status_code == 302
        assert row.held_reason in ("after", "")
    else:
        assert response.status_code == (403 if person in ("viewer", "without view") else 302)
        assert row.held_reason == "before"


def test_who_may_not_pause_sees_no_form(client, row):
    client.force_login(user("vera", "view_destination", is_staff=True))

    assert PAUSE not in text(client.get(PAGE))
    client.force_login(user("paul", "view_destination", "pause_destination", is_staff=True))
    assert PAUSE in text(client.get(PAGE))


@pytest.mark.parametrize("address", [PAUSE, RESUME])
def test_a_get_changes_nothing(ana, row, address):
    pause("default", Actor("admin", name="ben"), "before")

    assert ana.get(address).status_code == 405
    row.refresh_from_db()
    assert row.held_reason == "before"


@pytest.mark.parametrize("path", ["add/", "default/delete/"])
def test_nothing_is_added_or_deleted(ana, row, path):
    assert ana.post(LIST + path, {"post": "yes"}).status_code in (403, 302)
    assert Destination.objects.count() == 1


def test_nothing_is_edited(ana, row):
    assert ana.post(PAGE, {"alias": "other"}).status_code == 405


def test_the_history_finds_the_row_by_its_number(ana, row):
    ana.post(PAUSE, {"pause-reason": "their maintenance"})

    assert f"{LIST}{row.pk}/history/" in text(ana.get(PAGE))
    assert "paused: their maintenance" in text(ana.get(f"{LIST}{row.pk}/history/"))
    assert LogEntry.objects.get().get_admin_url() == f"{LIST}{row.pk}/change/"
    assert ana.get(f"{LIST}{row.pk}/change/").status_code == 200


def test_the_events_are_linked_where_their_admin_is_there(ana, row, monkeypatch):
    assert "/outboxevent/?destination=default" in text(ana.get(PAGE))

    monkeypatch.delitem(admin.site._registry, OutboxEvent)
    assert "/outboxevent/?destination=default" not in text(ana.get(PAGE))


def test_who_may_not_see_destinations_is_refused(client, row):
    client.force_login(user("nora", is_staff=True))

    assert client.get(LIST).status_code == client.get(PAGE).status_code == 403


def test_no_address_filters_by_a_column(ana, row):
    assert ana.get(LIST, {"paused_reason__contains": "x"}).status_code == 400


@pytest.mark.parametrize("address", [LIST, PAGE])
def test_the_pages_take_few_queries(client, row, address, django_assert_max_num_queries):
    client.force_login(user("paul", "view_destination", "pause_destination", is_staff=True))

    with django_assert_max_num_queries(10):
        client.get(address)


# -------------------------------------------------------------------------------------------- test connection


def test_the_connection_is_tested_as_the_command_does_it(ana, row):
    with sandboxed() as sandbox:
        response = ana.post(TEST)

    shown = text(response)
    assert [(step.name, step.ok) for step in response.context["steps"]] == [
        ("settings", True),
        ("token", True),
        ("permission", True),
        ("clocks", True),
    ]
    assert "expires in 24 h" in shown
    assert "POST and GET /api/v2/eventbridge/events" in shown
    assert sandbox.received == []


def test_what_is_wrong_is_said_with_the_line_to_change(ana, row):
    with sandboxed(credentials={"other": "secret"}):
        shown = text(ana.post(TEST))

    assert "Failed" in shown
    assert "CLIENT_ID" in shown
    assert "Skipped" in shown


def test_testing_shows_no_secret_and_changes_nothing(ana, row):
    before = Destination.objects.values().get()
    with sandboxed() as sandbox:
        shown = text(ana.post(TEST))
        sandbox.fail_next(401, on="token", times=9)
        shown += text(ana.post(TEST))

    assert "test-secret-sample" not in shown
    assert "test-client" not in shown
    assert Destination.objects.values().get() == before
    assert not LogEntry.objects.exists()


def test_a_destination_that_nobody_used_yet_can_be_tested(ana):
    with sandboxed():
        assert ana.post(TEST).status_code == 200
    assert ana.post(f"{LIST}gone/test/").status_code == 404


def test_all_steps_together_end_within_the_deadline(ana, row, settings, monkeypatch):
    asked = []

    def told(alias, *, seconds):
        asked.append((alias, seconds))
        return iter([])

    monkeypatch.setattr(ping, "ping", told)
    settings.GENESYS_EVENTBRIDGE = {
        "default": {**settings.GENESYS_EVENTBRIDGE["default"], "REQUEST_DEADLINE": 7, "CONNECT_TIMEOUT": 2}
    }
    ana.post(TEST)

    assert asked == [("default", 7)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("atomic", [True, False])
def test_no_transaction_is_open_while_the_platform_is_asked(monkeypatch, atomic):
    """Also under ATOMIC_REQUESTS, which opens one around every other view."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", atomic)
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", atomic)
    seen = []

    def look(alias, *, seconds):
        seen.append(connection.in_atomic_block)
        return iter([])

    def resume(*arguments, **keywords):
        seen.append(connection.in_atomic_block)
        return True

    monkeypatch.setattr(ping, "ping", look)
    monkeypatch.setattr(admin_destinations, "resume", resume)
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("ana"))

    client.post(TEST)
    client.post(RESUME)

    assert seen == [False, atomic]
