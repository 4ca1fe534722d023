"""Headers, proxies and tokens of the client: read when they are used, shown in no text that comes back."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import httpx
import pytest

from genesys_eventbridge.client import http
from genesys_eventbridge.client.auth import ClientCredentials
from genesys_eventbridge.client.sender import Sender
from genesys_eventbridge.cloudevents import build_event
from genesys_eventbridge.platform import config
from genesys_eventbridge.platform.config import Platform
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Sent, Verdict
from tests.canary import found_in
from tests.socket_server import SocketServer, answer, replies

KEY = "5b6e1f7c-6f0c-4a53-9a59-1d6a1f0e3b11"
MAIL = "jane.c4n4ry@example.com"
EVENT = build_event("order.created", {"mail": MAIL}, source="com.example.shop", subject="A-1")
BODY = EVENT.encode()
SENT = Sent(EVENT.id, EVENT.source, EVENT.type, "A-1", body=EVENT.encode())
HEADER = "c4n4ry-h34der/+=&%41"
LOGIN = "c4n4ry-us3r"
PASSWORD = "c4n4ry pr0xy:@/"
PROXY_LOGIN = f"{LOGIN}:c4n4ry%20pr0xy%3A%40%2F"
TOKEN = answer(200, {"access_token": "token-0123456789", "token_type": "bearer", "expires_in": 3600})
TAKEN = answer(202, {"id": "evt-1", "status": "accepted"})


@pytest.fixture
def login() -> Iterator[SocketServer]:
    with SocketServer(replies(TOKEN)) as server:
        yield server


@pytest.fixture
def http_through_a_proxy(monkeypatch) -> None:
    """The settings refuse it; here it lets a gateway without TLS see what a proxy is sent."""
    monkeypatch.setattr(config, "contradictions", lambda *_settings: ())


def made(api: str, login: str, **settings) -> Sender:
    platform = Platform(
        **{
            "api_base_url": api,
            "login_base_url": login,
            "client_id": "some-client",
            "client_secret": "some-secret-0123",
            **settings,
        }
    )
    return Sender(platform, ClientCredentials(platform))


def published(sender: Sender) -> Outcome:
    return sender.publish(BODY, KEY, SENT)


class Vault:
    """A callable that returns the next value at each call; an exception is raised. The last one repeats."""

    def __init__(self, *values: object) -> None:
        self.values = list(values)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        value = self.values.pop(0) if len(self.values) > 1 else self.values[0]
        if isinstance(value, Exception):
            raise value
        return value  # type: ignore[return-value]


def test_a_header_that_is_a_callable_is_read_once_and_again_after_a_refusal(login):
    vault = Vault("first-key", "second-key")
    with SocketServer(replies(TAKEN, TAKEN, answer(403, b""), TAKEN)) as api:
        sender = made(api.url, login.url, extra_headers={"X-Gateway-Key": vault})
        outcomes = [published(sender).verdict for _ in range(4)]
        sender.close()

        assert outcomes == [Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.HALTED, Verdict.ACCEPTED]
        keys = [request.header("X-Gateway-Key") for request in api.requests]
        assert keys == ["first-key"] * 3 + ["second-key"]
        assert vault.calls == 2


def test_all_headers_may_come_from_one_callable_and_none_comes_back(login):
    vault = Vault({"X-Gateway-Key": "c4n4ry-first"}, {"X-Gateway-Key": lambda: "c4n4ry-second"})
    refusal = {"message": "no such key: c4n4ry-first, c4n4ry-second", "code": "not.authorized"}
    with SocketServer(replies(TAKEN, answer(403, refusal), TAKEN, answer(403, refusal))) as api:
        sender = made(api.url, login.url, extra_headers=vault)
        outcomes = [published(sender) for _ in range(4)]
        sender.close()

        keys = [request.header("X-Gateway-Key") for request in api.requests]
    assert keys == ["c4n4ry-first"] * 2 + ["c4n4ry-second"] * 2
    assert "c4n4ry-first" not in outcomes[1].error
    assert "c4n4ry" not in outcomes[3].error + outcomes[3].excerpt


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (LookupError("c4n4ry"), "EXTRA_HEADERS raised LookupError"),
        (None, "EXTRA_HEADERS must be a dict"),
        (["c4n4ry"], "EXTRA_HEADERS must be a dict"),
        ({"c4n4ry: x": "c4n4ry"}, "EXTRA_HEADERS must be a dict whose keys are header names"),
        ({"Authorization": "c4n4ry"}, "EXTRA_HEADERS must be a dict without Authorization"),
        ({"X-Gateway-Key": "c4n4ry\n"}, "EXTRA_HEADERS must be a dict whose values are printable ASCII"),
    ],
)
def test_headers_that_cannot_be_read_halt_by_their_name_and_nothing_is_sent(login, value, reason):
    with SocketServer(replies(TAKEN)) as api:
        sender = made(api.url, login.url, extra_headers=Vault(value))
        outcome = published(sender)
        sender.close()

        assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, Halt.CONFIG)
        assert f"Nothing was sent: {reason}" in outcome.error
        assert "c4n4ry" not in outcome.error
        assert api.requests == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (LookupError("c4n4ry"), "raised LookupError"),
        (ValueError("EXTRA_HEADERS['X-Gateway-Key'] c4n4ry"), "raised ValueError"),
        ("c4n4ry\n", "must be printable ASCII"),
        ("", "must be printable ASCII"),
        (None, "must be printable ASCII"),
        (5, "must be printable ASCII"),
    ],
)
def test_a_header_that_cannot_be_read_halts_by_its_name_and_nothing_is_sent(login, value, reason):
    with SocketServer(replies(TAKEN)) as api:
        sender = made(api.url, login.url, extra_headers={"X-Gateway-Key": Vault(value)})
        outcome = published(sender)
        sender.close()

        assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, Halt.CONFIG)
        assert outcome.error.startswith("Nothing was sent: EXTRA_HEADERS['X-Gateway-Key'] ")
        assert reason in outcome.error
        assert "c4n4ry" not in outcome.error
        assert api.requests == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (LookupError("c4n4ry"), "PROXY raised LookupError"),
        (ValueError("PROXY c4n4ry"), "PROXY raised ValueError"),
        ("c4n4ry", "PROXY must be a URL"),
        ("http://user:c4n4ry@[::1", "PROXY must be a URL"),
        (5, "PROXY must be a URL"),
    ],
)
def test_a_proxy_that_cannot_be_read_halts_by_its_name_and_nothing_is_sent(login, value, reason):
    with SocketServer(replies(TAKEN)) as api:
        sender = made(api.url, login.url, proxy=Vault(value))
        outcome = published(sender)
        sender.close()

        assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, Halt.CONFIG)
        assert f"Nothing was sent: {reason}" in outcome.error
        assert "c4n4ry" not in outcome.error
        assert api.requests == []


def test_http_through_a_proxy_that_a_callable_returns_is_refused(login):
    """It would read the secret."""
    with SocketServer(replies(TAKEN)) as api:
        sender = made(api.url, login.url, proxy=lambda: "http://proxy.example:3128")
        outcome = published(sender)
        sender.close()

    assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, Halt.CONFIG)
    assert "PROXY would read CLIENT_SECRET" in outcome.error
    assert api.requests == []


@pytest.mark.usefixtures("http_through_a_proxy")
def test_a_proxy_that_is_a_callable_is_read_for_a_connection_and_again_after_a_refused_login(login):
    refusal = answer(407, b"")
    with SocketServer(replies(TAKEN, refusal)) as old, SocketServer(replies(TAKEN)) as new:
        vault = Vault(old.url, new.url)
        platform = Platform(
            api_base_url="http://127.0.0.1:1",
            login_base_url=login.url,
            client_id="some-client",
            client_secret="some-secret-0123",
            proxy=vault,
        )
        credentials = ClientCredentials(
            Platform(
                api_base_url=login.url,
                login_base_url=login.url,
                client_id="some-client",
                client_secret="some-secret-0123",
            )
        )
        sender = Sender(platform, credentials)
        outcomes = [published(sender).verdict for _ in range(3)]
        sender.close()

        assert outcomes == [Verdict.ACCEPTED, Verdict.HALTED, Verdict.ACCEPTED]
        assert (len(old.requests), len(new.requests), vault.calls) == (2, 1, 2)


def test_a_proxy_that_is_none_by_its_callable_is_none(login):
    with SocketServer(replies(TAKEN)) as api:
        sender = made(api.url, login.url, proxy=Vault(None))

        assert published(sender).verdict is Verdict.ACCEPTED
        sender.close()


def echoing(status: int):
    """A gateway that repeats every header and the body, in its page and in its own headers."""

    def script(talk) -> None:
        while request := talk.read_request():
            heard = [f"{name}: {text}" for name, text in request.headers]
            document = {
                "message": f"Invalid value '{MAIL}': {' '.join(heard)}",
                "code": heard[-1],
                "contextId": heard[-1],
                "detail": f"no such mail: {MAIL}",
                "errors": [*heard, {"message": request.body.decode()}],
            }
            talk.send(answer(status, document, f"X-Amz-Cf-Id: {heard[-1]}", f"Location: //{MAIL}/{HEADER}"))

    return script


@pytest.mark.usefixtures("http_through_a_proxy")
@pytest.mark.parametrize("as_callable", [False, True], ids=["text", "callable"])
@pytest.mark.parametrize("status", [200, 202, 302, 400, 401, 403, 404, 407, 409, 413, 425, 429, 500, 503])
def test_no_answer_brings_back_a_header_a_proxys_login_or_a_value(login, status, as_callable):
    with SocketServer(echoing(status)) as gateway:
        proxy = gateway.url.replace("//", f"//{PROXY_LOGIN}@")
        sender = Sender(
            Platform(
                api_base_url="http://127.0.0.1:1",
                login_base_url=login.url,
                client_id="some-client",
                client_secret="some-secret-0123",
                extra_headers={"X-Gateway-Key": Vault(HEADER) if as_callable else HEADER, "X-Env": "test"},
                proxy=Vault(proxy) if as_callable else proxy,
            ),
            ClientCredentials(
                Platform(
                    api_base_url=login.url,
                    login_base_url=login.url,
                    client_id="some-client",
                    client_secret="some-secret-0123",
                )
            ),
        )
        outcomes = [published(sender), sender.check("evt-1", sent=SENT, age=1.0)]
        sender.close()

        assert len(gateway.requests) >= 2
        assert gateway.requests[0].header("Proxy-Authorization")
    basic = base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()
    secrets = {HEADER, PASSWORD, PROXY_LOGIN, basic, "c4n4ry%20pr0xy"}
    for outcome in outcomes:
        assert MAIL not in repr(outcome)  # an error report shows it
        texts = {"error": outcome.error, "excerpt": outcome.excerpt, "id": outcome.correlation_id}
        assert found_in(texts | {"remote": outcome.remote_id, "repr": repr(outcome)}, secrets) == []
        assert found_in({"error": outcome.error, "id": outcome.correlation_id}, {MAIL, "c4n4ry"}) == []
        assert MAIL in outcome.excerpt
        assert "test" in outcome.excerpt


@pytest.mark.parametrize("parser", ["h11", "httptools"])
def test_a_platform_that_breaks_http_brings_no_value_and_no_secret_into_the_error(login, monkeypatch, parser):
    """h11 quotes the line that it cannot read; httptools says what is wrong with it."""
    if parser == "h11":
        monkeypatch.setattr(http, "httptools", None)
    lines = f"HTTP/1.1 200 OK\r\nX-Echo {MAIL} {HEADER} j\u00e4ne\r\n\r\n"
    with SocketServer(replies(lines.encode())) as api:
        sender = made(api.url, login.url, extra_headers={"X-Gateway-Key": HEADER})
        outcomes = [published(sender), sender.check("evt-1", sent=SENT)]
        sender.close()

    for outcome in outcomes:
        assert "RemoteProtocolError" in outcome.error
        assert "[redacted]" in outcome.error or http.httptools is not None
        assert "c4n4ry" not in outcome.error


@pytest.mark.usefixtures("http_through_a_proxy")
def test_a_proxy_that_refuses_a_tunnel_in_our_words_brings_no_login_into_the_error(login):
    refusal = f"HTTP/1.1 403 no tunnel for {PROXY_LOGIN}\r\nContent-Length: 0\r\n\r\n"
    with SocketServer(replies(refusal.encode())) as middle:
        proxy = middle.url.replace("//", f"//{PROXY_LOGIN}@")
        sender = Sender(
            Platform(
                api_base_url="https://api.example.invalid",
                login_base_url=login.url,
                client_id="some-client",
                client_secret="some-secret-0123",
                proxy=proxy,
            ),
            ClientCredentials(
                Platform(
                    api_base_url=login.url,
                    login_base_url=login.url,
                    client_id="some-client",
                    client_secret="some-secret-0123",
                )
            ),
        )
        outcome = published(sender)
        sender.close()

    assert outcome.verdict is Verdict.HALTED
    assert "[redacted]" in outcome.error
    assert "c4n4ry" not in outcome.error


@pytest.mark.parametrize("name", ["X-Gateway-Key", "Api-Token", "X-Auth", "X-Signature"])
def test_a_short_value_of_a_header_for_credentials_is_masked_as_a_whole_word(login, name):
    refusal = answer(400, {"message": "no pa55 for bypa55", "code": "bad.request"})
    with SocketServer(replies(refusal)) as api:
        sender = made(api.url, login.url, extra_headers={name: "pa55"})
        error = published(sender).error
        sender.close()

    assert "no [redacted] for bypa55." in error


@pytest.mark.parametrize("written", ["cGE1NQ==", "cGE1NQ", "cGE1NQ%3D%3D", "70613535", "&#112;a55", "%70a55"])
def test_a_short_secret_is_masked_as_a_word_in_other_spellings(login, written):
    refusal = answer(400, {"message": f"no {written} here", "code": "bad.request"})
    with SocketServer(replies(refusal)) as api:
        sender = made(api.url, login.url, extra_headers={"X-Gateway-Key": "pa55"})
        outcome = published(sender)
        sender.close()

    assert "no [redacted]" in outcome.error
    assert written.rstrip("=") not in outcome.error + outcome.excerpt


def test_a_short_value_of_another_header_spoils_no_words(login):
    refusal = answer(400, {"message": "this is true of prod: 1 is wrong", "code": "bad.request"})
    headers = {"X-Debug": "true", "X-Env": "prod", "X-Version": "1", "X-Key": "1"}
    with SocketServer(replies(refusal)) as api:
        sender = made(api.url, login.url, extra_headers=headers)
        error = published(sender).error
        sender.close()

    assert "this is true of prod: 1 is wrong." in error


def test_a_token_that_was_replaced_and_a_secret_that_was_rotated_stay_hidden():
    """The old ones may come back late, in the very refusal that made us replace them."""
    old, new = "c4n4ry-old-t0ken", "c4n4ry-new-t0ken"
    secrets = Vault("c4n4ry-old-s3cret", "c4n4ry-new-s3cret")

    def answered(request: httpx.Request) -> httpx.Response:
        authorization = request.headers["Authorization"]
        if request.url.path == "/oauth/token":
            token = old if secrets.calls == 1 else new
            return httpx.Response(200, json={"access_token": token, "token_type": "bearer"})
        if authorization == f"Bearer {old}":
            return httpx.Response(401)
        words = f"{old} {new} c4n4ry-old-s3cret c4n4ry-new-s3cret"
        return httpx.Response(400, json={"message": words, "code": "bad.request"})

    platform = Platform(
        api_base_url="https://api.example.invalid",
        login_base_url="https://login.example.invalid",
        client_id="some-client",
        client_secret=secrets,
    )
    sender = Sender(platform, ClientCredentials(platform), transport=httpx.MockTransport(answered))
    outcome = published(sender)

    assert secrets.calls == 2
    assert "bad.request" in outcome.error
    assert "c4n4ry" not in outcome.error + outcome.excerpt


def test_a_refresh_that_fails_shows_neither_the_refused_token_nor_the_secret():
    old = "c4n4ry-old-t0ken"
    granted = [httpx.Response(200, json={"access_token": old, "token_type": "bearer"})]
    refused = httpx.Response(400, json={"error": "invalid_request", "error_description": f"seen {old}"})

    def answered(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth/token":
            return granted.pop() if granted else refused
        return httpx.Response(401)

    platform = Platform(
        api_base_url="https://api.example.invalid",
        login_base_url="https://login.example.invalid",
        client_id="some-client",
        client_secret="some-secret-0123",
    )
    sender = Sender(platform, ClientCredentials(platform), transport=httpx.MockTransport(answered))
    error = published(sender).error

    assert "seen [redacted]" in error


def test_the_platforms_words_are_masked_and_ours_and_its_codes_are_not(login):
    """Also where the data of the event reads like our own sentence, a code or a limit."""
    ours = "The event is too large for the platform. Set MAX_EVENT_BYTES to at most 512000"
    data = {"code": "request.entity.too.large", "limit": 512000, "ours": ours, "too": "large", "http": "HTTP"}
    event = build_event("order.created", data, source="com.example.shop")
    refusal = {
        "message": "Content-Length: 4711, Maximum bytes: 512000 for 512000",
        "code": "request.entity.too.large",
        "status": 413,
    }
    with SocketServer(replies(answer(413, refusal))) as api:
        sender = made(api.url, login.url)
        error = sender.publish(event.encode(), KEY, SENT).error
        sender.close()

    assert error.startswith(
        "HTTP 413 (request.entity.too.large): Content-Length: 4711, Maximum bytes: 512000 for [redacted]. "
        "The event is too large for the platform. Set MAX_EVENT_BYTES to at most 512000"
    )


def test_an_id_that_reads_like_a_value_of_the_event_is_an_id(login):
    event = build_event("order.created", {"order": "ORD-12345"}, source="com.example.shop")
    with SocketServer(replies(answer(202, {"id": "ORD-12345"}))) as api:
        sender = made(api.url, login.url)
        outcome = sender.publish(event.encode(), KEY, SENT)
        sender.close()

    assert (outcome.verdict, outcome.remote_id) == (Verdict.ACCEPTED, "ORD-12345")


def test_a_correlation_id_that_repeats_a_value_is_masked_and_a_uuid_is_not(login):
    number = "8c3f1f6a-58f3-4f13-9a53-0e3a7a6f6b11"
    event = build_event("order.created", {"mail": MAIL, "id": number}, source="com.example.shop")
    answers = [answer(202, {"id": "e-1"}, f"ININ-Correlation-Id: {text}") for text in (f"for {MAIL}", number)]
    with SocketServer(replies(*answers)) as api:
        sender = made(api.url, login.url)
        found = [sender.publish(event.encode(), KEY, SENT).correlation_id for _ in answers]
        sender.close()

    assert found == ["for [redacted]", number]


def test_a_body_of_json_within_a_message_is_masked(login):
    refusal = {"message": "cannot read " + json.dumps(BODY), "code": "bad.request"}
    with SocketServer(replies(answer(400, refusal))) as api:
        sender = made(api.url, login.url)
        error = published(sender).error
        sender.close()

    assert "cannot read" in error
    assert "c4n4ry" not in error
