"""Connect receivers of Django's signals, once for each class that a registration applies to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import Model
from django.db.models.signals import class_prepared, m2m_changed, post_delete, post_save, pre_delete
from django.dispatch import Signal

from genesys_eventbridge.model_events import deletes, m2m, registry, saves
from genesys_eventbridge.model_events.registry import Registration, plan

_UID = "genesys_eventbridge.model_events.receivers"


def attach(registration: Registration) -> None:
    """Listen to the model and all its subclasses, including those defined later."""
    class_prepared.connect(_class_prepared, dispatch_uid=_UID)
    for model in registry.models_of(registration):
        _listen(model)


def detach(registration: Registration) -> None:
    """Remove the registration; for tests. The wrapped methods stay, but find nothing to publish."""
    registry.withdraw(registration)
    for model in registry.models_of(registration):
        for signal in (post_save, pre_delete, post_delete):
            signal.disconnect(sender=model, dispatch_uid=_UID)
        for name in {field.name for field in model._meta.many_to_many} & registration.m2m.keys():
            m2m_changed.disconnect(sender=_through(model, name), dispatch_uid=_UID)
        _listen(model)


def _class_prepared(sender: type[Model], **_: Any) -> None:
    inherited = [one for one in registry.registrations() if issubclass(sender, one.model)]
    for registration in inherited:
        registry.check(registration, sender)
    if inherited:
        _listen(sender)


def _listen(model: type[Model]) -> None:
    """Connect only what the model publishes: with a receiver for deletes, Django cannot use fast deletes."""
    planned = plan(model)
    if planned.saves:
        saves.wrap(model)
    if planned:  # m2m changes must know about raw saves, deletes about saves in the middle of a delete
        _connect(post_save, saves.received, model)
    if planned.kinds["deleted"]:
        deletes.wrap_collector()
        _connect(pre_delete, deletes.before, model)
        _connect(post_delete, deletes.after, model, first=True)
    for name, _, _ in planned.m2m:
        m2m.wrap_managers(model, name)
        _connect(m2m_changed, m2m.changed, _through(model, name), first=True)


def _through(model: type[Model], name: str) -> Any:
    """The through model, or its label if it is not loaded yet: Django will connect it then."""
    through = model._meta.get_field(name).remote_field.through  # type: ignore[union-attr]
    if isinstance(through, str) and "." not in through:
        return f"{model._meta.app_label}.{through}"
    return through


def _connect(signal: Signal, receiver: Callable[..., None], sender: Any, *, first: bool = False) -> None:
    """``first``: before other receivers, which may change the row again; keeps events in order."""
    known = len(signal.receivers)
    signal.connect(receiver, sender=sender, weak=False, dispatch_uid=_UID)
    if first and len(signal.receivers) > known:
        with signal.lock:
            signal.receivers.insert(0, signal.receivers.pop())
            signal.sender_receivers_cache.clear()
