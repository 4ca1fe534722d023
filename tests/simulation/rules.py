"""Faults, and when they happen: small functions to combine into a platform's rules."""

from collections.abc import Callable, Collection, Iterator

import httpx

from tests.simulation.platform import SECONDS, Kind, Late, Question, Rule

Fault = Callable[[Question], httpx.Response]

HTML = {"Content-Type": "text/html"}
PAGE = "<html><head><title>Blocked</title></head><body>Request blocked by the web firewall</body></html>"


def _perhaps_taken(question: Question) -> None:
    """Half of the events whose response is lost have arrived."""
    if question.random.random() < 0.5:
        question.answer()


def status(code: int) -> Fault:
    """An internal error in the platform's own error format, such as 500 or 503."""
    body = {"message": "The request could not be served.", "code": "service.error", "status": code}
    return lambda _question: httpx.Response(code, json=body)


def page(code: int) -> Fault:
    """A gateway's HTML page."""
    return lambda _question: httpx.Response(code, text=PAGE, headers=HTML)


def refusal(_question: Question) -> httpx.Response:
    """A 400 in the platform's error format: it refuses this event."""
    body = {"message": "No such schema.", "code": "bad.request", "status": 400, "contextId": "context"}
    return httpx.Response(400, json=body)


def another_event(_question: Question) -> httpx.Response:
    """A response about an event of another source."""
    body = {"specversion": "1.0", "source": "com.example.other", "type": "t", "id": "other"}
    return httpx.Response(409, json=body)


def not_found(_question: Question) -> httpx.Response:
    """A 404 in the platform's error format."""
    body = {"message": "Not found.", "code": "not.found", "status": 404, "contextId": "context"}
    return httpx.Response(404, json=body)


def unauthorized(part: float) -> Rule:
    """401 for this share of the tries: for the request, and for the second one with a new token."""
    body = {"message": "Invalid login.", "code": "authentication.required", "status": 401}
    refused: dict[tuple[Kind, int], float] = {}

    def rule(question: Question) -> httpx.Response | None:
        subject = (question.kind, question.event)
        second = subject in refused and question.at - refused.pop(subject) < 1.0
        if question.kind is Kind.TOKEN or not (second or question.random.random() < part):
            return None
        if not second:
            refused[subject] = question.at
        return httpx.Response(401, json=body)

    return rule


def in_turn(*faults: Fault) -> Rule:
    """Use each of these faults for one request, in order, and then none."""
    left = list(faults)
    return lambda question: left.pop(0)(question) if left else None


def one_of(*faults: Fault) -> Fault:
    """Use one of these at random for each request."""
    return lambda question: question.random.choice(faults)(question)


def rate_limit(seconds: int) -> Fault:
    """429 with Retry-After."""
    body = {"message": "Rate limit exceeded.", "code": "too.many.requests", "status": 429}
    return lambda _question: httpx.Response(429, json=body, headers={"Retry-After": str(seconds)})


def reset(question: Question) -> httpx.Response:
    """The connection closes without a response, in one of the two ways that httpx distinguishes."""
    _perhaps_taken(question)
    if question.random.random() < 0.5:
        raise httpx.ReadError("Connection reset by peer")
    raise httpx.RemoteProtocolError("Server disconnected without sending a response.")


def cut(question: Question) -> httpx.Response:
    """The response ends in the middle of its body."""
    _perhaps_taken(question)
    return httpx.Response(202, stream=_Cut())


class _Cut(httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        yield b'{"id": "rem'
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


def read_timeout(question: Question) -> httpx.Response:
    _perhaps_taken(question)
    raise httpx.ReadTimeout("The read operation timed out")


def refused_connection(_question: Question) -> httpx.Response:
    raise httpx.ConnectError("[Errno 111] Connection refused")


def slowly(seconds: float, question: Question) -> httpx.Response:
    """The ordinary response, late."""
    response = question.answer()
    response.extensions[SECONDS] = seconds
    return response


def of(kind: Kind, rule: Rule) -> Rule:
    return lambda question: rule(question) if question.kind is kind else None


def first(tries: int, fault: Fault) -> Rule:
    """The first ``tries`` publish requests of each event fail."""
    return of(Kind.PUBLISH, lambda question: fault(question) if question.asked <= tries else None)


def between(start: float, end: float, rule: Rule) -> Rule:
    """Apply the rule from simulated second ``start`` to before ``end``."""
    return lambda question: rule(question) if start <= question.at < end else None


def share(part: float, rule: Rule) -> Rule:
    """Apply the rule to this share of the requests."""
    return lambda question: rule(question) if question.random.random() < part else None


def events(numbers: Collection[int], rule: Rule) -> Rule:
    """Apply the rule to these events."""
    return lambda question: rule(question) if question.event in numbers else None


def late(seconds: float, error: httpx.TransportError) -> Fault:
    """No response; the request fails after ``seconds``."""

    def fault(_question: Question) -> httpx.Response:
        raise Late(seconds, error)

    return fault


def refused_token(question: Question) -> httpx.Response | None:
    """The login service does not know the client."""
    if question.kind is not Kind.TOKEN:
        return None
    return httpx.Response(401, json={"error": "invalid_client", "description": "client not found"})


def no_connection_for_token(question: Question) -> httpx.Response | None:
    return refused_connection(question) if question.kind is Kind.TOKEN else None
