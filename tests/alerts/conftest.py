"""Each test begins without notices and without a round in the background."""

import pytest

from genesys_eventbridge.alerts import background
from tests import alerts


@pytest.fixture(autouse=True)
def _nothing_received():
    alerts.received.clear()
    yield
    background.forget()
