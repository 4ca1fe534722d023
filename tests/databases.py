"""Selects the tests' database: an SQLite file, or a new database on the server of a TEST_*_URL.

The name is stored in the environment, so that processes started by a test open the same database.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

CHOICE = "EVENTBRIDGE_TEST_DATABASE"  # sqlite (default), postgresql or mysql
NAME = "EVENTBRIDGE_TEST_NAME"  # set here, only for child processes
OWNER = "EVENTBRIDGE_TEST_NAME_OWNER"  # the pytest-xdist worker that chose the name; empty without xdist
URLS = {"postgresql": "TEST_POSTGRESQL_URL", "mysql": "TEST_MYSQL_URL"}


def database() -> dict[str, Any]:
    """Django's settings for the selected database. Raises ValueError if the choice or its URL is missing."""
    choice = os.environ.get(CHOICE, "sqlite")
    if choice == "sqlite":
        return _sqlite()
    if choice not in URLS:
        raise ValueError(f"{CHOICE}={choice!r}: choose sqlite, {' or '.join(URLS)}")
    url = os.environ.get(URLS[choice], "")
    if not url:
        raise ValueError(f"{CHOICE}={choice} needs {URLS[choice]}, a URL such as {choice}://user@127.0.0.1")
    return _server(choice, url)


@contextmanager
def folder() -> Iterator[None]:
    """Create the SQLite file's folder for one run of pytest; mypy and child processes only read the name."""
    if os.environ.get(CHOICE, "sqlite") != "sqlite":
        yield
        return
    place = Path(os.environ[NAME]).parent
    place.mkdir(mode=0o700)
    try:
        yield
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _sqlite() -> dict[str, Any]:
    """Use a file, because threads and child processes cannot share an in-memory database."""
    folder = Path(tempfile.gettempdir()) / f"eventbridge-tests-{secrets.token_hex(6)}"
    name = _name(str(folder / "tests.sqlite3"))
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": name,
        "TEST": {"NAME": name},
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "timeout": 20,
        },
    }


def _name(new: str) -> str:
    """The name in the environment, or ``new`` if there is none or it belongs to another pytest process.

    A pytest-xdist worker inherits the environment of the process that starts it, but needs its own database.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if NAME not in os.environ or os.environ.get(OWNER, "") != worker:
        os.environ[NAME] = new
        os.environ[OWNER] = worker
    return os.environ[NAME]


def _server(choice: str, url: str) -> dict[str, Any]:
    """The URL names the server and a user who may create databases; its path is ignored."""
    name = _name(f"test_eventbridge_{os.getpid()}")
    parts = urlsplit(url)
    settings: dict[str, Any] = {
        "ENGINE": f"django.db.backends.{choice}",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "TEST": {"NAME": name},
    }
    if choice == "mysql":
        settings["OPTIONS"] = {"charset": "utf8mb4"}
        settings["TEST"]["CHARSET"] = "utf8mb4"
    return settings
