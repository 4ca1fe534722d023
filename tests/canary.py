"""Searches for credentials in everything that outlives a request: tables, caches, queues, logs, output."""

import base64
import pickle
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from django.core.cache.backends import locmem
from django.db import connection
from django_q.models import OrmQ, Task
from django_q.signing import SignedPackage


def forms(*secrets: str) -> set[str]:
    """Each secret in all the forms it may have in a text: as is, in base64, percent-encoded."""
    found = set()
    for secret in secrets:
        encoded = base64.b64encode(secret.encode()).decode()
        found |= {secret, encoded.rstrip("="), quote(secret, safe="")}
    return found


def found_in(places: dict[str, str], secrets: Iterable[str]) -> list[str]:
    """Each place that contains one of the secrets, with the surrounding text."""
    return [
        f"{place}: ...{text[max(0, at - 60) : at + len(secret) + 20]}..."
        for place, text in places.items()
        for secret in secrets
        if (at := text.find(secret)) >= 0
    ]


def database() -> dict[str, str]:
    """Every row of every table, as text, by table."""
    tables = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            tables[f"table {table}"] = "\n".join(repr(row) for row in cursor.fetchall())
    return tables


def queue() -> dict[str, str]:
    """The unpickled contents of django-q2's tables."""
    return {
        "queued tasks": "\n".join(repr(SignedPackage.loads(one.payload)) for one in OrmQ.objects.all()),
        "task results": "\n".join(repr(vars(task)) for task in Task.objects.all()),
    }


def caches() -> dict[str, str]:
    """The contents of this process's in-memory Django caches."""
    kept_by_name: dict[str, dict[str, bytes]] = vars(locmem)["_caches"]
    return {f"cache {name}": "\n".join(_unpickled(kept)) for name, kept in kept_by_name.items()}


def _unpickled(kept: dict[str, bytes]) -> Iterator[str]:
    for key, value in kept.items():
        yield f"{key}={pickle.loads(value)!r}"
