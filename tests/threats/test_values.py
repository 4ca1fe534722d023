"""G21: what a platform repeats of an event is shown only to those who may see payloads."""

import logging

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse

from genesys_eventbridge import relay, signals
from genesys_eventbridge.client import auth
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import DeliveryAttempt, Destination, OutboxEvent
from genesys_eventbridge.outbox import retention
from genesys_eventbridge.states import State
from tests import canary
from tests.outbox_rows import ended, event, settings_with
from tests.prompt import run
from tests.socket_server import SocketServer, answer

pytestmark = pytest.mark.django_db(transaction=True)

MAIL = "jane.c4n4ry@example.com"
PHONE = 4915112345678
CITY = "Köln c4n4ry"
DATA = {"customer": {"mail": MAIL, "phone": PHONE}, "places": [CITY]}
#: How the platform may write them.
VALUES = {MAIL, "c4n4ry", str(PHONE), "K\u00f6ln", "K\\u00f6ln"}
HEADER = "h34der-c4n4ry-key"
APP = "genesys_eventbridge"


class Echo:
    """A platform that explains each refusal with the data it was sent; checks are answered with it, too.

    Status 0 is an answer whose head is no HTTP, and 1 one whose body breaks off.
    """

    def __init__(self, status):
        self.status = status
        self.body = ""

    def __call__(self, talk):
        while request := talk.read_request():
            self.body = request.body.decode() or self.body
            if request.target == "/oauth/token":
                talk.answer(200, {"access_token": "t0ken-0123456789", "token_type": "bearer"})
            elif self.status == 0:
                talk.send(f"HTTP/1.1 200 OK\r\nX-Echo {MAIL} {PHONE} {HEADER}\r\n\r\n".encode())
                return
            elif self.status == 1:
                chunked = b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n"
                talk.send(chunked + f"{MAIL} {PHONE} {HEADER}\r\n".encode())
                return
            else:
                words = f"Invalid value '{MAIL}' or {PHONE} at data: {CITY}. Got {self.body}"
                document = {
                    **dict.fromkeys(("message", "error", "description", "detail", "title"), words),
                    "code": MAIL,
                    "contextId": MAIL,
                    "errors": [words, {"message": words}],
                    "limit": {"key": CITY},
                    "status": self.status if self.status >= 400 else MAIL,
                }
                talk.send(answer(self.status, document, f"X-Echo: {MAIL}", f"Location: https://{MAIL}/x"))


@pytest.fixture
def left_behind(caplog, capfd):
    """``left_behind()``: all columns of all tables but bodies and excerpts; logs; what was printed."""
    caplog.set_level(logging.DEBUG)

    def look():
        printed, complained = capfd.readouterr()
        tables = canary.database()
        for model, column in ((OutboxEvent, "body"), (DeliveryAttempt, "response_excerpt")):
            tables[f"table {model._meta.db_table}"] = "\n".join(
                repr({name: value for name, value in row.items() if name != column})
                for row in model.objects.values()
            )
        return {
            **tables,
            **canary.queue(),
            **canary.caches(),
            "log": caplog.text,
            "log records": "\n".join(repr(vars(record)) for record in caplog.records),
            "stdout": printed,
            "stderr": complained,
        }

    return look


@pytest.fixture
def heard():
    """What receivers of our signals were given."""
    found = []

    def receive(**given):
        one = given.get("event")
        found.append(f"{given.get('reason')} {one.last_error if one else ''}")

    ours = (signals.event_retried, signals.event_dead, signals.event_unresolved, signals.destination_paused)
    for signal in ours:
        signal.connect(receive)
    yield found
    for signal in ours:
        signal.disconnect(receive)


def configure(settings, url):
    auth._process.begin()
    settings.GENESYS_EVENTBRIDGE = {
        "default": {
            **settings.GENESYS_EVENTBRIDGE["default"],
            "API_BASE_URL": url,
            "LOGIN_BASE_URL": url,
            "EXTRA_HEADERS": {"X-Gateway-Key": HEADER},
        }
    }


def taken(**row):
    columns = {"state": State.ACCEPTED, "remote_id": "evt-1", "accepted_at": DatabaseNow(-10), **row}
    return event("order.created", DATA, row=columns)


def staff(client, *codenames):
    user = get_user_model().objects.create_user(f"vera{len(codenames)}", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    return client


def seen(client, rows):
    """What the admin shows of events and of their destination, and what it exports."""
    pages = [
        reverse(f"admin:{APP}_outboxevent_changelist"),
        *(reverse(f"admin:{APP}_outboxevent_change", args=[row.pk]) for row in rows),
        reverse(f"admin:{APP}_outboxevent_dashboard"),
        reverse(f"admin:{APP}_destination_changelist"),
        reverse(f"admin:{APP}_destination_change", args=["default"]),
    ]
    found = {page: client.get(page, follow=True).content.decode() for page in pages}
    assert all(found.values())
    given = {"ids": ",".join(str(row.pk) for row in rows), "reason": "for the audit", "confirm": "1"}
    exported = client.post(reverse(f"admin:{APP}_outboxevent_act", args=["export"]), given)
    return found | {"export": b"".join(exported).decode()}


@pytest.mark.parametrize(
    "status", [0, 1, 200, 202, 302, 400, 401, 403, 404, 409, 413, 418, 422, 425, 429, 451, 500, 503]
)
def test_values_of_an_event_come_back_into_its_excerpts_and_nowhere_else(
    settings, client, left_behind, heard, status
):
    with SocketServer(Echo(status)) as server:
        configure(settings, server.url)
        rows = [event("order.created", DATA), taken()]
        relay.publish_due()
        Destination.objects.all().delete()
        with shifted(10):
            relay.check_accepted()
        printed = [run("show", str(row.pk)) for row in rows]
        printed += [run("status"), run("status", "--json"), run("publish"), run("poll")]

    assert DeliveryAttempt.objects.filter(kind="publish").exists()
    assert status < 2 or DeliveryAttempt.objects.filter(status_code=status).exists()
    assert heard
    values = VALUES | {HEADER}
    assert canary.found_in(left_behind(), values) == []
    assert (
        canary.found_in({"commands": "".join(one.out + one.err + one.error for one in printed)}, values) == []
    )
    assert canary.found_in({"signals": "\n".join(heard)}, values) == []
    if status > 1:
        excerpts = "".join(DeliveryAttempt.objects.values_list("response_excerpt", flat=True))
        assert MAIL in excerpts
        assert HEADER not in excerpts
    viewer = staff(client, "view_outboxevent", "view_destination", "export_event")
    assert canary.found_in(seen(viewer, rows), values) == []


def test_answers_are_shown_with_the_permission_for_payloads_only(settings, client):
    with SocketServer(Echo(400)) as server:
        configure(settings, server.url)
        row = event("order.created", DATA)
        relay.publish_due()
    page = reverse(f"admin:{APP}_outboxevent_change", args=[row.pk])

    without = staff(client, "view_outboxevent").get(page).content.decode()
    with_it = staff(client, "view_outboxevent", "view_event_payload").get(page).content.decode()

    assert canary.found_in({"page": without}, VALUES) == []
    assert with_it.count(MAIL) >= 2


def test_blanking_reaches_the_answers_and_the_errors(settings):
    """The masks know strings and numbers of 4 characters or more: what is shorter goes with the body."""
    row = event("order.created", DATA, row=ended(State.DELIVERED, finished_at=DatabaseNow(-10 * 86400)))
    OutboxEvent.objects.filter(pk=row.pk).update(
        last_error="Invalid 'Bo'", created_at=DatabaseNow(-10 * 86400)
    )
    DeliveryAttempt.objects.create(
        event=row,
        kind="publish",
        number=1,
        started_at=row.created_at,
        duration=0.1,
        verdict="unknown",
        error="Invalid 'Bo'",
        response_excerpt="Invalid 'Bo'",
    )

    assert retention.prune(settings_with(payload_retention_days=5.0)).blanked == 1

    tables = {name: text for name, text in canary.database().items() if APP in name}
    assert canary.found_in(tables, {"Bo'", *VALUES}) == []
    assert DeliveryAttempt.objects.get().verdict == "unknown"
