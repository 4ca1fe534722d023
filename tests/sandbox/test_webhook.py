"""The sandbox's webhook: what it accepts, what the ledger knows of it, and that no token is ever kept."""

import json
import logging
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.sandbox import WEBHOOK_TOKEN, HangUp, Sandbox, Scenario, serve
from genesys_eventbridge.sandbox.hostile import TRICKS
from genesys_eventbridge.sandbox.options import Protocol
from genesys_eventbridge.sandbox.webhook import masked
from tests.sandbox.callers import CANARY, EVENTS_PATH, TOKEN_PATH, Caller, event, outcome, webhook_path
from tests.sandbox.invocations import OFFICIAL, Recorder

MASKED = "/api/v2/integrations/webhooks/{token}/events"
BINARY = {
    "ce-specversion": "1.0",
    "ce-id": "event-1",
    "ce-source": "com.example.tests",
    "ce-type": "order.created",
    "ce-subject": "ORD-1",
    "ce-time": "2026-11-23T10:00:00.000Z",
}


@pytest.fixture
def caller(sandbox):
    """A client without a token of the login service: the webhook needs none."""
    return Caller(sandbox)


def last(sandbox):
    return sandbox.ledger()["attempts"][-1]


# ---------------------------------------------------------------------------------------- what is accepted


@pytest.mark.parametrize(
    "body", [event(), {"any": "object"}, [1, 2], "text", 17, None, {"specversion": "0.3"}, {}, []], ids=repr
)
def test_any_json_is_accepted_with_an_invocation_id_and_without_a_bearer(caller, sandbox, body):
    answer = caller.invoke(body)

    assert answer.status_code == 200
    assert list(answer.json()) == ["invocationId"]
    assert str(uuid.UUID(answer.json()["invocationId"])) == answer.json()["invocationId"]
    assert sandbox.received == [body]


def test_every_request_is_a_new_acceptance_whatever_key_it_carries(caller, sandbox):
    answers = [caller.invoke(event(), Idempotency_Key="key-1").json() for _ in range(3)]
    ledger = sandbox.ledger()

    assert len({answer["invocationId"] for answer in answers}) == 3
    assert ledger["accepts"] == {"com.example.tests event-1": 3}
    assert (ledger["accepts_by_key"], ledger["bodies_by_key"]) == ({}, {})
    assert sandbox.received == [event()] * 3


def test_an_event_that_came_by_both_protocols_is_accepted_twice(caller, sandbox):
    caller.login().publish(event())
    caller.invoke(event())

    page = caller.http.get("/").text
    assert sandbox.ledger()["accepts"] == {"com.example.tests event-1": 2}
    assert "<tr><th scope=row>accepted twice</th><td>1</td></tr>" in page


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b"", {}, (400, "bad.request", "body is empty")),
        (b"{", {}, (400, "bad.request", "not JSON")),
        (b"text", {}, (400, "bad.request", "not JSON")),
        (b'{"a": NaN}', {}, (400, "bad.request", "not JSON: NaN")),
        (b'{"a": "\xff"}', {}, (400, "bad.request", "not UTF-8")),
        (b"[" * 200_000, {}, (400, "bad.request", "nested too deeply")),
        (b"[" * 600 + b"]" * 600, {}, (400, "bad.request", "nested too deeply")),
        ("x" * 512_000, {}, (413, "request.entity.too.large", "Maximum bytes: 512000")),
        (b"x" * (9 * 1024 * 1024), {}, (413, "request.entity.too.large", "Content-Length: 9437184")),
        (event(), {"Content_Type": "text/plain"}, (415, "unsupported.media.type", "application/json")),
        (event(), {"Content_Type": ""}, (415, "unsupported.media.type", "application/json")),
        (
            event(),
            {"Content_Type": "application/cloudevents+json"},
            (415, "unsupported.media.type", "application/json"),
        ),
    ],
    ids=str,
)
def test_what_the_webhook_refuses_is_an_official_error_and_not_accepted(
    caller, sandbox, body, headers, expected
):
    status, code, words = expected
    answer = caller.invoke(body, **headers)

    assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (status, status, code)
    assert words in answer.json()["message"]
    assert sandbox.received == []
    assert sandbox.ledger()["accepts"] == {}


def test_the_media_type_is_compared_without_case_and_parameters(caller):
    assert caller.invoke(event(), Content_Type="Application/JSON; charset=utf-8").status_code == 200


def test_events_are_taken_by_post_only(caller):
    answer = caller.http.get(webhook_path())

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "token", ["nobody", WEBHOOK_TOKEN.upper(), f"{WEBHOOK_TOKEN}x", "a%2Fb", "%20", "%00"]
)
def test_an_unknown_token_is_a_404_in_the_platform_s_shape(caller, sandbox, token):
    answer = caller.invoke(event(), token)

    assert answer.status_code == 404
    assert answer.json() == {
        "message": "The requested resource was not found.",
        "code": "not.found",
        "status": 404,
        "contextId": answer.headers["ININ-Correlation-Id"],
        "details": [],
        "errors": [],
    }
    assert sandbox.received == []
    assert last(sandbox)["path"] == MASKED


def test_an_unknown_token_does_not_use_up_the_rate(caller, sandbox):
    sandbox.configure(rate=1)
    caller.invoke(event(), "nobody")

    assert caller.invoke(event()).status_code == 200


def test_the_token_is_an_option(clock):
    sandbox = Sandbox(clock=clock, webhook_token="other-token")

    assert Caller(sandbox).invoke(event(), "other-token").status_code == 200
    assert Caller(sandbox).invoke(event()).status_code == 404


def test_an_invocation_has_no_status(caller):
    invocation = caller.invoke(event()).json()["invocationId"]

    assert caller.login().status(invocation).status_code == 404
    assert caller.http.get(f"{webhook_path()}/{invocation}").status_code == 404


def test_no_event_type_is_refused_because_a_webhook_does_not_look(caller, sandbox):
    sandbox.unregister("order.created")
    sandbox.configure(registered_types={"order.paid"})

    assert caller.invoke(event()).status_code == 200


# ---------------------------------------------------------------------------- which protocols are spoken


@pytest.mark.parametrize(
    ("protocol", "answered"),
    [
        ("eventbridge", ["token POST 200", "publish POST 202", "status GET 200", "other POST 404"]),
        ("webhook", ["other POST 404", "other POST 404", "other GET 404", "webhook POST 200"]),
        ("both", ["token POST 200", "publish POST 202", "status GET 200", "webhook POST 200"]),
    ],
)
def test_only_the_endpoints_of_the_protocol_answer(sandbox, protocol, answered):
    caller = Caller(sandbox).login()
    remote_id = caller.publish(event(1)).json()["id"]
    sandbox.configure(protocol=protocol)

    caller.token()
    caller.publish(event(2), "key-2")
    caller.status(remote_id)
    caller.invoke(event(3))

    attempts = sandbox.ledger()["attempts"][2:]
    assert [f"{one['endpoint']} {one['method']} {one['status']}" for one in attempts] == answered


def test_both_protocols_are_spoken_unless_told_otherwise():
    assert Sandbox().state()["protocol"] == "both"
    assert Sandbox().state()["endpoints"] == ["publish", "status", "token", "webhook"]


def test_the_request_of_the_official_sdk_is_accepted(sandbox):
    """As `make sdk` recorded it."""
    recorder = Recorder(sandbox, WEBHOOK_TOKEN)
    headers = {"Content-Type": OFFICIAL.content_type, "Accept": OFFICIAL.accept}
    path = OFFICIAL.path.replace("{token}", WEBHOOK_TOKEN)
    answer = Caller(recorder).http.request(OFFICIAL.method, path, headers=headers, json=event())

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == OFFICIAL.accept
    assert recorder.received == [OFFICIAL]


# ----------------------------------------------------------------------------------- the event in the ledger


def test_the_ledger_knows_the_event_of_a_structured_body_and_where_it_came_in(caller, sandbox):
    invocation = caller.invoke(event()).json()["invocationId"]
    attempt = caller.http.get("/_ledger").json()["attempts"][-1]

    assert (attempt["endpoint"], attempt["method"], attempt["path"]) == ("webhook", "POST", MASKED)
    assert [attempt[name] for name in ("source", "id", "type", "subject")] == [
        "com.example.tests",
        "event-1",
        "order.created",
        "ORD-1",
    ]
    assert (attempt["accepted"], attempt["remote_id"], attempt["status"]) == (True, invocation, "200")
    assert re.fullmatch("[0-9a-f]{64}", attempt["body_sha256"])
    assert sandbox.ledger()["requests"] == {"webhook POST 200": 1}


def test_the_ledger_knows_the_event_of_binary_mode_and_what_was_received_is_the_whole_event(caller, sandbox):
    data = b'{"amount": 1.10, "big": 123456789012345678901234567890}'
    caller.invoke(data, **BINARY, ce_myext="x")
    attempt = last(sandbox)

    assert [attempt[name] for name in ("source", "id", "type", "subject")] == [
        "com.example.tests",
        "event-1",
        "order.created",
        "ORD-1",
    ]
    assert sandbox.received == [
        {**event(datacontenttype="application/json", myext="x"), "data": json.loads(data)}
    ]


def test_the_headers_name_the_event_where_the_data_looks_like_one(caller, sandbox):
    caller.invoke(event(2), **BINARY)

    assert last(sandbox)["id"] == "event-1"
    assert sandbox.received[0]["data"] == event(2)


@pytest.mark.parametrize("missing", ["specversion", "id", "source", "type"])
def test_json_that_lacks_a_mandatory_attribute_is_accepted_and_no_event(caller, sandbox, missing):
    headers = {name: value for name, value in BINARY.items() if name != f"ce-{missing}"}

    assert caller.invoke(event(**{missing: ...})).status_code == 200
    assert caller.invoke({"a": 1}, **headers).status_code == 200
    assert [attempt["id"] for attempt in sandbox.ledger()["attempts"]] == ["", ""]
    assert sandbox.received == [event(**{missing: ...}), {"a": 1}]


@pytest.mark.parametrize(
    ("header", "subject"),
    [
        ("ORD-1", "ORD-1"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("%41%42", "AB"),
        ("100%25", "100%"),
        ("100%2525", "100%25"),
        ('"quoted"', "quoted"),
        ('"say \\"so\\" \\\\ %20"', 'say "so" \\  '),
        ("a+b", "a+b"),
        ('"', '"'),
        ("%C0%A0", ""),
        ("%ff", ""),
    ],
)
def test_a_header_is_decoded_once_as_the_cloudevents_binding_says(caller, sandbox, header, subject):
    """Section 3.1.3.2: quotes first, then one round of percent-decoding; invalid UTF-8 is no attribute."""
    caller.invoke({}, **{**BINARY, "ce-subject": header})

    assert (last(sandbox)["id"], last(sandbox)["subject"]) == ("event-1", subject)


def test_a_header_of_other_bytes_than_ascii_is_no_attribute(sandbox):
    with serve(sandbox) as server:
        remote = Caller(sandbox, server.url)
        with remote.http:
            remote.invoke({}, **{**BINARY, "ce-subject": b"caf\xe9"})

    assert (last(sandbox)["id"], last(sandbox)["subject"]) == ("event-1", "")


def test_the_page_shows_the_headers_that_carry_the_event(caller):
    caller.invoke({"number": "ORD-1"}, **{**BINARY, "ce-subject": "<b>%20", "x-other": "hidden"})

    page = caller.http.get("/").text

    assert "<pre>ce-id: event-1\nce-source: com.example.tests\n" in page
    assert "ce-subject: &lt;b&gt;%20\n" in page
    assert "x-other" not in page


def test_a_request_without_such_headers_shows_none(caller):
    caller.invoke({"number": "ORD-1"})

    assert "<summary>headers" not in caller.http.get("/").text


@given(subject=st.text(max_size=20), event_id=st.text(min_size=1, max_size=20))
def test_whatever_is_percent_encoded_comes_out_as_it_was(subject, event_id):
    sandbox = Sandbox()
    headers = {**BINARY, "ce-id": quote(event_id, safe=""), "ce-subject": quote(subject, safe="")}
    Caller(sandbox).invoke({}, **headers)

    assert (last(sandbox)["id"], last(sandbox)["subject"]) == (event_id, subject)


@pytest.mark.parametrize("depth", [400, 498, 499, 500, 900, 3000])
def test_however_deep_the_json_is_the_page_and_the_ledger_are_shown(sandbox, caplog, depth):
    deep = b"[" * depth + b'"\\ud800"' + b"]" * depth
    with serve(sandbox) as server:
        remote = Caller(sandbox, server.url)
        with remote.http:
            answers = [remote.invoke(deep).status_code, remote.invoke(deep, **BINARY).status_code]
            pages = [remote.http.get(path).status_code for path in ("/", "/_ledger")]

    assert answers == [200 if depth < 500 else 400] * 2
    assert pages == [200, 200]
    assert caplog.text == ""


def test_requests_for_one_event_that_run_at_the_same_time_are_an_overlap():
    both_here = threading.Barrier(2, timeout=30)

    def wait(seconds: float) -> None:
        both_here.wait()

    sandbox = Sandbox(latency=1, sleep=wait)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: Caller(sandbox).invoke(event()).status_code, range(2)))

    assert answers == [200, 200]
    assert [overlap["event"] for overlap in sandbox.ledger()["overlaps"]] == ["com.example.tests event-1"]


# -------------------------------------------------------------------------------------- the token is a secret


SENT_TO = [
    webhook_path(CANARY),
    f"{webhook_path(CANARY)}/",
    f"{webhook_path(CANARY)}/more",
    f"/api/v2/integrations/webhooks/{CANARY}",
    f"/api/v2/integrations/webhooks/a/{CANARY}/events",
    f"/gateway{webhook_path(CANARY)}",
    f"/elsewhere/{CANARY}",
    f"{EVENTS_PATH}/{CANARY}",
    f"{webhook_path(CANARY)}?token={CANARY}",
]


@pytest.mark.parametrize("path", SENT_TO)
@pytest.mark.parametrize("protocol", Protocol)
def test_no_token_is_kept_whatever_path_it_came_on(sandbox, caplog, path, protocol):
    caplog.set_level(logging.DEBUG, logger="genesys_eventbridge")
    sandbox.configure(webhook_token=CANARY, protocol=protocol)
    with serve(sandbox) as server:
        remote = Caller(sandbox, server.url)
        with remote.http:
            remote.http.post(path, json=event())
            page = remote.http.get("/").text

    assert len(sandbox.ledger()["attempts"]) == 1
    kept = page + json.dumps([sandbox.ledger(), sandbox.state()]) + repr(sandbox.options) + caplog.text
    assert CANARY not in kept
    assert "{token}" in last(sandbox)["path"]


@pytest.mark.parametrize("path", SENT_TO[:6])
def test_the_token_of_another_webhook_is_not_kept_either(caller, sandbox, path):
    caller.http.post(path, json=event())

    assert CANARY not in json.dumps(sandbox.ledger()) + caller.http.get("/").text


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (webhook_path("t"), MASKED),
        ("/gateway/webhooks/t", "/gateway/webhooks/{token}"),
        ("/a/token-1/b", "/a/{token}/b"),
        ("/a/token-12/b", "/a/token-12/b"),
        ("/webhooks/", "/webhooks/"),
        (TOKEN_PATH, TOKEN_PATH),
    ],
)
def test_what_is_shown_of_a_path(path, shown):
    assert masked(path, "token-1") == shown


# ------------------------------------------------------------------------------------------- the scenarios


@pytest.mark.parametrize("body", [event, lambda number: {"number": number}], ids=["event", "other JSON"])
def test_flaky_answers_503_twice_to_every_third_new_event_and_then_accepts_it(caller, sandbox, body):
    sandbox.scenario = "flaky"
    tries = {number: [caller.invoke(body(number)).status_code for _ in range(3)] for number in range(1, 7)}

    steady, failing = [200, 200, 200], [503, 503, 200]
    assert tries == {1: steady, 2: steady, 3: failing, 4: steady, 5: steady, 6: failing}


def test_outage_is_503_and_nothing_is_accepted(caller, sandbox):
    sandbox.scenario = "outage"

    assert caller.invoke(event()).status_code == 503
    assert caller.invoke(event(), "nobody").status_code == 503
    assert sandbox.received == []


def test_the_rate_is_shared_by_both_protocols(caller, sandbox, clock):
    sandbox.configure(rate=2, rate_window=42)
    caller.login().publish(event())
    second = caller.invoke(event(2))
    third = caller.invoke(event(3))
    clock.now += 42

    assert (second.headers["inin-ratelimit-count"], second.status_code) == ("2", 200)
    assert (third.status_code, third.headers["Retry-After"]) == (429, "42")
    assert third.json()["code"] == "too.many.requests.retry.after"
    assert caller.invoke(event(3)).status_code == 200


def test_rate_limited_without_a_rate_allows_sixty_a_minute(caller, sandbox):
    sandbox.scenario = "rate-limited"

    assert [caller.invoke(event()).status_code for _ in range(61)] == [200] * 60 + [429]


def test_slow_holds_the_answer_back(caller, sandbox, waits):
    sandbox.scenario = "slow"
    caller.invoke(event())

    assert waits == [3.0]


def test_lost_response_accepts_each_request_and_closes_without_an_answer(caller, sandbox):
    sandbox.scenario = "lost-response"
    for _ in range(2):
        with pytest.raises(HangUp):
            caller.invoke(event())

    assert sandbox.ledger()["accepts"] == {"com.example.tests event-1": 2}
    assert sandbox.ledger()["requests"] == {"webhook POST closed": 2}


@pytest.mark.parametrize("scenario", [Scenario.EXPIRED_TOKEN, Scenario.ACCEPTED_THEN_FAILED])
def test_a_scenario_without_meaning_for_a_webhook_is_happy_and_says_so(caller, sandbox, scenario):
    sandbox.scenario = scenario

    assert [caller.invoke(event(number)).status_code for number in range(7)] == [200] * 7
    assert "like happy at the webhook" in scenario.meaning


def test_every_other_scenario_changes_what_the_webhook_does(clock):
    """A new scenario must say what it means for a webhook."""
    same = []
    for scenario in Scenario:
        waited: list[float] = []
        sandbox = Sandbox(clock=clock, sleep=waited.append, scenario=scenario)
        caller = Caller(sandbox)
        statuses = []
        for number in range(61):
            try:
                statuses.append(outcome(caller.invoke, event(number)))
            except HangUp:
                statuses.append("closed")
        if statuses == [200] * 61 and not waited:
            same.append(scenario)

    assert same == [Scenario.HAPPY, Scenario.EXPIRED_TOKEN, Scenario.ACCEPTED_THEN_FAILED]


def test_hostile_plays_every_trick_in_turn(caller, sandbox):
    sandbox.scenario = "hostile"
    turns = len(TRICKS["webhook"])
    answers = [outcome(caller.invoke, event(number)) for number in range(turns + 1)]

    assert set(answers) >= {200, 202, 204, 302, 307, 403, 429, 503, 504, 599, "DecodingError"}
    assert answers[-1] == answers[0]


@pytest.mark.parametrize("name", TRICKS["webhook"])
def test_a_trick_that_plays_before_the_platform_accepts_nothing_and_any_other_does(caller, sandbox, name):
    sandbox.fail_next(name, on="webhook")
    answered = outcome(caller.invoke, event())
    accepted = len(sandbox.received)

    assert accepted == TRICKS["webhook"][name].honest_first
    assert not (accepted and answered in (302, 307, 403, 429, 503, 599))


USABLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:~-]{0,254}")
NO_PROOF = set(TRICKS["webhook"]) - {"half-body", "false-gzip", "errors-inside"}


@pytest.mark.parametrize("name", sorted(NO_PROOF))
def test_no_spoiled_answer_proves_an_acceptance(caller, sandbox, name):
    """Three do carry the id: two are broken on the wire, one complains beside it."""
    sandbox.fail_next(name, on="webhook")
    try:
        invocation = caller.invoke(event()).json()["invocationId"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return
    assert not (isinstance(invocation, str) and USABLE_ID.fullmatch(invocation))


def test_an_honest_refusal_is_not_spoiled(caller, sandbox):
    sandbox.fail_next("half-body", on="webhook", times=2)

    assert caller.invoke(b"").json()["code"] == "bad.request"
    assert caller.invoke(event(), "nobody").json()["code"] == "not.found"


def test_the_echo_of_a_request_holds_its_token(caller, sandbox):
    sandbox.fail_next("echo-secret", on="webhook")

    assert WEBHOOK_TOKEN in caller.invoke(event()).json()["message"]


# ------------------------------------------------------------------------------------------ planned faults


def test_planned_faults_of_the_webhook_are_its_own(caller, sandbox):
    caller.login().control(fail_next=503, times=2, on="webhook")
    caller.control(fail_next="half-body", on="webhook")
    sandbox.fail_next(429, on="webhook", retry_after=7)
    published = caller.publish(event())
    answers = [outcome(caller.invoke, event(2)) for _ in range(5)]

    assert published.status_code == 202
    assert answers == [503, 503, 202, 429, 200]


def test_a_planned_0_closes_the_connection_and_accepts_nothing(sandbox):
    sandbox.fail_next(0, on="webhook")
    with serve(sandbox) as server:
        remote = Caller(sandbox, server.url)
        with remote.http:
            with pytest.raises(httpx.RemoteProtocolError):
                remote.invoke(event())
            assert sandbox.received == []
            assert remote.invoke(event()).status_code == 200


def test_a_planned_403_of_the_webhook_names_no_permission_because_none_is_needed(caller, sandbox):
    sandbox.fail_next(403, on="webhook")
    message = caller.invoke(event()).json()["message"]
    sandbox.fail_next(403)

    assert message == "Unable to perform the requested action."
    assert "eventbridge:event:publish" in caller.publish(event()).json()["message"]


def test_faults_hit_the_endpoint_for_events_unless_told_otherwise(caller, sandbox):
    sandbox.configure(protocol="webhook")
    sandbox.fail_next(503)
    caller.control(fail_next=500)

    assert [caller.invoke(event()).status_code for _ in range(3)] == [503, 500, 200]


@pytest.mark.parametrize(
    ("protocol", "on", "choices"),
    [("webhook", "publish", "webhook"), ("eventbridge", "webhook", "publish, status, token")],
)
def test_no_fault_is_planned_at_an_endpoint_that_does_not_answer(caller, sandbox, protocol, on, choices):
    sandbox.configure(protocol=protocol)
    refused = caller.control(fail_next=503, on=on)

    assert refused.status_code == 400
    assert refused.json()["message"] == f"on: '{on}' is unknown; choose from {choices}"


# ------------------------------------------------------------------------------------------------ the page


def test_the_page_shows_requests_of_the_webhook_and_offers_its_endpoint(caller, sandbox):
    sandbox.configure(protocol="webhook")
    caller.invoke(event())
    page = caller.http.get("/").text

    assert "Endpoints: webhook." in page
    assert f"webhook<br>POST {MASKED}" in page
    assert '<select name="on"><option selected>webhook</option></select>' in page
    assert "<strong class=good>200</strong> accepted as" in page


def test_nothing_that_came_in_by_the_webhook_becomes_markup(caller):
    evil = "<script>alert(1)</script>"
    caller.invoke({evil: evil}, **{**BINARY, "ce-subject": quote(evil), "ce-type": quote(evil)})
    caller.invoke(evil.encode(), quote(evil, safe=""))

    assert "<script" not in caller.http.get("/").text
