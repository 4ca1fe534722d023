"""The page that erases personal data: it counts first, and erases exactly what it counted."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import Job, OutboxEvent
from genesys_eventbridge.operations import jobs
from genesys_eventbridge.states import Act, Reason, State
from tests.outbox_rows import accepted, ended, event, fresh

pytestmark = pytest.mark.django_db

LIST = "/admin/genesys_eventbridge/outboxevent/"
PAGE = f"{LIST}erase/"
FORM = "00000000-0000-4000-8000-000000000001"
EMAIL = "zoe@example.com"


@pytest.fixture
def ana(client):
    client.force_login(get_user_model().objects.create_superuser("ana"))
    return client


def delivered(data=None, **keywords) -> OutboxEvent:
    columns = ended(State.DELIVERED, finished_at=DatabaseNow())
    return event("order.created", data or {"mail": EMAIL}, row=columns, **keywords)


def posted(client, seen="", reason="request 17", **fields):
    data = {"by": "subject", "sought": EMAIL, "seen": seen, "once": FORM, "reason": reason, **fields}
    return client.post(PAGE, data)


def counted_and_posted(client, **fields):
    counted = posted(client, **fields)
    return counted, posted(client, str(counted.context["form"]["seen"].value()), **fields)


def text(response) -> str:
    return str(response.content, "utf-8")


def test_it_counts_before_it_erases(ana):
    rows = [delivered(subject=EMAIL) for _ in range(2)]
    waiting = event(subject=EMAIL)
    flying = accepted(subject=EMAIL)

    counted = posted(ana)

    assert "2 events would be erased" in text(counted)
    assert "<li>delivered: 2</li>" in text(counted)
    assert "Skipped: 1 (not finished: it has to be cancelled first)." in text(counted)
    assert f'<a href="{LIST}{flying.pk}/change/">#{flying.pk}</a>' in text(counted)
    assert all(fresh(row).body for row in rows)

    done = posted(ana, str(counted.context["form"]["seen"].value()))

    job = Job.objects.get()
    assert done.url == f"/admin/genesys_eventbridge/job/{job.pk}/change/"
    if not job.done:
        jobs.work()
    assert not any(fresh(row).body for row in rows)
    assert fresh(waiting).body
    assert EMAIL not in text(ana.get(done.url))


@pytest.mark.parametrize(
    "changed",
    [{"sought": "other"}, {"by": "ordering_key"}, {"cancel": "on"}, {"by": "value", "path": "mail"}],
)
def test_what_was_not_counted_is_counted_first(ana, changed):
    row = delivered(subject=EMAIL, ordering_key=EMAIL)
    seen = str(posted(ana).context["form"]["seen"].value())

    response = posted(ana, seen, **changed)

    assert response.context["found"] is not None
    assert fresh(row).body
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "fields",
    [{"by": "value", "path": "mail"}, {"by": "ordering_key"}, {"by": "about", "sought": "shop.Customer:9"}],
    ids=["value", "ordering key", "object"],
)
def test_a_person_is_found_in_other_ways_too(ana, fields):
    row = delivered(ordering_key=EMAIL)
    OutboxEvent.objects.update(object_type="shop.customer", object_id="9")

    counted_and_posted(ana, **fields)
    jobs.work()

    assert not fresh(row).body
    assert Job.objects.get().act == Act.ERASE


def test_unfinished_events_are_cancelled_first_if_asked_for(ana):
    rows = [event(subject=EMAIL), event(subject=EMAIL, row=ended(State.DEAD, Reason.REJECTED))]

    counted, _done = counted_and_posted(ana, cancel="on")
    jobs.work()

    assert "Cancelled first, and never sent: 2." in text(counted)
    assert {fresh(row).state for row in rows} == {State.CANCELLED}
    assert not any(fresh(row).body for row in rows)


def test_the_form_twice_makes_one_job(ana):
    delivered(subject=EMAIL)
    counted, _done = counted_and_posted(ana)

    posted(ana, str(counted.context["form"]["seen"].value()))

    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"reason": ""},
        {"reason": f"asked by {EMAIL}"},
        {"by": "value"},
        {"by": "about"},
        {"by": "about", "sought": "shop.Custmer:9"},
        {"sought": ""},
        {"by": "everybody"},
    ],
    ids=[
        "no reason",
        "the data in the reason",
        "no path",
        "no object",
        "no such model",
        "nobody",
        "tampered",
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_erased(ana, fields):
    row = delivered(subject=EMAIL)

    response = posted(ana, **fields)

    assert response.context["form"].errors
    assert response.context["found"] is None
    assert fresh(row).body


def test_a_large_number_is_examined_in_part(ana, monkeypatch):
    from genesys_eventbridge.admin import erasure
    from genesys_eventbridge.operations import persons

    monkeypatch.setattr(erasure, "EXAMINED", 2)
    monkeypatch.setattr(persons, "PAGE", 2)
    rows = [delivered(subject=EMAIL) for _ in range(5)]

    counted, _done = counted_and_posted(ana)
    jobs.work()

    assert "There are more events than were examined here. All of them are erased." in text(counted)
    assert not any(fresh(row).body for row in rows)


def test_the_page_asks_a_bounded_number_of_queries(ana, django_assert_max_num_queries):
    for _ in range(20):
        delivered(subject=EMAIL)

    with django_assert_max_num_queries(10):
        posted(ana)


def test_only_who_may_erase_gets_there(client):
    user = get_user_model().objects.create_user("paul", is_staff=True)
    user.user_permissions.add(
        *Permission.objects.filter(codename__in=["view_outboxevent", "cancel_event", "view_event_payload"])
    )
    client.force_login(user)
    row = delivered(subject=EMAIL)

    assert client.get(PAGE).status_code == 403
    assert posted(client).status_code == 403
    assert PAGE not in text(client.get(LIST))
    assert fresh(row).body


def test_the_list_leads_there(ana):
    assert PAGE in text(ana.get(LIST))
    assert "by" in ana.get(PAGE).context["form"].fields
