"""A TCP proxy that adds milliseconds to each round trip: ``python -m benchmarks.slow_link PORT MS``.

Forwards to PORT on loopback, prints the loopback port it listens on, and serves until its input ends.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop


class Link:
    def __init__(self, port: int, seconds: float) -> None:
        self.port = port
        self.seconds = seconds

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client: delay what it sends, forward what it receives at once."""
        there, back = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(self._copy(reader, back, self.seconds), self._copy(there, writer, 0.0))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await reader.read(65536):
                if seconds:
                    loop.call_later(seconds, self._write, writer, data)
                else:
                    self._write(writer, data)
        except ConnectionError:
            pass
        loop.call_later(seconds, writer.close)

    @staticmethod
    def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
        if not writer.is_closing():
            writer.write(data)


async def serve() -> None:
    port, milliseconds = sys.argv[1:]
    link = Link(int(port), float(milliseconds) / 1000)
    server = await asyncio.start_server(link.join, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(serve())
