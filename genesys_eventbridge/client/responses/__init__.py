"""What the client gets back: a response as an ``Answer``, a token, or an outcome of a failure."""

from __future__ import annotations

from collections.abc import Collection

from genesys_eventbridge.client.http import httpx
from genesys_eventbridge.platform.answers import Answer, parsed
from genesys_eventbridge.platform.outcomes import Rules

#: Response extension: why the body could not be used; the content is then empty.
BODY_PROBLEM = "body_problem"
#: Response extension: why the body did not arrive completely, which is a network failure. May quote the body.
BROKEN_OFF = "broken_off"


def read(response: httpx.Response, rules: Rules, secrets: Collection[str], body: str = "") -> Answer:
    """Parse a response whose content has been read; see ``answers.parsed``."""
    try:
        resource = response.request.url.path.rpartition("/")[2]
    except RuntimeError:  # httpx raises it if the response has no request
        resource = ""
    return parsed(
        response.status_code,
        response.headers.multi_items(),
        response.content,
        rules=rules,
        secrets=secrets,
        body=body,
        resource=resource,
        unusable=response.extensions.get(BODY_PROBLEM, ""),
        broken_off=response.extensions.get(BROKEN_OFF, ""),
    )
