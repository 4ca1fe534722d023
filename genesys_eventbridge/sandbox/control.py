"""The control endpoint: sets the sandbox's switches by JSON or by the forms of its page."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from genesys_eventbridge.sandbox.options import shown
from genesys_eventbridge.sandbox.validation import read_members
from genesys_eventbridge.sandbox.wire import Reply, Request, error_reply, json_reply, text_reply

if TYPE_CHECKING:
    from genesys_eventbridge.sandbox.app import Sandbox

# Maximum bytes of a request's body.
_LONGEST_BODY = 64 * 1024
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?")


def answer(sandbox: "Sandbox", request: Request) -> Reply:
    """GET shows the switches; POST sets them, all or none. A form is sent back to the page."""
    if request.method in ("GET", "HEAD"):
        return json_reply(200, sandbox.state())
    if request.method != "POST":
        return error_reply(
            request, 405, "the control endpoint accepts GET and POST", (("Allow", "GET, POST"),)
        )
    if _from_another_site(request):
        return error_reply(request, 403, "the control endpoint does not accept requests of other sites")
    is_form = request.media_type == "application/x-www-form-urlencoded"
    try:
        _apply(sandbox, _form_fields(_body(request)) if is_form else read_members(_body(request)))
    except ValueError as problem:
        if is_form:
            return text_reply(400, f"Nothing was changed. {problem}\n", "text/plain")
        return error_reply(request, 400, str(problem))
    return Reply(303, (("Location", "/"),), b"") if is_form else json_reply(200, sandbox.state())


def _from_another_site(request: Request) -> bool:
    # A browser names the page that a POST comes from; any page the developer visits could target loopback.
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    return origin is not None and origin.partition("://")[2].lower() != host.lower()


def _body(request: Request) -> bytes:
    if request.length > _LONGEST_BODY:
        raise ValueError(f"the body has {request.length} bytes; {_LONGEST_BODY} are the most")
    if len(request.body) < request.length:
        raise ValueError("the body is shorter than Content-Length")
    return request.body


def _form_fields(body: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True)
    except UnicodeDecodeError:
        raise ValueError("the body is not UTF-8") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("the body repeats a name")
    return fields


def _apply(sandbox: "Sandbox", fields: Mapping[str, Any]) -> None:
    unknown = sorted(set(fields) - _KNOWN)
    if unknown:
        raise ValueError(f"{shown(unknown[0])} is unknown; choose from {', '.join(sorted(_KNOWN))}")
    changes = {
        option: _converted(fields, name, convert)
        for name, (option, convert) in _OPTIONS.items()
        if name in fields
    }
    registered, unregistered = _texts(fields, "register"), _texts(fields, "unregister")
    plan = _plan(fields)
    reset = _switch(fields, "reset")
    replace(sandbox.options, **changes)  # raises before anything is changed
    if plan is not None:
        sandbox.fail_next(**plan)
    sandbox.configure(**changes)
    sandbox.register(*registered)
    sandbox.unregister(*unregistered)
    if reset:
        sandbox.reset()


def _texts(fields: Mapping[str, Any], name: str) -> list[str]:
    values = fields.get(name, [])
    texts = values if isinstance(values, list) else [values]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"{name}: an event type, or a list of them, is expected")
    return [text.strip() for text in texts]


def _plan(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of ``fail_next``. Values that only apply to it are refused without it."""
    given = {name: fields[name] for name in ("fail_next", "times", "on", "retry_after") if name in fields}
    if _is_empty(given.pop("fail_next", None)):
        if beside := [name for name, value in given.items() if not _is_empty(value)]:
            raise ValueError(f"{beside[0]}: needs fail_next")
        return None
    retry_after = given.get("retry_after")
    return {
        "fault": _converted(fields, "fail_next", _fault),
        "times": 1 if _is_empty(given.get("times")) else _converted(fields, "times", _whole),
        "on": "" if _is_empty(given.get("on")) else _converted(fields, "on", _text),
        "retry_after": None if retry_after is None else _converted(fields, "retry_after", _text_or_whole),
    }


def _switch(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name, False)
    if isinstance(value, bool):
        return value
    if value in ("0", "1", 0, 1):
        return value in ("1", 1)
    raise ValueError(f"{name}: {shown(value)} is not true or false")


def _is_empty(value: Any) -> bool:
    return value is None or value == ""


def _converted(fields: Mapping[str, Any], name: str, convert: Callable[[Any], Any]) -> Any:
    try:
        return convert(fields[name])
    except ValueError as wanted:
        raise ValueError(f"{name}: {shown(fields[name])} is not {wanted}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text")
    return value


def _whole(value: Any) -> int:
    """A whole number of JSON, or of a form's text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    raise ValueError("a number without a fraction")


def _decimal(value: Any) -> float:
    """A number of JSON, or of a form's text."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18:
        return float(value)
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return float(value)
    raise ValueError("a number")


def _milliseconds(value: Any) -> float:
    milliseconds = _decimal(value)
    if not 0 <= milliseconds <= 3_600_000:
        raise ValueError("a number of milliseconds from 0 to 3600000")
    return milliseconds / 1000


def _rate(value: Any) -> int | None:
    return None if _is_empty(value) else _whole(value)


def _text_or_whole(value: Any) -> str | int:
    return value if isinstance(value, str) else _whole(value)


def _fault(value: Any) -> str | int:
    """A status, or the name of a trick."""
    return _whole(value) if not isinstance(value, str) or _WHOLE.fullmatch(value) else value


_OPTIONS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "scenario": ("scenario", _text),
    "latency_ms": ("latency", _milliseconds),
    "rate": ("rate", _rate),
    "rate_window": ("rate_window", _decimal),
    "deliver_after": ("deliver_after", _decimal),
}
_KNOWN = {*_OPTIONS, "register", "unregister", "fail_next", "times", "on", "retry_after", "reset"}
