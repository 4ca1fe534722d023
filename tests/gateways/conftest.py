"""Fixtures: a platform, a worker, gateways between them, and certificates; all stop with the test."""

from __future__ import annotations

import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from genesys_eventbridge.client import auth
from tests.gateways.certificates import Authority
from tests.gateways.platform import PATIENT, Platform, Worker
from tests.gateways.processes import Haproxy, Nginx, Process, Squid
from tests.passing import Clock

StartNginx = Callable[..., Nginx]
StartHaproxy = Callable[..., Haproxy]
StartSquid = Callable[..., Squid]


@pytest.fixture
def clock() -> Iterator[Clock]:
    """The clock of platform and database; it advances only when a test moves it."""
    with Clock() as clock:
        yield clock


@pytest.fixture
def platform(clock: Clock) -> Iterator[Platform]:
    platform = Platform(clock)
    yield platform
    platform.close()


@pytest.fixture
def worker(
    transactional_db: None, platform: Platform, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Worker:
    """Its token comes from the platform; API_BASE_URL points to the gateway, once one is started."""
    # Passes are minutes apart on the test's clock, but milliseconds on the process's.
    monkeypatch.setattr(auth, "FAILURE_MEMORY_SECONDS", 0.0)
    settings = {
        "API_BASE_URL": platform.url,
        "LOGIN_BASE_URL": platform.url,
        "CLIENT_ID": f"client-{uuid.uuid4()}",  # a process remembers the tokens of each client
        "CLIENT_SECRET": "test-secret-canary",
        "SOURCE": "com.example.tests",
        "CONCURRENCY": 2,
        "BATCH_SIZE": 20,
        **PATIENT,
        "LEASE_SECONDS": 80,
        "PASS_SECONDS": 40,
        "CHECK_DELAYS": [1],
    }
    return Worker(platform, clock, settings)


@pytest.fixture
def started() -> Iterator[Callable[[Callable[[Path], Process]], Any]]:
    """Creates a server in its own folder, and stops it at the end.

    It does not use pytest's folder for temporary files, because squid drops root and may not enter that.
    """
    servers: list[Process] = []
    with ExitStack() as folders:

        def make(kind: Callable[[Path], Process]) -> Process:
            folder = folders.enter_context(tempfile.TemporaryDirectory(prefix="eventbridge-gateway-"))
            servers.append(kind(Path(folder)))
            return servers[-1]

        yield make
        for server in servers:
            server.stop()


@pytest.fixture
def nginx(started: Any, platform: Platform, worker: Worker) -> StartNginx:
    """Starts nginx in front of the platform (or ``upstream``, a port); the worker publishes through it."""

    def start(*, upstream: int | None = None, tls: bool = False, **values: object) -> Nginx:
        server: Nginx = started(lambda folder: Nginx(folder, upstream or platform.port))
        server.start(**values)
        worker.settings["API_BASE_URL"] = f"https://127.0.0.1:{server.port}" if tls else server.url
        return server

    return start


@pytest.fixture
def haproxy(started: Any, platform: Platform, worker: Worker) -> StartHaproxy:
    """Like ``nginx``, with haproxy."""

    def start(*, upstream: int | None = None, tls: bool = False, **values: object) -> Haproxy:
        server: Haproxy = started(lambda folder: Haproxy(folder, upstream or platform.port))
        server.start(**values)
        worker.settings["API_BASE_URL"] = f"https://127.0.0.1:{server.port}" if tls else server.url
        return server

    return start


@pytest.fixture
def while_publishing(worker: Worker) -> Callable[[Callable[[], object]], int]:
    """Repeats ``disturb`` in a thread while all events are published; returns how often it ran."""

    def run(disturb: Callable[[], object]) -> int:
        over = threading.Event()

        def repeat() -> int:
            done = 0
            while not over.is_set():
                disturb()
                done += 1
            return done

        with ThreadPoolExecutor(1) as pool:
            disturbed = pool.submit(repeat)
            try:
                worker.publish(times=3, wait=60)
            finally:
                over.set()
            return disturbed.result(60)

    return run


@pytest.fixture
def squid(started: Any) -> StartSquid:
    """Starts squid; the worker uses it once PROXY is set."""

    def start(**values: object) -> Squid:
        server: Squid = started(Squid)
        server.start(**values)
        return server

    return start


@pytest.fixture
def front(started: Any, squid: StartSquid) -> StartHaproxy:
    """Starts haproxy in front of a squid; it forwards the bytes until it is reloaded with other rules."""

    def start(**values: object) -> Haproxy:
        upstream = squid(**values).port
        server: Haproxy = started(lambda folder: Haproxy(folder, upstream))
        server.start(mode="tcp")
        return server

    return start


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority that neither side trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")
