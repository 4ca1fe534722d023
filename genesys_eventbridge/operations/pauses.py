"""Operators pause and resume a destination; no worker writes these columns."""

from __future__ import annotations

import logging

from django.utils.translation import gettext as _

from genesys_eventbridge import conf, signals, wake
from genesys_eventbridge.db import first_write, in_small_transaction
from genesys_eventbridge.db.clock import LONGEST_WAIT, DatabaseNow
from genesys_eventbridge.db.transactions import after_commit
from genesys_eventbridge.models import Destination, outbox_alias
from genesys_eventbridge.operations.audit import Actor, log, needed, one_line
from genesys_eventbridge.operations.jobs import Order, note
from genesys_eventbridge.outbox import destinations, orphans
from genesys_eventbridge.states import Act

logger = logging.getLogger("genesys_eventbridge")


def pause(alias: str, actor: Actor, reason: str, seconds: float | None = None) -> None:
    """Pause a destination for N seconds, or until resumed. Events in flight are finished.

    Raises ValueError without a reason or for seconds that are not positive, ImproperlyConfigured for an
    unknown destination.
    """
    _require_known(alias)
    kept = needed(reason)
    if seconds is not None and not 0 < seconds <= LONGEST_WAIT:
        raise ValueError("seconds: must be above 0 and at most 10 years, or None for a pause until resumed.")

    def work() -> None:
        first_write(outbox_alias())
        row, _created = Destination.objects.using(outbox_alias()).get_or_create(alias=alias)
        Destination.objects.using(outbox_alias()).filter(pk=row.pk).update(
            held_by=actor.username,
            held_reason=kept,
            held_until=None if seconds is None else DatabaseNow(seconds),
        )
        options = {} if seconds is None else {"seconds": seconds}
        note(Order(Act.PAUSE, actor, kept, options, about=alias), destination=alias)
        log(actor, Destination, [(row.pk, alias)], _("paused: %(reason)s") % {"reason": kept})
        after_commit(outbox_alias(), _paused, alias, actor, kept)

    in_small_transaction(outbox_alias(), work)


def resume(alias: str, actor: Actor, reason: str = "", *, also_trouble: bool = False) -> bool:
    """End an operator's pause; returns whether there was anything to end.

    If there is none, or with ``also_trouble``, end a run of refusals, and the pauses that the platform or the
    network caused: the next pass probes with one event at once, and pauses again if it fails. Raises
    ImproperlyConfigured for an unknown destination.
    """
    _require_known(alias)
    kept = one_line(reason)

    def work() -> bool:
        rows = Destination.objects.using(outbox_alias()).filter(alias=alias)
        held = rows.exclude(held_by="").update(held_by="", held_reason="", held_until=None)
        ended = (also_trouble or not held) and destinations.end_pauses(alias)
        if not (held or ended):
            return False
        note(Order(Act.RESUME, actor, kept, about=alias), destination=alias)
        message = _("resumed: %(reason)s") % {"reason": kept} if kept else _("resumed")
        log(actor, Destination, [(pk, alias) for pk in rows.values_list("pk", flat=True)], message)
        after_commit(outbox_alias(), _resumed, alias, actor, kept)
        return True

    return in_small_transaction(outbox_alias(), work)


def _require_known(alias: str) -> None:
    """A destination that is no longer configured can be paused, too: it silences `status --check`."""
    if not orphans.is_left(alias):
        conf.destination(alias)


def _paused(alias: str, actor: Actor, reason: str) -> None:
    logger.warning("Destination %s is paused by %s: %s", alias, actor.username, reason)
    signals.destination_paused.send_robust(sender=Destination, alias=alias, reason=reason)


def _resumed(alias: str, actor: Actor, reason: str) -> None:
    logger.info("Destination %s is resumed by %s", alias, actor.username)
    signals.destination_resumed.send_robust(sender=Destination, alias=alias, reason=reason)
    wake.wake(alias)
