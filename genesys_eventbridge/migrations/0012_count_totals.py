"""The totals start with what the counters still know: the past 31 days, and all acts of operators.

Workers of the release before write no totals. What they do after this migration is missing.
"""

import math
from typing import Any

from django.db import migrations
from django.db.models import Count, Q, Sum

from genesys_eventbridge.db.online_migrations import OnlineMigration

#: ``within:<n>`` counts deliveries within FINEST times the square root of two to the power of n, in seconds.
FINEST = 0.1


def count(apps: Any, schema_editor: Any) -> None:
    """Add up the buckets, and the acts from before there were jobs. If it is run again, it starts again."""
    alias = schema_editor.connection.alias
    totals, rollups, acts = (
        apps.get_model("genesys_eventbridge", name).objects.using(alias)
        for name in ("Total", "Rollup", "EventAct")
    )
    totals.all().delete()  # first: a worker that already writes totals waits for it, and adds to the new row
    wanted = Q()
    for prefix in ("publish:", "check:", "within:"):
        wanted |= Q(measure__startswith=prefix)
    sums = rollups.filter(wanted).order_by().values_list("destination", "measure").annotate(all=Sum("number"))
    numbers = {(destination, measure): int(number) for destination, measure, number in sums}
    milliseconds: dict[str, float] = {}
    for (destination, measure), number in numbers.items():
        if measure.startswith("within:"):
            before = milliseconds.get(destination, 0.0)
            milliseconds[destination] = before + 1000 * number * _typical(measure)
    for destination, all_of_them in milliseconds.items():
        numbers[destination, "milliseconds"] = round(all_of_them)
    before_jobs = acts.filter(job__isnull=True).order_by().values_list("act").annotate(all=Count("id"))
    for act, number in before_jobs:
        numbers["", f"act:{act}"] = number
    totals.bulk_create(
        totals.model(destination=destination, measure=measure, number=number)
        for (destination, measure), number in sorted(numbers.items())
    )


def _typical(measure: str) -> float:
    """Seconds in the middle of what ``within:<n>`` counts: how long each delivery took is not known."""
    return FINEST * math.pow(2, (int(measure.removeprefix("within:")) - 0.5) / 2)


class Migration(OnlineMigration):
    dependencies = [("genesys_eventbridge", "0011_totals")]

    operations = [migrations.RunPython(count, migrations.RunPython.noop)]
