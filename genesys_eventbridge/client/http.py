"""The HTTP library of the client, imported here only: httpx, or its successor httpx2.

httpx is used if it is installed, and httpx2 if it is not. Where both are, the environment variable
``GENESYS_EVENTBRIDGE_HTTP=httpx2`` selects httpx2. A ``transport`` that a caller passes must be of the same
library. Applications that called ``httpx2.alias_httpx()`` before get httpx2, under the name httpx.

httptools parses responses if it is installed (``pip install 'django-genesys-eventbridge[fast]'``), h11 if it
is not, or if ``GENESYS_EVENTBRIDGE_PARSER=h11``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

__all__ = ["httpcore", "httptools", "httpx"]

CHOICE = "GENESYS_EVENTBRIDGE_HTTP"
PARSER = "GENESYS_EVENTBRIDGE_PARSER"

#: The module httptools; None without it.
httptools: Any = None
if os.environ.get(PARSER, "") not in ("", "h11", "httptools"):
    raise ImportError(f"{PARSER} is {os.environ[PARSER]!r}. Set it to h11 or httptools, or remove it.")
if os.environ.get(PARSER) != "h11":
    try:
        import httptools
    except ModuleNotFoundError:
        if os.environ.get(PARSER) == "httptools":
            raise

if TYPE_CHECKING:
    import httpcore
    import httpx
else:
    _wanted = os.environ.get(CHOICE, "")
    if _wanted not in ("", "httpx", "httpx2"):
        raise ImportError(f"{CHOICE} is {_wanted!r}. Set it to httpx or httpx2, or remove it.")
    try:
        if _wanted == "httpx2":
            raise ModuleNotFoundError(name="httpx")
        import httpcore
        import httpx
    except ModuleNotFoundError as _missing:
        if _missing.name not in ("httpx", "httpcore"):
            raise
        if _wanted == "httpx":
            raise ImportError(f"{CHOICE} is httpx, and httpx is not installed: pip install httpx.") from None
        try:
            import httpcore2 as httpcore
            import httpx2 as httpx
        except ModuleNotFoundError as _neither:
            if _neither.name not in ("httpx2", "httpcore2"):
                raise
            raise ImportError(
                "Neither httpx nor httpx2 can be imported. Install one: pip install httpx, or "
                "pip install 'django-genesys-eventbridge[httpx2]'."
                if not _wanted
                else f"{CHOICE} is httpx2, and httpx2 is not installed: "
                "pip install 'django-genesys-eventbridge[httpx2]'."
            ) from None
