"""The troubles of a destination that are alerts, as ``reporting`` sees them."""

from __future__ import annotations

from django.utils.translation import gettext as _

from genesys_eventbridge.alerts.decide import Finding
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.conf.alerts import AlertSettings
from genesys_eventbridge.formatting import pause_kind
from genesys_eventbridge.reporting.destination import explain_destination
from genesys_eventbridge.reporting.problems import Limits, problems
from genesys_eventbridge.reporting.status import DestinationStatus
from genesys_eventbridge.states import AlertKind
from genesys_eventbridge.text import clean

#: A worker that starts after a stop may evaluate before its heartbeat is written: "no worker" must last this
#: many seconds. Not for ``eventbridge_alert --check``, which may be all that still runs.
WORKER_PATIENCE = 60.0
#: Problems of ``reporting`` that are alerts as they are.
_AS_THEY_ARE = {kind.value: kind for kind in AlertKind if kind is not AlertKind.PAUSED}


def findings(
    at: DestinationStatus, settings: DestinationSettings, alerts: AlertSettings, *, by_worker: bool
) -> dict[AlertKind, Finding]:
    """The present troubles by kind. ``by_worker``: the caller is a worker that may have just started."""
    found: dict[AlertKind, Finding] = {}
    numbers = {AlertKind.DEAD: at.dead, AlertKind.UNRESOLVED: at.unresolved}
    patience = {AlertKind.WORKER: WORKER_PATIENCE if by_worker else 0.0}
    for problem in problems(at, Limits(max_age=alerts.backlog_age, max_dead=0)):
        kind = _AS_THEY_ARE.get(problem.kind)
        if kind is not None and kind not in found:
            found[kind] = Finding(
                clean(problem.message, 500), problem.remedy, numbers.get(kind, 0), patience.get(kind, 0.0)
            )
    if paused := _paused(at, settings):
        remedy = (
            f"manage.py eventbridge_resume {at.alias}"
            if at.held
            else f"manage.py eventbridge_ping --destination {at.alias}"
        )
        found[AlertKind.PAUSED] = Finding(clean(paused, 500), remedy, patience=alerts.paused_for)
    return found


def _paused(at: DestinationStatus, settings: DestinationSettings) -> str:
    """Why nothing is sent or no status is checked; "" if the destination is not paused."""
    health = at.health
    if not (at.held or health.paused_until or health.check_paused_until):
        return ""
    explanation = explain_destination(health, settings, at.now)
    if explanation.word in ("held", "paused", "probing"):
        return explanation.sentence
    words = {
        "kind": pause_kind(health.paused_kind or health.check_paused_kind),
        "why": health.paused_reason or health.check_paused_reason,
    }
    return _("Paused (%(kind)s): %(why)s") % words
