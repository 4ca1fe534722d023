"""Sending: publish what is due, and check the status of what was accepted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext

from genesys_eventbridge import conf
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.db.clock import require_steady_zone
from genesys_eventbridge.db.transactions import refuse_in_transaction
from genesys_eventbridge.models import outbox_alias
from genesys_eventbridge.relay.batch import Pass, PassReport, worker_name
from genesys_eventbridge.relay.senders import Senders, TransportFactory
from genesys_eventbridge.states import AttemptKind

__all__ = ["PassReport", "check_accepted", "publish_due", "serve", "worker_name"]


def publish_due(
    destination: str = "default",
    *,
    limit: int | None = None,
    only: Collection[int] | None = None,
    max_seconds: float | None = None,
    concurrency: int | None = None,
    stop: threading.Event | None = None,
    senders: Senders | None = None,
    transport: TransportFactory | None = None,
) -> PassReport:
    """Publish due events until none is due, ``limit`` events are claimed or the time limit is reached.

    ``only`` restricts it to the events with these ids (``OutboxEvent.id``).

    Returns within ``max_seconds`` (default PASS_SECONDS). Setting ``stop`` ends the pass earlier; requests in
    flight are finished. Pass ``senders`` to keep threads and connections between passes, else ``concurrency``
    threads (default CONCURRENCY) are started for this one.

    Raises ImproperlyConfigured for wrong settings, and TransactionManagementError inside a transaction on the
    outbox's database, both before any claim. A failure of the platform never raises: see the report.
    """
    refuse_in_transaction(outbox_alias(), "publish_due() publishes nothing")
    settings = _settings(destination, max_seconds)
    with _senders_for(settings, concurrency, senders, transport) as pool:
        (report,) = Pass({AttemptKind.PUBLISH: 0.0}, settings, pool, limit=limit, only=only, stop=stop).run()
        return report


def check_accepted(
    destination: str = "default",
    *,
    limit: int | None = None,
    only: Collection[int] | None = None,
    max_seconds: float | None = None,
    concurrency: int | None = None,
    stop: threading.Event | None = None,
    senders: Senders | None = None,
    transport: TransportFactory | None = None,
) -> PassReport:
    """Check the status of accepted events whose next check is due. Otherwise like ``publish_due``."""
    refuse_in_transaction(outbox_alias(), "check_accepted() checks nothing")
    settings = _settings(destination, max_seconds)
    with _senders_for(settings, concurrency, senders, transport) as pool:
        (report,) = Pass({AttemptKind.CHECK: 0.0}, settings, pool, limit=limit, only=only, stop=stop).run()
        return report


def serve(
    destination: str,
    kinds: Mapping[AttemptKind, float],
    *,
    senders: Senders,
    max_seconds: float | None = None,
    stop: threading.Event | None = None,
    clock: Callable[[], float] | None = None,
) -> list[PassReport]:
    """Publish and check in one pass, sharing the senders. Returns a report for each kind that was begun.

    ``kinds`` maps each kind to the seconds until its first claim. A kind with a wait joins only if the other
    is still working by then. Otherwise like ``publish_due``.
    """
    refuse_in_transaction(outbox_alias(), "serve() sends nothing")
    settings = _settings(destination, max_seconds)
    with _senders_for(settings, None, senders, None) as pool:
        return Pass(kinds, settings, pool, stop=stop, clock=clock).run()


def _settings(destination: str, max_seconds: float | None) -> DestinationSettings:
    require_steady_zone(outbox_alias(), "Nothing is sent")
    settings = conf.sending(destination)
    if max_seconds is None:
        return settings
    deadline = min(settings.request_deadline, max_seconds / 2)
    return settings.changed(pass_seconds=max_seconds, request_deadline=deadline)


def _senders_for(
    settings: DestinationSettings,
    concurrency: int | None,
    senders: Senders | None,
    transport: TransportFactory | None,
) -> AbstractContextManager[Senders]:
    """The caller's senders, left open after the pass, or senders for this pass only."""
    if senders is not None:
        senders.resume()
        return nullcontext(senders)
    return Senders(settings, concurrency or settings.concurrency, transport=transport)
