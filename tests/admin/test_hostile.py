"""What the world sends is text on every page: no markup, no template, no control character gets through."""

import re
import uuid
from html.parser import HTMLParser

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone
from django.views.debug import ExceptionReporter

from genesys_eventbridge import conf, counters
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import DeliveryAttempt, Destination, EventAct, OutboxEvent
from genesys_eventbridge.reporting import payloads
from genesys_eventbridge.states import Act, Reason, State
from tests.outbox_rows import ended, event
from tests.package import PACKAGE

pytestmark = pytest.mark.django_db

LIST = "/admin/genesys_eventbridge/outboxevent/"
DESTINATIONS = "/admin/genesys_eventbridge/destination/"
JOBS = "/admin/genesys_eventbridge/job/"
EVIL = {
    "script": "<script>alert(1)</script>",
    "end of script": "</script></pre></title><img src=x onerror=alert(1)>",
    "attribute": "\" onmouseover=alert(1) x='",
    "template": "{{ 7|add:7 }}{% debug %}",
    "percent": "%(count)s %s {0} {}",
    "terminal": "\x1b[2J\x1b]0;owned\x07",
    "line ends": "a\r\nSet-Cookie: b\u2028c\x85d",
    "right to left": "\u202egnp.exe\u2066\u200f",
    "invisible": "a\u200bb\ufeff",
}
ALLOWED_SCRIPTS = ("/static/", "/admin/jsi18n/")
SEEN_BY_NOBODY = set("\x1b\x07\x85\u2028\u202e\u2066\u200f\u200b\ufeff")


class Page(HTMLParser):
    """What a browser would build: scripts, styles and handlers in it, and all of its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.scripts: list[str | None] = []
        self.handlers: list[str] = []
        self.styles = 0
        self.images: list[str | None] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.handlers += [name for name in given if name.startswith("on")]
        self.styles += tag == "style" or "style" in given
        if tag == "script":
            self.scripts.append(given.get("src"))
        if tag == "img":
            self.images.append(given.get("src"))


def rows_full_of(evil: str) -> OutboxEvent:
    """A row of which every text is hostile, with its attempts, acts and destination."""
    row = event("order.created", {"note": evil, evil[:100]: 1})
    OutboxEvent.objects.filter(pk=row.pk).update(
        **ended(State.DEAD, Reason.REJECTED),
        type=evil,
        subject=evil,
        source=evil,
        event_id=evil,
        ordering_key=evil,
        remote_id=evil,
        last_error=evil,
        correlation_id=evil,
        object_type=evil,
        object_id=evil,
    )
    DeliveryAttempt.objects.create(
        event=row,
        number=1,
        kind="publish",
        started_at=DatabaseNow(),
        duration=1,
        verdict=evil[:16],
        error=evil,
        correlation_id=evil,
        response_excerpt=evil,
        worker=evil,
    )
    EventAct.objects.create(
        event=row,
        act=Act.REQUEUE,
        username=evil,
        via=evil,
        from_state="dead",
        to_state="dead",
        reason=evil,
        at=DatabaseNow(),
    )
    Destination.objects.create(
        alias="default",
        heartbeat_at=DatabaseNow(),
        heartbeat_worker=evil,
        paused_until=DatabaseNow(60),
        paused_reason=evil,
    )
    counters.add("default", {"delivered": 3, "dead": 1, f"error:{evil}"[:64]: 1})
    return row


@pytest.fixture
def ana(client):
    client.force_login(get_user_model().objects.create_superuser("ana"))
    return client


def pages(client, row, evil) -> dict[str, str]:
    ask = {"ids": row.pk}
    responses = {
        "list": client.get(LIST),
        "search": client.get(LIST, {"q": evil}),
        "page": client.get(f"{LIST}{row.pk}/change/"),
        "confirm": client.post(f"{LIST}act/requeue/", {**ask, "filters": evil}),
        "refused": client.post(
            f"{LIST}act/resolve/", {**ask, "confirm": "1", "reason": evil, "outcome": evil}
        ),
        "destinations": client.get(DESTINATIONS),
        "destination": client.get(f"{DESTINATIONS}default/change/"),
        "pause": client.post(f"{DESTINATIONS}default/pause/", {"pause-reason": evil, "pause-minutes": evil}),
        "history": client.get(f"{LIST}{row.pk}/history/"),
        "dashboard": client.get(f"{LIST}dashboard/"),
        "app": client.get("/admin/genesys_eventbridge/"),
    }
    return {
        name: response.content.decode() for name, response in responses.items() if response.status_code == 200
    }


@pytest.mark.parametrize("name", EVIL)
def test_hostile_text_is_text(ana, name):
    evil = EVIL[name]
    row = rows_full_of(evil)

    shown = pages(ana, row, evil)

    assert shown.keys() >= {"list", "page", "confirm", "destination", "destinations", "dashboard"}
    for where, html in shown.items():
        seen = Page(html)
        assert [src for src in seen.scripts if not (src or "").startswith(ALLOWED_SCRIPTS)] == [], where
        assert seen.handlers == [], where
        assert [src for src in seen.images if not (src or "").startswith("/static/")] == [], where


@pytest.mark.parametrize("name", ["terminal", "line ends", "right to left", "invisible"])
def test_what_nobody_would_see_is_shown_as_an_escape(ana, name):
    """Enqueue and the relay escape what they store; a row from elsewhere is escaped again when shown."""
    row = rows_full_of(EVIL[name])

    shown = pages(ana, row, EVIL[name])

    assert shown.keys() >= {"list", "page", "confirm", "destination", "destinations", "dashboard"}
    for where in shown.keys() - {"search", "pause"}:  # they show again what was typed
        assert SEEN_BY_NOBODY.isdisjoint(shown[where]), where


@pytest.mark.parametrize("name", EVIL)
def test_a_hostile_reason_comes_back_as_text(ana, name):
    row = event(row=ended(State.DEAD, Reason.REJECTED))

    response = ana.post(
        f"{LIST}act/requeue/", {"ids": row.pk, "confirm": "1", "reason": EVIL[name]}, follow=True
    )

    seen = Page(response.content.decode())
    assert seen.handlers == []
    assert [src for src in seen.scripts if not (src or "").startswith(ALLOWED_SCRIPTS)] == []


def test_a_large_payload_is_shown(ana):
    row = event("order.created", {"note": "<b>" * 60_000})

    html = ana.get(f"{LIST}{row.pk}/change/").content.decode()

    assert "<b><b>" not in html
    assert html.count("&lt;b&gt;") == 60_000


def test_a_deep_payload_is_shown(ana):
    deep: object = "bottom"
    for _ in range(90):
        deep = [deep]

    assert "bottom" in ana.get(f"{LIST}{event('order.created', deep).pk}/change/").content.decode()


def test_our_templates_hold_no_inline_script_or_style():
    """So that they work under a Content-Security-Policy that allows files only."""
    for template in (PACKAGE / "templates" / "admin").rglob("*.html"):
        markup = re.sub(r"{%.*?%}|{{.*?}}", "", template.read_text(encoding="utf-8"))
        seen = Page(markup)
        assert (seen.scripts, seen.handlers, seen.styles) == ([], [], 0), template.name


def test_the_pages_hold_no_inline_script_or_style(ana):
    row = event(row=ended(State.DEAD, Reason.REJECTED))
    for html in pages(ana, row, "x").values():
        seen = Page(html)
        assert None not in seen.scripts
        assert (seen.handlers, seen.styles) == ([], 0)


@pytest.mark.parametrize("failing", ["redact", "visible"])
def test_a_page_that_fails_shows_no_payload_in_its_report(monkeypatch, rf, settings, failing):
    """Django's reports to the admins hold the local variables of each frame (T36)."""
    settings.DEBUG = False
    row = event("order.created", {"note": "canary-in-payload"})

    def fail(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(payloads, failing, fail)
    with pytest.raises(ZeroDivisionError) as raised:
        payloads.pretty(row, payload=True)

    report = ExceptionReporter(rf.get("/"), raised.type, raised.value, raised.tb).get_traceback_data()
    frames = [frame for frame in report["frames"] if frame["filename"].endswith("payloads.py")]
    assert frames
    assert not any("canary-in-payload" in str(frame["vars"]) for frame in frames)


@pytest.mark.parametrize("name", ["changelist", "change"])
def test_anonymous_visitors_learn_nothing(client, name):
    row = event("order.created", {"note": "canary"}, subject="ORD-1")
    for model, key in (("outboxevent", row.pk), ("destination", "default")):
        arguments = [key] if name == "change" else []
        response = client.get(reverse(f"admin:genesys_eventbridge_{model}_{name}", args=arguments))
        assert response.status_code == 302
        assert "/admin/login/" in response.url


def test_no_secret_of_the_settings_is_on_any_page(ana):
    row = rows_full_of(f"trouble with {uuid.uuid4()}")
    secret = conf.destination().platform.client_secret

    for where, html in pages(ana, row, "x").items():
        assert str(secret) not in html, where


@pytest.mark.parametrize("when", ["0001-01-01T00:00", "9999-12-31T23:59", "9999-12-31T23:59:59-12:00"])
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("name", ["created_from", "accepted_to", "finished_from", "failed_since"])
def test_a_time_that_some_time_zone_has_not_is_refused_in_words(ana, name, zone, when):
    event()

    with timezone.override(zone):
        response = ana.get(LIST, {name: when}, follow=True)

    assert response.status_code == 200
    assert "is not a date and time" in response.content.decode()


@pytest.mark.parametrize("name", ["user", "user_id", "id__in", "options__contains"])
def test_the_audit_is_filtered_by_its_own_filters_only(ana, name):
    assert ana.get(JOBS, {name: "9" * 30}).status_code == 400
    assert ana.get(JOBS, {"act": "retry", "state": "queued", "since": "24h"}).status_code == 200
