"""The failures on the way: what was surely not sent halts, what may have arrived stays in doubt."""

import errno
import inspect
import socket
import ssl
import threading

import httpcore
import httpx
import pytest

from genesys_eventbridge.client.responses.exceptions import failure_outcome
from genesys_eventbridge.errors import Halted, Rejected
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict
from genesys_eventbridge.text import DEFAULT_REDACT_KEYS, clean, redact_text

CANARY = "c4n4ry-t0ken"
URL = httpx.Request("POST", f"https://user:{CANARY}@api.mypurecloud.de/api/v2/x?token={CANARY}")


def caused(error, *causes):
    """``error`` raised from its causes as httpx and httpcore raise theirs."""
    below = error
    for cause in causes:
        below.__cause__ = cause
        below = cause
    return error


NETWORK = (Verdict.HALTED, Halt.NETWORK, None)
CONFIG = (Verdict.HALTED, Halt.CONFIG, None)
DOUBT = (Verdict.UNKNOWN, None, Halt.NETWORK)
DEFECT = (Verdict.REJECTED, None, None)
STRANGE = (Verdict.UNKNOWN, None, Halt.CONFIG)

refused = ConnectionRefusedError(111, "Connection refused")
not_found = socket.gaierror(-2, "Name or service not known")
untrusted = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")


def untrusted_for(reason):
    text = f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {reason} (_ssl.c:1000)"
    return ssl.SSLCertVerificationError(1, text)


wrong_version = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
ended = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")

TLS = [
    (untrusted_for("Hostname mismatch, certificate is not valid for 'api.x'."), CONFIG, "another host name"),
    (untrusted_for("IP address mismatch, certificate is not valid for '::1'."), CONFIG, "another host name"),
    (untrusted_for("certificate is not yet valid"), CONFIG, "clock of this host"),
    (untrusted_for("certificate has expired"), CONFIG, "has expired"),
    (untrusted_for("unable to get local issuer certificate"), CONFIG, "CA_BUNDLE"),
    *(
        (untrusted_for(text), CONFIG, "RFC 5280")
        for text in (
            "Basic Constraints of CA cert not marked critical",
            "Missing Authority Key Identifier",
            "Missing Subject Key Identifier",
            "CA cert does not include key usage extension",
            "Path length given without key usage keyCertSign",
            "Issuer name empty",
            "Empty Subject Alternative Name extension",
            "Authority Key Identifier marked critical",
            "Using cert extension requires at least X509v3",
        )
    ),
    *(
        (ssl.SSLError(1, f"[SSL: {reason}] {reason.lower().replace('_', ' ')} (_ssl.c:1)"), decided, words)
        for reason, decided, words in (
            ("HTTP_REQUEST", CONFIG, "does not support TLS"),
            ("HTTPS_PROXY_REQUEST", CONFIG, "does not support TLS"),
            ("RECORD_LAYER_FAILURE", CONFIG, "does not support TLS"),
            ("PACKET_LENGTH_TOO_LONG", CONFIG, "does not support TLS"),
            ("TLSV1_ALERT_PROTOCOL_VERSION", CONFIG, "no TLS version in common"),
            ("UNSUPPORTED_PROTOCOL", CONFIG, "no TLS version in common"),
            ("WRONG_SSL_VERSION", CONFIG, "no TLS version in common"),
            ("SSLV3_ALERT_HANDSHAKE_FAILURE", CONFIG, "no cipher in common"),
            ("TLSV1_ALERT_INSUFFICIENT_SECURITY", CONFIG, "no cipher in common"),
            ("DH_KEY_TOO_SMALL", CONFIG, "no cipher in common"),
            ("TLSV1_UNRECOGNIZED_NAME", CONFIG, "does not serve this host name"),
            ("TLSV1_ALERT_INTERNAL_ERROR", NETWORK, "an internal error"),
            ("SOMETHING_NEW", CONFIG, "no TLS connection. Check API_BASE_URL"),
        )
    ),
]

CASES = [
    (caused(httpx.ConnectError("refused"), httpcore.ConnectError("refused"), refused), NETWORK, "route"),
    (httpx.ConnectError("refused"), NETWORK, "PROXY"),
    (caused(httpx.ConnectError("no name"), httpcore.ConnectError("no name"), not_found), NETWORK, "REGION"),
    (caused(httpx.ConnectError("tls"), httpcore.ConnectError("tls"), untrusted), CONFIG, "CA_BUNDLE"),
    (caused(httpx.ConnectError("tls"), wrong_version), CONFIG, "does not support TLS"),
    (caused(httpx.ConnectError("eof"), ended), NETWORK, "TLS handshake"),
    (caused(httpx.ConnectError("eof"), ssl.SSLZeroReturnError()), NETWORK, "TLS handshake"),
    (httpx.ConnectTimeout("timed out"), NETWORK, "Nothing was sent"),
    (httpx.PoolTimeout("no connection"), NETWORK, "Nothing was sent"),
    (httpx.ProxyError("407 Proxy Authentication Required"), CONFIG, "user and password into the URL of"),
    (
        httpx.ProxyError("the proxy opened no tunnel: 407 Proxy Authentication Required"),
        CONFIG,
        "user and password into the URL of PROXY",
    ),
    (httpx.ProxyError("403 Forbidden"), CONFIG, "whether that proxy allows this host"),
    *(
        (httpx.ProxyError(f"{before}{status} {reason}"), decided, words)
        for before in ("", "the proxy opened no tunnel: ")
        for status, reason, decided, words in (
            (502, "Bad Gateway", NETWORK, "cannot reach the platform"),
            (503, "", NETWORK, "cannot reach the platform"),
            (504, "Gateway Timeout", NETWORK, "cannot reach the platform"),
            (500, "Internal Server Error", NETWORK, "cannot reach the platform"),
            (522, "", NETWORK, "cannot reach the platform"),
            (429, "Too Many Requests", NETWORK, "overloaded"),
            (408, "Request Timeout", NETWORK, "overloaded"),
            (302, "Found", CONFIG, "allows this host"),
            (400, "Bad Request", CONFIG, "allows this host"),
            (405, "Method Not Allowed", CONFIG, "allows this host"),
            (501, "Not Implemented", CONFIG, "allows this host"),
            (505, "", CONFIG, "allows this host"),
            (511, "Network Authentication Required", CONFIG, "allows this host"),
        )
    ),
    (httpx.ProxyError("illegal status line: 502502 nonsense"), CONFIG, "allows this host"),
    (caused(httpx.ConnectError("x"), OSError(errno.EMFILE, "Too many open files")), NETWORK, "LimitNOFILE"),
    (caused(httpx.ConnectError("x"), OSError(errno.ENFILE, "Too many open files")), NETWORK, "LimitNOFILE"),
    (caused(httpx.ConnectError("x"), OSError(errno.ENOBUFS, "No buffer space")), NETWORK, "out of memory"),
    (caused(httpx.ConnectError("MemoryError"), MemoryError()), NETWORK, "out of memory"),
    (caused(httpx.ConnectError("x"), socket.gaierror(socket.EAI_AGAIN, "again")), NETWORK, "name server"),
    *((caused(httpx.ConnectError("tls"), error), decided, words) for error, decided, words in TLS),
    (httpx.UnsupportedProtocol("no scheme"), CONFIG, "API_BASE_URL"),
    (httpx.ReadTimeout("total deadline passed"), DOUBT, "same key"),
    (httpx.WriteTimeout(""), DOUBT, "same key"),
    (httpx.ReadError("reset"), DOUBT, "same key"),
    (caused(httpx.ReadError("tls"), untrusted), DOUBT, "same key"),
    (httpx.WriteError("broken pipe"), DOUBT, "same key"),
    (httpx.CloseError("x"), DOUBT, "same key"),
    (httpx.RemoteProtocolError("Server disconnected without sending a response."), DOUBT, "disconnected"),
    (httpx.DecodingError("gzip"), DOUBT, "same key"),
    (httpx.TooManyRedirects("x"), DOUBT, "same key"),
    (httpx.TimeoutException("x"), DOUBT, ""),
    (httpx.NetworkError("x"), DOUBT, ""),
    (httpx.ProtocolError("x"), DOUBT, ""),
    (httpx.TransportError("x"), DOUBT, ""),
    (httpx.RequestError("x"), DOUBT, ""),
    (ConnectionResetError(104, "reset"), DOUBT, ""),
    (TimeoutError("x"), DOUBT, ""),
    (untrusted, DOUBT, ""),
    (httpx.LocalProtocolError("Illegal header value"), DEFECT, "EXTRA_HEADERS"),
    (httpx.InvalidURL("Invalid port"), DEFECT, "bug"),
    (UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range(128)"), DEFECT, "EXTRA_HEADERS"),
    (httpx.HTTPError("x"), STRANGE, "bug"),
    (httpx.HTTPStatusError("x", request=URL, response=httpx.Response(500)), STRANGE, "bug"),
    (httpx.CookieConflict("x"), STRANGE, "bug"),
    (httpx.ResponseNotRead(), STRANGE, "bug"),
    (httpx.RequestNotRead(), STRANGE, "bug"),
    (httpx.StreamClosed(), STRANGE, "bug"),
    (httpx.StreamConsumed(), STRANGE, "bug"),
    (httpx.StreamError("x"), STRANGE, "bug"),
    (httpcore.ConnectionNotAvailable(), STRANGE, "bug"),
    (Rejected("x"), STRANGE, "bug"),
    (KeyError(CANARY), STRANGE, "bug"),
    (ValueError(CANARY), STRANGE, "bug"),
    (RecursionError(), STRANGE, "bug"),
    (MemoryError(), STRANGE, "bug"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "decided", "words"), CASES, ids=lambda value: type(value).__name__)
def test_every_failure_has_its_verdict(error, decided, words):
    outcome = failure_outcome(error, after_unknown="It is sent again: same key and bytes.")

    assert (outcome.verdict, outcome.halt, outcome.outage) == decided
    assert outcome.error.startswith(type(error).__name__)
    assert words in outcome.error
    assert CANARY not in repr(outcome)
    assert (outcome.status_code, outcome.retry_after, outcome.remote_id) == (None, None, "")
    assert redact_text(outcome.error, DEFAULT_REDACT_KEYS) == outcome.error == clean(outcome.error, 500)


@pytest.mark.parametrize("error", [case[0] for case in CASES], ids=lambda value: type(value).__name__)
def test_a_check_that_failed_is_only_asked_again(error):
    publishing, checking = failure_outcome(error), failure_outcome(error, checking=True)

    sent, checked = "It may have arrived.", "Delivery is checked again later."
    assert checking == Outcome(Verdict.NOT_YET, error=publishing.error.replace(sent, checked))
    assert (checked in checking.error) == (publishing.verdict is Verdict.UNKNOWN)


def test_no_exception_class_of_httpx_is_left_out():
    classes = {
        value for value in vars(httpx).values() if inspect.isclass(value) and issubclass(value, Exception)
    }
    never_raised = {getattr(httpx, "SSEError", None)}  # httpx2: only by its reader of event streams

    assert classes - never_raised <= {type(case[0]) for case in CASES}


@pytest.mark.parametrize("checking", [False, True])
@pytest.mark.parametrize("kind", ["auth", "permission", "config", "rate", "network"])
def test_without_a_token_everything_halts(kind, checking):
    error = Halted("No token: HTTP 429.", kind=kind, status_code=429, correlation_id="c-1", retry_after=7.0)

    assert failure_outcome(error, checking=checking) == Outcome(
        Verdict.HALTED,
        error="No token: HTTP 429.",
        status_code=429,
        correlation_id="c-1",
        halt=Halt(kind),
        retry_after=7.0,
    )


def test_a_context_counts_like_a_cause_and_a_circle_of_them_ends():
    error = httpx.ConnectError("x")
    error.__context__ = untrusted
    assert failure_outcome(error).halt is Halt.CONFIG

    first, second = httpx.ConnectError("x"), httpcore.ConnectError("y")
    first.__cause__, second.__cause__ = second, first
    assert failure_outcome(first).halt is Halt.NETWORK


def test_the_host_is_named_and_nothing_else_of_the_url():
    outcome = failure_outcome(httpx.ConnectError("[Errno 111] Connection refused", request=URL))

    assert outcome.error.startswith("ConnectError (api.mypurecloud.de): [Errno 111] Connection refused. ")
    assert CANARY not in outcome.error


@pytest.mark.parametrize(
    "error",
    [
        httpx.LocalProtocolError(f"Illegal header value b'{CANARY}'"),
        httpx.InvalidURL(f"Invalid port: {CANARY}"),
        httpx.ReadError(f"sent Bearer {CANARY}"),
        httpx.RemoteProtocolError(f"illegal status line: bytearray(b'authorization={CANARY}')"),
        httpx.RequestError(f'"client_secret": "{CANARY}"'),
        RuntimeError(CANARY),
        Halted(f"No token: access_token={CANARY}", kind="config"),
    ],
)
def test_an_exception_that_repeats_a_credential_brings_it_into_no_text(error):
    assert CANARY not in repr(failure_outcome(error))


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadError(CANARY),
        httpx.ConnectError(CANARY),
        Halted(CANARY, kind="auth", correlation_id=CANARY),
    ],
)
def test_a_known_secret_is_masked(error):
    assert CANARY not in repr(failure_outcome(error, secrets=[CANARY]))


def test_a_long_or_hostile_text_becomes_one_line():
    outcome = failure_outcome(httpx.ReadError("a\r\nb\x1b[31m" + "x" * 5000))

    assert outcome.error.startswith(r"ReadError: a\x0d\x0ab\x1b[31mx")
    assert len(outcome.error) == 500
    assert failure_outcome(httpx.ReadError(" ")).error.startswith("ReadError. It may")
    assert failure_outcome(httpx.ReadError("reset.")).error.startswith("ReadError: reset. It may")


@pytest.fixture
def plain_port():
    """The port of a server that answers every connection in plain text."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


def test_httpx_itself_hands_the_tls_error_on(plain_port):
    with pytest.raises(httpx.ConnectError) as caught, httpx.Client(trust_env=False) as client:
        client.post(f"https://127.0.0.1:{plain_port}/")

    outcome = failure_outcome(caught.value)
    assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, Halt.CONFIG)
    assert outcome.error.startswith("ConnectError (127.0.0.1): ")


def test_httpx_itself_hands_a_refused_connection_on():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(httpx.ConnectError) as caught, httpx.Client(trust_env=False) as client:
        client.post(f"http://127.0.0.1:{port}/")

    outcome = failure_outcome(caught.value)
    assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, Halt.NETWORK)
    assert "Connection refused" in outcome.error
