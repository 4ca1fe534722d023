"""The answers to a published event: the table, row by row, and what hostile answers cannot do."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.platform.outcomes import Halt, Outcome, Rules, Sent, Token, Verdict
from genesys_eventbridge.text import clean, redact_text
from tests import hostile
from tests.judging import publish_outcome

SENT = Sent(
    event_id="0b8f4c1e-58a5-4c0e-9d55-6a0e8f1d7a01",
    source="com.example.ordering",
    type="order.created",
    subject="ORD-7",
    time=datetime(2026, 11, 23, 10, 0, 0, 123000, tzinfo=UTC),
)
ORIGINAL = {
    "id": "evt-1",
    "specversion": "1.0",
    "type": "order.created",
    "source": "com.example.ordering",
    "subject": "ORD-7",
    "time": "2026-11-23T10:00:00.123Z",
    "status": "accepted",
    "deliveryStatus": "pending",
}
POST = httpx.Request("POST", "https://api.mypurecloud.de/api/v2/eventbridge/events")
RULES = Rules()


def answer(status, body=None, headers=None, *, request=POST, extensions=None):
    content = json.dumps(body).encode() if isinstance(body, dict | list) else body
    return httpx.Response(status, headers=headers, content=content, request=request, extensions=extensions)


def decide(status, body=None, headers=None, *, rules=RULES, sent=SENT, secrets=(), **more) -> Outcome:
    outcome: Outcome = publish_outcome(answer(status, body, headers, **more), sent, rules, secrets=secrets)
    return outcome


def event(**changes):
    return {key: value for key, value in {**ORIGINAL, **changes}.items() if value is not ...}


# --------------------------------------------------------------------------------------- the status codes

HALTS = {
    401: Halt.AUTH,
    402: Halt.PERMISSION,
    403: Halt.PERMISSION,
    429: Halt.RATE,
    **dict.fromkeys((404, 405, 406, 407, 410, 415, 501, 505, 511), Halt.CONFIG),
    **dict.fromkeys(range(300, 400), Halt.CONFIG),
}
UNAVAILABLE = {421, 423, 425}
#: Halts that say nothing about the event: a login, ours or the network's, and the pace.
NOT_THE_EVENT = {401, 407, 429, 511}
REFUSALS = [400, 411, 412, 413, 414, 418, 422, 424, 426, 428, 431, 451, 499]


def expected(status):
    """(verdict, halt, outage) of an answer without a body: platform.md 7.1, written once more."""
    if status in HALTS:
        return Verdict.HALTED, HALTS[status], None
    if status in UNAVAILABLE:
        return Verdict.UNAVAILABLE, None, None
    if 200 <= status <= 299:
        return Verdict.UNKNOWN, None, Halt.CONFIG
    if status == 409:
        return Verdict.UNKNOWN, None, None
    if 400 <= status <= 499 and status != 408:
        return Verdict.HALTED, Halt.CONFIG, None
    return Verdict.UNKNOWN, None, Halt.NETWORK


@pytest.mark.parametrize("status", [*range(100, 600), -1, 0, 1, 99, 600, 999, 1000, 2**31])
def test_every_status_code_has_its_verdict(status):
    outcome = decide(status)

    assert (outcome.verdict, outcome.halt, outcome.outage) == expected(status)
    assert outcome.accuses is (outcome.verdict is Verdict.HALTED and status not in NOT_THE_EVENT)
    assert outcome.status_code == status
    assert outcome.error.startswith(f"HTTP {status}")
    assert (outcome.remote_id, outcome.final, outcome.duplicate, outcome.conflict) == ("", None, False, False)


PROBLEM = {"Content-Type": "application/problem+json; charset=utf-8"}
PLATFORMS_OWN = [
    ({"message": "m", "code": "bad.request"}, None),
    ({"message": "m", "contextId": "c-7"}, None),
    ({"message": "m", "errors": [{"message": "n"}]}, None),
    ({"message": "m", "status": 422}, None),
    ({"title": "Bad", "detail": "d"}, PROBLEM),
    ({"detail": "d"}, PROBLEM),
    ({"type": "about:blank", "title": "Bad", "detail": "d", "status": 422}, None),
    ({"title": "Bad", "status": 422}, None),
]
#: What nginx, haproxy, Envoy, AWS, Cloudflare, Kong, Google and a stub say, and half of the platform's shape.
GATEWAYS = [
    (b"", None),
    (b" \r\n", None),
    (b"<html><head><title>400</title></head><body>No required SSL certificate was sent</body></html>", None),
    (b"\xef\xbb\xbf<!doctype html><p>blocked", None),
    (b"upstream connect error or disconnect/reset before headers", None),
    (b"\xff\xfe", None),
    (b"null", None),
    (["m"], None),
    ({}, None),
    ({"message": "Forbidden"}, None),
    ({"message": None, "code": "bad.request"}, None),
    ({"message": "", "code": "bad.request"}, None),
    ({"message": ["m"], "code": "bad.request"}, None),
    ({"message": "m", "code": 3}, None),
    ({"message": "m", "code": ""}, None),
    ({"message": "m", "errors": []}, None),
    ({"message": "m", "status": 400}, None),
    ({"message": "m", "status": "422"}, None),
    ({"message": "m", "statusCode": 422}, None),
    ({"message": "m", "request_id": "r"}, None),
    ({"code": "bad.request", "contextId": "c"}, None),
    ({"success": False, "errors": [{"code": 1, "message": "m"}]}, None),
    ({"error": {"code": 422, "message": "m"}}, None),
    ({"error": "invalid_request", "error_description": "m"}, None),
    ({"title": "Bad"}, None),
    ({}, PROBLEM),
    (b"<problem/>", PROBLEM),
]


@pytest.mark.parametrize(("body", "headers"), PLATFORMS_OWN)
def test_the_platforms_own_words_refuse_an_event(body, headers):
    assert decide(422, body, headers).verdict is Verdict.REJECTED


@pytest.mark.parametrize(("body", "headers"), GATEWAYS)
def test_without_the_platforms_own_words_a_gateway_answered(body, headers):
    """G20: what a gateway says pauses the destination and ends no event."""
    outcome = decide(422, body, headers)

    assert (outcome.verdict, outcome.halt, outcome.accuses) == (Verdict.HALTED, Halt.CONFIG, True)
    assert "A gateway answered, not the platform." in outcome.error


def test_the_first_words_of_a_page_are_shown():
    page = (
        b"<html><head><title>400 Bad Request</title><style>p {color: red}</style></head><body>"
        b"<center><h1>400 Bad Request</h1></center>\n<script>alert(1)</script>"
        b"<p>No required SSL\n certificate was &lt;sent&gt;</p><hr>nginx</body></html>"
    )

    words = "400 Bad Request No required SSL certificate was <sent> nginx"
    assert words in decide(400, page).error
    assert "CLIENT_CERT" in decide(400, page).error
    assert "upstream connect error" in decide(400, b"upstream\n connect error").error
    assert len(decide(400, b"<p>" + b"x" * 100_000).error) <= 500


@pytest.mark.parametrize("page", [b"<" * 50_000, b"<p " + b"a=" * 50_000, b"<!--" * 9000, b"<![CDATA[" * 900])
def test_a_page_that_is_none_does_no_harm(page):
    assert decide(400, page).verdict is Verdict.HALTED


@pytest.mark.parametrize("status", [421, 423, 425])
def test_a_gateways_page_uses_up_no_attempts(status):
    assert decide(status, b"<html>Misdirected Request</html>").verdict is Verdict.HALTED
    assert decide(status, {"message": "locked"}).verdict is Verdict.UNAVAILABLE


@pytest.mark.parametrize(("status", "setting"), [(413, "MAX_EVENT_BYTES"), (431, "header limit")])
def test_a_gateways_limit_names_what_to_change(status, setting):
    assert setting in decide(status, b"<html>too large</html>").error


@pytest.mark.parametrize("status", [200, 202, 400, 422])
def test_a_body_that_broke_off_is_trouble_of_the_network(status):
    problem = {"body_problem": "the body broke off", "broken_off": "peer closed connection"}
    outcome = decide(status, b"", extensions=problem)

    assert Halt.NETWORK in (outcome.halt, outcome.outage)
    assert "API_BASE_URL" not in outcome.error


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_keeps_the_words_of_the_platform(status):
    body = {
        "message": "invalid value for [type]",
        "code": "invalid.value",
        "contextId": "c-7",
        "status": status,
    }
    outcome = decide(status, body)

    assert outcome.verdict is Verdict.REJECTED
    assert outcome.error.startswith(f"HTTP {status} (invalid.value): invalid value for [type]. ")
    assert outcome.correlation_id == "c-7"
    assert json.loads(outcome.excerpt) == body


def test_a_page_instead_of_a_refusal_is_a_proxy_or_firewall():
    page = decide(403, b"<html>Blocked</html>").error
    ours = decide(403, {"code": "missing.permissions", "message": "missing"}).error

    assert "a proxy or firewall may. Check PROXY" in page
    assert "eventbridge:event:publish" in page
    assert "firewall" not in ours


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, ("CLIENT_ID", "CLIENT_SECRET", "REGION", "IP allow-list")),
        (402, ("eventbridge:event:publish",)),
        (403, ("eventbridge:event:publish", "IP allow-list", "PROXY")),
        (404, ("EVENTS_PATH",)),
        (405, ("EVENTS_PATH",)),
        (410, ("EVENTS_PATH",)),
        (406, ("CONTENT_TYPE",)),
        (415, ("CONTENT_TYPE",)),
        (407, ("PROXY",)),
        (511, ("PROXY",)),
        (413, ("MAX_EVENT_BYTES",)),
        (302, ("API_BASE_URL", "never followed")),
        (501, ("API_BASE_URL",)),
        (505, ("API_BASE_URL",)),
        (204, ("ACCEPTED_CODES",)),
        (500, ("correlation id",)),
        (429, ("5 s",)),
    ],
)
def test_the_error_says_what_to_change_however_long_the_answer_is(status, words):
    """On one line of at most 500 characters."""
    short = decide(status)
    long = decide(status, {"message": "m" * 5000, "code": "c" * 5000, "errors": ["e" * 5000] * 9})

    for outcome in (short, long):
        assert len(outcome.error) <= 500
        assert not [word for word in words if word not in outcome.error]


@pytest.mark.parametrize(
    "status", [*range(200, 210), 302, *range(400, 432), 451, 500, 501, 502, 503, 505, 511]
)
def test_our_own_words_are_not_taken_for_credentials(status):
    error = decide(status, None, {"Retry-After": "500"}).error

    assert redact_text(error, RULES.redact_keys) == error == clean(error, 500)


def test_a_missing_permission_is_shown():
    message = "You are missing the following permission(s): eventbridge:event:publish"

    assert message in decide(403, {"message": message, "code": "missing.permissions"}).error


@pytest.mark.parametrize(
    ("body", "number"),
    [
        ({"message": "Content-Length: 9000000, Maximum bytes: 3000000", "code": "c"}, "3000000"),
        ({"message": "x" * 900 + " maximum BYTES 512000", "code": "c"}, "512000"),
        ({"message": "too large", "code": "c"}, "its limit"),
    ],
)
def test_a_413_says_how_large_an_event_may_be(body, number):
    assert number in decide(413, body).error


# ------------------------------------------------------------------------------------------- acceptance


@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_usable_id_is_proof(status):
    outcome = decide(status, ORIGINAL, {"ININ-Correlation-Id": "c-1"})

    assert outcome == Outcome(
        Verdict.ACCEPTED,
        status_code=status,
        correlation_id="c-1",
        remote_id="evt-1",
        excerpt=json.dumps(ORIGINAL),
    )


@pytest.mark.parametrize("remote_id", ["e", "evt-1", "A.b_c:d~e-f", "9" * 255, "a..b", SENT.event_id])
def test_every_id_that_is_safe_in_a_url_is_usable(remote_id):
    assert decide(202, {"id": remote_id}).remote_id == remote_id


@pytest.mark.parametrize("body", hostile.NO_ID.values(), ids=hostile.NO_ID)
@pytest.mark.parametrize("status", [202, 409])
def test_without_a_usable_id_there_is_no_proof(status, body):
    outcome = decide(status, body.encode("utf-8", "surrogatepass"), secrets=[hostile.CANARY])

    assert (outcome.verdict, outcome.remote_id) == (Verdict.UNKNOWN, "")
    assert outcome.outage is (Halt.CONFIG if status == 202 else None)


@pytest.mark.parametrize("body", hostile.NO_OBJECT.values(), ids=hostile.NO_OBJECT)
@pytest.mark.parametrize("status", [200, 202, 409])
def test_what_is_no_json_object_is_no_proof(status, body):
    location = {"Location": "/api/v2/eventbridge/events/evt-1"} if body.strip() else {}
    outcome = decide(status, body, location)

    assert (outcome.verdict, outcome.remote_id) == (Verdict.UNKNOWN, "")
    assert outcome.outage is (Halt.CONFIG if status != 409 else None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body is empty"),
        (b"  <html>", "the body is an HTML or XML page"),
        (b"\xef\xbb\xbf<html>", "the body is an HTML or XML page"),
        (b"OK", "the body is not JSON: OK"),
        (b"\xff", "the body is not UTF-8"),
        (b"[" * 100_000, "the body is JSON nested too deeply"),
        (b"[]", "the body is JSON, but a list"),
        (b"null", "the body is JSON, but null"),
        (b"1", "the body is JSON, but a number"),
        (b"1.5", "the body is JSON, but a number"),
        (b"true", "the body is JSON, but a boolean"),
        (b'"x"', "the body is JSON, but a string"),
    ],
)
def test_the_error_says_what_the_body_was_instead(body, words):
    assert decide(202, body).error.startswith(f"HTTP 202: {words}. ")


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_body_that_broke_off_is_trouble_of_the_network_and_of_no_setting(status):
    problem = {"body_problem": "the body broke off", "broken_off": "reset"}
    outcome = decide(status, b"", extensions=problem)

    assert (outcome.verdict, outcome.outage) == (Verdict.UNKNOWN, Halt.NETWORK)
    assert "the body broke off: reset. The response broke off." in outcome.error
    assert "API_BASE_URL" not in outcome.error


@pytest.mark.parametrize("status", [200, 202, 204, 302, 400, 403, 404, 409, 413, 429, 500, 503])
def test_a_body_that_could_not_be_read_is_judged_by_the_code_and_is_no_proof(status):
    problem = {"body_problem": "the body is over\n1 MiB"}
    outcome = decide(status, b"", extensions=problem)

    assert (outcome.verdict, outcome.halt) == expected(status)[:2]
    assert r"the body is over\x0a1 MiB" in outcome.error


@pytest.mark.parametrize(
    "complaint",
    [
        {"errors": [{"retryable": False}]},
        {"errors": [{"retryable": True, "message": "busy"}]},
        {"errors": "all"},
        {"errors": {"code": 1}},
        {"status": "error"},
        {"status": " ERROR "},
        {"status": 500},
        {"status": "500"},
        {"status": 400},
        {"error": "invalid_request"},
        {"error": {"message": "no"}},
        {"fault": {"faultstring": "quota"}},
        {"success": False},
        {"success": "false"},
        {"success": 0},
        {"ok": False},
        {"status": "rejected"},
        {"status": "Failure"},
        {"code": "too.many.requests", "message": "slow down"},
        {"code": "too.many.requests"},
        {"code": 429},
        {"status": ..., "deliveryStatus": "rejected"},
        {"code": 429, "message": "slow down"},
        {"code": "429", "message": "slow down"},
        {"title": "Too many requests", "detail": "slow down"},
    ],
)
@pytest.mark.parametrize("status", [200, 201, 202, 409])
def test_an_error_in_the_body_is_never_success(status, complaint):
    outcome = decide(status, event(**complaint))

    assert (outcome.verdict, outcome.remote_id, outcome.conflict) == (Verdict.UNKNOWN, "", False)


@pytest.mark.parametrize(
    "calm",
    [
        {"errors": []},
        {"errors": None},
        {"error": ""},
        {"error": None},
        {"status": 202},
        {"status": True},
        {"message": "accepted"},
        {"message": "accepted", "code": 202},
        {"message": "accepted", "code": "0"},
        {"code": "accepted"},
        {"success": True},
        {"success": None},
        {"title": "An order"},
    ],
)
def test_an_empty_list_of_errors_is_no_error(calm):
    assert decide(202, event(**calm)).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("code", "rules", "verdict"),
    [
        (204, Rules(accepted_codes=frozenset({204})), Verdict.ACCEPTED),
        (202, Rules(accepted_codes=frozenset({204})), Verdict.UNKNOWN),
        (200, Rules(accepted_codes=frozenset({204})), Verdict.UNKNOWN),
        (208, Rules(duplicate_codes=frozenset({208})), Verdict.ACCEPTED),
        (409, Rules(duplicate_codes=frozenset({208})), Verdict.UNKNOWN),
        (403, Rules(accepted_codes=frozenset({403})), Verdict.ACCEPTED),
    ],
)
def test_the_codes_are_settings(code, rules, verdict):
    outcome = decide(code, ORIGINAL, rules=rules)

    assert outcome.verdict is verdict
    assert outcome.duplicate is (code == 208)
    assert outcome.outage is (Halt.CONFIG if verdict is Verdict.UNKNOWN and code <= 299 else None)


# ------------------------------------------------------------------------------------- echo and location


@pytest.mark.parametrize("status", [202, 409])
def test_our_event_repeated_is_proof_without_an_id(status):
    sent = Sent(event_id="order/7", source="com.example.ordering", type="order.created")
    outcome = decide(status, event(id="order/7"), sent=sent)

    assert (outcome.verdict, outcome.remote_id) == (Verdict.ACCEPTED, "")
    assert outcome.duplicate is (status == 409)


@pytest.mark.parametrize("missing", [{"id": "order/8"}, {"source": ...}, {"type": ...}, {"source": None}])
def test_half_an_echo_is_no_proof(missing):
    sent = Sent(event_id="order/7", source="com.example.ordering", type="order.created")

    assert decide(202, event(**{"id": "order/7", **missing}), sent=sent).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("location", "remote_id"),
    [
        ("events/evt-1", "evt-1"),
        ("/api/v2/eventbridge/events/evt-9", "evt-9"),
        ("https://api.mypurecloud.de/api/v2/eventbridge/events/evt-9?x=1#y", "evt-9"),
        ("https://gateway.example/prefix/events/evt-9", "evt-9"),
        ("/login", ""),
        ("https://portal.example/login", ""),
        ("/events/../evt-9", ""),
        ("/api/v2/eventbridge/events/", ""),
        ("/api/v2/eventbridge/events/..", ""),
        ("/api/v2/eventbridge/events/a%2fb", ""),
        ("evt-9", ""),
        ("http://[", ""),
        ("", ""),
    ],
)
def test_a_location_below_our_path_brings_the_id(location, remote_id):
    outcome = decide(202, {"status": "accepted"}, {"Location": location})

    assert outcome.remote_id == remote_id
    assert outcome.verdict is (Verdict.ACCEPTED if remote_id else Verdict.UNKNOWN)


@pytest.mark.parametrize(
    ("location", "remote_id"), [("/events/evt-9", "evt-9"), ("/evt-9", ""), ("evt-9", "")]
)
def test_a_location_counts_also_where_the_request_is_not_known(location, remote_id):
    assert decide(202, {}, {"Location": location}, request=None).remote_id == remote_id


def test_the_id_in_the_body_comes_before_the_location_unless_it_only_repeats_ours():
    location = {"Location": "/events/evt-9"}

    assert decide(202, {"id": "evt-1"}, location).remote_id == "evt-1"
    assert decide(202, {"id": SENT.event_id}, location).remote_id == "evt-9"
    assert decide(202, {"id": SENT.event_id}, {"Location": "/login"}).remote_id == SENT.event_id


def test_a_conflict_is_not_settled_by_a_location():
    assert decide(409, {}, {"Location": "/events/evt-9"}).verdict is Verdict.UNKNOWN


def test_where_our_event_is_repeated_the_location_has_the_platforms_id():
    """Also where the key was used before, and where the address ends with a slash."""
    echo = event(id=SENT.event_id)

    for status, location in ((201, "/events/evt-9"), (409, "/events/evt-9"), (201, "/events/evt-9/")):
        outcome = decide(status, echo, {"Location": location})
        assert (outcome.verdict, outcome.remote_id) == (Verdict.ACCEPTED, "evt-9")
    assert decide(409, echo).remote_id == SENT.event_id


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_an_empty_body_with_a_location_is_as_good_as_an_empty_object(body):
    outcome = decide(201, body, {"Location": "/events/evt-9"})

    assert (outcome.verdict, outcome.remote_id) == (Verdict.ACCEPTED, "evt-9")
    assert decide(201, body).verdict is Verdict.UNKNOWN


def test_the_event_is_read_only_where_there_is_a_complaint():
    """An acceptance must not cost the parsing of a large event."""
    unreadable = replace(SENT, body="no JSON")

    assert decide(202, ORIGINAL, sent=unreadable).verdict is Verdict.ACCEPTED
    assert decide(409, ORIGINAL, sent=unreadable).verdict is Verdict.ACCEPTED


def test_our_own_attributes_repeated_are_no_complaint():
    """An extension may be named like a member of an error."""
    own = event(
        id=SENT.event_id, status=..., deliveryStatus=..., code="C-1", message="hello", title="t", detail="d"
    )
    sent = replace(SENT, body=json.dumps(own))

    assert decide(201, own, {"Location": "/events/evt-9"}, sent=sent).verdict is Verdict.ACCEPTED
    assert decide(201, own | {"code": "C-2"}, sent=sent).verdict is Verdict.ACCEPTED
    other = own | {"code": "too.many", "message": "slow"}
    assert decide(201, other, sent=sent).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "body",
    [
        {
            "type": "https://errors.example/in-progress",
            "title": "A request is outstanding",
            "detail": "running",
        },
        {"type": "https://errors.example/in-progress", "title": "A request is outstanding", "status": 409},
        {"type": "about:blank", "title": "Conflict", "id": "req-1"},
        {"type": "conflict", "code": "in.progress", "message": "running", "id": "req-1"},
        {"type": "conflict", "message": "running"},
    ],
)
def test_a_409_whose_body_is_an_error_says_that_the_first_request_still_runs(body):
    outcome = decide(409, body, PROBLEM if "title" in body else None)

    assert (outcome.verdict, outcome.conflict) == (Verdict.UNKNOWN, False)


def test_the_source_of_an_answer_that_is_no_event_accuses_no_key():
    outcome = decide(409, {"id": "req-1", "source": "idempotency-filter", "reason": "in progress"})

    assert (outcome.verdict, outcome.conflict, outcome.remote_id) == (Verdict.UNKNOWN, False, "")


def test_the_type_of_an_answer_that_is_no_event_is_not_compared():
    outcome = decide(409, {"id": "evt-1", "type": "event", "status": "accepted"})

    assert (outcome.verdict, outcome.remote_id) == (Verdict.ACCEPTED, "evt-1")


@pytest.mark.parametrize(
    ("seconds", "same"), [(-1.0, True), (0.4, True), (1.0, True), (1.1, False), (-60, False)]
)
def test_times_within_a_second_are_equal(seconds, same):
    assert SENT.time is not None
    time = (SENT.time + timedelta(seconds=seconds)).isoformat()

    assert decide(409, event(time=time)).conflict is not same


# -------------------------------------------------------------------------------- whose event is it about


@pytest.mark.parametrize("name", ["source", "type"])
@pytest.mark.parametrize("value", ["com.example.other", "", 5, [], {}, True, "COM.EXAMPLE.ORDERING"])
@pytest.mark.parametrize("status", [202, 409])
def test_an_answer_about_another_event_is_a_conflict(status, name, value):
    outcome = decide(status, event(**{name: value}))

    assert (outcome.verdict, outcome.conflict, outcome.remote_id) == (Verdict.UNKNOWN, True, "")
    assert outcome.outage is (Halt.CONFIG if status == 202 else None)
    assert f"different {name}" in outcome.error


@pytest.mark.parametrize("missing", ["source", "type", "subject", "time"])
@pytest.mark.parametrize("gone", [..., None])
def test_only_what_both_sides_have_is_compared(missing, gone):
    outcome = decide(409, event(**{missing: gone}))

    assert (outcome.verdict, outcome.duplicate, outcome.remote_id) == (Verdict.ACCEPTED, True, "evt-1")
    assert outcome.error == ""


def test_an_attribute_that_we_did_not_send_is_not_compared():
    sent = Sent(event_id="x", source="com.example.ordering", type="order.created")

    assert decide(409, event(subject="other", time="1999-01-01T00:00:00Z"), sent=sent).duplicate


@pytest.mark.parametrize("status", [202, 409])
@pytest.mark.parametrize("change", [{"subject": "ORD-8"}, {"subject": 7}, {"time": "2026-11-23T10:00:02Z"}])
def test_subject_and_time_are_compared_where_the_key_was_used_before(status, change):
    outcome = decide(status, event(**change))

    assert outcome.conflict is (status == 409)
    assert outcome.verdict is (Verdict.UNKNOWN if status == 409 else Verdict.ACCEPTED)


@pytest.mark.parametrize(
    ("time", "same"),
    [
        ("2026-11-23T10:00:00Z", True),
        ("2026-11-23T10:00:00.999999999Z", True),
        ("2026-11-23T10:00:01Z", True),
        ("2026-11-23t10:00:00.1z", True),
        ("2026-11-23T12:00:00+02:00", True),
        ("2026-11-23T10:00:02Z", False),
        ("2026-11-23T09:59:59Z", False),
        ("2026-11-23T10:00:00+01:00", False),
        ("2025-11-23T10:00:00Z", False),
        ("yesterday", True),  # a time nobody can read says nothing
        ("", True),
        (1732356000, True),
        ([], True),
        ("0001-01-01T00:00:00+14:00", True),
    ],
)
def test_times_are_compared_as_platforms_round_or_cut_them(time, same):
    outcome = decide(409, event(time=time))

    assert outcome.verdict is (Verdict.ACCEPTED if same else Verdict.UNKNOWN)
    assert outcome.conflict is not same


def test_our_own_time_may_be_in_any_zone():
    local = datetime(2026, 11, 23, 2, 0, 0, tzinfo=timezone(timedelta(hours=-8)))
    sent = Sent(SENT.event_id, SENT.source, SENT.type, SENT.subject, local)

    assert decide(409, ORIGINAL, sent=sent).duplicate


def test_a_conflict_names_what_differs_and_shows_neither_value():
    error = decide(409, event(source="com.other", subject="private@example.com")).error

    assert "different source, subject" in error
    assert "private" not in error


def test_a_conflict_that_explains_itself_may_still_be_running():
    body = {"id": "req-1", "code": "conflict", "message": "a request with this key is in progress"}
    outcome = decide(409, body)

    assert (outcome.verdict, outcome.conflict) == (Verdict.UNKNOWN, False)
    assert "in progress" in outcome.error


@pytest.mark.parametrize("more", [{"message": "this event exists already"}, {"code": "duplicate"}])
def test_an_original_may_bring_a_word_with_it(more):
    assert decide(409, event(**more)).duplicate


# ------------------------------------------------------------------------------------------ final at once


@pytest.mark.parametrize("status", [202, 409])
@pytest.mark.parametrize(
    ("words", "final"),
    [
        ({"status": "accepted", "deliveryStatus": "pending"}, None),
        ({"status": "delivered"}, Verdict.DELIVERED),
        ({"status": " Delivered "}, Verdict.DELIVERED),
        ({"status": "FAILED"}, Verdict.FAILED),
        ({"status": "accepted", "deliveryStatus": "delivered"}, None),
        ({"status": "accepted", "deliveryStatus": "failed"}, None),
        ({"status": "", "deliveryStatus": "delivered"}, None),
        ({"status": [], "deliveryStatus": "delivered"}, None),
        ({"status": None, "deliveryStatus": "Delivered"}, Verdict.DELIVERED),
        ({"status": ..., "deliveryStatus": "failed"}, Verdict.FAILED),
        ({"status": ..., "deliveryStatus": ["failed"]}, None),
        ({"status": ..., "deliveryStatus": ...}, None),
    ],
)
def test_an_answer_may_bring_the_final_status_with_it(status, words, final):
    outcome = decide(status, event(**words))

    assert (outcome.verdict, outcome.remote_id, outcome.final) == (Verdict.ACCEPTED, "evt-1", final)
    assert ("failed to deliver" in outcome.error) is (final is Verdict.FAILED)


def test_the_final_words_are_settings():
    rules = Rules(delivered_statuses=frozenset({"done"}), failed_statuses=frozenset({"lost"}))

    assert decide(202, event(status="Done"), rules=rules).final is Verdict.DELIVERED
    assert decide(202, event(status="lost"), rules=rules).final is Verdict.FAILED
    assert decide(202, event(status="delivered"), rules=rules).final is None


# --------------------------------------------------------------------------------------- waits and limits


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "42"}, None, 42),
        ([("Retry-After", "soon"), ("Retry-After", "43")], None, 43),
        ({}, {"message": "Rate limit exceeded the maximum. Retry the request in [44] seconds"}, 44),
        (
            {"inin-ratelimit-count": "300", "inin-ratelimit-allowed": "300", "inin-ratelimit-reset": "45"},
            None,
            45,
        ),
        ({}, None, 5),
        ({}, b"<html>", 5),
        ({}, {"message": ["[44] seconds"]}, 5),
        ({"Retry-After": "0"}, None, 0),
        ({"Retry-After": "99999999"}, None, 21_600),
        ({"Retry-After": "Mon, 23 Nov 2026 10:00:46 GMT", "Date": "Mon, 23 Nov 2026 10:00:00 GMT"}, None, 46),
        ({"Retry-After": "Mon, 23 Nov 1998 10:00:46 GMT"}, None, 0),
    ],
)
def test_a_rate_limit_halts_for_as_long_as_it_says(headers, body, seconds):
    outcome = decide(429, body, headers)

    assert (outcome.verdict, outcome.halt, outcome.retry_after) == (Verdict.HALTED, Halt.RATE, seconds)
    assert f"Nothing is sent for {seconds:g} s" in outcome.error


def test_the_default_wait_and_its_cap_are_settings():
    rules = Rules(retry_after_default=9, retry_after_cap=60)

    assert decide(429, rules=rules).retry_after == 9
    assert decide(429, None, {"Retry-After": "500"}, rules=rules).retry_after == 60
    assert decide(503, None, {"Retry-After": "500"}, rules=rules).retry_after == 60


@pytest.mark.parametrize(
    ("seconds", "is_long", "is_cut"),
    [
        ("180", False, False),
        ("181", True, False),
        ("21599", True, False),
        ("21600", True, True),
        ("90000", True, True),
    ],
)
def test_a_wait_of_more_than_three_minutes_is_said_to_people(seconds, is_long, is_cut):
    error = decide(429, None, {"Retry-After": seconds}).error

    assert ("daily limit" in error and "RATE_PER_MINUTE" in error) is is_long
    assert ("cut to RETRY_AFTER_CAP" in error) is is_cut


def test_the_limit_that_was_hit_is_named():
    key = "client.credentials.token.rate.per.minute"

    assert key in decide(429, {"limit": {"key": key, "value": 300}}).error


@pytest.mark.parametrize("limit", [None, 5, "text", [], {}, {"key": None}, {"key": 5}])
def test_a_limit_without_a_name_is_not_named(limit):
    assert "Limit" not in decide(429, {"limit": limit}).error


def test_a_wait_until_a_date_is_measured_by_the_clock_of_the_answer():
    dates = {"Retry-After": "Mon, 23 Nov 1998 10:00:46 GMT", "Date": "Mon, 23 Nov 1998 10:00:00 GMT"}

    assert decide(503, None, dates).retry_after == 46


@pytest.mark.parametrize("status", [408, 421, 423, 425, 500, 502, 503, 504, 520, 599, 999])
def test_any_trouble_may_ask_for_a_wait(status):
    assert decide(status, None, {"Retry-After": "42"}).retry_after == 42
    assert decide(status, {"message": "[42] seconds"}).retry_after is None
    assert decide(status, None, {"Retry-After": "abc", "inin-ratelimit-reset": "9"}).retry_after is None


@pytest.mark.parametrize("status", [202, 301, 400, 401, 403, 404, 409, 413])
def test_other_answers_cannot_ask_for_a_wait(status):
    assert decide(status, None, {"Retry-After": "42"}).retry_after is None


# ------------------------------------------------------------------------------------ what the texts hold


@pytest.mark.parametrize(
    ("headers", "body", "correlation_id"),
    [
        ({"inin-correlation-id": "h-1", "x-amz-cf-id": "cf-1"}, {"contextId": "b-1"}, "h-1"),
        ({"x-amz-cf-id": "cf-1"}, {"contextId": "b-1"}, "b-1"),
        ({"x-amz-cf-id": "cf-1"}, {"contextId": ""}, "cf-1"),
        ({"x-amz-cf-id": "cf-1"}, {"contextId": 7}, "cf-1"),
        ({"x-amz-cf-id": "cf-1"}, b"<html>", "cf-1"),
        ({"ININ-Correlation-Id": ""}, {}, ""),
        ({}, None, ""),
        ({}, {"contextId": "c" * 500}, "c" * 127 + "…"),
        ({}, {"contextId": "a\nb\u202e"}, r"a\x0ab\u202e"),
    ],
)
def test_the_correlation_id_is_kept_for_support(headers, body, correlation_id):
    assert decide(500, body, headers).correlation_id == correlation_id


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"message": "m", "description": "d"}, "m"),
        ({"error_description": "e", "description": "d"}, "e"),
        ({"description": "d", "detail": "x"}, "d"),
        ({"title": "t", "detail": "x"}, "x"),
        ({"message": " ", "title": "t"}, "t"),
        ({"message": 5, "error": "e"}, "e"),
        ({"error": {"message": "inner"}}, "inner"),
        ({"message": "ends with a full stop."}, "ends with a full stop"),
        ({"error": {"message": 5}}, ""),
        ({"message": "m", "errors": [{"message": "a"}, "b", 5, {"message": "d"}]}, "m; a; b"),
        ({"errors": [{"message": 7}, None, {}]}, ""),
        ({}, ""),
    ],
)
def test_the_platforms_words_are_found_in_every_shape_of_error(body, words):
    error = decide(425, body).error
    code = f" ({body['error']})" if isinstance(body.get("error"), str) else ""
    hint = "The platform cannot accept the event now. It is sent again later."

    assert error == f"HTTP 425{code}{f': {words}' if words else ''}. {hint}"


@pytest.mark.parametrize("status", [200, 202, 302, 400, 401, 403, 409, 413, 429, 500])
def test_a_server_that_repeats_our_token_brings_it_into_no_text(status):
    for echo in hostile.ECHOES:
        body = echo.replace("{}", hostile.CANARY).encode()
        headers = {
            "ININ-Correlation-Id": hostile.CANARY,
            "Location": f"https://{hostile.CANARY}@{hostile.CANARY}/events/{hostile.CANARY}",
        }
        outcome = decide(status, body, headers, secrets=[hostile.CANARY])

        assert hostile.CANARY not in repr(outcome)


@pytest.mark.parametrize(
    "body",
    [
        {"message": "x Bearer abc.SECRET-1"},
        {"access_token": "SECRET"},
        {"a": [{"client_secret": {"b": "SECRET"}}]},
        b"Authorization: Basic SECRETSECRET",
        b"client_secret=SECRET&x=1",
        b"<authorization>SECRET</authorization>",
    ],
)
def test_credentials_are_masked_also_where_nobody_named_them(body):
    assert "SECRET" not in repr(decide(400, body))


def test_the_masked_names_are_a_setting():
    assert "ORD-7" not in repr(decide(400, {"number": "ORD-7"}, rules=Rules(redact_keys=("number",))))


def test_a_redirect_shows_the_host_and_nothing_else():
    error = decide(307, None, {"Location": "https://user:pass@portal.example:8443/path?key=value#x"}).error

    assert "It redirects to portal.example:8443; redirects are never followed." in error
    assert not [
        part for part in ("user", "pass", "path", "key") if f"{part}:" in error or f"/{part}" in error
    ]


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("/login", "the same host"),
        ("", "the same host"),
        (None, "the same host"),
        ("http://[", "an invalid URL"),
        ("//evil.example/x", "evil.example"),
        (f"https://{'a' * 300}.example/", "a" * 99 + "…"),
    ],
)
def test_a_redirect_to_anywhere_is_described(location, place):
    headers = {} if location is None else {"Location": location}

    assert f"It redirects to {place}; " in decide(302, None, headers).error


def test_an_excerpt_is_short_and_on_one_line():
    assert decide(500, b"<html>\n  <body>\r\n\tBusy\n</html>").excerpt == "<html> <body> Busy </html>"
    assert decide(500, b"a\x1b[31m\xff\x00").excerpt == r"a\x1b[31m" + "\ufffd" + r"\x00"
    assert len(decide(500, b"x" * 100_000).excerpt) == 4096
    assert decide(500, {"a": "x" * 100_000}).excerpt.endswith("…")


@pytest.mark.parametrize("name", hostile.NAMES)
@pytest.mark.parametrize("status", [202, 400, 409, 429])
def test_no_member_of_a_wrong_type_can_do_harm(status, name):
    for value in hostile.WRONG_TYPES:
        outcome = decide(status, event(**{name: value}))

        assert len(outcome.error) <= 500
        assert len(outcome.correlation_id) <= 128
        assert len(outcome.excerpt) <= 4096


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(hostile.NAMES) | st.text(), inner)
    ),
)
bodies = st.binary() | st.text().map(str.encode) | json_values.map(lambda value: json.dumps(value).encode())
statuses = st.sampled_from([200, 202, 204, 302, 400, 401, 403, 404, 409, 413, 429, 500, 503, 999])
header_texts = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=50)
headers = st.dictionaries(
    st.sampled_from(["Location", "Retry-After", "Date", "ININ-Correlation-Id", "inin-ratelimit-count"]),
    header_texts.map(lambda text: text.encode("latin-1")),
)


@given(statuses, bodies, headers)
def test_whatever_the_bytes_are_there_is_one_clean_outcome(status, body, headers):
    outcome = publish_outcome(answer(status, body, list(headers.items())), SENT, RULES)

    for text, limit in ((outcome.error, 500), (outcome.correlation_id, 128), (outcome.excerpt, 4096)):
        assert text == clean(text, limit)
    assert (outcome.halt is not None) is (outcome.verdict is Verdict.HALTED)
    if outcome.verdict is Verdict.ACCEPTED:
        document = json.loads(body)
        assert document["id"] == outcome.remote_id or "Location" in headers
    else:
        assert (outcome.remote_id, outcome.final, outcome.duplicate) == ("", None, False)
        assert outcome.error


# ---------------------------------------------------------------------------------------------- the values


def test_a_token_does_not_show_itself():
    token = Token("c4n4ry", 86_400.0)

    assert repr(token) == str(token) == "Token(value='[redacted]', expires_in=86400.0)"


def test_the_rules_have_the_defaults_of_the_settings():
    assert Rules() == Rules(
        accepted_codes=frozenset({200, 201, 202}),
        duplicate_codes=frozenset({409}),
        delivered_statuses=frozenset({"delivered"}),
        failed_statuses=frozenset({"failed"}),
        not_found_grace=300,
        confirm_for=3600,
        retry_after_default=5,
        retry_after_cap=6 * 3600,
    )


def test_the_verdicts_are_the_words_that_are_stored():
    assert {verdict.value for verdict in Verdict} == {
        "accepted",
        "rejected",
        "unavailable",
        "unknown",
        "halted",
        "delivered",
        "failed",
        "not_yet",
    }
    assert {halt.value for halt in Halt} == {"auth", "permission", "config", "rate", "network", "refusals"}
