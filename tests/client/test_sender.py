"""A Sender says exactly what it was given, ends in time, and turns whatever happens into an Outcome."""

from __future__ import annotations

import gzip
import json
import logging
import multiprocessing
import ssl
import sys
from collections.abc import Callable, Iterator

import httpx
import pytest

from genesys_eventbridge.client.auth import ClientCredentials, credentials_for
from genesys_eventbridge.client.sender import Sender
from genesys_eventbridge.client.transport import DEADLINE, MAX_ANSWER_BYTES
from genesys_eventbridge.cloudevents import build_event
from genesys_eventbridge.platform.config import Platform
from genesys_eventbridge.platform.outcomes import Halt, Sent, Verdict
from genesys_eventbridge.platform.protocols import EventBridge, Webhook
from tests.socket_server import HANG, Conversation, Script, SocketServer, answer, replies, self_signed

KEY = "5b6e1f7c-6f0c-4a53-9a59-1d6a1f0e3b11"
EVENT = build_event("order.created", {"name": "Zoë 😀"}, source="com.example.shop", subject="A-1")
BODY = EVENT.encode()
SENT = Sent(EVENT.id, EVENT.source, EVENT.type, "A-1")
TAKEN = {"id": "evt-1", "source": "com.example.shop", "type": "order.created", "status": "accepted"}
TOKEN = answer(200, {"access_token": "token-0123456789", "token_type": "bearer", "expires_in": 3600})


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    made = self_signed(tmp_path_factory.mktemp("tls"))
    if made is None:
        pytest.skip("the openssl program is not installed")
    return made


@pytest.fixture
def login() -> Iterator[SocketServer]:
    with SocketServer(replies(TOKEN)) as server:
        yield server


def made(api: SocketServer | str, login: SocketServer | str, **settings) -> Sender:
    platform = Platform(
        **{
            "api_base_url": api if isinstance(api, str) else api.url,
            "login_base_url": login if isinstance(login, str) else login.url,
            "client_id": "some-client",
            "client_secret": "some-secret-0123",
            **settings,
        }
    )
    return Sender(platform, ClientCredentials(platform))


def after_request(act: Callable[[Conversation], object]) -> Script:
    def script(talk: Conversation) -> None:
        talk.read_request()
        act(talk)

    return script


def test_a_publish_is_these_bytes_and_these_headers(login):
    with SocketServer(replies(answer(202, TAKEN))) as api:
        sender = made(api, login, extra_headers={"X-Gateway": "a b"})
        outcome = sender.publish(BODY, KEY, SENT)
        sender.close()

        assert (outcome.verdict, outcome.remote_id) == (Verdict.ACCEPTED, "evt-1")
        request = api.requests[0]
        assert (request.method, request.target) == ("POST", "/api/v2/eventbridge/events")
        assert request.body.decode() == BODY
        agent = dict(request.headers).pop("User-Agent")
        assert agent.split("/")[0] == "genesys-eventbridge"
        assert f" {httpx.__name__}/{httpx.__version__} python/3" in agent
        assert sorted(request.headers) == sorted(
            {
                "Host": f"127.0.0.1:{api.port}",
                "User-Agent": agent,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Content-Type": "application/cloudevents+json",
                "X-Gateway": "a b",
                "Idempotency-Key": KEY,
                "Content-Length": str(len(BODY.encode())),
                "Authorization": "Bearer token-0123456789",
            }.items()
        )


def test_a_check_is_a_get_of_one_segment(login):
    with SocketServer(replies(answer(200, {"id": "a/../b?c", "status": "delivered"}))) as api:
        sender = made(f"{api.url}/gateway", login)
        outcome = sender.check("a/../b?c", age=1.0)
        sender.close()

        assert outcome.verdict is Verdict.DELIVERED
        request = api.requests[0]
        assert (request.method, request.body) == ("GET", b"")
        assert request.target == "/gateway/api/v2/eventbridge/events/a%2F..%2Fb%3Fc"
        for absent in ("Idempotency-Key", "Content-Type", "Content-Length", "Transfer-Encoding"):
            assert request.header(absent) is None


def test_names_and_paths_are_settings(login):
    with SocketServer(replies(answer(202, TAKEN))) as api:
        sender = made(
            api, login, events_path="/ingest", idempotency_header="X-Once", content_type="application/json"
        )
        sender.publish(BODY, KEY, SENT)
        sender.close()

        request = api.requests[0]
        assert request.target == "/ingest"
        assert (request.header("X-Once"), request.header("Content-Type")) == (KEY, "application/json")


def test_one_connection_serves_a_sender(login):
    with SocketServer(replies(answer(202, TAKEN))) as api:
        sender = made(api, login)
        for _ in range(3):
            assert sender.publish(BODY, KEY, SENT).verdict is Verdict.ACCEPTED
        sender.close()

        assert (len(api.requests), api.connections, len(login.requests)) == (3, 1, 1)


def test_a_401_is_followed_by_one_refresh_and_the_same_key_and_bytes(login):
    with SocketServer(replies(answer(401), answer(202, TAKEN))) as api:
        sender = made(api, login)
        assert sender.publish(BODY, KEY, SENT).verdict is Verdict.ACCEPTED
        sender.close()

        first, second = api.requests
        assert (first.body, first.header("Idempotency-Key")) == (
            second.body,
            second.header("Idempotency-Key"),
        )
        assert len(login.requests) == 2


def test_a_401_for_ever_halts_and_is_no_storm(login):
    with SocketServer(replies(answer(401))) as api:
        sender = made(api, login)
        outcomes = [sender.publish(BODY, KEY, SENT) for _ in range(5)]
        sender.close()

        assert {(outcome.verdict, outcome.halt) for outcome in outcomes} == {(Verdict.HALTED, Halt.AUTH)}
        assert len(login.requests) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("ask", ["publish", "check", "token"])
def test_a_redirect_goes_nowhere(login, ask, status):
    """httpx would turn the POST into a GET, end at a 200 elsewhere, and take the bearer along."""
    taken = answer(200, TAKEN | {"status": "delivered"})
    with SocketServer(replies(taken)) as target:
        away = replies(answer(status, b"", f"Location: {target.url}/x"))
        with SocketServer(away) as away_server:
            sender = made(away_server, away_server if ask == "token" else login)
            outcome = sender.check("evt-1") if ask == "check" else sender.publish(BODY, KEY, SENT)
            sender.close()

        assert target.connections == 0
        assert outcome.verdict is (Verdict.NOT_YET if ask == "check" else Verdict.HALTED)


HEAD = b"HTTP/1.1 %d X\r\nContent-Length: 900000\r\n\r\n"
COMPRESSED = ("Content-Encoding: gzip",)


@pytest.mark.parametrize(
    ("act", "verdict"),
    [
        (
            lambda talk: talk.answer(202, gzip.compress(json.dumps(TAKEN).encode()), *COMPRESSED),
            Verdict.UNKNOWN,
        ),
        (lambda talk: talk.answer(202, b"\x1f\x8bgarbage", *COMPRESSED), Verdict.UNKNOWN),
        (
            lambda talk: talk.answer(409, gzip.compress(json.dumps(TAKEN).encode()), *COMPRESSED),
            Verdict.UNKNOWN,
        ),
        (
            lambda talk: talk.answer(202, b" " * MAX_ANSWER_BYTES + json.dumps(TAKEN).encode()),
            Verdict.UNKNOWN,
        ),
        (lambda talk: talk.send(HEAD % 202 + json.dumps(TAKEN).encode()), Verdict.UNKNOWN),
        (lambda talk: talk.send(HEAD % 400 + b"{}"), Verdict.HALTED),
        (lambda talk: talk.drip(HEAD % 202, b" "), Verdict.UNKNOWN),
        (lambda talk: talk.drip(HEAD % 403, b" "), Verdict.HALTED),
        (lambda talk: talk.drip(b"HTTP/1.1 202 ", b"A"), Verdict.UNKNOWN),
        (lambda talk: talk.drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), Verdict.UNKNOWN),
        (lambda talk: talk.stall(), Verdict.UNKNOWN),
        (lambda talk: talk.reset(), Verdict.UNKNOWN),
        (lambda talk: None, Verdict.UNKNOWN),
        (lambda talk: talk.answer(999), Verdict.UNKNOWN),
        (lambda talk: talk.answer(202, b"[" * 200_000), Verdict.UNKNOWN),
        (lambda talk: talk.answer(202, b'{"id": "evt-\xff"}'), Verdict.UNKNOWN),
    ],
    ids=[
        *("gzip 202", "gzip garbage", "gzip 409", "too large", "half 202", "half 400"),
        *(
            "drips the body",
            "drips a 403",
            "drips the status line",
            "1xx for ever",
            "stalls",
            "RST",
            "hangs up",
        ),
        *("999", "deep JSON", "not UTF-8"),
    ],
)
def test_a_hostile_answer_is_judged_by_its_status_and_never_accepted(login, act, verdict):
    with SocketServer(after_request(act)) as api:
        sender = made(api, login, request_deadline=1.0)
        outcome = sender.publish(BODY, KEY, SENT)
        sender.close()

        assert outcome.verdict is verdict
        assert outcome.error


def test_what_never_connected_halts_and_what_may_have_arrived_is_unknown(login, tls):
    context, certificate = tls
    with SocketServer(replies(answer(202, TAKEN)), tls=context) as secure:

        def breaking(talk: Conversation) -> None:
            talk.sock.recv(1)
            talk.reset()

        with SocketServer(breaking) as broken:
            table = [
                (made(secure, login), Verdict.HALTED, Halt.CONFIG),  # not trusted
                (made(secure, login, ca_bundle=certificate), Verdict.ACCEPTED, None),
                (made("http://127.0.0.1:1", login), Verdict.HALTED, Halt.NETWORK),
                (made(broken.url.replace("http", "https"), login), Verdict.HALTED, Halt.NETWORK),
                (made(broken, login), Verdict.UNKNOWN, None),
                (made(secure, login, ca_bundle="/nowhere/ca.pem"), Verdict.HALTED, Halt.CONFIG),
                (made("https://api.example.invalid", login), Verdict.HALTED, Halt.NETWORK),
            ]
            for sender, verdict, halt in table:
                outcome = sender.publish(BODY, KEY, SENT)
                sender.close()
                assert (outcome.verdict, outcome.halt) == (verdict, halt), outcome

        assert len(secure.requests) == 1


def test_a_proxy_that_refuses_halts_and_sees_neither_bearer_nor_event(login):
    """PROXY is asked for the token too."""
    with SocketServer(replies(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")) as proxy:
        sender = made("https://api.example.invalid", "https://login.example.invalid", proxy=proxy.url)
        outcome = sender.publish(BODY, KEY, SENT)
        sender.close()

        assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, Halt.CONFIG)
        assert [request.method for request in proxy.requests] == ["CONNECT"]
        assert all(request.header("Authorization") is None for request in proxy.requests)


def test_one_deadline_covers_token_post_refresh_and_second_post():
    seen: list[tuple[str, object]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.path, request.extensions[DEADLINE]))
        if request.url.path == "/oauth/token":
            return httpx.Response(200, json={"access_token": "t", "token_type": "bearer", "expires_in": 60})
        return httpx.Response(401)

    sender = mocked(handle)
    sender.publish(BODY, KEY, SENT)
    sender.check("evt-1")

    events, deadlines = zip(*seen, strict=True)
    token, post = "/oauth/token", "/api/v2/eventbridge/events"
    assert events == (token, post, token, post, f"{post}/evt-1")
    assert len(set(map(id, deadlines[:4]))) == 1
    assert deadlines[4] is not deadlines[0]


def test_the_whole_publish_ends_in_time_when_its_last_request_stalls():
    def slow(data: bytes) -> Script:
        def script(talk: Conversation) -> None:
            while talk.read_request():
                talk.server.stopping.wait(0.1)
                talk.send(data)

        return script

    def api_script(talk: Conversation) -> None:
        talk.read_request()
        talk.server.stopping.wait(0.1)
        talk.answer(401)
        talk.read_request()
        talk.stall()

    with SocketServer(slow(TOKEN)) as login, SocketServer(api_script) as api:
        sender = made(api, login, request_deadline=2.0)
        outcome = sender.publish(BODY, KEY, SENT)
        sender.close()

        assert (outcome.verdict, outcome.outage) == (Verdict.UNKNOWN, Halt.NETWORK)
        assert (len(login.requests), len(api.requests)) == (2, 2)


def test_a_token_that_takes_all_the_time_means_that_nothing_was_sent():
    with SocketServer(after_request(lambda talk: talk.stall())) as login, SocketServer(replies(TOKEN)) as api:
        sender = made(api, login, request_deadline=0.3)
        outcome = sender.publish(BODY, KEY, SENT)
        sender.close()

        assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, Halt.NETWORK)
        assert api.connections == 0


# ------------------------------------------------------------------------------ whatever else may happen


def mocked(handle: Callable[[httpx.Request], httpx.Response], **settings) -> Sender:
    platform = made("https://api.example.invalid", "https://login.example.invalid", **settings)._platform
    return Sender(platform, ClientCredentials(platform), transport=httpx.MockTransport(handle))


def with_token(reply: httpx.Response | BaseException) -> Callable[[httpx.Request], httpx.Response]:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth/token":
            return httpx.Response(200, json={"access_token": "t", "token_type": "bearer", "expires_in": 60})
        if isinstance(reply, BaseException):
            raise reply
        return reply

    return handle


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (httpx.ReadTimeout("x"), Verdict.UNKNOWN),
        (httpx.WriteError("x"), Verdict.UNKNOWN),
        (httpx.RemoteProtocolError("x"), Verdict.UNKNOWN),
        (httpx.ConnectTimeout("x"), Verdict.HALTED),
        (httpx.PoolTimeout("x"), Verdict.HALTED),
        (httpx.DecodingError("x"), Verdict.UNKNOWN),
        (httpx.LocalProtocolError("x"), Verdict.REJECTED),
        (OSError("x"), Verdict.UNKNOWN),
        (RuntimeError("x"), Verdict.UNKNOWN),
        (MemoryError(), Verdict.UNKNOWN),
    ],
    ids=repr,
)
def test_every_exception_of_a_transport_is_an_outcome(error, verdict):
    assert mocked(with_token(error)).publish(BODY, KEY, SENT).verdict is verdict
    assert mocked(with_token(error)).check("evt-1").verdict is Verdict.NOT_YET


@pytest.mark.parametrize("interruption", [SystemExit(), KeyboardInterrupt()], ids=repr)
def test_an_interruption_passes(interruption):
    """django-q2 ends a task by raising SystemExit anywhere: that is no outcome of an event."""
    with pytest.raises(type(interruption)):
        mocked(with_token(interruption)).publish(BODY, KEY, SENT)


def test_a_defect_after_the_answer_never_looks_as_if_nothing_was_sent(monkeypatch, caplog):
    payload = "canary-payload"

    def broken(*_: object, **__: object) -> None:
        raise ValueError(payload)

    monkeypatch.setattr(EventBridge, "publish_outcome", broken)
    monkeypatch.setattr(EventBridge, "status_outcome", broken)
    published = mocked(with_token(httpx.Response(202, json=TAKEN))).publish(BODY, KEY, SENT)
    checked = mocked(with_token(httpx.Response(200, json={}))).check("evt-1")

    assert (published.verdict, published.status_code) == (Verdict.UNKNOWN, 202)
    assert (checked.verdict, checked.status_code) == (Verdict.NOT_YET, 200)
    assert "bug" in published.error
    assert "bug" in caplog.text
    assert "canary" not in caplog.text + published.error


@pytest.mark.parametrize("key", ["", "a\r\nX-Evil: 1", " a", "ü", "\ud800"])
def test_a_key_that_is_no_header_value_is_rejected_and_nothing_is_sent(login, key):
    with SocketServer(replies(answer(202, TAKEN))) as api:
        sender = made(api, login)
        outcome = sender.publish(BODY, key, SENT)
        sender.close()

        assert outcome.verdict is Verdict.REJECTED
        assert (api.connections, login.connections) == (0, 0)


def test_a_body_that_cannot_be_encoded_is_rejected_and_nothing_is_sent(login):
    with SocketServer(replies(answer(202, TAKEN))) as api:
        sender = made(api, login)
        assert sender.publish('{"a": "\ud800"}', KEY, SENT).verdict is Verdict.REJECTED
        sender.close()

        assert api.connections == 0


def test_an_id_that_fits_no_segment_is_not_asked_for(login):
    with SocketServer(replies(answer(200))) as api:
        sender = made(api, login)
        assert sender.check("..").verdict is Verdict.NOT_YET
        sender.close()

        assert api.connections == 0


class Unread(httpx.SyncByteStream):
    def __init__(self, *parts: bytes | Exception) -> None:
        self.parts = parts
        self.given = 0
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            self.given += len(part)
            yield part

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("parts", "headers", "verdict"),
    [
        ([json.dumps(TAKEN).encode()], {}, Verdict.ACCEPTED),
        ([b" " * 1000] * 100_000, {}, Verdict.UNKNOWN),
        ([b"{", httpx.ReadError("x")], {}, Verdict.UNKNOWN),
        ([gzip.compress(json.dumps(TAKEN).encode())], {"Content-Encoding": "gzip"}, Verdict.UNKNOWN),
    ],
    ids=["good", "endless", "breaks off", "gzip"],
)
def test_an_answer_of_another_transport_is_read_with_the_same_bounds(parts, headers, verdict):
    stream = Unread(*parts)
    reply = httpx.Response(202, stream=stream, headers=headers)

    assert mocked(with_token(reply)).publish(BODY, KEY, SENT).verdict is verdict
    assert stream.closed
    assert stream.given <= MAX_ANSWER_BYTES + 1000


def test_a_given_transport_is_closed_with_the_sender():
    closed: list[bool] = []

    class Closing(httpx.MockTransport):
        def close(self) -> None:
            closed.append(True)

    platform = made("https://api.example.invalid", "https://login.example.invalid")._platform
    transport = Closing(with_token(httpx.Response(202, json=TAKEN)))
    sender = Sender(platform, ClientCredentials(platform), transport=transport)
    sender.publish(BODY, KEY, SENT)
    assert closed == []
    sender.close()
    assert closed == [True]


@pytest.mark.parametrize("stock", [httpx.HTTPTransport])
def test_the_stock_transport_of_httpx_works_too(login, stock):
    with SocketServer(replies(answer(202, TAKEN))) as api:
        platform = made(api, login)._platform
        sender = Sender(platform, ClientCredentials(platform), transport=stock())
        assert sender.publish(BODY, KEY, SENT).verdict is Verdict.ACCEPTED
        sender.close()


def test_a_hostile_echo_shows_neither_token_nor_secret_anywhere(caplog):
    """Body, headers, error text, log at DEBUG: with servers that repeat every credential they heard."""
    caplog.set_level(logging.DEBUG)
    secret, bearer = "canary-secret-0123", "canary-bearer-0123"

    def script(talk: Conversation) -> None:
        while request := talk.read_request():
            heard = f"{request.header('Authorization')} {secret} {bearer}"
            if request.target == "/oauth/token":
                document = {"access_token": bearer, "token_type": "bearer", "expires_in": 60, "note": heard}
                talk.answer(200, document, f"X-Echo: {heard}")
            else:
                talk.answer(400, {"message": heard, "code": heard}, f"ININ-Correlation-Id: {heard}")

    with SocketServer(script) as server:
        sender = made(server, server, client_secret=secret)
        outcomes = [sender.publish(BODY, KEY, SENT), sender.check("evt-1")]
        sender.close()

    assert [outcome.verdict for outcome in outcomes] == [Verdict.REJECTED, Verdict.NOT_YET]
    shown = caplog.text + repr(outcomes) + repr(vars(sender))
    assert "canary" not in shown
    assert "c29tZS1jbGllbnQ" not in shown  # the id in base64: the Basic header


@pytest.mark.parametrize("secret", ["s", "evt-1"])
def test_a_short_secret_does_not_spoil_the_ids_of_answers(login, secret):
    with SocketServer(replies(answer(202, TAKEN))) as api:
        sender = made(api, login, client_secret=secret)
        assert sender.publish(BODY, KEY, SENT).remote_id == "evt-1"
        sender.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_sender_made_before_a_fork_works_in_every_child():
    """As django-q2 forks its workers: no shared socket, no shared token, no dead lock."""
    fork = multiprocessing.get_context("fork")
    with SocketServer(replies(TOKEN)) as login, SocketServer(replies(answer(202, TAKEN))) as api:
        platform = made(api, login)._platform
        sender = Sender(platform, credentials_for(platform))
        assert sender.publish(BODY, KEY, SENT).verdict is Verdict.ACCEPTED
        mine, childs = fork.Pipe()
        processes = [
            fork.Process(target=lambda: childs.send(sender.publish(BODY, KEY, SENT).verdict))
            for _ in range(4)
        ]
        for process in processes:
            process.start()
        verdicts = [mine.recv() for _ in processes if mine.poll(HANG)]
        for process in processes:
            process.join(HANG)
        assert sender.publish(BODY, KEY, SENT).verdict is Verdict.ACCEPTED
        sender.close()
        mine.close()
        childs.close()

        assert verdicts == [Verdict.ACCEPTED] * 4
        assert (api.connections, len(login.requests)) == (5, 5)


def test_the_deadline_includes_the_callables() -> None:
    now = [0.0]
    left: list[float] = []

    def token() -> str:
        now[0] += 15.0
        return "token-0123456789"

    def invoked(request: httpx.Request) -> httpx.Response:
        left.append(request.extensions[DEADLINE].left())
        return httpx.Response(200, json={"invocationId": "an-id"})

    platform = Platform(
        api_base_url="https://api.example.com",
        request_deadline=20.0,
        protocol=Webhook(webhook_token=token),
    )
    transport = httpx.MockTransport(invoked)
    sender = Sender(platform, ClientCredentials(platform), transport=transport, clock=lambda: now[0])

    assert sender.publish(BODY, KEY, SENT).verdict is Verdict.ACCEPTED
    assert left == [5.0]
