"""A pytest plugin with the fixture ``declare``, which declares events until the end of the test."""

from collections.abc import Iterator
from typing import Any

import pytest

from genesys_eventbridge.outbox import declarations, declare_event
from tests.publishing import Declare


@pytest.fixture
def declare() -> Iterator[Declare]:
    """``declare(type, ...)`` works like declare_event(), until the end of the test."""
    before = dict(declarations._declared)

    def call(*arguments: Any, **keywords: Any) -> None:
        declare_event(*arguments, **keywords)

    yield call
    declarations._declared.clear()
    declarations._declared.update(before)
