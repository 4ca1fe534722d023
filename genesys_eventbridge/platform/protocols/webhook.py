"""The protocol of the integration "Webhook for Events": the token in the path is the credential."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from genesys_eventbridge.cloudevents import attributes
from genesys_eventbridge.cloudevents.binary import binary
from genesys_eventbridge.errors import InvalidEvent, without_arguments
from genesys_eventbridge.platform import values
from genesys_eventbridge.platform.answers import Answer
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Sent, Verdict
from genesys_eventbridge.platform.protocols.base import Channel, Protocol, Request
from genesys_eventbridge.platform.protocols.verdicts import not_accepted, without_proof
from genesys_eventbridge.platform.regions import check_url
from genesys_eventbridge.platform.values import Secret, setting
from genesys_eventbridge.platform.wire import is_invocation

if TYPE_CHECKING:
    from genesys_eventbridge.cloudevents import CloudEvent
    from genesys_eventbridge.platform.config import Platform

#: Most bytes of ``ce-`` headers, names included: gateways refuse more than 8 KiB of headers.
MOST_HEADER_BYTES = 8192
_PATH = "/api/v2/integrations/webhooks/{}/events"
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{4,255}")
_URL = re.compile(r"(https?://[^?#\s]+?)" + _PATH.format("([^/?#]*)") + "/?", re.IGNORECASE)
_NO_WEBHOOK = (
    Halt.CONFIG,
    "No webhook has this token. Check WEBHOOK_TOKEN and REGION, and that the integration still exists.",
)
_PERMISSION = (
    Halt.PERMISSION,
    "The integration may be inactive: activate it under Admin > Integrations. Otherwise this server's "
    "address may be missing on an IP allow-list (PROXY changes the address).",
)
_HALTS = {
    401: _PERMISSION,
    402: _PERMISSION,
    403: _PERMISSION,
    404: _NO_WEBHOOK,
    405: (Halt.CONFIG, "This host has no webhook endpoint. Check REGION or API_BASE_URL."),
    406: (Halt.CONFIG, "The platform does not send JSON. Check API_BASE_URL and PROXY."),
    410: _NO_WEBHOOK,
    415: (Halt.CONFIG, "The platform does not accept this content type. Check the events' datacontenttype."),
}


def _token(value: Any) -> str:
    """A token, or the whole invocation URL with its host in normal form."""
    if not isinstance(value, str):
        raise ValueError("the token of the integration, its invocation URL, or a callable that returns one")
    if "://" not in value:
        if not _TOKEN.fullmatch(value) or not value.strip("."):
            raise ValueError(
                "the token of the integration: 4 to 255 letters, digits and . _ ~ - (no slash, space or "
                "percent sign), or its whole invocation URL"
            )
        return value
    found = _URL.fullmatch(value)
    if not found or not _TOKEN.fullmatch(found[2]) or not found[2].strip("."):
        raise ValueError(
            f"a token, or an invocation URL such as https://api.<domain>{_PATH.format('<token>')}"
        )
    try:
        return check_url(found[1], "API_BASE_URL") + _PATH.format(found[2])
    except ValueError:
        raise ValueError("an invocation URL that begins with https:// and a host name") from None


def _parts(value: str) -> tuple[str | None, str]:
    """The base URL, if the value is an invocation URL, and the token."""
    found = _URL.fullmatch(value)
    return (found[1], found[2]) if found else (None, value)


@dataclass(frozen=True, kw_only=True, repr=False)
class Webhook(Protocol):
    """``POST /api/v2/integrations/webhooks/{token}/events``, answered ``{"invocationId": "..."}``.

    Source: the official Python SDK 269.0.0, ``post_integrations_webhook_events``. No key is honoured and no
    status can be asked. ``webhook_body`` is ``cloudevent`` for the event in structured JSON, or ``data`` for
    its bare data with the attributes in ``ce-`` headers.
    """

    webhook_token: Secret = setting(values.or_callable(_token), secret=True)
    webhook_body: str = setting(values.one_of("cloudevent", "data"), "cloudevent")

    name: ClassVar = "webhook"
    credentials: ClassVar = ("WEBHOOK_TOKEN",)
    unused: ClassVar = frozenset(
        {
            *("LOGIN_BASE_URL", "CLIENT_ID", "CLIENT_SECRET", "SCOPES", "TOKEN_PATH"),
            *("IDEMPOTENCY_HEADER", "IDEMPOTENCY_WINDOW", "IDEMPOTENCY_MARGIN", "CONTENT_TYPE"),
            *("ACCEPTED_CODES", "DUPLICATE_CODES", "DELIVERED_STATUSES", "FAILED_STATUSES"),
            *("CONFIRM", "CHECK_DELAYS", "CONFIRM_FOR", "NOT_FOUND_GRACE"),
        }
    )
    refused: ClassVar = MappingProxyType({"EVENTS_PATH": "the path is made of WEBHOOK_TOKEN"})
    look_at: ClassVar = "in the executions of the workflow that its trigger starts"

    def publish_request(self, platform: Platform, event: Sent, key: str) -> Request:
        _base, token = _parts(platform.read("WEBHOOK_TOKEN", self.webhook_token, _token))
        path = _PATH.format(token)
        if self.webhook_body == "data":
            headers, media_type, body = _binary(event.body)
            return Request("POST", path, (("Content-Type", media_type), *headers), body)
        return Request("POST", path, (("Content-Type", "application/json"),), event.body)

    def publish_outcome(self, answer: Answer, event: Sent) -> Outcome:
        if 200 <= answer.status <= 299:
            return self._answered(answer, event)
        return not_accepted(answer, _HALTS, self.after_unknown)

    def _answered(self, answer: Answer, event: Sent) -> Outcome:
        invocation = answer.usable_id(answer.member("invocationId"))
        failed = answer.final_verdict() is Verdict.FAILED
        if invocation and not failed and not answer.complains(event):
            return answer.outcome(Verdict.ACCEPTED, remote_id=invocation)
        hint = "No proof that the event was accepted: the response has no usable invocationId."
        broken_off = f"The response broke off. {self.after_unknown}"
        return without_proof(answer, hint, broken_off=broken_off, outage=Halt.NETWORK)

    def check_event(self, event: CloudEvent) -> None:
        if self.webhook_body == "data":
            _binary(event.encode())

    def channel(self, platform: Platform) -> Channel:
        return Channel(
            address=_PATH.format("{token}"),
            parameters={"token": "The token of the integration: a credential."},
            content_type="application/json",
            binary=self.webhook_body == "data",
        )

    def problems(self, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if is_invocation(given["api_base_url"]):
            yield (
                "API_BASE_URL",
                "API_BASE_URL is the invocation URL of a webhook. Put it into WEBHOOK_TOKEN, and remove "
                "API_BASE_URL.",
            )
        token = given["webhook_token"]
        base = None if callable(token) else _parts(token)[0]
        if base not in (None, given["api_base_url"]):
            yield (
                "WEBHOOK_TOKEN",
                f"WEBHOOK_TOKEN is an invocation URL of {base}, but REGION or API_BASE_URL names "
                f"{given['api_base_url']}. Remove REGION and API_BASE_URL, or give only the token.",
            )
        extra = given["extra_headers"]
        taken = [] if callable(extra) else [name for name in extra if name.lower().startswith("ce-")]
        if self.webhook_body == "data" and taken:
            yield (
                "EXTRA_HEADERS",
                f"EXTRA_HEADERS contains {taken[0]}. With WEBHOOK_BODY data, headers that begin with ce- are "
                "the attributes of the event.",
            )

    @classmethod
    def api_base_url(cls, given: Mapping[str, Any]) -> str | None:
        token = given.get("WEBHOOK_TOKEN")
        try:
            return None if callable(token) else _parts(_token(token))[0]
        except ValueError:
            return None  # reported with the setting itself

    def secrets(self, platform: Platform) -> tuple[str, ...]:
        return tuple(_parts(value)[1] for value in platform.known_secrets(self))


# The frame of the generated __init__ would contain the token.
Webhook.__init__ = without_arguments(Webhook.__init__)  # type: ignore[method-assign]


def _binary(body: str) -> tuple[tuple[tuple[str, str], ...], str, str]:
    """The event in binary mode. Raises InvalidEvent for what headers or the webhook cannot carry."""
    try:
        headers, media_type, data = binary(body)
    except ValueError:
        raise InvalidEvent("data", 'must be a JSON value, because WEBHOOK_BODY is "data"') from None
    if not attributes.is_json(media_type):
        raise InvalidEvent("datacontenttype", 'must be JSON, because WEBHOOK_BODY is "data"')
    sizes = {name.removeprefix("ce-"): len(name) + len(text) + len(": \r\n") for name, text in headers}
    if (size := sum(sizes.values())) > MOST_HEADER_BYTES:
        raise InvalidEvent(
            max(sizes, key=sizes.__getitem__),
            f'is too long: WEBHOOK_BODY is "data", and the attributes take {size:,} bytes of ce- headers; '
            f"{MOST_HEADER_BYTES:,} are allowed. Shorten it, or send it within data",
        )
    return headers, media_type, data
