"""The clock of leases and deadlines."""

import sys
import time

import pytest

from genesys_eventbridge import steady


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other clocks")
def test_it_goes_on_while_the_machine_sleeps(monkeypatch):
    clocks = {time.CLOCK_BOOTTIME: 107.0, time.CLOCK_MONOTONIC: 7.0}
    monkeypatch.setattr(time, "clock_gettime", clocks.__getitem__)

    assert steady.monotonic() == 107.0


def test_it_never_goes_back():
    seen = [steady.monotonic() for _ in range(1000)]

    assert seen == sorted(seen)
