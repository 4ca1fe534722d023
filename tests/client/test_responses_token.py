"""The answers of the token endpoint: a token, or the reason and the setting to change."""

import json
import logging

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.client.responses.token import token_answer
from genesys_eventbridge.errors import Halted
from genesys_eventbridge.platform.outcomes import Rules, Token
from genesys_eventbridge.text import clean, redact_text
from tests import hostile

RULES = Rules()
HOST = "login.mypurecloud.de"
CANARY = hostile.CANARY


def ask(status, body=None, headers=None, *, rules=RULES, secrets=(), fraction=0.5, **more) -> Token:
    content = json.dumps(body).encode() if isinstance(body, dict | list) else body
    response = httpx.Response(status, headers=headers, content=content, **more)
    return token_answer(response, rules, login_host=HOST, secrets=secrets, random=lambda: fraction)


def granted(**changes):
    whole = {"access_token": CANARY, "token_type": "bearer", "expires_in": 86399, **changes}
    return {key: value for key, value in whole.items() if value is not ...}


def refused(status, body=None, headers=None, **more) -> Halted:
    with pytest.raises(Halted) as caught:
        ask(status, body, headers, **more)
    return caught.value


@pytest.mark.parametrize("token_type", ["bearer", "Bearer", "BEARER", " bearer "])
def test_a_bearer_token_is_taken(token_type):
    assert ask(200, granted(token_type=token_type)) == Token(CANARY, 86399.0)


@pytest.mark.parametrize("value", ["x", "a.b-c_d~e+f/g==", "!" * 16_384])
def test_a_token_is_any_printable_ascii(value):
    assert ask(200, granted(access_token=value)).value == value


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {"access_token": value}
            for value in (
                ...,
                None,
                "",
                " ",
                "a b",
                "a\r\nX: y",
                "a\n",
                "\x00",
                "\x7f",
                "tökén",
                "\ud800",
                5,
                True,
                ["x"],
                {"x": 1},
                "x" * 16_385,
            )
        ),
        *({"token_type": value} for value in (..., None, "", "mac", "bearer x", 5, ["bearer"])),
    ],
)
def test_what_cannot_go_into_a_header_is_no_token(changes, caplog):
    error = refused(200, granted(**changes))

    assert (error.kind, error.status_code, error.retry_after) == ("config", 200, None)
    assert HOST in str(error)
    assert "login.<domain>" in str(error)
    assert CANARY not in str(error) + caplog.text


@pytest.mark.parametrize("body", hostile.NO_OBJECT.values(), ids=hostile.NO_OBJECT)
def test_a_page_instead_of_a_token_asks_for_the_login_host(body):
    error = refused(200, body)

    assert error.kind == "config"
    assert f"Is {HOST} the login host?" in str(error)


def test_a_token_that_was_cut_off_is_none():
    assert "cut off" in str(refused(200, b"", extensions={"body_problem": "the body is cut off"}))


@pytest.mark.parametrize("status", [200, 400, 401, 503])
def test_an_answer_that_broke_off_is_trouble_of_the_network(status):
    """Its other half may have held the token: credentials and host are not accused."""
    error = refused(status, b"", extensions={"body_problem": "the body broke off", "broken_off": "reset"})

    assert error.kind == "network"
    assert " broke off." in str(error)


@pytest.mark.parametrize(
    ("life", "seconds"),
    [
        (86399, 86399),
        (1, 1),
        (0.5, 0.5),
        ("1200", 1200),
        (" 1200 ", 1200),
        ("1200.5", 1200.5),
        (1e12, 1e12),
    ],
)
def test_the_life_of_a_token_is_a_number_or_a_numeric_text(life, seconds, caplog):
    assert ask(200, granted(expires_in=life)).expires_in == seconds
    assert caplog.text == ""


@pytest.mark.parametrize(
    "life",
    [
        ...,
        None,
        0,
        -5,
        0.0,
        "0",
        "-5",
        "",
        "soon",
        "1e9",
        "nan",
        "inf",
        "٣",
        "1_000",
        True,
        False,
        [],
        {},
        [60],
        10**400,
        "9" * 13,
        "12h",
    ],
)
def test_a_token_without_a_usable_life_is_used_for_a_minute_and_said(life, caplog):
    with caplog.at_level(logging.WARNING, logger="genesys_eventbridge"):
        assert ask(200, granted(expires_in=life)) == Token(CANARY, 60.0)

    assert "expires_in" in caplog.text
    assert HOST in caplog.text
    assert CANARY not in caplog.text


def test_a_life_that_overflows_is_no_life():
    assert ask(200, b'{"access_token":"x","token_type":"bearer","expires_in":1e999}').expires_in == 60


RATE_LIMIT = {"error": "invalid_request", "description": "rate limit exceeded; try later"}


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, RATE_LIMIT, "rate", ("Nothing is sent",)),
        (400, {"error": "Invalid_Request", "error_description": "Rate Limit Exceeded;"}, "rate", ()),
        (
            400,
            {"error": "invalid_request", "description": "missing grant"},
            "config",
            ("login.<domain>", "TOKEN_PATH"),
        ),
        (400, {"error": "other", "description": "rate limit exceeded"}, "config", ()),
        (
            400,
            {"error": "invalid_client", "description": "client not found"},
            "auth",
            ("REGION", "CLIENT_ID", "CLIENT_SECRET"),
        ),
        (401, {"error": "invalid_client"}, "auth", ("REGION", "CLIENT_SECRET")),
        (401, {"error": "INVALID_CLIENT"}, "auth", ("REGION",)),
        (401, b"<html>", "auth", ("REGION",)),
        (400, {"error": "invalid_scope"}, "auth", ("Set SCOPES to []",)),
        (401, {"error": "invalid_scope"}, "auth", ("REGION",)),
        (422, {"error": "invalid_scope"}, "config", ("TOKEN_PATH",)),
        (401, RATE_LIMIT, "auth", ("REGION",)),
        (400, {"error": "unauthorized_client"}, "config", ("Client Credentials",)),
        (400, None, "config", (HOST,)),
        (403, b"<html>", "auth", ("IP allow-list", "disabled", HOST)),
        (404, b"<html>", "config", ("login.<domain>", "LOGIN_BASE_URL", HOST)),
        (405, None, "config", ("login.<domain>",)),
        (415, None, "config", ("TOKEN_PATH",)),
        (407, None, "config", ("PROXY",)),
        (301, None, "config", ("portal.example", "LOGIN_BASE_URL", "login.<domain>")),
        (201, granted(), "config", ()),
        (204, None, "config", ("login.<domain>",)),
        (429, None, "rate", ("Nothing is sent for 5 s",)),
        (408, None, "network", (HOST,)),
        (500, None, "network", (HOST,)),
        (503, b"<html>", "network", ()),
        (511, None, "network", ()),
        (999, None, "network", ()),
        (101, None, "network", ()),
    ],
)
def test_every_refusal_has_its_kind_and_its_remedy(status, body, kind, words):
    headers = {"Location": "https://portal.example/x", "ININ-Correlation-Id": "c-1"}
    error = refused(status, body, headers)

    assert (error.kind, error.status_code, error.correlation_id) == (kind, status, "c-1")
    assert str(error).startswith(f"No token: HTTP {status}")
    assert not [word for word in words if word not in str(error)]
    assert len(str(error)) <= 500
    assert redact_text(str(error), RULES.redact_keys) == str(error)


@pytest.mark.parametrize("status", [*range(100, 200), *range(201, 600), -1, 0, 99, 600, 999])
def test_no_status_code_but_200_gives_a_token(status):
    error = refused(status, granted())

    kinds = {401: "auth", 403: "auth", 408: "network", 429: "rate"}
    assert error.kind == kinds.get(status, "config" if 200 <= status <= 499 else "network")
    assert error.status_code == status
    assert ("never followed" in str(error)) is (300 <= status <= 399)


def test_of_a_wrong_client_the_region_is_suspected_first():
    """The platform says "client not found" also where the client lives in another region."""
    text = str(refused(400, {"error": "invalid_client", "description": "client not found"}))

    assert "client not found" in text
    assert text.index(HOST) < text.index("REGION") < text.index("CLIENT_ID")


@pytest.mark.parametrize("told", [{"description": "authentication failed"}, {}], ids=str)
def test_of_a_client_that_is_found_the_secret_is_suspected_first(told):
    text = str(refused(401, {"error": "invalid_client", **told}))

    assert text.index("CLIENT_SECRET") < text.index("CLIENT_ID") < text.index("REGION")


@pytest.mark.parametrize(("fraction", "seconds"), [(0.0, 5), (0.5, 32.5), (1.0, 60)])
def test_a_token_limit_without_a_wait_is_spread_over_a_minute(fraction, seconds):
    assert refused(400, RATE_LIMIT, fraction=fraction).retry_after == seconds


@pytest.mark.parametrize(
    ("asked", "seconds"), [("7", 7), ("0", 5), ("99", 99), ("99999999", 21_600), ("x", 32.5)]
)
def test_a_token_limit_with_a_wait_holds_it_and_five_seconds_at_least(asked, seconds):
    assert refused(400, RATE_LIMIT, {"Retry-After": asked}).retry_after == seconds


def test_the_spread_is_drawn_by_chance_where_nobody_injects_one():
    response = httpx.Response(400, json=RATE_LIMIT)
    waits = set()
    for _ in range(20):
        with pytest.raises(Halted) as caught:
            token_answer(response, RULES, login_host=HOST)
        waits.add(caught.value.retry_after)

    assert len(waits) > 1
    assert all(5 <= (wait or 0) <= 60 for wait in waits)


def test_other_waits_are_kept():
    assert refused(429, None, {"Retry-After": "42"}).retry_after == 42
    assert refused(429, {"message": "[43] seconds"}).retry_after == 43
    assert refused(503, None, {"Retry-After": "44"}).retry_after == 44
    assert refused(503).retry_after is None
    assert refused(404, None, {"Retry-After": "44"}).retry_after is None


def test_a_long_wait_is_said():
    assert "RATE_PER_MINUTE" in str(refused(429, None, {"Retry-After": "500"}))


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 429, 500])
def test_a_server_that_repeats_our_secret_brings_it_into_no_text(status):
    for echo in hostile.ECHOES:
        body = echo.replace("{}", CANARY).encode()
        error = refused(status, body, {"ININ-Correlation-Id": CANARY}, secrets=[CANARY])

        assert CANARY not in str(error) + error.correlation_id


def test_a_token_in_an_answer_that_is_no_grant_is_not_shown():
    error = refused(400, {"message": "x", "error": "invalid_request", "access_token": CANARY})

    assert CANARY not in str(error)


@pytest.mark.parametrize("name", hostile.NAMES)
def test_no_member_of_a_wrong_type_can_do_harm(name):
    for value in hostile.WRONG_TYPES:
        if name not in {"access_token", "token_type", "expires_in"}:
            assert ask(200, granted(**{name: value})).value == CANARY
        for status in (400, 401, 429):
            assert refused(status, granted(**{name: value})).status_code == status


@given(st.sampled_from([200, 302, 400, 401, 403, 429, 500]), st.binary() | st.text().map(str.encode))
def test_whatever_the_bytes_are_there_is_a_halt_with_one_clean_line(status, body):
    error = refused(status, body)

    assert str(error) == clean(str(error), 500)
    assert error.kind in {"auth", "config", "rate", "network"}
