"""The pytest plugin (entry point ``genesys_eventbridge``): fixtures only, which import what they need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from genesys_eventbridge.testing import EventBridgeDrain, EventBridgeOutbox, EventBridgeSandbox


@pytest.fixture
def eventbridge_outbox(db: None) -> Iterator[EventBridgeOutbox]:  # noqa: ARG001 - opens the database
    """What the test enqueued: ``assert_enqueued``, ``assert_nothing_enqueued``, ``events``."""
    from genesys_eventbridge.testing import EventBridgeOutbox
    from genesys_eventbridge.testing.sandbox import unwoken

    with unwoken():
        yield EventBridgeOutbox()


@pytest.fixture
def eventbridge_sandbox() -> Iterator[EventBridgeSandbox]:
    """The platform of this test, in this process: ``fail_next``, ``lose_next_answer``, ``received``."""
    from genesys_eventbridge.testing import sandboxed

    with sandboxed() as sandbox:
        yield sandbox


@pytest.fixture
def eventbridge_drain(db: None, eventbridge_sandbox: EventBridgeSandbox) -> EventBridgeDrain:  # noqa: ARG001
    """``eventbridge_drain()`` delivers what is enqueued to the sandbox, without waiting, and reports."""
    from genesys_eventbridge.testing import EventBridgeDrain

    return EventBridgeDrain(eventbridge_sandbox)
