"""The webhook: the table of its answers row by row, the form of its token, and what leaves this host."""

import json
from urllib.parse import unquote

import httpx
import pytest

from genesys_eventbridge.cloudevents import NO_DATA, build_event
from genesys_eventbridge.errors import Halted, InvalidEvent
from genesys_eventbridge.platform.config import Platform
from genesys_eventbridge.platform.outcomes import Halt, Rules, Sent, Verdict
from genesys_eventbridge.platform.protocols import Webhook, protocol_class
from tests.judging import publish_outcome

TOKEN = "canarytoken-0123456789"
API = "https://api.mypurecloud.de"
URL = f"{API}/api/v2/integrations/webhooks/{TOKEN}/events"
EVENT = build_event("order.created", {"n": 1, "price": 2.50}, source="com.example", subject="Ä 7")
SENT = Sent(EVENT.id, EVENT.source, EVENT.type, subject="Ä 7", body=EVENT.encode())
INVOCATION = "6a7e9c3e-6d5c-4a59-8a0f-0f62b1a9d0aa"
REFUSAL = {"message": "refused", "code": "bad.request", "status": 400, "contextId": "c"}


def platform(token=TOKEN, *, body="cloudevent", api=API, **settings):
    protocol = Webhook(webhook_token=token, webhook_body=body)
    return Platform(api_base_url=api, protocol=protocol, **settings)


def request_of(event=SENT, **settings):
    made = platform(**settings)
    return made.protocol.publish_request(made, event, "a-key")


def decide(status, body=None, headers=None, *, secrets=(TOKEN,)):
    content = json.dumps(body).encode() if isinstance(body, dict | list) else body
    response = httpx.Response(status, headers=headers, content=content, request=httpx.Request("POST", URL))
    return publish_outcome(response, SENT, Rules(), secrets=secrets, protocol=Webhook(webhook_token=TOKEN))


class TestRequests:
    def test_it_is_the_official_request_with_the_event_as_it_was_stored(self):
        request = request_of()

        assert (request.method, request.path) == ("POST", f"/api/v2/integrations/webhooks/{TOKEN}/events")
        assert dict(request.headers) == {"Content-Type": "application/json"}
        assert request.body == EVENT.encode()

    def test_bare_data_travels_with_the_attributes_in_headers(self):
        request = request_of(body="data")

        assert request.body == '{"n":1,"price":2.5}'
        headers = dict(request.headers)
        assert headers["Content-Type"] == "application/json"
        assert (headers["ce-id"], headers["ce-source"]) == (EVENT.id, "com.example")
        assert unquote(headers["ce-subject"]) == "Ä 7"

    @pytest.mark.parametrize("url", [URL, f"{URL}/", URL.replace("https://api", "HTTPS://API")])
    def test_a_whole_invocation_url_stands_for_its_token(self, url):
        assert request_of(token=url) == request_of()

    def test_a_callable_is_asked_for_the_token(self):
        assert request_of(token=lambda: TOKEN) == request_of()
        assert request_of(token=lambda: URL) == request_of()

    @pytest.mark.parametrize(
        "given", [lambda: "a/b", lambda: 7, lambda: 1 / 0, lambda: URL.replace(".de", ".ie")]
    )
    def test_a_callable_that_fails_halts_and_is_named_without_its_value(self, given):
        with pytest.raises(Halted, match="Nothing was sent: WEBHOOK_TOKEN") as caught:
            request_of(token=given)

        assert caught.value.kind == Halt.CONFIG
        assert "canary" not in str(caught.value)

    def test_the_token_is_in_no_repr(self):
        made = platform()

        assert TOKEN not in f"{made!r} {made.protocol!r} {request_of()!r} {vars(made)['protocol']!r}"

    @pytest.mark.parametrize("given", [TOKEN, URL, lambda: TOKEN, lambda: URL])
    def test_the_token_alone_is_the_secret(self, given):
        made = platform(token=given)
        made.protocol.publish_request(made, SENT, "a-key")

        assert made.secrets() == (TOKEN,)


class TestTokens:
    @pytest.mark.parametrize(
        "token",
        [
            "", " ", "abc", "a/b/c", "to ken", " token", "token\n", "tok%65n", "töken", "token?x", "token#x",
            "..", "....", "x" * 256, None, 7, b"token", ["token"],
            "ftp://api.mypurecloud.de/api/v2/integrations/webhooks/token/events",
            "http://api.mypurecloud.de/api/v2/integrations/webhooks/token/events",
            "https://api.mypurecloud.de/api/v2/integrations/webhooks/token",
            "https://api.mypurecloud.de/api/v2/integrations/webhooks//events",
            "https://api.mypurecloud.de/api/v2/integrations/webhooks/a/b/events",
            "https://api.mypurecloud.de/api/v2/integrations/webhooks/to%20ken/events",
            "https://user:pw@api.mypurecloud.de/api/v2/integrations/webhooks/token/events",
            "https://api.mypurecloud.de/api/v2/integrations/webhooks/token/events?x=1",
        ],
    )  # fmt: skip
    def test_what_is_no_token_is_refused_without_being_shown(self, token):
        with pytest.raises(ValueError, match="WEBHOOK_TOKEN must be") as caught:
            platform(token)

        assert "to ken" not in str(caught.value)
        assert "user:pw" not in str(caught.value)

    @pytest.mark.parametrize("token", ["abcd", "A-b_c.d~9", "x" * 255])
    def test_unreserved_characters_make_a_token(self, token):
        assert f"/{token}/events" in request_of(token=token).path


class TestAnswers:
    """The table of platform.md, section 8.1."""

    @pytest.mark.parametrize("status", [200, 201, 202, 203, 206, 299])
    def test_an_invocation_id_is_the_proof_and_becomes_the_remote_id(self, status):
        outcome = decide(status, {"invocationId": INVOCATION})

        assert (outcome.verdict, outcome.remote_id, outcome.final) == (Verdict.ACCEPTED, INVOCATION, None)

    @pytest.mark.parametrize(
        "body",
        [
            {}, [], b"", b"ok", b"null", b"<html>", b'{"invocationId"', {"id": "1"},
            {"invocationId": None}, {"invocationId": 7}, {"invocationId": ""}, {"invocationId": "a b"},
            {"invocationId": "../.."}, {"invocationId": "x" * 300},
            {"invocationId": [INVOCATION]}, {"invocationId": TOKEN}, {"invocationID": INVOCATION},
            {"invocationId": INVOCATION, "errors": ["x"]},
            {"invocationId": INVOCATION, "status": "failed"},
            {"invocationId": INVOCATION, "status": 500, "message": "x"},
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("status", [200, 202, 204])
    def test_any_other_success_is_unknown(self, status, body):
        outcome = decide(status, body)

        assert (outcome.verdict, outcome.outage) == (Verdict.UNKNOWN, Halt.NETWORK)
        assert outcome.remote_id == ""
        assert "sent again" not in outcome.error

    @pytest.mark.parametrize("status", [404, 410])
    @pytest.mark.parametrize("body", [REFUSAL, {}, b"", b"<html>gone"])
    def test_no_webhook_with_this_token_halts(self, status, body):
        outcome = decide(status, body)

        assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, Halt.CONFIG)
        assert "No webhook has this token. Check WEBHOOK_TOKEN" in outcome.error

    @pytest.mark.parametrize("status", [401, 402, 403])
    def test_an_inactive_integration_halts(self, status):
        outcome = decide(status, REFUSAL)

        assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, Halt.PERMISSION)
        assert "integration may be inactive" in outcome.error
        assert "OAuth" not in outcome.error

    @pytest.mark.parametrize("status", [400, 413, 422])
    def test_the_platforms_refusal_rejects_and_a_gateways_halts(self, status):
        assert decide(status, REFUSAL).verdict is Verdict.REJECTED
        assert decide(status, b"<html>no").halt is Halt.CONFIG

    @pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504, 599, 600, 999])
    def test_an_answer_that_leaves_it_open_is_unknown_and_counts_towards_a_pause(self, status):
        outcome = decide(status, {"message": "boom"})

        assert (outcome.verdict, outcome.outage) == (Verdict.UNKNOWN, Halt.NETWORK)
        assert "same key" not in outcome.error

    @pytest.mark.parametrize("status", [405, 406, 407, 415, 501, 511, 302])
    def test_an_answer_from_elsewhere_halts(self, status):
        outcome = decide(status, b"")

        assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, Halt.CONFIG)
        assert "EVENTS_PATH" not in outcome.error
        assert "CONTENT_TYPE" not in outcome.error

    def test_a_rate_limit_halts_for_as_long_as_it_says(self):
        outcome = decide(429, REFUSAL, {"Retry-After": "17"})

        assert (outcome.halt, outcome.retry_after) == (Halt.RATE, 17.0)

    @pytest.mark.parametrize("status", [200, 202, 302, 400, 401, 404, 409, 429, 500])
    def test_an_answer_that_repeats_the_token_shows_it_nowhere(self, status):
        body = {"message": f"no {URL}", "code": TOKEN, "contextId": TOKEN, "invocationId": TOKEN}
        outcome = decide(status, body, {"Location": URL, "ININ-Correlation-Id": TOKEN})

        assert TOKEN not in repr(outcome) + outcome.excerpt


class TestEvents:
    """What enqueue() refuses."""

    def check(self, data, body="data", **attributes):
        Webhook(webhook_token=TOKEN, webhook_body=body).check_event(
            build_event("order.created", data, source="com.example", **attributes)
        )

    @pytest.mark.parametrize("data", [b"bytes", NO_DATA])
    def test_bare_data_must_be_json(self, data):
        with pytest.raises(InvalidEvent, match="data: must be a JSON value"):
            self.check(data)
        self.check(data, body="cloudevent")

    def test_bare_data_must_have_a_json_type(self):
        with pytest.raises(InvalidEvent, match="datacontenttype: must be JSON"):
            self.check("text", datacontenttype="text/plain")
        self.check("text", datacontenttype="application/vnd.x+json")

    def test_attributes_that_no_gateway_takes_as_headers_are_refused_by_the_longest_name(self):
        with pytest.raises(InvalidEvent, match=r"comment: is too long: .* 8,192 are allowed"):
            self.check({}, extensions={"comment": "x" * 8192})
        with pytest.raises(InvalidEvent, match="comment"):
            self.check({}, extensions={"comment": "€" * 950})
        self.check({}, extensions={"comment": "€" * 850})
        self.check({}, body="cloudevent", extensions={"comment": "x" * 9000})


def test_a_protocol_is_named_or_imported():
    assert protocol_class("webhook") is Webhook
    assert protocol_class("genesys_eventbridge.platform.protocols.Webhook") is Webhook
    assert protocol_class(Webhook) is Webhook


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Webhook",
        "webhooks",
        "json.dumps",
        "no.such.module",
        "json.nothing",
        None,
        7,
        object,
        Webhook(webhook_token=TOKEN),
    ],
)
def test_what_is_no_protocol_is_refused(value):
    with pytest.raises(ValueError, match='"eventbridge", "webhook" or the dotted path'):
        protocol_class(value)
