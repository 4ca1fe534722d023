"""Database connections of threads that serve no request of Django, so nothing else closes theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

from genesys_eventbridge.models import outbox_alias


@contextmanager
def closed_if_opened_here() -> Iterator[None]:
    """Close the outbox's connection after the block, unless it was open before.

    A server of metrics starts a thread for each scrape; a connection left open in it would never be closed.
    """
    connection = connections[outbox_alias()]
    was_open = connection.connection is not None
    try:
        yield
    finally:
        if not was_open:
            connection.close()
