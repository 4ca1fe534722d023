"""The answers to the question for an event's status: the table, row by row."""

import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.platform.outcomes import Halt, Outcome, Rules, Sent, Verdict
from genesys_eventbridge.text import clean, redact_text
from tests import hostile
from tests.judging import status_outcome

RULES = Rules()
GRACE, OVER = RULES.not_found_grace, RULES.confirm_for
HALTS = {401: Halt.AUTH, 403: Halt.PERMISSION, 429: Halt.RATE}


def decide(
    status,
    body=None,
    headers=None,
    *,
    age=10.0,
    remote_id="evt-1",
    sent=None,
    rules=RULES,
    secrets=(),
    **more,
):
    content = json.dumps(body).encode() if isinstance(body, dict | list) else body
    response = httpx.Response(status, headers=headers, content=content, **more)
    return status_outcome(response, rules, remote_id=remote_id, sent=sent, age=age, secrets=secrets)


def event(**changes):
    return {
        key: value
        for key, value in {"id": "evt-1", "status": "accepted", **changes}.items()
        if value is not ...
    }


@pytest.mark.parametrize("status", [*range(100, 600), -1, 0, 99, 600, 999])
def test_every_status_code_has_its_verdict(status):
    for age in (None, 10.0, OVER * 10):
        outcome = decide(status, age=age)

        if status in HALTS:
            assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, HALTS[status])
        elif status == 410 or (status == 404 and age == OVER * 10):
            assert outcome.verdict is Verdict.UNKNOWN
        else:
            assert outcome.verdict is Verdict.NOT_YET
        assert outcome.status_code == status
        assert outcome.error.startswith(f"HTTP {status}")
        assert outcome.outage is None
        assert ("never followed" in outcome.error) is (300 <= status <= 399)
        assert redact_text(outcome.error, RULES.redact_keys) == outcome.error


@pytest.mark.parametrize("age", [None, 0.0, 10.0, OVER, OVER * 10])
@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ({"status": "delivered"}, Verdict.DELIVERED),
        ({"status": "Delivered ", "deliveryStatus": "failed"}, Verdict.DELIVERED),
        ({"status": "FAILED", "deliveryStatus": "delivered"}, Verdict.FAILED),
        ({"status": ..., "deliveryStatus": "delivered"}, Verdict.DELIVERED),
        ({"status": None, "deliveryStatus": "failed"}, Verdict.FAILED),
        ({"id": ..., "status": "delivered"}, Verdict.DELIVERED),
        ({"id": None, "status": "delivered"}, Verdict.DELIVERED),
    ],
)
def test_a_final_status_is_final_however_late_it_comes(words, verdict, age):
    outcome = decide(200, event(**words), age=age)

    assert outcome.verdict is verdict
    assert (outcome.error == "") is (verdict is Verdict.DELIVERED)


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"deliveryStatus": "delivered"},
        {"status": "queued"},
        {"status": "undelivered"},
        {"status": ..., "deliveryStatus": "pending"},
    ],
)
def test_any_other_word_is_asked_about_again_in_silence(words):
    outcome = decide(200, event(**words))

    assert (outcome.verdict, outcome.error) == (Verdict.NOT_YET, "")


@pytest.mark.parametrize(
    "words",
    [
        {"status": ...},
        {"status": ""},
        {"status": 5},
        {"status": ["delivered"]},
        {"status": {"delivered": True}},
        {"status": 5, "deliveryStatus": "delivered"},
        {"status": ..., "deliveryStatus": 1},
    ],
)
def test_an_answer_without_a_status_is_no_status(words):
    outcome = decide(200, event(**words))

    assert outcome.verdict is Verdict.NOT_YET
    assert "has no status" in outcome.error


@pytest.mark.parametrize("age", [10.0, OVER * 10])
@pytest.mark.parametrize("body", hostile.NO_OBJECT.values(), ids=hostile.NO_OBJECT)
def test_what_is_no_json_object_is_asked_about_again_however_late(body, age):
    outcome = decide(200, body, age=age)

    assert outcome.verdict is Verdict.NOT_YET
    assert "not an event status" in outcome.error


@pytest.mark.parametrize("age", [10.0, OVER * 10])
@pytest.mark.parametrize("other", ["evt-2", "", "EVT-1", 1, ["evt-1"], {}, False])
def test_the_status_of_another_event_says_nothing(other, age):
    outcome = decide(200, event(id=other, status="delivered"), age=age)

    assert (outcome.verdict, outcome.conflict) == (Verdict.NOT_YET, True)


OURS = Sent("e-1", "com.example.ordering", "order.created", body='{"code": "C-1"}')
ECHO = {"id": "e-1", "source": "com.example.ordering", "type": "order.created", "specversion": "1.0"}


@pytest.mark.parametrize(
    ("status", "verdict"),
    [("delivered", Verdict.DELIVERED), ("failed", Verdict.FAILED), ("accepted", Verdict.NOT_YET)],
)
def test_a_platform_that_repeats_our_event_answers_for_it(status, verdict):
    """Its own id came in ``Location``: the body has ours."""
    assert decide(200, ECHO | {"status": status}, sent=OURS).verdict is verdict


def test_an_event_that_is_repeated_and_never_delivered_ends_with_the_confirmation():
    assert decide(200, ECHO | {"status": "accepted"}, sent=OURS, age=OVER).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("change", [{"id": "e-2"}, {"source": "other"}, {"type": "other"}, {"source": None}])
def test_half_an_echo_is_another_events_status(change):
    outcome = decide(200, ECHO | {"status": "delivered"} | change, sent=OURS)

    assert (outcome.verdict, outcome.conflict) == (Verdict.NOT_YET, True)


@pytest.mark.parametrize(
    "complaint",
    [
        {"errors": ["no"]},
        {"error": "no"},
        {"success": False},
        {"code": "too.many.requests", "message": "slow down"},
        {"title": "Too many requests", "detail": "slow down"},
    ],
)
def test_a_delivery_with_a_complaint_is_none(complaint):
    body = event(status="delivered", **complaint)

    assert decide(200, body).verdict is Verdict.NOT_YET
    assert decide(200, body, age=OVER).verdict is Verdict.UNKNOWN
    assert decide(200, body | {"id": None}, age=OVER).verdict is Verdict.NOT_YET  # about no event


def test_our_own_attributes_repeated_are_no_complaint():
    body = ECHO | {"status": "delivered", "code": "C-1", "message": "of the platform"}

    assert decide(200, body, sent=OURS).verdict is Verdict.DELIVERED


def test_the_details_of_a_failure_are_no_complaint():
    body = event(status="failed", errors=["no such target"], code="target.gone", message="no such target")

    assert decide(200, body).verdict is Verdict.FAILED


def test_a_body_that_could_not_be_read_says_nothing():
    outcome = decide(200, b"", age=OVER * 10, extensions={"body_problem": "over 1 MiB"})

    assert outcome.verdict is Verdict.NOT_YET
    assert "over 1 MiB" in outcome.error


@pytest.mark.parametrize(
    ("age", "verdict", "found"),
    [
        (None, Verdict.NOT_YET, None),
        (0, Verdict.NOT_YET, None),
        (GRACE, Verdict.NOT_YET, None),
        (GRACE + 1, Verdict.UNKNOWN, False),
    ],
)
@pytest.mark.parametrize("body", [{"message": "not found", "code": "not.found"}, b""])
def test_an_unknown_id_is_forgiven_for_the_grace(age, verdict, found, body):
    outcome = decide(404, body, age=age)

    assert (outcome.verdict, outcome.found) == (verdict, found)


@pytest.mark.parametrize("status", [404, 410])
def test_a_gateways_page_says_nothing_about_an_event(status):
    outcome = decide(status, b"<html>not here</html>", age=GRACE + 1)

    assert (outcome.verdict, outcome.found) == (Verdict.NOT_YET, False)
    assert "A gateway answered, not the platform" in outcome.error


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, {"id": "evt-1", "status": "queued"}, True),
        (200, {"id": "evt-1", "status": "delivered"}, True),
        (200, {"id": "evt-1", "status": "failed"}, True),
        (200, b"<html>", None),
        (200, {"id": "another", "status": "delivered"}, None),
        (302, b"", False),
        (400, {"message": "no such path", "code": "bad.request"}, False),
        (405, b"", False),
        (408, b"", None),
        (503, b"", None),
    ],
)
def test_an_answer_says_whether_the_platform_answers_for_the_id(status, body, found):
    assert decide(status, body, age=1).found is found


def test_a_grace_longer_than_the_confirmation_ends_with_it():
    rules = Rules(not_found_grace=100, confirm_for=50)

    assert decide(404, age=49, rules=rules).verdict is Verdict.NOT_YET
    assert decide(404, age=50, rules=rules).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("age", [None, 0, OVER])
def test_an_event_that_is_gone_is_unconfirmed_at_once(age):
    assert decide(410, age=age).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"id": "evt-1", "status": "accepted"}),
        (200, {"id": "evt-1"}),
        (200, {}),
        (400, {"message": "bad id"}),
        (402, None),
        (405, {"message": "no"}),
        (422, {}),
        (499, {}),
        (406, {}),
    ],
)
def test_only_an_answer_about_the_event_ends_the_confirmation(status, body):
    answered = body is not None
    early, exact, late = (decide(status, body, age=age) for age in (OVER - 1, OVER, OVER + 1))

    assert early.verdict is Verdict.NOT_YET
    assert {exact.verdict, late.verdict} == {Verdict.UNKNOWN if answered else Verdict.NOT_YET}
    assert ("CONFIRM_FOR (3600 s)" in late.error) is answered
    assert decide(status, body, age=None).verdict is Verdict.NOT_YET


@pytest.mark.parametrize(
    "status", [301, 302, 402, 407, 408, 421, 423, 425, 500, 502, 503, 504, 511, 599, 999, 202, 204]
)
def test_what_is_no_answer_about_the_event_never_ends_the_confirmation(status):
    assert decide(status, {"message": "x", "status": "delivered"}, age=OVER * 10).verdict is Verdict.NOT_YET


@pytest.mark.parametrize("status", [400, 405, 422])
def test_nor_does_an_html_page(status):
    assert decide(status, b"<html>", age=OVER * 10).verdict is Verdict.NOT_YET


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, ("roles",)),
        (403, ("eventbridge:events:read", "CONFIRM to False", "IP allow-list")),
        (302, ("portal.example", "never followed", "API_BASE_URL")),
        (429, ("Nothing is sent for 5 s",)),
        (404, ("not know",)),
        (410, ("no longer",)),
        (500, ("checked again",)),
    ],
)
def test_trouble_says_what_to_change(status, words):
    error = decide(status, {"message": "m" * 5000}, {"Location": "https://portal.example/x"}).error

    assert not [word for word in words if word not in error]
    assert len(error) <= 500


def test_a_failed_delivery_keeps_its_details():
    body = event(status="failed", message="target refused: 410", details=[{"attempt": 3, "secret": "SECRET"}])
    outcome = decide(200, body, {"ININ-Correlation-Id": "c-1"})

    assert "target refused: 410" in outcome.error
    assert "new key" in outcome.error
    assert '"attempt": 3' in outcome.excerpt
    assert "SECRET" not in repr(outcome)
    assert outcome.correlation_id == "c-1"


def test_a_rate_limit_halts_for_as_long_as_it_says_and_trouble_may_ask_for_a_wait():
    assert decide(429, None, {"Retry-After": "42"}).retry_after == 42
    assert decide(429, {"message": "Retry the request in [43] seconds"}).retry_after == 43
    assert decide(503, None, {"Retry-After": "44"}).retry_after == 44
    assert decide(503).retry_after is None


def test_the_words_are_settings():
    rules = Rules(delivered_statuses=frozenset({"done"}), failed_statuses=frozenset({"lost"}))

    assert decide(200, event(status="Done"), rules=rules).verdict is Verdict.DELIVERED
    assert decide(200, event(status="LOST"), rules=rules).verdict is Verdict.FAILED
    assert decide(200, event(status="delivered"), rules=rules).verdict is Verdict.NOT_YET


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 410, 429, 500])
def test_a_server_that_repeats_our_token_brings_it_into_no_text(status):
    for echo in hostile.ECHOES:
        outcome = decide(status, echo.replace("{}", hostile.CANARY).encode(), secrets=[hostile.CANARY])

        assert hostile.CANARY not in repr(outcome)


@pytest.mark.parametrize("name", hostile.NAMES)
def test_no_member_of_a_wrong_type_can_do_harm(name):
    for value in hostile.WRONG_TYPES:
        for status in (200, 400, 429):
            assert isinstance(decide(status, event(**{name: value})), Outcome)


@given(
    st.sampled_from([200, 202, 302, 400, 401, 403, 404, 410, 429, 500]),
    st.binary() | st.text().map(str.encode),
)
def test_whatever_the_bytes_are_there_is_one_clean_outcome(status, body):
    outcome = decide(status, body)

    assert outcome.error == clean(outcome.error, 500)
    assert outcome.excerpt == clean(outcome.excerpt, 4096)
    assert outcome.verdict not in {Verdict.DELIVERED, Verdict.FAILED}
