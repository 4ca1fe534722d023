"""One token request: read the credentials, send one request, return a token or raise why there is none."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from genesys_eventbridge.client.http import httpx
from genesys_eventbridge.client.responses.exceptions import failure_outcome
from genesys_eventbridge.client.responses.token import token_answer
from genesys_eventbridge.client.sockets import Deadline
from genesys_eventbridge.client.transport import DEADLINE, USER_AGENT, DirectTransport, read_answer
from genesys_eventbridge.errors import Halted
from genesys_eventbridge.platform.config import Platform, maskable
from genesys_eventbridge.platform.outcomes import Halt, Token
from genesys_eventbridge.platform.values import Check, Secret, client_id, credential, named
from genesys_eventbridge.text import clean


@dataclass(frozen=True, slots=True, repr=False)
class Basic:
    """Id and secret as a Basic header; ``secrets`` are the texts to mask."""

    header: str
    secrets: tuple[str, ...]

    @classmethod
    def of(cls, platform: Platform) -> Basic:
        """Calls callables. Raises Halted(auth), naming the setting, if a value is unusable."""
        name = _read(platform.client_id or "", client_id, "CLIENT_ID")
        secret = _read(platform.client_secret or "", credential, "CLIENT_SECRET")
        # Unencoded, like the official SDKs; RFC 6749 would form-encode both first.
        encoded = base64.b64encode(f"{name}:{secret}".encode()).decode()
        return cls(f"Basic {encoded}", maskable(secret, encoded))


def ask_for_token(
    platform: Platform,
    basic: Basic,
    deadline: Deadline,
    *,
    transport: httpx.BaseTransport | None,
    secrets: tuple[str, ...] = (),
) -> Token:
    """Send one request, without following redirects, over ``transport`` or a new connection. Raises Halted.

    ``secrets`` are texts to mask in errors, in addition to those of ``basic``.
    """
    request = _request(platform, basic, deadline)
    own = transport or DirectTransport(
        ca_bundle=platform.ca_bundle, proxy=platform.proxy_url(), client_cert=platform.client_cert
    )
    secrets = (*secrets, *basic.secrets, *platform.secrets())
    login_host = request.url.raw_host.decode()
    failure: Halted | None = None
    try:
        response = read_answer(own.handle_request(request), request)
    except Exception as error:  # noqa: BLE001 - whatever broke: the events wait and are not charged
        failure = _failure(error, login_host, secrets)
    finally:
        if own is not transport:
            own.close()
    if failure:  # raised here so that its traceback has no frame with the header
        raise failure
    return token_answer(response, platform.rules, login_host=login_host, secrets=secrets)


def _read(secret: Secret, check: Check, setting: str) -> str:
    try:
        value = secret() if callable(secret) else secret
    except Exception as error:  # noqa: BLE001 - the callable is the user's, and its text may hold the secret
        reason = f"{setting} could not be read: {type(error).__name__}"
    else:
        try:
            return str(named(check, value, setting))
        except ValueError as error:  # its message never shows the value
            reason = str(error)
    raise Halted(clean(f"No token: {reason}", 500), kind=Halt.AUTH.value)


def _request(platform: Platform, basic: Basic, deadline: Deadline) -> httpx.Request:
    form = {"grant_type": "client_credentials"}
    if platform.scopes:
        form["scope"] = " ".join(platform.scopes)
    url = httpx.URL(platform.token_url)
    return httpx.Request(
        "POST",
        url,
        headers={
            "Host": url.netloc.decode(),  # httpx would decode an xn-- label for it, which may fail
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Authorization": basic.header,
        },
        data=form,
        extensions={DEADLINE: deadline, "timeout": platform.timeouts},
    )


def _failure(error: Exception, login_host: str, secrets: tuple[str, ...]) -> Halted:
    """Why there was no response. That the request may have arrived does not matter: repeating it is safe."""
    outcome = failure_outcome(error, secrets=secrets, after_unknown="")
    return Halted(
        clean(f"No token from {login_host}: {outcome.error.strip()}", 500),
        kind=(outcome.halt or Halt.NETWORK).value,
    )
