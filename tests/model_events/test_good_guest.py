"""Registering a model never breaks or changes its application, and events keep the order of its history."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured, ValidationError
from django.db import connection, models, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save
from django.db.transaction import TransactionManagementError
from django.dispatch import Signal
from django.test import TestCase
from django.test.utils import isolate_apps

from genesys_eventbridge.errors import EventBridgeError
from genesys_eventbridge.model_events import enqueue_for, suppress_events
from tests.publishing import Publish, data, events, types
from tests.shop.models import Country
from tests.truth.models import Label, Owner, Seat, Specimen, Wrapped

pytest_plugins = ["tests.registrations"]
pytestmark = pytest.mark.django_db

KINDS = {"created": "s.created", "updated": "s.updated", "deleted": "s.deleted"}
FIELDS = ["id", "name", "status", "count"]


def register(publish: Publish, **given: Any) -> None:
    publish(
        Specimen,
        **{**KINDS, "m2m": {"tags": "s.tags"}, "fields": FIELDS, "ordering_key": "id", **given},
    )


def row_of(pk: Any) -> dict[str, Any] | None:
    row: dict[str, Any] | None = Specimen._base_manager.filter(pk=pk).values(*FIELDS).first()
    return row


def existing(**values: Any) -> Any:
    """A row of which no event tells."""
    with suppress_events():
        return Specimen.objects.create(**values)


@pytest.fixture
def receiver() -> Iterator[Callable[..., None]]:
    """A receiver of the application, connected when this is called; each runs once, so that none recurses."""
    connected: list[tuple[Signal, Any, Any]] = []

    def connect(signal: Signal, function: Callable[[Any], Any], sender: Any = Specimen) -> None:
        runs: list[Any] = []

        def once(sender: Any, instance: Any, action: str = "post_add", **_: Any) -> None:
            if not runs and action == "post_add":
                runs.append(instance)
                function(instance)

        signal.connect(once, sender=sender, weak=False)
        connected.append((signal, once, sender))

    yield connect
    for signal, function, sender in connected:
        signal.disconnect(function, sender=sender)


# --------------------------------------------------------------------------------- signals sent by others


def subsets(*names: str) -> list[Any]:
    return [
        pytest.param(chosen, id=" ".join(chosen) or "none")
        for size in range(len(names) + 1)
        for chosen in combinations(names, size)
    ]


@pytest.fixture(params=[transaction.atomic, nullcontext], ids=["in a transaction", "without a transaction"])
def around(request: Any) -> Any:
    """What is around a step: the block of the test itself does not count as a transaction."""
    return request.param


def send(around: Any, signal: Signal, sender: Any, chosen: Any, **keywords: Any) -> None:
    with around():
        signal.send(sender, **{name: keywords[name] for name in chosen})


@pytest.mark.parametrize("chosen", subsets("instance", "created", "raw", "update_fields", "using"))
def test_post_save_sent_by_others(publish: Publish, around: Any, chosen: tuple[str, ...]):
    """What is not given is not known, and is read: the event says what the row says."""
    register(publish)
    register(publish, created="c.created", updated="c.updated", changed=["status"], deleted=None, m2m=None)
    specimen = existing()
    specimen.name = "not saved"
    send(
        around, post_save, Specimen, chosen,
        instance=specimen, created=False, raw=False, update_fields=None, using="default",
    )  # fmt: skip

    if "instance" in chosen:
        assert "s.updated" in types() or "s.created" in types()
    assert all(event == row_of(specimen.pk) for event in data())


@pytest.mark.parametrize("chosen", subsets("created", "update_fields", "using"))
def test_a_raw_signal_sent_by_others_is_silent(publish: Publish, around: Any, chosen: tuple[str, ...]):
    register(publish)
    send(
        around, post_save, Specimen, ("instance", "raw", *chosen),
        instance=existing(), created=True, raw=True, update_fields=None, using="default",
    )  # fmt: skip

    assert not types()


@pytest.mark.parametrize("created", [True, False, None])
def test_post_save_for_a_row_that_does_not_exist(publish: Publish, around: Any, created: bool | None):
    """No row, nothing that an event could say, and no error in the sender's code."""
    register(publish)
    send(around, post_save, Specimen, ("instance", "created"), instance=Specimen(), created=created)

    assert not types()


MISSING: list[tuple[str, ...]] = [
    *((), ("using",), ("raw",), ("using", "raw"), ("pk_set",), ("model",), ("reverse",), ("action",)),
    *(("instance",), ("model", "reverse", "using", "raw")),
]


@pytest.mark.parametrize(
    "action", ["pre_add", "post_add", "pre_remove", "post_remove", "pre_clear", "post_clear"]
)
@pytest.mark.parametrize("missing", MISSING, ids=lambda names: "without " + " ".join(names))
def test_m2m_changed_sent_by_others(publish: Publish, around: Any, action: str, missing: tuple[str, ...]):
    """Also a removal that no ``pre_remove`` announced."""
    register(publish)
    specimen, label = existing(), Label.objects.create(name="red")
    with suppress_events():
        specimen.tags.add(label)
    specimen.name = "not saved"
    names = ("instance", "action", "reverse", "model", "pk_set", "using", "raw")
    send(
        around, m2m_changed, Specimen.tags.through, [name for name in names if name not in missing],
        instance=specimen, action=action, reverse=False, model=Label, using="default", raw=False,
        pk_set=None if action.endswith("clear") else {label.pk},
    )  # fmt: skip

    if action in ("post_add", "post_remove") and set(missing) <= {"using", "raw"}:
        assert types() == ["s.tags"]
    assert all(event == row_of(specimen.pk) for event in data())


@pytest.mark.parametrize("chosen", subsets("instance", "using", "origin"))
@pytest.mark.parametrize("signals", [(pre_delete,), (post_delete,), (pre_delete, post_delete)])
def test_delete_signals_sent_by_others(publish: Publish, around: Any, signals: Any, chosen: tuple[str, ...]):
    """As tools for soft deletes send them: the row may still be there, and ``pre_delete`` may be missing."""
    register(publish)
    specimen = existing()
    before = row_of(specimen.pk)
    specimen.name = "not saved"
    for signal in signals:
        send(around, signal, Specimen, chosen, instance=specimen, using="default", origin=specimen)

    assert all(event == before for event in data())
    if "instance" in chosen and post_delete in signals:
        assert types() == ["s.deleted"]


def test_a_delete_after_stray_signals_is_published_once(publish: Publish):
    register(publish)
    specimen = existing()
    before = row_of(specimen.pk)
    pre_delete.send(Specimen, instance=specimen, using="default")
    pre_delete.send(Specimen, instance=specimen, using="default", origin=specimen)
    specimen.name = "not saved"
    specimen.delete()

    assert types() == ["s.deleted"]
    assert data() == [before]


def test_post_delete_of_a_row_that_is_gone_fails_nowhere(publish: Publish, around: Any):
    register(publish)
    specimen = existing()
    with suppress_events():
        Specimen.objects.filter(pk=specimen.pk).delete()
    specimen.name = "not saved"
    send(around, post_delete, Specimen, ("instance", "using"), instance=specimen, using="default")

    assert all(event["name"] != "not saved" for event in data())


# ------------------------------------------------------------- receivers that touch the row before ours run


@pytest.fixture(params=["before", "after"])
def order(request: Any, publish: Publish, receiver: Any) -> Any:
    """``order(signal, function, ...)``: connects the receiver before or after the model is registered."""

    def connect(signal: Signal, function: Callable[[Any], Any], sender: Any = Specimen, **given: Any) -> None:
        if request.param == "before":
            receiver(signal, function, sender)
        register(publish, **given)
        if request.param == "after":
            receiver(signal, function, sender)

    return connect


def saves(**values: Any) -> Callable[[Any], None]:
    def save(instance: Any) -> None:
        for name, value in values.items():
            setattr(instance, name, value)
        instance.save()

    return save


def saves_another_copy(instance: Any) -> None:
    saves(status="done")(Specimen.objects.get(pk=instance.pk))


def deletes(instance: Any) -> None:
    Specimen.objects.filter(pk=instance.pk).delete()


def creates_again(instance: Any) -> None:
    pk = instance.pk
    deletes(instance)
    Specimen.objects.create(pk=pk, name="again")


def test_a_receiver_that_refreshes_hides_no_change(order: Any):
    specimen = existing()
    order(post_save, lambda instance: instance.refresh_from_db(), changed=["status"])
    saves(status="done")(specimen)

    assert types() == ["s.updated"]
    assert data() == [row_of(specimen.pk)]


@pytest.mark.parametrize(
    ("function", "history"),
    [
        (saves(status="done"), ["s.created", "s.updated"]),
        (saves_another_copy, ["s.created", "s.updated"]),
        (deletes, ["s.created", "s.deleted"]),
        (creates_again, ["s.created", "s.deleted", "s.created"]),
    ],
    ids=["saves", "saves another copy", "deletes", "deletes and creates again"],
)
def test_a_receiver_of_a_creation(order: Any, function: Any, history: list[str]):
    """The order under one key is that of the row's history, whoever is called first."""
    order(post_save, function)
    pk = Specimen.objects.create(name="first").pk

    assert types() == history
    assert len({event.ordering_key for event in events()}) == 1
    assert data()[-1] == row_of(pk) or history[-1] == "s.deleted"


@pytest.mark.parametrize(
    ("function", "history"),
    [
        (saves(status="done"), ["s.updated", "s.updated"]),
        (saves_another_copy, ["s.updated", "s.updated"]),
        (deletes, ["s.updated", "s.deleted"]),
        (creates_again, ["s.updated", "s.deleted", "s.created"]),
    ],
    ids=["saves", "saves another copy", "deletes", "deletes and creates again"],
)
def test_a_receiver_of_an_update(order: Any, function: Any, history: list[str]):
    specimen = existing()
    order(post_save, function)
    saves(count=5)(specimen)

    assert types() == history
    assert data()[-1] == row_of(specimen.pk) or history[-1] == "s.deleted"


def test_each_event_says_what_its_own_save_wrote(order: Any):
    """A receiver saves again at once: the event of the first save still says what that one wrote."""
    order(post_save, saves(status="done"))
    Specimen.objects.create()

    assert [(event.type, event.data["status"]) for event in events()] == [
        ("s.created", "new"),
        ("s.updated", "done"),
    ]


def test_a_change_that_a_receiver_undoes_is_two_changes(order: Any):
    specimen = existing()
    order(post_save, saves(status="new"), changed=["status"])
    saves(status="done")(specimen)

    assert [event["status"] for event in data()] == ["done", "new"]


def test_a_receiver_of_pre_save_that_saves_the_row_comes_first(order: Any):
    """Its save is history before the one that it was called for."""
    specimen = existing()
    order(pre_save, saves_another_copy)
    saves(count=5)(specimen)

    assert [event["status"] for event in data()] == ["done", "new"]
    assert data()[-1] == row_of(specimen.pk)


@pytest.mark.parametrize("silent", [True, False], ids=["by update()", "by save()"])
def test_a_receiver_of_pre_delete_that_changes_the_row(order: Any, silent: bool):
    """The row as it was when it was deleted, not as it was when the first receiver was called."""

    def change(instance: Any) -> None:
        if silent:
            Specimen._base_manager.filter(pk=instance.pk).update(status="done")
        else:
            saves_another_copy(instance)

    order(pre_delete, change)
    existing().delete()

    assert types() == (["s.deleted"] if silent else ["s.updated", "s.deleted"])
    assert data()[-1]["status"] == "done"


def test_a_receiver_of_post_delete_that_creates_the_row_again(order: Any):
    pks: list[Any] = []
    order(post_delete, lambda instance: Specimen.objects.create(pk=pks[0], name="again"))
    specimen = existing(name="first")
    pks.append(specimen.pk)
    specimen.delete()

    assert [(event.type, event.data["name"]) for event in events()] == [
        ("s.deleted", "first"),
        ("s.created", "again"),
    ]


def test_a_receiver_of_m2m_changed_that_takes_the_tag_away(order: Any):
    order(
        m2m_changed, lambda instance: instance.tags.clear(), Specimen.tags.through,
        fields=["id", "tags.name"],
    )  # fmt: skip
    specimen = existing()
    specimen.tags.add(Label.objects.create(name="red"))

    assert [event["tags"] for event in data()] == [[{"name": "red"}], []]


def test_a_receiver_of_m2m_changed_that_saves_the_row(order: Any):
    """The event of the tags comes first, and says what the row said then."""
    order(m2m_changed, saves(status="done"), Specimen.tags.through)
    specimen = existing()
    specimen.tags.add(Label.objects.create(name="red"))

    assert [(event.type, event.data["status"]) for event in events()] == [
        ("s.tags", "new"),
        ("s.updated", "done"),
    ]


# ----------------------------------------------------------------- errors that the application catches itself


def mistakes() -> dict[str, Callable[[], Any]]:
    """Calls that raise before or after Django wrote, and that leave nothing half done."""
    rows = Specimen.objects
    return {
        "a new row": lambda: Specimen(name="first").save(),
        "an update": lambda: saves(status="done")(Specimen.objects.get(name="old")),
        "bulk_update of a new object": lambda: rows.bulk_update([Specimen()], ["name"]),
        "bulk_update in batches of -1": lambda: rows.bulk_update([], ["name"], batch_size=-1),
        "bulk_create in batches of -1": lambda: rows.bulk_create([Specimen()], batch_size=-1),
        "update of a column that is not there": lambda: rows.update(nothing=1),
        "update of no row and a column that is not there": lambda: rows.filter(pk=0).update(nothing=1),
    }


@pytest.mark.parametrize("registered", [False, True], ids=["not registered", "registered"])
@pytest.mark.parametrize("signal", [pre_save, post_save], ids=["pre_save", "post_save"])
@pytest.mark.parametrize("mistake", mistakes())
def test_an_error_that_is_caught_ends_the_block_only_where_it_does_without_events(
    publish: Publish, receiver: Any, mistake: str, signal: Signal, registered: bool
):
    """As a form does with the ValidationError of a receiver: what follows in the block is written."""

    def refuse(instance: Any) -> None:
        raise ValidationError("not like this")

    existing(name="old")
    if registered:
        register(publish)
    receiver(signal, refuse)
    with transaction.atomic():
        with pytest.raises((ValidationError, FieldDoesNotExist, ValueError, AssertionError)):
            mistakes()[mistake]()
        Label.objects.create(name="and then")

    assert Label.objects.exists()
    stays = signal is post_save and mistake == "a new row"
    assert Specimen.objects.filter(name="first").exists() is stays
    assert types().count("s.created") == (registered and stays)


def test_an_error_of_the_event_ends_the_block_also_if_it_is_caught(publish: Publish):
    """The row is written and its event is not: they may not commit."""
    register(publish, subject=lambda specimen: 1 / 0)
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError):
            Specimen.objects.create(name="first")
        with pytest.raises(TransactionManagementError):
            Label.objects.create(name="and then")

    assert not Specimen.objects.exists()


@pytest.mark.parametrize("step", ["bulk_create", "bulk_update", "update"])
def test_an_error_of_the_event_of_a_bulk_operation_ends_the_block(publish: Publish, step: str):
    specimen = existing(name="old")
    register(publish, subject=lambda specimen: 1 / 0)
    specimen.name = "new"
    steps = {
        "bulk_create": lambda: Specimen.objects.bulk_create([Specimen(name="new")]),
        "bulk_update": lambda: Specimen.objects.bulk_update([specimen], ["name"]),
        "update": lambda: Specimen.objects.update(name="new"),
    }
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError):
            steps[step]()
        with pytest.raises(TransactionManagementError):
            Label.objects.create(name="and then")

    assert not Specimen.objects.filter(name="new").exists()


# ---------------------------------------------------------------------------- nothing is kept in an instance


def steps() -> dict[str, Callable[[], Any]]:
    """Everything that may leave traces in an instance."""

    def saved() -> Any:
        specimen = existing()
        saves(status="done")(specimen)
        return specimen

    def loaded() -> Any:
        return Specimen.objects.get(pk=existing().pk)

    def refreshed() -> Any:
        specimen = loaded()
        specimen.refresh_from_db()
        return specimen

    def tagged() -> Any:
        specimen = loaded()
        red = Label.objects.create(name="red")
        specimen.tags.add(red)
        specimen.tags.set([])
        specimen.tags.clear()
        return specimen

    def half_deleted() -> Any:
        specimen = loaded()
        pre_delete.send(Specimen, instance=specimen, using="default", origin=specimen)
        return specimen

    def deleted() -> Any:
        specimen = loaded()
        specimen.delete()
        return specimen

    return {
        "created": Specimen.objects.create,
        "bulk created": lambda: Specimen.objects.bulk_create([Specimen()])[0],
        **{step.__name__: step for step in (saved, loaded, refreshed, tagged, half_deleted, deleted)},
    }


@pytest.mark.parametrize("step", steps())
def test_an_instance_holds_what_django_put_there(publish: Publish, step: str):
    without = vars(steps()[step]()).keys()
    register(publish, changed=["status", "owner"], when=lambda specimen, change: True)

    assert vars(steps()[step]()).keys() == without


@pytest.mark.parametrize("step", [step for step in steps() if step != "deleted"])
def test_an_instance_can_be_copied_by_its_dict(publish: Publish, step: str):
    register(publish, changed=["status"])
    specimen = steps()[step]()
    of_django = ("total", "id", "_state", "_prefetched_objects_cache")
    values = {name: value for name, value in vars(specimen).items() if name not in of_django}
    copied = Specimen.objects.create(**values)
    other = existing()
    Specimen.objects.filter(pk=other.pk).update(**values)

    assert row_of(copied.pk) == {**(row_of(specimen.pk) or {}), "id": copied.pk}
    assert row_of(other.pk) == {**(row_of(specimen.pk) or {}), "id": other.pk}


@pytest.mark.parametrize("step", steps())
def test_a_pickle_knows_nothing_of_this_package(publish: Publish, step: str):
    """It can be read by a process where the package is not installed, or another version of it."""
    register(publish, changed=["status"])
    pickled = pickle.dumps(steps()[step]())
    found = pickle.loads(pickled)

    assert b"genesys_eventbridge" not in pickled
    assert isinstance(found, Specimen)
    found.status = "done"
    found.save(force_insert=step == "deleted")
    assert data()[-1] == row_of(found.pk)


def test_a_queryset_can_be_pickled(publish: Publish):
    register(publish, changed=["status"])
    specimen = existing()
    (found,) = pickle.loads(pickle.dumps(Specimen._base_manager.filter(pk=specimen.pk)))
    found.status = "done"
    found.save()

    assert data() == [row_of(specimen.pk)]


# -------------------------------------------------------------------------------------- reads in transactions


@pytest.mark.parametrize(
    "read",
    [
        lambda pk: Specimen.objects.get(pk=pk),
        lambda pk: list(Specimen.objects.only("name")),
        lambda pk: list(Specimen.objects.select_related("owner").prefetch_related("tags").iterator(10)),
        lambda pk: Specimen.objects.get(pk=pk).refresh_from_db(),
        lambda pk: Specimen.objects.get_or_create(pk=pk),
        lambda pk: Specimen.objects.select_for_update().get(pk=pk),
        lambda pk: copy.deepcopy(Specimen.objects.get(pk=pk)),
        lambda pk: pickle.loads(pickle.dumps(Specimen.objects.get(pk=pk))),
        lambda pk: Specimen(name="never saved"),
    ],
    ids=["get", "only", "iterator", "refresh", "get_or_create", "lock", "deepcopy", "pickle", "make"],
)
def test_reading_registers_no_callback(publish: Publish, read: Any):
    register(publish, changed=["status"])
    pk = existing().pk
    with TestCase.captureOnCommitCallbacks() as callbacks, transaction.atomic():
        read(pk)

    assert callbacks == []


@pytest.mark.django_db(transaction=True)
def test_reading_in_a_transaction_of_ones_own_registers_no_callback(publish: Publish):
    register(publish, changed=["status"])
    pk = existing().pk
    with transaction.atomic():
        Specimen.objects.get(pk=pk).refresh_from_db()

        assert connection.run_on_commit == []


def test_a_save_that_publishes_nothing_registers_no_callback(publish: Publish):
    register(publish, changed=["status"])
    specimen = existing()
    with TestCase.captureOnCommitCallbacks() as callbacks, transaction.atomic():
        saves(count=9)(specimen)

    assert callbacks == []
    assert not types()


# --------------------------------------------------------------------------------- composite primary keys


@pytest.fixture
def seats(publish: Publish) -> None:
    publish(
        Seat,
        created="seat.created",
        updated="seat.updated",
        deleted="seat.deleted",
        fields=["line", "number", "guest"],
        subject=str,
        ordering_key=lambda seat: f"{seat.line}{seat.number}",
        changed=["guest"],
    )


def seat_is(guest: str) -> dict[str, Any]:
    return {"line": "A", "number": 1, "guest": guest}


SEAT_WAYS: dict[str, Callable[[Any], Any]] = {
    "save": lambda seat: saves(guest="Bob")(seat),  # noqa: PLW0108
    "save of a stale copy": lambda seat: (
        Seat.objects.filter(pk=seat.pk).update(guest="Eve"),
        saves(guest="Bob")(seat),
    ),
    "update_or_create": lambda seat: Seat.objects.update_or_create(pk=seat.pk, defaults={"guest": "Bob"}),
    "enqueue_for": lambda seat: (
        Seat.objects.filter(pk=seat.pk).update(guest="Bob"),
        enqueue_for(Seat.objects.filter(pk=seat.pk), "updated"),
    ),
    "enqueue_for a list": lambda seat: (
        Seat.objects.filter(pk=seat.pk).update(guest="Bob"),
        enqueue_for([seat], "updated"),
    ),
}


@pytest.mark.usefixtures("seats")
@pytest.mark.parametrize("way", SEAT_WAYS)
def test_an_update_with_a_composite_key(way: str):
    with suppress_events():
        seat = Seat.objects.create(line="A", number=1, guest="Ada")
        Seat.objects.create(line="A", number=2, guest="Kim")
    with transaction.atomic():
        SEAT_WAYS[way](seat)

    assert [(event.type, event.subject, event.data) for event in events()] == [
        ("seat.updated", "A1", seat_is("Bob"))
    ]


@pytest.mark.usefixtures("seats")
def test_a_creation_and_a_delete_with_a_composite_key():
    seat = Seat.objects.create(line="A", number=1, guest="Ada")
    seat.guest = "not saved"
    seat.delete()
    Seat.objects.create(line="A", number=1, guest="Bob")
    Seat.objects.filter(line="A").delete()

    assert [(event.type, event.data["guest"]) for event in events()] == [
        ("seat.created", "Ada"),
        ("seat.deleted", "Ada"),
        ("seat.created", "Bob"),
        ("seat.deleted", "Bob"),
    ]


@pytest.mark.usefixtures("seats")
def test_a_save_of_other_columns_with_a_composite_key_publishes_nothing():
    with suppress_events():
        seat = Seat.objects.create(line="A", number=1, guest="Ada")
    seat.save()
    seat.guest = "not saved"
    seat.save(update_fields=["guest"])
    seat.save()

    assert types() == ["seat.updated"]


# ------------------------------------------------------------ libraries with save and delete of their own


@pytest.fixture
def wrapped(publish: Publish) -> None:
    names = {"created": "w.created", "updated": "w.updated", "deleted": "w.deleted"}
    publish(Wrapped, **names, fields=["name", "gone"], changed=["name", "gone"])


@pytest.mark.usefixtures("wrapped")
def test_methods_with_other_signatures_work_as_before():
    one = Wrapped.objects.create(name="one")
    one.delete()
    one.save(keep_gone=True)
    one.save()
    one.delete(hard=True)

    assert [(event.type, event.data["gone"]) for event in events()] == [
        ("w.created", False),
        ("w.updated", True),
        ("w.updated", False),
        ("w.deleted", False),
    ]


@pytest.mark.parametrize("name", ["save", "save_base", "delete", "refresh_from_db"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_method_that_a_library_wraps_on_the_class(publish: Publish, monkeypatch: Any, name: str, when: str):
    """Before the model is registered, or after: the wrapper is called, and each event is written once."""
    calls = []
    original = getattr(Wrapped, name)

    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return original(self, *args, **kwargs)

    def register_wrapped() -> None:
        publish(
            Wrapped, created="w.created", updated="w.updated", deleted="w.deleted",
            fields=["name"], changed=["name"],
        )  # fmt: skip

    if when == "before":
        monkeypatch.setattr(Wrapped, name, wrapper)
        register_wrapped()
    else:
        register_wrapped()
        original = getattr(Wrapped, name)
        monkeypatch.setattr(Wrapped, name, wrapper)
    one = Wrapped.objects.create(name="one")
    one.refresh_from_db()
    one.name = "two"
    one.save()
    one.delete(hard=True)

    assert calls
    assert types() == ["w.created", "w.updated", "w.deleted"]
    assert [event["name"] for event in data()] == ["one", "two", "two"]


@pytest.mark.django_db(transaction=True)
def test_a_library_that_puts_the_former_save_base_back(publish: Publish, monkeypatch: Any, around: Any):
    """It kept the method from before the registration. Signals still arrive, and the save still works."""
    original = Wrapped.save_base
    publish(Wrapped, created="w.created", updated="w.updated", fields=["name"], changed=["name"])
    monkeypatch.setattr(Wrapped, "save_base", original)

    with around():
        one = Wrapped.objects.create(name="one")
        one.name = "two"
        one.save()

    assert [(event.type, event.data["name"]) for event in events()] == [
        ("w.created", "one"),
        ("w.updated", "two"),
    ]


@pytest.mark.parametrize("arguments", [(True,), (True, False, False, "default", None)])
def test_a_raw_save_by_position_is_silent(publish: Publish, arguments: tuple[Any, ...]):
    register(publish, changed=["status"])
    specimen = existing()
    specimen.status = "done"
    specimen.save_base(*arguments)

    assert not types()
    saves(count=3)(specimen)
    assert not types()


def test_an_attribute_of_the_instance_that_is_no_column_is_still_there(publish: Publish):
    """Applications leave notes on an instance for their callables: ``order.skip_events = True``."""
    register(
        publish,
        fields=None,
        data=lambda specimen: {"by": specimen.saved_by},
        when=lambda specimen: not getattr(specimen, "skip_events", False),
    )
    specimen = existing()
    specimen.saved_by = "ada"
    specimen.save()
    specimen.save(update_fields=["count"])
    specimen.skip_events = True
    specimen.save()
    specimen.save(update_fields=["count"])

    assert data() == [{"by": "ada"}, {"by": "ada"}]


# ------------------------------------------------------------------ callables that change what they tell of


def changes_it(specimen: Any) -> None:
    specimen.status = "done"
    specimen.name = "by the callable"


def saves_it(specimen: Any) -> None:
    specimen.status = "done"
    specimen.save()


def saves_it_in_part(specimen: Any) -> None:
    specimen.status = "done"
    specimen.save(update_fields=["status"])


def updates_it(specimen: Any) -> None:
    Specimen._base_manager.filter(pk=specimen.pk).update(status="done")


def updates_it_with_events(specimen: Any) -> None:
    Specimen.objects.filter(pk=specimen.pk).update(status="done")


def deletes_it(specimen: Any) -> None:
    Specimen.objects.filter(pk=specimen.pk).delete()


def deletes_itself(specimen: Any) -> None:
    specimen.delete()


def refreshes_it(specimen: Any) -> None:
    specimen.refresh_from_db()


MEDDLERS = [
    *(changes_it, saves_it, saves_it_in_part, updates_it, updates_it_with_events, deletes_it),
    *(deletes_itself, refreshes_it),
]
REFUSALS = (EventBridgeError, ImproperlyConfigured, TransactionManagementError)


@pytest.mark.parametrize("kind", ["created", "updated", "tags"])
@pytest.mark.parametrize("place", ["data", "when", "subject"])
@pytest.mark.parametrize("meddler", MEDDLERS)
def test_a_callable_that_meddles_makes_no_untrue_event(publish: Publish, kind: str, place: str, meddler: Any):
    """It is refused with a clear error, and neither row nor event is written; or the events are true."""
    runs: list[Any] = []

    def meddle(specimen: Any) -> Any:
        values = {name: getattr(specimen, name) for name in FIELDS}
        if not runs:
            runs.append(specimen)
            meddler(specimen)
        return {"data": values, "when": True, "subject": "subject"}[place]

    given: dict[str, Any] = {"data": lambda specimen: {name: getattr(specimen, name) for name in FIELDS}}
    given[place] = meddle
    first = ["s.created"] if kind == "created" else [f"s.{kind}"]
    specimen = Specimen() if kind == "created" else existing()
    before = row_of(specimen.pk)
    register(publish, fields=None, **given)

    def step() -> None:
        if kind == "tags":
            specimen.tags.add(Label.objects.create(name="red"))
        else:
            specimen.count = 5
            specimen.save()

    refusal: Exception | None = None
    try:
        with transaction.atomic():
            step()
    except REFUSALS as error:
        refusal = error

    if refusal is not None:
        assert "Specimen" in str(refusal)
        assert not types()
        assert row_of(before and before["id"]) == before
        return
    assert types()[:1] == first
    row = row_of(data()[0]["id"])
    assert types()[-1] == "s.deleted" if row is None else data()[-1] == row
    if meddler is changes_it:
        assert (specimen.status, specimen.name) == ("new", "specimen")


# ----------------------------------------------------------------------------- registrations that cannot work


class TaggableLike(models.fields.related.RelatedField):
    """A relation to many that is no ManyToManyField, as a tagging library has it."""

    many_to_many = True
    many_to_one = one_to_many = one_to_one = False
    concrete = False

    def __init__(self, to: Any, **options: Any) -> None:
        rel = models.ManyToManyRel(self, to, through="truth.Part")  # type: ignore[arg-type]
        super().__init__(rel=rel, null=True, blank=True, serialize=False, **options)

    def db_type(self, connection: Any) -> None:
        return None

    def get_attname_column(self) -> tuple[str, None]:
        return self.name, None

    def contribute_to_class(self, cls: Any, name: str, *args: Any, **kwargs: Any) -> None:
        self.set_attributes_from_name(name)
        self.model = cls
        cls._meta.add_field(self)
        setattr(cls, name, SimpleNamespace(all=list))


@isolate_apps("tests.truth")
def test_a_manager_that_is_no_many_to_many_field_is_refused(publish: Publish):
    """It sends other signals, or none: an event that never comes must not pass for one."""

    class Post(models.Model):
        tags = TaggableLike(Label)

        class Meta:
            app_label = "truth"

        def __str__(self) -> str:
            return str(self.pk)

    with pytest.raises(ImproperlyConfigured) as refused:
        publish(Post, m2m={"tags": "post.tagged"}, data=lambda post: {})

    assert "'tags'" in str(refused.value)
    assert "ManyToManyField" in str(refused.value)
    assert "Did you mean 'tags'" not in str(refused.value)


def test_a_registration_without_content_says_what_is_needed(publish: Publish):
    with pytest.raises(ImproperlyConfigured) as refused:
        publish(Owner, created="owner.created")

    assert "not both" not in str(refused.value)
    assert "fields=" in str(refused.value)
    assert "data=" in str(refused.value)


def test_a_registration_with_two_contents_says_that_one_is_too_many(publish: Publish):
    with pytest.raises(ImproperlyConfigured, match="not both"):
        publish(Owner, created="owner.created", fields=["email"], data=lambda owner: {})


def test_a_registration_leaves_the_checks_clean(publish: Publish):
    register(publish, changed=["status"])
    publish(Seat, updated="seat.updated", fields=["line", "guest"], changed=["guest"])

    assert not [found for found in run_checks() if "E004" in str(found.id)]


def test_what_when_does_to_a_related_object_is_not_in_the_event(publish: Publish):
    def meddling(specimen: Any) -> bool:
        specimen.owner.email = "meddled@example.com"
        return True

    publish(Specimen, created="s.created", fields=["owner.email"], when=meddling)
    Specimen.objects.create(owner=Owner.objects.create(email="ada@example.com"))

    assert data() == [{"owner": {"email": "ada@example.com"}}]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the column of the model takes no more than ours")
def test_a_row_whose_key_is_too_long_for_the_outbox_is_saved_and_has_no_link(publish: Publish) -> None:
    publish(Country, created="c.created", fields=["name"])

    Country.objects.create(code="x" * 300, name="Far away")

    (written,) = events()
    assert (written.object_type, written.object_id) == ("", "")
