"""The JSON type, nullability and an example of each value that ``fields=`` puts in ``data``."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import models
from django.db.models import Field, ForeignObjectRel, Manager, Model

from genesys_eventbridge.cloudevents.data import plain
from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.model_events.payload import Tree, canonical, concrete_field, relation_named

ANY = "any"
"""The type is not known from the model: properties, methods, JSON columns, custom fields."""
REFUSED = "refused"
"""JSON cannot represent the value: a save raises InvalidEvent unless it is null."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: Instead of an example: no event with this member can be published.
IMPOSSIBLE = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The shape of one value in ``data``; members and items are shapes, too."""

    type: str
    """The JSON type, ``ANY`` or ``REFUSED``."""
    nullable: bool = False
    format: str = ""
    """The kind of text, for display; ``keywords`` has the machine-readable form."""
    keywords: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema keywords besides type, enum, items, properties and description."""
    choices: tuple[Any, ...] = ()
    text: str = ""
    """Help text or verbose name."""
    sample: Any = None
    items: Shape | None = None
    members: Mapping[str, Shape] | None = None

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the value."""
        return {**self._core(), **({"description": self.text} if self.text else {})}

    def example(self) -> Any:
        """A value that an event can contain; ``IMPOSSIBLE`` if there is none."""
        if self.items is not None:
            item = self.items.example()
            return [] if item is IMPOSSIBLE else [item]
        value: Any = self.sample
        if self.type == REFUSED:
            value = IMPOSSIBLE
        elif self.members is not None:
            value = {name: member.example() for name, member in self.members.items()}
            if any(member is IMPOSSIBLE for member in value.values()):
                value = IMPOSSIBLE
        return None if value is IMPOSSIBLE and self.nullable else value

    def _core(self) -> dict[str, Any]:
        if self.type == REFUSED:
            return {"type": "null"} if self.nullable else {"not": {}}
        members = {} if self.members is None else _object_keywords(self.members)
        if self.type == ANY:
            # A property may return a manager, which becomes a list of objects.
            return members and {"type": ["object", "array", "null"], **members, "items": dict(members)}
        core = {"type": [self.type, "null"] if self.nullable else self.type, **self.keywords, **members}
        if self.choices:
            core["enum"] = [*self.choices, *([None] if self.nullable else [])]
        if self.items is not None:
            core["items"] = self.items.schema()
        return core


def data_shape(model: type[Model], tree: Tree) -> Shape:
    """The shape of ``data`` that ``fields=`` produces for rows of ``model``."""
    return Shape(type="object", members=_members(model, tree))


def _object_keywords(members: Mapping[str, Shape]) -> dict[str, Any]:
    return {
        "properties": {name: member.schema() for name, member in members.items()},
        "required": list(members),
    }


def _members(model: type[Model] | None, tree: Tree) -> dict[str, Shape]:
    """The shapes of an object's members; ``model`` is None inside a property, a JSON column and the like."""
    return {
        name: _at_path(model, node) if isinstance(node, tuple) else _nested(model, name, node)
        for name, node in tree.items()
    }


def _at_path(model: type[Model] | None, path: Sequence[str]) -> Shape:
    """The shape of what ``payload.read`` returns: nested lists if the path crosses relations to many."""
    step, *rest = path
    column = None if model is None else concrete_field(model, step)
    if column is not None and not rest:
        return _column(column)
    link = None if model is None else _link(model, step)
    if model is None or link is None:
        return Shape(type=ANY, nullable=True)
    related = relation_named(model, step)
    if related is not None and _to_many(link):
        return Shape(type="array", text=_text(link), items=_at_path(related, rest or ["pk"]))
    if not rest:  # a relation without its own column gives the whole object
        return Shape(type=REFUSED, nullable=_may_be_missing(link), text=_text(link))
    shape = _at_path(related, rest)
    return replace(shape, nullable=shape.nullable or _may_be_missing(link))


def _nested(model: type[Model] | None, name: str, tree: Tree) -> Shape:
    """The shape of a nested object, or of a list of objects for a relation to many."""
    related = None if model is None else relation_named(model, name)
    members = _members(related, tree)
    link = None if model is None or related is None else _link(model, name)
    if link is not None:
        if _to_many(link):
            return Shape(type="array", text=_text(link), items=Shape(type="object", members=members))
        return Shape(type="object", nullable=_may_be_missing(link), text=_text(link), members=members)
    column = None if model is None else concrete_field(model, name)
    if column is not None:  # keys of a JSON column, attributes of a file
        value = _column(column)
        return Shape(type="object", nullable=value.nullable, text=value.text, members=members)
    return Shape(type=ANY, nullable=True, members=members)


def _link(model: type[Model], name: str) -> Any:
    """The forward, reverse or generic relation of that name; None if it is not a relation."""
    for one in model._meta.get_fields():
        accessor = one.get_accessor_name() if isinstance(one, ForeignObjectRel) else one.name
        if accessor == name:
            return one if one.is_relation else None
    return None


def _to_many(link: Any) -> bool:
    return bool(link.one_to_many or link.many_to_many)


def _may_be_missing(link: Any) -> bool:
    """Whether the related row of a to-one relation may be missing, or hidden by a base manager."""
    is_key = isinstance(link, models.ForeignKey)
    certain = is_key and link.db_constraint and type(link.related_model._base_manager) is Manager
    return link.null or not certain


def _text(link: Any) -> str:
    if isinstance(link, ForeignObjectRel):
        options = link.related_model._meta
        return str(options.verbose_name_plural if _to_many(link) else options.verbose_name)
    return str(getattr(link, "help_text", "") or getattr(link, "verbose_name", ""))


# --------------------------------------------------------------------------------------------- columns

_NOON = dt.datetime(2025, 1, 31, 12, 30, tzinfo=dt.UTC)
_KEY = uuid.UUID("6f1c3a52-9d0b-4e6e-8c55-2f0f0d6a7b11")
_TIME = "[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{6})?"
_DECIMAL = "-?[0-9]+([.][0-9]+)?"
_DURATION = "-?P[0-9]+DT[0-9]{2}H[0-9]{2}M[0-9]{2}([.][0-9]{6})?S"
#: Field class -> JSON type, format, keywords, an example; a class after its subclasses.
_COLUMNS: tuple[tuple[type[Field[Any, Any]], str, str, dict[str, Any], Any], ...] = (
    (models.BinaryField, REFUSED, "", {}, None),
    (models.JSONField, ANY, "", {}, {}),
    (models.BooleanField, "boolean", "", {}, True),
    (models.FloatField, "number", "", {}, 1.5),
    (models.IntegerField, "integer", "", {}, 1),
    (models.DecimalField, "string", "decimal", {"pattern": f"^{_DECIMAL}$"}, None),
    (models.DateTimeField, "string", "date-time", {"format": "date-time"}, _NOON),
    (models.DateField, "string", "date", {"format": "date"}, _NOON.date()),
    # JSON Schema's "time" requires an offset; its "duration" allows neither fractions nor a sign.
    (models.TimeField, "string", "time-local", {"pattern": f"^{_TIME}$"}, _NOON.time()),
    (
        models.DurationField,
        "string",
        "ISO 8601 duration",
        {"pattern": f"^{_DURATION}$"},
        dt.timedelta(hours=36),
    ),
    (models.UUIDField, "string", "uuid", {"format": "uuid"}, _KEY),
    # Django's validators accept international domains.
    (models.EmailField, "string", "email", {"format": "idn-email"}, "name@example.com"),
    (models.URLField, "string", "uri", {"format": "iri"}, "https://example.com/"),
    (models.FileField, "string", "file name", {}, "folder/file.pdf"),
    (models.GenericIPAddressField, "string", "", {}, "192.0.2.1"),
    (models.CharField, "string", "", {}, "text"),
    (models.TextField, "string", "", {}, "text"),
    (models.FilePathField, "string", "", {}, "folder/file.pdf"),
)
#: Fields whose max_length the database enforces. A TextField's is checked in forms only.
_BOUNDED = (models.CharField, models.FileField, models.FilePathField)


def _column(column: Field[Any, Any]) -> Shape:
    """The shape of this column's value."""
    shape = replace(_value(column), text=str(column.help_text or column.verbose_name or ""))
    # The column of a generated field is never NOT NULL; an empty file is null.
    nullable = column.null or isinstance(column, (models.GeneratedField, models.FileField))
    return replace(shape, nullable=nullable or shape.type == ANY)


def _value(column: Field[Any, Any]) -> Shape:
    """The shape of a value that is not null."""
    kind = _django_class(column)
    if issubclass(kind, models.ForeignKey):
        return _value(column.foreign_related_fields[0])  # type: ignore[attr-defined]
    if issubclass(kind, models.GeneratedField):
        return _value(column.output_field)  # type: ignore[attr-defined]
    if _is_postgres(kind, "ArrayField"):
        # The database accepts null as an element, whatever the base field says.
        return Shape(type="array", items=replace(_column(column.base_field), nullable=True, text=""))  # type: ignore[attr-defined]
    if _is_postgres(kind, "HStoreField"):
        keywords = {"additionalProperties": {"type": ["string", "null"]}}
        return Shape(type="object", keywords=keywords, sample={"key": "text"})
    if _is_postgres(kind, "RangeField"):
        return Shape(type=REFUSED)
    for known, type_, format_, keywords, sample in _COLUMNS:
        if issubclass(kind, known):
            if type_ in (ANY, REFUSED):
                return Shape(type=type_, sample=sample)
            return _refined(column, kind, Shape(type=type_, format=format_, keywords=keywords, sample=sample))
    return Shape(type=ANY)


def _django_class(column: Field[Any, Any]) -> type:
    """The Django field class whose values this column has; ``object`` if it converts values itself."""
    kind = type(column)
    base = next(one for one in kind.__mro__ if one.__module__.startswith("django."))
    own = ("to_python", "from_db_value", "get_db_converters")
    same = all(getattr(kind, name, None) is getattr(base, name, None) for name in own)
    return base if same else object


def _is_postgres(kind: type, name: str) -> bool:
    """Compared by name, because importing these fields needs psycopg."""
    return any(
        one.__name__ == name and one.__module__.startswith("django.contrib.postgres.") for one in kind.__mro__
    )


def _refined(column: Field[Any, Any], kind: type, shape: Shape) -> Shape:
    """The shape with the choices, length and example of this column."""
    choices = tuple(_choices(column))
    if choices:
        chosen = next((one for one in choices if one != ""), choices[0])
        return replace(shape, choices=choices, sample=chosen, keywords={})
    keywords = dict(shape.keywords)
    if "format" in keywords and shape.format in ("email", "uri") and _may_be_empty(column):
        keywords = {"anyOf": [keywords, {"const": ""}]}
    sample: Any = _decimal(column) if isinstance(column, models.DecimalField) else shape.sample
    if column.max_length and issubclass(kind, _BOUNDED):
        sample = sample[: column.max_length]
        if all(
            getattr(type(column), name) is getattr(kind, name) for name in ("db_type", "get_internal_type")
        ):
            keywords["maxLength"] = column.max_length
    return replace(shape, keywords=keywords, sample=plain(canonical(column, sample), limit=10_000))


def _choices(column: Field[Any, Any]) -> Iterator[Any]:
    """The choices as they appear in events, and values that are set without choosing: "" and defaults."""
    seen: list[Any] = []
    wanted = [value for value, _ in column.flatchoices]
    if wanted:
        wanted += [*_defaults(column), *([""] if column.blank and column.empty_strings_allowed else [])]
    for value in wanted:
        try:
            known = plain(canonical(column, value), limit=10_000)
        except (InvalidEvent, ArithmeticError):  # noqa: S112 - no row can have this value
            continue
        if known is not None and known not in seen:
            seen.append(known)
            yield known


def _defaults(column: Field[Any, Any]) -> Iterator[Any]:
    for default in (column.default, getattr(column.db_default, "value", column.db_default)):
        if not (
            default is models.NOT_PROVIDED or callable(default) or hasattr(default, "resolve_expression")
        ):
            yield default


def _may_be_empty(column: Field[Any, Any]) -> bool:
    return column.blank or "" in _defaults(column)


def _decimal(column: models.DecimalField[Any, Any]) -> decimal.Decimal:
    """A number with as many digits as the column allows."""
    digits: int | None = column.max_digits
    whole = 2 if digits is None else digits - (column.decimal_places or 0)
    return (decimal.Decimal(0), decimal.Decimal(1), decimal.Decimal("19.9"))[min(whole, 2)]
