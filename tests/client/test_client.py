"""EventBridgeClient: values or our errors out, one try, nothing but what it was told."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import uuid
from datetime import UTC, datetime

import httpx
import pytest

from genesys_eventbridge import client as client_room
from genesys_eventbridge.client import Accepted, EventBridgeClient, Status
from genesys_eventbridge.cloudevents import build_event
from genesys_eventbridge.errors import (
    Halted,
    InvalidEvent,
    OutcomeUnknown,
    Rejected,
    Unavailable,
    Unconfirmed,
)
from genesys_eventbridge.platform.outcomes import Verdict
from tests.socket_server import HANG

EVENT = build_event("order.created", {"n": 1}, source="com.example.shop", subject="A-1")
BODY = EVENT.encode()
KEY = "5b6e1f7c-6f0c-4a53-9a59-1d6a1f0e3b11"
TOKEN = {"access_token": "token-0123456789", "token_type": "bearer", "expires_in": 3600}
TAKEN = {"id": "evt-1", "source": "com.example.shop", "type": "order.created", "status": "accepted"}

Reply = httpx.Response | Exception


def made(*replies: Reply, seen: list[httpx.Request] | None = None, **settings) -> EventBridgeClient:
    """A client whose platform gives these answers to anything but token requests; the last one repeats."""
    left = list(replies)

    def handle(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        if request.url.path == "/oauth/token":
            return httpx.Response(200, json=TOKEN)
        reply = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    given = {"region": "eu-west-1", "client_id": "some-client", "client_secret": "some-secret", **settings}
    return EventBridgeClient(transport=httpx.MockTransport(handle), **given)


def reply(status: int, document: object = None, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if document is None:
        return httpx.Response(status, headers=named)
    return httpx.Response(status, json=document, headers=named)


def test_a_published_event_is_accepted_with_its_id():
    with made(reply(202, TAKEN, ININ_Correlation_Id="c-1")) as client:
        assert client.publish(BODY, KEY) == Accepted("evt-1", status_code=202, correlation_id="c-1")


def test_the_answer_may_already_say_duplicate_and_final():
    with made(reply(409, TAKEN | {"status": "delivered"})) as client:
        accepted = client.publish(BODY, uuid.UUID(KEY))

    assert (accepted.remote_id, accepted.duplicate, accepted.final) == ("evt-1", True, Verdict.DELIVERED)


def test_a_given_transport_carries_tokens_and_requests_and_nothing_is_shared():
    seen: list[httpx.Request] = []
    for _ in range(2):
        with made(reply(202, TAKEN), seen=seen) as client:
            client.publish(BODY, KEY)

    assert [str(request.url) for request in seen] == [
        "https://login.mypurecloud.ie/oauth/token",
        "https://api.mypurecloud.ie/api/v2/eventbridge/events",
    ] * 2
    assert seen[1].headers["Idempotency-Key"] == KEY
    assert seen[1].content.decode() == BODY


@pytest.mark.parametrize(
    ("answer", "error", "facts"),
    [
        (
            reply(400, {"message": "no", "code": "bad.request"}, ININ_Correlation_Id="c-1"),
            Rejected,
            {"status_code": 400, "correlation_id": "c-1"},
        ),
        (reply(423, None, Retry_After="9"), Unavailable, {"status_code": 423, "retry_after": 9.0}),
        (reply(500), OutcomeUnknown, {"status_code": 500}),
        (reply(200, ["x"]), OutcomeUnknown, {"status_code": 200}),
        (reply(409, TAKEN | {"source": "elsewhere"}), OutcomeUnknown, {"status_code": 409}),
        (httpx.ReadTimeout("slow"), OutcomeUnknown, {"status_code": None}),
        (reply(401), Halted, {"kind": "auth", "status_code": 401}),
        (reply(403), Halted, {"kind": "permission"}),
        (reply(404), Halted, {"kind": "config"}),
        (reply(429, None, Retry_After="42"), Halted, {"kind": "rate", "retry_after": 42.0}),
        (httpx.ConnectError("refused"), Halted, {"kind": "network", "status_code": None}),
    ],
)
def test_every_other_answer_is_the_error_that_says_what_to_do(answer, error, facts):
    with made(answer) as client, pytest.raises(error) as caught:
        client.publish(BODY, KEY)

    assert type(caught.value) is error
    assert {name: getattr(caught.value, name) for name in facts} == facts
    assert str(caught.value)
    assert caught.value.__context__ is None  # no frame that holds a header comes along


def test_nothing_is_retried():
    seen: list[httpx.Request] = []
    with made(reply(503), seen=seen) as client, pytest.raises(OutcomeUnknown):
        client.publish(BODY, KEY)

    assert [request.method for request in seen] == ["POST", "POST"]  # the token and one event


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("", "body"),
        ("not json", "body"),
        ("[]", "body"),
        (b"\xff", "body"),
        (None, "body"),
        ('{"id": "1"', "body"),
        ('{"a": "\ud800"}', "body"),
        ("[" * 100_000, "body"),
        ('{"source": "s", "type": "t"}', "id"),
        ('{"id": 1, "source": "s", "type": "t"}', "id"),
        ('{"id": "1", "source": "", "type": "t"}', "source"),
        ('{"id": "1", "source": "s"}', "type"),
    ],
)
def test_what_is_no_cloudevent_is_refused_before_anything_is_sent(body, field):
    seen: list[httpx.Request] = []
    with made(reply(202, TAKEN), seen=seen) as client, pytest.raises(InvalidEvent) as caught:
        client.publish(body, KEY)

    assert caught.value.field == field
    assert seen == []


@pytest.mark.parametrize("key", ["", " a", "a ", "a\r\nX-Evil: 1", "a\x00", "ü"])
def test_a_key_that_is_no_header_value_is_refused_before_anything_is_sent(key):
    seen: list[httpx.Request] = []
    with made(reply(202, TAKEN), seen=seen) as client, pytest.raises(ValueError, match="idempotency_key"):
        client.publish(BODY, key)

    assert seen == []


def test_the_answer_is_compared_with_what_the_body_says():
    sent = client_room._sent(
        build_event("t", None, source="s", subject="x", time="2026-01-02T03:04:05Z").encode()
    )

    assert (sent.source, sent.type, sent.subject) == ("s", "t", "x")
    assert sent.time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("more", [{"time": "yesterday"}, {"time": 5}, {"time": None}, {"subject": 5}])
def test_a_time_or_subject_nobody_can_read_is_not_compared(more):
    sent = client_room._sent(json.dumps({"id": "1", "source": "s", "type": "t"} | more))

    assert (sent.time, sent.subject) == (None, "")


# ------------------------------------------------------------------------------------------- the status


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (reply(200, {"id": "evt-1", "status": "delivered"}), Verdict.DELIVERED),
        (reply(200, {"id": "evt-1", "status": "Failed"}), Verdict.FAILED),
        (reply(200, {"id": "evt-1", "status": "accepted"}), Verdict.NOT_YET),
        (reply(404), Verdict.NOT_YET),
        (reply(500), Verdict.NOT_YET),
        (httpx.ReadTimeout("slow"), Verdict.NOT_YET),
    ],
)
def test_status_says_how_far_the_event_is(answer, verdict):
    with made(answer) as client:
        status = client.status("evt-1")

    assert (status.remote_id, status.verdict) == ("evt-1", verdict)
    assert status.is_final is (verdict is not Verdict.NOT_YET)


@pytest.mark.parametrize(
    ("answer", "error"),
    [(reply(403), Halted), (reply(429), Halted), (reply(401), Halted), (reply(410), OutcomeUnknown)],
)
def test_status_raises_where_asking_again_does_not_help(answer, error):
    with made(answer) as client, pytest.raises(error):
        client.status("evt-1")


@pytest.mark.parametrize("remote_id", ["", ".", "..", "a\r\nb", "\x00", "a" * 256, "\ud800"])
def test_what_is_no_id_is_refused_before_anything_is_asked(remote_id):
    seen: list[httpx.Request] = []
    with made(reply(200), seen=seen) as client, pytest.raises(ValueError, match="remote_id"):
        client.status(remote_id)

    assert seen == []


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


PENDING = reply(200, {"id": "evt-1", "status": "accepted"})
DELIVERED = reply(200, {"id": "evt-1", "status": "delivered"})


def waited(client: EventBridgeClient, timeout: float = 60.0) -> tuple[Status, Time]:
    time = Time()
    with client:
        return client.wait_until_final("evt-1", timeout, clock=time.clock, sleep=time.sleep), time


def test_waiting_ends_with_the_final_status():
    status, time = waited(made(PENDING, PENDING, DELIVERED))

    assert status.verdict is Verdict.DELIVERED
    assert time.slept == [1.0, 2.0]


def test_waiting_ends_at_once_where_it_is_final_already():
    status, time = waited(made(reply(200, {"id": "evt-1", "status": "failed"})), 0.0)

    assert (status.verdict, time.slept) == (Verdict.FAILED, [])


def test_waiting_asks_a_last_time_when_the_time_is_over():
    seen: list[httpx.Request] = []
    with pytest.raises(Unconfirmed, match="not delivered it yet"):
        waited(made(PENDING, seen=seen), 7.0)

    assert sum(request.method == "GET" for request in seen) == 5  # at 0, 1, 3, 5 and 7


def test_waiting_outlasts_network_trouble_and_rate_limits():
    answers = (httpx.ConnectError("down"), reply(429, None, Retry_After="12"), reply(503), DELIVERED)
    status, time = waited(made(*answers))

    assert status.verdict is Verdict.DELIVERED
    assert time.slept == [1.0, 12.0, 2.0]


def test_waiting_ends_where_the_platform_wants_more_time_than_there_is():
    time = Time()
    with made(reply(429, None, Retry_After="3600")) as client, pytest.raises(Unconfirmed, match="3600"):
        client.wait_until_final("evt-1", 60.0, clock=time.clock, sleep=time.sleep)

    assert time.slept == []


@pytest.mark.parametrize(
    ("answer", "error"), [(reply(410), Unconfirmed), (reply(403), Halted), (reply(401), Halted)]
)
def test_waiting_ends_at_once_where_it_is_hopeless(answer, error):
    seen: list[httpx.Request] = []
    with pytest.raises(error):
        waited(made(answer, seen=seen))

    assert sum(request.method == "GET" for request in seen) <= 2  # 401: a second time with a new token


# ------------------------------------------------------------------------------------- making a client


@pytest.mark.parametrize(
    ("given", "api", "login"),
    [
        ({"region": "eu-central-1"}, "https://api.mypurecloud.de", "https://login.mypurecloud.de"),
        ({"region": "api.mypurecloud.ie"}, "https://api.mypurecloud.ie", "https://login.mypurecloud.ie"),
        (
            {"api_base_url": "https://api.example.com/"},
            "https://api.example.com",
            "https://login.example.com",
        ),
        (
            {"region": "us-east-1", "api_base_url": "https://api.example.com"},
            "https://api.example.com",
            "https://login.example.com",
        ),
        (
            {"region": "us-east-1", "login_base_url": "https://login.example.com"},
            "https://api.mypurecloud.com",
            "https://login.example.com",
        ),
        (
            {"api_base_url": "http://localhost:1/x", "login_base_url": "http://localhost:2"},
            "http://localhost:1/x",
            "http://localhost:2",
        ),
    ],
)
def test_explicit_urls_win_over_the_region_and_login_follows_the_api(given, api, login):
    platform = made(reply(202), **{"region": None, **given}).platform

    assert (platform.api_base_url, platform.login_base_url) == (api, login)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"region": None}, "REGION is missing"),
        ({"region": "nowhere"}, "REGION"),
        ({"region": None, "api_base_url": "https://gateway.example.com"}, "LOGIN_BASE_URL"),
        ({"api_base_url": "http://api.example.com"}, "API_BASE_URL"),
        ({"client_secret": ""}, "CLIENT_SECRET"),
        ({"request_deadline": 0}, "REQUEST_DEADLINE"),
        ({"redact_keys": 5}, "REDACT_KEYS must be a list of strings"),
        ({"redact_keys": "iban"}, "REDACT_KEYS must be a list of strings"),
        ({"accepted_codes": 5}, "ACCEPTED_CODES must be a list of HTTP status codes"),
        ({"duplicate_codes": ["409"]}, "DUPLICATE_CODES must be a list of HTTP status codes"),
        ({"failed_statuses": [5]}, "FAILED_STATUSES must be a list of strings"),
    ],
)
def test_a_wrong_setting_is_named(settings, words):
    with pytest.raises(ValueError, match=words):
        made(reply(202), **settings)


def test_an_unknown_setting_is_refused_with_the_right_name():
    with pytest.raises(TypeError, match=r"'deadline'\. Did you mean 'request_deadline'"):
        made(reply(202), deadline=5)
    with pytest.raises(TypeError, match="unexpected keyword 'zzz'"):
        made(reply(202), zzz=5)


def test_rules_are_settings_too_as_people_write_them():
    rules = made(
        reply(202),
        accepted_codes=[202],
        delivered_statuses=["Done"],
        redact_keys=["iban"],
        not_found_grace=1.0,
    ).platform.rules

    assert (rules.accepted_codes, rules.delivered_statuses) == (frozenset({202}), frozenset({"done"}))
    assert (rules.redact_keys, rules.not_found_grace) == (("iban",), 1.0)


def test_clients_without_a_transport_share_the_token_of_the_process():
    one, two = (
        EventBridgeClient(region="us-east-1", client_id="shared", client_secret="s") for _ in range(2)
    )

    assert one._sender._credentials is two._sender._credentials
    assert one._sender._transport is not two._sender._transport


def test_values_are_frozen():
    for value, name in ((Accepted("evt-1"), "remote_id"), (Status("evt-1", Verdict.NOT_YET), "verdict")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, "x")


# ------------------------------------------------------------------------------------ threads and logs


def test_threads_take_turns():
    busy, most = [0], [0]
    guard = threading.Lock()

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth/token":
            return httpx.Response(200, json=TOKEN)
        with guard:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
        threading.Event().wait(0.01)
        with guard:
            busy[0] -= 1
        return httpx.Response(202, json=TAKEN)

    client = EventBridgeClient(
        region="us-east-1", client_id="i", client_secret="s", transport=httpx.MockTransport(handle)
    )
    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(client.publish(BODY, KEY))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)

    assert (len(results), most) == (8, [1])


def test_a_client_that_is_busy_too_long_sends_nothing():
    seen: list[httpx.Request] = []
    client = made(reply(202, TAKEN), seen=seen, request_deadline=0.05)
    with client._lock, pytest.raises(Halted, match="another thread") as caught:
        client.publish(BODY, KEY)

    assert caught.value.kind == "network"
    assert seen == []


def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent(monkeypatch):
    client = made(reply(202, TAKEN), request_deadline=0.05)
    client._lock.acquire()
    monkeypatch.setattr("os.getpid", lambda: -1)

    assert client.publish(BODY, KEY).remote_id == "evt-1"


def test_nothing_is_logged_of_an_ordinary_request(caplog):
    """httpx.Client would write a line per request at INFO."""
    caplog.set_level(logging.INFO)
    with made(reply(202, TAKEN)) as client:
        client.publish(BODY, KEY)

    assert caplog.messages == []


def test_an_error_tells_neither_secret_token_nor_payload():
    """With a platform that repeats whatever it was sent."""
    canary = build_event("t", {"card": "canary-payload"}, source="s").encode()

    def echo(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth/token":
            return httpx.Response(200, json=TOKEN | {"access_token": "canary-token-123"})
        heard = f"{request.headers['Authorization']} canary-secret-123"
        return httpx.Response(
            400, json={"message": heard, "contextId": "c"}, headers={"ININ-Correlation-Id": heard}
        )

    client = EventBridgeClient(
        region="us-east-1",
        client_id="i",
        client_secret="canary-secret-123",
        transport=httpx.MockTransport(echo),
    )
    with pytest.raises(Rejected) as caught:
        client.publish(canary, KEY)

    shown = [str(caught.value), repr(caught.value), caught.value.correlation_id, repr(client.platform)]
    assert [text for text in shown if "canary" in text] == []
