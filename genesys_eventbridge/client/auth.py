"""ClientCredentials(httpx.Auth): one token per process, fetched by one thread, refreshed once after a 401."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from genesys_eventbridge.client.http import httpx
from genesys_eventbridge.client.login import Basic, ask_for_token
from genesys_eventbridge.client.sockets import Deadline
from genesys_eventbridge.client.transport import DEADLINE
from genesys_eventbridge.defects import report
from genesys_eventbridge.errors import Halted
from genesys_eventbridge.platform.config import Platform, maskable
from genesys_eventbridge.platform.outcomes import Halt

logger = logging.getLogger("genesys_eventbridge")

#: Request extension: the transport over which to fetch the token. Without it, a new connection is used.
TOKEN_TRANSPORT = "token_transport"  # noqa: S105 - a key
#: A failed token request also fails the other threads of a burst for this time; then it is tried again.
FAILURE_MEMORY_SECONDS = 1.0
#: After a failed early refresh, the next one waits this long; the valid token stays in use.
EARLY_RETRY_SECONDS = 5.0
#: If a token that replaced a refused one is refused too, no further one is fetched for this time.
REFUSAL_MEMORY_SECONDS = 5.0
#: How many clients' tokens a process remembers.
REMEMBERED_CLIENTS = 64
#: How many tokens, and how many secrets, of a client are masked in responses.
REMEMBERED_SECRETS = 6


class ClientCredentials(httpx.Auth):
    """OAuth 2 client credentials for ``httpx``: sets ``Authorization`` and retries once after a 401.

    The retry uses the newer token if another thread has fetched one, else one refreshed token. One token
    serves all threads of the process: one of them fetches it while the others wait, each until its own
    deadline (``request.extensions["deadline"]``), and share its failure. A token is renewed
    ``min(60 s, 10 %)`` before it expires, and used until then while the login service is down. It is kept
    only in memory; a forked child starts without it. ``clock`` is monotonic, in seconds.

    Raises ``errors.Halted`` (auth, config, rate, network) if no token can be obtained.
    """

    def __init__(self, platform: Platform, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._platform = platform
        self._clock = clock
        self._memories: dict[int, _Memory] = {}

    def __repr__(self) -> str:
        return f"<ClientCredentials at {self._platform.token_url}>"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        memory = self._memory()
        bearer = self._bearer(memory, request)
        response = yield _bearing(bearer, request)
        if response.status_code == 401 and self._may_refresh(memory, bearer):
            bearer = self._bearer(memory, request)
            response = yield _bearing(bearer, request)
        if response.status_code != 401:
            memory.proven = max(memory.proven, bearer.generation)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts to mask: the latest tokens and the credentials they were requested with.

        A request in flight may still carry a token that another thread has replaced since.
        """
        memory = self._memory()
        return (*memory.bearers, *memory.basics)

    def _memory(self) -> _Memory:
        """The state of this process: locks and tokens of a parent process are useless after a fork."""
        memory = self._memories.get(_process.number)
        if memory is None:
            memory = self._memories.setdefault(_process.number, _Memory())
            for number in [number for number in self._memories if number != _process.number]:
                self._memories.pop(number, None)
        return memory

    def _may_refresh(self, memory: _Memory, refused: _Bearer) -> bool:
        """Forget a refused token. False if it had just replaced a refused one: another one will not help."""
        with memory.lock:
            if memory.bearer is not refused:
                return True
            in_vain = refused.follows_refusal and refused.generation > memory.proven
            if in_vain and self._clock() - refused.issued_at < REFUSAL_MEMORY_SECONDS:
                return False
            memory.bearer = None
            memory.basic = None  # read a callable again
            memory.refused = True
            return True

    def _bearer(self, memory: _Memory, request: httpx.Request) -> _Bearer:
        """A valid token: the remembered one, or one that this or another thread fetches now."""
        deadline = request.extensions.get(DEADLINE) or Deadline(self._platform.request_deadline)
        with memory.lock:
            now = self._clock()
            valid = memory.bearer if memory.bearer and now < memory.bearer.expires_at else None
            flight = memory.flight if memory.flight and memory.flight.deadline.left() > 0 else None
            if valid and (now < valid.refresh_at or now < memory.refresh_not_before or flight):
                return valid
            if flight is None:
                if valid is None and memory.failure and now < memory.failure_until:
                    raise _copy(memory.failure)
                if valid:  # a slow login service must leave time for the request itself
                    deadline = Deadline(min(deadline.left() / 2, self._platform.connect_timeout))
                mine = memory.flight = _Flight(deadline)
        if flight is not None:
            return flight.result(deadline)
        return self._lead(memory, mine, valid, request.extensions.get(TOKEN_TRANSPORT))

    def _lead(
        self, memory: _Memory, flight: _Flight, valid: _Bearer | None, transport: httpx.BaseTransport | None
    ) -> _Bearer:
        """Fetch a token for every thread waiting on ``flight``, which always ends."""
        try:
            flight.bearer = self._fetched(memory, flight.deadline, transport)
        except Halted as error:
            flight.failure = error
        except Exception as error:  # noqa: BLE001 - no event was sent: a defect must not put one in doubt
            message = f"No token: {type(error).__name__}. This is a bug; please report it."
            report(error, "%s", message)
            flight.failure = Halted(message, kind=Halt.CONFIG.value)
        finally:
            self._land(memory, flight)
        if valid and flight.failure:
            logger.warning(
                "The token could not be renewed; the current one stays in use while it is valid. %s",
                flight.failure,
            )
            return valid
        return flight.result(flight.deadline)

    def _fetched(self, memory: _Memory, deadline: Deadline, transport: httpx.BaseTransport | None) -> _Bearer:
        basic = memory.basic or self._read(memory)
        try:
            return self._asked(memory, basic, deadline, transport)
        except Halted as error:
            if error.kind != Halt.AUTH:
                raise
            memory.basic = None
            changed = self._read(memory)
            if changed == basic:
                raise
        return self._asked(memory, changed, deadline, transport)

    def _read(self, memory: _Memory) -> Basic:
        """Read id and secret now."""
        basic = memory.basic = Basic.of(self._platform)
        memory.basics = _latest(memory.basics, basic.secrets)
        return basic

    def _asked(
        self, memory: _Memory, basic: Basic, deadline: Deadline, transport: httpx.BaseTransport | None
    ) -> _Bearer:
        token = ask_for_token(self._platform, basic, deadline, transport=transport, secrets=self.secrets)
        now = self._clock()
        with memory.lock:
            memory.generation += 1
            memory.bearers = _latest(memory.bearers, maskable(token.value))
            return _Bearer(
                header=f"Bearer {token.value}",
                generation=memory.generation,
                follows_refusal=memory.refused,
                issued_at=now,
                refresh_at=now + token.expires_in - min(60.0, token.expires_in / 10),
                expires_at=now + token.expires_in,
            )

    def _land(self, memory: _Memory, flight: _Flight) -> None:
        with memory.lock:
            now = self._clock()
            overtaken = memory.flight is not flight
            if not overtaken:
                memory.flight = None
            if flight.bearer:
                memory.bearer = flight.bearer
                memory.failure = None
                memory.refused = False
            elif flight.failure and not overtaken:
                memory.failure = flight.failure
                memory.failure_until = now + FAILURE_MEMORY_SECONDS
                memory.refresh_not_before = now + max(EARLY_RETRY_SECONDS, flight.failure.retry_after or 0.0)
        flight.landed.set()


def credentials_for(platform: Platform) -> ClientCredentials:
    """The credentials shared by all threads of this process for this client and login service."""
    key = (
        platform.token_url,
        _identity(platform.client_id),
        _identity(platform.client_secret),
        platform.scopes,
        platform.ca_bundle,
        platform.client_cert and platform.client_cert.files,
        _identity(platform.client_cert.passphrase if platform.client_cert else None),
        _identity(platform.proxy),
    )
    with _process.lock:
        credentials = _process.credentials.pop(key, None) or ClientCredentials(platform)
        _process.credentials[key] = credentials  # the most recently used comes last
        if len(_process.credentials) > REMEMBERED_CLIENTS:
            del _process.credentials[next(iter(_process.credentials))]
    return credentials


def forget() -> None:
    """Start over without tokens and failures, as a new process would; for tests."""
    with _process.lock:
        _process.credentials.clear()


def _latest(known: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    """``known`` plus ``new``, cut to the number remembered."""
    return (*(one for one in known if one not in new), *new)[-REMEMBERED_SECRETS:]


def _identity(secret: object) -> object:
    return hashlib.sha256(secret.encode()).digest() if isinstance(secret, str) else secret


def _bearing(bearer: _Bearer, request: httpx.Request) -> httpx.Request:
    request.headers["Authorization"] = bearer.header
    return request


def _copy(failure: Halted) -> Halted:
    """A copy for another thread: a shared exception would collect the tracebacks of all threads."""
    return Halted(
        str(failure),
        kind=failure.kind,
        status_code=failure.status_code,
        correlation_id=failure.correlation_id,
        retry_after=failure.retry_after,
    )


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class _Bearer:
    """One token in memory; times are monotonic."""

    header: str
    generation: int
    follows_refusal: bool
    issued_at: float
    refresh_at: float
    expires_at: float


@dataclass(slots=True, repr=False, eq=False)
class _Flight:
    """One token request in progress, with the result its followers wait for."""

    deadline: Deadline
    landed: threading.Event = field(default_factory=threading.Event)
    bearer: _Bearer | None = None
    failure: Halted | None = None

    def result(self, deadline: Deadline) -> _Bearer:
        """The leading thread's token. Waits until the caller's own deadline. Raises Halted."""
        if not self.landed.wait(deadline.left()):
            raise Halted("No token: time limit reached while waiting for it.", kind=Halt.NETWORK.value)
        if self.bearer:
            return self.bearer
        if self.failure:
            raise _copy(self.failure)
        raise Halted("No token: the thread that fetched it was interrupted.", kind=Halt.NETWORK.value)


@dataclass(slots=True, repr=False, eq=False)
class _Memory:
    """What one process knows about its token."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    bearer: _Bearer | None = None
    basic: Basic | None = None
    bearers: tuple[str, ...] = ()  # the latest tokens, to be masked
    basics: tuple[str, ...] = ()  # the latest secrets, to be masked
    generation: int = 0
    proven: int = 0  # the latest generation for which the response was not a 401
    refused: bool = False  # the next token replaces a refused one
    flight: _Flight | None = None
    failure: Halted | None = None
    failure_until: float = 0.0
    refresh_not_before: float = 0.0


class _Process:
    """State of one process, created again in a forked child before any of its code runs."""

    def __init__(self) -> None:
        self.number = 0
        self.begin()

    def begin(self) -> None:
        self.number += 1
        self.lock = threading.Lock()
        self.credentials: dict[object, ClientCredentials] = {}


_process = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.begin)
