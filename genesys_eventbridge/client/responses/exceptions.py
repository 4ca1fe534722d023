"""One failed request without a response -> one verdict."""

import errno
import re
import socket
import ssl
from collections.abc import Collection, Iterator

from genesys_eventbridge.client.http import httpx
from genesys_eventbridge.defects import report
from genesys_eventbridge.errors import Halted, InvalidEvent
from genesys_eventbridge.platform.answers import CORRELATION_LIMIT, ERROR_LIMIT
from genesys_eventbridge.platform.outcomes import NOT_SENT, Halt, Outcome, Verdict
from genesys_eventbridge.text import DEFAULT_REDACT_KEYS, clean, redact_text
from genesys_eventbridge.text.values import PayloadValues
from genesys_eventbridge.tls import EXHAUSTED, certificate_alert

PROXY_LOGIN = "The proxy requires a login. Put user and password into the URL of PROXY."
#: The status with which a proxy refused a CONNECT, in httpcore's message.
_CONNECT_STATUS = re.compile(r"(?:^|: )([1-5][0-9]{2})(?: |$)")
_CHECKED_AGAIN = "Delivery is checked again later."


def failure_outcome(
    error: Exception,
    *,
    checking: bool = False,
    secrets: Collection[str] = (),
    redact_keys: Collection[str] = DEFAULT_REDACT_KEYS,
    body: str = "",
    after_unknown: str = "It may have arrived.",
) -> Outcome:
    """What an exception of httpx, or ``errors.Halted`` from the token, means for the event.

    If nothing was sent, the destination halts; if bytes may have left, the outcome is UNKNOWN. A request that
    could not be built is REJECTED: a bug for the caller to log. A check (``checking``) is repeated later in
    any case, unless no token can be obtained. An exception may quote what the other side sent: ``secrets``
    and values of the event, which is ``body``, are masked. ``after_unknown`` is the protocol's sentence about
    an unknown outcome.
    """

    def masked(text: str, values: PayloadValues | None = None) -> str:
        return redact_text(text, redact_keys, secrets, values)

    if isinstance(error, Halted):
        return Outcome(
            Verdict.HALTED,
            error=clean(masked(str(error)), ERROR_LIMIT),
            status_code=error.status_code,
            correlation_id=clean(masked(error.correlation_id), CORRELATION_LIMIT),
            halt=Halt(error.kind),
            retry_after=error.retry_after,
        )
    if isinstance(error, InvalidEvent):
        return Outcome(Verdict.REJECTED, error=clean(f"{NOT_SENT}{error}.", ERROR_LIMIT))
    verdict, halt, outage, hint = _judged(error)
    if verdict is Verdict.UNKNOWN:
        hint = f"{hint} {_CHECKED_AGAIN if checking else after_unknown}".strip()
    reason = masked(_reason(error), PayloadValues(body)).rstrip(".")
    line = clean(
        f"{type(error).__name__}{_place(error)}{f': {reason}' if reason else ''}. {hint}", ERROR_LIMIT
    )
    if checking:
        return Outcome(Verdict.NOT_YET, error=line)
    return Outcome(verdict, error=line, halt=halt, outage=outage)


def _judged(error: Exception) -> tuple[Verdict, Halt | None, Halt | None, str]:
    """Verdict, halt, outage and hint."""
    if isinstance(error, httpx.LocalProtocolError | httpx.InvalidURL | UnicodeEncodeError):
        hint = (
            "This request cannot be built. Check EXTRA_HEADERS and IDEMPOTENCY_HEADER; otherwise it is a bug."
        )
        return Verdict.REJECTED, None, None, hint
    if halted := _not_sent(error):
        return Verdict.HALTED, halted[0], None, halted[1]
    if isinstance(error, httpx.RequestError | OSError):
        return Verdict.UNKNOWN, None, Halt.NETWORK, ""
    report(error, "A request failed because of a bug: %s", type(error).__name__)
    return Verdict.UNKNOWN, None, Halt.CONFIG, "This is a bug; please report it."


def _not_sent(error: Exception) -> tuple[Halt, str] | None:
    """The kind of halt and the hint if not one byte of the event left this machine."""
    match error:
        case httpx.ConnectError():
            return _not_connected(error)
        case httpx.ConnectTimeout():
            return Halt.NETWORK, "Nothing was sent. Check the route to the platform and PROXY."
        case httpx.PoolTimeout():
            return Halt.NETWORK, "Nothing was sent: no free connection."
        case httpx.ProxyError():
            return _no_tunnel(error)
        case httpx.UnsupportedProtocol():
            return Halt.CONFIG, "Nothing was sent. Check API_BASE_URL and LOGIN_BASE_URL."
    return None


def _no_tunnel(error: Exception) -> tuple[Halt, str]:
    """A refusal is a configuration error; an unreachable platform or overload is a network error."""
    found = _CONNECT_STATUS.search(str(error))
    status = int(found[1]) if found else 0
    if status == 407:
        return Halt.CONFIG, f"Nothing was sent. {PROXY_LOGIN}"
    if status in {408, 425, 429} or (status >= 500 and status not in {501, 505, 511}):
        return Halt.NETWORK, "Nothing was sent: the proxy cannot reach the platform or is overloaded."
    return Halt.CONFIG, "Nothing was sent. Check PROXY, and whether that proxy allows this host."


def _not_connected(error: Exception) -> tuple[Halt, str]:
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            halt, hint = _no_tls(cause)
            return halt, f"Nothing was sent: {hint}"
    return Halt.NETWORK, next(
        (f"Nothing was sent: {hint}" for cause in causes if (hint := _no_route(cause))),
        "Nothing was sent. Check the route to the platform and PROXY.",
    )


def _no_route(cause: BaseException) -> str:
    if isinstance(cause, socket.gaierror):
        if cause.errno == socket.EAI_AGAIN:
            return "the name server does not respond. Check DNS."
        return "the host name was not found. Check REGION or API_BASE_URL, and DNS."
    number = cause.errno if isinstance(cause, OSError) else None
    if number in {errno.EMFILE, errno.ENFILE}:
        return "no file descriptor was free. Raise the limit of open files (ulimit -n, LimitNOFILE)."
    if number in EXHAUSTED or isinstance(cause, MemoryError):
        return "this host is out of memory."
    return ""


def _no_tls(error: ssl.SSLError) -> tuple[Halt, str]:
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Halt.NETWORK, "the other side ended the TLS handshake."
    if alert := certificate_alert(error):
        return Halt.CONFIG, _CLIENT_CERTIFICATE.get(alert, _CLIENT_CERTIFICATE["bad certificate"])
    table = _UNTRUSTED if isinstance(error, ssl.SSLCertVerificationError) else _NO_HANDSHAKE
    words = str(error).replace("_", " ").lower()
    pattern, hint = next((pattern, hint) for pattern, hint in table if re.search(pattern, words))
    return Halt.NETWORK if pattern == _THEIR_ERROR else Halt.CONFIG, hint


_THEIR_ERROR = r"internal error"
#: By the alert (``tls.certificate_alert``).
_CLIENT_CERTIFICATE = {
    "certificate required": "the other side requires a client certificate. Set CLIENT_CERT.",
    "no certificate": "the other side requires a client certificate. Set CLIENT_CERT.",
    "certificate expired": "the client certificate has expired. Renew the files of CLIENT_CERT.",
    "certificate revoked": "the client certificate has been revoked. Renew the files of CLIENT_CERT.",
    "unknown ca": (
        "the other side does not trust the authority of our client certificate. Set CLIENT_CERT to one from "
        "a trusted authority, with the intermediate certificates."
    ),
    "access denied": "the other side denies access to our client certificate. Check CLIENT_CERT.",
    "bad certificate": (
        "the other side refuses our client certificate, or requires one. Check CLIENT_CERT: its authority, "
        "purpose (client authentication) and dates."
    ),
}
#: Why we reject the other side's certificate, by OpenSSL's message. The first match counts.
_UNTRUSTED = (
    (
        r"hostname mismatch|ip address mismatch|doesn't match",
        "the TLS certificate is for another host name. Check the host in API_BASE_URL or LOGIN_BASE_URL, and "
        "whether a proxy responds in its place.",
    ),
    (r"not yet valid", "the TLS certificate is not valid yet. Check the clock of this host."),
    (
        r"has expired",
        "the TLS certificate has expired. Its owner must renew it; check the clock of this host too.",
    ),
    (
        # X509_V_FLAG_X509_STRICT, on by default from Python 3.13
        r"not marked critical|marked critical|key identifier|key usage|keycertsign|path length"
        r"|name empty|subject alternative name|subject empty|x509v3|explicit ecc",
        "the TLS certificate breaks a rule of RFC 5280 that Python enforces since 3.13. Have the authority's "
        "certificate reissued with critical basicConstraints and keyUsage and with key identifiers "
        "(docs: troubleshooting).",
    ),
    (
        r"",
        "the TLS certificate is not trusted. Set CA_BUNDLE if a proxy or gateway signs with its own "
        "authority.",
    ),
)
#: Why there is no TLS connection.
_NO_HANDSHAKE = (
    (
        r"wrong version number|http request|https proxy request|record layer failure|packet length too long"
        r"|unknown protocol|bad record type|unexpected message",
        "https was used on a port that does not support TLS. Check the port of API_BASE_URL or "
        "LOGIN_BASE_URL, or the scheme of PROXY.",
    ),
    (
        r"protocol version|unsupported protocol|wrong ssl version|no protocols available",
        "the other side has no TLS version in common with us (1.2 or newer). It must be upgraded.",
    ),
    (
        r"unrecognized name",
        "the other side does not serve this host name. Check API_BASE_URL or LOGIN_BASE_URL.",
    ),
    (
        r"handshake failure|no shared cipher|insufficient security|no ciphers|too small|decrypt error"
        r"|legacy renegotiation",
        "the TLS handshake failed: the other side requires a client certificate (CLIENT_CERT), or has no "
        "cipher in common with us.",
    ),
    (_THEIR_ERROR, "the other side reports an internal error in the TLS handshake."),
    (r"", "no TLS connection. Check API_BASE_URL or LOGIN_BASE_URL, and PROXY."),
)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _place(error: Exception) -> str:
    if not isinstance(error, httpx.RequestError):
        return ""
    try:
        return f" ({error.request.url.raw_host.decode()})"
    except RuntimeError:  # raised if httpx does not know the request
        return ""


def _reason(error: Exception) -> str:
    """The exception's own message, unless it may repeat a header or a payload."""
    if isinstance(error, httpx.RequestError | OSError) and not isinstance(error, httpx.LocalProtocolError):
        return str(error).strip()
    return ""
