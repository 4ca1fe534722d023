"""T1, T36: what Django shows of an error, by mail or as a debug page, holds no credential and no payload."""

import asyncio
import logging
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection, transaction
from django.test import RequestFactory
from django.utils.log import AdminEmailHandler
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from genesys_eventbridge import conf, relay
from genesys_eventbridge.client import EventBridgeClient, Platform
from genesys_eventbridge.errors import Halted, InvalidEvent, without_arguments
from genesys_eventbridge.model_events import EventQuerySet, enqueue_for
from genesys_eventbridge.outbox import aenqueue, enqueue, enqueue_many
from genesys_eventbridge.platform.protocols import Webhook
from genesys_eventbridge.relay import batch
from tests.outbox_rows import event
from tests.scripted import ScriptedPlatform
from tests.shop.models import Order
from tests.socket_server import SocketServer, answer, replies

pytest_plugins = ["tests.registrations"]

SECRET = "c4n4ry-secret-4d5e6f"
PROXY_PASSWORD = "c4n4ry-proxy-1a2b3c"
HEADER = "c4n4ry-header-7a8b9c"
PAYLOAD = "c4n4ry-payload-0d1e2f"
CANARIES = (SECRET, PROXY_PASSWORD, HEADER, PAYLOAD)


@pytest.fixture
def configure(settings):
    def change(**changes):
        settings.GENESYS_EVENTBRIDGE = {
            "default": {
                **settings.GENESYS_EVENTBRIDGE["default"],
                "CLIENT_SECRET": SECRET,
                "EXTRA_HEADERS": {"X-Gateway-Key": HEADER},
                **changes,
            }
        }

    return change


@pytest.fixture(params=[True, False], ids=["debug", "production"])
def mode(request, settings):
    settings.DEBUG = request.param


def raised(work):
    try:
        work()
    except Exception as error:  # noqa: BLE001 - what it is, the caller looks at
        return error
    raise AssertionError("it did not fail")


def page(error):
    """Everything Django would show of an error: HTML and text."""
    reporter = ExceptionReporter(RequestFactory().get("/"), type(error), error, error.__traceback__)
    return reporter.get_traceback_html() + reporter.get_traceback_text()


def our_variables(error):
    """The variables Django would show of the frames of this package."""
    reporter = ExceptionReporter(RequestFactory().get("/"), type(error), error, error.__traceback__)
    frames = [
        frame
        for frame in reporter.get_traceback_data()["frames"]
        if "genesys_eventbridge/" in frame["filename"] or frame["filename"].startswith("<")  # generated code
    ]
    assert frames
    return [f"{frame['function']}: {name}={value}" for frame in frames for name, value in frame["vars"]]


class Mail(AdminEmailHandler):
    """Keeps what it would have sent."""

    sent = ""

    def send_mail(self, subject, message, *args, html_message, **kwargs):
        self.sent += subject + message + html_message


def mailed(error):
    """What the admins get when a view raised this."""
    record = logging.LogRecord(
        "django.request", logging.ERROR, __file__, 1, "Internal Server Error", (), None
    )
    record.exc_info = (type(error), error, error.__traceback__)
    record.request = RequestFactory().get("/")
    handler = Mail(include_html=True)
    handler.emit(record)
    assert type(error).__name__ in handler.sent
    return handler.sent


def leaks(shown):
    return [
        text
        for text in ([shown] if isinstance(shown, str) else shown)
        if any(one in text for one in CANARIES)
    ]


class TestCredentials:
    def test_a_frame_that_holds_the_configuration_shows_no_secret(self, mode, configure):
        configure()

        def work():
            destination, platform = conf.destination(), conf.destination().platform
            assert platform is destination.platform
            raise RuntimeError("somewhere in a worker")

        shown = page(raised(work))

        assert "DestinationSettings(" in shown
        assert "Platform(" in shown
        assert not leaks(shown)

    def test_the_settings_on_the_debug_page_show_no_callables_proxy_and_no_secret(self, configure):
        """Django masks a setting by its name, and PROXY is none it knows: so the docs ask for a callable."""
        configure(PROXY=lambda: f"http://user:{PROXY_PASSWORD}@127.0.0.1:1", EXTRA_HEADERS={})

        shown = SafeExceptionReporterFilter().get_safe_settings()["GENESYS_EVENTBRIDGE"]

        assert "PROXY" in shown["default"]
        assert not leaks(str(shown))

    def test_a_refused_setting_shows_no_secret_beside_it(self, mode, configure):
        configure(MAX_ATTEMPTS=0, PROXY=f"http://user:{PROXY_PASSWORD}@127.0.0.1:1")

        error = raised(conf.destination)

        assert isinstance(error, ImproperlyConfigured)
        assert not leaks(str(error))
        assert not leaks(our_variables(error))

    @pytest.mark.parametrize("end", ["/", "\n", "%2f"])
    def test_a_refused_token_of_a_webhook_is_not_repeated(self, end):
        error = raised(lambda: Webhook(webhook_token=SECRET + end))

        assert isinstance(error, ValueError)
        assert not leaks(str(error))
        assert not leaks(our_variables(error))

    @pytest.mark.parametrize("value", [{"X-Key": f"{HEADER}\n"}, f"X-Key: {HEADER}", [HEADER]])
    def test_a_refused_header_is_not_repeated(self, configure, value):
        configure(EXTRA_HEADERS=value)

        assert [problem.key for problem in conf.problems()] == ["EXTRA_HEADERS"]
        assert not leaks([problem.message + problem.hint for problem in conf.problems()])

    @pytest.mark.parametrize("shape", [repr, lambda raw: [raw], lambda raw: (raw["default"],)])
    def test_a_setting_of_another_shape_is_not_repeated(self, configure, settings, shape):
        configure()
        settings.GENESYS_EVENTBRIDGE = shape(settings.GENESYS_EVENTBRIDGE)

        error = raised(conf.aliases)

        assert isinstance(error, ImproperlyConfigured)
        assert not leaks(str(error))

    def test_a_client_that_gets_no_token_shows_no_secret(self, mode):
        refusal = {"error": "invalid_client", "description": f"no such client: {SECRET}"}
        with (
            SocketServer(replies(answer(401, refusal))) as server,
            EventBridgeClient(
                api_base_url=server.url,
                login_base_url=server.url,
                client_id="an-id",
                client_secret=SECRET,
                extra_headers={"X-Gateway-Key": HEADER},
            ) as client,
        ):
            error = raised(lambda: client.publish('{"id": "1", "source": "s", "type": "t"}', "key"))

        assert isinstance(error, Halted)
        assert not leaks(str(error))
        assert not leaks(our_variables(error))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"region": 5},
            {"region": None},
            {"region": "atlantis"},
            {"api_base_url": "http://api.example.com"},
            {"login_base_url": "login"},
            {"client_id": f"{SECRET}:x"},
            {"client_id": ""},
            {"client_secret": f"{SECRET}\n"},
            {"client_secret": SECRET.encode()},
            {"scopes": SECRET},
            {"token_path": 5},
            {"idempotency_header": 5},
            {"content_type": f"{HEADER}\n"},
            {"extra_headers": f"X-Key: {HEADER}"},
            {"extra_headers": [("X-Key", HEADER)]},
            {"extra_headers": {"X-Key": f"{HEADER}\n"}},
            {"extra_headers": {"X-Key": HEADER.encode()}},
            {"extra_headers": {"Authorization": f"Bearer {HEADER}"}},
            {"extra_headers": {f"X-{HEADER}\n": "1"}},
            {"connect_timeout": SECRET},
            {"request_deadline": -1},
            {"ca_bundle": 5},
            {"proxy": f"user:{PROXY_PASSWORD}@proxy.example"},
            {"proxy": f"http://user:{PROXY_PASSWORD}@[::1"},
            {"proxy": f"socks5://user:{PROXY_PASSWORD}@proxy.example"},
            {"proxy": PROXY_PASSWORD.encode()},
            {"accepted_codes": 5},
            {"delivered_statuses": 5},
            {"secret": SECRET},
            {"client_secrte": SECRET},
            {"transport": 5, "redact_keys": 5},
        ],
        ids=str,
    )
    def test_a_client_or_platform_with_a_wrong_argument_shows_no_secret(self, mode, wrong):
        """Also in the frame of a generated ``__init__``; the argument in question may be the secret."""
        right = {
            "region": "us-east-1",
            "client_id": "an-id",
            "client_secret": SECRET,
            "extra_headers": {"X-Gateway-Key": HEADER},
            "proxy": f"http://user:{PROXY_PASSWORD}@127.0.0.1:1",
        }

        error = raised(lambda: EventBridgeClient(**right | wrong))

        assert not leaks(str(error).replace(f"takes no {next(iter(wrong))!r}", ""))
        assert not leaks(our_variables(error))
        hosts = {"api_base_url": "https://api.example", "login_base_url": "https://login.example"}
        own = {name: value for name, value in (right | wrong).items() if name != "region"}
        error = raised(lambda: Platform(**hosts | own | {"nonsense": 1}))
        assert isinstance(error, TypeError)
        assert not leaks(our_variables(error))

    @pytest.mark.parametrize("name", ["client_id", "client_secret", "api_base_url"])
    def test_a_client_without_an_argument_shows_none_of_the_others(self, mode, name):
        given: dict[str, Any] = dict.fromkeys(("client_id", "client_secret"), SECRET)
        given["api_base_url"] = "https://api.example.com"
        del given[name]

        error = raised(lambda: EventBridgeClient(**given, extra_headers={"X-Key": HEADER}))

        assert not leaks(str(error))
        assert not leaks(our_variables(error))

    def test_a_platform_that_is_refused_shows_no_secret(self, mode):
        error = raised(
            lambda: Platform(
                api_base_url="https://api.example.com",
                login_base_url="https://login.example.com",
                client_id="an-id",
                client_secret=SECRET,
                extra_headers={"X-Gateway-Key": HEADER},
                proxy=PROXY_PASSWORD,
            )
        )

        assert isinstance(error, ValueError)
        assert not leaks(str(error))
        assert not leaks(our_variables(error))

    def test_a_callable_that_fails_takes_no_value_with_it(self, mode):
        def vault():
            key = HEADER
            raise LookupError(key)

        error = raised(
            Platform(
                api_base_url="https://api.example.com",
                login_base_url="https://login.example.com",
                client_id="an-id",
                client_secret=SECRET,
                extra_headers={"X-Gateway-Key": vault},
            ).headers
        )

        assert isinstance(error, Halted)
        assert not leaks(page(error))

    def test_the_wrapper_keeps_the_words_and_the_kind_of_an_error(self):
        @without_arguments
        def fail(_secret):
            try:
                raise LookupError(SECRET)
            except LookupError as error:
                raise ValueError("CLIENT_SECRET is wrong") from error

        error = raised(lambda: fail(SECRET))

        assert (type(error), str(error)) == (ValueError, "CLIENT_SECRET is wrong")
        assert (error.__cause__, error.__context__) == (None, None)
        assert not leaks(page(error))

    def test_diffsettings_shows_nothing_of_a_secret_that_is_a_callable(self, configure, capsys):
        configure(CLIENT_SECRET=lambda: SECRET, EXTRA_HEADERS={})

        call_command("diffsettings", all=True)

        assert "GENESYS_EVENTBRIDGE" in (printed := capsys.readouterr().out)
        assert not leaks(printed)

    def test_django_hides_the_secret_in_the_setting_by_its_name(self, configure):
        configure()

        shown = SafeExceptionReporterFilter().get_safe_settings()["GENESYS_EVENTBRIDGE"]

        assert shown["default"]["SOURCE"] == "com.example.tests"
        assert not leaks(repr(shown))


def enqueue_wrong():
    with transaction.atomic():
        enqueue("order.created", {"note": PAYLOAD, "amount": float("nan")})


def enqueue_too_large():
    with transaction.atomic():
        enqueue("order.created", {"note": PAYLOAD, "padding": "x" * 300_000})


def enqueue_many_wrong():
    with transaction.atomic():
        enqueue_many([{"type": "order.created", "data": {"note": PAYLOAD}}, {"type": "", "data": PAYLOAD}])


def aenqueue_wrong():
    asyncio.run(aenqueue("order.created", {"note": PAYLOAD, "amount": float("nan")}))


def save():
    Order(number="ORD-8", note=PAYLOAD).save()


def change():
    order = Order.objects.get(number="ORD-7")
    order.note += ", paid"
    order.save()


def delete():
    Order.objects.get(number="ORD-7").delete()


def change_many():
    EventQuerySet(Order).update(note=f"{PAYLOAD}, paid")


def tell_many():
    with transaction.atomic():
        enqueue_for(Order.objects.all(), "updated")


@pytest.mark.django_db(transaction=True)
class TestPayloads:
    """In production, where DEBUG is False: on its debug page Django shows everything, by intent."""

    @pytest.fixture(autouse=True)
    def _production(self, settings):
        settings.DEBUG = False
        settings.ADMINS = ["ana@shop.example"]

    @pytest.fixture
    def refused(self, publish, settings):
        """From now on no event of an order is small enough."""
        Order.objects.create(number="ORD-7", note=PAYLOAD)
        publish(Order, created="a", updated="b", deleted="c", fields=["number", "note"], changed=["note"])
        settings.GENESYS_EVENTBRIDGE = {
            "default": {**settings.GENESYS_EVENTBRIDGE["default"], "MAX_EVENT_BYTES": 100}
        }

    @pytest.mark.parametrize("work", [enqueue_wrong, enqueue_too_large, enqueue_many_wrong, aenqueue_wrong])
    def test_an_event_that_is_refused_is_in_no_error_mail(self, work):
        error = raised(work)

        assert isinstance(error, InvalidEvent)
        assert not leaks(mailed(error))

    @pytest.mark.parametrize("work", [save, change, delete, change_many, tell_many])
    def test_a_model_whose_event_is_refused_is_in_no_error_mail(self, refused, work):
        error = raised(work)

        assert isinstance(error, InvalidEvent)
        assert not leaks(our_variables(error))

    def test_a_model_function_that_fails_takes_no_payload_with_it(self, publish):
        publish(Order, created="a", data=lambda order: {"note": order.note}, subject=lambda order: 1 / 0)

        error = raised(save)

        assert isinstance(error, ZeroDivisionError)
        assert not leaks(mailed(error))

    @pytest.mark.parametrize("many", [False, True])
    def test_an_insert_that_fails_takes_no_payload_with_it(self, many):
        def fail(_execute, sql, *_args):
            assert sql.startswith("INSERT INTO genesys_eventbridge_outboxevent")
            raise RuntimeError("the disk is full")

        def work():
            with transaction.atomic(), connection.execute_wrapper(fail):
                if many:
                    enqueue_many([{"type": "order.created", "data": {"note": PAYLOAD}}])
                else:
                    enqueue("order.created", {"note": PAYLOAD})

        assert not leaks(mailed(raised(work)))

    def test_a_pass_that_fails_shows_neither_payload_nor_secret(self, monkeypatch, configure):
        def fail(*_args, **_keywords):
            raise RuntimeError("the disk is full")

        configure()
        monkeypatch.setattr(batch, "settle", fail)
        event("order.created", {"note": PAYLOAD})

        error = raised(lambda: relay.publish_due(transport=ScriptedPlatform().transport))

        assert "Claimed(" in "".join(our_variables(error))
        assert not leaks(mailed(error))
