"""One HTTP/1.1 connection to one origin, on httpcore and h11, or on httptools where it is installed.

Why there are two: between request and response, a sender spends 0.44 ms of CPU with httpcore and h11, and
0.17 with httptools (docs/benchmarks.md). Both have the same bounds; httptools is stricter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ssl import SSLContext
from typing import Any, Protocol

from genesys_eventbridge import steady
from genesys_eventbridge.client import http
from genesys_eventbridge.client.http import httpcore, httpx
from genesys_eventbridge.client.sockets import DeadlineNetwork

RawHeaders = Sequence[tuple[bytes, bytes]]

READ_BYTES = 64 * 1024
#: The most bytes without progress: a head, or what lies between two parts of a body. As h11 in httpcore.
MAX_HEAD_BYTES = 100 * 1024


class Incoming(Protocol):
    """A response of which the head has arrived. ``stream`` raises httpcore's exceptions."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> RawHeaders: ...
    @property
    def stream(self) -> Iterable[bytes]: ...
    def close(self) -> None: ...


class Connection(Protocol):
    """What ``DirectTransport`` needs of a connection. Raises httpcore's exceptions."""

    def respond(self, request: httpx.Request) -> Incoming:
        """Connect if needed, send the request, and read the head of its response."""

    def is_clean(self) -> bool:
        """Whether it is open and young, and no byte has arrived since its last response."""

    def close(self) -> None: ...


class H11Connection:
    """A connection of httpcore, also through a proxy. Its parser is h11."""

    def __init__(self, connection: httpcore.ConnectionInterface) -> None:
        self._connection = connection

    def respond(self, request: httpx.Request) -> Incoming:
        url = request.url
        outgoing = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        return self._connection.handle_request(outgoing)  # type: ignore[return-value]

    def is_clean(self) -> bool:
        connection = self._connection
        if connection.is_closed() or connection.has_expired():
            return False
        return unparsed(connection) == b""

    def close(self) -> None:
        self._connection.close()


def unparsed(connection: httpcore.ConnectionInterface) -> bytes | None:
    """Bytes in the parser of an idle connection after its last response; None if they cannot be read.

    httpcore has no public API for it. If it moves, no connection is reused any more, and
    ``test_requests_share_one_connection`` fails.
    """
    inner: Any = connection
    try:
        while not hasattr(inner, "_h11_state"):
            inner = inner._connection  # wrapped by HTTPConnection and the two kinds of proxy
        trailing: bytes = inner._h11_state.trailing_data[0]
    except AttributeError:
        return None
    return trailing


class HttptoolsConnection:
    """A connection without a proxy. Its parser is httptools, and it sends each request in one piece."""

    def __init__(
        self,
        origin: httpcore.Origin,
        *,
        network: DeadlineNetwork,
        ssl_context: SSLContext | None,
        keepalive_seconds: float,
    ) -> None:
        self._origin = origin
        self._network = network
        self._ssl_context = ssl_context
        self._keepalive_seconds = keepalive_seconds
        self._stream: httpcore.NetworkStream | None = None
        #: Before this ``steady.monotonic()`` the connection may be used again.
        self._usable_until = 0.0

    def respond(self, request: httpx.Request) -> Incoming:
        timeouts = request.extensions.get("timeout") or {}
        outgoing = _in_one_piece(request)
        stream = self._stream or self._connect(timeouts.get("connect"))
        self._usable_until = 0.0
        stream.write(outgoing, timeouts.get("write"))
        return _Response(self, stream, timeouts.get("read"), has_body=request.method != "HEAD")

    def is_clean(self) -> bool:
        if self._stream is None or steady.monotonic() >= self._usable_until:
            return False
        return not self._stream.get_extra_info("is_readable")

    def finished(self, *, reusable: bool) -> None:
        """The response was read, or given up."""
        if reusable:
            self._usable_until = steady.monotonic() + self._keepalive_seconds
        else:
            self.close()

    def close(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.close()

    def _connect(self, timeout: float | None) -> httpcore.NetworkStream:
        host = self._origin.host.decode("ascii")
        stream = self._network.connect_tcp(host, self._origin.port, timeout)
        if self._ssl_context is not None:
            self._ssl_context.set_alpn_protocols(["http/1.1"])
            stream = stream.start_tls(self._ssl_context, host, timeout)
        self._stream = stream
        return stream


_FIRST_LINE = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+ [\x21-\x7e]+ HTTP/1\.1\r\n")
#: The grammar of h11: no control characters, no space around a value.
_FIELDS = re.compile(rb"(?:[-!#$%&'*+.^_`|~0-9A-Za-z]+: (?:[^\x00\s]+(?:[ \t]+[^\x00\s]+)*)?\r\n)*")


def _in_one_piece(request: httpx.Request) -> bytes:
    """The bytes of the request. Raises LocalProtocolError, without the value, if a header is not allowed."""
    fields = request.headers.raw
    first = b"%b %b HTTP/1.1\r\n" % (request.method.encode("ascii"), request.url.raw_path)
    lines = b"".join([b"%b: %b\r\n" % field for field in fields])
    # As many lines as fields: a line break within a field would begin another one.
    if lines.count(b"\n") != len(fields) or not _FIELDS.fullmatch(lines) or not _FIRST_LINE.fullmatch(first):
        raise httpcore.LocalProtocolError("illegal header or path")
    body = b"".join(request.stream)  # type: ignore[arg-type]
    if request.headers.get("Content-Length", "0") != str(len(body)) or "Transfer-Encoding" in request.headers:
        raise httpcore.LocalProtocolError("the length of the body is not the declared one")
    return b"%b%b\r\n%b" % (first, lines, body)


class _Response:
    """Reads one response. httptools calls the methods ``on_...``; they never raise."""

    def __init__(
        self,
        connection: HttptoolsConnection,
        stream: httpcore.NetworkStream,
        timeout: float | None,
        *,
        has_body: bool,
    ) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._connection = connection
        self._source = stream
        self._timeout = timeout
        self._has_body = has_body
        self._has_head = False
        self._complete = False
        self._keeps_alive = False
        self._ends_with_connection = False
        #: Bytes followed the response: they must not answer the next request.
        self._goes_on = False
        #: Why the body cannot be read on. The head counts nevertheless.
        self._broken: httpcore.RemoteProtocolError | None = None
        #: Bytes since the head or a part of the body was complete.
        self._silent = 0
        self._parts: list[bytes] = []
        self._parser: Any = http.httptools.HttpResponseParser(self)
        while not self._has_head:
            if not self._more():
                raise httpcore.RemoteProtocolError("Server disconnected without sending a response.")
        self._judge_framing()

    @property
    def stream(self) -> Iterator[bytes]:
        while True:
            parts, self._parts = self._parts, []
            if parts:
                yield b"".join(parts)  # one object per read: a chunk may be a single byte
            if self._complete:
                return
            if self._broken is not None:
                raise self._broken
            if not self._more():
                if not self._ends_with_connection:
                    raise httpcore.RemoteProtocolError(
                        "peer closed connection without sending complete message body"
                    )
                self._complete = True

    def close(self) -> None:
        self._parser = None  # it refers to this object
        self._connection.finished(reusable=self._complete and self._keeps_alive and not self._goes_on)

    def on_message_begin(self) -> None:
        self._goes_on = self._complete

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:  # else a trailer
            self.headers.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        self._silent = 0
        self.status = self._parser.get_status_code()
        if 100 <= self.status < 200:  # 100 Continue and the like: the response is yet to come
            self.headers.clear()
        else:
            self._has_head = True

    def on_body(self, data: bytes) -> None:
        if not self._complete:
            self._silent = 0
            self._parts.append(data)

    def on_message_complete(self) -> None:
        if self._has_head and not self._complete:
            self._complete = True
            self._keeps_alive = self._parser.should_keep_alive()

    def _more(self) -> bool:
        """Read and parse more bytes; False at the end of the connection. Raises if there is no head yet."""
        data = self._source.read(READ_BYTES, self._timeout)
        if not data:
            return False
        self._silent += len(data)
        broken = ""
        try:
            self._parser.feed_data(data)
        except http.httptools.HttpParserUpgrade:
            broken = "the server switched to another protocol"
        except http.httptools.HttpParserError as error:  # its text never contains bytes of the response
            broken = str(error)
        if self._complete:
            self._goes_on = self._goes_on or bool(broken) or not self._is_end(data)
        elif broken or self._silent > MAX_HEAD_BYTES:
            self._broken = httpcore.RemoteProtocolError(broken or "too many bytes between parts of the body")
            if not self._has_head:
                raise self._broken
        return True

    def _is_end(self, data: bytes) -> bool:
        """Whether ``data``, the last that was read, ends with the response. The parser skips line breaks
        after it without a word."""
        end = self._parts[-1] if self._parts and not self._is_chunked else b"\r\n\r\n"
        return data.endswith(end) and not data.endswith(b"\r\n\r\n\r\n")

    @property
    def _is_chunked(self) -> bool:
        return any(name.lower() == b"transfer-encoding" for name, _value in self.headers)

    def _judge_framing(self) -> None:
        """How the body ends. Raises if it is not clear where the response ends."""
        if not 200 <= self.status <= 999:
            raise httpcore.RemoteProtocolError("illegal status line")
        names = {name.lower() for name, _value in self.headers}
        if self._is_chunked:
            codings = [value.lower() for name, value in self.headers if name.lower() == b"transfer-encoding"]
            if codings != [b"chunked"]:
                raise httpcore.RemoteProtocolError("a transfer coding that was not requested")
        elif b"content-length" not in names:
            self._ends_with_connection = True
        if not self._has_body and not self._complete:
            self._complete = self._goes_on = True
