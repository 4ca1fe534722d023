"""What is wrong with the events that ``declare_event()`` declares."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from django.core.exceptions import ImproperlyConfigured

from genesys_eventbridge import conf
from genesys_eventbridge.checks.settings import readable
from genesys_eventbridge.cloudevents import NO_DATA
from genesys_eventbridge.conf.rules import Problem
from genesys_eventbridge.outbox import schemas
from genesys_eventbridge.outbox.declarations import Declaration, declarations


def problems() -> Iterator[Problem]:
    """Call it when all modules that declare events are loaded. Does not query the database."""
    known = {destination.alias: destination for destination in readable()}
    found = declarations()
    for one in found:
        if one.destination not in conf.aliases():
            close = get_close_matches(one.destination, conf.aliases(), n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(conf.aliases())}."
            yield Problem("E004", "", f"{one.origin}: unknown destination {one.destination!r}.", hint)
        elif one.destination in known and one.schema is not None:
            yield from _two_schemas(one, one.type in known[one.destination].schemas)
        yield from _unusable(one)
    if not schemas.available() and any(one.schema is not None for one in found):
        yield Problem(
            "W045",
            "",
            "declare_event() is given a schema, and the jsonschema package is not installed: events are not "
            "validated against it.",
            "Install the extra: pip install 'django-genesys-eventbridge[schema]'.",
        )


def _two_schemas(one: Declaration, in_settings: bool) -> Iterator[Problem]:
    if in_settings:
        yield Problem(
            "E005",
            "SCHEMAS",
            f"{conf.SETTING}[{one.destination!r}]: SCHEMAS has a schema for {one.type!r}, and so has "
            f"{one.origin}. The one in SCHEMAS is used.",
            f'Remove {one.type!r} from "SCHEMAS", or schema= from declare_event().',
        )


def _unusable(one: Declaration) -> Iterator[Problem]:
    """A schema that is none, and an example that it refuses."""
    if one.schema is None or not schemas.available():
        return
    try:
        schemas.check(one.schema, one.type, one.origin)
        wrong = "" if one.example is NO_DATA else schemas.reason(one.schema, one.example, one.origin)
    except ImproperlyConfigured as error:
        yield Problem("E004", "", str(error), "Correct schema=, or remove it.")
        return
    if wrong:
        yield Problem(
            "E045",
            "",
            f"{one.origin}: the example does not match the schema: {wrong}.",
            "Correct example= or schema=: consumers read both in the catalogue.",
        )
