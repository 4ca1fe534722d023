"""A database connection that may be broken is dropped; the next statement opens another."""

from contextlib import suppress

from django.db import Error, connections

from genesys_eventbridge.models import outbox_alias


def drop_connection() -> None:
    with suppress(Error):  # a driver may refuse to close what is broken; Django has forgotten it all the same
        connections[outbox_alias()].close()
