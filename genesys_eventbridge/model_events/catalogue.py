"""The event catalogue, for the consumers of the events: each declared event, its data, and an example.

Events are declared by registering a model, by ``declare_event()``, and by a schema in SCHEMAS for a type that
``enqueue()`` is called with.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.translation import gettext as _

from genesys_eventbridge import conf
from genesys_eventbridge.cloudevents import NO_DATA
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.model_events.payload import attribute, leads_to_source
from genesys_eventbridge.model_events.registry import KINDS, Registration, models_of, plan, registrations
from genesys_eventbridge.model_events.shapes import DIALECT, IMPOSSIBLE, REFUSED, Shape, data_shape
from genesys_eventbridge.models import outbox_alias
from genesys_eventbridge.outbox import schemas
from genesys_eventbridge.outbox.declarations import Declaration, declaration_of, declarations, schema_of

#: How errors name the schema that a model gives.
_FROM_MODEL = "the schema of the model"


@dataclass(frozen=True, slots=True)
class Member:
    """One value in ``data``: its path, JSON type and format, whether it may be null, its choices.

    In a path, ``a.b`` is member b of object a, and ``a[]`` is each element of list a. A list, and an object
    that may be null, are members of their own. If an object may be null, so may all its members.
    """

    name: str
    type: str
    """A JSON type; "any": not known from the model; "refused": JSON cannot represent it, a save raises."""
    format: str = ""
    nullable: bool = False
    choices: tuple[Any, ...] = ()
    text: str = ""
    """The field's help text or verbose name."""

    @property
    def values(self) -> str:
        """Which values it may have: "string (date-time), or null"."""
        if self.type == "any":
            return _("any JSON value")
        if self.type == "null":
            return _("null; saving any other value raises InvalidEvent")
        if self.type == REFUSED:
            return _("cannot be published: saving it raises InvalidEvent")
        parts = [f"{self.type} ({self.format})" if self.format else self.type]
        if self.choices:
            choices = ", ".join(json.dumps(one, ensure_ascii=False, default=str) for one in self.choices)
            parts.append(_("one of %(choices)s") % {"choices": choices})
        if self.nullable:
            parts.append(_("or null"))
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event type of one model to one destination, or of ``enqueue()`` if ``model`` is empty."""

    model: str
    kind: str
    """created, updated, deleted, the name of a many-to-many field, or "" without a model."""
    type: str
    destination: str
    changed: tuple[str, ...]
    """An update is published only if one of these columns changed; empty: every save is published."""
    text: str
    """The docstring of ``data=``, or the description of ``declare_event()``; empty with ``fields=``."""
    members: tuple[Member, ...]
    """Empty with ``data=``, which only a schema in SCHEMAS or of ``declare_event()`` can describe."""
    schema: Mapping[str, Any] | None
    """From the setting SCHEMAS, or else from ``declare_event()``."""
    example: Any
    """An example of ``data`` that is valid against both schemas; None if there is none."""
    model_schema: Mapping[str, Any] | None
    """JSON Schema of ``data``, derived from the model and ``fields=``; None with ``data=``."""
    source: str
    """The CloudEvents source of its events; where they differ, the setting SOURCE, which is the default."""
    source_varies: bool
    """Whether each event may have another source: the row or the caller of ``enqueue()`` decides."""
    has_subject: bool
    """Whether its events may have a subject."""

    @property
    def occasion(self) -> str:
        """When it is published: "shop.Order updated, when status changed"."""
        words = {"model": self.model, "kind": self.kind, "columns": ", ".join(self.changed)}
        if not self.model:
            return _("enqueue()")
        if self.kind not in KINDS:
            return _("%(model)s when its %(kind)s change") % words
        if self.changed:
            return _("%(model)s updated, when %(columns)s changed") % words
        return {
            "created": _("%(model)s created"),
            "updated": _("%(model)s updated"),
            "deleted": _("%(model)s deleted"),
        }[self.kind] % words


def entries() -> list[Entry]:
    """The catalogue, sorted by event type. Raises ImproperlyConfigured for wrong settings and files."""
    found = [
        _entry(registration, model, kind, type_)
        for registration in registrations()
        for kind, type_ in (*registration.types.items(), *registration.m2m.items())
        for model in _models(registration, kind)
    ]
    known = {(entry.type, entry.destination) for entry in found}
    aliases = conf.aliases()
    declared = dict.fromkeys(
        [
            *((one.type, one.destination) for one in declarations() if one.destination in aliases),
            *((type_, alias) for alias in aliases for type_ in conf.destination(alias).schemas),
        ]
    )
    found += [_declared(alias, type_) for type_, alias in declared if (type_, alias) not in known]
    return sorted(found, key=lambda entry: (entry.type, entry.destination, entry.model, entry.kind))


def object_url(object_type: str, object_id: str) -> str:
    """The URL of an event's business object for staff, from ``url=``; "" if there is none.

    ``object_type`` and ``object_id`` are those of an OutboxEvent. One query. Only paths on this site and
    http(s) URLs are returned. Raises what a callable ``url`` raises.
    """
    try:
        model = apps.get_model(object_type)
        known = [one for group in plan(model).kinds.values() for one in group if one.url is not None]
        rows = model._base_manager.using(outbox_alias())
        instance = rows.filter(pk=object_id).first() if known else None
    except (LookupError, ValueError, ValidationError):
        return ""
    url = "" if instance is None else str(attribute(instance, known[0].url) or "")
    local = url.startswith("/") and not url.startswith(("//", "/\\"))
    return url if local or url.lower().startswith(("https://", "http://")) else ""


def _models(registration: Registration, kind: str) -> list[type[Model]]:
    """The registered model; for an abstract one, the models that publish this kind by its registration."""
    if not registration.model._meta.abstract:
        return [registration.model]
    found = list(models_of(registration))
    return [
        model
        for model in found
        if not any(parent in found for parent in model.__mro__[1:])
        and (
            registration in plan(model).kinds.get(kind, ())
            or any(name == kind and one is registration for name, _type, one in plan(model).m2m)
        )
    ]


def _entry(registration: Registration, model: type[Model], kind: str, type_: str) -> Entry:
    settings = conf.destination(registration.destination)
    schema, origin = _schema(settings, type_)
    shape = None if registration.tree is None else data_shape(model, registration.tree)
    model_schema = None if shape is None else {"$schema": DIALECT, **shape.schema()}
    data = registration.given["data"]
    varies = registration.source is not None and leads_to_source(model, registration.source)
    literal = None if varies else registration.source
    text = (inspect.getdoc(data) or "") if inspect.isroutine(data) else ""
    declaration = declaration_of(registration.destination, type_)
    return Entry(
        model=model._meta.label,
        kind=kind,
        type=type_,
        destination=registration.destination,
        changed=(registration.changed or ()) if kind == "updated" else (),
        text=text or (declaration.description if declaration else ""),
        members=() if shape is None else tuple(_members(shape)),
        schema=schema,
        example=_example(shape, [(schema, origin), (model_schema, _FROM_MODEL)], type_, declaration),
        model_schema=model_schema,
        source=str(literal) if literal else settings.source,
        source_varies=varies,
        has_subject=registration.subject is not None,
    )


def _declared(alias: str, type_: str) -> Entry:
    """A type that only SCHEMAS or ``declare_event()`` names."""
    settings = conf.destination(alias)
    declaration = declaration_of(alias, type_)
    schema, origin = _schema(settings, type_)
    return Entry(
        model="",
        kind="",
        type=type_,
        destination=alias,
        changed=(),
        text=declaration.description if declaration else "",
        members=(),
        schema=schema,
        example=_example(None, [(schema, origin)], type_, declaration),
        model_schema=None,
        source=settings.source,
        source_varies=True,
        has_subject=True,
    )


def _schema(settings: DestinationSettings, type_: str) -> tuple[Mapping[str, Any] | None, str]:
    """``schema_of`` with what a file contains."""
    given, origin = schema_of(settings, type_)
    return (None if given is None else schemas.read(given, origin)), origin


def _example(
    shape: Shape | None,
    known: Sequence[tuple[Mapping[str, Any] | None, str]],
    type_: str,
    declaration: Declaration | None,
) -> Any:
    """The declared example, else the first in the user's schema, else one of the model; it fits all schemas.

    ``known``: schemas, and how errors name them.
    """
    rules = [(schema, origin) for schema, origin in known if schema is not None]
    made = [] if shape is None or (one := shape.example()) is IMPOSSIBLE else [one]
    given = [
        example
        for schema, _origin in rules
        if isinstance(schema.get("examples"), list)
        for example in schema["examples"]
    ]
    if declaration is not None and declaration.example is not NO_DATA:
        given.insert(0, declaration.example)
    if shape is not None and len(rules) == 1 and not given:
        return made[0] if made else None
    if not schemas.available():
        return next(iter([*given, *made]), None)
    candidates = (*given, *made)
    fitting = (
        one for one in candidates if all(schemas.fits(schema, type_, one, origin) for schema, origin in rules)
    )
    return next(fitting, None)


def _members(shape: Shape, name: str = "", *, within_null: bool = False) -> Iterator[Member]:
    """The members of a shape; ``within_null``: a surrounding object may be null."""
    nullable = shape.nullable or within_null
    if name and (shape.members is None or shape.nullable):
        type_ = "null" if shape.type == REFUSED and shape.nullable else shape.type
        yield Member(name, type_, shape.format, nullable, shape.choices, shape.text)
    if shape.items is not None:
        yield from _members(shape.items, f"{name}[]")
    for key, member in (shape.members or {}).items():
        yield from _members(member, f"{name}.{key}" if name else key, within_null=nullable)
