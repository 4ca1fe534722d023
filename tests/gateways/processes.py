"""Real gateways as child processes, with their own configuration and free ports, stopped with the test."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template
from typing import Any

import pytest

#: Timeout in seconds for everything in a test; long, because the machine may be busy.
PATIENCE = 30.0
#: Set in CI: a test whose gateway is not installed then fails instead of being skipped.
REQUIRED = "EVENTBRIDGE_REQUIRE_GATEWAYS"
#: Debian installs servers in these folders, which are not in an ordinary user's PATH.
_SERVERS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])

_PORTS = range(20_000, 32_000)
#: The program with which Debian's squid checks a login.
_HELPER = "/usr/lib/squid/basic_ncsa_auth"


class _Configuration(Template):
    """Placeholders look like ``@{port}``, because the gateways use ``$`` and ``%`` themselves."""

    delimiter = "@"


class Process:
    """A server in ``folder``, running until ``stop()``. Subclasses define how it starts and reloads."""

    binary = ""
    template = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = installed(self.binary)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def configuration(self) -> Path:
        return self.folder / self.template

    def command(self) -> list[str]:
        raise NotImplementedError

    def write(self, **values: object) -> None:
        """Writes the configuration; placeholders without a value are left empty."""
        text = Path(__file__).with_name(self.template).read_text(encoding="utf-8")
        template = _Configuration(text)
        known = dict.fromkeys(template.get_identifiers(), "") | self.defaults()
        if unknown := values.keys() - known.keys():
            raise TypeError(f"{self.template} has no place for {', '.join(sorted(unknown))}")
        self.configuration.write_text(template.substitute({**known, **values}), encoding="utf-8")

    def defaults(self) -> dict[str, object]:
        return {"folder": self.folder, "port": self.port}

    def start(self, **values: object) -> None:
        self.write(**values)
        self.process = self._spawn(self.command())
        self._wait_for_the_port(self.process)

    def stop(self) -> None:
        if self.process is not None:
            process, self.process = self.process, None
            end(process)

    def output(self) -> str:
        """The server's logs, for the message of a failing test."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{log.name}:\n{log.read_text(errors='replace')[-4000:]}" for log in logs)

    def _spawn(self, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        with (self.folder / "output.log").open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait_for_the_port(self, process: subprocess.Popen[bytes]) -> None:
        def listening() -> bool:
            assert process.poll() is None, f"{self.binary} exited:\n{self.output()}"
            return answers(self.port)

        wait_until(listening, lambda: f"{self.binary} does not listen:\n{self.output()}")


class Nginx(Process):
    """nginx in front of ``upstream``, a port. Values fill the placeholders of nginx.conf."""

    binary = "nginx"
    template = "nginx.conf"

    def __init__(self, folder: Path, upstream: int) -> None:
        super().__init__(folder)
        self.upstream = upstream
        self.reloads = 0

    def defaults(self) -> dict[str, object]:
        passed = "proxy_pass http://127.0.0.1:$upstream;"
        user = "user root;" if os.geteuid() == 0 else ""  # otherwise its workers may not read the folder
        return {
            **super().defaults(),
            "upstream": self.upstream,
            "user": user,
            "proxy": passed.replace("$upstream", str(self.upstream)),
            "protocols": "TLSv1.2 TLSv1.3",
        }

    def command(self) -> list[str]:
        return [self.path, "-p", str(self.folder), "-c", self.template]

    def reload(self, **values: object) -> None:
        """``nginx -s reload``; returns once the old worker accepts no more connections."""
        self.write(**values)
        self.reloads += 1
        subprocess.run(
            [*self.command(), "-s", "reload"],
            cwd=self.folder,
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )
        wait_until(self._has_changed_workers, lambda: f"nginx did not reload:\n{self.output()}")

    def posted(self, key: str) -> int:
        """How many POST requests with this idempotency key arrived here."""
        log = (self.folder / "access.log").read_text(encoding="utf-8")
        return sum(line.startswith("POST ") and line.endswith(f" {key}") for line in log.splitlines())

    def _has_changed_workers(self) -> bool:
        log = (self.folder / "error.log").read_text(encoding="utf-8", errors="replace")
        return log.count("gracefully shutting down") >= self.reloads


class Haproxy(Process):
    """haproxy in front of ``upstream``, a port."""

    binary = "haproxy"
    template = "haproxy.cfg"

    def __init__(self, folder: Path, upstream: int) -> None:
        super().__init__(folder)
        self.upstream = upstream

    def defaults(self) -> dict[str, object]:
        return {**super().defaults(), "upstream": self.upstream, "mode": "http", "server_timeout": "5s"}

    def command(self) -> list[str]:
        return [self.path, "-db", "-f", self.template]

    def reload(self, **values: object) -> None:
        """Starts a new process that takes over (``-sf``); returns once the old one has ended."""
        self.write(**values)
        old = self.process
        assert old is not None
        self.process = self._spawn([*self.command(), "-sf", str(old.pid)])
        old.wait(PATIENCE)
        self._wait_for_the_port(self.process)


class Squid(Process):
    """squid as a forward proxy."""

    binary = "squid"
    template = "squid.conf"

    def command(self) -> list[str]:
        return [self.path, "-N", "-f", self.template]

    def defaults(self) -> dict[str, object]:
        user = "cache_effective_user proxy" if os.geteuid() == 0 else ""
        return {**super().defaults(), "user": user, "access": "http_access allow all"}

    def start(self, **values: object) -> None:
        """Like the others; if ``login`` is given, only that ``user:password`` is let in."""
        if login := str(values.pop("login", "")):
            values |= self._wanting(login)
        if os.geteuid() == 0:  # it drops root, and writes its files as the user proxy
            for file in (self.folder, *self.folder.iterdir()):
                shutil.chown(file, "proxy")
        super().start(**values)

    def stop(self) -> None:
        """Kill it, because squid takes seconds to shut down."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)
            self.process = None

    def restart(self, **values: object) -> None:
        self.stop()
        self.start(**values)

    def _wanting(self, login: str) -> dict[str, object]:
        user, _, password = login.partition(":")
        hashed = subprocess.run(
            [installed("openssl"), "passwd", "-apr1", password],
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        passwords = self.folder / "passwords"
        passwords.write_text(f"{user}:{hashed.stdout}", encoding="utf-8")
        return {
            "options": f"auth_param basic program {_HELPER} {passwords}\nacl known proxy_auth REQUIRED",
            "access": "http_access allow known\nhttp_access deny all",
        }


def installed(binary: str) -> str:
    """The path of a server's program. If there is none, the test is skipped; in CI it fails."""
    path = shutil.which(binary, path=_SERVERS)
    if path is None:
        reason = f"{binary} is not installed (apt-get install {binary})"
        if os.environ.get(REQUIRED):
            pytest.fail(f"{reason}, and {REQUIRED} is set")
        pytest.skip(reason)
    return path


def free_port() -> int:
    """A port below those that the system assigns, so that nothing takes it while a server restarts."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port between 20000 and 32000")


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait_until(holds: Callable[[], Any], otherwise: Callable[[], str]) -> None:
    """Polls until ``holds()``; fails with ``otherwise()`` after ``PATIENCE`` seconds."""
    end_of_patience = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end_of_patience:
            pytest.fail(otherwise())
        time.sleep(0.02)


def end(process: subprocess.Popen[bytes]) -> None:
    """Sends SIGTERM, then SIGKILL to the whole group if that is not enough."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
