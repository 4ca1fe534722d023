"""What must work for events to go out: workers, schedules, requests, settings; with a command each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.apps import apps
from django.core.checks import CheckMessage
from django.db import Error as DatabaseError
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from genesys_eventbridge import checks, conf, formatting, schedules
from genesys_eventbridge.admin.badges import when
from genesys_eventbridge.alerts import evaluation
from genesys_eventbridge.circuit import LATELY_REQUESTS
from genesys_eventbridge.models import Alert, AlertNotice, outbox_alias
from genesys_eventbridge.reporting import workers
from genesys_eventbridge.reporting.destination import without_a_key
from genesys_eventbridge.reporting.explain import NO_WORKER_AFTER
from genesys_eventbridge.reporting.facts import settings_of
from genesys_eventbridge.reporting.status import DestinationStatus
from genesys_eventbridge.states import AlertKind
from genesys_eventbridge.text import clean

#: An older success, in seconds, proves nothing about now.
RECENT = 3600.0
CHECK = "manage.py check --deploy --database default"


@dataclass(frozen=True, slots=True)
class Row:
    """``tone``: "good", "bad", or "" if neither; ``text`` may be markup made by format_html."""

    name: str
    tone: str
    text: str
    command: str = ""


def rows(statuses: Sequence[DestinationStatus]) -> list[Row]:
    """Rows for these destinations, and for what they share."""
    many = len(conf.aliases()) > 1
    found = [row for at in statuses if at.configured for row in _destination(at, many=many)]
    return [*found, *_alerts(statuses), *_schedules(statuses), system_checks()]


def system_checks() -> Row:
    """The result of our system checks, except those that need the database."""
    asked: list[CheckMessage] = [*checks.check_settings(), *checks.check_queue(), *checks.check_models()]
    if not asked:
        return Row(_("System checks"), "good", _("no problems found"), CHECK)
    ids = ", ".join(sorted({(message.id or "").rpartition(".")[2] for message in asked}))
    text = ngettext("%(count)s problem: %(ids)s", "%(count)s problems: %(ids)s", len(asked))
    errors = any(message.is_serious() for message in asked)
    return Row(_("System checks"), "bad" if errors else "", text % {"count": len(asked), "ids": ids}, CHECK)


def _destination(at: DestinationStatus, *, many: bool) -> Iterator[Row]:
    where = f" ({at.alias})" if many else ""
    seen, ago = at.health.heartbeat_at, at.heartbeat_ago
    if ago is None:
        yield Row(_("Worker") + where, "bad", _("none has reported yet"), workers.commands()[0])
    else:
        alive = ago <= NO_WORKER_AFTER
        words = format_html(
            "{} <span class='eventbridge-quiet'>{}</span>",
            when(seen, at.now),
            clean(at.health.heartbeat_worker, 80),
        )
        yield Row(_("Worker") + where, "good" if alive else "bad", words, workers.commands()[0])
    ping = f"manage.py eventbridge_ping --destination {at.alias}"
    yield Row(_("Last successful call") + where, *_last_success(at), ping)
    settings = settings_of(at.alias)
    if settings and (doubt := without_a_key(settings)):
        name = settings.platform.protocol.name
        yield Row(_("Protocol") + where, "", format_html("<code>{}</code>, {}", name, doubt))


def _last_success(at: DestinationStatus) -> tuple[str, str]:
    """Tone and text. Good only while it is recent and nothing has failed since; bad during a pause."""
    took, missed = at.health.accepted_at, at.health.misses
    if took is None:
        return "", _("no event accepted yet")
    text = when(took, at.now)
    if missed:
        since = ngettext(
            "%(count)s request not accepted since", "%(count)s requests not accepted since", missed
        )
        count = formatting.number(missed, at_least=missed >= LATELY_REQUESTS)
        text = format_html("{} · {}", text, since % {"count": count})
    if at.health.paused_until is not None:
        return "bad", text
    recent = (at.now - took).total_seconds() <= RECENT
    return "good" if recent and not missed else "", text


def _alerts(statuses: Sequence[DestinationStatus]) -> Iterator[Row]:
    """The open alerts of these destinations, and whether the last notice was sent; nothing without ALERTS."""
    watched = evaluation.configured().keys() & {at.alias for at in statuses}
    if not watched:
        return
    now = statuses[0].now
    alerts = Alert.objects.using(outbox_alias()).filter(destination__in=watched, alerted_at__isnull=False)
    found = [
        (each.destination, AlertKind(each.kind).label, when(each.since or each.alerted_at, now))
        for each in alerts.order_by("destination", "kind")
    ]
    text = format_html_join("; ", "{}: {} <span class='eventbridge-quiet'>{}</span>", found)
    yield Row(
        _("Alerts"),
        "bad" if found else "good",
        text or _("none is open"),
        "manage.py eventbridge_alert --check",
    )
    tried = AlertNotice.objects.using(outbox_alias()).filter(alert__destination__in=watched, attempts__gt=0)
    last = tried.order_by("-id").first()
    if last is not None and last.sent_at is None and last.last_error:
        words = {"channel": last.channel, "why": clean(last.last_error, 200)}
        unsent = _("the last one was not sent by %(channel)s: %(why)s") % words
        yield Row(_("Notices of alerts"), "bad", unsent, "manage.py eventbridge_alert --test")


def _schedules(statuses: Sequence[DestinationStatus]) -> Iterator[Row]:
    apply = "manage.py eventbridge_schedules --apply"
    if not apps.is_installed("django_q"):
        return
    try:
        known = schedules.statuses()
    except DatabaseError as error:
        text = _("django-q2's tables cannot be read (%(error)s)") % {"error": type(error).__name__}
        yield Row(_("Schedules"), "bad", text, "manage.py migrate")
        return
    if not any(each.installed for each in known):
        text = _("not installed; not needed with eventbridge_publish --loop or cron")
        yield Row(_("Schedules"), "", text, apply)
        return
    now = statuses[0].now
    for each in known:
        if each.fault:
            yield Row(each.name, "bad", each.fault, apply)
            continue
        started = when(each.started, now) if each.started else _("last start unknown")
        tone = "" if each.paused else "bad" if each.is_late else "good"
        yield Row(each.name, tone, format_html("{} · {}", started, each.pace), workers.CLUSTER)
