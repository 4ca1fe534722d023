"""The peer of row 3 as a child process: fills and drains its own PostgreSQL database for each line of input.

Runs in a separate environment: ``pip install django-reliable-outbox "psycopg[binary]"`` (Python >= 3.12).
"""

import os
import sys
from urllib.parse import urlsplit

NAME = f"test_reliable_outbox_{os.getpid()}"


def main() -> None:
    import django
    import psycopg
    from django.conf import settings
    from django.core.management import call_command

    server = os.environ["TEST_POSTGRESQL_URL"]
    parts = urlsplit(server)
    settings.configure(
        INSTALLED_APPS=["reliable_outbox"],
        USE_TZ=True,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": NAME,
                "USER": parts.username,
                "PASSWORD": parts.password or "",
                "HOST": parts.hostname,
                "PORT": parts.port or "",
                "CONN_MAX_AGE": 60,
            }
        },
        RELIABLE_OUTBOX={
            "DESTINATIONS": {
                "default": {
                    "BACKEND": "reliable_outbox.destinations.webhook.WebhookDestination",
                    "OPTIONS": {"url": f"{sys.argv[1]}/hook", "secret": "benchmark"},
                }
            }
        },
    )
    django.setup()
    administration = psycopg.connect(f"{parts.scheme}://{parts.netloc}/postgres", autocommit=True)
    administration.execute(f'CREATE DATABASE "{NAME}"')
    try:
        call_command("migrate", verbosity=0)
        print("ready", flush=True)
        for line in sys.stdin:
            fill(int(line))
            call_command("outbox_worker", burst=True, concurrency=32)
            print("{}", flush=True)
    finally:
        from django.db import connections

        connections.close_all()
        administration.execute(f'DROP DATABASE "{NAME}" WITH (FORCE)')


def fill(count: int) -> None:
    from django.db import transaction
    from reliable_outbox import publish

    with transaction.atomic():
        for _ in range(count):
            publish("order.created", {"number": "ORD-1", "amount": "12.50", "currency": "EUR"})


if __name__ == "__main__":
    main()
