"""A request as the sandbox reads it, a response as it writes it, and the official bodies of errors."""

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from wsgiref.types import WSGIEnvironment

Headers = tuple[tuple[str, str], ...]

# Codes as the Platform API spells them; 429 and 503 are the ones clients act on.
CODES = {
    400: "bad.request",
    401: "authentication.required",
    403: "missing.permissions",
    404: "not.found",
    405: "method.not.allowed",
    408: "client.timeout",
    413: "request.entity.too.large",
    415: "unsupported.media.type",
    421: "misdirected.request",
    429: "too.many.requests.retry.after",
    500: "internal.server.error",
    502: "bad.gateway",
    503: "service.unavailable",
    504: "request.timeout",
}


class HangUp(Exception):
    """Close the connection without an answer. A server obeys; in process it reaches the caller."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are lower case; ``length`` is what Content-Length promised."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    length: int
    correlation_id: str

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Reply:
    """One response. ``promised`` is the Content-Length if it differs from the body (half a body)."""

    status: int
    headers: Headers
    body: bytes
    promised: int | None = None

    def adding(self, headers: Iterable[tuple[str, str]]) -> "Reply":
        return replace(self, headers=(*self.headers, *headers))

    @property
    def status_line(self) -> str:
        try:
            return f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            return f"{self.status} Unknown"


def read_request(environ: WSGIEnvironment, limit: int) -> Request:
    """The request of a WSGI environ. A body longer than ``limit`` bytes is left unread."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    return Request(
        method=environ["REQUEST_METHOD"],
        path=_path(environ.get("PATH_INFO") or "/"),
        headers=_headers(environ),
        body=environ["wsgi.input"].read(length) if 0 < length <= limit else b"",
        length=length,
        correlation_id=str(uuid.uuid4()),
    )


def json_reply(status: int, value: Any, headers: Headers = ()) -> Reply:
    """``value`` as JSON."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Reply(status, (("Content-Type", "application/json"), *headers), body)


def text_reply(status: int, text: str, media_type: str, headers: Headers = ()) -> Reply:
    """``text`` as UTF-8 of ``media_type``; a lone surrogate becomes "?"."""
    body = text.encode("utf-8", "replace")
    return Reply(status, (("Content-Type", f"{media_type}; charset=utf-8"), *headers), body)


def error_reply(request: Request, status: int, message: str, headers: Headers = ()) -> Reply:
    """The Platform API's error body; its contextId is the correlation id of the response."""
    return json_reply(status, error_body(request.correlation_id, status, message), headers)


def error_body(correlation_id: str, status: int, message: str) -> dict[str, Any]:
    """An error as the Platform API writes it."""
    return {
        "message": message,
        "code": CODES.get(status, f"error.{status}"),
        "status": status,
        "contextId": correlation_id,
        "details": [],
        "errors": [],
    }


def _path(raw: str) -> str:
    # WSGI carries the percent-decoded bytes as latin-1; in-process callers may hand over real text.
    try:
        return raw.encode("latin-1").decode()
    except UnicodeError:
        return raw


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    headers["content-type"] = str(environ.get("CONTENT_TYPE") or "")
    return headers
