"""Model events: register a model once, and its rows and their events are committed together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.db.models import Model

from genesys_eventbridge.model_events import declaration, receivers
from genesys_eventbridge.model_events.bulk import EventManager, EventQuerySet, enqueue_for
from genesys_eventbridge.model_events.changes import Change
from genesys_eventbridge.model_events.events import suppress_events
from genesys_eventbridge.model_events.registry import Attribute

__all__ = ["Change", "EventManager", "EventQuerySet", "enqueue_for", "publishes", "suppress_events"]

M = TypeVar("M", bound=Model)


def publishes(
    *,
    created: str | None = None,
    updated: str | None = None,
    deleted: str | None = None,
    m2m: Mapping[str, str] | None = None,
    fields: Sequence[str] | Mapping[str, str] | None = None,
    data: Callable[..., Any] | None = None,
    subject: Attribute | None = None,
    ordering_key: Attribute | None = None,
    source: Attribute | None = None,
    extensions: Attribute | Mapping[str, Any] | None = None,
    url: Attribute | None = None,
    changed: Sequence[str] | None = None,
    when: Callable[..., Any] | None = None,
    destination: str = "default",
    atomic: bool = True,
    read_back: bool = False,
) -> Callable[[type[M]], type[M]]:
    """Publish a model's events: a class decorator, or ``publishes(...)(get_user_model())`` in ``ready()``.

    ``created``, ``updated`` and ``deleted`` are event types; ``m2m`` maps many-to-many fields to event types.
    Proxies, multi-table children and subclasses of an abstract model inherit the registration. A model may be
    registered several times; each registration writes its own event.

    The data of the event is given by one of:

    - ``fields``: a list of field names and relation paths (``customer.email`` becomes a nested object), or a
      mapping of names in data to paths;
    - ``data``: a callable that takes ``(instance)`` or ``(instance, change)`` and returns a JSON value.

    An event describes the row as its transaction sees it right after the save, or just before a delete, not
    what the instance in memory holds: a price is text with all decimals, a time is UTC, a file is its name,
    a foreign key is its key, and ``customer.email`` is read from the customer's row. Columns that the save
    did not write or that the database may have set are read back; columns set by triggers only with
    ``read_back=True``. Callables get their own object with these values and may only read.

    ``subject``, ``ordering_key``, ``source``, ``extensions`` and ``url`` (of the object, for staff) are
    each an attribute name or path, or a callable that takes the instance. ``source`` may also be the source
    itself, and ``extensions`` a mapping.

    ``changed`` names columns: an update is published only if one of them differs between the rows before and
    after the save. ``when`` takes ``(instance)`` or ``(instance, change)`` and decides for all kinds.

    Row and event are committed together. If no transaction is open, the save opens one, and all receivers
    of the model's signals run inside it. ``atomic=False`` opens none: then row and event are two commits,
    and the row before the save is read without a lock.

    ``bulk_create``, ``bulk_update``, ``QuerySet.update``, raw SQL, ``on_delete=SET_NULL`` and deletes made by
    the database send no signals, so they publish nothing: use ``EventQuerySet`` or ``enqueue_for``. ``raw``
    saves (loaddata) and the historical models of migrations publish nothing either.

    Raises ImproperlyConfigured for wrong arguments. A save raises InvalidEvent if the event is not valid,
    ImproperlyConfigured if the row is written to a different database than the outbox or a callable writes
    to the row's table, and TransactionManagementError if the database has rolled the transaction back; then
    neither row nor event is written.
    """
    given = {
        "created": created,
        "updated": updated,
        "deleted": deleted,
        "m2m": m2m,
        "fields": fields,
        "data": data,
        "subject": subject,
        "ordering_key": ordering_key,
        "source": source,
        "extensions": extensions,
        "url": url,
        "changed": changed,
        "when": when,
        "destination": destination,
        "atomic": atomic,
        "read_back": read_back,
    }

    def register(model: type[M]) -> type[M]:
        receivers.attach(declaration.declare(model, given))
        return model

    return register
