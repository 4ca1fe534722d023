"""The platform's three endpoints (token, publish, status) as the current scenario answers them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from genesys_eventbridge.sandbox.faults import ENDPOINTS, Faults, status_reply, too_many
from genesys_eventbridge.sandbox.hostile import TRAP_PATH, TRICKS, Trick
from genesys_eventbridge.sandbox.ledger import Attempt, Ledger
from genesys_eventbridge.sandbox.memory import Memory
from genesys_eventbridge.sandbox.options import Options, Scenario
from genesys_eventbridge.sandbox.rates import RateWindow
from genesys_eventbridge.sandbox.tokens import Tokens
from genesys_eventbridge.sandbox.validation import Invalid, check_event, read_members
from genesys_eventbridge.sandbox.wire import HangUp, Reply, Request, error_reply, json_reply


@dataclass(frozen=True, slots=True)
class _Call:
    """One parsed request: its endpoint and what it needs. ``problem``: why the body is not a JSON object."""

    endpoint: str
    request: Request
    members: Mapping[str, Any]
    key: str = ""
    remote_id: str = ""
    problem: str = ""


class Platform:
    """Login service and EventBridge of one organisation; every request is in the ledger, once."""

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._tokens = Tokens(clock)
        self._rate = RateWindow(clock)
        self.ledger = Ledger(clock)
        self.memory = Memory(clock)
        self.faults = Faults()

    def clear(self) -> None:
        """Forgets everything."""
        for part in (self.ledger, self.memory, self.faults, self._tokens, self._rate):
            part.clear()

    def answer(self, request: Request, options: Options) -> Reply:
        """The response to one request. Raises HangUp if there is none."""
        call = self._read(request, options)
        attempt = self.ledger.begin(
            call.endpoint, request, call.members, key=call.key, remote_id=call.remote_id
        )
        status = "closed"
        try:
            reply = self._spoiled(call, attempt, options)
            status = str(reply.status)
            return reply
        finally:
            if options.wait:
                self._sleep(options.wait)
            self.ledger.end(attempt, status)

    def _read(self, request: Request, options: Options) -> _Call:
        if request.path == options.token_path:
            return _Call("token", request, {})
        if request.path == options.events_path:
            key = request.headers.get(options.idempotency_header.lower(), "")
            try:
                return _Call("publish", request, read_members(request.body), key)
            except Invalid as problem:
                return _Call("publish", request, {}, key, problem=str(problem))
        remote_id = request.path.removeprefix(options.events_path + "/")
        if remote_id != request.path:
            event = self.memory.find(remote_id)
            return _Call("status", request, event.members if event else {}, remote_id=remote_id)
        return _Call("trap" if request.path == TRAP_PATH else "other", request, {})

    def _spoiled(self, call: _Call, attempt: Attempt, options: Options) -> Reply:
        """Planned faults first, then the scenario, then the honest response."""
        trick: Trick | None = None
        planned = self.faults.take(call.endpoint) if call.endpoint in ENDPOINTS else None
        if planned is not None:
            fault, retry_after = planned
            if isinstance(fault, int):
                return status_reply(call.request, call.endpoint, fault, retry_after)
            trick = TRICKS[call.endpoint][fault]
        elif options.scenario is Scenario.OUTAGE:
            return status_reply(call.request, call.endpoint, 503, "")
        elif options.scenario is Scenario.HOSTILE and call.endpoint in ("publish", "status"):
            trick = self.faults.next_trick(call.endpoint)
        if trick is not None and not trick.honest_first:
            return trick.spoil(call.request, {})
        reply = self._honest(call, attempt, options)
        if trick is not None and reply.status in (200, 202, 409):
            return trick.spoil(call.request, json.loads(reply.body))
        return reply

    def _honest(self, call: _Call, attempt: Attempt, options: Options) -> Reply:
        if call.endpoint == "token":
            return self._tokens.answer(call.request, options)
        if call.endpoint == "publish":
            return self._metered(call.request, options, lambda: self._publish(call, attempt, options))
        if call.endpoint == "status":
            return self._metered(call.request, options, lambda: self._status(call, options))
        if call.endpoint == "trap":
            return json_reply(202, {"id": "evt-from-the-trap", "status": "delivered"})
        return error_reply(call.request, 404, "The requested resource was not found.")

    def _metered(self, request: Request, options: Options, answer: Callable[[], Reply]) -> Reply:
        """First the bearer, then the rate, then the response: the order of a gateway."""
        uses = options.token_uses if options.scenario is Scenario.EXPIRED_TOKEN else None
        if refused := self._tokens.refusal(request, uses):
            return refused
        reading = self._rate.take(options.allowed, options.rate_window)
        if reading is None:
            return answer()
        reply = too_many(request, reading.reset) if reading.over else answer()
        return reply.adding(reading.headers)

    def _publish(self, call: _Call, attempt: Attempt, options: Options) -> Reply:
        if refused := _refusal(call, options):
            return refused
        if options.scenario is Scenario.FLAKY and self.faults.flaky(
            attempt.event, options.flaky_every, options.flaky_failures
        ):
            return status_reply(call.request, "publish", 503, "")
        event, new = self.memory.accept(call.key, call.request.body, call.members, options)
        view = event.view(self._clock(), options.deliver_after)
        if not new:
            return json_reply(options.replay_status, view)
        self.ledger.accept(attempt, event.remote_id)
        if options.scenario is Scenario.LOST_RESPONSE:
            raise HangUp
        return json_reply(202, view)

    def _status(self, call: _Call, options: Options) -> Reply:
        if call.request.method != "GET":
            return error_reply(call.request, 405, "the status of an event takes GET", (("Allow", "GET"),))
        event = self.memory.find(call.remote_id)
        if event is None:
            return error_reply(call.request, 404, "The requested resource was not found.")
        return json_reply(200, event.view(self._clock(), options.deliver_after))


def _refusal(call: _Call, options: Options) -> Reply | None:
    """Why the platform refuses this publish request, or None."""
    request = call.request
    if request.method != "POST":
        return error_reply(request, 405, "events are published by POST", (("Allow", "POST"),))
    if request.media_type != options.content_type:
        return error_reply(request, 415, f"Content-Type must be {options.content_type}")
    if request.length > options.max_event_bytes:
        sizes = f"Content-Length: {request.length}, Maximum bytes: {options.max_event_bytes}"
        return error_reply(request, 413, sizes)
    if len(request.body) < request.length:
        return error_reply(request, 400, "the body is shorter than Content-Length")
    if call.problem:
        return error_reply(request, 400, call.problem)
    try:
        check_event(dict(call.members))
    except Invalid as problem:
        return error_reply(request, 400, str(problem))
    if not options.allows(call.members["type"]):
        return error_reply(request, 400, f'event type "{call.members["type"]}" is not registered')
    return None
