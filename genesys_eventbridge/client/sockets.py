"""Sockets for httpcore on which every wait ends at one total deadline, also in TLS and through proxies."""

from __future__ import annotations

import abc
import contextlib
import functools
import math
import select
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from genesys_eventbridge import steady
from genesys_eventbridge.client.http import httpcore
from genesys_eventbridge.tls import certificate_alert

Result = TypeVar("Result")

RECORD_BYTES = 64 * 1024
#: The socket functions reject an infinite timeout.
LONGEST_WAIT = 3600.0


class Deadline:
    """The time by which a publish or check must be over, including token, refresh and second request.

    It lies ``seconds`` ahead, by a monotonic ``clock``.
    """

    __slots__ = ("_clock", "_end")

    def __init__(self, seconds: float, clock: Callable[[], float] = steady.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def left(self, timeout: float | None = None) -> float:
        """Seconds left, at most ``timeout``; 0.0 once it has passed."""
        left = max(self._end - self._clock(), 0.0)
        return left if timeout is None else min(left, timeout)


class Established(Exception):
    """The connection stands and the request would be written now; see ``DeadlineNetwork.only_connects``."""


class DeadlineNetwork(httpcore.NetworkBackend):
    """Opens connections on which every wait ends at ``deadline``, which the owner sets before each request.

    It tracks how far the latest connection has got, and so what may have been sent. Before a connection is
    opened, the owner sets ``wanted_layers``, the number of TLS layers that a request needs. ``layers`` is
    how many there are: 0 over plain TCP, -1 without a connection. ``handed_over`` counts the bytes accepted
    by the kernel since the last layer was added or the owner set it to 0. ``ended`` is True if the other
    side has closed its end. If ``only_connects`` is set, writing the request raises Established instead.
    """

    def __init__(self) -> None:
        self.deadline = Deadline(0.0)
        self.wanted_layers = 0
        self.layers = -1
        self.handed_over = 0
        self.ended = False
        self.only_connects = False

    def about_to_write(self) -> None:
        if self.only_connects and self.established:
            raise Established

    @property
    def established(self) -> bool:
        """Whether the request itself is being written, not a tunnel or a handshake."""
        return self.layers >= self.wanted_layers

    @property
    def request_sent(self) -> bool:
        """Whether a byte of the request may have left this host: the kernel has accepted it."""
        return self.established and self.handed_over > 0

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        self.layers = -1
        self.ended = False
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"no address for {host}: {error}") from error
        failures: list[OSError] = []
        for tried, (family, kind, protocol, _, address) in enumerate(addresses):
            # An equal share each: an address that drops packets leaves time for the next.
            share = self.deadline.left(LONGEST_WAIT) / (len(addresses) - tried)
            if share <= 0:
                raise httpcore.ConnectTimeout(f"no connection to {host} in time")
            try:
                sock = _connected(
                    family, kind, protocol, address, share if timeout is None else min(share, timeout)
                )
            except OSError as error:
                failures.append(error)
            else:
                self.layers = 0
                self.handed_over = 0
                return SocketStream(sock, self)
        raise _no_connection(host, failures)


def _connected(family: int, kind: int, protocol: int, address: Any, timeout: float) -> socket.socket:
    """Also raises OSError if no socket can be created: no file descriptor is free, or IPv6 is disabled."""
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(timeout)
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _no_connection(host: str, failures: list[OSError]) -> Exception:
    """Why no address could be reached, with each reason once. The cause is the last failure."""
    refused = [failure for failure in failures if not isinstance(failure, TimeoutError)]
    failure: Exception
    if failures and not refused:
        failure = httpcore.ConnectTimeout(f"no connection to {host} in time")
    else:
        reasons = "; ".join(dict.fromkeys(map(str, refused))) or "it has no address"
        failure = httpcore.ConnectError(f"no connection to {host}: {reasons}")
    failure.__cause__ = refused[-1] if refused else None
    return failure


class _Stream(httpcore.NetworkStream, abc.ABC):
    """Common to both kinds of stream: becoming the lower layer of TLS."""

    network: DeadlineNetwork

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        try:
            stream = TLSStream(self, ssl_context, server_hostname, timeout)
        except BaseException:
            self.close()
            raise
        self.network.layers += 1
        self.network.handed_over = 0
        return stream

    @abc.abstractmethod
    def flush(self, timeout: float | None) -> None: ...


class SocketStream(_Stream):
    """A TCP connection. Writes are sent with the next read, so headers and body share a packet."""

    def __init__(self, sock: socket.socket, network: DeadlineNetwork) -> None:
        sock.setblocking(False)
        self.network = network
        self._sock = sock
        self._unsent: list[bytes] = []

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.network.about_to_write()
        self._unsent.append(buffer)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self.flush(timeout)
        except httpcore.WriteError:
            # A server may refuse and hang up before it has read the whole request: its response still counts.
            # Bytes that arrive before a byte of the request was accepted are not a response to it.
            if self.network.established and not self.network.request_sent:
                raise
        try:
            while True:
                if not self._ready(timeout, writing=False):
                    raise httpcore.ReadTimeout("no complete response in time")
                with contextlib.suppress(BlockingIOError):
                    data = self._sock.recv(max_bytes)
                    self.network.ended = not data
                    return data
        except (OSError, ValueError) as error:
            raise httpcore.ReadError(
                f"the connection broke before the response was complete: {error}"
            ) from error

    def flush(self, timeout: float | None) -> None:
        data = memoryview(b"".join(self._unsent))
        self._unsent.clear()
        try:
            while data:
                # A process that was frozen since the request began must not send it after its lease.
                if self.network.deadline.left() <= 0:
                    raise httpcore.WriteTimeout("the request could not be sent in time")
                try:
                    taken = self._sock.send(data)
                    self.network.handed_over += taken
                    data = data[taken:]
                except BlockingIOError:
                    if not self._ready(timeout, writing=True):
                        raise httpcore.WriteTimeout("the request could not be sent in time") from None
        except (OSError, ValueError) as error:
            raise httpcore.WriteError(f"the connection broke during the request: {error}") from error

    def close(self) -> None:
        self._sock.close()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._sock.fileno() < 0 or ready(self._sock, 0.0, writing=False)
        return {"socket": self._sock}.get(info)

    def _ready(self, timeout: float | None, *, writing: bool) -> bool:
        """False once the time limit is reached, even if bytes wait: an endless response must end."""
        seconds = self.network.deadline.left(timeout)
        return seconds > 0 and ready(self._sock, seconds, writing=writing)


class TLSStream(_Stream):
    """TLS over another stream, using that stream's waits. Stacks: TLS to the platform in TLS to a proxy."""

    def __init__(
        self, lower: _Stream, context: ssl.SSLContext, server_hostname: str | None, timeout: float | None
    ) -> None:
        self.network = lower.network
        self._lower = lower
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._heard = False
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        try:
            self._run(self._tls.do_handshake, timeout)
        except httpcore.TimeoutException as error:
            raise httpcore.ConnectTimeout("no TLS handshake in time") from error
        except (httpcore.NetworkError, ssl.SSLError) as error:
            with contextlib.suppress(httpcore.NetworkError, httpcore.TimeoutException):
                self._push(timeout)  # the alert that tells the server why
                lower.flush(timeout)
            raise httpcore.ConnectError(f"no TLS connection: {error}") from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.network.about_to_write()
        data = memoryview(buffer)
        try:
            while data:
                data = data[self._run(functools.partial(self._tls.write, data), timeout) :]
        except ssl.SSLError as error:
            raise httpcore.WriteError(f"TLS broke during the request: {error}") from error

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            data = self._run(functools.partial(self._tls.read, max_bytes), timeout)
        except (
            ssl.SSLError
        ) as error:  # includes an end without a TLS close: a partial response is not a response
            if not self._heard and certificate_alert(error):
                # With TLS 1.3 our handshake ends before the server has checked our certificate. Its refusal
                # comes with the first read, and it has read nothing that we sent since.
                raise httpcore.ConnectError(f"no TLS connection: {error}") from error
            raise httpcore.ReadError(f"TLS broke before the response was complete: {error}") from error
        self._heard = self._heard or bool(data)
        self.network.ended = not data
        return data

    def flush(self, timeout: float | None) -> None:
        self._lower.flush(timeout)

    def close(self) -> None:
        self._lower.close()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and (self._incoming.pending or self._tls.pending()):
            return True  # bytes beyond the response
        return self._tls if info == "ssl_object" else self._lower.get_extra_info(info)

    def _run(self, step: Callable[[], Result], timeout: float | None) -> Result:
        """Repeat ``step`` while it needs more bytes from the peer."""
        limit = Deadline(math.inf if timeout is None else timeout)
        while True:
            # Only the step in here: a network error must not carry a TLS error as its context.
            with contextlib.suppress(ssl.SSLWantReadError):
                result = step()
                self._push(timeout)
                return result
            self._push(timeout)
            data = self._lower.read(RECORD_BYTES, limit.left())
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _push(self, timeout: float | None) -> None:
        if self._outgoing.pending:
            self._lower.write(self._outgoing.read(), timeout)


def _ready_by_poll(sock: socket.socket, seconds: float, *, writing: bool) -> bool:
    poller = select.poll()
    poller.register(sock, select.POLLOUT if writing else select.POLLIN)
    return bool(poller.poll(min(seconds, LONGEST_WAIT) * 1000))


def _ready_by_select(sock: socket.socket, seconds: float, *, writing: bool) -> bool:
    reading, written = ([], [sock]) if writing else ([sock], [])
    return any(select.select(reading, written, [sock], min(seconds, LONGEST_WAIT)))


#: Whether the socket becomes readable or writable (or fails) within ``seconds``. poll accepts any file
#: descriptor; Windows has only select.
ready = _ready_by_poll if hasattr(select, "poll") else _ready_by_select
