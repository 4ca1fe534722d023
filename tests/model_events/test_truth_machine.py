"""A state machine over one row and several requests that hold copies of it, each older than the other.

After every step that sends a signal the last event says what the row says in this transaction, and a change
of a watched column has its event; what is rolled back leaves no event.
"""

from __future__ import annotations

import copy
import datetime as dt
import pickle
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from genesys_eventbridge.model_events import enqueue_for, suppress_events
from genesys_eventbridge.models import OutboxEvent
from tests.publishing import Publish
from tests.truth.law import Truth, facts
from tests.truth.models import Label, Owner, Part, Region, Specimen

pytest_plugins = ["tests.registrations"]

PK = 1
REQUESTS = st.integers(0, 2)
#: What a request may assign: the name of an attribute and its value.
ASSIGNMENTS: list[tuple[str, Any]] = [
    ("status", "new"),
    ("status", Specimen.Status.DONE),
    ("name", "changed"),
    ("name", 12),
    ("name", Concat("status", Value("!"))),
    ("count", 3),
    ("count", "4"),
    ("count", F("count") + 1),
    ("price", 0.1 + 0.2),
    ("price", Decimal("1.015")),
    ("moment", dt.datetime(2026, 3, 1, 12, 30, tzinfo=dt.UTC)),
    ("moment", None),
    ("details", {"pair": (1, 2)}),
    ("shout", "loud"),
    ("body", "text"),
    ("slug", "  Mixed "),
    ("full_name", "Mary Shelley"),
    ("level", 9),
    ("owner", "ada"),
    ("owner", "bob"),
    ("owner", None),
]
COLUMNS = ["status", "name", "count", "price", "moment", "details", "shout", "body", "slug", "last", "owner"]
SILENT: list[dict[str, Any]] = [
    {"status": "done"},
    {"status": "new", "count": 7},
    {"price": 5, "level": 3},
    {"first": "Grace", "last": "Hopper", "body": "other"},
    {"owner": None},
]


class Machine(RuleBasedStateMachine):
    """Requests load, copy, assign, save and delete; others write; blocks begin, commit and roll back."""

    truth: Truth

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[int, Any] = {}
        self.blocks: list[tuple[Any, list[str], dict[str, Any] | None]] = []
        """Open blocks: the block, and the events and the row when it was begun."""

    @initialize()
    def begin_with_a_row(self) -> None:
        region = Region.objects.create(name="north")
        self.owners = {
            name: Owner.objects.create(email=f"{name}@example.com", region=region) for name in ("ada", "bob")
        }
        self.labels = [Label.objects.create(name=name) for name in ("red", "blue")]
        with suppress_events():
            Specimen.objects.create(pk=PK, owner=self.owners["ada"])
        for request in range(3):
            self.held[request] = Specimen.objects.get(pk=PK)

    # ----------------------------------------------------------------------------------- what sends no signal

    @rule(request=REQUESTS, how=st.sampled_from(["full", "related", "only", "defer", "by hand"]))
    def load(self, request: int, how: str) -> None:
        rows = {
            "full": Specimen.objects.all(),
            "related": Specimen.objects.select_related("owner__region").prefetch_related("tags", "parts"),
            "only": Specimen.objects.only("note"),
            "defer": Specimen.objects.defer("status", "count", "owner", "body"),
        }
        found = Specimen(pk=PK) if how == "by hand" else rows[how].filter(pk=PK).first()
        if found is not None:
            self.held[request] = found

    @rule(request=REQUESTS, of=REQUESTS, how=st.sampled_from([copy.copy, copy.deepcopy, "pickle"]))
    def copy_from(self, request: int, of: int, how: Any) -> None:
        held = self.held[of]
        self.held[request] = pickle.loads(pickle.dumps(held)) if how == "pickle" else how(held)

    @rule(request=REQUESTS, fields=st.sampled_from([None, ["status", "owner"], ["count"]]))
    def refresh(self, request: int, fields: list[str] | None) -> None:
        held = self.held[request]
        if self.row() and held.pk == PK:
            held.refresh_from_db(using="default", fields=fields)

    @rule(request=REQUESTS, chosen=st.lists(st.sampled_from(ASSIGNMENTS), min_size=1, max_size=4))
    def assign(self, request: int, chosen: list[tuple[str, Any]]) -> None:
        for name, value in chosen:
            given = self.owners.get(value) if name == "owner" else copy.deepcopy(value)
            setattr(self.held[request], name, given)

    @rule(values=st.sampled_from(SILENT))
    def another_process_writes(self, values: dict[str, Any]) -> None:
        Specimen._base_manager.filter(pk=PK).update(**values)

    @rule(email=st.emails(domains=st.just("example.org")).filter(lambda email: len(email) < 60))
    def an_owner_changes(self, email: str) -> None:
        Owner.objects.filter(pk=self.owners["ada"].pk).update(email=email)

    @rule(number=st.integers(0, 3))
    def parts_change(self, number: int) -> None:
        if self.row():
            Part.objects.filter(specimen=PK).delete()
            Part.objects.bulk_create(Part(specimen_id=PK, text=f"part {n}") for n in range(number))

    # ------------------------------------------------------------------------------------- what sends signals

    def row(self) -> dict[str, Any] | None:
        return facts(PK)

    def compare(self, kind: str, before: dict[str, Any] | None, *, compares: bool = True) -> None:
        self.truth.check(kind, PK, before, compares=compares)

    @rule(
        request=REQUESTS,
        only=st.one_of(st.none(), st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=3, unique=True)),
        force=st.booleans(),
    )
    def save(self, request: int, only: list[str] | None, force: bool) -> None:
        held, before = self.held[request], self.row()
        held.pk = PK
        if before is None and (only or force or not self.may_create(held)):
            return
        self.truth.forget()
        if only:
            held.save(update_fields=only)
        else:
            held.save(force_update=force)
        self.compare("updated" if before else "created", before)

    def may_create(self, held: Any) -> bool:
        """Django refuses to insert expressions that name columns, and saves only what was loaded."""
        values = [vars(held).get(name) for name in ("count", "name")]
        return not held.get_deferred_fields() and not any(hasattr(v, "resolve_expression") for v in values)

    @rule(values=st.sampled_from(SILENT), how=st.sampled_from(["update", "update_or_create", "enqueue_for"]))
    def write_by_values(self, values: dict[str, Any], how: str) -> None:
        before = self.row()
        if before is None:
            return
        self.truth.forget()
        if how == "update":
            Specimen.objects.filter(pk=PK).update(**values)
        elif how == "update_or_create":
            Specimen.objects.update_or_create(pk=PK, defaults=values)
        else:
            with transaction.atomic():
                Specimen._base_manager.filter(pk=PK).update(**values)
                enqueue_for(Specimen.objects.filter(pk=PK), "updated")
        self.compare("updated", before, compares=how != "enqueue_for")

    @rule(
        requests=st.lists(REQUESTS, min_size=1, max_size=1), fields=st.sampled_from([["status"], ["count"]])
    )
    def bulk_update(self, requests: list[int], fields: list[str]) -> None:
        before = self.row()
        held = [self.held[request] for request in requests]
        if before is None or any(one.get_deferred_fields() for one in held):
            return
        for one in held:
            one.pk = PK
        self.truth.forget()
        Specimen.objects.bulk_update(held, fields)
        self.compare("updated", before)

    @rule(
        request=REQUESTS,
        way=st.sampled_from(
            ["add", "remove", "set", "clear", "add reverse", "remove reverse", "set reverse"]
        ),
        label=st.integers(0, 1),
    )
    def change_tags(self, request: int, way: str, label: int) -> None:
        held, before = self.held[request], self.row()
        if before is None:
            return
        held.pk = PK
        chosen = self.labels[label]
        self.truth.forget()
        match way:
            case "add":
                held.tags.add(chosen.pk)
            case "remove":
                held.tags.remove(chosen.pk)
            case "set":
                held.tags.set([chosen.pk])
            case "clear":
                held.tags.clear()
            case "add reverse":
                chosen.specimens.add(PK)
            case "remove reverse":
                chosen.specimens.remove(PK)
            case "set reverse":
                chosen.specimens.set([PK])
        after = self.row()
        assert after is not None
        if after["tags"] != before["tags"]:
            # set() removes and adds: the last event is of what it did last.
            self.compare("tags", before)

    @rule(request=REQUESTS, how=st.sampled_from(["instance", "queryset"]))
    def delete(self, request: int, how: str) -> None:
        held, before = self.held[request], self.row()
        if before is None:
            return
        held.pk = PK
        self.truth.forget()
        if how == "instance":
            held.delete()
        else:
            Specimen.objects.filter(pk=PK).delete()
        assert self.row() is None
        self.compare("deleted", before)

    @rule(name=st.sampled_from(["again", "new"]))
    def create(self, name: str) -> None:
        if self.row() is None:
            self.truth.forget()
            Specimen.objects.create(pk=PK, name=name, shout="loud", count="2")
            self.compare("created", None)

    # ------------------------------------------------------------------------------------------- transactions

    @precondition(lambda self: len(self.blocks) < 3)
    @rule()
    def begin(self) -> None:
        block = transaction.atomic()
        self.blocks.append((block, self.event_ids(), self.row()))
        block.__enter__()

    @precondition(lambda self: self.blocks)
    @rule()
    def commit(self) -> None:
        before = self.event_ids()
        block, _, _ = self.blocks.pop()
        block.__exit__(None, None, None)

        assert self.event_ids() == before

    @precondition(lambda self: self.blocks)
    @rule()
    def roll_back(self) -> None:
        block, former, row = self.blocks.pop()
        transaction.set_rollback(True)
        block.__exit__(None, None, None)

        assert self.event_ids() == former, "an event of a step that was rolled back"
        assert self.row() == row

    def event_ids(self) -> list[str]:
        return [str(key) for key in OutboxEvent.objects.order_by("id").values_list("event_id", flat=True)]

    @invariant()
    def the_transactions_are_those_of_the_steps(self) -> None:
        """Neither a save nor its event opens, ends or breaks a block of the application."""
        assert connection.in_atomic_block == bool(self.blocks)
        assert not connection.needs_rollback

    def teardown(self) -> None:
        while self.blocks:
            block, _, _ = self.blocks.pop()
            transaction.set_rollback(True)
            block.__exit__(None, None, None)
        with suppress_events():
            for model in (Part, Specimen, Owner, Region, Label):
                model.objects.all().delete()
        OutboxEvent.objects.all().delete()


@pytest.mark.django_db(transaction=True)
def test_events_say_what_the_row_says_after_every_step(publish: Publish, settings: Any):
    default = settings.GENESYS_EVENTBRIDGE["default"]
    settings.GENESYS_EVENTBRIDGE = {"default": {**default, "WAKE": None}}
    truth = Truth()
    truth.register(publish)

    class WithTruth(Machine):
        pass

    WithTruth.truth = truth
    deep = profile().max_examples > 100
    steps = profile(max_examples=profile().max_examples // 5 if deep else 60, stateful_step_count=20)
    run_state_machine_as_test(WithTruth, settings=steps)
