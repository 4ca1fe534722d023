"""CloudEvents 1.0 attributes: converts what a caller passed to what is encoded, or says why it cannot.

Functions take the name of the attribute for the error and raise InvalidEvent. String, URI,
URI-reference, Timestamp, Integer, Boolean and Binary are the types of the specification's "Type System".
"""

import ipaddress
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import TypeAlias

from genesys_eventbridge.cloudevents.data import a_type, exact_text, is_proxy
from genesys_eventbridge.cloudevents.timestamps import parse_rfc3339, rfc3339, to_milliseconds
from genesys_eventbridge.errors import InvalidEvent

ExtensionValue: TypeAlias = str | int | bool

MAX_LENGTH = 255  # characters of id, source, type and subject: the width of the outbox's columns
CORE_NAMES = frozenset(
    {
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "datacontenttype",
        "dataschema",
        "data",
        "data_base64",  # a member of the JSON format, not an attribute, but reserved as well
    }
)

_PLANES = "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17))
_NOT_IN_STRING = re.compile(f"[\0-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_PLANES}]")

# RFC 3986, appendix A. A first segment with a colon must be a scheme.
_ENCODED = "%[0-9A-Fa-f]{2}"
_NAME = r"-A-Za-z0-9._~!$&'()*+,;="
_PATH = rf"(?:[{_NAME}:@]|{_ENCODED})"
_URI_REFERENCE = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):|(?![^/?#]*:))"
    rf"(?://(?:(?:[{_NAME}:]|{_ENCODED})*@)?"
    rf"(?:\[(?:(?P<ipv6>[0-9A-Fa-f:.]+)|[Vv][0-9A-Fa-f]+\.[{_NAME}:]+)\]|(?:[{_NAME}]|{_ENCODED})*)(?::[0-9]*)?"
    rf"(?:/{_PATH}*)*|(?!//)(?:{_PATH}|/)*)"
    rf"(?:\?(?:{_PATH}|[/?])*)?(?:#(?:{_PATH}|[/?])*)?"
)
_NOT_IN_URI = re.compile(rf"[^{_NAME}:/?#\[\]@%]")

# Names as registered by RFC 6838, parameters as written by RFC 2045.
_REGISTERED = "[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+"  # noqa: S105 - the grammar's word, no secret
_QUOTED = r'"(?:[ !#-\[\]-~]|\\[ -~])*"'
_MEDIA_TYPE = re.compile(rf"{_REGISTERED}/{_REGISTERED}(?: *; *{_TOKEN}=(?:{_TOKEN}|{_QUOTED}))*")

_EXTENSION_NAME = re.compile("[a-z0-9]+")


def check_text(name: str, value: object, max_length: int | None = None) -> str:
    """A non-empty String without control characters, noncharacters and unpaired surrogates."""
    if value is None:
        raise InvalidEvent(name, "is required")
    text = exact_text(value)
    if text is None:
        raise InvalidEvent(name, f"must be text, not {a_type(value)}; pass str(value)")
    if not text:
        raise InvalidEvent(name, "must not be empty; omit it if it is optional")
    if max_length is not None and len(text) > max_length:
        raise InvalidEvent(name, f"has {len(text)} characters; the maximum is {max_length}")
    return _characters(name, text)


def event_type(value: object) -> str:
    """The attribute ``type``. An application has few, so valid ones are remembered, as sources are."""
    return _event_type(value) if type(value) is str else check_text("type", value, MAX_LENGTH)


def source(value: object) -> str:
    """The attribute ``source``: matching the URI takes 3 us, a tenth of building an event."""
    return _source(value) if type(value) is str else uri_reference("source", value, MAX_LENGTH)


@lru_cache(maxsize=256)
def _event_type(text: str) -> str:
    return check_text("type", text, MAX_LENGTH)


@lru_cache(maxsize=256)
def _source(text: str) -> str:
    return uri_reference("source", text, MAX_LENGTH)


def uri_reference(name: str, value: object, max_length: int | None = None) -> str:
    """A URI-reference (RFC 3986), such as ``https://shop.example/orders`` or ``com.example.orders``."""
    text = check_text(name, value, max_length)
    _match_uri(name, text)
    return text


def uri(name: str, value: object) -> str:
    """A URI with a scheme. Fragments are allowed: JSON Schema and the official SDKs use them."""
    text = check_text(name, value)
    if _match_uri(name, text)["scheme"] is None:
        raise InvalidEvent(name, "must be an absolute URI, with its scheme: https://..., urn:...")
    return text


def media_type(name: str, value: object) -> str:
    """A media type with its parameters (RFC 2046), such as ``text/plain; charset=utf-8``, as given."""
    text = check_text(name, value)
    if not _MEDIA_TYPE.fullmatch(text):
        raise InvalidEvent(
            name,
            "is not a media type; write it like text/plain or text/csv; charset=utf-8, "
            "and put double quotes around parameters with other characters",
        )
    return text


def is_json(media_type: str) -> bool:
    """Whether data of this media type is a JSON value: ``*/json`` or ``*/*+json``, ignoring case."""
    subtype = media_type.partition(";")[0].rstrip().lower().partition("/")[2]
    return subtype == "json" or subtype.endswith("+json")


def timestamp(name: str, value: object) -> datetime:
    """An aware datetime or an RFC 3339 text, in UTC; anything finer than a millisecond is cut off."""
    try:
        if isinstance(value, datetime):
            return to_milliseconds(value)
        text = exact_text(value)
        if text is not None:
            return to_milliseconds(parse_rfc3339(text))
    except ValueError as problem:
        raise InvalidEvent(name, str(problem)) from None
    raise InvalidEvent(name, f"must be an aware datetime or an RFC 3339 text, not {a_type(value)}")


def extensions(value: object) -> dict[str, ExtensionValue]:
    """Extension attributes by name, in a new dict; those that are None are omitted.

    Values: text (String; Enums of text, UUIDs and lazy translations become text), bool (Boolean), 32-bit
    int (Integer), bytes (Binary: base64), aware datetime (Timestamp: RFC 3339 with its own offset and
    microseconds). The specification has no float, list or map.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidEvent("extensions", f"must be a mapping of names to values, not {a_type(value)}")
    written: dict[str, ExtensionValue] = {}
    for key, item in value.items():
        name = _extension_name(key)
        if name in written:
            raise InvalidEvent("extensions", f"two keys give the same name {_shown(name)}")
        if item is not None:
            written[name] = _extension_value(f"extensions.{name[:40]}", item)
    return written


def _characters(name: str, text: str) -> str:
    if found := _NOT_IN_STRING.search(text):
        raise InvalidEvent(
            name,
            f"contains U+{ord(found[0]):04X} at position {found.start()}; attributes must not have control "
            "characters (including tabs and line breaks), noncharacters or unpaired surrogates: remove it",
        )
    return text


def _match_uri(name: str, text: str) -> re.Match[str]:
    if stray := _NOT_IN_URI.search(text):
        raise InvalidEvent(
            name,
            f"contains U+{ord(stray[0]):04X} at position {stray.start()}, not allowed in a URI; "
            "percent-encode it",
        )
    found = _URI_REFERENCE.fullmatch(text)
    if not found or (found["ipv6"] is not None and not _is_ipv6(found["ipv6"])):
        raise InvalidEvent(
            name,
            "is not a URI (RFC 3986); check the scheme (such as https) before the first ':', two hexadecimal "
            "digits after each '%', an IPv6 address in '[' and ']', at most one '#', and a number as port",
        )
    return found


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _extension_name(key: object) -> str:
    if not isinstance(key, str) or is_proxy(key):
        raise InvalidEvent("extensions", f"a name is {a_type(key)}; names are text")
    name = str.__str__(key)
    if name in CORE_NAMES:
        raise InvalidEvent(
            "extensions", f"{_shown(name)} belongs to the event itself and cannot be an extension"
        )
    if not _EXTENSION_NAME.fullmatch(name):
        raise InvalidEvent(
            "extensions",
            f"the name {_shown(name)} must be one or more of a-z and 0-9; no capitals, '_' or '-'",
        )
    return name


def _extension_value(field: str, value: object) -> ExtensionValue:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and not is_proxy(value):
        if not -(2**31) <= value < 2**31:
            raise InvalidEvent(field, "is an int of more than 32 bits; send it as text: str(value)")
        return int(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b64encode(bytes(value)).decode("ascii")
    if isinstance(value, datetime):
        try:
            return rfc3339(value)
        except ValueError as problem:
            raise InvalidEvent(field, str(problem)) from None
    text = exact_text(value)
    if text is None:
        raise InvalidEvent(
            field, f"must be text, int, bool, bytes or aware datetime, not {a_type(value)}; send it as text"
        )
    return _characters(field, text)


def _shown(name: str) -> str:
    return json.dumps(name[:40])
