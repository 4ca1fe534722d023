"""Whether the open transaction is still the one that holds the change.

A database may end a transaction automatically after an error: a deadlock, a snapshot conflict, a trigger with
RAISE(ROLLBACK), a full disk. If other code catches that error, Django carries on in its ``atomic()`` block,
later statements run in a new transaction, and an event would commit without its row.

PostgreSQL refuses every later statement, and its state can be queried. So can SQLite's, until a savepoint
begins a new transaction. MySQL and MariaDB cannot. For those two ``watch`` notes each error that ended a
transaction; the note is valid until that transaction is committed or rolled back. Execute wrappers do not see
the errors of ``callproc()``, ``nextset()`` and fetches, so Django's own error wrapper is replaced as well.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.transaction import TransactionManagementError
from django.db.utils import DatabaseErrorWrapper

#: libpq's transaction status: after an error, and for a connection that is lost (psycopg 3 and psycopg2).
_INERROR, _UNKNOWN = 3, 4

#: MySQL and MariaDB: InnoDB has rolled back the whole transaction and the session carries on in a new one.
_ROLLED_BACK = frozenset(
    {
        1020,  # MariaDB, innodb_snapshot_isolation: the record has changed since the snapshot
        1206,  # the lock table is full
        1213,  # deadlock; in a Galera cluster also a certification failure
        1613,  # XA_RBTIMEOUT
        1614,  # XA_RBDEADLOCK
    }
)
#: Only with innodb_rollback_on_timeout; otherwise InnoDB rolls back the statement alone.
_LOCK_WAIT_TIMEOUT = 1205
#: The connection was lost. A driver or a proxy may silently open another one.
_CONNECTION_LOST = frozenset({0, 1053, 1152, 1158, 1159, 1160, 1161, 1927, 2006, 2013, 2055, 4031})

#: The transaction lost to another one and must be run again: MySQL's numbers, PostgreSQL's SQLSTATEs.
_CONFLICTS = frozenset({1020, 1213, "40001", "40P01"})

_LET_THROUGH = (
    "Let the error through, or put the queries that may fail into a transaction.atomic() of their own, "
    "inside the try."
)


def in_transaction(alias: str) -> bool:
    """Whether business code opened a transaction. The blocks of Django's TestCase do not count.

    Autocommit switched off counts as a transaction. Opens no connection.
    """
    connection = connections[alias]
    if not connection.in_atomic_block:
        return _in_manual_transaction(connection)
    return not all(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def after_commit(alias: str, function: Callable[..., object], *arguments: Any) -> None:
    """Call it after the commit of the open transaction, or now if there is none; an error is logged.

    Django logs the error with the ``__qualname__`` of the callback. A ``partial`` has none: the error of the
    log line would reach whoever commits.
    """

    @functools.wraps(function)
    def call() -> None:
        function(*arguments)

    transaction.on_commit(call, using=alias, robust=True)


@contextmanager
def kept(alias: str, what: str) -> Iterator[None]:
    """A transaction that raises if the database ended it early. ``what`` as in ``require_intact``."""
    with transaction.atomic(using=alias, savepoint=False):
        yield
        _require_held(alias, what)


@contextmanager
def around(alias: str, what: str) -> Iterator[None]:
    """``kept`` around a call of Django, whose errors are not changed if a transaction is already open.

    Django itself marks the transaction for rollback after an error that leaves work half done. The
    ValidationError of a receiver does not: the caller may catch it and continue.
    """
    connection = connections[alias]
    if not connection.in_atomic_block:
        with kept(alias, what):
            yield
        return
    try:
        yield
    except BaseException:
        if _ended(connection) is not None:
            connection.set_rollback(True)
        raise
    _require_held(alias, what)


def _require_held(alias: str, what: str) -> None:
    require_intact(alias, what)
    if transaction.get_rollback(alias):
        raise TransactionManagementError(
            f"{what}: other code caught a database error, after which the transaction can only be rolled "
            f"back. {_LET_THROUGH}"
        )


def require_intact(alias: str, what: str) -> None:
    """Raise TransactionManagementError if the database has ended the open transaction.

    ``what`` begins the sentence of the error: "This shop.Order is not saved". An ``atomic()`` block is also
    marked for rollback, so that a caller who catches the error commits nothing.
    """
    connection = connections[alias]
    if (reason := _ended(connection)) is None:
        return
    if connection.in_atomic_block:
        connection.set_rollback(True)
    raise TransactionManagementError(f"{what}: {reason}")


def refuse_in_transaction(alias: str, what: str) -> None:
    """Raise TransactionManagementError if business code has a transaction open on this database.

    For what sends events: an event of a transaction that is still open does not exist yet, and a rollback
    would leave it published. Only the outbox's database matters: a transaction on another one holds no event.
    """
    if in_transaction(alias):
        raise TransactionManagementError(
            f"{what}: a transaction is open on database {alias!r}, and its events may not be sent before it "
            "commits. Run this outside transaction.atomic() or in transaction.on_commit(), or leave it to a "
            "worker."
        )


def is_conflict(error: Error) -> bool:
    """Whether the transaction lost to another one and may succeed if it is run again."""
    cause = error.__cause__
    codes = {*error.args[:1], getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None)}
    return not _CONFLICTS.isdisjoint(codes)


def install() -> None:
    """Watch all connections that can lose their transaction unnoticed, new and already open ones."""
    connection_created.connect(_watch_new, dispatch_uid=f"{__name__}.watch")
    for connection in connections.all(initialized_only=True):
        watch(connection)


class Watch:
    """An execute wrapper that remembers after which error the database ended the current transaction.

    The memory must end exactly when the transaction does, also with autocommit switched off by hand. Django
    clears ``connection.errors_occurred`` when it commits or rolls back a transaction or connects, and at no
    other time within one (in particular not at a savepoint): while it is set, the error is of the current
    transaction. Each statement looks first, so that an error in a later transaction cannot revive an old
    note. A COMMIT or ROLLBACK sent as SQL is not seen: the transaction is refused until
    ``transaction.rollback()`` or ``commit()`` is called.
    """

    def __init__(self) -> None:
        self._error: str | None = None
        self._rolls_back_on_timeout: bool | None = None

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: Any, context: Any) -> Any:
        connection = context["connection"]
        self.error(connection)
        open_before = connection.vendor != "sqlite" or connection.connection.in_transaction
        try:
            return execute(sql, params, many, context)
        except Error as error:
            if open_before:
                self.note(connection, error)
            raise

    def note(self, connection: BaseDatabaseWrapper, error: Exception) -> None:
        """Remember an error, Django's or the driver's, if it ended the open transaction."""
        if _in_any_transaction(connection) and self._ends(connection, error):
            # Not set by Django for an IntegrityError, which a trigger's RAISE(ROLLBACK) is.
            connection.errors_occurred = True
            number = error.args[0] if error.args and isinstance(error.args[0], int) else ""
            self._error = f"{type(error).__name__} {number}".strip()

    def error(self, connection: BaseDatabaseWrapper) -> str | None:
        """The error that ended the current transaction."""
        if not connection.errors_occurred:
            self._error = None
        return self._error

    def _ends(self, connection: BaseDatabaseWrapper, error: Exception) -> bool:
        if connection.vendor == "sqlite":
            return not connection.connection.in_transaction
        number = error.args[0] if error.args else None
        if number == _LOCK_WAIT_TIMEOUT:
            return self._rolled_back_on_timeout(connection)
        return number in _ROLLED_BACK or number in _CONNECTION_LOST

    def _rolled_back_on_timeout(self, connection: BaseDatabaseWrapper) -> bool:
        """Queried once per connection, at its first timeout; True if the server does not respond."""
        if self._rolls_back_on_timeout is None:
            try:
                with connection.connection.cursor() as cursor:
                    cursor.execute("SELECT @@GLOBAL.innodb_rollback_on_timeout")
                    self._rolls_back_on_timeout = bool(cursor.fetchone()[0])
            except Exception:  # noqa: BLE001 - each driver has its own
                return True
        return self._rolls_back_on_timeout


class _DriverErrors(DatabaseErrorWrapper):
    """Django's translation of the driver's errors, which every call of the driver passes through."""

    def __init__(self, connection: BaseDatabaseWrapper, watch: Watch) -> None:
        super().__init__(connection)
        self._connection = connection
        self._watch = watch

    def __enter__(self) -> None:
        self._watch.error(self._connection)
        super().__enter__()

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if isinstance(exc_value, self._connection.Database.Error):  # type: ignore[attr-defined]
            self._watch.note(self._connection, exc_value)
        super().__exit__(exc_type, exc_value, traceback)


def watch(connection: BaseDatabaseWrapper) -> Watch | None:
    """The connection's Watch, installed now if it has none; None if the database reports its state."""
    if connection.vendor not in {"mysql", "sqlite"}:
        return None
    for wrapper in connection.execute_wrappers:
        if isinstance(wrapper, Watch):
            return wrapper
    installed = Watch()
    connection.execute_wrappers.append(installed)
    if connection.vendor == "mysql":
        connection.wrap_database_errors = _DriverErrors(connection, installed)
    return installed


def _watch_new(connection: BaseDatabaseWrapper, **_: Any) -> None:
    watch(connection)


def _ended(connection: BaseDatabaseWrapper) -> str | None:
    """Why the open transaction no longer contains its writes; None if it does."""
    if connection.connection is None or not _in_any_transaction(connection):
        return None
    if connection.closed_in_transaction:
        return f"the connection to database {connection.alias!r} was closed within the transaction."
    if connection.vendor == "postgresql":
        if connection.connection.info.transaction_status in {_INERROR, _UNKNOWN}:
            return (
                "other code caught a database error, after which the transaction can only be rolled back. "
                f"{_LET_THROUGH}"
            )
        return None
    watching = watch(connection)
    error = watching and watching.error(connection)
    if error is None and not _sqlite_has_ended(connection):
        return None
    after = f" after {error}" if error else ""
    remedy = (
        "Let such errors reach the outermost transaction.atomic()"
        if connection.in_atomic_block
        else "Call transaction.rollback()"
    )
    return (
        f"the database has rolled back the whole transaction{after}, and other code caught the error. "
        f"{remedy}, then run the whole transaction again."
    )


def _sqlite_has_ended(connection: BaseDatabaseWrapper) -> bool:
    """Not checked with autocommit off outside ``atomic()``: SQLite then begins at the first write."""
    began_by_django = connection.in_atomic_block and connection.commit_on_exit
    return connection.vendor == "sqlite" and began_by_django and not connection.connection.in_transaction


def _in_any_transaction(connection: BaseDatabaseWrapper) -> bool:
    return connection.in_atomic_block or _in_manual_transaction(connection)


def _in_manual_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether autocommit is switched off, outside ``atomic()``."""
    if connection.connection is None:
        return not connection.settings_dict["AUTOCOMMIT"]
    return not connection.autocommit
