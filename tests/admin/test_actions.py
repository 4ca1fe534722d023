"""Acts of the admin: permitted, confirmed with a reason, done once, told, and never by a GET."""

import csv
import datetime as dt
import io
import json
import re
import uuid

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.handlers.asgi import ASGIRequest
from django.db import connection, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.http import urlencode

from genesys_eventbridge.admin import OutboxEventAdmin, confirmation, events, filters
from genesys_eventbridge.admin.actions import VERBS
from genesys_eventbridge.admin.export import export
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import EventAct, Job, OutboxEvent
from genesys_eventbridge.operations import Actor, Order, cancel, jobs, requeue
from genesys_eventbridge.reporting.exports import Format
from genesys_eventbridge.selection import access
from genesys_eventbridge.states import Act, JobState, Reason, State
from tests.outbox_rows import accepted, ended, event, fresh

pytestmark = pytest.mark.django_db

LIST = "/admin/genesys_eventbridge/outboxevent/"
FILTER = "state=dead&q=ORD-1"
FORM = "00000000-0000-4000-8000-000000000001"


def act(name) -> str:
    return f"{LIST}act/{name}/"


def page(pk) -> str:
    return f"{LIST}{pk}/change/"


def dead(**row) -> OutboxEvent:
    return event("order.created", subject="ORD-1", row=ended(State.DEAD, Reason.REJECTED, **row))


def unresolved(**row) -> OutboxEvent:
    return event(row=ended(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN, **row))


def delivered() -> OutboxEvent:
    return event("order.created", {"number": "canary"}, row=ended(State.DELIVERED, finished_at=DatabaseNow()))


# For each act: a row it takes, what the form says besides the reason, and where the row goes.
ACTS = {
    "retry_now": (lambda: event(row={"attempts": 2, "due_at": DatabaseNow(3600)}), {}, State.PENDING),
    "requeue": (dead, {}, State.PENDING),
    "check_now": (lambda: accepted(due_at=DatabaseNow(3600)), {}, State.ACCEPTED),
    "resolve": (unresolved, {"outcome": "delivered"}, State.DELIVERED),
    "cancel": (dead, {}, State.CANCELLED),
    "move": (lambda: event(row={"destination": "gone"}), {"to": "default"}, State.PENDING),
    "resend": (delivered, {"once": FORM}, State.DELIVERED),
    "replay": (delivered, {"once": FORM}, State.DELIVERED),
    "export": (delivered, {}, State.DELIVERED),
}
PERMISSION = {
    "retry_now": "requeue_event",
    "requeue": "requeue_event",
    "check_now": "requeue_event",
    "resolve": "resolve_event",
    "cancel": "cancel_event",
    "move": "requeue_event",
    "resend": "resend_event",
    "replay": "replay_event",
    "export": "export_event",
}


def user(name, *codenames, **flags):
    made = get_user_model().objects.create_user(name, **flags)
    made.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    return made


@pytest.fixture
def ana(client):
    client.force_login(get_user_model().objects.create_superuser("ana"))
    return client


def posted(client, name, ids, *, reason="mended", confirm=True, follow=False, **fields):
    data = {"ids": ",".join(map(str, ids)), "reason": reason, **fields}
    if confirm:
        data["confirm"] = "1"
    return client.post(act(name), data, follow=follow)


def from_list(client, name, ids, query="", **fields):
    """What Django's list posts when somebody picks an action."""
    data = {"action": name, "_selected_action": ids, "index": "0", **fields}
    return client.post(f"{LIST}{query}", data, follow=True)


def text(response) -> str:
    return str(response.content, "utf-8")


def told(response) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def snapshot() -> list[dict]:
    return [dict(row) for row in OutboxEvent.objects.order_by("pk").values()]


def test_every_act_is_in_the_tables_of_this_file():
    """A correction has a page, and tests, of its own."""
    assert list(ACTS) == list(PERMISSION) == [name for name in VERBS if name != "correct"]


# ------------------------------------------------------------------------------------------- who may do what

PEOPLE = ["anonymous", "no staff", "viewer", "without view", "permitted", "superuser"]


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("name", ACTS)
def test_an_act_needs_its_permission_and_the_right_to_see_events(client, name, person):
    make, fields, state = ACTS[name]
    row = make()
    everything_else = [codename for codename in set(PERMISSION.values()) if codename != PERMISSION[name]]
    people = {
        "anonymous": None,
        "no staff": lambda: user("nora", "view_outboxevent", PERMISSION[name]),
        "viewer": lambda: user(
            "vera", "view_outboxevent", "view_event_payload", *everything_else, is_staff=True
        ),
        "without view": lambda: user("walt", PERMISSION[name], is_staff=True),
        "permitted": lambda: user("paul", "view_outboxevent", PERMISSION[name], is_staff=True),
        "superuser": lambda: get_user_model().objects.create_superuser("ana"),
    }
    if (who := people[person]) is not None:
        client.force_login(who())
    before = snapshot()
    allowed = person in ("permitted", "superuser")

    asked = posted(client, name, [row.pk], confirm=False)
    done = posted(client, name, [row.pk], **fields)

    if allowed:
        assert asked.status_code == 200
        assert done.status_code == (200 if name == "export" else 302)
        assert fresh(row).state == state
        assert EventAct.objects.exists() is (name != "export")
        assert LogEntry.objects.count() == 1
    else:
        assert asked.status_code == done.status_code == (302 if person in ("anonymous", "no staff") else 403)
        assert snapshot() == before
        assert not EventAct.objects.exists()
        assert not LogEntry.objects.exists()


@pytest.mark.parametrize("name", ACTS)
def test_what_a_person_may_not_do_is_not_offered_and_not_taken_from_the_list(client, name):
    make, _fields, _state = ACTS[name]
    row, before = make(), None
    client.force_login(user("vera", "view_outboxevent", is_staff=True))
    before = snapshot()

    assert f'value="{name}"' not in text(client.get(LIST))
    assert act(name) not in text(client.get(page(row.pk)))
    from_list(client, name, [row.pk])
    assert snapshot() == before

    client.force_login(user("paul", "view_outboxevent", PERMISSION[name], is_staff=True))
    assert f'value="{name}"' in text(client.get(LIST))
    assert (act(name) in text(client.get(page(row.pk)))) is (name != "replay")  # which is for many


@pytest.mark.parametrize("name", ACTS)
def test_a_get_changes_nothing(ana, name):
    make, fields, _state = ACTS[name]
    row = make()
    before = snapshot()

    assert ana.get(act(name), {"ids": row.pk, "confirm": "1", "reason": "x", **fields}).status_code == 405
    ana.get(LIST, {"action": name, "_selected_action": row.pk})
    ana.get(page(row.pk))
    assert snapshot() == before
    assert not EventAct.objects.exists()


@pytest.mark.parametrize("name", ACTS)
def test_a_form_from_elsewhere_is_refused(name):
    make, fields, _state = ACTS[name]
    row = make()
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(get_user_model().objects.create_superuser("ana"))
    before = snapshot()

    assert posted(strict, name, [row.pk], **fields).status_code == 403
    assert snapshot() == before


def test_an_act_nobody_knows_is_not_there(ana):
    assert ana.post(act("destroy"), {"ids": "1"}).status_code == 404


@pytest.mark.parametrize(
    "ids", ["", "x", "1;DROP", "1,,2", "-1", "1.5", "9" * 30, "\u0661", ",".join(map(str, range(1001)))]
)
def test_ids_that_no_page_of_ours_would_send_are_refused(ana, ids):
    assert ana.post(act("cancel"), {"ids": ids, "confirm": "1", "reason": "x"}).status_code == 400


def test_rows_that_a_project_hides_are_out_of_reach(ana, monkeypatch):
    """A subclass may narrow get_queryset(): forged ids do not reach behind it."""
    mine, hidden = dead(), dead()
    whole = OutboxEventAdmin.get_queryset
    monkeypatch.setattr(
        OutboxEventAdmin, "get_queryset", lambda self, request: whole(self, request).exclude(pk=hidden.pk)
    )

    posted(ana, "cancel", [mine.pk, hidden.pk])

    assert fresh(mine).state == State.CANCELLED
    assert fresh(hidden).state == State.DEAD


# ------------------------------------------------------------------------------------------ asked and done


@pytest.mark.parametrize("name", ACTS)
def test_a_reason_is_required(ana, name):
    make, fields, _state = ACTS[name]
    row = make()
    before = snapshot()

    response = posted(ana, name, [row.pk], reason="  ", **fields)

    assert response.status_code == 200
    assert response.context["form"].errors.keys() == {"reason"}
    assert snapshot() == before


def test_the_list_asks_with_counts_examples_and_what_is_skipped(ana):
    rows = [dead() for _ in range(7)]
    done = delivered()

    response = from_list(ana, "requeue", [row.pk for row in [*rows, done]])
    shown = text(response)

    assert "7 events" in shown
    assert shown.count("#") >= 5
    assert "and 2 more" in shown
    assert "1 is skipped: already delivered." in " ".join(shown.split())
    assert f'value="{",".join(str(row.pk) for row in [*rows, done])}"' in shown
    assert {row.state for row in OutboxEvent.objects.all()} == {State.DEAD, State.DELIVERED}


def test_done_it_says_how_many_and_why_not_the_others(ana):
    good, done = dead(), delivered()
    flying = event(
        row={
            "claim_token": uuid.uuid4(),
            "attempts": 1,
            "in_doubt_since": DatabaseNow(),
            "due_at": DatabaseNow(60),
        }
    )

    one = posted(ana, "requeue", [good.pk, flying.pk], follow=True)
    many = posted(ana, "cancel", [good.pk, flying.pk, done.pk], follow=True)

    assert told(one) == ["1 requeued, 1 skipped: being sent right now."]
    assert told(many) == ["1 cancelled, 2 skipped: being sent right now (1), already delivered (1)."]


def test_filters_survive_an_act(ana):
    row = dead()

    asked = from_list(ana, "requeue", [row.pk], query=f"?{FILTER}")
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text(asked)))
    assert hidden["filters"].replace("&amp;", "&") == FILTER

    response = posted(ana, "requeue", [row.pk], filters=FILTER)

    assert response.url == f"{LIST}?{FILTER}"


def test_from_an_events_page_one_comes_back_to_it(ana):
    row = dead()

    asked = posted(ana, "requeue", [row.pk], confirm=False, **{"from": "event"})
    assert f'href="{page(row.pk)}"' in text(asked)
    assert posted(ana, "requeue", [row.pk], **{"from": "event"}).url == page(row.pk)


@pytest.mark.parametrize("name", ACTS)
def test_the_buttons_of_an_event_are_those_its_state_allows(ana, name):
    kinds = {
        "pending": event(),
        "retrying": event(row={"attempts": 2, "due_at": DatabaseNow(3600)}),
        "flying": event(
            row={
                "claim_token": uuid.uuid4(),
                "attempts": 1,
                "in_doubt_since": DatabaseNow(),
                "due_at": DatabaseNow(60),
            }
        ),
        "accepted": accepted(due_at=DatabaseNow(60)),
        "dead": dead(),
        "unresolved": unresolved(),
        "unconfirmed": unresolved(remote_id="evt-1"),
        "delivered": delivered(),
        "cancelled": event(row=ended(State.CANCELLED, Reason.OPERATOR, finished_at=DatabaseNow())),
        "gone": event(row={"destination": "gone"}),
        "gone in doubt": event(row={"destination": "gone", "in_doubt_since": DatabaseNow()}),
        "gone accepted": accepted(destination="gone"),
    }
    gone = {kind for kind in kinds if kind.startswith("gone")}
    expected = {
        "retry_now": {"retrying"},
        "requeue": {"dead"},
        "check_now": {"accepted", "unconfirmed"},
        "resolve": {"unresolved", "unconfirmed", "gone in doubt", "gone accepted"},
        "cancel": {"pending", "retrying", "dead", "unresolved", "unconfirmed", *gone},
        "move": gone,
        "resend": {"delivered"},
        "replay": set(),
        "export": set(kinds),
    }

    offered = {kind for kind, row in kinds.items() if act(name) in text(ana.get(page(row.pk)))}

    assert offered == expected[name]


@pytest.mark.parametrize("name", [name for name in ACTS if name != "export"])
def test_a_double_click_does_it_once(ana, name):
    make, fields, _state = ACTS[name]
    row = make()

    posted(ana, name, [row.pk], **fields)
    count = OutboxEvent.objects.count()
    again = posted(ana, name, [row.pk], **fields)

    assert again.status_code == 302
    assert EventAct.objects.count() == 1
    assert OutboxEvent.objects.count() == count


def test_what_moved_since_the_question_is_left_alone(ana):
    """Two operators: the second confirms a page that is out of date."""
    row = dead()
    posted(ana, "requeue", [row.pk], confirm=False)
    cancel([row.pk], Actor("admin", name="ben"), "withdrawn")

    response = posted(ana, "requeue", [row.pk], follow=True)

    assert told(response) == ["0 requeued, 1 skipped: already cancelled."]
    assert fresh(row).state == State.CANCELLED


def test_where_nothing_can_be_done_there_is_no_form(ana):
    row = delivered()

    response = from_list(ana, "requeue", [row.pk])

    assert "There is nothing to do." in text(response)
    assert 'name="confirm"' not in text(response)


def test_an_act_is_kept_with_the_person_and_the_reason(ana):
    row = dead()

    posted(ana, "requeue", [row.pk], reason="type registered\nat last")

    kept = EventAct.objects.get()
    assert (kept.act, kept.username, kept.via, kept.reason) == (
        Act.REQUEUE,
        "ana",
        "admin",
        "type registered at last",
    )
    assert LogEntry.objects.get().get_change_message() == "requeued: type registered at last"


@pytest.mark.parametrize("confirm", [True, False])
def test_an_act_on_a_full_page_takes_few_queries(ana, confirm, django_assert_max_num_queries):
    rows = [dead() for _ in range(50)]

    with django_assert_max_num_queries(30 if confirm else 10):
        posted(ana, "requeue", [row.pk for row in rows], confirm=confirm)


def test_a_thousand_events_fit_into_one_form(ana):
    """As one field: Django takes at most a thousand fields."""
    first = dead()
    ids = [first.pk, *range(10**6, 10**6 + 999)]

    assert posted(ana, "requeue", ids).status_code == 302
    assert fresh(first).state == State.PENDING


# --------------------------------------------------------------------------------------------- more than that


ALL = [name for name in ACTS if name not in ("resend", "replay", "export")]


@pytest.mark.parametrize("name", ALL)
def test_an_act_on_all_that_match_has_no_limit_and_needs_no_command(ana, monkeypatch, name):
    """The list's filters choose; what does not match them is left alone."""
    monkeypatch.setattr(confirmation, "MOST", 3)
    monkeypatch.setattr(jobs, "BATCH", 2)
    make, fields, state = ACTS[name]
    rows, other = [make() for _ in range(5)], make()
    OutboxEvent.objects.exclude(pk=other.pk).update(subject="CHOSEN")
    query = "q=CHOSEN&created=24h"

    asked = from_list(ana, name, [rows[0].pk], query=f"?{query}", select_across="1")
    assert "5 events" in text(asked)
    assert "manage.py" not in text(asked)
    with transaction.atomic():  # as with ATOMIC_REQUESTS: a worker does the work
        data = {"everything": "1", "filters": query, "reason": "mended", "confirm": "1", **fields}
        response = ana.post(act(name), data)
    if not Job.objects.get().done:
        jobs.work()

    job = Job.objects.get()
    assert response.url == f"/admin/genesys_eventbridge/job/{job.pk}/change/"
    assert (job.state, job.total, job.done) == (JobState.FINISHED, 5, 5)
    assert {fresh(row).state for row in rows} == {state}
    assert EventAct.objects.filter(job=job).count() == 5
    assert not EventAct.objects.filter(event=other.pk).exists()


# ------------------------------------------------------------------------------------------ each act's own


def test_a_requeue_that_may_duplicate_says_so_before_and_after(ana):
    row = event(row=ended(State.DEAD, Reason.DELIVERY_FAILED))

    asked = posted(ana, "requeue", [row.pk], confirm=False)
    done = posted(ana, "requeue", [row.pk], follow=True)

    assert "1 of them may be delivered twice" in text(asked)
    assert told(done) == ["1 requeued; 1 of them may be delivered twice."]


def test_many_events_can_be_spread(ana):
    rows = [dead() for _ in range(4)]
    assert "spread" in posted(ana, "requeue", [row.pk for row in rows], confirm=False).context["form"].fields
    assert "spread" not in posted(ana, "requeue", [rows[0].pk], confirm=False).context["form"].fields

    posted(ana, "requeue", [row.pk for row in rows], spread_number="400", spread_unit="1")

    dues = [due for row in rows if (due := fresh(row).due_at)]
    assert (dues[-1] - dues[0]).total_seconds() > 250


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"outcome": "delivered"}, State.DELIVERED),
        ({"outcome": "give_up"}, State.DEAD),
        ({"outcome": "not_delivered"}, State.UNRESOLVED),
        ({"outcome": "not_delivered", "accept_duplicates": "on"}, State.PENDING),
    ],
)
def test_resolve_does_what_was_chosen_and_duplicates_must_be_accepted(ana, fields, state):
    row = unresolved(in_doubt_since=DatabaseNow(-2 * 86400))

    response = posted(ana, "resolve", [row.pk], follow=True, **fields)

    assert fresh(row).state == state
    if state == State.UNRESOLVED:
        assert told(response) == ["0 resolved, 1 skipped: may duplicate: it may have been delivered already."]


@pytest.mark.parametrize("outcome", ["", "maybe"])
def test_resolve_wants_an_outcome(ana, outcome):
    row = unresolved()

    response = posted(ana, "resolve", [row.pk], outcome=outcome)

    assert response.context["form"].errors.keys() == {"outcome"}


def test_resent_as_new_leads_to_the_new_event(ana):
    row = delivered()

    response = posted(ana, "resend", [row.pk], once=FORM, **{"from": "event"})

    new = OutboxEvent.objects.exclude(pk=row.pk).get()
    assert new.origin == row
    assert response.url == page(new.pk)


def test_each_question_about_a_resend_is_a_form_of_its_own(ana):
    row = delivered()

    forms = {posted(ana, "resend", [row.pk], confirm=False).context["form"].initial["once"] for _ in range(2)}

    assert len(forms) == 2


@pytest.mark.parametrize("name", ["resend", "replay"])
def test_the_page_says_how_many_duplicates_of_which_types_there_will_be(ana, name):
    rows = [delivered(), delivered(), dead(), delivered()]
    OutboxEvent.objects.filter(pk=rows[-1].pk).update(body="")

    asked = text(from_list(ana, name, [row.pk for row in rows]))

    assert "Consumers get each of them a second time: 2 duplicates." in asked
    assert "<li>order.created: 2</li>" in asked
    assert "2 are skipped" in asked


@pytest.mark.parametrize("name", ["resend", "replay"])
def test_several_events_are_copied_once_however_often_the_form_is_sent(ana, name):
    rows = [delivered(), delivered()]

    for _ in range(2):
        posted(ana, name, [row.pk for row in rows], once=FORM)

    new = OutboxEvent.objects.filter(origin__isnull=False).order_by("pk")
    assert [row.origin_id for row in new] == [row.pk for row in rows]


def test_a_replay_can_be_rated(ana):
    rows = [delivered() for _ in range(3)]

    posted(ana, "replay", [row.pk for row in rows], once=FORM, rate="30")

    new = [row.not_before or row.created_at for row in OutboxEvent.objects.filter(origin__isnull=False)]
    assert [round((at - new[0]).total_seconds()) for at in new] == [0, 2, 4]


def test_an_hour_that_was_lost_is_replayed_by_the_filter_of_the_list(ana):
    """They lost everything between 10:00 and 11:00."""
    now = timezone.now().replace(microsecond=0)
    inside, outside = delivered(), delivered()
    for row, hours in ((inside, 2), (outside, 4)):
        OutboxEvent.objects.filter(pk=row.pk).update(accepted_at=now - dt.timedelta(hours=hours))
    local = timezone.localtime(now)
    span = {
        "accepted_from": (local - dt.timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M"),
        "accepted_to": (local - dt.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M"),
    }

    data = {"everything": "1", "filters": urlencode(span), "reason": "lost", "confirm": "1"}
    ana.post(act("replay"), data)
    jobs.work()

    assert [row.origin for row in OutboxEvent.objects.filter(origin__isnull=False)] == [inside]
    assert Job.objects.get().reason == "lost"


def test_what_cannot_be_resent_is_told(ana, settings):
    row = delivered()
    settings.GENESYS_EVENTBRIDGE = {
        "default": {**settings.GENESYS_EVENTBRIDGE["default"], "MAX_EVENT_BYTES": 10}
    }

    [message] = told(posted(ana, "resend", [row.pk], once=FORM, follow=True))

    assert message.startswith("Not resent: data: the encoded event has")


def test_what_is_not_delivered_cannot_be_asked_to_be_resent(ana):
    assert "There is nothing to do" in text(posted(ana, "resend", [dead().pk], confirm=False))


@pytest.mark.parametrize("payload", [True, False])
def test_an_export_is_redacted_and_has_the_payload_only_with_its_permission(client, payload):
    row = event("order.created", {"name": "canary", "password": "s3cret"}, subject="ORD-1")
    extra = ["view_event_payload"] if payload else []
    client.force_login(user("paul", "view_outboxevent", "export_event", *extra, is_staff=True))

    response = posted(client, "export", [row.pk, dead().pk], reason="for the audit")
    lines = [json.loads(line) for line in b"".join(response).decode().splitlines()]

    assert response["Content-Disposition"] == 'attachment; filename="events.jsonl"'
    assert response["X-Content-Type-Options"] == "nosniff"
    assert len(lines) == 2
    assert (lines[0]["id"], lines[0]["state"], lines[0]["event"]["subject"]) == (row.pk, "pending", "ORD-1")
    if payload:
        assert lines[0]["event"]["data"] == {"name": "canary", "password": "[redacted]"}
    else:
        assert "data" not in lines[0]["event"]
        assert lines[0]["data"].startswith("an object with 2 members")
    assert LogEntry.objects.count() == 2
    assert LogEntry.objects.all()[0].get_change_message() == "exported: for the audit"


def test_all_that_match_are_exported_without_a_limit_and_without_a_job_to_wait_for(ana, monkeypatch):
    """By the filters of the list, of the events there are when the export is confirmed; one audit entry."""
    monkeypatch.setattr(confirmation, "MOST", 2)
    monkeypatch.setattr(access, "WINDOW", 3)
    monkeypatch.setattr(access, "RARE", 2)
    rows = [dead() for _ in range(7)]
    event(subject="ORD-1")
    filters = {"everything": "1", "filters": "state=dead&q=ord-1&p=3"}

    response = posted(ana, "export", [], format="csv", **filters)
    later = dead()
    table = list(csv.DictReader(io.StringIO(b"".join(response).decode())))

    assert response["Content-Disposition"] == 'attachment; filename="events.csv"'
    assert response["Content-Type"].startswith("text/csv")
    assert [int(cells["id"]) for cells in table] == [row.pk for row in rows]
    assert later.pk not in {int(cells["id"]) for cells in table}
    job = Job.objects.get()
    assert (job.act, job.state, job.total, job.reason) == ("export", "finished", 7, "mended")
    assert job.about == "dead, found by “ord-1”"
    assert LogEntry.objects.count() == 0


def test_a_list_whose_filters_mean_nothing_exports_nothing(ana):
    dead()

    response = posted(ana, "export", [], everything="1", filters="state=lost", follow=True)

    assert told(response) == ["The filters of the list are not valid; nothing was done."]
    assert not Job.objects.exists()


def test_an_export_is_streamed_under_asgi_too():
    """Django would collect a plain iterator in memory there, and warn."""
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    request = ASGIRequest(scope, io.BytesIO())
    rows = [dead() for _ in range(3)]
    order = Order(Act.EXPORT, Actor("admin", name="ana"), "mended")
    pages = iter([[row.pk] for row in rows])

    response = export(request, order, pages, Format.JSON_LINES, total=3, payload=False)

    async def read():
        return [json.loads(part)["id"] async for part in response]

    assert response.is_async
    assert async_to_sync(read)() == [row.pk for row in rows]


def test_an_export_reads_page_by_page_and_opens_no_cursor_on_the_server(client, monkeypatch):
    """Such a cursor lives in one connection, which PgBouncer's transaction pooling does not keep."""
    monkeypatch.setattr("genesys_eventbridge.reporting.exports.PAGE", 2)
    monkeypatch.setattr(connections["default"], "chunked_cursor", None)
    client.force_login(user("paul", "view_outboxevent", "export_event", is_staff=True))
    rows = [event() for _ in range(5)]
    gone = rows.pop(2)

    response = posted(client, "export", [row.pk for row in [*rows, gone]], reason="for the audit")
    OutboxEvent.objects.filter(pk=gone.pk).delete()  # by retention, while the file is read
    with CaptureQueriesContext(connection) as captured:
        lines = [json.loads(line) for line in b"".join(response).decode().splitlines()]

    assert [line["id"] for line in lines] == [row.pk for row in rows]
    assert len([query for query in captured if "genesys_eventbridge_outboxevent" in query["sql"]]) == 3


def test_a_requeue_by_a_command_shows_in_the_admin(ana):
    row = dead()
    requeue([row.pk], Actor("eventbridge_retry", name="ops"), reason="after the outage")

    assert "Requeued by ops via eventbridge_retry" in text(ana.get(page(row.pk)))


PARAMETERS = sorted(
    {
        *filters.ValuesForm.base_fields,
        *(each.parameter_name for each in events.LIST_FILTERS if hasattr(each, "parameter_name")),
    }
)


@pytest.mark.parametrize("value", ["nonsense", "", "-1", "1,2", "\x00", "9" * 40])
@pytest.mark.parametrize("name", [*PARAMETERS, "o", "unknown", "state__in", "type__regex"])
def test_a_filter_that_the_list_does_not_understand_never_means_all_events(ana, name, value):
    """An operator who confirms "all that match" would otherwise act on every event."""
    rows = [dead() for _ in range(3)]
    shown = ana.get(LIST, {name: value})
    listed = len(shown.context["cl"].result_list) if shown.status_code == 200 else 0
    query = urlencode({name: value})

    ana.post(act("cancel"), {"everything": "1", "filters": query, "reason": "x", "confirm": "1"})

    assert sum(fresh(row).state == State.CANCELLED for row in rows) == listed
    assert listed == 0 or value == "" or name in ("o", "q")
