"""The contract a team hands to its consumers: every registered event, what it carries, and an example."""

from __future__ import annotations

import datetime as dt
import decimal
import inspect
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Field, Model

from genesys_eventbridge import conf
from genesys_eventbridge.cloudevents_data import plain
from genesys_eventbridge.model_payload import Tree, attribute, canonical, concrete_field, relation_named
from genesys_eventbridge.model_registry import Registration, label, plan, registrations
from genesys_eventbridge.models import outbox_alias

_DAY = dt.datetime(2025, 1, 31, 12, 30, tzinfo=dt.UTC)
#: Field class -> (an example, JSON Schema's format); a class after its subclasses.
_SAMPLES: tuple[tuple[type[Field[Any, Any]], Any, str], ...] = (
    (models.DecimalField, decimal.Decimal("19.9"), "decimal"),
    (models.DateTimeField, _DAY, "date-time"),
    (models.DateField, _DAY.date(), "date"),
    (models.TimeField, _DAY.time(), "time"),
    (models.DurationField, dt.timedelta(hours=36), "duration"),
    (models.UUIDField, uuid.UUID("6f1c3a52-9d0b-4e6e-8c55-2f0f0d6a7b11"), "uuid"),
    (models.BooleanField, True, ""),
    (models.FloatField, 1.5, ""),
    (models.IntegerField, 1, ""),
    (models.JSONField, {}, ""),
    (models.EmailField, "name@example.com", "email"),
    (models.URLField, "https://example.com/", "uri"),
    (models.FileField, "folder/file.pdf", "file name"),
    (models.Field, "text", ""),
)
_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array"}


@dataclass(frozen=True, slots=True)
class Member:
    """One value in ``data``: its path there, JSON type and format, whether it may be null, its choices."""

    name: str
    type: str
    format: str = ""
    nullable: bool = False
    choices: tuple[Any, ...] = ()
    text: str = ""
    """The field's help text or verbose name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event type of one model to one destination."""

    model: str
    kind: str
    """created, updated, deleted, or the name of a many-to-many field."""
    type: str
    destination: str
    changed: tuple[str, ...]
    """An update is published only when one of these changed; empty: at every save."""
    text: str
    """What the docstring of ``data=`` says; empty with ``fields=``."""
    members: tuple[Member, ...]
    """Empty with ``data=``: its schema tells."""
    schema: Mapping[str, Any] | None
    example: Any
    """An example of ``data``; None where neither fields nor the schema's examples give one."""


def entries() -> list[Entry]:
    """The catalogue, by event type. Raises ImproperlyConfigured for wrong settings."""
    found = [
        _entry(registration, kind, type_)
        for registration in registrations()
        for kind, type_ in (*registration.types.items(), *registration.m2m.items())
    ]
    return sorted(found, key=lambda entry: (entry.type, entry.destination, entry.model, entry.kind))


def object_url(object_type: str, object_id: str) -> str:
    """Where people look at the business object of an event, by ``url=``; "" where nothing says so.

    ``object_type`` and ``object_id`` are those of an OutboxEvent. One query. Only paths of this site and
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


def _entry(registration: Registration, kind: str, type_: str) -> Entry:
    schema = _schema(conf.destination(registration.destination).schemas.get(type_))
    members: tuple[Member, ...] = ()
    example = None
    if registration.tree is not None:
        members = tuple(_members(registration.model, registration.tree, ""))
        example = _example(registration.model, registration.tree)
    if schema and isinstance(schema.get("examples"), list) and schema["examples"]:
        example = schema["examples"][0]
    data = registration.given["data"]
    return Entry(
        model=label(registration.model),
        kind=kind,
        type=type_,
        destination=registration.destination,
        changed=(registration.changed or ()) if kind == "updated" else (),
        text=(inspect.getdoc(data) or "") if inspect.isroutine(data) else "",
        members=members,
        schema=schema,
        example=example,
    )


def _schema(given: Any) -> Mapping[str, Any] | None:
    if given is None or isinstance(given, Mapping):
        return given
    read: Mapping[str, Any] = json.loads(Path(given).read_text("utf-8"))
    return read


def _members(model: type[Model], tree: Tree, prefix: str) -> Iterator[Member]:
    for name, node in tree.items():
        if isinstance(node, dict):
            yield from _members(relation_named(model, name) or Model, node, f"{prefix}{name}.")
        else:
            yield _member(prefix + name, *_end(model, node))


def _end(model: type[Model], path: Sequence[str]) -> tuple[Field[Any, Any] | None, bool]:
    """The column at the end of a path, and whether a relation on the way may lead nowhere or to many."""
    crossed = False
    for position, name in enumerate(path):
        field = concrete_field(model, name)
        if position == len(path) - 1 and field is not None:
            return field, crossed
        relation = relation_named(model, name)
        if relation is None:
            return None, crossed
        crossed = crossed or field is None or field.null
        model = relation
    return None, crossed


def _member(name: str, field: Field[Any, Any] | None, crossed: bool) -> Member:
    if field is None:
        return Member(name, "any", nullable=True)
    sample, format_ = _sample(field)
    return Member(
        name,
        _JSON_TYPES.get(type(sample), "any"),
        format_,
        nullable=crossed or field.null,
        choices=tuple(value for value, _ in field.flatchoices),
        text=str(field.help_text or field.verbose_name),
    )


def _example(model: type[Model], tree: Tree) -> dict[str, Any]:
    example: dict[str, Any] = {}
    for name, node in tree.items():
        if isinstance(node, dict):
            example[name] = _example(relation_named(model, name) or Model, node)
        else:
            field, _ = _end(model, node)
            example[name] = None if field is None else _sample(field)[0]
    return example


def _sample(field: Field[Any, Any]) -> tuple[Any, str]:
    """A JSON value such as this column gives, and its format."""
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    sample, format_ = next((value, text) for kind, value, text in _SAMPLES if isinstance(field, kind))
    if field.flatchoices:
        sample = field.flatchoices[0][0]
    elif isinstance(sample, str) and field.max_length:
        sample = sample[: field.max_length]
    return plain(canonical(field, sample), limit=10_000), format_
