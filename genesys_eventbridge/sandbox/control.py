"""The control door: switches of the sandbox by JSON or by the forms of its page."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from genesys_eventbridge.sandbox.wire import Reply, Request, error_reply, json_reply, text_reply

if TYPE_CHECKING:
    from genesys_eventbridge.sandbox.app import Sandbox


def answer(sandbox: "Sandbox", request: Request) -> Reply:
    """GET shows the switches; POST sets them, all or none. A form is sent back to the page."""
    if request.method in ("GET", "HEAD"):
        return json_reply(200, sandbox.state())
    if request.method != "POST":
        return error_reply(request, 405, "the control door takes GET and POST", (("Allow", "GET, POST"),))
    if _from_another_site(request):
        return error_reply(request, 403, "the control door is not for pages of other sites")
    is_form = request.media_type == "application/x-www-form-urlencoded"
    try:
        _apply(sandbox, _form_fields(request.body) if is_form else _json_fields(request.body))
    except (ValueError, TypeError) as problem:
        if is_form:
            return text_reply(400, f"Nothing was changed. {problem}\n", "text/plain")
        return error_reply(request, 400, str(problem))
    return Reply(303, (("Location", "/"),), b"") if is_form else json_reply(200, sandbox.state())


def _from_another_site(request: Request) -> bool:
    # A browser names the page a POST comes from; any page the developer visits could aim at loopback.
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host", "")


def _form_fields(body: bytes) -> dict[str, Any]:
    return dict(parse_qsl(body.decode(), keep_blank_values=True))


def _json_fields(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None
    if not isinstance(fields, dict):
        raise ValueError("the body is not a JSON object")
    return fields


def _apply(sandbox: "Sandbox", fields: Mapping[str, Any]) -> None:
    unknown = sorted(set(fields) - _KNOWN)
    if unknown:
        raise ValueError(f"{unknown[0]!a} is unknown; choose from {', '.join(sorted(_KNOWN))}")
    changes = {
        option: _converted(fields, name, convert)
        for name, (option, convert) in _OPTIONS.items()
        if name in fields
    }
    registered, unregistered = _texts(fields, "register"), _texts(fields, "unregister")
    plan = _plan(fields)
    replace(sandbox.options, **changes)  # raises before anything is changed
    if plan is not None:
        sandbox.fail_next(**plan)
    sandbox.configure(**changes)
    sandbox.register(*registered)
    sandbox.unregister(*unregistered)
    if fields.get("reset"):
        sandbox.reset()


def _texts(fields: Mapping[str, Any], name: str) -> list[str]:
    values = fields.get(name, [])
    texts = values if isinstance(values, list) else [values]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"{name}: an event type, or a list of them, is expected")
    return [text.strip() for text in texts]


def _plan(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    fault = fields.get("fail_next")
    if fault is None or fault == "":
        return None
    return {
        "fault": int(fault) if str(fault).isdecimal() else str(fault),
        "times": _converted(fields, "times", int) if fields.get("times") else 1,
        "on": str(fields.get("on") or "publish"),
        "retry_after": fields.get("retry_after"),
    }


def _converted(fields: Mapping[str, Any], name: str, convert: Callable[[Any], Any]) -> Any:
    try:
        return convert(fields[name])
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}: {fields[name]!a} is not a number") from None


def _rate(value: Any) -> int | None:
    return None if value is None or value == "" else int(value)


_OPTIONS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "scenario": ("scenario", str),
    "latency_ms": ("latency", lambda value: float(value) / 1000),
    "rate": ("rate", _rate),
    "rate_window": ("rate_window", float),
    "deliver_after": ("deliver_after", float),
}
_KNOWN = {*_OPTIONS, "register", "unregister", "fail_next", "times", "on", "retry_after", "reset"}
