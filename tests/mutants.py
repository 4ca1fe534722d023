"""Negative controls: take one guard away in a copy of the tree, and see the tests that hold it fail.

``make mutants``, or ``python -m tests.mutants [--machine] [WORD ...]`` for the mutants with one of these
words in their name. A mutant that no test notices ends it with exit code 1, and so do tests that fail
without one.
``--machine`` asks the state machine instead of the tests of the room.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests import databases

HOME = Path(__file__).parents[1]
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "docs")


@dataclass(frozen=True)
class Mutant:
    """``changes`` are pairs in one file of the package: a text that stands there once, and another."""

    name: str
    file: str
    changes: tuple[tuple[str, str], ...]
    tests: str
    database: str = "sqlite"


_FOLLOW = (
    "{call}\n{indent}if response.has_redirect_location{only}:\n"
    "{indent}    {request} = httpx.Request(\n"
    '{indent}        "GET", {request}.url.join(response.headers["Location"]), headers={request}.headers,\n'
    "{indent}        extensions={request}.extensions)\n"
    "{indent}    {call}"
)
_SEND = "response = read_answer(self._transport.handle_request(outgoing), outgoing)"
_LOGIN = "response = read_answer(own.handle_request(request), request)"


def _following(method: str) -> tuple[str, str]:
    only = f' and outgoing.method == "{method}"'
    return _SEND, _FOLLOW.format(call=_SEND, indent=" " * 16, only=only, request="outgoing")


MUTANTS = [
    Mutant(
        "token check in settle",
        "settlements.py",
        (
            (
                "WHERE id = %s AND claim_token = %s AND state = %s",
                "WHERE id = %s AND %s IS NOT NULL AND state = %s",
            ),
        ),
        "test_settlements.py chaos/test_points.py",
    ),
    Mutant(
        "token check in settle, PostgreSQL",
        "settlements.py",
        (("WHERE t.id = v.id AND t.claim_token = v.token AND", "WHERE t.id = v.id AND"),),
        "test_settlements.py chaos/test_points.py",
        "postgresql",
    ),
    Mutant(
        "window rule in the claim",
        "claims.py",
        (("closes_in=_closes_in(settings, doubt, now) if publishing else None", "closes_in=None"),),
        "test_claims.py",
    ),
    Mutant(
        "window rule in expiry",
        "expiry.py",
        (("closed | Q(attempts__gte=settings.max_attempts)", "Q(attempts__gte=settings.max_attempts)"),),
        "test_relay.py",
    ),
    Mutant(
        "window rule in the decision",
        "decisions.py",
        (("or window <= 0:", "or window <= -1e9:"),),
        "test_decisions.py",
    ),
    Mutant(
        "doubt since the first try",
        "claims.py",
        (('Coalesce("in_doubt_since", DatabaseNow())', "DatabaseNow()"),),
        "test_claims.py",
    ),
    Mutant(
        "the key known since the first try, at acceptance",
        "settlements.py",
        (
            (
                'f"THEN {t}in_doubt_since ELSE {t}key_known_since END, "',
                'f"THEN NULL ELSE {t}key_known_since END, "',
            ),
        ),
        "test_settlements.py",
    ),
    Mutant(
        "the key known since the first try, at a person's decision",
        "operations.py",
        (("since = row.key_known_since or row.in_doubt_since", "since = row.in_doubt_since"),),
        "test_operations.py",
    ),
    Mutant(
        "count at claim",
        "claims.py",
        (('{"attempts": F("attempts") + 1, "in', '{"in'),),
        "test_claims.py",
    ),
    Mutant(
        "attempts used up",
        "claims.py",
        (("used_up=publishing and attempts >= settings.max_attempts", "used_up=False"),),
        "test_claims.py",
    ),
    Mutant(
        "compare-and-set of the claim",
        "claims.py",
        (
            (
                "rows = _due(kind, settings.alias).filter(id__in=ids",
                "rows = OutboxEvent.objects.filter(id__in=ids",
            ),
            (
                "_due(kind, settings.alias)\n        .filter(id__in=won)",
                "OutboxEvent.objects\n        .filter(id__in=won)",
            ),
        ),
        "test_claims.py",
    ),
    Mutant(
        "head of its ordering key",
        "claims.py",
        (("blocked=bool(held)", "blocked=False"),),
        "test_claims.py",
    ),
    Mutant(
        "a lapsed row goes alone",
        "claims.py",
        (
            ("list(takewhile(lambda row: not row.lapsed, ready))", "ready"),
            ("if lapsed_first or gate", "if gate"),
        ),
        "test_claims.py",
    ),
    Mutant(
        "a lapsed row waits for what is in flight",
        "claims.py",
        (("if lapsed_first and not idle:", "if lapsed_first and idle is None:"),),
        "test_claims.py",
    ),
    Mutant(
        "a lapsed follower is moved",
        "claims.py",
        (
            (
                "_still_due(followers).update(",
                "_still_due(followers).filter(claim_token__isnull=True).update(",
            ),
        ),
        "test_claims.py",
    ),
    Mutant(
        "a row claimed too long ago is not begun",
        "senders.py",
        ((" or began >= begin_until:", ":"),),
        "test_relay.py chaos/test_points.py",
    ),
    Mutant(
        "the earlier doubt is written back",
        "decisions.py",
        (("doubt=claimed.doubt_before,", "doubt=None,"),),
        "test_decisions.py test_settlements.py",
    ),
    Mutant(
        "refused in doubt is no certain death",
        "decisions.py",
        (("if claimed.doubt_before is not None:", "if claimed is None:"),),
        "test_decisions.py",
    ),
    Mutant(
        "a row not begun goes back uncharged",
        "decisions.py",
        (("attempts=claimed.attempts - 1", "attempts=claimed.attempts"),),
        "test_decisions.py test_settlements.py",
    ),
    Mutant(
        "a conflict ends",
        "decisions.py",
        (("claimed.attempts >= CONFLICTS", "claimed.attempts >= 10**6"),),
        "test_decisions.py",
    ),
    Mutant(
        "the pause gate",
        "destinations.py",
        (("    if left > 0:\n", "    if left > 1e9:\n"),),
        "test_destinations.py",
    ),
    Mutant(
        "a person's hold",
        "destinations.py",
        (('if row["held_by"] and', 'if row["held_by"] is None and'),),
        "test_destinations.py",
    ),
    Mutant(
        "one probe at a time",
        "destinations.py",
        ((".filter(free, paused_until__lte=DatabaseNow())", ".filter(paused_until__lte=DatabaseNow())"),),
        "test_destinations.py",
    ),
    Mutant(
        "the shared rate",
        "destinations.py",
        (("    if rate is None:\n", "    if rate is None or rate:\n"),),
        "test_destinations.py",
    ),
    Mutant(
        "a success ends no rate pause",
        "destinations.py",
        (('ENDS_BY_SUCCESS = ("network",)', 'ENDS_BY_SUCCESS = ("network", "rate")'),),
        "test_destinations.py",
    ),
    Mutant(
        "a late answer only for the unresolved",
        "settlements.py",
        (('id=row.id, state=State.UNRESOLVED, remote_id=""', 'id=row.id, remote_id=""'),),
        "test_settlements.py",
    ),
    Mutant(
        "people leave alone what is in flight",
        "operations_moves.py",
        (
            ("return self.claim_token is not None and", "return self.claim_token is None and"),
            ("state=state).not_in_flight()", "state=state)"),
        ),
        "test_operations.py",
    ),
    Mutant(
        "no key is pruned inside its window",
        "retention.py",
        (("return max(seconds, settings.idempotency_window)", "return seconds"),),
        "test_retention.py",
    ),
    Mutant(
        "the same bytes",
        "senders.py",
        (("sender.publish(row.body, row.key, sent)", 'sender.publish(row.body + " ", row.key, sent)'),),
        "test_relay.py",
    ),
    Mutant(
        "a raised epoch changes the key",
        "claims.py",
        (("key=str(uuid.uuid5(key, str(epoch)) if epoch else key)", "key=str(key)"),),
        "test_claims.py",
    ),
    Mutant(
        "a task timeout is not swallowed",
        "tasks.py",
        (
            (
                "except Exception as error:  # noqa: BLE001 - the rows",
                "except BaseException as error:  # the rows",
            ),
        ),
        "test_tasks.py",
    ),
    Mutant(
        "redirects refused, publish",
        "client_sender.py",
        (_following("POST"),),
        "test_client_sender.py",
    ),
    Mutant(
        "redirects refused, check",
        "client_sender.py",
        (_following("GET"),),
        "test_client_sender.py",
    ),
    Mutant(
        "redirects refused, token",
        "auth_login.py",
        ((_LOGIN, _FOLLOW.format(call=_LOGIN, indent=" " * 8, only="", request="request")),),
        "test_auth.py",
    ),
    Mutant(
        "the UTC clock, MariaDB",
        "clock.py",
        (("UTC_TIMESTAMP(6)", "NOW(6)"),),
        "test_clock.py",
        "mysql",
    ),
    Mutant(
        "the clock in the zone that Django reads",
        "clock.py",
        (("    moved += _zone_offset(connection)\n", ""),),
        "test_clock.py",
        "mysql",
    ),
]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Each guard has its test.")
    parser.add_argument("--machine", action="store_true", help="ask the state machine, not the room's tests")
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="mutants with one of these words in their name"
    )
    options = parser.parse_args()
    chosen = [
        each for each in MUTANTS if not options.words or any(word in each.name for word in options.words)
    ]
    caught: list[str] = []
    missed: list[str] = []
    skipped: list[str] = []
    for mutant in chosen:
        if mutant.database != "sqlite" and not os.environ.get(databases.URLS[mutant.database]):
            skipped.append(mutant.name)
            say(f"skipped   {mutant.name}: {databases.URLS[mutant.database]} is not set")
            continue
        noticed = is_noticed(mutant, "test_machine.py" if options.machine else mutant.tests)
        (caught if noticed else missed).append(mutant.name)
        say(f"{'caught  ' if noticed else 'MISSED  '}  {mutant.name}")
    say(f"{len(caught)} caught, {len(missed)} missed, {len(skipped)} skipped")
    return 1 if missed else 0


def is_noticed(mutant: Mutant, tests: str) -> bool:
    """Whether these tests, which pass on a copy of the tree, fail on a copy with the mutant."""
    if not passes(tests, mutant.database):
        raise RuntimeError(f"{tests} on {mutant.database} fail without any mutant")
    with tempfile.TemporaryDirectory(prefix="eventbridge-mutant-") as folder:
        copy = _copied(folder)
        file = copy / "genesys_eventbridge" / mutant.file
        text = file.read_text(encoding="utf-8")
        for old, new in mutant.changes:
            if text.count(old) != 1:
                raise ValueError(f"{mutant.name}: its text stands {text.count(old)} times in {mutant.file}")
            text = text.replace(old, new)
        file.write_text(text, encoding="utf-8")
        return not _pytest(copy, tests, mutant.database)


@cache
def passes(tests: str, database: str) -> bool:
    """Whether these tests pass as things are."""
    with tempfile.TemporaryDirectory(prefix="eventbridge-mutant-") as folder:
        return _pytest(_copied(folder), tests, database)


def _copied(folder: str) -> Path:
    return Path(shutil.copytree(HOME, Path(folder) / "tree", ignore=LEFT_OUT))


def _pytest(tree: Path, tests: str, database: str) -> bool:
    files = [f"tests/{name}" for name in tests.split()]
    environment = {name: value for name, value in os.environ.items() if name != databases.NAME}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not chaos", "-p", "no:cacheprovider", *files],
        cwd=tree,
        env={**environment, databases.CHOICE: database, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if run.returncode not in (0, 1):  # neither passed nor failed: the run itself is broken
        raise RuntimeError(f"pytest ended with {run.returncode}\n{run.stdout}{run.stderr}")
    return run.returncode == 0


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
