"""A short storm of the fixed seed on the database of this run; ``make chaos`` makes long ones."""

import sys

import pytest
from django.db import connection

from genesys_eventbridge import conf
from tests.chaos.processes import destination, webhook
from tests.chaos.storm import Storm
from tests.model.recorder import recording
from tests.model.traces import replayed

SEED = 20260
#: Workers, committed transactions and about how many seconds they take.
SIZES = {"sqlite": (2, 150, 12.0), "postgresql": (4, 700, 30.0), "mysql": (4, 700, 30.0)}


#: The same for the webhook.
WEBHOOK_SIZES = {"sqlite": (2, 60, 5.0), "postgresql": (4, 400, 16.0), "mysql": (4, 400, 16.0)}


@pytest.mark.chaos
@pytest.mark.django_db(transaction=True)
def test_a_storm_loses_doubles_drifts_and_invents_nothing(capsys, settings):
    """Guarantees G1 to G8, under everything at once; each change of a row is one that the model allows."""
    workers, commits, seconds = SIZES[connection.vendor]

    with recording() as recorder:
        storm = Storm(seed=SEED, workers=workers, commits=commits, seconds=seconds)
        report = storm.run()
        lines = recorder.lines(storm.sandbox.ledger())

    settings.GENESYS_EVENTBRIDGE = destination(storm.server.url)
    verdict = replayed(lines, lag=conf.destination().lease_seconds)
    with capsys.disabled():
        sys.stdout.write(f"\n{report}\n  {verdict}\n")
    assert not report.findings
    assert verdict.refused is None, str(verdict)
    assert report.committed >= commits
    assert report.rolled_back > 0


@pytest.mark.chaos
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("on_doubt", ["ask", "resend"])
def test_a_storm_at_a_webhook_loses_nothing_and_repeats_nothing_unmarked(on_doubt, capsys):
    """G3 and G7 without a key; with "ask" an operator looks up what is unresolved, once, after the storm."""
    workers, commits, seconds = WEBHOOK_SIZES[connection.vendor]

    report = Storm(seed=SEED, workers=workers, commits=commits, seconds=seconds, on_doubt=on_doubt).run()

    with capsys.disabled():
        sys.stdout.write(f"\n{report}\n")
    assert not report.findings
    assert report.committed >= commits
    died = sum(count for deed, count in report.deeds.items() if deed != "platform restarts")
    if on_doubt == "ask":
        assert report.accepted_again == 0
        assert report.never_requested <= died * webhook("", on_doubt)["default"]["CONCURRENCY"]
    else:
        assert report.questions == 0
