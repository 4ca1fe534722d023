"""A stand-in that handles about 20,000 POSTs per second, so that no benchmark measures the platform.

``python -m benchmarks.platform`` prints its URL and serves until its input ends. ``POST /reset`` takes
``{"latency": seconds, "rate": requests, "window": seconds}``, ``GET /stats`` returns the counters since then,
and ``GET /arrivals`` the time at which each event first arrived.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import httptools
import uvloop

KEYS = ("idempotency-key", "x-outbox-message-id")
AT_ONCE = {"/stats", "/arrivals", "/reset", "/oauth/token"}
TOKEN = json.dumps({"access_token": "benchmark", "token_type": "bearer", "expires_in": 86400})


@dataclass
class Stats:
    """Counters since the last reset; times are the ``time.monotonic()`` of the responses."""

    requests: int = 0
    accepted: int = 0
    checks: int = 0
    duplicates: int = 0
    #: Duplicates whose body differed from the first request's.
    drifted: int = 0
    limited: int = 0
    at_once: int = 0
    first: float = 0.0
    last: float = 0.0


class Platform:
    """State shared by all connections: remembered keys, the rate limit and the counters."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.reset({})

    def reset(self, wanted: dict[str, float]) -> None:
        self.latency = wanted.get("latency", 0.0)
        self.rate = wanted.get("rate", 0.0)
        self.window = wanted.get("window", 1.0)
        self.stats = Stats()
        #: By key: the assigned id, the body, and the time of arrival.
        self.taken: dict[str, tuple[str, bytes, float]] = {}
        self.open = 0
        self.window_ends = 0.0
        self.left = 0.0

    def answer(self, method: str, path: str, key: str, body: bytes) -> tuple[int, str]:
        if path == "/stats":
            return 200, json.dumps(asdict(self.stats))
        if path == "/arrivals":
            return 200, json.dumps({json.loads(body)["id"]: at for _, body, at in self.taken.values()})
        if path == "/reset":
            self.reset(json.loads(body))
            return 200, "{}"
        if path == "/oauth/token":
            return 200, TOKEN
        self.stats.requests += 1
        if method == "GET":
            self.stats.checks += 1
            return 200, json.dumps({"id": path.rpartition("/")[2], "status": "delivered"})
        return self._publish(key, body)

    def _publish(self, key: str, body: bytes) -> tuple[int, str]:
        now = time.monotonic()
        if self.rate and not self._within_limit(now):
            self.stats.limited += 1
            return 429, ""
        if key in self.taken:
            remote_id, first_body, _ = self.taken[key]
            self.stats.duplicates += 1
            self.stats.drifted += body != first_body
            return 409, json.dumps({"id": remote_id, "status": "accepted"})
        self.stats.accepted += 1
        remote_id = f"evt-{self.stats.accepted}"
        self.taken[key] = remote_id, body, now
        self.stats.first = self.stats.first or now
        self.stats.last = now
        return 202, json.dumps({"id": remote_id, "status": "accepted"})

    def _within_limit(self, now: float) -> bool:
        """Allow ``rate`` requests per window; the first window starts with the first request."""
        if now >= self.window_ends:
            self.window_ends, self.left = now + self.window, self.rate
        self.left -= 1
        return self.left >= 0


class Connection(asyncio.Protocol):
    """One client; responses are sent in the order of its requests."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.parser: Any = httptools.HttpRequestParser(self)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.path, self.key, self.body = "", "", b""

    def on_url(self, url: bytes) -> None:
        self.path += url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.decode().lower() in KEYS:
            self.key = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        platform = self.platform
        method = self.parser.get_method().decode()
        status, text = platform.answer(method, self.path, self.key, self.body)
        if not platform.latency or self.path in AT_ONCE:
            self.send(status, text)
            return
        platform.open += 1
        platform.stats.at_once = max(platform.stats.at_once, platform.open)
        asyncio.get_running_loop().call_later(platform.latency, self.send_late, status, text)

    def send_late(self, status: int, text: str) -> None:
        self.platform.open -= 1
        if not self.transport.is_closing():  # the client may have been killed
            self.send(status, text)

    def send(self, status: int, text: str) -> None:
        wait = max(1, round(self.platform.window_ends - time.monotonic())) if status == 429 else 0
        retry = f"Retry-After: {wait}\r\n" if wait else ""
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{retry}"
        self.transport.write(f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode())


async def serve() -> None:
    platform = Platform()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(platform), "127.0.0.1", 0, backlog=512)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(serve())
