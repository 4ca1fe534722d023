"""A raw TCP server on loopback that sends exactly what a test scripts, valid or not."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Timeout in seconds, reached only if something hangs.
HANG = 30.0


@dataclass(frozen=True)
class Request:
    """One request as it was received."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, f"{name} was sent {len(values)} times"
        return values[0] if values else None


class Conversation:
    """The server's side of one connection."""

    def __init__(self, server: SocketServer, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        self._received = b""

    def read_request(self) -> Request | None:
        """The next request, also added to ``server.requests``; None if the client has hung up."""
        while b"\r\n\r\n" not in self._received:
            if not self._receive():
                return None
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        request = Request(method, target, headers, b"")
        length = int(request.header("Content-Length") or 0)
        while len(self._received) < length:
            if not self._receive():
                return None
        request = Request(method, target, headers, self._received[:length])
        self._received = self._received[length:]
        self.server.requests.append(request)
        return request

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, status: int = 200, body: Any = b"", *headers: str) -> None:
        self.send(answer(status, body, *headers))

    def drip(self, start: bytes, piece: bytes, seconds: float = 0.03) -> None:
        """Send ``start``, then ``piece`` repeatedly until the client hangs up."""
        self.send(start)
        while not self.server.stopping.wait(seconds):
            self.send(piece)

    def flood(self, start: bytes, piece: bytes) -> None:
        """Like ``drip``, at full speed."""
        self.send(start)
        while not self.server.stopping.is_set():
            self.send(piece)

    def stall(self) -> None:
        """Send nothing and stay connected until the client hangs up or the test ends."""
        self.sock.settimeout(0.05)
        while not self.server.stopping.is_set():
            with contextlib.suppress(TimeoutError):
                if not self.sock.recv(65536):
                    return

    def reset(self) -> None:
        """Hang up with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _receive(self) -> bool:
        data = self.sock.recv(65536)
        self._received += data
        return bool(data)


#: Called once per connection, in a separate thread.
Script = Callable[[Conversation], object]


def answer(status: int = 200, body: Any = b"", *headers: str) -> bytes:
    """A complete HTTP/1.1 response; ``body`` is bytes, text or a JSON value."""
    text = body if isinstance(body, bytes | str) else json.dumps(body)
    data = text if isinstance(text, bytes) else text.encode()
    lines = [f"HTTP/1.1 {status} Because", f"Content-Length: {len(data)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data


def replies(*answers: bytes) -> Script:
    """A script that answers the requests of all connections in turn; the last response repeats."""
    lock = threading.Lock()
    left = list(answers)

    def script(talk: Conversation) -> None:
        while talk.read_request():
            with lock:
                data = left.pop(0) if len(left) > 1 else left[0]
            talk.send(data)

    return script


class SocketServer:
    """A context manager. ``url`` is its address, ``requests`` its requests, ``connections`` their number."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None, ipv6: bool = False) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.connections = 0
        self.stopping = threading.Event()
        self._tls = tls
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(
            ("::1" if ipv6 else "127.0.0.1", 0),
            family=socket.AF_INET6 if ipv6 else socket.AF_INET,
            backlog=128,
        )
        self.port = self._listener.getsockname()[1]
        self.host = "[::1]" if ipv6 else "127.0.0.1"
        self.url = f"{'https' if tls else 'http'}://{self.host}:{self.port}"

    def __enter__(self) -> SocketServer:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(HANG)
            assert not thread.is_alive(), "a script of the test server hangs"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with self._lock:
                if self.stopping.is_set():
                    sock.close()
                    return
                self._open.append(sock)
            self._start(self._talk, sock)

    def _talk(self, sock: socket.socket) -> None:
        try:
            if self._tls is not None:
                wrapped = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                with self._lock:
                    self._open[self._open.index(sock)] = wrapped
                sock = wrapped
                wrapped.do_handshake()
            with contextlib.suppress(OSError):
                self.script(Conversation(self, sock))
        except OSError:  # the client refused our certificate or hung up
            return
        finally:
            sock.close()

    def _start(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()


def proxy(talk: Conversation) -> None:
    """A script that acts as a forward proxy and opens CONNECT tunnels."""
    first = talk.read_request()
    if first is None:
        return
    port = int(first.target.rpartition(":")[2])
    with socket.create_connection((first.target.rpartition(":")[0], port), HANG) as far:
        talk.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        _relay(talk, far, threading.Event())


def relay(port: int, slow: threading.Event) -> Script:
    """A script that forwards bytes to another local port and back; once ``slow`` is set, back one by one."""

    def script(talk: Conversation) -> None:
        with socket.create_connection(("127.0.0.1", port), HANG) as far:
            _relay(talk, far, slow)

    return script


def _relay(talk: Conversation, far: socket.socket, slow: threading.Event) -> None:
    def receive(source: socket.socket) -> bytes:
        try:
            return source.recv(65536)
        except OSError:
            return b""

    def pump(source: socket.socket, drain: socket.socket, slow: threading.Event) -> None:
        while data := receive(source):
            for piece in [bytes([byte]) for byte in data] if slow.is_set() else [data]:
                try:
                    drain.sendall(piece)
                except OSError:
                    return  # its last bytes, an alert, may still be on their way back
                talk.server.stopping.wait(0.03 if slow.is_set() else 0)
        for sock in (source, drain):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=pump, args=(far, talk.sock, slow), daemon=True)
    back.start()
    pump(talk.sock, far, threading.Event())
    back.join(HANG)


def self_signed(folder: Path, name: str = "localhost") -> tuple[ssl.SSLContext, str] | None:
    """A server context for ``name``, 127.0.0.1 and ::1, and its certificate file; None without openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return None
    certificate, key, settings = folder / "certificate.pem", folder / "key.pem", folder / "openssl.cnf"
    settings.write_text(
        "[req]\ndistinguished_name=name\nx509_extensions=extensions\nprompt=no\n[name]\nCN=test\n"
        "[extensions]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature,keyCertSign\n"
        "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        f"subjectAltName=DNS:{name},IP:127.0.0.1,IP:::1\n"
    )
    options = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    files = f"-config {settings.name} -keyout {key.name} -out {certificate.name}"
    command = [openssl, "req", *options.split(), *files.split()]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=HANG)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, str(certificate)
