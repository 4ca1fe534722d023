"""The fixture that runs each test of a module with both parsers of responses: import it into the module.

Other tests use h11, which every installation has, unless ``GENESYS_EVENTBRIDGE_PARSER=httptools``.
"""

from __future__ import annotations

import importlib

import pytest

from genesys_eventbridge.client import http


@pytest.fixture(params=["h11", "httptools"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The parser in use."""
    name: str = request.param
    monkeypatch.setattr(http, "httptools", None if name == "h11" else importlib.import_module("httptools"))
    return name
