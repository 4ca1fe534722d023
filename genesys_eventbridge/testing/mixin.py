"""The fixtures for ``django.test.TestCase`` and ``TransactionTestCase``, without pytest."""

from __future__ import annotations

import unittest
from typing import TYPE_CHECKING

from genesys_eventbridge.testing.drain import EventBridgeDrain
from genesys_eventbridge.testing.outbox import EventBridgeOutbox
from genesys_eventbridge.testing.sandbox import EventBridgeSandbox, sandboxed, unwoken

if TYPE_CHECKING:
    _Base = unittest.TestCase
else:
    _Base = object


class EventBridgeTestMixin(_Base):
    """Adds ``eventbridge_outbox``, ``eventbridge_sandbox`` and ``eventbridge_drain()`` to a TestCase.

    ``class OrderTests(EventBridgeTestMixin, TestCase)``. A ``setUp`` of yours must call ``super().setUp()``.
    All destinations of the test send to a sandbox in this process, whatever the settings are.
    """

    eventbridge_outbox: EventBridgeOutbox
    eventbridge_sandbox: EventBridgeSandbox
    eventbridge_drain: EventBridgeDrain

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(unwoken())
        self.eventbridge_sandbox = self.enterContext(sandboxed())
        self.eventbridge_drain = EventBridgeDrain(self.eventbridge_sandbox)
        self.eventbridge_outbox = EventBridgeOutbox()
