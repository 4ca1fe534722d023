"""EventBridgeClient: publish(body, key) and status(remote_id). Works without Django; never retries."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn
from uuid import UUID

from genesys_eventbridge.client.auth import ClientCredentials, credentials_for
from genesys_eventbridge.client.http import httpx
from genesys_eventbridge.client.sender import Sender
from genesys_eventbridge.cloudevents.timestamps import parse_rfc3339
from genesys_eventbridge.errors import (
    Halted,
    InvalidEvent,
    OutcomeUnknown,
    PlatformError,
    Rejected,
    Unavailable,
    Unconfirmed,
    without_arguments,
)
from genesys_eventbridge.platform import regions
from genesys_eventbridge.platform.config import Platform
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Rules, Sent, Verdict
from genesys_eventbridge.platform.protocols import Protocol, protocol_class
from genesys_eventbridge.platform.values import Secret, header_value, named, settings_of

__all__ = ["Accepted", "EventBridgeClient", "Platform", "Sender", "Status"]

#: Seconds between the status checks of ``wait_until_final``; the last value repeats.
WAIT_DELAYS = (1.0, 2.0, 2.0, 5.0)
#: How many of its latest events a client recognises if the platform repeats them in responses.
REMEMBERED_EVENTS = 1000


@dataclass(frozen=True, slots=True)
class Accepted:
    """The platform accepted the event.

    ``remote_id`` is its id on the platform, "" if acceptance was proven without one. ``duplicate`` is True if
    an earlier request with the same key had been accepted. ``final`` is DELIVERED or FAILED if the response
    already says so, else None.
    """

    remote_id: str
    duplicate: bool = False
    final: Verdict | None = None
    status_code: int | None = None
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """The delivery status of an accepted event: ``verdict`` is DELIVERED, FAILED or NOT_YET.

    ``detail`` is a sentence for operators, "" if nothing is wrong; ``answer`` is the body of the response,
    redacted, at most 4096 characters.
    """

    remote_id: str
    verdict: Verdict
    detail: str = ""
    answer: str = field(default="", repr=False)
    status_code: int | None = None
    correlation_id: str = ""

    @property
    def is_final(self) -> bool:
        return self.verdict is not Verdict.NOT_YET


class EventBridgeClient:
    """A client for one organisation. Keywords are the settings in lower case; times are in seconds.

    Pass either ``region``, or ``api_base_url`` and ``login_base_url``, which take precedence; then
    ``client_id`` and ``client_secret``, or ``protocol="webhook"`` and ``webhook_token``; and any fields of
    ``Platform``, ``Rules`` and the protocol. Raises ValueError, naming the setting, if a value is invalid.

    ``transport`` replaces the network for tokens and requests (``httpx.MockTransport`` in tests) and is
    closed with the client. Without it, a token is shared with everything in this process that uses the same
    OAuth client. Nothing is retried: the classes in ``errors`` say what to do next. Only one thread at a
    time can use a client: give each thread its own to send in parallel.
    """

    @without_arguments
    def __init__(
        self,
        *,
        region: str | None = None,
        api_base_url: str | None = None,
        login_base_url: str | None = None,
        client_id: Secret | None = None,
        client_secret: Secret | None = None,
        protocol: str | type[Protocol] = "eventbridge",
        transport: httpx.BaseTransport | None = None,
        **settings: Any,
    ) -> None:
        kind = named(protocol_class, protocol, "protocol")
        own, rules, of_protocol = _split(settings, Platform, Rules, kind)
        api, login = _hosts(region, api_base_url, login_base_url, kind, of_protocol)
        self.platform = Platform(
            api_base_url=api,
            login_base_url=login,
            client_id=client_id,
            client_secret=client_secret,
            rules=Rules(**rules),
            protocol=kind(**of_protocol),
            **own,
        )
        credentials = ClientCredentials(self.platform) if transport else credentials_for(self.platform)
        self._sender = Sender(self.platform, credentials, transport=transport)
        self._sent: dict[str, Sent] = {}
        self._own_process()

    def __enter__(self) -> EventBridgeClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def publish(self, body: str, idempotency_key: str | UUID) -> Accepted:
        """Send one encoded CloudEvent, ``event.encode()``, exactly as it is.

        If the protocol honours keys, the same body may be sent again under the same key within the platform's
        window; it is accepted once. With the webhook each call may create an event.
        Raises Rejected, Unavailable, OutcomeUnknown or Halted. Raises InvalidEvent if ``body`` is not a
        CloudEvent and ValueError if the key is not valid in a header, both before anything is sent.
        """
        sent = _sent(body)
        key = named(header_value, str(idempotency_key), "idempotency_key")
        with self._turn():
            outcome = self._sender.publish(body, key, sent)
        if outcome.verdict is not Verdict.ACCEPTED:
            _raise(outcome)
        self._sent[outcome.remote_id] = dataclasses.replace(sent, body="")
        if len(self._sent) > REMEMBERED_EVENTS:
            del self._sent[next(iter(self._sent))]
        return Accepted(
            outcome.remote_id,
            duplicate=outcome.duplicate,
            final=outcome.final,
            status_code=outcome.status_code,
            correlation_id=outcome.correlation_id,
        )

    def status(self, remote_id: str) -> Status:
        """Check once. Raises Halted, OutcomeUnknown (event no longer known), or ValueError.

        The latter if the id is invalid, or the protocol has no delivery status.
        """
        self.platform.protocol.status_request(self.platform, remote_id)  # raises ValueError
        with self._turn():
            outcome = self._sender.check(remote_id, sent=self._sent.get(remote_id))
        if outcome.verdict in {Verdict.HALTED, Verdict.UNKNOWN}:
            _raise(outcome)
        return Status(
            remote_id,
            outcome.verdict,
            detail=outcome.error,
            answer=outcome.excerpt,
            status_code=outcome.status_code,
            correlation_id=outcome.correlation_id,
        )

    def wait_until_final(
        self,
        remote_id: str,
        timeout: float = 60.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,  # noqa: TID251 - blocks, by contract
    ) -> Status:
        """Check until the event is delivered or failed, for ``timeout`` seconds (with a check at the end).

        Waits out a rate limit or a network failure; any other Halted is raised at once. Raises Unconfirmed if
        the time limit is reached or the platform no longer knows the event, which may still be delivered.
        """
        end = clock() + timeout
        for delay in itertools.chain(WAIT_DELAYS, itertools.repeat(WAIT_DELAYS[-1])):
            try:
                status = self.status(remote_id)
                if status.is_final:
                    return status
                wait, seen = delay, status.detail or "The platform accepted it but has not delivered it yet."
            except Halted as error:
                if error.kind not in {Halt.RATE, Halt.NETWORK}:
                    raise
                wait, seen = max(delay, error.retry_after or 0.0), str(error)
            except OutcomeUnknown as error:
                raise Unconfirmed(f"No final status of {remote_id}: {error}") from None
            left = end - clock()
            if left <= 0 or wait > max(left, WAIT_DELAYS[-1]):
                break
            sleep(min(wait, left))
        raise Unconfirmed(f"No final status of {remote_id} within {timeout:g} s. {seen}")

    def close(self) -> None:
        """Close the connection. Tokens stay in memory for other clients."""
        self._sender.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._process != os.getpid():
            self._own_process()
        if not self._lock.acquire(timeout=self.platform.request_deadline):
            raise Halted(
                "Nothing was sent: another thread is using this client. Give each thread its own client.",
                kind=Halt.NETWORK.value,
            )
        try:
            yield
        finally:
            self._lock.release()

    def _own_process(self) -> None:
        """A forked child must not wait for a thread of its parent."""
        self._process = os.getpid()
        self._lock = threading.Lock()


def _hosts(
    region: str | None, api: str | None, login: str | None, kind: type[Protocol], given: dict[str, Any]
) -> tuple[str, str]:
    if region is None and api is None:
        api = kind.api_base_url({name.upper(): value for name, value in given.items()})
    if region is None and api is None:
        raise ValueError(
            "REGION is missing: pass region='us-east-1' (or yours), or api_base_url and login_base_url"
        )
    known = regions.hosts(region) if region is not None else None
    if api is None:
        api = known.api_base_url if known else ""
        login = login or (known.login_base_url if known else None)
    return api, login or (regions.derive_login(api) if kind.authenticates else "")


def _split(settings: dict[str, Any], *owners: type) -> list[dict[str, Any]]:
    """Split into keywords of these dataclasses. Raises TypeError for others."""
    names = [{item.name for item in settings_of(owner).values()} for owner in owners]
    known = set().union(*names)
    for name in settings.keys() - known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise TypeError(f"EventBridgeClient got an unexpected keyword {name!r}.{hint}")
    return [{name: settings[name] for name in own & settings.keys()} for own in names]


def _sent(body: str) -> Sent:
    """The attributes of the event in ``body``. Raises InvalidEvent if it is not a CloudEvent."""
    try:
        event = json.loads(body)
        body.encode()
    except (ValueError, TypeError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise InvalidEvent("body", "must be the JSON text of one CloudEvent: build_event(...).encode()")
    for name in ("id", "source", "type"):
        if not isinstance(event.get(name), str) or not event[name]:
            raise InvalidEvent(name, "is required in a CloudEvent: build_event(...) writes it")
    try:
        at = parse_rfc3339(str(event["time"])) if event.get("time") else None
    except ValueError:
        at = None
    subject = event.get("subject")
    return Sent(
        event["id"],
        event["source"],
        event["type"],
        subject=subject if isinstance(subject, str) else "",
        time=at,
        body=body,
    )


def _raise(outcome: Outcome) -> NoReturn:
    facts: dict[str, Any] = {
        "status_code": outcome.status_code,
        "correlation_id": outcome.correlation_id,
        "retry_after": outcome.retry_after,
    }
    if outcome.verdict is Verdict.HALTED:
        raise Halted(outcome.error, kind=(outcome.halt or Halt.CONFIG).value, **facts)
    kinds: dict[Verdict, type[PlatformError]] = {
        Verdict.REJECTED: Rejected,
        Verdict.UNAVAILABLE: Unavailable,
    }
    raise kinds.get(outcome.verdict, OutcomeUnknown)(outcome.error, **facts)
