"""The payload given to a command: JSON on the command line, in a file, or on standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from genesys_eventbridge.management.arguments import WrongUsage
from genesys_eventbridge.text import clean, strict_json


def payload(given: str, max_bytes: int) -> Any:
    """The JSON value of ``--data``. Raises CommandError, whose text never contains the payload."""
    text = _text(given, max_bytes)
    try:
        return strict_json.loads(text)
    except strict_json.NotJson as error:
        raise WrongUsage(
            f"--data is not JSON: {error}. "
            """In a shell, put it in single quotes: --data '{"number": 1}', text as --data '"text"'."""
        ) from None


def _text(given: str, max_bytes: int) -> str:
    if given != "-" and not given.startswith("@"):
        return given
    where = "standard input" if given == "-" else clean(given[1:], 200)
    try:
        if given == "-":
            if sys.stdin is None:
                raise CommandError("--data -: standard input is closed.")
            raw = sys.stdin.buffer.read(max_bytes + 1)
        else:
            with Path(given[1:]).open("rb") as file:
                raw = file.read(max_bytes + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise CommandError(f"--data {clean(given, 200)}: cannot read it ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise WrongUsage(
            f"--data: {where} is not UTF-8 text. For binary data call enqueue(data=b...)."
        ) from None
    if len(raw) > max_bytes:
        raise WrongUsage(f"--data: {where} is larger than MAX_EVENT_BYTES ({max_bytes:,} bytes).")
    return text
