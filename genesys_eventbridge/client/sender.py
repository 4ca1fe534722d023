"""Sender: one event or one question goes to the platform, one Outcome comes back, whatever happens."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import httpx

from genesys_eventbridge.client.auth import TOKEN_TRANSPORT, ClientCredentials
from genesys_eventbridge.client.responses import failure_outcome, publish_outcome, status_outcome
from genesys_eventbridge.client.sockets import Deadline
from genesys_eventbridge.client.transport import DEADLINE, USER_AGENT, DirectTransport, read_answer
from genesys_eventbridge.defects import report
from genesys_eventbridge.platform.config import Platform
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Sent, Verdict
from genesys_eventbridge.platform.values import header_value, named

logger = logging.getLogger("genesys_eventbridge")

RawHeaders = list[tuple[bytes, bytes]]
#: A larger answer takes up to thirty times its size to judge: one at a time, whatever the number of senders.
LARGE_ANSWER_BYTES = 64 * 1024
#: Halts that another header or another proxy's login may end.
_REFUSALS = (Halt.AUTH, Halt.PERMISSION, Halt.CONFIG)


class Sender:
    """Publishes and checks over one connection of its own: one thread, no retries, no redirects.

    Whatever the platform, the network or the login service does becomes an ``Outcome``; only an interruption
    (``BaseException``) passes. Each call ends by ``platform.request_deadline``: its token, a refresh and the
    second request included. A ``transport`` that is given fetches the tokens too and is closed by ``close``;
    the deadline is then kept as well as that transport keeps its timeouts.
    """

    def __init__(
        self,
        platform: Platform,
        credentials: ClientCredentials,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._platform = platform
        self._credentials = credentials
        self._given = transport
        self._direct: DirectTransport | None = None
        self._clock = clock
        self._url = httpx.URL(platform.events_url)
        self._key_name = platform.idempotency_header.encode()
        self._content_type = (b"Content-Type", platform.content_type.encode())
        self._headers: RawHeaders | None = None
        self._extensions: dict[str, object] = {"timeout": platform.timeouts}
        if transport:
            self._extensions[TOKEN_TRANSPORT] = transport

    def publish(self, body: str, key: str, sent: Sent) -> Outcome:
        """Send ``body`` as it stands under the idempotency ``key``; ``sent`` is what it says of itself."""
        sent = sent if sent.body == body else replace(sent, body=body)

        def judge(response: httpx.Response) -> Outcome:
            return publish_outcome(response, sent, self._platform.rules, secrets=self._secrets())

        return self._outcome(lambda: self._publish_request(body, key), judge, Verdict.UNKNOWN, body)

    def check(self, remote_id: str, *, sent: Sent | None = None, age: float | None = None) -> Outcome:
        """Ask how far an accepted event is; ``age`` is in seconds since its acceptance, where known.

        ``sent`` is what the event says of itself: some platforms answer with the event that they took. No
        value of its data comes into the outcome's error.
        """

        def judge(response: httpx.Response) -> Outcome:
            return status_outcome(
                response,
                self._platform.rules,
                remote_id=remote_id,
                sent=sent,
                age=age,
                secrets=self._secrets(),
            )

        body = sent.body if sent else ""
        return self._outcome(lambda: self._check_request(remote_id), judge, Verdict.NOT_YET, body)

    def close(self) -> None:
        if self._given:
            self._given.close()
        if self._direct:
            self._direct.close()
            self._direct = None

    def _outcome(
        self,
        build: Callable[[], httpx.Request],
        judge: Callable[[httpx.Response], Outcome],
        undecided: Verdict,
        body: str,
    ) -> Outcome:
        """``undecided`` is the verdict where a defect of ours stands between an answer and its meaning."""
        outcome = self._judged(build, judge, undecided, body)
        if outcome.halt in _REFUSALS:
            self._forget()
        return outcome

    def _judged(
        self,
        build: Callable[[], httpx.Request],
        judge: Callable[[httpx.Response], Outcome],
        undecided: Verdict,
        body: str,
    ) -> Outcome:
        try:
            response = self._answer(build())
        except Exception as error:  # noqa: BLE001 - an error of any kind has a meaning for the event
            return failure_outcome(
                error,
                checking=undecided is Verdict.NOT_YET,
                secrets=self._secrets(),
                redact_keys=self._platform.rules.redact_keys,
                body=body,
            )
        try:
            with _large_answers.lock if len(response.content) > LARGE_ANSWER_BYTES else nullcontext():
                return judge(response)
        except Exception as error:  # noqa: BLE001 - no defect of ours may make it look as if nothing was sent
            status, name = response.status_code, type(error).__name__
            line = (
                f"HTTP {status}: the answer could not be judged ({name}). This is a defect; please report it."
            )
            report(error, "%s", line)
            return Outcome(undecided, error=line, status_code=status)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        """Drive the conversation of authentication to its last answer."""
        transport = self._transport()
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

    def _publish_request(self, body: str, key: str) -> httpx.Request:
        content = body.encode()
        own = [(self._key_name, _key(key)), (b"Content-Length", b"%d" % len(content))]
        headers = [*self._common_headers(), self._content_type, *own]
        return self._request("POST", self._url, headers, content)

    def _check_request(self, remote_id: str) -> httpx.Request:
        url = httpx.URL(self._platform.status_url(remote_id))
        return self._request("GET", url, self._common_headers(), b"")

    def _request(self, method: str, url: httpx.URL, headers: RawHeaders, content: bytes) -> httpx.Request:
        deadline = Deadline(self._platform.request_deadline, self._clock)
        # With stream= httpx adds no headers: these are all.
        return httpx.Request(
            method,
            url,
            headers=headers,
            stream=httpx.ByteStream(content),
            extensions=self._extensions | {DEADLINE: deadline},
        )

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
        """What every request says, prepared once. No encoding is asked for: a bomb stays a small file."""
        if self._headers is None:
            headers = [
                ("User-Agent", USER_AGENT),
                ("Accept", "application/json"),
                ("Accept-Encoding", "identity"),
                *self._platform.headers().items(),
            ]
            named = [(name.encode(), text.encode()) for name, text in headers]
            self._headers = [(b"Host", self._url.netloc), *named]
        return self._headers

    def _forget(self) -> None:
        """After a refusal: what callables returned for PROXY and EXTRA_HEADERS is read again."""
        self._headers = None
        if self._direct and callable(self._platform.proxy):
            self._direct.close()
            self._direct = None

    def _secrets(self) -> tuple[str, ...]:
        return (*self._credentials.secrets, *self._platform.secrets())


def _key(key: str) -> bytes:
    try:
        return str(named(header_value, key, "The idempotency key")).encode()
    except ValueError as error:
        raise httpx.LocalProtocolError(str(error)) from None


class _Turn:
    """A lock that belongs to one process: a forked child must not wait for a thread of its parent."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.lock = threading.Lock()


_large_answers = _Turn()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_large_answers.begin)
