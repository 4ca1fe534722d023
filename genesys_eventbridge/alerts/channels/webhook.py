"""A webhook: JSON, signed as the Standard Webhooks ask for (standardwebhooks.com)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from genesys_eventbridge import conf
from genesys_eventbridge.alerts.channels.attempts import Attempt, NotSent
from genesys_eventbridge.client.webhooks import post, signed_headers
from genesys_eventbridge.conf.alerts import signing_key, webhook_url
from genesys_eventbridge.defects import report
from genesys_eventbridge.errors import Halted
from genesys_eventbridge.platform.values import Secret

Result = TypeVar("Result")


def send(attempt: Attempt) -> None:
    """One POST by the destination's PROXY, with TLS checked against its CA_BUNDLE; redirects are refused."""
    alerts, notice = attempt.alerts, attempt.notice
    url = _read("webhook", alerts.webhook, webhook_url)
    key = _read("secret", alerts.secret, signing_key)
    platform = conf.destination(attempt.alias).platform
    body = notice.as_json().encode()
    headers = signed_headers(notice.id, int(time.time()), body, key)
    try:
        proxy = platform.proxy_url()
    except Halted as error:
        raise NotSent(str(error)) from None
    status, failure = post(
        url, body, headers, seconds=attempt.seconds, ca_bundle=platform.ca_bundle, proxy=proxy
    )
    if status is None:
        raise NotSent(failure, "check the URL, the route to its host, PROXY and CA_BUNDLE")
    if not 200 <= status < 300:
        raise NotSent(f"HTTP {status}", _remedy(status))


def _read(name: str, value: Secret | None, check: Callable[[str], Result]) -> Result:
    """The value of a setting, from its callable if it is one. Raises NotSent, without the value."""
    try:
        return check(value() if callable(value) else value or "")
    except ValueError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - the project's code, and its text may hold the secret
        report(error, "The callable for %s of ALERTS raised %s", name, type(error).__name__)
        reason = f"readable, but its callable raised {type(error).__name__}"
    raise NotSent(f"{name} of ALERTS must be {reason}")


def _remedy(status: int) -> str:
    if 300 <= status < 400:
        return "redirects are not followed: set the final URL"
    if status in (401, 403):
        return "the endpoint refuses the signature or the sender: check secret"
    if status in (404, 405, 410):
        return "check the URL of webhook: this endpoint takes no POST"
    return "see the log of the endpoint"
