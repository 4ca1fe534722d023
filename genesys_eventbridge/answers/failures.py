"""One failure on the way to the platform, where no answer was read -> one verdict."""

import socket
import ssl
from collections.abc import Collection, Iterator

import httpx

from genesys_eventbridge.answers.reading import CORRELATION_LIMIT, ERROR_LIMIT
from genesys_eventbridge.errors import Halted
from genesys_eventbridge.text import DEFAULT_REDACT_KEYS, clean, redact_text
from genesys_eventbridge.verdicts import Halt, Outcome, Verdict

PROXY_LOGIN = "The proxy wants a login. Put user and password into the URL of PROXY."
_AGAIN = "It may have arrived; the same key and bytes are sent again."


def failure_outcome(error: Exception, *, checking: bool = False, secrets: Collection[str] = ()) -> Outcome:
    """What an exception of httpx, or ``errors.Halted`` from the token, means for the event.

    Where nothing was sent, the destination halts; where bytes may have left, the outcome is UNKNOWN. A
    request that could not be built is REJECTED: a defect for the caller to log. A check
    (``checking``) is repeated later whatever happened, unless no token is to be had.
    """
    if isinstance(error, Halted):
        return Outcome(
            Verdict.HALTED,
            error=clean(_told(str(error), secrets), ERROR_LIMIT),
            status_code=error.status_code,
            correlation_id=clean(_told(error.correlation_id, secrets), CORRELATION_LIMIT),
            halt=Halt(error.kind),
            retry_after=error.retry_after,
        )
    verdict, halt, outage, hint = _judged(error)
    told = _told(_reason(error), secrets).rstrip(".")
    line = clean(f"{type(error).__name__}{_place(error)}{f': {told}' if told else ''}. {hint}", ERROR_LIMIT)
    if checking:
        return Outcome(Verdict.NOT_YET, error=line)
    return Outcome(verdict, error=line, halt=halt, outage=outage)


def _judged(error: Exception) -> tuple[Verdict, Halt | None, Halt | None, str]:
    """Verdict, halt, outage and what to do."""
    if isinstance(error, httpx.LocalProtocolError | httpx.InvalidURL | UnicodeEncodeError):
        hint = (
            "This request cannot be written. Check EXTRA_HEADERS and IDEMPOTENCY_HEADER; else it is a defect."
        )
        return Verdict.REJECTED, None, None, hint
    if halted := _not_sent(error):
        return Verdict.HALTED, halted[0], None, halted[1]
    if isinstance(error, httpx.RequestError | OSError):
        return Verdict.UNKNOWN, None, Halt.NETWORK, _AGAIN
    return Verdict.UNKNOWN, None, Halt.CONFIG, f"This is a defect; please report it. {_AGAIN}"


def _not_sent(error: Exception) -> tuple[Halt, str] | None:
    """The kind of halt where not one byte of the event left this machine."""
    match error:
        case httpx.ConnectError():
            return _not_connected(error)
        case httpx.ConnectTimeout():
            return Halt.NETWORK, "Nothing was sent. Check the route to the platform and PROXY."
        case httpx.PoolTimeout():
            return Halt.NETWORK, "Nothing was sent: no free connection."
        case httpx.ProxyError():
            if str(error).lstrip().startswith("407") or ": 407" in str(error):
                return Halt.CONFIG, f"Nothing was sent. {PROXY_LOGIN}"
            return Halt.CONFIG, "Nothing was sent. Check PROXY, and whether that proxy lets us through."
        case httpx.UnsupportedProtocol():
            return Halt.CONFIG, "Nothing was sent. Check API_BASE_URL and LOGIN_BASE_URL."
    return None


def _not_connected(error: Exception) -> tuple[Halt, str]:
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError) for cause in causes):
        return Halt.NETWORK, "Nothing was sent: the other side ended the TLS handshake."
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return Halt.CONFIG, (
            "Nothing was sent: the TLS certificate cannot be trusted. Check the host name, the clock, and "
            "CA_BUNDLE where a proxy signs with its own authority."
        )
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return (
            Halt.NETWORK,
            "Nothing was sent: this name is not found. Check REGION or API_BASE_URL, and DNS.",
        )
    return Halt.NETWORK, "Nothing was sent. Check the route to the platform and PROXY."


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
        return f" ({error.request.url.host})"
    except RuntimeError:  # raised where httpx was not told the request
        return ""


def _reason(error: Exception) -> str:
    """The exception's own words, unless they may repeat a header or a payload."""
    if isinstance(error, httpx.RequestError | OSError) and not isinstance(error, httpx.LocalProtocolError):
        return str(error).strip()
    return ""


def _told(text: str, secrets: Collection[str]) -> str:
    return redact_text(text, DEFAULT_REDACT_KEYS, secrets)
