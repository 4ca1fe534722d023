"""The fixture that runs each test of a module with both parsers of responses: import it into the module."""

from __future__ import annotations

import pytest

from genesys_eventbridge.client import http


@pytest.fixture(params=["h11", "httptools"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The parser in use. Without httptools (the extra ``fast``) its half is skipped."""
    name: str = request.param
    if name == "h11":
        monkeypatch.setattr(http, "httptools", None)
    elif http.httptools is None:
        pytest.skip("httptools is not installed, or GENESYS_EVENTBRIDGE_PARSER=h11")
    return name
