"""The pattern of an error text: what stays the same when one failure hits many events. Pure.

``failure_id`` is stored with each row, ``normalised`` is shown; both follow the same rule, so a group on a
page is exactly the rows with its id.
"""

from __future__ import annotations

import hashlib
import re

#: Characters of a failure id.
LENGTH = 16

#: What is replaced, in this order: addresses first, because they contain the others.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\bhttps?://[^\s\"'<>)]+"), "<url>"),
    (re.compile(r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+"), "<address>"),
    (re.compile(r"(?<!\w)'[^']*'(?!\w)|(?<!\w)\"[^\"]*\"(?!\w)|“[^”]*”|«[^»]*»|`[^`]*`"), "<value>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?\b"), "<time>"),
    (re.compile(r"(?<![\w<.-])\d+(?:[.,]\d+)*(?:ms|s|min|h|d|[kKMG]i?B|%)(?![\w>])"), "<number>"),
    # A word with a digit in it: an order number, a hash, a key. Dots may join parts of it: order.4711.
    (re.compile(r"(?<![\w<#-])#?(?=[\w-]*\d)(?=[\w-]*[^\W\d])\w[\w-]*(?![\w>])"), "<id>"),
    (re.compile(r"(?<![\w<])[-+#]?\d+(?:[.,:]\d+)*(?![\w>])"), "<number>"),
)
_REPEATED = re.compile(r"(<[a-z]+>)(?:\s*[,;|/]\s*\1)+")
_SPACE = re.compile(r"\s+")
#: An HTTP status at the start of a text tells failures apart, so it stays.
_STATUS = re.compile(r"(?:HTTP )?[1-5]\d\d(?!\w)")


def normalised(error: str) -> str:
    """The error without URLs, addresses, quoted values, ids, times and numbers; "" for ""."""
    text = _SPACE.sub(" ", error).strip()
    status = _STATUS.match(text)
    kept, rest = (status[0], text[status.end() :]) if status else ("", text)
    for pattern, replacement in _RULES:
        rest = pattern.sub(replacement, rest)
    return kept + _REPEATED.sub(r"\1, …", rest)


def failure_id(status_code: int | None, error: str) -> str | None:
    """Equal for errors with the same HTTP status and the same normalised text; None without a text."""
    if not error:
        return None
    return hashlib.sha256(f"{status_code or ''}\0{normalised(error)}".encode()).hexdigest()[:LENGTH]
