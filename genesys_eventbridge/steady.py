"""The clock of leases and deadlines: seconds that never go back, and continue while the machine sleeps.

``time.monotonic()`` stands still meanwhile on Linux and macOS. A worker that wakes up would take its claims
for fresh although their leases have ended. Sources: clock_gettime(2) on Linux (CLOCK_BOOTTIME),
clock_gettime(3) on macOS (CLOCK_MONOTONIC); on Windows no clock stops.
"""

from __future__ import annotations

import sys
import time

if sys.platform == "linux":

    def monotonic() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

elif sys.platform == "darwin":

    def monotonic() -> float:
        return time.clock_gettime(time.CLOCK_MONOTONIC)

else:
    monotonic = time.monotonic
