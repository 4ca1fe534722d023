"""The connection test: settings, token, permission and clocks, each with the line to change."""

from __future__ import annotations

import datetime as dt
import math
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError

from genesys_eventbridge import conf
from genesys_eventbridge.client import Platform, Sender
from genesys_eventbridge.client.auth import credentials_for
from genesys_eventbridge.client.login import Basic, ask_for_token
from genesys_eventbridge.client.sockets import Deadline
from genesys_eventbridge.client.transport import DirectTransport
from genesys_eventbridge.cloudevents import build_event
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.defects import report
from genesys_eventbridge.errors import Halted, InvalidEvent
from genesys_eventbridge.formatting import span
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.platform.outcomes import Outcome, Sent, Verdict

if TYPE_CHECKING:
    from genesys_eventbridge.client.http import httpx

#: Maximum difference of clocks in seconds; a Date header has whole seconds.
SKEW = 5.0
#: The type of the event that ``eventbridge_ping --send`` sends.
TEST_TYPE = "genesys_eventbridge.test"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the test; ``ok`` is None if an earlier failure prevented it."""

    name: str
    ok: bool | None
    message: str
    remedy: str = ""


def ping(alias: str, *, seconds: float | None = None, send: bool = False) -> Iterator[Step]:
    """Test one destination, step by step. Does not raise for what it finds, and sends no event.

    With ``send``, it sends one marked test event as well. ``seconds`` bounds the whole test, for a user who
    waits for a page; if None, each request has the REQUEST_DEADLINE.
    """
    clock = Deadline(math.inf if seconds is None else seconds)
    try:
        settings = conf.sending(alias)
    except ImproperlyConfigured as error:
        yield Step("settings", False, str(error))
        for name in ("token", "permission", "clocks"):
            yield Step(name, None, "not checked: fix the settings first")
        return
    platform = settings.platform
    yield _settings(settings)
    can_continue = True
    if platform.protocol.authenticates:
        token = _token(platform, clock)
        can_continue = bool(token.ok)
        yield token
    name = "permission" if platform.protocol.refuses_empty_body else "connection"
    try:
        transport = _Listening(
            ca_bundle=platform.ca_bundle, proxy=platform.proxy_url(), client_cert=platform.client_cert
        )
    except Halted as error:  # a callable that fails intermittently
        yield Step(name, False, str(error))
        yield Step("clocks", None, "not checked: it needs a connection")
        return
    try:
        if not can_continue:
            yield Step(name, None, "not checked: it needs a token")
        elif clock.left() <= 0:
            yield Step(name, None, "not checked: time limit reached")
        else:
            # Up to three requests share the time left. Credentials are shared by the process and keep their
            # platform, so they get the one with the normal deadline.
            short = settings.changed(request_deadline=_share(platform, clock, requests=2 + send))
            sender = Sender(short.platform, credentials_for(platform), transport=transport)
            step = _permission(short, sender) if name == "permission" else _connection(short, sender)
            yield replace(step, remedy="") if send and step.ok else step  # it would suggest --send
            if send:
                yield (
                    _event(short, sender)
                    if step.ok
                    else Step("event", None, f"not sent: fix the {name} first")
                )
        yield _clocks(transport)
    finally:
        transport.close()


def _share(platform: Platform, clock: Deadline, requests: int) -> float:
    """A deadline that lets this many requests end in time."""
    return max(0.001, min(platform.request_deadline, clock.left() / requests))


class _Listening(DirectTransport):
    """Records how far the platform's clock is ahead of this host's."""

    ahead: float | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        self.ahead = _ahead(response.headers.get("date", ""), self.ahead)
        return response


def _ahead(date: str, before: float | None) -> float | None:
    """Seconds by which a ``Date`` header is ahead of this host's clock; ``before`` if it is not a date."""
    try:
        given = parsedate_to_datetime(date)
        moment = given if given.tzinfo else given.replace(tzinfo=dt.UTC)
        return (moment - dt.datetime.now(tz=dt.UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return before


def _settings(settings: DestinationSettings) -> Step:
    platform = settings.platform
    message = f"api {platform.api_base_url}"
    message += f"  login {platform.login_base_url}" if platform.protocol.authenticates else ""
    message += f"  protocol {platform.protocol.name}"
    where = f"[{settings.alias!r}]"
    doubts = [problem for problem in conf.problems() if where in problem.message and not problem.is_error]
    return Step(
        "settings",
        True,
        "; ".join([message, *(doubt.message for doubt in doubts)]),
        " ".join(doubt.hint for doubt in doubts),
    )


def _token(platform: Platform, clock: Deadline) -> Step:
    """Fetch a new token: a cached one would hide a wrong secret."""
    try:
        deadline = Deadline(clock.left(platform.request_deadline))
        token = ask_for_token(platform, Basic.of(platform), deadline, transport=None)
    except Halted as error:
        return Step("token", False, str(error))
    return Step("token", True, f"expires in {span(token.expires_in)}")


def _permission(settings: DestinationSettings, sender: Sender) -> Step:
    """An empty body is refused as invalid if path and permission are right; it is never an event."""
    nothing = Sent(event_id="", source=settings.source, type="")
    sent = sender.publish("", str(uuid.uuid4()), nothing)
    if sent.verdict is not Verdict.REJECTED or sent.status_code is None:
        return _refused(sent, "POST", settings)
    if not settings.confirms:
        return Step("permission", True, f"POST {settings.platform.events_path}")
    asked = sender.check(f"ping-{uuid.uuid4()}")
    if asked.verdict is Verdict.HALTED:
        return _refused(asked, "GET", settings)
    return Step("permission", True, f"POST and GET {settings.platform.events_path}")


def _refused(outcome: Outcome, method: str, settings: DestinationSettings) -> Step:
    answer = f"{outcome.status_code} on " if outcome.status_code else ""
    if outcome.verdict is Verdict.ACCEPTED or not outcome.error:
        message = f"{answer}{method} {settings.platform.events_path}: an empty body should be refused"
        return Step("permission", False, message, "Check API_BASE_URL, EVENTS_PATH and PROXY.")
    return Step("permission", False, f"{answer}{method} {settings.platform.events_path}: {outcome.error}")


def _connection(settings: DestinationSettings, sender: Sender) -> Step:
    """Any request would be an event, so only the settings of a request and the connection are tested."""
    platform = settings.platform
    try:
        platform.protocol.publish_request(platform, _test_event(settings), str(uuid.uuid4()))
    except (Halted, InvalidEvent) as error:
        return Step("connection", False, str(error))
    except Exception as error:  # noqa: BLE001 - a protocol is the user's code
        report(error, "Nothing was sent: the protocol raised %s", type(error).__name__)
        return Step("connection", False, f"nothing was sent: the protocol raised {type(error).__name__}")
    if failure := sender.connect():
        return Step("connection", False, failure.error)
    secured = "with TLS" if platform.api_base_url.startswith("https:") else "without TLS"
    names = " and ".join(platform.protocol.credentials)
    form = f"{names} {'have' if ' and ' in names else 'has'} a valid form; " if names else ""
    return Step(
        "connection",
        True,
        f"{form}connected {secured}. Nothing was sent: only a real event proves more",
        f"To send one marked test event: manage.py eventbridge_ping --send --destination {settings.alias}",
    )


def _event(settings: DestinationSettings, sender: Sender) -> Step:
    event = _test_event(settings)
    outcome = sender.publish(event.body, str(uuid.uuid4()), event)
    place = f"Look {settings.platform.protocol.look_at} for type {TEST_TYPE} and id {event.event_id}."
    if outcome.verdict is not Verdict.ACCEPTED:
        return Step("event", False, outcome.error, place if outcome.verdict is Verdict.UNKNOWN else "")
    given = f" as {outcome.remote_id}" if outcome.remote_id else ""
    return Step(
        "event",
        True,
        f"accepted{given}",
        place,
    )


def _test_event(settings: DestinationSettings) -> Sent:
    data = {"test": True, "message": "Sent by eventbridge_ping --send. No action is needed."}
    event = build_event(TEST_TYPE, data, source=settings.source, subject="test")
    return Sent(
        event.id, event.source, event.type, subject="test", time=event.occurred_at, body=event.encode()
    )


def _clocks(transport: _Listening) -> Step:
    """Leases and due times use the database's clock; the log and the events use the host's."""
    before = time.time()
    try:
        database = next_due.database_now().timestamp()
    except DatabaseError as error:
        remedy = "Is the database running, and have you run `manage.py migrate`?"
        return Step("clocks", False, f"cannot read the database's clock ({type(error).__name__})", remedy)
    found = {"database": database - (before + time.time()) / 2}
    if transport.ahead is not None:
        found["platform"] = transport.ahead
    wrong = [name for name, ahead in found.items() if abs(ahead) > SKEW]
    message = ", ".join(f"{name} {_distance(ahead)}" for name, ahead in found.items())
    remedy = "Synchronise every host by NTP; until then a retry may be early or late." if wrong else ""
    return Step("clocks", not wrong, message, remedy)


def _distance(ahead: float) -> str:
    if abs(ahead) < 1:
        return f"{abs(ahead) * 1000:.0f} ms {'ahead' if ahead >= 0 else 'behind'}"
    return f"{span(ahead)} {'ahead' if ahead >= 0 else 'behind'}"
