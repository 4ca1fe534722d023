"""Sender threads: each waits for the network with a connection of its own and never touches the database."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genesys_eventbridge.auth import credentials_for
from genesys_eventbridge.claims import Claimed
from genesys_eventbridge.client import Platform, Sender
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.states import AttemptKind
from genesys_eventbridge.text import DEFAULT_REDACT_KEYS, clean, redact_text
from genesys_eventbridge.verdicts import Halt, Outcome, Rules, Sent, Verdict

if TYPE_CHECKING:
    from httpx import BaseTransport

TransportFactory = Callable[[], "BaseTransport"]


@dataclass(frozen=True, slots=True)
class Report:
    """What a sender did with one row; ``outcome`` is None where it was not begun."""

    claimed: Claimed
    outcome: Outcome | None
    #: ``time.monotonic()`` when the request began, and its length in seconds.
    began: float = 0.0
    duration: float = 0.0


def platform_of(settings: DestinationSettings) -> Platform:
    """The settings of one destination as the client takes them."""
    return Platform(
        api_base_url=settings.api_base_url,
        login_base_url=settings.login_base_url,
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        scopes=settings.scopes,
        token_path=settings.token_path,
        events_path=settings.events_path,
        idempotency_header=settings.idempotency_header,
        content_type=settings.content_type,
        extra_headers=settings.extra_headers,
        connect_timeout=settings.connect_timeout,
        request_deadline=settings.request_deadline,
        ca_bundle=settings.ca_bundle,
        proxy=settings.proxy,
        client_cert=settings.client_cert,
        rules=Rules(
            accepted_codes=frozenset(settings.accepted_codes),
            duplicate_codes=frozenset(settings.duplicate_codes),
            delivered_statuses=frozenset(word.lower() for word in settings.delivered_statuses),
            failed_statuses=frozenset(word.lower() for word in settings.failed_statuses),
            not_found_grace=settings.not_found_grace,
            confirm_for=settings.confirm_for,
            retry_after_default=settings.retry_after_default,
            retry_after_cap=settings.retry_after_cap,
            redact_keys=tuple(settings.redact_keys),
        ),
    )


class Senders:
    """A crew of threads for one destination: rows in, reports out.

    Threads start as rows come, at most ``count``; a halt seen by one makes the others begin nothing
    more until ``resume()``, of each kind of request. Use as a context manager, in the process that sends.
    """

    def __init__(
        self, settings: DestinationSettings, count: int, *, transport: TransportFactory | None = None
    ) -> None:
        self.settings = settings
        self._platform = platform_of(settings)
        self.reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self.count = count
        self._transport = transport
        self._rows: queue.SimpleQueue[Claimed | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._stopped = {kind: threading.Event() for kind in AttemptKind}
        #: The destination accepted something lately: a page may then be about one event (G20).
        self.accepted_lately = False
        #: By all threads together; a lost update only delays the stop by one event.
        self._refused_in_a_row = 0

    def __enter__(self) -> Senders:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def send(self, rows: list[Claimed]) -> None:
        for row in rows:
            self._rows.put(row)
        wanted = min(self.count, len(self._threads) + len(rows))
        while len(self._threads) < wanted:
            thread = threading.Thread(target=self._run, name="eventbridge-sender", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Begin nothing more; rows not begun come back as such."""
        for stopped in self._stopped.values():
            stopped.set()

    def resume(self, *kinds: AttemptKind) -> None:
        """Begin requests of these kinds again, or of every kind."""
        for kind in kinds or AttemptKind:
            self._stopped[kind].clear()
            if kind is AttemptKind.PUBLISH:
                self._refused_in_a_row = 0

    def is_stopped(self, kind: AttemptKind) -> bool:
        return self._stopped[kind].is_set()

    def close(self) -> None:
        """Let the threads end after what they have begun; does not wait for them."""
        self.stop()
        for _thread in self._threads:
            self._rows.put(None)

    def _run(self) -> None:
        sender: Sender | None = None
        try:
            while (row := self._rows.get()) is not None:
                if sender is None:
                    try:
                        sender = self._sender()
                    except Exception as error:  # noqa: BLE001 - no thread may die with rows in its hands
                        self.stop()
                        self.reports.put(
                            Report(row, _cannot_begin(error, self._platform.secrets()), time.monotonic())
                        )
                        continue
                self.reports.put(self._ask(sender, row))
        finally:
            if sender is not None:
                sender.close()

    def _sender(self) -> Sender:
        """In the thread that uses it: a connection has one owner."""
        transport = self._transport() if self._transport else None
        return Sender(self._platform, credentials_for(self._platform), transport=transport)

    def _ask(self, sender: Sender, row: Claimed) -> Report:
        began = time.monotonic()
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
        if row.kind is AttemptKind.CHECK:
            outcome = sender.check(row.remote_id, sent=sent, age=row.accepted_age)
        else:
            outcome = sender.publish(row.body, row.key, sent)
        if self._means_trouble(outcome):
            self.stop()
        return Report(row, outcome, began, time.monotonic() - began)

    def _means_trouble(self, outcome: Outcome) -> bool:
        """Whether no sender should begin anything more before the pass has looked at the answers so far."""
        match outcome.verdict:
            case Verdict.HALTED:
                return not (outcome.accuses and self.accepted_lately)
            case Verdict.REJECTED:
                self._refused_in_a_row += 1
                return self._refused_in_a_row >= self.settings.run_length
            case Verdict.ACCEPTED:
                self._refused_in_a_row = 0
        return False


def _cannot_begin(error: Exception, secrets: tuple[str, ...]) -> Outcome:
    """No sender can be made (an unreadable CA_BUNDLE, say): the installation is at fault, not an event."""
    reason = clean(redact_text(str(error), DEFAULT_REDACT_KEYS, secrets), 300)
    line = f"No connection can be set up: {reason}. Check CA_BUNDLE, CLIENT_CERT and PROXY."
    return Outcome(Verdict.HALTED, error=line, halt=Halt.CONFIG)
