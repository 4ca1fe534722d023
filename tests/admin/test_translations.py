"""Every word of the admin's pages goes through gettext: in a language of brackets none is left without."""

import re
from html.parser import HTMLParser

import pytest
from django.contrib.auth import get_user_model
from django.utils.translation import trans_real

from genesys_eventbridge import counters, schedules
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import DeliveryAttempt, Destination, OutboxEvent
from genesys_eventbridge.operations import Actor, Order, cancel, jobs, requeue
from genesys_eventbridge.states import Act, JobState, Reason, State
from tests.outbox_rows import accepted, ended, event
from tests.prompt import sandboxed
from tests.shop.models import Order as ShopOrder

pytestmark = pytest.mark.django_db
pytest_plugins = ["tests.registrations"]

LIST = "/admin/genesys_eventbridge/outboxevent/"
JOBS = "/admin/genesys_eventbridge/job/"
DESTINATIONS = "/admin/genesys_eventbridge/destination/"
#: Elements whose text is for machines or comes from them: commands, JSON, times.
FOREIGN = {"script", "style", "code", "pre", "time"}
#: Attributes that people read or hear.
READ = {"title", "aria-label", "placeholder", "value"}  # the alt of Django's own search icon is in English
#: What the tests wrote, names of settings and of things, and what others said: none of our words.
DATA = [
    *("ana", "ben", "default", "emea", "shop", "order.created", "order.paid", "ORD-1", "web1:4711"),
    *("com.example.tests", "customer called", "no such type", "why"),
    *(plan.name for plan in schedules.PLANS),
    *("HTTP", "SHA-256", "API", "UTC"),
]
IDENTITY = re.compile(r"https?://[\w.:]+|[0-9a-f]{64}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(autouse=True)
def brackets(monkeypatch):
    """Django's own strings are bracketed, too: what is left is ours, and was not asked for."""
    plain = {name: getattr(trans_real, name) for name in ("gettext", "ngettext", "pgettext", "npgettext")}

    def bracketed(name):
        def translate(*arguments):
            return f"⟦{plain[name](*arguments)}⟧"

        return translate

    for name in plain:
        monkeypatch.setattr(f"django.utils.translation._trans.{name}", bracketed(name), raising=False)


class Words(HTMLParser):
    """The texts and the read attributes below ``#content``, without those of machines."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._inside = 0
        self._broken = False
        self._foreign: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self._broken = tag == "wbr"
        self._inside += given.get("id") == "content"
        if tag in FOREIGN or given.get("lang") == "en" or tag == "textarea":
            self._foreign.append(tag)
        if self._inside and not self._foreign:
            hidden = tag == "input" and given.get("type") not in ("submit", "button")
            names = READ - {"value"} if hidden or tag in ("option", "button", "li") else READ
            self.texts += [given[name] or "" for name in names & given.keys()]

    def handle_endtag(self, tag):
        if self._foreign and self._foreign[-1] == tag:
            self._foreign.pop()

    def handle_data(self, data):
        if not self._inside or self._foreign:
            return
        if self._broken:  # a long word that may be broken here
            self.texts[-1] += data
        else:
            self.texts.append(data)
        self._broken = False


def untranslated(page: str, *data: str) -> set[str]:
    """Words of two letters or more outside of brackets."""
    found = set()
    for text in Words(page.partition('id="footer"')[0]).texts:
        left, before = text, ""
        while left != before:
            left, before = re.sub(r"⟦[^⟦⟧]*⟧", " ", left), left
        left = IDENTITY.sub(" ", left)
        for foreign in (*DATA, *data):
            left = re.sub(rf"(?<!\w){re.escape(foreign)}(?!\w)", " ", left)
        found |= set(re.findall(r"[^\W\d_]{2,}", left))
    return found


@pytest.fixture
def ana(client):
    client.force_login(get_user_model().objects.create_superuser("ana"))
    return client


@pytest.fixture
def row():
    """A dead event with a history, among others; a destination in trouble."""
    made = event("order.created", {"number": 1}, subject="ORD-1", ordering_key="ORD-1")
    DeliveryAttempt.objects.create(
        event=made,
        number=1,
        kind="publish",
        started_at=DatabaseNow(),
        duration=1,
        verdict="rejected",
        status_code=400,
        error="no such type",
        worker="web1:4711",
    )
    OutboxEvent.objects.filter(pk=made.pk).update(**ended(State.DEAD, Reason.REJECTED), attempts=1)
    requeue([made.pk], Actor("admin", name="ben"), reason="customer called")
    OutboxEvent.objects.filter(pk=made.pk).update(
        **ended(State.DEAD, Reason.EXHAUSTED), attempts=12, last_error="no such type", last_status_code=400
    )
    Destination.objects.create(
        alias="default",
        heartbeat_at=DatabaseNow(-5),
        heartbeat_worker="web1:4711",
        accepted_at=DatabaseNow(-8),
        paused_until=DatabaseNow(600),
        paused_kind="network",
        paused_reason="503",
        check_paused_until=DatabaseNow(600),
        check_paused_reason="503",
        run_failures=3,
    )
    event(
        "order.paid", subject="ORD-1", ordering_key="ORD-1", row={"attempts": 1, "due_at": DatabaseNow(300)}
    )
    accepted()
    event(row=ended(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN))
    event(row=ended(State.DELIVERED, finished_at=DatabaseNow()))
    counters.add(
        "default",
        {"delivered": 3, "dead": 1, "within:3": 3, "error:503": 1, "error:auth": 2, "error:200": 1},
    )
    schedules.install()
    return made


def shown(response) -> str:
    assert response.status_code == 200
    return str(response.content, "utf-8")


@pytest.mark.parametrize(
    "address",
    [
        LIST,
        f"{LIST}?state=dead",
        f"{LIST}?q=nothing",
        f"{LIST}dashboard/",
        f"{LIST}dashboard/?range=month",
        f"{LIST}failures/",
        f"{LIST}failures/?since=2026-01-01T10:00",
        f"{LIST}failures/?since=nonsense",
        f"{LIST}catalogue/",
        f"{LIST}erase/",
        JOBS,
        f"{JOBS}?act=requeue",
        f"{JOBS}?q=nothing",
        DESTINATIONS,
        f"{DESTINATIONS}default/change/",
        "/admin/genesys_eventbridge/",
    ],
)
def test_every_word_of_a_page_can_be_translated(ana, row, address):
    page = shown(ana.get(address))

    assert "⟦" in page
    assert untranslated(page) == set()


@pytest.mark.parametrize(
    "address",
    [
        LIST,
        f"{LIST}dashboard/",
        f"{LIST}failures/",
        f"{LIST}catalogue/",
        JOBS,
        DESTINATIONS,
        f"{DESTINATIONS}default/change/",
    ],
)
def test_every_word_of_an_empty_page_can_be_translated(ana, address):
    assert untranslated(shown(ana.get(address))) == set()


def test_every_word_of_the_dashboard_of_several_can_be_translated(ana, row, settings):
    one = settings.GENESYS_EVENTBRIDGE["default"]
    settings.GENESYS_EVENTBRIDGE = {"default": one, "emea": one}
    Destination.objects.update(heartbeat_at=DatabaseNow(-900), paused_until=None, check_paused_until=None)
    schedules.remove()

    page = shown(ana.get(f"{LIST}dashboard/"))

    assert "⟦All destinations⟧" in page
    assert untranslated(page) == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"state": State.PENDING, "due_at": DatabaseNow(300), "reason": ""},
        {"state": State.ACCEPTED, "due_at": DatabaseNow(300), "reason": "", "remote_id": "1"},
        *(ended(State.DEAD, reason) for reason in Reason),
        *(ended(State.UNRESOLVED, reason) for reason in Reason),
        ended(State.DELIVERED, finished_at=DatabaseNow()),
        ended(State.DELIVERED, finished_at=DatabaseNow(), body=""),
    ],
    ids=str,
)
def test_every_word_of_an_events_page_can_be_translated(ana, row, changes):
    OutboxEvent.objects.filter(pk=row.pk).update(**changes)

    page = shown(ana.get(f"{LIST}{row.pk}/change/"))

    assert untranslated(page) == set()


def test_every_word_of_a_cancelled_events_page_can_be_translated(ana, row):
    cancel([row.pk], Actor("admin", name="ben"), "customer called")

    page = shown(ana.get(f"{LIST}{row.pk}/change/"))

    assert untranslated(page) == set()


@pytest.mark.parametrize(
    "act", ["retry_now", "requeue", "check_now", "resolve", "cancel", "resend", "replay", "export"]
)
@pytest.mark.parametrize("fields", [{}, {"confirm": "1"}], ids=["asked", "reason missing"])
def test_every_word_of_a_confirmation_can_be_translated(ana, row, act, fields):
    rows = OutboxEvent.objects.values_list("pk", flat=True)
    ids = [rows.filter(state=State.DELIVERED)[0]] if act == "resend" else list(rows)

    page = shown(ana.post(f"{LIST}act/{act}/", {"ids": ",".join(map(str, ids)), **fields}))

    assert untranslated(page) == set()


def test_every_word_of_an_answer_can_be_translated(ana, row):
    ids = ",".join(str(pk) for pk in OutboxEvent.objects.values_list("pk", flat=True))

    page = shown(ana.post(f"{LIST}act/requeue/", {"ids": ids, "confirm": "1", "reason": "why"}, follow=True))

    assert "⟦being sent right now⟧" in page or "⟦already" in page
    assert untranslated(page) == set()


@pytest.mark.parametrize("state", [None, *JobState], ids=str)
def test_every_word_of_a_jobs_page_can_be_translated(ana, row, state):
    order = Order(Act.REQUEUE, Actor("admin", name="ben"), "customer called", {"spread": 3600.0}, "")
    job = jobs.freeze(order, OutboxEvent.objects.all())
    if state is None:
        jobs.run(job, order.actor)
    else:
        type(job).objects.filter(pk=job.pk).update(state=state)

    page = shown(ana.get(f"{JOBS}{job.pk}/change/"))

    assert untranslated(page) == set()


def test_every_word_of_the_answer_to_stop_can_be_translated(ana, row):
    order = Order(Act.REQUEUE, Actor("admin", name="ben"), "customer called", {}, "")
    job = jobs.freeze(order, OutboxEvent.objects.all())

    assert untranslated(shown(ana.post(f"{JOBS}{job.pk}/stop/", follow=True))) == set()


@pytest.mark.parametrize("act", ["requeue", "cancel", "replay", "export"])
def test_every_word_of_a_confirmation_for_all_that_match_can_be_translated(ana, row, act):
    page = shown(ana.post(f"{LIST}act/{act}/?state=dead", {"everything": "1"}))

    assert untranslated(page) == set()


@pytest.mark.parametrize("corrected", [None, '{"number": 2}', "{nonsense", '{"number": 1}'], ids=str)
def test_every_word_of_a_correction_can_be_translated(ana, row, corrected):
    given = {} if corrected is None else {"corrected": corrected, "reason": "why", "confirm": "1"}

    page = shown(ana.post(f"{LIST}act/correct/", {"ids": row.pk, "from": "event", **given}))

    assert untranslated(page, "number") == set()


@pytest.mark.parametrize("sought", ["ORD-1", "", "ORD-9"])
@pytest.mark.parametrize("by", ["subject", "value", "object", "ordering_key"])
def test_every_word_of_an_erasure_can_be_translated(ana, row, by, sought):
    fields = {"by": by, "sought": sought, "seen": "", "once": "0" * 32, "reason": "customer called"}

    page = shown(ana.post(f"{LIST}erase/", fields))

    assert untranslated(page, "ORD-9") == set()


def test_every_word_of_the_catalogue_can_be_translated(ana, row, publish):
    publish(ShopOrder, created="order.created", fields=["number", "status", "customer.email"])
    publish(ShopOrder, updated="order.paid", changed=["status"], fields=["number"])
    publish(ShopOrder, deleted="order.deleted", fields=["number"])

    page = shown(ana.get(f"{LIST}catalogue/"))

    theirs = ("Order", "order.deleted", "number", "status", "customer", "email")
    assert untranslated(page, *theirs, "string", "object") == set()  # JSON's own words stay


def test_every_word_around_a_tested_connection_can_be_translated(ana, row):
    """The steps themselves are those of the command, in English, and marked as such."""
    with sandboxed():
        page = shown(ana.post(f"{DESTINATIONS}default/test/"))

    assert untranslated(page, "settings", "token", "permission", "clocks") == set()


def test_a_word_that_was_not_asked_for_is_seen():
    assert untranslated('<div id="content"><p>⟦All ⟦well⟧⟧ or not</p></div>') == {"or", "not"}
    assert untranslated('<div id="content"><a title="Go">⟦x⟧</a></div>') == {"Go"}
