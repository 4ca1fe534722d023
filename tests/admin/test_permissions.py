"""Who may do what in the admin: every address and every act, by GET and by POST, for five kinds of people."""

import hashlib

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.db import models
from django.urls import URLPattern, reverse

from genesys_eventbridge import counters
from genesys_eventbridge.admin.actions import VERBS
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import (
    CataloguePage,
    DashboardPage,
    DeliveryAttempt,
    Destination,
    EventAct,
    FailuresPage,
    OutboxEvent,
    Rollup,
)
from genesys_eventbridge.outbox import enqueue_many
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import ended
from tests.prompt import sandboxed

pytestmark = pytest.mark.django_db

APP = "genesys_eventbridge"
#: Staff: who have nothing, see, do a part, do all. Each may what stands here, and nothing else.
VIEWER = ("view_outboxevent", "view_destination")
OPERATOR = (*VIEWER, "requeue_event", "pause_destination")
PEOPLE: dict[str, tuple[str, ...] | None] = {
    "anonymous": None,
    "staff": (),
    "viewer": VIEWER,
    "operator": OPERATOR,
    "superuser": (),
}
LOGIN, OK, GONE_ON, REFUSED, NOT_FOUND, NO_METHOD = 302, 200, 302, 403, 404, 405
everybody = pytest.mark.parametrize("person", PEOPLE)


def by_person(viewer, operator, superuser, staff=REFUSED) -> dict[str, int]:
    return {
        "anonymous": LOGIN,
        "staff": staff,
        "viewer": viewer,
        "operator": operator,
        "superuser": superuser,
    }


#: Address -> what a GET and a POST without a form's fields come to.
READ = by_person(OK, OK, OK)
NEVER = by_person(REFUSED, REFUSED, REFUSED)
ONLY_READ = by_person(NO_METHOD, NO_METHOD, NO_METHOD)
ADDRESSES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    # A POST of no action is the list again; Django sends the person back to it.
    "outboxevent_changelist": (READ, by_person(OK, OK, OK)),
    "outboxevent_add": (NEVER, NEVER),
    "outboxevent_history": (READ, READ),
    "outboxevent_delete": (NEVER, NEVER),
    "outboxevent_change": (READ, {**ONLY_READ, "staff": NO_METHOD}),
    "outboxevent_dashboard": (READ, {**ONLY_READ, "staff": NO_METHOD}),
    "outboxevent_erase": (by_person(REFUSED, REFUSED, OK), by_person(REFUSED, REFUSED, OK)),
    "outboxevent_failures": (READ, {**ONLY_READ, "staff": NO_METHOD}),
    "outboxevent_catalogue": (READ, {**ONLY_READ, "staff": NO_METHOD}),
    "dashboardpage_changelist": (READ, ONLY_READ),
    "failurespage_changelist": (READ, ONLY_READ),
    "cataloguepage_changelist": (READ, ONLY_READ),
    "destination_changelist": (READ, by_person(OK, OK, OK)),
    "destination_add": (NEVER, NEVER),
    "destination_history": (READ, READ),
    "destination_delete": (NEVER, NEVER),
    "destination_change": (READ, {**ONLY_READ, "staff": NO_METHOD}),
    "destination_pause": (by_person(REFUSED, NO_METHOD, NO_METHOD), by_person(REFUSED, OK, OK)),
    "destination_resume": (by_person(REFUSED, NO_METHOD, NO_METHOD), by_person(REFUSED, GONE_ON, GONE_ON)),
    "destination_test": (by_person(REFUSED, NO_METHOD, NO_METHOD), by_person(REFUSED, OK, OK)),
}
MAY_DO = {"operator": {"retry_now", "requeue", "check_now", "move"}, "superuser": set(VERBS)}


@pytest.fixture
def rows():
    Destination.objects.create(alias="default", heartbeat_at=DatabaseNow())
    counters.add("default", {"delivered": 1})
    delivered = ended(State.DELIVERED, finished_at=DatabaseNow())
    columns = {
        "retry_now": {"attempts": 2, "due_at": DatabaseNow(3600)},
        "requeue": ended(State.DEAD, Reason.REJECTED),
        "check_now": {
            "state": State.ACCEPTED,
            "remote_id": "evt-1",
            "accepted_at": DatabaseNow(),
            "due_at": DatabaseNow(3600),
        },
        "resolve": ended(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN),
        "cancel": ended(State.DEAD, Reason.REJECTED),
        "move": {"destination": "gone"},
        "resend": delivered,
        "replay": delivered,
        "correct": ended(State.DEAD, Reason.REJECTED),
        "export": delivered,
    }
    written = enqueue_many([{"type": "order.created", "data": None}] * len(columns), standalone=True)
    for row, changes in zip(written, columns.values(), strict=True):
        OutboxEvent.objects.filter(pk=row.pk).update(**changes)
    return dict(zip(columns, OutboxEvent.objects.order_by("pk"), strict=True))


@pytest.fixture
def log_in(client):
    def as_(person):
        codenames = PEOPLE[person]
        if codenames is None:
            return client
        users = get_user_model().objects
        made = (
            users.create_superuser(person)
            if person == "superuser"
            else users.create_user(person, is_staff=True)
        )
        made.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
        client.force_login(made)
        return client

    return as_


def address(name, rows) -> str:
    arguments: list[object] = []
    if not name.endswith(("changelist", "add", "dashboard", "failures", "catalogue", "erase")):
        arguments = [rows["requeue"].pk if name.startswith("outboxevent") else "default"]
        if name == "destination_history":
            arguments = [Destination.objects.get().pk]
    return reverse(f"admin:{APP}_{name}", args=arguments)


def everything() -> dict[str, list[dict]]:
    """All that the app keeps, and what the admin logs."""
    tables: list[type[models.Model]] = [
        OutboxEvent,
        EventAct,
        DeliveryAttempt,
        Destination,
        Rollup,
        LogEntry,
    ]
    return {table.__name__: list(table._default_manager.order_by("pk").values()) for table in tables}


def test_every_address_of_the_app_is_in_the_tables_of_this_file():
    found = set()
    for model in (OutboxEvent, Destination, DashboardPage, FailuresPage, CataloguePage):
        for pattern in admin.site.get_model_admin(model).get_urls():
            assert isinstance(pattern, URLPattern)
            if pattern.name:
                found.add(pattern.name.removeprefix(f"{APP}_"))

    assert found == {*ADDRESSES, "outboxevent_act"}


@everybody
@pytest.mark.parametrize("name", ADDRESSES)
def test_a_get_comes_to_what_is_designed_and_changes_nothing(log_in, rows, name, person):
    client = log_in(person)
    before = everything()

    response = client.get(address(name, rows))

    assert response.status_code == ADDRESSES[name][0][person]
    if person == "anonymous":
        assert "/admin/login/" in response.url
    assert everything() == before


@everybody
@pytest.mark.parametrize("name", ADDRESSES)
def test_a_post_comes_to_what_is_designed(log_in, rows, name, person):
    client = log_in(person)
    before = everything()

    with sandboxed():
        response = client.post(address(name, rows), {"post": "yes"})

    assert response.status_code == ADDRESSES[name][1][person]
    if person == "anonymous":
        assert "/admin/login/" in response.url
    assert everything() == before  # the pause lacks its reason, and nothing was paused


@everybody
def test_only_who_may_pause_pauses_and_resumes(log_in, rows, person):
    client = log_in(person)
    held = []
    for act in ("pause", "resume"):
        client.post(reverse(f"admin:{APP}_destination_{act}", args=["default"]), {"pause-reason": "why"})
        held.append(Destination.objects.get().held_by)

    assert held == ([person, ""] if person in ("operator", "superuser") else ["", ""])


@everybody
@pytest.mark.parametrize("by", ["GET", "POST", "list"])
@pytest.mark.parametrize("act", VERBS)
def test_an_act_is_done_by_who_may_and_only_by_post(log_in, rows, act, by, person):
    client = log_in(person)
    row = rows[act]
    fields = {
        "ids": str(row.pk),
        "confirm": "1",
        "reason": "why",
        "outcome": "delivered",
        "once": "00000000-0000-4000-8000-000000000001",
        "to": "default",
        "corrected": "{}",
        "seen": hashlib.sha256(b"{}").hexdigest(),
    }
    before = everything()
    may = act in MAY_DO.get(person, set())

    if by == "list":
        # The list asks for a confirmation, and so does nothing yet. What is not offered is not run.
        picked = {"action": act, "_selected_action": [row.pk], "index": "0", **fields}
        response = client.post(reverse(f"admin:{APP}_outboxevent_changelist"), picked)
        asks = "verb" in (response.context or {})
        assert asks is may
    else:
        where = reverse(f"admin:{APP}_outboxevent_act", args=[act])
        response = client.get(where, fields) if by == "GET" else client.post(where, fields)

    changed = everything() != before
    assert changed is (may and by == "POST")
    if not may:
        refusals = {"anonymous": LOGIN, "staff": REFUSED}
        if by == "list":  # shown again; who has other actions is told to pick one of them
            refusals |= {"viewer": OK, "operator": GONE_ON}
        assert response.status_code == refusals.get(person, REFUSED)
    elif by == "GET":
        assert response.status_code == NO_METHOD


@everybody
@pytest.mark.parametrize("page", ["outboxevent_change", "destination_change"])
def test_a_page_offers_only_what_the_person_may(log_in, rows, page, person):
    client = log_in(person)

    response = client.get(address(page, rows))

    shown = str(response.content, "utf-8")
    operates = person in ("operator", "superuser")
    if page == "outboxevent_change":
        assert ("act/requeue/" in shown) is operates
        assert ("act/cancel/" in shown) is (person == "superuser")
    else:
        assert ("default/pause/" in shown) is operates
        assert ("default/test/" in shown) is operates


@everybody
def test_the_list_offers_only_the_acts_that_the_person_may(log_in, rows, person):
    response = log_in(person).get(address("outboxevent_changelist", rows))

    shown = str(response.content, "utf-8")
    assert {name for name in VERBS if f'value="{name}"' in shown} == MAY_DO.get(person, set())


@everybody
def test_nothing_can_be_deleted_by_djangos_own_action(log_in, rows, person):
    client = log_in(person)
    fields = {"action": "delete_selected", "_selected_action": [rows["requeue"].pk], "post": "yes"}

    client.post(reverse(f"admin:{APP}_outboxevent_changelist"), fields)

    assert OutboxEvent.objects.filter(pk=rows["requeue"].pk).exists()


def test_who_is_no_staff_is_nobody(client, rows):
    user = get_user_model().objects.create_user("nora")
    user.user_permissions.add(*Permission.objects.filter(content_type__app_label=APP))
    client.force_login(user)

    for name in ADDRESSES:
        assert "/admin/login/" in client.get(address(name, rows)).url
        assert "/admin/login/" in client.post(address(name, rows)).url
    assert Session.objects.exists()
