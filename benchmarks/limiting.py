"""Row 10: at a platform that takes 3,000 requests a minute, with RATE_PER_MINUTE set to that."""

from __future__ import annotations

import logging
import os
import time
from statistics import median

from benchmarks.draining import fill
from benchmarks.measuring import Report, arguments, fresh_database, platform, rounds

RATE = 3000
WINDOW = 10.0  # seconds in which the platform counts: so a run sees several windows


def main() -> None:
    options = arguments(__doc__)
    logging.disable(logging.ERROR)  # each 429 is told
    number, seconds = (1, 12.0) if options.quick else (5, 30.0)
    report = Report()
    with platform() as stand_in:
        os.environ["BENCH_DESTINATION"] = stand_in.destination(RATE_PER_MINUTE=RATE)
        with fresh_database() as database:
            from genesys_eventbridge import conf, relay
            from genesys_eventbridge.senders import Senders

            limited: list[float] = []

            def accepted() -> float:
                """Accepted / allowed, from the first acceptance on."""
                fill(int(RATE / 60 * seconds) + 200)
                stand_in.reset(rate=RATE / 60 * WINDOW, window=WINDOW)
                ends = time.monotonic() + seconds
                with Senders(conf.destination(), 16) as senders:
                    while time.monotonic() < ends:
                        left = max(2.0, ends - time.monotonic())
                        relay.publish_due(max_seconds=left, senders=senders)
                stats = stand_in.stats()
                limited.append(100 * stats["limited"] / stats["requests"])
                return stats["accepted"] / (RATE / 60 * (stats["last"] - stats["first"]))

            samples = rounds({"share": accepted}, number)["share"]
            report.add("10", f"accepted / allowed at 3,000 a minute ({database})", median(samples), ">= 0.97")
            report.add("10", f"requests answered 429, in % ({database})", median(limited[1:]), "<= 1")
    report.table()


if __name__ == "__main__":
    main()
