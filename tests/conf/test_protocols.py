"""PROTOCOL and the settings of each protocol: what is needed, unused, refused, and never shown."""

import sys
import types
from dataclasses import dataclass

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from genesys_eventbridge import conf
from genesys_eventbridge.checks import settings as checks
from genesys_eventbridge.client import EventBridgeClient
from genesys_eventbridge.platform import values
from genesys_eventbridge.platform.protocols import EventBridge, Protocol, Webhook

TOKEN = "canarytoken-0123456789"
URL = f"https://api.mypurecloud.de/api/v2/integrations/webhooks/{TOKEN}/events"
WEBHOOK = {
    "REGION": "eu-central-1",
    "PROTOCOL": "webhook",
    "WEBHOOK_TOKEN": TOKEN,
    "ON_DOUBT": "ask",
    "SOURCE": "com.example.tests",
}
OAUTH = {
    "REGION": "us-east-1",
    "CLIENT_ID": "an-id",
    "CLIENT_SECRET": "a-secret-0123",
    "SOURCE": "com.example",
}


def problems(base=WEBHOOK, **changes):
    keys = {key: value for key, value in {**base, **changes}.items() if value is not ...}
    with override_settings(GENESYS_EVENTBRIDGE={"default": keys}):
        found = conf.problems()
    assert TOKEN not in repr(found)
    return {(problem.id, problem.key): f"{problem.message} {problem.hint}" for problem in found}


def destination(base=WEBHOOK, **changes):
    keys = {key: value for key, value in {**base, **changes}.items() if value is not ...}
    with override_settings(GENESYS_EVENTBRIDGE={"default": keys}):
        return conf.destination()


class TestWebhook:
    def test_a_token_is_all_it_needs(self):
        assert problems() == {}
        made = destination()
        assert made.platform.protocol == Webhook(webhook_token=TOKEN)
        assert (made.platform.api_base_url, made.platform.login_base_url) == (
            "https://api.mypurecloud.de",
            "",
        )
        assert (made.honours_key, made.confirms) == (False, False)

    def test_explicit_none_for_what_it_does_not_use_is_fine(self):
        nothing = dict.fromkeys(["CLIENT_ID", "CLIENT_SECRET", "LOGIN_BASE_URL"])

        assert problems(**nothing, REGION=None, API_BASE_URL="http://127.0.0.1:8900") == {}

    def test_a_host_of_any_name_is_fine_because_no_login_is_derived_from_it(self):
        assert problems(REGION=..., API_BASE_URL="https://gateway.example.com/genesys") == {}

    def test_the_invocation_url_names_the_host_too(self):
        assert problems(REGION=..., WEBHOOK_TOKEN=URL) == {}
        assert (
            destination(REGION=..., WEBHOOK_TOKEN=URL).platform.api_base_url == "https://api.mypurecloud.de"
        )
        assert problems(WEBHOOK_TOKEN=URL) == {}

    def test_a_base_url_that_is_an_invocation_url_is_refused(self):
        found = problems(API_BASE_URL=URL)

        assert "Put it into WEBHOOK_TOKEN" in found["E005", "API_BASE_URL"]

    def test_a_url_of_another_host_is_refused(self):
        found = problems(REGION="us-east-1", WEBHOOK_TOKEN=URL)

        assert list(found) == [("E005", "WEBHOOK_TOKEN")]
        assert "https://api.mypurecloud.de" in found["E005", "WEBHOOK_TOKEN"]

    @pytest.mark.parametrize("token", [..., None, ""])
    def test_a_missing_token_is_named(self, token):
        assert list(problems(WEBHOOK_TOKEN=token)) == [("E002", "WEBHOOK_TOKEN")]

    @pytest.mark.parametrize("token", ["a/b", "to ken", "to%20ken", f"{TOKEN}/x", f" {TOKEN}", URL + "?x"])
    def test_a_malformed_token_is_refused_without_being_shown(self, token):
        assert ("E004", "WEBHOOK_TOKEN") in problems(WEBHOOK_TOKEN=token)

    def test_a_token_and_a_path_contradict_each_other(self):
        path = f"/api/v2/integrations/webhooks/{TOKEN}/events"

        assert ("E005", "EVENTS_PATH") in problems(EVENTS_PATH=path)
        assert ("E003", "WEBHOOK_URL") in problems(WEBHOOK_URL="https://x.example")

    def test_without_region_or_url_no_login_is_asked_for(self):
        found = problems(REGION=...)

        assert "LOGIN_BASE_URL" not in found["E001", "REGION"]

    @pytest.mark.parametrize("value", ["structured", "", None, 7])
    def test_the_body_is_one_of_two(self, value):
        assert ("E004", "WEBHOOK_BODY") in problems(WEBHOOK_BODY=value)

    def test_ce_headers_belong_to_the_event_where_the_body_is_bare_data(self):
        extra = {"Ce-Id": "1"}

        assert ("E005", "EXTRA_HEADERS") in problems(WEBHOOK_BODY="data", EXTRA_HEADERS=extra)
        assert problems(EXTRA_HEADERS=extra) == {}

    def test_a_proxy_would_read_a_plain_request(self):
        found = problems(REGION=..., API_BASE_URL="http://127.0.0.1:8900", PROXY="http://proxy.example:3128")

        assert "PROXY would read every request" in found["E005", "PROXY"]


class TestUnused:
    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("CLIENT_ID", "an-id"), ("CLIENT_SECRET", "a-secret"), ("LOGIN_BASE_URL", "https://login.mypurecloud.de"),
            ("SCOPES", []), ("IDEMPOTENCY_WINDOW", 60), ("CHECK_DELAYS", [1]), ("ACCEPTED_CODES", [200]),
        ],
    )  # fmt: skip
    def test_what_has_no_effect_is_named(self, key, value):
        found = problems(**{key: value})

        assert list(found) == [("W025", key)]
        assert f"{key} has no effect with the protocol webhook" in found["W025", key]

    def test_confirm_has_no_effect_because_nothing_can_be_asked(self):
        assert "no delivery status to confirm" in problems(CONFIRM=True)["W025", "CONFIRM"]

    def test_several_are_named_at_once(self):
        (text,) = problems(CLIENT_ID="i", CLIENT_SECRET="s-0123").values()

        assert "CLIENT_ID, CLIENT_SECRET have no effect" in text

    def test_an_unused_value_is_not_even_looked_at(self):
        assert list(problems(CLIENT_ID=7, IDEMPOTENCY_WINDOW="x")) == [("W025", "CLIENT_ID")]

    @pytest.mark.parametrize("key", ["WEBHOOK_TOKEN", "WEBHOOK_BODY", "ON_DOUBT"])
    def test_the_settings_of_the_webhook_have_no_effect_elsewhere(self, key):
        value = {"WEBHOOK_TOKEN": TOKEN, "WEBHOOK_BODY": "data", "ON_DOUBT": "resend"}[key]

        found = problems(OAUTH, **{key: value})
        assert list(found) == [("W025", key)]
        assert ('Set "PROTOCOL": "webhook", or remove it.' in found["W025", key]) is (key != "ON_DOUBT")

    def test_a_forgotten_protocol_is_suggested(self):
        found = problems(PROTOCOL=..., ON_DOUBT=...)

        assert 'Set "PROTOCOL": "webhook", or remove it.' in found["W025", "WEBHOOK_TOKEN"]

    @pytest.mark.parametrize(
        ("given", "meant"), [("webhooks", "webhook"), ("Webhook", "webhook"), ("eventbrige", "eventbridge")]
    )
    def test_a_misspelled_protocol_is_suggested(self, given, meant):
        assert f"Did you mean '{meant}'?" in problems(PROTOCOL=given)["E004", "PROTOCOL"]


class TestOnDoubt:
    def test_a_project_is_asked_to_decide(self):
        found = problems(ON_DOUBT=...)

        assert list(found) == [("W026", "ON_DOUBT")]
        assert 'so "ask" applies' in found["W026", "ON_DOUBT"]

    @pytest.mark.parametrize(("value", "window"), [("ask", 0.0), ("resend", float("inf"))])
    def test_it_is_the_window_of_a_doubt(self, value, window):
        assert destination(ON_DOUBT=value).doubt_seconds == window
        assert destination(ON_DOUBT=value).key_seconds == 0.0

    def test_it_does_not_concern_a_protocol_that_honours_a_key(self):
        made = destination(OAUTH)

        assert made.doubt_seconds == made.key_seconds == 23 * 3600

    @pytest.mark.parametrize("value", ["retry", "", 0, None])
    def test_other_words_are_refused(self, value):
        assert ("E004", "ON_DOUBT") in problems(ON_DOUBT=value)


class TestEventBridge:
    def test_it_is_the_default(self):
        assert destination(OAUTH).platform.protocol == EventBridge()

    def test_the_path_of_a_webhook_needs_the_webhooks_protocol(self):
        found = problems(OAUTH, EVENTS_PATH=f"/api/v2/integrations/webhooks/{TOKEN}/events")

        assert list(found) == [("E005", "EVENTS_PATH")]
        assert 'Set PROTOCOL to "webhook"' in found["E005", "EVENTS_PATH"]

    @pytest.mark.parametrize(
        "changes",
        [
            {"EVENTS_PATH": f"/API/v2/Integrations/WEBHOOKS/{TOKEN}/events"},
            {"EVENTS_PATH": f"/api/v2/integrations/web%68ooks/{TOKEN}/events"},
            {"EVENTS_PATH": f"/gateway/api/v2/integrations/webhooks/{TOKEN}/events"},
            {"API_BASE_URL": URL},
            {
                "API_BASE_URL": "https://gateway.example.com/api/v2/integrations",
                "LOGIN_BASE_URL": "https://login.example.com",
                "EVENTS_PATH": f"/webhooks/{TOKEN}/events",
            },
        ],
    )
    def test_a_webhook_is_recognised_however_its_path_is_written(self, changes):
        found = problems(OAUTH, **{"LOGIN_BASE_URL": "https://login.mypurecloud.de", **changes})

        assert list(found) == [("E005", "EVENTS_PATH")]

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("EVENTS_PATH", f"/api/v2/integrations/webhooks/{TOKEN}/events/"),
            ("EVENTS_PATH", f"/api/v2/integrations/./webhooks/{TOKEN}/events"),
            ("EVENTS_PATH", f"/api/v2/integrations//webhooks/{TOKEN}/events"),
            ("REGION", URL.replace("https", "http")),
            ("API_BASE_URL", URL + "?x"),
            ("PROTOCOL", URL),
            ("CONTENT_TYPE", URL),
        ],
    )
    def test_a_token_in_the_wrong_setting_is_not_shown(self, key, value):
        found = problems(OAUTH, **{key: value})

        assert key in {named for _id, named in found}


@dataclass(frozen=True, kw_only=True, repr=False)
class Mine(Protocol):
    mine_key: values.Secret = values.setting(values.or_callable(values.credential), secret=True)
    mine_mode: str = values.setting(values.one_of("a", "b"), "a")

    name = "mine"
    credentials = ("MINE_KEY",)

    def publish_request(self, platform, event, key):
        raise NotImplementedError

    def publish_outcome(self, answer, event):
        raise NotImplementedError


class TestOfOnesOwn:
    """A protocol named by its dotted path has settings of its own."""

    BASE = {"REGION": "us-east-1", "SOURCE": "com.example", "ON_DOUBT": "ask", "PROTOCOL": f"{__name__}.Mine"}

    def test_its_fields_are_settings(self):
        made = destination(self.BASE, MINE_KEY="a-secret", MINE_MODE="b")

        assert made.platform.protocol == Mine(mine_key="a-secret", mine_mode="b")
        assert made.platform.secrets() == ("a-secret",)

    def test_they_are_checked_named_and_not_shown(self):
        assert list(problems(self.BASE)) == [("E002", "MINE_KEY")]
        found = problems(self.BASE, MINE_KEY="canary\n", MINE_MODE="c")
        assert list(found) == [("E004", "MINE_KEY"), ("E004", "MINE_MODE")]
        assert "canary" not in repr(found)
        assert ("E003", "MINE_KEY") in problems(OAUTH, MINE_KEY="a-secret")

    @pytest.mark.parametrize(
        "path", ["no.such.module.Protocol", "genesys_eventbridge.conf.Problem", "webhok", 7, None, [], TOKEN]
    )
    def test_what_is_none_is_refused(self, path):
        with override_settings(GENESYS_EVENTBRIDGE={"default": {**self.BASE, "PROTOCOL": path}}):
            (problem,) = conf.problems()
            with pytest.raises(ImproperlyConfigured, match="PROTOCOL"):
                conf.destination()

        assert (problem.id, problem.key) == ("E004", "PROTOCOL")
        assert '"eventbridge", "webhook"' in problem.message

    @pytest.mark.parametrize("error", [AttributeError, KeyError, NameError, SyntaxError])
    def test_a_module_that_fails_to_import_is_named_by_its_error(self, monkeypatch, error):
        class Broken(types.ModuleType):
            def __getattr__(self, name):
                raise error(name)

        monkeypatch.setitem(sys.modules, "broken_protocols", Broken("broken_protocols"))

        found = problems(self.BASE, PROTOCOL="broken_protocols.X")

        assert f"raised {error.__name__}" in found["E004", "PROTOCOL"]

    def test_a_class_that_cannot_be_made_is_refused(self):
        abstract = type("Abstract", (Protocol,), {"name": "abstract"})
        with override_settings(GENESYS_EVENTBRIDGE={"default": {**self.BASE, "PROTOCOL": abstract}}):
            (problem,) = conf.problems()

        assert "Abstract raised TypeError" in problem.message


class NoName(Protocol):
    publish_request = Mine.publish_request
    publish_outcome = Mine.publish_outcome


class Plain(NoName):
    """Settings, but no dataclass."""

    name = "plain"
    plain_key: str = values.setting(values.credential)


@dataclass(frozen=True, kw_only=True, repr=False)
class Taken(NoName):
    source: str = values.setting(values.credential)
    name = "taken"


class TestFlaws:
    """A mistake in the class of a protocol is one error of the checks, and enqueue() names it, too."""

    def found(self, kind, **changes):
        keys = {**TestOfOnesOwn.BASE, "PROTOCOL": kind, **changes}
        with override_settings(GENESYS_EVENTBRIDGE={"default": keys}):
            (problem,) = conf.problems()
            with pytest.raises(ImproperlyConfigured, match="PROTOCOL"):
                conf.destination()
        assert (problem.id, problem.key) == ("E004", "PROTOCOL")
        return problem.message

    @pytest.mark.parametrize(
        ("kind", "words"),
        [
            (NoName, "NoName has no name"),
            (Plain, "is not decorated with @dataclass"),
            (Taken, "a field named like the setting SOURCE"),
        ],
    )
    def test_a_class_is_refused_by_what_it_lacks(self, kind, words):
        assert words in self.found(kind)

    @pytest.mark.parametrize(
        ("attribute", "value", "words"),
        [
            ("name", 7, "has no name"),
            ("unused", ["CONFIRM"], "unused as a frozenset"),
            ("refused", ("CONFIRM",), "refused as a mapping"),
            ("credentials", "MINE_KEY", "credentials as a tuple"),
            ("credentials", ("MINE_KEI",), "credentials as a tuple"),
            ("authenticates", True, "must contain CLIENT_ID and CLIENT_SECRET"),
            ("confirms", True, "needs the methods status_request and status_outcome"),
        ],
    )
    def test_an_attribute_of_the_wrong_kind_is_named(self, attribute, value, words):
        assert words in self.found(type("Mine", (Mine,), {attribute: value}))

    @pytest.mark.parametrize(
        ("method", "result"),
        [
            ("problems", None),
            ("problems", ["text"]),
            ("problems", RuntimeError(TOKEN)),
            ("api_base_url", RuntimeError(TOKEN)),
        ],
    )
    def test_a_method_that_fails_is_named_by_its_error_alone(self, method, result, caplog):
        def fails(*_):
            if isinstance(result, Exception):
                raise result
            return result

        kind = type("Mine", (Mine,), {method: fails})
        found = self.found(kind, MINE_KEY="a-secret", **({} if method == "problems" else {"REGION": None}))

        assert "Mine raised" in found
        assert TOKEN not in found + caplog.text

    def test_the_default_of_a_secret_is_not_shown(self):
        @dataclass(frozen=True, kw_only=True, repr=False)
        class Defaulted(Mine):
            mine_other: str = values.setting(values.credential, TOKEN, secret=True)

        found = problems({**TestOfOnesOwn.BASE, "PROTOCOL": Defaulted}, MINE_KEY="a-secret", MINE_OTHER=7)

        assert list(found) == [("E004", "MINE_OTHER")]


class TestDeployment:
    def found(self, **changes):
        with override_settings(GENESYS_EVENTBRIDGE={"default": {**WEBHOOK, **changes}}, DEBUG=False):
            return {problem.id: problem.message for problem in checks.deployment_problems()}

    @pytest.mark.parametrize("token", ["sandbox-webhook-token", "your-token-here"])
    def test_a_token_of_the_sandbox_or_a_placeholder_is_named(self, token):
        assert (
            "WEBHOOK_TOKEN is that of the sandbox, or a placeholder"
            in self.found(WEBHOOK_TOKEN=token)["W020"]
        )

    def test_a_real_token_for_this_machine_is_named(self):
        found = self.found(REGION=None, API_BASE_URL="http://127.0.0.1:8900")

        assert "WEBHOOK_TOKEN is sent to whatever listens there" in found["E016"]


def test_the_client_takes_a_protocol_too():
    with EventBridgeClient(protocol="webhook", webhook_token=URL) as client:
        assert client.platform.api_base_url == "https://api.mypurecloud.de"
        with pytest.raises(ValueError, match="the protocol webhook has no delivery status"):
            client.status("an-id")
    with pytest.raises(TypeError, match="webhook_tokn"):
        EventBridgeClient(region="us-east-1", protocol="webhook", webhook_tokn=TOKEN)
    with pytest.raises(ValueError, match="protocol must be"):
        EventBridgeClient(region="us-east-1", protocol="webhok")
    with pytest.raises(ValueError, match="CLIENT_ID is missing"):
        EventBridgeClient(region="us-east-1")
