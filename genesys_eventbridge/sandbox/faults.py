"""What goes wrong next: faults planned one by one, and the counters of the scenarios that fail in turn."""

import threading
from collections import deque

from genesys_eventbridge.sandbox.hostile import TRICKS, Trick
from genesys_eventbridge.sandbox.tokens import oauth_error
from genesys_eventbridge.sandbox.wire import HangUp, Reply, Request, error_reply

ENDPOINTS = tuple(TRICKS)

Fault = int | str
#: The platform accepts the event, and the connection closes before the answer.
LOST_ANSWER = "lost-answer"
_TAKE_EVENTS = ("publish", "webhook")
#: Maximum number of faults planned at one endpoint.
MOST_PLANNED = 10_000


class Faults:
    """Plans and counters, one lock for all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self._planned: dict[str, deque[tuple[Fault, str]]] = {endpoint: deque() for endpoint in ENDPOINTS}
            self._turns = dict.fromkeys(ENDPOINTS, 0)
            self._flaky: dict[str, int] = {}

    def plan(self, fault: Fault, times: int, endpoint: str, retry_after: str) -> None:
        """Answers the next ``times`` requests of ``endpoint`` with ``fault``. Raises ValueError.

        ``endpoint`` is one of ENDPOINTS.
        """
        lost = fault == LOST_ANSWER and endpoint in _TAKE_EVENTS
        if isinstance(fault, str) and not lost and fault not in TRICKS[endpoint]:
            raise ValueError(
                f"fail_next: {fault!r} is unknown; choose a status or {', '.join(TRICKS[endpoint])}"
            )
        if isinstance(fault, int) and fault != 0 and not 300 <= fault <= 999:
            raise ValueError(f"fail_next: {fault!r} is not a status from 300 to 999 or 0 (close unanswered)")
        if not 1 <= times <= MOST_PLANNED:
            raise ValueError(f"times: {times!r} is not a whole number from 1 to {MOST_PLANNED}")
        if not (retry_after.isascii() and (retry_after == "" or retry_after.isprintable())):
            raise ValueError("retry_after: must be printable ASCII")
        with self._lock:
            planned = self._planned[endpoint]
            if len(planned) + times > MOST_PLANNED:
                raise ValueError(
                    f"times: {len(planned)} faults are planned on {endpoint} already, and {MOST_PLANNED} are "
                    "the most. Reset the sandbox to drop them."
                )
            planned.extend([(fault, retry_after)] * times)

    def take(self, endpoint: str) -> tuple[Fault, str] | None:
        """The fault planned for this request, if any; it is used up."""
        with self._lock:
            return self._planned[endpoint].popleft() if self._planned[endpoint] else None

    def drop(self) -> None:
        """Forgets what is planned; the counters stay."""
        with self._lock:
            for plan in self._planned.values():
                plan.clear()

    def planned(self) -> dict[str, list[Fault]]:
        with self._lock:
            return {endpoint: [fault for fault, _ in plan] for endpoint, plan in self._planned.items()}

    def next_trick(self, endpoint: str) -> Trick:
        """The tricks of an endpoint in turn."""
        with self._lock:
            tricks = list(TRICKS[endpoint].values())
            self._turns[endpoint] += 1
            return tricks[(self._turns[endpoint] - 1) % len(tricks)]

    def flaky(self, event: str, every: int, failures: int) -> bool:
        """Whether this try of ``event`` fails: every ``every``-th new event does, ``failures`` times."""
        with self._lock:
            if event not in self._flaky:
                chosen = (len(self._flaky) + 1) % every == 0
                self._flaky[event] = failures if chosen else 0
            self._flaky[event] -= 1
            return self._flaky[event] >= 0


def status_reply(request: Request, endpoint: str, status: int, retry_after: str) -> Reply:
    """The official answer of a planned status. Raises HangUp for 0."""
    if status == 0:
        raise HangUp
    headers = (("Retry-After", retry_after),) if retry_after else ()
    if endpoint == "token" and status in (400, 401):
        known = ("invalid_request", "rate limit exceeded;") if status == 400 else _UNKNOWN_CLIENT
        return oauth_error(status, *known).adding(headers)
    message = _MESSAGES.get((endpoint, status)) or _MESSAGES.get(status, "The sandbox was set to fail.")
    return error_reply(request, status, message, headers)


def too_many(request: Request, seconds: int) -> Reply:
    """429 as every Platform API writes it."""
    message = f"Rate limit exceeded the maximum. Retry the request in [{seconds}] seconds"
    return error_reply(request, 429, message, (("Retry-After", str(seconds)),))


_UNKNOWN_CLIENT = ("invalid_client", "client not found")
_MESSAGES: dict[int | tuple[str, int], str] = {
    ("webhook", 403): "Unable to perform the requested action.",
    403: "Unable to perform the requested action. You are missing the following permission(s): "
    "eventbridge:event:publish",
    404: "The requested resource was not found.",
    429: "Rate limit exceeded the maximum.",
    503: "Service Unavailable",
}
