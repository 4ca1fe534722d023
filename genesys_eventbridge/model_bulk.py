"""Events of bulk operations, which send no signals: same transaction, constant number of queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import NotSupportedError, OperationalError, connections, models, router, transaction
from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable
from django.views.decorators.debug import sensitive_variables

from genesys_eventbridge import model_changes, model_writing
from genesys_eventbridge.database import first_write
from genesys_eventbridge.model_changes import UNKNOWN, Change, Difference
from genesys_eventbridge.model_registry import KINDS, Registration, label, plan
from genesys_eventbridge.models import OutboxEvent, outbox_alias

M = TypeVar("M", bound=Model)


def enqueue_for(objects: QuerySet[M] | Iterable[M], kind: str) -> list[OutboxEvent]:
    """Write the events that saving or deleting these objects one by one would have written.

    ``kind`` is created, updated or deleted. Call it in the transaction of the change: after
    ``QuerySet.update()`` or raw SQL, before a delete that sends no signals. A queryset is read anew, from the
    database that is written; objects in a list are taken as they are. What they were before is not known, so
    ``changed=`` lets them all through; ``when=`` is asked.

    Raises ImproperlyConfigured where the model publishes nothing of this kind, NotInTransaction outside
    ``atomic()``, and InvalidEvent, as ``enqueue_many`` does.
    """
    if kind not in KINDS:
        raise ImproperlyConfigured(f"enqueue_for(..., {kind!r}): the kind is one of {', '.join(KINDS)}.")
    alias = outbox_alias()
    if isinstance(objects, QuerySet):
        objects = objects.using(alias)
    by_model: dict[type[Model], list[Model]] = {}
    for instance in objects:
        by_model.setdefault(type(instance), []).append(instance)
    written = []
    for model, instances in by_model.items():
        if not plan(model).kinds[kind]:
            raise ImproperlyConfigured(
                f"{label(model)} publishes no {kind!r} event: register it with publishes({kind}=...)."
            )
        model_writing.same_database(model, router.db_for_write(model))
        written += _write(kind, model, [(instance, None) for instance in instances], alias)
    return written


class EventQuerySet(models.QuerySet[M]):
    """``bulk_create``, ``bulk_update`` and ``update`` that publish what a loop of ``save()`` would publish.

    ``update`` and ``bulk_update`` read and lock the rows first, then read them again: the events tell
    what the database holds. Within ``suppress_events()`` all three are Django's own.
    """

    def bulk_create(
        self,
        objs: Iterable[M],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> list[M]:
        """As Django's. Raises NotSupportedError where the database does not say which rows it wrote."""
        conflicts = (ignore_conflicts, update_conflicts)
        if not self._publishes("created"):
            return super().bulk_create(objs, batch_size, *conflicts, *args, **kwargs)
        if any(conflicts):
            raise NotSupportedError(
                "bulk_create() with ignore_conflicts or update_conflicts does not say which rows it created. "
                "Call it in suppress_events(), then enqueue_for() with the rows you know of."
            )
        self._for_write = True
        model_writing.same_database(self.model, self.db)
        with transaction.atomic(using=self.db, savepoint=False):
            made = super().bulk_create(objs, batch_size, *conflicts, *args, **kwargs)
            if any(instance.pk is None for instance in made):
                raise NotSupportedError(
                    f"This database does not return the keys of bulk_create(), and events of "
                    f"{label(self.model)} need them. Save the objects one by one, or give the model a key "
                    "that Python makes (UUIDField(primary_key=True, default=uuid.uuid4))."
                )
            for instance in made:
                model_changes.written(instance, plan(self.model).watched, self.db)
            _write("created", self.model, [(instance, None) for instance in made], self.db)
        return made

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    def bulk_update(self, objs: Iterable[M], fields: Iterable[str], *args: Any, **kwargs: Any) -> int:
        if not self._publishes("updated"):
            return super().bulk_update(objs, fields, *args, **kwargs)
        objs, fields = tuple(objs), list(fields)
        self._for_write = True
        model_writing.same_database(self.model, self.db)
        with transaction.atomic(using=self.db, savepoint=False):
            first_write(self.db)
            former = self._locked(self.filter(pk__in=[instance.pk for instance in objs]))
            with model_writing.suppress_events():
                count = super().bulk_update(objs, fields, *args, **kwargs)
            for instance in objs:
                model_changes.written(instance, plan(self.model).watched, self.db, fields)
            self._write_updated(former)
        return count

    bulk_update.alters_data = True  # type: ignore[attr-defined]

    @sensitive_variables()  # Django's error mails show no payload, in this frame or below it
    def update(self, **kwargs: Any) -> int:
        if not self._publishes("updated") or self.query.is_sliced or self.query.combinator:
            return super().update(**kwargs)
        self._for_write = True
        model_writing.same_database(self.model, self.db)
        with transaction.atomic(using=self.db, savepoint=False):
            first_write(self.db)
            former = self._locked(self)
            if not former:
                return 0
            # On SQLite the first write has stopped all others, and a long list of keys would not fit.
            alone = connections[self.db].vendor == "sqlite"
            chosen = self if alone else self.filter(pk__in=list(former))
            count = super(EventQuerySet, chosen).update(**kwargs)
            if count != len(former):
                raise OperationalError(
                    f"Rows of {label(self.model)} changed while update() ran, so nobody can say which ones "
                    "it wrote. Nothing was written; run it again in a new transaction."
                )
            self._result_cache = None
            self._write_updated(former)
        return count

    update.alters_data = True  # type: ignore[attr-defined]

    def _publishes(self, kind: str) -> bool:
        return bool(plan(self.model).kinds[kind]) and not model_writing.suppressed()

    def _locked(self, chosen: QuerySet[M]) -> dict[Any, M]:
        """The rows by key, as they are now and will stay until the end of the transaction."""
        query = chosen.query
        if chosen._iterable_class is not ModelIterable or query.distinct or query.group_by is not None:
            # No database locks such rows directly.
            chosen = self.model._base_manager.using(self.db).filter(pk__in=chosen.order_by().values("pk"))
        features = connections[self.db].features
        itself = ("self",) if features.has_select_for_update_of and not self.model._meta.parents else ()
        chosen = chosen.using(self.db).select_related(None).prefetch_related(None)
        rows = chosen.order_by("pk").select_for_update(of=itself)
        columns = [field.attname for field in plan(self.model).watched]
        return {row.pk: row for row in rows.only("pk", *columns)}

    @sensitive_variables()
    def _write_updated(self, former: Mapping[Any, M]) -> None:
        watched = plan(self.model).watched
        present = self.model._base_manager.using(self.db).in_bulk(list(former))
        changes = [
            (row, model_changes.between(former[pk], row, watched)) for pk, row in sorted(present.items())
        ]
        _write("updated", self.model, changes, self.db)


class EventManager(models.Manager.from_queryset(EventQuerySet)):  # type: ignore[misc]
    """The manager of an EventQuerySet: ``objects = EventManager()``."""


@sensitive_variables()
def _write(
    kind: str,
    model: type[Model],
    changes: Sequence[tuple[Model, Mapping[str, Difference] | None]],
    alias: str,
) -> list[OutboxEvent]:
    """The events of many rows of one model; differences are None where nobody saw the rows before."""
    if model_writing.suppressed():
        return []
    written = []
    for registration in plan(model).kinds[kind]:
        found = []
        for instance, differences in changes:
            change = _change(registration, kind, model, instance, differences)
            if change is not None:
                found.append((instance, change))
        made = model_writing.drafts(registration, registration.types[kind], found, alias)
        if made:
            written += model_writing.write_many(made)
    return written


def _change(
    registration: Registration,
    kind: str,
    model: type[Model],
    instance: Model,
    differences: Mapping[str, Difference] | None,
) -> Change | None:
    if kind == "created":
        return model_writing.created(registration, instance)
    if kind == "deleted":
        return model_writing.deleted(registration, instance)
    if differences is None:
        watched = plan(model).watched
        values = model_changes.values_of(instance, watched)
        differences = {field.attname: (UNKNOWN, values.get(field.attname, UNKNOWN)) for field in watched}
    return model_writing.updated(registration, model, differences)
