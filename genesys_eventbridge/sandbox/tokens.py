"""The sandbox's login service: client credentials in, bearer tokens out, with expiry."""

import base64
import binascii
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from genesys_eventbridge.sandbox.options import Options, Scenario
from genesys_eventbridge.sandbox.rates import RateWindow
from genesys_eventbridge.sandbox.wire import Reply, Request, error_reply, json_reply


@dataclass(slots=True)
class _Issued:
    expires: float
    uses: int = 0


class Tokens:
    """Issues tokens and explains why a bearer is refused. Tokens live in memory only."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rate = RateWindow(clock)
        self._issued: dict[str, _Issued] = {}

    def clear(self) -> None:
        with self._lock:
            self._issued.clear()
        self._rate.clear()

    def answer(self, request: Request, options: Options) -> Reply:
        """The response to a token request, with errors in OAuth's format."""
        if request.method != "POST":
            return error_reply(request, 405, "the token endpoint takes POST", (("Allow", "POST"),))
        reading = self._rate.take(options.token_rate, options.rate_window)
        if reading is not None and reading.over:
            return oauth_error(
                400, "invalid_request", f"rate limit exceeded; retry in {reading.reset} seconds"
            )
        if problem := _refused_form(request):
            return problem
        if not _known(request.headers.get("authorization", ""), options):
            return oauth_error(401, "invalid_client", "client not found")
        return json_reply(200, self._issue(options), (("Cache-Control", "no-store"),))

    def refusal(self, request: Request, options: Options) -> Reply | None:
        """Why the bearer of a request is refused (401), or None."""
        uses = options.token_uses if options.scenario is Scenario.EXPIRED_TOKEN else None
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        now = self._clock()
        with self._lock:
            issued = self._issued.get(value.strip()) if scheme.lower() == "bearer" else None
            if issued is not None:
                issued.uses += 1
                if now < issued.expires and (uses is None or issued.uses <= uses):
                    return None
                return error_reply(request, 401, "The token has expired.")
        return error_reply(request, 401, "No authentication bearer token specified, or it is not known.")

    def _issue(self, options: Options) -> dict[str, object]:
        now = self._clock()
        value = secrets.token_urlsafe(32)
        with self._lock:
            self._issued = {key: kept for key, kept in self._issued.items() if now < kept.expires}
            self._issued[value] = _Issued(now + options.token_lifetime)
        return {"access_token": value, "token_type": "bearer", "expires_in": options.token_lifetime}


def oauth_error(status: int, error: str, description: str) -> Reply:
    """An error as the login service writes it, with both description keys."""
    return json_reply(status, {"error": error, "description": description, "error_description": description})


def _refused_form(request: Request) -> Reply | None:
    if request.media_type != "application/x-www-form-urlencoded":
        return oauth_error(400, "invalid_request", "the body must be application/x-www-form-urlencoded")
    form = parse_qs(request.body.decode("utf-8", "replace"))
    if form.get("grant_type") != ["client_credentials"]:
        return oauth_error(400, "unsupported_grant_type", "grant_type must be client_credentials")
    return None


def _known(authorization: str, options: Options) -> bool:
    scheme, _, encoded = authorization.partition(" ")
    try:
        client, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return False
    if scheme.lower() != "basic" or not client or not secret:
        return False
    return options.credentials is None or options.credentials.get(client) == secret
