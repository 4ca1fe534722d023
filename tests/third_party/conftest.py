"""Fixtures: registrations that end with their test, and every scenario also without registrations."""

from typing import Any

import pytest
from django.db.models import Model

from tests.publishing import Publish

pytest_plugins = ["tests.registrations"]


@pytest.fixture(params=["without events", "with events"])
def maybe_publish(request: pytest.FixtureRequest, publish: Publish) -> Publish:
    """``publish`` in one of two runs of each test; the library must behave the same in both."""

    def register(model: type[Model], **given: Any) -> Any:
        return publish(model, **given) if request.param == "with events" else model

    return register
