"""Responses that no platform should give and some do: named tricks for each endpoint."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from genesys_eventbridge.sandbox.tokens import oauth_error
from genesys_eventbridge.sandbox.wire import Headers, Reply, Request, error_reply, json_reply, text_reply

TRAP_PATH = "/_trap"

View = Mapping[str, Any]
Spoil = Callable[[Request, View], Reply]


@dataclass(frozen=True, slots=True)
class Trick:
    """``spoil`` makes the response from the request and the JSON of the honest response.

    ``honest_first``: the platform acts on the request (accepts the event), then its response is spoiled;
    otherwise the response comes from something in front of the platform, and nothing happened.
    """

    spoil: Spoil
    honest_first: bool


def _fixed(reply: Reply, *, honest_first: bool = True) -> Trick:
    return Trick(lambda _request, _view: reply, honest_first)


def _json(status: int, body: bytes, *, honest_first: bool = True) -> Trick:
    return _fixed(Reply(status, (("Content-Type", "application/json"),), body), honest_first=honest_first)


def _html(status: int, title: str, *, honest_first: bool = True) -> Trick:
    page = f"<!doctype html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return _fixed(text_reply(status, page, "text/html"), honest_first=honest_first)


def _changed(status: int, members: View) -> Trick:
    """The honest response with other members."""
    return Trick(lambda _request, view: json_reply(status, {**view, **members}), honest_first=True)


def _without(status: int, *names: str) -> Trick:
    """The honest response without these members."""

    def spoil(_request: Request, view: View) -> Reply:
        return json_reply(status, {name: value for name, value in view.items() if name not in names})

    return Trick(spoil, honest_first=True)


def _error(status: int, message: str, headers: Headers = (), *, honest_first: bool = False) -> Trick:
    return Trick(lambda request, _view: error_reply(request, status, message, headers), honest_first)


def _redirect(status: int) -> Trick:
    return _fixed(Reply(status, (("Location", TRAP_PATH),), b"moved"), honest_first=False)


def _half_body(_request: Request, view: View) -> Reply:
    whole = json.dumps(dict(view)).encode()
    return Reply(202, (("Content-Type", "application/json"),), whole[: len(whole) // 2], promised=len(whole))


def _false_gzip(_request: Request, view: View) -> Reply:
    return json_reply(202, dict(view), (("Content-Encoding", "gzip"),))


def _echo(request: Request, _view: View) -> Reply:
    """Path, credentials and payload of the request, inside the message."""
    seen = request.headers.get("authorization", "")
    payload = request.body.decode("utf-8", "replace")
    return error_reply(request, 503, f"{request.path} Authorization: {seen} {payload}")


_DIRTY = "\x1b[2J\r\nERROR forged line\u2028\u202eevil\x00\x9b31m <script>alert(1)</script> {{ x }}"
_ELSEWHERE = {"id": "evt-another", "source": "com.example.another", "type": "another.event"}

_ANYWHERE: dict[str, Trick] = {
    "html-503": _html(503, "Service Unavailable", honest_first=False),
    "html-403": _html(403, "Request blocked", honest_first=False),
    "redirect-302": _redirect(302),
    "redirect-307": _redirect(307),
    "control-characters": _error(503, _DIRTY),
    "echo-secret": Trick(_echo, honest_first=False),
    "retry-after-word": _error(429, "Slow down", (("Retry-After", "soon"),)),
    "retry-after-negative": _error(429, "Slow down", (("Retry-After", "-5"),)),
    "odd-status": _json(599, b"{}", honest_first=False),
}

_EVENTS: dict[str, Trick] = {
    "html-200": _html(200, "Please sign in"),
    "half-body": Trick(_half_body, honest_first=True),
    "empty-body": _json(202, b""),
    "no-content": _fixed(Reply(204, (), b"")),
    "list-body": _json(202, b"[]"),
    "null-body": _json(202, b"null"),
    "nan-body": _json(202, b'{"id": NaN}'),
    "invalid-utf8": _json(202, b'{"id": "\xff\xfe"}'),
    "deep-json": _json(202, b"[" * 100_000),
    "huge-body": _json(202, b'{"padding": "' + b"x" * (2 * 1024 * 1024) + b'"}'),
    "false-gzip": Trick(_false_gzip, honest_first=True),
    "error-inside": _json(200, b'{"status": "error", "message": "not taken"}'),
    "errors-inside": _changed(200, {"errors": [{"code": "no", "retryable": False}]}),
    "gateway-timeout": _html(504, "Gateway Timeout"),
    **_ANYWHERE,
}


def _ids(status: int, name: str) -> dict[str, Trick]:
    """The honest response with an id, in the member ``name``, that is none."""
    return {
        "path-id": _changed(status, {name: "../../admin?x=1#y"}),
        "script-id": _changed(status, {name: "<script>alert(1)</script>"}),
        "dirty-id": _changed(status, {name: _DIRTY}),
        "long-id": _changed(status, {name: "x" * 5000}),
        "number-id": _changed(status, {name: 42}),
        "null-id": _changed(status, {name: None}),
    }


PUBLISH: dict[str, Trick] = {
    **_EVENTS,
    "another-event": _changed(202, _ELSEWHERE),
    "no-id": _json(202, b'{"status": "accepted"}'),
    **_ids(202, "id"),
    "conflict-elsewhere": _changed(409, _ELSEWHERE),
    "conflict-in-progress": _error(409, "A request with this key is in progress", honest_first=True),
}

WEBHOOK: dict[str, Trick] = {
    **_EVENTS,
    "no-id": _without(200, "invocationId"),
    **_ids(200, "invocationId"),
}

STATUS: dict[str, Trick] = {
    **_EVENTS,
    "another-event": _changed(202, _ELSEWHERE),
    "no-status": _without(200, "status", "deliveryStatus"),
    "strange-status": _changed(200, {"status": "teleported"}),
    "number-status": _changed(200, {"status": 7}),
}

TOKEN: dict[str, Trick] = {
    "html-200": _html(200, "Please sign in", honest_first=False),
    "no-token": _without(200, "access_token"),
    "null-token": _changed(200, {"access_token": None}),
    "dirty-token": _changed(200, {"access_token": "a\r\nX-Evil: 1"}),
    "mac-token": _changed(200, {"token_type": "mac"}),
    "no-expiry": _without(200, "expires_in"),
    "text-expiry": _changed(200, {"expires_in": "1200"}),
    "zero-expiry": _changed(200, {"expires_in": 0}),
    "invalid-scope": _fixed(oauth_error(400, "invalid_scope", "not a known scope"), honest_first=False),
    "rate-limit": _fixed(
        oauth_error(400, "invalid_request", "rate limit exceeded; retry later"), honest_first=False
    ),
    **_ANYWHERE,
}

TRICKS: dict[str, dict[str, Trick]] = {
    "publish": PUBLISH,
    "status": STATUS,
    "token": TOKEN,
    "webhook": WEBHOOK,
}
