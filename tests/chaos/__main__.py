"""``python -m tests.chaos``: one storm on the database EVENTBRIDGE_TEST_DATABASE; exits with 1 on findings.

``--private-postgresql`` starts a separate server and restarts it in the middle of the storm.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Callable
from contextlib import ExitStack

from tests import databases
from tests.chaos.postgres import PrivatePostgres

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="A storm, and what it broke.")
    parser.add_argument("--seconds", type=float, default=900.0)
    parser.add_argument("--commits", type=int, help="committed transactions (25 per second)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--workers", type=int, help="4, on SQLite 2")
    parser.add_argument("--private-postgresql", action="store_true")
    parser.add_argument(
        "--on-doubt", choices=["ask", "resend"], default="", help="a webhook, with this ON_DOUBT"
    )
    options = parser.parse_args()
    with ExitStack() as stack:
        restart = None
        if options.private_postgresql:
            server = stack.enter_context(PrivatePostgres())
            os.environ[databases.CHOICE] = "postgresql"
            os.environ[databases.URLS["postgresql"]] = server.url
            restart = server.restart
        return _storm(stack, options, restart)


def _storm(stack: ExitStack, options: argparse.Namespace, restart: Callable[[], None] | None) -> int:
    import django

    django.setup()
    from django.db import connection
    from django.test.runner import DiscoverRunner

    from tests.chaos.storm import Storm

    stack.enter_context(databases.folder())
    runner = DiscoverRunner(verbosity=0, interactive=False)
    config = runner.setup_databases()
    stack.callback(runner.teardown_databases, config)
    workers = options.workers or (2 if connection.vendor == "sqlite" else 4)
    commits = options.commits or round(options.seconds * 25)
    say(f"seed {options.seed}: {commits} commits in about {options.seconds:.0f} s on {connection.vendor}")
    report = Storm(
        seed=options.seed,
        workers=workers,
        commits=commits,
        seconds=options.seconds,
        restart=restart,
        on_doubt=options.on_doubt,
    ).run()
    say(str(report))
    return 1 if report.findings else 0


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
