"""The sandbox on a socket: a threaded HTTP/1.1 server with keep-alive that can also hang up."""

import contextlib
import io
import logging
import re
import socket
import socketserver
import sys
import threading
import uuid
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIApplication, WSGIEnvironment

from genesys_eventbridge.platform.wire import is_loopback, normal_host
from genesys_eventbridge.sandbox.wire import HangUp, error_body, json_reply
from genesys_eventbridge.text import clean

log = logging.getLogger("genesys_eventbridge.sandbox")

# The rest of a refused body is read up to here, so that the client sees the response and not a reset.
_DRAIN_LIMIT = 16 * 1024 * 1024
_HOST = re.compile(r"(?P<name>\[[^\]]*\]|[^:\[\]]+)(?::[0-9]{0,5})?")
_LONGEST_NUMBER = 18
_LONGEST_MESSAGE = 200


class SandboxServer:
    """A running server. ``url`` is its base URL; ``close()`` drops every open connection."""

    def __init__(self, app: WSGIApplication, host: str, port: int, *, allow_remote: bool) -> None:
        self._server = _Server(app, host, port, allow_remote=allow_remote)
        bound_host, bound_port = self._server.server_address[:2]
        # From this machine, a server on every address is reached by loopback.
        named = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(bound_host), str(bound_host))  # noqa: S104
        self.port = int(bound_port)
        self.url = f"http://{f'[{named}]' if ':' in named else named}:{bound_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops listening and drops the connections; a second call does nothing."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.drop_connections()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve(
    sandbox: WSGIApplication, host: str = "127.0.0.1", port: int = 0, *, allow_remote: bool = False
) -> SandboxServer:
    """Serves the sandbox from threads; ``port`` 0 takes a free one. Raises OSError if it cannot bind.

    A request whose Host is not a loopback name (localhost, 127.0.0.0/8, [::1]) is answered 421 unless
    ``allow_remote``: a web page whose name was rebound to this machine's address could read and switch the
    sandbox.
    """
    return SandboxServer(sandbox, host, port, allow_remote=allow_remote)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, app: WSGIApplication, host: str, port: int, *, allow_remote: bool) -> None:
        self.app = app
        self.allow_remote = allow_remote
        self._open: set[socket.socket] = set()
        self._opening = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._opening:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._opening:
            self._open.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        with self._opening:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):  # the client was faster
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that disconnects is normal; anything else is a defect of the sandbox."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            log.error("the sandbox failed to answer", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "eventbridge-sandbox"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1  # one write for headers and body

    server: _Server

    def answer(self) -> None:
        length = self._length()
        if length is None:
            return
        body = _Body(self.rfile, length)
        if refusal := self._host_refusal():
            self._drain(body)
            self.send_error(*refusal)
            return
        try:
            chunks, status, headers = self._call(body)
        except HangUp:
            self.close_connection = True
            return
        self._drain(body)
        self._write(status, headers, b"".join(chunks))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  named by the base class
        """Quiet: the page and the ledger show every request."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a request that does not reach the app, in the shape of the platform's errors, and close."""
        shown = clean(message or self.responses.get(code, ("",))[0], _LONGEST_MESSAGE)
        reply = json_reply(code, error_body(str(uuid.uuid4()), code, shown))
        self.request_version = self.protocol_version  # a request line that could not be read has none
        self.close_connection = True
        length = ("Content-Length", str(len(reply.body)))
        self._write(reply.status_line, [*reply.headers, length], reply.body)

    def _length(self) -> int | None:
        """The Content-Length, or None after answering that there is no usable one."""
        given = self.headers.get_all("Content-Length", ["0"])
        text = given[0].strip()
        if self.headers.defects:
            self.send_error(400, "a header line has no colon or no name")
        elif "Transfer-Encoding" in self.headers:
            self.send_error(411, "Content-Length is required")
        elif len(given) > 1:
            self.send_error(400, "Content-Length is repeated")
        elif not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER):
            self.send_error(400, "Content-Length is not a number of bytes")
        else:
            return int(text)
        return None

    def _host_refusal(self) -> tuple[int, str] | None:
        """The status and message for a request that is not addressed to this server, or None.

        RFC 9112, section 3.2: with HTTP/1.1 exactly one Host, and 400 if it is missing or malformed.
        """
        given = self.headers.get_all("Host", [])
        if not given and self.request_version != "HTTP/1.1":
            return None
        if len(given) != 1:
            return 400, "Host is required once"
        found = _HOST.fullmatch(given[0].strip())
        if found is None:
            return 400, "Host is not a host name or address with an optional port"
        if self.server.allow_remote or is_loopback(normal_host(found["name"])):
            return None
        return 421, (
            f"Host {clean(given[0], 60)} is not this machine: use localhost, 127.0.0.1 or [::1]. For other "
            "names start the sandbox with --allow-remote."
        )

    def _call(self, body: "_Body") -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        seen: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
            seen.append((status, headers))
            return io.BytesIO().write  # the legacy write() of WSGI; our app returns its body

        chunks = self.server.app(self._environ(body), start_response)
        return chunks, *seen[0]

    def _environ(self, body: "_Body") -> WSGIEnvironment:
        path, _, query = self.path.partition("?")
        environ: WSGIEnvironment = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": str(self.server.server_address[0]),
            "SERVER_PORT": str(self.server.server_address[1]),
            "SERVER_PROTOCOL": self.request_version,
            "REMOTE_ADDR": self.client_address[0],
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(body.left),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": body,
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in self.headers.items():
            key = "HTTP_" + name.upper().replace("-", "_")
            environ[key] = f"{environ[key]}, {value}" if key in environ else value
        return environ

    def _drain(self, body: "_Body") -> None:
        while body.left and body.taken < _DRAIN_LIMIT and body.read(65536):
            continue
        if body.left:
            self.close_connection = True

    def _write(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        code, _, phrase = status.partition(" ")
        self.send_response(int(code), phrase)
        for name, value in headers:
            self.send_header(name, value)
            if name.lower() == "content-length" and int(value) != len(body):
                self.close_connection = True
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Body:
    """The request's body as wsgi.input: never reads past Content-Length."""

    def __init__(self, stream: Any, length: int) -> None:
        self._stream = stream
        self.left = length
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        wanted = self.left if size < 0 else min(size, self.left)
        data: bytes = self._stream.read(wanted)
        self.left -= len(data)
        self.taken += len(data)
        return data
