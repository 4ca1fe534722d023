"""The trace of an event: fixed when it is enqueued, and linked from each of its requests."""

import json
import sys
from urllib.parse import urlsplit

import pytest
from django.db import transaction
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from genesys_eventbridge import conf, relay, tracing
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.operations import Actor, resend
from genesys_eventbridge.outbox import enqueue, enqueue_many
from genesys_eventbridge.states import State
from tests.outbox_rows import ended, fresh
from tests.prompt import sandboxed
from tests.publishing import Publish
from tests.shop.models import Order

pytest_plugins = ["tests.registrations"]

ELSEWHERE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans(monkeypatch):
    """A provider with an exporter in memory, as an application installs one; returns the finished spans."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield lambda: list(exporter.get_finished_spans())
    provider.shutdown()


def in_a_span(name="GET /orders"):
    return trace.get_tracer_provider().get_tracer("tests").start_as_current_span(name)


def members(row):
    return json.loads(row.body)


@pytest.mark.django_db(transaction=True)
def test_one_trace_leads_from_the_save_to_the_delivery(spans, publish: Publish):
    publish(Order, created="order.created", fields=["number"])
    with sandboxed(deliver_after=0.001), in_a_span():
        Order.objects.create(number="ORD-7", amount=1)
        relay.publish_due()
        with shifted(1):
            relay.check_accepted()

    by_name = {span.name: span for span in spans()}
    request, enqueued = by_name["GET /orders"], by_name["enqueue default"]
    assert enqueued.parent.span_id == request.context.span_id
    assert enqueued.kind is SpanKind.PRODUCER
    for name in ("publish default", "check default"):
        span = by_name[name]
        assert [link.context.span_id for link in span.links] == [enqueued.context.span_id]
        assert [link.context.trace_id for link in span.links] == [request.context.trace_id]
        assert (span.parent, span.kind) == (None, SpanKind.CLIENT)
        assert span.status.status_code is StatusCode.UNSET
        assert span.attributes["cloudevents.event_id"] == enqueued.attributes["cloudevents.event_id"]
    assert set(by_name) == {"GET /orders", "enqueue default", "publish default", "check default"}


@pytest.mark.django_db(transaction=True)
def test_the_attributes_are_those_of_the_conventions_and_hold_no_data(spans):
    with sandboxed():
        row = enqueue("order.created", {"mail": "zoe@example.com"}, subject="zoe", standalone=True)
        relay.publish_due()
        server = urlsplit(conf.destination("default").platform.api_base_url)

    enqueued, published = (dict(span.attributes) for span in spans())
    event = {
        "messaging.system": "genesys_eventbridge",
        "messaging.destination.name": "default",
        "messaging.message.id": row.event_id,
        "cloudevents.event_id": row.event_id,
        "cloudevents.event_source": row.source,
        "cloudevents.event_spec_version": "1.0",
        "cloudevents.event_type": "order.created",
    }
    assert enqueued == {
        **event,
        "messaging.operation.name": "enqueue",
        "messaging.operation.type": "create",
    }
    assert published == {
        **event,
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.message.body.size": len(row.body.encode()),
        "server.address": server.hostname,
        "server.port": server.port,
        "http.response.status_code": 202,
    }
    assert "zoe" not in repr([span.to_json() for span in spans()])


@pytest.mark.django_db(transaction=True)
def test_a_refused_request_is_an_error_without_its_text(spans):
    with sandboxed() as platform:
        platform.fail_next(503)
        enqueue("order.created", {"mail": "zoe@example.com"}, standalone=True)
        relay.publish_due()

    published = spans()[-1]
    assert (published.status.status_code, published.status.description) == (StatusCode.ERROR, None)
    assert published.attributes["error.type"] == "503"
    assert published.events == ()


@pytest.mark.django_db
class TestTheEvent:
    def test_it_carries_the_trace_of_its_enqueue(self, spans):
        with in_a_span():
            row = enqueue("order.created", {}, standalone=True)

        enqueued, request = spans()
        trace_id, span_id = request.context.trace_id, enqueued.context.span_id
        assert members(row)["traceparent"].startswith(f"00-{trace_id:032x}-{span_id:016x}-")
        assert "tracestate" not in members(row)

    def test_each_of_many_carries_the_trace_of_their_enqueue(self, spans):
        rows = enqueue_many([{"type": "order.created", "data": n} for n in range(3)], standalone=True)

        (enqueued,) = spans()
        assert {members(row)["traceparent"][36:52] for row in rows} == {f"{enqueued.context.span_id:016x}"}
        assert enqueued.attributes["messaging.batch.message_count"] == 3

    @pytest.mark.parametrize("name", ["traceparent", "tracestate"])
    def test_a_caller_who_passes_a_trace_decides(self, spans, name):
        row = enqueue("order.created", {}, extensions={name: ELSEWHERE}, standalone=True)

        assert {key: value for key, value in members(row).items() if key in tracing.EXTENSION} == {
            name: ELSEWHERE
        }

    def test_the_same_event_again_is_the_same_whatever_its_trace(self, spans):
        first, second = (
            enqueue("order.created", {"a": 1}, idempotency_key="ORD-7", standalone=True) for _ in range(2)
        )

        assert first.pk == second.pk
        assert len({members(row)["traceparent"] for row in (first, fresh(second))}) == 1

    def test_one_that_is_too_large_with_its_trace_goes_without(self, spans, settings):
        plain = enqueue("order.created", {"a": 1}, extensions={"traceparent": ELSEWHERE}, standalone=True)
        size = len(plain.body.encode()) - 10
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {"default": {**one, "MAX_EVENT_BYTES": size}}

        row = enqueue("order.created", {"a": 1}, standalone=True)

        assert "traceparent" not in members(row)
        with pytest.raises(InvalidEvent, match="data"):
            enqueue("order.created", {"a": "x" * size}, standalone=True)

    def test_a_copy_keeps_the_trace_of_the_first(self, spans):
        row = enqueue("order.created", {"a": 1}, standalone=True)
        type(row).objects.filter(pk=row.pk).update(**ended(State.DELIVERED, finished_at=DatabaseNow()))

        resend(row.pk, Actor("tests", name="ana"), "lost")

        (copy,) = type(row).objects.exclude(pk=row.pk)
        assert members(copy)["traceparent"] == members(row)["traceparent"]

    def test_an_enqueue_that_raises_is_an_error_without_its_text(self, spans):
        with pytest.raises(InvalidEvent):
            enqueue("order.created", {"a": float("nan")}, standalone=True)

        (enqueued,) = spans()
        assert enqueued.attributes["error.type"] == "InvalidEvent"
        assert (enqueued.status.status_code, enqueued.status.description, enqueued.events) == (
            StatusCode.ERROR,
            None,
            (),
        )

    def test_a_damaged_trace_links_nowhere(self, spans):
        for traceparent in ("nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", 7):
            assert tracing._links(json.dumps({"traceparent": traceparent})) == []
        assert tracing._links("{}") == []


CANARY = "collector-canary"


class Broken(SpanProcessor):
    def __init__(self, method):
        self.method = method

    def on_start(self, span, parent_context=None):
        if self.method == "on_start":
            raise ConnectionError(CANARY)

    def on_end(self, span):
        if self.method == "on_end":
            raise ConnectionError(CANARY)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("method", ["on_start", "on_end"])
def test_a_processor_that_raises_stops_neither_the_enqueue_nor_the_request(monkeypatch, caplog, method):
    provider = TracerProvider()
    provider.add_span_processor(Broken(method))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)

    with sandboxed():
        row = enqueue("order.created", 1, standalone=True)
        relay.publish_due()

    assert fresh(row).state in (State.ACCEPTED, State.DELIVERED)
    assert "A span was not recorded: ConnectionError" in caplog.text
    assert CANARY not in caplog.text


def test_a_body_that_is_no_event_links_nowhere():
    for body in ('["traceparent"]', '"traceparent" is not JSON'):
        assert tracing._links(body) == []


@pytest.mark.django_db
class TestWithout:
    def test_with_tracing_off_there_is_no_span_and_no_trace(self, spans, settings):
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {"default": {**one, "TRACING": False}}
        with in_a_span():
            row = enqueue("order.created", {}, standalone=True)

        assert [span.name for span in spans()] == ["GET /orders"]
        assert "traceparent" not in members(row)

    def test_without_a_provider_there_is_no_trace(self):
        with transaction.atomic():
            row = enqueue("order.created", {})

        assert "traceparent" not in members(row)

    def test_a_trace_that_came_without_a_provider_is_carried_on(self):
        """As a web framework's propagation leaves it, where only the API is installed."""
        from opentelemetry.context import attach, detach
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {"traceparent": ELSEWHERE, "tracestate": "vendor=1"}
        token = attach(TraceContextTextMapPropagator().extract(carrier))
        try:
            row = enqueue("order.created", {}, standalone=True)
        finally:
            detach(token)

        assert {name: members(row)[name] for name in carrier} == carrier

    def test_in_a_process_that_has_not_imported_it_nothing_is_done(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "opentelemetry.trace")

        assert tracing.context() == {}
        with tracing.enqueueing("default") as span:
            span.about("1", "a", "b")
            span.failed("x")
            span.responded(202)
