"""Row 9: 500 outcomes written by settle(), compared with 500 single UPDATEs in one transaction."""

from __future__ import annotations

import uuid
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.draining import fill
from benchmarks.measuring import Report, arguments, fresh_database, ratio, rounds, timed

if TYPE_CHECKING:
    from genesys_eventbridge.outbox.settle import Transition


def claimed(count: int, *, log: bool) -> list[Transition]:
    """Put the rows under one claim; returns accepted outcomes for ``count`` of them."""
    from django.utils import timezone

    from genesys_eventbridge.models import OutboxEvent
    from genesys_eventbridge.outbox.settle import Attempt, Transition
    from genesys_eventbridge.states import State

    token = uuid.uuid4()
    OutboxEvent.objects.update(
        state=State.PENDING, claim_token=token, in_doubt_since=timezone.now(), attempts=1
    )

    def outcome(pk: int) -> Transition:
        attempt = Attempt(
            event_id=pk, kind="publish", started_at=timezone.now(), duration=0.05, verdict="accepted"
        )
        return Transition(
            id=pk,
            destination="default",
            event_id="",
            type="",
            token=token,
            from_state=State.PENDING,
            state=State.ACCEPTED,
            attempts=1,
            checks=0,
            halts=0,
            doubt=None,
            remote_id=f"evt-{pk}",
            status_code=202,
            error="",
            correlation_id="",
            ordering_key="",
            due_in=2.0,
            accepted=True,
            attempt=attempt if log else None,
        )

    return [outcome(pk) for pk in OutboxEvent.objects.values_list("pk", flat=True)[:count]]


def settled(count: int, *, log: bool) -> float:
    from genesys_eventbridge.outbox.settle import settle

    rows = claimed(count, log=log)
    won: list[set[int]] = []
    seconds = timed(lambda: won.append(settle(rows).won))()
    assert len(won[0]) == count
    return seconds


def one_by_one(count: int) -> float:
    from django.db import transaction

    from genesys_eventbridge.db.clock import DatabaseNow
    from genesys_eventbridge.models import OutboxEvent

    rows = claimed(count, log=False)

    def work() -> None:
        with transaction.atomic():
            for row in rows:
                OutboxEvent.objects.filter(id=row.id, claim_token=row.token, state=row.from_state).update(
                    state=row.state,
                    due_at=DatabaseNow(row.due_in),
                    claim_token=None,
                    in_doubt_since=None,
                    remote_id=row.remote_id,
                    last_status_code=row.status_code,
                    accepted_at=DatabaseNow(),
                )

    return timed(work)()


def main() -> None:
    options = arguments(__doc__)
    number, count = (1, 50) if options.quick else (5, 500)
    report = Report()
    with fresh_database() as database:
        fill(count)
        samples = rounds(
            {
                "single updates": lambda: one_by_one(count),
                "settle": lambda: settled(count, log=False),
                "settle with the attempt log": lambda: settled(count, log=True),
            },
            number,
        )
        for side, reach in (("settle", "<= 0.08"), ("settle with the attempt log", "")):
            medians = {f"{name} (ms)": median(samples[name]) * 1000 for name in (side, "single updates")}
            measure = f"{side}, {count} outcomes / single UPDATEs ({database})"
            report.add("9", measure, ratio(samples, side, "single updates"), reach, **medians)
    report.table()


if __name__ == "__main__":
    main()
