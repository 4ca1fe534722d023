"""A pytest plugin with the fixture ``publish``, which registers models until the end of the test."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models import Model

from genesys_eventbridge.model_events import publishes, receivers, registry
from tests.publishing import Publish


@pytest.fixture
def publish() -> Iterator[Publish]:
    """``publish(Model, created=..., ...)`` works like publishes(), until the end of the test."""
    before = registry.registrations()

    def register(model: type[Model], **given: Any) -> Any:
        return publishes(**given)(model)

    yield register
    for registration in registry.registrations():
        if registration not in before:
            receivers.detach(registration)
