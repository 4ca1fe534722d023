"""The sandbox: one WSGI callable that stands in for the login service, the EventBridge API and a webhook."""

import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from genesys_eventbridge.sandbox import control, pages
from genesys_eventbridge.sandbox.faults import LOST_ANSWER, Fault
from genesys_eventbridge.sandbox.ledger import Attempt
from genesys_eventbridge.sandbox.options import Options, Scenario
from genesys_eventbridge.sandbox.platform import Platform
from genesys_eventbridge.sandbox.wire import Reply, Request, json_reply, read_request

# A body above this is not read: 413 comes from its Content-Length alone.
READ_LIMIT = 8 * 1024 * 1024


class Sandbox:
    """A platform of one organisation, safe under threads.

    ``Sandbox(scenario="flaky", deliver_after=0)``: any field of Options. ``clock`` is monotonic seconds and
    drives token expiry, delivery, rate windows and the key memory; ``sleep`` holds answers back.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,  # noqa: TID251 - it simulates latency
        **options: Any,
    ) -> None:
        self._options = Options(**options)
        self._switching = threading.Lock()
        self._clock = clock
        self._platform = Platform(clock, sleep)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The WSGI entry point. Raises HangUp if the connection must close without a response."""
        request = read_request(environ, READ_LIMIT)
        reply = self._local(request) or self._platform.answer(request, self._options)
        length = len(reply.body) if reply.promised is None else reply.promised
        headers = [*reply.headers, ("ININ-Correlation-Id", request.correlation_id)]
        start_response(reply.status_line, [*headers, ("Content-Length", str(length))])
        return [reply.body]

    @property
    def options(self) -> Options:
        return self._options

    @property
    def scenario(self) -> Scenario:
        return self._options.scenario

    @scenario.setter
    def scenario(self, name: str) -> None:
        self.configure(scenario=name)

    def configure(self, **changes: Any) -> None:
        """Changes fields of Options from the next request on. Raises ValueError for wrong values."""
        with self._switching:
            self._options = replace(self._options, **changes)

    def register(self, *types: str) -> None:
        """Makes the platform know these event types from now on."""
        with self._switching:
            known = self._options.registered_types
            self._options = replace(
                self._options,
                registered_types=None if known is None else known.union(types),
                refused_types=self._options.refused_types.difference(types),
            )

    def unregister(self, *types: str) -> None:
        """Makes the platform refuse these event types from now on (400, "is not registered")."""
        with self._switching:
            self._options = replace(self._options, refused_types=self._options.refused_types.union(types))

    def fail_next(
        self, fault: Fault, times: int = 1, *, on: str = "", retry_after: str | int | None = None
    ) -> None:
        """Makes the next ``times`` requests to an endpoint fail: "publish", "status", "token" or "webhook".

        Without ``on`` it is the endpoint for events: "publish", or "webhook" if that is the only protocol.
        ``fault`` is a status (nothing is accepted), 0 (the connection closes, nothing is accepted),
        "lost-answer" (accepted, then the connection closes) or the name of a trick in hostile.py
        ("half-body"). A planned 429 has ``Retry-After: 1`` unless ``retry_after`` says otherwise; "" omits
        the header. Raises ValueError.
        """
        endpoints = self._options.protocol.endpoints
        on = on or endpoints[0]
        if on not in endpoints:
            raise ValueError(f"on: {on!r} is unknown; choose from {', '.join(endpoints)}")
        if retry_after is None:
            retry_after = 1 if fault == 429 else ""
        self._platform.faults.plan(fault, times, on, str(retry_after))

    def lose_next_answer(self, times: int = 1, *, on: str = "") -> None:
        """The next ``times`` events are accepted, and the connection closes before the answer: in doubt.

        ``on`` as in ``fail_next``.
        """
        self.fail_next(LOST_ANSWER, times, on=on)

    def stop_failing(self) -> None:
        """Drops the planned faults that have not occurred yet."""
        self._platform.faults.drop()

    @property
    def received(self) -> list[Any]:
        """The accepted CloudEvents, in the order of acceptance; copies.

        An event of the webhook whose attributes came in headers is put together again; one that is no
        CloudEvent is the JSON that came.
        """
        return [json.loads(event.body) for event in self._platform.memory.all()]

    @property
    def requests(self) -> list[Attempt]:
        """Every request to an endpoint, in the order of arrival; copies."""
        return self._platform.ledger.attempts()

    def ledger(self) -> dict[str, Any]:
        """What happened, as in Ledger.as_dict, with the accepted events under ``received``."""
        return {**self._platform.ledger.as_dict(), "received": self.received}

    def reset(self) -> None:
        """Forgets events, keys, tokens, planned faults and the ledger; the options stay."""
        self._platform.clear()

    def state(self) -> dict[str, Any]:
        """The switches as they are now, ready for JSON."""
        options = self._options
        registered = options.registered_types
        return {
            "scenario": options.scenario.value,
            "scenarios": {scenario.value: scenario.meaning for scenario in Scenario},
            "protocol": options.protocol.value,
            "endpoints": list(options.protocol.endpoints),
            "latency_ms": round(options.latency * 1000),
            "rate": options.rate,
            "rate_window": options.rate_window,
            "deliver_after": options.deliver_after,
            "registered_types": None if registered is None else sorted(registered),
            "refused_types": sorted(options.refused_types),
            "planned": self._platform.faults.planned(),
        }

    def _local(self, request: Request) -> Reply | None:
        """The endpoints for people and tests, which no scenario affects."""
        if request.path == "/":
            ledger = self._platform.ledger
            return pages.overview(self.state(), ledger.counts(), ledger.recent(), self._clock())
        if request.path == "/_ledger":
            return json_reply(200, self.ledger())
        if request.path == "/_control":
            return control.answer(self, request)
        return None
