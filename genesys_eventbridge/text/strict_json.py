"""Read JSON that people write: no NaN, no Infinity, and no object with two members of the same name."""

from __future__ import annotations

import json
from typing import Any, NoReturn


class NotJson(ValueError):
    """Base class; the text is a clause that does not contain what was read, apart from ``name``."""


class Malformed(NotJson):
    """No JSON, with the place."""

    def __init__(self, why: str, line: int, column: int) -> None:
        super().__init__(f"{why} at line {line}, column {column}")
        self.why, self.line, self.column = why, line, column


class NotAValue(NotJson):
    """NaN, Infinity or -Infinity."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not a JSON value")
        self.name = name


class RepeatedName(NotJson):
    """An object has two members of the same name: readers would disagree on its value."""

    def __init__(self) -> None:
        super().__init__("an object has two members of the same name")


class TooDeep(NotJson):
    """Nested deeper than Python reads."""

    def __init__(self) -> None:
        super().__init__("it is nested too deeply")


def loads(text: str) -> Any:
    """The JSON value in ``text``. Raises NotJson."""
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise Malformed(error.msg, error.lineno, error.colno) from None
    except NotJson:
        raise
    except ValueError as error:  # a number of more digits than Python reads
        raise NotJson(str(error)) from None
    except RecursionError:
        raise TooDeep from None


def _refuse(name: str) -> NoReturn:
    raise NotAValue(name)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise RepeatedName
    return members
