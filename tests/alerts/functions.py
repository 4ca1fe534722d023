"""Functions of ALERTS for real processes: they note each notice in the file NOTICES, and some misbehave."""

import json
import os
import signal
import time
from dataclasses import asdict
from pathlib import Path

from genesys_eventbridge.alerts import Notice


def note(notice: Notice) -> None:
    line = json.dumps(asdict(notice), default=str) + "\n"
    with Path(os.environ["NOTICES"]).open("a", encoding="utf-8") as file:
        file.write(line)


def die_before(notice: Notice) -> None:
    """kill -9 before anything was received."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_after(notice: Notice) -> None:
    """kill -9 after it was received, before that is written."""
    note(notice)
    os.kill(os.getpid(), signal.SIGKILL)


def hang(notice: Notice) -> None:
    """Received, but it returns only once the file GATE exists."""
    note(notice)
    while not Path(os.environ["GATE"]).exists():
        time.sleep(0.05)
