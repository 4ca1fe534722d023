"""What the code under test enqueued, with assertions that explain what differs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from asgiref.sync import sync_to_async

from genesys_eventbridge.cloudevents import NO_DATA
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.testing.matching import differences, shown

#: Maximum number of events that a failed assertion lists.
MOST_LISTED = 20


class EventBridgeOutbox:
    """The events enqueued since it was created, oldest first; also those of a transaction still open.

    The ``a...`` methods are for async tests.
    """

    def __init__(self) -> None:
        self._after = _last_id()
        self._until: int | None = None

    @property
    def events(self) -> list[OutboxEvent]:
        """The events. ``event.data`` is the payload, ``event.subject`` is "" if there is none."""
        rows = OutboxEvent.objects.on_outbox().filter(pk__gt=self._after)
        if self._until is not None:
            rows = rows.filter(pk__lte=self._until)
        return list(rows.order_by("pk"))

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[OutboxEvent]:
        return iter(self.events)

    def assert_enqueued(
        self,
        type: str,  # noqa: A002 - the CloudEvents word
        *,
        subject: str | None = None,
        data: Any = NO_DATA,
        count: int = 1,
        destination: str | None = None,
        ordering_key: str | None = None,
    ) -> list[OutboxEvent]:
        """Assert that exactly ``count`` events match what is given, and return them.

        ``data`` is a partial match: objects may have more members, at any depth. ``data=None`` is JSON null.
        ``subject=""`` means without a subject. Raises AssertionError, which lists what was enqueued and how
        each event differs.
        """
        __tracebackhide__ = True
        wanted: dict[str, Any] = {"type": type, "subject": subject}
        wanted |= {"destination": destination, "ordering_key": ordering_key}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        events = self.events
        reasons = [_differences(event, wanted, data) for event in events]
        matches = [event for event, differs in zip(events, reasons, strict=True) if not differs]
        if len(matches) == count:
            return matches
        if data is not NO_DATA:
            wanted["data"] = data
        what = ", ".join(f"{name}={shown(value)}" for name, value in wanted.items())
        raise AssertionError(
            f"{_number(len(matches))} with {what} {_were(len(matches))} enqueued, expected {count}.\n"
            + _listing(events, reasons)
        )

    def assert_nothing_enqueued(self) -> None:
        """Raises AssertionError, which lists the events, if there are any."""
        __tracebackhide__ = True
        events = self.events
        if events:
            text = f"{_number(len(events))} {_were(len(events))} enqueued, expected none.\n"
            raise AssertionError(text + _listing(events, [[] for _event in events]))

    async def aevents(self) -> list[OutboxEvent]:
        return await sync_to_async(lambda: self.events)()

    async def aassert_enqueued(
        self,
        type: str,  # noqa: A002 - the CloudEvents word
        **expected: Any,
    ) -> list[OutboxEvent]:
        """``assert_enqueued`` for async tests."""
        __tracebackhide__ = True
        return await sync_to_async(self.assert_enqueued)(type, **expected)

    async def aassert_nothing_enqueued(self) -> None:
        """``assert_nothing_enqueued`` for async tests."""
        __tracebackhide__ = True
        await sync_to_async(self.assert_nothing_enqueued)()

    def close(self) -> None:
        """Ignore what is enqueued from now on."""
        self._until = _last_id()


@contextmanager
def capture_events() -> Iterator[EventBridgeOutbox]:
    """The events enqueued within this block, committed or not; for any test framework, or none."""
    outbox = EventBridgeOutbox()
    try:
        yield outbox
    finally:
        outbox.close()


def _last_id() -> int:
    return OutboxEvent.objects.on_outbox().order_by("-pk").values_list("pk", flat=True).first() or 0


def _differences(event: OutboxEvent, wanted: dict[str, Any], data: Any) -> list[str]:
    found = [
        f"{name} is {shown(getattr(event, name))}, expected {shown(value)}"
        for name, value in wanted.items()
        if getattr(event, name) != value
    ]
    return found if data is NO_DATA else [*found, *differences(data, event.data)]


def _listing(events: list[OutboxEvent], reasons: list[list[str]]) -> str:
    if not events:
        return "Nothing was enqueued."
    lines = ["Enqueued:"]
    for number, (event, differs) in enumerate(zip(events, reasons, strict=True), 1):
        if number > MOST_LISTED:
            lines.append(f"  and {len(events) - MOST_LISTED} more")
            break
        subject = f" subject={shown(event.subject)}" if event.subject else ""
        to = f" destination={shown(event.destination)}" if event.destination != "default" else ""
        lines.append(f"  {number}. {event.type}{subject}{to} data={shown(event.data)}")
        lines += [f"       {reason}" for reason in differs]
    return "\n".join(lines)


def _number(count: int) -> str:
    return f"{count} event" if count == 1 else f"{count or 'no'} events"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
