"""The platform's endpoints (token, publish, status, webhook) as the current scenario answers them."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from genesys_eventbridge.sandbox.faults import ENDPOINTS, LOST_ANSWER, Faults, status_reply, too_many
from genesys_eventbridge.sandbox.hostile import TRAP_PATH, TRICKS, Trick
from genesys_eventbridge.sandbox.intake import NOTHING, Arrival, Intake, Publish, Webhook
from genesys_eventbridge.sandbox.ledger import Attempt, Ledger
from genesys_eventbridge.sandbox.memory import Memory
from genesys_eventbridge.sandbox.options import Options, Scenario
from genesys_eventbridge.sandbox.rates import RateWindow
from genesys_eventbridge.sandbox.tokens import Tokens
from genesys_eventbridge.sandbox.validation import Invalid
from genesys_eventbridge.sandbox.webhook import token_in
from genesys_eventbridge.sandbox.wire import HangUp, Reply, Request, error_reply, json_reply


@dataclass(frozen=True, slots=True)
class _Call:
    """One parsed request: its endpoint, and the event that it brings or asks about."""

    endpoint: str
    request: Request
    arrival: Arrival = NOTHING
    remote_id: str = ""


class Platform:
    """Login service, EventBridge and a webhook of one organisation; every request is in the ledger, once."""

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._tokens = Tokens(clock)
        self._rate = RateWindow(clock)
        self.ledger = Ledger(clock)
        self.memory = Memory(clock)
        self.faults = Faults()
        self._intakes: dict[str, Intake] = {"publish": Publish(self._tokens, clock), "webhook": Webhook()}

    def clear(self) -> None:
        """Forgets everything."""
        for part in (self.ledger, self.memory, self.faults, self._tokens, self._rate):
            part.clear()

    def answer(self, request: Request, options: Options) -> Reply:
        """The response to one request. Raises HangUp if there is none."""
        call = self._read(request, options)
        attempt = self.ledger.begin(
            call.endpoint,
            request,
            call.arrival.members,
            webhook_token=options.webhook_token,
            key=call.arrival.key,
            remote_id=call.remote_id,
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
        endpoint = _endpoint(request.path, options)
        if endpoint in self._intakes:
            return _Call(endpoint, request, self._intakes[endpoint].read(request, options))
        if endpoint == "status":
            remote_id = request.path.removeprefix(options.events_path + "/")
            event = self.memory.find(remote_id)
            arrival = Arrival(event.members, event.body) if event else NOTHING
            return _Call(endpoint, request, arrival, remote_id)
        return _Call(endpoint, request)

    def _spoiled(self, call: _Call, attempt: Attempt, options: Options) -> Reply:
        """Planned faults first, then the scenario, then the honest response."""
        trick: Trick | None = None
        planned = self.faults.take(call.endpoint) if call.endpoint in ENDPOINTS else None
        if planned is not None:
            fault, retry_after = planned
            if isinstance(fault, int):
                return status_reply(call.request, call.endpoint, fault, retry_after)
            if fault == LOST_ANSWER:
                self._honest(call, attempt, options)
                raise HangUp
            trick = TRICKS[call.endpoint][fault]
        elif options.scenario is Scenario.OUTAGE:
            return status_reply(call.request, call.endpoint, 503, "")
        elif options.scenario is Scenario.HOSTILE and call.endpoint in ("publish", "status", "webhook"):
            trick = self.faults.next_trick(call.endpoint)
        if trick is not None and not trick.honest_first:
            return trick.spoil(call.request, {})
        reply = self._honest(call, attempt, options)
        if trick is not None and reply.status in (200, 202, 409):
            return trick.spoil(call.request, json.loads(reply.body))
        return reply

    def _honest(self, call: _Call, attempt: Attempt, options: Options) -> Reply:
        request = call.request
        if intake := self._intakes.get(call.endpoint):
            refused = intake.refused_sender(request, options)
            return refused or self._metered(
                request, options, lambda: self._take(intake, call, attempt, options)
            )
        if call.endpoint == "status":
            refused = self._tokens.refusal(request, options)
            return refused or self._metered(request, options, lambda: self._status(call, options))
        if call.endpoint == "token":
            return self._tokens.answer(request, options)
        if call.endpoint == "trap":
            return json_reply(202, {"id": "evt-from-the-trap", "status": "delivered"})
        return error_reply(request, 404, "The requested resource was not found.")

    def _metered(self, request: Request, options: Options, answer: Callable[[], Reply]) -> Reply:
        """The rate, then the response. The credential comes first, as at a gateway."""
        reading = self._rate.take(options.allowed, options.rate_window)
        if reading is None:
            return answer()
        reply = too_many(request, reading.reset) if reading.over else answer()
        return reply.adding(reading.headers)

    def _take(self, intake: Intake, call: _Call, attempt: Attempt, options: Options) -> Reply:
        if refused := _refusal(intake, call, options):
            return refused
        if options.scenario is Scenario.FLAKY and self.faults.flaky(
            attempt.event or attempt.body_sha256, options.flaky_every, options.flaky_failures
        ):
            return status_reply(call.request, call.endpoint, 503, "")
        arrival = call.arrival
        accepted, new = self.memory.accept(
            arrival.key, arrival.event, arrival.members, options, traceable=intake.traceable
        )
        if new:
            self.ledger.accept(attempt, accepted.remote_id)
            if options.scenario is Scenario.LOST_RESPONSE:
                raise HangUp
        return intake.answer(accepted, options, new=new)

    def _status(self, call: _Call, options: Options) -> Reply:
        if call.request.method != "GET":
            return error_reply(call.request, 405, "the status of an event takes GET", (("Allow", "GET"),))
        event = self.memory.find(call.remote_id)
        if event is None:
            return error_reply(call.request, 404, "The requested resource was not found.")
        return json_reply(200, event.view(self._clock(), options.deliver_after))


def _endpoint(path: str, options: Options) -> str:
    """The endpoint at this path; "other" if there is none, or it belongs to a protocol that is not spoken."""
    if path == options.token_path:
        endpoint = "token"
    elif path == options.events_path:
        endpoint = "publish"
    elif path.startswith(options.events_path + "/"):
        endpoint = "status"
    elif token_in(path) is not None:
        endpoint = "webhook"
    else:
        return "trap" if path == TRAP_PATH else "other"
    return endpoint if endpoint in options.protocol.endpoints else "other"


def _refusal(intake: Intake, call: _Call, options: Options) -> Reply | None:
    """Why the platform refuses this event, or None."""
    request = call.request
    media_type = intake.media_type(options)
    if request.method != "POST":
        return error_reply(request, 405, "events are published by POST", (("Allow", "POST"),))
    if request.media_type != media_type:
        return error_reply(request, 415, f"Content-Type must be {media_type}")
    if request.length > options.max_event_bytes:
        sizes = f"Content-Length: {request.length}, Maximum bytes: {options.max_event_bytes}"
        return error_reply(request, 413, sizes)
    if len(request.body) < request.length:
        return error_reply(request, 400, "the body is shorter than Content-Length")
    if call.arrival.problem:
        return error_reply(request, 400, call.arrival.problem)
    try:
        intake.check(call.arrival, options)
    except Invalid as problem:
        return error_reply(request, 400, str(problem))
    return None
