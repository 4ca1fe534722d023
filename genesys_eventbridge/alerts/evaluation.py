"""Looks at the destinations, and stores what is to be news together with what is known then.

Several processes may evaluate at the same time. Each reads the episodes first and the facts after that, and
writes an episode only if no one else has since (its ``version``): one of them stores the notice.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.db.models import F, Q, QuerySet
from django.utils import translation
from django.utils.translation import gettext as _

from genesys_eventbridge import conf, formatting
from genesys_eventbridge.alerts import links
from genesys_eventbridge.alerts.decide import Episode, Finding, decide
from genesys_eventbridge.alerts.findings import findings
from genesys_eventbridge.alerts.notices import Example, Notice
from genesys_eventbridge.circuit.rate import SET_BACK_SECONDS
from genesys_eventbridge.conf.alerts import AlertSettings
from genesys_eventbridge.db import first_write, in_small_transaction, retried
from genesys_eventbridge.db.clock import NOW, DatabaseNow
from genesys_eventbridge.models import (
    Alert,
    AlertNotice,
    Destination,
    OutboxEvent,
    OutboxQuerySet,
    outbox_alias,
)
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.reporting import status
from genesys_eventbridge.states import AlertKind, AlertStatus, State
from genesys_eventbridge.text import clean

#: Seconds between two evaluations by workers, all of them together.
EVERY = 60.0
#: Events of each kind that are counted at most.
MOST = 10_000
#: Kinds whose events are counted in a notice.
FAILED = (AlertKind.DEAD, AlertKind.UNRESOLVED)
#: Notices are kept this long, in seconds, and this many are removed at a time.
KEPT = 30 * 86400.0
PRUNED = 1000


@dataclass(frozen=True, slots=True)
class Report:
    """One kind of trouble at one destination after an evaluation: present, or an open alert, or both."""

    destination: str
    kind: AlertKind
    episode: Episode
    #: None if it is not there now.
    finding: Finding | None
    #: The notice that this evaluation stored.
    stored: AlertStatus | None = None


def configured() -> dict[str, AlertSettings]:
    """The destinations with ALERTS, without those whose settings are wrong. Raises ImproperlyConfigured."""
    found = {}
    for alias in conf.aliases():
        with suppress(ImproperlyConfigured):  # the system checks and its own workers report it
            if (alerts := conf.destination(alias).alerts) is not None:
                found[alias] = alerts
    return found


def take_turn(aliases: Sequence[str]) -> bool:
    """Whether this worker should evaluate now: of all that ask within a minute, one gets True.

    The turn is in the row of the first destination, so all processes must pass the same ``aliases``.
    """
    rows = Destination.objects.using(outbox_alias()).filter(alias=aliases[0])
    due = Q(alerts_at__isnull=True) | Q(alerts_at__lte=DatabaseNow(-EVERY))
    due |= Q(alerts_at__gt=DatabaseNow(SET_BACK_SECONDS))
    if retried(outbox_alias(), lambda: rows.filter(due).update(alerts_at=NOW)):
        return True
    if not rows.exists():  # no worker has ever reported: an alert, too
        Destination.objects.using(outbox_alias()).get_or_create(alias=aliases[0])
        return rows.filter(due).update(alerts_at=NOW) > 0
    return False


def evaluate(alerts: Mapping[str, AlertSettings], *, by_worker: bool) -> list[Report]:
    """Evaluate these destinations now. The caller sends what is stored.

    Takes the queries of a sampled status, one for the episodes, and a few for each change. Raises database
    errors; what was stored until then stays.
    """
    rows = Alert.objects.using(outbox_alias()).filter(destination__in=list(alerts))
    known = {(row.destination, row.kind): row for row in rows}
    reports = []
    # In the site's language, not in that of the request or command that happens to evaluate.
    with translation.override(django_settings.LANGUAGE_CODE):
        now = next_due.database_now()
        for at in status.sampled(now, {}, MOST):
            if at.alias not in alerts:
                continue
            mine = alerts[at.alias]
            found = findings(at, conf.destination(at.alias), mine, by_worker=by_worker)
            for kind in AlertKind:
                row = known.get((at.alias, kind))
                if row is not None or kind in found:
                    reports.append(_Look(at.alias, kind, mine, now, row, found.get(kind)).advance())
    _prune()
    return [report for report in reports if report.finding or report.episode.is_open or report.stored]


@dataclass(frozen=True, slots=True)
class _Look:
    """One kind of trouble at one destination: its row as it was read, and how it is now."""

    alias: str
    kind: AlertKind
    alerts: AlertSettings
    now: dt.datetime
    row: Alert | None
    finding: Finding | None

    @property
    def before(self) -> Episode:
        return _episode(self.row)

    def advance(self) -> Report:
        """Store the next episode, and the notice if there is one."""
        before = self.before
        after, news = decide(before, self.finding, self.now, self.alerts.window)
        if after == before and self.row is not None:
            return Report(self.alias, self.kind, before, self.finding)
        notice = None if news is None else self._notice(news)
        if in_small_transaction(outbox_alias(), lambda: self._store(after, notice)):
            return Report(self.alias, self.kind, after, self.finding, news)
        return Report(self.alias, self.kind, _episode(self._rows().first()), self.finding)

    def _rows(self) -> QuerySet[Alert]:
        return Alert.objects.using(outbox_alias()).filter(destination=self.alias, kind=self.kind)

    def _store(self, after: Episode, notice: Notice | None) -> bool:
        """Within a transaction: write both, or nothing if another process was faster."""
        database = outbox_alias()
        first_write(database)
        rows = self._rows()
        if self.row is None:
            new = Alert(destination=self.alias, kind=self.kind)
            Alert.objects.using(database).bulk_create([new], ignore_conflicts=True)
        unchanged = rows.filter(version=0 if self.row is None else self.row.version)
        if not unchanged.update(version=F("version") + 1, **asdict(after)):
            return False
        if notice is not None:
            alert = rows.get()
            AlertNotice.objects.using(database).bulk_create(
                AlertNotice(
                    alert=alert,
                    notice_id=uuid.UUID(notice.id),
                    status=notice.status,
                    channel=channel,
                    content=notice.as_json(),
                    created_at=NOW,
                    due_at=NOW,
                )
                for channel in self.alerts.channels
            )
        return True

    def _notice(self, news: AlertStatus) -> Notice:
        before, finding = self.before, self.finding
        words = {"destination": self.alias, "kind": self.kind.label}
        notice = Notice(
            id=str(uuid.uuid4()),
            destination=self.alias,
            kind=self.kind.value,
            status=news.value,
            title=_("%(destination)s: %(kind)s") % words,
            message=_("It is over. It was: %(message)s.") % {"message": before.message.rstrip(".")},
            at=self.now,
            since=before.since or self.now,
            page=links.page(self.kind, self.alias, self.alerts),
        )
        if finding is None:
            return replace(notice, title=_("Recovered: %(destination)s: %(kind)s") % words)
        message = f"{finding.message[:1].upper()}{finding.message[1:].rstrip('.')}."
        more = None
        if news == AlertStatus.MORE:
            more = before.more + max(0, finding.number - before.number)
            message += " " + _("%(more)s more since the last notice.") % {"more": formatting.number(more)}
        return replace(
            notice,
            message=message,
            number=finding.number if self.kind in FAILED else None,
            more=more,
            command=finding.remedy,
            example=self._example(),
        )

    def _example(self) -> Example | None:
        rows = _concerned(self.kind, self.alias)
        row = None if rows is None else rows.only(*_SHOWN).first()
        if row is None:
            return None
        return Example(
            number=row.pk,
            event_id=clean(row.event_id, 255),
            type=clean(row.type, 255),
            reason=row.reason,
            status_code=row.last_status_code,
            page=links.event_page(row.pk, self.alerts),
        )


_SHOWN = ("id", "event_id", "type", "reason", "last_status_code")


def _episode(row: Alert | None) -> Episode:
    if row is None:
        return Episode()
    return Episode(**{name: getattr(row, name) for name in Episode.__dataclass_fields__})


def _concerned(kind: AlertKind, alias: str) -> OutboxQuerySet | None:
    """Events in the order of the index, the most telling first; None if the trouble is not about events."""
    rows = OutboxEvent.objects.on_outbox().filter(destination=alias)
    if kind in FAILED:
        return rows.filter(state=kind.value).order_by("-due_at", "-id")
    if kind == AlertKind.REFUSALS:
        return rows.filter(state=State.DEAD).order_by("-due_at", "-id")
    return rows.filter(state=State.PENDING).order_by("due_at", "id") if kind == AlertKind.AGE else None


def _prune() -> None:
    """Forget old notices, a bounded number of them; never one that is still to be sent."""
    rows = AlertNotice.objects.using(outbox_alias())
    newest = rows.order_by("id").filter(due_at__isnull=True, created_at__lt=DatabaseNow(-KEPT))
    if ids := list(newest.values_list("id", flat=True)[:PRUNED]):
        rows.filter(id__in=ids).delete()
