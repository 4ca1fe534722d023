"""A sandbox on a clock of its own, and a client that holds a token."""

import pytest

from genesys_eventbridge.sandbox import Sandbox, serve
from tests.sandbox.callers import Caller, Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def waits():
    return []


@pytest.fixture
def sandbox(clock, waits):
    return Sandbox(clock=clock, sleep=waits.append)


@pytest.fixture
def caller(sandbox):
    return Caller(sandbox).login()


@pytest.fixture
def server(sandbox):
    with serve(sandbox) as running:
        yield running


@pytest.fixture
def remote(sandbox, server):
    caller = Caller(sandbox, server.url)
    with caller.http:
        yield caller.login()
