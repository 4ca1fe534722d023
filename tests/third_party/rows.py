"""Reads rows without the managers and descriptors of their library and without our payload code."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db.models import Model, QuerySet
from phonenumber_field.phonenumber import PhoneNumber

from tests.publishing import events


def row(model: type[Model], pk: Any, *names: str) -> dict[str, Any]:
    """The named columns of one row, as an event writes them."""
    return {name: _json(value) for name, value in QuerySet(model).values(*names).get(pk=pk).items()}


def assert_tells_its_row(type_: str, model: type[Model], pk: Any, *names: str) -> dict[str, Any]:
    """Assert that the last event has this type and the row's values; returns those."""
    last = events()[-1]
    held = row(model, pk, *names)
    assert (last.type, last.data) == (type_, held)
    return held


def _json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, PhoneNumber):
        return value.as_e164
    assert value is None or isinstance(value, (str, int)), f"say how JSON writes {value!r}"
    return value
