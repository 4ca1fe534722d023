"""Sends stored notices: claimed under a lease, sent outside any transaction, retried with backoff.

The mark that a notice was sent is written after it was sent. If the process is killed between the
two, another sends it again once the lease has expired, under the same id.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.db.models import Exists, F, OuterRef, QuerySet

from genesys_eventbridge.alerts import channels
from genesys_eventbridge.alerts.notices import Notice
from genesys_eventbridge.conf.alerts import AlertSettings
from genesys_eventbridge.db import release_connection, retried
from genesys_eventbridge.db.clock import NOW, DatabaseNow
from genesys_eventbridge.models import AlertNotice, outbox_alias
from genesys_eventbridge.text import clean

logger = logging.getLogger("genesys_eventbridge")

#: Seconds that one attempt may take, and that its claim lasts.
DEADLINE = 10.0
LEASE = 60.0
#: The wait after the first failed attempt, which doubles, and the longest one; seconds.
BACKOFF_BASE = 30.0
BACKOFF_CAP = 3600.0
#: A notice older than this, in seconds, that was tried in vain is given up.
GIVE_UP_AFTER = 86400.0
#: Notices read at a time.
BATCH = 50


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt. ``failure`` is None if the notice was sent."""

    notice: Notice
    channel: str
    failure: channels.NotSent | None = None
    given_up: bool = False


def deliver(
    alerts: Mapping[str, AlertSettings],
    *,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> list[Delivery]:
    """Send what is due for these destinations, oldest first. Begins no attempt after ``seconds``.

    A notice waits for an earlier one of the same alert and channel, so that "recovered" never comes first.
    """
    ends = clock() + seconds
    done: list[Delivery] = []
    # Whatever was read is no longer due afterwards: sent, postponed, or claimed by another process.
    while rows := list(_due(alerts)[:BATCH]):
        for row in rows:
            if clock() >= ends:
                return done
            if _claim(row):
                done.append(_attempt(row, alerts[row.alert.destination], row.now))  # type: ignore[attr-defined]
    return done


def _due(alerts: Mapping[str, AlertSettings]) -> QuerySet[AlertNotice]:
    earlier = _rows().filter(
        alert=OuterRef("alert"), channel=OuterRef("channel"), id__lt=OuterRef("id"), due_at__isnull=False
    )
    due = _rows().filter(due_at__lte=NOW, alert__destination__in=list(alerts))
    return due.filter(~Exists(earlier)).select_related("alert").annotate(now=NOW).order_by("id")


def _rows() -> QuerySet[AlertNotice]:
    return AlertNotice.objects.using(outbox_alias())


def _claim(row: AlertNotice) -> bool:
    """Whether this process may send it until its lease expires; of several, one may."""
    mine = _rows().filter(id=row.pk, due_at__lte=NOW)
    row.claim_token = uuid.uuid4()
    changes = {"claim_token": row.claim_token, "due_at": DatabaseNow(LEASE), "attempts": F("attempts") + 1}
    return retried(outbox_alias(), lambda: mine.update(**changes)) > 0


def _attempt(row: AlertNotice, alerts: AlertSettings, now: dt.datetime) -> Delivery:
    notice = Notice.from_json(row.content)
    attempts = row.attempts + 1
    failure: channels.NotSent | None = None
    release_connection(outbox_alias())  # others may need it meanwhile
    try:
        channels.send(row.channel, channels.Attempt(row.alert.destination, alerts, notice, DEADLINE))
    except channels.NotSent as error:
        failure = error
    changes: dict[str, object] = {"claim_token": None}
    given_up = False
    if failure is None:
        changes |= {"sent_at": NOW, "due_at": None, "last_error": ""}
    else:
        given_up = failure.is_final or (now - row.created_at).total_seconds() > GIVE_UP_AFTER
        wait = min(BACKOFF_CAP, BACKOFF_BASE * 2 ** min(attempts - 1, 10))
        changes |= {
            "due_at": None if given_up else DatabaseNow(wait),
            "last_error": clean(str(failure), 500),
        }
        logger.log(
            logging.ERROR if given_up else logging.WARNING,
            "Alert %s (%s) of destination %s not sent by %s: %s; %s",
            notice.kind,
            notice.status,
            clean(notice.destination, 64),
            row.channel,
            failure,
            "given up" if given_up else f"trying again in {wait:.0f} s",
        )
    mine = _rows().filter(id=row.pk, claim_token=row.claim_token)
    retried(outbox_alias(), lambda: mine.update(**changes))
    return Delivery(notice, row.channel, failure, given_up)
