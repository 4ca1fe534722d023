"""Whether a received body is a CloudEvent. Written independently of the builder, to verify it."""

import base64
import binascii
import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

_NAME = re.compile(r"[a-z0-9]+")
_URI_CHARACTERS = r"(?:[A-Za-z0-9\-._~:/?@!$&'()*+,;=]|%[0-9A-Fa-f]{2})"
_URI_REFERENCE = re.compile(rf"(?=.){_URI_CHARACTERS}*(?:#{_URI_CHARACTERS}*)?")
_IP_LITERAL = re.compile(r"(?<=//)([^/?#@]*@)?\[[0-9A-Fa-f:.]+\](?=[:/?#]|$)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+\-]+/[A-Za-z0-9!#$&^_.+\-]+(?:\s*;.*)?")
_JSON_MEDIA_TYPE = re.compile(r"[^/]+/(?:[^/]+\+)?json")
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-5][0-9])"
)
_DEEPEST = 500
_REQUIRED = ("id", "source", "type", "time")


class Invalid(ValueError):
    """The body is not an event that the platform accepts; the text names the attribute and the rule."""


def read_members(body: bytes) -> dict[str, Any]:
    """The members of the JSON object in ``body``. Raises Invalid if there is no such object."""
    value = read_json(body)
    if not isinstance(value, dict):
        raise Invalid(f"the body is not a JSON object but {_kind(value)}")
    return value


def read_json(body: bytes) -> Any:
    """The JSON value in ``body``. Raises Invalid if there is none, if it repeats a name or is too deep."""
    if not body:
        raise Invalid("the body is empty; JSON is expected")
    try:
        value = json.loads(body.decode(), parse_constant=_no_constant, object_pairs_hook=_no_repetition)
    except UnicodeDecodeError:
        raise Invalid("the body is not UTF-8") from None
    except Invalid:
        raise
    except ValueError as error:
        raise Invalid(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise Invalid("the body is nested too deeply") from None
    if _is_deep(value):
        raise Invalid("the body is nested too deeply")
    return value


def _is_deep(value: object) -> bool:
    """Deeper than _DEEPEST: how deep json reads and writes depends on how deep its caller is."""
    level = [value]
    for _depth in range(_DEEPEST):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return bool(level)


def check_event(members: dict[str, Any]) -> None:
    """Raises Invalid for the first rule that ``members`` breaks: required attributes, names, types, data."""
    if members.get("specversion") != "1.0":
        raise Invalid("specversion: must be the text 1.0")
    for name in _REQUIRED:
        if members.get(name) is None:
            raise Invalid(f"{name}: required")
    for name, value in members.items():
        if name not in ("data", "data_base64") and value is not None:
            _check_attribute(name, value)
    _check_data(members)


def _check_attribute(name: str, value: Any) -> None:
    if not _NAME.fullmatch(name):
        raise Invalid(f"{name!a}: attribute names are a-z and 0-9 only")
    rule = _RULES.get(name)
    if rule is None and (value is True or value is False):
        return
    if rule is None and isinstance(value, int):
        if not -(2**31) <= value < 2**31:
            raise Invalid(f"{name}: integers have 32 bits")
        return
    if not isinstance(value, str):
        allowed = "text" if rule else "text, an integer or a boolean"
        raise Invalid(f"{name}: must be {allowed}, not {_kind(value)}")
    if bad := next((character for character in value if _forbidden(ord(character))), None):
        raise Invalid(f"{name}: U+{ord(bad):04X} is not allowed in an attribute")
    if rule is not None:
        rule(name, value)


def _check_data(members: dict[str, Any]) -> None:
    if ("data" in members) == ("data_base64" in members):
        raise Invalid("data: exactly one of data and data_base64 is required")
    if "data_base64" in members:
        try:
            base64.b64decode(members["data_base64"], validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise Invalid("data_base64: must be base64 text") from None
        return
    media_type = (members.get("datacontenttype") or "application/json").partition(";")[0].strip().lower()
    if not _JSON_MEDIA_TYPE.fullmatch(media_type) and not isinstance(members["data"], str):
        raise Invalid(f"data: must be text where datacontenttype is {media_type}")


def _not_empty(name: str, value: str) -> None:
    if not value:
        raise Invalid(f"{name}: must not be empty")


def _uri_reference(name: str, value: str) -> None:
    scheme, colon, _ = re.split(r"[/?#]", value, maxsplit=1)[0].partition(":")
    if not _URI_REFERENCE.fullmatch(_IP_LITERAL.sub("host", value, count=1)) or (
        colon and not _SCHEME.fullmatch(scheme)
    ):
        raise Invalid(f"{name}: must be a URI-reference")


def _absolute_uri(name: str, value: str) -> None:
    _uri_reference(name, value)
    if ":" not in re.split(r"[/?#]", value, maxsplit=1)[0]:
        raise Invalid(f"{name}: must be an absolute URI")


def _timestamp(name: str, value: str) -> None:
    # A leap second is legal in RFC 3339 and unknown to datetime.
    readable = f"{value[:17]}59{value[19:]}" if value[17:19] == "60" else value
    try:
        valid = bool(_RFC3339.fullmatch(value)) and bool(datetime.fromisoformat(readable.upper()))
    except ValueError:
        valid = False
    if not valid:
        raise Invalid(f"{name}: must be an RFC 3339 time with Z or an offset")


def _media_type(name: str, value: str) -> None:
    if not _MEDIA_TYPE.fullmatch(value):
        raise Invalid(f"{name}: must be a media type such as application/json")


_RULES: dict[str, Callable[[str, str], None]] = {
    "specversion": _not_empty,
    "id": _not_empty,
    "source": _uri_reference,
    "type": _not_empty,
    "subject": _not_empty,
    "time": _timestamp,
    "dataschema": _absolute_uri,
    "datacontenttype": _media_type,
}


def _no_constant(name: str) -> None:
    raise Invalid(f"the body is not JSON: {name}")


def _no_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Invalid("the body repeats a member name")
    return members


def _forbidden(code: int) -> bool:
    control = code < 0x20 or 0x7F <= code <= 0x9F
    noncharacter = 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE
    return control or noncharacter or 0xD800 <= code <= 0xDFFF


def _kind(value: Any) -> str:
    names = {list: "an array", str: "text", bool: "a boolean", type(None): "null", dict: "an object"}
    return names.get(type(value), "a number")
