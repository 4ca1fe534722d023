"""Metrics for Prometheus, read from the database when they are scraped: every process and host counts once.

Needs the extra ``[prometheus]``. Any process with access to the database can expose them, and one is enough:
a view (``metrics_view``), the command ``eventbridge_metrics``, or a registry of your own::

    from prometheus_client import REGISTRY

    REGISTRY.register(EventBridgeCollector())
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from django.db import Error as DatabaseError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

try:
    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.exposition import choose_encoder, generate_latest
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ImportError(
        "genesys_eventbridge.contrib.prometheus needs prometheus-client: "
        'pip install "django-genesys-eventbridge[prometheus]"'
    ) from error

from genesys_eventbridge import counters
from genesys_eventbridge.contrib.access import UNSET, Token, refusal
from genesys_eventbridge.contrib.connections import closed_if_opened_here
from genesys_eventbridge.db import PASSING
from genesys_eventbridge.defects import report
from genesys_eventbridge.platform.outcomes import Halt, Verdict
from genesys_eventbridge.reporting.measurements import Measurements, Totals, measure
from genesys_eventbridge.reporting.status import DestinationStatus
from genesys_eventbridge.states import AttemptKind

#: Events of each kind and destination whose age and ordering key are looked at.
SAMPLED = 2_000
#: Events of each state and destination that are counted.
COUNTED = 1_000_000
#: The verdicts of each kind of request, which are shown even if there was none yet: see Verdict.
VERDICTS = {
    AttemptKind.PUBLISH: (
        Verdict.ACCEPTED,
        Verdict.REJECTED,
        Verdict.UNAVAILABLE,
        Verdict.UNKNOWN,
        Verdict.HALTED,
    ),
    AttemptKind.CHECK: (
        Verdict.DELIVERED,
        Verdict.FAILED,
        Verdict.NOT_YET,
        Verdict.UNKNOWN,
        Verdict.HALTED,
    ),
}
#: The steps of ``counters.upper`` that are buckets: each is twice as long as the one before, 0.1 s to 3.6 h.
BUCKETS = range(0, 36, 2)
#: Kinds of pauses besides those that the platform or the network causes.
OPERATOR, CHECKS = "operator", "checks"


class EventBridgeCollector(Collector):
    """Six queries per scrape, whatever the size of the tables.

    ``most`` is how many events of one state are counted at one destination at most: a scrape takes about a
    tenth of a second per million. A larger number of events is shown as ``most``.
    """

    def __init__(self, *, most: int = COUNTED) -> None:
        if most < 1:
            raise ValueError(f"most: must be 1 or more, got {most}.")
        self._most = most

    def describe(self) -> Iterator[Metric]:
        """The names, so that a registry needs no database to register it."""
        families = _Families(self._most)
        return iter(families.all)

    def collect(self) -> Iterator[Metric]:
        """Raises django.db.Error if the database fails."""
        families = _Families(self._most)
        with closed_if_opened_here():
            families.fill(measure(SAMPLED, self._most))
        return iter(families.all)


@transaction.non_atomic_requests
@never_cache
@require_safe
def metrics_view(request: HttpRequest, token: Token = UNSET) -> HttpResponse:
    """The metrics as text, or as OpenMetrics if the request accepts that. 401 without the token.

    503 if the database fails. ``path("metrics", metrics_view, {"token": TOKEN})``: a text, or a function that
    returns one; None if something else protects it. Raises ImproperlyConfigured without a token.
    """
    if refused := refusal(request, token, "metrics_view"):
        return refused
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    try:
        body = encode(registry())
    except DatabaseError as error:
        name = type(error).__name__
        report(error, "Cannot read the metrics (%s)", name, expected=PASSING)
        return HttpResponse(f"The database failed ({name}).\n", status=503, content_type="text/plain")
    return HttpResponse(body, content_type=content_type)


def registry(*, most: int = COUNTED) -> CollectorRegistry:
    """A registry with these metrics and no others."""
    only = CollectorRegistry()
    only.register(EventBridgeCollector(most=most))
    return only


def as_text(metrics: Iterable[Metric]) -> str:
    """Metrics that were collected, in the text format of Prometheus."""
    return generate_latest(_Collected(metrics)).decode()


class _Collected(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


class _Families:
    """The metrics of one scrape; their names are promises."""

    def __init__(self, most: int) -> None:
        self.events = GaugeMetricFamily(
            "eventbridge_events",
            f"Events in the outbox by state. At most {most} of each state are counted.",
            labels=["destination", "state"],
        )
        self.oldest = GaugeMetricFamily(
            "eventbridge_oldest_due_seconds",
            "Age of the oldest event that could have been delivered but is not, in seconds. 0 if there is "
            "none. Events behind an earlier one of their ordering key do not count.",
            labels=["destination"],
            unit="seconds",
        )
        self.held = GaugeMetricFamily(
            "eventbridge_held_events",
            f"Events that wait for an earlier event of their ordering key; at most {SAMPLED}.",
            labels=["destination"],
        )
        self.published = CounterMetricFamily(
            "eventbridge_published",
            "Publish requests by what their outcome was.",
            labels=["destination", "verdict"],
        )
        self.checks = CounterMetricFamily(
            "eventbridge_checks",
            "Status checks by what their outcome was.",
            labels=["destination", "verdict"],
        )
        self.delivery = HistogramMetricFamily(
            "eventbridge_delivery_seconds",
            "Time from when an event could be sent until it was delivered, in seconds.",
            labels=["destination"],
            unit="seconds",
        )
        self.paused = GaugeMetricFamily(
            "eventbridge_paused",
            "1 if nothing is sent: paused by an operator, or because of trouble of this kind. Kind checks: "
            "1 if no status is checked.",
            labels=["destination", "kind"],
        )
        self.heartbeat = GaugeMetricFamily(
            "eventbridge_worker_heartbeat_seconds",
            "Seconds since a worker last reported. +Inf if none has ever.",
            labels=["destination"],
            unit="seconds",
        )
        self.acts = CounterMetricFamily(
            "eventbridge_acts",
            "Events that operators acted on, by act. Each pause and each resume counts as 1.",
            labels=["act"],
        )

    @property
    def all(self) -> list[Metric]:
        return [
            self.events,
            self.oldest,
            self.held,
            self.published,
            self.checks,
            self.delivery,
            self.paused,
            self.heartbeat,
            self.acts,
        ]

    def fill(self, found: Measurements) -> None:
        for at in found.statuses:
            self._status(at)
            for state, number in found.events[at.alias].items():
                self.events.add_metric([at.alias, state.value], number)
        # Also those whose destination is gone: a counter must not disappear.
        for alias in dict.fromkeys([*(at.alias for at in found.statuses), *found.totals]):
            self._totals(alias, found.totals.get(alias, Totals()))
        for act, number in found.acts.items():
            self.acts.add_metric([act.value], number)

    def _status(self, at: DestinationStatus) -> None:
        self.oldest.add_metric([at.alias], at.oldest or 0.0)
        self.held.add_metric([at.alias], at.held_back.number)
        for kind, is_on in _pauses(at).items():
            self.paused.add_metric([at.alias, kind], int(is_on))
        ago = math.inf if at.heartbeat_ago is None else max(0.0, at.heartbeat_ago)
        self.heartbeat.add_metric([at.alias], ago)

    def _totals(self, alias: str, totals: Totals) -> None:
        for kind, family in ((AttemptKind.PUBLISH, self.published), (AttemptKind.CHECK, self.checks)):
            for verdict in VERDICTS[kind]:
                family.add_metric([alias, verdict.value], totals.requests[kind, verdict])
        buckets = [
            (
                str(counters.FINEST * 2 ** (last // 2)),
                sum(number for step, number in totals.within.items() if step <= last),
            )
            for last in BUCKETS
        ]
        buckets.append(("+Inf", totals.within.total()))
        self.delivery.add_metric([alias], buckets, totals.milliseconds / 1000)


def _pauses(at: DestinationStatus) -> dict[str, bool]:
    """Every kind, so that each has a time series. One that is over until a probe succeeds still counts."""
    health = at.health
    found = {kind.value: health.paused_until is not None and health.paused_kind == kind for kind in Halt}
    found[Halt.REFUSALS.value] |= health.refused_until is not None
    return {OPERATOR: at.held, **found, CHECKS: health.check_paused_until is not None}
