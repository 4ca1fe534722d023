"""What metrics show: the status of each destination, its events by state, and totals that never fall."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db.models import BigIntegerField, Case, F, Sum, Value, When

from genesys_eventbridge import counters
from genesys_eventbridge.models import Job, OutboxEvent, Total, outbox_alias
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.platform.outcomes import Verdict
from genesys_eventbridge.reporting import status
from genesys_eventbridge.reporting.parts import aggregated
from genesys_eventbridge.reporting.status import DestinationStatus
from genesys_eventbridge.states import Act, AttemptKind, State

#: Acts on a destination: each is one act, however many events wait there.
_ON_DESTINATIONS = (Act.PAUSE, Act.RESUME)

_VERDICTS = frozenset(verdict.value for verdict in Verdict)


@dataclass(frozen=True, slots=True)
class Totals:
    """What was counted at one destination since the installation."""

    requests: Counter[tuple[AttemptKind, Verdict]] = field(default_factory=Counter)
    #: Events delivered, by the n of ``counters.upper``.
    within: Counter[int] = field(default_factory=Counter)
    #: The sum of their delivery times.
    milliseconds: int = 0


@dataclass(frozen=True, slots=True)
class Measurements:
    """Everything by destination, except ``acts``. ``totals`` has destinations that no longer exist, too."""

    statuses: list[DestinationStatus]
    events: Mapping[str, Mapping[State, int]]
    totals: Mapping[str, Totals]
    acts: Mapping[Act, int]


def measure(most_sampled: int, most_counted: int) -> Measurements:
    """Read all in six queries, whatever the size of the tables.

    Ages and held events come from up to ``most_sampled`` events of each kind, and up to ``most_counted``
    events of each state are counted.
    """
    statuses = status.sampled(next_due.database_now(), {}, most_sampled)
    totals = list(
        Total.objects.using(outbox_alias()).order_by().values_list("destination", "measure", "number")
    )
    return Measurements(
        statuses,
        _events([at.alias for at in statuses], most_counted),
        _by_destination([(alias, name, number) for alias, name, number in totals if alias]),
        _acts({name: number for alias, name, number in totals if not alias}),
    )


def _events(aliases: list[str], most: int) -> dict[str, dict[State, int]]:
    """Each part is one range of an index that has all it needs."""
    kinds = [(alias, state) for alias in aliases for state in State]
    rows = OutboxEvent.objects.on_outbox().order_by("due_at", "id").values("id")
    parts = [rows.filter(state=state, destination=alias)[:most] for alias, state in kinds]
    found: dict[str, dict[State, int]] = {alias: {} for alias in aliases}
    for (alias, state), (_part, number) in zip(kinds, aggregated(parts, "COUNT(*)"), strict=True):
        found[alias][state] = number
    return found


def _by_destination(rows: list[tuple[str, str, int]]) -> dict[str, Totals]:
    requests: dict[str, Counter[tuple[AttemptKind, Verdict]]] = {}
    within: dict[str, Counter[int]] = {}
    milliseconds: Counter[str] = Counter()
    for alias, name, number in rows:
        kind, _, what = name.partition(":")
        if name == counters.MILLISECONDS:
            milliseconds[alias] = number
        elif kind == "within":
            within.setdefault(alias, Counter())[int(what)] += number
        elif what in _VERDICTS:
            requests.setdefault(alias, Counter())[AttemptKind(kind), Verdict(what)] += number
    return {
        alias: Totals(requests.get(alias, Counter()), within.get(alias, Counter()), milliseconds[alias])
        for alias in sorted({alias for alias, _name, _number in rows})
    }


def _acts(before_jobs: Mapping[str, int]) -> dict[Act, int]:
    """Jobs are the audit, so they are never pruned; ``before_jobs`` are totals by measure."""
    number = Case(
        When(act__in=_ON_DESTINATIONS, then=Value(1)), default=F("done"), output_field=BigIntegerField()
    )
    done = dict(Job.objects.using(outbox_alias()).order_by().values_list("act").annotate(number=Sum(number)))
    return {act: before_jobs.get(f"act:{act}", 0) + int(done.get(act) or 0) for act in Act}
