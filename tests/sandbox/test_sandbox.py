"""The sandbox: what the stand-in for the platform answers, remembers and writes into its ledger."""

import base64
import contextlib
import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.cloudevents import build_event
from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.management.commands.eventbridge_sandbox import Command
from genesys_eventbridge.sandbox import HangUp, Options, Sandbox, Scenario, control, serve
from genesys_eventbridge.sandbox.hostile import TRICKS
from genesys_eventbridge.sandbox.memory import Memory
from genesys_eventbridge.sandbox.start import CLIENT_ID, CLIENT_SECRET, is_loopback, settings_block
from genesys_eventbridge.sandbox.validation import check_event, read_members
from tests.sandbox.callers import (
    CANARY,
    EVENTS_PATH,
    TOKEN_PATH,
    Caller,
    Clock,
    event,
    exchange,
    outcome,
    webhook_path,
)

FORM = "application/x-www-form-urlencoded"


# ------------------------------------------------------------------------------------- the token endpoint


def test_any_credentials_that_are_not_empty_get_a_bearer_token_with_its_life_in_seconds(sandbox):
    answer = Caller(sandbox).token()

    assert answer.status_code == 200
    assert answer.json()["token_type"] == "bearer"
    assert answer.json()["expires_in"] == 24 * 3600
    assert answer.json()["access_token"].isascii()


@pytest.mark.parametrize(
    ("changes", "status", "error", "description"),
    [
        ({"auth": ("client", "")}, 401, "invalid_client", "client not found"),
        ({"auth": ("", "secret")}, 401, "invalid_client", "client not found"),
        ({"auth": None}, 401, "invalid_client", "client not found"),
        ({"auth": None, "headers": {"Authorization": "Basic ?"}}, 401, "invalid_client", "client not found"),
        ({"auth": None, "headers": {"Authorization": "Bearer x"}}, 401, "invalid_client", "client not found"),
        ({"data": {"grant_type": "password"}}, 400, "unsupported_grant_type", "client_credentials"),
        ({"data": {}}, 400, "invalid_request", FORM),
        ({"data": None, "json": {"grant_type": "client_credentials"}}, 400, "invalid_request", FORM),
    ],
)
def test_a_wrong_token_request_is_refused_in_the_shape_of_oauth(sandbox, changes, status, error, description):
    answer = Caller(sandbox).token(**changes)

    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert description in answer.json()["description"]
    assert answer.json()["error_description"] == answer.json()["description"]


def test_fixed_credentials_let_nobody_else_in():
    caller = Caller(Sandbox(credentials={"client": CANARY}))

    assert caller.token().status_code == 200
    assert caller.token(auth=("client", "other")).json()["description"] == "client not found"
    assert caller.token(auth=("other", CANARY)).status_code == 401


def test_the_token_door_takes_post_only(caller):
    assert caller.http.get(TOKEN_PATH).status_code == 405


def test_too_many_token_requests_are_a_400_that_names_the_rate_limit_until_the_window_ends(clock):
    caller = Caller(Sandbox(clock=clock, token_rate=2, rate_window=30))
    answers = [caller.token() for _ in range(3)]
    clock.now += 30

    assert [answer.status_code for answer in answers] == [200, 200, 400]
    assert answers[2].json()["error"] == "invalid_request"
    assert answers[2].json()["description"].startswith("rate limit exceeded;")
    assert caller.token().status_code == 200


def test_a_token_serves_until_its_life_is_over(clock):
    caller = Caller(Sandbox(clock=clock, token_lifetime=300)).login()

    clock.now += 299.9
    assert caller.publish(event()).status_code == 202
    clock.now += 0.1
    assert caller.publish(event(2), "key-2").status_code == 401
    assert caller.login().publish(event(2), "key-2").status_code == 202


# ----------------------------------------------------------------------------------- the publish endpoint


def test_an_accepted_event_is_answered_202_with_the_members_of_the_contract(caller, sandbox):
    answer = caller.publish(event())

    assert answer.status_code == 202
    assert re.fullmatch(r"evt-[0-9a-f-]{36}", answer.json()["id"])
    assert {
        name: value for name, value in answer.json().items() if name not in ("id", "deliveryDetails")
    } == {
        "specversion": "1.0",
        "type": "order.created",
        "source": "com.example.tests",
        "subject": "ORD-1",
        "time": "2026-11-23T10:00:00.000Z",
        "status": "accepted",
        "deliveryStatus": "pending",
    }
    assert sandbox.received == [event()]


@pytest.mark.parametrize("status", [409, 200])
def test_a_known_key_with_the_same_body_answers_the_original_and_accepts_nothing(clock, status):
    sandbox = Sandbox(clock=clock, replay_status=status)
    caller = Caller(sandbox).login()
    first = caller.publish(event())
    again = caller.publish(event())

    assert (again.status_code, again.json()) == (status, first.json())
    assert sandbox.ledger()["accepts"] == {"com.example.tests event-1": 1}
    assert sandbox.ledger()["drift"] == []


def test_a_known_key_with_another_body_answers_the_original_and_is_drift_in_the_ledger(caller, sandbox):
    first = caller.publish(event())
    other = caller.publish(event(2, type="order.cancelled"))

    assert (other.status_code, other.json()["id"]) == (409, first.json()["id"])
    assert other.json()["type"] == "order.created"
    assert sandbox.ledger()["drift"] == ["key-1"]
    assert len(sandbox.ledger()["bodies_by_key"]["key-1"]) == 2
    assert sandbox.received == [event()]


def test_the_original_is_answered_with_the_status_it_has_by_now(caller, clock):
    caller.publish(event())
    clock.now += 60

    assert caller.publish(event()).json()["status"] == "delivered"


def test_a_key_is_forgotten_after_its_window_and_the_ledger_shows_the_double(caller, sandbox, clock):
    caller.publish(event())
    clock.now += 24 * 3600 - 1
    caller.login()
    inside = caller.publish(event())
    clock.now += 1
    after = caller.login().publish(event())

    assert (inside.status_code, after.status_code) == (409, 202)
    assert sandbox.ledger()["accepts"] == {"com.example.tests event-1": 2}
    assert sandbox.ledger()["accepts_by_key"] == {"key-1": 2}


def test_two_requests_with_one_key_at_the_same_instant_are_one_acceptance(monkeypatch):
    both_here = threading.Barrier(2)
    new_id = uuid.uuid4

    def meet():
        """Both threads come here only if neither decision waits for the other."""
        with contextlib.suppress(threading.BrokenBarrierError):
            both_here.wait(timeout=0.2)
        return new_id()

    monkeypatch.setattr("genesys_eventbridge.sandbox.memory.uuid.uuid4", meet)
    memory = Memory(Clock())
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda _: memory.accept("key", b"{}", event(), Options()), range(2))

    assert sorted(new for _, new in answers) == [False, True]


def test_without_a_key_every_request_is_a_new_event(caller, sandbox):
    headers = {"Idempotency-Key": None}

    assert [caller.publish(event(), **headers).status_code for _ in range(2)] == [202, 202]
    assert sandbox.ledger()["accepts"] == {"com.example.tests event-1": 2}
    assert sandbox.ledger()["accepts_by_key"] == {}


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (event(), {"Authorization": None}, (401, "authentication.required", "bearer")),
        (event(), {"Authorization": "Bearer nobody"}, (401, "authentication.required", "not known")),
        (event(), {"Authorization": "Basic x"}, (401, "authentication.required", "bearer")),
        (event(), {"Content-Type": "application/json"}, (415, "unsupported.media.type", "cloudevents+json")),
        (event(), {"Content-Type": None}, (415, "unsupported.media.type", "cloudevents+json")),
        (
            b"[]",
            {"Content-Type": "application/cloudevents-batch+json"},
            (415, "unsupported.media.type", "application/cloudevents+json"),
        ),
        (event(data="x" * 512_000), {}, (413, "request.entity.too.large", "Maximum bytes: 512000")),
        (b"x" * (9 * 1024 * 1024), {}, (413, "request.entity.too.large", "Content-Length: 9437184")),
        (b"", {}, (400, "bad.request", "body is empty")),
        (
            event(type="order.unknown"),
            {},
            (400, "bad.request", 'event type "order.unknown" is not registered'),
        ),
        (event(specversion="0.3"), {}, (400, "bad.request", "specversion")),
    ],
)
def test_a_refused_event_is_answered_with_the_official_error_body_and_not_accepted(
    caller, sandbox, body, headers, expected
):
    status, code, words = expected
    sandbox.unregister("order.unknown")
    answer = caller.publish(body, **headers)

    assert answer.status_code == status
    assert set(answer.json()) == {"message", "code", "status", "contextId", "details", "errors"}
    assert (answer.json()["code"], answer.json()["status"]) == (code, status)
    assert words in answer.json()["message"]
    assert answer.json()["contextId"] == answer.headers["ININ-Correlation-Id"]
    assert sandbox.received == []
    assert sandbox.ledger()["accepts"] == {}


def test_an_empty_body_is_refused_only_after_the_token_so_that_it_can_probe_the_right(caller):
    assert caller.publish(b"", Authorization=None).status_code == 401
    assert caller.publish(b"").status_code == 400


def test_a_media_type_is_compared_without_case_and_parameters(caller):
    headers = {"Content-Type": "Application/CloudEvents+JSON; charset=utf-8"}

    assert caller.publish(event(), **headers).status_code == 202


def test_events_are_published_by_post_only(caller):
    answer = caller.http.put(EVENTS_PATH, headers={"Authorization": f"Bearer {caller.bearer}"})

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_paths_header_and_media_type_are_options():
    sandbox = Sandbox(
        token_path="/login",
        events_path="/in",
        idempotency_header="X-Key",
        content_type="application/json",
        max_event_bytes=1000,
    )
    http = Caller(sandbox).http
    bearer = http.post("/login", auth=("a", "b"), data={"grant_type": "client_credentials"}).json()
    headers = {"Authorization": f"Bearer {bearer['access_token']}", "X-Key": "k"}
    answers = [http.post("/in", json=event(), headers=headers) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 409]
    assert http.get(f"/in/{answers[0].json()['id']}", headers=headers).status_code == 200
    assert http.post("/in", json=event(data="x" * 1000), headers=headers).status_code == 413


def test_every_answer_carries_a_correlation_id_of_its_own(caller):
    answers = [caller.token(), caller.publish(event()), caller.status("x"), caller.http.get("/nowhere")]
    ids = [answer.headers["ININ-Correlation-Id"] for answer in answers]

    assert len(set(ids)) == 4


# ---------------------------------------------------------------------------------- what is a CloudEvent


@pytest.mark.parametrize(
    "changes",
    [
        {"data": None},
        {"data": []},
        {"data": "text"},
        {"data": 0},
        {"data": ..., "data_base64": "AAEC"},
        {"datacontenttype": "text/plain; charset=utf-8", "data": "text"},
        {"datacontenttype": "application/vnd.x+json", "data": {"a": 1}},
        {"datacontenttype": "Application/JSON", "data": {"a": 1}},
        {"subject": ...},
        {"subject": None},
        {"source": "//authority/path"},
        {"source": "#fragment"},
        {"source": "1-555-123-4567"},
        {"source": "/a:b"},
        {"source": "urn:event:from:myapi"},
        {"source": "https://user@[2001:db8::1]:8080/path?a=b#c"},
        {"dataschema": "https://example.com/schema#part"},
        {"time": "2026-11-23T10:00:00+05:30"},
        {"time": "2026-11-23t10:00:00.123456789z"},
        {"time": "2016-12-31T23:59:60Z"},
        {"traceparent": "00-1-2-01"},
        {"count": 2147483647},
        {"count": -2147483648},
        {"flag": False},
        {"averyveryverylongextensionname1": "x"},
        {"1st": "x"},
        {"subject": "Käse 🧀"},
    ],
    ids=repr,
)
def test_a_valid_cloudevent_is_accepted(caller, sandbox, changes):
    answer = caller.publish(event(**changes))

    assert answer.status_code == 202, answer.text
    assert sandbox.received == [event(**changes)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"specversion": ...}, "specversion"),
        ({"specversion": "1.0.2"}, "specversion"),
        ({"specversion": 1.0}, "specversion"),
        ({"id": ...}, "id: required"),
        ({"id": None}, "id: required"),
        ({"id": ""}, "id: must not be empty"),
        ({"id": 7}, "id: must be text, not a number"),
        ({"source": ...}, "source: required"),
        ({"source": "with space"}, "source: must be a URI-reference"),
        ({"source": "/a%zz"}, "source: must be a URI-reference"),
        ({"source": "1a:b"}, "source: must be a URI-reference"),
        ({"source": ":x"}, "source: must be a URI-reference"),
        ({"source": ""}, "source: must be a URI-reference"),
        ({"source": "é"}, "source: must be a URI-reference"),
        ({"source": "a#b#c"}, "source: must be a URI-reference"),
        ({"source": "[::1]"}, "source: must be a URI-reference"),
        ({"type": ...}, "type: required"),
        ({"type": "a\nb"}, "type: U+000A"),
        ({"type": True}, "type: must be text, not a boolean"),
        ({"subject": ""}, "subject: must not be empty"),
        ({"subject": "\x7f"}, "subject: U+007F"),
        ({"subject": "\ufffe"}, "subject: U+FFFE"),
        ({"subject": "\ufdd0"}, "subject: U+FDD0"),
        ({"subject": "\ud800"}, "subject: U+D800"),
        ({"time": ...}, "time: required"),
        ({"time": "2026-11-23"}, "time: must be an RFC 3339"),
        ({"time": "2026-11-23T10:00:00"}, "time: must be an RFC 3339"),
        ({"time": "2026-11-23T10:00:00+0530"}, "time: must be an RFC 3339"),
        ({"time": "2026-11-23T24:00:00Z"}, "time: must be an RFC 3339"),
        ({"time": "2026-11-23T10:00:00+05:60"}, "time: must be an RFC 3339"),
        ({"time": "2026-02-30T10:00:00Z"}, "time: must be an RFC 3339"),
        ({"time": "٢٠٢٦-11-23T10:00:00Z"}, "time: must be an RFC 3339"),
        ({"dataschema": "/relative"}, "dataschema: must be an absolute URI"),
        ({"dataschema": "https://exa mple"}, "dataschema: must be a URI-reference"),
        ({"datacontenttype": "json"}, "datacontenttype: must be a media type"),
        ({"datacontenttype": "text/plain"}, "data: must be text where datacontenttype is text/plain"),
        ({"datacontenttype": "application/json-seq"}, "data: must be text"),
        ({"data": ...}, "data: exactly one"),
        ({"data_base64": "AAEC"}, "data: exactly one"),
        ({"data": ..., "data_base64": "!!!"}, "data_base64"),
        ({"data": ..., "data_base64": None}, "data_base64"),
        ({"Upper": "x"}, "'Upper': attribute names"),
        ({"ext\n": "x"}, "attribute names"),
        ({"é": "x"}, "'\\xe9': attribute names"),
        ({"number": 1.0}, "number: must be text, an integer or a boolean, not a number"),
        ({"number": 2**31}, "number: integers have 32 bits"),
        ({"number": -(2**31) - 1}, "number: integers have 32 bits"),
        ({"things": []}, "things: must be text, an integer or a boolean, not an array"),
        ({"things": {}}, "not an object"),
    ],
    ids=repr,
)
def test_an_invalid_cloudevent_is_refused_with_the_attribute_and_the_rule(caller, sandbox, changes, words):
    answer = caller.publish(event(**changes))

    assert answer.status_code == 400
    assert words in answer.json()["message"]
    assert sandbox.received == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", "not a JSON object but an array"),
        (b"null", "not a JSON object but null"),
        (b'"text"', "not a JSON object but text"),
        (b"17", "not a JSON object but a number"),
        (b"{", "not JSON"),
        (b'{"a": NaN}', "not JSON: NaN"),
        (b'{"a": -Infinity}', "not JSON"),
        (b'{"id": "1", "id": "2"}', "repeats a member"),
        (b'{"id": "\xff"}', "not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b"\xef\xbb\xbf{}", "not JSON"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(caller, body, words):
    answer = caller.publish(body)

    assert answer.status_code == 400
    assert words in answer.json()["message"]


NEARLY = st.text("aZ09./?-_+", min_size=1, max_size=12) | st.text("a:/?#@%2F é\n\x7f", max_size=12)


@given(
    given_type=NEARLY,
    attributes=st.fixed_dictionaries(
        {"source": NEARLY},
        optional={
            "id": NEARLY,
            "subject": NEARLY,
            "time": st.datetimes(timezones=st.timezones()),
            "dataschema": NEARLY.map("urn:".__add__),
            "datacontenttype": st.sampled_from(["application/json", "text/plain", "a/b+json; c=d"]),
        },
    ),
    extension=NEARLY
    | st.booleans()
    | st.integers(-(2**31), 2**31 - 1)
    | st.datetimes(timezones=st.timezones()),
    data=st.text() | st.binary(),
)
def test_what_the_builder_builds_the_judge_takes(given_type, attributes, extension, data):
    try:
        built = build_event(given_type, data, extensions={"ext1": extension}, **attributes)
    except InvalidEvent:
        return
    check_event(read_members(built.encode().encode()))


@given(body=st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(str).map(str.encode))
def test_no_body_at_all_makes_the_sandbox_fail(body):
    answer = Caller(Sandbox()).login().publish(body)

    assert answer.status_code == 400


# ------------------------------------------------------------------------------------ the status endpoint


def test_the_status_advances_from_accepted_to_delivered_with_time(caller, sandbox, clock):
    sandbox.configure(deliver_after=10)
    remote_id = caller.publish(event()).json()["id"]

    clock.now += 9.9
    before = caller.status(remote_id).json()
    clock.now += 0.1
    after = caller.status(remote_id).json()

    assert (before["status"], before["deliveryStatus"]) == ("accepted", "pending")
    assert (after["status"], after["deliveryStatus"]) == ("delivered", "delivered")
    assert after["id"] == remote_id
    assert after["deliveryDetails"]["attempts"] == 1


def test_an_event_accepted_under_accepted_then_failed_fails_even_when_the_scenario_changes(
    caller, sandbox, clock
):
    sandbox.scenario = "accepted-then-failed"
    remote_id = caller.publish(event()).json()["id"]
    sandbox.scenario = "happy"
    clock.now += 60

    assert caller.status(remote_id).json()["status"] == "failed"
    assert caller.status(remote_id).json()["deliveryDetails"]["reason"] != ""


@pytest.mark.parametrize("remote_id", ["evt-unknown", "..%2f..%2fadmin", "%00", "%f0%9f%92%a9", "a/b"])
def test_an_unknown_id_is_404(caller, remote_id):
    answer = caller.status(remote_id)

    assert (answer.status_code, answer.json()["code"]) == (404, "not.found")


def test_the_status_needs_the_bearer_and_takes_get_only(caller):
    remote_id = caller.publish(event()).json()["id"]
    headers = {"Authorization": f"Bearer {caller.bearer}"}

    assert caller.http.get(f"{EVENTS_PATH}/{remote_id}").status_code == 401
    assert caller.http.delete(f"{EVENTS_PATH}/{remote_id}", headers=headers).status_code == 405


# ------------------------------------------------------------------------------------------- the scenarios


def test_flaky_answers_503_twice_to_every_third_new_event_and_then_accepts_it(caller, sandbox):
    sandbox.scenario = "flaky"
    tries = {
        number: [caller.publish(event(number), f"key-{number}").status_code for _ in range(4)]
        for number in range(1, 7)
    }

    steady, failing = [202, 409, 409, 409], [503, 503, 202, 409]
    assert tries == {1: steady, 2: steady, 3: failing, 4: steady, 5: steady, 6: failing}
    assert set(sandbox.ledger()["accepts"].values()) == {1}


def test_outage_is_503_at_every_door_of_the_platform_and_nothing_is_accepted(caller, sandbox):
    remote_id = caller.publish(event()).json()["id"]
    sandbox.scenario = "outage"

    assert caller.token().status_code == 503
    assert caller.publish(event(2), "key-2").status_code == 503
    assert caller.status(remote_id).status_code == 503
    assert caller.http.get("/").status_code == 200
    assert sandbox.received == [event()]


def test_above_the_rate_comes_the_official_429_until_the_window_ends(caller, sandbox, clock):
    sandbox.configure(rate=2, rate_window=42)
    remote_id = caller.publish(event()).json()["id"]
    second = caller.status(remote_id)
    clock.now += 11.5
    third = caller.publish(event(2), "key-2")
    clock.now += 30.5

    assert second.headers["inin-ratelimit-count"] == "2"
    assert second.headers["inin-ratelimit-allowed"] == "2"
    assert third.status_code == 429
    assert third.headers["Retry-After"] == third.headers["inin-ratelimit-reset"] == "31"
    assert third.json() == {
        "message": "Rate limit exceeded the maximum. Retry the request in [31] seconds",
        "code": "too.many.requests.retry.after",
        "status": 429,
        "contextId": third.headers["ININ-Correlation-Id"],
        "details": [],
        "errors": [],
    }
    assert caller.publish(event(2), "key-2").status_code == 202


def test_rate_limited_without_a_rate_allows_sixty_a_minute(caller, sandbox):
    sandbox.scenario = "rate-limited"
    answers = [caller.status("evt-none").status_code for _ in range(61)]

    assert answers == [404] * 60 + [429]


def test_a_refused_bearer_does_not_use_up_the_rate(caller, sandbox):
    sandbox.configure(rate=1)
    caller.publish(event(), Authorization="Bearer nobody")

    assert caller.publish(event()).status_code == 202


def test_latency_holds_every_answer_back_and_slow_holds_it_back_for_seconds(caller, sandbox, waits):
    sandbox.configure(latency=0.25)
    caller.publish(event())
    sandbox.scenario = "slow"
    caller.status("evt-none")
    caller.http.get("/_ledger")

    assert waits == [0.25, 3.0]


def test_expired_token_refuses_each_token_after_its_fifth_request(caller, sandbox):
    sandbox.scenario = "expired-token"
    answers = [caller.publish(event(number), f"key-{number}").status_code for number in range(6)]

    assert answers == [202] * 5 + [401]
    assert caller.login().publish(event(5), "key-5").status_code == 202


def test_lost_response_accepts_each_event_and_closes_without_an_answer(caller, sandbox):
    sandbox.scenario = "lost-response"
    with pytest.raises(HangUp):
        caller.publish(event())

    assert caller.publish(event()).status_code == 409
    assert sandbox.ledger()["accepts"] == {"com.example.tests event-1": 1}
    assert sandbox.ledger()["requests"] == {
        "token POST 200": 1,
        "publish POST closed": 1,
        "publish POST 409": 1,
    }


def test_hostile_plays_every_trick_of_a_door_in_turn_and_leaves_tokens_alone(caller, sandbox):
    sandbox.scenario = "hostile"
    turns = len(TRICKS["publish"])
    answers = [outcome(caller.publish, event(number), f"key-{number}") for number in range(turns + 1)]

    assert caller.token().status_code == 200
    assert set(answers) >= {200, 202, 204, 302, 307, 403, 409, 429, 503, 504, 599, "DecodingError"}
    assert answers[-1] == answers[0]
    assert len(sandbox.ledger()["attempts"]) == turns + 3


@pytest.mark.parametrize("name", TRICKS["publish"])
def test_a_trick_that_plays_before_the_platform_accepts_nothing_and_any_other_does(caller, sandbox, name):
    sandbox.fail_next(name)
    answered = outcome(caller.publish, event())
    accepted = len(sandbox.received)

    assert accepted == TRICKS["publish"][name].honest_first
    assert not (accepted and answered in (302, 307, 403, 429, 503, 599))
    assert caller.publish(event()).status_code == (409 if accepted else 202)


@pytest.mark.parametrize("endpoint", ["publish", "status"])
def test_an_honest_refusal_is_not_spoiled(caller, sandbox, endpoint):
    sandbox.fail_next("half-body", on=endpoint)
    answer = caller.publish(b"") if endpoint == "publish" else caller.status("evt-none")

    assert answer.json()["code"] in ("bad.request", "not.found")


@pytest.mark.parametrize("name", TRICKS["token"])
def test_every_trick_of_the_token_door_answers_and_the_next_request_is_honest(sandbox, name):
    caller = Caller(sandbox)
    sandbox.fail_next(name, on="token")

    assert caller.token().content != caller.token().content
    assert caller.login().publish(event()).status_code == 202


def test_what_follows_a_redirect_of_ours_is_seen_in_the_ledger(caller, sandbox):
    sandbox.fail_next("redirect-302")
    answer = caller.publish(event())

    assert caller.http.get(answer.headers["Location"]).status_code == 202
    assert sandbox.ledger()["requests"]["trap GET 202"] == 1


# ------------------------------------------------------------------------------------------ planned faults


def test_planned_faults_are_used_up_in_order_and_accept_nothing(caller, sandbox):
    sandbox.fail_next(503, times=2)
    sandbox.fail_next(404)
    answers = [caller.publish(event()).status_code for _ in range(4)]

    assert answers == [503, 503, 404, 202]
    assert sandbox.received == [event()]


def test_a_planned_fault_hits_only_its_door(sandbox):
    caller = Caller(sandbox)
    sandbox.fail_next(500, on="status")
    sandbox.fail_next(401, on="token")
    refused = caller.token()

    assert (refused.status_code, refused.json()["description"]) == (401, "client not found")
    remote_id = caller.login().publish(event()).json()["id"]
    assert [caller.status(remote_id).status_code for _ in range(2)] == [500, 200]


def test_a_planned_0_closes_the_connection_and_accepts_nothing(caller, sandbox):
    sandbox.fail_next(0)
    with pytest.raises(HangUp):
        caller.publish(event())

    assert sandbox.received == []
    assert caller.publish(event()).status_code == 202


def test_planned_faults_can_be_taken_back(caller, sandbox):
    sandbox.fail_next(503, times=3)
    sandbox.fail_next(500, on="status")

    sandbox.stop_failing()

    assert sandbox.state()["planned"] == {"publish": [], "status": [], "token": [], "webhook": []}
    assert caller.publish(event()).status_code == 202


@pytest.mark.parametrize(("given_", "seen"), [(None, "1"), (480, "480"), ("soon", "soon"), ("", None)])
def test_a_planned_429_says_retry_after_as_told(caller, sandbox, given_, seen):
    sandbox.fail_next(429, retry_after=given_)

    assert caller.publish(event()).headers.get("Retry-After") == seen


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"fault": 202}, "202 is not a status from 300 to 999"),
        ({"fault": 1000}, "1000 is not a status"),
        ({"fault": "no-such-trick"}, "'no-such-trick' is unknown; choose a status or html-200"),
        ({"fault": "no-status"}, "'no-status' is unknown"),
        ({"fault": 503, "on": "moon"}, "'moon' is unknown; choose from publish, status, token, webhook"),
        ({"fault": 503, "times": 0}, "times: 0"),
        ({"fault": 503, "times": 10_001}, "times: 10001 is not a whole number from 1 to 10000"),
        ({"fault": 429, "retry_after": "1\r\nX: y"}, "retry_after: must be printable ASCII"),
        ({"fault": 429, "retry_after": "٣"}, "retry_after: must be printable ASCII"),
    ],
)
def test_a_fault_that_cannot_be_planned_is_refused(sandbox, arguments, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        sandbox.fail_next(**arguments)

    assert sandbox.state()["planned"] == {"publish": [], "status": [], "token": [], "webhook": []}


# ------------------------------------------------------------------------------- event types and switches


def test_where_types_are_registered_only_those_are_accepted(clock):
    sandbox = Sandbox(clock=clock, registered_types={"order.created"})
    caller = Caller(sandbox).login()

    assert caller.publish(event()).status_code == 202
    assert caller.publish(event(2, type="order.paid"), "key-2").status_code == 400
    sandbox.register("order.paid")
    assert caller.publish(event(2, type="order.paid"), "key-2").status_code == 202
    sandbox.unregister("order.created")
    assert caller.publish(event(3), "key-3").status_code == 400


def test_a_refused_type_is_accepted_once_it_is_registered(caller, sandbox):
    sandbox.unregister("order.created")
    refused = caller.publish(event())
    answer = caller.control(register="order.created")

    assert refused.json()["message"] == 'event type "order.created" is not registered'
    assert answer.json()["refused_types"] == []
    assert caller.publish(event()).status_code == 202


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scenario": "sunny"}, "'sunny' is unknown; choose from happy, flaky"),
        ({"replay_status": 200.5}, "replay_status"),
        ({"latency": -1}, "latency: -1 is not a number of at least 0"),
        ({"latency": float("nan")}, "latency"),
        ({"rate": 0}, "rate: 0 is not a whole number of at least 1"),
        ({"rate_window": 0}, "rate_window"),
        ({"deliver_after": float("inf")}, "deliver_after"),
        ({"latency": 3601}, "latency: 3601 is not a number of at least 0 and at most 3600"),
        ({"rate": 10**400}, "rate: 1000"),
        ({"rate": True}, "rate: True"),
        ({"rate": 1.5}, "rate: 1.5 is not a whole number"),
        ({"rate_window": "60"}, "rate_window: '60'"),
        ({"scenario": None}, "scenario: None"),
        ({"protocol": "smtp"}, "protocol: 'smtp' is unknown; choose from eventbridge, webhook, both"),
        ({"webhook_token": ""}, "webhook_token: must be 4 to 255 letters"),
        ({"webhook_token": None}, "webhook_token: "),
        ({"webhook_token": "a/b"}, "webhook_token: "),
        ({"webhook_token": "a b"}, "webhook_token: "),
        ({"webhook_token": "a%2fb"}, "webhook_token: "),
        ({"webhook_token": "abc"}, "webhook_token: "),
        ({"webhook_token": "...."}, "webhook_token: "),
        ({"webhook_token": "x" * 256}, "webhook_token: "),
        ({"flaky_every": 0}, "flaky_every"),
        ({"idempotency_header": "authorization"}, "idempotency_header: 'authorization'"),
        ({"idempotency_header": "a b"}, "idempotency_header: 'a b'"),
        ({"content_type": "json"}, "content_type: 'json'"),
        ({"events_path": "events"}, "events_path: 'events'"),
        ({"token_path": None}, "token_path: None"),
        ({"events_path": "/oauth/token"}, "events_path: '/oauth/token' is the token_path"),
    ],
)
def test_an_option_out_of_bounds_is_refused_and_nothing_changes(sandbox, changes, words):
    before = sandbox.options
    with pytest.raises(ValueError, match=re.escape(words)):
        sandbox.configure(**changes)

    assert sandbox.options is before


def test_the_repr_of_the_options_holds_no_secret():
    assert CANARY not in repr(Options(credentials={"client": CANARY}, webhook_token=CANARY))


def test_reset_forgets_what_happened_and_keeps_the_switches(caller, sandbox):
    sandbox.scenario = "flaky"
    caller.publish(event())
    sandbox.fail_next(503)
    sandbox.reset()

    assert caller.publish(event()).status_code == 401
    assert sandbox.scenario is Scenario.FLAKY
    assert sandbox.received == []
    assert sandbox.ledger()["requests"] == {"publish POST 401": 1}
    assert caller.login().publish(event()).status_code == 202


# ----------------------------------------------------------------------------------- the control endpoint


def test_the_control_door_shows_and_sets_the_switches_as_json(caller, sandbox):
    answer = caller.control(
        scenario="slow", latency_ms=50, rate=30, rate_window=10, deliver_after=0, unregister=["a", "b"]
    )
    shown = caller.http.get("/_control").json()

    assert answer.json() == shown == sandbox.state()
    assert (shown["scenario"], shown["latency_ms"], shown["rate"]) == ("slow", 50, 30)
    assert shown["refused_types"] == ["a", "b"]
    assert sandbox.options.latency == 0.05
    assert caller.control(rate=None).json()["rate"] is None


def test_the_control_door_plans_faults_and_resets(caller, sandbox):
    caller.control(fail_next=503, times=2)
    caller.control(fail_next="half-body", on="status", times="1")

    assert sandbox.state()["planned"] == {
        "publish": [503, 503],
        "status": ["half-body"],
        "token": [],
        "webhook": [],
    }
    caller.control(reset=True)
    assert sandbox.state()["planned"] == {"publish": [], "status": [], "token": [], "webhook": []}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"senario": "slow"}, "'senario' is unknown; choose from deliver_after"),
        ({"scenario": "sunny"}, "choose from happy"),
        ({"latency_ms": "much"}, "latency_ms: 'much' is not a number"),
        ({"rate": 0}, "rate: 0"),
        ({"rate": {}}, "rate: {} is not a number"),
        ({"register": ""}, "register: an event type"),
        ({"register": [1]}, "register: an event type"),
        ({"fail_next": "nonsense"}, "'nonsense' is unknown"),
        ({"fail_next": 503, "times": "x"}, "times: 'x' is not a number"),
        ({"fail_next": 503, "on": "moon"}, "'moon' is unknown"),
        ({"fail_next": 503, "scenario": "sunny"}, "choose from happy"),
        ({"scenario": ["slow"]}, "scenario: ['slow'] is not text"),
        ({"scenario": None}, "scenario: None is not text"),
        ({"latency_ms": -1}, "latency_ms: "),
        ({"latency_ms": 3_600_001}, "is not a number of milliseconds from 0 to 3600000"),
        ({"latency_ms": True}, "latency_ms: True is not a number"),
        ({"latency_ms": "nan"}, "latency_ms: 'nan' is not a number"),
        ({"latency_ms": "9" * 400}, "latency_ms: "),
        ({"rate": 2.5}, "rate: 2.5 is not a number without a fraction"),
        ({"rate": "٣"}, "rate: "),
        ({"rate": 10**17}, "rate: "),
        ({"rate_window": [1]}, "rate_window: [1] is not a number"),
        ({"rate_window": 10**400}, "rate_window: "),
        ({"deliver_after": "inf"}, "deliver_after: 'inf' is not a number"),
        ({"deliver_after": {}}, "deliver_after: {} is not a number"),
        ({"unregister": None}, "unregister: an event type"),
        ({"fail_next": True}, "fail_next: True"),
        ({"fail_next": 503.5}, "fail_next: 503.5"),
        ({"fail_next": ["half-body"]}, "fail_next: ['half-body']"),
        ({"fail_next": 503, "times": 10_001}, "times: 10001"),
        ({"fail_next": 503, "times": -1}, "times: "),
        ({"fail_next": 503, "times": True}, "times: True"),
        ({"fail_next": 503, "on": ["publish"]}, "on: ['publish'] is not text"),
        ({"fail_next": 429, "retry_after": [1]}, "retry_after: [1]"),
        ({"fail_next": 429, "retry_after": "a\nb"}, "retry_after: "),
        ({"times": 2}, "times: needs fail_next"),
        ({"reset": "false"}, "reset: 'false' is not true or false"),
        ({"reset": 2.5}, "reset: 2.5"),
        ({"x" * 9_000: 1}, "is unknown"),
    ],
)
@pytest.mark.parametrize("as_form", [False, True])
def test_a_wrong_switch_is_refused_by_name_and_nothing_else_is_changed(
    caller, sandbox, fields, words, as_form
):
    before = sandbox.state()
    body = {"deliver_after": 7, **fields}
    answer = caller.http.post("/_control", **({"data": body} if as_form else {"json": body}))

    if as_form and not all(type(value) in (str, int) for value in fields.values()):
        return  # a form carries text only
    assert answer.status_code == 400
    assert len(answer.text) < 1_000
    assert words.replace(": 0", ": ") in answer.text
    assert sandbox.state() == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"rate": NaN}',
        b'{"rate": 1, "rate": 2}',
        b'{"rate": ' + b"9" * 5000 + b"}",
        b'{"rate": ' + b"[" * 600 + b"]" * 600 + b"}",
        b'{"rate": 1}' + b" " * 64 * 1024,
    ],
)
def test_a_control_body_that_is_no_json_object_is_refused(caller, body):
    headers = {"Content-Type": "application/json"}
    answer = caller.http.post("/_control", content=body, headers=headers)

    assert answer.status_code == 400
    assert "the body" in answer.json()["message"]


@pytest.mark.parametrize("body", [b"rate=1&rate=2", b"rate=\xff", b"rate=1" + b"&" * 64 * 1024])
def test_a_control_form_that_cannot_be_read_is_refused(caller, body):
    answer = caller.http.post("/_control", content=body, headers={"Content-Type": FORM})

    assert (answer.status_code, answer.text[:30]) == (400, "Nothing was changed. the body ")


def test_no_number_of_requests_plans_more_faults_than_a_sandbox_can_hold(caller, sandbox):
    assert caller.control(fail_next=503, times=10_000).status_code == 200
    refused = caller.control(fail_next=503, times=1)

    assert refused.status_code == 400
    assert refused.json()["message"].startswith("times: 10000 faults are planned on publish already")
    assert caller.control(fail_next=503, times=1, on="status").status_code == 200


def test_a_form_sends_the_browser_back_to_the_page(caller, sandbox):
    answer = caller.http.post("/_control", data={"scenario": "outage"})

    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert sandbox.scenario is Scenario.OUTAGE
    assert caller.http.post("/_control", data={"rate": ""}).status_code == 303


def test_a_page_of_another_site_cannot_switch_the_sandbox(caller, sandbox):
    forged = caller.http.post(
        "/_control", data={"scenario": "outage"}, headers={"Origin": "https://evil.example"}
    )
    broken = caller.http.post("/_control", data={"scenario": "outage"}, headers={"Origin": "http://["})
    own = caller.http.post("/_control", data={"scenario": "slow"}, headers={"Origin": "http://sandbox"})

    assert (forged.status_code, broken.status_code, own.status_code) == (403, 403, 303)
    assert sandbox.scenario is Scenario.SLOW


def test_the_control_door_takes_get_and_post_only(caller):
    assert caller.http.put("/_control").status_code == 405


# ------------------------------------------------------------------------------------------------ the page


class Markup(HTMLParser):
    """The tags of a page and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_the_page_shows_scenario_counts_forms_and_what_came_in(caller, sandbox):
    sandbox.fail_next(503)
    caller.publish(event())
    caller.publish(event())
    page = Markup(caller.http.get("/").text)
    forms = [attributes for tag, attributes in page.tags if tag == "form"]
    fields = {attributes.get("name") for tag, attributes in page.tags if tag in ("input", "select")}

    assert "Scenario: happy" in page.text
    assert {"method": "post", "action": "/_control"} in forms
    assert fields >= {
        "scenario",
        "register",
        "unregister",
        "latency_ms",
        "rate",
        "fail_next",
        "times",
        "reset",
    }
    for shown in (
        "order.created",
        "ORD-1",
        "event-1",
        "key-1",
        "503",
        "accepted as evt-",
        "publish POST 202",
    ):
        assert shown in page.text


def test_the_page_says_that_nothing_came_in_yet(sandbox):
    assert "Nothing received yet" in Caller(sandbox).http.get("/").text


def test_nothing_that_came_in_becomes_markup(caller, sandbox):
    evil = "<script>alert(1)</script>"
    hostile = event(type=f"t{evil}", subject=evil, data={evil: evil}, id=evil)
    sandbox.register(evil)
    sandbox.unregister(evil)
    caller.publish(hostile, evil)
    caller.status("%3Cscript%3E")
    caller.publish(f'{{"data": "\\ud800{evil}"}}'.encode(), "key-2")
    caller.publish(f"{evil} is no JSON".encode(), "key-3")
    page = Markup(caller.http.get("/").text)

    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img", "iframe", "object"})
    assert page.text.count(evil) >= 4


def test_the_page_runs_nothing_and_loads_nothing(caller):
    answer = caller.http.get("/")

    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "prefers-color-scheme: dark" in answer.text


def test_the_page_shows_the_newest_fifty_and_the_ledger_all(caller, sandbox):
    for number in range(60):
        caller.publish(event(number), f"key-{number}")
    page = caller.http.get("/").text

    assert page.count("accepted as evt-") == 50
    assert "key-59<" in page
    assert "key-9<" not in page
    assert len(sandbox.received) == 60


# ---------------------------------------------------------------------------------------------- the ledger


def test_the_ledger_door_is_the_ledger_as_json(caller, sandbox):
    caller.publish(event())
    ledger = caller.http.get("/_ledger").json()

    assert ledger == sandbox.ledger()
    assert ledger["received"] == [event()]
    attempt = ledger["attempts"][-1]
    assert (attempt["endpoint"], attempt["method"], attempt["path"]) == ("publish", "POST", EVENTS_PATH)
    assert (attempt["source"], attempt["id"], attempt["type"]) == (
        "com.example.tests",
        "event-1",
        "order.created",
    )
    assert (attempt["status"], attempt["accepted"]) == ("202", True)
    assert attempt["ended"] >= attempt["started"]


def test_a_check_is_written_down_under_the_event_it_asks_about(caller, sandbox):
    remote_id = caller.publish(event()).json()["id"]
    caller.status(remote_id)
    attempt = sandbox.ledger()["attempts"][-1]

    assert (attempt["endpoint"], attempt["remote_id"], attempt["id"]) == ("status", remote_id, "event-1")


def test_neither_secret_nor_token_is_ever_kept(caller, sandbox):
    sandbox.fail_next("echo-secret")
    echoed = caller.publish(event())
    sandbox.fail_next("echo-secret", on="token")
    echoed_secret = caller.token()
    basic = base64.b64encode(f"client:{CANARY}".encode()).decode()
    kept = json.dumps(sandbox.ledger()) + caller.http.get("/").text + json.dumps(sandbox.state())

    assert caller.bearer in echoed.text
    assert basic in echoed_secret.text
    assert not any(secret in kept for secret in (caller.bearer, CANARY, basic))


def test_requests_for_one_event_that_run_at_the_same_time_are_an_overlap():
    both_here = threading.Barrier(2, timeout=30)
    sandbox = Sandbox()
    caller = Caller(sandbox).login()
    sandbox = sandbox_waiting(sandbox, both_here)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: caller.publish(event()).status_code, range(2)))
    ledger = sandbox.ledger()

    assert sorted(answers) == [202, 409]
    assert [overlap["event"] for overlap in ledger["overlaps"]] == ["com.example.tests event-1"]
    assert ledger["overlaps"][0]["attempts"] == [2, 3]


def test_requests_for_different_events_or_one_after_the_other_are_no_overlap():
    both_here = threading.Barrier(2, timeout=30)
    sandbox = Sandbox()
    caller = Caller(sandbox).login()
    caller.publish(event(9), "key-9")
    caller.publish(event(9), "key-9")
    sandbox = sandbox_waiting(sandbox, both_here)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda number: caller.publish(event(number), f"key-{number}"), range(2)))
        list(pool.map(lambda _: caller.token(), range(2)))

    assert sandbox.ledger()["overlaps"] == []


def sandbox_waiting(sandbox, barrier):
    """From now on every request waits at the barrier before its answer goes out."""
    sandbox._platform._sleep = lambda seconds: barrier.wait()
    sandbox.configure(latency=1)
    return sandbox


def test_the_ledger_is_exact_under_threads():
    sandbox = Sandbox()
    with serve(sandbox) as server:
        bearer = Caller(sandbox).login().bearer

        def send(worker):
            caller = Caller(sandbox, server.url)
            caller.bearer = bearer
            with caller.http:
                return [caller.publish(event(number), f"key-{number}").status_code for number in range(40)]

        with ThreadPoolExecutor(8) as pool:
            answers = [status for statuses in pool.map(send, range(8)) for status in statuses]
    ledger = sandbox.ledger()

    assert sorted(answers) == [202] * 40 + [409] * 280
    assert ledger["requests"] == {"token POST 200": 1, "publish POST 202": 40, "publish POST 409": 280}
    assert set(ledger["accepts"].values()) == set(ledger["accepts_by_key"].values()) == {1}
    assert len(ledger["received"]) == 40
    assert len({attempt["number"] for attempt in ledger["attempts"]}) == 321


# ---------------------------------------------------------------------------------------------- the server


@pytest.fixture(scope="module")
def fuzzed():
    """A server that stays for all examples, and what it logged so far: a defect with its traceback."""
    logged = io.StringIO()
    handler = logging.StreamHandler(logged)
    logging.getLogger("genesys_eventbridge").addHandler(handler)
    with serve(Sandbox(sleep=lambda seconds: None)) as running:
        yield running, logged.getvalue
    logging.getLogger("genesys_eventbridge").removeHandler(handler)


def test_one_connection_serves_many_requests_with_content_length_and_without_nagle(server):
    answer = exchange(server, b"GET /_control HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
    options = set()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"GET /_control HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv(1)
        for accepted in list(server._server._open):
            options.add(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)

    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.count(b"Content-Length: ") == 3
    assert options == {True}


def test_over_a_socket_the_doors_answer_as_in_process(remote, sandbox, clock):
    published = remote.publish(event())
    clock.now += 60

    assert published.status_code == 202
    assert remote.status(published.json()["id"]).json()["status"] == "delivered"
    assert remote.status("%F0%9F%92%A9").status_code == 404
    assert sandbox.ledger()["attempts"][-1]["remote_id"] == "\N{PILE OF POO}"
    assert remote.http.get("/").status_code == 200


def test_a_lost_response_closes_the_connection_after_acceptance(remote, sandbox):
    sandbox.scenario = "lost-response"
    with pytest.raises(httpx.RemoteProtocolError):
        remote.publish(event())

    assert len(sandbox.received) == 1
    assert remote.publish(event()).status_code == 409


def test_half_a_body_is_seen_as_one(remote, sandbox):
    sandbox.fail_next("half-body")
    with pytest.raises(httpx.RemoteProtocolError):
        remote.publish(event())


@pytest.mark.parametrize("endpoint", TRICKS)
def test_the_server_survives_every_trick(remote, sandbox, endpoint):
    remote_id = remote.publish(event()).json()["id"]
    for name in TRICKS[endpoint]:
        sandbox.fail_next(name, on=endpoint)
        request = {
            "token": (remote.token,),
            "publish": (remote.publish, event(name), name),
            "status": (remote.status, remote_id),
            "webhook": (remote.invoke, event(name)),
        }
        outcome(*request[endpoint])

    assert sandbox.state()["planned"][endpoint] == []
    assert remote.status(remote_id).status_code == 200


def test_a_refused_large_body_is_read_to_its_end_and_no_further(server):
    body = b"x" * (9 * 1024 * 1024 + 1)
    post = f"POST /_control HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    get = b"GET /_control HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = exchange(server, post + body + get)

    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"400", b"200"]


def test_a_body_above_the_read_limit_is_never_read(sandbox):
    class Unread:
        def read(self, size):
            raise AssertionError("read")

    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": EVENTS_PATH,
        "CONTENT_LENGTH": str(2**40),
        "wsgi.input": Unread(),
    }
    seen = []
    sandbox(environ, lambda status, headers: seen.append(status))

    assert seen == ["401 Unauthorized"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Transfer-Encoding: chunked", b"HTTP/1.1 411"),
        (b"Content-Length: many", b"HTTP/1.1 400"),
        (b"Content-Length: -1", b"HTTP/1.1 400"),
        (b"Content-Length: " + b"1" * 5000, b"HTTP/1.1 400"),
        (b"Content-Length: 2\r\nContent-Length: 2", b"HTTP/1.1 400"),
        (b"Content-Length: 2, 2", b"HTTP/1.1 400"),
        (b"no colon\r\nContent-Length: 2", b"HTTP/1.1 400"),
    ],
)
def test_a_body_without_a_usable_length_is_refused_and_the_connection_closed(server, headers, status):
    answer = exchange(
        server, b"POST /_control HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n\r\n", finish=False
    )

    assert answer.startswith(status)


def test_half_a_request_is_not_accepted(remote, server, sandbox):
    body = json.dumps(event()).encode() + b" " * 10
    head = (
        f"POST {EVENTS_PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {remote.bearer}\r\n"
        f"Content-Type: application/cloudevents+json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    answer = exchange(server, head.encode() + body[:-5])

    assert answer.startswith(b"HTTP/1.1 400")
    assert sandbox.received == []


def test_head_is_answered_without_a_body(server):
    answer = exchange(server, b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")


def test_an_unknown_method_is_refused(server):
    assert exchange(server, b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 501")


def refused(answer):
    """The status of an answer that is an error in the platform's shape and ends its connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    members = json.loads(body)
    assert b"\r\nConnection: close" in head
    assert (members["status"], bool(members["message"])) == (int(head.split()[1]), True)
    return members["status"]


LOCAL = [
    "localhost",
    "LOCALHOST:80",
    "localhost.",
    "127.0.0.1",
    "127.9.8.7:8900",
    "[::1]",
    "[::1]:",
    "[0::1]:1",
]
ELSEWHERE = [
    "evil.example",
    "evil.example:8900",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "127.gateway.dc1",
    "0.0.0.0",
    "10.0.0.1",
    "2130706433",
    "0x7f.1",
    "[::]",
    "[::ffff:127.0.0.1]",
    "host.docker.internal",
]
ROUTES = [
    "GET /",
    "GET /_ledger",
    "GET /_control",
    "POST /_control",
    f"POST {TOKEN_PATH}",
    f"POST {EVENTS_PATH}",
    f"POST {webhook_path()}",
]


@pytest.mark.parametrize("host", LOCAL)
def test_this_machine_is_answered_under_each_of_its_names(server, host):
    answer = exchange(server, f"GET /_control HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("host", ELSEWHERE)
@pytest.mark.parametrize("route", ROUTES)
def test_a_name_that_was_rebound_to_this_machine_reaches_nothing(server, sandbox, route, host):
    """DNS rebinding: to the browser a page of that name and the sandbox are one site."""
    body = b'{"scenario": "outage"}'
    head = f"{route} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = exchange(server, head.encode() + body)

    assert refused(answer) == 421
    assert b"--allow-remote" in answer
    assert sandbox.scenario is Scenario.HAPPY
    assert sandbox.ledger()["attempts"] == []


@pytest.mark.parametrize(
    "lines",
    ["", "Host:", "Host: localhost\r\nHost: localhost", "Host: a b:c", "Host: localhost:1:2", "Host: [::1"],
)
def test_a_host_that_is_missing_doubled_or_malformed_is_a_400(server, lines):
    head = f"GET / HTTP/1.1\r\n{lines}".removesuffix("\r\n") + "\r\n\r\n"

    assert refused(exchange(server, head.encode())) == 400


def test_http_1_0_needs_no_host(server):
    assert exchange(server, b"GET /_control HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_where_others_are_allowed_every_name_is_answered(sandbox):
    with serve(sandbox, allow_remote=True) as server:
        answer = exchange(server, b"GET /_control HTTP/1.1\r\nHost: platform.example\r\n\r\n")
        missing = exchange(server, b"GET /_control HTTP/1.1\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200")
    assert refused(missing) == 400


LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"POST /_control HTTP/1.1",
        f"POST {EVENTS_PATH} HTTP/1.1".encode(),
        f"POST {webhook_path()} HTTP/1.1".encode(),
        f"POST {TOKEN_PATH} HTTP/1.0".encode(),
        f"GET {EVENTS_PATH}/%ff%00%f0 HTTP/1.1".encode(),
        b"GET http://evil.example/_control HTTP/1.1",
        b"GET /\xff\x00 HTTP/1.1",
        b"GET /",
        b"GARBAGE",
        b"GET / HTTP/9.9",
        b"GET / HTTP/1.1 more",
        b"",
    ]
)
#: Stands for a line that is too long to be shown when a test fails.
LONG = b"<70,000 bytes>"
HEADER_LINES = st.lists(
    st.sampled_from(
        [
            b"Host: localhost",
            b"Host: evil.example",
            b"Host: \xff",
            b"Content-Length: 5",
            b"Content-Length: 99999999999999999999",
            b"Content-Length: \xb2",
            b"Content-Type: application/x-www-form-urlencoded",
            b"Content-Type: application/cloudevents+json",
            b"Authorization: Basic \xff\xfe",
            b"Authorization: Basic " + base64.b64encode(b"client:secret"),
            b"Authorization: Bearer x",
            b"Origin: http://[",
            b"Idempotency-Key: \xff\x01",
            b"Expect: 100-continue",
            b"no colon",
            b": no name",
            b" folded",
            LONG,
            b"Connection: close",
        ]
    )
    | st.binary(max_size=40),
    max_size=6,
)


@given(line=LINES | st.binary(max_size=40), lines=HEADER_LINES, body=st.binary(max_size=60))
def test_no_bytes_at_all_make_the_server_fail(fuzzed, line, lines, body):
    server, logged = fuzzed
    lines = [b"X" * 70_000 if each == LONG else each for each in lines]
    with contextlib.suppress(ConnectionError):
        exchange(server, b"\r\n".join([line, *lines, b"", body]))

    assert logged() == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
SWITCHES = st.sampled_from(sorted(control._KNOWN - {"reset"}))


@given(fields=st.dictionaries(SWITCHES | st.text(max_size=9), JSON, max_size=4))
def test_a_control_value_is_taken_or_refused_by_its_name(fuzzed, fields):
    server, logged = fuzzed
    body = json.dumps(fields, default=str)
    head = f"POST /_control HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = exchange(server, (head + body).encode())

    status = int(answer.split()[1])
    assert status in (200, 400)
    if status == 400:
        message = json.loads(answer.partition(b"\r\n\r\n")[2])["message"]
        assert re.match(r"the body|[a-z_]+: |.* is unknown; choose from", message), message
    page = exchange(server, b"GET / HTTP/1.0\r\n\r\n")
    assert page.startswith(b"HTTP/1.1 200")
    assert logged() == ""


@pytest.mark.parametrize("depth", [400, 498, 499, 500, 700, 900, 950, 990, 3000])
def test_however_deep_an_event_is_the_page_and_the_ledger_are_shown(remote, depth, caplog):
    deep = json.dumps(event()).replace('{"number": 1}', "[" * depth + '"\\ud800"' + "]" * depth)
    answer = remote.publish(deep.encode())

    assert answer.status_code == (202 if depth < 499 else 400)
    assert remote.http.get("/").status_code == 200
    assert remote.http.get("/_ledger").status_code == 200
    assert caplog.text == ""


def test_close_drops_open_connections_and_frees_the_port_at_once(sandbox):
    server = serve(sandbox)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"GET /_control HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv(65536)
        server.close()
        while connection.recv(65536):
            continue
    server.close()
    with serve(sandbox, port=server.port) as again:
        assert httpx.get(f"{again.url}/_control", trust_env=False).status_code == 200


def test_a_defect_of_the_sandbox_is_logged_and_closes_only_its_connection(caplog):
    def broken(environ, start_response):
        raise KeyError(environ["PATH_INFO"])

    with serve(broken) as server, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(server.url, trust_env=False)

    assert "the sandbox failed to answer" in caplog.text


def test_the_url_is_one_that_this_machine_can_use():
    with serve(Sandbox(), host="0.0.0.0") as server:
        assert server.url == f"http://127.0.0.1:{server.port}"


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here")
def test_ipv6_loopback_works():
    with serve(Sandbox(), host="::1") as server:
        assert server.url == f"http://[::1]:{server.port}"
        assert httpx.get(f"{server.url}/_control", trust_env=False).status_code == 200


# --------------------------------------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("arguments", "debug", "words"),
    [
        ([], False, "--allow-production"),
        (["--host", "0.0.0.0"], True, "--allow-remote"),
        (["--host", "192.0.2.1"], True, "--allow-remote"),
        (["--host", "platform.example"], True, "--allow-remote"),
        (["--host", ""], True, "--allow-remote"),
        (["--host", "::"], True, "--allow-remote"),
        (["--rate", "0"], True, "--rate: '0'"),
        (["--latency", "-1"], True, "--latency: '-1'"),
        (["--port", "70000"], True, "--port: '70000'"),
        (["--scenario", "sunny"], True, "sunny"),
        (["--protocol", "smtp"], True, "smtp"),
        (["--webhook-token", "a/b"], True, "--webhook-token: must be"),
        (["--host", "a" * 70], True, "--allow-remote"),
        (["--host", "a" * 70, "--allow-remote"], True, "--host aaaa"),
        (["--protocol", "webhook"], False, "--allow-production"),
        (["--protocol", "webhook", "--host", "0.0.0.0"], True, "--allow-remote"),
    ],
)
def test_the_command_refuses_and_names_the_flag(settings, monkeypatch, arguments, debug, words):
    settings.DEBUG = debug
    monkeypatch.setattr(Command, "_run", lambda self, server, sandbox: None)
    with pytest.raises(CommandError, match=re.escape(words)):
        call_command("eventbridge_sandbox", *arguments)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("localhost.evil.example", False),
        ("10.0.0.1", False),
    ],
)
def test_only_loopback_counts_as_this_machine(host, local):
    assert is_loopback(host) is local


@pytest.mark.parametrize("flag", [True, False])
def test_allow_remote_is_warned_about_and_switches_the_check_of_host(settings, monkeypatch, capsys, flag):
    settings.DEBUG = True
    answers = []
    ask = b"GET /_control HTTP/1.1\r\nHost: platform.example\r\n\r\n"
    monkeypatch.setattr(Command, "_run", lambda self, server, sandbox: answers.append(exchange(server, ask)))
    call_command("eventbridge_sandbox", "--port", "0", *(["--allow-remote"] if flag else []))

    assert answers[0].startswith(b"HTTP/1.1 200" if flag else b"HTTP/1.1 421")
    assert ("Warning: --allow-remote: every machine" in capsys.readouterr().err) is flag


def test_a_port_in_use_is_an_error_with_its_remedy(settings, server):
    settings.DEBUG = True
    with pytest.raises(CommandError, match=rf"--port {server.port}: .*in use.*another --port"):
        call_command("eventbridge_sandbox", "--port", str(server.port))


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_command_prints_settings_that_work_and_ends_with_0(stop):
    arguments = ["--port", "0", "--allow-production", "--refuse-type", "order.created", "--scenario", "flaky"]
    arguments += ["--protocol", "both", "--webhook-token", "token-1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "django", "eventbridge_sandbox", *arguments],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONUNBUFFERED": ""},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        printed = "".join(iter(process.stdout.readline, "Stop with Ctrl-C.\n"))
        namespace: dict[str, Any] = {}
        exec(printed.partition("\n\n")[2].partition("\n\n")[0], namespace)
        pasted = namespace["GENESYS_EVENTBRIDGE"]["default"]
        caller = Caller(None, pasted["API_BASE_URL"])
        with caller.http:
            token = caller.token(auth=(pasted["CLIENT_ID"], pasted["CLIENT_SECRET"]))
            caller.bearer = token.json()["access_token"]
            refused = caller.publish(event())
            state = caller.control(register="order.created").json()
            accepted = caller.publish(event())
            invoked = caller.invoke(event(2), "token-1")
        process.send_signal(stop)
        rest = process.stdout.read()

    assert pasted["LOGIN_BASE_URL"] == pasted["API_BASE_URL"]
    assert f"{pasted['API_BASE_URL']}/" in printed
    assert refused.status_code == 400
    assert (state["scenario"], state["refused_types"]) == ("flaky", [])
    assert (accepted.status_code, invoked.status_code) == (202, 200)
    assert '"WEBHOOK_TOKEN": "token-1",' in printed
    assert rest == "Sandbox stopped.\n"
    assert process.returncode == 0


BY_EVENTBRIDGE = {
    "API_BASE_URL": "http://127.0.0.1:8900",
    "LOGIN_BASE_URL": "http://127.0.0.1:8900",
    "CLIENT_ID": CLIENT_ID,
    "CLIENT_SECRET": CLIENT_SECRET,
    "SOURCE": "com.example.sandbox",
}
BY_WEBHOOK = {
    "PROTOCOL": "webhook",
    "API_BASE_URL": "http://127.0.0.1:8900",
    "WEBHOOK_TOKEN": "token-1",
    "ON_DOUBT": "ask",
    "SOURCE": "com.example.sandbox",
}


@pytest.mark.parametrize(
    ("protocol", "printed"),
    [
        ("eventbridge", [BY_EVENTBRIDGE]),
        ("webhook", [BY_WEBHOOK]),
        ("both", [BY_EVENTBRIDGE, BY_WEBHOOK]),
    ],
)
def test_the_printed_blocks_are_python_with_the_credentials_of_each_protocol(protocol, printed):
    text = settings_block("http://127.0.0.1:8900", Options(protocol=protocol, webhook_token="token-1"))
    found = []
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("GENESYS_EVENTBRIDGE"):
            namespace: dict[str, Any] = {}
            exec(paragraph, namespace)
            found.append(namespace["GENESYS_EVENTBRIDGE"]["default"])

    assert found == printed


def test_what_is_printed_for_both_protocols():
    """The whole text, because people read it."""
    assert (
        settings_block("http://127.0.0.1:8900", Options())
        == """\
Sandbox platform at http://127.0.0.1:8900. Paste into settings.py:

GENESYS_EVENTBRIDGE = {
    "default": {
        "API_BASE_URL": "http://127.0.0.1:8900",
        "LOGIN_BASE_URL": "http://127.0.0.1:8900",
        "CLIENT_ID": "sandbox",
        "CLIENT_SECRET": "sandbox-only",
        "SOURCE": "com.example.sandbox",
    },
}

Or, with the protocol webhook:

GENESYS_EVENTBRIDGE = {
    "default": {
        "PROTOCOL": "webhook",
        "API_BASE_URL": "http://127.0.0.1:8900",
        "WEBHOOK_TOKEN": "sandbox-webhook-token",
        "ON_DOUBT": "ask",
        "SOURCE": "com.example.sandbox",
    },
}

What it received, and its switches: http://127.0.0.1:8900/
Stop with Ctrl-C."""
    )
