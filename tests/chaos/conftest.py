"""Fixtures: a platform on a socket, and processes that are killed when the test ends."""

from collections.abc import Iterator
from typing import Any

import pytest

from genesys_eventbridge.sandbox import Sandbox, SandboxServer, serve
from tests.chaos.processes import Child, destination


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(deliver_after=0)


@pytest.fixture
def server(sandbox: Sandbox) -> Iterator[SandboxServer]:
    with serve(sandbox) as running:
        yield running


@pytest.fixture
def target(server: SandboxServer) -> dict[str, Any]:
    """The setting GENESYS_EVENTBRIDGE; a module overrides it to use another protocol."""
    return destination(server.url)


@pytest.fixture
def start(target: dict[str, Any], settings: Any) -> Iterator[Any]:
    """``start(job, **orders)`` starts a child process that uses the platform; so does this process."""
    children = []
    settings.GENESYS_EVENTBRIDGE = target

    def start(job: Any, **orders: Any) -> Child:
        child = Child(job, destination=settings.GENESYS_EVENTBRIDGE, **orders)
        children.append(child)
        return child

    yield start
    for child in children:
        child.close()
