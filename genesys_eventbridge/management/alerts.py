"""Evaluates the alerts in the foreground and tests the channels; the output of ``eventbridge_alert``."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from genesys_eventbridge.alerts import Notice, channels
from genesys_eventbridge.alerts.delivery import DEADLINE, deliver
from genesys_eventbridge.alerts.evaluation import Report, configured, evaluate
from genesys_eventbridge.conf.alerts import AlertSettings
from genesys_eventbridge.formatting import moment, span
from genesys_eventbridge.management import arguments
from genesys_eventbridge.management.output import Result
from genesys_eventbridge.models import AlertNotice, outbox_alias
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.states import AlertStatus
from genesys_eventbridge.text import clean

#: For how many seconds a check begins attempts to send.
CHECK_SECONDS = 60.0


def wanted(options: dict[str, Any]) -> dict[str, AlertSettings]:
    """The named destinations with ALERTS. Raises CommandError if there is none."""
    aliases = arguments.aliases(options)
    found = {alias: alerts for alias, alerts in configured().items() if alias in aliases}
    if not found:
        raise CommandError(
            f"ALERTS is not set for {', '.join(aliases)}, so no alert is sent. Set it in "
            'GENESYS_EVENTBRIDGE, for example: "ALERTS": {"email": "admins"}.'
        )
    return found


def check(options: dict[str, Any]) -> Result:
    """Evaluate now, send what is due, and report what is open."""
    alerts = wanted(options)
    reports = evaluate(alerts, by_worker=False)
    deliver(alerts, seconds=CHECK_SECONDS)
    unsent = _unsent(alerts)
    now = next_due.database_now()
    lines = [line for report in reports for line in _lines(report, alerts[report.destination], now)]
    quiet = alerts.keys() - {report.destination for report in reports}
    lines += [f"OK       {alias}: nothing to tell" for alias in sorted(quiet)]
    lines += [line for row in unsent for line in _unsent_lines(row, now)]
    return Result(
        lines,
        {
            "alerts": [_data(report) for report in reports],
            "unsent": [
                {
                    "destination": row.alert.destination,
                    "kind": row.alert.kind,
                    "status": row.status,
                    "channel": row.channel,
                    "attempts": row.attempts,
                    "error": row.last_error,
                    "next_at": row.due_at,
                }
                for row in unsent
            ],
        },
        needs_operator=bool(unsent) or any(_needs_operator(report) for report in reports),
    )


def _needs_operator(report: Report) -> bool:
    return report.finding is not None and report.episode.is_open


def _lines(report: Report, alerts: AlertSettings, now: dt.datetime) -> list[str]:
    episode, finding = report.episode, report.finding
    where = f"{report.destination} {report.kind.value}"
    if finding is None:
        if not episode.is_open:
            return [f"OVER     {where}: recovered"]
        since = moment(episode.gone_at or now, now)
        left = alerts.window - (now - (episode.noticed_at or now)).total_seconds()
        then = f"“recovered” is sent in {span(max(0.0, left))} unless it returns"
        return [f"OVER     {where}: over since {since}; {then}"]
    remedy = [f"  -> {finding.remedy}"] if finding.remedy else []
    if not episode.is_open:
        return [f"WAITING  {where}: {finding.message}; an alert after {span(finding.patience)}", *remedy]
    return [f"OPEN     {where}: {finding.message}; {_known(report, now)}", *remedy]


def _known(report: Report, now: dt.datetime) -> str:
    if report.stored or report.episode.alerted_at is None:
        return "new"
    return f"alert of {moment(report.episode.alerted_at, now)}"


def _unsent(alerts: Mapping[str, AlertSettings]) -> list[AlertNotice]:
    """Notices that no one has got yet: tried in vain, or claimed by another process."""
    rows = AlertNotice.objects.using(outbox_alias()).filter(
        due_at__isnull=False, alert__destination__in=list(alerts)
    )
    return list(rows.select_related("alert").order_by("id")[:100])


def _unsent_lines(row: AlertNotice, now: dt.datetime) -> list[str]:
    what = f"{row.alert.destination} {row.alert.kind} ({row.status}) by {row.channel}"
    if not row.last_error:
        return [f"UNSENT   {what}: waits for its turn"]
    due = moment(row.due_at, now) if row.due_at else "-"
    return [
        f"UNSENT   {what}: {clean(row.last_error, 300)}; attempt {row.attempts}, next at {due}",
        f"  -> manage.py eventbridge_alert --test --destination {row.alert.destination}",
    ]


def _data(report: Report) -> dict[str, Any]:
    episode, finding = report.episode, report.finding
    return {
        "destination": report.destination,
        "kind": report.kind.value,
        "open": episode.is_open,
        "present": finding is not None,
        "message": finding.message if finding else episode.message,
        "remedy": finding.remedy if finding else "",
        "since": episode.since,
        "alerted_at": episode.alerted_at,
        "stored": report.stored.value if report.stored else None,
    }


def test(options: dict[str, Any]) -> Result:
    """Send a marked notice by each channel, and report what happened. Nothing is stored or repeated."""
    alerts = wanted(options)
    lines: list[str] = []
    data: dict[str, Any] = {}
    failed = False
    for alias, mine in alerts.items():
        data[alias] = []
        for channel in mine.channels:
            failure = _try(channel, alias, mine)
            failed = failed or failure is not None
            lines += _test_lines(alias, channel, failure)
            data[alias].append(
                {
                    "channel": channel,
                    "ok": failure is None,
                    "error": "" if failure is None else _error(failure),
                    "remedy": "" if failure is None else failure.remedy,
                }
            )
    return Result(lines, {"destinations": data}, needs_operator=failed)


def _try(channel: str, alias: str, alerts: AlertSettings) -> channels.NotSent | None:
    notice = Notice(
        id=str(uuid.uuid4()),
        destination=alias,
        kind="test",
        status=AlertStatus.TEST.value,
        title=f"{alias}: a test of the alerts",
        message="This is a test by eventbridge_alert --test. Nothing is wrong.",
        at=timezone.now(),
    )
    try:
        channels.send(channel, channels.Attempt(alias, alerts, notice, DEADLINE))
    except channels.NotSent as failure:
        return failure
    return None


def _error(failure: channels.NotSent) -> str:
    detail = clean(failure.detail, 300)
    return f"{failure}: {detail}" if detail else str(failure)


def _test_lines(alias: str, channel: str, failure: channels.NotSent | None) -> list[str]:
    if failure is None:
        return [f"OK       {alias} {channel}: sent"]
    lines = [f"FAILED   {alias} {channel}: {_error(failure)}"]
    return [*lines, f"  -> {failure.remedy}"] if failure.remedy else lines
