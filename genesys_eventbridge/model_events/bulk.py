"""Events of bulk operations, which send no signals: same transaction, constant number of queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import NotSupportedError, OperationalError, connections, models, router
from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable
from django.views.decorators.debug import sensitive_variables

from genesys_eventbridge.db.transactions import around, kept
from genesys_eventbridge.model_events import events
from genesys_eventbridge.model_events.changes import Change, Difference, Values, differences
from genesys_eventbridge.model_events.registry import KINDS, Registration, needs_of, plan, unwrapped
from genesys_eventbridge.model_events.rows import (
    Needs,
    Written,
    known_values,
    loaded,
    locked,
    read_rows,
    rows_of,
    values_in,
)
from genesys_eventbridge.models import OutboxEvent, outbox_alias

M = TypeVar("M", bound=Model)


@sensitive_variables()  # Django's error mails show no payload, in this frame or below it
def enqueue_for(objects: QuerySet[M] | Iterable[M], kind: str) -> list[OutboxEvent]:
    """Write the events that saving or deleting these objects one by one would have written.

    ``kind`` is created, updated or deleted. Call it in the transaction of the change: after
    ``QuerySet.update()`` or raw SQL, or before a delete that sends no signals. The events describe the rows
    as they are now in the database that is written; of objects in a list only the keys are used. The rows
    before the change are not known, so ``changed=`` filters nothing; ``when=`` does.

    Raises ImproperlyConfigured if the model publishes no event of this kind, ValueError if a row is not in
    the database, NotInTransaction outside ``atomic()``, and InvalidEvent, as ``enqueue_many`` does.
    """
    if kind not in KINDS:
        raise ImproperlyConfigured(f"enqueue_for(..., {kind!r}): kind must be one of {', '.join(KINDS)}.")
    alias = outbox_alias()
    fresh = isinstance(objects, QuerySet)
    if isinstance(objects, QuerySet):
        objects = objects.using(alias)
    by_model: dict[type[Model], list[Model]] = {}
    for instance in map(unwrapped, objects):
        by_model.setdefault(type(instance), []).append(instance)
    written = []
    for model, instances in by_model.items():
        if not plan(model).kinds[kind]:
            raise ImproperlyConfigured(
                f"{model._meta.label} publishes no {kind!r} event. Register it with publishes({kind}=...)."
            )
        events.same_database(model, router.db_for_write(model))
        if events.suppressed():
            continue
        needs = _needs(model, kind)
        known = [loaded(instance) if fresh else {} for instance in instances]
        found = rows_of(instances, alias, Needs(needs.columns, runs_code=needs.runs_code), known)
        rows = [row for row in found if row is not None]
        if len(rows) < len(instances):
            lost = next(one for one, row in zip(instances, found, strict=True) if row is None)
            raise ValueError(
                f"enqueue_for(..., {kind!r}): {len(instances) - len(rows)} of these {model._meta.label} are "
                f"not in the database, for example {lost.pk}. Call it before a delete, but after other "
                "changes."
            )
        written += _write(kind, model, rows)
    return written


class EventQuerySet(models.QuerySet[M]):
    """``bulk_create``, ``bulk_update`` and ``update`` that publish what a loop of ``save()`` would publish.

    ``update`` and ``bulk_update`` lock and read the rows, change them, and read them again, so that the
    events describe the rows in the database. Within ``suppress_events()`` all three are Django's own.

    All three raise ImproperlyConfigured if the rows are written to a different database than the outbox, and
    InvalidEvent if an event is not valid; then nothing is written.
    """

    @sensitive_variables()
    def bulk_create(
        self,
        objs: Iterable[M],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> list[M]:
        """As Django's. Raises NotSupportedError if the database does not report which rows it created."""
        conflicts = (ignore_conflicts, update_conflicts)
        if not self._publishes("created"):
            return super().bulk_create(objs, batch_size, *conflicts, *args, **kwargs)
        if any(conflicts):
            raise NotSupportedError(
                "bulk_create() with ignore_conflicts or update_conflicts does not report which rows it "
                "created. Call it in suppress_events(), then call enqueue_for() with the rows you know of."
            )
        self._for_write = True
        events.same_database(self.model, self.db)
        with around(self.db, self._not_done("created")):
            objs = list(objs)
            held = [dict(vars(instance)) for instance in objs]
            made = super().bulk_create(objs, batch_size, *conflicts, *args, **kwargs)
            with kept(self.db, self._not_done("created")):
                if any(instance.pk is None for instance in made):
                    raise NotSupportedError(
                        f"This database does not return the keys of bulk_create(), and events of "
                        f"{self.model._meta.label} need them. Save the objects one by one, or use a primary "
                        "key with a Python default (UUIDField(primary_key=True, default=uuid.uuid4))."
                    )
                needs = _needs(self.model, "created")
                known = []
                for instance, former in zip(made, held, strict=True):
                    written = Written.by_save(instance, None, inserted=True, held=former)
                    known.append(known_values(instance, self.db, written, needs))
                rows = rows_of(made, self.db, needs, known)
                _write("created", self.model, [row for row in rows if row is not None])
        return made

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    @sensitive_variables()
    def bulk_update(self, objs: Iterable[M], fields: Iterable[str], *args: Any, **kwargs: Any) -> int:
        if not self._publishes("updated"):
            return super().bulk_update(objs, fields, *args, **kwargs)
        objs = tuple(objs)
        self._for_write = True
        events.same_database(self.model, self.db)
        with around(self.db, self._not_done("updated")):
            former = self._locked(self.filter(pk__in=[instance.pk for instance in objs]))
            with events.suppress_events():
                count = super().bulk_update(objs, fields, *args, **kwargs)
            with kept(self.db, self._not_done("updated")):
                self._write_updated(former)
        return count

    bulk_update.alters_data = True  # type: ignore[attr-defined]

    @sensitive_variables()
    def update(self, **kwargs: Any) -> int:
        if not self._publishes("updated") or self.query.is_sliced or self.query.combinator:
            return super().update(**kwargs)
        if any({key.name, key.attname} & kwargs.keys() for key in self.model._meta.pk_fields):
            raise NotSupportedError(
                f"update() of the primary key of {self.model._meta.label} does not report which rows it "
                "changed. Call it in suppress_events(), then call enqueue_for() with the rows you know of."
            )
        self._for_write = True
        events.same_database(self.model, self.db)
        with around(self.db, self._not_done("updated")):
            former = self._locked(self)
            if not former:
                return super(EventQuerySet, self.none()).update(**kwargs)  # still raises for wrong arguments
            # On SQLite no other connection can write now, and a long list of keys would exceed its limit.
            alone = connections[self.db].vendor == "sqlite"
            chosen = self if alone else self.filter(pk__in=list(former))
            count = super(EventQuerySet, chosen).update(**kwargs)
            with kept(self.db, self._not_done("updated")):
                if count != len(former):
                    raise OperationalError(
                        f"Rows of {self.model._meta.label} changed while update() ran, so it is not known "
                        "which ones it updated. Nothing was written; run it again in a new transaction."
                    )
                self._result_cache = None
                self._write_updated(former)
        return count

    update.alters_data = True  # type: ignore[attr-defined]

    def _publishes(self, kind: str) -> bool:
        return bool(plan(self.model).kinds[kind]) and not events.suppressed()

    def _not_done(self, done: str) -> str:
        return f"These {self.model._meta.label} are not {done}"

    def _locked(self, chosen: QuerySet[M]) -> dict[Any, Values]:
        """Primary key -> watched columns of the rows, which stay locked until the transaction ends."""
        query = chosen.query
        if chosen._iterable_class is not ModelIterable or query.distinct or query.group_by is not None:
            # No database can lock the rows of such a query.
            chosen = self.model._base_manager.using(self.db).filter(pk__in=chosen.order_by().values("pk"))
        chosen = chosen.using(self.db).select_related(None).prefetch_related(None).order_by("pk")
        watched = plan(self.model).watched
        rows = chosen.only("pk", *(column.name for column in watched))
        of = () if self.model._meta.parents else ("self",)
        return {row.pk: values_in(row, watched) for row in locked(rows, self.db, of)}

    @sensitive_variables()
    def _write_updated(self, former: Mapping[Any, Values]) -> None:
        watched = plan(self.model).watched
        present = read_rows(self.model, former.keys(), self.db, _needs(self.model, "updated"))
        keys = sorted(present)
        rows = [present[pk] for pk in keys]
        seen = [differences(watched, former[pk], values_in(present[pk], watched)) for pk in keys]
        _write("updated", self.model, rows, seen)


class EventManager(models.Manager.from_queryset(EventQuerySet)):  # type: ignore[misc]
    """A manager with the methods of EventQuerySet: ``objects = EventManager()``."""


def _needs(model: type[Model], kind: str) -> Needs:
    return needs_of(plan(model).kinds[kind], model)


@sensitive_variables()
def _write(
    kind: str,
    model: type[Model],
    rows: Sequence[Model],
    seen: Sequence[Mapping[str, Difference]] | None = None,
) -> list[OutboxEvent]:
    """Write the events of many rows of one model. ``seen`` is how each differs, None if not read before."""
    if events.suppressed():
        return []
    written = []
    for registration in plan(model).kinds[kind]:
        chosen, changes = _changes(registration, kind, model, rows, seen)
        made = events.pending_many(registration, registration.types[kind], chosen, changes)
        written += events.write_many(made)
    return written


def _changes(
    registration: Registration,
    kind: str,
    model: type[Model],
    rows: Sequence[Model],
    seen: Sequence[Mapping[str, Difference]] | None,
) -> tuple[Sequence[Model], Iterable[Change]]:
    """The rows whose change the registration publishes, and for each what changed."""
    if kind == "created":
        return rows, (events.created(registration, row) for row in rows)
    if kind == "deleted":
        return rows, (events.deleted(registration, row) for row in rows)
    if seen is None:
        watched = plan(model).watched
        seen = [differences(watched, None, values_in(row, watched)) for row in rows]
    both = zip(rows, seen, strict=True)
    concerned = [(row, found) for row, found in both if events.concerns(registration, type(row), found)]
    changes = (events.updated(registration, type(row), found) for row, found in concerned)
    return [row for row, _ in concerned], changes
