"""The real database: each statement, commit and rollback is a step, and a wait for a lock lets others run."""

from __future__ import annotations

import datetime as dt
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from unittest import mock

from django.apps import apps
from django.db import OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from genesys_eventbridge.db import clock
from tests.deterministic.scheduler import Scheduler, Task
from tests.deterministic.stand_ins import EPOCH, PACKAGE

#: Stands for the time in a statement, until it is executed.
NOW = "__NOW__"
_TIMES = {
    "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', '" + NOW + "', PRINTF('%%+.3f seconds', {seconds}))",
    "postgresql": "(TIMESTAMPTZ '" + NOW + "+00' + ({seconds}) * INTERVAL '1 second')",
    "mysql": "TIMESTAMPADD(MICROSECOND, ROUND(({seconds}) * 1000000), TIMESTAMP '" + NOW + "')",
}
_WRITES = ("INSERT", "UPDATE", "DELETE")
#: Real seconds after which a statement may be waiting for a lock.
SUSPECT = {"postgresql": 0.004, "mysql": 0.03}

#: MariaDB renews what it tells about locks only after this many seconds.
FRESH = 0.11
#: What a run writes to.
APPS = ("genesys_eventbridge", "shop")
_MOMENTS = {
    "in_doubt_since",
    "probe_until",
    "refused_until",
    "key_known_since",
    "held_until",
    "paused_until",
    "check_paused_until",
    "not_before",
}
_TABLE = re.compile(r"(?:FROM|INTO|UPDATE)\s+[\"`]?(?:genesys_eventbridge_)?(\w+)", re.IGNORECASE)

_FULL = re.compile(r"(?:FROM|INTO|UPDATE)\s+[\"`]?(\w+)", re.IGNORECASE)
_PLAIN = {"BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK"}

#: In a run: may raise an error instead of a statement or commit ("deadlock" or "lost"), or "" for none.
Trouble = Callable[[Task, str], str]


class Database:
    """One for all runs of a process: connections are used again by later tasks."""

    def __init__(self) -> None:
        self.vendor = connection.vendor
        self.scheduler: Scheduler | None = None
        self.trouble: Trouble = lambda task, what: ""
        #: Called after each commit or write outside a transaction, by the task that made it.
        self.after_commit: Callable[[], None] = lambda: None
        #: By how many seconds the database's clock is wrong.
        self.skew = 0.0
        self.latest = 0.0
        self._pool: list[BaseDatabaseWrapper] = []
        self._holder: Task | None = None
        self._executing: tuple[Task, BaseDatabaseWrapper] | None = None
        self._generation = 0
        self._blocked: dict[Task, threading.Event] = {}
        self._observer = connection.copy()
        self._observer.inc_thread_sharing()
        self._observer.connect()
        self._eyes = connection.copy()
        self._eyes.inc_thread_sharing()
        self._eyes.connect()
        if self.vendor == "mysql":
            anchor = connection.copy()
            anchor.inc_thread_sharing()
            self._anchor = anchor.cursor()
        self._guard, self._eyes_guard = threading.Lock(), threading.Lock()
        self._victims: set[Task] = set()
        #: Connections that were lost once: not used by another run.
        self._lost: set[BaseDatabaseWrapper] = set()
        self._sessions: dict[BaseDatabaseWrapper, int] = {}
        self._tables, self._sequences = self._names()
        #: Tables that are not empty.
        self._written = set(self._tables)
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        if self.vendor != "sqlite":
            self._watcher.start()

    def _names(self) -> tuple[list[str], list[str]]:
        """Our tables, those that refer to others first, and their sequences."""
        models = [
            each
            for label in APPS
            for each in apps.get_app_config(label).get_models(include_auto_created=True)
        ]
        tables = dict.fromkeys(each._meta.db_table for each in models if not each._meta.proxy)
        ordered: list[str] = []
        wanted = {
            each._meta.db_table: {
                field.related_model._meta.db_table for field in each._meta.fields if field.related_model
            }
            for each in models
        }

        def add(table: str) -> None:
            for other in tables:
                if other != table and table in wanted[other] and other not in ordered:
                    add(other)
            if table not in ordered:
                ordered.append(table)

        for table in tables:
            add(table)
        sequences: list[str] = []
        if self.vendor == "postgresql":
            with self._observer.cursor() as cursor:
                for each in models:
                    if not each._meta.proxy and each._meta.pk.column == "id":
                        cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [each._meta.db_table])
                        sequences += [name for (name,) in cursor.fetchall() if name]
        return ordered, sequences

    def close(self) -> None:
        self._closed.set()
        if self._watcher.is_alive():
            self._watcher.join()  # it reads through a connection that is closed below
        for each in (*self._pool, self._observer, self._eyes):
            with suppress(Exception):
                each.connection.close()

    # ------------------------------------------------------------------------------------------------ time

    def now(self) -> float:
        """The database's clock, in seconds since the start of the run."""
        assert self.scheduler is not None
        return self.scheduler.now + self.skew

    def _stamped(self, sql: Any) -> Any:
        if isinstance(sql, str) and NOW in sql:
            moment = dt.datetime.fromtimestamp(EPOCH + (self.now() if self.scheduler else 0.0), dt.UTC)
            return sql.replace(NOW, f"{moment:%Y-%m-%d %H:%M:%S.%f}"[: 23 if self.vendor == "sqlite" else 26])
        return sql

    # --------------------------------------------------------------------------------------------- one run

    @contextmanager
    def running(self, scheduler: Scheduler) -> Iterator[None]:
        """Connect the tasks of this scheduler to the database."""
        import sys

        def now_sql(connection: BaseDatabaseWrapper, seconds: str, *_moved: float) -> str:
            return _TIMES[connection.vendor].format(seconds=seconds)

        original = clock.now_sql
        self.scheduler, self.skew, self._holder, self.latest = scheduler, 0.0, None, 0.0
        scheduler.on_begin, scheduler.on_end, scheduler.on_kill = self._begin, self._end, self._kill
        with ExitStack() as patches:
            for name, module in list(sys.modules.items()):
                if name.startswith(PACKAGE) and vars(module).get("now_sql") is original:
                    patches.enter_context(mock.patch.object(module, "now_sql", now_sql))
            if self.vendor == "mysql":  # an old snapshot keeps InnoDB from removing old rows at some moment
                self._anchor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            try:
                yield
            finally:
                if self.vendor == "mysql":
                    self._anchor.execute("ROLLBACK")
                self.scheduler = None

    def _begin(self, task: Task) -> None:
        if "/sender" in task.name or task.name.startswith("network"):
            return
        if self._pool:
            own = self._pool.pop()
        else:
            own = connection.copy()
            own._thread_ident = threading.get_ident()  # type: ignore[attr-defined]
            self._set_up(own)
        own._thread_ident = threading.get_ident()  # type: ignore[attr-defined]
        own.ensure_connection()
        connections[own.alias] = own
        task.connection = own

    def _end(self, task: Task) -> None:
        own = task.connection
        if own is None:
            return
        task.connection = None
        if own.connection is None or own.in_atomic_block or own in self._lost or task.dying:
            self._drop(own, task)
        else:
            self._pool.append(own)

    def _drop(self, own: BaseDatabaseWrapper, task: Task) -> None:
        self._lost.discard(own)
        with suppress(Exception):
            own.connection.rollback()
        with suppress(Exception):
            own.connection.close()
        if self._holder is task:
            self._holder = None
        self._settle_blocked()

    def _kill(self, task: Task) -> None:
        """What the server does when a client is gone: it rolls back."""
        if task in self._blocked:
            self._cancel(task.connection)
            self._blocked.pop(task).wait()
            task.locked = False
        if task.connection is not None:
            self._drop(task.connection, task)

    def _set_up(self, own: BaseDatabaseWrapper) -> None:
        """Make steps of what this connection does."""
        if self.vendor == "postgresql":  # circles are found here, so that the victim is always the same
            own.settings_dict["OPTIONS"] = {
                **own.settings_dict["OPTIONS"],
                "options": "-c deadlock_timeout=1h",
            }
        own.settings_dict["CONN_MAX_AGE"] = None
        if own.connection is None:
            own.connect()
        own.execute_wrappers.append(self._statement)
        for name, what in (("_commit", "commit"), ("_rollback", "rollback")):
            setattr(own, name, _ending(self, own, getattr(own, name), what))
        close = own._close  # type: ignore[attr-defined]  # missing in the stubs

        def closed() -> None:
            close()
            self._released(own)

        own._close = closed  # type: ignore[attr-defined]

    # ------------------------------------------------------------------------------------------ statements

    def _statement(self, execute: Callable[..., Any], sql: Any, params: Any, many: Any, context: Any) -> Any:
        task = self.scheduler.current() if self.scheduler else None
        if task is None:
            return execute(self._stamped(sql), params, many, context)
        assert self.scheduler is not None
        own: BaseDatabaseWrapper = context["connection"]
        what = in_short(sql)
        self.scheduler.step(what)
        self._strike(task, own, what)
        verb = what.partition(" ")[0]
        if verb in _WRITES and (table := _FULL.search(sql)):
            self._written.add(table.group(1))
        if self.vendor == "sqlite" and (verb == "BEGIN" or (verb in _WRITES and not own.in_atomic_block)):
            self._wait_for_turn(task, what)
            if verb == "BEGIN":
                self._holder = task
        self.latest = max(self.latest, self.now())
        result = self._execute(task, own, lambda: execute(self._stamped(sql), params, many, context))
        if verb == "ROLLBACK":  # to a savepoint: releases locks
            self._settle_blocked()
        if verb in _WRITES and not own.in_atomic_block:
            self.after_commit()
        return result

    def _strike(self, task: Task, own: BaseDatabaseWrapper, what: str) -> None:
        """An error of the database, if the run wants one here."""
        kind = self.trouble(task, what)
        if not kind:
            return
        assert self.scheduler is not None
        self.scheduler.note(f"the database fails: {kind}")
        if self.vendor == "sqlite":
            raise OperationalError("database is locked")
        raw: Any = own.connection
        if kind == "lost":
            raw.rollback()
            self._lose(own)
            return  # the driver will say so
        with own.wrap_database_errors:
            if self.vendor == "postgresql":
                raw.execute("DO $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END $$")
            else:
                raw.rollback()
                self._settle_blocked()
                raw.cursor().execute(
                    "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'Deadlock'"
                )

    def _lose(self, own: BaseDatabaseWrapper) -> None:
        """The server ends a session that has no open transaction."""
        self._lost.add(own)
        if self.vendor == "postgresql":
            own.connection.close()
        else:
            with self._eyes_guard, self._eyes.connection.cursor() as cursor:
                cursor.execute(f"KILL {own.connection.thread_id()}")
        self._settle_blocked()

    def _wait_for_turn(self, task: Task, what: str) -> None:
        """SQLite: one writer at a time."""
        assert self.scheduler is not None
        while self._holder is not None and self._holder is not task:
            self.scheduler.wait(f"waits to write: {what}", lambda: self._holder is None)

    def _released(self, own: BaseDatabaseWrapper) -> None:
        if self._holder is not None and self._holder.connection is own:
            self._holder = None
        self._settle_blocked()

    # ------------------------------------------------------------------------------- PostgreSQL and MariaDB

    def _execute(self, task: Task, own: BaseDatabaseWrapper, run: Callable[[], Any]) -> Any:
        if self.vendor == "sqlite":
            return run()
        raw: Any = own.connection
        with own.wrap_database_errors:  # it may be closed
            session = raw.info.backend_pid if self.vendor == "postgresql" else raw.thread_id()
        self._sessions[own] = session
        with self._guard:
            self._generation += 1
            self._executing = task, own
        try:
            return run()
        except OperationalError:
            if task in self._victims:
                self._victims.remove(task)
                from psycopg.errors import DeadlockDetected

                raise OperationalError("deadlock detected") from DeadlockDetected("deadlock detected")
            raise
        finally:
            with self._guard:
                self._executing = None
                returned = self._blocked.get(task)
            if returned is not None:
                returned.set()
                assert self.scheduler is not None
                self.scheduler.rejoin(task)

    def _watch(self) -> None:
        """Find statements that wait for a lock of another task, and let the others run meanwhile."""
        seen = -1
        while not self._closed.wait(SUSPECT[self.vendor]):
            with self._guard:
                executing, generation = self._executing, self._generation
            if executing is None or generation != seen:
                seen = generation
                continue
            task, own = executing
            if not self._blockers(own):
                continue
            circle = self.vendor == "postgresql" and self._closes_a_circle(task, own)
            with self._guard:
                if self._executing is not executing:
                    continue
                if circle:
                    self._victims.add(task)
                else:
                    self._executing = None
                    self._blocked[task] = threading.Event()
            if circle:
                self._cancel(own)
                while self._generation == generation and self._executing is executing:
                    time.sleep(0.001)
            else:
                assert self.scheduler is not None
                self.scheduler.unblock(task)

    def _blockers(self, own: BaseDatabaseWrapper) -> list[int]:
        """The sessions whose locks this one waits for."""
        if self.vendor == "postgresql":
            with self._eyes_guard, self._eyes.connection.cursor() as cursor:
                cursor.execute("SELECT pg_blocking_pids(%s)", [self._sessions[own]])
                return list(cursor.fetchone()[0])
        time.sleep(FRESH)
        with self._eyes_guard, self._eyes.connection.cursor() as cursor:
            cursor.execute(
                "SELECT 1 FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = %s "
                "AND trx_state = 'LOCK WAIT'",
                [self._sessions[own]],
            )
            return [1] if cursor.fetchone() else []

    def _closes_a_circle(self, task: Task, own: BaseDatabaseWrapper) -> bool:
        """Whether a session that it waits for waits for it."""
        sessions = {self._sessions[each.connection]: each for each in self._blocked}
        seen, ahead = set[int](), self._blockers(own)
        while ahead:
            pid = ahead.pop()
            if pid == self._sessions[own]:
                return True
            if pid not in seen and pid in sessions:
                ahead += self._blockers(sessions[pid].connection)
            seen.add(pid)
        return False

    def _cancel(self, own: BaseDatabaseWrapper) -> None:
        with self._eyes_guard, self._eyes.connection.cursor() as cursor:
            if self.vendor == "postgresql":
                cursor.execute("SELECT pg_cancel_backend(%s)", [self._sessions[own]])
            else:
                cursor.execute(f"KILL QUERY {self._sessions[own]}")

    def _settle_blocked(self) -> None:
        """After locks were released: wait until each blocked statement has ended, or waits for another."""
        for task, returned in list(self._blocked.items()):
            while not returned.wait(0.0005 if self.vendor == "postgresql" else 0.01):
                if self._blockers(task.connection) and not returned.is_set():
                    break
            if returned.is_set():
                del self._blocked[task]
                task.locked = False

    # ----------------------------------------------------------------------------------------- what is there

    @contextmanager
    def reader(self) -> Iterator[Any]:
        """A cursor of the driver, whose statements are no steps."""
        cursor = self._observer.connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    def rows(self, table: str, columns: tuple[str, ...]) -> list[dict[str, Any]]:
        """What is committed, in order of id; times in seconds since the start, other values as text."""
        with self.reader() as cursor:
            cursor.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY id")
            return [
                {name: _plain(name, value) for name, value in zip(columns, row, strict=True)}
                for row in cursor.fetchall()
            ]

    def reset(self) -> None:
        """Empty the tables; ids start at 1 again."""
        with self._observer.cursor() as cursor:
            if self.vendor == "mysql":
                cursor.execute("SET FOREIGN_KEY_CHECKS = 0")
            for table in self._tables:
                if self.vendor != "mysql":
                    cursor.execute(f"DELETE FROM {table}")
                elif (
                    table in self._written
                ):  # takes long, but leaves no deleted rows, which InnoDB still locks
                    cursor.execute(f"TRUNCATE TABLE {table}")
            self._written.clear()
            if self.vendor == "sqlite":
                cursor.execute("DELETE FROM sqlite_sequence")
            elif self.vendor == "postgresql":
                for name in self._sequences:
                    cursor.execute(f"SELECT setval('{name}', 1, false)")


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    if name.endswith("_at") or name in _MOMENTS:
        moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        return moment.timestamp() - EPOCH
    return (
        str(value).replace("-", "")
        if name.endswith(("token", "_key")) and name != "ordering_key"
        else str(value)
    )


def _ending(
    database: Database, own: BaseDatabaseWrapper, end: Callable[[], None], what: str
) -> Callable[[], None]:
    """A commit or rollback as a step; a commit may be lost, before or after the server has done it."""

    def ended() -> None:
        scheduler = database.scheduler
        task = scheduler.current() if scheduler else None
        if task is None or scheduler is None or own.connection is None:
            end()
            return
        scheduler.step(what)
        kind = database.trouble(task, what)
        if kind and what == "commit":
            scheduler.note(f"the connection is lost {kind} the commit")
            raw: Any = own.connection
            raw.commit() if kind == "after" else raw.rollback()
            if database.vendor == "sqlite":
                database._released(own)
            else:
                database._lose(own)
            if kind == "after":
                database.after_commit()
            raise OperationalError(f"connection lost {kind} the commit")
        end()
        database._released(own)
        if what == "commit":
            database.after_commit()

    return ended


def in_short(sql: Any) -> str:
    """The verb and the table of a statement."""
    text = str(sql)
    verb = text.split(None, 1)[0].rstrip(";")
    if verb in _PLAIN:
        return verb
    table = _TABLE.search(text)
    lock = " FOR UPDATE" if "FOR UPDATE" in text or "FOR NO KEY UPDATE" in text else ""
    return f"{verb} {table.group(1) if table else text[:40]}{lock}"
