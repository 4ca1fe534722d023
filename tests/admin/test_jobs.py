"""The audit and the page of a job: who did what, how far it is, and how to stop it or help it on."""

import json

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from genesys_eventbridge.admin import listing
from genesys_eventbridge.models import Job, OutboxEvent
from genesys_eventbridge.operations import Actor, Order, cancel, jobs, pause, requeue
from genesys_eventbridge.states import Act, JobState, Reason, State
from tests.outbox_rows import ended, event

pytestmark = pytest.mark.django_db

ANA = Actor("admin", name="ana")


def page(job) -> str:
    return reverse("admin:genesys_eventbridge_job_change", args=[job.pk])


LIST = "/admin/genesys_eventbridge/job/"


def user(name, *codenames):
    made = get_user_model().objects.create_user(name, is_staff=True)
    made.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    return made


@pytest.fixture
def operator(client):
    client.force_login(user("olga", "view_outboxevent", "requeue_event"))
    return client


def dead(kind="order.created") -> OutboxEvent:
    return event(kind, row=ended(State.DEAD, Reason.REJECTED))


def queued(number=5) -> Job:
    for _ in range(number):
        dead()
    return jobs.freeze(
        Order(Act.REQUEUE, ANA, "type registered", {"spread": 3600.0}, "dead, rejected"),
        OutboxEvent.objects.filter(state=State.DEAD),
    )


def text(response) -> str:
    return str(response.content, "utf-8")


def test_the_audit_has_a_line_for_each_act_with_who_what_how_many_and_why(operator):
    requeue([dead().pk, dead().pk], Actor("eventbridge_retry", name="ops"), reason="registered")
    cancel([dead().pk], ANA, "test order")
    pause("default", ANA, "maintenance", 60)

    shown = text(operator.get(LIST))

    for words in ("ops (eventbridge_retry)", "requeued", "registered", "ana", "cancelled", "test order"):
        assert words in shown
    assert "maintenance" in shown
    assert Job.objects.count() == 3
    assert "3 audit entries" in shown  # below the list


@pytest.mark.parametrize("named", ["number", "cloudevents id"])
def test_who_acted_on_an_event_is_found_even_after_it_was_pruned(operator, named):
    row, other = dead(), dead()
    requeue([row.pk], ANA, reason="the right one")
    requeue([other.pk], ANA, reason="another one")
    OutboxEvent.objects.all().delete()

    shown = text(operator.get(LIST, {"q": f"#{row.pk}" if named == "number" else row.event_id}))

    assert "the right one" in shown
    assert "another one" not in shown


def test_the_list_of_acts_takes_few_queries(operator, django_assert_max_num_queries):
    for _ in range(30):
        requeue([dead().pk], ANA, reason="x")

    with django_assert_max_num_queries(10):
        operator.get(LIST)


def test_the_page_of_a_job_shows_its_progress_its_options_and_its_results(operator):
    job = queued()
    before = text(operator.get(page(job)))
    jobs.work()
    after = text(operator.get(page(job)))

    assert "0 of 5" in before
    assert "Continue here" in before
    assert "type registered" in before
    assert "1 h" in before
    assert "5 of 5" in after
    assert "Continue here" not in after
    assert f"job={job.pk}%3Adone" in after


def test_its_numbers_lead_to_exactly_the_events_they_count(operator):
    rows = [dead(), dead("order.paid")]
    cancelled = dead()
    cancel([cancelled.pk], ANA, "withdrawn")
    requeue([*(row.pk for row in rows), cancelled.pk], ANA, reason="x")
    job = Job.objects.latest("id")
    events = reverse("admin:genesys_eventbridge_outboxevent_changelist")

    def found(value, **more):
        result = operator.get(events, {"job": value, **more}).context["cl"].result_list
        return sorted(row.pk for row in result)

    assert found(job.pk) == sorted([*(row.pk for row in rows), cancelled.pk])
    assert found(f"{job.pk}:done") == [row.pk for row in rows]
    assert found(f"{job.pk}:cancelled") == [cancelled.pk]
    assert found("x") == []


def test_a_job_is_stopped_once_by_who_may_do_its_act(operator, client):
    job = queued()
    stop = reverse("admin:genesys_eventbridge_job_stop", args=[job.pk])

    assert operator.get(stop).status_code == 405
    client.force_login(user("vera", "view_outboxevent"))
    assert client.post(stop).status_code == 403
    assert "Stop" not in text(client.get(page(job)))
    client.force_login(get_user_model().objects.get(username="olga"))
    first, second = (text(client.post(stop, follow=True)) for _ in range(2))

    assert "Stopped." in first
    assert "It had ended before." in second
    job.refresh_from_db()
    assert (job.state, job.ended_by) == (JobState.CANCELLED, "olga")
    assert OutboxEvent.objects.filter(state=State.DEAD).count() == 5


def test_without_a_worker_a_job_goes_on_in_the_page(operator):
    job = queued()

    shown = operator.post(reverse("admin:genesys_eventbridge_job_continue", args=[job.pk]), follow=True)

    assert "5 of 5" in text(shown)
    assert not OutboxEvent.objects.filter(state=State.DEAD).exists()


def test_an_act_that_fails_says_so_in_its_page_and_in_the_list(operator, monkeypatch):
    job = queued()
    monkeypatch.setitem(jobs.KINDS, Act.REQUEUE, lambda _options: 1 / 0)

    shown = text(operator.post(f"{LIST}{job.pk}/continue/", follow=True))

    assert "The last try failed with ZeroDivisionError" in shown
    assert "the last try failed" in text(operator.get(LIST))


def test_one_that_a_worker_has_is_left_to_it(operator):
    job = queued()
    jobs.claim()

    shown = operator.post(reverse("admin:genesys_eventbridge_job_continue", args=[job.pk]), follow=True)

    assert "A worker is at it." in text(shown)
    assert OutboxEvent.objects.filter(state=State.DEAD).count() == 5


def test_a_job_whose_listing_died_says_that_nothing_was_done(operator):
    job = queued()
    Job.objects.update(state=JobState.PREPARING)

    assert "nothing is done" in text(operator.get(page(job)))


def test_one_that_is_due_at_no_time_can_be_looked_at_and_stopped(operator):
    """The code makes none, but no constraint forbids it: a restored or corrected table may have one."""
    job = queued()
    Job.objects.filter(pk=job.pk).update(done=1, due_at=None)

    assert operator.get(page(job)).status_code == 200
    assert "Stop" in text(operator.get(page(job)))


@pytest.mark.parametrize(("about", "title"), [("#12", "requeued · #12"), ("", "requeued")])
def test_the_title_of_an_act_ends_with_what_it_was_about(operator, about, title):
    job = queued()
    Job.objects.filter(pk=job.pk).update(about=about)

    assert operator.get(page(job)).context["title"] == title


def test_a_page_beyond_the_last_one_is_the_last_one(operator):
    requeue([dead().pk], ANA, reason="registered")

    response = operator.get(LIST, {"act": "requeue", "p": "7"})

    assert response.context["cl"].page_num == 1
    assert "registered" in text(response)


def test_the_list_says_if_it_is_not_complete_and_counts_no_results_if_it_is(operator, monkeypatch):
    requeue([dead().pk], ANA, reason="registered")
    requeue([dead().pk], ANA, reason="registered")

    whole = text(operator.get(LIST))
    assert "2 results" not in whole
    assert "More than 10,000" not in whole
    assert "2 results" in text(operator.get(LIST, {"act": "requeue"}))

    monkeypatch.setattr(listing, "COUNTED", 1)
    assert "More than 10,000 audit entries match" in text(operator.get(LIST))


def test_one_that_does_not_exist_leads_to_the_list(operator):
    shown = operator.get(reverse("admin:genesys_eventbridge_job_change", args=["999"]), follow=True)

    assert "This act does not exist." in text(shown)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_the_listed_acts_are_exported_in_constant_memory(client, monkeypatch, form):
    monkeypatch.setattr("genesys_eventbridge.admin.jobs.PAGE", 2)
    client.force_login(user("paul", "view_outboxevent", "export_event"))
    for number in range(5):
        requeue([dead().pk], ANA, reason=f"=reason {number}")
    cancel([dead().pk], ANA, "withdrawn")
    address = reverse("admin:genesys_eventbridge_job_export", args=[form])

    response = client.get(address, {"act": "requeue"})
    lines = b"".join(response.streaming_content).decode().splitlines()

    assert address in text(client.get(LIST))
    if form == "csv":
        assert len(lines) == 6
        assert ",'=reason 4," in lines[1]
    else:
        acts = [json.loads(line) for line in lines]
        assert [act["reason"] for act in acts] == [f"=reason {number}" for number in (4, 3, 2, 1, 0)]
        assert acts[0]["results"] == [["done", "default", "order.created", 1]]
        assert "T" in acts[0]["created_at"]


def test_the_audit_is_exported_only_with_the_permission(operator):
    address = reverse("admin:genesys_eventbridge_job_export", args=["csv"])

    assert operator.get(address).status_code == 403
    assert address not in text(operator.get(LIST))


def test_an_act_may_be_seen_by_who_may_see_events_and_by_auditors(client):
    job = queued()
    for name, codename, code in (("a", "view_outboxevent", 200), ("b", "view_job", 200), ("c", "", 403)):
        client.force_login(user(name, codename))
        assert client.get(page(job)).status_code == code
        assert client.get(LIST).status_code == code


@pytest.mark.skipif(connection.vendor != "sqlite", reason="other planners read small tables as a whole")
def test_a_search_for_an_event_number_reads_no_act_of_others(operator):
    with CaptureQueriesContext(connection) as captured:
        operator.get(LIST, {"q": "#42"})

    statements = [query["sql"] for query in captured if "event_number" in query["sql"]]
    with connection.cursor() as cursor:
        plans = [cursor.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall() for statement in statements]
    steps = [step for plan in plans for *_places, step in plan]
    assert any("SEARCH genesys_eventbridge_job" in step for step in steps)
    assert not any(step.startswith("SCAN genesys_eventbridge") for step in steps)
