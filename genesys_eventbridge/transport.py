"""One connection per sender, one total deadline per request, bounded reads: an ``httpx.BaseTransport``."""

from __future__ import annotations

import functools
import logging
import os
import ssl
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import httpcore
import httpx

from genesys_eventbridge.errors import Halted
from genesys_eventbridge.network import Deadline, DeadlineNetwork

MAX_ANSWER_BYTES = 1024 * 1024
#: Where a request carries the ``Deadline`` of the publish or check it belongs to.
DEADLINE = "deadline"
#: Where an answer says why its body could not be used; the content is then empty.
BODY_PROBLEM = "body_problem"
#: For a request that carries no deadline of its own.
DEFAULT_DEADLINE_SECONDS = 20.0
#: An idle connection older than this is not trusted: a gateway may have forgotten it without a word.
KEEPALIVE_SECONDS = 15.0


class DirectTransport(httpx.BaseTransport):
    """Sends each request over one kept connection and reads the whole answer within one deadline.

    For one thread at a time and meant for one origin: another origin, a closed or an expired connection
    opens a new one. ``request.extensions["deadline"]`` is the ``Deadline`` that bounds connecting, TLS, every
    write and every read; the connect timeout is ``request.extensions["timeout"]["connect"]``.

    The answer comes read, of at most 1 MiB. A body that is larger, broken off or encoded (none was asked for)
    comes empty, with the reason in ``response.extensions["body_problem"]``. Redirects are not followed.
    TLS is always verified, against ``ca_bundle`` (a PEM file or folder) or the certificates of certifi; the
    only proxy is ``proxy`` (``http://user:password@host:port``). The environment is not consulted.

    Raises httpx's exceptions: ConnectError and ConnectTimeout mean that nothing was sent. Raises
    ``Halted(config)`` where ``ca_bundle`` cannot be read.
    """

    def __init__(self, *, ca_bundle: str | None = None, proxy: str | None = None) -> None:
        self._ca_bundle = ca_bundle
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
            self._drop()  # whatever is half sent or half read on it, nobody shall meet
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
        try:
            answer = self._connected(target.origin).handle_request(outgoing)
        except _HTTPCORE_ERRORS as error:
            self._raise_as_httpx(error, request)
        if self._network.unsent:  # it lay there since the request before: a second answer to that one
            raise httpx.RemoteProtocolError("an answer came before the request was sent", request=request)
        try:
            return _bounded(answer.status, answer.headers, answer.stream, request)  # type: ignore[arg-type]
        finally:
            answer.close()  # where the body was not read to its end, this closes the connection

    def _connected(self, origin: httpcore.Origin) -> httpcore.ConnectionInterface:
        connection = self._connection
        if connection is None or origin != self._origin or connection.is_closed() or connection.has_expired():
            self._drop()
            self._origin = origin
            connection = self._connection = self._new_connection(origin)
        return connection

    def _new_connection(self, origin: httpcore.Origin) -> httpcore.ConnectionInterface:
        context = ssl_context(self._ca_bundle) if origin.scheme == b"https" else None
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
            proxy_ssl_context=ssl_context(self._ca_bundle) if proxy.scheme == "https" else None,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=self._network,
        ).create_connection(origin)

    def _raise_as_httpx(self, error: Exception, request: httpx.Request) -> NoReturn:
        text = str(error)
        kind = next(theirs for ours, theirs in _AS_HTTPX.items() if isinstance(error, ours))
        if kind is httpx.LocalProtocolError:
            text = "a header or the path of the request holds a character that HTTP does not allow"
        elif self._tunnel_unfinished() and kind not in _NOT_SENT:
            kind = httpx.ConnectTimeout if issubclass(kind, httpx.TimeoutException) else httpx.ProxyError
            text = f"the proxy opened no tunnel: {text}"
        raise kind(text, request=request) from error

    def _tunnel_unfinished(self) -> bool:
        """Whether a proxy stands between us and a platform that cannot have seen a byte yet."""
        if self._proxy is None or self._origin is None or self._origin.scheme != b"https":
            return False
        return self._network.handshakes < (2 if self._proxy.url.scheme == "https" else 1)


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
    content, problem = _read(body)
    if not problem and any(encoding not in {b"", b"identity"} for encoding in encodings):
        content, problem = b"", "the body is compressed, which was not asked for"
    extensions = {BODY_PROBLEM: problem} if problem else None
    return httpx.Response(status, headers=kept, content=content, request=request, extensions=extensions)


def _read(body: Iterable[bytes]) -> tuple[bytes, str]:
    parts: list[bytes] = []
    size = 0
    try:
        for part in body:
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                return b"", f"the body is larger than {MAX_ANSWER_BYTES} bytes"
            parts.append(part)
    except _BODY_ERRORS as error:
        return b"", f"the body broke off: {error}"
    return b"".join(parts), ""


@functools.lru_cache(maxsize=16)
def ssl_context(ca_bundle: str | None) -> ssl.SSLContext:
    """One context for every connection with this ``ca_bundle``: to build one takes 40 ms.

    It verifies chain and host name with TLS 1.2 or later. Raises ``Halted(config)`` where the file or folder
    cannot be read.
    """
    try:
        if ca_bundle is None:
            context = httpx.create_ssl_context(trust_env=False)
        elif Path(ca_bundle).is_dir():
            context = ssl.create_default_context(capath=ca_bundle)
        else:
            context = ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:
        raise Halted(
            f"CA_BUNDLE {ca_bundle} cannot be read ({error}); name a PEM file or folder, or leave it out",
            kind="config",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


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
_HTTPCORE_ERRORS: tuple[type[Exception], ...] = tuple(_AS_HTTPX)
_BODY_ERRORS: tuple[type[Exception], ...] = (*_HTTPCORE_ERRORS, httpx.TransportError)
_NOT_SENT = (httpx.ConnectTimeout, httpx.ConnectError, httpx.ProxyError, httpx.PoolTimeout)


class _StepsOnly(logging.Filter):
    """Keeps of httpcore's trace of our requests the step's name: its arguments hold what servers echo."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(_tracing, "ours", False):
            record.msg, record.args = str(record.msg).partition(" ")[0], None
        return True


_tracing = threading.local()
for _name in ("httpcore.connection", "httpcore.http11", "httpcore.proxy"):
    logging.getLogger(_name).addFilter(_StepsOnly())
