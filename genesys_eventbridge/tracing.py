"""Traces with OpenTelemetry: a span for each enqueue, each publish and each status check.

The trace of an event is fixed when it is enqueued, as the CloudEvents extension Distributed Tracing
(``traceparent``, ``tracestate``); the spans of its requests, which may come much later, have a link to it.
Names follow the semantic conventions for messaging and for CloudEvents, 1.37.

Nothing here imports OpenTelemetry: a process that uses it has imported it, and in all others this costs a
look into ``sys.modules``. Spans contain no data, no subject and no error text.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

from genesys_eventbridge.defects import report

SYSTEM = "genesys_eventbridge"
#: The attributes of the extension. A caller who passes one of them decides about both.
EXTENSION = frozenset({"traceparent", "tracestate"})

_tracer: tuple[Any, Any] = (None, None)


class Span:
    """One span; every method does nothing if it is not recorded."""

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def about(self, event_id: str, type_: str, source: str) -> None:
        """Say which event it is about."""
        if self._span is not None:
            self._span.set_attributes(_event(event_id, type_, source))

    def failed(self, kind: str) -> None:
        """Mark it as an error of this kind: the name of a class, an HTTP status, or a verdict."""
        if self._span is not None:
            self._span.set_attribute("error.type", kind)
            self._span.set_status(_api().Status(_api().StatusCode.ERROR))

    def responded(self, status: int | None) -> None:
        """Note the HTTP status of the response."""
        if self._span is not None and status is not None:
            self._span.set_attribute("http.response.status_code", status)


def context() -> dict[str, str]:
    """``traceparent``, and ``tracestate`` if there is one, of the current span; empty without one.

    Source: https://www.w3.org/TR/trace-context/ and the CloudEvents extension Distributed Tracing.
    """
    api = _api()
    if api is None or not api.get_current_span().get_span_context().is_valid:
        return {}
    carrier: dict[str, str] = {}
    _propagator().inject(carrier)
    return {name: value for name, value in carrier.items() if name in EXTENSION and value}


@contextmanager
def enqueueing(destination: str, count: int = 1, *, on: bool = True) -> Iterator[Span]:
    """The span of one enqueue of ``count`` events; their trace is the context within this block."""
    tracer = _recording() if on else None
    if tracer is None:
        yield Span()
        return
    attributes = {
        **_messaging("enqueue", "create", destination),
        **({"messaging.batch.message_count": count} if count != 1 else {}),
    }
    with _started(tracer, f"enqueue {destination}", "PRODUCER", attributes) as span:
        yield span


@contextmanager
def sending(operation: str, destination: str, url: str, event: Any, *, on: bool = True) -> Iterator[Span]:
    """The span of one request, ``operation`` "publish" or "check", with a link to where it was enqueued.

    ``url`` is the platform's; ``event`` has ``event_id``, ``type``, ``source`` and ``body``.
    """
    tracer = _recording() if on else None
    if tracer is None:
        yield Span()
        return
    server = urlsplit(url)
    attributes = {
        **_messaging(operation, "send" if operation == "publish" else "", destination),
        **_event(event.event_id, event.type, event.source),
        "messaging.message.body.size": len(event.body.encode()),
        "server.address": server.hostname or "",
        "server.port": server.port or (80 if server.scheme == "http" else 443),
    }
    links = _links(event.body)
    kind = "CLIENT"  # the event has a context of its own, so these spans create none
    with _started(tracer, f"{operation} {destination}", kind, attributes, links) as span:
        yield span


def _api() -> Any:
    """The module ``opentelemetry.trace``, if this process has imported it."""
    return sys.modules.get("opentelemetry.trace")


def _recording() -> Any:
    """Our tracer; None unless a provider of spans is installed."""
    global _tracer  # noqa: PLW0603 - one per provider, which tests replace
    api = _api()
    if api is None:
        return None
    provider = api.get_tracer_provider()
    if isinstance(provider, api.ProxyTracerProvider | api.NoOpTracerProvider):
        return None
    if _tracer[0] is not provider:
        _tracer = (provider, provider.get_tracer(SYSTEM))
    return _tracer[1]


@contextmanager
def _started(
    tracer: Any, name: str, kind: str, attributes: dict[str, Any], links: list[Any] | None = None
) -> Iterator[Span]:
    """A span that is current in this block. An error of OpenTelemetry is logged and stops nothing."""
    opened, span = ExitStack(), Span()
    with _harmless():
        recorded = opened.enter_context(
            tracer.start_as_current_span(
                name,
                kind=_api().SpanKind[kind],
                attributes=attributes,
                links=links or [],
            )
        )
        span = Span(recorded)
    try:
        yield span
    except BaseException as error:
        span.failed(type(error).__qualname__)
        raise
    finally:
        with _harmless():
            opened.close()  # without the exception, whose message may contain the data


@contextmanager
def _harmless() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - samplers, processors and exporters are the user's
        report(error, "A span was not recorded: %s", type(error).__name__, level=logging.WARNING)


def _messaging(name: str, type_: str, destination: str) -> dict[str, Any]:
    found = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": name,
        "messaging.destination.name": destination,
    }
    return {**found, "messaging.operation.type": type_} if type_ else found


def _event(event_id: str, type_: str, source: str) -> dict[str, Any]:
    return {
        "messaging.message.id": event_id,
        "cloudevents.event_id": event_id,
        "cloudevents.event_source": source,
        "cloudevents.event_spec_version": "1.0",
        "cloudevents.event_type": type_,
    }


def _links(body: str) -> list[Any]:
    """A link to the span that enqueued this event, if its body names one."""
    if '"traceparent"' not in body:
        return []
    links: list[Any] = []
    with _harmless():
        members = json.loads(body)
        carrier = {name: members[name] for name in EXTENSION if isinstance(members.get(name), str)}
        api = _api()
        began = api.get_current_span(_propagator().extract(carrier, _no_context())).get_span_context()
        links += [api.Link(began)] if began.is_valid else []
    return links


def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator()


def _no_context() -> Any:
    from opentelemetry.context import Context

    return Context()
