"""A short storm of the fixed seed on the database of this run; ``make chaos`` makes long ones."""

import sys

import pytest
from django.db import connection

from tests.chaos.storm import Storm

SEED = 20260
#: Workers, committed transactions and about how many seconds they take.
SIZES = {"sqlite": (2, 150, 12.0), "postgresql": (4, 700, 30.0), "mysql": (4, 700, 30.0)}


@pytest.mark.chaos
@pytest.mark.django_db(transaction=True)
def test_a_storm_loses_doubles_drifts_and_invents_nothing(capsys):
    """Guarantees G1 to G8, under everything at once."""
    workers, commits, seconds = SIZES[connection.vendor]

    report = Storm(seed=SEED, workers=workers, commits=commits, seconds=seconds).run()

    with capsys.disabled():
        sys.stdout.write(f"\n{report}\n")
    assert not report.findings
    assert report.committed >= commits
    assert report.rolled_back > 0
