"""What operators do all day, from the admin's index on, with the clicks it takes.

Each flow begins at the index, as an operator would. Clicks are those of the mouse, as the page notices them;
typing and the Enter key are none. ``-s`` prints them.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.utils import timezone
from playwright.sync_api import Locator, expect

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import Destination, EventAct, Job, OutboxEvent
from genesys_eventbridge.operations import Actor, jobs, requeue
from genesys_eventbridge.outbox import enqueue_many
from genesys_eventbridge.states import Act, JobState, Reason, State
from genesys_eventbridge.text.failures import failure_id
from tests.browser.visitor import Visitor
from tests.outbox_rows import ended, event

pytestmark = pytest.mark.django_db(transaction=True)

INDEX = "/admin/"
ERROR = "400 from the platform: the event type order.paid is not registered"
OTHER = "503 Service Unavailable"


@pytest.fixture(autouse=True)
def alive() -> None:
    """A worker has just reported."""
    Destination.objects.create(alias="default", heartbeat_at=DatabaseNow(), accepted_at=DatabaseNow())


@pytest.fixture
def ana(visit: Callable[..., Visitor]) -> Visitor:
    visitor = visit("ana")
    visitor.go(INDEX)
    return visitor


@contextmanager
def clicks(visitor: Visitor, flow: str, most: int) -> Iterator[None]:
    """Counts the clicks of a flow and prints them; there may be ``most``."""
    before = visitor.clicks
    yield
    taken = visitor.clicks - before
    print(f"\n{flow}: {taken} clicks")  # noqa: T201
    assert taken <= most


def menu(visitor: Visitor, name: str) -> None:
    """The entry of the index."""
    visitor.page.locator("#content").get_by_role("link", name=name, exact=True).click()


def search(visitor: Visitor, text: str) -> None:
    """Django puts the cursor into the search box of a list."""
    visitor.page.locator("#searchbar").focus()
    visitor.page.keyboard.type(text)
    visitor.page.keyboard.press("Enter")


def rows(visitor: Visitor) -> Locator:
    return visitor.page.locator("#result_list tbody tr")


def dead(count: int = 1, kind: str = "order.paid", error: str = ERROR, **columns: object) -> list[int]:
    code = int(error[:3])
    written = enqueue_many(
        [{"type": kind, "data": {"number": n}, "subject": f"ORD-{n}"} for n in range(count)], standalone=True
    )
    ids = [row.pk for row in written]
    facts = {"last_status_code": code, "last_error": error, "failure": failure_id(code, error), "attempts": 2}
    row = ended(State.DEAD, Reason.REJECTED, failed_at=DatabaseNow(), **facts)
    OutboxEvent.objects.filter(pk__in=ids).update(**{**row, **columns})
    return ids


def choose(visitor: Visitor, action: str, *, all_that_match: bool = False) -> None:
    """Select the rows of a list, and an action for them."""
    page = visitor.page
    page.locator("#action-toggle").wait_for()
    page.wait_for_load_state()  # until Django's script has run, the box selects no rows
    page.locator("#action-toggle").click()
    if all_that_match:
        page.locator(".actions .question a").click()
    page.locator("select[name=action]").select_option(label=action)
    page.locator(".actions button[type=submit]").click()


def fill(visitor: Visitor, label: str, text: str) -> None:
    visitor.page.get_by_label(label).first.fill(text)


def test_order_4711_never_arrived(ana):
    row = event("order.paid", {"number": "ORD-4711"}, subject="ORD-4711")
    event("order.paid", subject="ORD-4712")

    with clicks(ana, "order 4711 never arrived", 2):
        menu(ana, "Events")
        search(ana, "4711")
        expect(rows(ana)).to_have_count(1)
        rows(ana).get_by_role("link", name="order.paid").click()

    expect(ana.page.get_by_role("heading", level=1)).to_contain_text(f"ORD-4711 #{row.pk}")
    expect(ana.page.locator(".eventbridge-next")).to_contain_text("Will be sent within")


def test_an_order_number_in_the_wrong_case_that_has_a_typing_error_leads_to_the_nearest(ana):
    event("order.paid", subject="ORD-4711")

    menu(ana, "Events")
    search(ana, "ord-4712")
    expect(ana.page.locator(".eventbridge-empty")).to_contain_text("No event is found by “ord-4712”")
    ana.page.get_by_role("link", name="ORD-4711").click()

    expect(rows(ana)).to_have_count(1)


def test_which_type_fails_most_since_two_o_clock_and_why(ana):
    now = timezone.now()
    dead(3, "order.paid")
    dead(2, "order.shipped", OTHER)
    dead(9, "order.old", failed_at=now - dt.timedelta(days=2), created_at=now - dt.timedelta(days=2))
    since = (now - dt.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")

    with clicks(ana, "which type fails most since 14:00 and why", 3):
        menu(ana, "Failures")
        fill(ana, "Failed since", since)
        ana.page.get_by_role("button", name="Show").click()
        lines = ana.page.locator(".eventbridge-failures tbody tr")
        expect(lines).to_have_count(2)
        expect(lines.first).to_contain_text("order.paid")
        expect(lines.first).to_contain_text("is not registered")
        lines.first.get_by_role("link", name="3", exact=True).click()

    expect(rows(ana)).to_have_count(3)
    assert all("order.paid" in row.inner_text() for row in rows(ana).all())


def test_3_000_of_one_reason_are_requeued_over_an_hour(ana):
    """The reason is what the filter says, in one click of its link."""
    mine = dead(3_000)
    others = dead(2, "order.shipped", reason=Reason.EXHAUSTED)

    menu(ana, "Events")
    ana.page.locator("#changelist-filter").get_by_role("link", name="rejected", exact=True).click()
    with clicks(ana, "requeue 3,000 of one reason over an hour", 4):
        choose(ana, "Requeue", all_that_match=True)
        expect(ana.page.get_by_role("heading", name="3,000 events")).to_be_visible()
        ana.page.locator("[name=reason]").fill("the type is registered now")
        ana.page.locator("[name=spread_number]").fill("1")
        ana.page.locator("[name=spread_unit]").select_option(label="hours")
        ana.page.get_by_role("button", name="Requeue", exact=True).click()
        expect(ana.page.locator("#content")).to_contain_text("of 3,000")

    job = Job.objects.get()
    jobs.work()
    ana.page.reload()
    results = ana.page.get_by_role("table", name="Results").locator("tbody tr")
    expect(results).to_have_count(1)
    expect(results).to_contain_text("requeued")
    expect(results).to_contain_text("3,000")
    assert OutboxEvent.objects.filter(pk__in=mine, state=State.PENDING).count() == 3_000
    assert OutboxEvent.objects.filter(pk__in=others, state=State.DEAD).count() == 2
    found = OutboxEvent.objects.filter(pk__in=mine).order_by("due_at").values_list("due_at", flat=True)
    due = [at for at in found if at is not None]
    assert dt.timedelta(minutes=55) < due[-1] - due[0] <= dt.timedelta(hours=1)
    assert jobs.total(Job.objects.get(pk=job.pk)).count == 3_000


def test_a_failure_group_is_requeued(ana):
    mine = dead(3)
    others = dead(2, "order.shipped", OTHER)

    with clicks(ana, "requeue a failure group", 6):
        menu(ana, "Failures")
        ana.page.locator(".eventbridge-failures tbody tr").first.get_by_role(
            "link", name="3", exact=True
        ).click()
        choose(ana, "Requeue")
        ana.page.locator("[name=reason]").fill("registered")
        ana.page.get_by_role("button", name="Requeue", exact=True).click()
        expect(ana.page.locator(".messagelist")).to_contain_text("3 requeued.")

    assert OutboxEvent.objects.filter(pk__in=mine, state=State.PENDING).count() == 3
    assert OutboxEvent.objects.filter(pk__in=others, state=State.DEAD).count() == 2


def test_who_requeued_event_42(ana):
    (mine,), (other,) = dead(), dead()
    requeue([mine], Actor("admin", name="ben"), reason="the type is registered now")
    requeue([other], Actor("admin", name="eva"), reason="another one")

    with clicks(ana, "prove who requeued event 42", 2):
        menu(ana, "Audit entries")
        search(ana, f"#{mine}")
        expect(rows(ana)).to_have_count(1)
        expect(rows(ana)).to_contain_text("ben")
        expect(rows(ana)).to_contain_text("the type is registered now")
        rows(ana).get_by_role("link").first.click()

    expect(ana.page.locator(".eventbridge-facts")).to_contain_text("the type is registered now")


def test_a_dead_head_is_requeued_with_its_tail(ana):
    tail = [event(subject="ORD-7", ordering_key="ORD-7").pk for _ in range(3)]
    row = ended(State.DEAD, Reason.REJECTED, attempts=2, last_error=ERROR, last_status_code=400)
    OutboxEvent.objects.filter(pk__in=tail).update(**row)

    with clicks(ana, "a dead head with its tail", 5):
        menu(ana, "Events")
        search(ana, f"#{tail[0]}")
        rows(ana).get_by_role("link", name="order.created").click()
        ana.page.get_by_role("button", name="Requeue…").click()
        ana.page.get_by_label(re.compile("Also requeue the later dead events.*2")).click()
        ana.page.locator("[name=reason]").fill("registered")
        ana.page.get_by_role("button", name="Requeue", exact=True).click()
        expect(ana.page.get_by_role("heading", name="finished")).to_be_visible()

    assert set(OutboxEvent.objects.filter(pk__in=tail).values_list("state", flat=True)) == {State.PENDING}
    assert EventAct.objects.filter(act=Act.REQUEUE).count() == 3


def test_a_job_without_a_worker_is_continued_and_another_one_stopped(ana):
    ids = dead(4)
    order = jobs.Order(Act.REQUEUE, Actor("admin"), "registered")
    first = jobs.freeze(order, ids[:2])
    second = jobs.freeze(jobs.Order(Act.REQUEUE, Actor("admin"), "registered"), ids[2:])

    with clicks(ana, "continue a job", 3):
        menu(ana, "Audit entries")
        rows(ana).nth(1).get_by_role("link").first.click()
        ana.page.get_by_role("button", name="Continue here").click()
        expect(ana.page.get_by_role("heading", name="finished")).to_be_visible()
    ana.go(INDEX)
    with clicks(ana, "stop a job", 3):
        menu(ana, "Audit entries")
        rows(ana).first.get_by_role("link").first.click()
        ana.page.get_by_role("button", name="Stop").click()
        expect(ana.page.locator(".messagelist")).to_contain_text("Stopped.")

    assert Job.objects.get(pk=first.pk).state == JobState.FINISHED
    assert Job.objects.get(pk=second.pk).state == JobState.CANCELLED
    assert set(OutboxEvent.objects.filter(pk__in=ids[2:]).values_list("state", flat=True)) == {State.DEAD}


def test_a_pause_that_came_from_trouble_is_ended_by_try_now(ana):
    Destination.objects.update(paused_until=DatabaseNow(900), paused_kind="network", paused_reason="refused")

    with clicks(ana, "a paused destination: try now", 3):
        menu(ana, "Destinations")
        rows(ana).get_by_role("link", name="default").click()
        ana.page.get_by_role("button", name="Try now").click()
        expect(ana.page.locator(".messagelist")).to_be_visible()

    assert "Paused" not in ana.page.locator("#standing-heading").inner_text()
    assert Job.objects.get().act == Act.RESUME


def test_the_dashboard_is_one_click_from_the_index_and_its_numbers_lead_to_their_events(ana):
    dead(3)

    with clicks(ana, "what is dead", 2):
        menu(ana, "Dashboard")
        expect(ana.page.locator("#verdict-heading")).to_contain_text("3 events need an operator")
        ana.page.locator(".eventbridge-numbers").get_by_role("link", name=re.compile("^Dead")).click()

    expect(rows(ana)).to_have_count(3)


def test_what_was_lost_between_ten_and_eleven_is_replayed_and_withdrawn(ana):
    """The filter is typed once; its confirmation says how many duplicates there will be."""
    lost = [event("order.paid", subject=f"ORD-{n}").pk for n in range(4)]
    ten = timezone.now().replace(hour=10, minute=0, second=0, microsecond=0) - dt.timedelta(days=1)
    for number, pk in enumerate(lost):
        at = ten + dt.timedelta(minutes=(-1, 0, 59, 60)[number])
        columns = ended(State.DELIVERED, attempts=1, accepted_at=at, finished_at=at)
        OutboxEvent.objects.filter(pk=pk).update(**columns)

    with clicks(ana, "they lost everything 10:00-11:00", 5):
        menu(ana, "Events")
        ana.page.get_by_label("Accepted from").fill(f"{ten:%Y-%m-%dT%H:%M}")
        ana.page.get_by_label("Accepted before").fill(f"{ten + dt.timedelta(hours=1):%Y-%m-%dT%H:%M}")
        ana.page.get_by_label("Accepted before").press("Enter")
        expect(rows(ana)).to_have_count(2)
        choose(ana, "Replay")
        expect(ana.page.get_by_role("heading", name="2 events", exact=True)).to_be_visible()
        ana.page.locator("[name=reason]").fill("they lost an hour")
        ana.page.locator("[name=rate]").fill("1")
        ana.page.get_by_role("button", name="Replay", exact=True).click()
        expect(ana.page.locator("#content")).to_contain_text("2")

    made = OutboxEvent.objects.filter(origin__isnull=False)
    assert list(made.order_by("origin").values_list("origin", flat=True)) == lost[1:3]

    ana.go(INDEX)
    with clicks(ana, "withdraw what was not sent", 3):
        menu(ana, "Audit entries")
        rows(ana).first.get_by_role("link").first.click()
        ana.page.get_by_role("button", name="Stop").click()
        expect(ana.page.locator(".messagelist")).to_be_visible()
    jobs.work()

    assert set(made.values_list("state", flat=True)) == {State.CANCELLED}


def test_the_data_of_one_person_are_erased_and_those_of_others_stay(ana):
    columns = ended(State.DELIVERED, attempts=1, finished_at=DatabaseNow())
    mine, other = (
        event("customer.changed", {"email": email}, row=columns).pk
        for email in ("ana@example.com", "ben@example.com")
    )

    with clicks(ana, "erase one person", 5):
        menu(ana, "Events")
        ana.page.get_by_role("link", name="Erase personal data").click()
        ana.page.get_by_label("A value in the data").click()
        ana.page.locator("[name=sought]").fill("ana@example.com")
        ana.page.locator("[name=path]").fill("email")
        ana.page.locator("[name=reason]").fill("asked for by letter")
        ana.page.get_by_role("button", name="Show what would be erased").click()
        expect(ana.page.get_by_role("heading", name="1 event would be erased")).to_be_visible()
        assert OutboxEvent.objects.get(pk=mine).body
        ana.page.get_by_role("button", name="Erase", exact=True).click()
        expect(ana.page.get_by_role("heading", name="finished")).to_be_visible()

    assert OutboxEvent.objects.get(pk=mine).body == ""
    assert "ben@example.com" in OutboxEvent.objects.get(pk=other).body
    job = Job.objects.get()
    assert "ana@example.com" not in f"{job.about} {job.reason} {job.options} {job.results}"


@pytest.mark.parametrize(("label", "ending"), [("CSV", ".csv"), ("JSON lines", ".jsonl")])
def test_500_events_are_exported_for_the_vendor(ana, label, ending):
    dead(500)
    dead(2, "order.shipped", reason=Reason.EXHAUSTED)

    menu(ana, "Events")
    ana.page.locator("#changelist-filter").get_by_role("link", name="rejected", exact=True).click()
    with clicks(ana, f"export 500 for the vendor, {label}", 5):
        choose(ana, "Export", all_that_match=True)
        expect(ana.page.get_by_role("heading", name="500 events")).to_be_visible()
        ana.page.get_by_label(label).click()
        ana.page.locator("[name=reason]").fill("case 4711 of the vendor")
        with ana.page.expect_download() as started:
            ana.page.get_by_role("button", name="Export", exact=True).click()
        file = started.value

    assert file.suggested_filename.endswith(ending)
    lines = file.path().read_text("utf-8").splitlines()
    assert len(lines) == 500 + (ending == ".csv")
    assert not any("order.shipped" in line for line in lines)


def test_a_dead_event_is_corrected_and_resent(ana):
    (pk,) = dead(1)

    with clicks(ana, "correct and resend", 5):
        menu(ana, "Events")
        search(ana, f"#{pk}")
        rows(ana).get_by_role("link", name="order.paid").click()
        ana.page.get_by_role("button", name="Correct and resend…").click()
        ana.page.locator("[name=corrected]").fill('{"number": 4711}')
        ana.page.locator("[name=reason]").fill("a wrong number")
        ana.page.get_by_role("button", name="Show the changes").click()
        expect(ana.page.get_by_role("list", name="Changes")).to_contain_text("4711")
        ana.page.get_by_role("button", name="Correct and resend", exact=True).click()
        expect(ana.page.locator(".messagelist")).to_be_visible()

    assert OutboxEvent.objects.get(pk=pk).state == State.CANCELLED
    assert OutboxEvent.objects.get(origin=pk).data == {"number": 4711}
