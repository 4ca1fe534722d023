"""A notice: what a channel gets. JSON for webhooks and the table, text for e-mails."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass
from typing import Any

from django.utils.translation import gettext as _

from genesys_eventbridge.formatting import moment, span
from genesys_eventbridge.states import AlertStatus

#: The ``type`` of a webhook's message is this and the status.
TYPE_PREFIX = "genesys_eventbridge.alert."


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One event concerned. Without its subject, payload and error, which may hold personal data."""

    number: int
    event_id: str
    type: str
    reason: str = ""
    status_code: int | None = None
    #: The page of the event in the admin: a URL if ``site`` is set, else a path; "" without an admin.
    page: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What happened at one destination, for people and for programs. Names and codes are never translated."""

    #: The same for all channels, and for each attempt to send it again.
    id: str
    destination: str
    #: See ``states.AlertKind``; "test" in a test.
    kind: str
    #: opened, more, recovered or test.
    status: str
    #: What it is about, in a line.
    title: str
    #: What is wrong and how much of it, in a sentence or two.
    message: str
    at: dt.datetime
    since: dt.datetime | None = None
    #: Events concerned, and how many of them since the last notice; None if they are not counted.
    number: int | None = None
    more: int | None = None
    example: Example | None = None
    #: The command that helps, or "".
    command: str = ""
    #: The page in the admin to act on: a URL if ``site`` is set, else a path; "" without an admin.
    page: str = ""

    def as_json(self) -> str:
        """The body of a webhook's request, in the form that the Standard Webhooks recommend."""
        data = {**asdict(self), "at": self.at.isoformat(), "since": self.since and self.since.isoformat()}
        document = {"type": f"{TYPE_PREFIX}{self.status}", "timestamp": self.at.isoformat(), "data": data}
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Notice:
        """What ``as_json()`` returned. Raises KeyError, TypeError or ValueError for anything else."""
        data: dict[str, Any] = json.loads(text)["data"]
        example, since = data.pop("example"), data.pop("since")
        return cls(
            **{
                **data,
                "at": dt.datetime.fromisoformat(data["at"]),
                "since": dt.datetime.fromisoformat(since) if since else None,
                "example": Example(**example) if example else None,
            }
        )

    def as_text(self) -> str:
        """The body of an e-mail."""
        lines = [self.title, "", self.message]
        if self.since is not None:
            words = {
                "since": moment(self.since, self.at),
                "span": span((self.at - self.since).total_seconds()),
            }
            if self.status == AlertStatus.RECOVERED:
                lines.append(_("It began at %(since)s and lasted at most %(span)s.") % words)
            else:
                lines.append(_("Known since %(since)s (%(span)s).") % words)
        if self.example is not None:
            lines += ["", _("Example: %(example)s") % {"example": _shown(self.example)}]
            lines += [self.example.page] if self.example.page else []
        if self.command:
            lines += ["", _("What helps: %(command)s") % {"command": self.command}]
        if self.page:
            lines += ["", _("Page: %(page)s") % {"page": self.page}]
        if self.status in (AlertStatus.OPENED, AlertStatus.MORE):
            lines += ["", _("A notice follows when it is over.")]
        return "\n".join(lines)


def _shown(example: Example) -> str:
    facts = [f"#{example.number}", example.type]
    if example.reason:
        facts.append(example.reason)
    if example.status_code is not None:
        facts.append(f"HTTP {example.status_code}")
    return ", ".join(facts)
