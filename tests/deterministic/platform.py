"""The platform, as far as this simulation needs one: it remembers keys, and what became of each request."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from genesys_eventbridge.client.transport import DEADLINE
from tests.deterministic.choices import Choices
from tests.deterministic.scheduler import Broken, Scheduler, Task

#: Fates of a publish request and how often they are chosen; the first is the ordinary one.
PUBLISH = {
    "accepted": 60.0,
    "accepted late": 6.0,
    "answer lost": 6.0,
    "request lost": 4.0,
    "arrives after the deadline": 4.0,
    "503": 4.0,
    "500 although accepted": 4.0,
    "400": 3.0,
    "429": 2.0,
    "refused connection": 2.0,
    "delivered": 2.0,
    "no proof": 2.0,
    "401": 1.0,
    "403": 1.0,
    "a page": 1.0,
    "423": 1.0,
    "of another event": 1.0,
}
CHECK = {
    "the status": 60.0,
    "not yet": 8.0,
    "404": 2.0,
    "500": 3.0,
    "no answer": 4.0,
    "429": 1.0,
    "failed": 1.0,
}
#: Seconds that a request takes, and until one without an answer times out.
TAKES = (0.05, 0.5, 2.0)
TIMEOUT = 4.0
#: Seconds after which the platform closes a connection on which nothing moves.
IDLE = 3600.0


@dataclass
class Accepted:
    """An event that the platform took."""

    at: float
    step: int
    event_id: str
    number: int
    key: str
    body: str
    remote_id: str
    status: str = "delivered"


@dataclass
class Publish:
    """A publish request that is under way."""

    event_id: str
    worker: Task
    freezes: int


@dataclass
class Platform:
    """Recognises a key for ``window`` seconds."""

    scheduler: Scheduler
    choices: Choices
    window: float
    calm: bool = False
    #: Whether a key is recognised: without, each request is another acceptance.
    honours_key: bool = True
    #: How often each fate is chosen.
    publish_fates: Mapping[str, float] = field(default_factory=lambda: PUBLISH)
    check_fates: Mapping[str, float] = field(default_factory=lambda: CHECK)
    #: The clock was not set ahead by more than two leases, which ends those of rows that wait to be sent.
    leases_last: bool = True
    #: The ids that are stored as proof of an acceptance.
    known_ids: Callable[[], list[str]] = list
    #: Types of which most events are refused.
    refused: tuple[str, ...] = ()
    accepted: list[Accepted] = field(default_factory=list)
    #: Called with the kind of message ("send", "accept", "answer" or "no login"), the event's id and details.
    tell: Callable[[str, str, dict[str, Any]], None] = lambda what, event, detail: None
    requests: int = 0
    #: Requests that are not answered yet.
    open: list[Publish] = field(default_factory=list)
    _by_key: dict[str, Accepted] = field(default_factory=dict)
    _by_id: dict[str, Accepted] = field(default_factory=dict)

    def take(self, event: dict[str, Any], key: str, body: str) -> tuple[Accepted, bool]:
        """The acceptance of this key, and whether there was one before."""
        known = self._by_key.get(key) if self.honours_key else None
        if known is not None and self.scheduler.now - known.at < self.window:
            return known, True
        new = Accepted(
            at=self.scheduler.now,
            step=self.scheduler.steps,
            event_id=event["id"],
            number=event["data"]["number"],
            key=key,
            body=body,
            remote_id=f"remote-{len(self.accepted) + 1}",
        )
        self.accepted.append(new)
        self._by_key[key] = self._by_id[new.remote_id] = new
        self.tell("accept", new.event_id, {"key": key, "body": body})
        return new, False

    def named(self, remote_id: str) -> Accepted | None:
        return self._by_id.get(remote_id)


class Transport(httpx.BaseTransport):
    """The way of one sender thread to the platform, with its steps and faults."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Like the package's transport it sends nothing after the deadline."""
        logs_in = request.url.path == "/oauth/token"
        if request.extensions[DEADLINE].left() <= 0:
            if logs_in:
                self.platform.tell("no login", "", {})
            raise httpx.ConnectTimeout("no time is left", request=request)
        if logs_in:
            token = {"access_token": "token", "token_type": "bearer", "expires_in": 86400}
            return httpx.Response(200, json=token)
        if request.method == "POST":
            return self._publish(request)
        return self._check(request)

    def _fate(self, stream: str, fates: Mapping[str, float]) -> str:
        if self.platform.calm:
            return next(iter(fates))
        return list(fates)[self.platform.choices.pick(stream, list(fates.values()))]

    def _pass_time(self, what: str, stream: str) -> None:
        """The connection of a worker that was frozen for long is closed: no request leaves hours later."""
        takes = 0 if self.platform.calm else self.platform.choices.one_of(stream, len(TAKES))
        scheduler, began = self.platform.scheduler, self.platform.scheduler.now
        scheduler.wait(what, seconds=TAKES[takes])
        if scheduler.now - began > IDLE:
            raise httpx.ReadError("the platform closed the connection")

    def _publish(self, request: httpx.Request) -> httpx.Response:
        platform, scheduler = self.platform, self.platform.scheduler
        body = request.read().decode()
        event, key = json.loads(body), request.headers.get("Idempotency-Key", "")
        number = event["data"]["number"]
        me = scheduler.me
        self._judge_alone(event["id"], me)
        platform.requests += 1
        fate = self._fate(f"publish {number}", platform.publish_fates)
        if event["type"] in platform.refused and not platform.calm:
            fate = "400" if platform.choices.chance(f"refuses {event['type']}", 0.9) else fate
        platform.tell("send", event["id"], {"fate": fate, "key": key, "body": body})
        under_way = Publish(event["id"], me, me.freezes)
        platform.open.append(under_way)
        try:
            response = self._fated(fate, event, key, body, request)
        except httpx.TransportError:
            platform.tell("answer", event["id"], {"status": None})
            raise
        finally:
            platform.open.remove(under_way)
        platform.tell("answer", event["id"], {"status": response.status_code})
        return response

    def _judge_alone(self, event_id: str, me: Task) -> None:
        """One request at a time for an event, except beside one whose worker was frozen or killed."""
        for other in self.platform.open if self.platform.leases_last else []:
            if other.event_id == event_id and other.worker.freezes == other.freezes == 0 and not me.freezes:
                raise Broken(f"two requests at once for {event_id}: {other.worker.name} and {me.name}")

    def _fated(  # noqa: C901 - one branch per fate
        self, fate: str, event: dict[str, Any], key: str, body: str, request: httpx.Request
    ) -> httpx.Response:
        platform, scheduler, number = self.platform, self.platform.scheduler, event["data"]["number"]
        if fate == "refused connection":
            scheduler.wait(f"is refused a connection for {number}", seconds=0.05)
            raise httpx.ConnectError("refused", request=request)
        if fate == "request lost":
            self._time_out(f"asks about {number}, in vain", request)
        if fate == "arrives after the deadline":
            scheduler.spawn(
                f"network-{platform.requests}", lambda: self._arrive_late(event, key, body), "network"
            )
            self._time_out(f"publishes {number}, too slowly", request)
        self._pass_time(f"publishes {number}", f"takes {number}")
        refused = {"503": 503, "400": 400, "429": 429, "401": 401, "403": 403, "423": 423}
        if fate in refused:
            headers = {"Retry-After": "3"} if fate in ("503", "429") else {}
            return httpx.Response(
                refused[fate], headers=headers, json={"message": fate, "status": refused[fate]}
            )
        if fate == "a page":
            return httpx.Response(200, text="<html>login</html>", headers={"Content-Type": "text/html"})
        if fate == "a gateway":
            return httpx.Response(403, text="<html>blocked</html>", headers={"Content-Type": "text/html"})
        if fate == "no such path":
            return httpx.Response(404, text="<html>none</html>", headers={"Content-Type": "text/html"})
        others = [each for each in platform.known_ids() if self._is_of_another(each, event)]
        if fate == "another's id" and others:
            return httpx.Response(202, json={"id": others[-1], "status": "accepted"})
        if fate == "of another event":
            other = {"specversion": "1.0", "id": "other", "source": "other", "type": "other", "data": {}}
            return httpx.Response(409, json=other)
        taken, before = platform.take(event, key, body)
        scheduler.note(f"{number} is {'known' if before else 'accepted'} as {taken.remote_id}")
        if fate == "answer lost":
            self._time_out(f"waits for the answer about {number}", request)
        if fate == "500 although accepted":
            return httpx.Response(500, json={"message": "500", "status": 500})
        if fate == "accepted late":
            scheduler.wait(f"waits for the answer about {number}", seconds=TIMEOUT - 1.0)
        self._pass_time(f"is answered about {number}", f"answers {number}")
        if fate == "no proof":
            return httpx.Response(202, json={})
        status = "delivered" if fate == "delivered" else "accepted"
        if not platform.honours_key:
            return httpx.Response(200, json={"invocationId": taken.remote_id})
        return httpx.Response(409 if before else 202, json={"id": taken.remote_id, "status": status})

    def _is_of_another(self, remote_id: str, event: dict[str, Any]) -> bool:
        known = self.platform.named(remote_id)
        return known is not None and known.event_id != event["id"]

    def _time_out(self, what: str, request: httpx.Request) -> None:
        self.platform.scheduler.wait(what, seconds=TIMEOUT)
        raise httpx.ReadTimeout("timed out", request=request)

    def _arrive_late(self, event: dict[str, Any], key: str, body: str) -> None:
        number = event["data"]["number"]
        after = (0.5, 15.0, 60.0)[self.platform.choices.one_of(f"late {number}", 3)]
        self.platform.scheduler.wait(f"carries {number}", seconds=TIMEOUT + after)
        self.platform.take(event, key, body)

    def _check(self, request: httpx.Request) -> httpx.Response:
        remote_id = request.url.path.rpartition("/")[2]
        self.platform.requests += 1
        fate = self._fate(f"check {remote_id}", self.platform.check_fates)
        self._pass_time(f"checks {remote_id}", f"takes {remote_id}")
        if fate == "no answer":
            self._time_out("waits for the status", request)
        if fate in ("404", "500", "429"):
            return httpx.Response(int(fate), json={"message": fate, "status": int(fate)})
        known = self.platform.named(remote_id)
        if known is None:
            raise Broken(f"asks about {remote_id}, which the platform never gave out")
        if fate == "failed":
            known.status = "failed"
        status = "accepted" if fate == "not yet" else known.status
        return httpx.Response(200, json={"id": remote_id, "status": status})
