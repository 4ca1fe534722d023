"""A platform that answers by rule and remembers each request with its simulated time."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random

import httpx

from tests.simulation.clock import SimulatedClock

#: Seconds that an answer takes, unless it says so itself in ``extensions[SECONDS]``.
LATENCY = 0.05
SECONDS = "simulated_seconds"
#: In the extensions of an answer that is no fault.
ORDINARY = "ordinary"
#: Seconds until a request without an answer is given up: REQUEST_DEADLINE and CONNECT_TIMEOUT by default.
NO_ANSWER = 20.0
NO_CONNECTION = 5.0
TOKEN_LIFE = 3600.0


class Kind(StrEnum):
    PUBLISH = "publish"
    CHECK = "check"
    TOKEN = "token"


@dataclass(frozen=True, slots=True)
class Question:
    """One request as a rule sees it.

    ``at`` is in simulated seconds; ``event`` is the event's number in the order of enqueuing, from 0, and -1
    for a token; ``asked`` counts the requests of this kind for this event from 1, this one included.
    ``random`` draws the same numbers for the same question in each run.
    """

    at: float
    kind: Kind
    event: int
    asked: int
    random: Random = field(repr=False)
    #: The ordinary answer, with its effect: the platform takes the event.
    answer: Callable[[], httpx.Response] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what came of it: the status code, or the name of the exception and 0."""

    at: float
    kind: Kind
    event: int
    status: int = 0
    error: str = ""
    #: Not the ordinary answer.
    planned_fault: bool = False


class Late(Exception):
    """``error`` after ``seconds``, where a rule wants it at another time than usual."""

    def __init__(self, seconds: float, error: httpx.TransportError) -> None:
        super().__init__(str(error))
        self.seconds = seconds
        self.error = error


#: The answer of a fault; raises httpx's exceptions where there is no answer. None: not the rule's business.
Rule = Callable[[Question], httpx.Response | None]


class SimulatedPlatform(httpx.BaseTransport):
    """The first rule that answers counts; without one every event is taken, and delivered when asked about.

    A key that was used before is answered with 409 and the id of its event, as the platform does.
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
        #: Simulated time of each event's first acceptance that was answered so, by number.
        self.accepted_at: dict[int, float] = {}
        #: How often an event was taken under a key not seen before.
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
        """The requests of one kind, from ``start`` to before ``end``, of one event if it is given."""
        return [
            exchange
            for exchange in self.exchanges
            if exchange.kind is kind and start <= exchange.at < end and event in (None, exchange.event)
        ]

    @property
    def last_fault_at(self) -> float:
        """Simulated time of the last answer that a rule gave; 0.0 if there was none."""
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
