"""The stand-in platform inside a test: every destination is redirected to it, without a socket."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from genesys_eventbridge import conf, counters, wake
from genesys_eventbridge.client.in_process import InProcessTransport
from genesys_eventbridge.client.transport import answered_by
from genesys_eventbridge.db.clock import shifted
from genesys_eventbridge.outbox import due, sweep
from genesys_eventbridge.sandbox import HangUp, Sandbox
from genesys_eventbridge.sandbox.start import CLIENT_SECRET, WEBHOOK_TOKEN

#: No DNS resolves it (RFC 2606): if anything reaches for it after the test, it finds no one.
HOST = "eventbridge-sandbox.invalid"

#: Settings about the real network and the real platform, which have no place in a test.
_OF_THE_REAL_PLATFORM = frozenset(
    {
        "REGION", "API_BASE_URL", "LOGIN_BASE_URL", "CLIENT_ID", "CLIENT_SECRET", "WEBHOOK_TOKEN", "PROXY",
        "CA_BUNDLE", "CLIENT_CERT", "EXTRA_HEADERS", "SCOPES", "TOKEN_PATH", "EVENTS_PATH", "CONTENT_TYPE",
        "IDEMPOTENCY_HEADER", "ACCEPTED_CODES", "DUPLICATE_CODES", "DELIVERED_STATUSES", "FAILED_STATUSES",
        "ALERTS", "WAKE", "PUBLISH_ON_COMMIT", "CONCURRENCY",
    }
)  # fmt: skip


class SimulatedClock(threading.Event):
    """Monotonic seconds that also advance when code waits, and an event for ``stop=`` that is never set.

    While ``running``, the database's clock is ahead by the same number of seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        #: Seconds by which it is ahead of the real clock.
        self.ahead = 0.0
        self._shift: ExitStack | None = None

    def __call__(self) -> float:
        return time.monotonic() + self.ahead

    def advance(self, seconds: float) -> None:
        self.ahead += seconds
        if self._shift is not None:
            self._shift.close()
            self._shift.enter_context(shifted(self.ahead))

    def is_set(self) -> bool:
        return False

    def wait(self, seconds: float | None = None) -> bool:
        self.advance(seconds or 0.0)
        return False

    @contextmanager
    def running(self) -> Iterator[None]:
        self._shift = ExitStack()
        self._shift.enter_context(shifted(self.ahead))
        try:
            yield
        finally:
            self._shift.close()
            self._shift = None


class EventBridgeSandbox(Sandbox):
    """The sandbox on a simulated clock. Its scenarios and options are those of ``Sandbox``.

    ``eventbridge_drain`` and ``advance`` move the clock; latency moves it, too, and holds no one up.
    """

    def __init__(self, clock: SimulatedClock | None = None, **options: Any) -> None:
        self.clock = clock or SimulatedClock()
        super().__init__(clock=self.clock, sleep=lambda _seconds: None, **options)

    def fail_next(
        self, fault: int | str, times: int = 1, *, on: str = "", retry_after: str | int | None = None
    ) -> None:
        """As ``Sandbox.fail_next``. Without ``on``: "webhook" if all destinations are webhooks."""
        if not on and {conf.destination(alias).platform.protocol.name for alias in conf.aliases()} == {
            "webhook"
        }:
            on = "webhook"
        super().fail_next(fault, times, on=on, retry_after=retry_after)

    def advance(self, seconds: float) -> None:
        """Let this many seconds pass on the platform, and for the next drain."""
        self.clock.advance(seconds)


@contextmanager
def sandboxed(**options: Any) -> Iterator[EventBridgeSandbox]:
    """Within this block all destinations send to a new sandbox in this process. Needs no credentials.

    ``options`` are those of ``Sandbox``: ``sandboxed(scenario="flaky")``. Requests are made one after
    another, so that their order is that of the events. No worker is woken.
    """
    sandbox = EventBridgeSandbox(**options)
    # Tokens are remembered by client: another id for each sandbox.
    change = _redirection(f"test-{uuid.uuid4()}")
    with conf.adapted(change), answered_by(HOST, InProcessTransport(sandbox, HangUp)), _own_memory():
        yield sandbox


@contextmanager
def unwoken() -> Iterator[None]:
    """Within this block a commit asks no broker to wake a worker."""
    with conf.adapted(lambda keys: {**_without(keys, {"PUBLISH_ON_COMMIT"}), "WAKE": None}):
        yield


@contextmanager
def _own_memory() -> Iterator[None]:
    """What this process remembers of the outbox belongs to one test: its rows disappear with it."""
    forget()
    try:
        yield
    finally:
        forget()


def forget() -> None:
    for module in (due, sweep, counters, wake):
        module.forget()


def _redirection(client_id: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    url = f"https://{HOST}"

    def change(keys: Mapping[str, Any]) -> Mapping[str, Any]:
        kept = {**_without(keys, _OF_THE_REAL_PLATFORM), "WAKE": None, "CONCURRENCY": 1, "API_BASE_URL": url}
        if keys.get("PROTOCOL") == "webhook":
            return {**kept, "WEBHOOK_TOKEN": WEBHOOK_TOKEN}
        login = {"LOGIN_BASE_URL": url, "CLIENT_ID": client_id, "CLIENT_SECRET": CLIENT_SECRET}
        return {**kept, **login}

    return change


def _without(keys: Mapping[str, Any], names: frozenset[str] | set[str]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if key not in names}
