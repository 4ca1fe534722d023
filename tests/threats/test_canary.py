"""T2, T3, T4: a platform that repeats every credential it heard finds no way to leave one anywhere."""

import base64
import json
import logging
import pickle
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django_q.models import OrmQ, Task
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from genesys_eventbridge import conf, relay, schedules, wake
from genesys_eventbridge.client import auth
from genesys_eventbridge.db.clock import shifted
from genesys_eventbridge.models import DeliveryAttempt, Destination, OutboxEvent
from genesys_eventbridge.relay import worker
from genesys_eventbridge.sandbox import Sandbox, serve
from genesys_eventbridge.sandbox.hostile import TRICKS
from genesys_eventbridge.sandbox.options import Protocol
from genesys_eventbridge.states import State
from tests import canary
from tests.outbox_rows import accepted, event
from tests.prompt import run
from tests.socket_server import SocketServer, answer

pytestmark = pytest.mark.django_db(transaction=True)

CLIENT = "c4n4ry-client"
SECRET = "c4n4ry-s3cret/+=&%41 c0lon:"
TOKEN = "c4n4ry-t0ken.9f8e7d6c-5b4a~3+2/1=="
HOOK = "c4n4ry-w3bh00k~t0ken.5b4a"
BASIC = f"{CLIENT}:{SECRET}"
PAYLOAD = "c4n4ry-payl0ad"
MEMBERS = ("message", "code", "contextId", "error", "error_description", "description", "status", "title")
#: These must be nowhere.
SECRETS = canary.forms(SECRET, TOKEN, BASIC)


@pytest.fixture(autouse=True)
def _fresh_process():
    """Tokens and hints of other tests are forgotten, and those of this one afterwards."""
    auth._process.begin()
    wake.forget()
    yield
    auth._process.begin()
    wake.forget()


@pytest.fixture
def everything(caplog, capfd):
    """``everything()``: all that is left behind, by place. The root logger hears everything, too."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "httpx2", "httpcore2", "django.db.backends"):
        caplog.set_level(logging.DEBUG, logger=name)

    def look():
        printed, complained = capfd.readouterr()
        return {
            **canary.database(),
            **canary.queue(),
            **canary.caches(),
            "log": caplog.text,
            "log records": "\n".join(repr(vars(record)) for record in caplog.records),
            "mails": "\n".join(message.body for message in getattr(mail, "outbox", [])),
            "stdout": printed,
            "stderr": complained,
        }

    return look


def configure(settings, url, **changes):
    settings.GENESYS_EVENTBRIDGE = {
        "default": {
            **settings.GENESYS_EVENTBRIDGE["default"],
            "API_BASE_URL": url,
            "LOGIN_BASE_URL": url,
            "CLIENT_ID": CLIENT,
            "CLIENT_SECRET": SECRET,
            **changes,
        }
    }


def resumed():
    """No pause of the destination hides the next trick."""
    Destination.objects.all().delete()


def test_the_search_finds_what_is_left_behind(everything):
    """Or else its silence would prove nothing."""
    event("order.created", {"note": f"{SECRET} and more"})
    async_task("builtins.str", TOKEN, sync=True)
    async_task("builtins.str", f"{TOKEN}x")
    cache.set("token", TOKEN)
    logging.getLogger("anybody").debug("heard %s", base64.b64encode(BASIC.encode()).decode())
    logging.getLogger("anybody").debug("see extra", extra={"answer": SECRET})

    found = "\n".join(canary.found_in(everything(), SECRETS))

    cache.clear()
    for place in (
        "table genesys_eventbridge_outboxevent",
        "task results",
        "queued tasks",
        "cache",
        "log",
        "log rec",
    ):
        assert f"{place}" in found


class Echo:
    """A platform of which every answer repeats what it heard, at every place an answer has.

    ``status`` is what it answers to publish and status requests; tokens are given unless ``token_status``
    says otherwise.
    """

    def __init__(self, status=400, token_status=200):
        self.status, self.token_status = status, token_status
        self.heard = set()

    def __call__(self, talk):
        while request := talk.read_request():
            bearer = request.header("Authorization") or ""
            self.heard.add(bearer.partition(" ")[0])
            token = TOKEN if self.token_status == 200 else ""
            said = f"{bearer} {token} {SECRET} {BASIC} {request.body.decode()}"
            headers = [
                f"{name}: {bearer} {token} {SECRET}"
                for name in (
                    "ININ-Correlation-Id",
                    "X-Amz-Cf-Id",
                    "Location",
                    "WWW-Authenticate",
                    "Retry-After",
                )
            ]
            members = dict.fromkeys(MEMBERS, said)
            document: dict[str, Any] = {
                **members,
                "errors": [said, {"message": said}],
                "limit": {"key": said},
                said: said,
            }
            if request.target == "/oauth/token":
                given = {"access_token": TOKEN, "token_type": "bearer", "expires_in": 600}
                document = {**document, **(given if self.token_status == 200 else {})}
                talk.send(answer(self.token_status, document, *headers))
            else:
                talk.send(answer(self.status, {"id": TOKEN, **document}, *headers))


@pytest.mark.parametrize("status", [200, 202, 302, 400, 401, 403, 404, 409, 413, 429, 500, 503])
def test_an_echo_of_any_status_leaves_no_credential_behind(settings, everything, status):
    echo = Echo(status)
    with SocketServer(echo) as server:
        configure(settings, server.url)
        rows = [event("order.created", {"note": "x"}, subject=f"ORD-{number}") for number in range(2)]
        rows.append(accepted())
        relay.publish_due()
        resumed()
        relay.check_accepted()

    assert echo.heard == {"Basic", "Bearer"}
    assert DeliveryAttempt.objects.filter(status_code=status).exists()
    assert canary.found_in(everything(), SECRETS) == []
    for row in rows:
        assert canary.found_in({"show": run("show", str(row.pk), "--payload").out}, SECRETS) == []


@pytest.mark.parametrize("padding", [0, 60_000, 70_000, 900_000])
def test_an_echo_with_every_letter_escaped_leaves_no_credential_behind(settings, everything, padding):
    """JSON may write any letter as its number; a long answer is searched without being parsed again."""
    numbered = "".join(f"\\u{ord(letter):04x}" for letter in f"{SECRET} {TOKEN} {BASIC}")
    some = f"{SECRET} {TOKEN}".replace("4", "\\u0034")
    slashes = f"{SECRET} {TOKEN}".replace("/", "\\/")

    def script(talk):
        while request := talk.read_request():
            if request.target == "/oauth/token":
                talk.answer(200, {"access_token": TOKEN, "token_type": "bearer", "expires_in": 600})
            else:
                said = f'"{numbered}": "{some}", "message": "{slashes}", "padding": "{"x" * padding}"'
                talk.answer(400, f"{{{said}}}")

    with SocketServer(script) as server:
        configure(settings, server.url)
        event(), accepted()
        relay.publish_due()
        relay.check_accepted()

    excerpts = "".join(DeliveryAttempt.objects.values_list("response_excerpt", flat=True))
    assert "[redacted]" in excerpts
    assert (
        canary.found_in(
            everything() | {"excerpts": excerpts}, SECRETS | {numbered[:60], some[:20], slashes[:16]}
        )
        == []
    )


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 429, 500])
def test_an_echo_of_the_login_service_leaves_no_credential_behind(settings, everything, status):
    echo = Echo(202, token_status=status)
    with SocketServer(echo) as server:
        configure(settings, server.url)
        event()
        relay.publish_due()
        told = [run("ping"), run("status"), run("publish"), run("poll")]

    assert "Basic" in echo.heard
    assert Destination.objects.get().paused_reason or status == 200
    printed = {"commands": "".join(one.out + one.err + one.error for one in told)}
    assert canary.found_in(everything() | printed, SECRETS) == []


@pytest.mark.parametrize("endpoint", Protocol.EVENTBRIDGE.endpoints)
def test_no_trick_of_the_hostile_sandbox_leaves_a_credential_behind(settings, everything, endpoint):
    sandbox = Sandbox(deliver_after=0)
    bearers = set()

    def app(environ, start_response):
        bearers.add(environ.get("HTTP_AUTHORIZATION", "").partition(" ")[2])
        return sandbox(environ, start_response)

    with serve(app) as server:
        configure(settings, server.url, CHECK_DELAYS=[0.01], REQUEST_DEADLINE=5)
        for trick in TRICKS[endpoint]:
            sandbox.fail_next(trick, on=endpoint)
            event("order.created", {"trick": trick})
            if endpoint == "token":
                auth._process.begin()
            resumed()
            relay.publish_due()
            with shifted(10):
                relay.check_accepted()

    assert len(bearers - {""}) >= 2
    assert OutboxEvent.objects.count() == len(TRICKS[endpoint])
    assert canary.found_in(everything(), SECRETS | canary.forms(*bearers - {""})) == []


def test_no_trick_of_the_hostile_webhook_leaves_its_token_behind(settings, everything):
    sandbox = Sandbox(webhook_token=HOOK)
    with serve(sandbox) as server:
        settings.GENESYS_EVENTBRIDGE = {
            "default": {
                "PROTOCOL": "webhook",
                "API_BASE_URL": server.url,
                "WEBHOOK_TOKEN": HOOK,
                "SOURCE": "com.example.tests",
                "REQUEST_DEADLINE": 5,
            }
        }
        for trick in TRICKS["webhook"]:
            sandbox.fail_next(trick, on="webhook")
            event("order.created", {"trick": trick})
            resumed()
            relay.publish_due()
        told = [run("ping"), run("status"), run("publish")]

    assert DeliveryAttempt.objects.filter(error__contains="[redacted]").exists()  # echo-secret
    printed = {"commands": "".join(one.out + one.err + one.error for one in told)}
    assert canary.found_in(everything() | printed, canary.forms(HOOK)) == []


def test_nothing_of_an_event_but_its_attributes_is_logged_or_queued(settings, everything):
    """T5: from the commit to the delivery the payload is in the table of events and on the wire."""
    with serve(Sandbox(deliver_after=0)) as server:
        configure(settings, server.url, CHECK_DELAYS=[0.01])
        row = event("order.created", {"note": PAYLOAD}, subject="ORD-7")
        relay.publish_due()
        with shifted(10):
            relay.check_accepted()

    row.refresh_from_db()
    assert row.state == State.DELIVERED
    places = everything()
    assert PAYLOAD in places.pop("table genesys_eventbridge_outboxevent")
    # With DEBUG False Django logs no statement; the answers of an honest platform repeat no data.
    assert canary.found_in(places, {PAYLOAD}) == []


def test_django_q_keeps_nothing_but_names_and_numbers(settings, everything, monkeypatch):
    """T2, T21: queue and results of every task, also of those that met a broken setting."""
    monkeypatch.setattr(worker, "LINGER", 0)
    with SocketServer(Echo(500)) as server:
        configure(settings, server.url)
        schedules.install()
        wake.announce("default")
        event("order.created", {"note": PAYLOAD})
        queued = [SignedPackage.loads(one.payload) for one in OrmQ.objects.all()]
        for name in ("publish_all", "poll_all", "retry_all", "prune_all"):
            async_task(f"genesys_eventbridge.tasks.{name}", sync=True)
        configure(settings, server.url, MAX_ATTEMPTS=0)
        async_task("genesys_eventbridge.tasks.publish", "default", sync=True)

    assert queued
    assert {(task["func"], task["args"][0]) for task in queued} == {
        ("genesys_eventbridge.tasks.publish", "default")
    }
    assert {type(part) for task in queued for part in task["args"]} <= {str, int}
    assert {type(task.result) for task in Task.objects.all()} == {int}
    assert {task.success for task in Task.objects.all()} == {True}
    places = everything()
    assert canary.found_in(places, SECRETS) == []
    kept = {name: text for name, text in places.items() if "django_q" in name or "task" in name}
    assert len(kept) >= 5
    assert canary.found_in(kept, {PAYLOAD}) == []


def test_what_a_worker_holds_cannot_be_pickled_with_a_token_in_it(settings):
    """A task argument, a cache entry or a multiprocessing message would carry it away."""
    with SocketServer(Echo(202)) as server:
        configure(settings, server.url)
        credentials = auth.credentials_for(conf.destination().platform)
        relay_of_one = event()
        relay.publish_due()

        assert credentials.secrets
        with pytest.raises(TypeError):
            pickle.dumps(credentials)
        relay_of_one.refresh_from_db()
        assert canary.found_in({"row": json.dumps(str(vars(relay_of_one)))}, SECRETS) == []
