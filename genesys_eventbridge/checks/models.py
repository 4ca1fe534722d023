"""What is wrong with registered models, for the system checks."""

from __future__ import annotations

from difflib import get_close_matches

from django.db import router
from django.db.models import Model

from genesys_eventbridge import conf
from genesys_eventbridge.conf.rules import Problem
from genesys_eventbridge.model_events import payload
from genesys_eventbridge.model_events.registry import Registration, models_of, registrations
from genesys_eventbridge.models import outbox_alias


def misplaced_models() -> list[tuple[str, str]]:
    """Label and database of each registered model that is not written to the outbox's database (E012)."""
    outbox = outbox_alias()
    found = {
        model._meta.label: alias
        for registration in registrations()
        for model in models_of(registration)
        if (alias := router.db_for_write(model)) != outbox
    }
    return sorted(found.items())


def problems() -> list[Problem]:
    """What is wrong with the registrations, for the system checks. Call it when all models are loaded."""
    found = [
        Problem(
            "E012",
            "",
            f"{name} publishes events, but is written to database {alias!r} and the outbox to "
            f"{outbox_alias()!r}: they cannot commit together.",
            "Route both to one database with DATABASE_ROUTERS, or do not register this model.",
        )
        for name, alias in misplaced_models()
    ]
    for registration in registrations():
        where = f"publishes() on {registration.model._meta.label}"
        if registration.destination not in conf.aliases():
            text = f"{where}: unknown destination {registration.destination!r}."
            found.append(Problem("E004", "", text, f"Known: {', '.join(map(repr, conf.aliases()))}."))
        for name in _unknown_names(registration):
            close = get_close_matches(name, _names(registration.model), n=1)
            hint = f"Did you mean {close[0]!r}?" if close else "Name a field, a property or a method."
            found.append(Problem("E004", "", f"{where}: the model has no {name!r}.", hint))
    return found


def _unknown_names(registration: Registration) -> list[str]:
    """First parts of registered paths that the model does not have."""
    paths = [] if registration.tree is None else list(payload.paths(registration.tree))
    for wanted in (registration.subject, registration.ordering_key, registration.url):
        if isinstance(wanted, str):
            paths.append(tuple(wanted.split(".")))
    known = set(_names(registration.model))
    return sorted({path[0] for path in paths} - known)


def _names(model: type[Model]) -> list[str]:
    return sorted({*dir(model), *(field.name for field in model._meta.get_fields())})
