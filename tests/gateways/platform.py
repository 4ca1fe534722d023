"""The sandbox behind a gateway, and a worker whose rows are compared with the sandbox's ledger."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from django.db import transaction
from django.test.utils import override_settings

from genesys_eventbridge import conf, operations, ping, relay
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import DeliveryAttempt, Destination, OutboxEvent
from genesys_eventbridge.operations import Actor
from genesys_eventbridge.outbox import enqueue
from genesys_eventbridge.relay import PassReport
from genesys_eventbridge.relay.senders import Senders
from genesys_eventbridge.sandbox import Sandbox, SandboxServer, serve
from genesys_eventbridge.states import State
from tests.gateways.processes import PATIENCE, Nginx, free_port
from tests.passing import Clock

OPEN = (State.PENDING, State.ACCEPTED)
#: The longest pause is 15 minutes.
STEP = 300.0
STEPS = 60
#: No test waits so long. On a busy machine, seconds pass between two steps of a connection.
PATIENT = {"CONNECT_TIMEOUT": 10, "REQUEST_DEADLINE": 20}


class Platform:
    """A sandbox on one port that can go down, delay its responses, and issue long tokens."""

    def __init__(self, clock: Clock) -> None:
        self.sandbox = Sandbox(clock=clock, deliver_after=1)
        self.port = free_port()
        self.token_padding = ""
        self._go_on = threading.Event()
        self._go_on.set()
        self._server: SandboxServer | None = None
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        self._server = serve(self, port=self.port)

    def down(self) -> None:
        """Stop listening and drop all open connections."""
        if self._server is not None:
            server, self._server = self._server, None
            server.close()

    @contextmanager
    def holding_answers(self) -> Iterator[None]:
        """Within the block the platform accepts API requests and does not respond."""
        self._go_on.clear()
        try:
            yield
        finally:
            self._go_on.set()

    def close(self) -> None:
        self._go_on.set()
        self.down()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == self.sandbox.options.token_path:
            return self._token(environ, start_response)
        bearer = environ.get("HTTP_AUTHORIZATION", "")
        environ["HTTP_AUTHORIZATION"] = bearer.removesuffix(self.token_padding)
        chunks = self.sandbox(environ, start_response)
        self._go_on.wait(PATIENCE)
        return chunks

    def _token(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Return the sandbox's token, made longer."""
        started: list[Any] = []

        def keep(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            started.append((status, headers))
            return lambda data: None

        token = json.loads(b"".join(self.sandbox(environ, keep)))
        if "access_token" in token:
            token["access_token"] += self.token_padding
        body = json.dumps(token).encode()
        ((status, headers),) = started
        sized = [(name, value) for name, value in headers if name.lower() != "content-length"]
        start_response(status, [*sized, ("Content-Length", str(len(body)))])
        return [body]


class Worker:
    """Runs passes over the events of one test, on a clock that only the test moves."""

    def __init__(self, platform: Platform, clock: Clock, settings: dict[str, Any]) -> None:
        self.platform = platform
        self.clock = clock
        self.settings = settings
        self.senders: Senders | None = None
        #: All texts that an operator was shown: ``last_error`` and ``paused_reason``.
        self.texts: list[str] = []

    def enqueue(self, count: int = 6, data: Any = None, **given: Any) -> list[OutboxEvent]:
        with transaction.atomic():
            return [enqueue("order.created", data or {"number": i}, **given) for i in range(count)]

    def publish(self, times: int = 1, *, wait: float = 0.0, **given: Any) -> PassReport:
        """Run ``times`` passes, each after ``wait`` seconds, with other settings if given."""
        for _ in range(times):
            if wait:
                self.clock.wait(wait)
            with self.configured(**given):
                report = relay.publish_due(senders=self.senders)
            self._read_texts()
        return report

    @contextmanager
    def kept_connections(self) -> Iterator[None]:
        """Keep connections between passes, like a long-running worker."""
        with self.configured(), Senders(conf.destination(), self.settings["CONCURRENCY"]) as self.senders:
            yield
        self.senders = None

    def check(self) -> None:
        """Run one pass of checks, after the platform has had time to deliver."""
        self.clock.wait(5)
        with self.configured():
            relay.check_accepted(senders=self.senders)
        self._read_texts()

    def drain(self) -> None:
        """Only let time pass, so that pauses end and retries become due."""
        for _ in range(STEPS):
            self.publish()
            self.check()
            if not OutboxEvent.objects.filter(state__in=OPEN).exists():
                return
            self.clock.wait(STEP)
        pytest.fail(f"still open after {STEP * STEPS:.0f} s: {self.states()}; {self.last_texts()}")

    def pinged(self) -> dict[str, str]:
        """The failures that ``eventbridge_ping`` finds: step -> message."""
        with self.configured():
            return {step.name: step.message for step in ping.ping("default") if not step.ok}

    def send_another(self, unlucky: OutboxEvent) -> None:
        """Another host resumes and sends another event; asserts that ``unlucky`` stays uncharged."""
        row = OutboxEvent.objects.filter(pk=unlucky.pk)
        due_at = row.get().due_at
        found = row.values_list("state", "attempts", "halts").get()
        assert found == (State.PENDING, 0, 0), row.get().last_error
        row.update(due_at=DatabaseNow(3600))
        (other,) = self.enqueue(1)
        self.resume()
        self.publish()
        other.refresh_from_db()
        assert other.state == State.ACCEPTED, self.last_texts()
        row.update(due_at=due_at)

    def resume(self) -> None:
        """Do what an operator does once the failure is fixed."""
        with self.configured():
            operations.resume(
                "default", Actor("tests", name="ana"), "the gateway is repaired", also_trouble=True
            )

    @contextmanager
    def configured(self, **given: Any) -> Iterator[None]:
        with override_settings(GENESYS_EVENTBRIDGE={"default": {**self.settings, **given}}):
            yield

    def rows(self) -> list[OutboxEvent]:
        return list(OutboxEvent.objects.order_by("pk"))

    def states(self) -> dict[str, int]:
        found = [row.state for row in self.rows()]
        return {str(state): found.count(state) for state in sorted(set(found))}

    def pause(self) -> str:
        """The kind of the current pause; empty if there is none."""
        row = Destination.objects.filter(alias="default").first()
        return row.paused_kind if row and row.paused_until else ""

    def last_texts(self) -> list[str]:
        return self.texts[-2:]

    def posts(self) -> int:
        """The number of requests for events that reached the platform."""
        return len(self._posts())

    def judge(
        self, *, ended_by_their_own_halts: Sequence[OutboxEvent] = (), gateway: Nginx | None = None
    ) -> None:
        """Assert that each row's state agrees with what the platform's ledger says about its event.

        ``ended_by_their_own_halts``: events that a gateway alone refuses, while it lets others pass.
        ``gateway`` logs the POST requests that it answered itself.
        """
        ledger = self.platform.sandbox.ledger()
        posts = self._posts()
        wrong = []
        for row in self.rows():
            mine = [attempt for attempt in posts if attempt["id"] == row.event_id]
            accepts = ledger["accepts"].get(f"{row.source} {row.event_id}", 0)
            refused = any(
                400 <= int(attempt["status"] or 0) < 500 for attempt in mine if not attempt["accepted"]
            )
            sent = mine or (gateway and gateway.posted(str(row.idempotency_key)))
            if accepts > 1:
                wrong.append(f"{row} was accepted {accepts} times")
            if row.state in (State.ACCEPTED, State.DELIVERED) and not accepts:
                wrong.append(f"{row} is {row.state} and the platform never took it")
            if row.state == State.DEAD and not refused and row not in ended_by_their_own_halts:
                wrong.append(f"{row} is dead and the platform never refused it: {row.last_error}")
            if row.state == State.UNRESOLVED and not sent:
                wrong.append(f"{row} is unresolved and was never sent: {row.last_error}")
        wrong.extend(f"the key {key} was sent with different bodies" for key in ledger["drift"])
        assert not wrong, "\n".join(wrong)

    def assert_all_delivered(self) -> None:
        self.judge()
        states = self.states()
        assert states == {State.DELIVERED: len(self.rows())}, (states, self.last_texts())

    def assert_uncharged(self) -> None:
        """Assert that nothing was sent and no event was charged, as if no try had been made."""
        counted = {(row.state, row.attempts, row.in_doubt_since) for row in self.rows()}
        assert counted == {(State.PENDING, 0, None)}, self.last_texts()

    def assert_texts_name(self, *words: str) -> None:
        """Assert that each word is in the pause's reason and in an event's last error."""
        reason = Destination.objects.get(alias="default").paused_reason
        errors = " ".join({row.last_error for row in self.rows()})
        missing = [word for word in words if not (_in(word, reason) and _in(word, errors))]
        assert missing == [], (reason, errors)

    def assert_texts_leave_out(self, *words: str) -> None:
        found = [(word, text) for text in self.texts for word in words if _in(word, text)]
        assert not found, found

    def _posts(self) -> list[dict[str, Any]]:
        attempts = self.platform.sandbox.ledger()["attempts"]
        return [each for each in attempts if each["endpoint"] == "publish" and each["method"] == "POST"]

    def _read_texts(self) -> None:
        found = [
            *Destination.objects.values_list("paused_reason", flat=True),
            *OutboxEvent.objects.values_list("last_error", flat=True).distinct(),
            *DeliveryAttempt.objects.values_list("error", flat=True).distinct(),
        ]
        self.texts.extend(text for text in dict.fromkeys(found) if text and text not in self.texts)


def _in(word: str, text: str) -> bool:
    return word.lower() in text.lower()
