"""The protocol of the tutorial's endpoint: OAuth, a CloudEvent per POST, an idempotency key, a status."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.platform.answers import Answer
from genesys_eventbridge.platform.outcomes import Outcome, Sent
from genesys_eventbridge.platform.protocols.base import Channel, Protocol, Request
from genesys_eventbridge.platform.protocols.eventbridge import publish, status
from genesys_eventbridge.platform.wire import is_invocation
from genesys_eventbridge.text import clean

if TYPE_CHECKING:
    from genesys_eventbridge.platform.config import Platform

_REMOTE_ID = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,255}")


@dataclass(frozen=True, repr=False)
class EventBridge(Protocol):
    """``POST EVENTS_PATH`` and ``GET EVENTS_PATH/{id}``; facts in the reference, "The platform"."""

    name: ClassVar = "eventbridge"
    authenticates: ClassVar = True
    honours_key: ClassVar = True
    confirms: ClassVar = True
    refuses_empty_body: ClassVar = True
    credentials: ClassVar = ("CLIENT_ID", "CLIENT_SECRET")
    unused: ClassVar = frozenset({"ON_DOUBT"})
    after_unknown: ClassVar = "It may have arrived; the same key and bytes are sent again."

    def publish_request(self, platform: Platform, event: Sent, key: str) -> Request:
        if not key:
            raise InvalidEvent("idempotency_key", "is empty")
        headers = (("Content-Type", platform.content_type), (platform.idempotency_header, key))
        return Request("POST", platform.events_path, headers, event.body)

    def publish_outcome(self, answer: Answer, event: Sent) -> Outcome:
        return publish.publish_outcome(answer, event)

    def status_request(self, platform: Platform, remote_id: str) -> Request:
        """The id is quoted as exactly one path segment, whatever it contains.

        Raises ValueError if it cannot be a segment: empty, only dots, or with control characters.
        """
        if not _REMOTE_ID.fullmatch(remote_id) or not remote_id.strip("."):
            raise ValueError(f"remote_id {clean(repr(remote_id), 60)} is not the id of an event")
        return Request("GET", f"{platform.events_path}/{quote(remote_id, safe='')}")

    def status_outcome(
        self, answer: Answer, remote_id: str, event: Sent | None, age: float | None
    ) -> Outcome:
        return status.status_outcome(answer, remote_id, event, age)

    def channel(self, platform: Platform) -> Channel:
        return Channel(address=platform.events_path, content_type=platform.content_type)

    def problems(self, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        header, extra = given["idempotency_header"], given["extra_headers"]
        if not callable(extra) and header.lower() in map(str.lower, extra):
            yield (
                "EXTRA_HEADERS",
                f"EXTRA_HEADERS contains {header}, the IDEMPOTENCY_HEADER, which is set for each event.",
            )
        if given.get("delivered_statuses", frozenset()) & given.get("failed_statuses", frozenset()):
            yield "FAILED_STATUSES", "DELIVERED_STATUSES and FAILED_STATUSES have a value in common."
        if is_invocation(given["api_base_url"] + given["events_path"]):
            yield (
                "EVENTS_PATH",
                "EVENTS_PATH is the path of a webhook, or API_BASE_URL its URL. A webhook confirms nothing "
                'and honours no idempotency key. Set PROTOCOL to "webhook" and WEBHOOK_TOKEN to the token in '
                "that path, and remove both.",
            )
        if given["api_base_url"] + given["events_path"] == given["login_base_url"] + given["token_path"]:
            yield (
                "EVENTS_PATH",
                "EVENTS_PATH and TOKEN_PATH are the same URL, "
                f"{given['api_base_url']}{given['events_path']}. Set EVENTS_PATH to the path of the events.",
            )

    def account(self, platform: Platform) -> str:
        """The client id. Whatever its callable raises is raised."""
        client_id = platform.client_id
        return str(client_id() if callable(client_id) else client_id)
