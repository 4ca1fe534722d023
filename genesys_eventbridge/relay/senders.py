"""Sender threads: each has its own connection to the platform and never touches the database."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from genesys_eventbridge import steady, tracing
from genesys_eventbridge.client import Sender
from genesys_eventbridge.client.auth import credentials_for
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.defects import report
from genesys_eventbridge.errors import Halted
from genesys_eventbridge.outbox.claim import Claimed
from genesys_eventbridge.platform.outcomes import WELL, Halt, Outcome, Sent, Verdict
from genesys_eventbridge.states import AttemptKind
from genesys_eventbridge.text import DEFAULT_REDACT_KEYS, clean, redact_text

if TYPE_CHECKING:
    from genesys_eventbridge.client.http import httpx

TransportFactory = Callable[[], "httpx.BaseTransport"]


@dataclass(frozen=True, slots=True)
class Report:
    """What a sender did with one row; ``outcome`` is None if it did not start the request."""

    claimed: Claimed
    outcome: Outcome | None
    #: ``steady.monotonic()`` when the request began, and its duration in seconds.
    began: float = 0.0
    duration: float = 0.0


class Senders:
    """A thread pool for one destination: rows in, reports out.

    Threads are started as rows arrive, at most ``count``. If one sees the destination halt, no thread starts
    another request until ``resume()``. ``on_report`` is called in the sender's thread. Use it as a context
    manager, and create it in the process that sends: threads do not survive a fork.
    """

    def __init__(
        self,
        settings: DestinationSettings,
        count: int,
        *,
        transport: TransportFactory | None = None,
        on_report: Callable[[Report], None] | None = None,
    ) -> None:
        self.settings = settings
        self._platform = settings.platform
        self.reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self.count = count
        self._transport = transport
        self._on_report = on_report
        self._rows: queue.SimpleQueue[Claimed | None] = queue.SimpleQueue()
        #: The row each thread is working on.
        self._threads: dict[threading.Thread, Claimed | None] = {}
        self._stopped = {kind: threading.Event() for kind in AttemptKind}
        #: The destination accepted an event recently, so a gateway's page may be about one event only (G20).
        self.accepted_lately = False
        #: Shared by all threads without a lock: a lost update only delays the stop by one event.
        self._refused_in_a_row = 0

    def __enter__(self) -> Senders:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def send(self, rows: list[Claimed]) -> None:
        for row in rows:
            self._rows.put(row)
        self._start(len(rows))

    def bury(self) -> None:
        """Replace dead threads, and report their rows with an unknown outcome.

        Only what our code cannot catch kills a thread.
        """
        dead = [thread for thread in self._threads if not thread.is_alive()]
        for thread in dead:
            row = self._threads.pop(thread)
            if row is not None:
                self._report(Report(row, _DIED, steady.monotonic()))
        self._start(len(dead))

    def _start(self, more: int) -> None:
        for _thread in range(min(self.count - len(self._threads), more)):
            thread = threading.Thread(target=self._run, name="eventbridge-sender", daemon=True)
            self._threads[thread] = None
            thread.start()

    def stop(self) -> None:
        """Start no more requests. Rows not sent yet are reported with no outcome."""
        for stopped in self._stopped.values():
            stopped.set()

    def resume(self, *kinds: AttemptKind) -> None:
        """Allow requests of these kinds again; of all kinds if none is given."""
        for kind in kinds or AttemptKind:
            self._stopped[kind].clear()
            if kind is AttemptKind.PUBLISH:
                self._refused_in_a_row = 0

    def is_stopped(self, kind: AttemptKind) -> bool:
        return self._stopped[kind].is_set()

    def close(self) -> None:
        """Let each thread end after its current request; does not wait for them."""
        self.stop()
        for _thread in self._threads:
            self._rows.put(None)

    def _run(self) -> None:
        sender: Sender | None = None
        thread = threading.current_thread()
        try:
            while (row := self._rows.get()) is not None:
                self._threads[thread] = row
                try:
                    sender = sender or self._sender()
                except Exception as error:  # noqa: BLE001 - a dead thread would never report its row
                    self.stop()
                    if not isinstance(error, Halted):
                        report(error, "No connection can be set up (%s)", type(error).__name__)
                    outcome = _cannot_begin(error, self._platform.secrets())
                    answer = Report(row, outcome, steady.monotonic())
                else:
                    answer = self._ask(sender, row)
                self._report(answer)
                self._threads[thread] = None
        finally:
            if sender is not None:
                sender.close()

    def _report(self, answer: Report) -> None:
        self.reports.put(answer)
        if self._on_report is not None:
            try:
                self._on_report(answer)
            except Exception as error:  # noqa: BLE001 - a dead thread could not send the next row
                report(error, "on_report failed (%s)", type(error).__name__)

    def _sender(self) -> Sender:
        """Called in the thread that uses it: connections are not shared between threads."""
        transport = self._transport() if self._transport else None
        return Sender(self._platform, credentials_for(self._platform), transport=transport)

    def _ask(self, sender: Sender, row: Claimed) -> Report:
        # Made before the look at the clock: nothing between the two lets a request outlive its lease.
        deadline = sender.deadline()
        began = steady.monotonic()
        begin_until = row.started + self.settings.lease_seconds - self.settings.request_deadline
        if self.is_stopped(row.kind) or began >= begin_until:
            return Report(row, None)
        sent = Sent(
            event_id=row.event_id,
            source=row.source,
            type=row.type,
            subject=row.subject,
            time=row.time,
            body=row.body,
        )
        url, traced = self._platform.api_base_url, self.settings.tracing
        with tracing.sending(row.kind.value, row.destination, url, sent, on=traced) as span:
            if row.kind is AttemptKind.CHECK:
                outcome = sender.check(row.remote_id, sent=sent, age=row.accepted_age, deadline=deadline)
            else:
                outcome = sender.publish(row.body, row.key, sent, deadline=deadline)
            span.responded(outcome.status_code)
            if outcome.verdict not in WELL:
                span.failed(str(outcome.status_code or outcome.verdict.value))
        if self._means_trouble(outcome):
            self.stop()
        return Report(row, outcome, began, steady.monotonic() - began)

    def _means_trouble(self, outcome: Outcome) -> bool:
        """Whether to start no more requests until the pass has recorded the answers so far."""
        match outcome.verdict:
            case Verdict.HALTED:
                return not (outcome.accuses and self.accepted_lately)
            case Verdict.REJECTED:
                self._refused_in_a_row += 1
                return self._refused_in_a_row >= self.settings.run_length
            case Verdict.ACCEPTED:
                self._refused_in_a_row = 0
            case Verdict.UNAVAILABLE | Verdict.UNKNOWN | Verdict.DELIVERED | Verdict.FAILED | Verdict.NOT_YET:
                pass
            case _ as never:
                assert_never(never)
        return False


_DIED = Outcome(Verdict.UNKNOWN, error="The sender thread died. The platform may have received the event.")


def _cannot_begin(error: Exception, secrets: tuple[str, ...]) -> Outcome:
    """The client cannot be created, for example because CA_BUNDLE is unreadable: no event is at fault."""
    reason = clean(redact_text(str(error), DEFAULT_REDACT_KEYS, secrets), 300)
    line = f"No connection can be set up: {reason}. Check CA_BUNDLE, CLIENT_CERT and PROXY."
    return Outcome(Verdict.HALTED, error=line, halt=Halt.CONFIG)
