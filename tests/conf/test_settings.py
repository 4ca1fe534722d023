"""The settings: read late, checked whole; what cannot work is refused with the key and the remedy."""

import dataclasses
import os
import re

import pytest
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from genesys_eventbridge import conf
from genesys_eventbridge.platform.wire import RESERVED_HEADERS

GOOD = {
    "REGION": "eu-west-1",
    "CLIENT_ID": "an-id",
    "CLIENT_SECRET": "secret-canary",
    "SOURCE": "com.example.ordering",
}


RESERVED = sorted(RESERVED_HEADERS)


@pytest.fixture
def configure(settings):
    def configure(**changes):
        keys = {**GOOD, **changes}
        settings.GENESYS_EVENTBRIDGE = {
            "default": {key: value for key, value in keys.items() if value is not ...}
        }

    return configure


def found():
    return [(problem.id, problem.key) for problem in conf.problems()]


class TestReading:
    def test_four_keys_are_enough(self, configure):
        configure()

        settings = conf.destination()

        assert settings.platform.api_base_url == "https://api.mypurecloud.ie"
        assert settings.platform.login_base_url == "https://login.mypurecloud.ie"
        assert conf.problems() == []

    def test_a_thread_that_reads_while_settings_change_leaves_nothing_old_behind(
        self, configure, monkeypatch
    ):
        """As a worker's thread does that outlives the test which overrode the settings."""
        configure(CONCURRENCY=2)
        read = conf._read

        def settings_change(*arguments):
            found = read(*arguments)
            monkeypatch.setattr(conf, "_read", read)
            configure(CONCURRENCY=3)
            return found

        monkeypatch.setattr(conf, "_read", settings_change)

        assert conf.destination().concurrency == 2
        assert conf.destination().concurrency == 3

    def test_the_defaults_are_those_of_the_contract(self, configure):
        configure()

        settings = conf.destination()

        together = {
            **vars(settings.platform),
            **dataclasses.asdict(settings.platform.rules),
            **{item.name: getattr(settings, item.name) for item in dataclasses.fields(settings)},
        }
        assert {
            name: together[name]
            for name in (
                "scopes",
                "token_path",
                "events_path",
                "idempotency_header",
                "idempotency_window",
                "idempotency_margin",
                "content_type",
                "max_event_bytes",
                "connect_timeout",
                "request_deadline",
                "accepted_codes",
                "duplicate_codes",
                "confirm",
                "check_delays",
                "confirm_for",
                "not_found_grace",
                "max_attempts",
                "max_age",
                "pause_base",
                "pause_cap",
                "backoff_base",
                "backoff_cap",
                "retry_after_default",
                "retry_after_cap",
                "rate_per_minute",
                "concurrency",
                "batch_size",
                "lease_seconds",
                "pass_seconds",
                "parallel_passes",
                "block_key_on_dead",
                "wake",
                "require_transaction",
                "retention_days",
                "payload_retention_days",
            )
        } == {
            "scopes": ("eventbridge:event:publish", "eventbridge:events:read"),
            "token_path": "/oauth/token",
            "events_path": "/api/v2/eventbridge/events",
            "idempotency_header": "Idempotency-Key",
            "idempotency_window": 86400,
            "idempotency_margin": 3600,
            "content_type": "application/cloudevents+json",
            "max_event_bytes": 262144,
            "connect_timeout": 5,
            "request_deadline": 20,
            "accepted_codes": {200, 201, 202},
            "duplicate_codes": {409},
            "confirm": True,
            "check_delays": (2, 5, 15, 60, 300),
            "confirm_for": 3600,
            "not_found_grace": 300,
            "max_attempts": 12,
            "max_age": None,
            "pause_base": 5,
            "pause_cap": 60,
            "backoff_base": 5,
            "backoff_cap": 3600,
            "retry_after_default": 5,
            "retry_after_cap": 21600,
            "rate_per_minute": None,
            "concurrency": 16,
            "batch_size": 100,
            "lease_seconds": 60,
            "pass_seconds": 45,
            "parallel_passes": 4,
            "block_key_on_dead": True,
            "wake": "auto",
            "require_transaction": True,
            "retention_days": 30,
            "payload_retention_days": None,
        }

    def test_a_changed_setting_is_seen_at_once(self, configure):
        configure()
        assert conf.destination().max_attempts == 12

        configure(MAX_ATTEMPTS=3)

        assert conf.destination().max_attempts == 3

    def test_explicit_addresses_win_over_the_region(self, configure):
        configure(API_BASE_URL="https://api.gateway.example/prefix/", LOGIN_BASE_URL="https://sso.example")

        settings = conf.destination()

        assert settings.platform.api_base_url == "https://api.gateway.example/prefix"
        assert settings.platform.login_base_url == "https://sso.example"

    def test_the_login_host_is_derived_from_an_api_host(self, configure):
        configure(REGION=..., API_BASE_URL="https://api.mypurecloud.de")

        assert conf.destination().platform.login_base_url == "https://login.mypurecloud.de"

    def test_a_credential_may_be_a_callable(self, configure):
        configure(CLIENT_SECRET=lambda: "fresh")

        assert conf.problems() == []
        assert callable(conf.destination().platform.client_secret)

    def test_no_secret_shows_in_a_repr(self, configure):
        configure(PROXY="http://user:proxy-canary@proxy.example:3128")

        assert "canary" not in repr(conf.destination())

    def test_a_proxy_and_a_header_may_be_callables_which_no_reader_of_settings_calls(self, configure):
        """Saving an order reads the settings: it must not wait for a vault, nor fail with it."""

        def fail():
            raise LookupError("canary")

        configure(PROXY=fail, EXTRA_HEADERS={"X-Gateway-Key": fail})

        assert conf.problems() == []
        assert conf.destination().platform.proxy is fail
        assert conf.destination().platform.extra_headers == {"X-Gateway-Key": fail}

        configure(EXTRA_HEADERS=fail)

        assert conf.problems() == []
        assert callable(conf.destination().platform.extra_headers)

    def test_settings_are_frozen(self, configure):
        configure()

        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(conf.destination(), "max_attempts", 1)  # noqa: B010 - what the type checker forbids

    def test_destinations_are_read_one_by_one(self, settings):
        settings.GENESYS_EVENTBRIDGE = {"default": GOOD, "emea": {**GOOD, "REGION": "mypurecloud.de"}}

        assert conf.aliases() == ("default", "emea")
        assert conf.destination("emea").platform.api_base_url == "https://api.mypurecloud.de"

    def test_a_broken_destination_does_not_stop_the_other(self, settings):
        settings.GENESYS_EVENTBRIDGE = {"default": GOOD, "emea": {}}

        assert conf.destination("default")
        with pytest.raises(ImproperlyConfigured, match="emea"):
            conf.destination("emea")


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "number", "key"),
        [
            ({"REGION": "atlantis"}, "E001", "REGION"),
            ({"REGION": 7}, "E001", "REGION"),
            ({"REGION": ..., "API_BASE_URL": "https://gateway.example"}, "E007", "API_BASE_URL"),
            ({"CLIENT_SECRET": "sécret"}, "E004", "CLIENT_SECRET"),
            ({"CLIENT_ID": "a:b"}, "E004", "CLIENT_ID"),
            ({"SOURCE": ...}, "E004", "SOURCE"),
            ({"SOURCE": "not a uri"}, "E004", "SOURCE"),
            ({"REGIO": "eu-west-1"}, "E003", "REGIO"),
            ({"max_attempts": 3}, "E003", "max_attempts"),
            ({"MAX_ATTEMPTS": 0}, "E004", "MAX_ATTEMPTS"),
            ({"MAX_ATTEMPTS": True}, "E004", "MAX_ATTEMPTS"),
            ({"MAX_ATTEMPTS": "12"}, "E004", "MAX_ATTEMPTS"),
            ({"MAX_ATTEMPTS": 2.5}, "E004", "MAX_ATTEMPTS"),
            ({"REQUEST_DEADLINE": float("nan")}, "E004", "REQUEST_DEADLINE"),
            ({"REQUEST_DEADLINE": float("inf")}, "E004", "REQUEST_DEADLINE"),
            ({"REQUEST_DEADLINE": -1}, "E004", "REQUEST_DEADLINE"),
            ({"CONFIRM": "yes"}, "E004", "CONFIRM"),
            ({"CHECK_DELAYS": []}, "E004", "CHECK_DELAYS"),
            ({"CHECK_DELAYS": 5}, "E004", "CHECK_DELAYS"),
            ({"ACCEPTED_CODES": [99]}, "E004", "ACCEPTED_CODES"),
            ({"ACCEPTED_CODES": 200}, "E004", "ACCEPTED_CODES"),
            ({"SCOPES": "eventbridge"}, "E004", "SCOPES"),
            ({"EVENTS_PATH": "api/v2"}, "E004", "EVENTS_PATH"),
            ({"EVENTS_PATH": "/a?b"}, "E004", "EVENTS_PATH"),
            ({"EVENTS_PATH": "/"}, "E004", "EVENTS_PATH"),
            ({"TOKEN_PATH": "/a//b"}, "E004", "TOKEN_PATH"),
            ({"TOKEN_PATH": "/a/../b"}, "E004", "TOKEN_PATH"),
            ({"EXTRA_HEADERS": {"User-Agent": "x"}}, "E004", "EXTRA_HEADERS"),
            ({"EXTRA_HEADERS": {"idempotency-key": "x"}}, "E005", "EXTRA_HEADERS"),
            ({"IDEMPOTENCY_HEADER": "a b"}, "E004", "IDEMPOTENCY_HEADER"),
            *(({"IDEMPOTENCY_HEADER": name.title()}, "E004", "IDEMPOTENCY_HEADER") for name in RESERVED),
            ({"CONTENT_TYPE": "a\r\nb"}, "E004", "CONTENT_TYPE"),
            ({"CONTENT_TYPE": "json"}, "E004", "CONTENT_TYPE"),
            ({"EVENTS_PATH": "/a/%2e%2e/b"}, "E004", "EVENTS_PATH"),
            ({"EXTRA_HEADERS": {"Authorization": "x"}}, "E004", "EXTRA_HEADERS"),
            ({"EXTRA_HEADERS": {"X-A": "a\nb"}}, "E004", "EXTRA_HEADERS"),
            ({"EXTRA_HEADERS": ["X-A"]}, "E004", "EXTRA_HEADERS"),
            ({"CA_BUNDLE": "/no/such/file"}, "E004", "CA_BUNDLE"),
            ({"EXTRA_HEADERS": ["X-Gateway-Key"]}, "E004", "EXTRA_HEADERS"),
            ({"PROXY": "proxy.example"}, "E004", "PROXY"),
            ({"PROXY": "http://10.0.0.256:3128"}, "E004", "PROXY"),
            ({"SCHEMAS": ["a"]}, "E004", "SCHEMAS"),
            ({"SCHEMAS": {"a": 7}}, "E004", "SCHEMAS"),
            ({"EVENTS_PATH": "/" + "a" * 70_000}, "E004", "EVENTS_PATH"),
            ({"API_BASE_URL": "https://api.example.com/" + "a" * 70_000}, "E007", "API_BASE_URL"),
            ({"SCOPES": iter(["a"])}, "E004", "SCOPES"),
            ({"REDACT_KEYS": iter(["a"])}, "E004", "REDACT_KEYS"),
            ({"ACCEPTED_CODES": iter([200])}, "E004", "ACCEPTED_CODES"),
            ({"DELIVERED_STATUSES": []}, "E004", "DELIVERED_STATUSES"),
            ({"CA_BUNDLE": "x" * 5000}, "E004", "CA_BUNDLE"),
            ({"CA_BUNDLE": "a\0b"}, "E004", "CA_BUNDLE"),
            ({"CONNECT_TIMEOUT": 86_401}, "E004", "CONNECT_TIMEOUT"),
            ({"RATE_PER_MINUTE": 1e-300}, "E004", "RATE_PER_MINUTE"),
            ({"CONCURRENCY": 1001}, "E004", "CONCURRENCY"),
            ({"BATCH_SIZE": 5001}, "E004", "BATCH_SIZE"),
            ({"RETENTION_DAYS": 36_501}, "E004", "RETENTION_DAYS"),
            *(({key: 10**400}, "E004", key) for key in ("MAX_ATTEMPTS", "CONFIRM_FOR", "NOT_FOUND_GRACE")),
            *(({"WAKE": value}, "E004", "WAKE") for value in (True, False, "", "celery", "listen", ["auto"])),
            (
                {"API_BASE_URL": "http://api.example.com", "LOGIN_BASE_URL": "https://l.example"},
                "E007",
                "API_BASE_URL",
            ),
            ({"API_BASE_URL": "https://u:p@api.example.com"}, "E007", "API_BASE_URL"),
            ({"LOGIN_BASE_URL": "http://login.example.com"}, "E007", "LOGIN_BASE_URL"),
        ],
    )
    def test_a_wrong_value_names_its_key(self, configure, changes, number, key):
        configure(**changes)

        assert (number, key) in found()
        with pytest.raises(ImproperlyConfigured):
            conf.destination()

    @pytest.mark.parametrize(
        ("changes", "number", "key"),
        [
            ({"REGION": ...}, "E001", "REGION"),
            ({"CLIENT_ID": ...}, "E002", "CLIENT_ID"),
            ({"CLIENT_SECRET": ...}, "E002", "CLIENT_SECRET"),
            ({"CLIENT_SECRET": ""}, "E002", "CLIENT_SECRET"),
            ({"CLIENT_SECRET": None}, "E002", "CLIENT_SECRET"),
        ],
    )
    def test_a_missing_address_or_credential_stops_only_what_sends(self, configure, changes, number, key):
        configure(**changes)

        assert (number, key) in found()
        assert conf.destination().source == "com.example.ordering"
        with pytest.raises(ImproperlyConfigured, match=key):
            conf.sending()

    def test_without_credentials_a_wrong_value_is_still_refused(self, configure):
        configure(CLIENT_SECRET=..., LEASE_SECONDS=25)

        assert ("E005", "LEASE_SECONDS") in found()
        with pytest.raises(ImproperlyConfigured, match="LEASE_SECONDS"):
            conf.destination()

    def test_an_adaptation_applies_to_an_override_made_inside_it_and_ends(self, configure):
        configure(MAX_ATTEMPTS=4)

        with conf.adapted(lambda keys: {**keys, "WAKE": None}):
            adapted = conf.destination()
            configure(MAX_ATTEMPTS=5)
            inside = conf.destination()
        after = conf.destination()

        assert (adapted.max_attempts, adapted.wake) == (4, None)
        assert (inside.max_attempts, inside.wake) == (5, None)
        assert (after.max_attempts, after.wake) == (5, "auto")

    @pytest.mark.parametrize(
        ("changes", "key"),
        [
            ({"LEASE_SECONDS": 25}, "LEASE_SECONDS"),
            ({"PASS_SECONDS": 20}, "PASS_SECONDS"),
            ({"CONNECT_TIMEOUT": 21}, "CONNECT_TIMEOUT"),
            ({"IDEMPOTENCY_WINDOW": 3600}, "IDEMPOTENCY_MARGIN"),
            ({"BACKOFF_BASE": 10, "BACKOFF_CAP": 5}, "BACKOFF_BASE"),
            ({"PAUSE_BASE": 61}, "PAUSE_BASE"),
            ({"FAILED_STATUSES": ["Delivered"]}, "FAILED_STATUSES"),
            (
                {"PROXY": "http://proxy.example:3128", "LOGIN_BASE_URL": "http://localhost:8900"},
                "PROXY",
            ),
            (
                {
                    "PROXY": "http://proxy.example:3128",
                    "API_BASE_URL": "http://[::1]:8900",
                    "LOGIN_BASE_URL": "https://login.example",
                },
                "PROXY",
            ),
            (
                {
                    "API_BASE_URL": "https://gateway.example/api",
                    "LOGIN_BASE_URL": "https://gateway.example",
                    "EVENTS_PATH": "/token",
                    "TOKEN_PATH": "/api/token",
                },
                "EVENTS_PATH",
            ),
        ],
    )
    def test_values_that_cannot_work_together_are_refused(self, configure, changes, key):
        configure(**changes)

        assert found() == [("E005", key)]

    def test_an_unknown_key_suggests_the_right_one(self, configure):
        configure(MAX_ATEMPTS=3)

        with pytest.raises(ImproperlyConfigured, match=r"'MAX_ATEMPTS'.*Did you mean 'MAX_ATTEMPTS'"):
            conf.destination()

    def test_every_problem_is_told_at_once(self, configure):
        configure(CLIENT_ID=..., CLIENT_SECRET=..., MAX_ATTEMPTS=0)

        assert {key for _number, key in found()} == {"CLIENT_ID", "CLIENT_SECRET", "MAX_ATTEMPTS"}

    def test_a_wrong_secret_is_not_repeated_in_the_message(self, configure):
        configure(CLIENT_SECRET="canary\n", PROXY="canary")

        assert "canary" not in "".join(problem.message for problem in conf.problems())

    @pytest.mark.parametrize("value", [None, {}, [], "default", 7])
    def test_a_missing_or_shapeless_setting_is_one_clear_error(self, settings, value):
        settings.GENESYS_EVENTBRIDGE = value

        assert [number for number, _key in found()] == ["E001"]
        with pytest.raises(ImproperlyConfigured, match="GENESYS_EVENTBRIDGE"):
            conf.aliases()

    @pytest.mark.parametrize(
        "value", [None, {}, "default", {"default": "us-east-1"}, {"REGION": "us-east-1"}]
    )
    def test_where_it_has_no_shape_the_hint_is_a_whole_setting_that_works(self, settings, value, monkeypatch):
        for key in ("GENESYS_CLIENT_ID", "GENESYS_CLIENT_SECRET"):
            monkeypatch.setenv(key, "something")
        settings.GENESYS_EVENTBRIDGE = value
        (problem,) = [each for each in conf.problems() if each.id == "E001"]
        with pytest.raises(ImproperlyConfigured) as caught:
            conf.destination("default" if value != {"REGION": "us-east-1"} else "REGION")
        assert problem.hint in str(caught.value)

        wanted = re.search(r"GENESYS_EVENTBRIDGE = (.+}})", problem.hint)
        assert wanted
        settings.GENESYS_EVENTBRIDGE = eval(wanted[1], {"os": os})

        assert conf.problems() == []
        assert conf.sending().source == "com.example.ordering"

    @pytest.mark.parametrize("raw", [None, "us-east-1", 7])
    def test_a_destination_that_is_no_dict_is_named(self, settings, raw):
        settings.GENESYS_EVENTBRIDGE = {"default": raw}

        with pytest.raises(ImproperlyConfigured, match="'default'"):
            conf.destination()

    @pytest.mark.parametrize("alias", [7, "", "x" * 65])
    def test_an_alias_must_fit_its_column(self, settings, alias):
        settings.GENESYS_EVENTBRIDGE = {alias: GOOD}

        assert "E004" in [number for number, _key in found()]


class TestWarnings:
    def test_a_region_we_do_not_know_is_used_with_a_warning(self, configure):
        configure(REGION="new1.pure.cloud")

        assert found() == [("W010", "REGION")]
        assert conf.destination().platform.api_base_url == "https://api.new1.pure.cloud"

    def test_one_host_for_login_and_api_is_a_warning(self, configure):
        configure(API_BASE_URL="https://api.mypurecloud.de", LOGIN_BASE_URL="https://api.mypurecloud.de")

        assert found() == [("W014", "LOGIN_BASE_URL")]

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "[::1]"])
    def test_one_loopback_host_is_the_sandbox_and_no_warning(self, configure, host):
        configure(API_BASE_URL=f"http://{host}:8900", LOGIN_BASE_URL=f"http://{host}:8900")

        assert found() == []


class TestTheSystemCheck:
    def test_a_problem_is_a_check_message_with_its_number_and_hint(self, configure):
        configure(MAX_ATEMPTS=3)

        (message,) = [m for m in checks.run_checks() if str(m.id).startswith("genesys_eventbridge.E")]

        assert message.id == "genesys_eventbridge.E003"
        assert message.hint == "Did you mean 'MAX_ATTEMPTS'?"

    def test_a_good_setting_is_silent(self, configure):
        configure()

        assert [m for m in checks.run_checks() if str(m.id).startswith("genesys_eventbridge.E00")] == []

    def test_every_error_tells_the_remedy(self, configure):
        configure(REGIO="x", CLIENT_ID=..., MAX_ATTEMPTS=0, REGION=...)

        assert all(problem.hint for problem in conf.problems())
