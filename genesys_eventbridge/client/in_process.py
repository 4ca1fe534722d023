"""A transport that calls a WSGI application in this process: no socket, no port, no thread of a server."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from genesys_eventbridge.client.http import httpx

#: A WSGI application: PEP 3333.
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class InProcessTransport(httpx.BaseTransport):
    """Answers each request by ``application``. An exception of the type ``hang_up`` closes the connection.

    Unlike ``httpx.WSGITransport``, a connection that closes, or a body shorter than its Content-Length, is
    the network error that a socket would give.
    """

    def __init__(self, application: Application, hang_up: type[Exception]) -> None:
        self._application = application
        self._hang_up = hang_up

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        begun: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> None:
            begun.append((status, headers))

        try:
            body = b"".join(self._application(_environ(request), start_response))
        except self._hang_up:
            raise httpx.RemoteProtocolError(
                "Server disconnected without sending a response.", request=request
            ) from None
        status, headers = begun[-1]
        promised = int(dict(headers).get("Content-Length", len(body)))
        return httpx.Response(
            int(status.partition(" ")[0]),
            headers=headers,
            stream=_Body(body, promised, request),
            request=request,
        )


class _Body(httpx.SyncByteStream):
    def __init__(self, content: bytes, promised: int, request: httpx.Request) -> None:
        self._content = content
        self._promised = promised
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        if len(self._content) < self._promised:
            raise httpx.RemoteProtocolError("peer closed connection", request=self._request)


def _environ(request: httpx.Request) -> dict[str, Any]:
    content = request.read()
    environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.url.path.encode().decode("latin-1"),
        "QUERY_STRING": request.url.query.decode("ascii"),
        "SERVER_NAME": request.url.host,
        "SERVER_PORT": str(request.url.port or 443),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(len(content)),
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.url.scheme,
        "wsgi.input": io.BytesIO(content),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        if name.lower() not in ("content-type", "content-length"):
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    return environ
