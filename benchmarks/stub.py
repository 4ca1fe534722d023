"""A platform that takes everything at once, and counts: so that a benchmark measures us and not the sandbox.

In a process of its own: ``with stub(latency=0.05) as platform``.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stub:
    """What a child process of this module tells about itself."""

    def __init__(self, url: str) -> None:
        self.url = url

    def counts(self) -> dict[str, Any]:
        """``requests``, ``accepted`` (different keys), ``again`` (a known key), ``differing`` (a known
        key with another body); ``first`` and ``last``: ``time.time()`` of the first request and the last
        acceptance.
        """
        return self._ask("/counts")

    def arrivals(self) -> dict[str, float]:
        """By event id, ``time.time()`` at which the event came first."""
        return self._ask("/arrivals")

    def _ask(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def stub(latency: float = 0.0) -> Iterator[Stub]:
    """A platform on loopback that holds each answer back for ``latency`` seconds."""
    command = [sys.executable, "-m", "benchmarks.stub", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Stub(process.stdout.readline().strip())
        finally:
            process.kill()


class _Platform:
    """The child's side."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.bodies: dict[str, bytes] = {}
        self.arrived: dict[str, float] = {}
        self.requests = self.again = self.differing = 0
        self.first = self.last = 0.0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode("latin-1").split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines if line)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _version = first.split(" ")
                status, value = await self.answer(method, path, headers, body)
                text = json.dumps(value).encode()
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(text)}\r\n\r\n".encode()
                    + text
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        if path == "/counts":
            return 200, self.counts()
        if path == "/arrivals":
            return 200, self.arrived
        if path == "/oauth/token":
            return 200, {"access_token": "a" * 40, "token_type": "bearer", "expires_in": 86400}
        self.requests += 1
        self.first = self.first or time.time()
        if method == "POST":
            key = headers["idempotency-key"]
            self.take(key, body)
        if self.latency:
            await asyncio.sleep(self.latency)
        if method == "GET":
            return 200, {"id": path.rpartition("/")[2], "status": "delivered"}
        return 202, {"id": f"evt-{key}", "status": "accepted"}

    def take(self, key: str, body: bytes) -> None:
        known = self.bodies.setdefault(key, body)
        if known is not body:
            self.again += 1
            self.differing += known != body
            return
        self.last = time.time()
        self.arrived[json.loads(body)["id"]] = self.last

    def counts(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "accepted": len(self.bodies),
            "events": len(self.arrived),
            "again": self.again,
            "differing": self.differing,
            "first": self.first,
            "last": self.last,
        }


async def _serve(latency: float) -> None:
    platform = _Platform(latency)
    server = await asyncio.start_server(platform.talk, "127.0.0.1", 0, backlog=256)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
