"""The stand-in with planned faults: it responds to some requests like a broken platform or gateway."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.platform import Connection, Platform

#: The number of an event that no plan touches.
WARM_UP = -1
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


@dataclass(frozen=True, slots=True)
class Fault:
    """One faulty response. With ``taken`` the platform accepts the event, and only its response fails."""

    status: int = 0  # 0 resets the connection
    text: str = ""
    taken: bool = False
    #: Seconds by which the correct response is late.
    late: float = 0.0
    #: The correct response ends in the middle of its body.
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One POST of an event."""

    #: The event's number, in the order of enqueueing.
    number: int
    #: How often this event has been posted, including this time.
    nth: int
    bearer: str
    #: ``time.monotonic()``
    at: float


#: None means the correct response.
Rule = Callable[[Request], Fault | None]


class FaultyPlatform(Platform):
    """Serves on a thread; other threads read its counters."""

    def __init__(self, latency: float = 0.0) -> None:
        super().__init__()
        self.latency = latency
        self.rule: Rule | None = None
        self.token_faults: list[Fault] = []
        self.lasting: frozenset[int] = frozenset()
        self.tokens: set[str] = set()
        self.token_requests = 0
        self.posts: Counter[int] = Counter()
        #: By event number, when the client first got proof of acceptance.
        self.proven: dict[int, float] = {}
        #: When faults were given to events that should be accepted in the end.
        self.faults: list[float] = []
        self.transports: set[asyncio.Transport] = set()
        self.port = 0
        self.server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def taken_twice(self) -> int:
        """Events that were accepted under several keys, or sent with different bytes under the same key."""
        events = Counter(json.loads(body)["id"] for _, body, _ in self.taken.values())
        return sum(times > 1 for times in events.values()) + self.stats.drifted

    def begin(
        self, rule: Rule | None, *, lasting: frozenset[int], token_faults: tuple[Fault, ...], down: float
    ) -> None:
        """Start the plan. With ``token_faults`` all tokens issued so far become invalid.

        Faults of ``lasting`` events never end. For ``down`` seconds connections are refused.
        """
        self.rule, self.lasting, self.token_faults = rule, lasting, list(token_faults)
        if token_faults:
            self.tokens.clear()
        if down:
            assert self.loop is not None
            asyncio.run_coroutine_threadsafe(self._refuse(down), self.loop)
            while self.server is not None:
                time.sleep(0.001)

    async def listen(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.server = await self.loop.create_server(
            lambda: FaultyConnection(self), "127.0.0.1", self.port, backlog=512
        )
        self.port = self.server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None
        for transport in list(self.transports):
            transport.abort()

    async def _refuse(self, seconds: float) -> None:
        self.faults.append(time.monotonic())
        await self.close()
        await asyncio.sleep(seconds)
        self.faults.append(time.monotonic())
        await self.listen()

    def token(self) -> tuple[int, str, Fault | None]:
        self.token_requests += 1
        if self.token_faults:
            self.faults.append(time.monotonic())
            return 200, "", self.token_faults.pop(0)
        value = f"token-{self.token_requests}"
        self.tokens.add(value)
        return 200, json.dumps({"access_token": value, "token_type": "bearer", "expires_in": 86400}), None

    def post(self, key: str, body: bytes, bearer: str) -> tuple[int, str, Fault | None]:
        """The correct response (status and body), and the fault to return instead, if any."""
        number = json.loads(body)["data"]["number"]
        self.posts[number] += 1
        if bearer not in self.tokens:
            return 401, UNAUTHORIZED.text, None
        fault = None
        if self.rule is not None and number != WARM_UP:
            fault = self.rule(Request(number, self.posts[number], bearer, time.monotonic()))
        if fault is not None and number not in self.lasting:
            self.faults.append(time.monotonic())
        if fault is not None and not (fault.taken or fault.late or fault.cut):
            return 0, "", fault
        status, text = self.answer("POST", "", key, body)
        if fault is None:
            self.proven.setdefault(number, time.monotonic())
        return status, text, fault


class FaultyConnection(Connection):
    platform: FaultyPlatform

    def __init__(self, platform: FaultyPlatform) -> None:
        super().__init__(platform)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.platform.transports.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.platform.transports.discard(self.transport)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.bearer = ""

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if name.lower() == b"authorization":
            self.bearer = value.decode().removeprefix("Bearer ")

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        platform = self.platform
        method = self.parser.get_method().decode()
        if self.path == "/oauth/token":
            status, text, fault = platform.token()
        elif method == "POST":
            status, text, fault = platform.post(self.key, self.body, self.bearer)
        elif self.bearer not in platform.tokens:
            status, text, fault = 401, UNAUTHORIZED.text, None
        else:
            status, text, fault = *platform.answer(method, self.path, "", b""), None
        wait = platform.latency + (fault.late if fault else 0.0)
        asyncio.get_running_loop().call_later(wait, self.give, status, text, fault)

    def give(self, status: int, text: str, fault: Fault | None) -> None:
        if self.transport.is_closing():  # the client has stopped waiting
            return
        if fault is None or fault.late:
            self.send(status, text)
        elif fault.cut:
            head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
            half = text[: len(text) // 2]
            self.transport.write(f"{head}Content-Length: {len(text)}\r\n\r\n{half}".encode())
            self.transport.close()
        elif fault.status:
            kind = "application/json" if fault.text.startswith("{") else "text/html"
            head = f"HTTP/1.1 {fault.status} X\r\nContent-Type: {kind}\r\n"
            self.transport.write(f"{head}Content-Length: {len(fault.text)}\r\n\r\n{fault.text}".encode())
        else:
            connected: socket.socket = self.transport.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()


def page(status: int, title: str) -> Fault:
    """The HTML page of a gateway or firewall."""
    return Fault(status, f"<!doctype html><html><title>{title}</title><h1>{title}</h1></html>")


def refusal(status: int, code: str) -> Fault:
    """A refusal in the platform's own error format."""
    words = {"message": f"Refused: {code}", "code": code, "status": status, "contextId": "bench"}
    return Fault(status, json.dumps(words))


UNAUTHORIZED = refusal(401, "bad.credentials")


@contextmanager
def faulty_platform(latency: float = 0.0) -> Iterator[FaultyPlatform]:
    """Run a platform on a free port, on a thread of this process."""
    platform, loop = FaultyPlatform(latency), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(platform.listen(), loop).result(10)
        yield platform
    finally:
        asyncio.run_coroutine_threadsafe(platform.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
