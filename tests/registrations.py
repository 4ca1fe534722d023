"""The fixture ``publish``, a pytest plugin: registrations of models that end with their test."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models import Model

from genesys_eventbridge import model_receivers, model_registry
from genesys_eventbridge.model_events import publishes
from tests.publishing import Publish


@pytest.fixture
def publish() -> Iterator[Publish]:
    """``publish(Model, created=..., ...)``: as publishes(), until the end of the test."""
    before = model_registry.registrations()

    def register(model: type[Model], **given: Any) -> Any:
        return publishes(**given)(model)

    yield register
    for registration in model_registry.registrations():
        if registration not in before:
            model_receivers.detach(registration)
