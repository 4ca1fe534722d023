"""The transport answers, fails and ends on time whatever the server on a real socket does."""

from __future__ import annotations

import errno
import gzip
import logging
import multiprocessing
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpcore
import httpx
import pytest

from genesys_eventbridge.client import http, sockets
from genesys_eventbridge.client.connections import H11Connection, HttptoolsConnection
from genesys_eventbridge.client.responses import BODY_PROBLEM, BROKEN_OFF
from genesys_eventbridge.client.responses.exceptions import failure_outcome
from genesys_eventbridge.client.sockets import Deadline
from genesys_eventbridge.client.transport import MAX_ANSWER_BYTES, DirectTransport
from genesys_eventbridge.errors import Halted
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict
from genesys_eventbridge.tls import contexts, new_context
from tests.parsers import parser  # noqa: F401 - each test runs with both
from tests.socket_server import (
    HANG,
    Conversation,
    Script,
    SocketServer,
    answer,
    proxy,
    relay,
    replies,
    self_signed,
)

SHORT = 0.3  # seconds, where nothing has to happen in them
ENOUGH = 1.0  # where something has to happen before they are over, on a busy machine too
LONG = 20.0


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    made = self_signed(tmp_path_factory.mktemp("tls"))
    if made is None:
        pytest.skip("the openssl program is not installed")
    return made


@pytest.fixture(params=["http", "https"])
def serve(request: pytest.FixtureRequest) -> Callable[[Script], SocketServer]:
    """SocketServer over http and over https."""
    if request.param == "http":
        return SocketServer
    context, _ = request.getfixturevalue("tls")
    return lambda script: SocketServer(script, tls=context)


@pytest.fixture
def transport(request: pytest.FixtureRequest) -> Iterator[DirectTransport]:
    ca_bundle = request.getfixturevalue("tls")[1] if "https" in request.node.name else None
    with DirectTransport(ca_bundle=ca_bundle) as made:
        yield made


def post(url: str, seconds: float = LONG, body: bytes = b"{}", **options) -> httpx.Request:
    return httpx.Request("POST", url, content=body, extensions={"deadline": Deadline(seconds)} | options)


class Interrupted(SystemExit):
    """What django-q2 raises from its alarm."""


def root_of(error: BaseException) -> BaseException:
    return root_of(error.__cause__) if error.__cause__ else error


def after_request(act: Callable[[Conversation], object]) -> Script:
    def script(talk: Conversation) -> None:
        talk.read_request()
        act(talk)

    return script


HEAD = b"HTTP/1.1 202 Accepted\r\nContent-Length: 900000\r\n\r\n"
CHUNKED = b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

NO_ANSWER = {
    "stalls": lambda talk: talk.stall(),
    "drips the status line": lambda talk: talk.drip(b"HTTP/1.1 202 ", b"A"),
    "drips headers": lambda talk: talk.drip(b"HTTP/1.1 202 Accepted\r\nX-Long: ", b"a"),
    "sends 100 Continue for ever": lambda talk: talk.drip(b"", CONTINUE),
    "floods 100 Continue": lambda talk: talk.flood(b"", CONTINUE),
}


@pytest.mark.parametrize("act", NO_ANSWER.values(), ids=NO_ANSWER.keys())
def test_an_answer_that_does_not_begin_in_time_is_a_read_timeout(serve, transport, act):
    """The deadline holds also while headers drip, where a timeout per read never ends."""
    begun = time.monotonic()
    with serve(after_request(act)) as server:
        with pytest.raises(httpx.ReadTimeout) as caught:
            transport.handle_request(post(server.url, SHORT))

        assert caught.value.request.url == server.url
        assert time.monotonic() - begun < HANG


BROKEN_BODY = {
    "drips the body": (lambda talk: talk.drip(HEAD, b"a"), "in time"),
    "drips chunks": (lambda talk: talk.drip(CHUNKED, b"1\r\na\r\n"), "in time"),
    "stalls in the body": (lambda talk: (talk.send(HEAD), talk.stall()), "in time"),
    "sends a body without end": (
        lambda talk: talk.flood(CHUNKED, b"8000\r\n" + b"a" * 0x8000 + b"\r\n"),
        "larger",
    ),
    "sends 2 MB": (lambda talk: talk.answer(202, b"a" * 2_000_000), "larger"),
    "sends half a body": (lambda talk: talk.send(HEAD + b"{}"), "broke off"),
    "leaves out the last chunk": (lambda talk: talk.send(CHUNKED + b"2\r\n{}\r\n"), "broke off"),
    "breaks a chunk": (lambda talk: talk.send(CHUNKED + b"zz\r\n"), "broke off"),
    "sends a chunk's head without end": (
        lambda talk: talk.flood(CHUNKED + b"1;", b"a" * 0x8000),
        "broke off",
    ),
    "sends trailers without end": (
        lambda talk: talk.flood(CHUNKED + b"0\r\n", b"X-A: " + b"a" * 0x8000 + b"\r\n"),
        "broke off",
    ),
}


@pytest.mark.parametrize(("act", "problem"), BROKEN_BODY.values(), ids=BROKEN_BODY.keys())
def test_a_body_that_cannot_be_used_leaves_the_status_and_says_why(serve, transport, act, problem):
    with serve(after_request(act)) as server:
        response = transport.handle_request(post(server.url, ENOUGH if problem == "in time" else LONG))

        assert response.status_code == 202
        assert problem in f"{response.extensions[BODY_PROBLEM]} {response.extensions[BROKEN_OFF]}"
        assert bool(response.extensions[BROKEN_OFF]) is (problem != "larger")
        assert response.content == b""


def test_a_reset_in_the_body_is_never_an_answer_with_content(serve, transport):
    """Whether the status is still read depends on what the kernel throws away with the RST."""

    def script(talk: Conversation) -> None:
        talk.read_request()
        talk.send(HEAD + b"{")
        talk.reset()

    with serve(script) as server:
        try:
            response = transport.handle_request(post(server.url))
        except httpx.ReadError:
            return

        assert "broke off" in response.extensions[BODY_PROBLEM]


NO_STATUS = {
    "hangs up": lambda talk: None,
    "hangs up in the status line": lambda talk: talk.send(b"HTTP/1.1 20"),
    "hangs up in the headers": lambda talk: talk.send(b"HTTP/1.1 202 Accepted\r\nContent-Len"),
    "resets": lambda talk: talk.reset(),
    "is no HTTP server": lambda talk: talk.send(b"220 mail.example ESMTP\r\n"),
    "is half a status line": lambda talk: talk.send(b"HTTP/1.1 20\r\n\r\n"),
    "sends a coding that was not requested": lambda talk: talk.send(
        b"HTTP/1.1 202 A\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
    ),
    "sends 200 KB of headers and stalls": lambda talk: (
        talk.send(b"HTTP/1.1 202 A\r\n" + b"X-A: " + b"a" * 200_000),
        talk.stall(),
    ),
    "sends 200 KB of headers": lambda talk: talk.send(b"HTTP/1.1 202 A\r\n" + b"X-A: " + b"a" * 200_000),
}


@pytest.mark.parametrize("act", NO_STATUS.values(), ids=NO_STATUS.keys())
def test_no_status_is_a_read_or_protocol_error(serve, transport, act):
    """The request may have been taken, so this is never an error that says nothing was sent."""
    with serve(after_request(act)) as server, pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        transport.handle_request(post(server.url))


class InMemory:
    """A network and its stream: each read returns the next of these bytes."""

    def __init__(self, *data: bytes) -> None:
        self._data = list(data)

    def connect_tcp(self, *_address: Any) -> InMemory:
        return self

    def write(self, *_data: Any) -> None: ...

    def read(self, *_size: Any) -> bytes:
        return self._data.pop(0) if self._data else b""

    def close(self) -> None: ...


def test_a_body_in_chunks_of_one_byte_becomes_one_object_per_read():
    """An object per byte would take fifty times the memory of the body."""
    if http.httptools is None:
        pytest.skip("about httptools")
    network: Any = InMemory(CHUNKED, b"1\r\nx\r\n" * 9999, b"1\r\ny\r\n" * 9999 + b"0\r\n\r\n")
    connection = HttptoolsConnection(
        httpcore.Origin(b"http", b"platform", 80), network=network, ssl_context=None, keepalive_seconds=1.0
    )

    parts = list(connection.respond(post("http://platform/")).stream)

    assert parts == [b"x" * 9999, b"y" * 9999]


STRICTER = {
    "two lengths": CHUNKED.replace(b"\r\n", b"\r\nContent-Length: 2\r\n", 1) + b"2\r\n{}\r\n0\r\n\r\n",
    "a folded header": b"HTTP/1.1 202 A\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    "line feeds alone": b"HTTP/1.1 202 A\nContent-Length: 2\n\n{}",
}


@pytest.mark.parametrize("data", STRICTER.values(), ids=STRICTER.keys())
def test_httptools_takes_nothing_that_two_parsers_may_read_differently(transport, data):
    if http.httptools is None:
        pytest.skip("h11 reads these")
    with (
        SocketServer(after_request(lambda talk: talk.send(data))) as server,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        transport.handle_request(post(server.url))


def test_the_next_request_after_a_failure_goes_over_a_new_connection(serve, transport):
    scripts = iter([NO_ANSWER["stalls"], BROKEN_BODY["sends 2 MB"][0], NO_STATUS["resets"]])

    def script(talk: Conversation) -> None:
        act = next(scripts, None)
        if act:
            after_request(act)(talk)
        else:
            replies(answer(202, {"id": "evt-1"}))(talk)

    with serve(script) as server:
        with pytest.raises(httpx.ReadTimeout):
            transport.handle_request(post(server.url, SHORT))
        transport.handle_request(post(server.url))
        with pytest.raises(httpx.TransportError):
            transport.handle_request(post(server.url))
        response = transport.handle_request(post(server.url))

        assert response.json() == {"id": "evt-1"}
        assert server.connections == 4


def test_requests_share_one_connection(serve, transport):
    with serve(replies(answer(202, {"id": "evt-1"}))) as server:
        for _ in range(3):
            assert transport.handle_request(post(server.url)).json() == {"id": "evt-1"}

        assert (len(server.requests), server.connections) == (3, 1)


@pytest.mark.parametrize(
    "last_words",
    [
        answer(202, b"{}", "Connection: close"),
        b"HTTP/1.0 202 Accepted\r\nContent-Length: 2\r\n\r\n{}",
        answer(202, b"{}"),  # and hangs up while the connection is idle
    ],
    ids=["Connection: close", "HTTP/1.0", "idle close"],
)
def test_a_connection_closed_by_the_server_is_replaced_before_anything_is_sent(serve, transport, last_words):
    closed = threading.Event()

    def script(talk: Conversation) -> None:
        talk.read_request()
        talk.send(last_words)
        talk.sock.shutdown(socket.SHUT_RDWR)
        closed.set()

    with serve(script) as server:
        for _ in range(2):
            closed.clear()
            assert transport.handle_request(post(server.url)).status_code == 202
            assert closed.wait(HANG)

        assert (len(server.requests), server.connections) == (2, 2)


def test_a_kept_connection_that_dies_under_the_request_is_an_error_and_never_sent_again(serve, transport):
    def script(talk: Conversation) -> None:
        talk.read_request()
        talk.send(answer(202, b"{}"))
        talk.read_request()
        talk.reset()

    with serve(script) as server:
        transport.handle_request(post(server.url))
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            transport.handle_request(post(server.url))

        assert (len(server.requests), server.connections) == (2, 1)


STALE = {
    "the whole of it": answer(202, {"id": "evt-1 again"}),
    "the same again": answer(202, {"id": "evt-1"}),
    "its first half": b"HTTP/1.1 20",
    "a line break": b"\r\n",
}


@pytest.mark.parametrize("stale", STALE.values(), ids=STALE.keys())
@pytest.mark.parametrize("late", [False, True], ids=["in one piece", "after the answer was read"])
def test_a_second_answer_to_one_request_is_not_taken_for_the_next(serve, transport, stale, late):
    """A gateway that answers twice must not make the next event look accepted. What came early may lie in the
    socket, in TLS or in the parser."""
    read, sent = threading.Event(), threading.Event()

    def script(talk: Conversation) -> None:
        talk.read_request()
        if len(talk.server.requests) == 1:
            talk.send(answer(202, {"id": "evt-1"}) + (b"" if late else stale))
            if late:
                read.wait(HANG)
                talk.send(stale)
            sent.set()
            # If the second request came here, the end of the stale answer would answer it.
            if talk.read_request():
                talk.send(answer(202, {"id": "evt-1 again"}).removeprefix(stale))
        else:
            talk.answer(202, {"id": "evt-2"})

    with serve(script) as server:
        assert transport.handle_request(post(server.url)).json() == {"id": "evt-1"}
        read.set()
        assert sent.wait(HANG)
        if late:
            wait_for_bytes(transport)
        assert transport.handle_request(post(server.url)).json() == {"id": "evt-2"}

        assert (len(server.requests), server.connections) == (2, 2)


def wait_for_bytes(transport: DirectTransport) -> None:
    assert sockets.ready(stream_of(transport).get_extra_info("socket"), HANG, writing=False)


def stream_of(transport: DirectTransport) -> Any:
    """The stream of its connection, of either kind."""
    connection: Any = transport._connection
    if isinstance(connection, HttptoolsConnection):
        return connection._stream
    return connection._connection._connection._network_stream


def test_the_rest_of_a_tls_record_is_a_byte_that_was_not_asked_for(tls):
    """It has left the socket, which is silent: only TLS knows of it."""
    context, certificate = tls
    backend = sockets.DeadlineNetwork()
    backend.deadline = Deadline(LONG)

    def script(talk: Conversation) -> None:
        talk.read_request()
        talk.send(b"abc")
        talk.stall()

    with SocketServer(script, tls=context) as server:
        trust = contexts.get(certificate)
        stream = backend.connect_tcp("127.0.0.1", server.port).start_tls(trust, "127.0.0.1")
        stream.write(b"GET / HTTP/1.1\r\n\r\n")

        assert stream.read(1) == b"a"
        assert stream.get_extra_info("is_readable")
        assert stream.read(2) == b"bc"
        assert not stream.get_extra_info("is_readable")
        stream.close()


def test_a_connection_whose_parser_cannot_be_seen_is_not_used_again(monkeypatch, transport):
    """httpcore has no public name for what it has read too much; without it nothing is proven."""
    monkeypatch.setattr(http, "httptools", None)
    monkeypatch.setattr("genesys_eventbridge.client.connections.unparsed", lambda _: None)
    with SocketServer(replies(answer(202, b"{}"))) as server:
        for _ in range(2):
            assert transport.handle_request(post(server.url)).status_code == 202

        assert server.connections == 2


def test_what_the_parser_has_read_too_much_is_seen_through_every_kind_of_proxy(tls):
    context, certificate = tls
    twice = replies(answer(202, b"{}") + b"HTTP/1.1 2", answer(201, b"{}"))
    with SocketServer(twice) as middle, DirectTransport(proxy=middle.url) as transport:
        codes = [transport.handle_request(post("http://127.0.0.1:1/x")).status_code for _ in range(3)]

        assert (codes, middle.connections) == ([202, 201, 201], 2)
    with SocketServer(twice, tls=context) as server, SocketServer(proxy) as middle:
        with DirectTransport(ca_bundle=certificate, proxy=middle.url) as transport:
            codes = [transport.handle_request(post(server.url)).status_code for _ in range(3)]

        assert (codes, server.connections) == ([201, 201, 201], 1)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "x-unknown"])
def test_an_encoded_body_is_not_decoded(serve, transport, encoding):
    """Nobody asked for it; decoding it is how a bomb goes off."""
    body = gzip.compress(b"{}" * 100)
    with serve(replies(answer(202, body, f"Content-Encoding: {encoding}"))) as server:
        response = transport.handle_request(post(server.url))

        assert response.status_code == 202
        assert "compressed" in response.extensions[BODY_PROBLEM]
        assert not response.extensions[BROKEN_OFF]
        assert response.content == b""


def test_an_identity_encoding_is_no_encoding(transport):
    with SocketServer(replies(answer(202, b"{}", "Content-Encoding: identity"))) as server:
        response = transport.handle_request(post(server.url))

        assert (response.content, BODY_PROBLEM in response.extensions) == (b"{}", False)


def test_a_body_of_exactly_the_limit_is_read(serve, transport):
    with serve(replies(answer(202, b"a" * MAX_ANSWER_BYTES))) as server:
        response = transport.handle_request(post(server.url))

        assert len(response.content) == MAX_ANSWER_BYTES
        assert BODY_PROBLEM not in response.extensions


GOOD = {
    "chunked": CHUNKED + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
    "100 Continue once": CONTINUE + answer(202, b"{}"),
    "103 Early Hints": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(202, b"{}"),
    "until close": b"HTTP/1.1 202 Accepted\r\n\r\n{}",
    "HTTP/1.0": b"HTTP/1.0 202 Accepted\r\nContent-Length: 2\r\n\r\n{}",
    "chunked with a trailer": CHUNKED + b"2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n",
}


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD.keys())
def test_every_legal_framing_is_read(transport, data):
    with SocketServer(after_request(lambda talk: talk.send(data))) as server:
        assert transport.handle_request(post(server.url)).json() == {}


@pytest.mark.parametrize(("method", "status"), [("POST", 204), ("POST", 304), ("HEAD", 200)])
def test_a_response_without_a_body_is_not_waited_for(serve, transport, method, status):
    """Whatever length it claims."""
    head = b"HTTP/1.1 %d Because\r\nContent-Length: 5\r\n\r\n" % status
    with serve(replies(head)) as server:
        for _ in range(2):
            request = post(server.url)
            request.method = method
            response = transport.handle_request(request)
            assert (response.status_code, response.content) == (status, b"")
            assert BODY_PROBLEM not in response.extensions


def test_a_chunked_answer_leaves_the_connection_usable(serve, transport):
    with serve(replies(GOOD["chunked with a trailer"])) as server:
        for _ in range(3):
            assert transport.handle_request(post(server.url)).json() == {}

        assert server.connections == 1


def test_a_server_that_closes_after_its_answer_is_believed(transport):
    with SocketServer(replies(answer(202, b"{}", "Connection: close"))) as server:
        for _ in range(2):
            assert transport.handle_request(post(server.url)).json() == {}

        assert server.connections == 2


def test_a_body_of_another_length_than_declared_is_not_sent(transport):
    """A gateway would take the rest of it for the next request."""
    with SocketServer(replies(answer(202, b"{}"))) as server:
        for length in ("1", "3"):
            request = post(server.url)
            request.headers["Content-Length"] = length
            with pytest.raises((httpx.LocalProtocolError, httpx.ConnectError)):
                transport.handle_request(request)
        assert transport.handle_request(post(server.url)).status_code == 202

        assert [request.body for request in server.requests] == [b"{}"]


def test_over_tls_a_body_until_close_needs_the_end_that_tls_announces(tls):
    """An end that TLS does not announce may be anybody's: half an answer is no answer."""
    context, certificate = tls
    script = after_request(lambda talk: talk.send(b"HTTP/1.1 202 Accepted\r\n\r\n{}"))
    with SocketServer(script, tls=context) as server, DirectTransport(ca_bundle=certificate) as transport:
        response = transport.handle_request(post(server.url))

        assert "broke off" in response.extensions[BODY_PROBLEM]


def test_an_end_that_tls_does_not_announce_is_noticed_on_older_pythons_too(tls, monkeypatch):
    """Before 3.11.4 each new context has the option to ignore it."""

    class Older(ssl.SSLContext):
        def __new__(cls, protocol):
            context = super().__new__(cls, protocol)
            context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
            return context

    monkeypatch.setattr("genesys_eventbridge.tls.ssl", SimpleNamespace(**{**vars(ssl), "SSLContext": Older}))
    context = new_context(tls[1])

    assert isinstance(context, Older)
    assert not context.options & ssl.OP_IGNORE_UNEXPECTED_EOF


def test_over_tls_a_body_until_close_is_whole_where_tls_says_so(tls):
    def script(talk: Conversation) -> None:
        talk.read_request()
        talk.send(b"HTTP/1.1 202 Accepted\r\n\r\n{}")
        assert isinstance(talk.sock, ssl.SSLSocket)
        talk.sock.unwrap()

    context, certificate = tls
    with SocketServer(script, tls=context) as server, DirectTransport(ca_bundle=certificate) as transport:
        assert transport.handle_request(post(server.url)).json() == {}


def test_tls_that_breaks_under_the_answer_is_a_read_error(tls):
    context, certificate = tls
    plain = after_request(lambda talk: socket.socket.send(talk.sock, b"no record of TLS"))
    with SocketServer(plain, tls=context) as server, DirectTransport(ca_bundle=certificate) as transport:
        with pytest.raises(httpx.ReadError, match="TLS broke"):
            transport.handle_request(post(server.url))

        assert len(server.requests) == 1


def test_a_refusal_before_the_whole_request_was_read_is_read(serve, transport):
    def script(talk: Conversation) -> None:
        talk.sock.recv(1000)
        talk.answer(413, b"{}", "Connection: close")
        talk.stall()

    with serve(script) as server:
        assert transport.handle_request(post(server.url, body=b"a" * 10_000_000)).status_code == 413


def test_an_answer_counts_more_than_the_broken_write_before_it():
    """413 and hang up. Over TCP the kernel may throw the answer away; a socket pair keeps it."""
    backend = sockets.DeadlineNetwork()
    backend.deadline = Deadline(LONG)
    ours, theirs = socket.socketpair()
    theirs.sendall(answer(413))
    theirs.close()
    stream = sockets.SocketStream(ours, backend)
    stream.write(b"a" * 1000)

    assert stream.read(1000) == answer(413)
    stream.close()


def test_a_request_that_is_not_taken_in_time_is_a_write_timeout(serve, transport):
    """Its body is larger than the buffers of two sockets. TLS encrypts all of it before the first write."""

    def script(talk: Conversation) -> None:
        talk.server.stopping.wait(HANG)

    with serve(script) as server, pytest.raises(httpx.WriteTimeout):
        transport.handle_request(post(server.url, ENOUGH, body=b"a" * 12_000_000))


def test_large_requests_arrive_whole(serve, transport):
    body = bytes(range(256)) * 4096
    with serve(replies(answer(202, b"{}"))) as server:
        transport.handle_request(post(server.url, body=body))

        assert server.requests[0].body == body


@pytest.mark.parametrize(
    "act",
    [
        lambda talk: talk.stall(),
        lambda talk: talk.drip(b"\x16\x03\x03\x40\x00", b"\x02"),
    ],
    ids=["stalls", "drips"],
)
def test_a_tls_handshake_ends_with_the_deadline(act):
    """Nothing was sent yet, so this is a connect timeout."""
    with SocketServer(act) as server, DirectTransport() as transport, pytest.raises(httpx.ConnectTimeout):
        transport.handle_request(post(server.url.replace("http:", "https:"), SHORT))


def test_a_tls_handshake_ends_with_the_connect_timeout():
    begun = time.monotonic()
    drip = SocketServer(lambda talk: talk.drip(b"\x16\x03\x03\x40\x00", b"\x02"))
    with drip as server, DirectTransport() as transport, pytest.raises(httpx.ConnectTimeout):
        transport.handle_request(post(server.url.replace("http:", "https:"), timeout={"connect": SHORT}))

    assert time.monotonic() - begun < LONG / 2  # not by the deadline


def test_a_self_signed_certificate_is_refused_and_nothing_is_sent(tls):
    context, _ = tls
    with SocketServer(replies(answer(202, b"{}")), tls=context) as server, DirectTransport() as transport:
        with pytest.raises(httpx.ConnectError) as caught:
            transport.handle_request(post(server.url))

        assert server.requests == []
        assert isinstance(root_of(caught.value), ssl.SSLCertVerificationError)


def test_a_certificate_for_another_name_is_refused(tmp_path):
    made = self_signed(tmp_path, "elsewhere.example")
    if made is None:
        pytest.skip("the openssl program is not installed")
    context, certificate = made
    with SocketServer(replies(answer(202, b"{}")), tls=context) as server:
        with DirectTransport(ca_bundle=certificate) as transport, pytest.raises(httpx.ConnectError):
            transport.handle_request(post(server.url.replace("127.0.0.1", "localhost")))

        assert server.requests == []


def test_tls_older_than_1_2_is_refused(tls):
    _, certificate = tls
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.load_cert_chain(certificate, certificate.replace("certificate.pem", "key.pem"))
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with SocketServer(replies(answer(202, b"{}")), tls=old) as server:
        with DirectTransport(ca_bundle=certificate) as transport, pytest.raises(httpx.ConnectError):
            transport.handle_request(post(server.url))

        assert server.requests == []


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_an_unreadable_ca_bundle_halts_and_names_the_setting(tmp_path, content):
    bundle = tmp_path / "ca.pem"
    if content:
        bundle.write_text(content)
    with (
        DirectTransport(ca_bundle=str(bundle)) as transport,
        pytest.raises(Halted, match="CA_BUNDLE") as caught,
    ):
        transport.handle_request(post("https://127.0.0.1:1"))

    assert caught.value.kind == "config"


def test_the_environment_is_not_consulted(monkeypatch, transport):
    """Neither its proxies nor its certificates: PROXY and CA_BUNDLE say it where people look."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with SocketServer(replies(answer(202, b"{}"))) as server:
        assert transport.handle_request(post(server.url)).status_code == 202
    assert new_context(None).cert_store_stats()["x509_ca"] > 50


def test_a_refused_connection_is_a_connect_error(transport):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(httpx.ConnectError, match="refused"):
        transport.handle_request(post(f"http://127.0.0.1:{port}"))


# ------------------------------------------------------- what fails before the first byte was not sent


def outcome_of(transport: DirectTransport, url: str) -> Outcome:
    try:
        transport.handle_request(post(url))
    except Exception as error:  # noqa: BLE001 - whatever it is: what it means is asked
        return failure_outcome(error)
    raise AssertionError("an answer came")


EXHAUSTED = """
import os, resource, sys
from genesys_eventbridge.client.http import httpx
from genesys_eventbridge.client.responses import BODY_PROBLEM, BROKEN_OFF
from genesys_eventbridge.client.responses.exceptions import failure_outcome
from genesys_eventbridge.client.transport import DirectTransport
ca_bundle, *urls = sys.argv[1:]
def ask(url):
    with DirectTransport(ca_bundle=ca_bundle) as transport:
        return transport.handle_request(httpx.Request("POST", url, content=b"{}")).status_code
def failure(url):
    try:
        return ask(url)
    except Exception as error:
        outcome = failure_outcome(error)
        return f"{outcome.verdict} {outcome.halt} {'open files' in outcome.error.lower()}"
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    print([failure(url) for url in urls])
for number in held:
    os.close(number)
print([ask(url) for url in urls])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of a process")
def test_out_of_file_descriptors_nothing_was_sent_and_later_everything_works(tls):
    """In a process of its own, whose limit is reached before CA_BUNDLE is read and the socket is opened."""
    context, certificate = tls
    with (
        SocketServer(replies(answer(202))) as plain,
        SocketServer(replies(answer(202)), tls=context) as secure,
    ):
        done = subprocess.run(
            [sys.executable, "-c", EXHAUSTED, certificate, plain.url, secure.url],
            capture_output=True, text=True, timeout=HANG, check=False,
        )  # fmt: skip

        assert done.stdout.splitlines() == [str(["halted network True"] * 2), "[202, 202]"], done.stderr
        assert (len(plain.requests), len(secure.requests)) == (1, 1)


def only(family: socket.AddressFamily) -> Callable[..., socket.socket]:
    """``socket.socket`` on a host that has this address family alone."""
    real = socket.socket

    def made(wanted: int = -1, *rest: Any, **more: Any) -> socket.socket:
        if wanted not in {-1, family} and not more:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(wanted, *rest, **more)

    return made


def test_an_address_family_that_is_switched_off_leaves_the_other_addresses(monkeypatch, transport):
    with SocketServer(replies(answer(202))) as server:
        addresses = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", server.port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        with monkeypatch.context() as patch:
            patch.setattr("genesys_eventbridge.client.sockets.socket.socket", only(socket.AF_INET))
            assert transport.handle_request(post(server.url)).status_code == 202
            transport.close()
            del addresses[1]
            outcome = outcome_of(transport, server.url)

        assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, Halt.NETWORK)
        assert "Address family not supported" in outcome.error
        assert len(server.requests) == 1


def test_each_reason_of_several_addresses_is_named_once(monkeypatch, transport):
    addresses: list[Any] = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", 1)) for last in (1, 2)
    ]
    addresses.append((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 1, 0, 0)))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    monkeypatch.setattr("genesys_eventbridge.client.sockets.socket.socket", only(socket.AF_INET))
    with pytest.raises(httpx.ConnectError) as caught:
        transport.handle_request(post("http://127.0.0.1:1"))

    assert str(caught.value).count("refused") == 1
    assert "Address family not supported" in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOBUFS, "No buffer space available"), MemoryError(), KeyError("x"), ValueError("x"),
        RecursionError(), httpcore.ReadError("x"), httpcore.RemoteProtocolError("x"),
        httpcore.WriteTimeout("x"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
@pytest.mark.parametrize(
    "place",
    ["socket.getaddrinfo", "_connected", "ssl.SSLContext.wrap_bio", "SocketStream.flush", "TLSStream.write"],
)
def test_before_the_first_byte_no_class_of_error_puts_an_event_in_doubt(tls, monkeypatch, place, error):
    """Defects of ours included. What counts is that the kernel has taken no byte of the request."""

    def fail(*_: object, **__: object) -> None:
        raise error

    context, certificate = tls
    with SocketServer(replies(answer(202)), tls=context) as server:
        with DirectTransport(ca_bundle=certificate) as transport:
            monkeypatch.setattr(f"genesys_eventbridge.client.sockets.{place}", fail)
            outcome = outcome_of(transport, server.url)

        assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, Halt.NETWORK)
        assert "Nothing was sent" in outcome.error
        assert server.requests == []


def test_a_kept_connection_that_breaks_before_it_took_a_byte_is_replaced(serve, transport, monkeypatch):
    """Between the look at the idle connection and the first byte: the event waits for no pause or retry."""
    read = threading.Event()

    def script(talk: Conversation) -> None:
        talk.read_request()
        talk.answer(202, b"{}")
        if len(talk.server.requests) == 1:
            read.wait(HANG)
            talk.reset()
        else:
            talk.stall()

    with serve(script) as server:
        assert transport.handle_request(post(server.url)).status_code == 202
        read.set()
        wait_for_bytes(transport)
        for kind in (H11Connection, HttptoolsConnection):
            monkeypatch.setattr(kind, "is_clean", lambda _: True)
        assert transport.handle_request(post(server.url)).status_code == 202

        assert (len(server.requests), server.connections) == (2, 2)


@pytest.mark.parametrize("taken", [0, 1], ids=["nothing was taken", "one byte was taken"])
def test_one_byte_in_the_hands_of_the_kernel_makes_the_difference(monkeypatch, transport, taken):
    """And a new connection that breaks at once is not tried again: a pause is for that."""
    tries: list[int] = []

    def send(sock: socket.socket, _: bytes) -> int:
        tries.append(1)
        if len(tries) > taken:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        sock.shutdown(socket.SHUT_RDWR)
        return 1

    with SocketServer(after_request(lambda talk: talk.stall())) as server:
        monkeypatch.setattr(socket.socket, "send", send)
        outcome = outcome_of(transport, server.url)

    assert outcome.verdict is (Verdict.UNKNOWN if taken else Verdict.HALTED)
    assert len(tries) == taken + 1


def test_what_comes_before_a_byte_was_taken_is_no_answer():
    """An idle proxy says 408 and hangs up, just when the next request is written."""
    backend = sockets.DeadlineNetwork()
    backend.deadline = Deadline(LONG)
    backend.layers = 0
    ours, theirs = socket.socketpair()
    theirs.sendall(answer(408))
    theirs.close()
    stream = sockets.SocketStream(ours, backend)
    stream.write(b"a" * 1000)
    with pytest.raises(httpcore.WriteError):
        stream.read(1000)
    stream.close()


def test_an_answer_to_a_request_that_tls_did_not_write_is_none(tmp_path, monkeypatch):
    """A server that answers whatever comes, and a write that TLS refuses, which httpcore forgives."""

    def fail(*_: object, **__: object) -> None:
        raise httpcore.WriteError("x")

    def eager(talk: Conversation) -> None:
        talk.answer(202, {"id": "evt-1"})
        talk.stall()

    made = self_signed(tmp_path)
    if made is None:
        pytest.skip("the openssl program is not installed")
    context, certificate = made
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # with 1.3 a part of the handshake leaves with the read
    with SocketServer(eager, tls=context) as server, DirectTransport(ca_bundle=certificate) as transport:
        monkeypatch.setattr(sockets.TLSStream, "write", fail)
        outcome = outcome_of(transport, server.url)

    assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, Halt.NETWORK)


@pytest.mark.parametrize(
    ("status", "halt"),
    [
        (502, Halt.NETWORK), (503, Halt.NETWORK), (504, Halt.NETWORK), (429, Halt.NETWORK),
        (407, Halt.CONFIG), (403, Halt.CONFIG), (404, Halt.CONFIG), (501, Halt.CONFIG),
    ],
)  # fmt: skip
def test_what_a_proxy_says_to_connect_is_the_networks_trouble_or_a_setting(status, halt):
    with SocketServer(replies(answer(status, b"a page"))) as middle:
        with DirectTransport(proxy=middle.url) as transport:
            outcome = outcome_of(transport, "https://127.0.0.1:1/")

        assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, halt)
        assert str(status) in outcome.error


@pytest.mark.parametrize(
    "act", [lambda talk: None, lambda talk: talk.reset(), lambda talk: talk.send(b"HTTP/1.1 2")],
    ids=["hangs up", "resets", "hangs up in the status line"],
)  # fmt: skip
def test_a_proxy_that_hangs_up_is_the_networks_trouble(act):
    """It is being restarted: a pause of seconds, not of minutes."""
    with SocketServer(after_request(act)) as middle, DirectTransport(proxy=middle.url) as transport:
        outcome = outcome_of(transport, "https://127.0.0.1:1/")

    assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, Halt.NETWORK)
    assert "the proxy opened no tunnel" in outcome.error


def test_an_unknown_host_is_a_connect_error(transport):
    with pytest.raises(httpx.ConnectError, match=r"no address for api\.invalid"):
        transport.handle_request(post("http://api.invalid/"))


def test_a_host_that_swallows_packets_leaves_time_for_its_next_address(monkeypatch, transport):
    """One dead address of several costs its share of the deadline, not all of it."""
    with SocketServer(replies(answer(202, b"{}"))) as server, full_listener() as dead:
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (dead, server.port)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)

        assert transport.handle_request(post(server.url, 2.0)).status_code == 202


def test_a_look_up_that_takes_all_the_time_leaves_none_to_connect(monkeypatch, transport):
    """No deadline holds inside the resolver; what comes after it obeys."""
    now = [0.0]
    look_up = socket.getaddrinfo

    def slow(*args: Any, **kwargs: Any) -> Any:
        now[0] += 60.0
        return look_up(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with SocketServer(replies(answer(202))) as server:
        with pytest.raises(httpx.ConnectTimeout):
            transport.handle_request(post(server.url, deadline=Deadline(20.0, clock=lambda: now[0])))

        assert server.connections == 0


def test_an_interruption_while_connecting_closes_the_socket(monkeypatch, transport):
    opened: list[socket.socket] = []

    def interrupt(sock: socket.socket, address: object) -> None:
        opened.append(sock)
        raise Interrupted

    monkeypatch.setattr(socket.socket, "connect", interrupt)
    with pytest.raises(Interrupted):
        transport.handle_request(post("http://127.0.0.1:1"))

    assert [sock.fileno() for sock in opened] == [-1]


def test_a_host_that_swallows_packets_is_a_connect_timeout(transport):
    with full_listener() as port, pytest.raises(httpx.ConnectTimeout):
        transport.handle_request(post(f"http://127.0.0.1:{port}", timeout={"connect": 0.2}))


class full_listener:  # noqa: N801 - used like a function
    """A port whose queue of connections is full: packets to it get no answer."""

    def __enter__(self) -> int:
        self.sockets = [socket.create_server(("127.0.0.1", 0), backlog=0)]
        port: int = self.sockets[0].getsockname()[1]
        for _ in range(3):
            knock = socket.socket()
            knock.setblocking(False)
            knock.connect_ex(("127.0.0.1", port))
            self.sockets.append(knock)
        return port

    def __exit__(self, *_: object) -> None:
        for sock in self.sockets:
            sock.close()


def test_without_time_left_nothing_is_sent(transport):
    with SocketServer(replies(answer(202, b"{}"))) as server:
        with pytest.raises(httpx.ConnectTimeout, match="time limit reached"):
            transport.handle_request(post(server.url, 0.0))

        assert server.connections == 0


@pytest.mark.parametrize("kept", [False, True], ids=["new connection", "kept connection"])
def test_a_process_that_was_frozen_before_it_wrote_sends_nothing_later(serve, transport, monkeypatch, kept):
    """Its lease may have ended meanwhile, and another worker may be sending the event."""
    now = [0.0]
    write = sockets.SocketStream.write

    def frozen(self: sockets.SocketStream, *arguments: Any, **keywords: Any) -> None:
        write(self, *arguments, **keywords)
        now[0] += 60.0

    with serve(replies(answer(202, b"{}"))) as server:
        if kept:
            transport.handle_request(post(server.url))
        monkeypatch.setattr(sockets.SocketStream, "write", frozen)
        with pytest.raises(httpx.ConnectTimeout):
            transport.handle_request(post(server.url, deadline=Deadline(20.0, clock=lambda: now[0])))

        assert len(server.requests) == kept


def test_the_deadline_counts_by_the_clock_it_was_given():
    now = [100.0]
    deadline = Deadline(20.0, clock=lambda: now[0])
    assert (deadline.left(), deadline.left(5.0)) == (20.0, 5.0)
    now[0] = 118.0
    assert (deadline.left(), deadline.left(5.0)) == (2.0, 2.0)
    now[0] = 200.0
    assert (deadline.left(), deadline.left(5.0)) == (0.0, 0.0)


def test_a_request_without_a_deadline_is_sent(transport):
    with SocketServer(replies(answer(202, b"{}"))) as server:
        assert transport.handle_request(httpx.Request("GET", server.url)).status_code == 202


def test_redirects_are_not_followed(transport):
    with SocketServer(replies(answer(202, b"{}"))) as target:
        with SocketServer(replies(answer(307, b"", f"Location: {target.url}/"))) as server:
            assert transport.handle_request(post(server.url)).status_code == 307

        assert target.connections == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "a\r\nX-B: b"),
        ("X-A", "a\nb"),
        ("X-A", "a\x00b"),
        ("X-A", " a"),
        ("X A", "b"),
        ("X-A\r\n", "b"),
    ],
)
def test_an_illegal_header_sends_nothing_tells_no_value_and_hurts_nobody_else(transport, name, value):
    with SocketServer(replies(answer(202, b"{}"))) as server:
        bad = post(server.url)
        bad.headers = httpx.Headers([*bad.headers.raw, (name.encode(), value.encode())])
        with pytest.raises(httpx.LocalProtocolError) as caught:
            transport.handle_request(bad)
        assert transport.handle_request(post(server.url)).status_code == 202

        assert "X-B" not in str(caught.value)
        assert len(server.requests) == 1


def test_path_prefix_query_and_port_arrive_as_given(transport):
    with SocketServer(replies(answer(202, b"{}"))) as server:
        transport.handle_request(post(f"{server.url}/gateway/api/v2/x%2Fy?a=1%202"))

        request = server.requests[0]
        assert request.target == "/gateway/api/v2/x%2Fy?a=1%202"
        assert request.header("Host") == f"127.0.0.1:{server.port}"


def test_ipv6_loopback_is_reached(tls):
    context, certificate = tls
    try:
        server = SocketServer(replies(answer(202, b"{}")), ipv6=True, tls=context)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with server, DirectTransport(ca_bundle=certificate) as transport:
        assert transport.handle_request(post(server.url)).status_code == 202

        assert server.requests[0].header("Host") == f"[::1]:{server.port}"


def test_another_origin_gets_a_connection_of_its_own(transport):
    with SocketServer(replies(answer(202, b"{}"))) as one, SocketServer(replies(answer(201, b"{}"))) as other:
        codes = [transport.handle_request(post(server.url)).status_code for server in (one, other, one)]

        assert codes == [202, 201, 202]
        assert (one.connections, other.connections) == (2, 1)


def test_an_idle_connection_is_not_trusted_for_long(monkeypatch, transport):
    monkeypatch.setattr("genesys_eventbridge.client.transport.KEEPALIVE_SECONDS", 0.0)
    with SocketServer(replies(answer(202, b"{}"))) as server:
        for _ in range(2):
            transport.handle_request(post(server.url))

        assert server.connections == 2


def test_a_closed_transport_can_be_used_again(transport):
    with SocketServer(replies(answer(202, b"{}"))) as server:
        transport.handle_request(post(server.url))
        transport.close()
        transport.close()
        transport.handle_request(post(server.url))

        assert server.connections == 2


def test_a_second_thread_is_refused_before_anything_is_sent(transport):
    """PoolTimeout says "not sent": the event goes back uncharged."""
    arrived = threading.Event()

    def script(talk: Conversation) -> None:
        talk.read_request()
        arrived.set()
        release.wait(HANG)
        talk.answer(202, b"{}")

    release = threading.Event()
    statuses: list[int] = []
    with SocketServer(script) as server:
        first = threading.Thread(
            target=lambda: statuses.append(transport.handle_request(post(server.url)).status_code)
        )
        first.start()
        assert arrived.wait(HANG)
        with pytest.raises(httpx.PoolTimeout, match="another thread"):
            transport.handle_request(post(server.url))
        release.set()
        first.join(HANG)

        assert statuses == [202]
        assert len(server.requests) == 1


def test_an_interruption_passes_and_leaves_no_half_read_connection(monkeypatch, transport):
    def interrupt(*_: object, **__: object) -> bool:
        raise Interrupted

    with SocketServer(replies(answer(202, b"{}"))) as server:
        transport.handle_request(post(server.url))
        with monkeypatch.context() as patch:
            patch.setattr(sockets.SocketStream, "_ready", interrupt)
            with pytest.raises(Interrupted):
                transport.handle_request(post(server.url))
        assert transport.handle_request(post(server.url)).status_code == 202

        assert server.connections == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_neither_shares_the_socket_nor_the_lock():
    """Also where another thread of the parent was using it at the moment of the fork."""
    fork = multiprocessing.get_context("fork")
    with SocketServer(replies(answer(202, b"{}"))) as server, DirectTransport() as transport:
        transport.handle_request(post(server.url))
        transport._busy.acquire()
        mine, childs = fork.Pipe()

        def child() -> None:
            childs.send(transport.handle_request(post(server.url)).status_code)

        process = fork.Process(target=child)
        process.start()
        assert mine.poll(HANG)
        assert mine.recv() == 202
        process.join(HANG)
        transport._busy.release()
        assert transport.handle_request(post(server.url)).status_code == 202

        assert server.connections == 2  # the child's own, and the parent's still open one
        mine.close()
        childs.close()


def test_an_https_request_goes_through_the_tunnel_of_a_proxy(tls):
    context, certificate = tls
    with SocketServer(replies(answer(202, b"{}")), tls=context) as server, SocketServer(proxy) as middle:
        url = middle.url.replace("//", "//user:p%40ss@")
        with DirectTransport(ca_bundle=certificate, proxy=url) as transport:
            for _ in range(2):
                assert transport.handle_request(post(server.url)).status_code == 202

        connect = middle.requests[0]
        assert (connect.method, connect.target) == ("CONNECT", f"127.0.0.1:{server.port}")
        assert connect.header("Proxy-Authorization") == "Basic dXNlcjpwQHNz"
        assert server.requests[0].header("Proxy-Authorization") is None
        assert (middle.connections, server.connections) == (1, 1)


def test_an_http_request_goes_through_a_proxy_in_absolute_form():
    with SocketServer(replies(answer(202, b"{}"))) as middle, DirectTransport(proxy=middle.url) as transport:
        assert transport.handle_request(post("http://127.0.0.1:1/x")).status_code == 202

        assert middle.requests[0].target == "http://127.0.0.1:1/x"


def test_a_tunnel_through_an_https_proxy_verifies_both_certificates(tls):
    context, certificate = tls
    with (
        SocketServer(replies(answer(202, b"{}")), tls=context) as server,
        SocketServer(proxy, tls=context) as middle,
    ):
        with DirectTransport(ca_bundle=certificate, proxy=middle.url) as transport:
            assert transport.handle_request(post(server.url)).status_code == 202
        with DirectTransport(proxy=middle.url) as transport, pytest.raises(httpx.ConnectError):
            transport.handle_request(post(server.url))

        assert (len(server.requests), len(middle.requests)) == (1, 1)


def stall_in_tls(talk: Conversation) -> None:
    talk.read_request()
    talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
    talk.stall()


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (replies(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), httpx.ProxyError),
        (after_request(lambda talk: talk.send(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")), httpx.ProxyError),
        (after_request(lambda talk: None), httpx.ConnectError),
        (after_request(lambda talk: talk.reset()), httpx.ConnectError),
        (after_request(lambda talk: talk.send(b"nonsense\r\n\r\n")), httpx.ProxyError),
        (after_request(lambda talk: talk.stall()), httpx.ConnectTimeout),
        (after_request(lambda talk: talk.drip(b"HTTP/1.1 200 ", b"O")), httpx.ConnectTimeout),
        (stall_in_tls, httpx.ConnectTimeout),
        (after_request(lambda talk: talk.send(b"HTTP/1.1 200 OK\r\n\r\nplain")), httpx.ConnectError),
    ],
    ids=["407", "502", "hangs up", "resets", "no HTTP", "stalls", "drips", "stalls in TLS", "speaks no TLS"],
)
@pytest.mark.parametrize("secure", [False, True], ids=["http proxy", "https proxy"])
def test_a_proxy_that_opens_no_tunnel_never_makes_it_look_sent(tls, script, error, secure):
    context, certificate = tls
    with SocketServer(script, tls=context if secure else None) as middle:
        with DirectTransport(ca_bundle=certificate, proxy=middle.url) as transport:
            for _ in range(1 if error is httpx.ConnectTimeout else 2):
                with pytest.raises(error):
                    transport.handle_request(post("https://127.0.0.1:1/", ENOUGH))

        assert {request.method for request in middle.requests} == {"CONNECT"}


@pytest.mark.parametrize("through", ["nothing", "http proxy", "https proxy"])
def test_tls_records_that_drip_cannot_prolong_an_answer(tls, through):
    """Single bytes of a record arrive all the time, and no step of TLS ever ends."""
    context, certificate = tls
    slow = threading.Event()

    def script(talk: Conversation) -> None:
        talk.read_request()
        slow.set()
        talk.answer(202, b"{}")
        talk.stall()

    begun = time.monotonic()
    with (
        SocketServer(script, tls=context) as server,
        SocketServer(relay(server.port, slow)) as dripping,
        SocketServer(proxy, tls=context if through == "https proxy" else None) as middle,
        DirectTransport(
            ca_bundle=certificate, proxy=None if through == "nothing" else middle.url
        ) as transport,
        pytest.raises(httpx.ReadTimeout),
    ):
        transport.handle_request(post(f"https://127.0.0.1:{dripping.port}", 1.5))

    assert len(server.requests) == 1
    assert time.monotonic() - begun < HANG


def test_at_debug_no_header_value_is_logged(caplog, transport):
    """httpcore's own trace prints every header of an answer, and a hostile server echoes ours."""
    caplog.set_level(logging.DEBUG)
    with SocketServer(replies(answer(202, b"{}", "X-Echo: Bearer canary-token"))) as server:
        request = post(server.url)
        request.headers["Authorization"] = "Bearer canary-token"
        transport.handle_request(request)

    if http.httptools is None:  # httptools has no trace
        assert "receive_response_headers.complete" in caplog.messages
    assert "canary" not in caplog.text


def test_other_users_of_httpcore_keep_their_trace(caplog):
    caplog.set_level(logging.DEBUG, httpcore.__name__)
    with SocketServer(replies(answer(202, b"{}", "X-Theirs: visible"))) as server:
        httpx.get(server.url, trust_env=False)

    assert "visible" in caplog.text


@pytest.mark.parametrize("ready", [sockets._ready_by_poll, sockets._ready_by_select])
def test_both_ways_to_wait_for_a_socket_agree(ready):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not ready(ours, 0.0, writing=False)
        assert ready(ours, 0.0, writing=True)
        theirs.send(b"a")
        assert ready(ours, 1.0, writing=False)
