"""The endpoints that accept events: what each reads, what it refuses, and how it answers an acceptance."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from genesys_eventbridge.sandbox.memory import Accepted
from genesys_eventbridge.sandbox.options import Options
from genesys_eventbridge.sandbox.tokens import Tokens
from genesys_eventbridge.sandbox.validation import Invalid, check_event, read_json, read_members
from genesys_eventbridge.sandbox.webhook import event_in, token_in
from genesys_eventbridge.sandbox.wire import Reply, Request, error_reply, json_reply


@dataclass(frozen=True, slots=True)
class Arrival:
    """What one request brings.

    ``members`` are the CloudEvent's attributes, empty if there is none; ``event`` is its JSON, or the body
    as it came. ``problem``: why the body cannot be read.
    """

    members: Mapping[str, Any]
    event: bytes
    key: str = ""
    problem: str = ""


NOTHING = Arrival({}, b"")


class Intake(Protocol):
    """One endpoint; everything else about a request is the same at each."""

    #: Whether the status of an accepted event can be asked.
    traceable: bool

    def read(self, request: Request, options: Options) -> Arrival:
        """What the request brings; never raises."""

    def refused_sender(self, request: Request, options: Options) -> Reply | None:
        """The answer to a request without the credential, or None."""

    def media_type(self, options: Options) -> str:
        """The only one that is accepted."""

    def check(self, arrival: Arrival, options: Options) -> None:
        """Raises Invalid if the platform refuses what arrived."""

    def answer(self, accepted: Accepted, options: Options, *, new: bool) -> Reply:
        """The answer to an event that was accepted now (``new``) or before."""


class Publish:
    """``POST {events_path}``: a CloudEvent, under a bearer token and an idempotency key."""

    traceable = True

    def __init__(self, tokens: Tokens, clock: Callable[[], float]) -> None:
        self._tokens = tokens
        self._clock = clock

    def read(self, request: Request, options: Options) -> Arrival:
        key = request.headers.get(options.idempotency_header.lower(), "")
        try:
            return Arrival(read_members(request.body), request.body, key)
        except Invalid as problem:
            return Arrival({}, request.body, key, str(problem))

    def refused_sender(self, request: Request, options: Options) -> Reply | None:
        return self._tokens.refusal(request, options)

    def media_type(self, options: Options) -> str:
        return options.content_type

    def check(self, arrival: Arrival, options: Options) -> None:
        check_event(dict(arrival.members))
        event_type = arrival.members["type"]
        if not options.allows(event_type):
            raise Invalid(f'event type "{event_type}" is not registered')

    def answer(self, accepted: Accepted, options: Options, *, new: bool) -> Reply:
        view = accepted.view(self._clock(), options.deliver_after)
        return json_reply(202 if new else options.replay_status, view)


class Webhook:
    """``POST /api/v2/integrations/webhooks/{token}/events``: any JSON; each request is a new event.

    The token in the path is the only credential. The platform does not look into the JSON: no CloudEvent is
    required, no event type is refused, and no idempotency key is read.
    """

    traceable = False

    def read(self, request: Request, options: Options) -> Arrival:
        try:
            return Arrival(*event_in(request, read_json(request.body)))
        except Invalid as problem:
            return Arrival({}, request.body, problem=str(problem))

    def refused_sender(self, request: Request, options: Options) -> Reply | None:
        if token_in(request.path) == options.webhook_token:
            return None
        return error_reply(request, 404, "The requested resource was not found.")

    def media_type(self, options: Options) -> str:
        return "application/json"

    def check(self, arrival: Arrival, options: Options) -> None:
        """Any JSON will do."""

    def answer(self, accepted: Accepted, options: Options, *, new: bool) -> Reply:
        return json_reply(200, {"invocationId": accepted.remote_id})
