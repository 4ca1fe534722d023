"""Negative controls: remove one guard in a copy of the tree and run the tests that should then fail.

``make mutants``, or ``python -m tests.mutants [--machine] [WORD ...]`` for the mutants with one of these
words in their name. The exit code is 1 if a mutant goes unnoticed, or if a mutant could not be tried: its
text is not in the file, or its tests fail without it. The other mutants run all the same.
``--machine`` runs the state machine instead of the tests that a mutant names.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests import databases

HOME = Path(__file__).parents[1]
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "docs")


@dataclass(frozen=True)
class Mutant:
    """One guard to remove.

    ``file`` is a path in the package. Each of ``changes`` is a text that occurs exactly once in it, after the
    changes before it, and its replacement. ``tests`` are files in tests/ or pytest's ids of tests in them,
    separated by spaces.
    """

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
_SEND = "response = read_answer(transport.handle_request(outgoing), outgoing)"
_LOGIN = "response = read_answer(own.handle_request(request), request)"


def _following(method: str) -> tuple[str, str]:
    only = f' and outgoing.method == "{method}"'
    return _SEND, _FOLLOW.format(call=_SEND, indent=" " * 16, only=only, request="outgoing")


_TAKEN = "of_rules, of_platform = _taken(found, Rules), _taken(found, Platform)"

MUTANTS = [
    Mutant(
        "our trace is part of the content",
        "outbox/rows.py",
        ((", without=trace)", ")"),),
        "test_tracing.py",
    ),
    Mutant(
        "a trace that does not fit refuses the event",
        "outbox/rows.py",
        (("        if not trace:\n            raise\n", "        raise\n"),),
        "test_tracing.py",
    ),
    Mutant(
        "our trace replaces the caller's",
        "outbox/rows.py",
        (
            (
                "tracing.context() if tracing.EXTENSION.isdisjoint(extensions or ()) else {}",
                "tracing.context()",
            ),
        ),
        "test_tracing.py",
    ),
    Mutant(
        "a span records the text of an exception",
        "tracing.py",
        (("            opened.close()  #", "            opened.__exit__(*sys.exc_info())  #"),),
        "test_tracing.py",
    ),
    Mutant(
        "an error of OpenTelemetry stops what it traces",
        "tracing.py",
        (
            (
                "    except Exception as error:  # noqa: BLE001 - samplers",
                "    except KeyError as error:  # samplers",
            ),
        ),
        "test_tracing.py",
    ),
    Mutant(
        "requests are not linked to the enqueue",
        "tracing.py",
        (("links=links or []", "links=[]"),),
        "test_tracing.py",
    ),
    Mutant(
        "a drain uses its own clock for tokens",
        "testing/drain.py",
        (("ClientCredentials(settings.platform, clock=clock)", "ClientCredentials(settings.platform)"),),
        "testing/test_drain.py::test_a_failed_login_is_remembered_on_the_simulated_clock_only",
    ),
    Mutant(
        "a drain gives up when nothing makes progress",
        "testing/drain.py",
        (("in_vain = 0 if moved else in_vain + 1", "in_vain = 0"),),
        "testing/test_drain.py::test_what_is_never_delivered_is_left_with_the_reason_in_bounded_time",
    ),
    Mutant(
        "a drain is refused within a transaction of business code",
        "testing/drain.py",
        (('        refuse_in_transaction(outbox_alias(), "eventbridge_drain() sends nothing")\n', ""),),
        "testing/test_drain.py::test_the_open_transaction_of_business_code_is_refused",
    ),
    Mutant(
        "what the process remembers is forgotten around a drain",
        "testing/sandbox.py",
        (("        module.forget()", "        pass"),),
        "testing/test_drain.py::test_what_one_drain_learned_does_not_hide_the_events_of_the_next",
        "postgresql",
    ),
    Mutant(
        "a test's sandbox replaces real credentials",
        "testing/sandbox.py",
        (("        return {**kept, **login}", "        return {**login, **keys, **kept}"),),
        "testing/test_drain.py::test_real_credentials_and_addresses_are_not_used",
    ),
    Mutant(
        "an adaptation applies to an override inside it",
        "conf/__init__.py",
        (
            ("for alias, keys in raw.items()} if _changes else raw", "for alias, keys in raw.items()}"),
            ("    for change in _changes:\n", "    for change in ():\n"),
        ),
        "conf/test_settings.py::TestRefusals::test_an_adaptation_applies_to_an_override_made_inside_it_and_ends",
    ),
    Mutant(
        "what sends refuses missing credentials",
        "conf/__init__.py",
        (("    if reasons := known.unsendable[alias]:", '    if reasons := "":'),),
        "conf/test_settings.py::TestRefusals::test_a_missing_address_or_credential_stops_only_what_sends",
    ),
    Mutant(
        "the deploy check reports missing credentials",
        "checks/__init__.py",
        (
            (
                "    return _messages([*missing, *settings.deployment_problems()])",
                "    return _messages(settings.deployment_problems())",
            ),
        ),
        "checks/test_settings.py::TestNeverATraceback::test_without_any_destination_the_models_are_left_alone",
    ),
    Mutant(
        "a boolean is no number in an expected payload",
        "testing/matching.py",
        (("isinstance(found, bool) != isinstance(expected, bool)", "False"),),
        "testing/test_outbox.py",
    ),
    Mutant(
        "a body shorter than promised breaks off in process",
        "client/in_process.py",
        (("if len(self._content) < self._promised:", "if False:"),),
        "testing/test_drain.py::test_half_a_body_is_no_answer",
    ),
    Mutant(
        "a lost answer is lost after the event was taken",
        "sandbox/platform.py",
        (
            (
                "                self._honest(call, attempt, options)\n                raise HangUp",
                "                raise HangUp",
            ),
        ),
        "testing/test_drain.py",
    ),
    Mutant(
        "the database's clock moves within a transaction",
        "db/clock.py",
        (("(STATEMENT_TIMESTAMP() +", "(NOW() +"),),
        "db/test_clock.py",
        "postgresql",
    ),
    Mutant(
        "ids rise in the order given",
        "outbox/rows.py",
        (('"ORDER BY place RETURNING', '"ORDER BY md5(v.event_id) RETURNING'),),
        "outbox/test_inserts.py",
        "postgresql",
    ),
    Mutant(
        "one statement for all rows, whatever its size",
        "outbox/rows.py",
        (('_packets(rows) if connection.vendor == "mysql" else [rows]', "[rows]"),),
        "outbox/test_inserts.py",
        "mysql",
    ),
    Mutant(
        "a statement's size is counted in characters",
        "outbox/rows.py",
        (("len(row.body.encode()) + _BESIDE_BODY", "len(row.body) + _BESIDE_BODY"),),
        "outbox/test_inserts.py",
    ),
    Mutant(
        "ids are those between the first and the last, SQLite",
        "outbox/rows.py",
        (("    if last - first == len(rows) - 1:", "    if True:"),),
        "outbox/test_inserts.py",
    ),
    Mutant(
        "an event type is looked up whatever it is",
        "cloudevents/attributes.py",
        (
            (
                '_event_type(value) if type(value) is str else check_text("type", value, MAX_LENGTH)',
                "_event_type(value)",
            ),
        ),
        "cloudevents",
    ),
    Mutant(
        "a source is looked up whatever it is",
        "cloudevents/attributes.py",
        (
            (
                '_source(value) if type(value) is str else uri_reference("source", value, MAX_LENGTH)',
                "_source(value)",
            ),
        ),
        "cloudevents",
    ),
    Mutant(
        "a property sees only the columns that it names",
        "model_events/rows.py",
        (
            (
                "            needs |= everything(model)\n        else:",
                "            needs |= Needs(everything(model).columns, runs_code=False)\n        else:",
            ),
        ),
        "model_events/test_bulk.py::test_a_row_whose_code_runs_is_the_models_own_object",
    ),
    Mutant(
        "a property may write to the row",
        "model_events/rows.py",
        (
            (
                "            needs |= everything(model)\n        else:",
                "            needs |= Needs(everything(model).columns, runs_code=False)\n        else:",
            ),
        ),
        "model_events/test_bulk.py::test_a_property_may_not_write_to_the_row",
    ),
    Mutant(
        "keys of any type are read as numbers",
        "model_events/rows.py",
        ((" and all(type(key) is int for key in keys)", ""),),
        "model_events/test_bulk.py::test_enqueue_for_takes_keys_that_are_text",
    ),
    Mutant(
        "a field that changes others counts as written as it was",
        "model_events/rows.py",
        (("if update_fields is None and saves_as_django(type(instance)):", "if update_fields is None:"),),
        "model_events/test_columns.py",
    ),
    Mutant(
        "a row that only payload sees is made as an object",
        "model_events/rows.py",
        (("if lacking and not needs.runs_code and", "if False and"),),
        "model_events/test_bulk.py::test_enqueue_for_reads_columns_without_making_objects",
    ),
    Mutant(
        "an act locks what it reads",
        "operations/bulk.py",
        (("decide(locked(named(batch.ids)), choose)", "decide(named(batch.ids), choose)"),),
        "relay/test_locks.py",
        "postgresql",
    ),
    Mutant(
        "rows of dead workers keep some senders busy",
        "relay/batch.py",
        (("max(1, int(SHARE_OF_LAPSED * self.senders.count))", "1000"),),
        "relay/test_batch.py::TestRowsOfDeadWorkers",
    ),
    Mutant(
        "a first lapse makes no suspect",
        "outbox/claim.py",
        (("suspect=token is not None and bool(lapses)", "suspect=token is not None"),),
        "outbox/test_claim.py::TestLeases",
    ),
    Mutant(
        "lapses are counted at the claim",
        "outbox/claim.py",
        (('default=Coalesce("lapses", 0) + 1', 'default=Coalesce("lapses", 0) + 0'),),
        "outbox/test_claim.py::TestLeases",
    ),
    Mutant(
        "a settle ends the lapses",
        "outbox/claim.py",
        (("When(claim_token__isnull=True, then=Value(0))", "When(id__lt=0, then=Value(0))"),),
        "outbox/test_claim.py::TestLeases",
    ),
    Mutant(
        "rows of many dead workers hide no other",
        "outbox/claim.py",
        (("sum(row.lapsed for row in found) > limit", "not found"),),
        "outbox/test_claim.py::TestLeases",
    ),
    Mutant(
        "a follower is held only while its head is",
        "outbox/followers.py",
        (('kept = set(unlocked(blockers.order_by("id"))', 'kept = set((blockers.order_by("id"))'),),
        "relay/test_locks.py",
        "postgresql",
    ),
    Mutant(
        "of two events that leave a key at once one sees the other",
        "outbox/followers.py",
        (
            (
                "    still = still_in(rows, ids, State.PENDING).order_by",
                "    waiting = still_in(rows, ids, State.PENDING).filter(waits)\n"
                "    ids = set(waiting.values_list('id', flat=True))\n"
                "    still = still_in(rows, ids, State.PENDING).order_by",
            ),
        ),
        "relay/test_locks.py",
        "postgresql",
    ),
    Mutant(
        "an operator looks again for what is behind",
        "outbox/followers.py",
        (("range(LOOKS if wait else 1)", "range(1)"),),
        "relay/test_locks.py",
        "postgresql",
    ),
    Mutant(
        "a check releases nothing",
        "outbox/settle.py",
        (("row.from_state is State.PENDING and row.state is not", "row.state is not"),),
        "outbox/test_settle.py",
    ),
    Mutant(
        "an act on what has left its key releases nothing",
        "operations/bulk.py",
        (("if row.blocks_key and chosen", "if chosen"),),
        "operations/test_operations.py",
    ),
    Mutant(
        "an end of what has left its key releases nothing",
        "outbox/expiry.py",
        (("if was is State.PENDING:", "if True:"),),
        "relay/test_side.py",
    ),
    Mutant(
        "an end that blocks its key releases nothing",
        "outbox/followers.py",
        ((".exclude(blocking())", ""),),
        "relay/test_side.py operations/test_operations.py",
    ),
    Mutant(
        "a late acceptance releases the key",
        "outbox/settle.py",
        (("            release([row.id])\n", "            ...\n"),),
        "outbox/test_settle.py::TestLateAnswers",
    ),
    Mutant(
        "missed releases are made up for",
        "outbox/sweep.py",
        (("    _release_missed(settings)\n    pull_in", "    pull_in"),),
        "relay/test_clock_set_back.py::TestTheSweep",
    ),
    Mutant(
        "an idle worker sweeps",
        "relay/worker.py",
        (("    sweep(settings)\n", ""),),
        "relay/test_worker.py",
    ),
    Mutant(
        "no release of what is held",
        "outbox/followers.py",
        (("held.exclude(Exists(OutboxEvent.objects.blockers()))", "held"),),
        "relay/test_clock_set_back.py::TestTheSweep",
    ),
    Mutant(
        "doubts that a pause hides end",
        "outbox/sweep.py",
        (("    ended = expiry.end_used_up(settings)\n", "    ended = Counter[str]()\n"),),
        "relay/test_clock_set_back.py::TestTheSweep",
    ),
    *(
        Mutant(
            f"no {name} in the future",
            "circuit/__init__.py",
            ((text, other),),
            "relay/test_clock_set_back.py",
        )
        for name, text, other in (
            ("acceptance", "accepted_at=past(self.accepted_at)", "accepted_at=self.accepted_at"),
            ("cleared", "cleared_at=past(self.cleared_at)", "cleared_at=self.cleared_at"),
            ("found", "found_at=past(self.found_at)", "found_at=self.found_at"),
            ("probe", "probe_until=past(self.probe_until, lease)", "probe_until=self.probe_until"),
            ("pause", "publish=self.publish.pulled_in(self.now)", "publish=self.publish"),
        )
    ),
    Mutant(
        "times from the future are written back",
        "outbox/destinations.py",
        (("        in_small_transaction(outbox_alias(), partial(_set_right, alias))\n", "        ...\n"),),
        "relay/test_clock_set_back.py::TestTheDestination",
    ),
    Mutant(
        "what moved meanwhile is not corrected",
        "outbox/sweep.py",
        (("for pk, due_at in free if due_at == seen[pk]", "for pk, due_at in free"),),
        "relay/test_clock_set_back.py",
    ),
    Mutant(
        "a delay that was asked for is kept",
        "outbox/sweep.py",
        (('{**changes, "due_at": DatabaseNow(max(0.0, asked))}', '{**changes, "due_at": DatabaseNow()}'),),
        "relay/test_clock_set_back.py",
    ),
    Mutant(
        "a scan begins where the last one did",
        "outbox/due.py",
        (("if self._place is None or not waits:", "if True:"),),
        "outbox/test_due.py",
    ),
    Mutant(
        "a scan begins at the beginning now and then",
        "outbox/due.py",
        (("if self._place is None or not waits:", "if self._place is None:"),),
        "outbox/test_due.py",
    ),
    Mutant(
        "a scan never begins in the future",
        "outbox/due.py",
        (("min(first, (now, 0)) if first else (now, 0)", "first or (now, 0)"),),
        "outbox/test_due.py",
    ),
    Mutant(
        "a scan sees all events of one moment",
        "outbox/due.py",
        (
            (
                "rows.filter(place, due_at__gte=due_at)",
                "rows.filter(id__gt=pk, due_at__gte=due_at)",
            ),
        ),
        "outbox/test_due.py",
    ),
    Mutant(
        "a doubt about another organisation is not sent",
        "outbox/claim.py",
        (("return doubt is not None and destinations.is_elsewhere(about, today)", "return False"),),
        "relay/test_elsewhere.py",
    ),
    Mutant(
        "the organisation of a doubt stays",
        "outbox/claim.py",
        (
            (
                'Case(When(known, then=F("doubt_about")), default=about)',
                "about",
            ),
        ),
        "relay/test_elsewhere.py",
    ),
    Mutant(
        "a key that another organisation knows duplicates",
        "operations/choices.py",
        (
            (
                "    if destinations.is_elsewhere(row.doubt_about, destinations.organisation(settings)):\n",
                "    if settings is None:\n",
            ),
        ),
        "relay/test_elsewhere.py",
    ),
    Mutant(
        "an altered body is not sent",
        "relay/batch.py",
        (("self.senders.send([row for row in rows if not row.altered])", "self.senders.send(rows)"),),
        "relay/test_elsewhere.py::TestAlteredBodies",
    ),
    Mutant(
        "altered bodies are no refusals",
        "relay/batch.py",
        ((" for answer in answers if answer.outcome is not _ALTERED]", " for answer in answers]"),),
        "relay/test_elsewhere.py::TestAlteredBodies",
    ),
    Mutant(
        "a sender that died is reported",
        "relay/senders.py",
        (
            (
                "            if row is not None:\n                self._report(Report(row, _DIED",
                "            if row is None:\n                self._report(Report(row, _DIED",
            ),
        ),
        "relay/test_relay.py::TestSendersThatDie",
    ),
    Mutant(
        "a signal is heard under eventlet",
        "management/stopping.py",
        (
            (
                "    with suppress(ValueError):\n",
                "    if threading.current_thread() is threading.main_thread():\n",
            ),
        ),
        "relay/test_green.py::test_the_loop_serves_until_it_is_told_to_stop",
    ),
    Mutant(
        "a forked process opens its own pool",
        "db/__init__.py",
        (("    _of_the_parent.append(dict(pools))\n    pools.clear()\n", ""),),
        "relay/test_pools.py::test_a_forked_process_leaves_the_pools_and_connections_of_its_parent_alone",
        database="postgresql",
    ),
    Mutant(
        "an idle loop holds no connection of a pool",
        "db/__init__.py",
        (("    if has_pool(alias) and not connection.in_atomic_block:", "    if not alias:"),),
        "relay/test_pools.py::test_more_destinations_than_connections_are_all_served",
        database="postgresql",
    ),
    Mutant(
        "a task drops the connection that an error came from",
        "tasks.py",
        (("        if isinstance(error, DatabaseError):\n", "        if not error:\n"),),
        "test_tasks.py::test_a_connection_that_turned_read_only_is_dropped_after_one_task",
        database="postgresql",
    ),
    Mutant(
        "a defect leaves its frames",
        "defects.py",
        (("if isinstance(error, expected) or not _memory.is_new(_kind(error)):", "if True:"),),
        "test_defects.py",
    ),
    Mutant(
        "frames are logged once per kind and minute",
        "defects.py",
        (
            (
                "if isinstance(error, expected) or not _memory.is_new(_kind(error)):",
                "if isinstance(error, expected):",
            ),
        ),
        "test_defects.py",
    ),
    Mutant(
        "no message of an error in the log",
        "defects.py",
        (
            (
                '"".join(traceback.format_tb(error.__traceback__, limit=-FRAMES)).rstrip()',
                '"".join(traceback.format_exception(error))',
            ),
        ),
        "test_defects.py",
    ),
    Mutant(
        "the rules of answers come from the settings",
        "conf/__init__.py",
        (
            (
                "platform = Platform(rules=Rules(**of_rules), protocol",
                "platform = Platform(rules=Rules(), protocol",
            ),
        ),
        "conf/test_effects.py",
    ),
    *(
        Mutant(
            f"{name} has an effect",
            "conf/__init__.py",
            ((_TAKEN, f"{_TAKEN}\n    of_rules.pop({name!r})"),),
            "conf/test_effects.py",
        )
        for name in (
            *("retry_after_cap", "not_found_grace", "delivered_statuses", "duplicate_codes", "redact_keys"),
        )
    ),
    Mutant(
        "the Host of the login is written without decoding it",
        "client/login.py",
        (('"Host": url.netloc.decode(),', '"X-Host": "",'),),
        "platform/test_config.py::test_a_host_that_only_looks_like_an_international_name_can_be_asked",
    ),
    Mutant(
        "no path that httpx refuses",
        "platform/wire.py",
        (("len(value) <= LONGEST_PATH", "value"),),
        "conf/test_settings.py",
    ),
    Mutant(
        "no iterator for a list",
        "platform/values.py",
        (("isinstance(value, Collection)", 'hasattr(value, "__iter__")'),),
        "conf/test_settings.py",
    ),
    Mutant(
        "no number that timers do not hold",
        "platform/values.py",
        (("not 0 < value <= most:", "not 0 < value < 1e400:"),),
        "conf/test_settings.py",
    ),
    Mutant(
        "auto wakes only where a task ran lately",
        "wake.py",
        (("if setting == AUTO and not is_lately(_readers(destination, now).task_ago):", "if False:"),),
        "test_wake.py::TestAuto",
    ),
    Mutant(
        "auto notifies only where a loop listened lately",
        "wake.py",
        (("-ANNOUNCE_SECONDS <= heard_ago < HEARS", "True"),),
        "test_wake.py::TestNotify",
    ),
    Mutant(
        "no notification within a transaction",
        "wake.py",
        (
            (
                "after_commit(connection.alias, _notify_now, task, destination)",
                "_notify_now(task, destination)",
            ),
        ),
        "test_wake.py::TestNotify",
    ),
    Mutant(
        "the callbacks of a test case notify no one",
        "wake.py",
        (
            (
                "        return  # captureOnCommitCallbacks runs",
                "        pass  # captureOnCommitCallbacks runs",
            ),
        ),
        "test_wake.py::TestNotify",
    ),
    Mutant(
        "no notification in a transaction begun by hand",
        "wake.py",
        (("if connection.in_atomic_block or connection.get_autocommit():", "if True:"),),
        "test_wake.py::TestNotify",
    ),
    Mutant(
        "a burst is one notification",
        "wake.py",
        (("now - last < coalesce", "False"),),
        "test_wake.py::TestNotify",
    ),
    Mutant(
        "a failed notification does not silence the broker",
        "wake.py",
        (
            (
                "_memory.broken_until[how] = now + BROKEN",
                "_memory.broken_until = dict.fromkeys((NOTIFY, DJANGO_Q), now + BROKEN)",
            ),
        ),
        "test_wake.py::TestNotify",
    ),
    Mutant(
        "a listener looks again after the window",
        "db/notifications.py",
        (("if self._reset_at < quiet_at else seconds", "if False else seconds"),),
        "db/test_notifications.py::TestBell",
    ),
    Mutant(
        "a pass keeps its connection",
        "db/__init__.py",
        (('connection.errors_occurred or connection.settings_dict["CONN_MAX_AGE"] != 0', "True"),),
        "db/test_database.py",
    ),
    Mutant(
        "a pass drops a connection that had an error",
        "db/__init__.py",
        (("connection.errors_occurred or connection.settings_dict", "connection.settings_dict"),),
        "db/test_database.py",
    ),
    Mutant(
        "a listener tests that notifications arrive",
        "db/notifications.py",
        (("arrived = False\n", "arrived = True\n"),),
        "db/test_notifications.py::TestListener",
        database="postgresql",
    ),
    Mutant(
        "no session of a pooler stays a listener",
        "db/notifications.py",
        (('cursor.execute(f"UNLISTEN {CHANNEL}")', "..."),),
        "db/test_notifications.py::TestListener",
        database="postgresql",
    ),
    Mutant(
        "after a lost connection all bells ring",
        "db/notifications.py",
        (
            (
                "            self.hears_since = None\n            self._ring_all()\n",
                "            self._ring_all()\n",
            ),
        ),
        "db/test_notifications.py::TestListener",
        database="postgresql",
    ),
    Mutant(
        "a stop ends the wait for a listener that hangs",
        "db/notifications.py",
        (("while not self._stop.is_set() and (left", "while (left"),),
        "db/test_notifications.py::TestBell",
    ),
    Mutant(
        "a worker polls until commits know that it listens",
        "management/waiters.py",
        (("since is not None and time.monotonic() - since >= LEARNED", "since is not None"),),
        "management/test_waiters.py",
    ),
    Mutant(
        "a write between the look and the wait is not missed",
        "management/waiters.py",
        (
            ("        self._seen = self._version()\n", ""),
            ("        ends = time.m", "        self._seen = self._version()\n        ends = time.m"),
        ),
        "management/test_waiters.py",
    ),
    Mutant(
        "looks at SQLite keep apart",
        "management/waiters.py",
        (("time.monotonic() - self._began >= LOOKS_APART and ", ""),),
        "management/test_waiters.py",
    ),
    Mutant(
        "what is due but held is tried again soon",
        "management/loop.py",
        (("next_in if next_in > 0 else INTERVAL", "next_in if next_in > 0 else interval"),),
        "management/test_loop.py",
    ),
    Mutant(
        "a task announces itself",
        "tasks.py",
        (("                wake.announce(destination)\n", "                pass\n"),),
        "test_wake.py::TestAuto::test_each_task_that_sends_announces_itself",
    ),
    Mutant(
        "only a task of the queue that commits wake announces itself",
        "tasks.py",
        (("if runners.current() == runners.chosen(settings.wake):", "if True:"),),
        "test_wake.py::TestAuto",
    ),
    Mutant(
        "another scheduler queues nothing",
        "tasks.py",
        (("nullcontext() if queue else", "nullcontext() if True else"),),
        "test_tasks.py::test_another_scheduler_serves_all_destinations_itself",
    ),
    Mutant(
        "no pass within a pass",
        "wake.py",
        ((" or runners.current() == runner:", ":"),),
        "test_runners.py::test_a_commit_within_an_inline_pass_starts_no_other",
    ),
    Mutant(
        "a queue that fails leaves the caller's transaction usable",
        "runners.py",
        (("            if connection.in_atomic_block:\n", "            if False:\n"),),
        "test_runners.py::test_a_queue_in_tables_that_fails_leaves_the_callers_transaction_usable",
        database="postgresql",
    ),
    Mutant(
        "wakes of Django's tasks are unread only if an event was written",
        "checks/queue.py",
        (("created_at__gt=DatabaseNow(_SERVED - ago)", "created_at__gt=DatabaseNow(-ago)"),),
        "checks/test_database.py::TestWakes",
    ),
    Mutant(
        "a task from the future does not count",
        "wake.py",
        (("-ANNOUNCE_SECONDS <= task_ago < LISTENS", "task_ago < LISTENS"),),
        "test_wake.py::TestAuto",
    ),
    Mutant(
        "a process remembers whether wakes are read",
        "wake.py",
        (("if now - looked_at < LOOK_SECONDS:", "if False:"),),
        "test_wake.py::TestAuto",
    ),
    Mutant(
        "an announcement from the future is corrected",
        "wake.py",
        (("            | Q(task_at__gt=NOW)  # written while the clock was ahead\n", ""),),
        "test_wake.py::TestAuto",
    ),
    Mutant(
        "a failed look leaves the transaction usable",
        "wake.py",
        (("if connection.in_atomic_block else nullcontext()", "if False else nullcontext()"),),
        "test_wake.py::TestAuto",
        database="postgresql",
    ),
    Mutant(
        "the former key is obeyed",
        "conf/rules.py",
        (('return {"WAKE": None} if off else {}, [problem]', "return {}, [problem]"),),
        "test_wake.py::TestTheFormerKey",
    ),
    Mutant(
        "a late answer is not dropped",
        "relay/batch.py",
        (
            (
                "                    self.late.append(row)\n            elif",
                "                    pass\n            elif",
            ),
        ),
        "relay/test_side.py::test_the_acceptance_of_a_row_that_was_given_up_meanwhile_is_its_proof",
    ),
    Mutant(
        "a stale report is not taken",
        "relay/batch.py",
        (
            (
                "if self.in_flight.get(answer.claimed.id) is not answer.claimed:",
                "if answer.claimed.id not in self.in_flight:",
            ),
        ),
        "relay/test_side.py::test_an_answer_of_an_earlier_claim_is_not_taken_for_that_of_the_present_one",
    ),
    Mutant(
        "a process that was frozen before it wrote sends nothing later",
        "client/sockets.py",
        (("                if self.network.deadline.left() <= 0:\n", "                if False:\n"),),
        "client/test_transport.py::test_a_process_that_was_frozen_before_it_wrote_sends_nothing_later",
    ),
    Mutant(
        "a deadline is made before the look at the lease",
        "relay/senders.py",
        (("        deadline = sender.deadline()\n", "        deadline = None\n"),),
        "relay/test_relay.py",
    ),
    Mutant(
        "leases end while the machine sleeps",
        "steady.py",
        (("time.clock_gettime(time.CLOCK_BOOTTIME)", "time.monotonic()"),),
        "test_steady.py",
    ),
    Mutant(
        "after its lease the outcome of a locked row is given up",
        "relay/batch.py",
        ((" and steady.monotonic() < self._lease_ends([answer])", ""),),
        "relay/test_side.py::TestLockedRows::test_the_outcome_of_a_locked_row_is_kept_until_its_lease_ends",
        "postgresql",
    ),
    Mutant(
        "a settle is tried until the lease ends",
        "relay/batch.py",
        (("[row for _answer, row in outcomes], until=until)", "[row for _answer, row in outcomes])"),),
        "relay/test_side.py::test_a_lost_database_is_waited_for_until_the_lease_ends_and_no_longer",
    ),
    Mutant(
        "the time of a claim is read before it is written",
        "outbox/claim.py",
        (
            ("    started = steady.monotonic()\n", ""),
            ("    destinations.spend(", "    started = steady.monotonic()\n    destinations.spend("),
        ),
        "relay/test_side.py::test_the_time_of_a_claim_is_read_before_it_is_written",
    ),
    Mutant(
        "a release cuts no retry's wait short",
        "outbox/followers.py",
        (("Q(not_asked_for, attempts=0, key_held__isnull=True)", "Q(not_asked_for, key_held__isnull=True)"),),
        "relay/test_side.py::test_a_retry_keeps_its_wait_when_the_head_of_its_key_leaves",
    ),
    Mutant(
        "an end without a request releases its follower",
        "outbox/expiry.py",
        (("            release(won)\n", "            ...\n"),),
        "relay/test_side.py::test_an_event_that_ends_without_a_request_releases_the_next_of_its_key",
    ),
    Mutant(
        "confirmation switched off takes no row in flight",
        "outbox/expiry.py",
        (
            (
                'delivered. Returns rows by state."""\n    accepted = due_events(settings.alias, ',
                'delivered."""\n    accepted = OutboxEvent.objects.on_outbox().filter(state=',
            ),
        ),
        "relay/test_side.py",
    ),
    Mutant(
        "a locked row that is to end keeps no pass busy",
        "relay/batch.py",
        (("bool(batch.rows or ended or", "bool(batch.rows or batch.ended or"),),
        "relay/test_side.py::TestLockedRows::test_a_locked_row_that_is_to_end_keeps_no_pass_busy",
        "postgresql",
    ),
    Mutant(
        "a locked row is written after the lock",
        "relay/batch.py",
        (("                self.unwritten.append((answer, row))\n", "                pass\n"),),
        "relay/test_side.py::TestLockedRows::test_a_locked_row_costs_no_other_its_outcome_and_has_its_own_after_the_lock",
        "postgresql",
    ),
    Mutant(
        "a head waits for its locked follower",
        "outbox/followers.py",
        (("        raise Locked\n", "        return 0\n"),),
        "relay/test_side.py::TestLockedRows::test_with_its_follower_locked_a_head_is_written_after_the_lock",
        "postgresql",
    ),
    Mutant(
        "token check in settle",
        "outbox/settle.py",
        (
            (
                "WHERE id = %(id)s AND claim_token = %(token)s AND state = %(from_state)s",
                "WHERE id = %(id)s AND %(token)s IS NOT NULL AND state = %(from_state)s",
            ),
        ),
        "outbox/test_settle.py chaos/test_points.py",
    ),
    Mutant(
        "token check in settle, PostgreSQL",
        "outbox/settle.py",
        (("WHERE t.id = v.id AND t.claim_token = v.token AND", "WHERE t.id = v.id AND"),),
        "outbox/test_settle.py chaos/test_points.py",
        "postgresql",
    ),
    Mutant(
        "window rule in the claim",
        "outbox/claim.py",
        (("closes_in=_closes_in(settings, doubt, now) if publishing else None", "closes_in=None"),),
        "outbox/test_claim.py",
    ),
    Mutant(
        "window rule in the claim's UPDATE",
        "outbox/claim.py",
        (("rows.filter(Q(in_doubt_since__isnull=True) | Q(in_doubt_since__gte=latest))", "rows"),),
        "outbox/test_claim.py::TestAFrozenWorker",
    ),
    Mutant(
        "attempts used up, in the claim's UPDATE",
        "outbox/claim.py",
        (("    rows = rows.filter(attempts__lt=limits.max_attempts)\n", ""),),
        "outbox/test_claim.py::TestAFrozenWorker",
    ),
    Mutant(
        "a row that lapsed since it was seen is left for the next look",
        "outbox/claim.py",
        (('if _lapse(row["claim_token"], row["lapses"]) == seen[row["id"]]]', 'if row["id"] in seen]'),),
        "outbox/test_claim.py::TestAFrozenWorker",
    ),
    Mutant(
        "window rule in expiry",
        "outbox/expiry.py",
        (("    ids = [pk for (pk,) in", "    ids = [0 for (_pk,) in"),),
        "relay/test_relay.py::TestExpiry",
    ),
    Mutant(
        "window rule in the decision",
        "outbox/decide.py",
        (("or window <= 0:", "or window <= -1e9:"),),
        "outbox/test_decide.py",
    ),
    Mutant(
        "doubt since the first try",
        "outbox/claim.py",
        (('Coalesce("in_doubt_since", DatabaseNow())', "DatabaseNow()"),),
        "outbox/test_claim.py",
    ),
    Mutant(
        "the key known since the first try, at acceptance",
        "outbox/settle.py",
        (
            (
                'f"THEN {t}in_doubt_since ELSE {t}key_known_since END, "',
                'f"THEN NULL ELSE {t}key_known_since END, "',
            ),
        ),
        "outbox/test_settle.py",
    ),
    Mutant(
        "the key known since the first try, at a person's decision",
        "operations/choices.py",
        (("since = row.key_known_since or row.in_doubt_since", "since = row.in_doubt_since"),),
        "operations/test_operations.py",
    ),
    Mutant(
        "count at claim",
        "outbox/claim.py",
        (('        "attempts": F("attempts") + 1,\n', ""),),
        "outbox/test_claim.py",
    ),
    Mutant(
        "attempts used up",
        "outbox/claim.py",
        (("and (attempts >= settings.max_attempts or _is_elsewhere(", "and (_is_elsewhere("),),
        "outbox/test_claim.py",
    ),
    Mutant(
        "count at claim, by the model",
        "outbox/claim.py",
        (('        "attempts": F("attempts") + 1,\n', ""),),
        "model/test_traces.py::test_what_the_code_does_replays_against_the_model",
    ),
    Mutant(
        "refused in doubt, by the model",
        "outbox/decide.py",
        (("if claimed.doubt_before is not None:", "if claimed is None:"),),
        "model/test_traces.py::test_what_the_code_does_replays_against_the_model",
    ),
    Mutant(
        "a claim looks further where some of the first cannot go",
        "outbox/claim.py",
        (("if len(found) == limit and not all(", "if len(found) > limit and not all("),),
        "outbox/test_claim.py",
    ),
    Mutant(
        "a compiled query reads a shifted clock",
        "db/compiled.py",
        (("with compiling_once():", "if True:"),),
        "db/test_compiled.py",
    ),
    Mutant(
        "a compiled query stores times in the zone of its connection",
        "db/compiled.py",
        ((', skips_locked, now_sql(connection, "0", 0.0)', ", skips_locked"),),
        "db/test_compiled.py",
    ),
    Mutant(
        "a compiled query uses the connection of its thread",
        "db/compiled.py",
        (
            ("        self._compiler.connection = None  # each thread has its own\n", ""),
            ("        compiler.connection = connection\n", ""),
        ),
        "db/test_compiled.py",
    ),
    Mutant(
        "values of a compiled query are converted",
        "db/compiled.py",
        (("self.output_field.get_db_prep_value(values[self.name], connection)", "values[self.name]"),),
        "db/test_compiled.py",
    ),
    Mutant(
        "a compiled UPDATE that failed makes its transaction roll back",
        "db/compiled.py",
        (("with transaction.mark_for_rollback_on_error(using=self._database):", "if True:"),),
        "db/test_compiled.py",
    ),
    Mutant(
        "compare-and-set of the claim",
        "outbox/claim.py",
        (
            (
                "unlocked(_still_claimable(kind, limits, places, rows))",
                'unlocked(rows.filter(OneOf("id", "ids", places, OutboxEvent._meta.pk)))',
            ),
            ('if _lapse(row["claim_token"], row["lapses"]) == seen[row["id"]]]', 'if row["id"] in seen]'),
            (
                "changed(_still_claimable(kind, limits, places, rows), **changes)",
                'changed(rows.filter(OneOf("id", "ids", places, OutboxEvent._meta.pk)), **changes)',
            ),
        ),
        "outbox/test_claim.py",
    ),
    Mutant(
        "head of its ordering key",
        "outbox/claim.py",
        (("blocked=bool(blocked)", "blocked=False"),),
        "outbox/test_claim.py",
    ),
    Mutant(
        "one suspect at a time",
        "outbox/claim.py",
        (("(lapsed <= 0 or (row.suspect and suspects <= 0))", "lapsed <= 0"),),
        "relay/test_batch.py::TestRowsOfDeadWorkers",
    ),
    Mutant(
        "rows of dead workers leave senders to others",
        "outbox/claim.py",
        (("(lapsed <= 0 or (row.suspect and suspects <= 0))", "(row.suspect and suspects <= 0)"),),
        "relay/test_batch.py::TestRowsOfDeadWorkers",
    ),
    Mutant(
        "a lapsed follower is moved",
        "outbox/followers.py",
        (("key_held=True, claim_token=None\n", "key_held=True\n"),),
        "outbox/test_claim.py",
    ),
    Mutant(
        "a row claimed too long ago is not begun",
        "relay/senders.py",
        ((" or began >= begin_until:", ":"),),
        "relay/test_relay.py chaos/test_points.py",
    ),
    Mutant(
        "a protocol's error before the request leaves no doubt",
        "client/sender.py",
        (
            (
                "nothing = Verdict.UNAVAILABLE if undecided is Verdict.UNKNOWN else undecided",
                "nothing = undecided",
            ),
        ),
        "platform/protocols/test_interface.py::TestPublishing"
        "::test_another_error_before_the_request_is_counted_and_tried_again",
    ),
    Mutant(
        "the texts to mask are known before a request",
        "client/sender.py",
        (("self._platform.secrets()  # if they", "pass  # if they"),),
        "platform/protocols/test_interface.py::TestPublishing::test_an_error_of_the_texts_to_mask_comes_before_the_request",
    ),
    Mutant(
        "what is no request leaves no doubt",
        "client/sender.py",
        (("request = self._http_request(build(), deadline)", "request = build()"),),
        "platform/protocols/test_interface.py::TestPublishing::test_what_is_no_request_is_not_sent_and_leaves_no_doubt",
    ),
    Mutant(
        "a path cannot name another host",
        "client/sender.py",
        (('if not request.path.startswith("/"):', "if False:"),),
        "platform/protocols/test_interface.py::TestPublishing::test_what_is_no_request_is_not_sent_and_leaves_no_doubt",
    ),
    Mutant(
        "what is no outcome is unknown",
        "client/sender.py",
        (("return storable(outcome) if self._is_foreign else outcome", "return outcome"),),
        "platform/protocols/test_interface.py::TestPublishing::test_what_is_no_outcome_leaves_the_outcome_unknown",
    ),
    Mutant(
        "a halt without a kind is no outcome",
        "platform/outcomes.py",
        (("halt is None and outcome.verdict is not Verdict.HALTED", "halt is None"),),
        "platform/protocols/test_interface.py::TestPublishing::test_what_is_no_outcome_leaves_the_outcome_unknown",
    ),
    Mutant(
        "a remote id fits its column",
        "platform/outcomes.py",
        (("and len(remote_id) <= 255 and remote_id.isprintable()", ""),),
        "platform/protocols/test_interface.py::TestPublishing::test_what_is_no_outcome_leaves_the_outcome_unknown",
    ),
    Mutant(
        "a wait is a number of seconds",
        "platform/outcomes.py",
        (("and 0 <= wait <= values.LONGEST", ""),),
        "platform/protocols/test_interface.py::TestPublishing::test_what_is_no_outcome_leaves_the_outcome_unknown",
    ),
    Mutant(
        "texts of a protocol fit their columns",
        "platform/outcomes.py",
        (("return replace(outcome, **changed) if changed else outcome", "return outcome"),),
        "platform/protocols/test_interface.py::TestPublishing::test_texts_of_an_outcome_are_made_fit_to_be_stored",
    ),
    Mutant(
        "a body has a length by any method",
        "client/sender.py",
        (('if content or request.method == "POST":', 'if request.method == "POST":'),),
        "platform/protocols/test_interface.py::TestPublishing::test_a_body_is_sent_by_any_method",
    ),
    Mutant(
        "an attribute may be empty in a header",
        "client/sender.py",
        (('text if text == "" else named(', "named("),),
        "relay/test_webhook.py::test_an_attribute_may_be_empty_in_binary_mode",
    ),
    Mutant(
        "an idempotency key is not empty",
        "platform/protocols/eventbridge/__init__.py",
        (("if not key:", "if key is None:"),),
        "client/test_sender.py",
    ),
    Mutant(
        "a failed invocation is not accepted",
        "platform/protocols/webhook.py",
        (("if invocation and not failed and", "if invocation and"),),
        "platform/protocols/test_webhook.py::TestAnswers::test_any_other_success_is_unknown",
    ),
    Mutant(
        "an invocation URL is no base URL",
        "platform/protocols/webhook.py",
        (('if is_invocation(given["api_base_url"]):', "if False:"),),
        "conf/test_protocols.py::TestWebhook",
    ),
    Mutant(
        "the base URL may hold the path of a webhook, too",
        "platform/protocols/eventbridge/__init__.py",
        (
            (
                'is_invocation(given["api_base_url"] + given["events_path"])',
                'is_invocation(given["events_path"])',
            ),
        ),
        "conf/test_protocols.py::TestEventBridge",
    ),
    Mutant(
        "an escaped path of a webhook is recognised",
        "platform/wire.py",
        (("_INVOCATION.search(unquote(url))", "_INVOCATION.search(url)"),),
        "conf/test_protocols.py::TestEventBridge",
    ),
    Mutant(
        "a token in the wrong setting is not shown",
        "conf/rules.py",
        (("clean(without_token(repr(value)), 100)", "clean(repr(value), 100)"),),
        "conf/test_protocols.py::TestEventBridge",
    ),
    Mutant(
        "a token in REGION is not shown",
        "platform/regions.py",
        (
            (
                'clean(without_token(re.sub(r"([?#]).+", r"\\1***", place, count=1)), 100)',
                'clean(re.sub(r"([?#]).+", r"\\1***", place, count=1), 100)',
            ),
        ),
        "conf/test_protocols.py::TestEventBridge",
    ),
    Mutant(
        "the default of a secret is not shown",
        "conf/__init__.py",
        ((' or (default and item.metadata["secret"])', ""),),
        "conf/test_protocols.py::TestFlaws",
    ),
    Mutant(
        "a field cannot take the name of a setting",
        "conf/rules.py",
        (("for key in own if key in app_keys)", "for key in own if not key)"),),
        "conf/test_protocols.py::TestFlaws",
    ),
    Mutant(
        "a protocol has a name",
        "conf/rules.py",
        (('if not isinstance(name := getattr(protocol, "name", None), str) or not name:', "if False:"),),
        "conf/test_protocols.py::TestFlaws",
    ),
    Mutant(
        "credentials of a protocol are settings",
        "conf/rules.py",
        ((" or not {*protocol.credentials} <= {*own, *app_keys}", ""),),
        "conf/test_protocols.py::TestFlaws",
    ),
    Mutant(
        "a protocol that authenticates has a client",
        "conf/rules.py",
        (("elif protocol.authenticates and not", "elif protocol.name == '' and not"),),
        "conf/test_protocols.py::TestFlaws",
    ),
    Mutant(
        "a protocol that confirms can be asked",
        "conf/rules.py",
        (("if protocol.confirms and protocol.status_request is Protocol.status_request:", "if False:"),),
        "conf/test_protocols.py::TestFlaws",
    ),
    Mutant(
        "an error of a protocol's settings is a finding",
        "conf/__init__.py",
        (("    if kind in BUILT_IN.values():\n        return", "    if kind is not None:\n        return"),),
        "conf/test_protocols.py::TestFlaws",
    ),
    Mutant(
        "ping names the error of a protocol",
        "ping.py",
        (
            (
                "    except Exception as error:  # noqa: BLE001 - a protocol is the user's code\n",
                "    except ZeroDivisionError as error:\n",
            ),
        ),
        "test_ping.py::TestAWebhook",
    ),
    Mutant(
        "a test event in doubt can be looked for",
        "ping.py",
        (('place if outcome.verdict is Verdict.UNKNOWN else ""', '""'),),
        "test_ping.py::TestAWebhook",
    ),
    Mutant(
        "an event under a new key may be a duplicate",
        "relay/batch.py",
        (("claimed.doubt_before is not None or claimed.renewed", "claimed.doubt_before is not None"),),
        "relay/test_webhook.py::TestOperators",
    ),
    Mutant(
        "a refused token is in no report",
        "platform/protocols/webhook.py",
        (("Webhook.__init__ = without_arguments(Webhook.__init__)", "Webhook.__init__ = Webhook.__init__"),),
        "threats/test_reports.py",
    ),
    Mutant(
        "any error of a protocol's module is a finding",
        "platform/protocols/__init__.py",
        (("except Exception as error:", "except (ImportError, AttributeError) as error:"),),
        "conf/test_protocols.py::TestOfOnesOwn",
    ),
    Mutant(
        "the deadline of a request begins before its callables",
        "client/sender.py",
        (
            (
                "self._http_request(build(), deadline)",
                "self._http_request(build(), Deadline(self._platform.request_deadline, self._clock))",
            ),
        ),
        "client/test_sender.py::test_the_deadline_includes_the_callables",
    ),
    Mutant(
        "a protocol is asked whether it carries an event",
        "outbox/rows.py",
        (("        destination_settings.platform.protocol.check_event(event)\n", ""),),
        "platform/protocols/test_interface.py::TestEnqueue",
    ),
    Mutant(
        "an account that cannot be read is unknown",
        "outbox/destinations.py",
        (
            (
                "        name = platform.protocol.account(platform)\n    except Exception:",
                "        name = platform.protocol.account(platform)\n    except ValueError:",
            ),
        ),
        "platform/protocols/test_interface.py::TestPublishing"
        "::test_an_account_that_cannot_be_read_stops_nothing",
    ),
    Mutant(
        "the earlier doubt is written back",
        "outbox/decide.py",
        (("doubt=claimed.doubt_before,", "doubt=None,"),),
        "outbox/test_decide.py outbox/test_settle.py",
    ),
    Mutant(
        "refused in doubt is no certain death",
        "outbox/decide.py",
        (("if claimed.doubt_before is not None:", "if claimed is None:"),),
        "outbox/test_decide.py",
    ),
    Mutant(
        "a row not begun goes back uncharged",
        "outbox/decide.py",
        (
            (
                "return replace(row, attempts=claimed.attempts - 1, due_in=0.0)",
                "return replace(row, attempts=claimed.attempts, due_in=0.0)",
            ),
        ),
        "outbox/test_decide.py outbox/test_settle.py",
    ),
    Mutant(
        "a conflict ends",
        "outbox/decide.py",
        (("claimed.attempts >= CONFLICTS", "claimed.attempts >= 10**6"),),
        "outbox/test_decide.py",
    ),
    Mutant(
        "the pause gate",
        "outbox/destinations.py",
        (("    if until > now:\n", "    if until is None:\n"),),
        "outbox/test_destinations.py",
    ),
    Mutant(
        "a person's hold",
        "outbox/destinations.py",
        (("return bool(held_by) and", "return not held_by and"),),
        "outbox/test_destinations.py",
    ),
    Mutant(
        "a health view of an unknown destination is no server error",
        "contrib/views.py",
        (("if alias not in conf.aliases()]", "if alias is None]"),),
        "contrib/test_health.py::TestTheView",
    ),
    Mutant(
        "a version that would be ignored is refused",
        "management/commands/eventbridge_catalogue.py",
        (("if version is not None and (form", "if version is None and (form"),),
        "management/test_contract.py",
    ),
    Mutant(
        "a count that stopped at its cap is not shown as the number of results",
        "admin/listing.py",
        (("if self.paginator.capped or not narrowed:", "if not narrowed:"),),
        "admin/test_events.py",
    ),
    Mutant(
        "a complete list counts no results",
        "admin/listing.py",
        (("if self.paginator.capped or not narrowed:", "if self.paginator.capped:"),),
        "admin/test_events.py admin/test_jobs.py",
    ),
    Mutant(
        "the page of a job needs no due time",
        "admin/jobs.py",
        (("job.due_at is not None and job.due_at <= job.now", "job.due_at <= job.now"),),
        "admin/test_jobs.py",
    ),
    Mutant(
        "the label in the middle of a chart is half of the top",
        "admin/charts.py",
        ((" and top % 2 == 0", ""),),
        "admin/test_dashboard.py",
    ),
    Mutant(
        "commands that the check prints quote the name of the file",
        "management/catalogue.py",
        (("shlex.quote(file)", "file"),),
        "management/test_contract.py",
    ),
    Mutant(
        "a worker that was idle shows its rate since the last line",
        "management/progress.py",
        (("        if self._total:\n            rate", "        if True:\n            rate"),),
        "management/test_progress.py",
    ),
    Mutant(
        "an error of a job leaves the thread of jobs running",
        "management/job_worker.py",
        (("        except Exception as error:", "        except KeyError as error:"),),
        "management/test_job_worker.py",
    ),
    Mutant(
        "a loop looks for what committed late before it rests",
        "management/loop.py",
        (("                if upcoming.whole_in:\n", "                if False:\n"),),
        "management/test_loop.py::TestLoop",
    ),
    Mutant(
        "a worker looks for what committed late before it leaves",
        "relay/worker.py",
        (("    if not is_due(upcoming.next_in) and upcoming.whole_in:", "    if False:"),),
        "relay/test_worker.py",
    ),
    Mutant(
        "a worker stays until a look finds what committed late",
        "relay/worker.py",
        (("        if quiet and not upcoming.whole_in:", "        if quiet:"),),
        "relay/test_worker.py",
    ),
    Mutant(
        "a look that starts in the middle says when the next whole one may be made",
        "outbox/due.py",
        (("            read = ScanRead(self._place, waits)", "            read = ScanRead(self._place)"),),
        "outbox/test_due.py",
    ),
    Mutant(
        "a page beyond the last one is the last one",
        "admin/listing.py",
        (("max(1, min(int(number), self.num_pages))", "super().validate_number(number)"),),
        "admin/test_events.py admin/test_jobs.py",
    ),
    Mutant(
        "the rows are those of the page that is shown",
        "admin/listing.py",
        (("        self.page_num = self.paginator.validate_number(self.page_num)\n", ""),),
        "admin/test_events.py",
    ),
    Mutant(
        "a schema file that cannot be read is an error of the settings",
        "outbox/schemas.py",
        (
            (
                "    except (OSError, ValueError, RecursionError) as error:\n",
                "    except KeyError as error:\n",
            ),
        ),
        "admin/test_catalogue.py",
    ),
    Mutant(
        "a page of the admin is no server error where the settings are invalid",
        "admin/pages.py",
        (("except ImproperlyConfigured as error:", "except KeyError as error:"),),
        "admin/test_invalid_settings.py",
    ),
    Mutant(
        "one probe at a time",
        "outbox/destinations.py",
        ((".filter(free, paused_until__lte=DatabaseNow())", ".filter(paused_until__lte=DatabaseNow())"),),
        "outbox/test_destinations.py",
    ),
    Mutant(
        "the shared rate",
        "outbox/destinations.py",
        (
            (
                "    rate = settings.rate_per_minute\n    if rate is None:\n",
                "    rate = None\n    if rate is None:\n",
            ),
        ),
        "outbox/test_destinations.py::TestTheRate",
    ),
    *(
        Mutant(
            f"the bucket is bounded, {tests}",
            "circuit/rate.py",
            (("Bucket(min(common, common_cap)", "Bucket(common"),),
            tests,
        )
        for tests in ("circuit/test_rate.py", "outbox/test_destinations.py::TestTheRate")
    ),
    *(
        Mutant(
            f"the bucket is read under its lock, {database}",
            "outbox/destinations.py",
            (
                (
                    "    if not _rows(alias).select_for_update(skip_locked=skips).values",
                    "    if not _rows(alias).values",
                ),
                ("_rows(alias).select_for_update().annotate", "_rows(alias).annotate"),
            ),
            "outbox/test_destinations.py::TestTheRateAmongWorkers",
            database,
        )
        for database in ("postgresql", "mysql")
    ),
    *(
        Mutant(
            f"the bucket's time is read after the lock was won, {database}",
            "outbox/destinations.py",
            (
                (
                    '    if not _rows(alias).select_for_update().values_list("pk"):',
                    "    if not _rows(alias).exists():",
                ),
            ),
            "outbox/test_destinations.py::TestTheRateAmongWorkers",
            database,
        )
        for database in ("postgresql", "mysql")
    ),
    Mutant(
        "a worker does not queue for the bucket",
        "outbox/destinations.py",
        (("select_for_update(skip_locked=skips)", "select_for_update()"),),
        "outbox/test_destinations.py::TestTheRateAmongWorkers",
        "postgresql",
    ),
    Mutant(
        "the bucket's time is never set back",
        "circuit/rate.py",
        (("at = max(self.at, now)", "at = now"),),
        "circuit/test_rate.py",
    ),
    Mutant(
        "a time refills the bucket once",
        "outbox/destinations.py",
        (("bucket_reserve=left.reserve, bucket_at=left.at", "bucket_reserve=left.reserve"),),
        "outbox/test_destinations.py::TestTheRate",
    ),
    Mutant(
        "an empty bucket fills again after the clock was set back",
        "outbox/destinations.py",
        (("    if circuit != stored or _is_set_back(row):\n", "    if circuit != stored:\n"),),
        "relay/test_clock_set_back.py::TestTheDestination",
    ),
    Mutant(
        "tokens that were not spent stay in the bucket",
        "outbox/claim.py",
        (
            (
                "destinations.spend(kind, settings, drawn, len(locked))",
                "destinations.spend(kind, settings, drawn, drawn.tokens)",
            ),
        ),
        "outbox/test_destinations.py::TestTheRate",
    ),
    Mutant(
        "tokens that were spent leave the bucket",
        "outbox/claim.py",
        (
            (
                "destinations.spend(kind, settings, drawn, len(locked))",
                "destinations.spend(kind, settings, drawn, 0)",
            ),
        ),
        "outbox/test_destinations.py::TestTheRate",
    ),
    Mutant(
        "checks get their fifth",
        "circuit/rate.py",
        (
            (
                "return _whole(self.reserve) + (0 if publishing_is_due else",
                "return (0 if publishing_is_due else",
            ),
        ),
        "outbox/test_destinations.py::TestTheRate",
    ),
    Mutant(
        "the wait for a token of four fifths of the rate",
        "circuit/rate.py",
        (
            (
                "for_common = (1 - self.tokens) / (per_second * (1 - CHECK_SHARE))",
                "for_common = (1 - self.tokens) / per_second",
            ),
        ),
        "circuit/test_rate.py",
    ),
    Mutant(
        "a worker without a token locks nothing",
        "outbox/claim.py",
        (
            ("    if able and not allowed.tokens:\n", "    if allowed.tokens < 0:\n"),
            ("ready[: allowed.tokens], allowed", "ready[: max(1, allowed.tokens)], allowed"),
        ),
        "outbox/test_destinations.py::TestTheRate",
    ),
    Mutant(
        "the probe is left to others without a token",
        "outbox/claim.py",
        (
            (
                "    drawn = destinations.draw(",
                "    if gate.probing and not destinations.take_probe(settings):\n"
                "        return [], 0.0\n"
                "    drawn = destinations.draw(",
            ),
        ),
        "outbox/test_destinations.py::TestTheRate",
    ),
    Mutant(
        "a turn is given back where the window closed after the lock",
        "outbox/claim.py",
        (("        transaction.set_rollback(True, using=outbox_alias())\n", ""),),
        "outbox/test_destinations.py::TestTheProbe",
    ),
    Mutant(
        "the turn of a refused type is taken with its row",
        "outbox/claim.py",
        (
            (
                "    ids = [row.id for row in ready[: drawn.tokens]]\n",
                "    ids = [row.id for row in ready[: drawn.tokens]]\n"
                "    if any(row.turn for row in ready):\n"
                "        early = destinations.take_refused_turn(settings)\n",
            ),
            (
                "        turn_until = destinations.take_refused_turn(settings)\n",
                "        turn_until = early\n",
            ),
        ),
        "outbox/test_destinations.py::TestRefusals",
    ),
    Mutant(
        "in a test's transaction destinations are served in turn",
        "management/side_by_side.py",
        (("if connections[outbox_alias()].in_atomic_block and not endless:", "if False:"),),
        "testing/test_drain.py::test_commands_serve_several_destinations_in_the_transaction_of_a_test",
    ),
    Mutant(
        "in a test's transaction an error of one destination stops no other",
        "management/side_by_side.py",
        (("            errors.append(error)\n", "            raise\n"),),
        "testing/test_drain.py::test_an_error_of_one_destination_stops_no_other_in_the_transaction_of_a_test",
    ),
    Mutant(
        "a kind with nothing to do joins again while the other is at work",
        "relay/batch.py",
        (("if side.rests and not any(each.is_at_work()", "if side.rests or any(each is None"),),
        "relay/test_batch.py::TestTheRate",
    ),
    Mutant(
        "a pause of one kind does not end the other",
        "relay/batch.py",
        (("if all(side.rests for side in sides):", "if any(side.rests for side in sides):"),),
        "relay/test_batch.py::TestPauses",
    ),
    Mutant(
        "a probe waits only for its own kind",
        "relay/batch.py",
        (
            ("= self._claim(lapsed, suspects)", "= self._claim(lapsed, suspects, alone)"),
            (
                "def _claim(self, lapsed: int, suspects: int)",
                "def _claim(self, lapsed: int, suspects: int, alone: bool)",
            ),
            ("if gate.probing and self.in_flight:", "if gate.probing and not alone:"),
        ),
        "relay/test_batch.py::TestPauses",
    ),
    Mutant(
        "both kinds share the room for lapsed rows",
        "relay/batch.py",
        (
            (
                "for side in self.sides.values() for row in side.in_flight.values()]",
                "for row in [*self.sides.values()][-1].in_flight.values()]",
            ),
        ),
        "relay/test_batch.py::TestRowsOfDeadWorkers",
    ),
    Mutant(
        "a kind waits for its token",
        "relay/batch.py",
        (("if side.ends or self.clock() < side.ask_at or not", "if side.ends or not"),),
        "relay/test_batch.py::TestTheRate",
    ),
    Mutant(
        "after a stop each kind begins again on its own",
        "relay/senders.py",
        (
            (
                "            self._stopped[kind].clear()",
                "            [each.clear() for each in self._stopped.values()]",
            ),
        ),
        "relay/test_batch.py::TestPauses",
    ),
    Mutant(
        "a busy loop prunes",
        "management/loop.py",
        (
            ("                self._prune(upcoming)\n", ""),
            (
                "                idle(self",
                "                self._prune(upcoming)\n                idle(self",
            ),
        ),
        "management/test_loop.py::TestLoop",
    ),
    Mutant(
        "of several loops one prunes",
        "outbox/retention.py",
        (("turn = _destination(alias).filter(due)", "turn = _destination(alias)"),),
        "management/test_loop.py::TestLoop",
    ),
    Mutant(
        "a prune that was begun is not due again",
        "outbox/retention.py",
        (("pruned_ago is None or pruned_ago >= PRUNE_EVERY", "pruned_ago is None"),),
        "management/test_loop.py::TestLoop",
    ),
    Mutant(
        "a scheduled prune counts",
        "tasks.py",
        (("        retention.began(destination)\n", ""),),
        "management/test_loop.py::TestLoop",
    ),
    Mutant(
        "a loop prunes a second at a time",
        "management/loop.py",
        (("PRUNE_SECONDS = 1.0", "PRUNE_SECONDS = 5.0"),),
        "management/test_loop.py::TestLoop",
    ),
    Mutant(
        "a prune that fails is not begun again at once",
        "management/loop.py",
        (
            (
                "        self._prunes = False\n        if begun:",
                "        self._prunes = begun\n        if begun:",
            ),
        ),
        "management/test_loop.py::TestLoop",
    ),
    Mutant(
        "a loop goes on to prune what did not fit",
        "management/loop.py",
        (("self._prunes = not done.complete", "self._prunes = False"),),
        "management/test_loop.py::TestLoop",
    ),
    Mutant(
        "a success ends no rate pause",
        "circuit/__init__.py",
        (("frozenset({Halt.NETWORK, Halt.REFUSALS,", "frozenset({Halt.RATE, Halt.NETWORK, Halt.REFUSALS,"),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "a late answer only for the unresolved",
        "outbox/settle.py",
        (('id=row.id, state=State.UNRESOLVED, remote_id=""', 'id=row.id, remote_id=""'),),
        "outbox/test_settle.py",
    ),
    Mutant(
        "people leave alone what is in flight",
        "operations/bulk.py",
        (
            ("return is_claimed(self.claim_token", "return not is_claimed(self.claim_token"),
            (
                "still_in(OutboxEvent.objects.on_outbox(), ids, state).not_in_flight()",
                "still_in(OutboxEvent.objects.on_outbox(), ids, state)",
            ),
        ),
        "operations/test_operations.py",
    ),
    Mutant(
        "no key is pruned inside its window",
        "outbox/retention.py",
        (("return max(seconds, settings.idempotency_window)", "return seconds"),),
        "outbox/test_retention.py",
    ),
    Mutant(
        "the same bytes",
        "relay/senders.py",
        (("sender.publish(row.body, ", 'sender.publish(row.body + " ", '),),
        "relay/test_relay.py",
    ),
    Mutant(
        "a raised epoch changes the key",
        "outbox/claim.py",
        (("key=str(uuid.uuid5(key, str(epoch)) if epoch else key)", "key=str(key)"),),
        "outbox/test_claim.py",
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
        "client/sender.py",
        (_following("POST"),),
        "client/test_sender.py",
    ),
    Mutant(
        "redirects refused, check",
        "client/sender.py",
        (_following("GET"),),
        "client/test_sender.py",
    ),
    Mutant(
        "redirects refused, token",
        "client/login.py",
        ((_LOGIN, _FOLLOW.format(call=_LOGIN, indent=" " * 8, only="", request="request")),),
        "client/test_auth.py",
    ),
    Mutant(
        "an event's values in the platform's words",
        "platform/answers.py",
        (
            (
                "self.rules.redact_keys, self.secrets, self.values), limit)",
                "self.rules.redact_keys, self.secrets), limit)",
            ),
        ),
        "client/test_secrets.py threats/test_values.py",
    ),
    Mutant(
        "an event's values in what a check answers",
        "relay/senders.py",
        (("            body=row.body,\n", ""),),
        "threats/test_values.py",
    ),
    Mutant(
        "an event's values in the words of an exception",
        "client/responses/exceptions.py",
        (("masked(_reason(error), PayloadValues(body))", "masked(_reason(error))"),),
        "client/test_secrets.py threats/test_values.py",
    ),
    Mutant(
        "the platform's codes and limits stay",
        "text/values.py",
        (("if not any(begun <= start", "if not all(begun <= start"),),
        "text/test_values.py",
    ),
    Mutant(
        "a value that the platform cut",
        "text/values.py",
        (("reached - token.start() >= SHORTEST_CUT and", "False and"),),
        "text/test_values.py",
    ),
    Mutant(
        "one spelling of a number",
        "text/values.py",
        (('fraction = whole.lstrip("0") or "0", fraction.rstrip("0")', "fraction = whole, fraction"),),
        "text/test_values.py",
    ),
    Mutant(
        "a number in other groups",
        "text/values.py",
        (("                *self._regrouped(tokens),\n", ""),),
        "text/test_values.py",
    ),
    Mutant(
        "words are masked where they are not searched",
        "text/values.py",
        (("            yield longest, len(text)\n", ""),),
        "text/test_values.py",
    ),
    Mutant(
        "a text is masked where it is not searched",
        "text/__init__.py",
        (("spans.append((_LONGEST_PARSED, len(part)))", "pass"),),
        "text/test_text.py",
    ),
    Mutant(
        "an escaped secret is not searched",
        "text/__init__.py",
        (("(*ESCAPE_SIGNS, *anywhere, *encoded)", "(*anywhere, *encoded)"),),
        "text/test_text.py",
    ),
    Mutant(
        "escapes within escapes",
        "text/readings.py",
        (("ROUNDS = 4", "ROUNDS = 1"),),
        "text/test_text.py",
    ),
    Mutant(
        "secrets in base64",
        "text/__init__.py",
        (("encoded |= set(_in_base64(raw))", "encoded |= set()"),),
        "text/test_text.py",
    ),
    Mutant(
        "a value before the name of its key",
        "text/__init__.py",
        (("        spans += _in_sentences(text, folded)\n", "        pass\n"),),
        "text/test_text.py",
    ),
    Mutant(
        "a value beside the name of its key",
        "text/__init__.py",
        (("or (accused and name in _VALUE_MEMBERS)", ""),),
        "text/test_text.py",
    ),
    Mutant(
        "a value beside the name of its key, in a text that is no JSON",
        "text/__init__.py",
        (("            spans += _values(text, _VALUE_NAMES)\n", "            pass\n"),),
        "text/test_text.py",
    ),
    Mutant(
        "words about a key beside its name",
        "text/__init__.py",
        (("[*spans, *_accused(part)] if accused else spans", "spans"),),
        "text/test_text.py",
    ),
    Mutant(
        "English behind Basic and Bearer",
        "text/__init__.py",
        (('if match["quote"] or _is_no_word(match["value"]):', "if match:"),),
        "text/test_text.py",
    ),
    Mutant(
        "a replaced token stays hidden",
        "client/auth.py",
        (("(*(one for one in known if one not in new), *new)[-REMEMBERED_SECRETS:]", "new"),),
        "client/test_secrets.py",
    ),
    Mutant(
        "headers and proxies are secrets",
        "client/sender.py",
        (("(*self._credentials.secrets, *self._platform.secrets())", "self._credentials.secrets"),),
        "client/test_secrets.py",
    ),
    Mutant(
        "what callables returned is a secret",
        "platform/config.py",
        (("self._returned[setting] = (*known, value)[-_REMEMBERED_VALUES:]", "pass"),),
        "client/test_secrets.py",
    ),
    Mutant(
        "callables are called again after a refusal",
        "client/sender.py",
        (("if outcome.halt in _REFUSALS:", "if outcome.halt is None and outcome.halt:"),),
        "client/test_secrets.py",
    ),
    Mutant(
        "a short header that is no credential spoils no words",
        "platform/config.py",
        (("_SHORTEST_SECRET if is_credential_header(name) else SHORTEST_ANYWHERE", "1"),),
        "client/test_secrets.py",
    ),
    Mutant(
        "no frame with the arguments of a platform",
        "platform/config.py",
        (
            (
                "Platform.__init__ = without_arguments(Platform.__init__)",
                "Platform.__init__ = Platform.__init__",
            ),
        ),
        "threats/test_reports.py",
    ),
    Mutant(
        "no frame with the arguments of a client",
        "client/__init__.py",
        (("    @without_arguments\n", ""),),
        "threats/test_reports.py",
    ),
    Mutant(
        "no frame with the settings",
        "conf/__init__.py",
        (("@without_arguments\n", ""),),
        "threats/test_reports.py",
    ),
    Mutant(
        "no answer in the frame of a pass",
        "platform/outcomes.py",
        (('excerpt: str = field(default="", repr=False)', 'excerpt: str = field(default="")'),),
        "client/test_secrets.py",
    ),
    Mutant(
        "blanking reaches the errors of attempts",
        "outbox/retention.py",
        (('attempts.update(response_excerpt="", error="")', 'attempts.update(response_excerpt="")'),),
        "outbox/test_retention.py threats/test_values.py",
    ),
    Mutant(
        "blanking reaches the last error",
        "outbox/retention.py",
        (('update(body="", last_error="", **columns)', 'update(body="", **columns)'),),
        "outbox/test_retention.py threats/test_values.py",
    ),
    Mutant(
        "answers need the permission for payloads",
        "reporting/timeline.py",
        (
            (
                'redact_text(attempt.response_excerpt, keys)) if payload else ""',
                "redact_text(attempt.response_excerpt, keys))",
            ),
        ),
        "threats/test_values.py",
    ),
    Mutant(
        "plain secrets that Django's reports would show",
        "checks/settings.py",
        (("        yield from _plain_secrets(destination)\n", ""),),
        "checks/test_settings.py",
    ),
    Mutant(
        "a passphrase that Django's reports would show",
        "checks/settings.py",
        (
            (
                "if destination.platform.client_cert and isinstance(",
                "if not destination.platform.client_cert and isinstance(",
            ),
        ),
        "checks/test_settings.py",
    ),
    Mutant(
        "a real secret counts beside the id of a placeholder",
        "checks/settings.py",
        (
            (
                "if not isinstance(value, Missing) and not _is_pretended(value):",
                "if not any(map(_is_pretended, (destination.platform.client_secret, "
                "destination.platform.client_id))):",
            ),
        ),
        "checks/test_settings.py",
    ),
    Mutant(
        "the words about a body that broke off stand without what it quotes",
        "platform/answers.py",
        (
            (
                "words = self.say(self.broken_off or self.first_words, _MESSAGE_LIMIT)",
                "words = self.broken_off or self.say(self.first_words, _MESSAGE_LIMIT)",
            ),
        ),
        "threats/test_values.py",
    ),
    Mutant(
        "a conflict does not repeat the id, which may be a value of the event",
        "relay/batch.py",
        (("has the remote id of event {owner}.", "has {outcome.remote_id}, the id of event {owner}."),),
        "relay/test_accusation.py",
    ),
    Mutant(
        "excerpts are without the values that REDACT_KEYS name",
        "platform/answers.py",
        (("        if text and names_a_key(body, keys):", "        if not text:"),),
        "text/test_values.py",
    ),
    Mutant(
        "an event is not read for an answer without a correlation id",
        "platform/answers.py",
        (('return first if first == "" or _UUID', "return first if _UUID"),),
        "text/test_values.py",
    ),
    Mutant(
        "what a validator says behind a name is no value",
        "text/__init__.py",
        (("if separator[1] and _COMPLAINT.match(text, start):", "if False:"),),
        "text/test_text.py",
    ),
    Mutant(
        "a complaint is made of words of complaint alone",
        "text/__init__.py",
        ((r"[;.)]?\s{{0,3}}(?:[\r\n<]|\Z)", ""),),
        "text/test_text.py",
    ),
    Mutant(
        "short secrets in base64 and in hexadecimal",
        "text/__init__.py",
        (('words |= {*in_hex, base64.b64encode(raw).decode().rstrip("=")}', "pass"),),
        "client/test_secrets.py",
    ),
    Mutant(
        "the query of a refused URL is not shown",
        "platform/regions.py",
        (('re.sub(r"([?#]).+", r"\\1***", place, count=1)', "place"),),
        "platform/test_regions.py",
    ),
    Mutant(
        "a name that begins with 127. is another machine",
        "platform/wire.py",
        (("return ipaddress.IPv4Address(host).is_loopback", 'return host.startswith("127.")'),),
        "platform/test_regions.py::test_http_is_for_this_machine_only",
    ),
    Mutant(
        "a name whose last label is a number is an address",
        "platform/wire.py",
        (("if _NUMBER.fullmatch(labels[-1]):", "if not host:"),),
        "platform/test_config.py platform/test_regions.py",
    ),
    Mutant(
        "an escaped path segment of dots is refused",
        "platform/wire.py",
        (('set(map(unquote, value.split("/")))', 'set(value.split("/"))'),),
        "platform/test_config.py",
    ),
    Mutant(
        "a proxy's user name without a colon",
        "platform/wire.py",
        (('and ":" not in unquote(', 'and "\\0" not in unquote('),),
        "platform/test_config.py",
    ),
    Mutant(
        "IDEMPOTENCY_HEADER is none of the headers that requests set",
        "platform/values.py",
        (("if not is_free_header_name(value):", "if not is_header_name(value):"),),
        "conf/test_settings.py platform/test_config.py",
    ),
    Mutant(
        "no PROXY in front of an http address",
        "platform/config.py",
        (('if isinstance(given["proxy"], str) and plain:', "if not plain and False:"),),
        "platform/test_config.py",
    ),
    Mutant(
        "the settings are judged for contradictions",
        "conf/rules.py",
        (("    found += contradictions(values, protocol)\n", ""),),
        "conf/test_settings.py",
    ),
    Mutant(
        "events and tokens have addresses of their own",
        "platform/protocols/eventbridge/__init__.py",
        (('given["login_base_url"] + given["token_path"]:', "None:"),),
        "platform/test_config.py",
    ),
    Mutant(
        "real credentials for this machine are an error when deployed",
        "checks/settings.py",
        (('yield from _real_credentials_on_this_machine(destination, "E016")', "pass"),),
        "checks/test_settings.py",
    ),
    Mutant(
        "real credentials for this machine are a warning where DEBUG is False",
        "checks/settings.py",
        (("if not local or not secret or settings.DEBUG:", "if not local or not secret:"),),
        "checks/test_settings.py",
    ),
    Mutant(
        "the sandbox's credentials are for this machine",
        "checks/settings.py",
        (
            (
                "if not isinstance(value, Missing) and not _is_pretended(value):",
                "if secret:",
            ),
        ),
        "checks/test_settings.py",
    ),
    Mutant(
        "the sandbox answers to loopback names only",
        "sandbox/server.py",
        (('if self.server.allow_remote or is_loopback(normal_host(found["name"])):', "if found:"),),
        "sandbox/test_sandbox.py",
    ),
    Mutant(
        "the sandbox wants one Host",
        "sandbox/server.py",
        (("if len(given) != 1:", "if not given:"),),
        "sandbox/test_sandbox.py",
    ),
    Mutant(
        "the sandbox's Content-Length is short enough for int()",
        "sandbox/server.py",
        ((" and len(text) <= _LONGEST_NUMBER", ""),),
        "sandbox/test_sandbox.py",
    ),
    Mutant(
        "the sandbox takes one Content-Length",
        "sandbox/server.py",
        (("elif len(given) > 1:", "elif not given:"),),
        "sandbox/test_sandbox.py",
    ),
    Mutant(
        "the sandbox takes no broken header lines",
        "sandbox/server.py",
        (("if self.headers.defects:", "if self.close_connection and not given:"),),
        "sandbox/test_sandbox.py",
    ),
    Mutant(
        "an origin that is no URL is another site",
        "sandbox/control.py",
        (
            (
                'origin.partition("://")[2].lower() != host.lower()',
                '__import__("urllib.parse").parse.urlsplit(origin).netloc != host',
            ),
        ),
        "sandbox/test_sandbox.py",
    ),
    Mutant(
        "planned faults are bounded",
        "sandbox/faults.py",
        (("if len(planned) + times > MOST_PLANNED:", "if times > MOST_PLANNED:"),),
        "sandbox/test_sandbox.py",
    ),
    Mutant(
        "times is bounded",
        "sandbox/faults.py",
        (("if not 1 <= times <= MOST_PLANNED", "if times < 1"),),
        "sandbox/test_sandbox.py::test_a_fault_that_cannot_be_planned_is_refused",
    ),
    Mutant(
        "a control body is bounded",
        "sandbox/control.py",
        (("if request.length > _LONGEST_BODY:", "if not request:"),),
        "sandbox/test_sandbox.py",
    ),
    Mutant(
        "an event for the sandbox is not too deep to be shown",
        "sandbox/validation.py",
        (("if _is_deep(value):", "if not value and _is_deep(value):"),),
        "sandbox/test_sandbox.py",
    ),
    Mutant(
        "true is no number for the sandbox",
        "sandbox/options.py",
        ((" and not isinstance(value, bool)", ""),),
        "sandbox/test_sandbox.py",
    ),
    Mutant(
        "the sandbox's webhook takes its own token only",
        "sandbox/intake.py",
        (("if token_in(request.path) == options.webhook_token:", "if token_in(request.path):"),),
        "sandbox/test_webhook.py",
    ),
    Mutant(
        "the token in the path of a webhook is masked",
        "sandbox/webhook.py",
        (("    if below:", "    if below and not above:"),),
        "sandbox/test_webhook.py",
    ),
    Mutant(
        "the sandbox's token is masked in any path",
        "sandbox/webhook.py",
        (
            (
                'return "/".join(_MASK if segment == token else segment for segment in path.split("/"))',
                "return path",
            ),
        ),
        "sandbox/test_webhook.py",
    ),
    Mutant(
        "the sandbox's token is masked where an id is expected",
        "sandbox/ledger.py",
        (("remote_id=masked(remote_id, webhook_token)", "remote_id=remote_id"),),
        "sandbox/test_webhook.py",
    ),
    Mutant(
        "the repr of the sandbox's options hides the webhook's token",
        "sandbox/options.py",
        (("field(default=WEBHOOK_TOKEN, repr=False)", "WEBHOOK_TOKEN"),),
        "sandbox/test_sandbox.py",
    ),
    Mutant(
        "the sandbox's webhook token is one segment of a path",
        "sandbox/options.py",
        ((' and token.strip(".")', ""),),
        "sandbox/test_sandbox.py",
    ),
    Mutant(
        "an invocation of a webhook has no status",
        "sandbox/platform.py",
        (("traceable=intake.traceable", "traceable=True"),),
        "sandbox/test_webhook.py",
    ),
    Mutant(
        "the sandbox serves the endpoints of its protocol only",
        "sandbox/platform.py",
        (('return endpoint if endpoint in options.protocol.endpoints else "other"', "return endpoint"),),
        "sandbox/test_webhook.py",
    ),
    Mutant(
        "faults are planned where the sandbox answers",
        "sandbox/app.py",
        (("if on not in endpoints:", "if not on:"),),
        "sandbox/test_webhook.py",
    ),
    Mutant(
        "an attribute in a header is valid UTF-8",
        "sandbox/webhook.py",
        (('unquote(value, errors="strict")', "unquote(value)"),),
        "sandbox/test_webhook.py",
    ),
    Mutant(
        "the sandbox's page shows no other headers than those of the event",
        "sandbox/webhook.py",
        (
            (
                "return {name: value for name, value in request.headers.items() if name.startswith(_PREFIX)}",
                "return dict(request.headers)",
            ),
        ),
        "sandbox/test_webhook.py",
    ),
    Mutant(
        "a page of the sidebar needs the permission to view events",
        "admin/menu.py",
        (("self._events.has_view_permission(request)", "True"),),
        "admin/test_menu.py",
    ),
    Mutant(
        "a site without events has no pages about them",
        "admin/menu.py",
        (("self.admin_site.is_registered(OutboxEvent) and ", ""),),
        "admin/test_menu.py",
    ),
    Mutant(
        "a page of the sidebar shows no rows",
        "admin/menu.py",
        (("name=name)]", "name=name), *super().get_urls()]"),),
        "admin/test_menu.py",
    ),
    Mutant(
        "the catalogue's page needs the permission to view events",
        "admin/catalogue.py",
        (("if not self.has_view_permission(request):", "if not request.user.is_staff:"),),
        "admin/test_permissions.py",
    ),
    Mutant(
        "the catalogue's page counts a bounded number of events",
        "admin/catalogue.py",
        (('values_list("type", "id")[:COUNTED]', 'values_list("type", "id")'),),
        "admin/test_catalogue.py",
    ),
    Mutant(
        "a registered type is not one of enqueue() as well",
        "model_events/catalogue.py",
        ((" in declared if (type_, alias) not in known]", " in declared]"),),
        "model_events/test_catalogue.py",
    ),
    Mutant(
        "the hour that clocks repeat keeps the name of its zone",
        "formatting.py",
        (
            (
                '(local.tzinfo or timezone.get_default_timezone()).tzname(local) or ""',
                'date_format(local, "T")',
            ),
        ),
        "test_formatting.py",
    ),
    Mutant(
        "two times in different zones name both",
        "formatting.py",
        (("if zone(first) != zone(last):", "if not first:"),),
        "test_formatting.py",
    ),
    Mutant(
        "an attribute in a header is ASCII",
        "sandbox/webhook.py",
        (("if not value.isascii():", "if not value:"),),
        "sandbox/test_webhook.py",
    ),
    Mutant(
        "a destination of a name that no database stores is a 404",
        "admin/destinations.py",
        (("if not is_storable(name):", "if not name:"),),
        "operations/test_unstorable.py",
        "postgresql",
    ),
    Mutant(
        "an event of a name that no database stores is not found",
        "management/arguments.py",
        (("rows.filter(_names(text)) if is_storable(text) else rows.none()", "rows.filter(_names(text))"),),
        "operations/test_unstorable.py",
    ),
    Mutant(
        "an event type that no database stores has no events",
        "selection/filters.py",
        (("if not all(map(is_storable, self._texts())):", "if False:"),),
        "operations/test_unstorable.py",
    ),
    Mutant(
        "the time of an event is finer than its text",
        "cloudevents/timestamps.py",
        (("at.microsecond // 1000 * 1000", "at.microsecond"),),
        "cloudevents/test_timestamps.py",
    ),
    Mutant(
        "the content digest covers the id",
        "cloudevents/__init__.py",
        (('ours = {"specversion", "id", *without} if', 'ours = {"specversion", *without} if'),),
        "cloudevents/test_events.py",
    ),
    Mutant(
        "the UTC clock, MariaDB",
        "db/clock.py",
        (("UTC_TIMESTAMP(6)", "NOW(6)"),),
        "db/test_clock.py",
        "mysql",
    ),
    Mutant(
        "the clock in the zone that Django reads",
        "db/clock.py",
        (("    moved += offset.total_seconds() if offset else 0.0\n", ""),),
        "db/test_clock.py",
        "mysql",
    ),
    Mutant(
        "a relation to many is no object in the catalogue",
        "model_events/shapes.py",
        (("    return bool(link.one_to_many or link.many_to_many)", "    return False"),),
        "model_events/test_shapes.py",
    ),
    Mutant(
        "a nullable relation in the catalogue",
        "model_events/shapes.py",
        (("    return link.null or not certain", "    return not certain"),),
        "model_events/test_shapes.py",
    ),
    Mutant(
        "a row that a base manager hides in the catalogue",
        "model_events/shapes.py",
        ((" and type(link.related_model._base_manager) is Manager", ""),),
        "model_events/test_shapes.py",
    ),
    Mutant(
        "null on the way to a value in the catalogue",
        "model_events/shapes.py",
        (("nullable=shape.nullable or _may_be_missing(link))", "nullable=shape.nullable)"),),
        "model_events/test_shapes.py",
    ),
    Mutant(
        "an empty file in the catalogue",
        "model_events/shapes.py",
        (("(models.GeneratedField, models.FileField))", "models.GeneratedField)"),),
        "model_events/test_shapes.py",
    ),
    Mutant(
        "a field with conversions of its own in the catalogue",
        "model_events/shapes.py",
        (("return base if same else object", "return base"),),
        "model_events/test_shapes.py",
    ),
    Mutant(
        "an example that the user's schema refuses",
        "model_events/catalogue.py",
        (
            (
                "if all(schemas.fits(schema, type_, one, origin) for schema, origin in rules)",
                "if one is not None",
            ),
        ),
        "model_events/test_shapes.py",
    ),
    Mutant(
        "a declared schema is not used at enqueue",
        "outbox/declarations.py",
        (
            (
                "if schema is not None and (event.type in settings.schemas or",
                "if schema is not None and event.type in settings.schemas and (",
            ),
        ),
        "outbox/test_declarations.py",
    ),
    Mutant(
        "a type is declared twice in different ways",
        "outbox/declarations.py",
        (("    if known != declaration:", "    if known is None:"),),
        "outbox/test_declarations.py",
    ),
    Mutant(
        "the caller changes a declared schema later",
        "outbox/declarations.py",
        (("json.loads(json.dumps(dict(schema), allow_nan=False))", "dict(schema)"),),
        "outbox/test_declarations.py",
    ),
    Mutant(
        "an example that its declared schema refuses passes the check",
        "checks/declarations.py",
        (("    if wrong:", "    if not wrong and one.example is None:"),),
        "outbox/test_declarations.py",
    ),
    Mutant(
        "a removed field breaks no consumer",
        "model_events/contract/comparison.py",
        (('Change(True, member, "is gone', 'Change(False, member, "is gone'),),
        "model_events/contract/test_comparison.py",
    ),
    Mutant(
        "null where there was none breaks no consumer",
        "model_events/contract/comparison.py",
        (('Change(True, path, "may be null now"', 'Change(False, path, "may be null now"'),),
        "model_events/contract/test_comparison.py",
    ),
    Mutant(
        "a narrowed enum breaks no consumer",
        "model_events/contract/comparison.py",
        (("if gone := [value", "if gone := [] and [value"),),
        "model_events/contract/test_comparison.py",
    ),
    Mutant(
        "a widened enum breaks no consumer",
        "model_events/contract/comparison.py",
        (("if added := [value", "if added := [] and [value"),),
        "model_events/contract/test_comparison.py",
    ),
    Mutant(
        "a longer text breaks no consumer",
        "model_events/contract/comparison.py",
        (("(name in _UPPER and new < old)", "name in _UPPER"),),
        "model_events/contract/test_comparison.py",
    ),
    Mutant(
        "the check after a pause always asks for the oldest event",
        "outbox/claim.py",
        (("if publishing else _to_check(settings, rows, read)", "if publishing else read(rows)"),),
        "simulation/test_probes.py::test_events_that_the_platform_has_forgotten_do_not_keep_others_unconfirmed",
    ),
    Mutant(
        "Django cannot name the callback of a commit",
        "db/transactions.py",
        (
            (
                "transaction.on_commit(call, using",
                "transaction.on_commit(functools.partial(function, *arguments), using",
            ),
        ),
        "db/test_transactions.py",
    ),
    Mutant(
        "a destination that is no text raises a TypeError",
        "conf/__init__.py",
        (("    if not isinstance(alias, str):\n", "    if False:\n"),),
        "outbox/test_enqueue.py",
    ),
    Mutant(
        "a retry that skips events of a destination that is gone needs no operator",
        "management/retry.py",
        (("{Skip.MAY_DUPLICATE, Skip.NOT_CONFIGURED}", "{Skip.MAY_DUPLICATE}"),),
        "management/test_retry.py",
    ),
    Mutant(
        "accepted events are said to be sent later",
        "management/draining.py",
        (('if done.kind is AttemptKind.PUBLISH else "checked later"', 'if done.kind else "checked later"'),),
        "management/test_publish.py",
    ),
    Mutant(
        "a worker is woken for a destination that is gone",
        "wake.py",
        (("    if destination not in conf.aliases():\n        return\n", ""),),
        "operations/test_pauses.py",
    ),
    Mutant(
        "an event that was not sent yet is said to have failed again",
        "management/follow.py",
        (("        if is_untried:\n", "        if False:\n"),),
        "management/test_retry.py",
    ),
    Mutant(
        "an alternative that changed is compared with any there was",
        "model_events/contract/comparison.py",
        (("    while former and current:\n", "    while False:\n"),),
        "management/test_contract.py::test_a_change_of_one_of_two_models_with_the_same_type_is_found",
    ),
    Mutant(
        "what stands beside changed alternatives is not compared",
        "model_events/contract/comparison.py",
        (("return [_both(beside, _mapping(one)) for", "return [_mapping(one) for"),),
        "model_events/contract/test_comparison.py",
    ),
    Mutant(
        "a retry is proposed for unresolved events that it skips",
        "reporting/problems.py",
        (("if state is State.UNRESOLVED and not honours_key:", "if False:"),),
        "reporting/test_status.py management/test_publish.py",
    ),
    Mutant(
        "the end of the input is not a no",
        "management/base.py",
        (("        except EOFError:  # Ctrl-D\n", "        except KeyError:\n"),),
        "management/test_common.py",
    ),
    Mutant(
        "a removed type is not reported",
        "model_events/contract/check.py",
        (
            (
                "    for destination, type_ in sorted({*old, *new})",
                "    for destination, type_ in sorted(new)",
            ),
        ),
        "management/test_contract.py",
    ),
    Mutant(
        "a breaking change ends with 0",
        "management/commands/eventbridge_catalogue.py",
        (("        if breaking:", "        if breaking < 0:"),),
        "management/test_contract.py",
    ),
    Mutant(
        "references of a declared schema lead to the top of the document",
        "model_events/contract/embedding.py",
        (("result[name] = pointer + value[1:]", "result[name] = value"),),
        "model_events/contract/test_documents.py",
    ),
    Mutant(
        "each event's own source is promised to be the same",
        "model_events/contract/envelope.py",
        (("len(found) == 1 and not any(entry.source_varies for entry in self.entries)", "len(found) == 1"),),
        "model_events/contract/test_documents.py",
    ),
    Mutant(
        "the token of a webhook is in the AsyncAPI document",
        "platform/protocols/webhook.py",
        (('address=_PATH.format("{token}"),', "address=_PATH.format(self.webhook_token),"),),
        "model_events/contract/test_documents.py",
    ),
    Mutant(
        "an impossible choice of the HTTP library is ignored",
        "client/http.py",
        (('if _wanted not in ("", "httpx", "httpx2"):', "if _wanted is None:"),),
        "client/test_http.py",
    ),
    Mutant(
        "an event is written into a transaction that has ended",
        "outbox/__init__.py",
        (("        require_intact(alias, _NOT_ENQUEUED)\n        yield\n", "        yield\n"),),
        "db/test_transactions.py",
    ),
    Mutant(
        "no look at the transaction after the event was written",
        "outbox/__init__.py",
        (("        yield\n        require_intact(alias, _NOT_ENQUEUED)\n", "        yield\n"),),
        "db/test_transactions.py",
        "mysql",
    ),
    Mutant(
        "kept transactions do not ask whether they are intact",
        "db/transactions.py",
        (("    require_intact(alias, what)\n    if", "    if"),),
        "db/test_transactions.py",
        "mysql",
    ),
    Mutant(
        "kept transactions may only be rolled back",
        "db/transactions.py",
        (("    if transaction.get_rollback(alias):", "    if False:"),),
        "db/test_transactions.py",
    ),
    Mutant(
        "a refusal that is caught lets the rest of the block commit",
        "db/transactions.py",
        (("    if connection.in_atomic_block:\n        connection.set_rollback(True)\n", ""),),
        "db/test_transactions.py",
        "mysql",
    ),
    Mutant(
        "lost transactions are not noted on MySQL",
        "db/transactions.py",
        (('{"mysql", "sqlite"}', '{"sqlite"}'),),
        "db/test_transactions.py",
        "mysql",
    ),
    Mutant(
        "lost transactions are not noted on SQLite",
        "db/transactions.py",
        (('{"mysql", "sqlite"}', '{"mysql"}'),),
        "db/test_transactions.py",
    ),
    Mutant(
        "SQLite is not asked",
        "db/transactions.py",
        (("    if error is None and not _sqlite_has_ended(connection):", "    if error is None:"),),
        "model_events/test_transactions.py",
    ),
    Mutant(
        "PostgreSQL is not asked",
        "db/transactions.py",
        (("in {_INERROR, _UNKNOWN}", "in {_UNKNOWN}"),),
        "db/test_transactions.py",
        "postgresql",
    ),
    Mutant(
        "a note outlives its transaction",
        "db/transactions.py",
        (("        if not connection.errors_occurred:\n            self._error = None\n", ""),),
        "db/test_transactions.py",
        "mysql",
    ),
    Mutant(
        "a later error revives an old note",
        "db/transactions.py",
        (
            (
                '        connection = context["connection"]\n        self.error(connection)\n',
                '        connection = context["connection"]\n',
            ),
            ("        self._watch.error(self._connection)\n", ""),
        ),
        "db/test_transactions.py",
        "mysql",
    ),
    Mutant(
        "an integrity error on SQLite leaves no note",
        "db/transactions.py",
        (("            connection.errors_occurred = True\n", ""),),
        "db/test_transactions.py",
    ),
    Mutant(
        "a lock timeout counts as a lost transaction",
        "db/transactions.py",
        (("            return self._rolled_back_on_timeout(connection)\n", "            return True\n"),),
        "db/test_transactions.py",
        "mysql",
    ),
    Mutant(
        "a conflict about a key is the database's own error",
        "outbox/__init__.py",
        (("        if not is_conflict(error):\n            raise\n", "        raise\n"),),
        "db/test_transactions.py",
        "mysql",
    ),
    Mutant(
        "a conflict about a key does not mark the block for rollback",
        "outbox/__init__.py",
        (("            transaction.set_rollback(True, using=alias)\n", "            pass\n"),),
        "db/test_transactions.py",
        "postgresql",
    ),
    Mutant(
        "a delay in milliseconds",
        "outbox/rows.py",
        (("    if seconds > LONGEST_WAIT:", "    if False:"),),
        "outbox/test_enqueue.py",
    ),
    Mutant(
        "a job is moved on without its claim",
        "operations/jobs.py",
        (("if job.claim_token != token or job.state != JobState.QUEUED:", "if False:"),),
        "operations/test_jobs.py",
    ),
    Mutant(
        "a job lists events that are created later",
        "operations/jobs.py",
        (("id__gt=last, id__lte=newest)", "id__gt=last)"), ("while last < newest:", "while True:")),
        "operations/test_jobs.py",
    ),
    Mutant(
        "a resumed job begins again",
        "operations/jobs.py",
        (
            (
                "update(claim_token=token, due_at=DatabaseNow(LEASE)))",
                "update(claim_token=token, position=0, due_at=DatabaseNow(LEASE)))",
            ),
            (', outcome__in=["", WAITS])', ")"),
        ),
        "operations/test_jobs.py",
    ),
    Mutant(
        "a batch does not renew the lease",
        "operations/jobs.py",
        (('job.due_at, job.last_error = DatabaseNow(LEASE), ""', 'job.last_error = ""'),),
        "operations/test_jobs.py",
    ),
    Mutant(
        "a job takes another worker's lease",
        "operations/jobs.py",
        (
            (
                "filter(state=JobState.QUEUED, due_at__lte=NOW)\n    if pk",
                "filter(state=JobState.QUEUED)\n    if pk",
            ),
        ),
        "operations/test_jobs.py",
    ),
    Mutant(
        "a form submitted twice makes two jobs",
        "operations/jobs.py",
        (('"key": order.key,', '"key": uuid.uuid4(),'),),
        "operations/test_jobs.py",
    ),
    Mutant(
        "a spread begins when the worker comes",
        "operations/jobs.py",
        (("share - passed", "share"),),
        "operations/test_jobs.py",
    ),
    Mutant(
        "retry sends everything that is due",
        "management/follow.py",
        (("stop=stop, only=page)", "stop=stop)"),),
        "management/test_retry.py",
    ),
    Mutant(
        "a job filter that means nothing means all events",
        "admin/filters.py",
        (
            (
                "return [] if given is None else [(given,",
                "return [] if not given or not given[0].isdigit() else [(given,",
            ),
        ),
        "admin/test_jobs.py",
    ),
    Mutant(
        "copies of a job have ids that follow from it",
        "operations/copies.py",
        (("event_id=uuid.uuid5(key, origin.event_id)", "event_id=uuid.uuid4()"),),
        "operations/test_copies.py",
    ),
    Mutant(
        "what is not accepted is not replayed",
        "operations/copies.py",
        (("    if origin.state not in states:", "    if False:"),),
        "operations/test_copies.py",
    ),
    Mutant(
        "a blanked body is not copied",
        "operations/copies.py",
        (("        return Skip.BLANKED", "        return Skip.INVALID"),),
        "operations/test_copies.py",
    ),
    Mutant(
        "an interrupted replay makes no burst",
        "operations/copies.py",
        (("if step and (last := _last_due(batch)) is not None:", "if False:"),),
        "operations/test_copies.py",
    ),
    Mutant(
        "only what was never sent is withdrawn",
        "operations/choices.py",
        (("if never_sent and (", "if False and ("),),
        "operations/test_copies.py",
    ),
    Mutant(
        "a correction is made once per form",
        "operations/corrections.py",
        (("if (known := made_before(origin, once)) is not None:", "if False:"),),
        "operations/test_corrections.py",
    ),
    Mutant(
        "only a dead event is corrected",
        "operations/corrections.py",
        (("    if origin.state != State.DEAD:", "    if False:"),),
        "operations/test_corrections.py",
    ),
    Mutant(
        "unfinished events are erased only if asked for",
        "operations/erasure.py",
        (("return action if cancel else Skip.UNFINISHED", "return action"),),
        "operations/test_erasure.py",
    ),
    Mutant(
        "an erasure takes the differences of corrections along",
        "operations/erasure.py",
        (("            with_details.add(origin)", "            pass"),),
        "operations/test_erasure.py",
    ),
    Mutant(
        "an erasure takes along what was made of its events meanwhile",
        "operations/erasure.py",
        (
            ("    job.total += len(new)", "    new.clear()"),
            ("for pk, _origin in new\n", "for pk, _origin in []\n"),
        ),
        "operations/test_erasure.py",
    ),
    Mutant(
        "what a correction made of one person's event may be another's",
        "operations/erasure.py",
        (("    if new and same_data:", "    if False:"),),
        "operations/test_erasure.py",
    ),
    Mutant(
        "a job does not end before the events that joined it late",
        "operations/jobs.py",
        (("        over, job.position = False, added - 1", "        pass"),),
        "operations/test_erasure.py",
    ),
    Mutant(
        "retention takes the differences of corrections along",
        "outbox/retention.py",
        (("    acts.update(details=None)\n", ""),),
        "outbox/test_retention.py",
    ),
    Mutant(
        "a mask in the data of a command stands for the hidden value",
        "management/commands/eventbridge_resend.py",
        (("return restored(given, origin.data, redact_keys(origin.destination))", "return given"),),
        "management/test_replaying.py",
    ),
    Mutant(
        "a time that some time zone has not is refused",
        "formatting.py",
        (("    return dt.MINYEAR < when.year < dt.MAXYEAR", "    return True"),),
        "admin/test_hostile.py management/test_common.py",
    ),
    Mutant(
        "the audit is filtered by its own filters only",
        "admin/jobs.py",
        (("return lookup in {one.parameter_name for one in self.list_filter}", "return True"),),
        "admin/test_hostile.py",
    ),
    Mutant(
        "an erasure takes the data out of reasons",
        "operations/persons.py",
        (("        prepare=partial(_clear_texts, person.data),\n", ""),),
        "operations/test_erasure.py",
    ),
    Mutant(
        "a reason to erase does not hold the data",
        "operations/persons.py",
        (("    if mention([person.data]).search(kept):", "    if False:"),),
        "operations/test_erasure.py",
    ),
    Mutant(
        "a value in the data is found at its path only",
        "operations/persons.py",
        (("matches=person.matches if person.path else None", "matches=None"),),
        "operations/test_erasure.py",
    ),
    Mutant(
        "a person is identified by exactly one thing",
        "operations/persons.py",
        (("self.path or self.value))) != 1:", "self.path or self.value))) > 1:"),),
        "operations/test_erasure.py",
    ),
    Mutant(
        "a hidden value stays with its item",
        "text/differences.py",
        (
            (
                "in_place = len(given) == len(known) and not any(",
                "in_place = len(given) <= len(known) or not any(",
            ),
        ),
        "text/test_differences.py",
    ),
    Mutant(
        "a correction is sent as it was shown",
        "admin/corrections.py",
        (('form.is_valid() and form.cleaned_data["seen"] == form.digest', "form.is_valid()"),),
        "admin/test_corrections.py",
    ),
    Mutant(
        "a misspelt model of an erasure is named",
        "operations/persons.py",
        (("    person.require_model()\n", ""),),
        "operations/test_erasure.py",
    ),
    Mutant(
        "events of a removed model can be erased",
        "operations/persons.py",
        ((" and not self.rows().exists():", ":"),),
        "operations/test_erasure.py",
    ),
    Mutant(
        "an erasure by a proxy erases what its model's would",
        "operations/persons.py",
        (("(model._meta.concrete_model or model)._meta.label_lower", "model._meta.label_lower"),),
        "operations/test_erasure.py",
    ),
    Mutant(
        "an erasure erases what was counted",
        "admin/erasure.py",
        (('if given["seen"] == form.digest:', "if True:"),),
        "admin/test_erasure.py",
    ),
    Mutant(
        "who corrects data may see it",
        "admin/permissions.py",
        (
            (
                'may(request, "correct_event") and self.has_payload_permission(request)',
                'may(request, "correct_event")',
            ),
        ),
        "admin/test_corrections.py",
    ),
    Mutant(
        "a spread in milliseconds",
        "operations/jobs.py",
        (("        if not 0 <= order.options.get(name, 0.0) <= LONGEST_WAIT:", "        if False:"),),
        "operations/test_operations.py",
    ),
    Mutant(
        "a pause in milliseconds",
        "operations/pauses.py",
        (("0 < seconds <= LONGEST_WAIT", "0 < seconds < 1e300"),),
        "operations/test_pauses.py",
    ),
    Mutant(
        "a time that no zone can express",
        "outbox/rows.py",
        (("    if not _FIRST_DAY <= occurred_at < _LAST_DAY:", "    if False:"),),
        "outbox/test_enqueue.py",
    ),
    Mutant(
        "a row whose key the outbox cannot store is not saved",
        "model_events/events.py",
        (("row if can_be_linked(row) else None", "row"),),
        "model_events/test_good_guest.py",
    ),
    Mutant(
        "tasks run in a zone whose clocks change",
        "tasks.py",
        (('            require_steady_zone(outbox_alias(), "nothing is sent")\n', ""),),
        "db/test_clock.py",
    ),
    Mutant(
        "an object without a primary key",
        "outbox/rows.py",
        (("    if key is None or (isinstance(key, tuple) and None in key):", "    if False:"),),
        "outbox/test_enqueue.py",
    ),
    Mutant(
        "the first event of a batch decides whether any is delayed",
        "outbox/rows.py",
        (("    delayed = any(map(_is_delayed, rows))", "    delayed = _is_delayed(rows[0])"),),
        "outbox/test_inserts.py",
    ),
    Mutant(
        "the first event of a batch decides whether any is delayed, PostgreSQL",
        "outbox/rows.py",
        (("    delayed = any(map(_is_delayed, rows))", "    delayed = _is_delayed(rows[0])"),),
        "outbox/test_inserts.py",
        "postgresql",
    ),
    Mutant(
        "a new row has other values than the model's defaults",
        "outbox/rows.py",
        (("field.get_default() for field", "None for field"),),
        "outbox/test_inserts.py",
    ),
    Mutant(
        "events get the time at which their transaction began",
        "db/clock.py",
        (('return "STATEMENT_TIMESTAMP()"', 'return "NOW()"'),),
        "outbox/test_inserts.py",
        "postgresql",
    ),
    Mutant(
        "a shifted clock does not move the time of an event, SQLite",
        "db/clock.py",
        (
            (
                'if seconds == "0" and not moved:\n        return "STRFTIME',
                'if seconds == "0":\n        return "STRFTIME',
            ),
        ),
        "outbox/test_inserts.py",
        "sqlite",
    ),
    Mutant(
        "an object with a primary key that the column cannot hold",
        "outbox/rows.py",
        (("    if len(text) > _WIDTH or not is_storable(text):", "    if False:"),),
        "outbox/test_enqueue.py",
    ),
    Mutant(
        "a time that the driver cannot read",
        "db/fields.py",
        (('if compiler.connection.vendor != "postgresql":', "if True:"),),
        "relay/test_unreadable_times.py",
        "postgresql",
    ),
    Mutant(
        "another project's destination is an orphan",
        "outbox/orphans.py",
        (("self._known[alias] = not is_served(seen, now, self._quiet)", "self._known[alias] = True"),),
        "outbox/test_orphans.py",
    ),
    Mutant(
        "what another organisation may have taken is moved",
        "operations/choices.py",
        (("        if same_organisation or not _may_be_known(row):", "        if True:"),),
        "outbox/test_orphans.py",
    ),
    Mutant(
        "a move makes a delayed event due",
        "operations/bulk.py",
        (('(F("due_at") if chosen.keeps_due else due)', "due"),),
        "outbox/test_orphans.py",
    ),
    Mutant(
        "a moved dead event is announced again",
        "operations/bulk.py",
        ((" and row.state is not state]", "]"),),
        "outbox/test_orphans.py",
    ),
    Mutant(
        "a moved event keeps the proof of its old destination",
        "operations/choices.py",
        (('"remote_key": None, "doubt_about": None}', '"doubt_about": None}'),),
        "outbox/test_orphans.py",
    ),
    Mutant(
        "an orphan is sent again without a move",
        "operations/choices.py",
        (("                if orphan:\n                    return Skip.NOT_CONFIGURED\n", ""),),
        "outbox/test_orphans.py",
    ),
    Mutant(
        "accepted events of any destination can be cancelled",
        "operations/choices.py",
        (("(row.state is State.ACCEPTED and row.destination in orphans)", "row.state is State.ACCEPTED"),),
        "outbox/test_orphans.py operations/test_operations.py",
    ),
    Mutant(
        "retention of another project's events",
        "outbox/retention.py",
        (("orphans.orphans(FORSAKEN)", "destinations_left.left()"),),
        "outbox/test_retention.py",
    ),
    Mutant(
        "another project's destination is judged",
        "reporting/problems.py",
        (("at.undelivered and not at.served and", "at.undelivered and"),),
        "reporting/test_status.py outbox/test_orphans.py",
    ),
    Mutant(
        "a destination that is gone alarms for ever",
        "reporting/problems.py",
        ((" and not at.held:", ":"),),
        "reporting/test_status.py outbox/test_orphans.py",
    ),
    Mutant(
        "a migration waits for a report",
        "db/online_migrations.py",
        (("    before = _lower(connection)\n", "    before = None\n"),),
        "db/test_online_migrations.py::test_a_report_makes_it_give_up_and_not_the_saves",
        "postgresql",
    ),
    Mutant(
        "a migration lengthens the limit of its session",
        "db/online_migrations.py",
        (("    if 0 < before <= wanted:\n        return None\n", ""),),
        "db/test_online_migrations.py::test_a_shorter_limit_of_the_session_stays",
        "postgresql",
    ),
    Mutant(
        "a migration leaves its limit to the session",
        "db/online_migrations.py",
        (("    if before is not None:\n", "    if False:\n"),),
        "db/test_online_migrations.py::test_the_limit_of_the_session_is_the_same_afterwards",
        "mysql",
    ),
    Mutant(
        "a column that a failed migration added",
        "db/online_migrations.py",
        (('if connection.vendor == "mysql" and', 'if connection.vendor == "none" and'),),
        "db/test_online_migrations.py::test_a_migration_that_failed_half_way_can_be_run_again",
        "mysql",
    ),
    Mutant(
        "an interrupted build of a replaced index",
        "db/online_migrations.py",
        (('schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {temporary}")', "..."),),
        "db/test_indexes.py",
        "postgresql",
    ),
    Mutant(
        "PostgreSQL leaves out empty texts",
        "db/indexes.py",
        (
            (
                """    def is_partial(self, connection: BaseDatabaseWrapper) -> bool:
        return connection.vendor == "postgresql\"""",
                """    def is_partial(self, connection: BaseDatabaseWrapper) -> bool:
        return False""",
            ),
        ),
        "db/test_indexes.py",
        "postgresql",
    ),
    Mutant(
        "delivered rows are in no index",
        "db/indexes.py",
        (
            (
                """    def exists_on(self, connection: BaseDatabaseWrapper) -> bool:
        return connection.vendor == "postgresql\"""",
                """    def exists_on(self, connection: BaseDatabaseWrapper) -> bool:
        return False""",
            ),
        ),
        "db/test_indexes.py",
        "postgresql",
    ),
    Mutant(
        "delivered rows are among those that are due",
        "db/indexes.py",
        (("<> '{State.DELIVERED.value}'", "<> ''"),),
        "db/test_indexes.py",
        "postgresql",
    ),
    Mutant(
        "the index of due events is split in the middle",
        "db/indexes.py",
        (('f"-{state}"', "state"),),
        "db/test_indexes.py",
        "postgresql",
    ),
    Mutant(
        "states of two indexes are asked for in one list",
        "models.py",
        (("    if not others or len(others) == len(states):\n", "    if True:\n"),),
        "db/test_indexes.py",
        "postgresql",
    ),
    Mutant(
        "delivered rows are forgotten among several states",
        "models.py",
        ((" | Q(state=State.DELIVERED)", ""),),
        "db/test_indexes.py",
    ),
    Mutant(
        "statuses of successes are looked for in an index",
        "selection/status_codes.py",
        (("or code >= 300", "or code > 0"),),
        "selection/test_filters.py",
    ),
    Mutant(
        "the index of a foreign key holds rows without one",
        "db/online_migrations.py",
        (("for kind in (models.Index, SparseIndex))", "for kind in (models.Index, models.Index))"),),
        "db/test_indexes.py",
        "postgresql",
    ),
    Mutant(
        "pages without room for updates",
        "db/online_migrations.py",
        (('f"SET (fillfactor = {self.percent})"', '"SET (fillfactor = 100)"'),),
        "db/test_indexes.py",
        "postgresql",
    ),
    Mutant(
        "pages keep their room when the migration is taken back",
        "db/online_migrations.py",
        (('"RESET (fillfactor)"', 'f"SET (fillfactor = {self.percent})"'),),
        "db/test_indexes.py",
        "postgresql",
    ),
    Mutant(
        "rows ahead are found by the index of keys",
        "models.py",
        (('.exclude(ordering_key="")  # for the index', "  # for the index"),),
        "db/test_indexes.py",
        "postgresql",
    ),
    Mutant(
        "rows behind are found by the index of keys",
        "outbox/followers.py",
        (('.exclude(ordering_key="")  # for the index', "  # for the index"),),
        "db/test_indexes.py",
        "postgresql",
    ),
    Mutant(
        "neighbours are found by the index of keys",
        "admin/event_detail.py",
        (('.exclude(ordering_key="")  # for the index', "  # for the index"),),
        "db/test_indexes.py",
        "postgresql",
    ),
    Mutant(
        "an interrupted build of a unique index",
        "db/online_migrations.py",
        (('schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")', "..."),),
        "db/test_online_migrations.py::TestAddUnique",
        "postgresql",
    ),
    Mutant(
        "a unique index is built while saves wait",
        "db/online_migrations.py",
        (("CREATE UNIQUE INDEX CONCURRENTLY", "CREATE UNIQUE INDEX"),),
        "db/test_online_migrations.py::test_sqlmigrate_shows_on_postgresql_what_keeps_it_short",
        "postgresql",
    ),
    Mutant(
        "the squashed migration makes another unique index",
        "db/online_migrations.py",
        (('elif vendor == "sqlite"', 'elif vendor == "none"'),),
        "test_upgrade.py::TestTheSquashedMigration",
    ),
    Mutant(
        "the squashed migration makes another index",
        "migrations/0001_squashed_0007_leases.py",
        (('fields=["in_doubt_since"]', 'fields=["in_doubt_since", "id"]'),),
        "test_upgrade.py::TestTheSquashedMigration",
    ),
    Mutant(
        "the squashed migration makes another default",
        "migrations/0001_squashed_0007_leases.py",
        (("db_default=60", "db_default=0"),),
        "test_upgrade.py::TestTheSquashedMigration",
        "postgresql",
    ),
    Mutant(
        "the squashed migration takes less",
        "migrations/0001_squashed_0007_leases.py",
        (('help_text="Who paused it.", max_length=150', 'help_text="Who paused it.", max_length=100'),),
        "test_upgrade.py::TestTheSquashedMigration",
        "mysql",
    ),
    Mutant(
        "a database that has applied some of the old migrations",
        "checks/database.py",
        (("if 0 < len(applied) < len(squashed.replaces):", "if False:"),),
        "test_upgrade.py::TestADatabaseThatHasAppliedSomeOfTheSeven",
    ),
    Mutant(
        "workers run in a zone whose clocks change",
        "relay/__init__.py",
        (('    require_steady_zone(outbox_alias(), "Nothing is sent")\n', ""),),
        "db/test_clock.py",
    ),
    Mutant(
        "a loop is started in a zone whose clocks change",
        "management/base.py",
        (('                require_steady_zone(outbox_alias(), f"{self.name} does nothing")\n', ""),),
        "db/test_clock.py",
    ),
    Mutant(
        "a zone whose clocks change hinders migrate",
        "checks/settings.py",
        (("    if zone and not is_migrating():", "    if zone:"),),
        "checks/test_settings.py",
    ),
    Mutant(
        "a zone whose clocks will change",
        "db/clock.py",
        (("    return len(offsets) > 1", "    return False"),),
        "db/test_clock.py checks/test_settings.py",
    ),
    Mutant(
        "a row under a repeated key is locked",
        "outbox/__init__.py",
        (
            (
                "stored.filter(idempotency_key__in=keys)}",
                "stored.filter(idempotency_key__in=keys).select_for_update()}",
            ),
        ),
        "outbox/test_repeated_keys.py",
        "postgresql",
    ),
    Mutant(
        "an insert meets the index entry of a repeated key",
        "outbox/__init__.py",
        (('.vendor == "mysql" and', '.vendor == "none" and'),),
        "outbox/test_repeated_keys.py",
        "mysql",
    ),
    Mutant(
        "a taken event id may be free at the next try",
        "outbox/__init__.py",
        (("in self._by_event:", "in ():"),),
        "outbox/test_repeated_keys.py",
    ),
    Mutant(
        "one event id twice in a list",
        "outbox/__init__.py",
        (("if events.setdefault((known.event_id, known.source), known) is not known:", "if False:"),),
        "outbox/test_repeated_keys.py",
    ),
    Mutant(
        "no second look after an insert that failed",
        "outbox/__init__.py",
        (
            (
                "            _known_and_new(rows, named, alias)  # raises a more precise error, if it can\n",
                "",
            ),
        ),
        "outbox/test_repeated_keys.py",
    ),
    Mutant(
        "publishing in a transaction",
        "relay/__init__.py",
        (('    refuse_in_transaction(outbox_alias(), "publish_due() publishes nothing")\n', ""),),
        "db/test_transactions.py",
    ),
    Mutant(
        "both side by side in a transaction",
        "relay/__init__.py",
        (('    refuse_in_transaction(outbox_alias(), "serve() sends nothing")\n', ""),),
        "db/test_transactions.py",
    ),
    Mutant(
        "checking in a transaction",
        "relay/__init__.py",
        (('    refuse_in_transaction(outbox_alias(), "check_accepted() checks nothing")\n', ""),),
        "db/test_transactions.py",
    ),
    Mutant(
        "commands change events before they refuse to send in a transaction",
        "management/base.py",
        (("            if self.sends(options):", "            if False:"),),
        "db/test_transactions.py",
    ),
    Mutant(
        "tasks begin in a transaction",
        "tasks.py",
        (("        if sends:", "        if False:"),),
        "db/test_transactions.py",
    ),
    Mutant(
        "a third party's field is trusted",
        "model_events/columns.py",
        (('if not cls.__module__.startswith("django.") and _BEHAVIOUR & vars(cls).keys():', "if False:"),),
        "model_events/test_columns.py",
    ),
    Mutant(
        "a behaviour set on the field itself is trusted",
        "model_events/columns.py",
        (("if known is None or _BEHAVIOUR & vars(field).keys():", "if known is None:"),),
        "model_events/test_columns.py",
    ),
    Mutant(
        "an expression is taken for a value",
        "model_events/columns.py",
        (("if rule is None or is_expression(value):", "if rule is None:"),),
        "model_events/test_columns.py",
    ),
    Mutant(
        "a column of an unmanaged table is trusted",
        "model_events/columns.py",
        (("    if not field.model._meta.managed:", "    if False:"),),
        "model_events/test_columns.py",
    ),
    Mutant(
        "a decimal is not rounded as the database rounds it",
        "model_events/columns.py",
        (("UNSURE if rounded or len(", "UNSURE if len("),),
        "model_events/test_columns.py",
    ),
    Mutant(
        "a decimal with more digits than SQLite keeps",
        "model_events/columns.py",
        (
            (
                "UNSURE if rounded or len(exact.as_tuple().digits) > _DECIMAL_DIGITS else exact",
                "UNSURE if rounded else exact",
            ),
        ),
        "model_events/test_columns.py",
    ),
    Mutant(
        "a JSON number is written as Python writes it",
        "model_events/columns.py",
        (
            (
                "return UNSURE if _JSON_NUMBERS.search(text) else json.loads(text, cls=field.decoder)",
                "return json.loads(text, cls=field.decoder)",
            ),
        ),
        "model_events/test_columns.py",
    ),
    Mutant(
        "a float that is no number",
        "model_events/columns.py",
        (("return UNSURE if not math.isfinite(number) or", "return UNSURE if"),),
        "model_events/test_columns.py",
    ),
    Mutant(
        "a text that is longer than its column",
        "model_events/columns.py",
        (
            (
                "return UNSURE if field.max_length and len(text) > field.max_length else str(text)",
                "return str(text)",
            ),
        ),
        "model_events/test_columns.py",
    ),
    Mutant(
        "a file name that is longer than its column",
        "model_events/columns.py",
        (
            (
                "if not isinstance(name, str) or (field.max_length and len(name) > field.max_length):",
                "if not isinstance(name, str):",
            ),
        ),
        "model_events/test_columns.py",
    ),
    Mutant(
        "an aware time without USE_TZ",
        "model_events/columns.py",
        (("return moment if timezone.is_naive(moment) else UNSURE", "return moment"),),
        "model_events/test_columns.py",
    ),
    Mutant(
        "a date in a datetime is trusted",
        "model_events/columns.py",
        (
            (
                "    moment = value if isinstance(value, dt.date) else field.to_python(value)\n",
                "    moment = field.to_python(value)\n",
            ),
        ),
        "model_events/test_columns.py",
    ),
    Mutant(
        "JSON is compared as Python compares",
        "model_events/columns.py",
        (("if isinstance(field, models.JSONField):  # 1", "if False:  # 1"),),
        "model_events/test_columns.py",
    ),
    Mutant(
        "pre_save of a third party is trusted",
        "model_events/columns.py",
        (("    return own and _writes_as_django(model)", "    return _writes_as_django(model)"),),
        "model_events/test_columns.py",
    ),
    Mutant(
        "a model with _do_update of its own is trusted beside a foreign pre_save",
        "model_events/columns.py",
        (("if former is None or not _writes_as_django(type(instance)):", "if former is None:"),),
        "model_events/test_columns.py",
    ),
    Mutant(
        "a value that pre_save replaced counts as written",
        "model_events/columns.py",
        (
            (
                "return value is former.get(name) and not isinstance(value, (dict, list, set))",
                "return not isinstance(value, (dict, list, set))",
            ),
        ),
        "model_events/test_columns.py",
    ),
    Mutant(
        "a value that pre_save changed in place counts as written",
        "model_events/columns.py",
        (
            (
                "return value is former.get(name) and not isinstance(value, (dict, list, set))",
                "return value is former.get(name)",
            ),
        ),
        "model_events/test_columns.py",
    ),
    Mutant(
        "a column that update_fields leaves out counts as written",
        "model_events/rows.py",
        (
            (
                "elif update_fields is None or column.name in update_fields or name in update_fields:",
                "elif update_fields is None or update_fields:",
            ),
        ),
        "model_events/test_truth.py::test_a_child_that_saves_only_its_own_columns_changes_nothing_of_the_parent",
    ),
    Mutant(
        "a generated column keeps its value from before",
        "model_events/rows.py",
        (('elif not getattr(column, "generated", False):', "else:"),),
        "model_events/test_truth.py::test_an_update_of_every_kind_of_column",
    ),
    Mutant(
        "a key of MySQL is spelled as it was assigned",
        "model_events/rows.py",
        ((" if written.inserted else written.columns - _found_by_collation(model, alias)", ""),),
        "model_events/test_changes.py",
        "mysql",
    ),
    Mutant(
        "an hour that occurs twice is known without reading it",
        "model_events/rows.py",
        ((" and not (isinstance(value, dt.datetime) and _loses(value, alias)):", ":"),),
        "model_events/test_changes.py",
    ),
    Mutant(
        "a save within a delete leaves its event as it was",
        "model_events/saves.py",
        (("    if deletes.runs.get():\n", "    if False:\n"),),
        "model_events/test_rows.py",
    ),
    Mutant(
        "read_back reads nothing back",
        "model_events/rows.py",
        (("    if needs.read_back:\n        return {}\n", ""),),
        "model_events/test_rows.py",
    ),
    Mutant(
        "SQLite reads before it writes",
        "model_events/rows.py",
        (("        first_write(alias)\n", "        pass\n"),),
        "model_events/test_bulk.py::test_on_sqlite_an_update_begins_with_a_write",
    ),
    Mutant(
        "related rows are read one by one",
        "model_events/rows.py",
        ((" or any(_leads_somewhere(model, needs, values))", ""),),
        "model_events/test_truth.py::test_what_a_creation_and_a_full_update_cost",
    ),
    Mutant(
        "cached properties are kept",
        "model_events/rows.py",
        ((" and not isinstance(inspect.getattr_static(model, name, None), _CACHES)", ""),),
        "model_events/test_truth.py::test_a_copy_without_key_is_a_creation",
    ),
    Mutant(
        "prefetched sets are kept",
        "model_events/rows.py",
        (('left_out = {"_state", "_prefetched_objects_cache", *', 'left_out = {"_state", *'),),
        "model_events/test_truth.py::test_a_copy_without_key_is_a_creation",
    ),
    Mutant(
        "what an instance carries is dropped from a row that is read",
        "model_events/rows.py",
        (("with_extras(row, instance) if row is not None and needs.runs_code else row", "row"),),
        "model_events/test_good_guest.py::test_an_attribute_of_the_instance_that_is_no_column_is_still_there",
    ),
    Mutant(
        "the row before is not read",
        "model_events/saves.py",
        (("        save.before = _row_before(save)\n", ""),),
        "model_events/test_good_guest.py::test_a_save_that_publishes_nothing_registers_no_callback",
    ),
    Mutant(
        "a save without a transaction of its own",
        "model_events/saves.py",
        (("    with _transaction(planned, type(self), alias), _open(save):", "    with _open(save):"),),
        "model_events/test_good_guest.py::test_a_receiver_that_refreshes_hides_no_change",
    ),
    Mutant(
        "atomic=False does not ask for the open transaction",
        "model_events/saves.py",
        ((" or connections[alias].in_atomic_block", ""),),
        "model_events/test_transactions.py::test_atomic_false_in_a_transaction_that_was_lost_makes_the_save_raise",
    ),
    Mutant(
        "events of a save are written by the receiver",
        "model_events/saves.py",
        (("if _table_argument(*args, **kwargs) is self._meta.concrete_model:", "if False:"),),
        "model_events/test_good_guest.py::test_a_receiver_of_a_creation",
    ),
    Mutant(
        "Django's post_save is taken for another save",
        "model_events/saves.py",
        (("if save is not None and save.recorded and not save.announced:", "if False:"),),
        "model_events/test_good_guest.py::test_a_receiver_that_refreshes_hides_no_change",
    ),
    Mutant(
        "an INSERT reads the row before",
        "model_events/saves.py",
        (("if not fields or _inserts(save):", "if not fields:"),),
        "model_events/test_truth.py::test_a_save_that_publishes_nothing_costs_nothing",
    ),
    Mutant(
        "a raw save is published",
        "model_events/saves.py",
        (
            ("if raw or not planned.saves or", "if not planned.saves or"),
            (
                "    if raw or events.suppressed():\n        return\n    save =",
                "    if events.suppressed():\n        return\n    save =",
            ),
        ),
        "model_events/test_good_guest.py::test_a_raw_signal_sent_by_others_is_silent",
    ),
    Mutant(
        "a raw post_save of other code is published",
        "model_events/saves.py",
        (
            (
                "    if raw or events.suppressed():\n        return\n    save =",
                "    if events.suppressed():\n        return\n    save =",
            ),
        ),
        "model_events/test_good_guest.py::test_a_raw_signal_sent_by_others_is_silent",
    ),
    Mutant(
        "suppressed saves are published",
        "model_events/saves.py",
        (("if raw or not planned.saves or events.suppressed():", "if raw or not planned.saves:"),),
        "model_events/test_good_guest.py::test_a_raw_signal_sent_by_others_is_silent",
    ),
    Mutant(
        "a save in another database than the outbox",
        "model_events/saves.py",
        (("    events.same_database(model, alias)\n", ""),),
        "model_events/test_transactions.py::test_a_row_of_another_database_than_the_outbox_is_refused",
    ),
    Mutant(
        "a delete says what the instance holds",
        "model_events/deletes.py",
        (
            (
                "needs, [{}] * len(instances), lock=lock)",
                'needs, [{k: v for k, v in vars(one).items() if k != "_state"} for one in instances])',
            ),
        ),
        "model_events/test_deletes.py::test_a_multi_table_child_is_one_event",
    ),
    Mutant(
        "rows are read before the receivers of pre_delete",
        "model_events/deletes.py",
        (
            (
                "        self.fast_deletes = _BeforeFirstStatement(self.fast_deletes, run)\n",
                "        run.read_all()\n",
            ),
        ),
        "model_events/test_good_guest.py::test_a_receiver_of_pre_delete_that_changes_the_row",
    ),
    Mutant(
        "a child and its parents are two events",
        "model_events/deletes.py",
        (("                    self.silent |= {(registration, row) for row in parents}\n", ""),),
        "model_events/test_deletes.py::test_a_multi_table_child_is_one_event",
    ),
    Mutant(
        "keep_parents publishes the delete of the child",
        "model_events/deletes.py",
        (
            (
                "                    if parents and rows.isdisjoint(parents):\n",
                "                    if False:\n",
            ),
        ),
        "model_events/test_deletes.py::test_keep_parents_deletes_only_the_child",
    ),
    Mutant(
        "each pre_delete of the collector reads its row",
        "model_events/deletes.py",
        ((" or suppressed() or runs.get():", " or suppressed():"),),
        "model_events/test_deletes.py::test_a_multi_table_child_is_one_event",
    ),
    Mutant(
        "a post_delete alone publishes nothing",
        "model_events/deletes.py",
        (("        if events is None:  # nothing", "        if False:  # nothing"),),
        "model_events/test_deletes.py::test_a_multi_table_child_is_one_event",
    ),
    Mutant(
        "a suppressed delete is published",
        "model_events/deletes.py",
        (
            (
                "suppressed():\n        return\n    instance = unwrapped(instance)\n    alias",
                "False:\n        return\n    instance = unwrapped(instance)\n    alias",
            ),
            ("if not published or suppressed():", "if not published:"),
        ),
        "model_events/test_deletes.py::test_suppressed_deletes_publish_nothing",
    ),
    Mutant(
        "other receivers of m2m_changed come first",
        "model_events/receivers.py",
        (("_through(model, name), first=True)", "_through(model, name))"),),
        "model_events/test_good_guest.py::test_a_receiver_of_m2m_changed_that_takes_the_tag_away",
    ),
    Mutant(
        "an error that no execute wrapper sees is not noted",
        "db/transactions.py",
        (("            self._watch.note(self._connection, exc_value)\n", "            pass\n"),),
        "db/test_transactions.py",
        "mysql",
    ),
    Mutant(
        "reads may go to a replica",
        "model_events/rows.py",
        (("    if not router.routers:\n", "    if True:\n"),),
        "model_events/test_rows.py",
    ),
    Mutant(
        "the row before is read without a lock",
        "model_events/saves.py",
        (("    lock = any(one.atomic for one in save.planned.saves)", "    lock = False"),),
        "model_events/test_truth.py::test_the_row_is_locked_before_it_is_updated",
        "postgresql",
    ),
    Mutant(
        "the lock on the row stops new children",
        "model_events/rows.py",
        (("no_key=features.has_select_for_no_key_update", "no_key=False"),),
        "model_events/test_truth.py::test_the_row_is_locked_before_it_is_updated",
        "postgresql",
    ),
    Mutant(
        "a created row is compared with the row before it",
        "model_events/saves.py",
        (("    if maybe_new and not is_there(*row):\n        return None\n", ""),),
        "model_events/test_rows.py",
        "mysql",
    ),
    Mutant(
        "a save that cannot change a watched column is taken to",
        "model_events/saves.py",
        (
            (
                "            written.isdisjoint(field.attname for field in fields)\n            and",
                "            True\n            and",
            ),
        ),
        "model_events/test_changes.py",
    ),
    Mutant(
        "a generated column of changed is taken as untouched",
        "model_events/saves.py",
        (('            and not any(getattr(field, "generated", False) for field in fields)\n', ""),),
        "model_events/test_rows.py",
    ),
    Mutant(
        "a save is published again by its signal",
        "model_events/saves.py",
        (("        save.announced = True\n        return\n", "        save.announced = True\n"),),
        "model_events/test_saves.py",
    ),
    Mutant(
        "a save does not look at its transaction",
        "model_events/saves.py",
        (
            (
                "    return around(alias, _not_saved(model)) if wanted else nullcontext()",
                "    return nullcontext()",
            ),
        ),
        "model_events/test_transactions.py",
    ),
    Mutant(
        "a delete does not look at its transaction",
        "model_events/deletes.py",
        (
            (
                "            with around(self.using, _not_deleted(published[0])), _open(run):",
                "            with _open(run):",
            ),
        ),
        "model_events/test_transactions.py",
        "mysql",
    ),
    Mutant(
        "a many-to-many change does not look at its transaction",
        "model_events/m2m.py",
        (
            (
                "        with around(alias, _not_changed(name)):\n            return",
                "        if True:\n            return",
            ),
        ),
        "model_events/test_transactions.py",
        "mysql",
    ),
    Mutant(
        "a failed delete takes the object's key",
        "model_events/deletes.py",
        (("                setattr(instance, model._meta.pk.attname, key)\n", "                pass\n"),),
        "model_events/test_transactions.py",
    ),
    Mutant(
        "a delete whose rows were not read loses its event",
        "model_events/deletes.py",
        (("        if sender in run.instances and not run.has_read:", "        if False:"),),
        "model_events/test_rows.py",
    ),
    Mutant(
        "a row created again while it is deleted comes first",
        "model_events/deletes.py",
        (("        if created:\n            _write", "        if False:\n            _write"),),
        "model_events/test_rows.py",
    ),
    Mutant(
        "receivers of others come before ours",
        "model_events/receivers.py",
        (("    if first and", "    if False and"),),
        "model_events/test_good_guest.py",
    ),
    Mutant(
        "callables are given the row itself",
        "model_events/payload.py",
        (
            (
                "        data = registration.data(twin(row), change)",
                "        data = registration.data(row, change)",
            ),
            ("not registration.when(twin(row), change)", "not registration.when(row, change)"),
        ),
        "model_events/test_good_guest.py",
    ),
    Mutant(
        "callables share related objects",
        "model_events/payload.py",
        (("name: twin(related, made) if isinstance(related, Model) else related", "name: related"),),
        "model_events/test_good_guest.py",
    ),
    Mutant(
        "callables may write to the row",
        "model_events/events.py",
        (("        if isinstance(sql, str) and writes.match(sql):", "        if False:"),),
        "model_events/test_good_guest.py",
    ),
    Mutant(
        "loaddata fills sets with events",
        "model_events/saves.py",
        (("        _raw.set(ref(instance))\n", "        pass\n"),),
        "model_events/test_saves.py",
    ),
    Mutant(
        "any relation to many is taken for m2m",
        "model_events/registry.py",
        (("        if not isinstance(field, ManyToManyField):", "        if False:"),),
        "model_events/test_good_guest.py",
    ),
    Mutant(
        "notes about one object are found for another",
        "model_events/notes.py",
        (("        key = id(owner)\n        self._notes[key]", "        key = 0\n        self._notes[key]"),),
        "model_events/test_m2m.py model_events/test_deletes.py",
    ),
    Mutant(
        "a failure before the first byte is not sent",
        "client/sockets.py",
        (("return self.established and self.handed_over > 0", "return True"),),
        "client/test_transport.py::test_before_the_first_byte_no_class_of_error_puts_an_event_in_doubt",
    ),
    Mutant(
        "a request of which the kernel took a byte is in doubt",
        "client/sockets.py",
        (("self.handed_over > 0", "self.handed_over > 1"),),
        "client/test_transport.py::test_one_byte_in_the_hands_of_the_kernel_makes_the_difference",
    ),
    Mutant(
        "without a socket the other addresses are tried",
        "client/sockets.py",
        (
            (
                "            except OSError as error:\n                failures.append(error)",
                "            except ConnectionError as error:\n                failures.append(error)",
            ),
        ),
        "client/test_transport.py::test_an_address_family_that_is_switched_off_leaves_the_other_addresses",
    ),
    Mutant(
        "a kept connection that took no byte is replaced",
        "client/transport.py",
        (("if unwritable or not kept or self._network.request_sent:", "if True:"),),
        "client/test_transport.py::test_a_kept_connection_that_breaks_before_it_took_a_byte_is_replaced",
    ),
    Mutant(
        "what comes before a byte was taken is no answer, socket",
        "client/sockets.py",
        (("if self.network.established and not self.network.request_sent:", "if self.network.layers > 99:"),),
        "client/test_transport.py::test_what_comes_before_a_byte_was_taken_is_no_answer",
    ),
    Mutant(
        "what comes before a byte was taken is no answer, transport",
        "client/transport.py",
        (
            (
                "                if not self._network.request_sent:\n",
                "                if self._network.layers > 99:\n",
            ),
        ),
        "client/test_transport.py::test_an_answer_to_a_request_that_tls_did_not_write_is_none",
    ),
    Mutant(
        "one object per read, not per chunk",
        "client/connections.py",
        (('                yield b"".join(parts)', "                yield from parts"),),
        "client/test_transport.py::test_a_body_in_chunks_of_one_byte_becomes_one_object_per_read",
    ),
    Mutant(
        "bytes in the parser make a connection unclean",
        "client/connections.py",
        (('return unparsed(connection) == b""', "return True"),),
        "client/test_transport.py::test_a_second_answer_to_one_request_is_not_taken_for_the_next",
    ),
    Mutant(
        "bytes in TLS make a connection unclean",
        "client/sockets.py",
        (
            (
                'if info == "is_readable" and (self._incoming.pending or self._tls.pending()):',
                'if info == "nothing":',
            ),
        ),
        "client/test_transport.py::test_the_rest_of_a_tls_record_is_a_byte_that_was_not_asked_for",
    ),
    Mutant(
        "bytes in the socket make a connection unclean",
        "client/connections.py",
        (("connection.is_closed() or connection.has_expired()", "connection.is_closed()"),),
        "client/test_transport.py::test_a_second_answer_to_one_request_is_not_taken_for_the_next",
    ),
    Mutant(
        "httptools: bytes in the socket make a connection unclean",
        "client/connections.py",
        (('return not self._stream.get_extra_info("is_readable")', "return True"),),
        "client/test_transport.py::test_a_second_answer_to_one_request_is_not_taken_for_the_next",
    ),
    Mutant(
        "httptools: an old connection is not used",
        "client/connections.py",
        (("steady.monotonic() >= self._usable_until", "self._usable_until == 0.0"),),
        "client/test_transport.py::test_an_idle_connection_is_not_trusted_for_long",
    ),
    Mutant(
        "httptools: a second response makes a connection unclean",
        "client/connections.py",
        (("self._goes_on = self._complete\n", "pass\n"),),
        "client/test_transport.py::test_a_second_answer_to_one_request_is_not_taken_for_the_next",
    ),
    Mutant(
        "httptools: line breaks after a response make a connection unclean",
        "client/connections.py",
        (("self._goes_on or bool(broken) or not self._is_end(data)", "self._goes_on or bool(broken)"),),
        "client/test_transport.py::test_a_second_answer_to_one_request_is_not_taken_for_the_next",
    ),
    Mutant(
        "httptools: no line break in a header",
        "client/connections.py",
        (('lines.count(b"\\n") != len(fields) or not _FIELDS', "not _FIELDS"),),
        "client/test_transport.py::test_an_illegal_header_sends_nothing_tells_no_value_and_hurts_nobody_else",
    ),
    Mutant(
        "httptools: no illegal character in a header",
        "client/connections.py",
        (("or not _FIELDS.fullmatch(lines) ", ""),),
        "client/test_transport.py::test_an_illegal_header_sends_nothing_tells_no_value_and_hurts_nobody_else",
    ),
    Mutant(
        "httptools: the body has the declared length",
        "client/connections.py",
        (('request.headers.get("Content-Length", "0") != str(len(body))', "False"),),
        "client/test_transport.py::test_a_body_of_another_length_than_declared_is_not_sent",
    ),
    Mutant(
        "httptools: a head has a limit",
        "client/connections.py",
        (("or self._silent > MAX_HEAD_BYTES", ""),),
        "client/test_transport.py::test_no_status_is_a_read_or_protocol_error",
    ),
    Mutant(
        "httptools: a body that ends early is broken off",
        "client/connections.py",
        (("if not self._ends_with_connection:", "if False:"),),
        "client/test_transport.py::test_a_body_that_cannot_be_used_leaves_the_status_and_says_why",
    ),
    Mutant(
        "httptools: only chunked is a transfer coding",
        "client/connections.py",
        (('if codings != [b"chunked"]:', "if not codings:"),),
        "client/test_transport.py::test_no_status_is_a_read_or_protocol_error",
    ),
    Mutant(
        "httptools: a response to HEAD has no body",
        "client/connections.py",
        (("if not self._has_body and", "if False and"),),
        "client/test_transport.py::test_a_response_without_a_body_is_not_waited_for",
    ),
    Mutant(
        "httptools: a closing server is believed",
        "client/connections.py",
        (
            (
                "self._complete and self._keeps_alive and not self._goes_on",
                "self._complete and not self._goes_on",
            ),
        ),
        "client/test_transport.py::test_a_server_that_closes_after_its_answer_is_believed",
    ),
    Mutant(
        "a refused client certificate was not sent",
        "client/sockets.py",
        (("if not self._heard and certificate_alert(error):", "if certificate_alert(error) == self:"),),
        "test_tls.py::test_a_refused_client_certificate_is_configuration_and_nothing_was_sent",
    ),
    Mutant(
        "an alert after an answer leaves doubt",
        "client/sockets.py",
        (("if not self._heard and certificate_alert(error):", "if certificate_alert(error):"),),
        "test_tls.py::test_an_alert_after_an_answer_leaves_the_next_request_in_doubt",
    ),
    Mutant(
        "no client certificate for a proxy",
        "client/transport.py",
        (
            (
                "contexts.get(self._ca_bundle) if proxy.scheme",
                "contexts.get(self._ca_bundle, self._client_cert) if proxy.scheme",
            ),
        ),
        "test_tls.py::test_a_gateway_with_mutual_tls_takes_token_request_and_event",
    ),
    Mutant(
        "a token belongs to a client certificate",
        "client/auth.py",
        (("        platform.client_cert and platform.client_cert.files,\n", ""),),
        "test_tls.py::test_another_client_certificate_gets_a_token_of_its_own",
    ),
    Mutant(
        "no session keys to SSLKEYLOGFILE",
        "tls.py",
        (("context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)", "context = ssl.create_default_context()"),),
        "test_tls.py::test_no_session_key_is_written_to_the_file_of_sslkeylogfile",
    ),
    Mutant(
        "an end that TLS does not announce is noticed by older Pythons",
        "tls.py",
        (
            (
                'context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)',
                'getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)',
            ),
        ),
        "client/test_transport.py::test_an_end_that_tls_does_not_announce_is_noticed_on_older_pythons_too",
    ),
    Mutant(
        "OpenSSL asks no terminal",
        "tls.py",
        (
            (
                "context.load_cert_chain(self.certificate, self.key, passphrase)",
                "context.load_cert_chain(self.certificate, self.key)",
            ),
        ),
        "test_tls.py::test_an_encrypted_key_never_asks_at_the_terminal",
    ),
    Mutant(
        "a callable for a passphrase is not quoted",
        "tls.py",
        (('raised {type(error).__name__}"', 'raised {error}"'),),
        "test_tls.py::test_one_that_cannot_be_loaded_is_an_error_of_the_checks_and_a_halt_of_the_relay",
    ),
    Mutant(
        "TLS files are read again",
        "tls.py",
        (("elif now >= held.look_at:", "elif now >= 1e18:"),),
        "test_tls.py::test_files_are_looked_at_once_a_second",
    ),
    Mutant(
        "TLS files are looked at once a second",
        "tls.py",
        (("elif now >= held.look_at:", "else:"),),
        "test_tls.py::test_files_are_looked_at_once_a_second",
    ),
    Mutant(
        "a half written file keeps the old context",
        "tls.py",
        (
            (
                "    except Halted as error:\n        if state != held.failed:\n",
                "    except Halted as error:\n        raise\n        if state != held.failed:\n",
            ),
        ),
        "test_tls.py::test_a_bundle_that_vanished_or_is_half_written_keeps_the_old_one_and_warns_once",
    ),
    Mutant(
        "one warning for a file that cannot be loaded",
        "tls.py",
        (("        if state != held.failed:\n            logger", "        if state:\n            logger"),),
        "test_tls.py::test_a_bundle_that_vanished_or_is_half_written_keeps_the_old_one_and_warns_once",
    ),
    Mutant(
        "a late passphrase is asked for again",
        "tls.py",
        (("if state == held.failed and now < held.retry_at:", "if state == held.failed:"),),
        "test_tls.py::test_a_passphrase_that_comes_later_than_its_key_is_asked_for_again",
    ),
    Mutant(
        "TLS files are loaded by the checks",
        "conf/__init__.py",
        (("found += [*problems, *rules.unloadable(alias, given)]", "found += problems"),),
        "test_tls.py::test_a_ca_bundle_that_is_no_pem_file_is_an_error_of_the_checks",
    ),
    Mutant(
        "a gateway that is down behind a proxy is the network's",
        "client/responses/exceptions.py",
        (
            (
                "if status in {408, 425, 429} or (status >= 500 and status not in {501, 505, 511}):",
                "if status in {408, 425, 429}:",
            ),
        ),
        "client/test_transport.py::test_what_a_proxy_says_to_connect_is_the_networks_trouble_or_a_setting",
    ),
    Mutant(
        "a proxy that hangs up is the network's",
        "client/transport.py",
        (
            (
                "if in_tunnel and kind is httpx.RemoteProtocolError and not self._network.ended:",
                "if in_tunnel:",
            ),
        ),
        "client/test_transport.py::test_a_proxy_that_hangs_up_is_the_networks_trouble",
    ),
    Mutant(
        "a body that breaks off is the network's, event",
        "platform/protocols/verdicts.py",
        (
            (
                "    if answer.broken_off:\n        return answer.outcome(Verdict.UNK",
                "    if answer.broken_off is None:\n        return answer.outcome(Verdict.UNK",
            ),
        ),
        "platform/protocols/test_eventbridge_publish.py::test_a_body_that_broke_off_is_trouble_of_the_network_and_of_no_setting",
    ),
    Mutant(
        "a body that breaks off is the network's, token",
        "client/responses/token.py",
        (("    if answer.broken_off:\n", "    if answer.broken_off is None:\n"),),
        "client/test_responses_token.py::test_an_answer_that_broke_off_is_trouble_of_the_network",
    ),
    Mutant(
        "a Retry-After in epoch seconds",
        "platform/retry_after.py",
        (("if number <= _LONGEST_WAIT else", "if number >= 0 else"),),
        "platform/test_retry_after.py",
    ),
    Mutant(
        "http through a proxy that a callable returns",
        "platform/config.py",
        (("{**self._given(), setting.lower(): value}, self.protocol", "self._given(), self.protocol"),),
        "client/test_secrets.py::test_http_through_a_proxy_that_a_callable_returns_is_refused",
    ),
    Mutant(
        "only the platform's own words refuse",
        "platform/protocols/verdicts.py",
        (("    if answer.is_refusal:", "    if answer.status:"),),
        "platform/protocols/test_eventbridge_publish.py::test_without_the_platforms_own_words_a_gateway_answered",
    ),
    Mutant(
        "a login accuses no event",
        "platform/protocols/verdicts.py",
        (("accuses=status not in _NOT_THE_EVENT", "accuses=True"),),
        "platform/protocols/test_eventbridge_publish.py::test_every_status_code_has_its_verdict",
    ),
    Mutant(
        "only an answer to the event's own POST counts",
        "outbox/decide.py",
        (("            if not outcome.accuses:\n", "            if not outcome.halt:\n"),),
        "outbox/test_decide.py::test_only_an_answer_to_the_events_own_post_counts_against_it",
    ),
    Mutant(
        "a pause decides when a suspect goes again",
        "outbox/decide.py",
        (("    if case.paused:\n", "    if case.elapsed < 0:\n"),),
        "outbox/test_decide.py::test_a_suspect_lets_the_others_go_first_and_waits_no_longer_than_a_pause",
    ),
    Mutant(
        "a suspect that is accepted clears them all",
        "circuit/__init__.py",
        (("and not cleared and", "and"),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "a page pauses at once where nothing was accepted lately",
        "circuit/__init__.py",
        (("if lately and len(circuit.suspects) < RUN_EVENTS", "if len(circuit.suspects) < RUN_EVENTS"),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "a page is first a suspicion where something was",
        "circuit/__init__.py",
        (("if lately and len(circuit.suspects) < RUN_EVENTS", "if lately is None"),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "three events in a row pause",
        "circuit/__init__.py",
        (("if lately and len(circuit.suspects) < RUN_EVENTS", "if lately"),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "a pause begins short where something was accepted lately",
        "circuit/__init__.py",
        (("short = circuit.accepted_lately or kind", "short = kind"),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "answers without proof are the network's where something was accepted lately",
        "circuit/__init__.py",
        (("Halt.NETWORK if circuit.accepted_lately else outcome.outage", "outcome.outage"),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "one event's page stops no sender",
        "relay/senders.py",
        (("not (outcome.accuses and self.accepted_lately)", "True"),),
        "relay/test_accusation.py::TestGateways::test_one_events_page_stops_no_sender_where_others_are_accepted",
    ),
    Mutant(
        "a run of refusals stops the senders",
        "relay/senders.py",
        (("return self._refused_in_a_row >= self.settings.run_length", "return False"),),
        "relay/test_accusation.py::TestRefusals::test_a_run_of_refusals_pauses",
    ),
    Mutant(
        "a run of refusals pauses",
        "circuit/__init__.py",
        (("begins = (len(run.events) >= limits.run_length or probed) and not holding", "begins = False"),),
        "outbox/test_destinations.py::TestRefusals",
    ),
    Mutant(
        "a refusal after a person ended the run pauses",
        "circuit/__init__.py",
        (("(len(run.events) >= limits.run_length or probed)", "(len(run.events) >= limits.run_length)"),),
        "relay/test_accusation.py::TestRefusals::test_after_an_operator_ended_it_one_more_refusal_pauses",
    ),
    Mutant(
        "a person ends a run of refusals",
        "circuit/__init__.py",
        (
            (
                "            refusals=None,\n            refused_until=None,\n        )\n\n\n@dataclass",
                "        )\n\n\n@dataclass",
            ),
        ),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "many refused types are held back",
        "circuit/refusals.py",
        (("MOST_TYPES = 200", "MOST_TYPES = 20"),),
        "outbox/test_destinations.py::TestRefusals::test_all_of_many_refused_types_are_held_back",
    ),
    Mutant(
        "a search for an event number in the audit reads no names",
        "admin/jobs.py",
        (('if text.startswith("#"):', "if False:"),),
        "admin/test_jobs.py::test_a_search_for_an_event_number_reads_no_act_of_others",
    ),
    Mutant(
        "a list of finished events reads no body per row",
        "reporting/ends.py",
        (('known = "body" not in event.get_deferred_fields()', "known = True"),),
        "admin/test_events.py::test_the_list_takes_few_queries",
    ),
    Mutant(
        "an event of a refused type is explained",
        "reporting/explain.py",
        (("    _of_a_refused_type,\n", ""),),
        "reporting/test_explain.py::test_an_event_of_a_refused_type_is_held_back",
    ),
    Mutant(
        "a destination that holds types back is explained",
        "reporting/destination.py",
        (
            (
                "if run is not None and health.refused_until is not None:",
                "if health.refused is ...:",
            ),
        ),
        "reporting/test_destination.py::test_each_standing_has_its_word_and_its_sentence",
    ),
    Mutant(
        "a Location may be relative",
        "platform/protocols/eventbridge/publish.py",
        (('f"/{parent}".endswith', "parent.endswith"),),
        "platform/protocols/test_eventbridge_publish.py::test_a_location_below_our_path_brings_the_id",
    ),
    Mutant(
        "a status in digits may complain",
        "platform/answers.py",
        (("or _is_error_number(status)", "or (isinstance(status, int) and status >= 400)"),),
        "platform/protocols/test_eventbridge_publish.py::test_an_error_in_the_body_is_never_success",
    ),
    Mutant(
        "only an event's source accuses a key",
        "platform/protocols/eventbridge/publish.py",
        (('if answer.word("specversion") else _whose(answer)', ""),),
        "platform/protocols/test_eventbridge_publish.py::test_the_source_of_an_answer_that_is_no_event_accuses_no_key",
    ),
    Mutant(
        "an event refused again and again is no run",
        "circuit/refusals.py",
        (("if not known and len(events) < enough:", "if len(events) < enough:"),),
        "outbox/test_destinations.py::TestRefusals",
    ),
    Mutant(
        "an acceptance ends a run of refusals",
        "circuit/__init__.py",
        (("refused_until is None or reply.type in run.types", "refused_until is None"),),
        "outbox/test_destinations.py::TestRefusals",
    ),
    Mutant(
        "another type ends no hold",
        "circuit/__init__.py",
        (("or reply.type in run.types", "or True"),),
        "outbox/test_destinations.py::TestRefusals",
    ),
    Mutant(
        "refused types go one at a time",
        "outbox/claim.py",
        (("held=turn != pk and event_type in held_types", "held=False"),),
        "relay/test_accusation.py::TestRefusals",
    ),
    Mutant(
        "one worker tries a refused type",
        "outbox/claim.py",
        (('            locked = [row for row in locked if row["id"] not in turns]\n', "            pass\n"),),
        "relay/test_accusation.py::TestRefusals::test_of_two_workers_one_tries_an_event_of_a_refused_type",
    ),
    Mutant(
        "the probe takes a type that is not refused",
        "outbox/claim.py",
        (("if gate.kind == Halt.REFUSALS:", "if gate.kind is None:"),),
        "relay/test_accusation.py::TestRefusals",
    ),
    Mutant(
        "one id proves one event",
        "relay/batch.py",
        (("and answer.claimed.id not in events", "and answer.claimed.id is None"),),
        "relay/test_accusation.py::TestOneIdProvesOneEvent",
    ),
    Mutant(
        "an id from before a requeue stays that event's",
        "outbox/settle.py",
        (('by_id.union(rows.filter(OneOf("remote_key", "keys", places, remote_key)))', "by_id"),),
        "relay/test_accusation.py::TestOneIdProvesOneEvent",
    ),
    Mutant(
        "one id proves one event, in the database",
        "outbox/settle.py",
        (
            (
                "    if not remote_id:\n        return None\n",
                "    if len(remote_id) < 256:\n        return None\n",
            ),
        ),
        "outbox/test_settle.py::TestLateAnswers",
    ),
    Mutant(
        "a late answer keeps the acceptance",
        "outbox/settle.py",
        (('accepted_at=Coalesce("accepted_at", NOW)', "accepted_at=NOW"),),
        "outbox/test_settle.py::TestLateAnswers",
    ),
    Mutant(
        "a late answer keeps since when the key is known",
        "outbox/settle.py",
        (
            (
                'key_known_since=Coalesce("key_known_since", "in_doubt_since")',
                'key_known_since=Coalesce("in_doubt_since", "in_doubt_since")',
            ),
        ),
        "outbox/test_settle.py::TestLateAnswers",
    ),
    Mutant(
        "a complaint is no proof",
        "platform/protocols/eventbridge/publish.py",
        (
            (
                "    if answer.complains(sent):\n        return _without_proof",
                "    if answer.complains(sent) is None:\n        return _without_proof",
            ),
        ),
        "platform/protocols/test_eventbridge_publish.py::test_an_error_in_the_body_is_never_success",
    ),
    Mutant(
        "our own attributes are no complaint",
        "platform/answers.py",
        (("if own.get(name, ...) != value}", "if own is not value}"),),
        "platform/protocols/test_eventbridge_publish.py::test_our_own_attributes_repeated_are_no_complaint",
    ),
    Mutant(
        "a 409 with an error is in progress",
        "platform/protocols/eventbridge/publish.py",
        (
            (
                'if answer.member("source") is not None and (',
                "if (",
            ),
        ),
        "platform/protocols/test_eventbridge_publish.py::test_the_type_of_an_answer_that_is_no_event_is_not_compared",
    ),
    Mutant(
        "times within a second are equal",
        "platform/protocols/eventbridge/publish.py",
        (("<= timedelta(seconds=1)", "<= timedelta(seconds=0)"),),
        "platform/protocols/test_eventbridge_publish.py",
    ),
    Mutant(
        "the id of an echo comes from the address",
        "platform/protocols/eventbridge/publish.py",
        (("return (_located_id(answer) or remote_id) if", "return remote_id if"),),
        "platform/protocols/test_eventbridge_publish.py",
    ),
    Mutant(
        "an empty body may have an address",
        "platform/protocols/eventbridge/publish.py",
        (("if answer.document is None and not answer.is_empty:", "if answer.document is None:"),),
        "platform/protocols/test_eventbridge_publish.py",
    ),
    Mutant(
        "a status that repeats our event is about it",
        "platform/protocols/eventbridge/status.py",
        (("and not (sent and answer.echoes(sent))", ""),),
        "platform/protocols/test_eventbridge_status.py",
    ),
    Mutant(
        "a status with a complaint is no delivery",
        "platform/protocols/eventbridge/status.py",
        (("    if answer.complains(", "    if not answer.complains("),),
        "platform/protocols/test_eventbridge_status.py",
    ),
    Mutant(
        "a page is masked before its tags go",
        "platform/answers.py",
        (
            (
                "redact_text(self.text[: 2 * _PAGE_LIMIT], self.rules.redact_keys, self.secrets)[",
                "(self.text)[",
            ),
        ),
        "platform/protocols/test_eventbridge_publish.py",
    ),
    Mutant(
        "ping judges the body like the relay",
        "ping.py",
        (("if sent.verdict is not Verdict.REJECTED or", "if"),),
        "test_ping.py::TestWrong::test_a_gateways_refusal_is_not_the_platforms",
    ),
    Mutant(
        "a date that is none is not compared",
        "ping.py",
        (
            (
                "except (ValueError, TypeError, OverflowError):\n        return before",
                "except KeyError:\n        return before",
            ),
        ),
        "test_ping.py::TestClocks",
    ),
    Mutant(
        "a conflict is an ERROR line each time",
        "outbox/settle.py",
        (("logging.ERROR if row.conflict else ", ""),),
        "relay/test_accusation.py::TestOneIdProvesOneEvent",
    ),
    Mutant(
        "a gateway's page uses up no attempts",
        "platform/protocols/verdicts.py",
        (("in {421, 423, 425} and not answer.is_page", "in {421, 423, 425}"),),
        "platform/protocols/test_eventbridge_publish.py::test_a_gateways_page_uses_up_no_attempts",
    ),
    Mutant(
        "settings that a thread read before they changed are kept",
        "conf/__init__.py",
        (
            (
                "        known.destinations[alias] = _destination(alias, known)",
                "        _known.destinations[alias] = _destination(alias, known)",
            ),
            ("    return known.destinations[alias]", "    return _known.destinations[alias]"),
        ),
        "conf/test_settings.py::TestReading",
    ),
    Mutant(
        "an id belongs to the request that was on its way first",
        "relay/batch.py",
        (("key=lambda answer: answer.began", "key=lambda answer: -answer.began"),),
        "relay/test_accusation.py::TestOneIdProvesOneEvent",
    ),
    Mutant(
        "of requests that overlap the one whose answer came later does not own the id",
        "relay/batch.py",
        (("answer.began + answer.duration / 2", "answer.began"),),
        "relay/test_accusation.py::TestOneIdProvesOneEvent",
    ),
    Mutant(
        "of requests that overlap the one that began later does not own the id",
        "relay/batch.py",
        (("answer.began + answer.duration / 2", "answer.began + answer.duration"),),
        "relay/test_accusation.py::TestOneIdProvesOneEvent",
    ),
    Mutant(
        "what was on its way is no probe of a pause for refusals",
        "circuit/__init__.py",
        (("(reply.probe or (reply.turn and _holds_turn(circuit, reply)))", "True"),),
        "outbox/test_destinations.py::TestRefusals",
    ),
    Mutant(
        "a lost connection before the settle costs no outcome",
        "relay/batch.py",
        (
            (
                "except Error as error:  # the unique column still",
                "except KeyError as error:  # the unique column still",
            ),
        ),
        "relay/test_relay.py::TestALostDatabase",
    ),
    Mutant(
        "health that cannot be written costs no outcome",
        "relay/batch.py",
        (
            (
                '        except Error as error:\n            self._report_error(error, "The health',
                '        except KeyError as error:\n            self._report_error(error, "The health',
            ),
        ),
        "relay/test_relay.py::TestALostDatabase",
    ),
    Mutant(
        "the event is read only where there is a complaint",
        "platform/answers.py",
        (("self._complains({}) and (sent is None", "(sent is None"),),
        "platform/protocols/test_eventbridge_publish.py::test_the_event_is_read_only_where_there_is_a_complaint",
    ),
    Mutant(
        "a probe that gets an answer hands its turn back",
        "circuit/__init__.py",
        (
            (
                "    if reply.probe and now.probe_until == reply.turn_until:\n"
                "        now = replace(now, probe_until=None)\n",
                "",
            ),
        ),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "a probe that stalled past its lease does not end the next one's turn",
        "circuit/__init__.py",
        (("    if reply.probe and now.probe_until == reply.turn_until:\n", "    if reply.probe:\n"),),
        "circuit/test_circuit.py outbox/test_destinations.py::TestTheProbe",
    ),
    Mutant(
        "a turn of a refused type that stalled past its lease does not end the next one's",
        "circuit/__init__.py",
        (("until is None or until <= circuit.now or until == reply.turn_until", "True"),),
        "outbox/test_destinations.py::TestRefusals",
    ),
    Mutant(
        "a new pause does not end the turn of the probe that is under way",
        "circuit/__init__.py",
        (
            (
                "probe_turn=turn, probes=0, failures=0)",
                "probe_turn=turn, probe_until=None, probes=0, failures=0)",
            ),
        ),
        "circuit/test_circuit.py outbox/test_destinations.py::TestTheProbe",
    ),
    Mutant(
        "a refusal by the platform proves the way",
        "circuit/__init__.py",
        (("circuit = replace(_answered(circuit), refusals=run", "circuit = replace(circuit, refusals=run"),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "a failure in a pause that is no probe lengthens nothing",
        "circuit/__init__.py",
        (("failed = probe and before is not None and", "failed = before is not None and"),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "a network pause swallows no wait that was asked for",
        "circuit/__init__.py",
        (
            (
                "other for other in self.all if other.kind != pause.kind",
                "other for other in self.all if other.kind is None",
            ),
        ),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "checks wait where the platform asked for it, whatever else held them before",
        "circuit/__init__.py",
        (
            (
                "return self.check.put(rate) if rate and rate.until > self.now else self.check",
                "return self.check",
            ),
        ),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "a failure of a run counts once for an event",
        "circuit/__init__.py",
        (
            (
                "uncounted = (known or trouble) and not outcome.conflict",
                "uncounted = trouble and not outcome.conflict",
            ),
        ),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "a failing probe uses up no attempt",
        "circuit/__init__.py",
        (
            (
                "uncounted = (known or trouble) and not outcome.conflict",
                "uncounted = known and not outcome.conflict",
            ),
        ),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "a conflict counts in an outage, too",
        "circuit/__init__.py",
        (("(known or trouble) and not outcome.conflict", "(known or trouble)"),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "three failures are a run where fewer than three events are due",
        "circuit/__init__.py",
        (("RUN_EVENTS if limits.short_run else limits.run_length", "limits.run_length"),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "an uncounted failure ends no event",
        "outbox/decide.py",
        (
            (
                "(counted and claimed.attempts >= settings.max_attempts)",
                "(claimed.attempts >= settings.max_attempts)",
            ),
        ),
        "outbox/test_decide.py",
    ),
    Mutant(
        "an uncounted failure uses up no attempt",
        "outbox/decide.py",
        (("    if not counted:\n        row = replace(row, attempts=claimed.attempts - 1)\n", ""),),
        "outbox/test_decide.py",
    ),
    Mutant(
        "poison pauses no others",
        "circuit/__init__.py",
        (
            (
                "not cleared and not circuit.suspects:\n        return Step(circuit, accuses=True)",
                "not cleared and circuit.suspects is None:\n        return Step(circuit, accuses=True)",
            ),
        ),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "a first page of another event clears the one accused",
        "circuit/__init__.py",
        (("not cleared and not circuit.suspects", "not cleared"),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "events that no check finds are about the path",
        "circuit/__init__.py",
        (("    if len(circuit.missing) >= RUN_EVENTS:\n", "    if circuit.missing is None:\n"),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "a 404 ends an event only where others are found",
        "circuit/__init__.py",
        (("accuses=wrong is None and (reply.sole or others_found)", "accuses=wrong is None"),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "a 404 ends no event while the path is in question",
        "circuit/__init__.py",
        (("accuses=wrong is None and (", "accuses=("),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "a check that does not find its event ends it only where it accuses",
        "outbox/decide.py",
        (("case Verdict.UNKNOWN if outcome.found is not False or case.accused:", "case Verdict.UNKNOWN:"),),
        "outbox/test_decide.py",
    ),
    Mutant(
        "turns of probes begin with the pause",
        "circuit/__init__.py",
        (("turn = circuit.probe_turn if circuit.publish else 0", "turn = circuit.probe_turn"),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "the first probe goes to an event tried before",
        "outbox/claim.py",
        (("if gate.probe_turn % 2 == 0:", "if gate.probe_turn % 2 == 1:"),),
        "outbox/test_destinations.py::TestTheProbe",
    ),
    Mutant(
        "a probe sticks to the event that it tried",
        "outbox/claim.py",
        (
            (
                "return row.halts >= POISON_HALTS, -row.tries, row.id",
                "return row.halts >= POISON_HALTS, -row.tries, -row.id",
            ),
        ),
        "outbox/test_destinations.py::TestTheProbe",
    ),
    Mutant(
        "no probe is taken while the destination is paused again",
        "outbox/destinations.py",
        ((".filter(free, paused_until__lte=DatabaseNow())", ".filter(free)"),),
        "outbox/test_destinations.py::TestTheProbe",
    ),
    Mutant(
        "no turn is lost where the probe's row was taken",
        "outbox/claim.py",
        (("    if not locked:\n        return [], 0.0\n    if gate.probing", "    if gate.probing"),),
        "outbox/test_claim.py outbox/test_destinations.py::TestTheProbe",
    ),
    Mutant(
        "nothing else is in flight beside a probe",
        "relay/batch.py",
        (
            (
                "        if gate.probing and self.in_flight:\n",
                "        if gate.probing and self.in_flight is None:\n",
            ),
        ),
        "relay/test_relay.py",
    ),
    Mutant(
        "health is written before the rows",
        "relay/batch.py",
        (
            (
                "            recorded = self._record_health(answers, until=until)\n",
                "            recorded = None\n",
            ),
            (
                "        if self.unwritten:\n            self._write()\n",
                "        if self.unwritten:\n            self._write()\n"
                "            self._record_health(answers, until=until)\n",
            ),
        ),
        "relay/test_relay.py::TestVerdicts::test_the_pause_is_there_before_the_rows_are_free_again",
    ),
    Mutant(
        "the columns of the release before count",
        "outbox/destinations.py",
        (
            (
                "    if until == (latest.until if latest else None):\n        return pauses\n",
                "    if pauses or until is None:\n        return pauses\n",
            ),
        ),
        "outbox/test_destinations.py",
    ),
    Mutant(
        "probes also go to events never tried",
        "outbox/claim.py",
        (("if gate.probe_turn % 2 == 0:", "if gate.probe_turn >= 0:"),),
        "simulation/test_probes.py::test_a_probe_that_is_answered_hands_its_slot_back",
    ),
    Mutant(
        "of the events never tried a probe takes the newest, too",
        "outbox/claim.py",
        (("_FIRST_DUE if gate.probe_turn % 4 == 1 else _LAST_DUE", "_FIRST_DUE"),),
        "simulation/test_probes.py::test_a_probe_that_is_answered_hands_its_slot_back",
    ),
    Mutant(
        "a probe finds the events tried before behind any backlog",
        "outbox/claim.py",
        (("sorted([*read(rows.filter(id__in=gate.tried)), *read(rows)]", "sorted([*read(rows)]"),),
        "simulation/test_probes.py::test_the_first_probe_goes_to_an_event_tried_before",
    ),
    Mutant(
        "an outage pauses where only one event is due",
        "outbox/destinations.py",
        (("settings.run_length, few, settings", "settings.run_length, False, settings"),),
        "simulation/test_outages.py::test_no_event_ends_in_an_outage_of_half_a_day[503-1-2]",
    ),
    Mutant(
        "without a key a pass holds only rows that are being sent",
        "relay/batch.py",
        (
            (
                "return settings.batch_size if settings.honours_key else min(",
                "return settings.batch_size if settings.batch_size else min(",
            ),
        ),
        "chaos/test_webhook.py::test_a_killed_worker_leaves_no_more_doubts_than_it_has_senders",
    ),
    Mutant(
        "without a key the window is 0",
        "conf/__init__.py",
        (
            (
                "return self.idempotency_window - self.idempotency_margin if self.honours_key else 0.0",
                "return self.idempotency_window - self.idempotency_margin",
            ),
        ),
        "faults/test_webhook.py::test_each_fault_has_one_end[ask-gateway-timeout]",
    ),
    Mutant(
        "an event that is sent again in doubt has a window without end",
        "conf/__init__.py",
        (("return math.inf if self.resends_in_doubt else self.key_seconds", "return self.key_seconds"),),
        "faults/test_webhook.py::test_each_fault_has_one_end[resend-gateway-timeout]",
    ),
    Mutant(
        "without a key three unknown outcomes in a row pause",
        "outbox/destinations.py",
        (("few, settings.asks_in_doubt)", "few)"),),
        "simulation/test_webhook.py::test_a_phase_of_500_over_a_backlog_costs_few_questions[1-False-5]",
    ),
    *(
        Mutant(
            name,
            "relay/batch.py",
            (("return True if publishes and repeated and not self", text),),
            f"faults/test_webhook.py::test_each_fault_has_one_end[resend-{fault}]",
        )
        for name, text, fault in (
            ("a repetition is marked", "return True if publishes is None and not self", "no-id"),
            (
                "a retry of what was not accepted is not marked",
                "return True if publishes and claimed.attempts > 1 and not self",
                "423",
            ),
        )
    ),
    Mutant(
        "a lapsed claim without a key ends",
        "relay/batch.py",
        (("            self._end_unsent(expiry.expire(self.settings))\n", ""),),
        "chaos/test_webhook.py::test_killed_between_claim_and_commit_an_event_is_asked_about_or_sent_again_"
        "and_marked[ask-E-1]",
    ),
    Mutant(
        "a claim ends only after its lease",
        "outbox/expiry.py",
        (("pending.not_in_flight().filter(", "pending.filter("),),
        "chaos/test_webhook.py::test_killed_between_claim_and_commit_an_event_is_asked_about_or_sent_again_"
        "and_marked[ask-E-1]",
    ),
    Mutant(
        "a late answer that needs no check is the end",
        "outbox/settle.py",
        (("delivered = row.state is State.DELIVERED", "delivered = False"),),
        "faults/test_webhook.py::test_a_late_answer_with_proof_ends_the_question",
    ),
    Mutant(
        "a late answer is announced",
        "relay/batch.py",
        (("        self._announce(taken)\n", ""),),
        "faults/test_webhook.py::test_a_late_answer_with_proof_ends_the_question",
    ),
    Mutant(
        "checks leave most senders to due events",
        "relay/batch.py",
        (("return max(1, self.rows // 5)", "return self.rows"),),
        "relay/test_batch.py::test_without_a_rate_checks_leave_most_senders_to_events_that_are_due",
    ),
    # The webhook and other protocols
    Mutant(
        "an acceptance by the webhook needs an invocationId",
        "platform/protocols/webhook.py",
        (('answer.usable_id(answer.member("invocationId"))', 'str(answer.member("invocationId"))'),),
        "platform/protocols/test_webhook.py",
    ),
    Mutant(
        "an invocationId beside a complaint is no proof",
        "platform/protocols/webhook.py",
        (("if invocation and not failed and not answer.complains(event):", "if invocation and not failed:"),),
        "platform/protocols/test_webhook.py",
    ),
    Mutant(
        "no webhook with this token halts",
        "platform/protocols/webhook.py",
        (("    404: _NO_WEBHOOK,\n", ""),),
        "platform/protocols/test_webhook.py",
    ),
    Mutant(
        "a token is one path segment",
        "platform/protocols/webhook.py",
        (("[A-Za-z0-9._~-]{4,255}", ".{4,255}"),),
        "platform/protocols/test_webhook.py conf/test_protocols.py",
    ),
    Mutant(
        "a callable is not called for each event",
        "platform/config.py",
        (("known = self._current.get(name)", "known = None"),),
        "relay/test_webhook.py",
    ),
    Mutant(
        "the token in an invocation URL is masked alone",
        "platform/protocols/webhook.py",
        (("tuple(_parts(value)[1] for value", "tuple(value for value"),),
        "platform/protocols/test_webhook.py",
    ),
    Mutant(
        "the secrets of a protocol are masked",
        "platform/config.py",
        (("        found += maskable(*self.protocol.secrets(self), shortest=_SHORTEST_SECRET)\n", ""),),
        "platform/protocols/test_webhook.py",
    ),
    Mutant(
        "attributes that fit no gateway's headers are refused",
        "platform/protocols/webhook.py",
        (("MOST_HEADER_BYTES = 8192", "MOST_HEADER_BYTES = 81920"),),
        "platform/protocols/test_webhook.py",
    ),
    Mutant(
        "enqueue asks the protocol",
        "outbox/rows.py",
        (("        destination_settings.platform.protocol.check_event(event)\n", ""),),
        "relay/test_webhook.py",
    ),
    Mutant(
        "a percent sign in an attribute is encoded",
        "cloudevents/binary.py",
        (("if chr(code) not in '\"%'", "if chr(code) not in '\"'"),),
        "cloudevents/test_binary.py",
    ),
    Mutant(
        "what has no effect with a protocol is named",
        "conf/__init__.py",
        (("    problems += rules.without_effect(alias, raw, kind)\n", ""),),
        "conf/test_protocols.py",
    ),
    Mutant(
        "a project is asked what it prefers without a key",
        "conf/__init__.py",
        (("    problems += rules.undecided_doubt(alias, raw, kind)\n", ""),),
        "conf/test_protocols.py",
    ),
    Mutant(
        "without a key the window of a doubt is empty",
        "conf/__init__.py",
        (("if self.honours_key else 0.0", "if self.idempotency_window else 0.0"),),
        "relay/test_webhook.py conf/test_protocols.py",
    ),
    Mutant(
        "a doubt that is resent has no end",
        "outbox/expiry.py",
        (("    if settings.resends_in_doubt:\n        return Counter()\n", ""),),
        "relay/test_webhook.py",
    ),
    Mutant(
        "three unknown outcomes pause where each is a question",
        "outbox/destinations.py",
        (("few, settings.asks_in_doubt)", "few)"),),
        "relay/test_webhook.py",
    ),
    Mutant(
        "where failures are costly pauses get longer",
        "circuit/__init__.py",
        (("limits = replace(limits, cap=max(limits.cap, TROUBLE_CAP))", "pass"),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "where failures are costly one failed probe is enough",
        "circuit/__init__.py",
        (("if failed and not (checking or limits.costly) and", "if failed and not checking and"),),
        "circuit/test_circuit.py",
    ),
    Mutant(
        "without a key a pass holds no more rows than it sends",
        "relay/batch.py",
        (
            (
                "return settings.batch_size if settings.honours_key else",
                "return settings.batch_size if settings else",
            ),
        ),
        "relay/test_webhook.py",
    ),
    Mutant(
        "a repetition without a key is marked",
        "relay/batch.py",
        (("            may_duplicate=self._may_duplicate(claimed),\n", ""),),
        "relay/test_webhook.py",
    ),
    Mutant(
        "an accepted event that nobody can ask about is unresolved",
        "relay/batch.py",
        (
            (
                "self._end_unsent(expiry.end_without_status(self.settings))",
                "pass",
            ),
        ),
        "relay/test_webhook.py",
    ),
    Mutant(
        "accepted is the end for a protocol without a status",
        "conf/__init__.py",
        (("return self.confirm and self.platform.protocol.confirms", "return self.confirm"),),
        "relay/test_webhook.py",
    ),
    Mutant(
        "a doubt about another protocol is not sent again",
        "outbox/destinations.py",
        (("name = platform.protocol.account(platform)", 'name = ""'),),
        "relay/test_webhook.py",
    ),
    Mutant(
        "a ping of a webhook writes no request",
        "client/sockets.py",
        (("if self.only_connects and self.established:", "if self.only_connects and not self.established:"),),
        "test_ping.py",
    ),
    Mutant(
        "no status is asked where there is none",
        "operations/choices.py",
        (
            (
                "if not conf.destination(row.destination).platform.protocol.confirms:",
                "if not row.destination:",
            ),
        ),
        "relay/test_webhook.py",
    ),
    Mutant(
        "an evaluation that was overtaken stores nothing",
        "alerts/evaluation.py",
        (
            (
                "unchanged = rows.filter(version=0 if self.row is None else self.row.version)",
                "unchanged = rows",
            ),
        ),
        "alerts/test_evaluation.py::test_an_evaluation_that_was_overtaken_stores_nothing",
    ),
    Mutant(
        "of all workers one evaluates each minute",
        "alerts/evaluation.py",
        (("lambda: rows.filter(due).update(alerts_at=NOW)", "lambda: rows.update(alerts_at=NOW)"),),
        "alerts/test_evaluation.py::test_of_all_workers_one_evaluates_each_minute",
    ),
    Mutant(
        "the turn of the alerts survives a clock that was set back",
        "alerts/evaluation.py",
        (("    due |= Q(alerts_at__gt=DatabaseNow(SET_BACK_SECONDS))\n", ""),),
        "alerts/test_evaluation.py::test_the_turn_survives_a_clock_that_was_set_back",
    ),
    Mutant(
        "a destination with wrong settings silences no other",
        "alerts/evaluation.py",
        (("with suppress(ImproperlyConfigured):", "with suppress(KeyError):"),),
        "alerts/test_evaluation.py::test_a_destination_with_wrong_settings_silences_no_other",
    ),
    Mutant(
        "a notice that is still to be sent is kept",
        "alerts/evaluation.py",
        (("filter(due_at__isnull=True, created_at__lt", "filter(created_at__lt"),),
        "alerts/test_evaluation.py::test_old_notices_are_forgotten_and_unsent_ones_kept",
    ),
    Mutant(
        "a recovery waits for the window",
        "alerts/decide.py",
        (
            (
                "if _passed(episode.noticed_at, now) >= window:\n        return Episode(),",
                "if window:\n        return Episode(),",
            ),
        ),
        "alerts/test_decide.py",
    ),
    Mutant(
        "more failures wait for the window",
        "alerts/decide.py",
        (("if more and _passed(episode.noticed_at, now) >= window:", "if more:"),),
        "alerts/test_decide.py",
    ),
    Mutant(
        "the window of the alerts survives a clock that was set back",
        "alerts/decide.py",
        (('return float("inf") if seconds < -SET_BACK_SECONDS else seconds', "return seconds"),),
        "alerts/test_decide.py",
    ),
    Mutant(
        "a worker that starts does not report itself missing",
        "alerts/findings.py",
        (("WORKER_PATIENCE if by_worker else 0.0", "0.0"),),
        "alerts/test_evaluation.py::test_a_worker_that_starts_after_a_stop_does_not_report_itself_missing",
    ),
    Mutant(
        "a notice is claimed by one process",
        "alerts/delivery.py",
        (("mine = _rows().filter(id=row.pk, due_at__lte=NOW)", "mine = _rows().filter(id=row.pk)"),),
        "alerts/test_delivery.py::test_a_notice_that_another_process_claimed_meanwhile_is_left_to_it",
    ),
    Mutant(
        "a claimed notice is leased",
        "alerts/delivery.py",
        (('"due_at": DatabaseNow(LEASE), ', ""),),
        "alerts/test_delivery.py::test_a_process_that_was_killed_while_it_sent_leaves_the_notice_to_another",
    ),
    Mutant(
        "who lost its claim of a notice does not write",
        "alerts/delivery.py",
        (
            (
                "mine = _rows().filter(id=row.pk, claim_token=row.claim_token)",
                "mine = _rows().filter(id=row.pk)",
            ),
        ),
        "alerts/test_delivery.py::test_who_lost_its_claim_does_not_write",
    ),
    Mutant(
        "a recovery is sent after its alert",
        "alerts/delivery.py",
        (("due.filter(~Exists(earlier))", "due"),),
        "alerts/test_delivery.py::test_the_recovery_waits_for_the_alert",
    ),
    Mutant(
        "a notice is given up after a day",
        "alerts/delivery.py",
        ((" or (now - row.created_at).total_seconds() > GIVE_UP_AFTER", ""),),
        "alerts/test_delivery.py::test_a_day_later_it_is_given_up_after_one_more_attempt",
    ),
    Mutant(
        "no connection is held while a channel sends",
        "alerts/delivery.py",
        (("    release_connection(outbox_alias())  # others may need it meanwhile\n", ""),),
        "alerts/test_delivery.py::test_no_connection_is_held_while_a_channel_sends",
    ),
    Mutant(
        "a channel that hangs is not begun again",
        "alerts/channels/__init__.py",
        (("if earlier is not None and earlier.is_alive():", "if earlier is None and key is None:"),),
        "alerts/test_channels.py::test_a_function_that_hangs_is_left_to_itself_and_not_begun_again",
    ),
    Mutant(
        "what a channel raised is not logged",
        "alerts/channels/__init__.py",
        (('NotSent(f"it raised {name}", detail=str(error))', "NotSent(str(error))"),),
        "alerts/test_delivery.py::test_what_the_function_raised_is_neither_logged_nor_stored",
    ),
    Mutant(
        "a mail backend without a timeout gets one",
        "alerts/channels/email.py",
        (("        backend.timeout = attempt.seconds\n", "        pass\n"),),
        "alerts/test_channels.py::test_a_mail_backend_without_a_timeout_gets_one",
    ),
    Mutant(
        "a failure of an alert's webhook shows no secret of its URL",
        "client/webhooks.py",
        (("redact_text(str(error), DEFAULT_REDACT_KEYS, secrets)", "str(error)"),),
        "alerts/test_channels.py::test_a_server_that_echoes_the_url_puts_no_secret_into_the_error",
    ),
    Mutant(
        "the time of an attempt is signed",
        "client/webhooks.py",
        (("str(timestamp).encode(), body", "body"),),
        "alerts/test_channels.py::test_a_webhook_gets_signed_json",
    ),
    Mutant(
        "while a round of alerts runs no other begins",
        "alerts/background.py",
        ((" or (_rounds.thread is not None and _rounds.thread.is_alive())", ""),),
        "alerts/test_background.py::test_while_a_round_runs_no_other_begins",
    ),
    Mutant(
        "a round of alerts that fails stops no worker",
        "alerts/background.py",
        (("    except Exception as error:  # noqa", "    except KeyboardInterrupt as error:  # noqa"),),
        "alerts/test_background.py::test_a_round_that_fails_is_logged_and_the_next_one_runs",
    ),
    Mutant(
        "alerts are not evaluated within a transaction of business code",
        "management/commands/eventbridge_alert.py",
        (("        return True\n", "        return False\n"),),
        "management/test_alert.py::test_nothing_is_evaluated_within_a_transaction_of_business_code",
    ),
    Mutant(
        "numbers do not make another failure",
        "text/failures.py",
        (('(?:[.,:]\\d+)*(?![\\w>])"), "<number>")', '(?:[.,:]\\d+)*(?![\\w>])"), "5")'),),
        "text/test_failures.py",
    ),
    Mutant(
        "an HTTP status makes another failure",
        "text/failures.py",
        (("{status_code or ''}", ""),),
        "text/test_failures.py",
    ),
    Mutant(
        "what is given back unsent keeps when it failed",
        "outbox/settle.py",
        (("return 1 if row.attempt is not None else -1", "return 1"),),
        "reporting/test_failures.py::TestWhatIsStored",
    ),
    Mutant(
        "an event that ends without a request failed when it ended",
        "outbox/expiry.py",
        (
            (
                '{"failed_at": DatabaseNow()} if state in NEEDS_OPERATOR',
                '{"failed_at": DatabaseNow()} if False',
            ),
        ),
        "reporting/test_failures.py::TestWhatIsStored",
    ),
    Mutant(
        "a limit of rows is never silent",
        "reporting/failures.py",
        (("capped_at=most if most is not None and max(read, default=0) > most else None", "capped_at=None"),),
        "reporting/test_failures.py::TestGroups",
    ),
    Mutant(
        "held is not late",
        "reporting/samples.py",
        (("MIN(CASE WHEN behind = 0 THEN since END)", "MIN(since)"),),
        "reporting/test_status.py::TestHeldIsNotLate",
    ),
    Mutant(
        "a plain report sets no exit code",
        "management/status.py",
        (('exits=options["check"],', "exits=True,"),),
        "management/test_status.py",
    ),
    Mutant(
        "a total is in the transaction of its bucket",
        "counters.py",
        (
            (
                "in_small_transaction(alias, partial(_write, alias, destination, rows, timed, totals))",
                "_write(alias, destination, rows, timed, totals)",
            ),
        ),
        "contrib/test_prometheus.py::test_a_total_that_cannot_be_written_leaves_no_bucket",
    ),
    Mutant(
        "what has no end has no total",
        "counters.py",
        (("totals = [row for row in rows if row[0].startswith(TOTALLED)]", "totals = list(rows)"),),
        "contrib/test_prometheus.py::TestTotals",
    ),
    Mutant(
        "pruning keeps totals",
        "counters.py",
        (
            (
                "    return sum(_delete(alias, old, batch_size) for old in (numbers, fine, coarse))\n",
                "    Total.objects.using(alias).all().delete()\n"
                "    return sum(_delete(alias, old, batch_size) for old in (numbers, fine, coarse))\n",
            ),
        ),
        "contrib/test_prometheus.py::TestTotals",
    ),
    Mutant(
        "buckets of a histogram are cumulative",
        "contrib/prometheus.py",
        (("if step <= last)", "if step == last)"),),
        "contrib/test_prometheus.py::TestTotals",
    ),
    Mutant(
        "a scrape counts a bounded number of events",
        "reporting/measurements.py",
        (("destination=alias)[:most]", "destination=alias)[: 10**9]"),),
        "contrib/test_prometheus.py::TestGauges",
    ),
    Mutant(
        "a pause that waits for its probe is shown",
        "contrib/prometheus.py",
        (
            (
                "health.paused_until is not None and",
                "health.paused_until is not None and health.paused_until > at.now and",
            ),
        ),
        "contrib/test_prometheus.py::TestPauses",
    ),
    Mutant(
        "the metrics need the token",
        "contrib/access.py",
        (("constant_time_compare(given.strip(), token)", "given"),),
        "contrib/test_prometheus.py::TestTheView",
    ),
    Mutant(
        "an empty token protects nothing",
        "contrib/access.py",
        (('if token is UNSET or token == "":', "if token is UNSET:"),),
        "contrib/test_prometheus.py::TestTheView",
    ),
    Mutant(
        "a public health page tells no details",
        "contrib/health.py",
        (("each.message if self.details else each.kind", "each.message"),),
        "contrib/test_health.py::TestTheCheck",
    ),
    Mutant(
        "a probe looks at more events than its limit",
        "reporting/judgement.py",
        (("max(LOOKED_AT, limits.max_dead + 1)", "LOOKED_AT"),),
        "contrib/test_health.py::TestOneJudgement",
    ),
    Mutant(
        "a thread of a server of metrics leaves no connection open",
        "contrib/connections.py",
        (("        if not was_open:\n            connection.close()\n", "        pass\n"),),
        "contrib/test_health.py::TestInItsView contrib/test_prometheus.py::TestThreads",
    ),
    Mutant(
        "a scrape keeps a connection that was open",
        "contrib/connections.py",
        (("        if not was_open:\n", "        if True:\n"),),
        "contrib/test_prometheus.py::TestThreads",
    ),
    Mutant(
        "the file of metrics is replaced at once",
        "management/commands/eventbridge_metrics.py",
        (("        Path(temporary).replace(file)\n", "        file.write_text(text)\n"),),
        "contrib/test_prometheus.py::TestTheCommand",
    ),
    Mutant(
        "totals are counted once",
        "migrations/0012_count_totals.py",
        (("    totals.all().delete()  # first", "    # first"),),
        "test_upgrade.py::TestTotals",
    ),
    Mutant(
        "types without end are timed together",
        "counters.py",
        (("        if len(known) < TYPES:\n            known.add", "        known.add"),),
        "test_counters.py::TestTimesByType",
    ),
    Mutant(
        "a range counts what is in it",
        "reporting/figures.py",
        (
            (
                "_rows(Rollup, aliases)\n        .filter(starts_at__gte=chosen.begins(now))",
                "_rows(Rollup, aliases)",
            ),
        ),
        "test_counters.py::TestFigures",
    ),
    Mutant(
        "the timeline knows what holds an event",
        "reporting/timeline.py",
        (("    if not step.goes:\n", "    if False:\n"),),
        "reporting/test_agreement.py",
    ),
    Mutant(
        "an old success is not green",
        "admin/dashboard/health.py",
        (('return "good" if recent and not missed else "", text', 'return "good", text'),),
        "reporting/test_agreement.py",
    ),
    Mutant(
        "a destination is judged by its events, too",
        "admin/destinations.py",
        (
            (
                "status.of_rows({row.alias: row for row in rows}, now, COUNTED)",
                "status.of_rows({row.alias: row for row in rows}, now, 0)",
            ),
        ),
        "reporting/test_agreement.py",
    ),
    Mutant(
        "what its key holds is not said to be scheduled",
        "operations/choices.py",
        (("        if row.key_held:\n            return Skip.HELD\n", ""),),
        "operations/test_operations.py::TestRetryNow",
    ),
    Mutant(
        "a filter of the list that means nothing lists nothing",
        "admin/filters.py",
        (("    if problems:\n        raise InvalidFilter(problems)\n", ""),),
        "admin/test_events.py::test_a_filter_that_means_nothing_lists_nothing_and_says_so",
    ),
    Mutant(
        "types that cannot be shown as they are are not offered",
        "admin/listing.py",
        ((" if clean(name, 255) == name", ""),),
        "admin/test_hostile.py::test_what_nobody_would_see_is_shown_as_an_escape",
    ),
    Mutant(
        "due events are read in the order of their index",
        "models.py",
        (("*(by_stored(self.model, name) for name in names)", "*names"),),
        "outbox/test_claim.py::test_a_claim_reads_the_due_events_in_the_order_of_their_index",
    ),
    Mutant(
        "a list begins with its rarest condition",
        "selection/access.py",
        (("return min(rare", "return max(rare"),),
        "selection/test_access.py::TestPlans::test_the_rarest_of_several_is_chosen",
    ),
    Mutant(
        "PostgreSQL does not read the index of the states for what few states have",
        "selection/access.py",
        (('["state"] if by in OF_FEW_STATES else []', "[]"),),
        "selection/test_access.py::test_what_few_states_have_is_found_without_the_index_of_the_states",
        "postgresql",
    ),
    Mutant(
        "rare events are not looked for in the order of ids",
        "selection/access.py",
        (('by_id: Any = NoIndex("id")', 'by_id: Any = F("id")'), ("import Max", "import F, Max")),
        "selection/test_access.py::TestPlans::test_a_rare_condition_is_found_by_its_index_and_sorted",
    ),
    Mutant(
        "the count of delivered rows reads the table",
        "migrations/0016_lean_rows.py",
        (('fields=["destination", "due_at"]', 'fields=["destination"]'),),
        "db/test_indexes.py::test_the_count_that_decides_how_to_read_a_list_reads_only_the_index",
        "postgresql",
    ),
    Mutant(
        "the count that chooses an index stops early",
        "selection/access.py",
        (('.values("id")[: _most(column)]', '.values("id")'),),
        "selection/test_access.py::TestPlans::test_the_count_that_decides_stops_early",
    ),
    Mutant(
        "what is in trouble is found by its index",
        "selection/access.py",
        (("    if by in TROUBLE:\n", '    if by == "tried":\n'),),
        "selection/test_access.py::TestPlans::test_events_in_trouble_are_found_by_their_index",
    ),
    Mutant(
        "a failure is stored with an error",
        "outbox/decide.py",
        (("error=_error(outcome) if outcome", "error=outcome.error if outcome"),),
        "outbox/test_decide.py::test_a_failure_of_a_protocol_that_names_no_error_is_stored_with_one",
    ),
    Mutant(
        "an event whose worker died is among those that wait for a retry",
        "selection/filters.py",
        (('failed.values("pk").union(doubtful.values("pk"), all=True)', 'failed.values("pk")'),),
        "selection/test_access.py::test_an_event_whose_worker_died_waits_for_a_retry_although_it_has_no_error",
    ),
    Mutant(
        "a list leaves out what was pruned since it was counted",
        "admin/listing.py",
        (("for pk in ids if pk in rows]", "for pk in ids]"),),
        "admin/test_events.py::test_an_event_that_is_pruned_while_the_list_is_read_is_left_out",
    ),
    Mutant(
        "an export ends at the newest event there was",
        "selection/access.py",
        (("        everything = everything.filter(id__lte=up_to)\n", "        pass\n"),),
        "selection/test_access.py::test_pages_end_at_the_event_that_was_the_newest",
    ),
    Mutant(
        "a part of a subject has an index on SQLite",
        "db/folding.py",
        (
            (" FoldedEnd(Func):", " FoldedEnd(Func):\n    as_sqlite = None\n"),
            ("def as_sqlite", "def _as_sqlite"),
        ),
        "selection/test_search.py",
    ),
    Mutant(
        "a long end of a subject is compared as a whole",
        "selection/search.py",
        (("yield ends if len(spelling) <= END else ends & _ends_with(spelling)", "yield ends"),),
        "selection/test_search.py::test_a_long_end_is_compared_as_a_whole",
    ),
    Mutant(
        "a search by letters of any alphabet ignores case",
        "selection/search.py",
        (("return {text, text.lower(), text.upper()}", "return {text}"),),
        "selection/test_search.py::test_letters_of_any_alphabet_signs_and_long_texts_are_found",
    ),
    Mutant(
        "no cell of an export is a formula",
        "reporting/exports.py",
        (('return f"\'{text}" if text.lstrip(" ").startswith(_FORMULA) else text', "return text"),),
        "reporting/test_exports.py::test_no_cell_is_a_formula",
    ),
    Mutant(
        "a formula behind spaces is one, too",
        "reporting/exports.py",
        (('text.lstrip(" ").startswith', "text.startswith"),),
        "reporting/test_exports.py::test_no_cell_is_a_formula",
    ),
    Mutant(
        "an export has the data only if asked for",
        "reporting/exports.py",
        (("envelope(event, payload=payload)", "envelope(event, payload=True)"),),
        "reporting/test_exports.py::test_the_data_is_there_only_if_asked_for_and_masked",
    ),
    Mutant(
        "an export is not collected in memory under ASGI",
        "admin/export.py",
        (("_async(parts) if isinstance(request, ASGIRequest) else parts", "parts"),),
        "admin/test_actions.py::test_an_export_is_streamed_under_asgi_too",
    ),
    Mutant(
        "an export is recorded in the audit",
        "admin/export.py",
        (("        jobs.note(order, total=total)\n", "        pass\n"),),
        "admin/test_actions.py::test_all_that_match_are_exported_without_a_limit_and_without_a_job_to_wait_for",
    ),
    Mutant(
        "a reader that has enough is no error",
        "management/output.py",
        (("        if not isinstance(error, BrokenPipeError):\n    ", "        if True:\n    "),),
        "management/test_listing.py management/test_common.py",
    ),
    Mutant(
        "a paused destination gets no claim",
        "relay/batch.py",
        (
            (
                "        if self._report_pause(gate):\n            return NextClaim(wait=None)\n",
                "        self._report_pause(gate)\n",
            ),
        ),
        "relay/test_relay.py::TestVerdicts::test_after_a_429_nothing_more_is_begun",
    ),
    Mutant(
        "what another worker claimed since the look is not put off",
        "outbox/claim.py",
        (
            (
                '    free = list(unlocked(_still_due(ids)).order_by("id").values_list("id", flat=True))\n'
                "    return _still_due(free)",
                "    return still_in(OutboxEvent.objects.on_outbox(), ids, State.PENDING)",
            ),
        ),
        "outbox/test_claim.py::test_a_row_of_a_refused_type_that_was_claimed_since_the_look_keeps_its_claim",
    ),
    Mutant(
        "a follower that another worker claimed since the look is not held",
        "outbox/followers.py",
        ((".filter(due_at__lte=NOW)\n    keys", "\n    keys"),),
        "outbox/test_claim.py::test_a_follower_that_was_claimed_since_the_look_keeps_its_claim",
    ),
    Mutant(
        "a claim ends what held its row",
        "outbox/claim.py",
        (('        "key_held": None,\n', ""),),
        "outbox/test_claim.py::test_a_claim_ends_what_held_the_row_behind_its_key",
    ),
    Mutant(
        "a turn that is over is nobody else's",
        "circuit/__init__.py",
        (("until is None or until <= circuit.now or until ==", "until is None or until =="),),
        "circuit/test_circuit.py::test_a_turn_that_is_over_is_nobody_elses",
    ),
    Mutant(
        "a pause of checks that the clock made long",
        "circuit/__init__.py",
        (("check=self.check.pulled_in(self.now)", "check=self.check"),),
        "circuit/test_circuit.py::test_after_the_clock_was_set_back_a_pause_lasts_its_own_length",
    ),
    Mutant(
        "a refused type that the clock held long",
        "circuit/__init__.py",
        (
            (
                "refused_until=self.refused_until and (past(self.refused_until, turn) or self.now)",
                "refused_until=self.refused_until",
            ),
        ),
        "circuit/test_circuit.py::test_after_the_clock_was_set_back_a_refused_type_does_not_wait_for_it",
    ),
    Mutant(
        "what only watches a sender cannot stop it",
        "relay/senders.py",
        (
            (
                "except Exception as error:  # noqa: BLE001 - a dead thread could",
                "except TypeError as error:  #",
            ),
        ),
        "relay/test_relay.py::test_what_only_watches_a_sender_cannot_stop_it",
    ),
    Mutant(
        "a stream that cannot be written does not stop the work",
        "management/progress.py",
        (
            (
                "            with suppress(*UNWRITABLE):\n                self._show",
                "            with suppress():\n                self._show",
            ),
        ),
        "management/test_progress.py::test_a_stream_that_cannot_be_written_does_not_stop_the_work",
    ),
    Mutant(
        "a loop does not need its standard error",
        "management/work.py",
        (("with suppress(*UNWRITABLE):", "with suppress():"),),
        "management/test_loop.py::TestProcess::test_a_worker_whose_log_cannot_be_written_continues",
    ),
    Mutant(
        "metrics replace regular files only",
        "management/commands/eventbridge_metrics.py",
        (("if file.exists() and not file.is_file():", "if False:"),),
        "contrib/test_prometheus.py",
    ),
    Mutant(
        "metrics leave a link where it is",
        "management/commands/eventbridge_metrics.py",
        (("file.resolve()", "file"),),
        "contrib/test_prometheus.py",
    ),
    Mutant(
        "an error while the output is written is one line",
        "management/output.py",
        (("    except OSError as error:\n", "    except BufferError as error:\n"),),
        "management/test_common.py::test_a_full_disk_is_one_line",
    ),
    Mutant(
        "what is left in the buffer of a full disk is dropped",
        "management/output.py",
        (("        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())", "        pass"),),
        "management/test_common.py::test_a_full_disk_is_one_line",
    ),
    Mutant(
        "a picture that cannot be written ends",
        "management/watch.py",
        (('        written(afterwards="nothing is shown any more"),\n', ""),),
        "management/test_common.py::test_a_full_disk_is_one_line",
    ),
    Mutant(
        "a sandbox outlives the reader of its settings",
        "management/commands/eventbridge_sandbox.py",
        (('        with written(afterwards="the sandbox has ended"):\n', "        if True:\n"),),
        "management/test_common.py",
    ),
    Mutant(
        "an output that is not UTF-8 shows escapes",
        "management/base.py",
        (('errors="backslashreplace"', "errors=None"),),
        "management/test_common.py::test_output_that_is_not_utf_8_shows_escapes",
    ),
    Mutant(
        "cancelling counts what may have been accepted",
        "management/commands/eventbridge_cancel.py",
        (("filter(MAY_BE_KNOWN, not_in_flight(), state__in", "filter(accepted_at__isnull=False, state__in"),),
        "management/test_events.py::TestCancel::test_what_may_have_been_accepted_is_counted",
    ),
    Mutant(
        "a standard input that is closed is an error of one line",
        "management/payload.py",
        (("if sys.stdin is None:", "if False:"),),
        "management/test_events.py::TestEnqueue::test_a_standard_input_that_is_closed_is_said",
    ),
    Mutant(
        "what is being sent is not cancelled, and not counted",
        "management/commands/eventbridge_cancel.py",
        (("filter(MAY_BE_KNOWN, not_in_flight(), state__in", "filter(MAY_BE_KNOWN, state__in"),),
        "management/test_events.py::TestCancel::test_what_is_being_sent_is_not_counted",
    ),
    Mutant(
        "an event's page says that it may have been accepted before it was cancelled",
        "reporting/ends.py",
        (('return by + " " + _("The platform may have accepted it before.")', "return by"),),
        "management/test_events.py::TestCancel::test_what_may_have_been_accepted_is_counted",
    ),
    Mutant(
        "an event that was cancelled before needs nobody",
        "management/commands/eventbridge_cancel.py",
        (("            already=Skip.CANCELLED,\n", ""),),
        "management/test_events.py::TestCancel::test_what_is_cancelled_already_needs_nobody",
    ),
    Mutant(
        "a second decision that differs needs an operator",
        "management/results.py",
        (("done.skipped.keys() - {already}", "done.skipped.keys() - {already, Skip.DELIVERED}"),),
        "management/test_events.py::TestResolve::test_the_same_decision_twice_needs_nobody_and_two_decisions_do",
    ),
    Mutant(
        "the sandbox reports wrong usage like argparse",
        "management/commands/eventbridge_sandbox.py",
        (
            (
                "        with usage_errors(self):\n            self._serve(options)",
                "        self._serve(options)",
            ),
        ),
        "management/test_common.py::test_a_usage_error_reads_like_one_of_argparse",
    ),
]


class NotTried(Exception):
    """The mutant says nothing about its tests: it does not fit the tree, or they fail without it."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Each guard has its test.")
    parser.add_argument(
        "--machine", action="store_true", help="run the state machine, not the tests that a mutant names"
    )
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="mutants with one of these words in their name"
    )
    options = parser.parse_args(arguments)
    chosen = [
        each for each in MUTANTS if not options.words or any(word in each.name for word in options.words)
    ]
    if not chosen:
        parser.error("no mutant has one of these words in its name")
    results: Counter[str] = Counter()
    for mutant in chosen:
        result, reason = outcome(mutant, "relay/test_state_machine.py" if options.machine else mutant.tests)
        results[result] += 1
        say(f"{result:<9} {mutant.name}{reason and ': '}{reason}")
    say(", ".join(f"{results[result]} {result}" for result in ("caught", "MISSED", "NOT TRIED", "skipped")))
    return 1 if results["MISSED"] or results["NOT TRIED"] else 0


def outcome(mutant: Mutant, tests: str) -> tuple[str, str]:
    """What became of one mutant, and why if it was not tried. Never raises for a bad entry."""
    if mutant.database != "sqlite" and not os.environ.get(databases.URLS[mutant.database]):
        return "skipped", f"{databases.URLS[mutant.database]} is not set"
    try:
        return ("caught" if is_noticed(mutant, tests) else "MISSED"), ""
    except NotTried as error:
        return "NOT TRIED", str(error)


def is_noticed(mutant: Mutant, tests: str) -> bool:
    """Whether these tests, which pass on a copy of the tree, fail on a copy with the mutant."""
    if found := problems(mutant):
        raise NotTried("; ".join(found))
    if failed := failures(tests, mutant.database):
        raise NotTried(f"without any mutant, on {mutant.database}: {'; '.join(failed)}")
    with tempfile.TemporaryDirectory(prefix="eventbridge-mutant-") as folder:
        copy = _copied(folder)
        (copy / "genesys_eventbridge" / mutant.file).write_text(mutated(mutant), encoding="utf-8")
        return bool(_pytest(copy, tests, mutant.database))


def problems(mutant: Mutant) -> list[str]:
    """Why this mutant cannot be tried on this tree; empty if it can."""
    found = [f"tests/{name} does not exist" for name in mutant.tests.split() if not _test_exists(name)]
    if not mutant.tests.split():
        found.append("names no tests")
    if not mutant.changes:
        found.append("changes nothing")
    try:
        ast.parse(mutated(mutant))
    except NotTried as error:
        found.append(str(error))
    except SyntaxError as error:
        found.append(f"{mutant.file} is no longer Python with it: {error}")
    return found


def mutated(mutant: Mutant) -> str:
    """The text of the mutant's file with all of its changes."""
    file = HOME / "genesys_eventbridge" / mutant.file
    if not file.is_file():
        raise NotTried(f"the package has no file {mutant.file}")
    text = file.read_text(encoding="utf-8")
    for old, new in mutant.changes:
        if text.count(old) != 1:
            raise NotTried(f"found {text.count(old)} times in {mutant.file}, not once: {old!r}")
        if old == new:
            raise NotTried(f"replaced by itself: {old!r}")
        text = text.replace(old, new)
    return text


def _test_exists(name: str) -> bool:
    """Whether tests/ has this file, and the file defines the classes and functions that follow ``::``."""
    path, *inner = name.partition("[")[0].split("::")
    file = HOME / "tests" / path
    if not inner:
        return file.exists()
    if not file.is_file():
        return False
    node: ast.Module | ast.ClassDef = _parsed(file.read_text(encoding="utf-8"))
    for part in inner:
        named = [each for each in node.body if getattr(each, "name", None) == part]
        if not named:
            return False
        if isinstance(named[0], ast.ClassDef):
            node = named[0]
    return True


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def failures(tests: str, database: str) -> list[str]:
    """Which of these tests fail as things are."""
    with tempfile.TemporaryDirectory(prefix="eventbridge-mutant-") as folder:
        return _pytest(_copied(folder), tests, database)


def _copied(folder: str) -> Path:
    return Path(shutil.copytree(HOME, Path(folder) / "tree", ignore=LEFT_OUT))


def _pytest(tree: Path, tests: str, database: str) -> list[str]:
    """The first of these tests that fails, in pytest's words; empty if all pass."""
    files = [f"tests/{name}" for name in tests.split()]
    environment = {name: value for name, value in os.environ.items() if name != databases.NAME}
    try:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not chaos", "-p", "no:cacheprovider", *files],
            cwd=tree,
            env={**environment, databases.CHOICE: database, "PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotTried(f"{tests} took longer than {error.timeout:.0f} s") from error
    if run.returncode not in (0, 1):  # no test passed or failed: pytest itself could not run
        raise NotTried(f"pytest ended with {run.returncode}\n{run.stdout}{run.stderr}")
    if run.returncode == 0:
        return []
    return [line for line in run.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))] or ["failed"]


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
