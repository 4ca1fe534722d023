"""The channels: e-mail, a signed webhook, a function; each bounded by a deadline."""

import base64
import datetime as dt
import hashlib
import hmac
import json
import os
import threading
import time

import pytest
from django.core.mail.backends.locmem import EmailBackend

from genesys_eventbridge import conf
from genesys_eventbridge.alerts import Notice
from genesys_eventbridge.alerts.channels import Attempt, NotSent, send
from tests import alerts
from tests.alerts import KEY, SECRET, alerting, received
from tests.certificates import Authority
from tests.socket_server import SocketServer, answer, replies

NOW = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)
CANARY = "canary"  # a frame that is logged shows its line, not its values
NOTICE = Notice(
    id="5c9b0f1e-0000-4000-8000-000000000001",
    destination="default",
    kind="dead",
    status="opened",
    title="default: dead events",
    message="5,000 events are dead.",
    at=NOW,
    since=NOW,
    number=5000,
    command="manage.py eventbridge_retry --state dead",
)
OPS = {"email": ["ops@example.com", "dev@example.com"]}


def attempt(given, channel, *, seconds=10.0, **settings):
    with alerting(given, **settings):
        found = conf.destination().alerts
        assert found is not None
        send(channel, Attempt("default", found, NOTICE, seconds))


# ------------------------------------------------------------------------------------- e-mail


def test_an_email_goes_to_the_list(mailoutbox, settings):
    settings.DEFAULT_FROM_EMAIL = "shop@example.com"
    settings.EMAIL_SUBJECT_PREFIX = "[shop] "
    attempt(OPS, "email")

    (mail,) = mailoutbox
    assert (mail.to, mail.from_email) == (OPS["email"], "shop@example.com")
    assert mail.subject == "[shop] default: dead events"
    assert mail.body == NOTICE.as_text()
    assert mail.extra_headers["Message-ID"] == f"<{NOTICE.id}@genesys-eventbridge.invalid>"


@pytest.mark.parametrize("admins", [["ana@example.com"], [("Ana", "ana@example.com")]])
def test_an_email_goes_to_the_admins_in_both_forms_of_django(admins, mailoutbox, settings):
    settings.ADMINS = admins
    settings.SERVER_EMAIL = "server@example.com"
    attempt({"email": "admins"}, "email")

    assert (mailoutbox[0].to, mailoutbox[0].from_email) == (["ana@example.com"], "server@example.com")


def test_no_admins_is_an_error_that_says_what_to_set(settings):
    settings.ADMINS = []
    with pytest.raises(NotSent, match="ADMINS is empty") as error:
        attempt({"email": "admins"}, "email")

    assert "ops@example.com" in error.value.remedy


def test_a_mail_server_that_refuses_is_an_error_in_its_own_words(monkeypatch):
    monkeypatch.setattr(EmailBackend, "send_messages", _refuse)
    with pytest.raises(NotSent, match=r"ConnectionRefusedError: .*111"):
        attempt(OPS, "email")


def _refuse(*_):
    raise ConnectionRefusedError(111, "Connection refused")


@pytest.mark.parametrize(("own", "used"), [(None, 10.0), (3, 3)])
def test_a_mail_backend_without_a_timeout_gets_one(own, used, monkeypatch):
    seen = []

    def sent(self, messages):
        seen.append(self.timeout)
        return len(messages)

    monkeypatch.setattr(EmailBackend, "timeout", own, raising=False)
    monkeypatch.setattr(EmailBackend, "send_messages", sent)
    attempt(OPS, "email")

    assert seen == [used]


# ------------------------------------------------------------------------------------- webhook


def verified(request, key=KEY) -> dict:
    """The message, checked as standardwebhooks.com describes it, with nothing of ours."""
    signed = f"{request.header('webhook-id')}.{request.header('webhook-timestamp')}.".encode() + request.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    signatures = (request.header("webhook-signature") or "").split(" ")
    assert any(hmac.compare_digest(each, f"v1,{expected}") for each in signatures)
    assert abs(time.time() - int(request.header("webhook-timestamp") or 0)) < 300
    document: dict = json.loads(request.body)
    return document


def test_the_signature_follows_the_example_of_the_specification():
    """The example of standardwebhooks.com."""
    from genesys_eventbridge.client.webhooks import signed_headers

    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', key)

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_webhook_gets_signed_json():
    with SocketServer(replies(answer(204))) as server:
        attempt({"webhook": f"{server.url}/hooks/token-canary?x=1", "secret": SECRET}, "webhook")
        (request,) = server.requests

    assert (request.method, request.target) == ("POST", "/hooks/token-canary?x=1")
    assert request.header("webhook-id") == NOTICE.id
    assert request.header("Content-Type") == "application/json"
    document = verified(request)
    assert document["type"] == "genesys_eventbridge.alert.opened"
    assert document["data"]["number"] == 5000
    with pytest.raises(AssertionError):
        verified(request, key=b"another key, as long as 24 bytes")


def test_each_attempt_is_signed_anew_under_the_same_id(monkeypatch):
    with SocketServer(replies(answer(204))) as server:
        for at in (1_700_000_000, 1_700_000_060):
            monkeypatch.setattr("genesys_eventbridge.alerts.channels.webhook.time.time", lambda at=at: at)
            attempt({"webhook": server.url, "secret": SECRET}, "webhook")
    one, other = server.requests

    assert one.header("webhook-id") == other.header("webhook-id")
    assert one.body == other.body
    assert one.header("webhook-timestamp") != other.header("webhook-timestamp")
    assert one.header("webhook-signature") != other.header("webhook-signature")


def test_url_and_secret_may_be_callables():
    with SocketServer(replies(answer(204))) as server:
        attempt({"webhook": lambda: server.url, "secret": lambda: SECRET}, "webhook")

    verified(server.requests[0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"webhook": "https://a.example", "secret": lambda: "secret-canary"},
            "secret of ALERTS must be whsec_",
        ),
        ({"webhook": lambda: "ftp://canary", "secret": SECRET}, "webhook of ALERTS must be an https URL"),
        (
            {"webhook": "https://a.example", "secret": lambda: os.environ[CANARY]},
            "its callable raised KeyError",
        ),
    ],
    ids=["secret", "url", "raises"],
)
def test_a_callable_that_returns_nonsense_is_named_and_its_value_is_not_shown(given, message, caplog):
    with pytest.raises(NotSent, match=message) as error:
        attempt(given, "webhook")

    assert "canary" not in str(error.value) + error.value.remedy + caplog.text


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(302, "final URL"), (401, "secret"), (404, "URL"), (500, "log"), (429, "log")],
)
def test_an_answer_other_than_success_is_a_failure_that_says_what_to_do(status, remedy):
    with SocketServer(replies(answer(status, b"secret-canary", "Location: /elsewhere"))) as server:
        with pytest.raises(NotSent, match=f"^HTTP {status}$") as error:
            attempt({"webhook": server.url, "secret": SECRET}, "webhook")

        assert len(server.requests) == 1  # no redirect is followed
    assert remedy in error.value.remedy


def test_a_webhook_that_cannot_be_reached_shows_no_secret_of_its_url(caplog):
    with pytest.raises(NotSent, match="ConnectError") as error:
        attempt({"webhook": "http://127.0.0.1:1/token-canary?key=canary", "secret": SECRET}, "webhook")

    assert "canary" not in str(error.value) + error.value.remedy + caplog.text


def test_a_server_that_echoes_the_url_puts_no_secret_into_the_error():
    """Its answer is not HTTP, and the error quotes it."""

    def echo(talk):
        talk.read_request()
        talk.send(b"NO token-canary\r\n\r\n")

    with SocketServer(echo) as server, pytest.raises(NotSent, match="RemoteProtocolError") as error:
        attempt({"webhook": f"{server.url}/token-canary", "secret": SECRET}, "webhook")

    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    "script",
    [lambda talk: talk.stall(), lambda talk: talk.drip(b"HTTP/1.1 204 ", b"A")],
    ids=["says nothing", "drips"],
)
def test_a_webhook_that_takes_too_long_is_given_up_in_time(script):
    with SocketServer(script) as server, pytest.raises(NotSent, match=r"Timeout|not done within"):
        attempt({"webhook": server.url, "secret": SECRET}, "webhook", seconds=0.3)


def test_a_webhook_needs_a_certificate_that_is_trusted(tmp_path):
    import ssl

    authority = Authority(tmp_path)
    context = authority.server(ssl.TLSVersion.TLSv1_3, client_ca=None)
    with SocketServer(replies(answer(204)), tls=context) as server:
        given = {"webhook": server.url, "secret": SECRET}
        with pytest.raises(NotSent, match="certificate verify failed"):
            attempt(given, "webhook")
        attempt(given, "webhook", CA_BUNDLE=authority.certificate)

    assert len(server.requests) == 1


def test_a_webhook_goes_by_the_proxy_of_the_destination():
    with SocketServer(replies(answer(204))) as server:
        given = {"webhook": "http://127.0.0.1:1/hook", "secret": SECRET}
        hosts = dict.fromkeys(("API_BASE_URL", "LOGIN_BASE_URL"), "https://127.0.0.1:1")
        attempt(given, "webhook", PROXY=server.url, **hosts)

    assert server.requests[0].target == "http://127.0.0.1:1/hook"


# ------------------------------------------------------------------------------------- function


def test_a_function_gets_the_notice():
    attempt("tests.alerts.receive", "function")

    assert received == [NOTICE]


def test_a_function_may_be_the_callable_itself():
    got: list[Notice] = []
    attempt({"function": got.append}, "function")

    assert got == [NOTICE]


def test_a_function_that_cannot_be_imported_is_named():
    with pytest.raises(NotSent, match=r"shop\.nothing\.here cannot be imported"):
        attempt("shop.nothing.here", "function")


def test_what_a_function_raises_is_for_the_operator_who_tests_it(monkeypatch):
    def receive(notice):
        raise ValueError("no channel #ops")

    monkeypatch.setattr(alerts, "receive", receive)
    with pytest.raises(NotSent, match=r"^it raised ValueError$") as error:
        attempt("tests.alerts.receive", "function")

    assert error.value.detail == "no channel #ops"


def test_a_function_that_hangs_is_left_to_itself_and_not_begun_again(monkeypatch):
    gate, begun = threading.Event(), []

    def receive(notice):
        begun.append(notice)
        gate.wait(60)

    monkeypatch.setattr(alerts, "receive", receive)
    with pytest.raises(NotSent, match=r"not done within 0\.05 s"):
        attempt("tests.alerts.receive", "function", seconds=0.05)
    with pytest.raises(NotSent, match="an earlier attempt has not ended yet"):
        attempt("tests.alerts.receive", "function")
    assert len(begun) == 1
    hanging = [each for each in threading.enumerate() if each.name.startswith("eventbridge-alert-")]
    gate.set()
    for thread in hanging:
        thread.join(60)
    attempt("tests.alerts.receive", "function")

    assert len(begun) == 2
