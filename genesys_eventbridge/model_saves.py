"""The methods of a registered model that are wrapped: save_base, and where rows are read, from_db."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from genesys_eventbridge import model_changes
from genesys_eventbridge.model_registry import label, plan
from genesys_eventbridge.model_writing import suppressed

_IN_ERROR = 3  # what libpq calls INERROR, in psycopg 3 and psycopg2 alike
_DEADLOCK = frozenset({1205, 1213})  # after these MySQL has rolled back the transaction, or may have
_MARK = "_eventbridge_wrapped"


def wrap_save(model: type[Model]) -> None:
    """Let ``save_base`` hold the row and its events in one transaction, also in autocommit mode.

    Django sends ``post_save`` after its own commit where nobody opened a transaction.
    """
    if getattr(model.save_base, _MARK, False):
        return
    original = _original(model, "save_base")

    def save_base(  # noqa: PLR0917 - Django's signature
        self: Model,
        raw: bool = False,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Collection[str] | None = None,
    ) -> None:
        alias = using or router.db_for_write(type(self), instance=self)
        atomic = not raw and not suppressed() and any(one.atomic for one in plan(type(self)).saves)
        with _kept(self, alias) if atomic else _as_it_is():
            original(self)(
                raw=raw,
                force_insert=force_insert,
                force_update=force_update,
                using=alias,
                update_fields=update_fields,
            )

    save_base.alters_data = True  # type: ignore[attr-defined]
    _install(model, save_base)


def wrap_reads(model: type[Model]) -> None:
    """Let instances remember what they read of their rows. No query of its own."""
    if getattr(model.from_db, _MARK, False):
        return
    build = _original(model, "from_db")
    reload = _original(model, "refresh_from_db")

    def from_db(cls: type[Model], db: str | None, *args: Any, **kwargs: Any) -> Model:
        instance: Model = build(cls)(db, *args, **kwargs)
        watched = plan(cls).watched
        if watched and db is not None:
            model_changes.loaded(instance, watched, db)
        return instance

    def refresh_from_db(
        self: Model, using: str | None = None, fields: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        only = None if fields is None else list(fields)
        reload(self)(using, only, *args, **kwargs)
        if not (watched := plan(type(self)).watched):
            return
        if args or any(kwargs.values()):
            # from_queryset may leave columns out: they still hold what was assigned.
            model_changes.forget(self)
        else:
            model_changes.written(self, watched, using or self._state.db or "default", only)

    refresh_from_db.alters_data = True  # type: ignore[attr-defined]
    _install(model, from_db, classmethod)
    _install(model, refresh_from_db)


def _original(model: type[Model], name: str) -> Callable[[Any], Callable[..., Any]]:
    """What the method was, bound to an instance or class: the model's own, or the next one in its MRO."""
    own = vars(model).get(name)
    if own is None:
        return lambda bound: getattr(super(model, bound), name)
    if isinstance(own, classmethod):
        return lambda bound: own.__get__(None, bound)
    bind: Callable[[Any], Callable[..., Any]] = own.__get__
    return bind


def _install(
    model: type[Model], method: Callable[..., Any], kind: Callable[[Any], Any] = lambda method: method
) -> None:
    name = method.__name__
    method.__qualname__ = f"{model.__qualname__}.{name}"
    method.__module__ = model.__module__
    method.__doc__ = getattr(model, name).__doc__
    setattr(method, _MARK, True)
    setattr(model, name, kind(method))


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


@contextmanager
def _kept(instance: Model, alias: str) -> Iterator[None]:
    """A transaction that ends with an error rather than without its row."""
    connection = connections[alias]
    with transaction.atomic(using=alias, savepoint=False), _deadlocks(connection) as deadlocks:
        yield
        if deadlocks or transaction.get_rollback(alias) or _aborted(connection):
            raise transaction.TransactionManagementError(
                f"This {label(type(instance))} is not saved: a receiver of its signals caught a database "
                "error, after which the transaction can only be rolled back. Let the error through, or put "
                "the receiver's queries into a transaction.atomic() of their own, inside the try."
            )


@contextmanager
def _deadlocks(connection: BaseDatabaseWrapper) -> Iterator[list[int]]:
    """Errors after which MySQL goes on in a new transaction, and says so to nobody."""
    found: list[int] = []
    if connection.vendor != "mysql":
        yield found
        return

    def watch(execute: Callable[..., Any], *query: Any) -> Any:
        try:
            return execute(*query)
        except DatabaseError as error:
            if error.args and error.args[0] in _DEADLOCK:
                found.append(error.args[0])
            raise

    with connection.execute_wrapper(watch):
        yield found


def _aborted(connection: BaseDatabaseWrapper) -> bool:
    """Whether the database has given up the transaction after an error that Django did not hear of."""
    driver = connection.connection
    if connection.vendor == "postgresql":
        return bool(driver.info.transaction_status == _IN_ERROR)
    if connection.vendor == "sqlite":
        return not driver.in_transaction
    return False
