"""Addresses of the views for programs, as an application would choose them."""

import pytest
from django.urls import path

from genesys_eventbridge.contrib.prometheus import metrics_view
from genesys_eventbridge.contrib.views import health_view

TOKEN = "sample-token"

urlpatterns = [
    path("metrics", metrics_view, {"token": TOKEN}),
    path("metrics/open", metrics_view, {"token": None}),
    path("metrics/late", metrics_view, {"token": lambda: TOKEN}),
    path("metrics/unset", metrics_view),
    path("metrics/empty", metrics_view, {"token": ""}),
    path("health", health_view, {"token": TOKEN}),
    path("health/short", health_view, {"token": None, "details": False}),
    path("health/lenient", health_view, {"token": None, "max_dead": 1, "max_age": 1000.0}),
    path("health/shop", health_view, {"token": None, "destinations": ["default"]}),
    path("health/wrong", health_view, {"token": None, "destinations": ["defualt"]}),
    path("health/unset", health_view),
]


@pytest.fixture(autouse=True)
def _addresses(settings):
    settings.ROOT_URLCONF = __name__


@pytest.fixture
def bearer():
    """Keywords for a request of the test client that has the token."""
    return {"headers": {"Authorization": f"Bearer {TOKEN}"}}
