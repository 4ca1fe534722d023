"""Blocks the network: a test that tries to reach another machine fails, even if it catches the error."""

import ipaddress
import socket
from typing import Any

_connect = socket.socket.connect
_connect_ex = socket.socket.connect_ex
_sendto = socket.socket.sendto
_getaddrinfo = socket.getaddrinfo

violations: list[str] = []


class OutsideWorld(OSError):
    """Raised in the test's own code; the fixture in conftest.py reports it again."""


def install() -> None:
    """Check every connection, datagram and look-up that this process's Python code makes from now on."""
    socket.socket.connect = connect  # type: ignore[assignment, method-assign]
    socket.socket.connect_ex = connect_ex  # type: ignore[assignment, method-assign]
    socket.socket.sendto = sendto  # type: ignore[assignment, method-assign]
    socket.getaddrinfo = getaddrinfo


def connect(sock: socket.socket, address: Any) -> None:
    _judge(sock.family, address)
    _connect(sock, address)


def connect_ex(sock: socket.socket, address: Any) -> int:
    _judge(sock.family, address)
    return _connect_ex(sock, address)


def sendto(sock: socket.socket, data: Any, *rest: Any) -> int:
    _judge(sock.family, rest[-1])
    return _sendto(sock, data, *rest)


def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
    """Names under ``.invalid`` never exist (RFC 6761). They fail here without a look-up, for use in tests."""
    name = host.decode() if isinstance(host, bytes) else host
    if name and name.rstrip(".").endswith(".invalid"):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if name and not is_loopback(name):
        _refuse(f"look-up of {name}")
    return _getaddrinfo(host, *args, **kwargs)


def is_loopback(host: str) -> bool:
    """True for localhost, 127.0.0.0/8 and ::1; no name is looked up."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _judge(family: int, address: Any) -> None:
    if family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(address[0]):
        _refuse(f"connection to {address[0]} port {address[1]}")


def _refuse(what: str) -> None:
    violations.append(what)
    raise OutsideWorld(f"{what}: tests may use only loopback")
