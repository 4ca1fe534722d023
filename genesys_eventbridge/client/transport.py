"""One connection per sender, one total deadline per request, bounded reads: an ``httpx.BaseTransport``."""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import httpcore
import httpx

from genesys_eventbridge import __version__
from genesys_eventbridge.client.sockets import Deadline, DeadlineNetwork
from genesys_eventbridge.defects import report
from genesys_eventbridge.errors import Halted
from genesys_eventbridge.tls import ClientCertificate, contexts

USER_AGENT = f"genesys-eventbridge/{__version__} httpx/{httpx.__version__} python/{platform.python_version()}"
MAX_ANSWER_BYTES = 1024 * 1024
#: Where a request carries the ``Deadline`` of the publish or check it belongs to.
DEADLINE = "deadline"
#: Where an answer says why its body could not be used; the content is then empty.
BODY_PROBLEM = "body_problem"
#: Where an answer says why its body did not arrive whole: trouble of the network, not of what answers. The
#: words may quote the body.
BROKEN_OFF = "broken_off"
#: For a request that carries no deadline of its own.
DEFAULT_DEADLINE_SECONDS = 20.0
#: An idle connection older than this is not trusted: a gateway may have forgotten it without a word.
KEEPALIVE_SECONDS = 15.0


class DirectTransport(httpx.BaseTransport):
    """Sends each request over one kept connection and reads the whole answer within one deadline.

    For one thread at a time and meant for one origin: another origin, a closed or an expired connection, and
    one on which a byte has come since its last answer, opens a new one.
    ``request.extensions["deadline"]`` is the ``Deadline`` that bounds connecting, TLS, every write and every
    read; the connect timeout is ``request.extensions["timeout"]["connect"]``.

    The answer comes read, of at most 1 MiB. A body that is larger, broken off or encoded (none was asked for)
    comes empty, with the reason in ``response.extensions["body_problem"]``, and ``["broken_off"]`` says how
    it ended if it did not arrive whole. Redirects are not followed.
    TLS is always verified, against ``ca_bundle`` (a PEM file or folder) or the certificates of certifi;
    ``client_cert`` is shown to the origin if it asks, never to a proxy. Both are read again when their
    files change. The only proxy is ``proxy`` (``http://user:password@host:port``). The environment is not
    consulted.

    Raises httpx's exceptions. ConnectError, ConnectTimeout, ProxyError and PoolTimeout mean that nothing was
    sent: whatever fails before the kernel has taken the first byte of the request becomes one of these, also
    when a kept connection fails and the new one that replaces it. Raises ``Halted`` if ``ca_bundle`` or
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
        self._own_process()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
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
            self._drop()  # whatever is half sent or half read on it, no later request may meet
            raise
        finally:
            _tracing.ours = False
            self._busy.release()

    def close(self) -> None:
        self._drop()

    def _own_process(self) -> None:
        """Begin without a connection: a forked child must share neither the parent's socket nor its lock."""
        self._process = os.getpid()
        self._busy = threading.Lock()
        self._network = DeadlineNetwork()
        self._connection: httpcore.ConnectionInterface | None = None
        self._origin: httpcore.Origin | None = None

    def _drop(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def _exchange(self, request: httpx.Request) -> httpx.Response:
        deadline: Deadline = request.extensions.get(DEADLINE) or Deadline(DEFAULT_DEADLINE_SECONDS)
        if deadline.left() <= 0:
            raise httpx.ConnectTimeout("no time was left to send the request", request=request)
        self._network.deadline = deadline
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        outgoing = httpcore.Request(
            request.method,
            target,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        answer = self._answer(outgoing, request)
        try:
            return _bounded(answer.status, answer.headers, answer.stream, request)  # type: ignore[arg-type]
        finally:
            answer.close()  # where the body was not read to its end, this closes the connection

    def _answer(self, outgoing: httpcore.Request, request: httpx.Request) -> httpcore.Response:
        """The head of the answer. A kept connection that fails before it has taken a byte of the request is
        replaced: nothing was sent, so this is no second try."""
        origin = outgoing.url.origin
        connection = self._clean_connection(origin)
        while True:
            kept = connection is not None
            self._network.handed_over = 0
            try:
                if connection is None:
                    connection = self._open_connection(origin)
                answer = connection.handle_request(outgoing)
                if not self._network.request_sent:
                    raise httpcore.ConnectError("an answer came before the request was sent")
                return answer
            except Halted:
                raise
            except Exception as error:  # noqa: BLE001 - where nothing was sent, no class may put it in doubt
                unwritable = isinstance(error, httpcore.LocalProtocolError)
                if unwritable or not kept or self._network.request_sent:
                    self._raise_as_httpx(error, request)
            connection = None

    def _clean_connection(self, origin: httpcore.Origin) -> httpcore.ConnectionInterface | None:
        """The kept connection where it is open, young, and no byte has come since its last answer."""
        connection = self._connection
        if connection is None or origin != self._origin or connection.is_closed() or connection.has_expired():
            return None
        return connection if _unparsed(connection) == b"" else None

    def _open_connection(self, origin: httpcore.Origin) -> httpcore.ConnectionInterface:
        self._drop()
        self._origin = origin
        over_tls = (origin.scheme, self._proxy and self._proxy.url.raw_scheme)
        self._network.layers = -1
        self._network.wanted_layers = over_tls.count(b"https")
        self._connection = self._new_connection(origin)
        return self._connection

    def _new_connection(self, origin: httpcore.Origin) -> httpcore.ConnectionInterface:
        context = contexts.get(self._ca_bundle, self._client_cert) if origin.scheme == b"https" else None
        if self._proxy is None:
            return httpcore.HTTPConnection(
                origin,
                ssl_context=context,
                keepalive_expiry=KEEPALIVE_SECONDS,
                network_backend=self._network,
            )
        proxy = self._proxy.url
        return httpcore.HTTPProxy(
            httpcore.URL(scheme=proxy.raw_scheme, host=proxy.raw_host, port=proxy.port, target=b"/"),
            proxy_auth=self._proxy.raw_auth,
            ssl_context=context,
            proxy_ssl_context=contexts.get(self._ca_bundle) if proxy.scheme == "https" else None,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=self._network,
        ).create_connection(origin)

    def _raise_as_httpx(self, error: Exception, request: httpx.Request) -> NoReturn:
        kind = next((theirs for ours, theirs in _AS_HTTPX.items() if isinstance(error, ours)), None)
        text = type(error).__name__ if kind is None else str(error)
        if kind is None and not isinstance(error, OSError):
            report(error, "A connection failed by a defect: %s", text)
        if kind is httpx.LocalProtocolError:
            text = "a header or the path of the request holds a character that HTTP does not allow"
        elif kind not in _NOT_SENT and not self._network.request_sent:
            kind, text = self._not_sent(kind, text)
        if kind is None:
            raise error
        raise kind(text, request=request) from error

    def _not_sent(
        self, kind: type[httpx.TransportError] | None, text: str
    ) -> tuple[type[httpx.TransportError], str]:
        """The class of a failure before the first byte of the request, and where it happened."""
        in_tunnel = self._proxy is not None and 0 <= self._network.layers < self._network.wanted_layers
        text = f"{'the proxy opened no tunnel' if in_tunnel else 'the request was not sent'}: {text}"
        if kind is not None and issubclass(kind, httpx.TimeoutException):
            return httpx.ConnectTimeout, text
        if in_tunnel and kind is httpx.RemoteProtocolError and not self._network.ended:
            return httpx.ProxyError, text  # it answers, but not as a proxy does
        return httpx.ConnectError, text


def _unparsed(connection: httpcore.ConnectionInterface) -> bytes | None:
    """What the parser of an idle connection holds beyond its last answer; None if it cannot be seen.

    httpcore has no public name for it. When it moves, no connection is reused any more, and
    ``test_requests_share_one_connection`` fails.
    """
    inner: Any = connection
    try:
        while not hasattr(inner, "_h11_state"):
            inner = inner._connection  # HTTPConnection and the two kinds of proxy wrap it
        trailing: bytes = inner._h11_state.trailing_data[0]
    except AttributeError:
        return None
    return trailing


def read_answer(response: httpx.Response, request: httpx.Request) -> httpx.Response:
    """``response`` of any transport, read and closed, with the bounds of ``DirectTransport`` where unread."""
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
    """A read ``httpx.Response``; its content is empty, and the reason in its extensions, where the body is
    larger than 1 MiB, broken off, or encoded without being asked for (it is never decoded)."""
    kept: list[tuple[bytes, bytes]] = []
    encodings: list[bytes] = []
    for header in headers:
        if header[0].lower() == b"content-encoding":
            encodings.append(header[1].strip().lower())
        else:
            kept.append(header)
    content, problem, broken_off = _read(body)
    if not problem and any(encoding not in {b"", b"identity"} for encoding in encodings):
        content, problem = b"", "the body is compressed, which was not asked for"
    extensions = {BODY_PROBLEM: problem, BROKEN_OFF: broken_off} if problem else None
    return httpx.Response(status, headers=kept, content=content, request=request, extensions=extensions)


def _read(body: Iterable[bytes]) -> tuple[bytes, str, str]:
    """The content, or why there is none, and how it broke off: in words that may quote it."""
    parts: list[bytes] = []
    size = 0
    try:
        for part in body:
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                return b"", f"the body is larger than {MAX_ANSWER_BYTES} bytes", ""
            parts.append(part)
    except _BODY_ERRORS as error:
        return b"", "the body broke off", str(error) or type(error).__name__
    return b"".join(parts), "", ""


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
    """Keeps of httpcore's trace of our requests the step's name: its arguments hold what servers echo."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(_tracing, "ours", False):
            record.msg, record.args = str(record.msg).partition(" ")[0], None
        return True


_tracing = threading.local()
for _name in ("httpcore.connection", "httpcore.http11", "httpcore.proxy"):
    logging.getLogger(_name).addFilter(_StepsOnly())
