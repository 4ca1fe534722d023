"""Checks the rule "an event describes its row": compares a freshly read row with its last event.

The expected values are computed without the package.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models.fields.files import FieldFile
from django.utils.duration import duration_iso_string

from genesys_eventbridge.models import OutboxEvent
from tests.publishing import Publish
from tests.truth.models import Label, Owner, Part, Specimen

COLUMNS = [column.attname for column in Specimen._meta.concrete_fields if not column.primary_key]
WATCHED = [column.name for column in Specimen._meta.concrete_fields if not column.primary_key]
FIELDS = [
    "id",
    *COLUMNS,
    "full_name",
    "headline",
    "summary",
    "owner.email",
    "owner.region.name",
    "tags.name",
    "parts.text",
]


def as_json(value: Any) -> Any:
    """A row's value in the form that docs/events.md promises for events."""
    if isinstance(value, FieldFile):
        return value.name or None
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return duration_iso_string(value)
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    return value


def _as_event(name: str, value: Any) -> Any:
    """Like ``as_json``; if the text of a file column is empty, the event contains null."""
    return (as_json(value) or None) if name == "manual" else as_json(value)


def columns_of(pk: Any) -> dict[str, Any] | None:
    """The row's columns, read from the database now; None if there is no row."""
    row = Specimen._base_manager.filter(pk=pk).values(*COLUMNS).first()
    if row is None:
        return None
    return {name: _as_event(name, value) for name, value in row.items()}


def facts(pk: Any) -> dict[str, Any] | None:
    """The values of all FIELDS, from the database's rows now; None if there is no row."""
    row = columns_of(pk)
    if row is None:
        return None
    owner = Owner.objects.filter(pk=row["owner_id"]).select_related("region").first()
    region = owner.region if owner else None
    return {
        "id": pk,
        **row,
        "full_name": f"{row['first']} {row['last']}",
        "headline": f"{row['name']}: {row['count']} in {row['status']}",
        "summary": f"{row['name']} of {owner.email if owner else 'no owner'}",
        "owner": owner and {"email": owner.email, "region": region and {"name": region.name}},
        "tags": [
            {"name": name}
            for name in Label.objects.filter(specimens=pk).order_by("pk").values_list("name", flat=True)
        ],
        "parts": [
            {"text": text}
            for text in Part.objects.filter(specimen=pk).order_by("pk").values_list("text", flat=True)
        ],
    }


def differences(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The expected ``change.before`` and ``change.after`` for two readings of a row, by field name."""
    names = dict(zip(COLUMNS, WATCHED, strict=True))
    if before is None or after is None:
        return _named(names, before), _named(names, after)
    changed = [name for name in COLUMNS if before[name] != after[name]]
    kept = {name: names[name] for name in changed}
    return _named(kept, before), _named(kept, after)


def _named(names: Mapping[str, str], row: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if row is None else {name: row[column] for column, name in names.items()}


def shown(instance: Specimen) -> dict[str, Any]:
    """The values of the instance that a callable was given."""
    return {
        **{name: as_json(getattr(instance, name)) for name in COLUMNS},
        "full_name": instance.full_name,
        "headline": instance.headline,
        "summary": instance.summary,
        "owner": instance.owner and {"email": instance.owner.email},
        "tags": sorted(label.name for label in instance.tags.all()),
    }


def shown_by(said: Mapping[str, Any]) -> dict[str, Any]:
    """The expected result of ``shown`` for an instance with the values of ``facts``."""
    names = [*COLUMNS, "full_name", "headline", "summary"]
    return {
        **{name: said[name] for name in names},
        "owner": said["owner"] and {"email": said["owner"]["email"]},
        "tags": sorted(label["name"] for label in said["tags"]),
    }


def change_as_json(change: Any) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "before": {name: _as_event(name, value) for name, value in change.before.items()},
        "after": {name: _as_event(name, value) for name, value in change.after.items()},
        "added": sorted(change.added),
        "removed": sorted(change.removed),
    }


@dataclass
class Truth:
    """Two registrations of Specimen: its fields, and what a callable gets together with the change."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    """The values that each call of ``when`` got."""
    since: int = 0
    """Events up to this id are ignored."""

    def register(self, publish: Publish, **given: Any) -> None:
        kinds = {kind: f"specimen.{kind}" for kind in ("created", "updated", "deleted")}
        publish(
            Specimen,
            **kinds,
            m2m={"tags": "specimen.tags"},
            fields=FIELDS,
            subject="headline",
            ordering_key=lambda specimen: f"{specimen.pk} {specimen.name} {specimen.owner_id}",
            extensions=lambda specimen: {"status": str(specimen.status), "level": specimen.level},
            when=self._when,
            **given,
        )
        publish(
            Specimen,
            **{kind: f"change.{kind}" for kind in kinds},
            m2m={"tags": "change.tags"},
            changed=WATCHED,
            data=lambda specimen, change: {"shown": shown(specimen), "change": change_as_json(change)},
            **given,
        )

    def _when(self, specimen: Specimen, change: Any) -> bool:
        self.asked.append({"shown": shown(specimen), "change": change_as_json(change)})
        return True

    def forget(self) -> None:
        """Ignore all events and calls so far."""
        self.asked.clear()
        newest = OutboxEvent.objects.order_by("id").last()
        self.since = newest.pk if newest else 0

    def check(
        self,
        kind: str,
        pk: Any,
        before: Mapping[str, Any] | None,
        *,
        compares: bool = True,
    ) -> None:
        """Assert that the last event of ``kind`` describes the row now or, for a delete, the row before.

        ``before``: the facts before the step. ``compares``: whether the values before are known.
        """
        after = facts(pk)
        said = before if kind == "deleted" else after
        assert said is not None, "there is no row to compare with"
        event = last(f"specimen.{kind}", self.since)
        assert event is not None, f"there is no {kind} event"
        agree("data", event.data, said)
        agree("subject", event.subject, said["headline"])
        agree("ordering_key", event.ordering_key, f"{pk} {said['name']} {said['owner_id']}")
        agree("extensions", extensions_of(event), {"status": said["status"], "level": said["level"]})
        agree("when", self.asked[-1]["shown"], shown_by(said))
        self._check_change(kind, before, after, said, compares=compares)

    def _check_change(
        self,
        kind: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
        said: Mapping[str, Any],
        *,
        compares: bool,
    ) -> None:
        event = last(f"change.{kind}", self.since)
        if kind == "tags":
            assert event is not None
            gone = _names(before) - _names(after)
            new = _names(after) - _names(before)
            change = event.data["change"]
            assert (names_of(change["removed"]), names_of(change["added"])) in {
                (frozenset(gone), frozenset(new)),
                # set() removes and adds, each with its own event.
                (frozenset(), frozenset(new)),
            }
        else:
            was, is_now = differences(before, after)
            if kind == "updated" and compares and not is_now:
                assert event is None, f"an event for no change: {event.data}"
                return
            assert event is not None, f"no event for a change of {list(is_now) or list(was)}"
            if compares:
                agree("change.before", event.data["change"]["before"], was)
                agree("change.after", event.data["change"]["after"], is_now)
                agree("when's change.before", self.asked[-1]["change"]["before"], was)
                agree("when's change.after", self.asked[-1]["change"]["after"], is_now)
        agree("the instance given to data=", event.data["shown"], shown_by(said))


def agree(what: str, found: Any, said: Any) -> None:
    """Fail with a list of the members that differ."""
    if isinstance(found, dict) and isinstance(said, dict):
        wrong = [
            f"{name}: {found.get(name, 'missing')!r} is not {said.get(name, 'missing')!r}"
            for name in sorted(found.keys() | said.keys())
            if name not in found or name not in said or found[name] != said[name]
        ]
    else:
        wrong = [] if found == said else [f"{found!r} is not {said!r}"]
    assert not wrong, f"{what} differs from the row: {'; '.join(wrong)}"


def _names(said: Mapping[str, Any] | None) -> set[str]:
    return {label["name"] for label in said["tags"]} if said else set()


def names_of(keys: list[Any]) -> frozenset[str]:
    return frozenset(Label.objects.filter(pk__in=keys).values_list("name", flat=True))


def last(type_: str, since: int = 0) -> OutboxEvent | None:
    return OutboxEvent.objects.filter(type=type_, id__gt=since).order_by("id").last()


def extensions_of(event: OutboxEvent) -> dict[str, Any]:
    body = json.loads(event.body)
    return {name: body[name] for name in ("status", "level")}
