"""A POST to a webhook other than the platform's, signed as the Standard Webhooks ask for."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

from genesys_eventbridge.client.http import httpx
from genesys_eventbridge.client.sockets import Deadline
from genesys_eventbridge.client.transport import DEADLINE, USER_AGENT, DirectTransport, read_answer
from genesys_eventbridge.errors import Halted
from genesys_eventbridge.text import DEFAULT_REDACT_KEYS, clean, redact_text

#: Seconds to connect, within the deadline.
CONNECT_SECONDS = 5.0


def signed_headers(message_id: str, timestamp: int, body: bytes, key: bytes) -> dict[str, str]:
    """The headers that identify and sign a message; ``timestamp`` is in seconds since 1970."""
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    seconds: float,
    ca_bundle: str | None = None,
    proxy: str | None = None,
) -> tuple[int | None, str]:
    """POST JSON once, over a connection of its own, within ``seconds`` in total. Follows no redirect.

    Returns the HTTP status and "", or None and what failed. That text contains neither path nor query of the
    URL, which may hold a secret. An answer that arrived incompletely counts by its status.
    """
    parts = urlsplit(url)
    secrets = tuple(text for text in (parts.path.strip("/"), parts.query) if text)
    deadline = Deadline(seconds)
    try:
        transport = DirectTransport(ca_bundle=ca_bundle, proxy=proxy)
        try:
            address = httpx.URL(url)
            named = {
                "User-Agent": USER_AGENT,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                **headers,
            }
            request = httpx.Request(
                "POST",
                address,
                headers=[(b"Host", address.netloc), *((k.encode(), v.encode()) for k, v in named.items())],
                stream=httpx.ByteStream(body),
                extensions={"timeout": {"connect": min(CONNECT_SECONDS, seconds)}, DEADLINE: deadline},
            )
            return read_answer(transport.handle_request(request), request).status_code, ""
        finally:
            transport.close()
    except (httpx.TransportError, httpx.InvalidURL, Halted, OSError) as error:
        reason = redact_text(str(error), DEFAULT_REDACT_KEYS, secrets)
        return None, clean(f"{type(error).__name__}: {reason}", 300)
