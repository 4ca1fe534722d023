"""The event list and the event page: found, filtered, explained; fast at any size; nothing to edit."""

import datetime as dt
import json
import re
import uuid
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.checks import run_checks
from django.template.loader import get_template
from django.template.loader_tags import BlockNode
from django.urls import reverse

from genesys_eventbridge.admin import OutboxEventAdmin, listing
from genesys_eventbridge.admin.filters import event_filter, parameters_of
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import DeliveryAttempt, Destination, EventAct, OutboxEvent
from genesys_eventbridge.operations import Actor, cancel, requeue, resend
from genesys_eventbridge.selection import Attention, EventFilter, Progress, StatusClass
from genesys_eventbridge.states import Act, Reason, State
from tests.outbox_rows import accepted, ended, event
from tests.shop.models import Order

pytestmark = pytest.mark.django_db

LIST = "/admin/genesys_eventbridge/outboxevent/"
MAX_QUERIES = 10
TOKEN = uuid.uuid4()


def page(pk) -> str:
    return f"{LIST}{pk}/change/"


def staff(*codenames, name="vera"):
    user = get_user_model().objects.create_user(name, is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    return user


@pytest.fixture
def viewer(client):
    client.force_login(staff("view_outboxevent"))
    return client


@pytest.fixture
def ana(client):
    client.force_login(get_user_model().objects.create_superuser("ana"))
    return client


def text(response) -> str:
    return str(response.content, "utf-8")


def listed(response) -> list[int]:
    return [row.pk for row in response.context["cl"].result_list]


def cell(response, row, column) -> str:
    """The words of one cell."""
    rows = text(response).split("<tr")
    [line] = [part for part in rows if f"/{row.pk}/change/" in part]
    found = re.search(rf'class="field-{column}[^"]*">(.*?)</t[dh]>', line, re.DOTALL)
    assert found is not None
    return " ".join(re.sub(r"<[^>]+>", " ", found[1]).split())


def ended_at(seconds_ago, state=State.DELIVERED):
    return ended(
        state, "" if state == State.DELIVERED else Reason.OPERATOR, finished_at=DatabaseNow(-seconds_ago)
    )


# ------------------------------------------------------------------------------------------------- the list


def test_the_admin_passes_djangos_own_checks():
    assert [problem for problem in run_checks() if problem.id and problem.id.startswith("admin.")] == []


def test_the_list_says_of_each_row_where_it_stands_and_what_comes_next(viewer):
    Destination.objects.create(alias="default", heartbeat_at=DatabaseNow())
    Destination.objects.update(heartbeat_at=DatabaseNow())
    waiting = event(
        "order.paid",
        subject="ORD-1",
        row={"attempts": 3, "due_at": DatabaseNow(240.5), "last_status_code": 503},
    )
    flying = event(
        row={"attempts": 1, "claim_token": TOKEN, "in_doubt_since": DatabaseNow(), "due_at": DatabaseNow(60)}
    )
    late = event(row={"attempts": 1, "due_at": DatabaseNow(-1)})
    dead = event(row=ended(State.DEAD, Reason.REJECTED, last_error="connection refused by somebody far away"))
    done = event(row=ended_at(1))

    response = viewer.get(LIST)

    assert cell(response, waiting, "state_now") == "○ pending retry in 4 min"
    assert cell(response, waiting, "event_type") == "order.paid"
    assert cell(response, waiting, "about") == "ORD-1"
    assert cell(response, waiting, "tries") == "3/12"
    assert cell(response, waiting, "next_step") == "in 4 min"
    assert cell(response, waiting, "last_result") == "503"
    assert cell(response, waiting, "short_id") == f"{waiting.event_id[:8]}…"
    assert cell(response, flying, "state_now") == "○ pending in flight"
    assert cell(response, flying, "next_step") == "being sent"
    assert cell(response, late, "state_now") == "○ pending retry due"
    assert cell(response, dead, "state_now") == "✕ dead rejected"
    assert cell(response, dead, "next_step") == "needs an operator"
    assert cell(response, dead, "last_result") == "connection refused by somebody far away"
    assert cell(response, done, "next_step") == "-"
    assert "ago" in cell(response, done, "created") or cell(response, done, "created") == "now"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"last_status_code": 400, "last_error": "400: no such type"}, "400: no such type"),
        ({"last_status_code": 503, "last_error": "try later"}, "503: try later"),
        ({"last_error": "y" * 200}, "y" * 120 + "…"),
        ({}, "-"),
    ],
)
def test_the_list_says_what_went_wrong_not_only_its_number(viewer, columns, words):
    row = event(row=columns)

    assert cell(viewer.get(LIST), row, "last_result") == words


def test_a_type_that_does_not_fit_beside_the_sidebar_wraps_behind_its_dot(viewer):
    event("order.created")

    assert "order.<wbr>created" in text(viewer.get(LIST))


def test_a_long_type_is_whole_and_may_wrap_behind_its_dots(viewer):
    name = "com.example.shop.order.status_changed.v2"
    row = event(name, subject="ORD-7")

    for address in (LIST, f"{LIST}{row.pk}/change/"):
        assert name.replace(".", ".<wbr>").replace("_", "_<wbr>") in text(viewer.get(address))


def test_the_title_of_an_event_names_its_type_and_subject(viewer):
    row = event("order.paid", subject="ORD-7")

    page = text(viewer.get(f"{LIST}{row.pk}/change/"))

    assert "<title>order.paid ORD-7 |" in page
    heading = re.search(r"<h1>(.*?)</h1>", page, re.DOTALL)
    assert heading is not None
    words = " ".join(re.sub(r"<[^>]+>", " ", heading[1]).split())
    assert words == f"○ pending order.paid ORD-7 #{row.pk}"


def test_what_holds_a_row_back_is_its_next_step(viewer):
    Destination.objects.create(alias="default", heartbeat_at=DatabaseNow())
    head = event(ordering_key="ORD-7", row=ended(State.DEAD, Reason.REJECTED))
    behind = event(ordering_key="ORD-7")
    free = event()

    assert cell(viewer.get(LIST), behind, "next_step") == f"waits for #{head.pk} (dead)"
    assert cell(viewer.get(LIST), free, "next_step") == "due"
    assert cell(viewer.get(LIST), head, "next_step") == "needs an operator"

    Destination.objects.update(held_by="ben", held_reason="why")
    assert cell(viewer.get(LIST), free, "next_step") == "paused by ben"

    Destination.objects.update(held_by="", paused_until=DatabaseNow(3600), paused_reason="503")
    assert cell(viewer.get(LIST), free, "next_step").startswith("paused until ")
    checked = accepted()
    assert cell(viewer.get(LIST), checked, "next_step") == "due"

    Destination.objects.update(check_paused_until=DatabaseNow(3600))
    assert cell(viewer.get(LIST), checked, "next_step").startswith("paused until ")

    Destination.objects.update(heartbeat_at=DatabaseNow(-900))
    assert cell(viewer.get(LIST), free, "next_step") == "no worker"


def test_the_destination_is_a_column_where_there_are_several(viewer, settings):
    row = event()
    assert 'class="field-to"' not in text(viewer.get(LIST))

    one = settings.GENESYS_EVENTBRIDGE["default"]
    settings.GENESYS_EVENTBRIDGE = {"default": one, "second": one}

    assert cell(viewer.get(LIST), row, "to") == "default"


def test_an_empty_list_says_what_to_do_first(viewer):
    assert "eventbridge_enqueue" in text(viewer.get(LIST))
    assert "No event matches." in text(viewer.get(LIST, {"state": "dead"}))
    assert "No event is found by “nothing”." in text(viewer.get(LIST, {"q": "nothing"}))


def test_rows_of_a_destination_that_is_gone_and_of_a_newer_release_are_shown(viewer):
    gone = event(row={"destination": "gone", "attempts": 2, "due_at": DatabaseNow(3600)})

    assert cell(viewer.get(LIST), gone, "tries") == "2"
    assert viewer.get(page(gone.pk)).status_code == 200


FILTERS = {
    "state=dead": {"dead", "5xx", "expired"},
    "state=pending": {"fresh", "overdue", "refused"},
    "attention=needed": {"dead", "5xx", "expired", "overdue", "unresolved"},
    "attention=person": {"dead", "5xx", "expired", "unresolved"},
    "attention=overdue": {"overdue"},
    "progress=open": {"fresh", "overdue", "refused"},
    "progress=waiting": {"fresh", "overdue"},
    "progress=retrying": {"refused"},
    "progress=in_flight": set(),
    "reason=expired": {"expired"},
    "destination=default": {
        "dead",
        "5xx",
        "expired",
        "fresh",
        "overdue",
        "refused",
        "unresolved",
        "delivered",
        "old",
    },
    "answer=5xx": {"5xx"},
    "answer=4xx": {"dead"},
    "answer=none": {"refused"},
    "created=1h": {"dead", "5xx", "expired", "fresh", "overdue", "refused", "unresolved", "delivered"},
    "state=dead&answer=5xx": {"5xx"},
    "answer=503": {"5xx"},
    "answer=500": {"delivered"},
    "answer=503&type=order.created&reason=exhausted&destination=default": {"5xx"},
    "type=order.created&state=delivered": {"delivered", "old"},
    "type=order.paid": set(),
    "held=1": set(),
    "key=K": set(),
    "error=REFUSED": {"refused"},
    "created_to=2999-01-01T10:00&state=dead": {"dead", "5xx", "expired"},
    "created_from=2999-01-01": set(),
    "finished_from=2000-01-01T00:00:00%2B02:00": {"delivered", "old"},
    "accepted_from=2000-01-01": set(),
    "type=&key=&answer=&created_from=&state=dead": {"dead", "5xx", "expired"},
    "state=nonsense": set(),
    "created=nonsense": set(),
}


@pytest.mark.parametrize("query", FILTERS)
def test_each_filter_finds_its_rows(viewer, query):
    made = {
        "old": event(row=ended_at(5 * 86400) | {"created_at": DatabaseNow(-5 * 86400)}),
        "delivered": event(row=ended_at(5) | {"last_status_code": 500}),
        "dead": event(row=ended(State.DEAD, Reason.REJECTED, last_status_code=400)),
        "5xx": event(row=ended(State.DEAD, Reason.EXHAUSTED, last_status_code=503)),
        "expired": event(row=ended(State.DEAD, Reason.EXPIRED)),
        "unresolved": event(row=ended(State.UNRESOLVED, Reason.CONFLICT)),
        "fresh": event(),
        "overdue": event(row={"due_at": DatabaseNow(-301)}),
        "refused": event(row={"attempts": 1, "last_error": "refused", "due_at": DatabaseNow(60)}),
    }

    found = listed(viewer.get(f"{LIST}?{query}"))

    assert {name for name, row in made.items() if row.pk in found} == FILTERS[query]


@pytest.mark.parametrize("state", [State.PENDING, State.DEAD])
def test_a_state_is_found_in_every_destination_that_ever_had_events(viewer, state):
    row = {"state": state} if state == State.PENDING else ended(state, Reason.REJECTED)
    here = event(row=row)
    assert listed(viewer.get(LIST, {"state": state})) == [here.pk]

    gone = event(row={**row, "destination": "gone"})
    Destination.objects.create(alias="gone")
    assert listed(viewer.get(LIST, {"state": state})) == [gone.pk, here.pk]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("state=lost", "state: “lost” is not one of the choices."),
        ("created=1y", "created: “1y” is not one of the choices."),
        ("held=no", "held: “no” is not one of the choices."),
        ("answer=99", "HTTP status: “99” is not an HTTP status."),
        ("created_from=yesterday", "Created from: “yesterday” is not a date and time."),
        (
            "finished_from=2026-03-02T10:00&finished_to=2026-03-02T10:00",
            "Finished before: “2026-03-02T10:00” is not later than “from”.",
        ),
        ("state=lost&created_from=yesterday", "Created from: “yesterday” is not a date and time."),
        ("type=a%00b", "Type: “a\\x00b” Null characters are not allowed."),
    ],
)
def test_a_filter_that_means_nothing_lists_nothing_and_says_so(viewer, query, problem):
    event()

    response = viewer.get(f"{LIST}?{query}")

    assert listed(response) == []
    assert problem in text(response)


def test_times_are_typed_in_the_zone_of_the_site_and_shown_in_it_again(viewer, settings):
    settings.TIME_ZONE = "Europe/Berlin"
    row = event(row={"created_at": dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC)})
    event(row={"created_at": dt.datetime(2026, 3, 2, 10, 30, tzinfo=dt.UTC)})

    response = viewer.get(LIST, {"created_from": "2026-03-02T10:30", "created_to": "2026-03-02T10:31"})

    assert listed(response) == [row.pk]
    assert "Times are in Europe/Berlin." in text(response)
    assert 'value="2026-03-02T10:30:00"' in text(response)
    assert "since 2 Mar 10:30 CET" in text(response)

    linked = viewer.get(LIST, {"created_from": "2026-03-02T09:30:00+00:00", "created_to": "2026-03-02 10:31"})
    assert listed(linked) == [row.pk]
    assert 'value="2026-03-02T10:30:00"' in text(linked)


def test_the_form_keeps_the_other_filters_and_offers_the_types(viewer):
    event("order.paid")
    event("order.<b>")

    page = text(viewer.get(LIST, {"state": "pending", "type": "order.paid", "p": "1"}))
    filters = page.partition('class="eventbridge-values"')[2].partition("</details>")[0]

    assert '<input type="hidden" form="eventbridge-values" name="state" value="pending">' in filters
    assert '<option value="order.&lt;b&gt;">' in filters
    assert 'name="p"' not in filters
    assert filters.count('name="type"') == 1  # the field itself


@pytest.mark.parametrize(
    "chosen",
    [
        EventFilter(),
        EventFilter(states=(State.DEAD,), reasons=(Reason.REJECTED,), types=("a b&c",), text="ORD-1"),
        EventFilter(status_code=503, ordering_key=" K ", error="+"),
        EventFilter(status_code=StatusClass.NONE, held=True, destinations=("crm",)),
        EventFilter(attention=Attention.PERSON, progress=Progress.RETRYING),
        EventFilter(
            since=dt.datetime(2026, 3, 2, 9, 30, 5, 123456, tzinfo=dt.UTC),
            accepted_until=dt.datetime(2026, 3, 2, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        ),
    ],
    ids=str,
)
def test_the_address_of_a_filter_is_the_list_of_its_events(chosen):
    parameters = dict(parameters_of(chosen))

    assert event_filter(parameters, parameters.pop("q", "")) == chosen


def test_with_no_older_row_the_created_filter_finds_all(viewer):
    row = event()

    assert listed(viewer.get(LIST, {"created": "24h"})) == [row.pk]


def test_the_search_finds_an_id_a_key_and_a_part_of_a_subject(viewer):
    row = event(subject="ORD-77", idempotency_key="order 77", row={"remote_id": "evt-77"})
    event(subject="INV-8", row={"remote_id": "evt-7"})

    for wanted in [row.event_id, "order 77", "evt-77", "ord-77", "77", "ORD", f"  #{row.pk} "]:
        assert listed(viewer.get(LIST, {"q": wanted})) == [row.pk], wanted
    for foreign in ["evt", "#0", "#x", "#" + "9" * 30, "'; --", "%", "x" * 300]:
        assert listed(viewer.get(LIST, {"q": foreign})) == [], foreign


def test_a_search_without_a_hit_says_what_was_searched_and_offers_the_nearest(viewer):
    event(subject="ORD-4711")
    event(subject="INV-1")

    response = viewer.get(LIST, {"q": "ORD-4712", "state": "pending"})

    assert listed(response) == []
    assert response.context["cl"].nearest == [("ORD-4711", "?q=ORD-4711&state=pending")]
    assert "a subject" in text(response).lower()
    assert "Searched among: pending." in text(response)
    assert 'href="?q=ORD-4712"' in text(response)
    assert listed(viewer.get(LIST, {"q": "ORD-4711", "state": "pending"})) != []


def test_a_search_and_filters_combine(viewer):
    event(subject="ORD-1")
    dead = event(subject="ORD-1", row=ended(State.DEAD, Reason.REJECTED))
    event("order.paid", subject="ORD-2", row=ended(State.DEAD, Reason.REJECTED))

    assert listed(viewer.get(LIST, {"q": "ord-1", "state": "dead"})) == [dead.pk]
    assert listed(viewer.get(LIST, {"q": "ord-", "state": "dead", "type": "order.created"})) == [dead.pk]


def test_one_search_finds_what_is_a_subject_here_and_an_id_there(viewer):
    first = event(subject="X-1")
    second = event(row={"remote_id": "X-1"})

    assert listed(viewer.get(LIST, {"q": "X-1"})) == [second.pk, first.pk]


@pytest.mark.parametrize("query", ["q=canary", "q=data.note", "q=%23canary"])
def test_the_search_never_looks_into_payloads(viewer, query):
    event("order.created", {"note": "canary"})

    assert listed(viewer.get(f"{LIST}?{query}")) == []


@pytest.mark.parametrize(
    "lookup",
    ["body__contains=canary", "body__startswith=%7B", "last_error__regex=.", "id__in=1", "origin__body=x"],
)
def test_no_address_asks_for_more_than_the_filters(viewer, lookup):
    """Django lets everybody who sees a list filter by any of its columns: the body, too."""
    event("order.created", {"note": "canary"})

    assert viewer.get(f"{LIST}?{lookup}").status_code == 400


@pytest.mark.parametrize("order", ["1", "2", "-3", "4", "5.1", "99", "x"])
def test_only_the_order_of_creation_can_be_asked_for(viewer, order):
    """An order by any other column would sort a million rows."""
    ids = [event(kind).pk for kind in ("b", "a", "c")]

    found = listed(viewer.get(LIST, {"o": order}))

    assert found in (ids, ids[::-1])


def test_pages_hold_fifty_and_the_count_stops_at_its_cap(viewer, monkeypatch):
    monkeypatch.setattr(listing, "COUNTED", 60)
    for _ in range(65):
        event()

    response = viewer.get(LIST)

    assert len(listed(response)) == 50
    assert response.context["cl"].result_count == 60
    assert "More than 10,000 events match" in text(response)
    assert len(listed(viewer.get(LIST, {"p": "2"}))) == 10
    assert "More than 10,000 events match" not in text(viewer.get(LIST, {"state": "dead"}))


@pytest.mark.parametrize(
    ("asked", "shown"), [("2", 2), ("3", 2), ("9" * 30, 2), ("0", 1), ("-1", 1), ("x", 1)]
)
def test_a_page_that_is_not_there_any_more_is_the_last_one_within_the_filters(viewer, asked, shown):
    """After an act on all events of the last page Django led to the first page of all events."""
    waiting = [event("order.paid").pk for _ in range(51)]
    event("order.created")

    response = viewer.get(LIST, {"type": "order.paid", "p": asked})

    assert response.context["cl"].page_num == shown
    assert listed(response) == (waiting[::-1][:50] if shown == 1 else waiting[:1])


def test_results_are_counted_beside_the_search_where_something_was_left_out_and_all_were_counted(
    viewer, monkeypatch
):
    monkeypatch.setattr(listing, "COUNTED", 3)
    for kind in ("order.created", "order.created", "order.paid"):
        event(kind)

    assert "(<a href" not in text(viewer.get(LIST))
    assert "3 results" not in text(viewer.get(LIST))
    assert "2 results" in text(viewer.get(LIST, {"type": "order.created"}))

    event("order.created")
    event("order.created")

    capped = text(viewer.get(LIST, {"type": "order.created"}))
    assert "3 results" not in capped
    assert 'Listed: type order.created. <a href="?">Show all events</a>' in capped


def test_a_search_that_finds_nothing_names_the_filters_it_was_within_but_not_itself(viewer):
    event(subject="ORD-1")

    assert "Searched among: dead." in text(viewer.get(LIST, {"q": "ORD-1", "state": "dead"}))
    assert "Searched among" not in text(viewer.get(LIST, {"q": "no such"}))


@pytest.mark.parametrize("filters", [{}, {"held": "1"}, {"created": "24h"}], ids=str)
def test_a_filter_is_evaluated_once_for_the_count_and_the_page_and_stops_at_the_cap(
    viewer, django_assert_max_num_queries, filters
):
    event()

    with django_assert_max_num_queries(MAX_QUERIES) as queries:
        viewer.get(LIST, filters)

    searched = [query["sql"] for query in queries.captured_queries if "DESC LIMIT" in query["sql"]]
    assert len(searched) == 1
    assert searched[0].endswith("LIMIT 10001")


def test_an_event_that_is_pruned_while_the_list_is_read_is_left_out(viewer, monkeypatch):
    kept, pruned = event(), event()
    found = vars(listing.EventPaginator)["ids"].func
    numbers: list[int] = []

    def ids(paginator):
        if not numbers:
            numbers.extend(found(paginator))
            OutboxEvent.objects.filter(pk=pruned.pk).delete()
        return numbers

    monkeypatch.setattr(listing.EventPaginator, "ids", property(ids))

    assert listed(viewer.get(LIST)) == [kept.pk]


@pytest.mark.parametrize("order", ["", "3"])
def test_each_page_follows_the_one_before(viewer, order):
    made = [event().pk for _ in range(120)]

    pages = [listed(viewer.get(LIST, {"p": str(page), "o": order})) for page in (1, 2, 3)]

    assert [pk for page in pages for pk in page] == (made if order else made[::-1])
    assert [len(page) for page in pages] == [50, 50, 20]
    assert listed(viewer.get(LIST, {"all": "", "o": order})) == (made if order else made[::-1])


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?q=ORD-1",
        "?q=ORD-1&state=dead&type=order.created",
        "?q=nothing&state=dead",
        "?attention=needed&created=24h&answer=5xx",
        "?type=order.created&destination=default&state=pending&key=ORD-1&held=1&answer=none&error=x"
        "&created_from=2000-01-01&created_to=2999-01-01&finished_from=2000-01-01&finished_to=2999-01-01",
    ],
)
def test_the_list_takes_few_queries(viewer, django_assert_max_num_queries, query):
    Destination.objects.create(alias="default")
    for number in range(30):
        event(subject="ORD-1", ordering_key=f"ORD-{number % 3}")

    for number in range(10):
        event(subject="ORD-1", row=ended(State.DELIVERED, finished_at=DatabaseNow(-number)))
        event(
            subject="ORD-1", row=ended(State.CANCELLED, Reason.REJECTED, body="", finished_at=DatabaseNow())
        )

    with django_assert_max_num_queries(MAX_QUERIES):
        viewer.get(LIST + query)


def test_the_list_never_reads_a_body(viewer, django_assert_max_num_queries):
    event("order.created", {"note": "canary"})
    event("order.created", {"note": "canary"}, row=ended(State.DELIVERED, finished_at=DatabaseNow()))

    with django_assert_max_num_queries(MAX_QUERIES) as queries:
        response = viewer.get(LIST)

    assert "canary" not in text(response)
    assert not any('"body"' in query["sql"] or "`body`" in query["sql"] for query in queries.captured_queries)


# ------------------------------------------------------------------------------------------- nothing to edit


@pytest.mark.parametrize("path", ["add/", "1/delete/"])
def test_nothing_is_added_or_deleted(ana, path):
    event()

    assert ana.get(LIST + path).status_code == 403
    assert ana.post(LIST + path, {"post": "yes"}).status_code == 403
    assert OutboxEvent.objects.count() == 1


def test_nothing_is_edited(ana):
    row = event()

    response = ana.post(page(row.pk), {"state": "delivered", "type": "other", "_save": "Save"})

    assert response.status_code == 405
    assert OutboxEvent.objects.get() == row
    assert OutboxEvent.objects.get().state == State.PENDING


def test_django_offers_no_delete_action(ana):
    event()

    assert "delete_selected" not in text(ana.get(LIST))


# ------------------------------------------------------------------------------------------- the event page


def test_the_page_says_what_happens_next_and_tells_the_story(ana):
    Destination.objects.create(alias="default", heartbeat_at=DatabaseNow())
    row = event(
        "order.created",
        {"number": "ORD-1"},
        subject="ORD-1",
        row=ended(State.DEAD, Reason.REJECTED, attempts=2, created_at=DatabaseNow(-600)),
    )
    for number, ago in [(1, 500), (2, 100)]:
        DeliveryAttempt.objects.create(
            event=row,
            number=number,
            kind="publish",
            started_at=DatabaseNow(-ago),
            duration=0.25,
            verdict="rejected",
            status_code=400,
            error="400: unknown type",
            correlation_id=f"correlation-{number}",
            retry_after=None,
            response_excerpt='{"code": "invalid.value"}',
            worker="web1:4711",
        )
    EventAct.objects.create(
        event=row,
        act=Act.REQUEUE,
        username="ben",
        via="admin",
        from_state="dead",
        to_state="pending",
        reason="registered",
        at=DatabaseNow(-200),
    )
    OutboxEvent.objects.filter(pk=row.pk).update(last_error="400: unknown type")

    response = ana.get(page(row.pk))
    told = text(response)

    assert "The platform rejected it permanently: 400: unknown type." in told
    titles = [entry.title for entry in response.context["timeline"]]
    assert titles == [
        "Enqueued",
        "Sent and rejected permanently",
        "Requeued by ben via admin",
        "Sent and rejected permanently",
    ]
    for word in [
        "correlation-1",
        "HTTP status 400",
        "took 0.2 s",
        "after 100 s",
        "web1:4711",
        "registered",
        "dead → pending",
        "invalid.value",
        row.body_sha256,
    ]:
        assert word in told, word


def test_the_planned_step_ends_the_timeline(ana):
    Destination.objects.create(alias="default", heartbeat_at=DatabaseNow())
    row = event(row={"attempts": 1, "due_at": DatabaseNow(60)})
    asked = accepted(due_at=DatabaseNow(60))
    flying = event(
        row={"claim_token": TOKEN, "in_doubt_since": DatabaseNow(), "due_at": DatabaseNow(60), "attempts": 1}
    )
    done = event(row=ended_at(1))

    def last(pk):
        return ana.get(page(pk)).context["timeline"][-1].title

    assert [last(row.pk), last(asked.pk), last(flying.pk), last(done.pk)] == [
        "Next attempt",
        "Next check",
        "Being sent",
        "Enqueued",
    ]


@pytest.mark.parametrize("kind", ["publish", "check"])
@pytest.mark.parametrize(
    "verdict",
    ["accepted", "rejected", "unavailable", "unknown", "halted", "delivered", "failed", "not_yet", "newer"],
)
def test_every_verdict_has_its_words(ana, kind, verdict):
    row = event()
    DeliveryAttempt.objects.create(
        event=row, number=1, kind=kind, started_at=DatabaseNow(), duration=1, verdict=verdict, retry_after=480
    )

    entry = ana.get(page(row.pk)).context["timeline"][1]

    assert entry.title
    assert ("asked to wait", "8 min") in entry.facts


def test_who_may_not_see_events_is_refused(client):
    row = event()
    client.force_login(staff("view_event_payload", "requeue_event"))

    assert client.get(LIST).status_code == client.get(page(row.pk)).status_code == 403


def test_a_renewed_key_is_told(ana):
    row = event(row={"key_epoch": 2})

    assert f"{row.idempotency_key}, renewed 2 times by an operator" in text(ana.get(page(row.pk)))


def test_a_long_story_is_cut_at_its_beginning(ana, monkeypatch):
    monkeypatch.setattr("genesys_eventbridge.reporting.timeline.SHOWN", 3)
    row = event()
    for number in range(1, 6):
        DeliveryAttempt.objects.create(
            event=row, number=number, kind="publish", started_at=DatabaseNow(), duration=1, verdict="unknown"
        )

    assert "2 earlier attempts are not shown." in text(ana.get(page(row.pk)))


def test_the_payload_needs_its_permission_and_is_redacted(client):
    row = event("order.created", {"customer": {"name": "canary", "access_token": "s3cret"}, "lines": [1]})
    DeliveryAttempt.objects.create(
        event=row,
        number=1,
        kind="publish",
        started_at=DatabaseNow(),
        duration=1,
        verdict="accepted",
        response_excerpt=json.dumps({"echo": {"name": "canary", "password": "s3cret"}}),
    )
    client.force_login(staff("view_outboxevent"))
    without = text(client.get(page(row.pk)))
    client.force_login(staff("view_outboxevent", "view_event_payload", name="paula"))
    with_it = text(client.get(page(row.pk)))

    assert "canary" not in without
    assert "an object with 2 members" in without
    assert "Can see the payload" in without
    assert "order.created" in without
    assert with_it.count("canary") == 2
    assert "[redacted]" in with_it
    assert "s3cret" not in without + with_it


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([1, 2, 3], "an array of 3 items"),
        ("canary", "text, 8 bytes"),
        (None, "null, 4 bytes"),
        (True, "true or false"),
        (12.5, "a number"),
        ({}, "an object with 0 members, 2 bytes"),
    ],
)
def test_without_the_permission_the_shape_of_the_data_is_told(viewer, data, words):
    assert words in text(viewer.get(page(event("order.created", data).pk)))


def test_binary_data_is_told_by_its_size(viewer):
    row = event("order.created", b"\x00\x01", datacontenttype="application/octet-stream")

    assert "binary data, 2 bytes" in text(viewer.get(page(row.pk)))


def test_a_blanked_body_is_told_as_such(ana):
    row = event(row=ended_at(1) | {"body": ""})

    assert "The body was blanked" in text(ana.get(page(row.pk)))


def test_a_destination_that_is_gone_still_masks_secrets(ana):
    row = event("order.created", {"password": "s3cret"}, row={"destination": "gone"})

    assert "s3cret" not in text(ana.get(page(row.pk)))


def test_the_page_links_to_its_neighbours_in_the_ordering_key(ana):
    before = event(ordering_key="ORD-7", row=ended_at(1))
    event(ordering_key="ORD-8")
    row = event(ordering_key="ORD-7", row=ended(State.DEAD, Reason.REJECTED))
    after = event(ordering_key="ORD-7")

    context = ana.get(page(row.pk)).context
    assert (context["before"], context["after"]) == (page(before.pk), page(after.pk))
    assert ana.get(page(after.pk)).context["blocker"] == (row.pk, page(row.pk))
    first = ana.get(page(before.pk)).context
    assert (first["before"], first["after"]) == ("", page(row.pk))


def test_events_without_an_ordering_key_have_no_neighbours(ana):
    event()
    row = event()
    event()

    context = ana.get(page(row.pk)).context
    assert (context["before"], context["after"]) == ("", "")


def test_a_resent_event_and_its_origin_link_to_each_other(ana):
    origin = event(row=ended_at(1))
    new = resend(origin.pk, Actor("admin", name="ana"), "again")

    assert ana.get(page(new.pk)).context["origin"] == page(origin.pk)
    assert ana.get(page(origin.pk)).context["resends"] == [(new.pk, page(new.pk))]


def test_the_business_object_is_linked_where_its_admin_lets_one_see_it(client, ana):
    order = Order.objects.create(number="ORD-1")
    row = event(about=order)
    assert ana.get(page(row.pk)).context["object_url"] == ""

    admin.site.register(Order)
    try:
        from django.urls import clear_url_caches

        clear_url_caches()
        reload_urls()
        expected = reverse("admin:shop_order_change", args=[order.pk])
        assert ana.get(page(row.pk)).context["object_url"] == expected
        client.force_login(staff("view_outboxevent"))
        assert client.get(page(row.pk)).context["object_url"] == ""
    finally:
        admin.site.unregister(Order)
        reload_urls()


def reload_urls():
    """The admin's addresses are made when the address file is loaded."""
    import importlib

    from django.urls import clear_url_caches

    from tests import urls

    importlib.reload(urls)
    clear_url_caches()


@pytest.mark.parametrize(
    ("object_type", "object_id"), [("no.model", "1"), ("nonsense", "1"), ("shop.order", "")]
)
def test_a_business_object_that_is_not_there_is_no_error(ana, object_type, object_id):
    row = event(row={"object_type": object_type, "object_id": object_id})

    assert ana.get(page(row.pk)).context["object_url"] == ""


@pytest.mark.parametrize("pk", ["999", "x", "9" * 40, "_5F"])
def test_an_event_that_is_not_there_leads_back_to_the_list(ana, pk):
    response = ana.get(page(pk), follow=True)

    assert response.redirect_chain == [(LIST, 302)]
    assert "This event does not exist" in text(response)


def test_the_page_takes_few_queries(client, django_assert_max_num_queries):
    client.force_login(staff("view_outboxevent", "view_event_payload", "requeue_event"))
    event(ordering_key="ORD-7", row=ended_at(1))
    row = event(ordering_key="ORD-7", row=ended(State.DEAD, Reason.REJECTED))
    waiting = event(ordering_key="ORD-7")
    requeue([row.pk], Actor("admin", name="ana"))
    cancel([row.pk], Actor("admin", name="ana"), "no")
    for pk in (row.pk, waiting.pk, event(row=ended_at(1)).pk):
        with django_assert_max_num_queries(MAX_QUERIES):
            client.get(page(pk))


def test_the_history_of_django_is_there(ana):
    row = event()
    cancel([row.pk], Actor("admin", user=get_user_model().objects.get(username="ana")), "customer withdrew")

    assert "cancelled: customer withdrew" in text(ana.get(f"{LIST}{row.pk}/history/"))


def test_times_are_in_the_readers_zone(ana, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    row = event(row={"created_at": "2026-11-23T14:00:00Z"})

    assert "2026-11-23 23:00:00 JST" in text(ana.get(page(row.pk)))


def test_the_pages_read_the_database_that_is_written(rf, monkeypatch):
    """A replica may lag behind: somebody would requeue what is delivered."""
    monkeypatch.setattr("genesys_eventbridge.models.outbox_alias", lambda: "written")

    assert OutboxEventAdmin(OutboxEvent, admin.site).get_queryset(rf.get("/")).db == "written"


@pytest.mark.parametrize(
    "address",
    [
        "outboxevent/dashboard/",
        "outboxevent/{pk}/change/",
        "outboxevent/act/cancel/",
        "destination/default/change/",
    ],
)
def test_our_pages_give_a_theme_what_djangos_own_would(ana, address):
    """unfold takes the object from the context, drops the title, and shows buttons outside of the content."""
    row = event(row=ended(State.DEAD, Reason.REJECTED))
    url = f"/admin/genesys_eventbridge/{address.format(pk=row.pk)}"

    response = ana.post(url, {"ids": row.pk}) if "/act/" in url else ana.get(url)

    assert isinstance(response.context["original"], str | OutboxEvent)
    template: Any = get_template("admin/genesys_eventbridge/base.html")
    assert template.template.name in [used.name for used in response.templates]
    blocks = {block.name: block for block in template.template.nodelist.get_nodes_by_type(BlockNode)}
    assert [str(blocks[name].nodelist) for name in ("content_title", "submit_buttons_bottom")] == ["[]", "[]"]
