"""A foreign project adopts the built wheel: model, first test, metrics, trace, contract.

Runs where the wheel is installed with the extras prometheus and opentelemetry, pytest-django and the SDK.
"""

import subprocess
import sys
from pathlib import Path

SETTINGS = """
INSTALLED_APPS += ["genesys_eventbridge", "orders"]
GENESYS_EVENTBRIDGE = {"default": {"SOURCE": "com.example.shop"}}
"""
MODELS = """
from django.db import models

from genesys_eventbridge.model_events import publishes


@publishes(created="order.created", fields=["number"], subject="number")
class Order(models.Model):
    number = models.CharField(max_length=20)
"""
TESTS = """
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from orders.models import Order
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from genesys_eventbridge.contrib.prometheus import EventBridgeCollector

pytestmark = pytest.mark.django_db


def test_an_order_publishes_an_event(eventbridge_outbox):
    Order.objects.create(number="ORD-1")
    eventbridge_outbox.assert_enqueued("order.created", subject="ORD-1", data={"number": "ORD-1"})


def test_it_arrives_once_is_counted_and_traced(eventbridge_sandbox, eventbridge_drain):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    eventbridge_sandbox.fail_next(503, times=2)

    with provider.get_tracer("shop").start_as_current_span("order"):
        Order.objects.create(number="ORD-2")
    assert eventbridge_drain().idle

    (received,) = eventbridge_sandbox.received
    assert received["subject"] == "ORD-2"
    spans = {span.name: span for span in exporter.get_finished_spans()}
    began = spans["order"].context.trace_id
    assert [link.context.trace_id for link in spans["publish default"].links] == [began]
    registry = CollectorRegistry()
    registry.register(EventBridgeCollector())
    samples = {
        (sample.name, sample.labels.get("state")): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }
    assert samples["eventbridge_events", "delivered"] == 1
"""
PYTEST = "[pytest]\nDJANGO_SETTINGS_MODULE = shop.settings\npythonpath = .\n"


def run(*command: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd="shop", capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != code:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}, not {code}\n{done.stdout}{done.stderr}")
    return done.stdout


subprocess.run([sys.executable, "-m", "django", "startproject", "shop"], check=True)
here = Path("shop")
run("manage.py", "startapp", "orders")
with (here / "shop/settings.py").open("a", encoding="utf-8") as settings:
    settings.write(SETTINGS)
(here / "orders/models.py").write_text(MODELS, encoding="utf-8")
(here / "test_orders.py").write_text(TESTS, encoding="utf-8")
(here / "pytest.ini").write_text(PYTEST, encoding="utf-8")

run("manage.py", "makemigrations", "orders")
run("manage.py", "migrate")
run("manage.py", "check")
print(run("-m", "pytest", "-q").strip().splitlines()[-1])
for form in ("jsonschema", "asyncapi"):
    run("manage.py", "eventbridge_catalogue", "--format", form, "--output", f"{form}.json")
    run("manage.py", "eventbridge_catalogue", "--check", f"{form}.json")
(here / "orders/models.py").write_text(MODELS.replace("order.created", "order.made"), encoding="utf-8")
broken = run("manage.py", "eventbridge_catalogue", "--check", "asyncapi.json", code=1)
assert "order.created" in broken, broken
print("a foreign project uses the wheel: test, metrics, trace and contract")
