"""The ways to send events that are compared. Each is a process that drains once for each line of its input.

``python -m benchmarks.sides SIDE URL COUNT THREADS`` replies with its CPU seconds as JSON. Only ``relay``
uses the package; the others are hand-written alternatives.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Callable
from functools import cache

import httpx

BODY = {
    "specversion": "1.0",
    "type": "order.created",
    "source": "com.example.benchmarks",
    "datacontenttype": "application/json",
    "data": {"number": "ORD-1", "amount": "12.50", "currency": "EUR"},
}
PATH = "/api/v2/eventbridge/events"
HEADERS = {"Authorization": "Bearer benchmark", "Content-Type": "application/cloudevents+json"}


def post(client: httpx.Client, url: str, key: str) -> None:
    answer = client.post(url + PATH, json={**BODY, "id": key}, headers={**HEADERS, "Idempotency-Key": key})
    answer.raise_for_status()


def bare(url: str, count: int, threads: int) -> None:
    """No database and no state: an ``httpx.Client`` in each thread, with a shared TLS context."""
    keys: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    for _ in range(count):
        keys.put(str(uuid.uuid4()))
    context = httpx.create_ssl_context()

    def work() -> None:
        with httpx.Client(verify=context) as client:
            while key := keys.get():
                post(client, url, key)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for thread in workers:
        keys.put(None)
        thread.start()
    for thread in workers:
        thread.join()


def script(url: str, count: int, _threads: int) -> None:
    """A plain script: claim, post and mark one event at a time, in SQLite."""
    database = sqlite3.connect("")  # a temporary file that SQLite removes
    database.execute("CREATE TABLE events (key TEXT PRIMARY KEY, status TEXT)")
    database.executemany(
        "INSERT INTO events VALUES (?, 'pending')", [(str(uuid.uuid4()),) for _ in range(count)]
    )
    database.commit()
    with httpx.Client() as client:
        while row := database.execute("SELECT key FROM events WHERE status = 'pending' LIMIT 1").fetchone():
            database.execute("UPDATE events SET status = 'sending' WHERE key = ?", row)
            database.commit()
            post(client, url, row[0])
            database.execute("UPDATE events SET status = 'sent' WHERE key = ?", row)
            database.commit()


def relay(_url: str, _count: int, threads: int) -> None:
    """The package with its defaults, including attempt rows, until nothing is due."""
    from genesys_eventbridge.relay import publish_due

    while not publish_due(concurrency=threads).drained:
        pass


@cache
def _own_client() -> httpx.Client:
    return httpx.Client()


def post_one(url: str) -> None:
    """The django-q2 task, one per event; the worker reuses the client."""
    post(_own_client(), url, str(uuid.uuid4()))


SIDES: dict[str, Callable[[str, int, int], None]] = {"bare": bare, "script": script, "relay": relay}


def main() -> None:
    side, url, count, threads = sys.argv[1:]
    if side == "relay":
        import django

        django.setup()
        from django.db import connection

        connection.ensure_connection()
    print("ready", flush=True)
    for _line in sys.stdin:
        began = time.process_time()
        SIDES[side](url, int(count), int(threads))
        print(json.dumps(time.process_time() - began), flush=True)


if __name__ == "__main__":
    main()
