"""System checks of settings and queue: each fault has its number and a line to paste, none a traceback."""

import importlib.util
import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from django.core import checks
from django.core.management.commands.migrate import Command as Migrate
from django.db import connections
from django.test import override_settings
from django.views.debug import SafeExceptionReporterFilter
from hypothesis import example, given
from hypothesis import strategies as st

from genesys_eventbridge import checks as our_checks
from genesys_eventbridge import conf
from genesys_eventbridge.checks import models
from genesys_eventbridge.conf.rules import Problem
from genesys_eventbridge.outbox import schemas
from genesys_eventbridge.sandbox.start import CLIENT_ID, CLIENT_SECRET
from tests.certificates import Authority
from tests.shop.models import LineItem

GOOD = {
    "REGION": "eu-west-1",
    "CLIENT_ID": "0f1e2d3c-4b5a",
    "CLIENT_SECRET": "c4n4ry-9f8e7d6c5b4a",
    "SOURCE": "com.example.ordering",
}
CLUSTER = {"name": "shop", "orm": "default", "workers": 1, "timeout": 60, "retry": 90, "catch_up": False}


@pytest.fixture
def configure(settings):
    settings.GENESYS_EVENTBRIDGE = {"default": GOOD}
    settings.Q_CLUSTER = CLUSTER

    def change(*, cluster=None, **changes):
        settings.GENESYS_EVENTBRIDGE = {"default": {**GOOD, **changes}}
        if cluster is not None:
            kept = {**CLUSTER, **cluster}
            settings.Q_CLUSTER = {key: value for key, value in kept.items() if value is not ...}

    return change


def _refuse(*_args, **_kwargs):
    raise AssertionError("the checks must not call it")


def ours(*, deploy=False, databases=None):
    """Our messages, as `manage.py check` would ask for them."""
    found = checks.run_checks(include_deployment_checks=deploy, databases=databases)
    return [message for message in found if (message.id or "").startswith("genesys_eventbridge.")]


def migrating(ask):
    """What Django's own call of the checks gets within ``migrate``."""

    class Asking(Migrate):
        def ask(self):
            return ask()

    return Asking().ask()


def numbers(messages):
    return sorted(message.id.removeprefix("genesys_eventbridge.") for message in messages)


def only(messages):
    (message,) = messages
    return message


class TestSilence:
    def test_a_project_in_order_hears_nothing(self, configure):
        configure()

        assert ours(deploy=True) == []

    def test_the_settings_of_this_suite_are_in_order(self):
        assert ours() == []

    def test_a_plain_check_asks_no_database(self, configure, monkeypatch):
        configure(SCHEMAS={"a": {}}, cluster={"orm": ...})
        for connection in connections.all():
            monkeypatch.setattr(connection, "cursor", _refuse)
            monkeypatch.setattr(connection, "ensure_connection", _refuse)

        ours(deploy=True)

    def test_a_good_setting_beside_a_bad_one_is_still_looked_at(self, settings):
        settings.GENESYS_EVENTBRIDGE = {
            "default": {},
            "emea": {**GOOD, "SCHEMAS": {"order.created": {"type": "no such type"}}},
        }

        assert "E004" in numbers(our_checks.check_settings())


class TestSettings:
    def test_the_facts_of_conf_come_with_their_number_and_hint(self, configure):
        configure(MAX_ATEMPTS=3)

        message = only(ours())

        assert message.id == "genesys_eventbridge.E003"
        assert message.is_serious()
        assert message.hint == "Did you mean 'MAX_ATTEMPTS'?"

    @pytest.mark.parametrize(
        ("schema", "words"),
        [
            ({"type": "no such type"}, "at #/type: 'no such type' is no type"),
            ({"properties": []}, "is not of type 'object'"),
            ({1: {}, "a": {}}, "cannot be encoded as JSON"),
            ({"const": {1, 2}}, "cannot be encoded as JSON"),
            ("no/such/file.json", "No such file"),
        ],
    )
    def test_an_entry_of_schemas_that_is_no_json_schema_is_e004(self, configure, schema, words):
        configure(SCHEMAS={"order.created": schema, "order.paid": {"type": "object"}})

        message = only(ours())

        assert message.id == "genesys_eventbridge.E004"
        assert "SCHEMAS['order.created']" in message.msg
        assert words in message.msg
        assert "'order.created'" in message.hint

    @pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"type": 7}'])
    def test_a_schema_file_that_holds_none_is_e004(self, configure, tmp_path, text):
        (tmp_path / "schema.json").write_text(text)
        configure(SCHEMAS={"order.created": str(tmp_path / "schema.json")})

        assert numbers(ours()) == ["E004"]

    def test_a_schema_file_that_holds_one_is_silent(self, configure, tmp_path):
        (tmp_path / "schema.json").write_text(json.dumps({"type": "object"}))
        configure(SCHEMAS={"order.created": tmp_path / "schema.json"})

        assert ours() == []

    def test_schemas_without_the_package_name_the_extra_to_install(self, configure, monkeypatch):
        schemas._compiled.cache_clear()
        monkeypatch.setitem(sys.modules, "jsonschema", None)
        configure(SCHEMAS={"order.created": {}})

        message = only(ours())

        assert message.id == "genesys_eventbridge.E004"
        assert "pip install 'django-genesys-eventbridge[schema]'" in message.msg

    @pytest.mark.filterwarnings("ignore:The USE_TZ")
    def test_naive_times_are_w013_where_clocks_change(self, configure, settings):
        configure()
        settings.USE_TZ = False
        settings.TIME_ZONE = "Europe/Berlin"

        messages = {message.id: message for message in our_checks.check_settings()}

        assert messages["genesys_eventbridge.W013"].hint == "Set USE_TZ = True."
        assert "Europe/Berlin" in messages["genesys_eventbridge.W013"].msg

    @pytest.mark.filterwarnings("ignore:The USE_TZ")
    @pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
    def test_naive_times_are_fine_where_clocks_do_not_change(self, configure, settings, zone):
        configure()
        settings.USE_TZ = False
        settings.TIME_ZONE = zone

        assert our_checks.check_settings() == []

    @pytest.mark.filterwarnings("ignore:The USE_TZ")
    def test_a_zone_whose_clocks_change_is_e013_and_migrate_may_run(self, configure, settings):
        configure()
        settings.USE_TZ = False
        settings.TIME_ZONE = "Europe/Berlin"

        error, _naive = our_checks.check_settings()
        during_migrate = migrating(our_checks.check_settings)

        assert error.id == "genesys_eventbridge.E013"
        assert "in Europe/Berlin, where clocks change" in error.msg
        assert (error.hint or "").startswith("Set USE_TZ = True, or a TIME_ZONE without daylight saving")
        assert numbers(during_migrate) == ["W013"]

    def test_a_batch_too_small_to_keep_the_senders_busy_is_w015(self, configure):
        configure(CONCURRENCY=64, BATCH_SIZE=127)

        message = only(our_checks.check_settings())

        assert message.id == "genesys_eventbridge.W015"
        assert "BATCH_SIZE (127) is less than twice CONCURRENCY (64)" in message.msg
        assert message.hint == 'Set "BATCH_SIZE": 192.'

    def test_a_wake_by_django_q_without_django_q_is_w018(self, configure, settings):
        configure(WAKE="django_q")
        settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]

        message = only(our_checks.check_settings())

        assert message.id == "genesys_eventbridge.W018"
        assert message.hint == 'Add "django_q" to INSTALLED_APPS, or set "WAKE": "auto".'

    def test_alerts_to_admins_that_are_none_are_w027(self, configure, settings):
        settings.ADMINS = []
        configure(ALERTS={"email": "admins"})

        message = only(our_checks.check_settings())

        assert message.id == "genesys_eventbridge.W027"
        assert "ADMINS is empty" in message.msg
        settings.ADMINS = [("Ana", "ana@example.com")]
        assert our_checks.check_settings() == []

    @pytest.mark.parametrize("path", ["shop.nothing.notify", "tests.alerts.nothing", "tests.alerts.SECRET"])
    def test_a_function_for_alerts_that_cannot_be_imported_is_e006(self, path, configure):
        configure(ALERTS=path)

        message = only(our_checks.check_settings())

        assert message.id == "genesys_eventbridge.E006"
        assert repr(path) in message.msg
        configure(ALERTS="tests.alerts.receive")
        assert our_checks.check_settings() == []

    def test_twice_the_senders_is_enough_of_a_batch(self, configure):
        configure(CONCURRENCY=64, BATCH_SIZE=128)

        assert our_checks.check_settings() == []

    @pytest.mark.parametrize(
        "addresses",
        [
            {"API_BASE_URL": "http://127.0.0.1:8900", "LOGIN_BASE_URL": "http://127.0.0.1:8900"},
            {"API_BASE_URL": "http://localhost:8900", "LOGIN_BASE_URL": "https://login.example.com"},
            {"LOGIN_BASE_URL": "http://[::1]:8900"},
            {"LOGIN_BASE_URL": "https://127.9.9.9"},
        ],
    )
    @pytest.mark.parametrize("secret", [GOOD["CLIENT_SECRET"], _refuse], ids=["text", "callable"])
    def test_real_credentials_for_this_machine_are_w016_and_e016_when_deployed(
        self, configure, addresses, secret
    ):
        configure(**addresses, CLIENT_SECRET=secret)

        assert numbers(ours()) == ["W016"]
        assert numbers(ours(deploy=True)) == ["E016", "W016"]
        for message in ours(deploy=True):
            assert all(setting in message.msg for setting in addresses if "//l" not in addresses[setting])
            both = "and LOGIN_BASE_URL" in message.msg
            assert f") {'point' if both else 'points'} to this machine" in message.msg
            assert 'Set "REGION"' in message.hint
            assert GOOD["CLIENT_SECRET"] not in message.msg

    def test_a_real_secret_beside_an_id_that_reads_like_a_placeholder_is_w016(self, configure):
        configure(CLIENT_ID="my-client-id", LOGIN_BASE_URL="http://[::1]:8900")

        assert numbers(ours()) == ["W016"]
        assert numbers(ours(deploy=True)) == ["E016", "W016", "W020"]

    @pytest.mark.parametrize(
        ("changes", "debug"),
        [
            ({"CLIENT_ID": CLIENT_ID, "CLIENT_SECRET": CLIENT_SECRET}, False),
            ({"CLIENT_SECRET": "changeme"}, False),
            ({}, True),
        ],
    )
    def test_a_trial_with_the_sandbox_is_silent(self, configure, settings, changes, debug):
        settings.DEBUG = debug
        configure(API_BASE_URL="http://127.0.0.1:8900", LOGIN_BASE_URL="http://127.0.0.1:8900", **changes)

        assert ours() == []
        assert "E016" not in numbers(ours(deploy=True))

    def test_a_name_that_begins_like_a_loopback_address_is_another_machine(self, configure):
        configure(API_BASE_URL="https://127.gateway.dc1", LOGIN_BASE_URL="https://login.gateway.dc1")

        assert ours(deploy=True) == []

    def test_a_model_in_another_database_than_the_outbox_is_e012(self, configure, monkeypatch):
        configure()
        monkeypatch.setattr(models, "misplaced_models", lambda: [("shop.Order", "archive")])

        message = only(ours())

        assert message.id == "genesys_eventbridge.E012"
        assert "shop.Order" in message.msg
        assert "'archive'" in message.msg
        assert "DATABASE_ROUTERS" in message.hint


class TestQueue:
    @pytest.mark.parametrize(
        ("cluster", "missing", "words"),
        [
            ({"orm": ...}, True, "names no broker"),
            ({"orm": ..., "redis": {"host": "127.0.0.1"}}, True, "names no broker"),
            ({"orm": ..., "sqs": "text"}, True, "names no broker"),
            ({"orm": None}, True, "names no broker"),
            ({"orm": ...}, False, ""),
            ({"orm": "default"}, True, ""),
            ({"orm": ..., "sqs": {}}, True, ""),
            ({"orm": ..., "iron_mq": {"token": "x"}}, True, ""),
            ({"orm": ..., "mongo": {"host": "x"}}, True, ""),
        ],
    )
    def test_no_broker_and_no_redis_package_is_e008(self, configure, monkeypatch, cluster, missing, words):
        configure(cluster=cluster)
        monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None if missing else object())

        found = [message for message in ours() if message.id.endswith("E008")]

        assert len(found) == bool(words)
        for message in found:
            assert words in message.msg
            assert '"orm": "default"' in message.hint
            assert 'pip install "django-genesys-eventbridge[redis]"' in message.hint

    def test_without_any_q_cluster_every_number_to_write_is_said(self, configure, settings, monkeypatch):
        configure()
        del settings.Q_CLUSTER
        monkeypatch.setattr(importlib.util, "find_spec", lambda *_args: None)

        assert numbers(our_checks.check_queue()) == ["E008", "E009", "W011"]

    @pytest.mark.parametrize("path", ["no.such.module.Broker", "nodots", "tests.settings.NoSuch", 7])
    def test_a_broker_class_that_does_not_import_is_e006(self, configure, path):
        configure(cluster={"orm": ..., "broker_class": path})

        message = only(ours())

        assert message.id == "genesys_eventbridge.E006"
        assert repr(path) in message.msg
        assert message.hint

    def test_a_broker_class_that_imports_is_silent(self, configure):
        configure(cluster={"orm": ..., "broker_class": "django_q.brokers.orm.ORM"})

        assert ours() == []

    @pytest.mark.parametrize(
        ("pass_seconds", "timeout", "retry", "hint"),
        [
            (45, None, 60, '"timeout": 60, "retry": 90'),
            (45, ..., ..., '"timeout": 60, "retry": 90'),
            (45, 45, 90, '"timeout": 60, "retry": 90'),
            (45, 30, 20, '"timeout": 60, "retry": 90'),
            (45, 60, 60, '"timeout": 60, "retry": 90'),
            (45, 100, 60, '"timeout": 100, "retry": 130'),
            (100.5, 60, 90, '"timeout": 116, "retry": 146'),
            (45, "60", "90", '"timeout": 60, "retry": 90'),
            (45, True, 90, '"timeout": 60, "retry": 90'),
            (45, 60, float("inf"), '"timeout": 60, "retry": 90'),
            (45, float("nan"), 90, '"timeout": 60, "retry": 90'),
            (45, 60, None, '"timeout": 60, "retry": 90'),
        ],
    )
    def test_a_pass_that_django_q_would_cut_or_repeat_is_e009_with_the_numbers_to_paste(
        self, configure, pass_seconds, timeout, retry, hint
    ):
        configure(PASS_SECONDS=pass_seconds, cluster={"timeout": timeout, "retry": retry})

        message = only(ours())

        assert message.id == "genesys_eventbridge.E009"
        assert hint in message.hint
        assert f"PASS_SECONDS is {pass_seconds:g}" in message.hint

    @pytest.mark.parametrize(
        ("pass_seconds", "timeout", "retry"), [(45, 60, 90), (45, 45.5, 46), (600, 660, 1200)]
    )
    def test_three_numbers_in_order_are_silent(self, configure, pass_seconds, timeout, retry):
        configure(PASS_SECONDS=pass_seconds, cluster={"timeout": timeout, "retry": retry})

        assert ours() == []

    def test_the_hint_of_e009_pasted_ends_it(self, configure):
        configure(PASS_SECONDS=77, cluster={"timeout": 10, "retry": 5})
        numbers_to_paste = only(ours()).hint.partition("Set ")[2].partition(" in Q_CLUSTER")[0]
        pasted = json.loads("{" + numbers_to_paste + "}")

        configure(PASS_SECONDS=77, cluster=pasted)

        assert ours() == []

    def test_the_longest_pass_of_all_destinations_counts(self, settings):
        settings.Q_CLUSTER = CLUSTER
        settings.GENESYS_EVENTBRIDGE = {"default": GOOD, "emea": {**GOOD, "PASS_SECONDS": 300}}

        assert "PASS_SECONDS (300)" in only(ours()).msg

    @pytest.mark.parametrize(("value", "found"), [(True, ["W011"]), (..., ["W011"]), (False, [])])
    def test_catching_up_after_a_downtime_is_w011(self, configure, value, found):
        configure(cluster={"catch_up": value})

        assert numbers(ours()) == found

    def test_where_tasks_run_in_the_process_that_queues_them_nothing_is_said(self, configure):
        configure(cluster={"sync": True, "orm": ..., "timeout": ..., "catch_up": True})

        assert ours() == []

    def test_without_django_q_nothing_is_said(self, configure, settings):
        configure(cluster={"orm": ..., "timeout": ..., "catch_up": True})
        settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_q"]

        assert our_checks.check_queue() == []
        assert our_checks.check_database(databases=()) == []


class TestDeployment:
    @pytest.mark.parametrize(
        ("client_id", "secret"),
        [
            (CLIENT_ID, CLIENT_SECRET),
            ("0f1e2d3c-4b5a", CLIENT_SECRET),
            ("sandbox-client", "sandbox-secret"),
            ("0f1e2d3c-4b5a", "changeme"),
            ("0f1e2d3c-4b5a", "change-me"),
            ("0f1e2d3c-4b5a", "your-client-secret"),
            ("0f1e2d3c-4b5a", "<YOUR_CLIENT_SECRET>"),
            ("0f1e2d3c-4b5a", "${GENESYS_CLIENT_SECRET}"),
            ("0f1e2d3c-4b5a", "xxxxxxxx"),
            ("0f1e2d3c-4b5a", "********"),
            ("0f1e2d3c-4b5a", "secret"),
            ("your-client-id", "Zm9vYmFyYmF6cXV1eA"),
        ],
    )
    def test_sandbox_credentials_and_placeholders_are_w020(self, configure, client_id, secret):
        configure(CLIENT_ID=client_id, CLIENT_SECRET=secret)

        message = only(ours(deploy=True))

        assert message.id == "genesys_eventbridge.W020"
        assert 'os.environ["GENESYS_CLIENT_SECRET"]' in message.hint
        assert secret not in f"{message.msg} {message.hint}".replace("CLIENT_SECRET", "")

    @pytest.mark.parametrize("secret", ["Zm9vYmFyYmF6cXV1eA", "x7-me-9", "secretariat", "k" * 65, "x" * 65])
    def test_a_secret_that_may_be_real_is_silent(self, configure, secret):
        configure(CLIENT_SECRET=secret)

        assert ours(deploy=True) == []

    def test_a_callable_is_not_called_to_be_looked_at(self, configure):
        configure(CLIENT_SECRET=_refuse)

        assert ours(deploy=True) == []

    def test_no_retention_is_w021(self, configure):
        configure(RETENTION_DAYS=None)

        message = only(ours(deploy=True))

        assert message.id == "genesys_eventbridge.W021"
        assert message.hint == 'Set "RETENTION_DAYS": 30.'

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("PROXY", "http://user:c4n4ry@proxy.example.com:3128"),
            ("PROXY", "http://c4n4ry@proxy.example.com:3128"),
            ("EXTRA_HEADERS", {"Cookie": "c4n4ry"}),
            ("EXTRA_HEADERS", {"X-Gateway-Credential": "c4n4ry"}),
        ],
    )
    def test_a_plain_secret_that_djangos_reports_would_show_is_w024(self, configure, key, value):
        configure(**{key: value})

        message = only(ours(deploy=True))

        assert message.id == "genesys_eventbridge.W024"
        assert key in message.msg
        assert "callable" in message.hint
        assert "c4n4ry" not in f"{message.msg} {message.hint}"
        shown = SafeExceptionReporterFilter().get_safe_settings()["GENESYS_EVENTBRIDGE"]["default"][key]
        assert "c4n4ry" in repr(shown)

    def test_a_passphrase_that_djangos_reports_would_show_is_w024(self, configure, tmp_path):
        certificate, key = Authority(tmp_path).issue("client", passphrase="c4n4ry")
        configure(CLIENT_CERT=(certificate, key, "c4n4ry"))

        message = only(ours(deploy=True))

        assert message.id == "genesys_eventbridge.W024"
        assert "CLIENT_CERT" in message.msg
        assert "c4n4ry" not in f"{message.msg} {message.hint}"
        assert "c4n4ry" in repr(SafeExceptionReporterFilter().get_safe_settings()["GENESYS_EVENTBRIDGE"])
        configure(CLIENT_CERT=(certificate, key, lambda: "c4n4ry"))
        assert ours(deploy=True) == []

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("PROXY", "http://proxy.example.com:3128"),
            ("PROXY", lambda: _refuse()),  # noqa: PLW0108 - it is defined below
            ("EXTRA_HEADERS", {"X-Gateway-Key": "masked by its name"}),
            ("EXTRA_HEADERS", {"X-Region": "eu-west-1", "Cookie": lambda: _refuse()}),  # noqa: PLW0108
        ],
    )
    def test_what_djangos_reports_mask_or_may_show_is_silent(self, configure, key, value):
        configure(**{key: value})

        assert ours(deploy=True) == []

    def test_a_plain_check_says_neither(self, configure):
        configure(RETENTION_DAYS=None, CLIENT_SECRET=CLIENT_SECRET)

        assert ours() == []


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(object()),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner) | st.tuples(inner)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from([*conf.DEFAULTS, "REGION", "NONSENSE"])


#: What goes into requests, and texts that might.
WIRE_KEYS = [
    "CA_BUNDLE",
    "CLIENT_CERT",
    "CLIENT_ID",
    "CLIENT_SECRET",
    "CONTENT_TYPE",
    "EVENTS_PATH",
    "EXTRA_HEADERS",
    "IDEMPOTENCY_HEADER",
    "PROXY",
    "SCOPES",
    "TOKEN_PATH",
]
PIECES = [
    "/",
    "a",
    "..",
    ".",
    ":",
    "@",
    "//",
    "http://",
    "https://",
    "[",
    "]",
    " ",
    "%",
    "%2f",
    "?",
    "#",
    "\r\n",
    "\0",
    "é",
    "8",
]
WIRE_TEXT = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(max_size=8)
WIRE_VALUES = WIRE_TEXT | st.lists(WIRE_TEXT, max_size=2) | st.dictionaries(WIRE_TEXT, WIRE_TEXT, max_size=2)


class TestNeverATraceback:
    @given(raw=JUNK)
    def test_whatever_the_setting_is(self, raw):
        _checked_with(GENESYS_EVENTBRIDGE=raw)

    @given(keys=st.dictionaries(KEYS, JUNK, max_size=4))
    def test_whatever_a_key_holds(self, keys):
        _checked_with(GENESYS_EVENTBRIDGE={"default": {**GOOD, **keys}})

    @given(raw=JUNK)
    def test_whatever_q_cluster_is(self, raw):
        _checked_with(Q_CLUSTER=raw)

    @given(
        keys=st.dictionaries(
            st.sampled_from(
                ["timeout", "retry", "catch_up", "broker_class", "orm", "sqs", "sync", "workers"]
            ),
            JUNK,
        )
    )
    def test_whatever_a_key_of_q_cluster_holds(self, keys):
        _checked_with(Q_CLUSTER={**CLUSTER, **keys})

    @given(keys=st.dictionaries(st.sampled_from(WIRE_KEYS), WIRE_VALUES, max_size=3))
    @example({"CA_BUNDLE": ""})
    @example({"EXTRA_HEADERS": {"Accept": "x"}})
    @example({"EVENTS_PATH": "/a/../b"})
    @example({"EVENTS_PATH": "/"})
    @example({"SCOPES": ["a\r\nb"]})
    @example({"PROXY": "http://a:b:c@d:x"})
    @example({"PROXY": "http://d:65536"})
    @example({"PROXY": "http://[::g]:1"})
    @example({"PROXY": "http://a..b"})
    @example({"PROXY": "http://10.0.0.256:3128"})
    @example({"PROXY": "http://proxy:3128", "LOGIN_BASE_URL": "http://localhost"})
    @example({"IDEMPOTENCY_HEADER": "Authorization"})
    @example({"CONTENT_TYPE": "json"})
    @example({"EVENTS_PATH": "/%2e%2e"})
    @example({"EXTRA_HEADERS": {"idempotency-key": "x"}})
    @example({"IDEMPOTENCY_HEADER": "X-Key", "EXTRA_HEADERS": {"x-key": "x"}})
    def test_what_the_checks_take_the_client_takes(self, keys):
        """Or else a worker would stop at a setting that `manage.py check` called right."""
        with override_settings(GENESYS_EVENTBRIDGE={"default": {**GOOD, **keys}}):
            if not any(problem.is_error for problem in conf.problems()):
                assert conf.destination().platform.token_url.startswith("https://login.")

    def test_without_any_destination_the_models_are_left_alone(self, settings, monkeypatch):
        registration = SimpleNamespace(model=LineItem, destination="default")
        monkeypatch.setattr(models, "registrations", lambda: (registration,))
        settings.GENESYS_EVENTBRIDGE = {}

        assert our_checks.check_models() == []
        assert numbers(our_checks.check_settings()) == ["W040"]
        assert "E001" in numbers(our_checks.check_deployment())


def _checked_with(**changes):
    with override_settings(**changes):
        asked = (
            our_checks.check_settings,
            our_checks.check_queue,
            our_checks.check_models,
            our_checks.check_deployment,
        )
        for message in [message for check in asked for message in check()]:
            assert message.msg


def test_a_number_says_whether_it_is_an_error():
    told = our_checks._messages([Problem("E001", "", "a", "b"), Problem("W010", "", "a", "")])

    assert [(message.level, message.hint) for message in told] == [
        (checks.ERROR, "b"),
        (checks.WARNING, None),
    ]


def test_every_check_is_registered_once_under_its_tag():
    registry: Any = checks.registry.registry
    tags = {check.__name__: set(check.tags) for check in registry.get_checks() if _is_ours(check)}
    deploy = {check.__name__ for check in registry.deployment_checks if _is_ours(check)}

    assert tags == {
        "check_settings": set(),
        "check_queue": set(),
        "check_models": {"models"},
        "check_database": {"database"},
    }
    assert deploy == {"check_deployment"}


def _is_ours(check):
    return check.__module__ == our_checks.__name__
