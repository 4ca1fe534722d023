"""Sender: sends one event or one status check and always returns one Outcome."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

from genesys_eventbridge import steady
from genesys_eventbridge.client.auth import TOKEN_TRANSPORT, ClientCredentials
from genesys_eventbridge.client.http import httpx
from genesys_eventbridge.client.responses import read
from genesys_eventbridge.client.responses.exceptions import failure_outcome
from genesys_eventbridge.client.sockets import Deadline
from genesys_eventbridge.client.transport import DEADLINE, USER_AGENT, DirectTransport, read_answer
from genesys_eventbridge.defects import report
from genesys_eventbridge.errors import Halted, InvalidEvent
from genesys_eventbridge.platform.config import Platform
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Sent, Verdict, storable
from genesys_eventbridge.platform.protocols import BUILT_IN, Answer, Request
from genesys_eventbridge.platform.values import header_value, named

logger = logging.getLogger("genesys_eventbridge")

RawHeaders = list[tuple[bytes, bytes]]
#: Judging a larger response takes up to thirty times its size: one at a time, whatever the number of senders.
LARGE_ANSWER_BYTES = 64 * 1024
#: Halts that may end if callables for headers or the proxy login are read again.
_REFUSALS = (Halt.AUTH, Halt.PERMISSION, Halt.CONFIG)


class Sender:
    """Publishes and checks over its own connection: one thread, no retries, no redirects.

    Any failure of the platform, the network or the login service becomes an ``Outcome``; only interruptions
    (``BaseException``) propagate. Each call ends by ``platform.request_deadline``, including its token, a
    refresh and the second request. A given ``transport`` also fetches the tokens and is closed by ``close``;
    the deadline then depends on how well that transport keeps its timeouts. ``credentials`` are used
    if the protocol authenticates.
    """

    def __init__(
        self,
        platform: Platform,
        credentials: ClientCredentials,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = steady.monotonic,
    ) -> None:
        self._platform = platform
        self._credentials = credentials
        self._given = transport
        self._direct: DirectTransport | None = None
        self._clock = clock
        self._protocol = platform.protocol
        #: A user's code: what it returns is not trusted.
        self._is_foreign = type(platform.protocol) not in BUILT_IN.values()
        self._host = httpx.URL(platform.api_base_url).netloc
        #: The path of the last publish and its URL: parsing it takes as long as sending a small event.
        self._last: tuple[str, httpx.URL] | None = None
        self._headers: RawHeaders | None = None
        self._extensions: dict[str, object] = {"timeout": platform.timeouts}
        if transport:
            self._extensions[TOKEN_TRANSPORT] = transport

    def deadline(self) -> Deadline:
        """That of a publish or check which begins now."""
        return Deadline(self._platform.request_deadline, self._clock)

    def publish(self, body: str, key: str, sent: Sent, *, deadline: Deadline | None = None) -> Outcome:
        """Send ``body`` as it is under the idempotency ``key``; ``sent`` has its attributes.

        ``deadline`` is one that was made before: nothing is sent after it.
        """
        sent = sent if sent.body == body else replace(sent, body=body)
        return self._outcome(
            lambda: self._protocol.publish_request(self._platform, sent, key),
            lambda answer: self._protocol.publish_outcome(answer, sent),
            Verdict.UNKNOWN,
            body,
            deadline,
        )

    def check(
        self,
        remote_id: str,
        *,
        sent: Sent | None = None,
        age: float | None = None,
        deadline: Deadline | None = None,
    ) -> Outcome:
        """Check an accepted event's status. ``age`` is in seconds since its acceptance, None if unknown.

        ``sent`` has the event's attributes: some platforms respond with the event itself. No value of its
        data appears in the outcome's error. ``deadline`` is as for ``publish``.
        """
        return self._outcome(
            lambda: self._protocol.status_request(self._platform, remote_id),
            lambda answer: self._protocol.status_outcome(answer, remote_id, sent, age),
            Verdict.NOT_YET,
            sent.body if sent else "",
            deadline,
        )

    def connect(self) -> Outcome | None:
        """Connect to the platform, with tunnel and TLS, and send no request. Returns the failure, if any."""
        request = httpx.Request(
            "HEAD", self._platform.api_base_url, extensions=self._extensions | {DEADLINE: self.deadline()}
        )
        try:
            transport = self._transport()
            if isinstance(transport, DirectTransport):  # others have nothing to connect
                transport.connect(request)
        except Exception as error:  # noqa: BLE001 - an error of any kind is the result
            return self._failed(error, Verdict.UNKNOWN, "")
        return None

    def close(self) -> None:
        if self._given:
            self._given.close()
        if self._direct:
            self._direct.close()
            self._direct = None

    def _outcome(
        self,
        build: Callable[[], Request],
        judge: Callable[[Answer], Outcome],
        undecided: Verdict,
        body: str,
        deadline: Deadline | None,
    ) -> Outcome:
        """``undecided`` is the verdict if an error of our own keeps a response from being judged."""
        # It includes the callables: a slow one must not let a request outlive its lease.
        outcome = self._judged(build, judge, undecided, body, deadline or self.deadline())
        if outcome.halt in _REFUSALS:
            self._forget()
        return outcome

    def _judged(
        self,
        build: Callable[[], Request],
        judge: Callable[[Answer], Outcome],
        undecided: Verdict,
        body: str,
        deadline: Deadline,
    ) -> Outcome:
        try:
            if self._is_foreign:
                self._platform.secrets()  # if they cannot be masked, nothing may be sent
            request = self._http_request(build(), deadline)
        except (
            Halted,
            InvalidEvent,
            httpx.LocalProtocolError,
            httpx.InvalidURL,
            UnicodeEncodeError,
        ) as error:
            return self._failed(error, undecided, body)
        except Exception as error:  # noqa: BLE001 - a protocol is the user's code; nothing was sent
            line = f"Nothing was sent: the protocol raised {type(error).__name__}."
            report(error, "%s", line)
            nothing = Verdict.UNAVAILABLE if undecided is Verdict.UNKNOWN else undecided
            return Outcome(nothing, error=line, outage=Halt.CONFIG)
        try:
            response = self._answer(request)
        except Exception as error:  # noqa: BLE001 - an error of any kind has a meaning for the event
            return self._failed(error, undecided, body)
        try:
            with _large_answers.lock if len(response.content) > LARGE_ANSWER_BYTES else nullcontext():
                outcome = judge(read(response, self._platform.rules, self._secrets(), body))
                return storable(outcome) if self._is_foreign else outcome
        except Exception as error:  # noqa: BLE001 - our bugs must not make it look as if nothing was sent
            status, name = response.status_code, type(error).__name__
            line = (
                f"HTTP {status}: the response could not be judged ({name}). This is a bug; please report it."
            )
            report(error, "%s", line)
            return Outcome(undecided, error=line, status_code=status)

    def _failed(self, error: Exception, undecided: Verdict, body: str) -> Outcome:
        return failure_outcome(
            error,
            checking=undecided is Verdict.NOT_YET,
            secrets=self._secrets(),
            redact_keys=self._platform.rules.redact_keys,
            body=body,
            after_unknown=self._protocol.after_unknown,
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        """The response; if the protocol authenticates, the last one of that flow."""
        transport = self._transport()
        if not self._protocol.authenticates:
            return read_answer(transport.handle_request(request), request)
        flow = self._credentials.auth_flow(request)
        try:
            outgoing = next(flow)
            while True:
                response = read_answer(transport.handle_request(outgoing), outgoing)
                try:
                    outgoing = flow.send(response)
                except StopIteration:
                    return response
        finally:
            flow.close()

    def _http_request(self, request: Request, deadline: Deadline) -> httpx.Request:
        if not request.path.startswith("/"):  # appended to the host, "@" would name another one
            raise ValueError("a path begins with a slash")
        content = request.body.encode()
        headers = [*self._common_headers(), *(_header(name, text) for name, text in request.headers)]
        if content or request.method == "POST":
            headers.append((b"Content-Length", b"%d" % len(content)))
        # With stream= httpx adds no headers: this list is complete.
        return httpx.Request(
            request.method,
            self._url(request),
            headers=headers,
            stream=httpx.ByteStream(content),
            extensions=self._extensions | {DEADLINE: deadline},
        )

    def _url(self, request: Request) -> httpx.URL:
        if self._last and self._last[0] == request.path:
            return self._last[1]
        url = httpx.URL(self._platform.api_base_url + request.path)
        if request.method == "POST":
            self._last = (request.path, url)
        return url

    def _transport(self) -> httpx.BaseTransport:
        if self._given:
            return self._given
        if self._direct is None:
            platform = self._platform
            self._direct = DirectTransport(
                ca_bundle=platform.ca_bundle, proxy=platform.proxy_url(), client_cert=platform.client_cert
            )
        return self._direct

    def _common_headers(self) -> RawHeaders:
        """Headers of every request, built once. No encoding is requested, so no body can expand."""
        if self._headers is None:
            headers = [
                ("User-Agent", USER_AGENT),
                ("Accept", "application/json"),
                ("Accept-Encoding", "identity"),
                *self._platform.headers().items(),
            ]
            named = [(name.encode(), text.encode()) for name, text in headers]
            self._headers = [(b"Host", self._host), *named]
        return self._headers

    def _forget(self) -> None:
        """After a refusal, read the callables of PROXY, EXTRA_HEADERS and the protocol again."""
        self._headers = None
        self._platform.forget()
        if self._direct and callable(self._platform.proxy):
            self._direct.close()
            self._direct = None

    def _secrets(self) -> tuple[str, ...]:
        return (*self._credentials.secrets, *self._platform.secrets())


def _header(name: str, text: str) -> tuple[bytes, bytes]:
    """A header of the protocol; its value may be empty (RFC 9110, section 5.5)."""
    try:
        value: str = text if text == "" else named(header_value, text, f"The header {name}")
        return name.encode(), value.encode()
    except ValueError as error:
        raise httpx.LocalProtocolError(str(error)) from None


class _Turn:
    """A lock of one process: a forked child must not wait for a thread of its parent."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.lock = threading.Lock()


_large_answers = _Turn()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_large_answers.begin)
