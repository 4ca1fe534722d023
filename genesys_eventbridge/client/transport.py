"""An ``httpx.BaseTransport`` with one connection per sender, one deadline per request, and bounded reads."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import NoReturn

from genesys_eventbridge import __version__
from genesys_eventbridge.client import http
from genesys_eventbridge.client.connections import Connection, H11Connection, HttptoolsConnection, Incoming
from genesys_eventbridge.client.http import httpcore, httpx
from genesys_eventbridge.client.responses import BODY_PROBLEM, BROKEN_OFF
from genesys_eventbridge.client.sockets import Deadline, DeadlineNetwork, Established
from genesys_eventbridge.defects import report
from genesys_eventbridge.errors import Halted
from genesys_eventbridge.tls import ClientCertificate, contexts

_LIBRARY = f"{httpx.__name__}/{httpx.__version__}"
USER_AGENT = f"genesys-eventbridge/{__version__} {_LIBRARY} python/{platform.python_version()}"
MAX_ANSWER_BYTES = 1024 * 1024
#: Request extension: the ``Deadline`` of the publish or check that the request belongs to.
DEADLINE = "deadline"
#: For a request without its own deadline.
DEFAULT_DEADLINE_SECONDS = 20.0
#: An idle connection older than this is not reused: a gateway may have dropped it silently.
KEEPALIVE_SECONDS = 15.0


#: For tests: the transport that answers every request to a host, without a socket.
_stand_ins: dict[str, httpx.BaseTransport] = {}


@contextlib.contextmanager
def answered_by(host: str, transport: httpx.BaseTransport) -> Iterator[None]:
    """Within this block, in all threads, ``transport`` answers what would be sent to ``host``; for tests."""
    _stand_ins[host] = transport
    try:
        yield
    finally:
        del _stand_ins[host]


class DirectTransport(httpx.BaseTransport):
    """Sends each request over one kept-alive connection and reads the whole response within one deadline.

    For one thread at a time, and normally one origin. A new connection is opened for another origin, if the
    current one is closed or expired, or if a byte has arrived since its last response.
    ``request.extensions["deadline"]`` is the ``Deadline`` that bounds connecting, TLS, every write and every
    read; the connect timeout is ``request.extensions["timeout"]["connect"]``.

    The response is already read, at most 1 MiB. If a body is larger, incomplete or encoded (no encoding is
    requested), the content is empty and ``response.extensions["body_problem"]`` has the reason; if it did
    not arrive completely, ``["broken_off"]`` says how it ended. Redirects are not followed.
    TLS is always verified, against ``ca_bundle`` (a PEM file or folder) or the certificates of certifi;
    ``client_cert`` is shown to the origin if it asks, never to a proxy. Both are read again when their
    files change. The only proxy is ``proxy`` (``http://user:password@host:port``); environment variables are
    ignored.

    Raises httpx's exceptions. ConnectError, ConnectTimeout, ProxyError and PoolTimeout mean that nothing was
    sent: any failure before the kernel has accepted the first byte of the request becomes one of these, also
    if a kept-alive connection fails and so does its replacement. Raises ``Halted`` if ``ca_bundle`` or
    ``client_cert`` cannot be loaded.
    """

    def __init__(
        self,
        *,
        ca_bundle: str | None = None,
        proxy: str | None = None,
        client_cert: ClientCertificate | None = None,
    ) -> None:
        self._ca_bundle = ca_bundle
        self._client_cert = client_cert
        self._proxy = None if proxy is None else httpx.Proxy(proxy)
        for name in ("connection", "http11", "proxy"):
            # A logger keeps the same filter only once.
            logging.getLogger(f"{httpcore.__name__}.{name}").addFilter(_STEPS_ONLY)
        self._own_process()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if stand_in := _stand_ins.get(request.url.host):
            if self._network.only_connects:
                raise Established
            return read_answer(stand_in.handle_request(request), request)
        if self._process != os.getpid():
            self._drop()
            self._own_process()
        if not self._busy.acquire(blocking=False):
            raise httpx.PoolTimeout(
                "the connection is in use by another thread; a sender belongs to one thread", request=request
            )
        _tracing.ours = True
        try:
            return self._exchange(request)
        except BaseException:
            self._drop()  # no later request may see a half-sent request or half-read response
            raise
        finally:
            _tracing.ours = False
            self._busy.release()

    def connect(self, request: httpx.Request) -> None:
        """Open the connection that ``request`` needs, with tunnel and TLS, and close it. Sends no request.

        Raises what ``handle_request`` raises if nothing was sent.
        """
        self._drop()
        self._network.only_connects = True
        try:
            with contextlib.suppress(Established):
                self.handle_request(request)
        finally:
            self._network.only_connects = False

    def close(self) -> None:
        self._drop()

    def _own_process(self) -> None:
        """Start without a connection: a forked child must not share the parent's socket or lock."""
        self._process = os.getpid()
        self._busy = threading.Lock()
        self._network = DeadlineNetwork()
        self._connection: Connection | None = None
        self._origin: httpcore.Origin | None = None

    def _drop(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def _exchange(self, request: httpx.Request) -> httpx.Response:
        deadline: Deadline = request.extensions.get(DEADLINE) or Deadline(DEFAULT_DEADLINE_SECONDS)
        if deadline.left() <= 0:
            raise httpx.ConnectTimeout("time limit reached before the request was sent", request=request)
        self._network.deadline = deadline
        answer = self._answer(request)
        try:
            return _bounded(answer.status, answer.headers, answer.stream, request)
        finally:
            answer.close()  # closes the connection if the body was not read to its end

    def _answer(self, request: httpx.Request) -> Incoming:
        """The head of the response. A kept-alive connection that fails before it accepted a byte of the
        request is replaced: nothing was sent, so this is not a retry."""
        url = request.url
        origin = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/").origin
        connection = self._clean_connection(origin)
        while True:
            kept = connection is not None
            self._network.handed_over = 0
            try:
                if connection is None:
                    connection = self._open_connection(origin)
                answer = connection.respond(request)
                if not self._network.request_sent:
                    raise httpcore.ConnectError("a response came before the request was sent")
                return answer
            except (Halted, Established):
                raise
            except Exception as error:  # noqa: BLE001 - if nothing was sent, the outcome must not be unknown
                unwritable = isinstance(error, httpcore.LocalProtocolError)
                if unwritable or not kept or self._network.request_sent:
                    self._raise_as_httpx(error, request)
            connection = None

    def _clean_connection(self, origin: httpcore.Origin) -> Connection | None:
        """The kept-alive connection if it is open, young, and no byte has arrived since its last response."""
        connection = self._connection
        if connection is None or origin != self._origin:
            return None
        return connection if connection.is_clean() else None

    def _open_connection(self, origin: httpcore.Origin) -> Connection:
        self._drop()
        self._origin = origin
        over_tls = (origin.scheme, self._proxy and self._proxy.url.raw_scheme)
        self._network.layers = -1
        self._network.wanted_layers = over_tls.count(b"https")
        self._connection = self._new_connection(origin)
        return self._connection

    def _new_connection(self, origin: httpcore.Origin) -> Connection:
        context = contexts.get(self._ca_bundle, self._client_cert) if origin.scheme == b"https" else None
        if self._proxy is None and http.httptools is not None:
            return HttptoolsConnection(
                origin, network=self._network, ssl_context=context, keepalive_seconds=KEEPALIVE_SECONDS
            )
        if self._proxy is None:
            return H11Connection(
                httpcore.HTTPConnection(
                    origin,
                    ssl_context=context,
                    keepalive_expiry=KEEPALIVE_SECONDS,
                    network_backend=self._network,
                )
            )
        proxy = self._proxy.url
        through = httpcore.HTTPProxy(
            httpcore.URL(scheme=proxy.raw_scheme, host=proxy.raw_host, port=proxy.port, target=b"/"),
            proxy_auth=self._proxy.raw_auth,
            ssl_context=context,
            proxy_ssl_context=contexts.get(self._ca_bundle) if proxy.scheme == "https" else None,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=self._network,
        )
        return H11Connection(through.create_connection(origin))

    def _raise_as_httpx(self, error: Exception, request: httpx.Request) -> NoReturn:
        kind = next((theirs for ours, theirs in _AS_HTTPX.items() if isinstance(error, ours)), None)
        text = type(error).__name__ if kind is None else str(error)
        if kind is None and not isinstance(error, OSError):
            report(error, "A connection failed because of a bug: %s", text)
        if kind is httpx.LocalProtocolError:
            text = "a header or the path of the request contains a character that HTTP does not allow"
        elif kind not in _NOT_SENT and not self._network.request_sent:
            kind, text = self._not_sent(kind, text)
        if kind is None:
            raise error
        raise kind(text, request=request) from error

    def _not_sent(
        self, kind: type[httpx.TransportError] | None, text: str
    ) -> tuple[type[httpx.TransportError], str]:
        """Exception class and text for a failure before the first byte of the request."""
        in_tunnel = self._proxy is not None and 0 <= self._network.layers < self._network.wanted_layers
        text = f"{'the proxy opened no tunnel' if in_tunnel else 'the request was not sent'}: {text}"
        if kind is not None and issubclass(kind, httpx.TimeoutException):
            return httpx.ConnectTimeout, text
        if in_tunnel and kind is httpx.RemoteProtocolError and not self._network.ended:
            return httpx.ProxyError, text  # it responds, but not as a proxy does
        return httpx.ConnectError, text


def read_answer(response: httpx.Response, request: httpx.Request) -> httpx.Response:
    """The ``response`` of any transport, read and closed, within the bounds of ``DirectTransport``."""
    if response.is_closed:
        response.request = request
        return response
    try:
        return _bounded(response.status_code, response.headers.raw, response.iter_raw(), request)
    finally:
        response.close()


def _bounded(
    status: int, headers: Sequence[tuple[bytes, bytes]], body: Iterable[bytes], request: httpx.Request
) -> httpx.Response:
    """A read ``httpx.Response``. Its content is empty, with the reason in its extensions, if the body is
    larger than 1 MiB, incomplete, or encoded although no encoding was requested (it is never decoded)."""
    kept: list[tuple[bytes, bytes]] = []
    encodings: list[bytes] = []
    for header in headers:
        if header[0].lower() == b"content-encoding":
            encodings.append(header[1].strip().lower())
        else:
            kept.append(header)
    content, problem, broken_off = _read(body)
    if not problem and any(encoding not in {b"", b"identity"} for encoding in encodings):
        content, problem = b"", "the body is compressed, which was not requested"
    extensions = {BODY_PROBLEM: problem, BROKEN_OFF: broken_off} if problem else None
    return httpx.Response(status, headers=kept, content=content, request=request, extensions=extensions)


def _read(body: Iterable[bytes]) -> tuple[bytes, str, str]:
    """The content, why it is unusable, and how it broke off (may quote it); else "" for each."""
    content = bytearray()  # not a list: a part may be a single byte
    try:
        for part in body:
            content += part
            if len(content) > MAX_ANSWER_BYTES:
                return b"", f"the body is larger than {MAX_ANSWER_BYTES} bytes", ""
    except _BODY_ERRORS as error:
        return b"", "the body broke off", str(error) or type(error).__name__
    return bytes(content), "", ""


_AS_HTTPX: dict[type[Exception], type[httpx.TransportError]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.ConnectionNotAvailable: httpx.PoolTimeout,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.ProxyError: httpx.ProxyError,
    httpcore.UnsupportedProtocol: httpx.UnsupportedProtocol,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
}
_BODY_ERRORS: tuple[type[Exception], ...] = (*_AS_HTTPX, httpx.TransportError)
_NOT_SENT = (
    httpx.ConnectTimeout,
    httpx.ConnectError,
    httpx.ProxyError,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
)


class _StepsOnly(logging.Filter):
    """Reduces httpcore's trace of our requests to step names: arguments contain what servers send."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(_tracing, "ours", False):
            record.msg, record.args = str(record.msg).partition(" ")[0], None
        return True


_STEPS_ONLY = _StepsOnly()
_tracing = threading.local()
