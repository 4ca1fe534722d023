"""One token for the whole process, whatever the login service, the threads and the forks do."""

from __future__ import annotations

import base64
import contextlib
import copy
import logging
import multiprocessing
import pickle
import sys
import threading
import time
from collections.abc import Callable
from urllib.parse import parse_qs

import httpx
import pytest

from genesys_eventbridge.client import auth
from genesys_eventbridge.client.auth import ClientCredentials, credentials_for
from genesys_eventbridge.client.sockets import Deadline
from genesys_eventbridge.client.transport import DEADLINE
from genesys_eventbridge.errors import Halted
from genesys_eventbridge.platform.config import Platform
from tests.socket_server import HANG, Conversation, Request, SocketServer, answer, replies

SECRET = "canary-secret-0123456789"
EVENTS = "https://api.example.invalid/events"


Reply = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class Login:
    """A scripted login service: an answer per request, the last one repeats."""

    def __init__(
        self, *answers: httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]
    ) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(reply, Exception):
            raise reply
        return reply(request) if callable(reply) else reply


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def token(value: str = "token-1", expires_in: object = 3600, **more: object) -> httpx.Response:
    document = {"access_token": value, "token_type": "bearer", "expires_in": expires_in, **more}
    return httpx.Response(200, json=document)


def numbered(expires_in: float = 3600) -> Callable[[httpx.Request], httpx.Response]:
    count = iter(range(1, 1000))
    return lambda request: token(f"token-{next(count)}", expires_in)


def platform(**settings) -> Platform:
    return Platform(
        **{
            "api_base_url": "https://api.example.invalid",
            "login_base_url": "https://login.example.invalid",
            "client_id": "some-client",
            "client_secret": SECRET,
            **settings,
        }
    )


def conversation(credentials: ClientCredentials, login: Login | None, *statuses: int, deadline: float = HANG):
    """The Authorization headers of one conversation in which the API answers with ``statuses``."""
    extensions = {DEADLINE: Deadline(deadline)} | ({auth.TOKEN_TRANSPORT: login.transport} if login else {})
    request = httpx.Request("POST", EVENTS, extensions=extensions)
    flow = credentials.auth_flow(request)
    sent = []
    outgoing = next(flow)
    for status in statuses:
        sent.append(outgoing.headers["Authorization"])
        try:
            outgoing = flow.send(httpx.Response(status))
        except StopIteration:
            return sent
    raise AssertionError("the conversation wants to go on")


def test_one_token_serves_every_request_until_its_refresh():
    login, clock = Login(numbered()), Clock()
    credentials = ClientCredentials(platform(), clock=clock)
    for _ in range(3):
        assert conversation(credentials, login, 202) == ["Bearer token-1"]

    assert len(login.requests) == 1


@pytest.mark.parametrize(("life", "early"), [(86400, 60), (3600, 60), (600, 60), (300, 30), (10, 1)])
def test_a_token_is_renewed_ahead_of_its_end_by_a_tenth_and_at_most_a_minute(life, early):
    login, clock = Login(numbered(life)), Clock()
    credentials = ClientCredentials(platform(), clock=clock)
    conversation(credentials, login, 202)
    clock.now += life - early - 0.001
    assert conversation(credentials, login, 202) == ["Bearer token-1"]
    clock.now += 0.002
    assert conversation(credentials, login, 202) == ["Bearer token-2"]


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("down"),
        httpx.Response(503),
        httpx.Response(429),
        httpx.Response(401),
        httpx.Response(200),
    ],
    ids=["down", "503", "429", "401", "no token"],
)
def test_a_valid_token_stays_in_use_while_the_login_service_is_in_trouble(trouble, caplog):
    login, clock = Login(token(), trouble), Clock()
    credentials = ClientCredentials(platform(), clock=clock)
    conversation(credentials, login, 202)
    clock.now += 3550
    for _ in range(3):
        assert conversation(credentials, login, 202) == ["Bearer token-1"]

    assert len(login.requests) == 2 + (trouble == httpx.Response(401))  # not one per event
    assert "current one stays in use" in caplog.text
    clock.now += 51
    with pytest.raises(Halted):
        conversation(credentials, login, 202)


def test_an_early_refresh_that_failed_is_tried_again_a_little_later():
    login, clock = Login(token(), httpx.ConnectError("down"), token("token-2")), Clock()
    credentials = ClientCredentials(platform(), clock=clock)
    conversation(credentials, login, 202)
    clock.now += 3550
    conversation(credentials, login, 202)
    clock.now += auth.EARLY_RETRY_SECONDS + 0.1

    assert conversation(credentials, login, 202) == ["Bearer token-2"]


def test_an_early_refresh_leaves_time_for_the_request_itself():
    """A login service that swallows packets must not spend the deadline of an event with a valid token."""
    seen: list[float] = []

    def slow(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions[DEADLINE].left())
        raise httpx.ReadTimeout("slow")

    login, clock = Login(token(), slow), Clock()
    credentials = ClientCredentials(platform(connect_timeout=5.0), clock=clock)
    conversation(credentials, login, 202)
    clock.now += 3550
    conversation(credentials, login, 202, deadline=8.0)
    clock.now += 10
    conversation(credentials, login, 202, deadline=100.0)

    assert seen[0] <= 4.0
    assert seen[1] <= 5.0


def test_a_401_is_answered_by_one_refreshed_token():
    login = Login(numbered())
    credentials = ClientCredentials(platform())

    assert conversation(credentials, login, 401, 202) == ["Bearer token-1", "Bearer token-2"]
    assert conversation(credentials, login, 202) == ["Bearer token-2"]
    assert len(login.requests) == 2


def test_a_401_takes_the_newer_token_where_there_is_one():
    login = Login(numbered())
    credentials = ClientCredentials(platform())
    request = httpx.Request("POST", EVENTS, extensions={auth.TOKEN_TRANSPORT: login.transport})
    slow = credentials.auth_flow(request)
    next(slow)
    conversation(credentials, login, 401, 202)
    outgoing = slow.send(httpx.Response(401))

    assert outgoing.headers["Authorization"] == "Bearer token-2"
    assert len(login.requests) == 2


def test_a_401_for_ever_asks_for_one_token_per_burst_and_keeps_the_answer():
    """Two tries an event at most; no token storm."""
    login, clock = Login(numbered()), Clock()
    credentials = ClientCredentials(platform(), clock=clock)
    assert len(conversation(credentials, login, 401, 401)) == 2
    for _ in range(10):
        clock.now += 0.1
        assert conversation(credentials, login, 401) == ["Bearer token-2"]
    assert len(login.requests) == 2

    clock.now += auth.REFUSAL_MEMORY_SECONDS
    assert conversation(credentials, login, 401, 401) == ["Bearer token-2", "Bearer token-3"]


def test_tokens_that_work_may_be_refreshed_again_and_again():
    """A platform that forgets tokens now and then is no reason to stop."""
    login, clock = Login(numbered()), Clock()
    credentials = ClientCredentials(platform(), clock=clock)
    for _ in range(4):
        assert len(conversation(credentials, login, 401, 202)) == 2


def test_a_burst_of_401_in_many_threads_is_one_refresh():
    login = Login(numbered())
    credentials = ClientCredentials(platform())
    conversation(credentials, login, 202)

    def publish() -> list[str]:
        extensions = {auth.TOKEN_TRANSPORT: login.transport}
        flow = credentials.auth_flow(httpx.Request("POST", EVENTS, extensions=extensions))
        sent = [next(flow).headers["Authorization"]]
        with contextlib.suppress(StopIteration):
            while True:
                refused = sent[-1] == "Bearer token-1"
                sent.append(flow.send(httpx.Response(401 if refused else 202)).headers["Authorization"])
        return sent

    sent = in_threads(32, publish)

    assert {headers[-1] for headers in sent} == {"Bearer token-2"}
    assert len(login.requests) == 2


def in_threads(count: int, work: Callable[[], object]) -> list:
    """What ``work`` returned or raised in ``count`` threads that begin together."""
    results: list[object] = []
    begin = threading.Barrier(count)

    def run() -> None:
        begin.wait(HANG)
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001 - handed to the test
            results.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    assert len(results) == count, "a thread hangs"
    return results


def test_thirty_two_threads_without_a_token_make_one_request():
    """On a real socket, through the process-wide registry."""

    def script(talk: Conversation) -> None:
        while talk.read_request():
            talk.server.stopping.wait(0.1)  # let the others come
            talk.answer(200, {"access_token": "t" * 20, "token_type": "Bearer", "expires_in": 600})

    with SocketServer(script) as server:
        shared = platform(login_base_url=server.url)
        sent = in_threads(32, lambda: conversation(credentials_for(shared), None, 202))

        assert sent == [["Bearer " + "t" * 20]] * 32
        assert len(server.requests) == 1


@pytest.mark.parametrize("delay", [0.0, 0.1])
def test_a_burst_of_threads_shares_one_failure(delay):
    def script(talk: Conversation) -> None:
        while talk.read_request():
            talk.server.stopping.wait(delay)
            talk.answer(503, {"message": "maintenance"}, "ININ-Correlation-Id: c-1", "Retry-After: 7")

    with SocketServer(script) as server:
        credentials = ClientCredentials(platform(login_base_url=server.url))
        errors = in_threads(32, lambda: conversation(credentials, None, 202))

        assert len(server.requests) == 1
        assert {(type(error), error.kind, error.correlation_id, error.retry_after) for error in errors} == {
            (Halted, "network", "c-1", 7.0)
        }
        assert len(set(map(id, errors))) == 32  # no exception object is shared between threads


def test_a_failure_is_forgotten_soon():
    login, clock = Login(httpx.ConnectError("down"), token()), Clock()
    credentials = ClientCredentials(platform(), clock=clock)
    for _ in range(3):
        with pytest.raises(Halted):
            conversation(credentials, login, 202)
    clock.now += auth.FAILURE_MEMORY_SECONDS

    assert conversation(credentials, login, 202) == ["Bearer token-1"]
    assert len(login.requests) == 2


def test_a_waiting_thread_gives_up_at_its_own_deadline():
    release = threading.Event()

    def script(talk: Conversation) -> None:
        talk.read_request()
        release.wait(HANG)
        talk.answer(200, {"access_token": "t" * 20, "token_type": "Bearer", "expires_in": 600})

    with SocketServer(script) as server:
        credentials = ClientCredentials(platform(login_base_url=server.url))
        leader: list[object] = []
        first = threading.Thread(target=lambda: leader.append(conversation(credentials, None, 202)))
        first.start()
        wait_for(lambda: server.requests)
        begun = time.monotonic()
        with pytest.raises(Halted) as caught:
            conversation(credentials, None, 202, deadline=0.2)
        waited = time.monotonic() - begun
        release.set()
        first.join(HANG)

        assert caught.value.kind == "network"
        assert waited < HANG / 3  # not by the deadline of the thread that leads
        assert leader == [["Bearer " + "t" * 20]]
        assert len(server.requests) == 1


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < end, "never happened"
        threading.Event().wait(0.005)


def test_the_token_request_ends_with_the_deadline_of_its_publish():
    def script(talk: Conversation) -> None:
        talk.read_request()
        talk.drip(b"HTTP/1.1 200 ", b"O")

    with SocketServer(script) as server:
        credentials = ClientCredentials(platform(login_base_url=server.url))
        with pytest.raises(Halted) as caught:
            conversation(credentials, None, 202, deadline=0.3)

    assert caught.value.kind == "network"
    assert "may have arrived" not in str(caught.value)


class Interrupted(SystemExit):
    """What django-q2 raises from its alarm."""


def test_an_interrupted_token_request_keeps_nobody_waiting():
    def interrupt(request: httpx.Request) -> httpx.Response:
        raise Interrupted

    login = Login(interrupt, token())
    credentials = ClientCredentials(platform())
    with pytest.raises(Interrupted):
        conversation(credentials, login, 202)

    assert conversation(credentials, login, 202) == ["Bearer token-1"]


def test_followers_of_an_interrupted_request_halt():
    arrived, release = threading.Event(), threading.Event()

    def interrupt(request: httpx.Request) -> httpx.Response:
        arrived.set()
        release.wait(HANG)
        raise Interrupted

    credentials = ClientCredentials(platform())
    login = Login(interrupt)
    raised: list[type] = []

    def lead() -> None:
        with pytest.raises(Interrupted):
            conversation(credentials, login, 202)
        raised.append(Interrupted)

    def follow() -> None:
        with pytest.raises(Halted, match="interrupted"):
            conversation(credentials, login, 202)
        raised.append(Halted)

    leader = threading.Thread(target=lead)
    leader.start()
    assert arrived.wait(HANG)
    follower = threading.Thread(target=follow)
    follower.start()
    flight = credentials._memory().flight
    assert flight is not None
    wait_for(lambda: flight.landed._cond._waiters)  # type: ignore[attr-defined]
    release.set()
    leader.join(HANG)
    follower.join(HANG)

    assert sorted(raised, key=str) == sorted([Interrupted, Halted], key=str)


def test_a_defect_on_the_way_to_a_token_halts_and_puts_no_event_in_doubt(monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise ValueError("canary-secret")

    monkeypatch.setattr(auth, "ask_for_token", broken)
    with pytest.raises(Halted, match="ValueError") as caught:
        conversation(ClientCredentials(platform()), Login(token()), 202)

    assert caught.value.kind == "config"
    assert "canary" not in str(caught.value)


def test_a_flight_past_its_deadline_is_overtaken():
    """Whatever happened to the thread that led it, the next ones do not wait for ever."""
    credentials = ClientCredentials(platform())
    credentials._memory().flight = auth._Flight(Deadline(0.0))

    assert conversation(credentials, Login(token()), 202) == ["Bearer token-1"]


def test_a_failure_that_was_overtaken_spoils_nothing():
    credentials = ClientCredentials(platform())
    memory = credentials._memory()
    late = auth._Flight(Deadline(0.0), failure=Halted("late", kind="network"))
    conversation(credentials, Login(token()), 202)
    credentials._land(memory, late)

    assert memory.failure is None
    assert late.landed.is_set()


# ------------------------------------------------------------------------------- the request on the wire


def asked(**settings) -> Request:
    with SocketServer(
        replies(answer(200, {"access_token": "abc", "token_type": "bearer", "expires_in": 60}))
    ) as server:
        conversation(ClientCredentials(platform(login_base_url=server.url, **settings)), None, 202)
        return server.requests[0]


def test_the_token_request_is_what_the_official_sdks_send():
    request = asked()

    assert (request.method, request.target) == ("POST", "/oauth/token")
    assert (
        request.header("Authorization")
        == "Basic " + base64.b64encode(f"some-client:{SECRET}".encode()).decode()
    )
    assert request.header("Content-Type") == "application/x-www-form-urlencoded"
    assert request.header("Accept-Encoding") == "identity"
    assert (request.header("User-Agent") or "").startswith("genesys-eventbridge/")
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["eventbridge:event:publish eventbridge:events:read"],
    }


def test_empty_scopes_send_no_scope():
    assert asked(scopes=[]).body == b"grant_type=client_credentials"


def test_the_secret_goes_into_the_header_only_and_as_it_is():
    """No form encoding, like the official SDKs; never in a URL or a body."""
    secret = "p%C3%A4 ss+w/o:rd&=#"
    request = asked(client_secret=secret)

    encoded = (request.header("Authorization") or "").removeprefix("Basic ")
    assert base64.b64decode(encoded).decode() == f"some-client:{secret}"
    assert secret not in request.target
    assert b"rd" not in request.body


def test_token_path_and_prefix_are_kept():
    with SocketServer(
        replies(answer(200, {"access_token": "a", "token_type": "bearer", "expires_in": 60}))
    ) as server:
        credentials = ClientCredentials(
            platform(login_base_url=f"{server.url}/gateway/", token_path="/v3/token")
        )
        conversation(credentials, None, 202)

        assert server.requests[0].target == "/gateway/v3/token"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirected_token_request_goes_nowhere(status):
    with SocketServer(replies(answer(200))) as target:
        away = replies(answer(status, b"", f"Location: {target.url}/oauth/token"))
        with SocketServer(away) as server, pytest.raises(Halted) as caught:
            conversation(ClientCredentials(platform(login_base_url=server.url)), None, 202)

        assert caught.value.kind == "config"
        assert target.connections == 0


@pytest.mark.parametrize(
    "value",
    ["", "a b", "a\r\nX-Evil: 1", "a\x00", "tökén", None, 5],
    ids=["empty", "space", "CRLF", "NUL", "non-ASCII", "null", "number"],
)
def test_a_token_that_is_no_header_value_is_refused(value):
    with pytest.raises(Halted) as caught:
        conversation(ClientCredentials(platform()), Login(token(value)), 202)

    assert caught.value.kind == "config"


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (httpx.Response(401, json={"error": "invalid_client"}), "auth"),
        (httpx.Response(403), "auth"),
        (httpx.Response(404), "config"),
        (httpx.Response(200, text="<html>"), "config"),
        (httpx.Response(500), "network"),
        (httpx.ConnectError("refused"), "network"),
        (httpx.ReadTimeout("slow"), "network"),
        (httpx.ProxyError("407"), "config"),
        (httpx.UnsupportedProtocol("x"), "config"),
        (RuntimeError("broken transport"), "network"),
    ],
)
def test_every_trouble_halts_and_names_the_login_host(trouble, kind):
    with pytest.raises(Halted, match=r"login\.example\.invalid") as caught:
        conversation(ClientCredentials(platform()), Login(trouble), 202)

    assert caught.value.kind == kind
    assert len(str(caught.value)) <= 500


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.Response(429, headers={"Retry-After": "42"}),
        httpx.Response(
            400,
            json={"error": "invalid_request", "description": "rate limit exceeded; wait"},
            headers={"Retry-After": "42"},
        ),
    ],
    ids=["429", "400 as the login service says it"],
)
def test_a_rate_limit_of_the_login_service_halts_and_says_for_how_long(trouble):
    with pytest.raises(Halted) as caught:
        conversation(ClientCredentials(platform()), Login(trouble), 202)

    assert (caught.value.kind, caught.value.retry_after) == ("rate", 42.0)


# --------------------------------------------------------------------------------- secrets that are read


def test_a_callable_is_read_once_and_again_after_an_auth_failure():
    """A rotated secret works at once: without a restart, and with one more request."""
    vault = iter(["old-secret-1234", "new-secret-1234", "unused"])
    reads: list[str] = []

    def read() -> str:
        reads.append(next(vault))
        return reads[-1]

    def judge(request: httpx.Request) -> httpx.Response:
        basic = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        return (
            token()
            if basic.endswith("new-secret-1234")
            else httpx.Response(401, json={"error": "invalid_client"})
        )

    login, clock = Login(judge), Clock()
    credentials = ClientCredentials(platform(client_secret=read), clock=clock)
    assert conversation(credentials, login, 202) == ["Bearer token-1"]
    clock.now += 3650
    assert conversation(credentials, login, 202) == ["Bearer token-1"]

    assert reads == ["old-secret-1234", "new-secret-1234"]
    assert len(login.requests) == 3


def test_a_callable_is_read_again_after_the_platform_refused_a_token():
    secrets = iter(["first-secret", "second-secret"])
    login = Login(numbered())
    credentials = ClientCredentials(platform(client_secret=lambda: next(secrets)))
    conversation(credentials, login, 401, 202)

    sent = [base64.b64decode(request.headers["Authorization"][6:]) for request in login.requests]
    assert sent == [b"some-client:first-secret", b"some-client:second-secret"]


def test_a_callable_is_not_read_again_while_the_login_service_is_down():
    """Asking a vault with every try would turn one outage into two."""
    reads: list[int] = []
    login, clock = Login(httpx.ConnectError("down")), Clock()

    def read() -> str:
        reads.append(1)
        return SECRET

    credentials = ClientCredentials(platform(client_secret=read), clock=clock)
    for _ in range(3):
        clock.now += 10
        with pytest.raises(Halted):
            conversation(credentials, login, 202)

    assert (len(login.requests), len(reads)) == (3, 1)


def test_a_refused_secret_that_did_not_change_is_not_tried_twice():
    login = Login(httpx.Response(401, json={"error": "invalid_client"}))
    with pytest.raises(Halted):
        conversation(ClientCredentials(platform(client_secret=lambda: SECRET)), login, 202)

    assert len(login.requests) == 1


def test_a_callable_client_id_works():
    login = Login(token())
    conversation(ClientCredentials(platform(client_id=lambda: "called-id")), login, 202)

    assert base64.b64decode(login.requests[0].headers["Authorization"][6:]).startswith(b"called-id:")


@pytest.mark.parametrize("setting", ["CLIENT_ID", "CLIENT_SECRET"])
@pytest.mark.parametrize(
    "value",
    ["", "canary\n", "canary\x00", "canary-ü", None, 5, ValueError("canary"), KeyError("canary")],
    ids=["empty", "line break", "NUL", "non-ASCII", "None", "number", "ValueError", "KeyError"],
)
def test_a_callable_that_gives_nothing_usable_halts_and_names_the_setting(setting, value):
    def read():
        if isinstance(value, Exception):
            raise value
        return value

    login = Login(token())
    with pytest.raises(Halted, match=setting) as caught:
        conversation(ClientCredentials(platform(**{setting.lower(): read})), login, 202)

    assert caught.value.kind == "auth"
    assert "canary" not in str(caught.value)
    assert login.requests == []


# ------------------------------------------------------------------------------------- one per process


def test_credentials_are_shared_by_what_makes_a_token():
    """Another host, client, secret or scope is another token (never sent to the old host's replacement)."""
    base = platform()
    same = platform(
        request_deadline=3.0, events_path="/elsewhere", api_base_url="https://api2.example.invalid"
    )
    others = [
        platform(login_base_url="https://login2.example.invalid"),
        platform(token_path="/v2/token"),
        platform(client_id="other"),
        platform(client_secret="other"),
        platform(client_secret=lambda: SECRET),
        platform(scopes=[]),
        platform(proxy="http://127.0.0.1:1"),
        platform(ca_bundle="/nowhere.pem"),
    ]

    assert credentials_for(same) is credentials_for(base)
    assert len({id(credentials_for(item)) for item in [base, *others]}) == len(others) + 1


def test_the_registry_is_bounded_and_forgets_the_longest_unused():
    kept = credentials_for(platform())
    for number in range(2 * auth.REMEMBERED_CLIENTS):
        credentials_for(platform(client_id=f"client-{number}"))
        assert credentials_for(platform()) is kept

    assert len(auth._process.credentials) <= auth.REMEMBERED_CLIENTS


def test_no_secret_is_a_key_of_the_registry():
    credentials_for(platform(proxy="http://user:canary-proxy@127.0.0.1:1"))

    assert "canary" not in repr(list(auth._process.credentials))


def test_a_new_process_forgets_what_its_parent_knew():
    login = Login(numbered())
    credentials = ClientCredentials(platform())
    conversation(credentials, login, 202)
    auth._process.begin()

    assert conversation(credentials, login, 202) == ["Bearer token-2"]
    assert len(credentials._memories) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_fetches_a_token_of_its_own():
    """Also where a thread of the parent held every lock and was fetching at the moment of the fork."""
    fork = multiprocessing.get_context("fork")
    reply = answer(200, {"access_token": "t" * 20, "token_type": "bearer", "expires_in": 600})
    with SocketServer(replies(reply)) as server:
        shared = platform(login_base_url=server.url)
        parents = credentials_for(shared)
        conversation(parents, None, 202)
        mine, childs = fork.Pipe()

        def child() -> None:
            sent = conversation(parents, None, 202)
            childs.send((sent, credentials_for(shared) is parents))

        memory = parents._memory()
        with memory.lock, auth._process.lock:
            memory.flight = auth._Flight(Deadline(HANG))
            processes = [fork.Process(target=child) for _ in range(4)]
            for process in processes:
                process.start()
            answers = [mine.recv() for process in processes if mine.poll(HANG)]
        for process in processes:
            process.join(HANG)
        memory.flight = None
        conversation(parents, None, 202)

        assert answers == [(["Bearer " + "t" * 20], False)] * 4
        assert len(server.requests) == 5
        mine.close()
        childs.close()


def test_nothing_shows_a_secret_or_a_token(caplog):
    """Neither repr, error text, traceback locals nor a log at DEBUG, with a server that echoes everything."""
    caplog.set_level(logging.DEBUG)
    encoded = base64.b64encode(f"some-client:{SECRET}".encode()).decode()

    def script(talk: Conversation) -> None:
        while request := talk.read_request():
            heard = f"{request.header('Authorization')} {SECRET} {encoded}"
            talk.answer(400, {"error": heard, "description": heard}, f"X-Echo: {heard}")

    with SocketServer(script) as server:
        credentials = ClientCredentials(platform(login_base_url=server.url))
        with pytest.raises(Halted) as caught:
            conversation(credentials, None, 202)

    shown = [str(caught.value), repr(caught.value), repr(credentials), repr(platform()), caplog.text]
    traceback = caught.value.__traceback__
    while traceback:
        frame = traceback.tb_frame
        if "genesys_eventbridge" in frame.f_code.co_filename:
            shown += [f"{frame.f_code.co_name}: {name}={value!r}" for name, value in frame.f_locals.items()]
        traceback = traceback.tb_next
    hits = [text for text in shown if SECRET in text or encoded in text]
    assert hits == []


def test_a_token_cannot_be_pickled_or_copied():
    """Memory only: a cache or a queue cannot get hold of it."""
    credentials = ClientCredentials(platform())
    conversation(credentials, Login(token()), 202)
    for attempt in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(credentials)


def test_httpx_itself_can_use_the_credentials():
    login = Login(numbered())
    statuses = iter([401, 202])

    def handle(request: httpx.Request) -> httpx.Response:
        request.extensions[auth.TOKEN_TRANSPORT] = login.transport
        return httpx.Response(next(statuses), json=request.headers["Authorization"])

    credentials = ClientCredentials(platform())
    conversation(credentials, login, 202)
    with httpx.Client(transport=httpx.MockTransport(handle), auth=credentials) as client:
        assert client.post(EVENTS).json() == "Bearer token-2"
