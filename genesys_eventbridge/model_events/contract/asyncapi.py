"""The catalogue as an AsyncAPI 3 document: a server and a channel per destination, a message per type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from genesys_eventbridge import conf
from genesys_eventbridge.cloudevents.binary import header_value
from genesys_eventbridge.model_events.catalogue import Entry
from genesys_eventbridge.model_events.contract.embedding import needs_its_dialect
from genesys_eventbridge.model_events.contract.envelope import EventType, event_types, server_key
from genesys_eventbridge.model_events.contract.json_schema import DESTINATION
from genesys_eventbridge.platform.protocols import Channel

VERSION = "3.0.0"
#: For a payload with keywords that AsyncAPI's own dialect, a superset of draft 7, does not have. The official
#: parser does not look into such a payload, so this is used only where it is needed.
SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"
_TEXT = {"type": "string"}


def document(found: Sequence[Entry], version: str) -> dict[str, Any]:
    """``version`` is the contract's own; the application *sends* every message."""
    types = event_types(found)
    aliases = sorted({one.destination for one in types})
    names = {alias: server_key(alias) for alias in aliases}
    channels = {
        alias: conf.destination(alias).platform.protocol.channel(_platform(alias)) for alias in aliases
    }
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Events",
            "version": version,
            "description": "CloudEvents 1.0. Made by django-genesys-eventbridge: "
            "eventbridge_catalogue --format asyncapi.",
        },
        "defaultContentType": "application/cloudevents+json",
        "servers": {names[alias]: _server(alias) for alias in aliases},
        "channels": {
            names[alias]: _channel(
                alias, names[alias], channels[alias], [one for one in types if one.destination == alias]
            )
            for alias in aliases
        },
        "operations": {
            one.key: {
                "action": "send",
                "title": one.type,
                "summary": one.occasions,
                "channel": {"$ref": f"#/channels/{names[one.destination]}"},
                "messages": [{"$ref": f"#/channels/{names[one.destination]}/messages/{one.key}"}],
            }
            for one in types
        },
        "components": {
            "messages": {one.key: _message(one, channels[one.destination]) for one in types},
        },
    }


def _platform(alias: str) -> Any:
    return conf.destination(alias).platform


def _server(alias: str) -> dict[str, Any]:
    url = urlsplit(_platform(alias).api_base_url)
    protocol = _platform(alias).protocol
    server = {
        "host": url.netloc,
        "protocol": url.scheme,
        "description": f"Destination {alias}, protocol {protocol.name}.",
    }
    return {**server, "pathname": url.path} if url.path.strip("/") else server


def _channel(alias: str, name: str, channel: Channel, types: Sequence[EventType]) -> dict[str, Any]:
    described = {
        "address": channel.address,
        "title": f"Events to {alias}",
        "servers": [{"$ref": f"#/servers/{name}"}],
        "messages": {one.key: {"$ref": f"#/components/messages/{one.key}"} for one in types},
        DESTINATION: alias,
    }
    parameters = {key: {"description": text} for key, text in channel.parameters.items()}
    return {**described, "parameters": parameters} if parameters else described


def _message(one: EventType, channel: Channel) -> dict[str, Any]:
    pointer = f"#/components/messages/{one.key}/payload"
    payload = _payload(one, channel, pointer)
    if needs_its_dialect(payload):
        payload = {
            "schemaFormat": SCHEMA_FORMAT,
            "schema": _payload(one, channel, f"{pointer}/schema"),
        }
    example = one.example()
    body = example["data"] if example and channel.binary else example
    message: dict[str, Any] = {
        "name": one.type,
        "title": one.type,
        "summary": one.occasions,
        "contentType": "application/json" if channel.binary else channel.content_type,
        "headers": _binary_headers(one) if channel.binary else _headers(channel.content_type),
        "payload": payload,
    }
    if one.text:
        message["description"] = one.text
    if isinstance(body, dict):  # the format allows no other example
        message["examples"] = [{"name": "example", "payload": body}]
    return message


def _payload(one: EventType, channel: Channel, pointer: str) -> dict[str, Any]:
    """What the body contains, placed at ``pointer`` of the document."""
    if channel.binary:
        return one.data(pointer, bundled=False)
    schema = one.schema(pointer, bundled=False)
    schema.pop("examples", None)  # the message has it
    return schema


def _headers(content_type: str) -> dict[str, Any]:
    """Structured mode: the attributes are members of the body."""
    properties: dict[str, Any] = {"Content-Type": {"const": content_type}}
    return {"type": "object", "properties": properties, "required": ["Content-Type"]}


def _binary_headers(one: EventType) -> dict[str, Any]:
    """Binary mode: each attribute is a percent-encoded ``ce-`` header; datacontenttype is Content-Type."""
    properties: dict[str, Any] = {"Content-Type": _TEXT}
    for name, schema in one.attributes().items():
        if name != "datacontenttype":
            fixed = {"const": header_value(schema["const"])} if "const" in schema else _TEXT
            properties[f"ce-{name}"] = fixed
    required = [f"ce-{name}" for name in one.required() if name != "datacontenttype"]
    return {"type": "object", "properties": properties, "required": ["Content-Type", *required]}
