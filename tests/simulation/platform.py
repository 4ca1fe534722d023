"""A platform that answers by rules and records each request with its simulated time."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random

import httpx

from tests.simulation.clock import SimulatedClock

#: Seconds that a response takes, unless it sets ``extensions[SECONDS]``.
LATENCY = 0.05
SECONDS = "simulated_seconds"
#: In the extensions of a response that is not a fault.
ORDINARY = "ordinary"
#: Seconds until a request without a response times out: the defaults of REQUEST_DEADLINE and CONNECT_TIMEOUT.
NO_ANSWER = 20.0
NO_CONNECTION = 5.0
TOKEN_LIFE = 3600.0
WEBHOOK = "/api/v2/integrations/webhooks/"


class Kind(StrEnum):
    PUBLISH = "publish"
    CHECK = "check"
    TOKEN = "token"


@dataclass(frozen=True, slots=True)
class Question:
    """One request as a rule sees it.

    ``at`` is in simulated seconds; ``event`` is the event's number in the order of enqueueing, from 0, or -1
    for a token; ``asked`` counts the requests of this kind for this event from 1, including this one.
    ``random`` draws the same numbers for the same question in each run.
    """

    at: float
    kind: Kind
    event: int
    asked: int
    random: Random = field(repr=False)
    #: Returns the ordinary response, and has its effect: the platform accepts the event.
    answer: Callable[[], httpx.Response] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its result: the status code, or 0 and the name of the exception."""

    at: float
    kind: Kind
    event: int
    status: int = 0
    error: str = ""
    #: True unless it got the ordinary response.
    planned_fault: bool = False


class Late(Exception):
    """Raised by a rule to fail with ``error`` after ``seconds`` instead of the usual time."""

    def __init__(self, seconds: float, error: httpx.TransportError) -> None:
        super().__init__(str(error))
        self.seconds = seconds
        self.error = error


#: Returns a faulty response or raises an httpx exception; None: the rule does not apply.
Rule = Callable[[Question], httpx.Response | None]


class SimulatedPlatform(httpx.BaseTransport):
    """The first rule that applies decides. Otherwise every event is accepted, and delivered when checked.

    A key that was used before gets a 409 with the id of its event, as on the platform. The webhook reads no
    key: each request that arrives is accepted.
    """

    def __init__(
        self,
        clock: SimulatedClock,
        rules: Sequence[Rule] = (),
        *,
        seed: int = 1,
        token_life: float = TOKEN_LIFE,
    ) -> None:
        self.clock = clock
        self.token_life = token_life
        self.rules = list(rules)
        self.seed = seed
        self.exchanges: list[Exchange] = []
        #: By event number, the simulated time of the first response that reported its acceptance.
        self.accepted_at: dict[int, float] = {}
        #: How often an event was accepted: by the webhook, or under a new key.
        self.taken: Counter[int] = Counter()
        self._asked: Counter[tuple[Kind, int]] = Counter()
        self._keys: dict[str, int] = {}
        self._tokens = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        at = self.clock.now
        kind, event = self._subject(request)
        self._asked[kind, event] += 1
        asked = self._asked[kind, event]
        question = Question(
            at=at,
            kind=kind,
            event=event,
            asked=asked,
            random=Random(f"{self.seed} {kind} {event} {asked}"),
            answer=lambda: _ordinary(self._answer(kind, event, request)),
        )
        try:
            response = next((each for rule in self.rules if (each := rule(question)) is not None), None)
            response = question.answer() if response is None else response
        except Late as late:
            raise self._failed(late.error, late.seconds, request, Exchange(at, kind, event)) from None
        except httpx.TransportError as error:
            raise self._failed(error, _given_up_after(error), request, Exchange(at, kind, event)) from None
        self.clock.now = at + response.extensions.get(SECONDS, LATENCY)
        ordinary = ORDINARY in response.extensions
        self.exchanges.append(Exchange(at, kind, event, response.status_code, planned_fault=not ordinary))
        if ordinary and kind is Kind.PUBLISH:
            self.accepted_at.setdefault(event, self.clock.now)
        return response

    def _failed(
        self, error: httpx.TransportError, seconds: float, request: httpx.Request, exchange: Exchange
    ) -> httpx.TransportError:
        self.clock.now = exchange.at + seconds
        self.exchanges.append(replace(exchange, error=type(error).__name__, planned_fault=True))
        error.request = request
        return error

    def requests(
        self, kind: Kind, *, start: float = 0.0, end: float = float("inf"), event: int | None = None
    ) -> list[Exchange]:
        """The requests of one kind from ``start`` to before ``end``, of one event if given."""
        return [
            exchange
            for exchange in self.exchanges
            if exchange.kind is kind and start <= exchange.at < end and event in (None, exchange.event)
        ]

    @property
    def last_fault_at(self) -> float:
        """Simulated time of the last fault from a rule; 0.0 if there was none."""
        return max((exchange.at for exchange in self.exchanges if exchange.planned_fault), default=0.0)

    def _subject(self, request: httpx.Request) -> tuple[Kind, int]:
        if request.url.path == "/oauth/token":
            return Kind.TOKEN, -1
        if request.method == "POST":
            return Kind.PUBLISH, json.loads(request.read())["data"]["number"]
        return Kind.CHECK, int(request.url.path.rpartition("-")[2])

    def _answer(self, kind: Kind, event: int, request: httpx.Request) -> httpx.Response:
        if kind is Kind.TOKEN:
            self._tokens += 1
            token = {
                "access_token": f"token-{self._tokens}",
                "token_type": "bearer",
                "expires_in": self.token_life,
            }
            return httpx.Response(200, json=token)
        remote_id = f"remote-{event}"
        if kind is Kind.CHECK:
            return httpx.Response(200, json={"id": remote_id, "status": "delivered"})
        if request.url.path.startswith(WEBHOOK):
            self.taken[event] += 1
            return httpx.Response(200, json={"invocationId": f"invocation-{event}-{self.taken[event]}"})
        key = request.headers["Idempotency-Key"]
        if key in self._keys:
            return httpx.Response(409, json={"id": f"remote-{self._keys[key]}", "status": "accepted"})
        self._keys[key] = event
        self.taken[event] += 1
        return httpx.Response(202, json={"id": remote_id, "status": "accepted"})


def _ordinary(response: httpx.Response) -> httpx.Response:
    response.extensions[ORDINARY] = True
    return response


def _given_up_after(error: httpx.TransportError) -> float:
    if isinstance(error, httpx.ConnectTimeout):
        return NO_CONNECTION
    return NO_ANSWER if isinstance(error, httpx.TimeoutException) else LATENCY
