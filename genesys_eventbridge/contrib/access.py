"""Views for programs, which have no session: a bearer token protects them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare

#: A token, or a function that returns one, or None if something else protects the view.
Token = str | Callable[[], str] | None
#: The token was left out.
UNSET: Any = object()


def refusal(request: HttpRequest, token: Token, view: str) -> HttpResponse | None:
    """The response to a request without the token, status 401; None if it has the token or needs none.

    Raises ImproperlyConfigured if ``token`` is unset or empty.
    """
    if callable(token):
        token = token()
    if token is UNSET or token == "":
        raise ImproperlyConfigured(
            f"{view}: token: {'must not be empty' if token == '' else 'is missing'}. Pass "
            f'path("...", {view}, {{"token": TOKEN}}), or {{"token": None}} if something else protects it, '
            "such as a proxy or a network that only your monitoring reaches."
        )
    if token is None:
        return None
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and constant_time_compare(given.strip(), token):
        return None
    return HttpResponse(
        "Send the header Authorization: Bearer TOKEN\n",
        status=401,
        content_type="text/plain",
        headers={"WWW-Authenticate": "Bearer"},
    )
